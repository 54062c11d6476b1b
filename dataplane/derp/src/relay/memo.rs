//! Remembers the hashes of recent destinations: a packet to one of them is not hashed again, and
//! finds its record at the first place that is looked at.
//!
//! What is remembered is only a hint. A stale one costs a lookup, a key chosen to collide costs a hash.

use towline_wire::NodePublic;

use super::config::ShardConfig;
use super::slab::NONE;

const ENTRIES: usize = 1 << 9;

#[derive(Debug, Clone, Copy)]
struct Entry {
    key: NodePublic,
    hash: u64,
    record: u32,
}

#[derive(Debug)]
pub(super) struct Memo {
    entries: Box<[Entry]>,
}

impl Memo {
    pub(super) fn new() -> Self {
        let empty = Entry {
            key: NodePublic([0; 32]),
            hash: 0,
            record: NONE,
        };
        Self {
            entries: vec![empty; ENTRIES].into_boxed_slice(),
        }
    }

    /// The hash of a key, and where its record was.
    #[inline]
    pub(super) fn look_up(&mut self, config: &ShardConfig, key: &NodePublic) -> (u64, u32) {
        let entry = &mut self.entries[place(key)];
        // The empty entries' key is the zero key, whose true hash they do not have.
        if entry.key != *key || entry.hash == 0 {
            *entry = Entry {
                key: *key,
                hash: config.key_hash(key),
                record: NONE,
            };
        }
        (entry.hash, entry.record)
    }

    /// Where the record of a key was, whose hash is known.
    #[inline]
    pub(super) fn hint(&mut self, key: &NodePublic, hash: u64) -> u32 {
        let entry = &mut self.entries[place(key)];
        if entry.key != *key || entry.hash == 0 {
            *entry = Entry {
                key: *key,
                hash,
                record: NONE,
            };
        }
        entry.record
    }

    /// Remembers where the record of a key is.
    #[inline]
    pub(super) fn note(&mut self, key: &NodePublic, record: u32) {
        let entry = &mut self.entries[place(key)];
        if entry.key == *key {
            entry.record = record;
        }
    }
}

#[inline]
const fn place(key: &NodePublic) -> usize {
    let [a, b, c, d, e, f, g, h, ..] = key.0;
    let word = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
    (word.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 55) as usize & (ENTRIES - 1)
}
