//! How long to wait after a failure at an ACME authority: 1 minute, doubling up to 30, each with
//! jitter so that relays that failed together do not come back together.

use std::time::Duration;

const WAIT_SECS_MIN: u64 = 60;
const WAIT_SECS_MAX: u64 = 30 * 60;

/// Failures in a row.
pub(super) struct Backoff {
    next_secs: u64,
}

impl Backoff {
    pub(super) fn new() -> Self {
        Self {
            next_secs: WAIT_SECS_MIN,
        }
    }

    /// The wait before the next attempt: its step, and up to a quarter more.
    pub(super) fn next_wait(&mut self) -> Duration {
        let step_secs = self.next_secs;
        self.next_secs = (step_secs * 2).min(WAIT_SECS_MAX);
        // Without randomness of the system there is no jitter, which is no reason to stop.
        let random = getrandom::u32().unwrap_or(0);
        let jitter_ms = step_secs * 250 * u64::from(random) / u64::from(u32::MAX);
        Duration::from_secs(step_secs) + Duration::from_millis(jitter_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_from_one_to_thirty_minutes() {
        let mut backoff = Backoff::new();
        for minutes in [1, 2, 4, 8, 16, 30, 30, 30] {
            let wait = backoff.next_wait();
            let step = Duration::from_secs(minutes * 60);
            assert!(
                wait >= step && wait <= step + step / 4,
                "{minutes}: {wait:?}"
            );
        }
    }
}
