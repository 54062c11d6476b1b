//! Time as the state machines see it: a number that their caller read from a clock.
//! Nothing here reads one.

use core::fmt;
use core::ops::{Add, AddAssign, Sub};
use core::time::Duration;

/// Nanoseconds of `CLOCK_BOOTTIME`, which keeps counting while the machine sleeps, so that a
/// keepalive or a deadline is not late by the length of the sleep.
///
/// Arithmetic saturates: the clock lasts 584 years, and a difference that would be negative is zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The start of the clock.
    pub const ZERO: Self = Self(0);
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        let span_ns = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(span_ns))
    }
}

impl AddAssign<Duration> for Time {
    fn add_assign(&mut self, span: Duration) {
        *self = *self + span;
    }
}

/// How long after `earlier` this is; zero when it is before.
impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:09}s",
            self.0 / 1_000_000_000,
            self.0 % 1_000_000_000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_a_time_plus_a_duration() {
        let now = Time(1_500_000_000);
        let deadline = now + Duration::from_secs(10);
        assert_eq!(deadline, Time(11_500_000_000));
        assert_eq!(deadline - now, Duration::from_secs(10));
        assert_eq!(deadline.to_string(), "11.500000000s");
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Time(5) - Time(9), Duration::ZERO);
        assert_eq!(Time(5) + Duration::MAX, Time(u64::MAX));
    }
}
