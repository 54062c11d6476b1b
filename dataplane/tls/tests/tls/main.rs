//! Tests of the crate through its public interface: one binary, because linking takes longer than
//! running. `memory.rs`, beside this folder, is apart: it counts allocations.

mod common;
mod handshake;
