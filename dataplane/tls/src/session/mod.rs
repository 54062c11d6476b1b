//! The record layer of one established connection, in place in the caller's buffers.
//!
//! Not a stream: the caller finds record boundaries with [`record_len`](record::record_len),
//! opens each record where it lies, and seals each record where it will be sent from. Called by
//! the relay's shards and by the load generator, once for each record.
//!
//! **Order on the wire is the order of calls.** Records that [`Session::seal`],
//! [`Session::poll_output`] and [`Session::close_notify`] produce are sent in the order in which
//! they were produced; nothing else is asked of the caller. (A key update is sealed when it is
//! polled, not when it becomes due, so records sealed before it stay valid.)

mod aead;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod differential;
mod keys;
mod messages;
mod opener;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod peer;
pub(crate) mod record;
mod sealer;

use core::fmt;
use core::ops::Range;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;

pub(crate) use keys::{KeyMaterial, TrafficKey};
use messages::{Inbound, Reassembly};
use opener::Opener;
use record::content;
use sealer::Sealer;

use crate::error::{TlsError, alert};
use crate::suite::Version;

/// What one record held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Application data, at this range of the record that was passed in. May be empty.
    Data(Range<usize>),
    /// The peer has sent all it will send. We may still send.
    CloseNotify,
    /// A message of the protocol itself; [`Session::poll_output`] may have an answer.
    Handled,
}

/// Records without data (empty ones, key updates, tickets) accepted in a row. As in `rustls`;
/// without a bound a peer could keep us busy at no cost.
const IDLE_RECORDS_MAX: u8 = 32;

/// Warning alerts accepted in the life of a session, as in `rustls` and BoringSSL.
const WARNINGS_MAX: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Open,
    /// `close_notify` has passed.
    Closed,
    /// An error or fatal alert has ended the session.
    Ended,
}

impl Direction {
    #[inline]
    fn check(self) -> Result<(), TlsError> {
        match self {
            Self::Open => Ok(()),
            Self::Closed => Err(TlsError::Closed),
            Self::Ended => Err(TlsError::Ended),
        }
    }
}

/// An established TLS connection: both keys and nothing else of the handshake.
///
/// The keys of a session take the same memory whatever the connection does: this struct, and an
/// expanded AES key of 584 bytes on the C heap for each direction, which [`Session::rest`] frees.
pub struct Session {
    version: Version,
    is_client: bool,
    opener: Opener,
    sealer: Sealer,
    reading: Direction,
    writing: Direction,
    /// A fatal alert that the peer has yet to be sent.
    alert_due: Option<u8>,
    key_update_due: Option<KeyUpdate>,
    no_renegotiation_due: bool,
    idle_records: u8,
    warnings: u8,
    renegotiations: u8,
    /// Handshake messages that are split over records; nearly always empty.
    reassembly: Reassembly,
    /// Takes tickets, in a client that keeps them.
    tickets: Option<Box<KernelConnection<ClientConnectionData>>>,
}

/// A key update that we owe or want; the value is its wire form (RFC 8446, section 4.6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum KeyUpdate {
    NotRequested = 0,
    Requested = 1,
}

impl Session {
    pub(crate) fn new(
        version: Version,
        is_client: bool,
        rx: KeyMaterial,
        tx: KeyMaterial,
        tickets: Option<Box<KernelConnection<ClientConnectionData>>>,
    ) -> Self {
        Self {
            version,
            is_client,
            opener: Opener::new(version, TrafficKey::new(rx)),
            sealer: Sealer::new(version, TrafficKey::new(tx)),
            reading: Direction::Open,
            writing: Direction::Open,
            alert_due: None,
            key_update_due: None,
            no_renegotiation_due: false,
            idle_records: 0,
            warnings: 0,
            renegotiations: 0,
            reassembly: Reassembly::default(),
            tickets,
        }
    }

