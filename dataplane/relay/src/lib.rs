#![forbid(unsafe_code)]
//! The relay: acceptor, handshakes, shards, admission, mesh, metrics, drain.
//!
//! `server` composes it and `relay` is how its operator meets it. A connection goes from `stage` (accept, TLS, HTTP, DERP
//! handshake, `admission`) to the thread of the `shard` that owns its key, where it stays. Called by the command line.

pub mod admin;
mod admission;
mod bounded_file;
mod capacity;
mod certs;
pub mod config;
mod file_stamp;
mod listeners;
mod mesh;
mod metrics;
mod pages;
mod recheck;
mod relay;
mod secret_file;
mod server;
mod shard;
mod stage;
mod stun;
mod watchdog;

pub use server::{check, run};
