//! What STUN counts, under derper's names and ours.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use towline_wire::stun::StunError;

use crate::metrics::StunCounts;

/// Counted by the one task that serves STUN, read by the metrics.
#[derive(Debug, Default)]
pub(crate) struct StunCounters {
    ipv4: AtomicU64,
    ipv6: AtomicU64,
    success: AtomicU64,
    read_error: AtomicU64,
    write_error: AtomicU64,
    limited: AtomicU64,
    refused: [AtomicU64; StunError::ALL.len()],
}

impl StunCounters {
    pub(super) fn count_family(&self, source: IpAddr) {
        let family = if source.is_ipv4() {
            &self.ipv4
        } else {
            &self.ipv6
        };
        family.fetch_add(1, Relaxed);
    }

    pub(super) fn count_success(&self) {
        self.success.fetch_add(1, Relaxed);
    }

    pub(super) fn count_read_error(&self) {
        self.read_error.fetch_add(1, Relaxed);
    }

    pub(super) fn count_write_error(&self) {
        self.write_error.fetch_add(1, Relaxed);
    }

    pub(super) fn count_limited(&self) {
        self.limited.fetch_add(1, Relaxed);
    }

    pub(super) fn count_refused(&self, error: StunError) {
        let index = StunError::ALL.iter().position(|known| *known == error);
        if let Some(count) = index.and_then(|index| self.refused.get(index)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// The numbers now.
    pub(crate) fn counts(&self) -> StunCounts {
        let mut dispositions = vec![
            ("success", self.success.load(Relaxed)),
            ("read_error", self.read_error.load(Relaxed)),
            ("write_error", self.write_error.load(Relaxed)),
            ("rate_limited", self.limited.load(Relaxed)),
        ];
        let refused = StunError::ALL.iter().zip(&self.refused);
        dispositions.extend(refused.map(|(error, count)| (error.counter(), count.load(Relaxed))));
        StunCounts {
            ipv4: self.ipv4.load(Relaxed),
            ipv6: self.ipv6.load(Relaxed),
            dispositions,
        }
    }
}
