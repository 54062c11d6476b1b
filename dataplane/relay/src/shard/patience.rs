//! How long a shard waits for another to empty the ring between them.
//!
//! A full ring has two reasons. Mostly its reader is not scheduled just now, on a host with more to do than processors: a
//! short wait loses nothing. Or the reader has more work than it can do: then packets must be dropped, for waiting would
//! make everybody as slow as the slowest shard. So there is a wait, of little time in all.

use std::thread;
use std::time::Duration;

use towline_wire::Time;

use super::turn::now;

/// The longest wait in a row, about a slice of the scheduler.
const WAIT_MAX: Duration = Duration::from_millis(5);
/// Waits are earned back by this part of all time that passes.
const SHARE: u32 = 16;
/// One sleep.
const STEP: Duration = Duration::from_micros(50);

/// The time that a shard may still wait.
pub(super) struct Patience {
    /// Less than nothing after a sleep that took longer than it should.
    left_ns: i64,
    at: Time,
}

impl Patience {
    pub(super) const fn new(now: Time) -> Self {
        Self {
            left_ns: WAIT_MAX.as_nanos() as i64,
            at: now,
        }
    }

    /// Waits a little, if there is time for it. Returns how long that was.
    pub(super) fn wait(&mut self) -> Option<Duration> {
        self.wait_by(now, || thread::sleep(STEP))
    }

    fn wait_by(&mut self, now: impl Fn() -> Time, sleep: impl FnOnce()) -> Option<Duration> {
        let start = now();
        let earned_ns = ((start - self.at) / SHARE).as_nanos() as i64;
        self.left_ns = (self.left_ns + earned_ns).min(WAIT_MAX.as_nanos() as i64);
        self.at = start;
        if self.left_ns < STEP.as_nanos() as i64 {
            return None;
        }
        sleep();
        self.at = now();
        let waited = self.at - start;
        self.left_ns -= waited.as_nanos() as i64;
        Some(waited)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const TIME: Duration = Duration::from_secs(100);

    /// Waits whenever it may, in turns of work that last this long; the share of time that it waited.
    fn share_waited(work: Duration, sleep: Duration) -> f64 {
        let clock = Cell::new(Time(1));
        let pass = |time| clock.set(clock.get() + time);
        let mut patience = Patience::new(clock.get());
        let mut waited = Duration::ZERO;
        while clock.get() - Time(1) < TIME {
            while let Some(time) = patience.wait_by(|| clock.get(), || pass(sleep)) {
                waited += time;
            }
            pass(work);
        }
        waited.as_secs_f64() / (clock.get() - Time(1)).as_secs_f64()
    }

    #[test]
    fn a_ring_that_stays_full_costs_a_bounded_share_of_the_time() {
        for work in [10, 1000, 40_000].map(Duration::from_micros) {
            // The last is a sleep of a thread that was not scheduled again for long.
            for sleep in [STEP, 3 * STEP, 20 * WAIT_MAX] {
                let share = share_waited(work, sleep);
                let most = 1.0 / f64::from(SHARE) + (sleep + WAIT_MAX).div_duration_f64(TIME);
                assert!(share <= most, "{work:?} {sleep:?}: {share}");
                assert!(share > 0.05, "{work:?} {sleep:?}: {share}");
            }
        }
    }

    #[test]
    fn a_shard_that_was_content_waits_at_most_a_slice() {
        let clock = Cell::new(Time(1));
        let mut patience = Patience::new(Time(1));
        clock.set(Time(1) + Duration::from_secs(3600));
        let mut waits = 0;
        let sleep = || clock.set(clock.get() + STEP);
        while patience.wait_by(|| clock.get(), sleep).is_some() {
            waits += 1;
        }
        let most = WAIT_MAX.as_micros() / STEP.as_micros();
        assert!(
            (most..=most + most / u128::from(SHARE) + 2).contains(&waits),
            "{waits}"
        );
    }
}
