//! What the handshake stage counts. Its threads share one of these; no shard touches it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use towline_tls::Version;

/// Counters of the handshake stage: they only grow, but for `tls_active`.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    rejected: AtomicU64,
    fast_starts: AtomicU64,
    websockets: AtomicU64,
    tls12: TlsCounts,
    tls13: TlsCounts,
    /// By the stable name of the error, so as many entries as there are names. Only failures take the lock.
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

#[derive(Debug, Default)]
struct TlsCounts {
    established: AtomicU64,
    active: AtomicU64,
}

/// Keeps a TLS connection in the count of open ones while it lives.
#[derive(Debug)]
pub(crate) struct ActiveTls {
    counters: Arc<Counters>,
    version: Version,
}

impl Counters {
    /// A connection came from a listener.
    pub(crate) fn count_accepted(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// The accept limit closed an accepted connection.
    pub(crate) fn count_rejected(&self) {
        self.rejected.fetch_add(1, Relaxed);
    }

    /// A connection ended before it was a client.
    pub(crate) fn count_handshake_failure(&self, name: &'static str) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        *failures.entry(name).or_default() += 1;
    }

    /// A TLS handshake was completed. The connection counts as open until the returned value is dropped.
    pub(crate) fn count_tls(self: &Arc<Self>, version: Version) -> ActiveTls {
        self.tls(version).established.fetch_add(1, Relaxed);
        self.tls(version).active.fetch_add(1, Relaxed);
        ActiveTls {
            counters: Arc::clone(self),
            version,
        }
    }

    /// A client came without waiting for our answer to its upgrade.
    pub(crate) fn count_fast_start(&self) {
        self.fast_starts.fetch_add(1, Relaxed);
    }

    /// A client came inside a WebSocket.
    pub(crate) fn count_websocket(&self) {
        self.websockets.fetch_add(1, Relaxed);
    }

    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    pub(crate) fn rejected(&self) -> u64 {
        self.rejected.load(Relaxed)
    }

    pub(super) fn fast_starts(&self) -> u64 {
        self.fast_starts.load(Relaxed)
    }

    pub(super) fn websockets(&self) -> u64 {
        self.websockets.load(Relaxed)
    }

    /// Handshakes completed, by version.
    pub(super) fn tls_established(&self) -> [(&'static str, u64); 2] {
        [("1.2", &self.tls12), ("1.3", &self.tls13)]
            .map(|(name, counts)| (name, counts.established.load(Relaxed)))
    }

    /// Connections open, by version.
    pub(super) fn tls_active(&self) -> [(&'static str, u64); 2] {
        [("1.2", &self.tls12), ("1.3", &self.tls13)]
            .map(|(name, counts)| (name, counts.active.load(Relaxed)))
    }

    /// Failures by name, in the order of the names.
    pub(super) fn failures(&self) -> Vec<(&'static str, u64)> {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        failures
            .iter()
            .map(|(name, count)| (*name, *count))
            .collect()
    }

    const fn tls(&self, version: Version) -> &TlsCounts {
        match version {
            Version::Tls12 => &self.tls12,
            Version::Tls13 => &self.tls13,
        }
    }
}

impl Drop for ActiveTls {
    fn drop(&mut self) {
        self.counters.tls(self.version).active.fetch_sub(1, Relaxed);
    }
}
