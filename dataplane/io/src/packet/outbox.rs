//! Datagrams on their way out: one slot for each send buffer, and what happens to those that the
//! kernel does not take.
//!
//! A full socket drops (and counts) instead of waiting. Its megabytes are then queued below us
//! already, more than the way out carries in a round trip; waiting would only add delay, hold up
//! every other peer and the receiving side of this thread, and hide from TCP inside of the tunnel
//! the one sign of congestion that it understands. What a wait would save is saved by the size of
//! the buffer, which absorbs the bursts of a turn (`udp::UdpOptions::buffer_bytes`).

use std::io;
use std::net::SocketAddr;

use super::outgoing::{Order, Outgoing};
use super::sockets::{Socket, Sockets};
use super::sys::{Errno, sendmmsg};
use super::{PacketConfig, PacketStats, SEGMENTS_MAX};
use crate::SendBuf;
use crate::pool::SendPool;

pub(crate) struct Outbox {
    pub(crate) pool: SendPool,
    /// By the number of the buffer.
    pub(super) slots: Box<[Outgoing]>,
    /// Slots that [`Self::flush`] sends, in order.
    queue: Vec<u16>,
    /// Messages of one system call: of a flush, and of a train that leaves datagram by datagram.
    batch: Vec<libc::mmsghdr>,
    pub(super) train: Vec<libc::mmsghdr>,
    pub(super) segments: Vec<libc::iovec>,
    /// Where sends went that left only without their local address.
    pub(crate) sources_gone: Vec<SocketAddr>,
}

impl Outbox {
    pub(crate) fn new(config: &PacketConfig) -> io::Result<Self> {
        let count = usize::from(config.send_buffers);
        Ok(Self {
            pool: SendPool::new(config.send_buffers, config.send_buffer_bytes)?,
            slots: (0..count).map(|_| Outgoing::new()).collect(),
            queue: Vec::with_capacity(count),
            batch: Vec::with_capacity(count),
            train: Vec::with_capacity(SEGMENTS_MAX),
            segments: Vec::with_capacity(SEGMENTS_MAX),
            sources_gone: Vec::with_capacity(count),
        })
    }

    /// Buffers that are with callers or on their way.
    pub(crate) fn held(&self) -> usize {
        self.slots.len() - self.pool.free()
    }

    /// Fills the slot of a buffer.
    ///
    /// # Panics
    /// When the order is for more bytes than the buffer has.
    pub(crate) fn put(&mut self, buf: SendBuf, order: Order) -> u16 {
        let bytes = self.pool.bytes_mut(&buf);
        assert!(
            order.len <= bytes.len(),
            "more bytes than a send buffer has"
        );
        let start = bytes.as_mut_ptr();
        let index = buf.into_index();
        let slot = &mut self.slots[usize::from(index)];
        slot.order = order;
        slot.address(&order, start, true);
        index
    }

    /// The message of a filled slot, for a request to the kernel: it, and all that it points to,
    /// stays as it is until [`Self::finish`].
    pub(crate) fn message(&self, index: u16) -> *const libc::msghdr {
        &raw const self.slots[usize::from(index)].header
    }

    /// Leaves all memory to a kernel that may still read it.
    pub(crate) fn leak(&mut self) {
        self.pool.leak();
        core::mem::forget(core::mem::take(&mut self.slots));
    }

    /// Whether a filled slot leaves in one message.
    pub(crate) fn is_whole(&self, index: u16, socket: &Socket) -> bool {
        socket.gso || self.slots[usize::from(index)].order.segments() == 1
    }

    /// Where a filled slot goes.
    pub(crate) fn to(&self, index: u16) -> SocketAddr {
        self.slots[usize::from(index)].order.to
    }

    /// Leaves a filled slot to the next [`Self::flush`].
    pub(crate) fn enqueue(&mut self, index: u16) {
        self.queue.push(index);
    }

    /// Sends what is queued, in as few system calls as it takes.
    pub(crate) fn flush(&mut self, sockets: &mut Sockets, stats: &mut PacketStats) {
        let mut queue = core::mem::take(&mut self.queue);
        let mut rest = &queue[..];
        while let Some(&first) = rest.first() {
            let to = self.to(first);
            let whole = match sockets.to(&to) {
                Some(socket) => rest
                    .iter()
                    .take_while(|&&index| {
                        self.to(index).is_ipv6() == to.is_ipv6() && self.is_whole(index, socket)
                    })
                    .count(),
                None => 0,
            };
            if whole == 0 {
                self.send_split(first, sockets, stats);
                rest = &rest[1..];
            } else {
                self.send_whole(&rest[..whole], to, sockets, stats);
                rest = &rest[whole..];
            }
        }
        queue.clear();
        self.queue = queue;
    }

    /// Sends filled slots of one family, one message each.
    fn send_whole(
        &mut self,
        indices: &[u16],
        to: SocketAddr,
        sockets: &mut Sockets,
        stats: &mut PacketStats,
    ) {
        self.batch.clear();
        for &index in indices {
            self.batch.push(libc::mmsghdr {
                msg_hdr: self.slots[usize::from(index)].header,
                msg_len: 0,
            });
        }
        let mut done = 0;
        while done < indices.len() {
            let Some(socket) = sockets.to(&to) else {
                return;
            };
            // SAFETY: messages of slots that are filled and in no request: they point into the
            // slots and into the pool, where no handle names their buffers.
            let result = unsafe { sendmmsg(&socket.fd, &mut self.batch[done..]) };
            let (sent, result) = match result {
                Ok(sent) => (sent, Ok(())),
                Err(errno) => (1, Err(errno)),
            };
            for &index in &indices[done..done + sent] {
                self.finish(index, result, sockets, stats);
            }
            done += sent;
        }
    }

    /// Sends a filled slot datagram by datagram.
    pub(crate) fn send_split(
        &mut self,
        index: u16,
        sockets: &mut Sockets,
        stats: &mut PacketStats,
    ) {
        let order = self.slots[usize::from(index)].order;
        match sockets.to(&order.to) {
            Some(socket) => self.send_segments(index, order, socket, stats),
            None => stats.send_no_socket += order.segments() as u64,
        }
        self.pool.recycle(self.pool.taken(index));
    }

    /// The send of a filled slot is over.
    pub(crate) fn finish(
        &mut self,
        index: u16,
        result: Result<(), Errno>,
        sockets: &mut Sockets,
        stats: &mut PacketStats,
    ) {
        let order = self.slots[usize::from(index)].order;
        match result {
            Ok(()) => stats.count_sent(order.segments(), order.len),
            Err(errno) => match sockets.to(&order.to) {
                Some(socket) => self.rescue(index, errno, socket, stats),
                None => stats.send_no_socket += order.segments() as u64,
            },
        }
        self.pool.recycle(self.pool.taken(index));
    }

    /// Where a buffer on its way lies.
    pub(super) fn start(&mut self, index: u16) -> *mut u8 {
        let buf = self.pool.taken(index);
        self.pool.bytes_mut(&buf).as_mut_ptr()
    }
}
