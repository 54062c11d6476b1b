//! One sender's packets to one receiver: when the next may go, and what became of each.
//!
//! Packets are numbered; a DERP relay keeps their order, so a number that is skipped was dropped.

use std::collections::VecDeque;

use towline_wire::NodePublic;

/// A closed loop in which nothing arrives for so long takes what is under way for lost.
const STALL_NS: u64 = 500_000_000;
/// What a paced sender could not send for so long is given up, not sent later.
const BACKLOG_NS: u64 = 20_000_000;

/// When the next packet may go.
pub(crate) enum Pace {
    /// As soon as fewer than `in_flight` are under way.
    Loop {
        /// Packets.
        in_flight: u64,
    },
    /// One each `interval_ns`, whatever arrives.
    Clock {
        /// Between two packets.
        interval_ns: f64,
        /// When packet 0 is due. Moved on by what was given up.
        start_ns: f64,
        /// Packets sent or given up.
        done: u64,
    },
    /// One for each packet that came the other way; their times.
    Echo(VecDeque<u64>),
}

/// Counts of a flow over the measured time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    /// Packets whose sending fell into the measured time.
    pub(crate) sent: u64,
    /// Of those, the ones that arrived, then or soon after.
    pub(crate) sent_and_received: u64,
    /// Packets that arrived in the measured time.
    pub(crate) delivered: u64,
    /// Of those sent in the measured time, the ones that came after a later one, or twice.
    pub(crate) reordered: u64,
    /// Packets that the pace asked for and that were given up in the measured time.
    pub(crate) unsent: u64,
}

pub(crate) struct Flow {
    /// Index of the sending link.
    pub(crate) from: usize,
    /// Index of the receiving link.
    pub(crate) to: usize,
    pub(crate) to_key: NodePublic,
    /// Bytes of a packet.
    pub(crate) size: usize,
    /// Packets in one write.
    pub(crate) batch: u64,
    pub(crate) pace: Pace,
    /// The flow that answers this one, of probes.
    pub(crate) echo: Option<usize>,
    /// Whether its arrivals are round trips.
    pub(crate) is_echo: bool,
    pub(crate) tally: Tally,
    next: u64,
    expected: u64,
    /// Numbers below are not under way any more, arrived or not.
    floor: u64,
    progress_ns: u64,
    /// Numbers sent in the measured time.
    window: Option<(u64, u64)>,
    measuring: bool,
    stopped: bool,
}

impl Flow {
    pub(crate) fn new(from: usize, to: usize, to_key: NodePublic, size: usize, pace: Pace) -> Self {
        Self {
            from,
            to,
            to_key,
            size,
            batch: 1,
            pace,
            echo: None,
            is_echo: false,
            tally: Tally::default(),
            next: 0,
            expected: 0,
            floor: 0,
            progress_ns: 0,
            window: None,
            measuring: false,
            stopped: false,
        }
    }

    /// Whether it measures round trips, one way or the other.
    pub(crate) fn is_probe(&self) -> bool {
        self.is_echo || self.echo.is_some()
    }

    /// How many packets may go now, at most one batch; a batch is not begun before it is whole.
    pub(crate) fn ready(&mut self, now_ns: u64) -> u64 {
        if self.stopped && !matches!(self.pace, Pace::Echo(_)) {
            return 0;
        }
        match &mut self.pace {
            Pace::Loop { in_flight } => {
                let batch = self.batch.min(*in_flight);
                let under_way = self.next - self.expected.max(self.floor);
                if *in_flight - under_way.min(*in_flight) >= batch {
                    return batch;
                }
                // Nothing has come for long: what is under way is lost, however little it is.
                if now_ns > self.progress_ns + STALL_NS {
                    self.floor = self.next;
                    self.progress_ns = now_ns;
                    return batch;
                }
                0
            }
            Pace::Clock { .. } => {
                if self.give_up_backlog(now_ns) >= self.batch {
                    self.batch
                } else {
                    0
                }
            }
            Pace::Echo(times) => (times.len() as u64).min(self.batch),
        }
    }

    /// Gives up what is due for too long; how much is due still.
    fn give_up_backlog(&mut self, now_ns: u64) -> u64 {
        let Pace::Clock {
            interval_ns,
            start_ns,
            done,
        } = &mut self.pace
        else {
            return 0;
        };
        let due = ((now_ns as f64 - *start_ns) / *interval_ns).max(0.0) as u64;
        let backlog_max = (BACKLOG_NS as f64 / *interval_ns) as u64 + self.batch;
        let given_up = due.saturating_sub(*done + backlog_max);
        *done += given_up;
        if self.measuring {
            self.tally.unsent += given_up;
        }
        due.saturating_sub(*done)
    }

