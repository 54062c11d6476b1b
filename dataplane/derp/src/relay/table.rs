//! The keys that a shard owns: which connection has one, which other relays have it, and whether its
//! departure is still being told.
//!
//! An open-addressing table of (part of the hash, index of the record); removal shifts back, so that
//! lookups stay short without tombstones. It grows when connections come, never for a packet.

use towline_wire::NodePublic;

use super::duplicates::Duplicates;
use super::slab::{NONE, Slab};

/// What is known of one key.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) key: NodePublic,
    pub(super) hash: u64,
    /// The connection that gets its packets.
    pub(super) active: u32,
    /// All of its connections, when there are several.
    pub(super) duplicates: Option<Box<Duplicates>>,
    /// The uplinks to the relays that have it, as bits.
    pub(super) forwarders: u64,
    /// The uplink in use: the one that had it first, then the lowest.
    pub(super) preferred: u8,
    /// The place in use belongs to a key (places are used again).
    live: bool,
    /// Its place in the order of changes (`presence`).
    pub(super) listed: bool,
    /// Watchers may have been told that it is here.
    pub(super) was_here: bool,
    pub(super) earlier: u32,
    pub(super) later: u32,
    pub(super) changed: u64,
}

impl Record {
    /// No connection here.
    pub(super) const fn is_away(&self) -> bool {
        self.active == NONE
    }

    /// No connection in the region.
    pub(super) const fn is_gone(&self) -> bool {
        self.active == NONE && self.forwarders == 0
    }
}

#[derive(Debug)]
pub(super) struct Table {
    records: Slab<Record>,
    /// Hash (upper half), index of the record plus one (lower half); zero is empty.
    slots: Vec<u64>,
    mask: usize,
}

/// Slots of an empty table.
const SLOTS_MIN: usize = 256;

impl Table {
    pub(super) fn new(keys_max: u32) -> Self {
        Self {
            records: Slab::new(keys_max),
            slots: vec![0; SLOTS_MIN],
            mask: SLOTS_MIN - 1,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.records.len()
    }

    /// The record of a key.
    #[inline]
    pub(super) fn find(&self, key: &NodePublic, hash: u64) -> Option<u32> {
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at];
            if slot == 0 {
                return None;
            }
            let index = index_of(slot);
            if tag_of(slot) == hash as u32 && self.records[index].key == *key {
                return Some(index);
            }
            at = (at + 1) & self.mask;
        }
    }

    /// Whether the place `index` holds the record of `key`.
    #[inline]
    pub(super) fn holds(&self, index: u32, key: &NodePublic) -> bool {
        (self.records.places())
            .get(index as usize)
            .is_some_and(|record| record.key == *key && record.live)
    }

    /// The record of a key, made if need be; `None` when there are as many as there may be.
    pub(super) fn find_or_insert(&mut self, key: &NodePublic, hash: u64) -> Option<u32> {
        if let Some(index) = self.find(key, hash) {
            return Some(index);
        }
        let index = self.records.insert(Record {
            key: *key,
            hash,
            active: NONE,
            duplicates: None,
            forwarders: 0,
            preferred: 0,
            live: true,
            listed: false,
            was_here: false,
            earlier: NONE,
            later: NONE,
            changed: 0,
        })?;
        if self.records.len() as usize * 2 > self.slots.len() {
            self.grow();
        } else {
            self.link(hash, index);
        }
        Some(index)
    }

    pub(super) fn remove(&mut self, index: u32) {
        let mut hole = self.home(self.records[index].hash);
        while index_of(self.slots[hole]) != index {
            hole = (hole + 1) & self.mask;
        }
        let mut at = hole;
        loop {
            at = (at + 1) & self.mask;
            let slot = self.slots[at];
            if slot == 0 {
                break;
            }
            let home = self.home(self.records[index_of(slot)].hash);
            // An entry may fill the hole unless its home lies between the hole and itself.
            if (at.wrapping_sub(home) & self.mask) >= (at.wrapping_sub(hole) & self.mask) {
                self.slots[hole] = slot;
                hole = at;
            }
        }
        self.slots[hole] = 0;
        let record = &mut self.records[index];
        record.live = false;
        record.duplicates = None;
        self.records.remove(index);
    }

    /// The places of all records, used or not.
    pub(super) fn places(&self) -> u32 {
        self.records.places().len() as u32
    }

    pub(super) fn is_live(&self, index: u32) -> bool {
        self.records[index].live
    }

    /// Bytes that a key takes, for the bound on idle connections.
    #[cfg(test)]
    pub(super) const RECORD_BYTES: usize = size_of::<Record>() + 4 * size_of::<u64>();

    const fn home(&self, hash: u64) -> usize {
        hash as usize & self.mask
    }

    fn link(&mut self, hash: u64, index: u32) {
        let mut at = self.home(hash);
        while self.slots[at] != 0 {
            at = (at + 1) & self.mask;
        }
        self.slots[at] = u64::from(hash as u32) << 32 | u64::from(index + 1);
    }

    fn grow(&mut self) {
        let count = self.slots.len() * 2;
        self.slots = vec![0; count];
        self.mask = count - 1;
        for index in 0..self.places() {
            if self.records[index].live {
                self.link(self.records[index].hash, index);
            }
        }
    }
}

#[inline]
const fn index_of(slot: u64) -> u32 {
    (slot as u32).wrapping_sub(1)
}

#[inline]
const fn tag_of(slot: u64) -> u32 {
    (slot >> 32) as u32
}

impl core::ops::Index<u32> for Table {
    type Output = Record;

    #[inline]
    fn index(&self, index: u32) -> &Record {
        &self.records[index]
    }
}

impl core::ops::IndexMut<u32> for Table {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut Record {
        &mut self.records[index]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn key(n: u8) -> NodePublic {
        NodePublic([n; 32])
    }

    proptest! {
        /// Few hashes, so that keys collide, share homes and shift.
        #[test]
        fn it_holds_what_a_map_holds(steps in proptest::collection::vec((0u8..40, any::<bool>()), 0..400)) {
            let mut table = Table::new(30);
            let mut map = HashMap::new();
            let hash = |n: u8| u64::from(n % 11) << 1;
            for (n, insert) in steps {
                if insert {
                    match table.find_or_insert(&key(n), hash(n)) {
                        Some(index) => { map.insert(n, index); }
                        None => prop_assert_eq!(map.len(), 30),
                    }
                } else if let Some(index) = map.remove(&n) {
                    table.remove(index);
                }
                for n in 0..40 {
                    prop_assert_eq!(table.find(&key(n), hash(n)), map.get(&n).copied());
                }
            }
        }
    }
}
