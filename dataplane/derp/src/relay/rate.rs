//! How fast one connection may do something.
//!
//! Both limits keep one number: the time at which all that was used is paid for at the lasting rate
//! ("theoretical arrival time" of GCRA). It needs no timer and loses no fraction.

use core::time::Duration;

use towline_wire::Time;
use towline_wire::limits::{NOT_HERE_BURST, NOT_HERE_PER_SECOND, RATE_BURST_BYTES_MIN};

use crate::connected::RateLimit;

const SECOND_NS: u64 = 1_000_000_000;

/// What a client may send. It may always spend what it has received already, and then waits until that
/// is paid for: reads are delayed, nothing is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReceiveRate {
    limit: RateLimit,
    burst: Duration,
    paid_at: Time,
}

impl ReceiveRate {
    /// `None` for a rate of zero, which means no limit, as for derper.
    pub(super) fn new(limit: RateLimit) -> Option<Self> {
        if limit.bytes_per_second == 0 {
            return None;
        }
        let burst_bytes = limit.burst_bytes.max(RATE_BURST_BYTES_MIN as u64);
        Some(Self {
            limit,
            burst: span(burst_bytes, limit.bytes_per_second),
            paid_at: Time::ZERO,
        })
    }

    /// The limit that it keeps.
    pub(super) const fn limit(&self) -> RateLimit {
        self.limit
    }

    /// Notes that `bytes` came in. Returns until when to read no more.
    #[inline]
    pub(super) fn spend(&mut self, now: Time, bytes: usize) -> Option<Time> {
        let cost = span(bytes as u64, self.limit.bytes_per_second);
        self.paid_at = self.paid_at.max(now) + cost;
        let ahead = self.paid_at - now;
        (ahead > self.burst).then(|| now + (ahead - self.burst))
    }
}

/// The time that `bytes` take at a rate. Rounded down by less than a nanosecond.
fn span(bytes: u64, bytes_per_second: u64) -> Duration {
    let ns = u128::from(bytes) * u128::from(SECOND_NS) / u128::from(bytes_per_second);
    Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
}

/// How often a client is told that a peer is not here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct NotHereRate {
    paid_at: Time,
}

impl NotHereRate {
    pub(super) fn allow(&mut self, now: Time) -> bool {
        let each = SECOND_NS / NOT_HERE_PER_SECOND as u64;
        let paid_at = self.paid_at.max(now) + Duration::from_nanos(each);
        if paid_at - now > Duration::from_nanos(each * NOT_HERE_BURST as u64) {
            return false;
        }
        self.paid_at = paid_at;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Time {
        Time(seconds * SECOND_NS)
    }

    #[test]
    fn a_burst_passes_and_the_rest_waits() {
        let mut rate = ReceiveRate::new(RateLimit {
            bytes_per_second: 100_000,
            burst_bytes: 200_000,
        })
        .unwrap();
        assert_eq!(rate.spend(seconds(10), 200_000), None);
        assert_eq!(rate.spend(seconds(10), 50_000), Some(Time(10_500_000_000)));
        assert_eq!(rate.spend(seconds(11), 50_000), None);
        assert_eq!(
            rate.spend(seconds(20), 200_000),
            None,
            "a silence refills it"
        );
    }

    #[test]
    fn the_least_burst_is_the_longest_packet() {
        let mut rate = ReceiveRate::new(RateLimit {
            bytes_per_second: 1_000,
            burst_bytes: 1,
        })
        .unwrap();
        assert_eq!(rate.spend(seconds(1), RATE_BURST_BYTES_MIN), None);
        assert!(rate.spend(seconds(1), 1).is_some());
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let limit = RateLimit {
            bytes_per_second: 0,
            burst_bytes: 1,
        };
        assert_eq!(ReceiveRate::new(limit), None);
    }

    #[test]
    fn three_answers_at_once_then_one_each_second() {
        let mut rate = NotHereRate::default();
        let allowed = |rate: &mut NotHereRate, at| (0..10).filter(|_| rate.allow(at)).count();
        assert_eq!(allowed(&mut rate, seconds(5)), 3);
        assert_eq!(allowed(&mut rate, seconds(6)), 1);
        assert_eq!(allowed(&mut rate, seconds(8)), 2);
        assert_eq!(allowed(&mut rate, seconds(60)), 3);
    }
}
