//! The io_uring driver: one ring, owned by one thread.
//!
//! A socket's buffers and slot are free only when every request of it has completed; that is what
//! makes it sound that the kernel writes into our memory. Epoll's twin of this file is `epoll`.

pub(crate) mod buffers;
mod harvest;
mod requests;
pub(crate) mod restrict;
pub(crate) mod ring;
mod setup;
mod socket;
mod sys;
mod teardown;
mod timed;
pub(crate) mod user_data;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use io_uring::opcode;

use self::buffers::{GROUP, Provider};
use self::restrict::STREAM_OPERATIONS;
use self::ring::Ring;
use self::socket::{CLOSING, MEASURED, PAUSED, POLL, SEND, Socket};
use self::timed::Timetable;
use self::user_data::{Op, pack};
use crate::host::now_ns;
use crate::pace::Pace;
use crate::pool::{RecvPool, Region, SendPool};
use crate::slab::Slab;
use crate::waker::{Alarm, Waker};
use crate::{
    Completion, DriverConfig, DriverError, DriverStats, Features, RecvBuf, SendBuf, SocketId,
};

// A million idle sockets are the aim: each of them costs no more than this.
const _: () = assert!(Slab::<Socket>::ENTRY_BYTES <= 64);

pub(crate) struct Uring {
    // First, so that it is closed before the memory below is unmapped.
    ring: Ring,
    recv: RecvPool,
    provider: Provider,
    send: SendPool,
    sockets: Slab<Socket>,
    /// Sockets whose receive ended for want of a buffer, first come first served.
    starved: VecDeque<SocketId>,
    /// Sockets that may want a receive.
    unsettled: Vec<SocketId>,
    /// Completions for the next `wait`: those that need no kernel, and what came with a flush and is not for it.
    backlog: Vec<Completion>,
    /// Of a flush.
    flushed: Vec<Completion>,
    alarm: Alarm,
    /// Where the kernel reads the alarm's eventfd to.
    alarm_value: Region,
    alarm_armed: bool,
    pace: Pace,
    timetable: Timetable,
    /// When the last wait ended.
    woke_ns: u64,
    /// A submission failed for good: the next `wait` says so.
    fault: Option<io::Error>,
    stats: DriverStats,
}

impl Uring {
    pub(crate) fn open(config: &DriverConfig) -> Result<Self, DriverError> {
        let mut ring = Ring::open(
            config.sq_entries,
            config.cq_entries,
            config.features,
            STREAM_OPERATIONS,
        )?;
        let mmap = |error| DriverError::os("mmap", error);
        let mut provider = Provider::open(&mut ring, config.recv_buffers, GROUP)?;
        let shared = ring.features().contains(Features::INCREMENTAL);
        let recv = RecvPool::for_sharing(config, shared).map_err(mmap)?;
        let send = SendPool::new(config.send_buffers, config.send_buffer_bytes).map_err(mmap)?;
        provider
            .provide_all(&mut ring, &recv)
            .map_err(|error| DriverError::os("io_uring_enter", error))?;
        Ok(Self {
            ring,
            recv,
            provider,
            send,
            sockets: Slab::new(config.sockets_max),
            starved: VecDeque::new(),
            unsettled: Vec::new(),
            backlog: Vec::new(),
            flushed: Vec::new(),
            alarm: Alarm::new().map_err(|error| DriverError::os("eventfd", error))?,
            alarm_value: Region::new(size_of::<u64>()).map_err(mmap)?,
            alarm_armed: false,
            pace: Pace::new(config.gather_all()),
            // Without incremental buffers kernels differ in whether a receive that finds nothing takes its buffer.
            timetable: Timetable::new(if shared {
                config.gather
            } else {
                Duration::ZERO
            }),
            woke_ns: 0,
            fault: None,
            stats: DriverStats::default(),
        })
    }

    pub(crate) fn features(&self) -> Features {
        self.ring.features()
    }

