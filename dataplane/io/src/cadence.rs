//! Of one socket: whether its bytes are better fetched at intervals than taken at every arrival.
//!
//! What arrives at a busy socket one packet at a time costs a receive, an acknowledgement and a
//! send each. Fetched a little later, several packets share these. Unlike a sleep of the thread
//! (`pace`) that makes nobody else wait: the thread still wakes for the packets of quiet sockets.
//! A game of question and answer is found out, because its fetches bring no more than an arrival
//! did, and left alone for longer each time.
//!
//! Kept with each socket of `uring`, which tells it of receives. Reads no clock, asks for nothing.

/// Receives that bring less are worth waiting for more.
const ARRIVAL_BYTES_FEW: usize = 8 << 10;
/// So many quick small receives in a row make a socket busy, the first time ...
const RUN_MIN: u16 = 32;
/// ... and the more, by this power of two at most, the more often that was in vain.
const WARY_MAX: u8 = 7;
/// So many fetches in a row that bring little end it.
const VAIN_MAX: u16 = 8;

#[derive(Default)]
pub(crate) struct Cadence {
    /// Time of the last arrival in microseconds, modulo 2³².
    last_us: u32,
    /// Bytes of an arrival, smoothed.
    usual_bytes: u16,
    /// In a row: quick small arrivals, or fetches that brought little.
    run: u16,
    /// How often in a row fetching was in vain.
    wary: u8,
}

impl Cadence {
    /// A receive came by itself. Whether the socket is to be fetched from, from now on. Quick is
    /// what comes within `quick_us` of the one before.
    pub(crate) fn arrived(&mut self, now_us: u32, quick_us: u32, bytes: usize) -> bool {
        let quick = now_us.wrapping_sub(self.last_us) < quick_us;
        self.last_us = now_us;
        let usual = (usize::from(self.usual_bytes) * 3 + bytes) / 4;
        self.usual_bytes = usual.min(u16::MAX.into()) as u16;
        let counts = quick && bytes < ARRIVAL_BYTES_FEW;
        self.run = if counts { self.run + 1 } else { 0 };
        let busy = self.run >= RUN_MIN << self.wary;
        if busy {
            self.run = 0;
        }
        busy
    }

    /// A fetch brought so much. Whether to go on with fetches.
    pub(crate) fn fetched(&mut self, bytes: usize) -> bool {
        if 2 * bytes >= 3 * usize::from(self.usual_bytes) && bytes > 0 {
            self.run = 0;
            self.wary = 0;
            return true;
        }
        self.run += 1;
        if self.run < VAIN_MAX {
            return true;
        }
        self.run = 0;
        // Silence is the end of the traffic, not a sign against fetching it.
        if bytes > 0 {
            self.wary = (self.wary + 1).min(WARY_MAX);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK_US: u32 = 500;

    /// Arrivals of that size and distance until the socket is busy; `None`: it never is.
    fn arrivals(cadence: &mut Cadence, distance_us: u32, bytes: usize) -> Option<u32> {
        let start_us = cadence.last_us;
        (1..100_000)
            .find(|n| cadence.arrived(start_us.wrapping_add(n * distance_us), QUICK_US, bytes))
    }

    #[test]
    fn a_quick_stream_of_packets_is_fetched_as_long_as_fetches_bring_several() {
        let mut cadence = Cadence {
            last_us: u32::MAX - 1000,
            ..Cadence::default()
        };
        assert!(arrivals(&mut cadence, 30, 1400).is_some_and(|n| n < 100));
        for turn in 0..1000 {
            assert!(cadence.fetched(if turn % 4 == 0 { 14_000 } else { 1400 }));
        }
        let stopped = (1..).find(|_| !cadence.fetched(0));
        assert_eq!(stopped, Some(5), "three brought little before");
        assert!(arrivals(&mut cadence, 30, 1400).is_some_and(|n| n < 100));
    }

    #[test]
    fn rare_or_large_receives_come_by_themselves() {
        assert_eq!(arrivals(&mut Cadence::default(), 600, 1400), None);
        assert_eq!(arrivals(&mut Cadence::default(), 30, 11_000), None);
    }

    #[test]
    fn question_and_answer_is_fetched_ever_more_seldom() {
        let mut cadence = Cadence::default();
        let mut fetches = 0;
        for question in 0..100_000 {
            if cadence.arrived(question * 60, QUICK_US, 100) {
                fetches += 1;
                while cadence.fetched(100) {
                    fetches += 1;
                }
            }
        }
        assert!((16..1000).contains(&fetches), "{fetches}");
    }
}
