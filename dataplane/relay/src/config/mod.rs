//! What the operator asked for: every setting of the relay, typed and checked.
//!
//! Sources, later ones winning: defaults, the TOML file, the environment, the command line. The
//! result is plain data: nothing here opens a socket, and no secret is held (only the paths of
//! the files that hold one). Called by the command line once at start, and by the relay again on
//! SIGHUP.

mod admission;
mod io;
mod limits;
mod listen;
mod log;
mod mesh;
mod prefix;
mod tls;
mod web;

use std::path::PathBuf;
use std::time::Duration;

pub use admission::AdmissionConfig;
pub use io::{DriverChoice, IoConfig, IoFeatures, ShardsConfig};
pub use limits::{ClientRate, LimitsConfig, TcpConfig};
pub use listen::{ListenAddress, ListenConfig, StunConfig};
pub use log::{LogConfig, LogFormat};
pub use mesh::{MeshConfig, MeshKeySource, MeshPeer};
pub use prefix::IpPrefix;
pub use tls::{AcmeConfig, CertMode, DERPER_HOSTNAME, TlsConfig, TlsSwitch};
pub use web::{DebugConfig, HomePage, HttpConfig, UnpublishedName};

/// The whole configuration of one relay.
#[derive(Clone, Debug, PartialEq)]
pub struct RelayConfig {
    /// Development mode (`-dev`): port 3340, no TLS, a fresh server key at each start.
    pub dev: bool,
    /// Serve DERP at all (`-derp`). When false, `/derp` answers 404 and the rest goes on.
    pub derp: bool,
    /// JSON file with the server's private key, made when missing. `None`: a fresh key per start.
    pub key_file: Option<PathBuf>,
    /// Where to listen.
    pub listen: ListenConfig,
    /// TLS and certificates.
    pub tls: TlsConfig,
    /// STUN over UDP.
    pub stun: StunConfig,
    /// Pages beside DERP.
    pub http: HttpConfig,
    /// Who may connect.
    pub admission: AdmissionConfig,
    /// Other relays of the region.
    pub mesh: MeshConfig,
    /// Bounds on what clients may use.
    pub limits: LimitsConfig,
    /// Timeouts of client connections.
    pub tcp: TcpConfig,
    /// Leaving without hurting clients.
    pub drain: DrainConfig,
    /// How the relay talks to the kernel.
    pub io: IoConfig,
    /// Threads that own connections.
    pub shards: ShardsConfig,
    /// Logging.
    pub log: LogConfig,
    /// Who may read `/metrics` and `/debug/`.
    pub debug: DebugConfig,
    /// The local socket of `towline relay status` and its siblings.
    pub admin: AdminConfig,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            dev: false,
            derp: true,
            key_file: None,
            listen: ListenConfig::default(),
            tls: TlsConfig::default(),
            stun: StunConfig::default(),
            http: HttpConfig::default(),
            admission: AdmissionConfig::default(),
            mesh: MeshConfig::default(),
            limits: LimitsConfig::default(),
            tcp: TcpConfig::default(),
            drain: DrainConfig::default(),
            io: IoConfig::default(),
            shards: ShardsConfig::default(),
            log: LogConfig::default(),
            debug: DebugConfig::default(),
            admin: AdminConfig::default(),
        }
    }
}

/// Leaving without hurting clients.
#[derive(Clone, Debug, PartialEq)]
pub struct DrainConfig {
    /// After SIGTERM, closes are spread evenly over this time; zero closes all at once.
    pub time: Duration,
}

impl Default for DrainConfig {
    /// Eight seconds: container runtimes kill ten seconds after SIGTERM unless told otherwise.
    fn default() -> Self {
        Self {
            time: Duration::from_secs(8),
        }
    }
}

/// The local admin socket.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AdminConfig {
    /// Path of the Unix socket; `None` switches it off.
    pub socket: Option<PathBuf>,
    /// The operator named the path: failing to bind it stops the start. A default path that is
    /// taken by another relay on the same host is only a warning.
    pub required: bool,
}
