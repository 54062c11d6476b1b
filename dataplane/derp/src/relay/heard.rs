//! Who has heard from whom: every receiver of a packet is told when the key it came from has left the
//! region.
//!
//! Each pair of a receiver and a key is an entry, found by the pair (has it been noted?), by the key
//! (who must be told?) and by the receiver (what to forget with it?). When the key leaves, its entries
//! move to their receivers' lists of departures to tell: no notice needs memory that the pair did not
//! have already.

use towline_wire::NodePublic;

use super::slab::{NONE, Slab};

#[derive(Debug)]
struct Entry {
    key: NodePublic,
    hash: u64,
    receiver: u32,
    pair_next: u32,
    key_next: u32,
    key_prev: u32,
    /// In the receiver's list, of keys heard from or of departures.
    list_next: u32,
    list_prev: u32,
}

/// A receiver's side: the keys that it heard from, and those whose departure it is not told yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeardFrom {
    first: u32,
    gone_first: u32,
    gone_last: u32,
}

impl HeardFrom {
    pub(super) const NOBODY: Self = Self {
        first: NONE,
        gone_first: NONE,
        gone_last: NONE,
    };

    pub(super) const fn has_departures(&self) -> bool {
        self.gone_first != NONE
    }
}

#[derive(Debug)]
pub(super) struct Heard {
    entries: Slab<Entry>,
    /// First entry of a bucket plus one, so that zeroed memory is empty and stays untouched.
    by_pair: Vec<u32>,
    by_key: Vec<u32>,
    mask: usize,
}

