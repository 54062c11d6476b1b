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
mod greeting;
mod pages;
mod step;

use std::sync::Arc;

use towline_wire::limits::HANDSHAKE_WAITING_BYTES_MAX;

use self::admission::{Admitted, AwaitClientInfo, BoxOpened};
use self::pages::AwaitPage;
use super::incoming::Incoming;
use super::{HandshakeError, LocalFault, Refusal};
use crate::http::Response;
use crate::sealed::NONCE_LEN;

pub use super::DenyReason;
pub use config::Config;
pub use step::{AdmitRequest, ConnInfo, OpeningKind, Ready, Stage, Step, Verdict};

/// One handshake, from the first plaintext byte of a connection.
pub struct ServerHandshake {
    config: Arc<Config>,
    conn: ConnInfo,
    nonce: [u8; NONCE_LEN],
    incoming: Incoming,
    output: Vec<u8>,
    /// `Date` of the answers; empty without one.
    date: String,
    state: State,
}

enum State {
    AwaitHead,
    AwaitPage(AwaitPage),
    SkipBody { left: u64 },
    AwaitClientInfo(AwaitClientInfo),
    AwaitVerdict(Box<BoxOpened>),
    Admitted(Box<Admitted>),
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
            date: String::new(),
            state: State::AwaitHead,
        }
    }

    /// Sets the `Date` of the answers to come, as RFC 9110 §5.6.7 wants it: there is no clock here. Asked for by clients of
    /// pages, never by DERP.
    pub fn set_date(&mut self, date: String) {
        self.date = date;
    }

    /// Takes bytes from the client.
    ///
    /// # Errors
    /// The handshake has failed and is over; see [`HandshakeError`].
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<(), HandshakeError> {
        match self.state {
            State::Closing => return Ok(()),
            State::HandedOver => return Err(LocalFault::FedAfterReady.into()),
            State::AwaitPage(_) | State::AwaitVerdict(_) | State::Admitted(_)
                if self.incoming.rest().len() + bytes.len() > HANDSHAKE_WAITING_BYTES_MAX =>
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
            State::Admitted(_) => self.hand_over(),
        }
    }

    /// Which deadline applies.
    #[must_use]
    pub const fn stage(&self) -> Stage {
        match self.state {
            State::AwaitHead | State::AwaitPage(_) | State::SkipBody { .. } => Stage::Http,
            State::AwaitClientInfo(_) => Stage::ClientInfo,
            State::AwaitVerdict(_) => Stage::Admission,
            State::Admitted(_) | State::HandedOver | State::Closing => Stage::Over,
        }
    }

    /// How the connection was opened, from the upgrade on until it is handed over.
    #[must_use]
    pub fn opening(&self) -> Option<OpeningKind> {
        match &self.state {
            State::AwaitClientInfo(client) => Some(client.opening),
            State::AwaitVerdict(client) => Some(client.opening()),
            State::Admitted(client) => Some(client.opening()),
            _ => None,
        }
    }

    /// Bytes of memory that the handshake holds for what it received and has yet to send.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.incoming.held_bytes() + self.output.capacity()
    }

    /// Answers [`Step::Admit`]; without effect in any other step.
    ///
    /// # Errors
    /// The denial, so that it is counted where all failures are.
    pub fn handle_verdict(&mut self, verdict: Verdict) -> Result<(), HandshakeError> {
        let client = match core::mem::replace(&mut self.state, State::Closing) {
            State::AwaitVerdict(client) => client,
            other => {
                self.state = other;
                return Ok(());
            }
        };
        match verdict {
            Verdict::Deny(reason) => Err(Refusal::Denied(reason).into()),
            Verdict::Allow { limits } => {
                self.state = State::Admitted(Box::new(client.admit(limits)));
                Ok(())
            }
        }
    }

    /// Answers [`Step::Page`]; without effect in any other step.
    ///
    /// # Errors
    /// As for [`handle_bytes`](Self::handle_bytes): requests may already wait behind the answered
    /// one.
    pub fn handle_page(&mut self, response: Response) -> Result<(), HandshakeError> {
        match core::mem::replace(&mut self.state, State::Closing) {
            State::AwaitPage(page) => {
                self.state = page.answer(response, &self.date, &mut self.output);
                self.advance()
            }
            other => {
                self.state = other;
                Ok(())
            }
        }
    }

    /// Only now is it known what came behind the client info.
    fn hand_over(&mut self) -> Step {
        match core::mem::replace(&mut self.state, State::HandedOver) {
            State::Admitted(admitted) => {
                let incoming = core::mem::take(&mut self.incoming);
                let ready = admitted.into_ready(&self.config, &self.conn, &self.nonce, incoming);
                Step::Ready(Box::new(ready))
            }
            _ => Step::CloseAfterOutput,
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
