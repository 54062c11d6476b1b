//! The io_uring driver: one ring, owned by one thread.
//!
//! A socket's buffers and slot are free only when every request of it has completed; that is what makes it sound that the
//! kernel writes into our memory. Epoll's twin of this file is `epoll`.

mod buffers;
mod restrict;
mod ring;
mod socket;
mod user_data;

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use io_uring::{cqueue, opcode, squeue, types};

use self::buffers::{GROUP, Provider};
use self::ring::Ring;
use self::socket::{
    CANCEL_POLL, CANCEL_RECV, CLOSING, ENDED, IN_FLIGHT, KEEPS_FROM_RECV, PAUSED, POLL, RECV, SEND,
    STARVED, Socket,
};
use self::user_data::{Op, pack, pack_plain, unpack};
use crate::flags::Flags;
use crate::pool::{RecvPool, Region, SendPool};
use crate::slab::Slab;
use crate::waker::{Alarm, Waker};
use crate::{
    Completion, DriverConfig, DriverError, DriverStats, Features, RecvBuf, SendBuf, SocketId,
};

/// How long the end of a driver waits for its cancelled requests.
const DROP_TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) struct Uring {
    // First, so that it is closed before the memory below is unmapped.
    ring: Ring,
    recv: RecvPool,
    provider: Provider,
    send: SendPool,
    sockets: Slab<Socket>,
    /// Sockets whose receive ended for want of a buffer, first come first served.
    starved: VecDeque<SocketId>,
    /// Completions that need no kernel, for the next `wait`.
    backlog: Vec<Completion>,
    alarm: Alarm,
    /// Where the kernel reads the alarm's eventfd to.
    alarm_value: Region,
    alarm_armed: bool,
    /// A submission failed for good: the next `wait` says so.
    fault: Option<io::Error>,
    stats: DriverStats,
}

