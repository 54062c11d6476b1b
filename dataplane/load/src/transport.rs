//! One connection's bytes: TLS records out of and into buffers, or bytes as they are.
//!
//! Owns no socket: `dial` and `worker` move the bytes.

use towline_derp::websocket::{Codec, Event};
use towline_tls::{Opened, PLAINTEXT_BYTES_MAX, Session, TlsError, record_len};

/// Why a connection cannot go on.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The TLS layer is out of step or was closed by the peer.
    Tls,
    /// The WebSocket is out of step or was closed by the peer.
    WebSocket,
    /// The DERP stream is out of step.
    Derp,
}

/// Most bytes that a record or WebSocket frame puts around its content.
pub(crate) const AROUND_BYTES_MAX: usize = 13 + 24 + 14;

pub(crate) struct Transport {
    session: Option<Session>,
    /// Once the WebSocket is open.
    pub(crate) websocket: Option<Codec>,
    /// The beginning of a record whose rest has not come.
    partial: Vec<u8>,
}

impl Transport {
    pub(crate) fn new(session: Option<Session>) -> Self {
        Self {
            session,
            websocket: None,
            partial: Vec::new(),
        }
    }

    /// Takes what the socket gave, changed in place; `sink` gets the DERP stream.
    pub(crate) fn receive(
        &mut self,
        bytes: &mut [u8],
        mut sink: impl FnMut(&mut [u8]) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        let Self {
            session,
            websocket,
            partial,
        } = self;
        let mut sink = |plain: &mut [u8]| match websocket {
            Some(codec) => through_websocket(codec, plain, &mut sink),
            None => sink(plain),
        };
        let Some(session) = session else {
            return sink(bytes);
        };
        let mut rest = bytes;
        if !partial.is_empty() {
            let Some(taken) = complete(partial, rest)? else {
                return Ok(());
            };
            open(session, partial, &mut sink)?;
            partial.clear();
            rest = &mut rest[taken..];
        }
        while let Some(len) = record_len(rest).map_err(|_| Broken::Tls)? {
            if len > rest.len() {
                break;
            }
            let (record, after) = rest.split_at_mut(len);
            open(session, record, &mut sink)?;
            rest = after;
        }
        partial.extend_from_slice(rest);
        Ok(())
    }

    /// Takes what came with the end of the handshake and is out of its records already.
    pub(crate) fn receive_opened(
        &mut self,
        plain: &mut [u8],
        mut sink: impl FnMut(&mut [u8]) -> Result<(), Broken>,
    ) -> Result<(), Broken> {
        match &mut self.websocket {
            Some(codec) => through_websocket(codec, plain, &mut sink),
            None => sink(plain),
        }
    }

    /// Whether the layers below DERP have something to say, for [`Self::own_output`].
    pub(crate) fn has_own_output(&self) -> bool {
        self.session.as_ref().is_some_and(Session::has_output)
            || self.websocket.as_ref().is_some_and(Codec::has_output)
    }

    /// Key updates, pongs of the WebSocket: bytes for the socket. Rare, so it allocates.
    pub(crate) fn own_output(&mut self) -> Result<Vec<u8>, TlsError> {
        let mut wire = Vec::new();
        while let Some(record) = self.session.as_mut().and_then(Session::poll_output) {
            wire.extend_from_slice(&record);
        }
        if let Some(control) = self.websocket.as_mut().and_then(Codec::poll_output) {
            self.seal_raw(&control, &mut wire)?;
        }
        Ok(wire)
    }

