//! The receiving half of a session: one protected record to one plaintext, in place. What the
//! plaintext means is `mod.rs`'s.

use core::ops::Range;

use super::keys::TrafficKey;
use super::record::{HEADER_BYTES, PLAINTEXT_BYTES_MAX, content};
use crate::error::TlsError;
use crate::suite::{Cipher, NONCE_BYTES, TAG_BYTES, Version};

/// The explicit half of a TLS 1.2 AES-GCM nonce (RFC 5288, section 3).
pub(super) const EXPLICIT_NONCE_BYTES: usize = 8;

pub(crate) struct Opener {
    version: Version,
    pub(super) key: TrafficKey,
}

impl Opener {
    pub(crate) fn new(version: Version, key: TrafficKey) -> Self {
        Self { version, key }
    }

    /// Opens one whole record; `record` is exactly as long as its header says. Returns the
    /// content type and where in `record` the content lies.
    #[inline]
    pub(crate) fn open(&mut self, record: &mut [u8]) -> Result<(u8, Range<usize>), TlsError> {
        let (kind, content) = match (self.version, self.key.cipher()) {
            (Version::Tls13, _) => self.open_tls13(record)?,
            (Version::Tls12, Cipher::ChaCha20Poly1305) => {
                let nonce = self.key.nonce();
                self.open_tls12(record, HEADER_BYTES, nonce)?
            }
            (Version::Tls12, Cipher::Aes128Gcm | Cipher::Aes256Gcm) => {
                let start = HEADER_BYTES + EXPLICIT_NONCE_BYTES;
                let explicit = record
                    .get(HEADER_BYTES..start)
                    .ok_or(TlsError::Malformed("record without a nonce"))?;
                let mut nonce = [0; NONCE_BYTES];
                nonce[..4].copy_from_slice(&self.key.iv()[..4]);
                nonce[4..].copy_from_slice(explicit);
                self.open_tls12(record, start, nonce)?
            }
        };
        if content.len() > PLAINTEXT_BYTES_MAX {
            return Err(TlsError::Oversize);
        }
        Ok((kind, content))
    }

    /// RFC 8446, section 5.2: the type is the last byte that is not zero, padding follows it.
    #[inline]
    fn open_tls13(&mut self, record: &mut [u8]) -> Result<(u8, Range<usize>), TlsError> {
        let (header, sealed) = split_header(record)?;
        match header[0] {
            content::APPLICATION_DATA => {}
            content::CHANGE_CIPHER_SPEC => {
                return Err(TlsError::Unexpected("change_cipher_spec"));
            }
            _ => return Err(TlsError::Unexpected("plaintext record")),
        }
        let nonce = self.key.nonce();
        let plain = self.key.open(nonce, &header, sealed)?;
        // Also bounds the padding (RFC 8446, section 5.4).
        if plain.len() > PLAINTEXT_BYTES_MAX + 1 {
            return Err(TlsError::Oversize);
        }
        let type_at = last_non_zero(plain).ok_or(TlsError::Unexpected("record of padding only"))?;
        Ok((plain[type_at], HEADER_BYTES..HEADER_BYTES + type_at))
    }

    #[inline]
    fn open_tls12(
        &mut self,
        record: &mut [u8],
        start: usize,
        nonce: [u8; NONCE_BYTES],
    ) -> Result<(u8, Range<usize>), TlsError> {
        let (header, _) = split_header(record)?;
        let sealed = &mut record[start..];
        let plain_bytes = sealed
            .len()
            .checked_sub(TAG_BYTES)
            .ok_or(TlsError::Malformed("record without a tag"))?;
        let aad = aad_tls12(self.key.sequence(), &header, plain_bytes);
        self.key.open(nonce, &aad, sealed)?;
        Ok((header[0], start..start + plain_bytes))
    }
}

/// Sequence number, type, version and plaintext length (RFC 5246, section 6.2.3.3).
#[inline]
pub(super) fn aad_tls12(
    sequence: u64,
    header: &[u8; HEADER_BYTES],
    plain_bytes: usize,
) -> [u8; 13] {
    let mut aad = [0; 13];
    aad[..8].copy_from_slice(&sequence.to_be_bytes());
    aad[8..11].copy_from_slice(&header[..3]);
    aad[11..].copy_from_slice(&(plain_bytes as u16).to_be_bytes());
    aad
}

#[inline]
fn split_header(record: &mut [u8]) -> Result<([u8; HEADER_BYTES], &mut [u8]), TlsError> {
    let (header, rest) = record
        .split_first_chunk_mut::<HEADER_BYTES>()
        .ok_or(TlsError::Misuse("a record shorter than its header"))?;
    Ok((*header, rest))
}

/// Index of the last byte that is not zero. In steps of 16, because the peer may pad every
/// record to its full 16 KiB.
#[inline]
fn last_non_zero(bytes: &[u8]) -> Option<usize> {
    let mut end = bytes.len();
    while let Some(chunk) = bytes[..end].last_chunk::<16>()
        && u128::from_ne_bytes(*chunk) == 0
    {
        end -= 16;
    }
    bytes[..end].iter().rposition(|&byte| byte != 0)
}

#[cfg(test)]
mod tests {
    use super::last_non_zero;

    #[test]
    fn padding_is_found_at_every_length() {
        for content in 0..40 {
            for padding in 0..70 {
                let mut bytes = vec![7; content];
                bytes.resize(content + padding, 0);
                assert_eq!(last_non_zero(&bytes), content.checked_sub(1));
            }
        }
    }
}