    /// When a paced flow has its next batch.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        match &self.pace {
            Pace::Clock {
                interval_ns,
                start_ns,
                done,
            } if !self.stopped => {
                Some((start_ns + (done + self.batch) as f64 * interval_ns) as u64)
            }
            _ => None,
        }
    }

    /// Takes the number and time of the packet that goes now.
    pub(crate) fn take(&mut self, now_ns: u64) -> (u64, u64) {
        let number = self.next;
        self.next += 1;
        match &mut self.pace {
            Pace::Loop { .. } => (number, now_ns),
            Pace::Clock {
                interval_ns,
                start_ns,
                done,
            } => {
                *done += 1;
                let due = (*start_ns + *done as f64 * *interval_ns) as u64;
                // A probe that had to wait for its socket is as old as its turn; what the timer was
                // late is ours.
                let late = now_ns.saturating_sub(due);
                (number, if late > 1_000_000 { due } else { now_ns })
            }
            Pace::Echo(times) => (number, times.pop_front().unwrap_or(now_ns)),
        }
    }

    /// A packet of this flow arrived.
    pub(crate) fn arrived(&mut self, number: u64, now_ns: u64) {
        self.progress_ns = now_ns;
        if self.measuring {
            self.tally.delivered += 1;
        }
        let in_window = (self.window).is_some_and(|(start, end)| (start..end).contains(&number));
        if number < self.expected || number >= self.next {
            self.tally.reordered += u64::from(in_window);
            return;
        }
        self.expected = number + 1;
        self.tally.sent_and_received += u64::from(in_window);
    }

    pub(crate) fn start_measuring(&mut self, now_ns: u64) {
        self.give_up_backlog(now_ns);
        self.measuring = true;
        self.window = Some((self.next, u64::MAX));
    }

    /// Ends the measured time; what is under way still counts when it arrives.
    pub(crate) fn stop(&mut self, now_ns: u64) {
        // A link that takes nothing was not asked for long.
        self.give_up_backlog(now_ns);
        self.measuring = false;
        self.stopped = true;
        if let Some((start, end)) = &mut self.window {
            *end = self.next;
            self.tally.sent = *end - *start;
        }
    }

    /// Packets sent that neither arrived nor are known to be lost.
    pub(crate) fn under_way(&self) -> u64 {
        self.next - self.expected.max(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flow(pace: Pace) -> Flow {
        Flow::new(0, 1, NodePublic([0; 32]), 1400, pace)
    }

    fn send_all(flow: &mut Flow, now_ns: u64) -> u64 {
        let mut sent = 0;
        while flow.ready(now_ns) > 0 {
            for _ in 0..flow.ready(now_ns) {
                flow.take(now_ns);
                sent += 1;
            }
        }
        sent
    }

    #[test]
    fn a_closed_loop_keeps_so_many_under_way() {
        let mut flow = flow(Pace::Loop { in_flight: 24 });
        flow.batch = 8;
        assert_eq!(send_all(&mut flow, 1), 24);
        flow.arrived(0, 2);
        assert_eq!(flow.ready(2), 0, "a batch is eight");
        // Those between were dropped: their slots are free as well.
        flow.arrived(7, 3);
        assert_eq!(flow.ready(3), 8);
    }

    #[test]
    fn a_loop_whose_packets_were_all_lost_goes_on() {
        let mut flow = flow(Pace::Loop { in_flight: 4 });
        assert_eq!(send_all(&mut flow, 1), 4);
        assert_eq!(flow.ready(STALL_NS), 0);
        assert_eq!(send_all(&mut flow, STALL_NS + 2), 4);
        flow.arrived(7, STALL_NS + 3);
        assert_eq!(flow.under_way(), 0);
    }

    #[test]
    fn a_loop_whose_tail_was_lost_goes_on_though_a_batch_does_not_fit() {
        let mut flow = flow(Pace::Loop { in_flight: 24 });
        flow.batch = 8;
        assert_eq!(send_all(&mut flow, 1), 24);
        flow.arrived(3, 2);
        assert_eq!(flow.ready(2 + STALL_NS), 0);
        assert_eq!(send_all(&mut flow, 3 + STALL_NS), 24);
    }

    #[test]
    fn a_clock_sends_what_is_due_and_gives_up_what_is_too_late() {
        let mut flow = flow(Pace::Clock {
            interval_ns: 1e6,
            start_ns: 0.0,
            done: 0,
        });
        flow.start_measuring(0);
        assert_eq!(send_all(&mut flow, 5_000_000), 5);
        assert_eq!(flow.due_ns(), Some(6_000_000));
        assert_eq!(send_all(&mut flow, 105_000_000), 21);
        assert_eq!(flow.tally.unsent, 79);
    }

    #[test]
    fn what_a_blocked_link_was_never_asked_for_is_unsent_and_what_the_warm_up_gave_up_is_not() {
        let mut flow = flow(Pace::Clock {
            interval_ns: 1e6,
            start_ns: 0.0,
            done: 0,
        });
        flow.start_measuring(1_000_000_000);
        flow.stop(2_000_000_000);
        assert_eq!(flow.tally.unsent, 1000);
    }

    #[test]
    fn loss_is_of_the_packets_sent_in_the_measured_time() {
        let mut flow = flow(Pace::Loop { in_flight: 4 });
        send_all(&mut flow, 1);
        flow.arrived(1, 2);
        flow.start_measuring(2);
        // Late in the warm-up, which is over.
        for number in [0, 2, 3] {
            flow.arrived(number, 2);
        }
        send_all(&mut flow, 3);
        flow.stop(4);
        flow.arrived(4, 4);
        flow.arrived(7, 4);
        flow.arrived(7, 4);
        let Tally {
            sent,
            sent_and_received,
            delivered,
            reordered,
            ..
        } = flow.tally;
        assert_eq!(
            (sent, sent_and_received, delivered, reordered),
            (4, 2, 3, 1)
        );
        assert_eq!(flow.ready(5), 0);
    }
}
