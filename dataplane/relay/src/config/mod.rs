//! What the operator asked for: every setting of the relay, typed and checked.
//!
//! Sources, later ones winning: defaults, the TOML file, the environment, the command line. The
//! result is plain data without a secret in it (only the paths of the files that hold one).
//! Called by the command line once at start, and by the relay again on SIGHUP.

mod admission;
mod environment;
mod file;
mod general;
mod go;
mod io;
pub mod key_file;
mod limits;
mod listen;
mod log;
mod mesh;
mod origin;
mod prefix;
mod rate_file;
mod rules;
mod setting;
mod show;
mod size;
mod sources;
mod tls;
mod web;

use std::path::PathBuf;
use std::sync::Arc;

pub use admission::AdmissionConfig;
pub use environment::Environment;
pub use general::{AdminConfig, DrainConfig};
pub use go::parse_duration;
pub use io::{DriverChoice, IoConfig, ShardsConfig};
pub use limits::{ClientRate, LimitsConfig, TcpConfig};
pub use listen::{ListenAddress, ListenConfig, StunConfig};
pub use log::{LogConfig, LogFormat};
pub use mesh::{MeshConfig, MeshKeySource, MeshPeer};
pub use origin::{ConfigError, Origin, Origins, Problem};
pub use prefix::IpPrefix;
pub use setting::{Group, Kind, Setting};
pub use show::to_toml;
pub use size::{parse_bytes, parse_rate};
pub use sources::{Loaded, Sources};
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
    /// What this was made from, to be read again on SIGHUP ([`RelayConfig::reload`]).
    pub sources: Arc<Sources>,
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
            sources: Arc::default(),
        }
    }
}

/// Every setting, in the order of `--help`.
pub fn settings() -> impl Iterator<Item = &'static Setting> {
    [
        general::SETTINGS,
        listen::SETTINGS,
        tls::SETTINGS,
        admission::SETTINGS,
        mesh::SETTINGS,
        limits::SETTINGS,
        web::SETTINGS,
        general::OPERATION,
        log::SETTINGS,
        io::SETTINGS,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests;
