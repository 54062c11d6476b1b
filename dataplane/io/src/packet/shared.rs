//! What both drivers of packets have: pools, sockets, the TUN queue, and what is to be reported.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use super::outbox::Outbox;
use super::sockets::Sockets;
use super::sys::read;
use super::tun_queue::{TunQueue, is_gone};
use super::{Arrival, PacketConfig, PacketStats, control};
use crate::DriverError;
use crate::pool::RecvPool;
use crate::waker::Alarm;

pub(crate) struct Shared {
    pub(crate) recv: RecvPool,
    /// Free receive buffers, the one used last on top.
    pub(crate) free: Vec<u16>,
    pub(crate) outbox: Outbox,
    pub(crate) tun: TunQueue,
    pub(crate) sockets: Sockets,
    pub(crate) alarm: Alarm,
    /// Arrivals for the next `wait`.
    pub(crate) pending: Vec<Arrival>,
    /// Most receives of one source in a turn.
    pub(crate) turn: u16,
    pub(crate) stats: PacketStats,
}

impl Shared {
    pub(crate) fn open(config: &PacketConfig, tun: OwnedFd) -> Result<Self, DriverError> {
        let mmap = |error| DriverError::os("mmap", error);
        let recv = RecvPool::new(config.recv_buffers, config.recv_buffer_bytes).map_err(mmap)?;
        Ok(Self {
            free: (0..recv.count()).rev().collect(),
            pending: Vec::with_capacity(usize::from(recv.count()) + 2),
            recv,
            outbox: Outbox::new(config).map_err(mmap)?,
            tun: TunQueue::new(tun),
            sockets: Sockets::default(),
            alarm: Alarm::new().map_err(|error| DriverError::os("eventfd", error))?,
            turn: config.turn,
            stats: PacketStats::default(),
        })
    }

    /// Sends what is queued, by plain system calls.
    pub(crate) fn send_queued(&mut self) {
        self.outbox.flush(&mut self.sockets, &mut self.stats);
    }

    /// Appends what is to be reported without a receive.
    pub(crate) fn report(&mut self, out: &mut Vec<Arrival>) {
        out.append(&mut self.pending);
        let gone = self.outbox.sources_gone.drain(..);
        out.extend(gone.map(|to| Arrival::SourceGone { to }));
    }

    /// Whether [`Self::report`] has something.
    pub(crate) fn has_reports(&self) -> bool {
        !self.pending.is_empty() || !self.outbox.sources_gone.is_empty()
    }

    /// A receive of a socket lies in a buffer, `start` bytes behind its beginning.
    pub(crate) fn datagrams(
        &mut self,
        buffer: u16,
        (start, len): (u32, u32),
        from: Option<SocketAddr>,
        told: &control::Told,
        cut: bool,
        out: &mut Vec<Arrival>,
    ) {
        self.stats.receives += 1;
        let (false, Some(from), 1..) = (cut, from, len) else {
            let counter = match (cut, from) {
                (true, _) => &mut self.stats.truncated,
                (_, None) => &mut self.stats.recv_errors,
                _ => &mut self.stats.empty,
            };
            *counter += 1;
            self.free.push(buffer);
            return;
        };
        let segment_bytes = told.segment_bytes.filter(|bytes| *bytes > 0);
        let segment_bytes = segment_bytes.map_or(len as usize, |bytes| bytes.min(len as usize));
        self.stats.datagrams += (len as usize).div_ceil(segment_bytes) as u64;
        self.stats.received_bytes += u64::from(len);
        out.push(Arrival::Datagrams {
            buf: self.recv.filled_behind(buffer, start, len),
            from,
            local: told.local,
            segment_bytes,
            ecn: told.ecn,
        });
    }

    /// One turn of TUN by plain reads. True when there may be more.
    pub(crate) fn read_tun(&mut self, out: &mut Vec<Arrival>) -> bool {
        for _ in 0..self.turn {
            let Some(buffer) = self.free.pop() else {
                self.stats.recv_starved += 1;
                return true;
            };
            let (start, len) = self.recv.spare(buffer);
            // SAFETY: a buffer that was free: nobody else refers to it.
            match unsafe { read(&self.tun.fd, start, len as usize) } {
                Ok(len) => self.packet(buffer, len as u32, out),
                Err(errno) => {
                    self.free.push(buffer);
                    if errno == libc::EAGAIN || self.tun_failed(errno, out) {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// A read of TUN lies in a buffer.
    pub(crate) fn packet(&mut self, buffer: u16, len: u32, out: &mut Vec<Arrival>) {
        self.stats.tun_reads += 1;
        // TUN does not say when it cut a packet off.
        if len == 0 || len == self.recv.buffer_bytes() {
            self.stats.truncated += 1;
            self.free.push(buffer);
            return;
        }
        self.stats.tun_read_bytes += u64::from(len);
        let buf = self.recv.filled_behind(buffer, 0, len);
        out.push(Arrival::Tun { buf });
    }

    /// A read of TUN failed. True when the interface is gone.
    pub(crate) fn tun_failed(&mut self, errno: i32, out: &mut Vec<Arrival>) -> bool {
        if !is_gone(errno) {
            self.stats.tun_read_errors += 1;
        } else if !self.tun.gone {
            self.tun.gone = true;
            out.push(Arrival::TunGone);
        }
        self.tun.gone
    }
}