impl Uring {
    pub(crate) fn open(config: &DriverConfig) -> Result<Self, DriverError> {
        let mut ring = Ring::open(config.sq_entries, config.cq_entries, config.features)?;
        let mmap = |error| DriverError::os("mmap", error);
        let mut provider = Provider::open(&mut ring, config.recv_buffers)?;
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
            backlog: Vec::new(),
            alarm: Alarm::new().map_err(|error| DriverError::os("eventfd", error))?,
            alarm_value: Region::new(size_of::<u64>()).map_err(mmap)?,
            alarm_armed: false,
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

    pub(crate) fn waker(&self) -> Waker {
        self.alarm.waker()
    }

    pub(crate) fn recv_pool(&self) -> &RecvPool {
        &self.recv
    }

    pub(crate) fn pools(&mut self) -> (&mut RecvPool, &mut SendPool) {
        (&mut self.recv, &mut self.send)
    }

    pub(crate) fn add(&mut self, socket: OwnedFd, token: u64) -> io::Result<SocketId> {
        let Some(id) = self.sockets.insert(Socket::new(socket, token)) else {
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
        self.cancel_recv(id);
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
        let starving = self.feed_starved();
        self.provider.publish();
        if let Some(fault) = self.fault.take() {
            return Err(fault);
        }
        let idle = self.backlog.is_empty() && self.ring.harvested(0).is_none() && !starving;
        out.append(&mut self.backlog);

        let sleep = idle && timeout != Some(Duration::ZERO) && self.alarm.fall_asleep();
        let entered = if sleep {
            self.ring.enter(1, timeout)
        } else {
            self.ring.enter(0, None)
        };
        if self.alarm.wake_up() {
            out.push(Completion::Woken);
        }
        entered?;
        self.ring.harvest();
        self.handle_harvested(out);
        while self.ring.overflowed() {
            self.stats.cq_overflows += 1;
            self.ring.enter(0, None)?;
            self.ring.harvest();
            self.handle_harvested(out);
        }
        Ok(())
    }

    fn handle_harvested(&mut self, out: &mut Vec<Completion>) {
        let mut index = 0;
        while let Some(entry) = self.ring.harvested(index) {
            index += 1;
            self.handle(&entry, out);
        }
        self.ring.clear_harvested();
        self.stats.kernel_completions += index as u64;
    }

    fn handle(&mut self, entry: &cqueue::Entry, out: &mut Vec<Completion>) {
        let Some((op, id)) = unpack(entry.user_data()) else {
            self.stats.stale_completions += 1;
            return;
        };
        let result = entry.result();
        match op {
            Op::Recv => self.handle_recv(id, result, entry.flags(), out),
            Op::Send => self.handle_send(id, result, out),
            Op::Poll => self.handle_poll(id, out),
            Op::CancelRecv => self.handle_cancel(id, CANCEL_RECV, result, out),
            Op::CancelPoll => self.handle_cancel(id, CANCEL_POLL, result, out),
            Op::Alarm => self.alarm_armed = false,
            Op::Provide => self.handle_provide(result),
        }
    }

    fn handle_recv(&mut self, id: SocketId, result: i32, flags: u32, out: &mut Vec<Completion>) {
        let buf = self.take_filled(result, flags);
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stats.stale_completions += 1;
            self.discard(buf);
            return;
        };
        let token = socket.token;
        if !cqueue::more(flags) {
            socket.flags.remove(RECV);
        }
        if socket.flags.intersects(CLOSING) {
            self.discard(buf);
            self.finish(id, out);
            return;
        }
        if let Some(buf) = buf {
            self.stats.received += 1;
            self.stats.received_bytes += buf.len() as u64;
            out.push(Completion::Received { token, buf });
        } else if result == -libc::ENOBUFS {
            self.stats.recv_starved += 1;
            socket.flags.insert(STARVED);
            self.starved.push_back(id);
        } else if !matches!(-result, libc::ECANCELED | libc::EAGAIN | libc::EINTR) {
            socket.flags.insert(ENDED);
            let error = (result < 0).then(|| io::Error::from_raw_os_error(-result));
            out.push(Completion::Ended { token, error });
        }
        self.settle(id);
    }

    /// The received bytes of a completion, with the accounts of the buffer they came in.
    fn take_filled(&mut self, result: i32, flags: u32) -> Option<RecvBuf> {
        let buffer = cqueue::buffer_select(flags)?;
        let incremental = self.ring.features().contains(Features::INCREMENTAL);
        if result > 0 {
            let retire = !(incremental && cqueue::buffer_more(flags));
            if retire {
                self.provider.taken();
            }
            return Some(self.recv.filled(buffer, result as u32, retire));
        }
        // Kernels do not take a buffer for an end or an error; should one do so, it comes straight back. (Of an
        // incremental buffer the kernel says wrongly that it is done, when it received nothing.)
        if !incremental {
            self.provider.taken();
            if self.recv.retire(buffer) {
                self.provide(buffer);
            }
        }
        None
    }

    fn handle_send(&mut self, id: SocketId, result: i32, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stats.stale_completions += 1;
            return;
        };
        socket.flags.remove(SEND);
        let (token, buf) = (socket.token, SendBuf::from_index(socket.send_buf));
        let result = if result < 0 {
            Err(io::Error::from_raw_os_error(-result))
        } else {
            Ok(result as usize)
        };
        self.stats.count_send(&result);
        out.push(Completion::Sent { token, result, buf });
        self.finish(id, out);
    }

