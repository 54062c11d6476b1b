//! The record header and the limits of a record. No keys here.

use crate::error::TlsError;

/// Bytes of a record header: content type, version, length.
///
/// ```text
/// 0       1               3               5
/// | type  |  0x03   0x03  |  length (BE)  | protected content ...
/// ```
pub const HEADER_BYTES: usize = 5;

/// Bytes of plaintext in one record (RFC 8446, section 5.1).
pub const PLAINTEXT_BYTES_MAX: usize = 1 << 14;

/// Bytes that protection may add (RFC 8446, section 5.2). TLS 1.2 allows 2048, but no suite of ours
/// adds more than 24.
const EXPANSION_BYTES_MAX: usize = 256;

/// Bytes of the longest record, header included.
pub const RECORD_BYTES_MAX: usize = HEADER_BYTES + PLAINTEXT_BYTES_MAX + EXPANSION_BYTES_MAX;

const _: () = assert!(RECORD_BYTES_MAX - HEADER_BYTES <= u16::MAX as usize);

/// Content types (RFC 8446, section 5.1).
pub(crate) mod content {
    pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(crate) const ALERT: u8 = 21;
    pub(crate) const HANDSHAKE: u8 = 22;
    pub(crate) const APPLICATION_DATA: u8 = 23;
}

/// Length in bytes, header included, of the protected record that starts `bytes`, or `None`
/// while its header is not complete.
///
/// # Errors
/// `bytes` cannot start a record: unknown content type or version ([`TlsError::Malformed`]), or
/// a length that no record has ([`TlsError::Oversize`]). Hand the bytes to
/// [`Session::open`](crate::Session::open) all the same to have the peer told.
#[inline]
pub fn record_len(bytes: &[u8]) -> Result<Option<usize>, TlsError> {
    let Some(&[kind, major, _, high, low]) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    if !(content::CHANGE_CIPHER_SPEC..=content::APPLICATION_DATA).contains(&kind) {
        return Err(TlsError::Malformed("content type"));
    }
    if major != 3 {
        return Err(TlsError::Malformed("record version"));
    }
    let len = HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if len > RECORD_BYTES_MAX {
        return Err(TlsError::Oversize);
    }
    Ok(Some(len))
}

/// Writes a header for `content_bytes` of protected content.
#[inline]
pub(crate) fn header(kind: u8, content_bytes: usize) -> [u8; HEADER_BYTES] {
    debug_assert!(content_bytes <= RECORD_BYTES_MAX - HEADER_BYTES);
    let [high, low] = (content_bytes as u16).to_be_bytes();
    [kind, 3, 3, high, low]
}
