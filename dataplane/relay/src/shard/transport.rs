//! What lies between a socket's bytes and the DERP stream: TLS records, WebSocket frames, or nothing.
//!
//! Both directions work in place: received bytes are opened and unmasked where they lie, frames are written where they
//! will be sealed and sent from. Not the socket, not the frames: see `turn` and `towline_derp::relay`.

use towline_derp::relay::{BufferId, FRAME_BUF_BYTES_MIN};
use towline_derp::websocket::{self, Codec, Event, FrameHeader, WebSocketError};
use towline_tls::{HEADER_BYTES, Opened, PLAINTEXT_BYTES_MAX, Session, TlsError, record_len};

use super::carry::{Carries, CarryId};

/// Buffer numbers from here on are carry buffers, those below are receives of the turn.
const CARRY_BASE: u32 = 1 << 31;

/// The most a server's WebSocket header takes for what fits into one record.
const WEBSOCKET_HEADER_BYTES_MAX: usize = 4;

/// Go clients of DERP read no longer WebSocket message.
const WEBSOCKET_MESSAGE_BYTES_MAX: usize = 32 << 10;

/// Where opened bytes lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The n-th receive of the turn.
    Receive(usize),
    /// A carry buffer.
    Carry(CarryId),
}

impl Place {
    pub(super) fn buffer(self) -> BufferId {
        match self {
            Self::Receive(index) => BufferId(index as u32),
            Self::Carry(CarryId(index)) => BufferId(CARRY_BASE + index),
        }
    }

    pub(super) fn of(buffer: BufferId) -> Self {
        match buffer.0.checked_sub(CARRY_BASE) {
            Some(index) => Self::Carry(CarryId(index)),
            None => Self::Receive(buffer.0 as usize),
        }
    }
}

/// Whether more may come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Open,
    /// The peer said that it will send no more.
    Ended,
}

/// Why a connection's bytes cannot be understood.
#[derive(Debug, thiserror::Error)]
pub(super) enum TransportError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
    #[error(transparent)]
    Derp(#[from] towline_derp::relay::ConnError),
}

/// The layers of one connection. Boxed parts, so that an idle plain connection is small.
pub(super) struct Transport {
    pub(super) tls: Option<Box<Session>>,
    pub(super) websocket: Option<Box<Codec>>,
    carry: Option<CarryId>,
}

/// Takes the DERP stream: where the bytes lie, their offset there, and the bytes.
pub(super) trait Sink: FnMut(Place, usize, &[u8]) -> Result<(), TransportError> {}
impl<F: FnMut(Place, usize, &[u8]) -> Result<(), TransportError>> Sink for F {}

impl Transport {
    pub(super) fn new(tls: Option<Box<Session>>, websocket: Option<Box<Codec>>) -> Self {
        Self {
            tls,
            websocket,
            carry: None,
        }
    }

    /// Takes what one receive brought; `place` is where `bytes` lie.
    pub(super) fn receive(
        &mut self,
        place: Place,
        bytes: &mut [u8],
        carries: &mut Carries,
        sink: &mut impl Sink,
    ) -> Result<Flow, TransportError> {
        let Some(session) = &mut self.tls else {
            return self.receive_plaintext(place, bytes, sink);
        };
        let mut at = 0;
        if let Some(id) = self.carry {
            let carried = carries.bytes_mut(id);
            if !complete(carried, bytes, &mut at)? {
                return Ok(Flow::Open);
            }
            self.carry = None;
            let opened = session.open(carried);
            let flow = match opened {
                Ok(Opened::Data(range)) => {
                    let start = range.start;
                    let data = &mut carries.bytes_mut(id)[range];
                    plaintext(&mut self.websocket, Place::Carry(id), start, data, sink)
                }
                Ok(Opened::Handled) => Ok(Flow::Open),
                Ok(Opened::CloseNotify) => Ok(Flow::Ended),
                Err(error) => Err(error.into()),
            };
            carries.opened(id);
            if flow? == Flow::Ended {
                return Ok(Flow::Ended);
            }
        }
        while let Some(len) = record_len(&bytes[at..])?
            && len <= bytes.len() - at
        {
            match session.open(&mut bytes[at..at + len])? {
                Opened::Data(range) => {
                    let start = at + range.start;
                    let data = &mut bytes[start..at + range.end];
                    if plaintext(&mut self.websocket, place, start, data, sink)? == Flow::Ended {
                        return Ok(Flow::Ended);
                    }
                }
                Opened::Handled => {}
                Opened::CloseNotify => return Ok(Flow::Ended),
            }
            at += len;
        }
        if at < bytes.len() {
            let id = carries.take();
            carries.bytes_mut(id).extend_from_slice(&bytes[at..]);
            self.carry = Some(id);
        }
        Ok(Flow::Open)
    }

    /// Takes bytes that are above TLS already.
    pub(super) fn receive_plaintext(
        &mut self,
        place: Place,
        bytes: &mut [u8],
        sink: &mut impl Sink,
    ) -> Result<Flow, TransportError> {
        plaintext(&mut self.websocket, place, 0, bytes, sink)
    }

