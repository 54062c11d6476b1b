//! The handshake stage: from an accepted socket to a client that its shard adopts.
//!
//! Threads of their own, apart from the shards, so that a storm of handshakes costs established clients nothing. Each runs
//! `tokio-uring`, or plain `tokio` where io_uring is missing or not wanted; the steps are the state machines of
//! `towline_tls` and `towline_derp::handshake`. Half-open connections are bounded, no source keeps
//! others out, and every wait has a deadline.

mod accept;
mod channel;
mod drive;
mod places;
mod proxy;
mod stream;
mod threads;

pub(crate) use accept::{AcceptLimit, HalfOpen, Listener, Purpose};
pub(crate) use channel::Channel;
pub(crate) use places::{Place, Places};
pub(crate) use threads::{Context, spawn};
