#![forbid(unsafe_code)]
//! The relay: acceptor, handshakes, shards, admission, mesh, metrics, drain.

pub mod admin;
pub mod config;
