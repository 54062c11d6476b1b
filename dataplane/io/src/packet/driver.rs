//! The one interface of both drivers of packets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::epoll::Epoll;
use super::outgoing::Order;
use super::shared::Shared;
use super::sockets::Socket;
use super::uring::{self, Uring};
use super::{Arrival, Family, Local, PacketConfig, PacketStats, Piece};
use crate::link::LinkPlace;
use crate::pace::make_timers_precise;
use crate::udp::Udp;
use crate::{DriverError, DriverKind, Features, Received, RecvBuf, SendBuf, Waker};

/// Moves packets between one TUN queue, up to two UDP sockets, and buffers. Belongs to the thread
/// that opened it.
///
/// The owner's loop: [`wait`](Self::wait), handle each [`Arrival`], fill send buffers and
/// [`send`](Self::send) them, [`write_tun`](Self::write_tun), give received buffers back, wait
/// again. Nothing blocks but `wait`, nothing allocates after the start, and no call fails for the
/// sake of one packet: what could not be sent or written is counted and gone.
///
/// ```compile_fail,E0277
/// fn to_another_thread(driver: towline_io::packet::PacketDriver) {
///     std::thread::spawn(move || drop(driver));
/// }
/// ```
pub struct PacketDriver {
    // First, so that its ring is closed before the memory below is unmapped.
    way: Way,
    shared: Shared,
    fault: Option<io::Error>,
}

#[expect(clippy::large_enum_variant, reason = "one of a thread, never moved")]
enum Way {
    Uring(Uring),
    Epoll(Epoll),
}

macro_rules! each {
    ($self:expr, $way:ident => $call:expr) => {
        match &mut $self.way {
            Way::Uring($way) => $call,
            Way::Epoll($way) => $call,
        }
    };
}

/// The io_uring features that a packet driver has here, or why there can be none: to be asked
/// before a queue is handed over.
///
/// # Errors
/// Names the cause; see [`DriverError`].
pub fn probe() -> Result<Features, DriverError> {
    uring::probe()
}

impl PacketDriver {
    /// Opens a driver on this thread for a queue of [`crate::tun::open`]. The queue's blocking mode
    /// may be changed, and the timers of the thread are made precise. An error closes the queue,
    /// and with its last queue the interface is gone: see [`probe`].
    ///
    /// # Errors
    /// Names the cause; see [`DriverError`]. There is no silent change to the other kind.
    pub fn open(
        kind: DriverKind,
        config: &PacketConfig,
        tun_queue: OwnedFd,
    ) -> Result<Self, DriverError> {
        if let Some(fault) = config.fault() {
            return Err(DriverError::Config(fault));
        }
        make_timers_precise();
        let shared = Shared::open(config, tun_queue)?;
        let way = match kind {
            DriverKind::Epoll => Way::Epoll(Epoll::open(&shared)?),
            DriverKind::Uring => Way::Uring(Uring::open(config, &shared)?),
        };
        Ok(Self {
            way,
            shared,
            fault: None,
        })
    }

    /// Which driver this is.
    #[must_use]
    pub fn kind(&self) -> DriverKind {
        match self.way {
            Way::Uring(_) => DriverKind::Uring,
            Way::Epoll(_) => DriverKind::Epoll,
        }
    }

    /// The io_uring features in effect; none for epoll.
    #[must_use]
    pub fn features(&self) -> Features {
        match &self.way {
            Way::Uring(uring) => uring.features(),
            Way::Epoll(_) => Features::none(),
        }
    }

    /// Takes over the socket of a family in place of the one before, or removes that. What is
    /// queued leaves by the old one first; its port is free when this returns.
    pub fn set_udp(&mut self, family: Family, socket: Option<Udp>) {
        let socket = socket.map(|udp| Socket {
            fd: udp.fd,
            gso: udp.offload.gso,
        });
        let result = each!(self, way => way.set_udp(&mut self.shared, family, socket));
        self.fault = self.fault.take().or_else(|| result.err());
    }

    /// Where the interface of the queue is.
    ///
    /// # Errors
    /// It is gone.
    pub fn place(&self) -> io::Result<LinkPlace> {
        LinkPlace::of(&self.shared.tun.fd)
    }

