//! Our session and `rustls`, given the same keys and the same records, must do the same: yield
//! the same data, give the same answers, and end at the same point.
//!
//! Where they are known to differ, and the generator keeps away:
//! - `rustls` ignores type and version of a TLS 1.3 record's header; ours authenticates them.
//! - `rustls` waits for the whole of a message that cannot be accepted; ours refuses its first
//!   record. So messages are compared when all of their records have been fed.
//! - `rustls` parses the hello of a renegotiation that it refuses, and the tickets that it keeps.

use std::io::{Read, Write};
use std::sync::Arc;

use proptest::prelude::*;
use rustls::pki_types::{ServerName, UnixTime};

use super::record::{HEADER_BYTES, PLAINTEXT_BYTES_MAX};
use super::*;
use crate::cert::{CertPair, CertStore, SelfSigned, ServerTrust, SniPolicy};
use crate::{
    ClientConfig, ClientHandshake, ClientOptions, Established, ServerConfig, ServerHandshake,
    ServerOptions, Versions,
};

/// One thing that the peer sends.
#[derive(Clone, Debug)]
enum Step {
    Data(usize),
    /// TLS 1.3 only; plain data in TLS 1.2.
    Padded(usize, usize),
    Alert(u8, u8),
    /// A whole message, split over two records at this point.
    Handshake(u8, Vec<u8>, usize),
    KeyUpdate(bool),
    Ticket,
    /// Any content of any type but handshake.
    Content(u8, Vec<u8>),
    /// Data, with this bit changed after the header.
    Flipped(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        8 => (0..=PLAINTEXT_BYTES_MAX).prop_map(Step::Data),
        8 => (0..100usize).prop_map(Step::Data),
        3 => (0..300usize, 1..300usize).prop_map(|(data, pad)| Step::Padded(data, pad)),
        2 => (1..=2u8, prop_oneof![Just(0), Just(90), any::<u8>()])
            .prop_map(|(level, description)| Step::Alert(level, description)),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(level, what)| Step::Alert(level, what)),
        5 => any::<bool>().prop_map(Step::KeyUpdate),
        3 => Just(Step::Ticket),
        1 => (any::<u8>(), bytes(), any::<usize>())
            .prop_map(|(kind, body, split)| Step::Handshake(kind, body, split)),
        1 => (prop_oneof![0..22u8, 23..=255u8], bytes())
            .prop_map(|(kind, content)| Step::Content(kind, content)),
        1 => (0..100usize, any::<usize>()).prop_map(|(data, bit)| Step::Flipped(data, bit)),
    ]
}

/// The peer of both: one sealer for what it sends, an opener for what each answers.
struct Peer {
    version: Version,
    is_client: bool,
    sealer: Sealer,
}

impl Peer {
    fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let prefix = self.sealer.prefix_bytes();
        let mut record = vec![0; prefix];
        record.extend_from_slice(content);
        record.resize(record.len() + self.sealer.suffix_bytes(), 0);
        self.sealer.seal(kind, &mut record, content.len()).unwrap();
        record
    }

    fn records(&mut self, step: &Step) -> Vec<Vec<u8>> {
        match step {
            Step::Data(len) => vec![self.seal(content::APPLICATION_DATA, &data(*len))],
            Step::Padded(len, padding) if self.version == Version::Tls13 => {
                let mut content = data(*len);
                content.push(content::APPLICATION_DATA);
                content.resize(content.len() + padding, 0);
                vec![self.seal(0, &content)]
            }
            Step::Padded(len, _) => vec![self.seal(content::APPLICATION_DATA, &data(*len))],
            Step::Alert(level, what) => vec![self.seal(content::ALERT, &[*level, *what])],
            Step::KeyUpdate(request) => {
                let records = vec![self.handshake(24, &[u8::from(*request)])];
                if self.version == Version::Tls13 {
                    self.sealer.advance();
                }
                records
            }
            // Lifetime, age, nonce, ticket, no extensions.
            Step::Ticket if !self.is_client => {
                vec![self.handshake(4, &[0, 0, 1, 0, 1, 2, 3, 4, 1, 7, 0, 2, 8, 9, 0, 0])]
            }
            Step::Ticket => vec![self.handshake(4, &[1])],
            Step::Handshake(kind, body, split) => self.split_handshake(*kind, body, *split),
            Step::Content(kind, content) => vec![self.seal(*kind, content)],
            Step::Flipped(len, bit) => {
                let mut record = self.seal(content::APPLICATION_DATA, &data(*len));
                let bit = HEADER_BYTES * 8 + bit % ((record.len() - HEADER_BYTES) * 8);
                record[bit / 8] ^= 1 << (bit % 8);
                vec![record]
            }
        }
    }

    fn handshake(&mut self, kind: u8, body: &[u8]) -> Vec<u8> {
        self.seal(content::HANDSHAKE, &message(kind, body))
    }

    fn split_handshake(&mut self, kind: u8, body: &[u8], split: usize) -> Vec<Vec<u8>> {
        // Kinds that are parsed further than we do, and key updates, which have their own step.
        let kind = match kind {
            1 | 4 | 24 => 20,
            kind => kind,
        };
        let message = message(kind, body);
        let (first, second) = message.split_at(1 + split % (message.len() - 1));
        match self.version {
            Version::Tls13 => vec![
                self.seal(content::HANDSHAKE, first),
                self.seal(content::HANDSHAKE, second),
            ],
            Version::Tls12 => vec![self.seal(content::HANDSHAKE, &message)],
        }
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, body.len() as u8], body].concat()
}