    /// Opens one whole record in place. `record` is exactly the bytes that
    /// [`record_len`](record::record_len) found.
    ///
    /// # Errors
    /// Any error but [`TlsError::Misuse`] ends the session; the alert that tells the peer waits
    /// in [`Session::poll_output`].
    #[inline]
    pub fn open(&mut self, record: &mut [u8]) -> Result<Opened, TlsError> {
        self.reading.check()?;
        match record::record_len(record) {
            Ok(Some(len)) if len == record.len() => {}
            Ok(_) => return Err(TlsError::Misuse("a slice that is not one record")),
            Err(error) => return Err(self.end(error)),
        }
        match self.opener.open(record) {
            Ok((content::APPLICATION_DATA, range)) if !self.reassembly.is_active() => {
                self.take_data(range)
            }
            Ok((kind, range)) => self.take_message(kind, &record[range]),
            Err(error) => Err(self.end(error)),
        }
    }

    /// Bytes to leave free before the plaintext when sealing.
    #[inline]
    pub fn prefix_len(&self) -> usize {
        self.sealer.prefix_bytes()
    }

    /// Bytes to leave free after the plaintext when sealing.
    #[inline]
    pub fn suffix_len(&self) -> usize {
        self.sealer.suffix_bytes()
    }

    /// Seals the `plain_bytes` (at most [`PLAINTEXT_BYTES_MAX`](record::PLAINTEXT_BYTES_MAX))
    /// that lie at `buf[prefix_len..]` into one record that starts at `buf[0]`, and returns the
    /// record's length: prefix, plaintext and suffix.
    ///
    /// # Errors
    /// [`TlsError::Closed`] after [`Session::close_notify`], [`TlsError::Ended`] after an error,
    /// [`TlsError::KeyUsedUp`] when a TLS 1.2 key has protected all it may or
    /// [`Session::poll_output`] was not drained in a long time.
    #[inline]
    pub fn seal(&mut self, buf: &mut [u8], plain_bytes: usize) -> Result<usize, TlsError> {
        self.writing.check()?;
        self.sealer
            .seal(content::APPLICATION_DATA, buf, plain_bytes)
    }

    /// Whether [`Session::poll_output`] has something. Ask before sealing and after opening.
    #[inline]
    pub fn has_output(&self) -> bool {
        self.alert_due.is_some()
            || (self.writing == Direction::Open
                && (self.key_update_due.is_some()
                    || self.no_renegotiation_due
                    || self.sealer.key_is_due()))
    }

