//! The end of a turn: packets that are still queued leave the receive buffers.

use super::{Outgoing, Place, Queues};
use crate::relay::Buffers;
use crate::relay::blocks::Chain;
use crate::relay::slab::NONE;
use crate::relay::stats::{DropReason, PacketKind, Stats};

/// A packet that was partly written could not be stored: its connection cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::relay) struct Cut;

impl Outgoing {
    /// The kind of which a packet is dropped first.
    fn least_wanted(&self) -> Option<PacketKind> {
        let waits = |kind: &PacketKind| self.classes[*kind as usize].head != NONE;
        [PacketKind::Other, PacketKind::Disco]
            .into_iter()
            .find(waits)
    }
}

impl Queues {
    /// A packet that may lie in a receive buffer, and the connection that it is for.
    pub(in crate::relay) fn next_unsettled(&mut self) -> Option<(u32, u32)> {
        loop {
            let index = self.unsettled.pop()?;
            let packet = &mut self.packets[index];
            packet.unsettled = false;
            if matches!(packet.place, Place::Buffer { .. }) {
                return Some((index, packet.dst));
            }
        }
    }

    /// Copies a packet to blocks. Where there are too few, it is dropped, or older ones are. The one that
    /// is being written is not among those that can be: without storage for it, the connection ends.
    pub(in crate::relay) fn settle_packet(
        &mut self,
        index: u32,
        out: &mut Outgoing,
        buffers: &impl Buffers,
        stats: &mut Stats,
    ) -> Result<(), Cut> {
        let packet = self.packets[index];
        let Place::Buffer { buffer, offset } = packet.place else {
            return Ok(());
        };
        let is_current = packet.flow == NONE;
        while out.bytes() > self.share() {
            let Some(kind) = out.least_wanted() else {
                break;
            };
            self.drop_oldest(out, kind, stats);
            if !is_current && self.packets[index].place == Place::Dropped {
                return Ok(());
            }
        }
        let start = offset as usize;
        let bytes = &buffers.bytes(buffer)[start..start + packet.len as usize];
        let mut chain = Chain::EMPTY;
        if self.blocks.append(&mut chain, bytes) {
            self.packets[index].place = Place::Blocks {
                head: chain.head,
                offset: 0,
            };
            return Ok(());
        }
        // What waits is charged for the blocks that it needs here, and there are more than that free.
        debug_assert!(is_current);
        self.count_drop(out, index, DropReason::WriteError, stats);
        self.packets[index].place = Place::Dropped;
        Err(Cut)
    }
}
