//! The sending half of a session: one plaintext to one protected record, in place, and the
//! count of what the key has protected.

use super::keys::TrafficKey;
use super::opener::{EXPLICIT_NONCE_BYTES, aad_tls12};
use super::record::{HEADER_BYTES, PLAINTEXT_BYTES_MAX, content, header};
use crate::error::TlsError;
use crate::suite::{Cipher, TAG_BYTES, Version};

/// Blocks that may still be sealed past the limit while a key change is due: the caller drains
/// `poll_output` between records, so one turn of its loop is what this must cover.
const KEY_RESERVE_BLOCKS: u64 = 1 << 24;

pub(crate) struct Sealer {
    version: Version,
    pub(super) key: TrafficKey,
    key_limit_blocks: u64,
    used_blocks: u64,
}

impl Sealer {
    pub(crate) fn new(version: Version, key: TrafficKey) -> Self {
        let key_limit_blocks = key.cipher().key_limit_blocks();
        Self {
            version,
            key,
            key_limit_blocks,
            used_blocks: 0,
        }
    }

    pub(crate) fn set_key_limit_blocks(&mut self, blocks: u64) {
        self.key_limit_blocks = blocks;
    }

    /// Bytes before the plaintext: header, and in TLS 1.2 AES-GCM the explicit nonce.
    #[inline]
    pub(crate) fn prefix_bytes(&self) -> usize {
        match (self.version, self.key.cipher()) {
            (Version::Tls13, _) | (Version::Tls12, Cipher::ChaCha20Poly1305) => HEADER_BYTES,
            (Version::Tls12, Cipher::Aes128Gcm | Cipher::Aes256Gcm) => {
                HEADER_BYTES + EXPLICIT_NONCE_BYTES
            }
        }
    }

    /// Bytes after the plaintext: the tag, and in TLS 1.3 the content type.
    #[inline]
    pub(crate) fn suffix_bytes(&self) -> usize {
        match self.version {
            Version::Tls13 => 1 + TAG_BYTES,
            Version::Tls12 => TAG_BYTES,
        }
    }

    /// Whether a TLS 1.3 key update is due.
    #[inline]
    pub(crate) fn key_is_due(&self) -> bool {
        self.version == Version::Tls13 && self.used_blocks >= self.key_limit_blocks
    }

    /// Whether no more application data may be sealed with this key.
    #[inline]
    fn key_is_used_up(&self) -> bool {
        let limit = match self.version {
            Version::Tls13 => self.key_limit_blocks.saturating_add(KEY_RESERVE_BLOCKS),
            Version::Tls12 => self.key_limit_blocks,
        };
        self.used_blocks >= limit
    }

    /// Replaces the key by its next generation (TLS 1.3).
    pub(crate) fn advance(&mut self) {
        self.key.advance();
        self.used_blocks = 0;
    }

    /// Seals the `plain_bytes` after the prefix of `buf` and returns the record's length.
    #[inline]
    pub(crate) fn seal(
        &mut self,
        kind: u8,
        buf: &mut [u8],
        plain_bytes: usize,
    ) -> Result<usize, TlsError> {
        let (prefix_bytes, suffix_bytes) = (self.prefix_bytes(), self.suffix_bytes());
        if plain_bytes > PLAINTEXT_BYTES_MAX {
            return Err(TlsError::Misuse("more plaintext than a record holds"));
        }
        let record_bytes = prefix_bytes + plain_bytes + suffix_bytes;
        let Some(record) = buf.get_mut(..record_bytes) else {
            return Err(TlsError::Misuse("a buffer without room for the record"));
        };
        if kind == content::APPLICATION_DATA && self.key_is_used_up() {
            return Err(TlsError::KeyUsedUp);
        }
        match self.version {
            Version::Tls13 => self.seal_tls13(kind, record, plain_bytes)?,
            Version::Tls12 => self.seal_tls12(kind, record, prefix_bytes, plain_bytes)?,
        }
        // One block masks the tag, one covers type and rounding.
        self.used_blocks = self.used_blocks.saturating_add(plain_bytes as u64 / 16 + 2);
        Ok(record_bytes)
    }

    #[inline]
    fn seal_tls13(
        &mut self,
        kind: u8,
        record: &mut [u8],
        plain_bytes: usize,
    ) -> Result<(), TlsError> {
        let header = header(content::APPLICATION_DATA, record.len() - HEADER_BYTES);
        let (head, body) = record.split_at_mut(HEADER_BYTES);
        let (plain, tag) = body.split_at_mut(plain_bytes + 1);
        head.copy_from_slice(&header);
        plain[plain_bytes] = kind;
        let nonce = self.key.nonce();
        self.key.seal(nonce, &header, plain, tag)
    }

    #[inline]
    fn seal_tls12(
        &mut self,
        kind: u8,
        record: &mut [u8],
        prefix_bytes: usize,
        plain_bytes: usize,
    ) -> Result<(), TlsError> {
        let header = header(kind, record.len() - HEADER_BYTES);
        let aad = aad_tls12(self.key.sequence(), &header, plain_bytes);
        // The IV of AES-GCM came out of the key block with a random explicit half, so that the
        // nonce of TLS 1.3 serves here too; its last 8 bytes go on the wire.
        let nonce = self.key.nonce();
        let (head, body) = record.split_at_mut(prefix_bytes);
        let (plain, tag) = body.split_at_mut(plain_bytes);
        head[..HEADER_BYTES].copy_from_slice(&header);
        let explicit = &mut head[HEADER_BYTES..];
        explicit.copy_from_slice(&nonce[nonce.len() - explicit.len()..]);
        self.key.seal(nonce, &aad, plain, tag)
    }
}
