//! Connects clients: TCP, TLS, the DERP handshake, in blocking steps on a few threads.
//!
//! Here nothing is measured but in the scenario `handshakes`; ready sockets go to a worker's driver.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use socket2::SockRef;
use towline_derp::handshake::client::{
    ClientHandshake, Opening, Options as DerpOptions, Ready, Step,
};
use towline_derp::sealed::public_key;
use towline_io::socket;
use towline_tls::cert::ServerTrust;
use towline_tls::{ClientConfig, ClientOptions, Versions};
use towline_wire::limits::{DERP_HANDSHAKE_TIMEOUT, DIAL_TIMEOUT};
use towline_wire::{NodePrivate, NodePublic};

use crate::Progress;
use crate::error::{DialError, LoadError};
use crate::options::{KeyExchange, Options, TlsVersion, Trust};
use crate::transport::Transport;

/// Connections being made at once when many are needed.
const DIALERS: u32 = 8;
/// A relay that limits how fast it accepts may turn some away.
const TRIES: u32 = 3;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(300);

/// A client that is ready.
pub(crate) struct Dialed {
    pub(crate) socket: TcpStream,
    pub(crate) transport: Transport,
    /// Of the DERP stream, what came with the end of the handshake; still inside the WebSocket.
    pub(crate) leftover: Vec<u8>,
    pub(crate) key: NodePublic,
}

/// What connections have in common, taken down from one of them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Negotiated {
    pub(crate) tls: Option<String>,
    pub(crate) fast_start: bool,
}

/// Makes clients of one relay.
pub(crate) struct Dialer<'a> {
    options: &'a Options,
    address: SocketAddr,
    tls: Option<ClientConfig>,
    negotiated: Mutex<Negotiated>,
}

impl<'a> Dialer<'a> {
    pub(crate) fn new(options: &'a Options) -> Result<Self, LoadError> {
        let address = options
            .target
            .resolve(options.connecting.address)
            .map_err(|error| LoadError::Options(format!("{}: {error}", options.target.host)))?;
        Ok(Self {
            options,
            address,
            tls: options
                .target
                .tls
                .then(|| tls_config(options))
                .transpose()?,
            negotiated: Mutex::default(),
        })
    }

    /// What the last connection agreed on.
    pub(crate) fn negotiated(&self) -> Negotiated {
        self.negotiated
            .lock()
            .map(|negotiated| negotiated.clone())
            .unwrap_or_default()
    }

    /// Connects one client.
    pub(crate) fn dial(&self) -> Result<Dialed, DialError> {
        let mut socket = TcpStream::connect_timeout(&self.address, DIAL_TIMEOUT)?;
        socket::set_nodelay(&socket.as_fd(), true)?;
        // Ended by a reset: thousands of connections in TIME_WAIT would use up the ports of the next run.
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        socket.set_read_timeout(Some(DERP_HANDSHAKE_TIMEOUT))?;
        socket.set_write_timeout(Some(DERP_HANDSHAKE_TIMEOUT))?;
        let mut negotiated = Negotiated::default();
        let mut opening = match self.options.connecting.websocket {
            true => Opening::WebSocket,
            false => Opening::Raw,
        };
        let mut transport = Transport::new(None);
        let mut early = Vec::new();
        if let Some(config) = &self.tls {
            let established = self.shake_hands(config, &mut socket)?;
            let exchange = established.key_exchange.map(|group| format!(" {group:?}"));
            negotiated.tls = Some(format!(
                "{:?} {:?}{}",
                established.version,
                established.cipher,
                exchange.unwrap_or_default()
            ));
            if let Some(key) = established.meta_key.filter(|_| self.may_fast_start()) {
                opening = Opening::FastStart(NodePublic(key));
                negotiated.fast_start = true;
            }
            transport = Transport::new(Some(established.session));
            early = established.leftover;
        }
        let (ready, key) = self.introduce(&mut socket, &mut transport, opening, early)?;
        transport.websocket = ready.websocket;
        if let Ok(mut last) = self.negotiated.lock() {
            *last = negotiated;
        }
        Ok(Dialed {
            socket,
            transport,
            leftover: ready.leftover,
            key,
        })
    }

