//! Frame headers (RFC 6455 §5.2).
//!
//! ```text
//!  byte 0: FIN RSV1 RSV2 RSV3 opcode(4)
//!  byte 1: MASK length(7)      126: 16 bits follow, 127: 64 bits follow
//!  then 0, 2 or 8 bytes of length, big endian, then 4 bytes of masking key if MASK is set
//! ```

use super::WebSocketError;
use super::mask::Mask;

pub(super) const OPCODE_CONTINUATION: u8 = 0x0;
pub(super) const OPCODE_TEXT: u8 = 0x1;
pub(super) const OPCODE_BINARY: u8 = 0x2;
pub(super) const OPCODE_CLOSE: u8 = 0x8;
pub(super) const OPCODE_PING: u8 = 0x9;
pub(super) const OPCODE_PONG: u8 = 0xa;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASKED: u8 = 0x80;

/// The longest header a server writes.
pub const SERVER_HEADER_LEN_MAX: usize = 10;
/// The longest header a client writes: four bytes more for the masking key.
pub const CLIENT_HEADER_LEN_MAX: usize = 14;

/// Length of the header that a server writes before `payload_len` bytes.
#[must_use]
pub const fn server_header_len(payload_len: usize) -> usize {
    match payload_len {
        0..=125 => 2,
        126..=0xffff => 4,
        _ => SERVER_HEADER_LEN_MAX,
    }
}

/// The header of a frame to send, and the mask its payload needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    bytes: [u8; CLIENT_HEADER_LEN_MAX],
    len: u8,
    mask: Option<Mask>,
}

impl FrameHeader {
    /// A whole frame (FIN set) of `payload_len` bytes.
    pub(super) fn new(opcode: u8, payload_len: usize, mask: Option<Mask>) -> Self {
        let mut bytes = [0; CLIENT_HEADER_LEN_MAX];
        bytes[0] = FIN | opcode;
        let mut len = server_header_len(payload_len);
        let big_endian = (payload_len as u64).to_be_bytes();
        match len {
            2 => bytes[1] = big_endian[7],
            4 => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&big_endian[6..]);
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&big_endian);
            }
        }
        if let Some(Mask(key)) = mask {
            bytes[1] |= MASKED;
            bytes[len..len + 4].copy_from_slice(&key);
            len += 4;
        }
        // At most 14.
        Self {
            bytes,
            len: len as u8,
            mask,
        }
    }

    /// The header of the binary frame with which a server sends `payload_len` bytes.
    #[must_use]
    pub fn server(payload_len: usize) -> Self {
        Self::new(OPCODE_BINARY, payload_len, None)
    }

    /// The bytes to send before the payload.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Masks the next bytes of the payload; nothing to do for a server.
    pub fn mask(&mut self, payload: &mut [u8]) {
        if let Some(mask) = &mut self.mask {
            mask.apply(payload);
        }
    }
}

/// A received header, checked as far as it can be without its context.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Received {
    pub(super) fin: bool,
    pub(super) opcode: u8,
    pub(super) payload_len: u64,
    pub(super) mask: Option<Mask>,
}

/// How many bytes the header has that starts with these two.
pub(super) const fn received_len(second: u8) -> usize {
    let length = match second & !MASKED {
        127 => 8,
        126 => 2,
        _ => 0,
    };
    let mask = if second & MASKED == 0 { 0 } else { 4 };
    2 + length + mask
}

impl Received {
    /// Parses a header that is [`received_len`] bytes long.
    pub(super) fn parse(
        bytes: &[u8; CLIENT_HEADER_LEN_MAX],
        payload_len_max: u64,
    ) -> Result<Self, WebSocketError> {
        let [first, second, rest @ ..] = bytes;
        if first & RESERVED != 0 {
            return Err(WebSocketError::ReservedBit);
        }
        let (payload_len, length_len, shortest) = match second & !MASKED {
            127 => {
                let [a, b, c, d, e, f, g, h, ..] = *rest;
                (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 8, 0x1_0000)
            }
            126 => (u64::from(u16::from_be_bytes([rest[0], rest[1]])), 2, 126),
            short => (u64::from(short), 0, 0),
        };
        if payload_len < shortest {
            return Err(WebSocketError::LengthNotMinimal);
        }
        if payload_len > payload_len_max {
            return Err(WebSocketError::TooLong(payload_len));
        }
        let mask = (second & MASKED != 0).then(|| {
            let mut key = [0; 4];
            key.copy_from_slice(&rest[length_len..length_len + 4]);
            Mask(key)
        });
        let opcode = first & 0x0f;
        let received = Self {
            fin: first & FIN != 0,
            opcode,
            payload_len,
            mask,
        };
        match opcode {
            OPCODE_CONTINUATION | OPCODE_BINARY => {}
            OPCODE_TEXT => return Err(WebSocketError::Text),
            OPCODE_CLOSE | OPCODE_PING | OPCODE_PONG => {
                if payload_len > 125 {
                    return Err(WebSocketError::ControlTooLong);
                }
                if !received.fin {
                    return Err(WebSocketError::ControlFragmented);
                }
            }
            unknown => return Err(WebSocketError::UnknownOpcode(unknown)),
        }
        Ok(received)
    }

    pub(super) const fn is_control(&self) -> bool {
        self.opcode >= OPCODE_CLOSE
    }
}
