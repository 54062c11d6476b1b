//! The server's side of the handshake.
//!
//! ```text
//! AwaitHead <-> pages of the relay (AwaitPage), bodies to skip (SkipBody)
//!     |  GET /derp, Upgrade
//!     v
//! AwaitClientInfo -> AwaitVerdict -> Ready
//! ```
//!
//! The driver's loop: send what [`poll_output`](ServerHandshake::poll_output) gives, then act on
//! [`step`](ServerHandshake::step): read and [`handle_bytes`](ServerHandshake::handle_bytes), ask
//! admission and [`handle_verdict`](ServerHandshake::handle_verdict), make a page and
//! [`handle_page`](ServerHandshake::handle_page), take the connection over, or close it. While the
//! step is another than [`Step::NeedInput`] the driver does not read on.

mod admission;
mod config;
mod pages;

use core::net::SocketAddr;
use std::sync::Arc;

use towline_wire::{NodePublic, frame, limits};

use self::admission::{AwaitClientInfo, BoxOpened};
use self::pages::AwaitPage;
use super::incoming::Incoming;
use super::{HandshakeError, LocalFault};
use crate::connected::{Connected, RateLimit};
use crate::http::{Opening, PageRequest, Response, UpgradeRequest};
use crate::sealed::NONCE_LEN;
use crate::websocket::Codec;

pub use super::DenyReason;
pub use config::Config;

/// Bytes that may pile up while the handshake waits for its caller: what a client sends right
/// behind its client info, and what its caller had already read.
const WAITING_BYTES_MAX: usize = 64 << 10;

/// What the driver knows of a connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnInfo {
    /// The client's address, from the socket or a trusted PROXY header.
    pub peer: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// Whether the bytes are inside TLS of ours.
    pub tls: bool,
    /// Whether this is the plain HTTP port beside a TLS one.
    pub plain_http_port: bool,
    /// Whether the client may see metrics and debug pages.
    pub debug_allowed: bool,
}

/// What the handshake waits for.
#[derive(Debug)]
pub enum Step {
    /// Bytes from the client.
    NeedInput,
    /// A verdict on this client.
    Admit(AdmitRequest),
    /// This page.
    Page(PageRequest),
    /// Nothing: the connection is the caller's. Given once.
    Ready(Box<Ready>),
    /// Nothing: the connection is to be closed once the output is sent.
    CloseAfterOutput,
}

/// A client whose key is proven and that asks to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmitRequest {
    /// Its key.
    pub key: NodePublic,
    /// Its address.
    pub addr: SocketAddr,
    /// It presented the mesh key; derper lets such clients in unasked.
    pub mesh: bool,
    /// It says that it is a prober.
    pub prober: bool,
}

/// The answer to an [`AdmitRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Allow {
        /// A limit for this key instead of the relay's default.
        limits: Option<RateLimit>,
    },
    /// Close the connection. Clients are not told why, as in derper.
    Deny(DenyReason),
}

/// A connection that has become DERP.
#[derive(Debug)]
pub struct Ready {
    /// Who it is.
    pub client: Connected,
    /// The frame that must be the first thing written from here on.
    pub server_info_frame: Vec<u8>,
    /// The WebSocket around the stream, if it is one; for `server_info_frame` too.
    pub websocket: Option<Codec>,
    /// What was received past the client info, as it came: inside the WebSocket if there is one.
    pub leftover: Vec<u8>,
    /// How the connection was opened, for counting.
    pub opening: OpeningKind,
}

/// How a connection became DERP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningKind {
    /// By an upgrade that was answered with `101`.
    Raw,
    /// By an upgrade without an answer.
    FastStart,
    /// Inside a WebSocket.
    WebSocket,
}

/// Which deadline applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Between requests, or in one.
    Http,
    /// Upgraded, the client info is due.
    ClientInfo,
    /// Admission is being asked.
    Admission,
    /// Handed over, or to be closed.
    Over,
}

/// One handshake, from the first plaintext byte of a connection.
pub struct ServerHandshake {
    config: Arc<Config>,
    conn: ConnInfo,
    nonce: [u8; NONCE_LEN],
    incoming: Incoming,
    output: Vec<u8>,
    state: State,
}

enum State {
    AwaitHead,
    AwaitPage(AwaitPage),
    SkipBody { left: u64 },
    AwaitClientInfo(AwaitClientInfo),
    AwaitVerdict(Box<BoxOpened>),
    Ready(Box<Ready>),
    HandedOver,
    Closing,
}

/// Whether a state can go on with what has been received.
enum Progress {
    Made(State),
    Waits(State),
}

impl ServerHandshake {
    /// A handshake that has received nothing. `seed` is random and used for nothing else.
    #[must_use]
    pub fn new(config: Arc<Config>, conn: ConnInfo, seed: [u8; 32]) -> Self {
        let [nonce @ .., _, _, _, _, _, _, _, _] = seed;
        Self {
            config,
            conn,
            nonce,
            incoming: Incoming::default(),
            output: Vec::new(),
            state: State::AwaitHead,
        }
    }

