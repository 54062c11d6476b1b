//! What waits for connections: packets in flows, one flow for each sender to each connection, disco
//! apart from data.
//!
//! Flows of a connection take turns (deficit round robin), so that no sender takes the place of
//! another; disco goes first. A queue is bounded by the storage that it keeps alive; the newest packet
//! is taken and the oldest of the longest flow goes. Packets are queued where they lie in the receive
//! buffer, and copied to blocks by `settle` if they outlive the turn.
//!
//! It knows nothing of keys' owners or frames; `route` puts packets in, `frames_out` takes them out.

mod flow;
mod settle;
mod turns;

use towline_wire::limits::{QUEUE_SHARE_OF_FREE, QUEUE_UNSETTLED_MAX};
use towline_wire::{NodePublic, Time};

use super::blocks::{BLOCK_BYTES, Blocks, blocks_for};
use super::buffers::BufferId;
use super::slab::{NONE, Slab};
use super::stats::{DropReason, PacketKind, Stats};
use flow::{Flow, Flows};

/// The bounds of one connection's queues.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// By kind.
    pub(super) bytes_max: [u32; 2],
    /// In place of the others for data to another relay.
    pub(super) uplink_bytes_max: u32,
    /// Packets older than this are dropped ...
    pub(super) age_max_ns: u64,
    /// ... while the queue holds more than this.
    pub(super) bytes_aged: u32,
}

/// Where the bytes of a packet lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// In a receive buffer, until the turn ends.
    Buffer { buffer: BufferId, offset: u32 },
    /// In blocks.
    Blocks { head: u32, offset: u32 },
    /// Nowhere: it was taken out, or dropped while it was being written.
    Dropped,
}

/// A packet that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    next: u32,
    /// Its flow; `NONE` while it is being written.
    flow: u32,
    /// The connection that it is for.
    dst: u32,
    pub(super) len: u32,
    pub(super) place: Place,
    queued_at: Time,
    kind: PacketKind,
    /// Bytes at its start that are a key, on its way to another relay.
    key_bytes: u8,
    /// The list of `settle` has this place already.
    unsettled: bool,
}

impl Packet {
    /// Bytes of the packet itself.
    pub(super) const fn packet_bytes(&self) -> usize {
        self.len as usize - self.key_bytes as usize
    }

    /// The storage that it takes, or will when it is settled.
    const fn charge(&self) -> u32 {
        match self.place {
            Place::Buffer { .. } => charge(0, self.len),
            Place::Blocks { offset, .. } => charge(offset, self.len),
            Place::Dropped => 0,
        }
    }
}

const fn charge(offset: u32, len: u32) -> u32 {
    // An empty packet still takes a place.
    let blocks = blocks_for(offset + len);
    BLOCK_BYTES as u32 * if blocks == 0 { 1 } else { blocks }
}

/// A packet to be queued.
#[derive(Debug, Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub(super) dst: u32,
    pub(super) kind: PacketKind,
    pub(super) src: &'a NodePublic,
    pub(super) src_hash: u64,
    pub(super) place: Place,
    pub(super) len: u32,
    /// Bytes at the start that are the key it is for: it goes to another relay.
    pub(super) key_bytes: u8,
}

/// What became of an arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pushed {
    /// Queued, behind others of its sender.
    Queued,
    /// Queued, as the first of its sender for now.
    NewFlow,
    /// Dropped and counted.
    Dropped,
}

/// One connection's queues.
#[derive(Debug)]
pub(super) struct Outgoing {
    classes: [Class; 2],
    /// The packet being written, `NONE` between packets ...
    current: u32,
    /// ... and how much of it was.
    written: u32,
    /// Bytes of disco written while data waited.
    disco_run: u32,
    /// Packets for this connection that were dropped.
    pub(super) dropped: u64,
}

#[derive(Debug)]
struct Class {
    /// The flow whose turn it is.
    head: u32,
    /// The flow that was longest when a packet last came.
    longest: u32,
    /// The storage that its packets take.
    bytes: u32,
}

