//! The epoll driver: the twin of `uring`, for hosts that forbid io_uring.
//!
//! Edge-triggered: what the last edges of a socket said is remembered, so pausing, resuming and
//! asking for room cost no system call. Received bytes are packed one behind the other into one
//! buffer until it is nearly full, as the kernel does with incremental buffers.

mod socket;
pub(crate) mod sys;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use self::socket::{
    ENDED, HUNG_UP, KEEPS_FROM_RECV, MEASURED, NOTIFY, PAUSED, QUEUED, READABLE, Socket, WRITABLE,
};
use self::sys::Poller;
use crate::host::now_ns;
use crate::pace::Pace;
use crate::pool::{RecvPool, SendPool};
use crate::slab::Slab;
use crate::waker::{Alarm, Waker};
use crate::{
    Completion, DriverConfig, DriverError, DriverStats, Features, MEASURED_BYTES, RecvBuf, SendBuf,
    SocketId,
};

/// Events fetched by one system call; more wait for the next turn.
const EVENTS_MAX: usize = 1024;
/// With less room than this part of the most bytes, the next receive starts a new buffer.
const RECV_ROOM_PART: u32 = 4;
/// Marks the alarm's events; no socket packs to this.
const ALARM: u64 = u64::MAX;

// As for `uring`.
const _: () = assert!(Slab::<Socket>::ENTRY_BYTES <= 64);

pub(crate) struct Epoll {
    poller: Poller,
    recv: RecvPool,
    /// Free receive buffers, the one used last on top.
    free: Vec<u16>,
    /// The buffer that the next receive continues.
    filling: Option<u16>,
    send: SendPool,
    sockets: Slab<Socket>,
    /// Sockets that may have something to receive, in the order of their turns.
    readable: VecDeque<SocketId>,
    /// Sockets that have room and whose owner asked.
    writable: Vec<SocketId>,
    /// Completions that need no kernel, for the next `wait`.
    backlog: Vec<Completion>,
    alarm: Alarm,
    pace: Pace,
    recv_burst: u32,
    /// Most bytes of one receive.
    recv_bytes_max: u32,
    turn: u64,
    stats: DriverStats,
}

impl Epoll {
    pub(crate) fn open(config: &DriverConfig) -> Result<Self, DriverError> {
        let mmap = |error| DriverError::os("mmap", error);
        let recv = RecvPool::for_sharing(config, true).map_err(mmap)?;
        let send = SendPool::new(config.send_buffers, config.send_buffer_bytes).map_err(mmap)?;
        let poller =
            Poller::new(EVENTS_MAX).map_err(|error| DriverError::os("epoll_create1", error))?;
        let alarm = Alarm::new().map_err(|error| DriverError::os("eventfd", error))?;
        poller
            .add(alarm.eventfd(), libc::EPOLLIN, ALARM)
            .map_err(|error| DriverError::os("epoll_ctl", error))?;
        Ok(Self {
            poller,
            free: (0..recv.count()).rev().collect(),
            recv,
            filling: None,
            send,
            sockets: Slab::new(config.sockets_max),
            readable: VecDeque::with_capacity(EVENTS_MAX),
            writable: Vec::with_capacity(EVENTS_MAX),
            backlog: Vec::with_capacity(config.send_buffers.into()),
            alarm,
            pace: Pace::new(config.gather_all()),
            recv_burst: config.recv_burst,
            recv_bytes_max: config.recv_buffer_bytes,
            turn: 1,
            stats: DriverStats::default(),
        })
    }

    pub(crate) fn features(&self) -> Features {
        Features::none()
    }

    pub(crate) fn stats(&self) -> DriverStats {
        self.stats
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
        let fd = socket.as_raw_fd();
        let mut socket = Socket::new(socket, token);
        if measured {
            socket.flags.insert(MEASURED);
        }
        let Some(id) = self.sockets.insert(socket) else {
            return Err(io::ErrorKind::QuotaExceeded.into());
        };
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP;
        if let Err(error) = self.poller.add(fd, events, pack(id)) {
            self.sockets.remove(id);
            return Err(error);
        }
        Ok(id)
    }