    /// Seals bytes that need no frame of the WebSocket, or have one, behind `wire`.
    pub(crate) fn seal_raw(
        &mut self,
        mut plain: &[u8],
        wire: &mut Vec<u8>,
    ) -> Result<(), TlsError> {
        let Some(session) = &mut self.session else {
            wire.extend_from_slice(plain);
            return Ok(());
        };
        while !plain.is_empty() {
            let (piece, rest) = plain.split_at(plain.len().min(PLAINTEXT_BYTES_MAX));
            let start = wire.len();
            wire.resize(start + session.prefix_len(), 0);
            wire.extend_from_slice(piece);
            wire.resize(wire.len() + session.suffix_len(), 0);
            let len = session.seal(&mut wire[start..], piece.len())?;
            wire.truncate(start + len);
            plain = rest;
        }
        Ok(())
    }

    /// Writes one DERP frame of `len` bytes to the start of `out`, in records and a message of its
    /// own, and says how many bytes that took. The frame begins with `head`; what follows is
    /// whatever `out` holds: to a relay it is ciphertext anyway.
    pub(crate) fn write_frame(
        &mut self,
        head: &[u8],
        len: usize,
        out: &mut [u8],
    ) -> Result<usize, TlsError> {
        let mut around = self.websocket.as_mut().map(|codec| codec.header_for(len));
        let mut written = 0;
        let mut frame_done = 0;
        while frame_done < len {
            let prefix = self.session.as_ref().map_or(0, Session::prefix_len);
            let suffix = self.session.as_ref().map_or(0, Session::suffix_len);
            let room = self
                .session
                .as_ref()
                .map_or(usize::MAX, |_| PLAINTEXT_BYTES_MAX);
            let record = &mut out[written..];
            let mut plain = 0;
            if let Some(header) = around.as_ref().filter(|_| frame_done == 0) {
                let header = header.as_bytes();
                record[prefix..prefix + header.len()].copy_from_slice(header);
                plain = header.len();
            }
            let piece = (len - frame_done).min(room - plain);
            let body = &mut record[prefix + plain..prefix + plain + piece];
            if let Some(head) = head.get(frame_done..).filter(|head| !head.is_empty()) {
                let copied = head.len().min(piece);
                body[..copied].copy_from_slice(&head[..copied]);
            }
            if let Some(header) = &mut around {
                header.mask(body);
            }
            plain += piece;
            frame_done += piece;
            written += match &mut self.session {
                Some(session) => session.seal(&mut record[..prefix + plain + suffix], plain)?,
                None => plain,
            };
        }
        Ok(written)
    }
}

/// Fills up a record that has begun with the start of `bytes`. How many it took, once complete.
fn complete(partial: &mut Vec<u8>, bytes: &[u8]) -> Result<Option<usize>, Broken> {
    let mut taken = 0;
    loop {
        let wanted = match record_len(partial).map_err(|_| Broken::Tls)? {
            Some(len) if len == partial.len() => return Ok(Some(taken)),
            Some(len) => len,
            None => towline_tls::HEADER_BYTES,
        };
        let more = (wanted - partial.len()).min(bytes.len() - taken);
        if more == 0 {
            return Ok(None);
        }
        partial.extend_from_slice(&bytes[taken..taken + more]);
        taken += more;
    }
}

fn open(
    session: &mut Session,
    record: &mut [u8],
    sink: &mut impl FnMut(&mut [u8]) -> Result<(), Broken>,
) -> Result<(), Broken> {
    match session.open(record).map_err(|_| Broken::Tls)? {
        Opened::Data(range) => sink(&mut record[range]),
        Opened::Handled => Ok(()),
        Opened::CloseNotify => Err(Broken::Tls),
    }
}

fn through_websocket(
    codec: &mut Codec,
    bytes: &mut [u8],
    sink: &mut impl FnMut(&mut [u8]) -> Result<(), Broken>,
) -> Result<(), Broken> {
    let mut at = 0;
    while let Some(event) = codec
        .decode(bytes, &mut at)
        .map_err(|_| Broken::WebSocket)?
    {
        match event {
            Event::Payload(range) => sink(&mut bytes[range])?,
            Event::Ping => {}
            Event::Close(_) => return Err(Broken::WebSocket),
        }
    }
    Ok(())
}
