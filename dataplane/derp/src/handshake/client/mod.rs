//! The client's side of the handshake: mesh uplinks, the load generator and health checks use it.
//!
//! ```text
//! Raw, WebSocket:  AwaitAnswer -> AwaitServerKey -> AwaitServerInfo -> Ready
//! FastStart:                                        AwaitServerInfo -> Ready
//! ```
//!
//! The driver's loop: send what [`poll_output`](ClientHandshake::poll_output) gives, then read and
//! [`handle_bytes`](ClientHandshake::handle_bytes), until [`step`](ClientHandshake::step) is ready.

mod options;
mod request;

use towline_wire::NodePublic;
use towline_wire::frame::{self, FrameType, Header};
use towline_wire::info::{ClientInfo, ServerInfo};
use towline_wire::limits::{self, HANDSHAKE_WAITING_BYTES_MAX};

use super::incoming::Incoming;
use super::{HandshakeError, LocalFault, Malformation, Misbehaviour};
use crate::http::ResponseHead;
use crate::sealed::{BoxKey, NONCE_LEN, SharedBox};
use crate::websocket::{self, Codec};

pub use options::{Opening, Options};

/// What the handshake waits for.
#[derive(Debug)]
pub enum Step {
    /// Bytes from the server.
    NeedInput,
    /// Nothing: the connection is the caller's. Given once.
    Ready(Box<Ready>),
    /// Nothing: the handshake failed, or its connection was handed over.
    Over,
}

/// A connection that is ready for DERP.
#[derive(Debug)]
pub struct Ready {
    /// The server's key.
    pub server_key: NodePublic,
    /// What the server says of itself.
    pub server_info: ServerInfo,
    /// The WebSocket around the stream, if it is one.
    pub websocket: Option<Codec>,
    /// What was received past the server info, as it came: inside the WebSocket if there is one.
    pub leftover: Vec<u8>,
}

/// One handshake, from the first plaintext byte of a connection.
pub struct ClientHandshake {
    options: Options,
    nonce: [u8; NONCE_LEN],
    mask_seed: [u8; 16],
    websocket_key: String,
    incoming: Incoming,
    output: Vec<u8>,
    state: State,
}

enum State {
    /// The fast start that was not taken as one, if the client began with it.
    AwaitAnswer(Option<Introduced>),
    AwaitServerKey,
    AwaitServerInfo(Introduced),
    Ready(Box<Ready>),
    Over,
}

/// Client info has been sent to this server.
struct Introduced {
    server_key: NodePublic,
    shared: SharedBox,
    /// Not a byte has come back to a fast start.
    unheard: bool,
}

/// Whether a state can go on with what has been received.
enum Progress {
    Made(State),
    Waits(State),
}

impl ClientHandshake {
    /// Begins: the request is the first output. `seed` is random and used for nothing else.
    ///
    /// # Errors
    /// A host, path or node name that cannot stand in an HTTP head.
    pub fn new(options: Options, seed: [u8; 64]) -> Result<Self, HandshakeError> {
        let (nonce, rest) = split(&seed);
        let (mask_seed, rest) = split(rest);
        let (key_nonce, _) = split(rest);
        let websocket_key = websocket::new_key(&key_nonce);
        let output = request::request(&options, &websocket_key)?.into_bytes();
        let mut handshake = Self {
            options,
            nonce,
            mask_seed,
            websocket_key,
            incoming: Incoming::default(),
            output,
            state: State::AwaitAnswer(None),
        };
        if let Opening::FastStart(server_key) = handshake.options.opening {
            let introduced = handshake.introduce(server_key)?;
            handshake.state = State::AwaitServerInfo(Introduced {
                unheard: true,
                ..introduced
            });
        }
        Ok(handshake)
    }