impl Outgoing {
    pub(super) const fn new() -> Self {
        Self {
            classes: [Class::EMPTY, Class::EMPTY],
            current: NONE,
            written: 0,
            disco_run: 0,
            dropped: 0,
        }
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.current == NONE && self.classes[0].head == NONE && self.classes[1].head == NONE
    }

    pub(super) const fn bytes(&self) -> u32 {
        self.classes[0].bytes + self.classes[1].bytes
    }
}

impl Class {
    const EMPTY: Self = Self {
        head: NONE,
        longest: NONE,
        bytes: 0,
    };
}

/// The queues of all connections.
#[derive(Debug)]
pub(super) struct Queues {
    pub(super) blocks: Blocks,
    packets: Slab<Packet>,
    flows: Flows,
    /// Packets that lie, or lay, in receive buffers.
    unsettled: Vec<u32>,
    bounds: Bounds,
}

impl Queues {
    pub(super) fn new(pool_bytes: usize, bounds: Bounds) -> Self {
        let blocks = Blocks::new(pool_bytes);
        let packets_max = blocks.count() + QUEUE_UNSETTLED_MAX as u32;
        Self {
            blocks,
            packets: Slab::new(packets_max),
            flows: Flows::new(packets_max),
            unsettled: Vec::with_capacity(packets_max as usize),
            bounds,
        }
    }

    /// Queues a packet for `out`, dropping older ones of the longest flow if need be. A packet that is
    /// dropped gives its blocks back.
    #[inline]
    pub(super) fn push(
        &mut self,
        now: Time,
        out: &mut Outgoing,
        arrival: &Arrival<'_>,
        stats: &mut Stats,
    ) -> Pushed {
        let kind = arrival.kind;
        let bytes_max = self.bytes_max(arrival);
        let mut packet = Packet {
            next: NONE,
            flow: NONE,
            dst: arrival.dst,
            len: arrival.len,
            place: arrival.place,
            queued_at: now,
            kind,
            key_bytes: arrival.key_bytes,
            unsettled: false,
        };
        let charge = packet.charge();
        // A packet that is larger than the bound is taken by an empty queue.
        while out.classes[kind as usize].bytes + charge > bytes_max
            && out.classes[kind as usize].head != NONE
        {
            self.drop_oldest(out, kind, stats);
        }
        let Some((flow, new_flow)) = self.flows.find_or_insert(out, arrival) else {
            return self.refuse(out, &packet, stats);
        };
        packet.flow = flow;
        let Some(index) = self.insert(packet) else {
            if new_flow {
                self.flows.remove(out, kind, flow);
            }
            return self.refuse(out, &packet, stats);
        };
        self.flows.append(flow, index, charge, &mut self.packets);
        let class = &mut out.classes[kind as usize];
        class.bytes += charge;
        stats.queued_bytes += u64::from(charge);
        if class.longest == NONE || self.flows[class.longest].bytes < self.flows[flow].bytes {
            class.longest = flow;
        }
        if new_flow {
            Pushed::NewFlow
        } else {
            Pushed::Queued
        }
    }

    /// Drops everything that waits for a connection that is gone.
    pub(super) fn clear(&mut self, out: &mut Outgoing, stats: &mut Stats) {
        if out.current != NONE {
            self.count_drop(out, out.current, DropReason::WriteError, stats);
            self.finish_current(out);
        }
        for kind in PacketKind::ALL {
            while let Some(index) = self.pop_head(out, kind, stats) {
                self.count_drop(out, index, DropReason::GoneDisconnected, stats);
                self.release(index);
            }
        }
    }

    #[inline]
    fn bytes_max(&self, arrival: &Arrival<'_>) -> u32 {
        let bytes_max = if arrival.key_bytes > 0 && arrival.kind == PacketKind::Other {
            self.bounds.uplink_bytes_max
        } else {
            self.bounds.bytes_max[arrival.kind as usize]
        };
        match arrival.place {
            Place::Blocks { .. } => bytes_max.min(self.share()),
            _ => bytes_max,
        }
    }

