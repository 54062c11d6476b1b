//! A relay with a certificate, a client that trusts it, and a wire between them, for the other
//! files.
use std::sync::Arc;

use rustls::pki_types::{ServerName, UnixTime};
use towline_tls::cert::{CertPair, CertStore, SelfSigned, ServerTrust, SniPolicy, meta};
use towline_tls::{
    Cipher, ClientConfig, ClientHandshake, ClientOptions, Established, HandshakeError, Opened,
    ServerConfig, ServerHandshake, ServerOptions, Session, TlsError, Version, Versions, record_len,
};

pub(crate) const HOST: &str = "relay.example";
pub(crate) const META_KEY: [u8; 32] = [0x5a; 32];

pub(crate) const CIPHERS: [Cipher; 3] = [
    Cipher::Aes128Gcm,
    Cipher::Aes256Gcm,
    Cipher::ChaCha20Poly1305,
];

/// Every version with every cipher.
pub(crate) fn suites() -> impl Iterator<Item = (Version, Cipher)> {
    [Version::Tls13, Version::Tls12]
        .into_iter()
        .flat_map(|version| CIPHERS.map(|cipher| (version, cipher)))
}

pub(crate) fn only(version: Version) -> Versions {
    match version {
        Version::Tls12 => Versions::OnlyTls12,
        Version::Tls13 => Versions::OnlyTls13,
    }
}

/// A store with a certificate for [`HOST`] and a meta certificate, and what clients trust.
pub(crate) fn store() -> (Arc<CertStore>, ServerTrust) {
    let made = SelfSigned::generate(HOST, UnixTime::now()).unwrap();
    let pair = CertPair::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes());
    let store = CertStore::new(SniPolicy::for_hostname(HOST));
    store.set_pair(pair.unwrap());
    store.set_meta(Some(meta::certificate(&META_KEY, UnixTime::now()).unwrap()));
    (Arc::new(store), ServerTrust::Pinned(made.pin))
}

/// Configurations of both sides for one suite.
pub(crate) fn configs(version: Version, cipher: Cipher) -> (ServerConfig, ClientConfig) {
    let (store, trust) = store();
    let server = ServerOptions {
        versions: only(version),
        ciphers: vec![cipher],
        ..ServerOptions::default()
    };
    let client = ClientOptions {
        versions: only(version),
        ciphers: vec![cipher],
        ..ClientOptions::default()
    };
    (
        ServerConfig::new(store, &server).unwrap(),
        ClientConfig::new(trust, &client).unwrap(),
    )
}

pub(crate) fn host() -> ServerName<'static> {
    ServerName::try_from(HOST).unwrap()
}

/// Runs both handshakes, feeding each at most `chunk` bytes at a time.
pub(crate) fn connect(
    server: &ServerConfig,
    client: &ClientConfig,
    chunk: usize,
) -> Result<(Established, Established), HandshakeError> {
    let mut server = ServerHandshake::new(server)?;
    let mut client = ClientHandshake::new(client, host())?;
    let (mut at_server, mut at_client) = (None, None);
    // What arrives after one side is done, while the other is not.
    let (mut server_rest, mut client_rest) = (Vec::new(), Vec::new());
    loop {
        let mut quiet = true;
        while let Some(bytes) = client.poll_output() {
            quiet = false;
            for bytes in bytes.chunks(chunk) {
                match at_server {
                    None => at_server = server.handle_bytes(bytes)?,
                    Some(_) => server_rest.extend_from_slice(bytes),
                }
            }
        }
        while let Some(bytes) = server.poll_output() {
            quiet = false;
            for bytes in bytes.chunks(chunk) {
                match at_client {
                    None => at_client = client.handle_bytes(bytes)?,
                    Some(_) => client_rest.extend_from_slice(bytes),
                }
            }
        }
        if quiet {
            break;
        }
    }
    let (mut at_server, mut at_client) = (at_server.unwrap(), at_client.unwrap());
    at_server.leftover.extend(server_rest);
    at_client.leftover.extend(client_rest);
    Ok((at_server, at_client))
}

/// Two sessions of one connection, the server's first; tickets have been taken in.
pub(crate) fn sessions(version: Version, cipher: Cipher) -> (Session, Session) {
    let (server, client) = configs(version, cipher);
    let (mut server, mut client) = connect(&server, &client, usize::MAX).unwrap();
    assert_eq!((server.version, server.cipher), (version, cipher));
    assert_eq!((client.version, client.cipher), (version, cipher));
    assert!(
        receive(&mut server.session, &mut server.leftover)
            .unwrap()
            .is_empty()
    );
    assert!(
        receive(&mut client.session, &mut client.leftover)
            .unwrap()
            .is_empty()
    );
    (server.session, client.session)
}

/// Seals `data` as one record.
pub(crate) fn seal(session: &mut Session, data: &[u8]) -> Vec<u8> {
    let prefix = session.prefix_len();
    let mut record = vec![0; prefix];
    record.extend_from_slice(data);
    record.resize(prefix + data.len() + session.suffix_len(), 0);
    let len = session.seal(&mut record, data.len()).unwrap();
    assert_eq!(len, record.len());
    record
}

/// Opens every whole record of `wire`, removes them, and returns the data that was in them.
pub(crate) fn receive(session: &mut Session, wire: &mut Vec<u8>) -> Result<Vec<u8>, TlsError> {
    let mut data = Vec::new();
    while let Some(len) = record_len(wire)? {
        if wire.len() < len {
            break;
        }
        let mut record: Vec<u8> = wire.drain(..len).collect();
        if let Opened::Data(range) = session.open(&mut record)? {
            data.extend_from_slice(&record[range]);
        }
    }
    Ok(data)
}
