//! The relay on a virtual network: scenarios of Tailscale's own tests, then bounds, faults and storms.
#![expect(clippy::unwrap_used, reason = "a test whose helper fails has failed")]

mod clients;
mod frames;
mod mesh;
mod net;
mod queues;
mod storm;
mod stream;
mod watchers;
