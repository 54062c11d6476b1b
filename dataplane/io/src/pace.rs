//! When a driver lets completions gather: the moderation that network cards do for interrupts.
//! For many sockets that do little each; what one busy socket can do alone is in `cadence`.
//!
//! A wake-up, a receive, an acknowledgement and a send each cost several times what a packet in
//! them does. So while receives bring little and follow each other quickly, the thread sleeps a
//! while before it looks: what arrives meanwhile is handled together (a third of the processor time
//! for a forwarded packet). Bounds keep that from hurting:
//! - a sleep is no longer than the work of the turn before, so a lightly loaded thread adds
//!   microseconds, and no longer than makes receives worth their costs;
//! - there is none after a pause, none when receives are large by themselves (what an overloaded
//!   thread sees), none when waiting brings nothing, as in a game of question and answer.

use std::time::Duration;

use crate::host::{now_ns, thread_cpu_ns};

/// Receives that bring less are worth a sleep ...
const RECEIVE_BYTES_FEW: u64 = 8 << 10;
/// ... until they bring this much.
const RECEIVE_BYTES_ENOUGH: u64 = 16 << 10;
/// The shortest sleep that is worth its own costs.
const SLEEP_NS_MIN: u64 = 10_000;
/// After so many turns that gathered, one does not, to see what comes without.
const TURNS_BETWEEN_PROBES: u32 = 32;
/// So many turns in a row that gathered in vain are followed by a rest.
const FRUITLESS_MAX: u32 = 4;
/// Turns of the first rest, and of the longest: each is twice the one before.
const REST_TURNS: (u32, u32) = (64, 4096);

pub(crate) struct Pace {
    /// The longest sleep, in nanoseconds; zero: never.
    sleep_ns_max: u64,
    /// The sleep that makes receives worth their costs, as far as is known.
    sleep_ns: u64,
    /// When the last wait began, and when it ended.
    began_ns: u64,
    woke_ns: u64,
    /// Processor time of the thread when the last wait began; unknown when it could not matter.
    used_ns: Option<u64>,
    /// Whether the last wait gathered.
    gathered: bool,
    /// Turns that gathered since the last probe.
    streak: u32,
    /// What a turn and a receive bring without gathering, smoothed.
    usual_bytes: u64,
    usual_receive_bytes: u64,
    /// Turns in a row that gathered in vain.
    fruitless: u32,
    /// Turns left of a rest, and those of the next one.
    rest: u32,
    next_rest: u32,
}

impl Pace {
    pub(crate) fn new(longest: Duration) -> Self {
        let sleep_ns_max = longest.min(Duration::from_secs(1)).as_nanos() as u64;
        Self {
            sleep_ns_max,
            sleep_ns: sleep_ns_max,
            began_ns: 0,
            woke_ns: 0,
            used_ns: None,
            gathered: false,
            streak: 0,
            usual_bytes: RECEIVE_BYTES_FEW,
            usual_receive_bytes: RECEIVE_BYTES_FEW,
            fruitless: 0,
            rest: 0,
            next_rest: REST_TURNS.0,
        }
    }

    /// At the start of every wait: how long to gather, if at all. `idle`: there is nothing to do yet.
    pub(crate) fn begin(&mut self, idle: bool, timeout: Option<Duration>) -> Option<Duration> {
        if self.sleep_ns_max == 0 {
            return None;
        }
        self.begin_at(now_ns(), thread_cpu_ns, idle, timeout)
    }

    /// `used_ns` gives the processor time of the thread, by a system call.
    fn begin_at(
        &mut self,
        now_ns: u64,
        used_ns: impl FnOnce() -> u64,
        idle: bool,
        timeout: Option<Duration>,
    ) -> Option<Duration> {
        let quick = self.woke_ns - self.began_ns < 2 * self.sleep_ns_max;
        let few = self.usual_receive_bytes < RECEIVE_BYTES_FEW;
        self.began_ns = now_ns;
        let used_before_ns = self.used_ns.take();
        self.used_ns = (quick && few && self.rest <= 1).then(used_ns);
        let worked_ns = match (used_before_ns, self.used_ns) {
            (Some(before), Some(now)) => now - before,
            _ => 0,
        };
        let sleep = Duration::from_nanos(self.sleep_ns.min(worked_ns));
        let sleep = timeout.map_or(sleep, |timeout| timeout.min(sleep));
        let probe = self.streak == TURNS_BETWEEN_PROBES;
        let worth_it = sleep.as_nanos() >= SLEEP_NS_MIN.into();
        self.gathered = idle && worth_it && !probe && self.rest == 0;
        self.streak = if self.gathered { self.streak + 1 } else { 0 };
        self.rest = self.rest.saturating_sub(1);
        self.gathered.then_some(sleep)
    }

