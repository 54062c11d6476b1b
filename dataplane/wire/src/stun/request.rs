//! Binding requests: "what is my address?".

use super::attributes::{Attributes, FINGERPRINT, SOFTWARE, may_be_ignored};
use super::fingerprint::{ATTRIBUTE_LEN, fingerprint};
use super::{BINDING_REQUEST, HEADER_LEN, StunError, TransactionId, header, parse_message};

/// What Tailscale's clients call themselves. derper and Tailscale's STUN servers answer no others.
const SOFTWARE_NAME: [u8; 8] = *b"tailnode";
const SOFTWARE_LEN: usize = 4 + SOFTWARE_NAME.len();

/// Bytes of a request of ours.
pub const REQUEST_LEN: usize = HEADER_LEN + SOFTWARE_LEN + ATTRIBUTE_LEN;

/// Reads any valid Binding request, with or without SOFTWARE and FINGERPRINT. A FINGERPRINT that is
/// there must be the last attribute and right.
///
/// # Errors
/// Anything else, by its reason.
pub fn parse_binding_request(datagram: &[u8]) -> Result<TransactionId, StunError> {
    let (transaction, attributes) = parse_message(datagram, BINDING_REQUEST)?;
    let mut unknown = false;
    for attribute in Attributes::new(attributes) {
        let attribute = attribute?;
        if attribute.kind == FINGERPRINT {
            let before = datagram
                .get(..HEADER_LEN + attribute.offset)
                .unwrap_or_default();
            let right = attribute.value == fingerprint(&[before]).to_be_bytes();
            if !right || !attribute.is_last {
                return Err(StunError::BadFingerprint);
            }
        }
        unknown |= !may_be_ignored(attribute.kind);
    }
    // Only now: a message that is broken elsewhere is broken, whatever else it asks for.
    if unknown {
        Err(StunError::UnknownAttribute)
    } else {
        Ok(transaction)
    }
}

/// A request as Tailscale's clients send it: SOFTWARE "tailnode", then FINGERPRINT.
#[must_use]
pub fn binding_request(transaction: &TransactionId) -> [u8; REQUEST_LEN] {
    const ATTRIBUTES_LEN: u16 = (SOFTWARE_LEN + ATTRIBUTE_LEN) as u16;
    let mut bytes = [0; REQUEST_LEN];
    let (message, rest) = bytes.split_at_mut(HEADER_LEN);
    let (software, last) = rest.split_at_mut(SOFTWARE_LEN);
    message.copy_from_slice(&header(BINDING_REQUEST, ATTRIBUTES_LEN, transaction));
    put_attribute(software, SOFTWARE, &SOFTWARE_NAME);
    let value = fingerprint(&[message, software]);
    put_attribute(last, FINGERPRINT, &value.to_be_bytes());
    bytes
}

/// Fills `out` with an attribute whose value needs no padding.
fn put_attribute<const N: usize>(out: &mut [u8], kind: u16, value: &[u8; N]) {
    const { assert!(N.is_multiple_of(4) && N <= u16::MAX as usize) };
    let (kind_out, rest) = out.split_at_mut(2);
    let (len_out, value_out) = rest.split_at_mut(2);
    kind_out.copy_from_slice(&kind.to_be_bytes());
    len_out.copy_from_slice(&(N as u16).to_be_bytes());
    value_out.copy_from_slice(value);
}
