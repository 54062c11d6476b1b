//! Receiver indices: the 32-bit numbers by which peers address our sessions.
//!
//! The upper `worker_bits` bits of a number name the worker that owns the peer, the others are random; then a keyed
//! permutation of 32 bits (SPECK32/64, Beaulieu et al. 2013) makes all of it look random, so that outsiders learn
//! neither workers nor counts. A steering program in the kernel undoes it, with the 22 round keys in a map:
//!
//! ```c
//! __u16 x = index >> 16, y = index;                 /* index as a number: little endian on the wire */
//! for (int i = 21; i >= 0; i--) {
//!     y ^= x;  y = y >> 2 | y << 14;                /* rotate right by 2 */
//!     x = (x ^ round_key[i]) - y;  x = x << 7 | x >> 9;
//! }
//! worker = ((__u32)x << 16 | y) >> (32 - worker_bits);   /* when worker_bits > 0 */
//! ```

use core::hash::{BuildHasher, Hasher};
use std::collections::HashMap;

use crate::endpoint::{Entropy, random};

const ROUNDS: usize = 22;

/// Which worker's indices these are, and the permutation that all workers share.
#[derive(Clone)]
pub struct Indices {
    /// The worker that owns the tunnel.
    pub worker: u32,
    /// Bits of an index that name it, 0 to 16.
    pub worker_bits: u8,
    /// The permutation.
    pub permutation: Permutation,
}

impl Indices {
    /// The indices of one worker of `2^worker_bits`.
    ///
    /// # Panics
    /// The worker's number does not fit the bits, or there are more than 16.
    #[must_use]
    pub fn new(worker: u32, worker_bits: u8, permutation: Permutation) -> Self {
        assert!(worker_bits <= 16, "at most 16 bits name a worker");
        assert!(
            worker >> worker_bits == 0,
            "the worker's number fits its bits"
        );
        Self {
            worker,
            worker_bits,
            permutation,
        }
    }

    /// The worker that an index belongs to.
    #[must_use]
    pub fn worker_of(&self, index: u32) -> u32 {
        let number = self.permutation.invert(index);
        number
            .checked_shr(32 - u32::from(self.worker_bits))
            .unwrap_or(0)
    }

    fn draw(&self, entropy: &mut dyn Entropy) -> u32 {
        let number = u32::from_le_bytes(random(entropy));
        let shift = 32 - u32::from(self.worker_bits);
        let worker = self.worker.checked_shl(shift).unwrap_or(0);
        let rest = u32::MAX
            .checked_shr(u32::from(self.worker_bits))
            .unwrap_or(0);
        self.permutation.apply(worker | number & rest)
    }
}

/// One worker, and no secret: what it draws is random anyway.
impl Default for Indices {
    fn default() -> Self {
        Self::new(0, 0, Permutation::new([0; 8]))
    }
}

/// A keyed permutation of 32 bits.
#[derive(Clone)]
pub struct Permutation {
    round_keys: [u16; ROUNDS],
}

impl Permutation {
    /// The permutation of a key, which all workers and the steering program share.
    #[must_use]
    pub fn new(key: [u8; 8]) -> Self {
        let [a, b, c, d, e, f, g, h] = key;
        let mut round_key = u16::from_le_bytes([a, b]);
        let mut schedule = [[c, d], [e, f], [g, h]].map(u16::from_le_bytes);
        let mut round_keys = [0; ROUNDS];
        for (round, out) in (0u16..).zip(&mut round_keys) {
            *out = round_key;
            let part = &mut schedule[usize::from(round) % 3];
            (*part, round_key) = forward(*part, round_key, round);
        }
        Self { round_keys }
    }

    /// The keys of the rounds in the order of `apply`, for the steering program's map.
    #[must_use]
    pub const fn round_keys(&self) -> &[u16; ROUNDS] {
        &self.round_keys
    }

    /// The index of a number.
    #[must_use]
    pub fn apply(&self, number: u32) -> u32 {
        let start = ((number >> 16) as u16, number as u16);
        let (x, y) = self
            .round_keys
            .iter()
            .fold(start, |(x, y), &key| forward(x, y, key));
        u32::from(x) << 16 | u32::from(y)
    }

    /// The number of an index.
    #[must_use]
    pub fn invert(&self, index: u32) -> u32 {
        let start = ((index >> 16) as u16, index as u16);
        let (x, y) = self.round_keys.iter().rev().fold(start, |(x, y), &key| {
            let y = (y ^ x).rotate_right(2);
            ((x ^ key).wrapping_sub(y).rotate_left(7), y)
        });
        u32::from(x) << 16 | u32::from(y)
    }
}

/// A round of SPECK32: of the block, and of the key schedule too.
const fn forward(x: u16, y: u16, key: u16) -> (u16, u16) {
    let x = x.rotate_right(7).wrapping_add(y) ^ key;
    (x, y.rotate_left(2) ^ x)
}

/// Whose index each is, by peer slot.
pub(crate) struct IndexTable {
    indices: Indices,
    owners: HashMap<u32, u32, AsTheyAre>,
}

impl IndexTable {
    pub(crate) fn new(indices: Indices) -> Self {
        Self {
            indices,
            owners: HashMap::with_hasher(AsTheyAre),
        }
    }

    pub(crate) fn owner(&self, index: u32) -> Option<u32> {
        self.owners.get(&index).copied()
    }

    /// Draws an index that nobody has.
    pub(crate) fn add(&mut self, peer: u32, entropy: &mut dyn Entropy) -> u32 {
        loop {
            let index = self.indices.draw(entropy);
            if let std::collections::hash_map::Entry::Vacant(place) = self.owners.entry(index) {
                place.insert(peer);
                return index;
            }
        }
    }

    pub(crate) fn remove(&mut self, index: u32) {
        self.owners.remove(&index);
    }
}

/// Indices are as good as hashes already: they are random, and strangers cannot choose those in the table.
#[derive(Clone, Copy)]
struct AsTheyAre;

struct Same(u64);

impl BuildHasher for AsTheyAre {
    type Hasher = Same;

    fn build_hasher(&self) -> Same {
        Same(0)
    }
}

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    /// The table takes its place from the low bits and its tag from the high ones.
    fn write_u32(&mut self, index: u32) {
        self.0 = u64::from(index) << 32 | u64::from(index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SPECK32/64 in the appendix of "The SIMON and SPECK Families of Lightweight Block Ciphers".
    #[test]
    fn the_permutation_is_speck() {
        let permutation = Permutation::new([0x00, 0x01, 0x08, 0x09, 0x10, 0x11, 0x18, 0x19]);
        assert_eq!(permutation.apply(0x6574_694c), 0xa868_42f2);
        assert_eq!(permutation.invert(0xa868_42f2), 0x6574_694c);
    }

    #[test]
    fn an_index_names_its_worker() {
        let mut state = 1u64;
        let mut entropy = move |bytes: &mut [u8]| {
            for byte in bytes {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                *byte = (state >> 56) as u8;
            }
        };
        for bits in [0, 1, 4, 16] {
            let worker = (1u32 << bits) - 1;
            let indices = Indices::new(worker, bits, Permutation::new([7; 8]));
            for _ in 0..100 {
                assert_eq!(indices.worker_of(indices.draw(&mut entropy)), worker);
            }
        }
    }
}