    /// At the end of every wait: when, what it received, in how many receives.
    pub(crate) fn end(&mut self, now_ns: u64, bytes: u64, receives: u64) {
        self.woke_ns = now_ns;
        if !self.gathered {
            if let Some(receive_bytes) = bytes.checked_div(receives) {
                self.usual_bytes = (self.usual_bytes * 3 + bytes) / 4;
                self.usual_receive_bytes = (self.usual_receive_bytes * 3 + receive_bytes) / 4;
            }
            return;
        }
        let step_ns = self.sleep_ns / 8;
        self.sleep_ns = if bytes >= receives.max(1) * RECEIVE_BYTES_ENOUGH {
            (self.sleep_ns - step_ns).max(SLEEP_NS_MIN)
        } else {
            (self.sleep_ns + step_ns).min(self.sleep_ns_max)
        };
        if 2 * bytes >= 3 * self.usual_bytes {
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

    const LONGEST: Duration = Duration::from_micros(200);
    const TURNS: u64 = 10_000;

    /// A thread whose turns all work and wait for the same time.
    struct Thread {
        pace: Pace,
        now_ns: u64,
        used_ns: u64,
    }

    impl Thread {
        fn new() -> Self {
            Self {
                pace: Pace::new(LONGEST),
                now_ns: 1_000_000,
                used_ns: 0,
            }
        }

        /// A turn: how long it slept. `brings`: the bytes and receives with a sleep and without.
        fn turn(
            &mut self,
            (work_ns, wait_ns): (u64, u64),
            timeout: Option<Duration>,
            brings: [(u64, u64); 2],
        ) -> Option<Duration> {
            self.now_ns += work_ns;
            self.used_ns += work_ns;
            let used_ns = self.used_ns;
            let sleep = self.pace.begin_at(self.now_ns, || used_ns, true, timeout);
            self.now_ns += wait_ns;
            let (bytes, receives) = brings[usize::from(sleep.is_none())];
            self.pace.end(self.now_ns, bytes, receives);
            sleep
        }
    }

    /// How many of many equal turns gathered.
    fn gathered(wait_ns: u64, brings: [(u64, u64); 2]) -> u64 {
        let mut thread = Thread::new();
        let sleeps = (0..TURNS).map(|_| thread.turn((20_000, wait_ns), None, brings));
        sleeps.flatten().count() as u64
    }

    #[test]
    fn quick_small_receives_gather_and_are_probed_now_and_then() {
        for without in [(1400, 1), (28_000, 20)] {
            let count = gathered(20_000, [(280_000, 20), without]);
            assert!((TURNS * 9 / 10..TURNS).contains(&count), "{count}");
        }
    }

    #[test]
    fn rare_turns_and_large_receives_do_not() {
        assert_eq!(gathered(500_000, [(1400, 1), (1400, 1)]), 0);
        assert_eq!(gathered(20_000, [(280_000, 20), (28_000, 2)]), 0);
    }

    #[test]
    fn question_and_answer_is_left_alone() {
        let count = gathered(60_000, [(100, 1), (100, 1)]);
        assert!(count < TURNS / 100, "{count}");
    }

    #[test]
    fn a_sleep_is_in_proportion_to_the_work_and_bounded() {
        let mut thread = Thread::new();
        let mut after = |work_us: u64, timeout| {
            thread.turn((work_us * 1000, 0), timeout, [(5600, 1), (100, 1)])
        };
        for _ in 0..9 {
            after(0, None);
        }
        let micros = Duration::from_micros;
        assert_eq!(after(10, None), Some(micros(10)));
        assert_eq!(after(900, None), Some(LONGEST));
        assert_eq!(after(900, Some(micros(15))), Some(micros(15)));
        assert_eq!(after(900, Some(micros(5))), None, "not worth its costs");
        assert_eq!(after(900, Some(Duration::ZERO)), None);
    }

    #[test]
    fn no_longer_than_makes_receives_large() {
        let mut thread = Thread::new();
        let mut last = |brings: u64| {
            let turns = (0..200).map(|_| thread.turn((900_000, 0), None, [(brings, 1), (1400, 1)]));
            turns.flatten().last().unwrap()
        };
        assert!(last(64 << 10) < LONGEST / 4);
        assert_eq!(last(4 << 10), LONGEST);
    }

    #[test]
    fn a_turn_with_work_at_hand_does_not_gather() {
        let mut pace = Pace::new(LONGEST);
        let mut count = 0;
        for turn in 1..100 {
            let idle = turn % 2 == 0;
            let sleep = pace.begin_at(turn * 20_000, || turn * 20_000, idle, None);
            assert!(idle || sleep.is_none());
            count += u32::from(sleep.is_some());
            pace.end(turn * 20_000, 100, 1);
        }
        assert!(count > 0);
    }
}
