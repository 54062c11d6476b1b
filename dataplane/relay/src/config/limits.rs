//! Bounds on what clients may use.

use std::path::PathBuf;
use std::time::Duration;

use towline_io::socket::{ConnectionOptions, Keepalive};
use towline_wire::limits;

use super::setting::{Kind, Setting, setting};
use super::size;

/// Bounds on what clients may use.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitsConfig {
    /// New connections per second (`-accept-connection-limit`); more are accepted and closed.
    pub accept_per_second: f64,
    /// Burst of new connections (`-accept-connection-burst`).
    pub accept_burst: u64,
    /// Connections that may be in their handshake at once, from accept to admission; more
    /// wait in the listen queue. `None`: 4096, or fewer where file descriptors are few.
    pub half_open_max: Option<u32>,
    /// Connections open at once; `None`: as many as file descriptors allow.
    pub connections_max: Option<u32>,
    /// Rate limit of each client.
    pub client_rate: ClientRate,
    /// Tell clients their rate limit in ServerInfo. Off by default: Go clients then drop what is
    /// over the limit instead of waiting.
    pub announce: bool,
    /// Bytes of data that may wait for one destination.
    pub queue_bytes_max: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            accept_per_second: f64::INFINITY,
            accept_burst: i64::MAX as u64,
            half_open_max: None,
            connections_max: None,
            client_rate: ClientRate::default(),
            announce: false,
            queue_bytes_max: limits::QUEUE_DATA_BYTES_MAX,
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

impl ClientRate {
    /// A bucket must hold the largest packet with its key, or that packet could never pass.
    pub(super) fn raise_burst(&mut self) {
        self.burst_bytes = match self.bytes_per_second {
            0 => 0,
            _ => self.burst_bytes.max(limits::RATE_BURST_BYTES_MIN as u64),
        };
    }
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

/// Unanswered TCP keepalive probes that end a connection; Go's default, so derper's too.
const KEEPALIVE_PROBES: u32 = 9;

/// What the kernel takes for `TCP_KEEPIDLE` and `TCP_KEEPINTVL`, in seconds.
const KEEPALIVE_TIME: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(32_767));

/// The longest `TCP_USER_TIMEOUT` that the kernel takes: 24 days.
const USER_TIMEOUT_MAX: Duration = Duration::from_millis(i32::MAX as u64);

impl TcpConfig {
    /// Of the connections that others open. What the kernel has no numbers for is the nearest that it has.
    pub(crate) fn accepted(&self) -> ConnectionOptions {
        let (least, most) = KEEPALIVE_TIME;
        let time = self.keepalive_time.clamp(least, most);
        ConnectionOptions {
            keepalive: (!self.keepalive_time.is_zero()).then_some(Keepalive {
                idle: time,
                interval: time,
                probes: KEEPALIVE_PROBES,
            }),
            ..self.dialled()
        }
    }

    /// Of those to other relays, which keep each other awake.
    pub(crate) fn dialled(&self) -> ConnectionOptions {
        ConnectionOptions {
            notsent_lowat: Some(limits::TCP_NOTSENT_LOWAT_BYTES as u32),
            user_timeout: Some(self.user_timeout.min(USER_TIMEOUT_MAX))
                .filter(|time| !time.is_zero()),
            keepalive: None,
        }
    }
}

impl Default for TcpConfig {
    fn default() -> Self {
        Self {
            keepalive_time: limits::TCP_KEEPALIVE_DEFAULT,
            user_timeout: limits::TCP_USER_TIMEOUT_DEFAULT,
            write_timeout: limits::WRITE_TIMEOUT_DEFAULT,
        }
    }
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        reloads: true,
        set: |config, text| {
            let rate = super::go::parse_float(text)?;
            if rate < 0.0 {
                return Err(format!(
                    "{rate} is negative; give connections per second, or +Inf for no limit"
                ));
            }
            config.limits.accept_per_second = rate;
            Ok(())
        },
        ..setting!(
            Limits,
            "accept-connection-limit",
            "limits.accept_connection_limit",
            "PER_SECOND",
            limits.accept_per_second,
            "New connections per second; those over it are accepted and closed, so that clients notice and back off"
        )
    },
    Setting {
        reloads: true,
        ..setting!(
            Limits,
            "accept-connection-burst",
            "limits.accept_connection_burst",
            "COUNT",
            limits.accept_burst,
            "Burst of new connections"
        )
    },
    setting!(
        Limits,
        "half-open-max",
        "limits.half_open_max",
        "COUNT",
        limits.half_open_max,
        "Connections in their handshake at once, shared fairly between sources [default: 4096, at most a tenth of the file descriptors]"
    ),
    setting!(
        Limits,
        "connections-max",
        "limits.connections_max",
        "COUNT",
        limits.connections_max,
        "Connections at once [default: as many as file descriptors allow]"
    ),
    Setting {
        reloads: true,
        ..setting!(
            Limits,
            "rate-config",
            "limits.rate_config",
            "FILE",
            limits.client_rate.file,
            "derper's JSON file of rate limits: {\"PerClientRateLimitBytesPerSec\": N, \"PerClientRateBurstBytes\": N}"
        )
    },
    Setting {
        reloads: true,
        kind: Kind::Bytes,
        set: |config, text| {
            config.limits.client_rate.bytes_per_second = size::parse_rate(text)?;
            Ok(())
        },
        ..setting!(
            Limits,
            "client-rate",
            "limits.client_rate",
            "BYTES",
            limits.client_rate.bytes_per_second,
            "What each client may send in a second, such as 500kB or 2MiB, by delaying its reads; none is no limit. Not with --rate-config"
        )
    },
    Setting {
        reloads: true,
        kind: Kind::Bytes,
        set: |config, text| {
            config.limits.client_rate.burst_bytes = size::parse_bytes(text)?;
            Ok(())
        },
        ..setting!(
            Limits,
            "client-burst",
            "limits.client_burst",
            "BYTES",
            limits.client_rate.burst_bytes,
            "Burst of each client, such as 64KiB; never less than one whole packet"
        )
    },
    Setting {
        reloads: true,
        ..setting!(
            Limits,
            "announce-limits",
            "limits.announce",
            "BOOL",
            limits.announce,
            "Tell clients their limit. Go clients then drop what is over it instead of waiting"
        )
    },
    Setting {
        kind: Kind::Bytes,
        set: |config, text| {
            let bytes = size::parse_bytes(text)?;
            config.limits.queue_bytes_max = usize::try_from(bytes).unwrap_or(usize::MAX);
            Ok(())
        },
        ..setting!(
            Limits,
            "queue-bytes-max",
            "limits.queue_bytes_max",
            "BYTES",
            limits.queue_bytes_max,
            "Data that may wait for one client, such as 512KiB; over it, the oldest packet of the sender with most is dropped"
        )
    },
    setting!(
        Limits,
        "tcp-keepalive-time",
        "tcp.keepalive_time",
        "TIME",
        tcp.keepalive_time,
        "Idle time before TCP keepalive probes"
    ),
    setting!(
        Limits,
        "tcp-user-timeout",
        "tcp.user_timeout",
        "TIME",
        tcp.user_timeout,
        "Close a connection whose data stays unacknowledged this long (TCP_USER_TIMEOUT)"
    ),
    setting!(
        Limits,
        "tcp-write-timeout",
        "tcp.write_timeout",
        "TIME",
        tcp.write_timeout,
        "Close a client that takes no data this long; 0 is never. Not for mesh peers"
    ),
];

const _: () = assert!(matches!(SETTINGS[0].kind, Kind::Number));