    pub(crate) fn pause_recv(&mut self, id: SocketId) {
        match self.sockets.get_mut(id) {
            Some(socket) => socket.flags.insert(PAUSED),
            None => self.stats.stale_calls += 1,
        }
    }

    pub(crate) fn measure_recv(&mut self, id: SocketId) {
        match self.sockets.get_mut(id) {
            Some(socket) => socket.flags.insert(MEASURED),
            None => self.stats.stale_calls += 1,
        }
    }

    pub(crate) fn resume_recv(&mut self, id: SocketId) {
        match self.sockets.get_mut(id) {
            Some(socket) => socket.flags.remove(PAUSED),
            None => self.stats.stale_calls += 1,
        }
        self.queue(id);
    }

    pub(crate) fn send(&mut self, id: SocketId, buf: SendBuf, start: usize, len: usize) {
        let bytes = &self.send.bytes(&buf)[start..start + len];
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stats.stale_calls += 1;
            self.send.recycle(buf);
            return;
        };
        let result = if socket.sent_turn == self.turn {
            Err(io::ErrorKind::InvalidInput.into())
        } else {
            sys::send(&socket.fd, bytes)
        };
        socket.sent_turn = self.turn;
        if matches!(&result, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            socket.flags.remove(WRITABLE);
        }
        self.stats.count_send(&result);
        self.backlog.push(Completion::Sent {
            token: socket.token,
            result,
            buf,
        });
    }

    pub(crate) fn notify_writable(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            self.stats.stale_calls += 1;
            return;
        };
        if socket.flags.intersects(NOTIFY) {
            return;
        }
        socket.flags.insert(NOTIFY);
        if socket.flags.intersects(WRITABLE) {
            self.writable.push(id);
        }
    }

    pub(crate) fn close(&mut self, id: SocketId) {
        match self.sockets.remove(id) {
            Some(socket) => self.backlog.push(Completion::Closed {
                token: socket.token,
            }),
            None => self.stats.stale_calls += 1,
        }
    }

    pub(crate) fn recycle(&mut self, buf: RecvBuf) {
        if let Some(buffer) = self.recv.recycle(buf) {
            self.free.push(buffer);
        }
    }

    pub(crate) fn wait(
        &mut self,
        timeout: Option<Duration>,
        out: &mut Vec<Completion>,
    ) -> io::Result<()> {
        self.turn += 1;
        let starved = self.free.is_empty() && self.filling.is_none();
        let idle = self.readable.is_empty() || starved;
        let timeout = match self.pace.begin(idle && !self.alarm.is_called(), timeout) {
            Some(window) => {
                std::thread::sleep(window);
                timeout.map(|timeout| timeout - window)
            }
            None => timeout,
        };
        let before = out.len();
        let stats_before = self.stats;
        out.append(&mut self.backlog);
        self.report_writable(out);

        let idle = idle && out.len() == before;
        let sleep = idle && timeout != Some(Duration::ZERO) && self.alarm.fall_asleep();
        self.stats.enters += 1;
        let polled = self
            .poller
            .wait(if sleep { timeout } else { Some(Duration::ZERO) });
        if self.alarm.wake_up() {
            out.push(Completion::Woken);
        }
        polled?;
        self.handle_events();
        self.report_writable(out);
        self.receive(out);
        self.pace.end(
            now_ns(),
            self.stats.received_bytes - stats_before.received_bytes,
            self.stats.received - stats_before.received,
        );
        Ok(())
    }

    pub(crate) fn flush(&mut self, out: &mut Vec<Completion>) -> io::Result<()> {
        self.turn += 1;
        out.append(&mut self.backlog);
        Ok(())
    }

    fn handle_events(&mut self) {
        let mut index = 0;
        while let Some((events, data)) = self.poller.event(index) {
            index += 1;
            if data == ALARM {
                continue;
            }
            let id = unpack(data);
            let Some(socket) = self.sockets.get_mut(id) else {
                self.stats.stale_completions += 1;
                continue;
            };
            let hung_up = events & (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0;
            if hung_up {
                socket.flags.insert(HUNG_UP);
            }
            if events & (libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) != 0 {
                if socket.flags.intersects(NOTIFY) && !socket.flags.intersects(WRITABLE) {
                    self.writable.push(id);
                }
                socket.flags.insert(WRITABLE);
            }
            if hung_up || events & libc::EPOLLIN != 0 {
                socket.flags.insert(READABLE);
                self.queue(id);
            }
        }
        self.stats.kernel_completions += index as u64;
    }

    fn report_writable(&mut self, out: &mut Vec<Completion>) {
        for id in self.writable.drain(..) {
            if let Some(socket) = self.sockets.get_mut(id) {
                socket.flags.remove(NOTIFY);
                out.push(Completion::Writable {
                    token: socket.token,
                });
            }
        }
    }

    /// Puts a socket that may have something to receive into the list.
    fn queue(&mut self, id: SocketId) {
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if socket.flags.intersects(QUEUED | KEEPS_FROM_RECV) || !socket.flags.intersects(READABLE) {
            return;
        }
        socket.flags.insert(QUEUED);
        self.readable.push_back(id);
    }

    /// One go for each socket in the list.
    fn receive(&mut self, out: &mut Vec<Completion>) {
        if let Some(buffer) = self.filling {
            self.recv.rewind(buffer);
        }
        for _ in 0..self.readable.len() {
            let Some(id) = self.readable.pop_front() else {
                break;
            };
            let fed = self.receive_from(id, out);
            if let Some(socket) = self.sockets.get_mut(id) {
                socket.flags.remove(QUEUED);
            }
            self.queue(id);
            if !fed {
                self.stats.recv_starved += 1;
                // Its turn is still to come.
                self.readable.rotate_right(1);
                break;
            }
        }
    }

    /// False when it ended for want of a buffer.
    fn receive_from(&mut self, id: SocketId, out: &mut Vec<Completion>) -> bool {
        let Some(socket) = self.sockets.get_mut(id) else {
            return true;
        };
        for _ in 0..self.recv_burst {
            if socket.flags.intersects(KEEPS_FROM_RECV) {
                break;
            }
            let Some(buffer) = self.filling.or_else(|| self.free.pop()) else {
                return false;
            };
            self.filling = Some(buffer);
            let (start, spare) = self.recv.spare(buffer);
            let measured = socket.flags.intersects(MEASURED);
            let mut room = spare.min(self.recv_bytes_max);
            if measured {
                room = room.min(MEASURED_BYTES);
            }
            // SAFETY: the unfilled part of a buffer that is not free: nobody else refers to it.
            let result = unsafe { sys::recv(&socket.fd, start, room as usize) };
            let token = socket.token;
            match result {
                Ok(0) => {
                    socket.flags.insert(ENDED);
                    out.push(Completion::Ended { token, error: None });
                }
                Ok(len) => {
                    let len = len as u32;
                    let retire = spare - len < self.recv_bytes_max / RECV_ROOM_PART;
                    let buf = self.recv.filled(buffer, len, retire);
                    if retire {
                        self.filling = None;
                    }
                    self.stats.received += 1;
                    self.stats.received_bytes += u64::from(len);
                    out.push(Completion::Received { token, buf });
                    // A short receive emptied the socket, unless there is an end behind it.
                    if len < room && !socket.flags.intersects(HUNG_UP) {
                        socket.flags.remove(READABLE);
                        break;
                    }
                    if measured {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    socket.flags.remove(READABLE);
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    socket.flags.insert(ENDED);
                    out.push(Completion::Ended {
                        token,
                        error: Some(error),
                    });
                }
            }
        }
        true
    }
}

fn pack(id: SocketId) -> u64 {
    u64::from(id.generation) << 32 | u64::from(id.slot)
}

fn unpack(data: u64) -> SocketId {
    SocketId {
        slot: data as u32,
        generation: (data >> 32) as u32,
    }
}
