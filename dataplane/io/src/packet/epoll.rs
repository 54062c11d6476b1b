//! The epoll driver of packets: `recvmmsg`, `sendmmsg`, and a `read` for each packet of TUN.
//!
//! Edge-triggered: what the last edges said is remembered, so a source that had more than a turn
//! allows is read on without asking.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::incoming::Incoming;
use super::shared::Shared;
use super::sockets::Socket;
use super::{Arrival, Family};
use crate::DriverError;
use crate::epoll::sys::Poller;

/// More than there are descriptors.
const EVENTS_MAX: usize = 8;

/// What an event is of.
const TUN: u64 = 2;
const ALARM: u64 = 3;

pub(crate) struct Epoll {
    poller: Poller,
    incoming: Incoming,
    /// Whether there may be something to receive: the two sockets, and TUN.
    readable: [bool; 3],
}

impl Epoll {
    pub(crate) fn open(shared: &Shared) -> Result<Self, DriverError> {
        let failed = |error| DriverError::os("epoll_ctl", error);
        let poller =
            Poller::new(EVENTS_MAX).map_err(|error| DriverError::os("epoll_create1", error))?;
        let (alarm, tun) = (shared.alarm.eventfd(), shared.tun.fd.as_raw_fd());
        poller.add(alarm, libc::EPOLLIN, ALARM).map_err(failed)?;
        poller.add(tun, libc::EPOLLIN, TUN).map_err(failed)?;
        Ok(Self {
            poller,
            incoming: Incoming::new(shared.turn),
            readable: [false; 3],
        })
    }

    pub(crate) fn set_udp(
        &mut self,
        shared: &mut Shared,
        family: Family,
        socket: Option<Socket>,
    ) -> io::Result<()> {
        shared.send_queued();
        self.readable[family as usize] = false;
        if let Some(socket) = &socket {
            let fd = socket.fd.as_raw_fd();
            self.poller.add(fd, libc::EPOLLIN, family as u64)?;
        }
        if let Some(old) = shared.sockets.replace(family, socket) {
            self.poller.remove(old.fd.as_raw_fd());
        }
        Ok(())
    }

    pub(crate) fn wait(
        &mut self,
        shared: &mut Shared,
        timeout: Option<Duration>,
        out: &mut Vec<Arrival>,
    ) -> io::Result<()> {
        shared.send_queued();
        let busy = self.readable.contains(&true) && !shared.free.is_empty();
        let idle = !busy && !shared.has_reports();
        let sleep = idle && timeout != Some(Duration::ZERO) && shared.alarm.fall_asleep();
        shared.stats.enters += 1;
        let polled = self
            .poller
            .wait(if sleep { timeout } else { Some(Duration::ZERO) });
        if shared.alarm.wake_up() {
            out.push(Arrival::Woken);
        }
        polled?;
        self.note_events();
        shared.report(out);
        self.receive(shared, Family::V4, out);
        self.receive(shared, Family::V6, out);
        if self.readable[TUN as usize] {
            self.readable[TUN as usize] = shared.read_tun(out);
        }
        Ok(())
    }

    fn note_events(&mut self) {
        let mut index = 0;
        while let Some((_, source)) = self.poller.event(index) {
            index += 1;
            // An error or an end is read too.
            if let Some(readable) = self.readable.get_mut(source as usize) {
                *readable = true;
            }
        }
    }

    /// One turn of a socket.
    fn receive(&mut self, shared: &mut Shared, family: Family, out: &mut Vec<Arrival>) {
        let readable = &mut self.readable[family as usize];
        if !*readable {
            return;
        }
        if shared.free.is_empty() {
            shared.stats.recv_starved += 1;
            return;
        }
        let Some(socket) = shared.sockets.replace(family, None) else {
            *readable = false;
            return;
        };
        *readable = match self.incoming.receive(&socket.fd, shared, out) {
            Ok(more) => more,
            Err(libc::EAGAIN) => false,
            // Of an earlier datagram; there may be others behind it.
            Err(_) => {
                shared.stats.recv_errors += 1;
                true
            }
        };
        shared.sockets.replace(family, Some(socket));
    }
}
