//! Writing frames: what a connection is due becomes bytes, straight from where packets lie.
//!
//! Frames of our own go before packets, and whole; a packet may be cut at the end of a buffer and goes
//! on in the next one, before anything else.

use towline_wire::frame::{
    GoneReason, HEADER_LEN, Health as HealthFrame, KeepAlive, PeerGone, PeerPresent, Pong,
    WatchConns, forward_packet_start, recv_packet_header,
};
use towline_wire::{NodePublic, Time};

use super::Shard;
use super::buffers::{Buffers, FrameBuf};
use super::conn::{Health, Role};
use super::heard::Departure;
use super::message::Presence;
use super::notes::Note;
use super::queue::{Packet, Place};
use super::route::KEY_LEN;

/// What clients that take turns with each other are told.
const FIGHTING: &str =
    "another connection uses the same node key: packets go to whichever spoke last";

/// The part of a packet frame that is not cut.
const PACKET_HEADER_BYTES: usize = HEADER_LEN + KEY_LEN;

/// A frame that is due, found but not yet written.
enum Next {
    Info,
    Watch,
    KeepAlive,
    Pong([u8; 8]),
    Health(Health),
    Restarting,
    Departure(NodePublic),
    Note(Note),
}

impl Shard {
    /// Writes what fits; says whether there is more.
    pub(super) fn write(
        &mut self,
        now: Time,
        slot: u32,
        buffers: &impl Buffers,
        out: &mut FrameBuf<'_>,
    ) -> bool {
        if self.conns[slot].closing {
            return false;
        }
        let before = out.len();
        let more = loop {
            if self.queues.current(&self.conns[slot].out).is_some()
                && !self.write_current(slot, buffers, out)
            {
                break true;
            }
            match self.write_own(slot, out) {
                Some(true) => continue,
                Some(false) => break true,
                None => {}
            }
            if out.room() < PACKET_HEADER_BYTES {
                break self.conns[slot].has_frames();
            }
            let conn = &mut self.conns[slot];
            let Some((packet, src)) = self.queues.start_next(now, &mut conn.out, &mut self.stats)
            else {
                break false;
            };
            let header = match conn.role {
                Role::Uplink(_) => forward_packet_start(&src, packet.len as usize),
                _ => recv_packet_header(&src, packet.len as usize),
            };
            out.put(&header);
        };
        if out.len() > before {
            self.conns[slot].last_write = now;
        }
        more
    }

    /// Writes the rest of the packet that was begun; false when it does not fit.
    #[inline]
    fn write_current(&mut self, slot: u32, buffers: &impl Buffers, out: &mut FrameBuf<'_>) -> bool {
        let conn = &mut self.conns[slot];
        let Some((packet, written)) = self.queues.current(&conn.out) else {
            return true;
        };
        let left = packet.len - written;
        let mut n = 0;
        match packet.place {
            Place::Buffer { buffer, offset } => {
                let start = (offset + written) as usize;
                n += out.put(&buffers.bytes(buffer)[start..start + left as usize]);
            }
            Place::Blocks { head, offset } => {
                for piece in self.queues.blocks.pieces(head, offset + written, left) {
                    let put = out.put(piece);
                    n += put;
                    if put < piece.len() {
                        break;
                    }
                }
            }
            Place::Dropped => {}
        }
        if n < left as usize {
            self.queues.advance(&mut conn.out, n);
            return false;
        }
        self.queues.finish_current(&mut conn.out);
        self.count_sent(slot, &packet);
        true
    }

    #[inline]
    fn count_sent(&mut self, slot: u32, packet: &Packet) {
        self.stats.frames_written += 1;
        let conn = &mut self.conns[slot];
        conn.sent.count(packet.packet_bytes());
        if let Role::Client { .. } = conn.role {
            self.stats.sent.count(packet.packet_bytes());
        }
    }

    /// Writes one frame of our own: `None` when none is due, false when it does not fit.
    #[inline]
    fn write_own(&mut self, slot: u32, out: &mut FrameBuf<'_>) -> Option<bool> {
        let next = self.next_own(slot)?;
        Some(self.write_next(slot, next, out))
    }