fn data(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7) as u8 | 1).collect()
}

/// How one receiver took the records of a step.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Goes { data: Vec<u8> },
    Closed,
    Ended,
}

struct Ours {
    session: Session,
}

impl Ours {
    fn take(&mut self, records: &[Vec<u8>]) -> Outcome {
        let mut data = Vec::new();
        for record in records {
            let mut record = record.clone();
            match self.session.open(&mut record) {
                Ok(Opened::Data(range)) => data.extend_from_slice(&record[range]),
                Ok(Opened::Handled) => {}
                Ok(Opened::CloseNotify) => return Outcome::Closed,
                Err(_) => return Outcome::Ended,
            }
        }
        Outcome::Goes { data }
    }

    fn say(&mut self, text: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        while let Some(record) = self.session.poll_output() {
            wire.extend(record);
        }
        let prefix = self.session.prefix_len();
        let mut record = vec![0; prefix];
        record.extend_from_slice(text);
        record.resize(record.len() + self.session.suffix_len(), 0);
        self.session.seal(&mut record, text.len()).unwrap();
        wire.extend(record);
        wire
    }
}

struct Theirs {
    connection: rustls::Connection,
}

impl Theirs {
    fn take(&mut self, records: &[Vec<u8>]) -> Outcome {
        let mut data = Vec::new();
        for record in records {
            let mut record = record.as_slice();
            while !record.is_empty() {
                self.connection.read_tls(&mut record).unwrap();
                match self.connection.process_new_packets() {
                    Ok(state) if state.peer_has_closed() => return Outcome::Closed,
                    Ok(_) => {}
                    Err(_) => return Outcome::Ended,
                }
                // `WouldBlock` when all has been read.
                drop(self.connection.reader().read_to_end(&mut data));
            }
        }
        Outcome::Goes { data }
    }

    fn say(&mut self, text: &[u8]) -> Vec<u8> {
        self.connection.writer().write_all(text).unwrap();
        self.output()
    }

    fn output(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut wire).unwrap();
        }
        wire
    }
}

/// Opens what a receiver answered, and follows its key updates.
fn hear(opener: &mut Opener, mut wire: Vec<u8>) -> Vec<(u8, Vec<u8>)> {
    let mut heard = Vec::new();
    while let Ok(Some(len)) = record::record_len(&wire) {
        let mut record: Vec<u8> = wire.drain(..len).collect();
        let (kind, range) = opener.open(&mut record).unwrap();
        if kind == content::HANDSHAKE && record[range.start] == 24 {
            opener.key.advance();
        }
        heard.push((kind, record[range].to_vec()));
    }
    heard
}

struct Trio {
    ours: Ours,
    theirs: Theirs,
    peer: Peer,
    openers: [Opener; 2],
}

/// Shakes hands between our code, as the peer, and `rustls`; then gives our session, as the
/// receiver, the keys of `rustls`.
fn trio(receiver_is_client: bool, version: Version, cipher: Cipher) -> Trio {
    let (mut peer, theirs) = match receiver_is_client {
        true => our_server(version, cipher),
        false => our_client(version, cipher),
    };
    let mut wire = core::mem::take(&mut peer.leftover);
    while let Ok(Some(len)) = record::record_len(&wire) {
        let mut record: Vec<u8> = wire.drain(..len).collect();
        peer.session.open(&mut record).unwrap();
    }
    let to_receiver = || peer.session.sealer.key.copy();
    let from_receiver = || peer.session.opener.key.copy();
    let session = Session::new(
        version,
        receiver_is_client,
        to_receiver(),
        from_receiver(),
        None,
    );
    Trio {
        ours: Ours { session },
        theirs: Theirs { connection: theirs },
        peer: Peer {
            version,
            is_client: !receiver_is_client,
            sealer: Sealer::new(version, TrafficKey::new(to_receiver())),
        },
        openers: [(); 2].map(|()| Opener::new(version, TrafficKey::new(from_receiver()))),
    }
}

