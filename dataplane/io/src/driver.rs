//! The one interface of both drivers. Static dispatch: a driver is an enum of the two.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::epoll::Epoll;
use crate::pace::make_timers_precise;
use crate::pool::{RecvPool, SendPool};
use crate::uring::Uring;
use crate::{
    Completion, DriverConfig, DriverError, DriverKind, DriverStats, Features, Received, RecvBuf,
    SendBuf, SocketId, Waker,
};

/// Moves bytes between stream sockets and buffers. Belongs to the thread that opened it.
///
/// The owner's loop: [`wait`](Self::wait), handle each [`Completion`], write and send, give
/// received buffers back, wait again. Nothing here blocks but `wait`, nothing allocates once its
/// lists have grown to the load, and no call fails for the sake of one socket: failures of a socket
/// come as its completions. After `close` an id is dead: a call with it is counted and ignored, and
/// a buffer sent with it is free again. A buffer of another driver has no bytes here; to send or recycle
/// it is counted and ignored.
///
/// ```compile_fail,E0277
/// fn to_another_thread(driver: towline_io::Driver) {
///     std::thread::spawn(move || drop(driver));
/// }
/// ```
pub struct Driver {
    inner: Inner,
    foreign_buffers: u64,
}

#[expect(clippy::large_enum_variant, reason = "one of a thread, never moved")]
enum Inner {
    Uring(Uring),
    Epoll(Epoll),
}

macro_rules! each {
    ($self:expr, $driver:ident => $call:expr) => {
        match $self {
            Inner::Uring($driver) => $call,
            Inner::Epoll($driver) => $call,
        }
    };
}

impl Driver {
    /// Opens a driver on this thread.
    ///
    /// # Errors
    /// Names the cause; see [`DriverError`]. There is no silent change to the other kind.
    pub fn open(kind: DriverKind, config: &DriverConfig) -> Result<Self, DriverError> {
        if let Some(fault) = config.fault() {
            return Err(DriverError::Config(fault));
        }
        if !config.gather.is_zero() {
            make_timers_precise();
        }
        let inner = match kind {
            DriverKind::Uring => Inner::Uring(Uring::open(config)?),
            DriverKind::Epoll => Inner::Epoll(Epoll::open(config)?),
        };
        Ok(Self {
            inner,
            foreign_buffers: 0,
        })
    }

    /// Which driver this is.
    #[must_use]
    pub fn kind(&self) -> DriverKind {
        match self.inner {
            Inner::Uring(_) => DriverKind::Uring,
            Inner::Epoll(_) => DriverKind::Epoll,
        }
    }

    /// The io_uring features in effect; none for epoll.
    #[must_use]
    pub fn features(&self) -> Features {
        each!(&self.inner, driver => driver.features())
    }

    /// Counters since the driver was opened.
    #[must_use]
    pub fn stats(&self) -> DriverStats {
        DriverStats {
            foreign_buffers: self.foreign_buffers,
            ..each!(&self.inner, driver => driver.stats())
        }
    }

    /// Sockets that were added and are not yet `Closed`.
    #[must_use]
    pub fn sockets(&self) -> u32 {
        each!(&self.inner, driver => driver.sockets())
    }

    /// A handle for other threads.
    #[must_use]
    pub fn waker(&self) -> Waker {
        each!(&self.inner, driver => driver.waker())
    }

    /// Takes over a connected stream socket and starts to receive. `token` comes with each of its
    /// completions. The socket's own blocking mode does not matter, and may
    /// be changed.
    ///
    /// # Errors
    /// `QuotaExceeded` at `sockets_max`, or what the kernel says; the socket is closed then.
    pub fn add(&mut self, socket: OwnedFd, token: u64) -> io::Result<SocketId> {
        each!(&mut self.inner, driver => driver.add(socket, token, false))
    }

    /// [`add`](Self::add) of a socket that is [measured](Self::measure_recv) from its first byte on.
    ///
    /// # Errors
    /// As for `add`.
    pub fn add_measured(&mut self, socket: OwnedFd, token: u64) -> io::Result<SocketId> {
        each!(&mut self.inner, driver => driver.add(socket, token, true))
    }

    /// Stops receiving. Bytes that were received already may still come, and so may an end that was
    /// seen already; later ones are not seen until [`resume_recv`](Self::resume_recv).
    pub fn pause_recv(&mut self, id: SocketId) {
        each!(&mut self.inner, driver => driver.pause_recv(id));
    }

    /// From now on receives little at a time: at most [`MEASURED_BYTES`](crate::MEASURED_BYTES) of this socket in one receive, and
    /// hardly ever two in a turn, so that a pause takes effect before much more has come. A receive that is armed already may
    /// still bring more. For sockets whose owner keeps a rate; it costs them throughput.
    pub fn measure_recv(&mut self, id: SocketId) {
        each!(&mut self.inner, driver => driver.measure_recv(id));
    }

