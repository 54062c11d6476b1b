//! The AEAD of records, by whichever library is faster on this processor. Called by `keys.rs` alone.

use aws_lc_rs::aead as aws_lc;
use ring::aead as ring;

use crate::error::TlsError;
use crate::suite::{Cipher, NONCE_BYTES, TAG_BYTES};

/// A key that is ready for use: some 600 bytes on the heap.
pub(crate) enum ExpandedKey {
    AwsLc(aws_lc::LessSafeKey),
    Ring(Box<ring::LessSafeKey>),
}

impl ExpandedKey {
    pub(crate) fn new(cipher: Cipher, key: &[u8]) -> Self {
        if ring_is_faster(cipher) {
            Self::by_ring(cipher, key)
        } else {
            Self::by_aws_lc(cipher, key)
        }
    }

    fn by_aws_lc(cipher: Cipher, key: &[u8]) -> Self {
        let algorithm = match cipher {
            Cipher::Aes128Gcm => &aws_lc::AES_128_GCM,
            Cipher::Aes256Gcm => &aws_lc::AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &aws_lc::CHACHA20_POLY1305,
        };
        let key = aws_lc::UnboundKey::new(algorithm, key).expect("the key has the cipher's length");
        Self::AwsLc(aws_lc::LessSafeKey::new(key))
    }

    fn by_ring(cipher: Cipher, key: &[u8]) -> Self {
        let algorithm = match cipher {
            Cipher::Aes128Gcm => &ring::AES_128_GCM,
            Cipher::Aes256Gcm => &ring::AES_256_GCM,
            Cipher::ChaCha20Poly1305 => &ring::CHACHA20_POLY1305,
        };
        let key = ring::UnboundKey::new(algorithm, key).expect("the key has the cipher's length");
        Self::Ring(Box::new(ring::LessSafeKey::new(key)))
    }

    /// Opens `sealed` (ciphertext, then tag) in place and returns the plaintext.
    #[inline]
    pub(crate) fn open<'s>(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        sealed: &'s mut [u8],
    ) -> Result<&'s mut [u8], TlsError> {
        let (text, tag) = sealed
            .split_last_chunk_mut::<TAG_BYTES>()
            .ok_or(TlsError::Malformed("record without a tag"))?;
        match self {
            Self::AwsLc(key) => {
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce);
                key.open_in_place_separate_tag(nonce, aws_lc::Aad::from(aad), tag, text)
                    .map_err(|_| TlsError::BadTag)
            }
            Self::Ring(key) => {
                let nonce = ring::Nonce::assume_unique_for_key(nonce);
                let tag = ring::Tag::from(*tag);
                key.open_in_place_separate_tag(nonce, ring::Aad::from(aad), tag, text, 0..)
                    .map_err(|_| TlsError::BadTag)
            }
        }
    }

    /// Seals `plain` in place and writes its tag.
    #[inline]
    pub(crate) fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        plain: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), TlsError> {
        const REFUSED: TlsError = TlsError::Misuse("a plaintext that cannot be sealed");
        match self {
            Self::AwsLc(key) => {
                let nonce = aws_lc::Nonce::assume_unique_for_key(nonce);
                key.seal_in_place_scatter(nonce, aws_lc::Aad::from(aad), plain, &[], tag)
                    .map_err(|_| REFUSED)
            }
            Self::Ring(key) => {
                if tag.len() != TAG_BYTES {
                    return Err(REFUSED);
                }
                let nonce = ring::Nonce::assume_unique_for_key(nonce);
                let made = key
                    .seal_in_place_separate_tag(nonce, ring::Aad::from(aad), plain)
                    .map_err(|_| REFUSED)?;
                tag.copy_from_slice(made.as_ref());
                Ok(())
            }
        }
    }
}

/// aws-lc has VAES in the width of AVX-512 only, and falls back to AES-NI; `ring` has it in that of AVX2 as well, where it
/// takes half the time (AMD Zen 3: 2.3 and 4.5 us for 16 KiB, 0.31 and 0.53 us for 1440 bytes).
#[cfg(target_arch = "x86_64")]
fn ring_is_faster(cipher: Cipher) -> bool {
    use std::arch::is_x86_feature_detected as has;

    let is_gcm = matches!(cipher, Cipher::Aes128Gcm | Cipher::Aes256Gcm);
    is_gcm && has!("vaes") && has!("vpclmulqdq") && has!("avx2") && !has!("avx512bw")
}

#[cfg(not(target_arch = "x86_64"))]
fn ring_is_faster(_: Cipher) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_library_opens_what_the_other_sealed(
            cipher in prop_oneof![
                Just(Cipher::Aes128Gcm),
                Just(Cipher::Aes256Gcm),
                Just(Cipher::ChaCha20Poly1305),
            ],
            key in any::<[u8; 32]>(),
            nonce in any::<[u8; NONCE_BYTES]>(),
            aad in proptest::collection::vec(any::<u8>(), 0..20),
            plain in proptest::collection::vec(any::<u8>(), 0..2000),
            flipped in any::<prop::sample::Index>(),
        ) {
            let key = &key[..cipher.key_bytes()];
            let made = [ExpandedKey::by_aws_lc(cipher, key), ExpandedKey::by_ring(cipher, key)];
            let sealed = made.each_ref().map(|key| {
                let mut record = plain.clone();
                let mut tag = [0; TAG_BYTES];
                key.seal(nonce, &aad, &mut record, &mut tag).unwrap();
                record.extend(tag);
                record
            });
            prop_assert_eq!(&sealed[0], &sealed[1]);
            for key in &made {
                let mut record = sealed[0].clone();
                prop_assert_eq!(key.open(nonce, &aad, &mut record).unwrap(), &plain);
                let mut broken = sealed[0].clone();
                broken[flipped.index(sealed[0].len())] ^= 1;
                prop_assert!(matches!(key.open(nonce, &aad, &mut broken), Err(TlsError::BadTag)));
                prop_assert!(key.open(nonce, &aad, &mut broken[..TAG_BYTES - 1]).is_err());
                prop_assert!(key.seal(nonce, &aad, &mut broken, &mut [0; TAG_BYTES - 1]).is_err());
            }
        }
    }
}
