//! What the tests of the whole relay share: a relay in this process, and a client of it with a blocking
//! socket, over TLS or without.

#![allow(dead_code, reason = "each test file uses a part of this")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::num::NonZeroU16;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tempfile::TempDir;
use towline_derp::handshake::client::{ClientHandshake, Options, Step};
use towline_derp::sealed::public_key;
use towline_relay::config::{
    CertMode, DriverChoice, ListenAddress, RelayConfig, ShardsConfig, StunConfig, TlsConfig,
    TlsSwitch,
};
use towline_tls::cert::ServerTrust;
use towline_tls::pki_types::ServerName;
use towline_tls::{
    ClientConfig, ClientOptions, Established, Opened, PLAINTEXT_BYTES_MAX, Session, record_len,
};
use towline_wire::frame::{FrameType, HEADER_LEN, Header};
use towline_wire::{NodePrivate, NodePublic};

/// Nothing in these tests takes longer than this unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A relay with one shard that runs until the process ends.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    pub(crate) tls: bool,
    _certificates: TempDir,
}

impl Relay {
    pub(crate) fn start(tls: bool, driver: DriverChoice) -> Self {
        Self::start_with(tls, driver, |_| {})
    }

    /// `change` has the last word on the settings.
    pub(crate) fn start_with(
        tls: bool,
        driver: DriverChoice,
        change: impl FnOnce(&mut RelayConfig),
    ) -> Self {
        let certificates = tempfile::tempdir().unwrap();
        let free_port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free_port.local_addr().unwrap();
        drop(free_port);
        let mut config = RelayConfig::default();
        config.listen.address = ListenAddress {
            ip: Some(address.ip()),
            port: address.port(),
        };
        config.listen.http_port = None;
        config.tls = TlsConfig {
            switch: if tls { TlsSwitch::On } else { TlsSwitch::Off },
            enabled: tls,
            mode: CertMode::SelfSigned,
            cert_dir: certificates.path().to_owned(),
            hostname: address.ip().to_string(),
            ..TlsConfig::default()
        };
        config.stun = StunConfig {
            enabled: false,
            ..StunConfig::default()
        };
        config.shards = ShardsConfig {
            count: NonZeroU16::new(1),
            ..ShardsConfig::default()
        };
        config.io.driver = driver;
        change(&mut config);
        thread::spawn(move || towline_relay::run(config).unwrap());
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            assert!(Instant::now() < deadline, "the relay does not listen");
            thread::sleep(Duration::from_millis(10));
        }
        Self {
            address,
            tls,
            _certificates: certificates,
        }
    }
}

/// A client that is connected and ready.
pub(crate) struct Client {
    pub(crate) key: NodePublic,
    stream: TcpStream,
    tls: Option<Session>,
    /// Bytes of a record that has begun.
    raw: Vec<u8>,
    /// The DERP stream, and how much of it was looked at.
    plain: Vec<u8>,
    at: usize,
}

impl Client {
    /// Connects client number `n`, with a receive buffer of its own size if given.
    pub(crate) fn connect(relay: &Relay, n: u8, receive_buffer_bytes: Option<usize>) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        if let Some(bytes) = receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes).unwrap();
        }
        socket.connect(&relay.address.into()).unwrap();
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        let private = NodePrivate::from_random([n; 32]);
        let mut client = Self {
            key: public_key(&private),
            stream,
            tls: None,
            raw: Vec::new(),
            plain: Vec::new(),
            at: 0,
        };
        if relay.tls {
            client.shake_hands(relay.address);
        }
        client.introduce(relay.address, private, n);
        client
    }

    fn shake_hands(&mut self, address: SocketAddr) {
        let config =
            ClientConfig::new(ServerTrust::AnyoneInsecurely, &ClientOptions::default()).unwrap();
        let name = ServerName::from(address.ip());
        let mut handshake = towline_tls::ClientHandshake::new(&config, name).unwrap();
        let mut buffer = [0; 16 << 10];
        let Established {
            session, leftover, ..
        } = loop {
            while let Some(bytes) = handshake.poll_output() {
                self.stream.write_all(&bytes).unwrap();
            }
            let len = self.stream.read(&mut buffer).unwrap();
            if let Some(established) = handshake.handle_bytes(&buffer[..len]).unwrap() {
                break established;
            }
        };
        while let Some(bytes) = handshake.poll_output() {
            self.stream.write_all(&bytes).unwrap();
        }
        self.tls = Some(session);
        self.raw = leftover;
    }

    fn introduce(&mut self, address: SocketAddr, private: NodePrivate, n: u8) {
        let options = Options::new(address.to_string(), private);
        let mut handshake = ClientHandshake::new(options, [n; 64]).unwrap();
        loop {
            while let Some(bytes) = handshake.poll_output() {
                self.write(&bytes);
            }
            if let Step::Ready(ready) = handshake.step() {
                self.plain = ready.leftover;
                return;
            }
            self.read(16 << 10);
            handshake.handle_bytes(&self.plain).unwrap();
            self.plain.clear();
        }
    }

    /// Writes bytes of the DERP stream, in a record of its own with TLS.
    pub(crate) fn write(&mut self, plain: &[u8]) {
        let Some(session) = &mut self.tls else {
            return self.stream.write_all(plain).unwrap();
        };
        let mut wire = Vec::new();
        for piece in plain.chunks(PLAINTEXT_BYTES_MAX) {
            let start = wire.len();
            wire.resize(start + session.prefix_len(), 0);
            wire.extend_from_slice(piece);
            wire.resize(wire.len() + session.suffix_len(), 0);
            session.seal(&mut wire[start..], piece.len()).unwrap();
        }
        self.stream.write_all(&wire).unwrap();
    }

    /// Reads once from the socket, at most so many bytes; says how many it were.
    pub(crate) fn read(&mut self, bytes_max: usize) -> usize {
        let start = self.raw.len();
        self.raw.resize(start + bytes_max, 0);
        let len = self.stream.read(&mut self.raw[start..]).unwrap();
        assert!(len > 0, "the relay closed the connection");
        self.raw.truncate(start + len);
        let Some(session) = &mut self.tls else {
            self.plain.append(&mut self.raw);
            return len;
        };
        let mut at = 0;
        while let Some(record) = record_len(&self.raw[at..]).unwrap()
            && record <= self.raw.len() - at
        {
            let bytes = &mut self.raw[at..at + record];
            if let Opened::Data(range) = session.open(bytes).unwrap() {
                self.plain.extend_from_slice(&bytes[range]);
            }
            at += record;
        }
        self.raw.drain(..at);
        len
    }

    /// Returns when the relay closes the connection, whatever it says before that.
    pub(crate) fn wait_for_close(&mut self) {
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return,
                Err(error) => panic!("the relay keeps the connection: {error}"),
            }
        }
    }

    /// The next frame, if all of it was read.
    pub(crate) fn next_frame(&mut self) -> Option<(FrameType, &[u8])> {
        let header = self.plain[self.at..].first_chunk::<HEADER_LEN>();
        let whole = header.map(Header::parse).and_then(|header| {
            let body = self.at + HEADER_LEN;
            let end = body + header.len as usize;
            (end <= self.plain.len()).then_some((header, body, end))
        });
        let Some((header, body, end)) = whole else {
            self.plain.drain(..self.at);
            self.at = 0;
            return None;
        };
        self.at = end;
        let kind = header.frame_type().expect("a frame that we know");
        Some((kind, &self.plain[body..end]))
    }
}
