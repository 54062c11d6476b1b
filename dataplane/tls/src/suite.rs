//! The protocol versions and ciphers of the record layer, and their numbers.
//!
//! Not the negotiation: that is `rustls`'s. Used by everything in [`crate::session`].

use aws_lc_rs::hkdf;
use rustls::{CipherSuite, ProtocolVersion};

/// A protocol version that the record layer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 5246, with AEAD suites only.
    Tls12,
    /// RFC 8446.
    Tls13,
}

impl Version {
    pub(crate) fn from_rustls(version: ProtocolVersion) -> Option<Self> {
        match version {
            ProtocolVersion::TLSv1_2 => Some(Self::Tls12),
            ProtocolVersion::TLSv1_3 => Some(Self::Tls13),
            _ => None,
        }
    }
}

/// The AEAD that protects records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    /// AES-128-GCM: what every Tailscale client prefers, and the cheapest on our machines.
    Aes128Gcm,
    /// AES-256-GCM.
    Aes256Gcm,
    /// ChaCha20-Poly1305.
    ChaCha20Poly1305,
}

/// Bytes of an authentication tag, of every cipher here.
pub(crate) const TAG_BYTES: usize = 16;
/// Bytes of a nonce, of every cipher here.
pub(crate) const NONCE_BYTES: usize = 12;
/// Bytes of the longest key.
pub(crate) const KEY_BYTES_MAX: usize = 32;
/// Bytes of the longest traffic secret (SHA-384).
pub(crate) const SECRET_BYTES_MAX: usize = 48;

impl Cipher {
    pub(crate) fn key_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm => 16,
            Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }

    /// Bytes of a traffic secret of the TLS 1.3 suite with this cipher (RFC 8446, appendix B.4).
    pub(crate) fn secret_bytes(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::ChaCha20Poly1305 => 32,
            Self::Aes256Gcm => 48,
        }
    }

    pub(crate) fn hkdf(self) -> hkdf::Algorithm {
        match self {
            Self::Aes128Gcm | Self::ChaCha20Poly1305 => hkdf::HKDF_SHA256,
            Self::Aes256Gcm => hkdf::HKDF_SHA384,
        }
    }

    /// How many 16-byte blocks one key may protect before it should be replaced.
    ///
    /// AES-GCM: RFC 8446, section 5.5 allows 2^24.5 full-size records. The bound comes from the
    /// number of blocks, so blocks are what is counted: 2^24 records of 2^10 blocks. Small
    /// records then need no early key change (TLS 1.2, which has none, would have to close).
    /// ChaCha20-Poly1305 has no such limit.
    pub(crate) fn key_limit_blocks(self) -> u64 {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 1 << 34,
            Self::ChaCha20Poly1305 => u64::MAX,
        }
    }

    /// Whether `suite` protects its records with this cipher.
    pub(crate) fn is_of(self, suite: CipherSuite) -> bool {
        use CipherSuite as S;
        match self {
            Self::Aes128Gcm => matches!(
                suite,
                S::TLS13_AES_128_GCM_SHA256
                    | S::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                    | S::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
            ),
            Self::Aes256Gcm => matches!(
                suite,
                S::TLS13_AES_256_GCM_SHA384
                    | S::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
                    | S::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384
            ),
            Self::ChaCha20Poly1305 => matches!(
                suite,
                S::TLS13_CHACHA20_POLY1305_SHA256
                    | S::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256
                    | S::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256
            ),
        }
    }
}