    /// A handle for other threads.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.shared.alarm.waker()
    }

    /// Counters since the driver was opened.
    #[must_use]
    pub fn stats(&self) -> PacketStats {
        let mut stats = self.shared.stats;
        if let Way::Uring(uring) = &self.way {
            stats.enters = uring.enters();
        }
        stats
    }

    /// Receive and send buffers that are with the owner, or on their way out.
    #[must_use]
    pub fn buffers_held(&self) -> (usize, usize) {
        let provided = match &self.way {
            Way::Uring(uring) => uring.provided(),
            Way::Epoll(_) => 0,
        };
        let idle = self.shared.free.len() + provided;
        let recv = usize::from(self.shared.recv.count()) - idle;
        (recv, self.shared.outbox.held())
    }

    /// Sends what is queued, then waits for arrivals and appends them to `out`; returns at once
    /// when there are some, and with none when `timeout` is over (never for `None`) or now and then
    /// before. Of each source come at most [`PacketConfig::turn`] receives.
    ///
    /// # Errors
    /// Only when the driver itself is broken; it cannot be used any more.
    pub fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Arrival>) -> io::Result<()> {
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        each!(self, way => way.wait(&mut self.shared, timeout, out))
    }

    /// The bytes of a received buffer, to be changed in place.
    pub fn recv_bytes(&mut self, buf: &RecvBuf) -> &mut [u8] {
        self.shared.recv.bytes_mut(buf)
    }

    /// A shared view of received bytes.
    #[must_use]
    pub fn received(&self) -> Received<'_> {
        self.shared.recv.view()
    }

    /// Gives a receive buffer back. Receives stop while the owner holds all of them.
    pub fn recycle(&mut self, buf: RecvBuf) {
        if !self.shared.recv.owns(&buf) {
            self.shared.stats.foreign_buffers += 1;
        } else if let Some(buffer) = self.shared.recv.recycle(buf) {
            self.shared.free.push(buffer);
        }
    }

    /// A free send buffer. `None` when all are with the owner or queued: after the next
    /// [`flush`](Self::flush) or `wait` there are some.
    #[must_use]
    pub fn send_buffer(&mut self) -> Option<SendBuf> {
        self.shared.outbox.pool.take()
    }

    /// The whole of a send buffer. What it holds at first is left over from other uses.
    pub fn send_bytes_mut(&mut self, buf: &SendBuf) -> &mut [u8] {
        self.shared.outbox.pool.bytes_mut(buf)
    }

    /// The whole of a send buffer together with a view of received bytes, to copy from these into
    /// that.
    pub fn send_bytes_and_received(&mut self, buf: &SendBuf) -> (&mut [u8], Received<'_>) {
        let shared = &mut self.shared;
        (shared.outbox.pool.bytes_mut(buf), shared.recv.view())
    }

    /// Gives back a send buffer that is not to be sent.
    pub fn recycle_send(&mut self, buf: SendBuf) {
        if self.shared.outbox.pool.owns(&buf) {
            self.shared.outbox.pool.recycle(buf);
        } else {
            self.shared.stats.foreign_buffers += 1;
        }
    }

    /// Queues datagrams: the first `len` bytes of the buffer, in segments of `segment_bytes` (the
    /// last may be shorter; at most [`SEGMENTS_MAX`](super::SEGMENTS_MAX) and [`SEND_BYTES_MAX`](super::SEND_BYTES_MAX)), to `to`, from `local`
    /// if given, with these ECN bits. They leave with [`flush`](Self::flush) or `wait`, and the
    /// buffer returns to the pool by itself. Datagrams that the kernel does not take are counted; a
    /// local address that is no longer valid is left out, see [`Arrival::SourceGone`].
    ///
    /// # Panics
    /// When `len` is more than a send buffer has.
    pub fn send(
        &mut self,
        buf: SendBuf,
        len: usize,
        segment_bytes: usize,
        to: SocketAddr,
        local: Option<Local>,
        ecn: u8,
    ) {
        let shared = &mut self.shared;
        if !shared.outbox.pool.owns(&buf) {
            shared.stats.foreign_buffers += 1;
            return;
        }
        let order = Order {
            len,
            segment_bytes,
            to,
            local,
            ecn: ecn & 3,
        };
        let index = shared.outbox.put(buf, order);
        match &mut self.way {
            Way::Uring(uring) => uring.send(shared, index),
            Way::Epoll(_) => shared.outbox.enqueue(index),
        }
    }

    /// Writes one packet to TUN at once: `header` (vnet header and packet headers), then pieces of
    /// held receive buffers. A packet that TUN does not take is counted.
    pub fn write_tun(&mut self, header: &[u8], held: &[RecvBuf], pieces: &[Piece]) {
        let shared = &mut self.shared;
        let received = shared.recv.view();
        let result = shared.tun.write(header, held, pieces, received);
        shared.stats.count_tun_write(result);
    }

    /// Sends what is queued. Nothing new is received.
    ///
    /// # Errors
    /// Only when the driver itself is broken; it cannot be used any more.
    pub fn flush(&mut self) -> io::Result<()> {
        match &mut self.way {
            Way::Uring(uring) => uring.flush(&mut self.shared),
            Way::Epoll(_) => {
                self.shared.send_queued();
                Ok(())
            }
        }
    }
}

impl Drop for PacketDriver {
    fn drop(&mut self) {
        if let Way::Uring(uring) = &mut self.way {
            uring.close(&mut self.shared);
        }
    }
}