    /// Takes bytes from the server.
    ///
    /// # Errors
    /// The handshake has failed and is over; see [`HandshakeError`].
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), HandshakeError> {
        match self.state {
            State::Over => return Err(LocalFault::FedAfterReady.into()),
            State::Ready(_)
                if self.incoming.rest().len() + bytes.len() > HANDSHAKE_WAITING_BYTES_MAX =>
            {
                self.state = State::Over;
                return Err(LocalFault::FedWhileWaiting.into());
            }
            _ => {}
        }
        self.incoming.push(bytes);
        // Whatever fails leaves `Over` behind.
        loop {
            let progress = match core::mem::replace(&mut self.state, State::Over) {
                State::AwaitAnswer(introduced) => self.take_answer(introduced)?,
                State::AwaitServerKey => self.take_server_key()?,
                State::AwaitServerInfo(introduced) => self.take_server_info(introduced)?,
                waiting => Progress::Waits(waiting),
            };
            match progress {
                Progress::Made(state) => self.state = state,
                Progress::Waits(state) => {
                    self.state = state;
                    return Ok(());
                }
            }
        }
    }

    /// Bytes to send, in order.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| core::mem::take(&mut self.output))
    }

    /// What the handshake waits for. Asking changes nothing, except that [`Step::Ready`] hands the
    /// connection over.
    pub fn step(&mut self) -> Step {
        match core::mem::replace(&mut self.state, State::Over) {
            State::Ready(mut ready) => {
                // More may have come since.
                let (leftover, websocket) = core::mem::take(&mut self.incoming).into_rest();
                ready.leftover = leftover;
                ready.websocket = websocket;
                Step::Ready(ready)
            }
            State::Over => Step::Over,
            waiting => {
                self.state = waiting;
                Step::NeedInput
            }
        }
    }

    fn take_answer(&mut self, fast: Option<Introduced>) -> Result<Progress, HandshakeError> {
        let Some(len) = self.incoming.find_head()? else {
            return Ok(Progress::Waits(State::AwaitAnswer(fast)));
        };
        let answer = ResponseHead::parse(&self.incoming.rest()[..len])?;
        request::check_answer(self.options.opening, &self.websocket_key, &answer)?;
        self.incoming.consume(len);
        if self.options.opening == Opening::WebSocket {
            self.incoming.start_websocket(Codec::client(self.mask_seed));
        }
        Ok(Progress::Made(match fast {
            Some(introduced) => State::AwaitServerInfo(introduced),
            None => State::AwaitServerKey,
        }))
    }

    fn take_server_key(&mut self) -> Result<Progress, HandshakeError> {
        let check = |header| {
            expect(
                header,
                FrameType::ServerKey,
                limits::SERVER_KEY_BODY_BYTES_MAX,
            )
        };
        let Some((_, body)) = self.next_frame(check)? else {
            return Ok(Progress::Waits(State::AwaitServerKey));
        };
        let frame = frame::ServerKey::parse(&body).map_err(Malformation::Frame)?;
        Ok(Progress::Made(State::AwaitServerInfo(
            self.introduce(frame.key)?,
        )))
    }

    fn take_server_info(&mut self, mut introduced: Introduced) -> Result<Progress, HandshakeError> {
        if introduced.unheard {
            // A server that knows no fast start, or a proxy in between, answers in HTTP. No frame is
            // shorter than this.
            let Some(start) = self.incoming.rest().first_chunk::<{ frame::HEADER_LEN }>() else {
                return Ok(Progress::Waits(State::AwaitServerInfo(introduced)));
            };
            introduced.unheard = false;
            if start == b"HTTP/" {
                return Ok(Progress::Made(State::AwaitAnswer(Some(introduced))));
            }
        }
        let is_fast = matches!(self.options.opening, Opening::FastStart(_));
        let check = |header: Header| match header.frame_type() {
            // Sent also to those who did not wait for it.
            Some(FrameType::ServerKey) if is_fast => expect(
                header,
                FrameType::ServerKey,
                limits::SERVER_KEY_BODY_BYTES_MAX,
            ),
            _ => expect(
                header,
                FrameType::ServerInfo,
                limits::SERVER_INFO_BODY_BYTES_MAX,
            ),
        };
        let Some((header, mut body)) = self.next_frame(check)? else {
            return Ok(Progress::Waits(State::AwaitServerInfo(introduced)));
        };
        if header.frame_type() == Some(FrameType::ServerKey) {
            return Ok(Progress::Made(State::AwaitServerInfo(introduced)));
        }
        let frame = frame::ServerInfo::parse(&body).map_err(Malformation::Frame)?;
        let (nonce, sealed_len) = (frame.nonce, frame.sealed.len());
        let sealed_at = body.len() - sealed_len;
        let json = introduced
            .shared
            .open(&nonce, &mut body[sealed_at..])
            .map_err(|_| Misbehaviour::BoxDoesNotOpen)?;
        let ready = Ready {
            server_key: introduced.server_key,
            server_info: ServerInfo::parse(json).map_err(Malformation::Info)?,
            websocket: None,
            leftover: Vec::new(),
        };
        Ok(Progress::Waits(State::Ready(Box::new(ready))))
    }

    fn next_frame(
        &mut self,
        check: impl FnOnce(Header) -> Result<(), Misbehaviour>,
    ) -> Result<Option<super::incoming::Frame>, HandshakeError> {
        let frame = self.incoming.next_frame(check);
        self.incoming
            .answer_websocket(frame.as_ref().err(), &mut self.output);
        frame
    }

    /// Sends client info to this server.
    fn introduce(&mut self, server_key: NodePublic) -> Result<Introduced, HandshakeError> {
        let key = BoxKey::new(&self.options.key);
        let shared = key
            .agree(&server_key)
            .map_err(|_| Misbehaviour::BoxDoesNotOpen)?;
        let info = ClientInfo {
            mesh_key: self.options.mesh_key.clone(),
            can_ack_pings: self.options.can_ack_pings,
            is_prober: self.options.is_prober,
            app_name: self.options.app_name.clone(),
            ..ClientInfo::default()
        };
        let sealed = shared.seal(&self.nonce, &info.to_json());
        let mut frame = Vec::new();
        frame::ClientInfo {
            key: key.public(),
            nonce: self.nonce,
            sealed: &sealed,
        }
        .write(&mut frame);
        if let Some(codec) = self.incoming.codec() {
            let mut header = codec.header_for(frame.len());
            self.output.extend_from_slice(header.as_bytes());
            header.mask(&mut frame);
        }
        self.output.extend_from_slice(&frame);
        Ok(Introduced {
            server_key,
            shared,
            unheard: false,
        })
    }
}

/// What the header of a frame must look like.
fn expect(header: Header, wanted: FrameType, len_max: usize) -> Result<(), Misbehaviour> {
    let Header { kind, len } = header;
    if header.frame_type() != Some(wanted) {
        return Err(Misbehaviour::UnexpectedFrame { kind });
    }
    if len as usize > len_max {
        return Err(Misbehaviour::FrameLength { kind, len });
    }
    Ok(())
}

/// Cuts the next array off the seed.
fn split<const N: usize>(seed: &[u8]) -> ([u8; N], &[u8]) {
    let (array, rest) = seed
        .split_first_chunk()
        .expect("the seed is longer than all its parts");
    (*array, rest)
}
