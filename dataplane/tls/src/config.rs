//! Configurations of both roles: versions, suites, key exchange, tickets, ALPN.
//!
//! Made once at start (and again on reload) and shared by all handshakes.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs as provider;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, ring};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::version::{TLS12, TLS13};
use rustls::{SupportedCipherSuite, SupportedProtocolVersion};

use crate::cert::ServerTrust;
use crate::error::HandshakeError;
use crate::suite::Cipher;

/// The only application protocol of DERP.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";
/// The protocol of a TLS-ALPN-01 challenge (RFC 8737).
pub(crate) const ALPN_ACME: &[u8] = b"acme-tls/1";

/// Which key exchanges are offered. The order is a client's; a server accepts all it offers and
/// follows the client's order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyExchange {
    /// X25519, P-256, P-384, X25519MLKEM768.
    #[default]
    PreferX25519,
    /// X25519MLKEM768 first, then the others: the order of Go since 1.24.
    PreferPostQuantum,
    /// X25519 alone, so that a benchmark compares like with like.
    OnlyX25519,
    /// X25519MLKEM768 alone, likewise. TLS 1.2 does not have it.
    OnlyPostQuantum,
}

impl KeyExchange {
    fn groups(self) -> Vec<&'static dyn SupportedKxGroup> {
        use provider::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
        match self {
            Self::PreferX25519 => vec![X25519, SECP256R1, SECP384R1, X25519MLKEM768],
            Self::PreferPostQuantum => vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1],
            Self::OnlyX25519 => vec![X25519],
            Self::OnlyPostQuantum => vec![X25519MLKEM768],
        }
    }
}

/// Which protocol versions are offered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versions {
    /// TLS 1.3, and 1.2 for peers that lack it.
    #[default]
    Both,
    /// TLS 1.3 alone.
    OnlyTls13,
    /// TLS 1.2 alone.
    OnlyTls12,
}

impl Versions {
    fn rustls(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Both => vec![&TLS13, &TLS12],
            Self::OnlyTls13 => vec![&TLS13],
            Self::OnlyTls12 => vec![&TLS12],
        }
    }
}

/// AES-128-GCM first: see [`Cipher::Aes128Gcm`].
const CIPHERS: [Cipher; 3] = [
    Cipher::Aes128Gcm,
    Cipher::Aes256Gcm,
    Cipher::ChaCha20Poly1305,
];

/// Key exchanges, signatures and randomness are aws-lc's, whose curves are the fastest. Hashes and ciphers are `ring`'s, which
/// allocates no context for each of the many short ones of a handshake (3 % more handshakes in the same time).
fn crypto_provider(key_exchange: KeyExchange, ciphers: &[Cipher]) -> Arc<CryptoProvider> {
    let suites_of = |cipher: &Cipher| -> Vec<SupportedCipherSuite> {
        let cipher = *cipher;
        ring::ALL_CIPHER_SUITES
            .iter()
            .copied()
            .filter(move |suite| cipher.is_of(suite.suite()))
            .collect()
    };
    Arc::new(CryptoProvider {
        cipher_suites: ciphers.iter().flat_map(suites_of).collect(),
        kx_groups: key_exchange.groups(),
        ..provider::default_provider()
    })
}

/// Choices of a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Offered versions.
    pub versions: Versions,
    /// Offered key exchanges.
    pub key_exchange: KeyExchange,
    /// Offered ciphers, best first; the server's order counts, not the client's.
    pub ciphers: Vec<Cipher>,
    /// TLS 1.3 tickets sent after each full handshake; 0 switches resumption off in both
    /// versions. Each costs a record and a seal; no client needs more than one here.
    pub tickets: usize,
    /// Accept TLS-ALPN-01 challenges.
    pub acme_tls_alpn: bool,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            versions: Versions::default(),
            key_exchange: KeyExchange::default(),
            ciphers: CIPHERS.to_vec(),
            tickets: 1,
            acme_tls_alpn: false,
        }
    }
}

/// What a server's handshakes share.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub(crate) rustls: rustls::ServerConfig,
}

impl ServerConfig {
    /// A server that shows the certificates of `resolver` (usually a
    /// [`CertStore`](crate::cert::CertStore)).
    ///
    /// Tickets are sealed with keys of this configuration, so keep it over a reload of
    /// certificates (which `resolver` replaces by itself) or clients cannot resume.
    ///
    /// # Errors
    /// No cipher is left for a version that is offered, or the ticket key could not be made.
    pub fn new(
        resolver: Arc<dyn ResolvesServerCert>,
        options: &ServerOptions,
    ) -> Result<Self, HandshakeError> {
        let provider = crypto_provider(options.key_exchange, &options.ciphers);
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&options.versions.rustls())
            .map_err(HandshakeError::Local)?
            .with_no_client_auth()
            .with_cert_resolver(resolver);
        config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
        if options.acme_tls_alpn {
            config.alpn_protocols.push(ALPN_ACME.to_vec());
        }
        config.ignore_client_order = true;
        config.enable_secret_extraction = true;
        // State of sessions is in the tickets, sealed; the server keeps none.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = options.tickets;
        if options.tickets > 0 {
            config.ticketer = ring::Ticketer::new().map_err(HandshakeError::Local)?;
        }
        Ok(Self { rustls: config })
    }
}

/// Choices of a client.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Offered versions.
    pub versions: Versions,
    /// Offered key exchanges.
    pub key_exchange: KeyExchange,
    /// Offered ciphers, best first.
    pub ciphers: Vec<Cipher>,
    /// Servers whose tickets are kept; 0 for none. Keeping them costs about a kilobyte more for
    /// each TLS 1.3 session.
    pub resumption_servers: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            versions: Versions::default(),
            key_exchange: KeyExchange::default(),
            ciphers: CIPHERS.to_vec(),
            resumption_servers: 0,
        }
    }
}

/// What a client's handshakes share.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    pub(crate) rustls: rustls::ClientConfig,
    pub(crate) keeps_tickets: bool,
}

impl ClientConfig {
    /// A client that accepts servers by `trust`.
    ///
    /// # Errors
    /// No cipher is left for a version that is offered, or `trust` holds no root.
    pub fn new(trust: ServerTrust, options: &ClientOptions) -> Result<Self, HandshakeError> {
        let provider = crypto_provider(options.key_exchange, &options.ciphers);
        let verifier = trust.into_verifier(Arc::clone(&provider))?;
        let mut config = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&options.versions.rustls())
            .map_err(HandshakeError::Local)?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
        config.enable_secret_extraction = true;
        config.resumption = match options.resumption_servers {
            0 => Resumption::disabled(),
            servers => Resumption::in_memory_sessions(servers),
        };
        Ok(Self {
            rustls: config,
            keeps_tickets: options.resumption_servers > 0,
        })
    }
}
