//! What the relay counts, and how it is shown: `/metrics` under names of our own, `/debug/varz` under derper's.
//!
//! Nothing here asks anyone: `pages` fetches a [`MetricsInput`] and hands it to a renderer. Shards count for themselves
//! (`towline_derp::relay::Stats`); [`Counters`] is for the handshake stage.

mod counters;
mod drops;
mod histogram;
mod process;
mod prometheus;
mod text;
mod varz;

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use counters::{ActiveTls, Counters};
pub(crate) use histogram::Observations;
pub(crate) use process::ProcessFacts;
pub(crate) use prometheus::render;
pub(crate) use varz::render as render_varz;

use towline_derp::connected::RateLimit;
use towline_derp::relay::Stats;

use crate::shard::Snapshot;

/// The state of the relay at one moment.
pub(crate) struct MetricsInput {
    /// One for each shard that answered, with its number.
    pub(crate) shards: Vec<(usize, Snapshot)>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) stun: StunCounts,
    /// Verdicts, questions and errors of admission, by name.
    pub(crate) admission: Vec<(&'static str, u64)>,
    /// Connections between accept and their shard.
    pub(crate) half_open: u64,
    /// When the certificate in use expires, in seconds since 1970.
    pub(crate) certificate_expiry: Option<u64>,
    pub(crate) uptime: Duration,
    pub(crate) version: &'static str,
    pub(crate) modes: Modes,
    /// The limit of clients that have none of their own.
    pub(crate) rate_limit: Option<RateLimit>,
}

impl MetricsInput {
    /// What all shards observed, added.
    fn observed(&self) -> Observations {
        let mut total = Observations::default();
        for (_, shard) in &self.shards {
            total += &shard.observed;
        }
        total
    }

    /// The counters of all shards, added.
    fn total(&self) -> Stats {
        let mut total = Stats::default();
        for (_, shard) in &self.shards {
            total += &shard.stats;
        }
        total
    }
}

/// How the relay runs: what is a mode, and not a number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Modes {
    /// Every key is let in.
    pub(crate) admission_open: bool,
    /// Nothing new is accepted; the relay is leaving.
    pub(crate) draining: bool,
    /// `io_uring` or `epoll`.
    pub(crate) driver: &'static str,
    /// io_uring was wanted and is not available.
    pub(crate) driver_fallback: bool,
    /// Features of the driver that are in use.
    pub(crate) driver_features: Vec<&'static str>,
}

/// STUN datagrams, by what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StunCounts {
    /// Binding requests by address family of the asker.
    pub(crate) ipv4: u64,
    pub(crate) ipv6: u64,
    /// `success`, `not_stun`, `read_error`, `write_error`, and reasons of our own, each once. Names derper has too are
    /// shown as 0 when they are missing.
    pub(crate) dispositions: Vec<(&'static str, u64)>,
}

/// What `pages` knows by itself.
pub(crate) struct Local {
    pub(crate) process: ProcessFacts,
    /// Resident memory when the relay started.
    pub(crate) memory_at_start_bytes: u64,
    pub(crate) bootstrap: BootstrapCounts,
}

/// Requests for `/bootstrap-dns`, by what was asked; the names are derper's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BootstrapCounts {
    pub(crate) requests: u64,
    /// Asked for a published name that has addresses.
    pub(crate) published_hits: u64,
    /// Asked for a published name that has none.
    pub(crate) published_misses: u64,
    /// Asked for an unpublished name that has addresses.
    pub(crate) unpublished_hits: u64,
    /// Asked for a name that is not served.
    pub(crate) unpublished_misses: u64,
    /// Different names asked for lately.
    pub(crate) queried_domains: u64,
}
