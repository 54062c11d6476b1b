//! When a driver lets completions gather: the moderation that network cards do for interrupts.
//!
//! Under a middling load each packet would wake the thread on its own, and a wake-up costs several
//! times what the packet does. So while small turns follow each other quickly, the thread sleeps a
//! little before it looks: what arrives meanwhile is handled together (a third of the processor
//! time for a forwarded packet). A packet after a pause is not delayed, and nothing is when turns
//! are large by themselves, or when waiting brings nothing, as in a game of question and answer.

use std::time::Duration;

use crate::host::now_ns;

/// A turn that received this much was worth its costs.
const TURN_BYTES_ENOUGH: u64 = 8 << 10;
/// After so many turns that gathered, one does not, to see what comes without.
const TURNS_BETWEEN_PROBES: u32 = 32;
/// So many turns in a row that gathered in vain are followed by a rest.
const FRUITLESS_MAX: u32 = 4;
/// Turns of the first rest, and of the longest: each is twice the one before.
const REST_TURNS: (u32, u32) = (64, 4096);

pub(crate) struct Pace {
    /// How long completions may gather; zero: never.
    window: Duration,
    /// When the last turn began.
    turn_ns: u64,
    /// Whether it gathered.
    gathered: bool,
    /// Turns that gathered since the last probe.
    streak: u32,
    /// What a turn receives without gathering, smoothed.
    usual_bytes: u64,
    /// Turns in a row that gathered in vain.
    fruitless: u32,
    /// Turns left of a rest, and those of the next one.
    rest: u32,
    next_rest: u32,
}

impl Pace {
    pub(crate) fn new(window: Duration) -> Self {
        Self {
            window,
            turn_ns: 0,
            gathered: false,
            streak: 0,
            usual_bytes: TURN_BYTES_ENOUGH,
            fruitless: 0,
            rest: 0,
            next_rest: REST_TURNS.0,
        }
    }

    /// At the start of a turn with nothing to do yet: how long to gather.
    pub(crate) fn gather(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        if self.window.is_zero() {
            return None;
        }
        self.gather_at(now_ns(), timeout)
    }

    fn gather_at(&mut self, now_ns: u64, timeout: Option<Duration>) -> Option<Duration> {
        let since_ns = now_ns - self.turn_ns;
        self.turn_ns = now_ns;
        let window = timeout.map_or(self.window, |timeout| timeout.min(self.window));
        let quick = u128::from(since_ns) < 2 * self.window.as_nanos();
        let small = self.usual_bytes < TURN_BYTES_ENOUGH;
        let probe = self.streak == TURNS_BETWEEN_PROBES;
        self.gathered = quick && small && !probe && self.rest == 0 && !window.is_zero();
        self.streak = if self.gathered { self.streak + 1 } else { 0 };
        self.rest = self.rest.saturating_sub(1);
        self.gathered.then_some(window)
    }

    /// At the end of a turn: what it received.
    pub(crate) fn received(&mut self, bytes: u64) {
        if !self.gathered {
            if bytes > 0 {
                self.usual_bytes = (self.usual_bytes * 3 + bytes) / 4;
            }
        } else if bytes >= 2 * self.usual_bytes {
            self.fruitless = 0;
            self.next_rest = REST_TURNS.0;
        } else {
            self.fruitless += 1;
            if self.fruitless == FRUITLESS_MAX {
                self.fruitless = 0;
                self.rest = self.next_rest;
                self.next_rest = (self.next_rest * 2).min(REST_TURNS.1);
            }
        }
    }
}

/// Without this the kernel adds 50 µs to short waits of the thread, in the hope to join them.
pub(crate) fn make_timers_precise() {
    // SAFETY: sets a number of the calling thread.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) };
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_micros(50);
    const TURNS: u64 = 10_000;

    /// Turns in one rhythm, with what each receives, gathering or not. Gives how many gathered.
    fn gathered(every_ns: u64, plain_bytes: u64, gathered_bytes: u64) -> u64 {
        let mut pace = Pace::new(WINDOW);
        let mut count = 0;
        for turn in 1..=TURNS {
            let gathered = pace.gather_at(turn * every_ns, None).is_some();
            pace.received(if gathered {
                gathered_bytes
            } else {
                plain_bytes
            });
            count += u64::from(gathered);
        }
        count
    }

    #[test]
    fn quick_small_turns_gather_and_are_probed_now_and_then() {
        let count = gathered(20_000, 1400, 14_000);
        assert!((TURNS * 9 / 10..TURNS).contains(&count), "{count}");
    }

    #[test]
    fn rare_or_large_turns_do_not() {
        assert_eq!(gathered(200_000, 1400, 1400), 0);
        assert_eq!(gathered(20_000, 28_000, 28_000), 0);
    }

    #[test]
    fn question_and_answer_is_left_alone() {
        let count = gathered(60_000, 100, 100);
        assert!(count < TURNS / 100, "{count}");
    }

    #[test]
    fn a_short_timeout_is_kept() {
        let mut pace = Pace::new(WINDOW);
        pace.gather_at(1_000_000, None);
        pace.received(100);
        let short = Duration::from_micros(5);
        assert_eq!(pace.gather_at(1_010_000, Some(short)), Some(short));
        assert_eq!(pace.gather_at(1_020_000, Some(Duration::ZERO)), None);
        assert_eq!(pace.gather_at(1_030_000, None), Some(WINDOW));
    }
}
