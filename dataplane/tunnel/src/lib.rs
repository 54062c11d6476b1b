//! WireGuard peers as state machines: handshakes, sessions, timers, allowed IPs.
//!
//! Datagrams and packets come in, with the time; sealed datagrams, opened packets and effects come out. It opens no
//! socket, reads no clock and draws no randomness itself. Caller: `device`.
//!
//! A turn of the caller's loop:
//! 1. a train of datagrams from one sender: `handle_train`, which opens it in place;
//! 2. a packet from inside: `route`, then `seal_train` for a train of packets to that peer; without a session `stage`;
//! 3. `handle_timeout` when the time of `poll_timeout` has come;
//! 4. `poll_effect` until it has nothing more: datagrams of our own, and peers whose staged packets can go.
#![forbid(unsafe_code)]

mod aead;
mod allowed_ips;
mod config;
mod cookie;
mod effect;
mod endpoint;
mod flood;
mod index;
mod inner;
mod key;
mod noise;
mod peer;
mod replay;
mod session;
mod siphash;
mod staged;
mod stats;
mod tai64n;
#[cfg(test)]
mod tests;
mod timers;
mod tunnel;

pub use config::{EngineKind, TunnelConfig};
pub use effect::{Effect, Outgoing};
pub use endpoint::{Endpoint, Entropy, Source};
pub use index::{Indices, Permutation};
pub use key::{PresharedKey, StaticPrivate, StaticPublic};
pub use peer::{PeerId, PeerInfo};
pub use stats::TunnelStats;
pub use tunnel::{Opened, Tunnel, Unsealed};
