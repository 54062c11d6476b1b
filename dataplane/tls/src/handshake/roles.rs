//! The two roles of a handshake, on the one driver.

use std::sync::Arc;

use rustls::client::{ClientConnectionData, UnbufferedClientConnection};
use rustls::kernel::KernelConnection;
use rustls::pki_types::ServerName;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::UnbufferedStatus;
use rustls::{CommonState, Error as RustlsError, ExtractedSecrets, HandshakeKind};

use super::Established;
use super::driver::{Connection, Driver};
use super::witness::{Seen, Witness};
use crate::cert::meta;
use crate::config::{ClientConfig, ServerConfig};
use crate::error::HandshakeError;
use crate::session::{KeyMaterial, Session};
use crate::suite::Version;

/// Handshake bytes that a server holds: a client sends one hello, then short messages. Room for
/// two full records.
const SERVER_INPUT_BYTES_MAX: usize = 36 * 1024;

/// Handshake bytes that a client holds: `rustls` takes messages of up to 64 KiB (certificates),
/// and one more record.
const CLIENT_INPUT_BYTES_MAX: usize = 96 * 1024;

impl Connection for UnbufferedServerConnection {
    type Data = ServerConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn is_handshaking(&self) -> bool {
        CommonState::is_handshaking(self)
    }

    fn has_output(&self) -> bool {
        CommonState::wants_write(self)
    }
}

impl Connection for UnbufferedClientConnection {
    type Data = ClientConnectionData;

    fn process<'c, 'i>(&'c mut self, input: &'i mut [u8]) -> UnbufferedStatus<'c, 'i, Self::Data> {
        self.process_tls_records(input)
    }

    fn is_handshaking(&self) -> bool {
        CommonState::is_handshaking(self)
    }

    fn has_output(&self) -> bool {
        CommonState::wants_write(self)
    }
}

/// The server's side of a handshake.
///
/// After each [`handle_bytes`](Self::handle_bytes), also a failed one and the last one, send
/// what [`poll_output`](Self::poll_output) gives.
pub struct ServerHandshake {
    /// `None` once the handshake has ended.
    driver: Option<Driver<UnbufferedServerConnection>>,
    output: Option<Vec<u8>>,
    witness: Arc<Witness>,
}

impl ServerHandshake {
    /// Starts before the first byte of the connection.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(config: &ServerConfig) -> Result<Self, HandshakeError> {
        let mut rustls = config.rustls.clone();
        let witness = Arc::new(Witness::default());
        rustls.key_log = Arc::<Witness>::clone(&witness);
        let connection = UnbufferedServerConnection::new(Arc::new(rustls))?;
        Ok(Self {
            driver: Some(Driver::new(connection, SERVER_INPUT_BYTES_MAX)),
            output: None,
            witness,
        })
    }

    /// Takes bytes of the peer, in any division. `Some` when the handshake is over.
    ///
    /// # Errors
    /// The handshake has failed; later calls answer [`HandshakeError::Ended`].
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<Option<Established>, HandshakeError> {
        let end = take_bytes(&mut self.driver, &mut self.output, bytes)?;
        let Some((connection, taken)) = end else {
            return Ok(None);
        };
        let negotiated = Negotiated::of(&connection)?;
        let (secrets, _) = connection
            .dangerous_into_kernel_connection()
            .map_err(HandshakeError::Local)?;
        let seen = self.witness.take();
        let established = negotiated.establish(false, secrets, seen, None, &bytes[taken..])?;
        Ok(Some(established))
    }

    /// Bytes to send to the peer.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        poll_output(&mut self.driver, &mut self.output)
    }
}

/// The client's side of a handshake. [`poll_output`](Self::poll_output) has the hello at once;
/// for the rest see [`ServerHandshake`].
pub struct ClientHandshake {
    driver: Option<Driver<UnbufferedClientConnection>>,
    output: Option<Vec<u8>>,
    witness: Arc<Witness>,
    keeps_tickets: bool,
}

