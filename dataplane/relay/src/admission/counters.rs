//! What admission counts since start.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counted by the handshake stage and by `recheck`, read by the metrics.
#[derive(Debug, Default)]
pub(super) struct AdmissionCounters {
    /// Clients let in, mesh peers not counted.
    allowed: AtomicU64,
    /// Clients refused.
    denied: AtomicU64,
    /// Verdicts given from memory, without a question.
    cache_hits: AtomicU64,
    /// Questions that left for the controller.
    questions: AtomicU64,
    /// Questions without a usable answer.
    errors: AtomicU64,
    /// Clients looked at again while they are connected.
    rechecks: AtomicU64,
    /// Those of them that were allowed and are not any more.
    revoked: AtomicU64,
}

impl AdmissionCounters {
    pub(super) fn count_verdict(&self, allowed: bool) {
        let counter = if allowed { &self.allowed } else { &self.denied };
        counter.fetch_add(1, Relaxed);
    }

    pub(super) fn count_cache_hit(&self) {
        self.cache_hits.fetch_add(1, Relaxed);
    }

    pub(super) fn count_question(&self) {
        self.questions.fetch_add(1, Relaxed);
    }

    pub(super) fn count_error(&self) {
        self.errors.fetch_add(1, Relaxed);
    }

    pub(super) fn count_recheck(&self, revoked: bool) {
        self.rechecks.fetch_add(1, Relaxed);
        self.revoked.fetch_add(u64::from(revoked), Relaxed);
    }

    /// The numbers now, by the names of their counters.
    pub(super) fn counts(&self) -> [(&'static str, u64); 7] {
        [
            ("allowed", self.allowed.load(Relaxed)),
            ("denied", self.denied.load(Relaxed)),
            ("cache_hits", self.cache_hits.load(Relaxed)),
            ("questions", self.questions.load(Relaxed)),
            ("errors", self.errors.load(Relaxed)),
            ("rechecks", self.rechecks.load(Relaxed)),
            ("revoked", self.revoked.load(Relaxed)),
        ]
    }
}