    /// The next record of the protocol's own to send: a fatal alert, a key update. `None` when
    /// there is none. Rare, so it may allocate.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        if !self.has_output() {
            return None;
        }
        if let Some(description) = self.alert_due.take() {
            return self.seal_alert(alert::FATAL, description);
        }
        if core::mem::take(&mut self.no_renegotiation_due) {
            return self.seal_alert(alert::WARNING, alert::NO_RENEGOTIATION);
        }
        let request = self
            .key_update_due
            .take()
            .unwrap_or(KeyUpdate::NotRequested);
        let message = [messages::KEY_UPDATE, 0, 0, 1, request as u8];
        let record = self.seal_message(content::HANDSHAKE, &message);
        self.sealer.advance();
        record
    }

    /// Seals `close_notify`: the caller sends it and then sends nothing more. Empty when the
    /// session has already been closed or has ended.
    pub fn close_notify(&mut self) -> Vec<u8> {
        if self.writing != Direction::Open {
            return Vec::new();
        }
        let record = self.seal_alert(alert::WARNING, alert::CLOSE_NOTIFY);
        self.writing = Direction::Closed;
        record.unwrap_or_default()
    }

    /// Queues a key update (TLS 1.3; nothing happens in TLS 1.2), which also asks the peer for
    /// one of its own if `ask_peer`. Sent by [`Session::poll_output`]. Never needed for safety:
    /// the session queues its own in time.
    pub fn update_keys(&mut self, ask_peer: bool) {
        if self.version == Version::Tls13 {
            self.key_update_due = Some(match ask_peer {
                true => KeyUpdate::Requested,
                false => KeyUpdate::NotRequested,
            });
        }
    }

    /// Frees the expanded keys of a session that has nothing to do for a while. The next record
    /// in each direction expands its key again, at the cost of one allocation and less than a
    /// microsecond.
    pub fn rest(&mut self) {
        self.opener.key.rest();
        self.sealer.key.rest();
    }

    /// [`Session::rest`], for each direction in which nothing went since the last call. For an owner that calls it now and
    /// then: what goes on costs nothing more.
    pub fn rest_if_idle(&mut self) {
        self.opener.key.rest_if_idle();
        self.sealer.key.rest_if_idle();
    }

    /// Replaces the number of 16-byte blocks after which the sending key is changed, so that a
    /// test need not send 256 GiB.
    pub fn set_key_limit_blocks(&mut self, blocks: u64) {
        self.sealer.set_key_limit_blocks(blocks);
    }

    #[inline]
    fn take_data(&mut self, range: Range<usize>) -> Result<Opened, TlsError> {
        if range.is_empty() {
            self.count_idle_record("empty records")?;
        } else {
            self.idle_records = 0;
        }
        Ok(Opened::Data(range))
    }

    #[cold]
    fn take_message(&mut self, kind: u8, message: &[u8]) -> Result<Opened, TlsError> {
        let mut inbound = Inbound {
            version: self.version,
            is_client: self.is_client,
            reassembly: &mut self.reassembly,
            tickets: self.tickets.as_deref_mut(),
        };
        let event = match inbound.read(kind, message) {
            Ok(event) => event,
            Err(error) => return Err(self.end(error)),
        };
        self.apply(event)
    }

    fn apply(&mut self, event: messages::Event) -> Result<Opened, TlsError> {
        use messages::Event;
        match event {
            Event::CloseNotify => {
                self.reading = Direction::Closed;
                return Ok(Opened::CloseNotify);
            }
            Event::Warning => {
                self.warnings += 1;
                if self.warnings > WARNINGS_MAX {
                    return Err(self.end(TlsError::Flood("warning alerts")));
                }
            }
            Event::Incomplete | Event::Tickets => self.count_idle_record("handshake messages")?,
            Event::KeyUpdate { answer } => {
                self.count_idle_record("key updates")?;
                self.opener.key.advance();
                // One answer serves all requests that came before it is sent.
                if answer && self.key_update_due.is_none() {
                    self.key_update_due = Some(KeyUpdate::NotRequested);
                }
            }
            Event::Renegotiation => {
                self.renegotiations += 1;
                if self.renegotiations > 1 {
                    return Err(self.end(TlsError::Flood("renegotiation")));
                }
                self.no_renegotiation_due = true;
            }
        }
        Ok(Opened::Handled)
    }

    #[inline]
    fn count_idle_record(&mut self, what: &'static str) -> Result<(), TlsError> {
        if self.idle_records == IDLE_RECORDS_MAX {
            return Err(self.end(TlsError::Flood(what)));
        }
        self.idle_records += 1;
        Ok(())
    }

    /// Ends both directions, with an alert to the peer where one is due.
    #[cold]
    fn end(&mut self, error: TlsError) -> TlsError {
        if self.writing == Direction::Open {
            self.alert_due = error.alert();
        }
        self.reading = Direction::Ended;
        self.writing = Direction::Ended;
        error
    }

    fn seal_alert(&mut self, level: u8, description: u8) -> Option<Vec<u8>> {
        self.seal_message(content::ALERT, &[level, description])
    }

    fn seal_message(&mut self, kind: u8, message: &[u8]) -> Option<Vec<u8>> {
        let prefix = self.prefix_len();
        let mut record = vec![0; prefix + message.len() + self.suffix_len()];
        record[prefix..prefix + message.len()].copy_from_slice(message);
        let sealed = self.sealer.seal(kind, &mut record, message.len());
        debug_assert_eq!(sealed, Ok(record.len()));
        sealed.is_ok().then_some(record)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("version", &self.version)
            .field("cipher", &self.sealer.key.cipher())
            .field("reading", &self.reading)
            .field("writing", &self.writing)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
