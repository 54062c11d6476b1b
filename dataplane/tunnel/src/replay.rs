//! The window of counters that were received: each is accepted once, and none that is too old (RFC 6479, as the
//! kernel has it in receive.c). A ring of words of 64 bits, of which the newest is being filled.

use towline_wire::limits::{REJECT_AFTER_MESSAGES, REPLAY_BITS, REPLAY_WINDOW};

const WORDS: usize = REPLAY_BITS / u64::BITS as usize;

pub(crate) struct Replay {
    /// One more than the highest counter that was accepted.
    next: u64,
    ring: [u64; WORDS],
}

impl Replay {
    pub(crate) const fn new() -> Self {
        Self {
            next: 0,
            ring: [0; WORDS],
        }
    }

    /// Whether the counter would be accepted; asked before the packet is opened, to spare the work.
    pub(crate) fn is_fresh(&self, counter: u64) -> bool {
        if self.is_outside(counter) {
            return false;
        }
        let (word, bit) = place(counter);
        // Words ahead of the newest hold what was there one turn of the ring ago.
        counter >= self.next && counter >> 6 != self.next.wrapping_sub(1) >> 6
            || self.ring[word] & bit == 0
    }

    /// Takes the counter of an authenticated packet; false when it was seen before or is too old.
    pub(crate) fn accept(&mut self, counter: u64) -> bool {
        if self.is_outside(counter) {
            return false;
        }
        if counter >= self.next {
            let newest = self.next.wrapping_sub(1) >> 6;
            let ahead = (counter >> 6).wrapping_sub(newest).min(WORDS as u64);
            for step in 1..=ahead {
                self.ring[(newest.wrapping_add(step) as usize) % WORDS] = 0;
            }
            self.next = counter + 1;
        }
        let (word, bit) = place(counter);
        let fresh = self.ring[word] & bit == 0;
        self.ring[word] |= bit;
        fresh
    }

    #[cfg(test)]
    pub(crate) fn state(&self) -> (u64, [u64; WORDS]) {
        (self.next, self.ring)
    }

    fn is_outside(&self, counter: u64) -> bool {
        counter >= REJECT_AFTER_MESSAGES || counter + REPLAY_WINDOW + 1 < self.next
    }
}

fn place(counter: u64) -> (usize, u64) {
    ((counter >> 6) as usize % WORDS, 1 << (counter & 63))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    use super::*;

    fn check(replay: &mut Replay, counter: u64, expected: bool) {
        assert_eq!(replay.is_fresh(counter), expected, "is_fresh({counter})");
        assert_eq!(replay.accept(counter), expected, "accept({counter})");
    }

    /// The kernel's selftest/counter.c, in its order.
    #[test]
    fn the_cases_of_the_kernel() {
        const LIMIT: u64 = REPLAY_WINDOW + 1;
        let mut replay = Replay::new();
        for (counter, expected) in [
            (0, true),
            (1, true),
            (1, false),
            (9, true),
            (8, true),
            (7, true),
            (7, false),
            (LIMIT, true),
            (LIMIT - 1, true),
            (LIMIT - 1, false),
            (LIMIT - 2, true),
            (2, true),
            (2, false),
            (LIMIT + 16, true),
            (3, false),
            (LIMIT + 16, false),
            (LIMIT * 4, true),
            (LIMIT * 4 - (LIMIT - 1), true),
            (10, false),
            (LIMIT * 4 - LIMIT, false),
            (LIMIT * 4 - (LIMIT + 1), false),
            (LIMIT * 4 - (LIMIT - 2), true),
            (LIMIT * 4 + 1 - LIMIT, false),
            (0, false),
            (REJECT_AFTER_MESSAGES, false),
            (REJECT_AFTER_MESSAGES - 1, true),
            (REJECT_AFTER_MESSAGES, false),
            (REJECT_AFTER_MESSAGES - 1, false),
            (REJECT_AFTER_MESSAGES - 2, true),
            (REJECT_AFTER_MESSAGES + 1, false),
            (REJECT_AFTER_MESSAGES + 2, false),
            (REJECT_AFTER_MESSAGES - 2, false),
            (REJECT_AFTER_MESSAGES - 3, true),
            (0, false),
        ] {
            check(&mut replay, counter, expected);
        }
    }

    #[test]
    fn a_window_that_is_filled_from_either_end() {
        let mut replay = Replay::new();
        for counter in 1..=REPLAY_WINDOW {
            check(&mut replay, counter, true);
        }
        check(&mut replay, 0, true);
        check(&mut replay, 0, false);

        let mut replay = Replay::new();
        for counter in (1..REPLAY_WINDOW + 1).rev() {
            check(&mut replay, counter, true);
        }
        check(&mut replay, REPLAY_WINDOW + 1, true);
        check(&mut replay, 0, false);
    }

    proptest! {
        /// The same as a set of all counters ever accepted.
        #[test]
        fn behaves_as_a_set(steps in prop::collection::vec((0..5u8, 0..20_000u64), 1..300)) {
            let mut replay = Replay::new();
            let mut seen = BTreeSet::new();
            let mut highest = 0u64;
            for (kind, by) in steps {
                let counter = match kind {
                    0 => highest.saturating_sub(by),
                    1 => highest + by % 130,
                    2 => highest.saturating_sub(by % 130),
                    3 => highest + by,
                    _ => by,
                };
                let old = counter + REPLAY_WINDOW < highest;
                let expected = !old && seen.insert(counter);
                prop_assert_eq!(replay.is_fresh(counter), expected);
                prop_assert_eq!(replay.accept(counter), expected);
                highest = highest.max(if expected { counter } else { 0 });
            }
        }
    }
}
