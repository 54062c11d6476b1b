//! Control frames (RFC 6455 §5.5): at most 125 bytes, so they are held whole.

use core::ops::Deref;

use super::header::{FrameHeader, OPCODE_CLOSE};
use super::mask::Mask;
use super::{CloseCode, WebSocketError};

const CONTROL_LEN_MAX: usize = 125;

#[derive(Clone, Copy)]
pub(super) struct Control {
    pub(super) opcode: u8,
    len: u8,
    payload: [u8; CONTROL_LEN_MAX],
}

impl Control {
    pub(super) const EMPTY: Self = Self {
        opcode: 0,
        len: 0,
        payload: [0; CONTROL_LEN_MAX],
    };

    /// The start of a received frame; its payload comes by [`push`](Self::push).
    pub(super) const fn received(opcode: u8) -> Self {
        Self {
            opcode,
            ..Self::EMPTY
        }
    }

    pub(super) fn close(code: CloseCode) -> Self {
        let mut control = Self::received(OPCODE_CLOSE);
        control.push(&code.0.to_be_bytes());
        control
    }

    pub(super) const fn with_opcode(self, opcode: u8) -> Self {
        Self { opcode, ..self }
    }

    /// Appends a piece; the header has been checked, so all pieces together fit.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let start = usize::from(self.len);
        self.payload[start..start + piece.len()].copy_from_slice(piece);
        self.len += piece.len() as u8;
    }

    fn payload(&self) -> &[u8] {
        &self.payload[..usize::from(self.len)]
    }

    /// The code of a close frame; it may be left out.
    pub(super) fn close_code(&self) -> Result<Option<CloseCode>, WebSocketError> {
        match *self.payload() {
            [] => Ok(None),
            [high, low, ..] => {
                let code = CloseCode(u16::from_be_bytes([high, low]));
                if code.may_be_sent() {
                    Ok(Some(code))
                } else {
                    Err(WebSocketError::BadClose)
                }
            }
            [_] => Err(WebSocketError::BadClose),
        }
    }
}

/// A control frame to send as it stands.
#[derive(Clone)]
pub struct ControlFrame {
    bytes: [u8; 2 + 4 + CONTROL_LEN_MAX],
    len: usize,
}

impl ControlFrame {
    pub(super) fn new(control: &Control, mask: Option<Mask>) -> Self {
        let payload = control.payload();
        let mut header = FrameHeader::new(control.opcode, payload.len(), mask);
        let start = header.as_bytes().len();
        let len = start + payload.len();
        let mut bytes = [0; 2 + 4 + CONTROL_LEN_MAX];
        bytes[..start].copy_from_slice(header.as_bytes());
        bytes[start..len].copy_from_slice(payload);
        header.mask(&mut bytes[start..len]);
        Self { bytes, len }
    }
}

impl Deref for ControlFrame {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}