    /// What one connection may keep of the blocks: so those that read slowly share what there is, and
    /// leave room for one that only stumbles.
    pub(super) fn share(&self) -> u32 {
        u32::try_from(self.blocks.free_bytes() / QUEUE_SHARE_OF_FREE).unwrap_or(u32::MAX)
    }

    /// Whether packets of a sender wait for a connection.
    pub(super) fn holds_any(&self, dst: u32, src: &NodePublic, src_hash: u64) -> bool {
        (PacketKind::ALL.into_iter())
            .any(|kind| self.flows.find(dst, kind, src, src_hash).is_some())
    }

    /// Packets and flows.
    pub(super) fn len(&self) -> (u32, u32) {
        (self.packets.len(), self.flows.len())
    }

    /// Drops a packet on arrival.
    #[cold]
    fn refuse(&mut self, out: &mut Outgoing, packet: &Packet, stats: &mut Stats) -> Pushed {
        out.dropped += 1;
        stats.count_drop(DropReason::QueueTail, packet.kind, packet.packet_bytes());
        if let Place::Blocks { head, .. } = packet.place {
            self.blocks.release(head);
        }
        Pushed::Dropped
    }

    /// Drops the oldest packet of the longest flow.
    #[cold]
    fn drop_oldest(&mut self, out: &mut Outgoing, kind: PacketKind, stats: &mut Stats) {
        let flow = self.flows.longest(&mut out.classes[kind as usize]);
        self.drop_head(out, kind, flow, stats);
    }

    fn drop_head(&mut self, out: &mut Outgoing, kind: PacketKind, flow: u32, stats: &mut Stats) {
        let index = self.pop(out, kind, flow, stats);
        self.count_drop(out, index, DropReason::QueueHead, stats);
        self.release(index);
    }

    /// Takes the oldest packet of the flow whose turn it is, whatever its turn allows.
    fn pop_head(&mut self, out: &mut Outgoing, kind: PacketKind, stats: &mut Stats) -> Option<u32> {
        let flow = out.classes[kind as usize].head;
        (flow != NONE).then(|| self.pop(out, kind, flow, stats))
    }

    /// Takes the oldest packet of a flow; an empty flow ends.
    #[inline]
    fn pop(&mut self, out: &mut Outgoing, kind: PacketKind, flow: u32, stats: &mut Stats) -> u32 {
        let index = self.flows[flow].head;
        let packet = &self.packets[index];
        let charge = packet.charge();
        let Flow { head, bytes, .. } = &mut self.flows[flow];
        *head = packet.next;
        *bytes -= charge;
        let ended = *head == NONE;
        out.classes[kind as usize].bytes -= charge;
        stats.queued_bytes -= u64::from(charge);
        if ended {
            self.flows.remove(out, kind, flow);
        }
        index
    }

    /// Counts a packet as dropped, unless it was before.
    fn count_drop(&self, out: &mut Outgoing, index: u32, reason: DropReason, stats: &mut Stats) {
        let packet = &self.packets[index];
        if packet.place != Place::Dropped {
            out.dropped += 1;
            stats.count_drop(reason, packet.kind, packet.packet_bytes());
        }
    }

    fn insert(&mut self, packet: Packet) -> Option<u32> {
        let listed = matches!(packet.place, Place::Buffer { .. });
        let index = self.packets.insert_with(|old| Packet {
            unsettled: old.is_some_and(|old| old.unsettled),
            ..packet
        })?;
        let packet = &mut self.packets[index];
        if listed && !packet.unsettled {
            packet.unsettled = true;
            self.unsettled.push(index);
        }
        Some(index)
    }

    /// Gives back the place and the storage of a packet that was taken out.
    #[inline]
    fn release(&mut self, index: u32) {
        if let Place::Blocks { head, .. } = self.packets[index].place {
            self.blocks.release(head);
        }
        self.packets[index].place = Place::Dropped;
        self.packets.remove(index);
    }
}
