//! The DERP protocol as state machines, the relay's side and the client's: what a load balancer says
//! first, handshake, WebSocket, and the relay itself, one shard at a time.
//!
//! No sockets, no clock, no randomness of its own: bytes, time and random bytes come in as arguments;
//! bytes and effects go out. Callers: the crates `relay` (shards, handshakes, mesh), `load` (clients)
//! and `control` (health checks).
#![forbid(unsafe_code)]

pub mod connected;
pub mod handshake;
pub mod http;
pub mod proxy;
pub mod relay;
pub mod sealed;
pub mod websocket;

pub use connected::{Connected, RateLimit};
