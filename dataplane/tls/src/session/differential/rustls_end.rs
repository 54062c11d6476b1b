//! A `rustls` connection through its buffered interface, established with our handshake.

use std::io::{Read, Write};
use std::sync::Arc;

use rustls::pki_types::{ServerName, UnixTime};

use super::Outcome;
use crate::cert::{CertPair, CertStore, SelfSigned, ServerTrust, SniPolicy};
use crate::suite::{Cipher, Version};
use crate::{
    ClientConfig, ClientHandshake, ClientOptions, Established, ServerConfig, ServerHandshake,
    ServerOptions, Versions,
};

const HOST: &str = "relay.example";

pub(super) struct RustlsEnd(rustls::Connection);

impl RustlsEnd {
    /// Our client, and the `rustls` server that it is connected to.
    pub(super) fn server_of_our_client(version: Version, cipher: Cipher) -> (Established, Self) {
        let (server, client) = configs(version, cipher);
        let server = rustls::ServerConnection::new(Arc::new(server.rustls)).unwrap();
        let mut server = Self(server.into());
        let mut client = ClientHandshake::new(&client, host()).unwrap();
        let mut established: Option<Established> = None;
        while established.is_none() || server.0.is_handshaking() {
            while let Some(bytes) = client.poll_output() {
                assert_ne!(server.take(&[bytes]), Outcome::Ended);
            }
            let bytes = server.output();
            match &mut established {
                None => established = client.handle_bytes(&bytes).unwrap(),
                Some(established) => established.leftover.extend(bytes),
            }
        }
        let mut established = established.unwrap();
        established.leftover.extend(server.output());
        (established, server)
    }

    /// Our server, and the `rustls` client that is connected to it.
    pub(super) fn client_of_our_server(version: Version, cipher: Cipher) -> (Established, Self) {
        let (server, client) = configs(version, cipher);
        let client = rustls::ClientConnection::new(Arc::new(client.rustls), host()).unwrap();
        let mut client = Self(client.into());
        let mut server = ServerHandshake::new(&server).unwrap();
        loop {
            let established = server.handle_bytes(&client.output()).unwrap();
            while let Some(bytes) = server.poll_output() {
                assert_ne!(client.take(&[bytes]), Outcome::Ended);
            }
            if let Some(established) = established {
                return (established, client);
            }
        }
    }

    pub(super) fn take(&mut self, records: &[Vec<u8>]) -> Outcome {
        let mut data = Vec::new();
        for mut bytes in records.iter().map(Vec::as_slice) {
            while !bytes.is_empty() {
                self.0.read_tls(&mut bytes).unwrap();
                match self.0.process_new_packets() {
                    Ok(state) if state.peer_has_closed() => return Outcome::Closed,
                    Ok(_) => {}
                    Err(_) => return Outcome::Ended,
                }
                // `WouldBlock` when all has been read.
                drop(self.0.reader().read_to_end(&mut data));
            }
        }
        Outcome::Goes { data }
    }

    pub(super) fn say(&mut self, text: &[u8]) -> Vec<u8> {
        self.0.writer().write_all(text).unwrap();
        self.output()
    }

    fn output(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut wire).unwrap();
        }
        wire
    }
}

fn host() -> ServerName<'static> {
    ServerName::try_from(HOST).unwrap()
}

fn configs(version: Version, cipher: Cipher) -> (ServerConfig, ClientConfig) {
    let made = SelfSigned::generate(HOST, UnixTime::now()).unwrap();
    let pair = CertPair::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes());
    let store = CertStore::new(SniPolicy::Any);
    store.set_pair(pair.unwrap());
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
    let server = ServerConfig::new(Arc::new(store), &server).unwrap();
    let trust = ServerTrust::Pinned(made.pin);
    (server, ClientConfig::new(trust, &client).unwrap())
}
