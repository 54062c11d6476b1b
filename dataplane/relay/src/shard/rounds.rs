//! Rare work on every connection, a few at a time so that packets do not wait for it: the round trip of TCP is sampled,
//! and a TLS session that was not used since the last visit gives its working memory back.

use std::time::Duration;

use towline_wire::Time;

use super::turn::Thread;

/// Every connection is visited about so often (derper's interval of statistics), while there are not too many of them.
const ROUND: Duration = Duration::from_secs(10);
/// The shortest time between steps, and ...
const STEP_MIN: Duration = Duration::from_millis(100);
/// ... the connections visited in one, a few microseconds of work. Above 25,600 connections of a shard a round takes
/// longer.
const VISITS_MAX: usize = 256;
/// Of so many connections one is sampled, another one in each round: asking the kernel costs more than all else here.
const SAMPLED_OF: usize = 8;

/// Where the rounds are.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    due: Option<Time>,
    /// The place of the next visit.
    at: usize,
    round: usize,
}

impl Rounds {
    pub(super) const fn due(&self) -> Option<Time> {
        self.due
    }
}

impl Thread {
    /// Visits the next connections. Called in each turn, does its work now and then.
    pub(super) fn check_rounds(&mut self) {
        if self.conns.is_empty() {
            return;
        }
        let due = *self.rounds.due.get_or_insert(self.now + ROUND);
        if due > self.now {
            return;
        }
        let places = self.conns.len();
        for _ in 0..VISITS_MAX.min(places) {
            let at = self.rounds.at;
            self.visit(at);
            self.rounds.at = at + 1;
            if self.rounds.at >= places {
                (self.rounds.at, self.rounds.round) = (0, self.rounds.round + 1);
                break;
            }
        }
        let steps = places.div_ceil(VISITS_MAX) as u32;
        self.rounds.due = Some(self.now + (ROUND / steps).max(STEP_MIN));
    }

    fn visit(&mut self, place: usize) {
        let is_sampled = (place + self.rounds.round).is_multiple_of(SAMPLED_OF);
        let Some(Some(conn)) = self.conns.get_mut(place) else {
            return;
        };
        if let Some(session) = &mut conn.transport.tls {
            session.rest_if_idle();
        }
        if is_sampled {
            match self.driver.round_trip(conn.socket) {
                Ok(time) => {
                    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                    self.counts.observed.round_trip_us.observe(micros);
                }
                Err(_) => self.counts.round_trip_errors += 1,
            }
        }
    }
}
