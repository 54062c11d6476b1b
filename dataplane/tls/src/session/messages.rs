//! What a peer may send beside data once the handshake is over: alerts, key updates, tickets, a
//! request to renegotiate. Reads them and says what they are; `mod.rs` acts.

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;

use super::record::content;
use crate::error::{TlsError, alert};
use crate::suite::Version;

/// Handshake message types (RFC 8446, appendix B.3).
const HELLO_REQUEST: u8 = 0;
const CLIENT_HELLO: u8 = 1;
const NEW_SESSION_TICKET: u8 = 4;
pub(super) const KEY_UPDATE: u8 = 24;

/// Type and 24-bit length.
const MESSAGE_HEADER_BYTES: usize = 4;

/// The longest ticket message that we collect from several records, as in `rustls`.
const MESSAGE_BYTES_MAX: usize = 0xffff;

/// What a record of the protocol's own meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    CloseNotify,
    Warning,
    /// The message goes on in the next record.
    Incomplete,
    Tickets,
    KeyUpdate {
        answer: bool,
    },
    Renegotiation,
}

/// The start of a handshake message whose end is in a later record.
#[derive(Default)]
pub(super) struct Reassembly(Vec<u8>);

impl Reassembly {
    #[inline]
    pub(super) fn is_active(&self) -> bool {
        !self.0.is_empty()
    }
}

/// The parts of a session that decide what a message means.
pub(super) struct Inbound<'a> {
    pub(super) version: Version,
    pub(super) is_client: bool,
    pub(super) reassembly: &'a mut Reassembly,
    pub(super) tickets: Option<&'a mut KernelConnection<ClientConnectionData>>,
}

impl Inbound<'_> {
    pub(super) fn read(&mut self, kind: u8, message: &[u8]) -> Result<Event, TlsError> {
        if self.reassembly.is_active() && kind != content::HANDSHAKE {
            return Err(TlsError::Unexpected("record inside a handshake message"));
        }
        match (kind, self.version) {
            (content::ALERT, _) => self.read_alert(message),
            (content::HANDSHAKE, Version::Tls13) => self.read_handshake_tls13(message),
            (content::HANDSHAKE, Version::Tls12) => self.read_handshake_tls12(message),
            (content::CHANGE_CIPHER_SPEC, _) => Err(TlsError::Unexpected("change_cipher_spec")),
            _ => Err(TlsError::Unexpected("content type")),
        }
    }

    fn read_alert(&self, message: &[u8]) -> Result<Event, TlsError> {
        let &[level, description] = message else {
            return Err(TlsError::Malformed("alert"));
        };
        match (level, description) {
            (alert::WARNING | alert::FATAL, alert::CLOSE_NOTIFY) => Ok(Event::CloseNotify),
            (alert::FATAL, _) => Err(TlsError::Alert(description)),
            // TLS 1.3 has no warnings, but for this one, which means nothing.
            (alert::WARNING, alert::USER_CANCELED) => Ok(Event::Warning),
            (alert::WARNING, _) if self.version == Version::Tls12 => Ok(Event::Warning),
            (alert::WARNING, _) => Err(TlsError::Malformed("warning alert in TLS 1.3")),
            _ => Err(TlsError::Malformed("alert level")),
        }
    }

    /// A renegotiation is refused with a warning, once. Only a whole message in one record is
    /// taken for such a request; anything else is an error.
    fn read_handshake_tls12(&self, message: &[u8]) -> Result<Event, TlsError> {
        let request = match self.is_client {
            true => HELLO_REQUEST,
            false => CLIENT_HELLO,
        };
        match split_message(message) {
            Some((kind, _, [])) if kind == request => Ok(Event::Renegotiation),
            _ => Err(TlsError::Unexpected("handshake message")),
        }
    }

    fn read_handshake_tls13(&mut self, message: &[u8]) -> Result<Event, TlsError> {
        if message.is_empty() {
            return Err(TlsError::Unexpected("empty handshake record"));
        }
        if !self.reassembly.is_active() {
            let (event, rest) = self.read_messages(message)?;
            self.keep(rest)?;
            return Ok(event);
        }
        let mut joined = core::mem::take(&mut self.reassembly.0);
        joined.extend_from_slice(message);
        let (event, rest) = self.read_messages(&joined)?;
        self.keep(rest)?;
        Ok(event)
    }

    /// Keeps the start of a message that goes on in the next record.
    fn keep(&mut self, rest: &[u8]) -> Result<(), TlsError> {
        self.check_kind_and_length(rest)?;
        self.reassembly.0.extend_from_slice(rest);
        Ok(())
    }

    /// Reads all whole messages, and returns what is left of `bytes`.
    fn read_messages<'b>(&mut self, mut bytes: &'b [u8]) -> Result<(Event, &'b [u8]), TlsError> {
        let mut event = Event::Incomplete;
        while let Some((kind, body, rest)) = split_message(bytes) {
            self.check_kind_and_length(bytes)?;
            if kind == KEY_UPDATE {
                let answer = match body {
                    [0] => false,
                    [1] => true,
                    _ => return Err(TlsError::Malformed("key update")),
                };
                // What follows is under the next key (RFC 8446, section 5.1).
                return match rest {
                    [] => Ok((Event::KeyUpdate { answer }, rest)),
                    _ => Err(TlsError::Unexpected("message after a key update")),
                };
            }
            self.read_ticket(body)?;
            event = Event::Tickets;
            bytes = rest;
        }
        Ok((event, bytes))
    }

    /// Refuses what may not come, before waiting for the rest of it.
    fn check_kind_and_length(&self, bytes: &[u8]) -> Result<(), TlsError> {
        let Some(&kind) = bytes.first() else {
            return Ok(());
        };
        let message_bytes_max = match kind {
            KEY_UPDATE => 1,
            NEW_SESSION_TICKET if self.is_client => MESSAGE_BYTES_MAX,
            _ => return Err(TlsError::Unexpected("handshake message")),
        };
        match message_bytes(bytes) {
            Some(len) if len > message_bytes_max => Err(TlsError::Malformed("message length")),
            _ => Ok(()),
        }
    }

    fn read_ticket(&mut self, body: &[u8]) -> Result<(), TlsError> {
        match &mut self.tickets {
            Some(tickets) => tickets
                .handle_new_session_ticket(body)
                .map_err(|_| TlsError::Malformed("session ticket")),
            None => Ok(()),
        }
    }
}

/// Length of the body of the message that starts `bytes`.
fn message_bytes(bytes: &[u8]) -> Option<usize> {
    let &[_, a, b, c] = bytes.first_chunk::<MESSAGE_HEADER_BYTES>()?;
    Some(u32::from_be_bytes([0, a, b, c]) as usize)
}

/// Type and body of the message that starts `bytes`, and what follows it.
fn split_message(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let len = message_bytes(bytes)?;
    let (body, rest) = bytes[MESSAGE_HEADER_BYTES..].split_at_checked(len)?;
    Some((bytes[0], body, rest))
}
