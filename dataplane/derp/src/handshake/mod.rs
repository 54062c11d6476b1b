//! From the first plaintext byte of a connection to a DERP connection that is ready: HTTP, upgrade
//! (plain, fast start or WebSocket), server key, client info, admission, server info.
//!
//! State machines without IO: bytes go in by `handle_bytes`, bytes to send come out of
//! `poll_output`, and `step` says what is waited for. TLS is below and done by the caller, and so are
//! the deadlines (`wire::limits`). Drivers: the relay's handshake stage ([`server`]); mesh uplinks,
//! the load generator and health checks ([`client`]).

pub mod client;
mod error;
mod incoming;
pub mod server;

pub use error::{DenyReason, HandshakeError, LocalFault, Malformation, Misbehaviour, Refusal};
