//! A plain `rustls` connection through its buffered interface: the other end that we did not
//! write.

use std::io::{Read, Write};
use std::sync::{Arc, Mutex};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    Connection, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};
use towline_tls::cert::{CertPair, CertStore, SelfSigned, ServerTrust, SniPolicy, meta};
use towline_tls::{
    Cipher, ClientConfig, ClientHandshake, ClientOptions, Established, ServerConfig,
    ServerHandshake, ServerOptions, Version,
};

use crate::common::{HOST, META_KEY, host};

/// One certificate, in the forms that both sides take.
pub(crate) struct Pki {
    made: SelfSigned,
    certificate: CertificateDer<'static>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let made = SelfSigned::generate(HOST, UnixTime::now()).unwrap();
        let certificate = CertificateDer::from_pem_slice(made.certificate_pem.as_bytes()).unwrap();
        Self { made, certificate }
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        roots
    }

    pub(crate) fn our_server(&self, options: &ServerOptions) -> ServerConfig {
        let (cert, key) = (&self.made.certificate_pem, &self.made.key_pem);
        let store = CertStore::new(SniPolicy::for_hostname(HOST));
        store.set_pair(CertPair::from_pem(cert.as_bytes(), key.as_bytes()).unwrap());
        store.set_meta(Some(meta::certificate(&META_KEY, UnixTime::now()).unwrap()));
        ServerConfig::new(Arc::new(store), options).unwrap()
    }

    pub(crate) fn our_client(&self, options: &ClientOptions) -> ClientConfig {
        ClientConfig::new(ServerTrust::Roots(self.roots()), options).unwrap()
    }

    pub(crate) fn rustls_client(&self, version: Version, cipher: Cipher) -> rustls::ClientConfig {
        rustls::ClientConfig::builder_with_provider(provider(cipher))
            .with_protocol_versions(&[rustls_version(version)])
            .unwrap()
            .with_root_certificates(self.roots())
            .with_no_client_auth()
    }

    pub(crate) fn rustls_server(&self, version: Version, cipher: Cipher) -> rustls::ServerConfig {
        let key = PrivateKeyDer::from_pem_slice(self.made.key_pem.as_bytes()).unwrap();
        rustls::ServerConfig::builder_with_provider(provider(cipher))
            .with_protocol_versions(&[rustls_version(version)])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.certificate.clone()], key)
            .unwrap()
    }
}

fn rustls_version(version: Version) -> &'static SupportedProtocolVersion {
    match version {
        Version::Tls12 => &TLS12,
        Version::Tls13 => &TLS13,
    }
}

fn provider(cipher: Cipher) -> Arc<CryptoProvider> {
    let name = match cipher {
        Cipher::Aes128Gcm => "AES_128_GCM",
        Cipher::Aes256Gcm => "AES_256_GCM",
        Cipher::ChaCha20Poly1305 => "CHACHA20_POLY1305",
    };
    let mut provider = default_provider();
    provider
        .cipher_suites
        .retain(|suite| format!("{:?}", suite.suite()).contains(name));
    Arc::new(provider)
}

/// A `rustls` connection and nothing between it and the test.
pub(crate) struct RustlsPeer(pub(crate) Connection);

impl RustlsPeer {
    /// Feeds protected bytes, as many at a time as it takes.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Result<(), rustls::Error> {
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes).unwrap();
            self.0.process_new_packets()?;
        }
        Ok(())
    }

    pub(crate) fn output(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut bytes).unwrap();
        }
        bytes
    }

    pub(crate) fn send(&mut self, data: &[u8]) -> Vec<u8> {
        self.0.writer().write_all(data).unwrap();
        self.output()
    }

    /// All data that has arrived.
    pub(crate) fn data(&mut self) -> Vec<u8> {
        let mut data = Vec::new();
        // `WouldBlock` at the end, unless the peer closed.
        drop(self.0.reader().read_to_end(&mut data));
        data
    }
}

/// Our server with a `rustls` client. The client's first data comes with its last handshake
/// bytes, all in pieces of `chunk` bytes.
pub(crate) fn our_server(
    config: &ServerConfig,
    client: rustls::ClientConfig,
    first_data: &[u8],
    chunk: usize,
) -> (Established, RustlsPeer) {
    let client = rustls::ClientConnection::new(Arc::new(client), host()).unwrap();
    let mut client = RustlsPeer(client.into());
    let mut server = ServerHandshake::new(config).unwrap();
    let mut sent_data = false;
    loop {
        let mut bytes = client.output();
        if !client.0.is_handshaking() && !sent_data {
            bytes.extend(client.send(first_data));
            sent_data = true;
        }
        let mut pieces = bytes.chunks(chunk);
        while let Some(piece) = pieces.next() {
            let established = server.handle_bytes(piece).unwrap();
            while let Some(bytes) = server.poll_output() {
                client.feed(&bytes).unwrap();
            }
            if let Some(mut established) = established {
                pieces.for_each(|piece| established.leftover.extend_from_slice(piece));
                if !sent_data {
                    established.leftover.extend(client.send(first_data));
                }
                return (established, client);
            }
        }
    }
}

/// Our client with a `rustls` server, which sends its first data with its last handshake bytes.
pub(crate) fn our_client(
    config: &ClientConfig,
    server: rustls::ServerConfig,
    first_data: &[u8],
    chunk: usize,
) -> (Established, RustlsPeer) {
    let server = rustls::ServerConnection::new(Arc::new(server)).unwrap();
    let mut server = RustlsPeer(server.into());
    let mut client = ClientHandshake::new(config, host()).unwrap();
    let mut at_client: Option<Established> = None;
    let mut sent_data = false;
    loop {
        while let Some(bytes) = client.poll_output() {
            server.feed(&bytes).unwrap();
        }
        let mut bytes = server.output();
        if !server.0.is_handshaking() && !sent_data {
            bytes.extend(server.send(first_data));
            sent_data = true;
        }
        for piece in bytes.chunks(chunk) {
            match &mut at_client {
                Some(established) => established.leftover.extend_from_slice(piece),
                None => at_client = client.handle_bytes(piece).unwrap(),
            }
        }
        if sent_data && let Some(established) = at_client {
            return (established, server);
        }
    }
}

/// Accepts any certificate and remembers it.
#[derive(Debug, Default)]
pub(crate) struct AcceptAny(Mutex<Vec<u8>>);

impl AcceptAny {
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        *self.0.lock().unwrap() = end_entity.to_vec();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
