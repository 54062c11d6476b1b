//! Tests of the crate through its public interface: one binary, because linking takes longer than
//! running. `memory.rs`, beside this folder, is apart: it counts allocations.
#![expect(
    clippy::unwrap_used,
    reason = "a panic is how a test fails, in its helpers too"
)]

mod against_rustls;
mod certificates;
mod common;
mod handshake;
mod rustls_peer;
