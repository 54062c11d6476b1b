//! Bounds on what clients may use.

use std::path::PathBuf;
use std::time::Duration;

/// Bounds on what clients may use.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitsConfig {
    /// New connections per second (`-accept-connection-limit`); more are accepted and closed.
    pub accept_per_second: f64,
    /// Burst of new connections (`-accept-connection-burst`).
    pub accept_burst: u64,
    /// Connections that may be in their handshake at once; more wait in the listen queue.
    pub half_open_max: u32,
    /// Connections open at once; `None`: as many as file descriptors allow.
    pub connections_max: Option<u32>,
    /// Rate limit of each client.
    pub client_rate: ClientRate,
    /// Tell clients their rate limit in ServerInfo. Off by default: Go clients then drop what is
    /// over the limit instead of waiting.
    pub announce: bool,
    /// Bytes waiting for one destination; `None`: the protocol's default.
    pub queue_bytes_max: Option<usize>,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            accept_per_second: f64::INFINITY,
            accept_burst: i64::MAX as u64,
            half_open_max: 1024,
            connections_max: None,
            client_rate: ClientRate::default(),
            announce: false,
            queue_bytes_max: None,
        }
    }
}

/// Rate limit of each client, by delaying reads. Mesh peers are exempt.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClientRate {
    /// derper's JSON file (`-rate-config`), read at start and on SIGHUP.
    pub file: Option<PathBuf>,
    /// Bytes per second; 0: no limit. Filled from `file` when there is one.
    pub bytes_per_second: u64,
    /// Burst in bytes; raised to one whole packet with its key when smaller.
    pub burst_bytes: u64,
}

/// Timeouts of client connections.
#[derive(Clone, Debug, PartialEq)]
pub struct TcpConfig {
    /// Idle time before TCP keepalive probes (`-tcp-keepalive-time`); zero leaves them off.
    pub keepalive_time: Duration,
    /// `TCP_USER_TIMEOUT` (`-tcp-user-timeout`); zero is the kernel's default.
    pub user_timeout: Duration,
    /// A client that takes no byte for this long is closed (`-tcp-write-timeout`); zero: never.
    /// Not for mesh peers.
    pub write_timeout: Duration,
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            keepalive_time: Duration::from_secs(10 * 60),
            user_timeout: Duration::from_secs(15),
            write_timeout: Duration::from_secs(2),
        }
    }
}
