//! STUN as a relay needs it (RFC 8489): Binding requests in, XOR-MAPPED-ADDRESS out. No
//! authentication, no error answers: what is not answered is dropped, so that a stranger learns and
//! reflects nothing. Sockets, source addresses and rates are `relay`'s.
//!
//! Nothing here allocates: messages go out as fixed arrays.

mod attributes;
mod fingerprint;
mod request;
mod response;

use core::fmt;

pub use request::{REQUEST_LEN, binding_request, parse_binding_request};
pub use response::{BindingResponse, binding_response, parse_binding_response};

/// Bytes before the attributes: type, length of the attributes, magic cookie, transaction id.
pub const HEADER_LEN: usize = 20;

/// Tells STUN from what else uses a port (RFC 8489 section 5).
pub const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

const BINDING_REQUEST: u16 = 0x0001;
const BINDING_SUCCESS: u16 = 0x0101;

/// What pairs an answer with its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransactionId(pub [u8; 12]);

/// Why a datagram is dropped. Each reason has a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StunError {
    /// Not a STUN message: too short, no magic cookie, or its first bits are set.
    NotStun,
    /// STUN, but not the message that is served here.
    NotBinding,
    /// The lengths of the message, of an attribute or of its value do not fit.
    Malformed,
    /// FINGERPRINT is wrong, not the last attribute, or not four bytes.
    BadFingerprint,
    /// An attribute that must be understood is not (RFC 8489 section 14).
    UnknownAttribute,
}

impl StunError {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 5] = [
        Self::NotStun,
        Self::NotBinding,
        Self::Malformed,
        Self::BadFingerprint,
        Self::UnknownAttribute,
    ];

    /// The name of the counter: `not_stun` is derper's, the others are ours.
    #[must_use]
    pub const fn counter(self) -> &'static str {
        match self {
            Self::NotStun => "not_stun",
            Self::NotBinding => "not_binding",
            Self::Malformed => "malformed",
            Self::BadFingerprint => "bad_fingerprint",
            Self::UnknownAttribute => "unknown_attribute",
        }
    }
}

impl fmt::Display for StunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStun => "not a STUN message",
            Self::NotBinding => "not the Binding message that is expected",
            Self::Malformed => "STUN message whose lengths do not fit",
            Self::BadFingerprint => "STUN message with a wrong or misplaced FINGERPRINT",
            Self::UnknownAttribute => "STUN message with an unknown required attribute",
        })
    }
}

impl core::error::Error for StunError {}

/// A message of the wanted kind: its transaction and its attributes, not yet looked at.
fn parse_message(datagram: &[u8], kind: u16) -> Result<(TransactionId, &[u8]), StunError> {
    let (header, attributes) = datagram
        .split_first_chunk::<HEADER_LEN>()
        .ok_or(StunError::NotStun)?;
    // The array pattern is the layout: type, length, cookie, transaction id.
    let [t0, t1, l0, l1, c0, c1, c2, c3, transaction @ ..] = *header;
    let found = u16::from_be_bytes([t0, t1]);
    if found & 0xc000 != 0 || [c0, c1, c2, c3] != MAGIC_COOKIE {
        return Err(StunError::NotStun);
    }
    if usize::from(u16::from_be_bytes([l0, l1])) != attributes.len() {
        return Err(StunError::Malformed);
    }
    if found != kind {
        return Err(StunError::NotBinding);
    }
    Ok((TransactionId(transaction), attributes))
}

fn header(kind: u16, attributes_len: u16, transaction: &TransactionId) -> [u8; HEADER_LEN] {
    let [t0, t1] = kind.to_be_bytes();
    let [l0, l1] = attributes_len.to_be_bytes();
    let [c0, c1, c2, c3] = MAGIC_COOKIE;
    let mut bytes = [0; HEADER_LEN];
    let (fixed, id) = bytes.split_at_mut(8);
    fixed.copy_from_slice(&[t0, t1, l0, l1, c0, c1, c2, c3]);
    id.copy_from_slice(&transaction.0);
    bytes
}

#[cfg(test)]
mod tests;
