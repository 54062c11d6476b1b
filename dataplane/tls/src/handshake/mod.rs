//! Handshakes of both roles: bytes in, bytes out, an [`Established`] connection at the end.
//!
//! Not the transport and not its deadlines: those are the caller's (the relay's handshake stage,
//! mesh uplinks, the load generator). Records after the handshake are [`Session`]'s alone.

mod driver;
mod roles;
mod witness;

use core::fmt;

use rustls::NamedGroup;

pub use roles::{ClientHandshake, ServerHandshake};

use crate::session::Session;
use crate::suite::{Cipher, Version};

/// A connection whose handshake is over.
pub struct Established {
    /// The record layer.
    pub session: Session,
    /// Bytes that were fed but lie past the handshake: whole or partial records, still
    /// protected, which go through `session` like all that follow.
    pub leftover: Vec<u8>,
    /// Protocol version.
    pub version: Version,
    /// Record cipher.
    pub cipher: Cipher,
    /// Key exchange of a full handshake; `None` where there was none (resumption in TLS 1.2).
    pub key_exchange: Option<NamedGroup>,
    /// Application protocol, when both sides named one.
    pub alpn: Option<Vec<u8>>,
    /// Whether an earlier session was resumed.
    pub resumed: bool,
    /// Client: the relay's DERP key from its meta certificate, in TLS 1.3 (where the peer's
    /// certificates are encrypted and authenticated, so a client may fast-start).
    pub meta_key: Option<[u8; 32]>,
}

impl Established {
    /// Whether this connection came only to check a TLS-ALPN-01 challenge, and is to be closed.
    pub fn is_acme_challenge(&self) -> bool {
        self.alpn.as_deref() == Some(crate::config::ALPN_ACME)
    }
}

impl fmt::Debug for Established {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Established")
            .field("version", &self.version)
            .field("cipher", &self.cipher)
            .field("key_exchange", &self.key_exchange)
            .field("resumed", &self.resumed)
            .field("leftover_bytes", &self.leftover.len())
            .finish_non_exhaustive()
    }
}