fn store() -> (Arc<CertStore>, ServerTrust) {
    let made = SelfSigned::generate("relay.example", UnixTime::now()).unwrap();
    let pair = CertPair::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes());
    let store = CertStore::new(SniPolicy::Any);
    store.set_pair(pair.unwrap());
    (Arc::new(store), ServerTrust::Pinned(made.pin))
}

fn configs(version: Version, cipher: Cipher) -> (ServerConfig, ClientConfig) {
    let (store, trust) = store();
    let versions = match version {
        Version::Tls12 => Versions::OnlyTls12,
        Version::Tls13 => Versions::OnlyTls13,
    };
    let server = ServerOptions {
        versions,
        ciphers: vec![cipher],
        ..ServerOptions::default()
    };
    let client = ClientOptions {
        versions,
        ciphers: vec![cipher],
        ..ClientOptions::default()
    };
    let server = ServerConfig::new(store, &server).unwrap();
    (server, ClientConfig::new(trust, &client).unwrap())
}

fn our_client(version: Version, cipher: Cipher) -> (Established, rustls::Connection) {
    let (server, client) = configs(version, cipher);
    let server = rustls::ServerConnection::new(Arc::new(server.rustls)).unwrap();
    let mut server = Theirs {
        connection: server.into(),
    };
    let name = ServerName::try_from("relay.example").unwrap();
    let mut client = ClientHandshake::new(&client, name).unwrap();
    let mut established = None;
    while established.is_none() || server.connection.is_handshaking() {
        while let Some(bytes) = client.poll_output() {
            assert_ne!(server.take(&[bytes]), Outcome::Ended);
        }
        let bytes = server.output();
        match &mut established {
            None => established = client.handle_bytes(&bytes).unwrap(),
            Some(Established { leftover, .. }) => leftover.extend(bytes),
        }
    }
    let mut established = established.unwrap();
    established.leftover.extend(server.output());
    (established, server.connection)
}

fn our_server(version: Version, cipher: Cipher) -> (Established, rustls::Connection) {
    let (server, client) = configs(version, cipher);
    let name = ServerName::try_from("relay.example").unwrap();
    let client = rustls::ClientConnection::new(Arc::new(client.rustls), name).unwrap();
    let mut client = Theirs {
        connection: client.into(),
    };
    let mut server = ServerHandshake::new(&server).unwrap();
    loop {
        let established = server.handle_bytes(&client.output()).unwrap();
        while let Some(bytes) = server.poll_output() {
            assert_ne!(client.take(&[bytes]), Outcome::Ended);
        }
        if let Some(established) = established {
            return (established, client.connection);
        }
    }
}

fn suite() -> impl Strategy<Value = (Version, Cipher)> {
    let version = prop_oneof![2 => Just(Version::Tls13), 1 => Just(Version::Tls12)];
    let cipher = prop_oneof![
        2 => Just(Cipher::Aes128Gcm),
        1 => Just(Cipher::Aes256Gcm),
        1 => Just(Cipher::ChaCha20Poly1305),
    ];
    (version, cipher)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn our_session_does_what_rustls_does(
        receiver_is_client: bool,
        (version, cipher) in suite(),
        steps in prop::collection::vec(step(), 1..20),
    ) {
        let mut trio = trio(receiver_is_client, version, cipher);
        for step in &steps {
            let records = trio.peer.records(step);
            let ours = trio.ours.take(&records);
            let theirs = trio.theirs.take(&records);
            prop_assert_eq!(&ours, &theirs, "{:?}", step);
            if ours == Outcome::Ended {
                prop_assert_eq!(trio.ours.session.open(&mut [23, 3, 3, 0, 0]), Err(TlsError::Ended));
                return Ok(());
            }
            let ours_said = hear(&mut trio.openers[0], trio.ours.say(b"well?"));
            let theirs_said = hear(&mut trio.openers[1], trio.theirs.say(b"well?"));
            prop_assert_eq!(ours_said, theirs_said, "{:?}", step);
            if ours == Outcome::Closed {
                return Ok(());
            }
        }
    }
}
