//! Who has heard from whom: every receiver of a packet is told when the key it came from has left the
//! region.
//!
//! Each pair of a receiver and a key is one entry, found by the pair (has it been noted?), by the key
//! (who must be told?) and by the receiver (what to forget with it?). When the key leaves, its entries
//! move to their receivers' lists of departures to tell: no notice needs memory that the pair did not
//! have already. A key that comes back and speaks before its departure was told is told before all
//! others, and the pair stays noted.

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
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the list of keys heard from.
    Heard,
    /// In the list of departures.
    Left,
    /// The same, but the key has sent something since.
    Returned,
}

/// A receiver's side: the keys that it heard from, and those whose departure it is not told yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeardFrom {
    first: u32,
    /// Those that returned come first.
    gone_first: u32,
    gone_last: u32,
}

impl HeardFrom {
    pub(super) const NOBODY: Self = Self {
        first: NONE,
        gone_first: NONE,
        gone_last: NONE,
    };

    #[inline]
    pub(super) const fn has_departures(&self) -> bool {
        self.gone_first != NONE
    }
}

/// A departure to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Departure {
    pub(super) key: NodePublic,
    pub(super) hash: u64,
    /// The key has sent something since: it is to be told before that is.
    pub(super) returned: bool,
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
                if entry.state == State::Left {
                    self.returned(list, at);
                }
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
            list_next: NONE,
            list_prev: NONE,
            state: State::Heard,
        }) else {
            return false;
        };
        self.by_pair[pair] = index + 1;
        self.by_key[by_key] = index + 1;
        let key_next = self.entries[index].key_next;
        if key_next != NONE {
            self.entries[key_next].key_prev = index;
        }
        self.push_heard(list, index);
        true
    }

    #[cold]
    fn returned(&mut self, list: &mut HeardFrom, index: u32) {
        self.unlist(list, index);
        self.entries[index].state = State::Returned;
        let first = list.gone_first;
        self.entries[index].list_next = first;
        if first == NONE {
            list.gone_last = index;
        } else {
            self.entries[first].list_prev = index;
        }
        list.gone_first = index;
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
            if entry.hash == hash && entry.key == *key && entry.state != State::Left {
                return Some((index, entry.receiver));
            }
        }
        None
    }

    /// Moves an entry to the end of its receiver's departures. One departure is told for all that the
    /// receiver was not told of.
    pub(super) fn depart(&mut self, list: &mut HeardFrom, index: u32) {
        self.unlist(list, index);
        self.entries[index].state = State::Left;
        let last = list.gone_last;
        self.entries[index].list_prev = last;
        if last == NONE {
            list.gone_first = index;
        } else {
            self.entries[last].list_next = index;
        }
        list.gone_last = index;
    }

    /// The receiver's next departure.
    pub(super) fn departure(&self, list: &HeardFrom) -> Option<Departure> {
        list.has_departures().then(|| {
            let entry = &self.entries[list.gone_first];
            Departure {
                key: entry.key,
                hash: entry.hash,
                returned: entry.state == State::Returned,
            }
        })
    }

    /// The receiver's next departure is told now.
    pub(super) fn departure_told(&mut self, list: &mut HeardFrom) {
        let index = list.gone_first;
        if index == NONE {
            return;
        }
        if self.entries[index].state == State::Returned {
            self.unlist(list, index);
            self.push_heard(list, index);
        } else {
            self.remove(list, index);
        }
    }

    /// Forgets a receiver.
    pub(super) fn forget(&mut self, list: &mut HeardFrom) {
        while list.first != NONE {
            self.remove(list, list.first);
        }
        while list.gone_first != NONE {
            self.remove(list, list.gone_first);
        }
    }

    fn push_heard(&mut self, list: &mut HeardFrom, index: u32) {
        let first = list.first;
        let entry = &mut self.entries[index];
        entry.state = State::Heard;
        entry.list_next = first;
        if first != NONE {
            self.entries[first].list_prev = index;
        }
        list.first = index;
    }

    /// Takes an entry out of its receiver's list.
    fn unlist(&mut self, list: &mut HeardFrom, index: u32) {
        let entry = &mut self.entries[index];
        let heard = entry.state == State::Heard;
        let next = core::mem::replace(&mut entry.list_next, NONE);
        let prev = core::mem::replace(&mut entry.list_prev, NONE);
        if prev != NONE {
            self.entries[prev].list_next = next;
        } else if heard {
            list.first = next;
        } else {
            list.gone_first = next;
        }
        if next != NONE {
            self.entries[next].list_prev = prev;
        } else if !heard {
            list.gone_last = prev;
        }
    }

    /// Takes an entry out of its receiver's list and both indices, and gives its place back.
    fn remove(&mut self, list: &mut HeardFrom, index: u32) {
        self.unlist(list, index);
        let entry = &self.entries[index];
        let (receiver, hash, pair_next) = (entry.receiver, entry.hash, entry.pair_next);
        let (key_next, key_prev) = (entry.key_next, entry.key_prev);

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
        self.entries.remove(index);
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
        assert_eq!(heard.departure(&lists[0]).map(|left| left.key), Some(A));
        heard.departure_told(&mut lists[0]);
        assert_eq!(heard.departure(&lists[0]), None);
        assert!(!lists[1].has_departures());
        heard.forget(&mut lists[2]);
        heard.forget(&mut lists[1]);
        assert_eq!(heard.entries.len(), 0);
        assert!(tell(&mut heard, &mut lists, &B).is_empty());
    }

    #[test]
    fn a_key_that_returns_is_told_first_and_stays_noted() {
        let mut heard = Heard::new(16);
        let mut lists = [HeardFrom::NOBODY];
        for key in [&A, &B] {
            assert!(heard.note(&mut lists[0], 0, key, u64::from(key.0[0])));
        }
        for key in [&A, &B] {
            assert_eq!(tell(&mut heard, &mut lists, key), [0]);
        }
        // However often it comes and goes meanwhile, one entry serves.
        for _ in 0..3 {
            assert!(heard.note(&mut lists[0], 0, &B, 2));
            assert_eq!(tell(&mut heard, &mut lists, &B), [0]);
        }
        assert!(heard.note(&mut lists[0], 0, &B, 2));
        assert_eq!(heard.len(), 2);
        let mut told = Vec::new();
        while let Some(departure) = heard.departure(&lists[0]) {
            told.push((departure.key, departure.returned));
            heard.departure_told(&mut lists[0]);
        }
        assert_eq!(told, [(B, true), (A, false)]);
        assert_eq!(heard.len(), 1);
        assert_eq!(tell(&mut heard, &mut lists, &B), [0]);
        heard.forget(&mut lists[0]);
        assert_eq!(heard.len(), 0);
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