    /// Takes bytes from the client.
    ///
    /// # Errors
    /// The handshake has failed and is over; see [`HandshakeError`].
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), HandshakeError> {
        match self.state {
            State::Closing => return Ok(()),
            State::HandedOver => return Err(LocalFault::FedAfterReady.into()),
            State::AwaitPage(_) | State::AwaitVerdict(_) | State::Ready(_)
                if self.incoming.rest().len() + bytes.len() > WAITING_BYTES_MAX =>
            {
                self.state = State::Closing;
                return Err(LocalFault::FedWhileWaiting.into());
            }
            _ => {}
        }
        self.incoming.push(bytes);
        self.advance()
    }

    /// Bytes to send, in order.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        (!self.output.is_empty()).then(|| core::mem::take(&mut self.output))
    }

    /// What the handshake waits for. Asking changes nothing, except that [`Step::Ready`] hands the
    /// connection over.
    pub fn step(&mut self) -> Step {
        match &self.state {
            State::AwaitHead | State::SkipBody { .. } | State::AwaitClientInfo(_) => {
                Step::NeedInput
            }
            State::AwaitPage(page) => Step::Page(page.request.clone()),
            State::AwaitVerdict(client) => Step::Admit(client.request(&self.conn)),
            State::Closing | State::HandedOver => Step::CloseAfterOutput,
            State::Ready(_) => match core::mem::replace(&mut self.state, State::HandedOver) {
                State::Ready(ready) => Step::Ready(ready),
                _ => Step::CloseAfterOutput,
            },
        }
    }

    /// Which deadline applies.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self.state {
            State::AwaitHead | State::AwaitPage(_) | State::SkipBody { .. } => Stage::Http,
            State::AwaitClientInfo(_) => Stage::ClientInfo,
            State::AwaitVerdict(_) => Stage::Admission,
            State::Ready(_) | State::HandedOver | State::Closing => Stage::Over,
        }
    }

    /// Answers [`Step::Admit`]; without effect in any other step.
    pub fn handle_verdict(&mut self, verdict: Verdict) {
        self.state = match (core::mem::replace(&mut self.state, State::Closing), verdict) {
            (State::AwaitVerdict(client), Verdict::Allow { limits }) => {
                let incoming = core::mem::take(&mut self.incoming);
                let admitted = client.admit(limits);
                let ready = admitted.into_ready(&self.config, &self.conn, &self.nonce, incoming);
                State::Ready(Box::new(ready))
            }
            (State::AwaitVerdict(_), Verdict::Deny(_)) => State::Closing,
            (other, _) => other,
        };
    }

    /// Answers [`Step::Page`]; without effect in any other step.
    ///
    /// # Errors
    /// As for [`handle_bytes`](Self::handle_bytes): requests may already wait behind the answered
    /// one.
    pub fn handle_page(&mut self, response: Response) -> Result<(), HandshakeError> {
        match core::mem::replace(&mut self.state, State::Closing) {
            State::AwaitPage(page) => {
                self.state = page.answer(response, self.conn.tls, &mut self.output);
                self.advance()
            }
            other => {
                self.state = other;
                Ok(())
            }
        }
    }

    /// Goes on until more input or the caller is needed. Whatever fails leaves `Closing` behind.
    fn advance(&mut self) -> Result<(), HandshakeError> {
        loop {
            let progress = match core::mem::replace(&mut self.state, State::Closing) {
                State::AwaitHead => self.take_head()?,
                State::SkipBody { left } => self.skip_body(left),
                State::AwaitClientInfo(state) => self.take_client_info(state)?,
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

    fn skip_body(&mut self, left: u64) -> Progress {
        let here = self.incoming.rest().len();
        let skipped = usize::try_from(left).map_or(here, |left| left.min(here));
        self.incoming.consume(skipped);
        match left - skipped as u64 {
            0 => Progress::Made(State::AwaitHead),
            left => Progress::Waits(State::SkipBody { left }),
        }
    }

    /// Speaks first: the answer to the upgrade, if one is wanted, and the server key.
    fn open(&mut self, request: UpgradeRequest) -> AwaitClientInfo {
        let mut server_key = Vec::new();
        frame::ServerKey {
            key: self.config.server_public(),
        }
        .write(&mut server_key);
        let opening = match request.opening {
            Opening::FastStart => OpeningKind::FastStart,
            Opening::Raw => {
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\n\
                     Upgrade: DERP\r\n\
                     Connection: Upgrade\r\n\
                     Derp-Version: {}\r\n\
                     Derp-Public-Key: {}\r\n\r\n",
                    limits::PROTOCOL_VERSION,
                    self.config.server_public().to_hex(),
                );
                self.output.extend_from_slice(answer.as_bytes());
                OpeningKind::Raw
            }
            Opening::WebSocket { accept } => {
                let answer = format!(
                    "HTTP/1.1 101 Switching Protocols\r\n\
                     Upgrade: websocket\r\n\
                     Connection: Upgrade\r\n\
                     Sec-WebSocket-Accept: {accept}\r\n\
                     Sec-WebSocket-Protocol: derp\r\n\r\n",
                );
                self.output.extend_from_slice(answer.as_bytes());
                let mut codec = Codec::server();
                self.output
                    .extend_from_slice(codec.header_for(server_key.len()).as_bytes());
                self.incoming.start_websocket(codec);
                OpeningKind::WebSocket
            }
        };
        self.output.extend_from_slice(&server_key);
        AwaitClientInfo {
            opening,
            not_ideal: request.not_ideal,
        }
    }

    fn take_client_info(&mut self, state: AwaitClientInfo) -> Result<Progress, HandshakeError> {
        let frame = self.incoming.next_frame(AwaitClientInfo::check);
        self.incoming
            .answer_websocket(frame.as_ref().err(), &mut self.output);
        match frame? {
            None => Ok(Progress::Waits(State::AwaitClientInfo(state))),
            Some((_, mut body)) => {
                let client = state.open(&mut body, &self.config)?;
                Ok(Progress::Waits(State::AwaitVerdict(Box::new(client))))
            }
        }
    }
}