    pub(crate) fn stats(&self) -> DriverStats {
        DriverStats {
            enters: self.ring.enters(),
            ..self.stats
        }
    }

    pub(crate) fn sockets(&self) -> u32 {
        self.sockets.len()
    }

    pub(crate) fn fd(&mut self, id: SocketId) -> Option<BorrowedFd<'_>> {
        Some(self.sockets.get_mut(id)?.fd.as_fd())
    }

    pub(crate) fn waker(&self) -> Waker {
        self.alarm.waker()
    }

    pub(crate) fn recv_pool(&self) -> &RecvPool {
        &self.recv
    }

    pub(crate) fn pools(&mut self) -> (&mut RecvPool, &mut SendPool) {
        (&mut self.recv, &mut self.send)
    }

    pub(crate) fn add(
        &mut self,
        socket: OwnedFd,
        token: u64,
        measured: bool,
    ) -> io::Result<SocketId> {
        set_blocking(&socket)?;
        let mut socket = Socket::new(socket, token);
        if measured {
            socket.flags.insert(MEASURED);
        }
        let Some(id) = self.sockets.insert(socket) else {
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        self.settle(id);
        Ok(id)
    }

    pub(crate) fn pause_recv(&mut self, id: SocketId) {
        let Some(socket) = called(&mut self.sockets, &mut self.stats, id) else {
            return;
        };
        socket.flags.insert(PAUSED);
        self.stop_timing(id);
        self.cancel_recv(id);
    }

    pub(crate) fn measure_recv(&mut self, id: SocketId) {
        let Some(socket) = called(&mut self.sockets, &mut self.stats, id) else {
            return;
        };
        if !socket.flags.intersects(MEASURED) {
            socket.flags.insert(MEASURED);
            self.stop_timing(id);
            // It is armed again, measured, when the cancellation is over.
            self.cancel_recv(id);
            self.settle(id);
        }
    }

    pub(crate) fn resume_recv(&mut self, id: SocketId) {
        let Some(socket) = called(&mut self.sockets, &mut self.stats, id) else {
            return;
        };
        socket.flags.remove(PAUSED);
        self.settle(id);
    }

    pub(crate) fn send(&mut self, id: SocketId, buf: SendBuf, start: usize, len: usize) {
        let bytes = &self.send.bytes(&buf)[start..start + len];
        let (address, len) = (bytes.as_ptr(), bytes.len() as u32);
        let Some(socket) = called(&mut self.sockets, &mut self.stats, id) else {
            self.send.recycle(buf);
            return;
        };
        if socket.flags.intersects(SEND) {
            // In one submission it would follow the first even if that is cut short.
            let (token, result) = (socket.token, Err(io::ErrorKind::InvalidInput.into()));
            self.backlog.push(Completion::Sent { token, result, buf });
            return;
        }
        socket.flags.insert(SEND);
        socket.send_buf = buf.into_index();
        // MSG_DONTWAIT: completes at once, full or not; nothing of a send ever waits in the kernel.
        let entry = opcode::Send::new(ring::fd(&socket.fd), address, len)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .build()
            .user_data(pack(Op::Send, id));
        self.push(&entry);
    }

    pub(crate) fn notify_writable(&mut self, id: SocketId) {
        let Some(socket) = called(&mut self.sockets, &mut self.stats, id) else {
            return;
        };
        if socket.flags.intersects(POLL) {
            return;
        }
        socket.flags.insert(POLL);
        let entry = opcode::PollAdd::new(ring::fd(&socket.fd), libc::POLLOUT as u32)
            .build()
            .user_data(pack(Op::Poll, id));
        self.push(&entry);
    }

    pub(crate) fn close(&mut self, id: SocketId) {
        let Some(socket) = called(&mut self.sockets, &mut self.stats, id) else {
            return;
        };
        socket.flags.insert(CLOSING);
        self.cancel_recv(id);
        self.cancel_poll(id);
        let mut closed = core::mem::take(&mut self.backlog);
        self.finish(id, &mut closed);
        self.backlog = closed;
    }

    pub(crate) fn recycle(&mut self, buf: RecvBuf) {
        if let Some(buffer) = self.recv.recycle(buf) {
            self.provide(buffer);
        }
    }

    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<()> {
        self.arm_alarm();
        let until_fetch = self.fetch_when_due();
        let fetching = until_fetch == Some(Duration::ZERO);
        let starving = self.feed_starved();
        self.arm_unsettled();
        self.provider.publish();
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let nothing = self.backlog.is_empty() && self.ring.harvested(0).is_none();
        let idle = nothing && !starving && !fetching;
        out.append(&mut self.backlog);

        let timeout = until_fetch.into_iter().chain(timeout).min();
        let timeout = if fetching {
            timeout
        } else {
            self.gather(idle, timeout)?
        };
        let sleep = idle && timeout != Some(Duration::ZERO) && self.alarm.fall_asleep();
        let before = self.stats;
        let entered = if sleep {
            self.sleep(timeout)
        } else {
            self.ring.enter(0, None)
        };
        if self.alarm.wake_up() {
            out.push(Completion::Woken);
        }
        entered?;
        self.woke_ns = now_ns();
        self.ring.harvest();
        self.handle_harvested(out);
        while self.ring.overflowed() {
            self.stats.cq_overflows += 1;
            self.ring.enter(0, None)?;
            self.ring.harvest();
            self.handle_harvested(out);
        }
        if !fetching {
            let bytes = self.stats.received_bytes - before.received_bytes;
            let receives = self.stats.received - before.received;
            self.pace.end(self.woke_ns, bytes, receives);
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self, out: &mut Vec<Completion>) -> io::Result<()> {
        self.ring.submit()?;
        self.ring.harvest();
        let mut flushed = core::mem::take(&mut self.flushed);
        self.handle_harvested(&mut flushed);
        for completion in flushed.drain(..) {
            match completion {
                Completion::Sent { .. } | Completion::Writable { .. } => out.push(completion),
                // The caller may not have come to what the same socket received before.
                _ => self.backlog.push(completion),
            }
        }
        self.flushed = flushed;
        Ok(())
    }

    /// Lets completions gather, when that is worth it. Gives the rest of the timeout.
    fn gather(&mut self, idle: bool, timeout: Option<Duration>) -> io::Result<Option<Duration>> {
        let idle = idle && !self.alarm.is_called();
        let Some(window) = self.pace.begin(idle, timeout) else {
            return Ok(timeout);
        };
        // Sends leave first. The kernel must not be asked for completions meanwhile: it would begin
        // with a receive of the little that is there.
        self.ring.submit()?;
        std::thread::sleep(window);
        Ok(timeout.map(|timeout| timeout - window))
    }
}

/// Of a socket that does not block, some kernels answer a receive at once instead of waiting.
pub(crate) fn set_blocking(socket: &OwnedFd) -> io::Result<()> {
    let mut nonblocking: libc::c_int = 0;
    // SAFETY: this request reads one int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::FIONBIO, &mut nonblocking) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// The features that work here, or why there is no ring.
pub(crate) fn probe() -> Result<Features, DriverError> {
    let mut ring = Ring::open(8, 16, Features::all(), STREAM_OPERATIONS)?;
    let _provider = Provider::open(&mut ring, 8, GROUP)?;
    Ok(ring.features())
}

/// The socket that the owner means, unless it has closed that already.
fn called<'a>(
    sockets: &'a mut Slab<Socket>,
    stats: &mut DriverStats,
    id: SocketId,
) -> Option<&'a mut Socket> {
    let socket = sockets
        .get_mut(id)
        .filter(|socket| !socket.flags.intersects(CLOSING));
    stats.stale_calls += u64::from(socket.is_none());
    socket
}