    /// Whether the layers themselves have something to say.
    pub(super) fn has_output(&self) -> bool {
        self.tls
            .as_ref()
            .is_some_and(|session| session.has_output())
            || self
                .websocket
                .as_ref()
                .is_some_and(|codec| codec.has_output())
    }

    /// Writes what the layers themselves have to say to the start of `out`; what does not fit waits.
    pub(super) fn write_output(&mut self, out: &mut [u8]) -> Result<usize, TlsError> {
        let mut len = 0;
        if let Some(session) = &mut self.tls
            && out.len() >= PROTOCOL_RECORD_BYTES_MAX
            && let Some(record) = session.poll_output()
        {
            out[..record.len()].copy_from_slice(&record);
            len = record.len();
        }
        if let Some(codec) = &mut self.websocket
            && out.len() - len >= PROTOCOL_RECORD_BYTES_MAX
            && let Some(frame) = codec.poll_output()
        {
            let frame: &[u8] = &frame;
            let prefix = self.tls.as_ref().map_or(0, |session| session.prefix_len());
            out[len + prefix..][..frame.len()].copy_from_slice(frame);
            len += seal(&mut self.tls, &mut out[len..], frame.len())?;
        }
        Ok(len)
    }

    /// Writes one record: `write` fills the room it is given and returns how much it used. Returns the length of the
    /// record; 0 when nothing was written or `out` has no useful room.
    pub(super) fn write_record(
        &mut self,
        out: &mut [u8],
        write: impl FnOnce(&mut [u8]) -> usize,
    ) -> Result<usize, TlsError> {
        let (prefix, suffix) = match &self.tls {
            Some(session) => (session.prefix_len(), session.suffix_len()),
            None => (0, 0),
        };
        let header_max = if self.websocket.is_some() {
            WEBSOCKET_HEADER_BYTES_MAX
        } else {
            0
        };
        let around = prefix + header_max + suffix;
        if out.len() < around + FRAME_BUF_BYTES_MIN {
            return Ok(0);
        }
        let record_max = match self.tls {
            Some(_) => PLAINTEXT_BYTES_MAX - header_max,
            // Without TLS and WebSocket there are no records, and no bound.
            None if header_max > 0 => WEBSOCKET_MESSAGE_BYTES_MAX,
            None => usize::MAX,
        };
        let room = record_max.min(out.len() - around);
        let start = prefix + header_max;
        let mut len = write(&mut out[start..start + room]);
        if len == 0 {
            return Ok(0);
        }
        if header_max > 0 {
            let header = FrameHeader::server(len);
            let header = header.as_bytes();
            // A short message has a shorter header; the payload moves up to it.
            out.copy_within(start..start + len, prefix + header.len());
            out[prefix..prefix + header.len()].copy_from_slice(header);
            len += header.len();
        }
        seal(&mut self.tls, out, len)
    }

    /// Writes the polite end of the stream.
    pub(super) fn write_goodbye(&mut self, out: &mut [u8]) -> Result<usize, TlsError> {
        if let Some(codec) = &mut self.websocket {
            codec.close(websocket::CloseCode::GOING_AWAY);
        }
        let mut len = self.write_output(out)?;
        if let Some(session) = &mut self.tls {
            let record = session.close_notify();
            out[len..len + record.len()].copy_from_slice(&record);
            len += record.len();
        }
        Ok(len)
    }

    /// Gives back what it holds of the pool.
    pub(super) fn release(&mut self, carries: &mut Carries) {
        if let Some(id) = self.carry.take() {
            carries.release(id);
        }
    }
}

/// Room that the largest record of the layers' own takes: a sealed WebSocket control frame.
const PROTOCOL_RECORD_BYTES_MAX: usize = 256;

/// Moves bytes to `carried` until it holds one whole record.
fn complete(carried: &mut Vec<u8>, bytes: &[u8], at: &mut usize) -> Result<bool, TlsError> {
    loop {
        let want = record_len(carried)?.unwrap_or(HEADER_BYTES);
        let missing = want - carried.len().min(want);
        if missing == 0 {
            return Ok(true);
        }
        let n = missing.min(bytes.len() - *at);
        if n == 0 {
            return Ok(false);
        }
        carried.extend_from_slice(&bytes[*at..*at + n]);
        *at += n;
    }
}

fn plaintext(
    websocket: &mut Option<Box<Codec>>,
    place: Place,
    offset: usize,
    bytes: &mut [u8],
    sink: &mut impl Sink,
) -> Result<Flow, TransportError> {
    let Some(codec) = websocket else {
        sink(place, offset, bytes)?;
        return Ok(Flow::Open);
    };
    let mut at = 0;
    while let Some(event) = codec.decode(bytes, &mut at)? {
        match event {
            Event::Payload(range) => sink(place, offset + range.start, &bytes[range])?,
            Event::Ping => {}
            Event::Close(_) => return Ok(Flow::Ended),
        }
    }
    Ok(Flow::Open)
}

fn seal(tls: &mut Option<Box<Session>>, out: &mut [u8], len: usize) -> Result<usize, TlsError> {
    match tls {
        Some(session) => session.seal(out, len),
        None => Ok(len),
    }
}
