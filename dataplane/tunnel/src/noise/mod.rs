//! The handshake: Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s (whitepaper section 5.4), both roles. It makes and reads
//! messages without their MACs (`cookie`) and ends in the keys of a session; it knows no time, peers or sockets.
//!
//! ```text
//! initiator                                   responder
//! Initiated::new        -- initiation -->     Received::open, who is it? then Received::check
//! Initiated::finish     <-- response ---      Checked::respond
//! ```
//! Each step consumes what the one before it proved.

pub(crate) mod hash;
mod initiator;
mod responder;
mod symmetric;
#[cfg(test)]
mod tests;

pub(crate) use initiator::Initiated;
pub(crate) use responder::Received;

use towline_wire::wireguard::{INITIATION_LEN, MACS_LEN, RESPONSE_LEN};

use crate::aead::Key;
use crate::key::{Agreement, PresharedKey, Shared, StaticPublic};

/// Bytes of an initiation before its MACs.
pub(crate) const INITIATION_BODY_LEN: usize = INITIATION_LEN - MACS_LEN;
/// Bytes of a response before its MACs.
pub(crate) const RESPONSE_BODY_LEN: usize = RESPONSE_LEN - MACS_LEN;

/// What a handshake needs to know of the two sides.
pub(crate) struct Pair<'a> {
    pub(crate) ours: &'a Agreement,
    pub(crate) theirs: &'a StaticPublic,
    /// What both static keys agree on; none when the peer's key is of low order.
    pub(crate) shared: Option<&'a Shared>,
    pub(crate) preshared: &'a PresharedKey,
}

/// The keys that a handshake ends in.
pub(crate) struct Keys {
    pub(crate) sending: Key,
    pub(crate) receiving: Key,
    /// The index by which the peer wants to be addressed.
    pub(crate) remote: u32,
}

/// The message does not come from whom it should, or a key in it is of low order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refused;
