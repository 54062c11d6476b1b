//! The two header values that the opening handshake turns around (RFC 6455 §4).

use data_encoding::BASE64;
use sha1::{Digest, Sha1};

/// Appended to the client's key before hashing (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The `Sec-WebSocket-Accept` value for a `Sec-WebSocket-Key`.
#[must_use]
pub fn accept_value(key: &[u8]) -> String {
    BASE64.encode(&Sha1::new().chain_update(key).chain_update(GUID).finalize())
}

/// Whether `key` is base64 of 16 bytes, as a `Sec-WebSocket-Key` must be.
#[must_use]
pub fn is_valid_key(key: &[u8]) -> bool {
    BASE64.decode(key).is_ok_and(|nonce| nonce.len() == 16)
}

/// A `Sec-WebSocket-Key` from 16 random bytes.
#[must_use]
pub fn new_key(nonce: &[u8; 16]) -> String {
    BASE64.encode(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_6455() {
        // §1.3
        assert_eq!(
            accept_value(b"dGhlIHNhbXBsZSBub25jZQ=="),
            "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        );
    }

    #[test]
    fn keys_are_sixteen_bytes() {
        assert!(is_valid_key(new_key(&[7; 16]).as_bytes()));
        assert!(!is_valid_key(BASE64.encode(&[7; 15]).as_bytes()));
        assert!(!is_valid_key(b"not base64 at all"));
        assert!(!is_valid_key(b""));
    }
}
