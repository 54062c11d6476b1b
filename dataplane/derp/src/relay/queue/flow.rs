//! Flows: the packets of one sender and kind to one connection, while there are any.

use towline_wire::NodePublic;

use super::{Arrival, Class, Outgoing, Packet};
use crate::relay::slab::{NONE, Slab};
use crate::relay::stats::PacketKind;

#[derive(Debug)]
pub(super) struct Flow {
    pub(super) src: NodePublic,
    src_hash: u64,
    dst: u32,
    kind: PacketKind,
    /// Oldest and newest packet.
    pub(super) head: u32,
    tail: u32,
    /// The storage that its packets take.
    pub(super) bytes: u32,
    /// Bytes that it may still send in its turn.
    pub(super) deficit: u32,
    /// The ring of the connection's flows of this kind.
    pub(super) next: u32,
    prev: u32,
    bucket_next: u32,
}

#[derive(Debug)]
pub(super) struct Flows {
    flows: Slab<Flow>,
    /// First flow of a bucket.
    buckets: Vec<u32>,
}

/// Flows exist only while packets wait, so there are far fewer than connections.
const BUCKETS: usize = 1 << 13;

/// How far to look for the longest flow; with more of them, the last one found stays a candidate.
const LONGEST_SCAN_MAX: u32 = 32;

impl Flows {
    pub(super) fn new(max: u32) -> Self {
        Self {
            flows: Slab::new(max),
            buckets: vec![NONE; BUCKETS],
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.flows.len()
    }

    #[inline]
    pub(super) fn find(
        &self,
        dst: u32,
        kind: PacketKind,
        src: &NodePublic,
        src_hash: u64,
    ) -> Option<u32> {
        let mut at = self.buckets[bucket(src_hash, dst, kind)];
        while at != NONE {
            let flow = &self.flows[at];
            if flow.src_hash == src_hash && flow.dst == dst && flow.kind == kind && flow.src == *src
            {
                return Some(at);
            }
            at = flow.bucket_next;
        }
        None
    }

    /// The arrival's flow, and whether it is new (and empty).
    #[inline]
    pub(super) fn find_or_insert(
        &mut self,
        out: &mut Outgoing,
        arrival: &Arrival<'_>,
    ) -> Option<(u32, bool)> {
        let Arrival {
            dst,
            kind,
            src,
            src_hash,
            ..
        } = *arrival;
        if let Some(index) = self.find(dst, kind, src, src_hash) {
            return Some((index, false));
        }
        let bucket = bucket(src_hash, dst, kind);
        let index = self.flows.insert(Flow {
            src: *src,
            src_hash,
            dst,
            kind,
            head: NONE,
            tail: NONE,
            bytes: 0,
            deficit: 0,
            next: NONE,
            prev: NONE,
            bucket_next: self.buckets[bucket],
        })?;
        self.buckets[bucket] = index;
        self.enter_ring(&mut out.classes[kind as usize], index);
        Some((index, true))
    }

    #[inline]
    pub(super) fn append(
        &mut self,
        flow: u32,
        packet: u32,
        charge: u32,
        packets: &mut Slab<Packet>,
    ) {
        let flow = &mut self.flows[flow];
        if flow.head == NONE {
            flow.head = packet;
        } else {
            packets[flow.tail].next = packet;
        }
        flow.tail = packet;
        flow.bytes += charge;
    }

    /// Ends a flow without packets.
    #[inline]
    pub(super) fn remove(&mut self, out: &mut Outgoing, kind: PacketKind, index: u32) {
        let flow = &self.flows[index];
        let (next, prev, bucket_next) = (flow.next, flow.prev, flow.bucket_next);
        let bucket = bucket(flow.src_hash, flow.dst, flow.kind);

        let mut at = self.buckets[bucket];
        if at == index {
            self.buckets[bucket] = bucket_next;
        } else {
            while self.flows[at].bucket_next != index {
                at = self.flows[at].bucket_next;
            }
            self.flows[at].bucket_next = bucket_next;
        }

        let class = &mut out.classes[kind as usize];
        if next == index {
            class.head = NONE;
        } else {
            self.flows[next].prev = prev;
            self.flows[prev].next = next;
            if class.head == index {
                class.head = next;
            }
        }
        if class.longest == index {
            class.longest = NONE;
        }
        self.flows.remove(index);
    }

    /// The longest flow of a class that has any.
    pub(super) fn longest(&self, class: &mut Class) -> u32 {
        let mut best = if class.longest == NONE {
            class.head
        } else {
            class.longest
        };
        let mut at = class.head;
        for _ in 0..LONGEST_SCAN_MAX {
            if self.flows[at].bytes > self.flows[best].bytes {
                best = at;
            }
            at = self.flows[at].next;
            if at == class.head {
                break;
            }
        }
        class.longest = best;
        best
    }

    /// A new flow waits for all others to have their turn.
    #[inline]
    fn enter_ring(&mut self, class: &mut Class, index: u32) {
        if class.head == NONE {
            self.flows[index].next = index;
            self.flows[index].prev = index;
            class.head = index;
            return;
        }
        let first = class.head;
        let last = self.flows[first].prev;
        self.flows[index].next = first;
        self.flows[index].prev = last;
        self.flows[last].next = index;
        self.flows[first].prev = index;
    }
}

impl core::ops::Index<u32> for Flows {
    type Output = Flow;

    #[inline]
    fn index(&self, index: u32) -> &Flow {
        &self.flows[index]
    }
}

impl core::ops::IndexMut<u32> for Flows {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Flow {
        &mut self.flows[index]
    }
}

#[inline]
const fn bucket(src_hash: u64, dst: u32, kind: PacketKind) -> usize {
    let spread = ((dst as u64) << 1 | kind as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((src_hash ^ spread) >> 40) as usize & (BUCKETS - 1)
}