    /// Receives again.
    pub fn resume_recv(&mut self, id: SocketId) {
        each!(&mut self.inner, driver => driver.resume_recv(id));
    }

    /// A free send buffer. `None` when all are with callers or in flight: after the next `wait`
    /// there are some.
    #[must_use]
    pub fn send_buffer(&mut self) -> Option<SendBuf> {
        self.pools().1.take()
    }

    /// The whole of a send buffer. What it holds at first is left over from other uses.
    pub fn send_bytes_mut(&mut self, buf: &SendBuf) -> &mut [u8] {
        self.pools().1.bytes_mut(buf)
    }

    /// The whole of a send buffer together with a view of received bytes, to copy from these into
    /// that.
    pub fn send_bytes_and_received(&mut self, buf: &SendBuf) -> (&mut [u8], Received<'_>) {
        let (recv, send) = self.pools();
        (send.bytes_mut(buf), recv.view())
    }

    /// Gives back a send buffer that is not (or no longer) to be sent.
    pub fn recycle_send(&mut self, buf: SendBuf) {
        if self.is_own(&buf) {
            self.pools().1.recycle(buf);
        }
    }

    /// Sends the first `len` bytes of a buffer. At most one send of a socket may be under way until
    /// its `Sent` (a second one is answered with `InvalidInput`).
    ///
    /// # Panics
    /// When `len` is more than a send buffer has.
    pub fn send(&mut self, id: SocketId, buf: SendBuf, len: usize) {
        self.send_from(id, buf, 0, len);
    }

    /// [`send`](Self::send) of `len` bytes from `start` on: the rest of a send that was cut short.
    ///
    /// # Panics
    /// When `start + len` is more than a send buffer has.
    pub fn send_from(&mut self, id: SocketId, buf: SendBuf, start: usize, len: usize) {
        if self.is_own(&buf) {
            each!(&mut self.inner, driver => driver.send(id, buf, start, len));
        }
    }

    /// Asks for one `Writable`, as soon as there is room for a send. Asking again before it came
    /// changes nothing.
    pub fn notify_writable(&mut self, id: SocketId) {
        each!(&mut self.inner, driver => driver.notify_writable(id));
    }

    /// The kernel's estimate of a round trip of this TCP socket, by a system call of its own: for now and then.
    ///
    /// # Errors
    /// `NotFound` for a dead id, or what the kernel says.
    pub fn round_trip(&mut self, id: SocketId) -> io::Result<Duration> {
        let fd = each!(&mut self.inner, driver => driver.fd(id)).ok_or(io::ErrorKind::NotFound)?;
        crate::socket::round_trip(&fd)
    }

    /// Closes a socket once a send under way is over. Of what else is under way nothing is
    /// reported; `Closed` is the last completion.
    pub fn close(&mut self, id: SocketId) {
        each!(&mut self.inner, driver => driver.close(id));
    }

    /// Submits everything asked for, then waits for completions and appends them to `out`; returns
    /// at once when there are some, and with none when `timeout` is over (never for `None`) or now
    /// and then before.
    ///
    /// # Errors
    /// Only when the driver itself is broken; it cannot be used any more.
    pub fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        each!(&mut self.inner, driver => driver.wait(timeout, out))
    }

    /// Submits everything asked for and appends what is complete: for another send to sockets that
    /// took the last one, before anything new is received. (Sends never wait in the kernel. What is received
    /// meanwhile comes with the next [`wait`](Self::wait).)
    ///
    /// # Errors
    /// Only when the driver itself is broken; it cannot be used any more.
    pub fn flush(&mut self, out: &mut Vec<Completion>) -> io::Result<()> {
        each!(&mut self.inner, driver => driver.flush(out))
    }

    /// The bytes of a received buffer, to be changed in place.
    pub fn recv_bytes(&mut self, buf: &RecvBuf) -> &mut [u8] {
        self.pools().0.bytes_mut(buf)
    }

    /// A shared view of received bytes.
    #[must_use]
    pub fn received(&self) -> Received<'_> {
        each!(&self.inner, driver => driver.recv_pool().view())
    }

    /// Gives a receive buffer back. Receives stop while callers hold all of them.
    pub fn recycle(&mut self, buf: RecvBuf) {
        if self.pools().0.owns(&buf) {
            each!(&mut self.inner, driver => driver.recycle(buf));
        } else {
            self.foreign_buffers += 1;
        }
    }

    fn is_own(&mut self, buf: &SendBuf) -> bool {
        let own = self.pools().1.owns(buf);
        self.foreign_buffers += u64::from(!own);
        own
    }

    fn pools(&mut self) -> (&mut RecvPool, &mut SendPool) {
        each!(&mut self.inner, driver => driver.pools())
    }
}
