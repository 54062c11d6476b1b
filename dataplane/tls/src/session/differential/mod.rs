//! Our session and `rustls`, given the same keys and the same records, must do the same: yield
//! the same data, give the same answers, and end at the same point. A property test and a fuzz
//! target choose the records.
//!
//! Where the two are known to differ, and the steps keep away:
//! - `rustls` ignores type and version of a TLS 1.3 record's header; ours authenticates them.
//! - `rustls` waits for the whole of a message that cannot be accepted; ours refuses its first
//!   record. So messages are compared when all of their records have been fed.
//! - `rustls` parses the hello of a renegotiation that it refuses, and the tickets that it keeps.
//! - `rustls` accepts an empty handshake record, which RFC 8446, section 5.1, forbids; ours does not.
//! - `rustls` counts empty records apart from key updates; ours counts them together.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test and a fuzz target fail"
)]

mod rustls_end;
#[cfg(test)]
mod strategy;

use super::peer::Peer;
use super::record::{HEADER_BYTES, PLAINTEXT_BYTES_MAX, content, record_len};
use super::{Opened, Session, TlsError};
use crate::suite::{Cipher, Version};
use rustls_end::RustlsEnd;

/// Steps of one run: less than any count of ours or of `rustls` allows in a row.
pub(crate) const STEPS_MAX: usize = 20;

/// One thing that the peer sends.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Data(usize),
    /// Data and padding; in TLS 1.2, which has none, data alone.
    Padded(usize, usize),
    /// Level and description.
    Alert(u8, u8),
    /// A whole message, in TLS 1.3 split over two records at this point.
    Handshake(u8, Vec<u8>, usize),
    /// Whether an answer is requested.
    KeyUpdate(bool),
    Ticket,
    /// Any content of any type but handshake, which sends nothing.
    Content(u8, Vec<u8>),
    /// Data, with this bit changed after the header.
    Flipped(usize, usize),
}

impl Step {
    /// A step out of arbitrary bytes; `None` when they are used up.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn from_bytes(bytes: &mut &[u8]) -> Option<Self> {
        let (&[kind, a, b, c], rest) = bytes.split_first_chunk::<4>()?;
        *bytes = rest;
        let number = usize::from(u16::from_be_bytes([a, b]));
        let mut body = || {
            let (body, rest) = bytes.split_at(usize::from(c).min(bytes.len()));
            *bytes = rest;
            body.to_vec()
        };
        Some(match kind % 8 {
            0 => Self::Data(number % (PLAINTEXT_BYTES_MAX + 1)),
            1 => Self::Padded(number % 8192, 1 + usize::from(c)),
            2 => Self::Alert(a, b),
            3 => Self::Handshake(a, body(), usize::from(b)),
            4 => Self::KeyUpdate(a % 2 == 1),
            5 => Self::Ticket,
            6 => Self::Content(a, body()),
            _ => Self::Flipped(usize::from(c), number),
        })
    }
}

/// How a receiver took the records of one step.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Goes { data: Vec<u8> },
    Closed,
    Ended,
}

/// Sends `steps` to both receivers, in this role, and panics where they differ.
pub(crate) fn compare(receiver_is_client: bool, suite: (Version, Cipher), steps: &[Step]) {
    let (mut ours, mut theirs, mut sender) = receivers(receiver_is_client, suite);
    for step in steps {
        let records = sender.records(step);
        let our_outcome = take(&mut ours, &records);
        assert_eq!(our_outcome, theirs.take(&records), "{step:?}");
        if our_outcome == Outcome::Ended {
            assert_eq!(ours.open(&mut [23, 3, 3, 0, 0]), Err(TlsError::Ended));
            return;
        }
        let we_say = sender.hearer_of_ours.open_all(say(&mut ours, b"well?"));
        let they_say = sender.hearer_of_theirs.open_all(theirs.say(b"well?"));
        assert_eq!(we_say, they_say, "{step:?}");
        if our_outcome == Outcome::Closed {
            return;
        }
    }
}

