//! What each completion means.

use std::io;

use io_uring::{cqueue, types};

use super::{TUN, Uring};
use crate::Features;
use crate::packet::shared::Shared;
use crate::packet::{Arrival, RECV_HEAD_BYTES, address, control};
use crate::slab::SocketId;
use crate::uring::user_data::{Op, unpack};

impl Uring {
    /// Handles all completions that are there, and what they say of TUN.
    pub(super) fn harvest(
        &mut self,
        shared: &mut Shared,
        out: &mut Vec<Arrival>,
    ) -> io::Result<()> {
        self.handle_harvested(shared, out);
        while self.ring.overflowed() {
            self.ring.enter(0, None)?;
            self.handle_harvested(shared, out);
        }
        if self.tun_readable {
            self.tun_readable = shared.read_tun(out);
        }
        Ok(())
    }

    /// Handles completions outside of a wait: what arrives is reported by the next one.
    pub(super) fn harvest_pending(&mut self, shared: &mut Shared) {
        let mut pending = core::mem::take(&mut shared.pending);
        self.handle_harvested(shared, &mut pending);
        shared.pending = pending;
    }

    fn handle_harvested(&mut self, shared: &mut Shared, out: &mut Vec<Arrival>) {
        self.ring.harvest();
        let mut index = 0;
        while let Some(entry) = self.ring.harvested(index) {
            index += 1;
            self.handle(&entry, shared, out);
        }
        self.ring.clear_harvested();
    }

    fn handle(&mut self, entry: &cqueue::Entry, shared: &mut Shared, out: &mut Vec<Arrival>) {
        let (result, flags) = (entry.result(), entry.flags());
        match unpack(entry.user_data()) {
            Some((Op::Recv, id)) => self.handle_source(id, result, flags, shared, out),
            Some((Op::Send, id)) => {
                self.sending -= 1;
                let result = if result < 0 { Err(-result) } else { Ok(()) };
                let (sockets, stats) = (&mut shared.sockets, &mut shared.stats);
                shared.outbox.finish(id.slot as u16, result, sockets, stats);
            }
            Some((Op::Alarm, _)) => {
                self.alarm_armed = false;
                let passing = matches!(-result, libc::EINTR | libc::EAGAIN | libc::ECANCELED);
                if result < 0 && !passing {
                    self.fault = Some(io::Error::from_raw_os_error(-result));
                }
            }
            _ => {}
        }
    }

    fn handle_source(
        &mut self,
        id: SocketId,
        result: i32,
        flags: u32,
        shared: &mut Shared,
        out: &mut Vec<Arrival>,
    ) {
        let source = id.slot as usize;
        if !cqueue::more(flags) && self.sources[source].generation == id.generation {
            self.sources[source].armed = false;
        }
        let by_hand = !self.ring.features().contains(Features::MULTISHOT_READ);
        let buffer = cqueue::buffer_select(flags);
        if buffer.is_some() {
            self.providers[source].taken();
        }
        match (buffer, result) {
            (None, 0..) if source == TUN && by_hand => self.tun_readable = true,
            (Some(buffer), 0..) if source == TUN => shared.packet(buffer, result as u32, out),
            (Some(buffer), 0..) => self.receive(buffer, result as u32, shared, out),
            (buffer, _) => {
                shared.free.extend(buffer);
                self.handle_failure(source, -result, shared, out);
            }
        }
    }

    /// A datagram, or a train, with all that stands before it.
    fn receive(&self, buffer: u16, len: u32, shared: &mut Shared, out: &mut Vec<Arrival>) {
        let head = shared.recv.head(buffer, RECV_HEAD_BYTES);
        let parsed = types::RecvMsgOut::parse(head, &self.message);
        let payload = len.checked_sub(RECV_HEAD_BYTES as u32);
        let (Ok(parsed), Some(len)) = (parsed, payload) else {
            shared.stats.recv_errors += 1;
            shared.free.push(buffer);
            return;
        };
        let cut = parsed.is_payload_truncated() || parsed.is_control_data_truncated();
        let from = address::read(parsed.name_data());
        let told = control::read(parsed.control_data());
        let range = (RECV_HEAD_BYTES as u32, len);
        shared.datagrams(buffer, range, from, &told, cut, out);
    }

    fn handle_failure(
        &mut self,
        source: usize,
        errno: i32,
        shared: &mut Shared,
        out: &mut Vec<Arrival>,
    ) {
        match errno {
            // The turn is used up; or the request was cancelled, or interrupted.
            libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
            _ if source == TUN => {
                shared.tun_failed(errno, out);
            }
            // Of an earlier datagram.
            _ => shared.stats.recv_errors += 1,
        }
    }
}