impl ClientHandshake {
    /// Starts a connection to `server_name`, which is sent (unless it is an address) and which
    /// the server's certificate must carry.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(
        config: &ClientConfig,
        server_name: ServerName<'static>,
    ) -> Result<Self, HandshakeError> {
        let mut rustls = config.rustls.clone();
        let witness = Arc::new(Witness::default());
        rustls.key_log = Arc::<Witness>::clone(&witness);
        let connection = UnbufferedClientConnection::new(Arc::new(rustls), server_name)?;
        let mut driver = Driver::new(connection, CLIENT_INPUT_BYTES_MAX);
        driver.run()?;
        Ok(Self {
            driver: Some(driver),
            output: None,
            witness,
            keeps_tickets: config.keeps_tickets,
        })
    }

    /// Takes bytes of the peer, in any division. `Some` when the handshake is over.
    ///
    /// # Errors
    /// The handshake has failed; later calls answer [`HandshakeError::Ended`].
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> Result<Option<Established>, HandshakeError> {
        let end = take_bytes(&mut self.driver, &mut self.output, bytes)?;
        let Some((connection, taken)) = end else {
            return Ok(None);
        };
        let negotiated = Negotiated::of(&connection)?;
        // In TLS 1.2 anyone on the path sees and could replay the certificates.
        let meta_key = match negotiated.version {
            Version::Tls13 => connection.peer_certificates().and_then(meta::key_in_chain),
            Version::Tls12 => None,
        };
        let (secrets, kernel) = connection
            .dangerous_into_kernel_connection()
            .map_err(HandshakeError::Local)?;
        let tickets =
            (self.keeps_tickets && negotiated.version == Version::Tls13).then(|| Box::new(kernel));
        let seen = self.witness.take();
        let established = negotiated.establish(true, secrets, seen, tickets, &bytes[taken..])?;
        Ok(Some(Established {
            meta_key,
            ..established
        }))
    }

    /// Bytes to send to the peer.
    pub fn poll_output(&mut self) -> Option<Vec<u8>> {
        poll_output(&mut self.driver, &mut self.output)
    }
}

/// Feeds the driver, and takes it apart when the handshake is over or has failed.
fn take_bytes<C: Connection>(
    slot: &mut Option<Driver<C>>,
    output: &mut Option<Vec<u8>>,
    bytes: &[u8],
) -> Result<Option<(C, usize)>, HandshakeError> {
    let mut driver = slot.take().ok_or(HandshakeError::Ended)?;
    match driver.take_bytes(bytes) {
        Ok(None) => {
            *slot = Some(driver);
            Ok(None)
        }
        Ok(Some(taken)) => {
            *output = driver.take_output();
            Ok(Some((driver.into_connection(), taken)))
        }
        Err(error) => {
            *output = driver.take_output();
            Err(error)
        }
    }
}

fn poll_output<C: Connection>(
    driver: &mut Option<Driver<C>>,
    output: &mut Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    match driver {
        Some(driver) => driver.take_output(),
        None => output.take(),
    }
}

/// What both sides agreed on.
struct Negotiated {
    version: Version,
    key_exchange: Option<rustls::NamedGroup>,
    alpn: Option<Vec<u8>>,
    resumed: bool,
}

impl Negotiated {
    fn of(connection: &CommonState) -> Result<Self, HandshakeError> {
        Ok(Self {
            version: connection
                .protocol_version()
                .and_then(Version::from_rustls)
                .ok_or(HandshakeError::Local(RustlsError::HandshakeNotComplete))?,
            key_exchange: connection
                .negotiated_key_exchange_group()
                .map(|group| group.name()),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
            resumed: connection.handshake_kind() == Some(HandshakeKind::Resumed),
        })
    }

    fn establish(
        self,
        is_client: bool,
        secrets: ExtractedSecrets,
        seen: Seen,
        tickets: Option<Box<KernelConnection<ClientConnectionData>>>,
        leftover: &[u8],
    ) -> Result<Established, HandshakeError> {
        let (rx_secret, tx_secret) = match is_client {
            true => (seen.server_secret, seen.client_secret),
            false => (seen.client_secret, seen.server_secret),
        };
        let unknown_cipher = || HandshakeError::Local(RustlsError::HandshakeNotComplete);
        let rx = KeyMaterial::from_rustls(secrets.rx, rx_secret).ok_or_else(unknown_cipher)?;
        let tx = KeyMaterial::from_rustls(secrets.tx, tx_secret).ok_or_else(unknown_cipher)?;
        Ok(Established {
            version: self.version,
            cipher: tx.cipher,
            session: Session::new(self.version, is_client, rx, tx, tickets),
            leftover: leftover.to_vec(),
            key_exchange: self.key_exchange,
            alpn: self.alpn,
            resumed: self.resumed,
            meta_key: None,
        })
    }
}