impl Heard {
    pub(super) fn new(max: u32) -> Self {
        // Chains of eight when full: short enough, and the index of a quiet relay stays small.
        let buckets = (max as usize / 8).next_power_of_two();
        Self {
            entries: Slab::new(max),
            by_pair: vec![0; buckets],
            by_key: vec![0; buckets],
            mask: buckets - 1,
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.entries.len()
    }

    /// Notes that `receiver` gets a packet from `key`. False when there is no room to remember it.
    #[inline]
    pub(super) fn note(
        &mut self,
        list: &mut HeardFrom,
        receiver: u32,
        key: &NodePublic,
        hash: u64,
    ) -> bool {
        let pair = self.pair_bucket(receiver, hash);
        let mut at = self.by_pair[pair].wrapping_sub(1);
        while at != NONE {
            let entry = &self.entries[at];
            if entry.receiver == receiver && entry.hash == hash && entry.key == *key {
                return true;
            }
            at = entry.pair_next;
        }
        self.insert(list, receiver, key, hash)
    }

    #[cold]
    fn insert(&mut self, list: &mut HeardFrom, receiver: u32, key: &NodePublic, hash: u64) -> bool {
        let pair = self.pair_bucket(receiver, hash);
        let by_key = self.key_bucket(hash);
        let Some(index) = self.entries.insert(Entry {
            key: *key,
            hash,
            receiver,
            pair_next: self.by_pair[pair].wrapping_sub(1),
            key_next: self.by_key[by_key].wrapping_sub(1),
            key_prev: NONE,
            list_next: list.first,
            list_prev: NONE,
        }) else {
            return false;
        };
        self.by_pair[pair] = index + 1;
        self.by_key[by_key] = index + 1;
        let key_next = self.entries[index].key_next;
        if key_next != NONE {
            self.entries[key_next].key_prev = index;
        }
        if list.first != NONE {
            self.entries[list.first].list_prev = index;
        }
        list.first = index;
        true
    }

    /// Where `next_to_tell` starts for a key with this hash.
    pub(super) fn cursor(&self, hash: u64) -> u32 {
        self.by_key[self.key_bucket(hash)].wrapping_sub(1)
    }

    /// The next entry of `key`, which has left, and its receiver. The entry is to be moved by `depart`.
    pub(super) fn next_to_tell(
        &self,
        cursor: &mut u32,
        key: &NodePublic,
        hash: u64,
    ) -> Option<(u32, u32)> {
        while *cursor != NONE {
            let index = *cursor;
            let entry = &self.entries[index];
            *cursor = entry.key_next;
            if entry.hash == hash && entry.key == *key {
                return Some((index, entry.receiver));
            }
        }
        None
    }

    /// Moves an entry from its receiver's keys to its departures.
    pub(super) fn depart(&mut self, list: &mut HeardFrom, index: u32) {
        self.unlink(list, index);
        self.entries[index].list_next = NONE;
        if list.gone_last == NONE {
            list.gone_first = index;
        } else {
            self.entries[list.gone_last].list_next = index;
        }
        list.gone_last = index;
    }

    /// The receiver's oldest departure, and the hash of its key.
    pub(super) fn departure(&self, list: &HeardFrom) -> Option<(NodePublic, u64)> {
        (list.gone_first != NONE).then(|| {
            let entry = &self.entries[list.gone_first];
            (entry.key, entry.hash)
        })
    }

    /// The receiver's oldest departure, which is told now.
    pub(super) fn take_departure(&mut self, list: &mut HeardFrom) -> Option<NodePublic> {
        let index = list.gone_first;
        if index == NONE {
            return None;
        }
        list.gone_first = self.entries[index].list_next;
        if list.gone_first == NONE {
            list.gone_last = NONE;
        }
        self.entries.remove(index);
        Some(self.entries[index].key)
    }

    /// Forgets a receiver.
    pub(super) fn forget(&mut self, list: &mut HeardFrom) {
        while list.first != NONE {
            let index = list.first;
            self.unlink(list, index);
            self.entries.remove(index);
        }
        while self.take_departure(list).is_some() {}
    }

    /// Takes an entry out of both indices and its receiver's keys.
    fn unlink(&mut self, list: &mut HeardFrom, index: u32) {
        let entry = &self.entries[index];
        let (receiver, hash, pair_next) = (entry.receiver, entry.hash, entry.pair_next);
        let (key_next, key_prev) = (entry.key_next, entry.key_prev);
        let (list_next, list_prev) = (entry.list_next, entry.list_prev);

        let pair = self.pair_bucket(receiver, hash);
        let mut at = self.by_pair[pair].wrapping_sub(1);
        if at == index {
            self.by_pair[pair] = pair_next.wrapping_add(1);
        } else {
            while self.entries[at].pair_next != index {
                at = self.entries[at].pair_next;
            }
            self.entries[at].pair_next = pair_next;
        }

        if key_prev == NONE {
            let bucket = self.key_bucket(hash);
            self.by_key[bucket] = key_next.wrapping_add(1);
        } else {
            self.entries[key_prev].key_next = key_next;
        }
        if key_next != NONE {
            self.entries[key_next].key_prev = key_prev;
        }

        if list_prev == NONE {
            list.first = list_next;
        } else {
            self.entries[list_prev].list_next = list_next;
        }
        if list_next != NONE {
            self.entries[list_next].list_prev = list_prev;
        }
    }

    const fn key_bucket(&self, hash: u64) -> usize {
        (hash >> 20) as usize & self.mask
    }

    const fn pair_bucket(&self, receiver: u32, hash: u64) -> usize {
        let mixed = hash ^ (receiver as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> 24) as usize & self.mask
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NodePublic = NodePublic([1; 32]);
    const B: NodePublic = NodePublic([2; 32]);

    fn tell(heard: &mut Heard, lists: &mut [HeardFrom], key: &NodePublic) -> Vec<u32> {
        let mut told = Vec::new();
        let hash = u64::from(key.0[0]);
        let mut cursor = heard.cursor(hash);
        while let Some((entry, receiver)) = heard.next_to_tell(&mut cursor, key, hash) {
            heard.depart(&mut lists[receiver as usize], entry);
            told.push(receiver);
        }
        told.sort_unstable();
        told
    }

    #[test]
    fn receivers_are_told_once_of_each_key_that_left() {
        let mut heard = Heard::new(16);
        let mut lists = [HeardFrom::NOBODY; 3];
        for receiver in [0, 2, 0, 2, 1] {
            let key = if receiver == 1 { &B } else { &A };
            let list = &mut lists[receiver as usize];
            assert!(heard.note(list, receiver, key, u64::from(key.0[0])));
        }
        assert_eq!(tell(&mut heard, &mut lists, &A), [0, 2]);
        assert!(tell(&mut heard, &mut lists, &A).is_empty());
        assert_eq!(heard.take_departure(&mut lists[0]), Some(A));
        assert_eq!(heard.take_departure(&mut lists[0]), None);
        assert!(!lists[1].has_departures());
        heard.forget(&mut lists[2]);
        heard.forget(&mut lists[1]);
        assert_eq!(heard.entries.len(), 0);
        assert!(tell(&mut heard, &mut lists, &B).is_empty());
    }

    #[test]
    fn what_has_no_room_is_not_remembered() {
        let mut heard = Heard::new(1);
        let mut list = HeardFrom::NOBODY;
        assert!(heard.note(&mut list, 0, &A, 1));
        assert!(!heard.note(&mut list, 0, &B, 2));
        assert!(heard.note(&mut list, 0, &A, 1));
    }
}
