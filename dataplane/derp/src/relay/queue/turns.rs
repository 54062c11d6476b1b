//! Whose packet is written next.

use towline_wire::frame::HEADER_LEN;
use towline_wire::key::KEY_LEN;
use towline_wire::limits::{QUEUE_DISCO_RUN_BYTES, QUEUE_PACKETS_SHORT, QUEUE_TURN_BYTES};
use towline_wire::{NodePublic, Time};

use super::{Outgoing, Packet, Queues};
use crate::relay::slab::NONE;
use crate::relay::stats::{PacketKind, Stats};

/// A frame header and a key are paid for too, or small packets would be cheap.
const OVERHEAD_BYTES: u32 = (HEADER_LEN + KEY_LEN) as u32;

impl Queues {
    /// Chooses the packet to be written next and its sender. It is the current packet until
    /// `finish_current`.
    #[inline]
    pub(in crate::relay) fn start_next(
        &mut self,
        now: Time,
        out: &mut Outgoing,
        stats: &mut Stats,
    ) -> Option<(Packet, NodePublic)> {
        let kind = out.next_kind()?;
        let flow = self.turn(now, out, kind, stats)?;
        let src = self.flows[flow].src;
        let index = self.pop(out, kind, flow, stats);
        let packet = &mut self.packets[index];
        packet.flow = NONE;
        out.disco_run = match kind {
            PacketKind::Disco if out.classes[PacketKind::Other as usize].head != NONE => {
                out.disco_run + packet.len + OVERHEAD_BYTES
            }
            _ => 0,
        };
        out.current = index;
        out.written = 0;
        stats.dequeued += 1;
        stats.queued_ns += (now - packet.queued_at).as_nanos() as u64;
        Some((*packet, src))
    }

    /// The packet that is being written, and how much of it was.
    #[inline]
    pub(in crate::relay) fn current(&self, out: &Outgoing) -> Option<(Packet, u32)> {
        (out.current != NONE).then(|| (self.packets[out.current], out.written))
    }

    /// Notes that more of the current packet was written.
    #[inline]
    pub(in crate::relay) const fn advance(&self, out: &mut Outgoing, bytes: usize) {
        out.written += bytes as u32;
    }

    /// Forgets the current packet.
    #[inline]
    pub(in crate::relay) fn finish_current(&mut self, out: &mut Outgoing) {
        self.release(out.current);
        out.current = NONE;
        out.written = 0;
    }

    /// The flow whose turn it is and whose turn is long enough for its oldest packet. Packets that are
    /// too old for a queue that is not short are dropped on the way.
    #[inline]
    fn turn(
        &mut self,
        now: Time,
        out: &mut Outgoing,
        kind: PacketKind,
        stats: &mut Stats,
    ) -> Option<u32> {
        loop {
            let index = out.classes[kind as usize].head;
            if index == NONE {
                return None;
            }
            let flow = &mut self.flows[index];
            let packet = &self.packets[flow.head];
            let short = self
                .bounds
                .bytes_aged
                .max(QUEUE_PACKETS_SHORT * packet.charge());
            if out.classes[kind as usize].bytes > short
                && (now - packet.queued_at).as_nanos() as u64 > self.bounds.age_max_ns
            {
                self.drop_head(out, kind, index, stats);
                continue;
            }
            if flow.next == index {
                return Some(index);
            }
            let cost = packet.len + OVERHEAD_BYTES;
            if flow.deficit >= cost {
                flow.deficit -= cost;
                return Some(index);
            }
            // A packet that is longer waits for several turns.
            flow.deficit += QUEUE_TURN_BYTES as u32;
            out.classes[kind as usize].head = flow.next;
        }
    }
}

impl Outgoing {
    #[inline]
    const fn next_kind(&self) -> Option<PacketKind> {
        let disco = self.classes[PacketKind::Disco as usize].head != NONE;
        let data = self.classes[PacketKind::Other as usize].head != NONE;
        match (disco, data) {
            (true, true) if self.disco_run >= QUEUE_DISCO_RUN_BYTES as u32 => {
                Some(PacketKind::Other)
            }
            (true, _) => Some(PacketKind::Disco),
            (false, true) => Some(PacketKind::Other),
            (false, false) => None,
        }
    }
}
