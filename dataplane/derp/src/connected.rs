//! What the handshake learned about a client, and what admission granted it: all that the relay needs
//! to take the connection over. Made by `handshake::server`, consumed by `relay`.

use core::net::SocketAddr;

use towline_wire::NodePublic;

/// A client whose key is proven and which was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connected {
    /// The key that its client info box proved.
    pub key: NodePublic,
    /// Where it connects from, as watchers and the operator are told.
    pub addr: SocketAddr,
    /// It presented the mesh key: it may watch, forward and close, and has no rate limit.
    pub mesh: bool,
    /// It says that it is a prober.
    pub prober: bool,
    /// It says that another node of the region is its ideal one (`Ideal-Node`).
    pub not_ideal: bool,
    /// It answers pings.
    pub can_ack_pings: bool,
    /// It is Tailscale's Go client, which bears `Health`, `Restarting` and `Ping`. Other clients may
    /// take these frames for errors and are never sent them.
    pub go_client: bool,
    /// What program it says it is.
    pub app_name: Option<Box<str>>,
    /// A limit of its own, instead of the relay's default.
    pub limits: Option<RateLimit>,
}

/// How fast a client may send, in bytes of DERP frames. It is kept to by delayed reads, never by drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// The lasting rate.
    pub bytes_per_second: u64,
    /// What it may send at once after a silence.
    pub burst_bytes: u64,
}
