//! What was received and not yet understood: first an HTTP head, then DERP frames, raw or inside a
//! WebSocket. Shared by server and client.
//!
//! It never takes a byte past what was asked for, so that the rest can be handed over as it came,
//! and it holds what was received, never what was only announced.

use towline_wire::frame::{HEADER_LEN, Header};
use towline_wire::limits::HTTP_HEAD_BYTES_MAX;
use zeroize::Zeroizing;

use super::{HandshakeError, Malformation, Misbehaviour};
use crate::http::{HeadEnd, HttpError};
use crate::websocket::{Codec, Event};

/// A header and its body.
pub(super) type Frame = (Header, Zeroizing<Vec<u8>>);

#[derive(Default)]
pub(super) struct Incoming {
    received: Vec<u8>,
    /// `received[..at]` is consumed.
    at: usize,
    head_end: HeadEnd,
    codec: Option<Codec>,
    /// The bytes so far of the frame that is being received. Wiped, because one of them holds a
    /// mesh key once its box is open.
    frame: Zeroizing<Vec<u8>>,
}

impl Incoming {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.received.drain(..self.at);
        self.at = 0;
        self.received.extend_from_slice(bytes);
    }

    /// Bytes of memory behind it.
    pub(super) fn held_bytes(&self) -> usize {
        self.received.capacity() + self.frame.capacity()
    }

    /// What is not consumed.
    pub(super) fn rest(&self) -> &[u8] {
        &self.received[self.at..]
    }

    pub(super) fn consume(&mut self, len: usize) {
        self.at += len;
        if self.at == self.received.len() {
            self.received.clear();
            self.at = 0;
        }
    }

    /// The length of the HTTP head at the start of [`rest`](Self::rest), when it is complete.
    pub(super) fn find_head(&mut self) -> Result<Option<usize>, HttpError> {
        let found = self.head_end.find(&self.received[self.at..]);
        if found.unwrap_or_else(|| self.rest().len()) > HTTP_HEAD_BYTES_MAX {
            return Err(HttpError::TooLong);
        }
        if found.is_some() {
            self.head_end = HeadEnd::default();
        }
        Ok(found)
    }

    /// From here on the stream is inside a WebSocket.
    pub(super) fn start_websocket(&mut self, codec: Codec) {
        self.codec = Some(codec);
    }

    pub(super) const fn codec(&mut self) -> Option<&mut Codec> {
        self.codec.as_mut()
    }

    /// The next frame, when it is complete. `check` sees its header before any of its body is kept.
    pub(super) fn next_frame(
        &mut self,
        check: impl FnOnce(Header) -> Result<(), Misbehaviour>,
    ) -> Result<Option<Frame>, HandshakeError> {
        self.fill(HEADER_LEN)?;
        let Some((header, _)) = self.frame.split_first_chunk() else {
            return Ok(None);
        };
        let header = Header::parse(header);
        check(header)?;
        let whole = HEADER_LEN + header.len as usize;
        self.fill(whole)?;
        if self.frame.len() < whole {
            return Ok(None);
        }
        let mut body = core::mem::take(&mut self.frame);
        body.drain(..HEADER_LEN);
        Ok(Some((header, body)))
    }

    /// Moves received bytes of the stream into `frame` until it has `len` bytes or none are left.
    fn fill(&mut self, len: usize) -> Result<(), HandshakeError> {
        let Some(codec) = &mut self.codec else {
            let taken = len.saturating_sub(self.frame.len()).min(self.rest().len());
            self.frame
                .extend_from_slice(&self.received[self.at..self.at + taken]);
            self.consume(taken);
            return Ok(());
        };
        // A piece as long as what is missing cannot hold more payload than that.
        while self.frame.len() < len && self.at < self.received.len() {
            let end = self.received.len().min(self.at + len - self.frame.len());
            let piece = &mut self.received[self.at..end];
            let mut at = 0;
            while let Some(event) = codec.decode(piece, &mut at)? {
                match event {
                    Event::Payload(range) => self.frame.extend_from_slice(&piece[range]),
                    Event::Ping => {}
                    Event::Close(_) => return Err(Misbehaviour::Closed.into()),
                }
            }
            self.at = end;
        }
        self.consume(0);
        Ok(())
    }

    /// Moves pongs and close frames into the output; a close frame says why when the WebSocket is at
    /// fault.
    pub(super) fn answer_websocket(
        &mut self,
        error: Option<&HandshakeError>,
        output: &mut Vec<u8>,
    ) {
        let Some(codec) = &mut self.codec else { return };
        if let Some(HandshakeError::Malformed(Malformation::WebSocket(error))) = error {
            codec.close(error.close_code());
        }
        while let Some(control) = codec.poll_output() {
            output.extend_from_slice(&control);
        }
    }

    /// What follows the handshake: bytes as they were received, and the WebSocket they are in.
    pub(super) fn into_rest(mut self) -> (Vec<u8>, Option<Codec>) {
        (self.rest().to_vec(), self.codec.take())
    }
}