    #[inline]
    fn next_own(&mut self, slot: u32) -> Option<Next> {
        let conn = &self.conns[slot];
        if conn.due.any() {
            let due = &conn.due;
            return Some(if due.server_info.is_some() {
                Next::Info
            } else if due.watch {
                Next::Watch
            } else if let Some(data) = due.pong {
                Next::Pong(data)
            } else if let Some(health) = due.health {
                Next::Health(health)
            } else if due.restarting {
                Next::Restarting
            } else {
                Next::KeepAlive
            });
        }
        // A departure is told after the packets that came before it, and before those of a key that
        // came back meanwhile, which have joined them.
        if let Some(departure) = self.heard.departure(&conn.heard) {
            let Departure {
                key,
                hash,
                returned,
            } = departure;
            if returned || !self.queues.holds_any(slot, &key, hash) {
                return Some(Next::Departure(key));
            }
        }
        if conn.watcher && conn.notes.is_empty() {
            let watcher = conn.id(slot);
            self.tell_own_watcher(watcher);
        }
        self.notes.first(&self.conns[slot].notes).map(Next::Note)
    }

    #[cold]
    fn write_next(&mut self, slot: u32, next: Next, out: &mut FrameBuf<'_>) -> bool {
        self.scratch.clear();
        let frame = &mut self.scratch;
        let due = &mut self.conns[slot].due;
        match next {
            Next::Info => frame.extend_from_slice(due.server_info.as_deref().unwrap_or_default()),
            Next::Watch => WatchConns.write(frame),
            Next::KeepAlive => KeepAlive.write(frame),
            Next::Pong(data) => Pong(data).write(frame),
            Next::Health(health) => HealthFrame {
                problem: match health {
                    Health::Fighting => FIGHTING.into(),
                    Health::Well => "".into(),
                },
            }
            .write(frame),
            Next::Restarting => self.restarting.write(frame),
            Next::Note(Note::NotHere(key)) => PeerGone {
                key,
                reason: GoneReason::NotHere,
            }
            .write(frame),
            Next::Note(Note::Presence(change, _)) => write_presence(&change, frame),
            Next::Departure(key) => write_presence(&Presence { key, here: None }, frame),
        }
        if self.scratch.len() > out.room() {
            return false;
        }
        out.put(&self.scratch);
        self.wrote(slot, &next);
        true
    }

    /// What was written is not due any more.
    fn wrote(&mut self, slot: u32, next: &Next) {
        self.stats.frames_written += 1;
        let conn = &mut self.conns[slot];
        match next {
            Next::Info => conn.due.server_info = None,
            Next::Watch => conn.due.watch = false,
            Next::KeepAlive => {
                conn.due.keep_alive = false;
                self.stats.keep_alive_frames += 1;
            }
            Next::Pong(_) => {
                conn.due.pong = None;
                self.stats.sent_pong += 1;
            }
            Next::Health(_) => {
                conn.due.health = None;
                self.stats.health_frames += 1;
            }
            Next::Restarting => {
                conn.due.restarting = false;
                self.stats.restarting_frames += 1;
            }
            Next::Departure(_) => {
                self.heard.departure_told(&mut conn.heard);
                self.stats.peer_gone_disconnected_frames += 1;
            }
            Next::Note(Note::NotHere(_)) => {
                self.notes.remove_first(&mut conn.notes);
                self.stats.peer_gone_not_here_frames += 1;
            }
            Next::Note(Note::Presence(change, origin)) => {
                self.notes.remove_first(&mut conn.notes);
                if change.here.is_none() {
                    self.stats.peer_gone_disconnected_frames += 1;
                }
                self.change_taken(slot, *origin);
            }
        }
    }
}

fn write_presence(change: &Presence, frame: &mut Vec<u8>) {
    let key = change.key;
    match change.here {
        Some((addr, flags)) => PeerPresent {
            key,
            addr: Some(addr),
            flags,
        }
        .write(frame),
        None => PeerGone {
            key,
            reason: GoneReason::Disconnected,
        }
        .write(frame),
    }
}