    /// Connects `count` clients, several at once, in no particular order.
    pub(crate) fn dial_all(
        &self,
        count: u32,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Vec<Dialed>, LoadError> {
        let next = AtomicU32::new(0);
        let failed = AtomicBool::new(false);
        let ready = Mutex::new(Vec::with_capacity(count as usize));
        let dial_some = || -> Result<(), LoadError> {
            loop {
                let client = next.fetch_add(1, Ordering::Relaxed) + 1;
                if client > count || failed.load(Ordering::Relaxed) {
                    return Ok(());
                }
                let dialed = self.dial_stubbornly().map_err(|error| {
                    failed.store(true, Ordering::Relaxed);
                    LoadError::Dial { client, error }
                })?;
                let mut ready = ready.lock().map_err(|_| LoadError::Panicked)?;
                ready.push(dialed);
                let done = ready.len() as u32;
                drop(ready);
                progress(Progress::Connecting { done, of: count });
            }
        };
        std::thread::scope(|scope| {
            let dialers: Vec<_> = (0..DIALERS.min(count))
                .map(|_| scope.spawn(dial_some))
                .collect();
            dialers
                .into_iter()
                .try_for_each(|dialer| dialer.join().unwrap_or(Err(LoadError::Panicked)))
        })?;
        ready.into_inner().map_err(|_| LoadError::Panicked)
    }

    fn dial_stubbornly(&self) -> Result<Dialed, DialError> {
        let mut tries = 1;
        loop {
            match self.dial() {
                Err(DialError::Io(_) | DialError::Closed) if tries < TRIES => {
                    std::thread::sleep(TRY_AGAIN_AFTER * tries);
                    tries += 1;
                }
                result => return result,
            }
        }
    }

    fn may_fast_start(&self) -> bool {
        self.options.connecting.fast_start && !self.options.connecting.websocket
    }

    fn shake_hands(
        &self,
        config: &ClientConfig,
        socket: &mut TcpStream,
    ) -> Result<towline_tls::Established, DialError> {
        let name = self.options.target.server_name();
        let mut handshake = towline_tls::ClientHandshake::new(config, name)?;
        let mut buffer = [0; 16 << 10];
        loop {
            while let Some(bytes) = handshake.poll_output() {
                socket.write_all(&bytes)?;
            }
            let received = read(socket, &mut buffer)?;
            if let Some(established) = handshake.handle_bytes(received)? {
                while let Some(bytes) = handshake.poll_output() {
                    socket.write_all(&bytes)?;
                }
                return Ok(established);
            }
        }
    }

    /// The DERP handshake, over what is there.
    fn introduce(
        &self,
        socket: &mut TcpStream,
        transport: &mut Transport,
        opening: Opening,
        mut early: Vec<u8>,
    ) -> Result<(Box<Ready>, NodePublic), DialError> {
        let mut secret = [0; 32];
        let mut seed = [0; 64];
        getrandom::fill(&mut secret).map_err(DialError::Random)?;
        getrandom::fill(&mut seed).map_err(DialError::Random)?;
        let private = NodePrivate::from_random(secret);
        let key = public_key(&private);
        let target = &self.options.target;
        let mut handshake = ClientHandshake::new(
            DerpOptions {
                path: target.path.clone(),
                opening,
                mesh_key: self.options.connecting.mesh_key.clone(),
                can_ack_pings: true,
                ..DerpOptions::new(target.authority.clone(), private)
            },
            seed,
        )?;
        let mut buffer = [0; 16 << 10];
        loop {
            let mut wire = Vec::new();
            while let Some(plain) = handshake.poll_output() {
                transport.seal_raw(&plain, &mut wire)?;
            }
            socket.write_all(&wire)?;
            let received = match early.is_empty() {
                true => read(socket, &mut buffer)?,
                false => &mut early[..],
            };
            let mut fed = Ok(());
            let received = transport.receive(received, |plain| {
                if fed.is_ok() {
                    fed = handshake.handle_bytes(plain);
                }
                Ok(())
            });
            fed?;
            received.map_err(|_| DialError::Closed)?;
            early.clear();
            if let Step::Ready(ready) = handshake.step() {
                return Ok((ready, key));
            }
        }
    }
}

fn read<'b>(socket: &mut TcpStream, buffer: &'b mut [u8]) -> Result<&'b mut [u8], DialError> {
    loop {
        match socket.read(buffer) {
            Ok(0) => return Err(DialError::Closed),
            Ok(count) => return Ok(&mut buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn tls_config(options: &Options) -> Result<ClientConfig, LoadError> {
    let connecting = &options.connecting;
    let trust = match connecting.trust {
        Trust::Insecure => ServerTrust::AnyoneInsecurely,
        Trust::Pin(pin) => ServerTrust::Pinned(pin),
        Trust::Host => {
            let mut roots = towline_tls::RootCertStore::empty();
            // What cannot be read is missed when a certificate needs it, and said then.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            ServerTrust::Roots(roots)
        }
    };
    let options = ClientOptions {
        versions: match connecting.tls_version {
            TlsVersion::Tls12 => Versions::OnlyTls12,
            TlsVersion::Tls13 => Versions::OnlyTls13,
            TlsVersion::Any => Versions::Both,
        },
        key_exchange: match connecting.key_exchange {
            KeyExchange::X25519 => towline_tls::KeyExchange::OnlyX25519,
            KeyExchange::Default => towline_tls::KeyExchange::PreferX25519,
        },
        ..ClientOptions::default()
    };
    ClientConfig::new(trust, &options).map_err(LoadError::Tls)
}
