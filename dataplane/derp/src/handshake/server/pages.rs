//! The HTTP part of the handshake: requests that are answered before, or instead of, an upgrade.

use towline_wire::limits;

use super::{Progress, ServerHandshake, State};
use crate::handshake::{HandshakeError, Malformation, Misbehaviour};
use crate::http::{
    self, Access, Body, Framing, HttpError, Page, PageRequest, RequestHead, Response, Route,
    Version,
};

/// The relay is making a page.
pub(super) struct AwaitPage {
    pub(super) request: PageRequest,
    exchange: Exchange,
}

/// What of a request outlives its head: how to answer it, and what follows it.
#[derive(Clone, Copy)]
struct Exchange {
    framing: Framing,
    body_len: u64,
}

impl AwaitPage {
    /// Writes the relay's answer.
    pub(super) fn answer(self, response: Response, date: &str, output: &mut Vec<u8>) -> State {
        let response = match self.request.page {
            Page::AcmeChallenge => response,
            // Clients ask once, of many relays: derper does not keep such connections either.
            Page::BootstrapDns => response.hardened().closing(),
            Page::Metrics | Page::Debug => response.hardened(),
        };
        self.exchange.answer(&response, date, output)
    }
}

impl Exchange {
    /// Reads how a request ends, and decides whether another may follow.
    fn new(head: &RequestHead<'_>, output_len: usize) -> Result<Self, HttpError> {
        let Body::Length(body_len) = head.body()? else {
            return Err(HttpError::LengthRequired);
        };
        // A client that waits for "100 Continue" may or may not send its body after our answer.
        let keep_alive = head.keeps_alive()
            && body_len <= limits::HTTP_REQUEST_BODY_BYTES_MAX as u64
            && head.field("expect").is_none()
            && output_len <= limits::HTTP_OUTPUT_BYTES_MAX;
        Ok(Self {
            framing: framing(head, keep_alive),
            body_len,
        })
    }

    fn answer(self, response: &Response, date: &str, output: &mut Vec<u8>) -> State {
        match (response.write(self.framing, date, output), self.body_len) {
            (false, _) => State::Closing,
            (true, 0) => State::AwaitHead,
            (true, left) => State::SkipBody { left },
        }
    }
}

impl ServerHandshake {
    /// Takes a request head, when it is complete. What is wrong with it is also said in HTTP.
    pub(super) fn take_head(&mut self) -> Result<Progress, HandshakeError> {
        match self.take_request() {
            Ok(Some(state)) => Ok(Progress::Made(state)),
            Ok(None) => Ok(Progress::Waits(State::AwaitHead)),
            Err(error) => {
                if let HandshakeError::Malformed(Malformation::Http(error)) = error {
                    let framing = Framing {
                        version: Version::Http11,
                        head_only: false,
                        keep_alive: false,
                    };
                    error.answer().write(framing, &self.date, &mut self.output);
                }
                Err(error)
            }
        }
    }

    fn take_request(&mut self) -> Result<Option<State>, HandshakeError> {
        let Some(len) = self.incoming.find_head()? else {
            return Ok(None);
        };
        let head = RequestHead::parse(&self.incoming.rest()[..len])?;
        let access = Access {
            home: &self.config.home,
            derp_enabled: self.config.derp_enabled,
            plain_http_port: self.conn.plain_http_port,
            debug_allowed: self.conn.debug_allowed,
        };
        let route = http::route(&head, access)?;
        let state = match route {
            Route::Upgrade(request) => {
                self.incoming.consume(len);
                return Ok(Some(State::AwaitClientInfo(self.greet(request))));
            }
            Route::BadUpgrade(bad, answer) => {
                let exchange = Exchange {
                    framing: framing(&head, false),
                    body_len: 0,
                };
                exchange.answer(&answer, &self.date, &mut self.output);
                return Err(Misbehaviour::Upgrade(bad).into());
            }
            Route::Answer(answer) => Exchange::new(&head, self.output.len())?.answer(
                &answer,
                &self.date,
                &mut self.output,
            ),
            Route::Page(request) => {
                let exchange = Exchange::new(&head, self.output.len())?;
                State::AwaitPage(AwaitPage { request, exchange })
            }
        };
        self.incoming.consume(len);
        Ok(Some(state))
    }
}

fn framing(head: &RequestHead<'_>, keep_alive: bool) -> Framing {
    Framing {
        version: head.version,
        head_only: head.method == "HEAD",
        keep_alive,
    }
}
