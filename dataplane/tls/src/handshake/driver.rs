//! Drives one `rustls` connection, of either role, record by record.
//!
//! `rustls` is shown one record more only when it has asked for one. So it never sees a record
//! past the end of the handshake, and what came with the last handshake bytes is neither lost
//! nor decrypted twice.

use rustls::unbuffered::{ConnectionState, EncodeError, UnbufferedStatus};
use rustls::{AlertDescription, Error as RustlsError};

use crate::error::HandshakeError;
use crate::session::record::HEADER_BYTES;

/// The longest record content that any TLS version knows (RFC 5246, section 6.2.3).
const CONTENT_BYTES_MAX: usize = (1 << 14) + 2048;

/// A `rustls` connection of one role.
pub(super) trait Connection {
    type Data;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data>;

    fn is_handshaking(&self) -> bool;

    /// Whether a record waits to be encoded.
    fn has_output(&self) -> bool;
}

/// Where a turn of the driver ended.
enum Turn {
    /// Something was encoded or handed over; go on.
    Again,
    NeedsRecord,
    Done,
}

pub(super) struct Driver<C> {
    connection: C,
    /// Records that were shown to `rustls`, then the start of the next one.
    input: Vec<u8>,
    shown_bytes: usize,
    input_bytes_max: usize,
    output: Vec<u8>,
}

impl<C: Connection> Driver<C> {
    pub(super) fn new(connection: C, input_bytes_max: usize) -> Self {
        Self {
            connection,
            input: Vec::new(),
            shown_bytes: 0,
            input_bytes_max,
            output: Vec::new(),
        }
    }

    pub(super) fn take_output(&mut self) -> Option<Vec<u8>> {
        match self.output.is_empty() {
            true => None,
            false => Some(core::mem::take(&mut self.output)),
        }
    }

    pub(super) fn into_connection(self) -> C {
        self.connection
    }

    /// Takes bytes up to the end of the handshake. `Some` is how many were taken when it is
    /// over; `None` means that all were and more are needed.
    pub(super) fn take_bytes(&mut self, bytes: &[u8]) -> Result<Option<usize>, HandshakeError> {
        let mut taken = 0;
        loop {
            let missing = self.missing_bytes();
            let next = &bytes[taken..];
            let next = &next[..missing.min(next.len())];
            if self.input.len() + missing > self.input_bytes_max {
                return Err(HandshakeError::TooLarge {
                    limit_bytes: self.input_bytes_max,
                });
            }
            self.input.extend_from_slice(next);
            taken += next.len();
            if next.len() < missing {
                return Ok(None);
            }
            if self.missing_bytes() > 0 {
                continue; // That was the header; now its body.
            }
            self.shown_bytes = self.input.len();
            if self.run()? {
                return Ok(Some(taken));
            }
        }
    }

    /// Bytes until the record after the shown ones is whole (or, first, its header). A header
    /// that is none, such as plain HTTP's, is shown at once, for `rustls` to refuse.
    fn missing_bytes(&self) -> usize {
        let record = &self.input[self.shown_bytes..];
        let Some(&[kind, major, _, high, low]) = record.first_chunk::<HEADER_BYTES>() else {
            return HEADER_BYTES - record.len();
        };
        let content_bytes = usize::from(u16::from_be_bytes([high, low]));
        if !(20..=24).contains(&kind) || major != 3 || content_bytes > CONTENT_BYTES_MAX {
            return 0;
        }
        HEADER_BYTES + content_bytes - record.len()
    }

    /// Runs until `rustls` wants another record (`false`) or the handshake is over (`true`).
    pub(super) fn run(&mut self) -> Result<bool, HandshakeError> {
        loop {
            match self.turn() {
                Ok(Turn::Again) => {}
                Ok(Turn::NeedsRecord) => return Ok(false),
                Ok(Turn::Done) if self.shown_bytes > 0 => {
                    return Err(HandshakeError::Peer(RustlsError::PeerMisbehaved(
                        rustls::PeerMisbehaved::KeyEpochWithPendingFragment,
                    )));
                }
                Ok(Turn::Done) => return Ok(true),
                Err(error) => {
                    self.collect_alert();
                    return Err(error.into());
                }
            }
        }
    }

    fn turn(&mut self) -> Result<Turn, RustlsError> {
        let UnbufferedStatus { discard, state } =
            self.connection.process(&mut self.input[..self.shown_bytes]);
        let turn = match state {
            Ok(ConnectionState::EncodeTlsData(mut data)) => {
                encode(&mut data, &mut self.output).map(|()| Turn::Again)
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done();
                Ok(Turn::Again)
            }
            Ok(ConnectionState::BlockedHandshake) => Ok(Turn::NeedsRecord),
            Ok(ConnectionState::WriteTraffic(_)) => Ok(Turn::Done),
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                Err(RustlsError::AlertReceived(AlertDescription::CloseNotify))
            }
            Ok(_) => Err(RustlsError::HandshakeNotComplete),
            Err(error) => Err(error),
        };
        self.input.drain(..discard);
        self.shown_bytes -= discard;
        match turn {
            // A server may be able to send before the client has finished.
            Ok(Turn::Done) if self.connection.is_handshaking() => Ok(Turn::NeedsRecord),
            turn => turn,
        }
    }

    /// After an error, `rustls` may still have the alert that tells of it. It hands out what is
    /// to be sent before it looks at input, and must not look at that input again.
    fn collect_alert(&mut self) {
        while self.connection.has_output() {
            if self.turn().is_err() {
                return;
            }
        }
    }
}

fn encode<Data>(
    data: &mut rustls::unbuffered::EncodeTlsData<'_, Data>,
    output: &mut Vec<u8>,
) -> Result<(), RustlsError> {
    let start = output.len();
    let mut room_bytes = 0;
    loop {
        output.resize(start + room_bytes, 0);
        match data.encode(&mut output[start..]) {
            Ok(written) => {
                output.truncate(start + written);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(size)) => room_bytes = size.required_size,
            Err(EncodeError::AlreadyEncoded) => return Err(RustlsError::EncryptError),
        }
    }
}