/// Shakes hands between our code, as the sender, and `rustls`, as a receiver; then makes a
/// receiver of ours with the keys of `rustls`.
fn receivers(
    receiver_is_client: bool,
    (version, cipher): (Version, Cipher),
) -> (Session, RustlsEnd, Sender) {
    let (mut sender, theirs) = match receiver_is_client {
        true => RustlsEnd::client_of_our_server(version, cipher),
        false => RustlsEnd::server_of_our_client(version, cipher),
    };
    // Tickets.
    while let Ok(Some(len)) = record_len(&sender.leftover) {
        let mut record: Vec<u8> = sender.leftover.drain(..len).collect();
        sender.session.open(&mut record).unwrap();
    }
    let to_receiver = || sender.session.sealer.key.copy();
    let from_receiver = || sender.session.opener.key.copy();
    let (rx, tx) = (to_receiver(), from_receiver());
    let ours = Session::new(version, receiver_is_client, rx, tx, None);
    let peer = || Peer::new(version, to_receiver(), from_receiver());
    let sender = Sender {
        version,
        is_client: !receiver_is_client,
        hearer_of_ours: peer(),
        hearer_of_theirs: peer(),
    };
    (ours, theirs, sender)
}

/// Sends to both receivers the same, and hears each.
struct Sender {
    version: Version,
    is_client: bool,
    /// Also seals what is sent.
    hearer_of_ours: Peer,
    hearer_of_theirs: Peer,
}

impl Sender {
    fn records(&mut self, step: &Step) -> Vec<Vec<u8>> {
        let is_tls13 = self.version == Version::Tls13;
        let peer = &mut self.hearer_of_ours;
        match step {
            Step::Padded(len, padding) if is_tls13 => vec![peer.seal_padded(&data(*len), *padding)],
            Step::Data(len) | Step::Padded(len, _) => {
                vec![peer.seal(content::APPLICATION_DATA, &data(*len))]
            }
            Step::Alert(level, what) => vec![peer.seal(content::ALERT, &[*level, *what])],
            Step::KeyUpdate(request) => {
                let update = message(24, &[u8::from(*request)]);
                let records = vec![peer.seal(content::HANDSHAKE, &update)];
                if is_tls13 {
                    peer.sealer.advance();
                }
                records
            }
            // Lifetime, age, nonce, ticket, no extensions; to a server anything will do.
            Step::Ticket => {
                let ticket = match self.is_client {
                    true => message(4, &[1]),
                    false => message(4, &[0, 0, 1, 0, 1, 2, 3, 4, 1, 7, 0, 2, 8, 9, 0, 0]),
                };
                vec![peer.seal(content::HANDSHAKE, &ticket)]
            }
            Step::Handshake(kind, body, split) => {
                // Kinds that `rustls` parses further than we do, or that have their own step.
                let kind = match kind {
                    1 | 4 | 24 => 20,
                    kind => *kind,
                };
                let message = message(kind, body);
                if !is_tls13 {
                    return vec![peer.seal(content::HANDSHAKE, &message)];
                }
                let (first, second) = message.split_at(1 + split % (message.len() - 1));
                vec![
                    peer.seal(content::HANDSHAKE, first),
                    peer.seal(content::HANDSHAKE, second),
                ]
            }
            Step::Content(kind, content) if is_handshake(*kind, content) => Vec::new(),
            Step::Content(kind, content) => vec![peer.seal(*kind, content)],
            Step::Flipped(len, bit) => {
                let mut record = peer.seal(content::APPLICATION_DATA, &data(*len));
                let bit = HEADER_BYTES * 8 + bit % ((record.len() - HEADER_BYTES) * 8);
                record[bit / 8] ^= 1 << (bit % 8);
                vec![record]
            }
        }
    }
}

/// Whether TLS 1.3 takes the content for part of a handshake message: a type of 0 is padding, and the
/// last byte before it is the type.
fn is_handshake(kind: u8, content: &[u8]) -> bool {
    let kinds = [content, &[kind]].concat();
    let kind = kinds.iter().rev().find(|byte| **byte != 0);
    kind == Some(&content::HANDSHAKE)
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, body.len() as u8], body].concat()
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7) as u8 | 1).collect()
}

fn take(session: &mut Session, records: &[Vec<u8>]) -> Outcome {
    let mut data = Vec::new();
    for record in records {
        let mut record = record.clone();
        match session.open(&mut record) {
            Ok(Opened::Data(range)) => data.extend_from_slice(&record[range]),
            Ok(Opened::Handled) => {}
            Ok(Opened::CloseNotify) => return Outcome::Closed,
            Err(_) => return Outcome::Ended,
        }
    }
    Outcome::Goes { data }
}

/// What the session owes, then `text`.
fn say(session: &mut Session, text: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    while let Some(record) = session.poll_output() {
        wire.extend(record);
    }
    let prefix = session.prefix_len();
    let mut record = vec![0; prefix];
    record.extend_from_slice(text);
    record.resize(record.len() + session.suffix_len(), 0);
    session.seal(&mut record, text.len()).unwrap();
    wire.extend(record);
    wire
}
