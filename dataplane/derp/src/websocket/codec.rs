//! The stream decoder and the source of frame headers, for both roles.
//!
//! Received bytes are unmasked where they lie; of a frame that is cut anywhere only its header and
//! at most 125 bytes of a control payload are kept. What must be answered (ping, close) is held
//! until [`Codec::poll_output`], at most one frame at a time.

use core::fmt;
use core::ops::Range;

use towline_wire::limits::WEBSOCKET_FRAME_BYTES_MAX;

use super::control::{Control, ControlFrame};
use super::header::{
    CLIENT_HEADER_LEN_MAX, FrameHeader, OPCODE_BINARY, OPCODE_CLOSE, OPCODE_CONTINUATION,
    OPCODE_PING, OPCODE_PONG, Received, received_len,
};
use super::mask::{Mask, MaskKeys};
use super::{CloseCode, WebSocketError};

/// What the next received bytes mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// These bytes of the buffer are the next bytes of the DERP stream, unmasked in place.
    Payload(Range<usize>),
    /// A ping came; [`Codec::poll_output`] has the pong.
    Ping,
    /// The peer closes. [`Codec::poll_output`] has the answer unless we closed first; whatever
    /// else is received is ignored.
    Close(Option<CloseCode>),
}

/// State of one WebSocket, after the opening handshake.
///
/// Input: [`decode`](Self::decode). Output: [`header_for`](Self::header_for) for data,
/// [`close`](Self::close) and [`poll_output`](Self::poll_output) for control frames.
#[derive(Clone)]
pub struct Codec {
    role: Role,
    stage: Stage,
    /// A fragmented message has begun and not ended.
    in_message: bool,
    close_sent: bool,
    incoming: Control,
    /// Only the latest ping needs an answer (RFC 6455 §5.5.3), so one place is enough.
    outgoing: Option<Control>,
}

#[derive(Clone)]
enum Role {
    Server,
    Client(MaskKeys),
}

#[derive(Clone, Copy)]
enum Stage {
    Header {
        bytes: [u8; CLIENT_HEADER_LEN_MAX],
        have: u8,
    },
    Data {
        left: u64,
        mask: Mask,
    },
    Control {
        left: usize,
        mask: Mask,
    },
    Closed,
}

const NEXT_HEADER: Stage = Stage::Header {
    bytes: [0; CLIENT_HEADER_LEN_MAX],
    have: 0,
};

impl Codec {
    /// The server's side: expects masked frames, writes unmasked ones.
    #[must_use]
    pub const fn server() -> Self {
        Self::new(Role::Server)
    }

    /// The client's side: expects unmasked frames, masks its own with keys drawn from `seed`.
    #[must_use]
    pub const fn client(seed: [u8; 16]) -> Self {
        Self::new(Role::Client(MaskKeys::new(seed)))
    }

    const fn new(role: Role) -> Self {
        Self {
            role,
            stage: NEXT_HEADER,
            in_message: false,
            close_sent: false,
            incoming: Control::EMPTY,
            outgoing: None,
        }
    }

