//! Formats and limits of the data plane: keys, DERP frames, the JSON of the DERP handshake, STUN,
//! the disco magic, WireGuard's messages, a node of the DERP map, and every cap and timeout (`limits`).
//!
//! It knows bytes and nothing else: no sockets, no clock, no randomness, no state. Time and random
//! bytes come in as arguments. Everything that reads bytes of a stranger returns a typed error and
//! never panics, hence the ban on indexing.
//!
//! Callers: `derp` (frames, info), `relay` (STUN, limits, DERP map), `load` (frames, limits), `tunnel` (WireGuard, limits),
//! `cli` (keys).
#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::indexing_slicing))]

pub mod deadlines;
pub mod derp_map;
pub mod disco;
pub mod frame;
pub mod info;
pub mod key;
pub mod limits;
mod malformed;
pub mod stun;
pub mod time;
pub mod wireguard;

pub use key::{KeyError, MeshKey, NodePrivate, NodePublic};
pub use malformed::Malformed;
pub use time::Time;