    fn handle_poll(&mut self, id: SocketId, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stats.stale_completions += 1;
            return;
        };
        socket.flags.remove(POLL);
        if !socket.flags.intersects(CLOSING) {
            out.push(Completion::Writable {
                token: socket.token,
            });
        }
        self.finish(id, out);
    }

    fn handle_cancel(&mut self, id: SocketId, flag: Flags, result: i32, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stats.stale_completions += 1;
            return;
        };
        socket.flags.remove(flag);
        // The request was just running and may have gone to sleep again.
        if result == -libc::EALREADY {
            if flag == CANCEL_POLL {
                self.cancel_poll(id);
            } else if socket.flags.intersects(PAUSED | CLOSING) {
                self.cancel_recv(id);
            }
        }
        self.settle(id);
        self.finish(id, out);
    }

    fn handle_provide(&mut self, result: i32) {
        if result < 0 && self.fault.is_none() {
            self.fault = Some(io::Error::from_raw_os_error(-result));
        }
    }

    /// Arms the receive of a socket that should have one and has none.
    fn settle(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.flags.intersects(KEEPS_FROM_RECV) {
            return;
        }
        socket.flags.insert(RECV);
        let fd = ring::fd(&socket.fd);
        let entry = if self.ring.features().contains(Features::MULTISHOT_RECV) {
            opcode::RecvMulti::new(fd, GROUP).build()
        } else {
            opcode::Recv::new(fd, core::ptr::null_mut(), self.recv.buffer_bytes())
                .buf_group(GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        };
        self.push(&entry.user_data(pack(Op::Recv, id)));
    }

    /// Ends a closing socket that has nothing in flight any more.
    fn finish(&mut self, id: SocketId, out: &mut Vec<Completion>) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        let busy = socket.flags.intersects(IN_FLIGHT);
        if busy || !socket.flags.intersects(CLOSING) {
            return;
        }
        if let Some(socket) = self.sockets.remove(id) {
            out.push(Completion::Closed {
                token: socket.token,
            });
        }
    }

    fn cancel_recv(&mut self, id: SocketId) {
        self.cancel(id, RECV, CANCEL_RECV, Op::Recv, Op::CancelRecv);
    }

    fn cancel_poll(&mut self, id: SocketId) {
        self.cancel(id, POLL, CANCEL_POLL, Op::Poll, Op::CancelPoll);
    }

    fn cancel(&mut self, id: SocketId, armed: Flags, cancelling: Flags, target: Op, op: Op) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if !socket.flags.intersects(armed) || socket.flags.intersects(cancelling) {
            return;
        }
        socket.flags.insert(cancelling);
        let entry = opcode::AsyncCancel::new(pack(target, id))
            .build()
            .user_data(pack(op, id));
        self.push(&entry);
    }

    /// Arms as many starved receives as there are buffers. True when more of them could be armed at once.
    fn feed_starved(&mut self) -> bool {
        let fed = self
            .starved
            .len()
            .min(usize::from(self.provider.provided()));
        for _ in 0..fed {
            let Some(id) = self.starved.pop_front() else {
                break;
            };
            if let Some(socket) = self.sockets.get_mut(id) {
                socket.flags.remove(STARVED);
                self.settle(id);
            }
        }
        fed > 0 && !self.starved.is_empty()
    }

    fn arm_alarm(&mut self) {
        if self.alarm_armed {
            return;
        }
        self.alarm_armed = true;
        let fd = types::Fd(self.alarm.eventfd());
        let value = self.alarm_value.at(0, size_of::<u64>());
        let entry = opcode::Read::new(fd, value, size_of::<u64>() as u32).build();
        self.push(&entry.user_data(pack_plain(Op::Alarm, 0)));
    }

    fn discard(&mut self, buf: Option<RecvBuf>) {
        if let Some(buf) = buf {
            self.stats.discarded_bytes += buf.len() as u64;
            self.recycle(buf);
        }
    }

    fn provide(&mut self, buffer: u16) {
        if let Err(error) = self.provider.provide(&mut self.ring, &self.recv, buffer) {
            self.fault = Some(error);
        }
    }

    fn push(&mut self, entry: &squeue::Entry) {
        // SAFETY: requests of this driver point only into its pools and `alarm_value`, which outlive the ring (or are
        // leaked); a part with a request in flight has no handle outside; descriptors stay open until `finish`.
        if let Err(error) = unsafe { self.ring.push(entry) } {
            self.fault = Some(error);
        }
    }

    fn drain(&mut self) -> io::Result<bool> {
        let deadline = Instant::now() + DROP_TIMEOUT;
        let ids: Vec<SocketId> = self.sockets.ids().collect();
        for id in ids {
            self.close(id);
        }
        let mut out = Vec::new();
        while self.sockets.len() > 0 {
            if Instant::now() > deadline {
                return Ok(false);
            }
            self.wait(Some(Duration::from_millis(10)), &mut out)?;
            for completion in out.drain(..) {
                if let Completion::Received { buf, .. } = completion {
                    self.recycle(buf);
                }
            }
        }
        self.alarm.sound();
        while self.alarm_armed {
            self.ring.enter(1, Some(Duration::from_millis(10)))?;
            self.ring.harvest();
            self.handle_harvested(&mut out);
            if Instant::now() > deadline {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The features that work here, or why there is no ring.
pub(crate) fn probe() -> Result<Features, DriverError> {
    let mut ring = Ring::open(8, 16, Features::all())?;
    let _provider = Provider::open(&mut ring, 8)?;
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

impl Drop for Uring {
    fn drop(&mut self) {
        // Memory that the kernel may still write to must stay mapped, or it would become somebody else's.
        if !self.drain().unwrap_or(false) {
            self.recv.leak();
            self.send.leak();
            self.provider.leak();
            self.alarm_value.leak();
        }
    }
}