    /// Decodes `bytes[*at..]` up to the next event and moves `at` past what it consumed.
    /// `None` when all is consumed.
    ///
    /// ```
    /// # use towline_derp::websocket::{Codec, Event, WebSocketError};
    /// # fn received(codec: &mut Codec, bytes: &mut [u8]) -> Result<Vec<u8>, WebSocketError> {
    /// let mut stream = Vec::new();
    /// let mut at = 0;
    /// while let Some(event) = codec.decode(bytes, &mut at)? {
    ///     match event {
    ///         Event::Payload(range) => stream.extend_from_slice(&bytes[range]),
    ///         Event::Ping => {} // answered by `poll_output`
    ///         Event::Close(_) => break,
    ///     }
    /// }
    /// # Ok(stream)
    /// # }
    /// ```
    ///
    /// # Errors
    /// The peer violates the protocol. The codec must not be fed again; the connection may be
    /// closed with [`WebSocketError::close_code`].
    pub fn decode(
        &mut self,
        bytes: &mut [u8],
        at: &mut usize,
    ) -> Result<Option<Event>, WebSocketError> {
        while *at < bytes.len() {
            let event = match self.stage {
                Stage::Header {
                    bytes: header,
                    have,
                } => {
                    *at += 1;
                    self.take_header_byte(header, have, bytes[*at - 1])?
                }
                Stage::Data { left, mask } => Some(self.take_data(left, mask, bytes, at)),
                Stage::Control { left, mask } => self.take_control(left, mask, bytes, at)?,
                Stage::Closed => {
                    *at = bytes.len();
                    None
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// The header of a binary frame of `payload_len` bytes. A client then masks the payload with
    /// [`FrameHeader::mask`], in order.
    #[must_use]
    pub fn header_for(&mut self, payload_len: usize) -> FrameHeader {
        FrameHeader::new(OPCODE_BINARY, payload_len, self.next_mask())
    }

    /// Queues a close frame, in place of a pong that was not sent yet. Only the first call counts.
    pub fn close(&mut self, code: CloseCode) {
        if !self.close_sent {
            self.close_sent = true;
            self.outgoing = Some(Control::close(code));
        }
    }

    /// Whether `poll_output` has something.
    #[must_use]
    pub const fn has_output(&self) -> bool {
        self.outgoing.is_some()
    }

    /// The pong or close frame to send, if any: before the next data frame.
    pub fn poll_output(&mut self) -> Option<ControlFrame> {
        let control = self.outgoing.take()?;
        Some(ControlFrame::new(&control, self.next_mask()))
    }

    fn next_mask(&mut self) -> Option<Mask> {
        match &mut self.role {
            Role::Server => None,
            Role::Client(keys) => Some(keys.draw()),
        }
    }

    fn take_header_byte(
        &mut self,
        mut header: [u8; CLIENT_HEADER_LEN_MAX],
        have: u8,
        byte: u8,
    ) -> Result<Option<Event>, WebSocketError> {
        header[usize::from(have)] = byte;
        let have = have + 1;
        if have < 2 || usize::from(have) < received_len(header[1]) {
            self.stage = Stage::Header {
                bytes: header,
                have,
            };
            return Ok(None);
        }
        let received = Received::parse(&header, WEBSOCKET_FRAME_BYTES_MAX)?;
        let mask = match (&self.role, received.mask) {
            (Role::Server, Some(mask)) => mask,
            (Role::Client(_), None) => Mask::NONE,
            (Role::Server, None) => return Err(WebSocketError::Unmasked),
            (Role::Client(_), Some(_)) => return Err(WebSocketError::Masked),
        };
        if received.is_control() {
            self.incoming = Control::received(received.opcode);
            self.stage = Stage::Control {
                left: received.payload_len as usize,
                mask,
            };
            return if received.payload_len == 0 {
                self.end_control()
            } else {
                Ok(None)
            };
        }
        match (received.opcode == OPCODE_CONTINUATION, self.in_message) {
            (true, false) => return Err(WebSocketError::LoneContinuation),
            (false, true) => return Err(WebSocketError::InterleavedMessage),
            _ => self.in_message = !received.fin,
        }
        self.stage = if received.payload_len == 0 {
            NEXT_HEADER
        } else {
            Stage::Data {
                left: received.payload_len,
                mask,
            }
        };
        Ok(None)
    }

    fn take_data(&mut self, left: u64, mut mask: Mask, bytes: &mut [u8], at: &mut usize) -> Event {
        let here = bytes.len() - *at;
        let taken = usize::try_from(left).map_or(here, |left| left.min(here));
        let range = *at..*at + taken;
        mask.apply(&mut bytes[range.clone()]);
        *at = range.end;
        let left = left - taken as u64;
        self.stage = if left == 0 {
            NEXT_HEADER
        } else {
            Stage::Data { left, mask }
        };
        Event::Payload(range)
    }

    fn take_control(
        &mut self,
        left: usize,
        mut mask: Mask,
        bytes: &mut [u8],
        at: &mut usize,
    ) -> Result<Option<Event>, WebSocketError> {
        let taken = left.min(bytes.len() - *at);
        let piece = &mut bytes[*at..*at + taken];
        mask.apply(piece);
        self.incoming.push(piece);
        *at += taken;
        self.stage = Stage::Control {
            left: left - taken,
            mask,
        };
        if left == taken {
            self.end_control()
        } else {
            Ok(None)
        }
    }

    fn end_control(&mut self) -> Result<Option<Event>, WebSocketError> {
        self.stage = NEXT_HEADER;
        match self.incoming.opcode {
            OPCODE_PING => {
                if !self.close_sent {
                    self.outgoing = Some(self.incoming.with_opcode(OPCODE_PONG));
                }
                Ok(Some(Event::Ping))
            }
            OPCODE_CLOSE => {
                let code = self.incoming.close_code()?;
                self.close(code.unwrap_or(CloseCode::NORMAL));
                self.stage = Stage::Closed;
                Ok(Some(Event::Close(code)))
            }
            // A pong answers nothing of ours: we never ping at this layer.
            _ => Ok(None),
        }
    }
}

/// Without keys and payloads.
impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Codec")
            .field("in_message", &self.in_message)
            .finish_non_exhaustive()
    }
}
