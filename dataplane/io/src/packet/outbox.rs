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
    slots: Box<[Outgoing]>,
    /// Slots that [`Self::flush`] sends, in order.
    queue: Vec<u16>,
    /// Messages of one system call: of a flush, and of a train that leaves datagram by datagram.
    batch: Vec<libc::mmsghdr>,
    train: Vec<libc::mmsghdr>,
    segments: Vec<libc::iovec>,
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

    /// What may still be done for a send that the kernel refused.
    fn rescue(&mut self, index: u16, errno: Errno, socket: &mut Socket, stats: &mut PacketStats) {
        let order = self.slots[usize::from(index)].order;
        if order.local.is_some() && may_be_the_source(errno) {
            let order = Order {
                local: None,
                ..order
            };
            let start = self.start(index);
            self.slots[usize::from(index)].address(&order, start, true);
            if self.send_one(index, socket).is_ok() {
                self.source_gone(&order, stats);
                stats.count_sent(order.segments(), order.len);
                return;
            }
        }
        if order.segments() == 1 {
            stats.count_send_error(errno, 1);
            return;
        }
        match errno {
            // A device that computes no checksums, or a transformation (IPsec) on the way.
            libc::EIO => {
                socket.gso = false;
                stats.gso_switched_off += 1;
            }
            // Most likely a segment above the path's MTU: alone it may be fragmented.
            libc::EINVAL | libc::EMSGSIZE => stats.trains_split += 1,
            _ => {
                stats.count_send_error(errno, order.segments());
                return;
            }
        }
        self.send_segments(index, order, socket, stats);
    }

    /// Sends a slot's message as it stands.
    fn send_one(&mut self, index: u16, socket: &Socket) -> Result<(), Errno> {
        let mut message = [libc::mmsghdr {
            msg_hdr: self.slots[usize::from(index)].header,
            msg_len: 0,
        }];
        // SAFETY: as in `send_whole`.
        unsafe { sendmmsg(&socket.fd, &mut message) }.map(drop)
    }

    /// Sends each segment of an order for itself. A segment that fails costs no other one.
    fn send_segments(
        &mut self,
        index: u16,
        mut order: Order,
        socket: &Socket,
        stats: &mut PacketStats,
    ) {
        let start = self.start(index);
        self.slots[usize::from(index)].address(&order, start, false);
        let step = order.segment_bytes.max(1);
        let mut at = 0;
        while at < order.len {
            let end = order.len.min(at + SEGMENTS_MAX * step);
            self.load_train(index, start, at..end, step);
            // SAFETY: as in `send_whole`.
            match unsafe { sendmmsg(&socket.fd, &mut self.train) } {
                Ok(sent) => {
                    let next = end.min(at + sent * step);
                    (0..sent).for_each(|segment| {
                        let from = at + segment * step;
                        stats.count_sent(1, step.min(next - from));
                    });
                    at = next;
                }
                Err(errno) if order.local.is_some() && may_be_the_source(errno) => {
                    order.local = None;
                    self.slots[usize::from(index)].address(&order, start, false);
                    self.source_gone(&order, stats);
                }
                Err(errno) => {
                    stats.count_send_error(errno, 1);
                    at += step;
                }
            }
        }
    }

    /// One message for each segment of a range; all share the slot's addresses.
    fn load_train(
        &mut self,
        index: u16,
        start: *mut u8,
        range: core::ops::Range<usize>,
        step: usize,
    ) {
        self.segments.clear();
        self.train.clear();
        for from in range.clone().step_by(step) {
            self.segments.push(libc::iovec {
                iov_base: start.wrapping_add(from).cast(),
                iov_len: step.min(range.end - from),
            });
        }
        for segment in &mut self.segments {
            let mut message = self.slots[usize::from(index)].header;
            message.msg_iov = segment;
            self.train.push(libc::mmsghdr {
                msg_hdr: message,
                msg_len: 0,
            });
        }
    }

    /// Where a buffer on its way lies.
    fn start(&mut self, index: u16) -> *mut u8 {
        let buf = self.pool.taken(index);
        self.pool.bytes_mut(&buf).as_mut_ptr()
    }

    fn source_gone(&mut self, order: &Order, stats: &mut PacketStats) {
        stats.sources_gone += 1;
        // Full: the owner hears of this one when it happens again.
        if self.sources_gone.len() < self.sources_gone.capacity() {
            self.sources_gone.push(order.to);
        }
    }
}

/// What the kernel answers when a local address is not ours any more (`EINVAL`), its interface is
/// gone (`ENODEV`) or leads nowhere.
fn may_be_the_source(errno: Errno) -> bool {
    matches!(
        errno,
        libc::EINVAL
            | libc::ENODEV
            | libc::EADDRNOTAVAIL
            | libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
    )
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::packet::Family;

    #[test]
    fn where_the_kernel_cannot_segment_trains_leave_in_parts_from_then_on() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut sockets = Sockets::default();
        let fd = UdpSocket::bind("127.0.0.1:0").unwrap().into();
        sockets.replace(Family::V4, Some(Socket { fd, gso: true }));
        let mut outbox = Outbox::new(&PacketConfig::default()).unwrap();
        let mut stats = PacketStats::default();
        let order = Order {
            len: 250,
            segment_bytes: 100,
            to: peer.local_addr().unwrap(),
            local: None,
            ecn: 0,
        };
        let buf = outbox.pool.take().unwrap();
        let index = outbox.put(buf, order);
        outbox.finish(index, Err(libc::EIO), &mut sockets, &mut stats);
        let buf = outbox.pool.take().unwrap();
        let index = outbox.put(buf, order);
        outbox.enqueue(index);
        outbox.flush(&mut sockets, &mut stats);
        for len in [100, 100, 50, 100, 100, 50] {
            assert_eq!(peer.recv(&mut [0; 300]).unwrap(), len);
        }
        assert_eq!((stats.gso_switched_off, stats.segments), (1, 6));
        assert_eq!(outbox.held(), 0);
    }
}
