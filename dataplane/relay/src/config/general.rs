//! The server as a whole: its key, its end, its admin socket.

use std::path::PathBuf;
use std::time::Duration;

use towline_wire::limits;

use super::setting::{Setting, setting};

/// Leaving without hurting clients.
#[derive(Clone, Debug, PartialEq)]
pub struct DrainConfig {
    /// After SIGTERM, closes are spread evenly over this time; zero closes all at once.
    pub time: Duration,
}

impl Default for DrainConfig {
    fn default() -> Self {
        Self {
            time: limits::DRAIN_SPREAD_DEFAULT,
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

pub(super) const SETTINGS: &[Setting] = &[
    setting!(
        General,
        "dev",
        "dev",
        "BOOL",
        dev,
        "Development mode: port 3340 (overrides --listen), no TLS, a fresh server key at each start, the mesh key from TAILSCALE_DERPER_MESH_KEY"
    ),
    Setting {
        short: Some('c'),
        ..setting!(
            General,
            "key-file",
            "key_file",
            "FILE",
            key_file,
            "JSON file with the server's private key, made with mode 0600 when it is missing [default as root: /var/lib/derper/derper.key]"
        )
    },
    Setting {
        reloads: true,
        ..setting!(
            General,
            "derp",
            "derp",
            "BOOL",
            derp,
            "Serve DERP; false keeps only the other pages of a server that is being retired"
        )
    },
];

pub(super) const OPERATION: &[Setting] = &[
    Setting {
        reloads: true,
        ..setting!(
            Operation,
            "drain-time",
            "drain.time",
            "TIME",
            drain.time,
            "After SIGTERM, tell clients to reconnect and spread the closes over this time"
        )
    },
    setting!(
        Operation,
        "admin-socket",
        "admin.socket",
        "PATH",
        admin.socket,
        "Unix socket for towline relay status, clients, kick, limit and drain; empty switches it off [default: relay.sock in the runtime directory]"
    ),
];
