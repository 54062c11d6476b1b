//! Busy sockets, fetched from together at intervals: when, and by which requests.
//!
//! See `cadence` for which sockets these are, and why. Called by `wait`, before and while it sleeps, and by `harvest` for
//! each receive. Nothing is received here: requests are queued, and complete with the rest.

use std::io;
use std::time::Duration;

use super::requests::receive_once;
use super::socket::{ENDED, KEEPS_FROM_FETCH, MEASURED, PAUSED, RECV, TIMED};
use super::user_data::{Op, pack};
use super::{Uring, ring};
use crate::SocketId;
use crate::host::now_ns;

/// What a socket adds to the interval: its fetch, the acknowledgement and the send that follow
/// cost 10 to 30 µs whatever they carry: together a tenth to a third of the thread's time, at most.
const SOCKET_NS: u64 = 100_000;
/// The interval of few sockets, as a part of the longest.
const INTERVAL_FEW: u64 = 4;
/// Fetches that bring this much make the interval shorter.
const FETCH_BYTES_ENOUGH: u64 = 20 << 10;
/// The shortest interval.
const INTERVAL_NS_MIN: u64 = 20_000;
/// The longest sleep in one piece. KVM gives a virtual processor away that halts for longer than
/// 200 µs (its `halt_poll_ns`), and it returns late and with cold caches: with 250 µs in one piece the 99th
/// percentile of the round trips beside bulk was six times longer. With 100 µs a packet cost a tenth more.
const NAP_NS: u64 = 160_000;

/// Places reserved in the list, which grows with the most busy sockets at a time.
const SOCKETS_RESERVED: usize = 1024;

pub(super) struct Timetable {
    sockets: Vec<SocketId>,
    /// Those whose last fetch took all the room there was: there may be more.
    again: Vec<SocketId>,
    /// When the last fetch was, and the next one is, once the turn of the last is over.
    began_ns: u64,
    due_ns: Option<u64>,
    interval_ns: u64,
    /// Zero: nothing is timed.
    longest_ns: u64,
    /// Bytes since the last fetch.
    bytes: u64,
}

impl Timetable {
    pub(super) fn new(longest: Duration) -> Self {
        let longest_ns = longest.min(Duration::from_secs(1)).as_nanos() as u64;
        Self {
            sockets: Vec::with_capacity(SOCKETS_RESERVED),
            again: Vec::with_capacity(SOCKETS_RESERVED),
            began_ns: 0,
            due_ns: None,
            interval_ns: longest_ns / INTERVAL_FEW,
            longest_ns,
            bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
    }

    /// Receives that are closer to each other than this may be better timed.
    pub(super) fn quick_us(&self) -> u32 {
        (self.longest_ns / 1000) as u32
    }

    pub(super) fn add(&mut self, id: SocketId) {
        if self.is_empty() {
            self.due_ns = None;
            self.began_ns = now_ns();
        }
        self.sockets.push(id);
    }

    pub(super) fn remove(&mut self, id: SocketId) {
        self.sockets.retain(|timed| *timed != id);
        self.again.retain(|timed| *timed != id);
    }

    /// A fetch brought so much.
    pub(super) fn count(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// When the next fetch is. The turn after the last one is over: it counts for as much rest as it
    /// took, so that a thread is busy half of the time before its fetches become rarer.
    fn due_ns(&mut self, now_ns: u64) -> u64 {
        let worked_ns = now_ns.saturating_sub(self.began_ns);
        let rested_ns = now_ns + worked_ns.min(self.interval_ns);
        let due_ns = rested_ns.max(self.began_ns + self.interval_ns);
        *self.due_ns.get_or_insert(due_ns)
    }

    /// Begins a fetch: sets the interval by what the last one brought.
    fn begin(&mut self, now_ns: u64) {
        let sockets = self.sockets.len() as u64;
        let longest_ns =
            (sockets * SOCKET_NS).clamp(self.longest_ns / INTERVAL_FEW, self.longest_ns);
        let step_ns = self.interval_ns / 8;
        self.interval_ns = if self.bytes >= sockets * FETCH_BYTES_ENOUGH {
            (self.interval_ns - step_ns).max(INTERVAL_NS_MIN)
        } else {
            self.interval_ns + step_ns
        };
        self.interval_ns = self.interval_ns.min(longest_ns);
        self.bytes = 0;
        self.began_ns = now_ns;
        self.due_ns = None;
    }
}

impl Uring {
    /// Asks all timed sockets for what they have, when it is time for that. Otherwise says how long
    /// it is until then.
    pub(super) fn fetch_when_due(&mut self) -> Option<Duration> {
        if self.timetable.is_empty() {
            return None;
        }
        let mut again = core::mem::take(&mut self.timetable.again);
        let any_again = !again.is_empty();
        again.drain(..).for_each(|id| _ = self.fetch(id));
        self.timetable.again = again;
        let now_ns = now_ns();
        let due_ns = self.timetable.due_ns(now_ns);
        if now_ns < due_ns {
            let left_ns = if any_again { 0 } else { due_ns - now_ns };
            return Some(Duration::from_nanos(left_ns));
        }
        // Also while some have more than a fetch takes: the others do not wait for these.
        self.timetable.begin(now_ns);
        let mut sockets = core::mem::take(&mut self.timetable.sockets);
        sockets.retain(|id| self.fetch(*id));
        self.timetable.sockets = sockets;
        Some(Duration::ZERO)
    }

    /// Asks a timed socket for what it has. False when it has left the timetable.
    fn fetch(&mut self, id: SocketId) -> bool {
        let Some(socket) = self.sockets.get_mut(id) else {
            return false;
        };
        if socket.flags.intersects(ENDED) || !socket.flags.intersects(TIMED) {
            return false;
        }
        if socket.flags.intersects(KEEPS_FROM_FETCH) {
            return true;
        }
        socket.flags.insert(RECV);
        self.stats.fetches += 1;
        let fd = ring::fd(&socket.fd);
        // MSG_DONTWAIT: completes at once, with something or not.
        let entry = receive_once(fd, self.recv.buffer_bytes(), libc::MSG_DONTWAIT);
        self.push(&entry.user_data(pack(Op::Recv, id)));
        true
    }

    /// A receive came by itself; it may be the one that makes the socket busy.
    pub(super) fn count_arrival(&mut self, id: SocketId, bytes: usize) {
        let quick_us = self.timetable.quick_us();
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if quick_us == 0 || socket.flags.intersects(MEASURED.or(PAUSED)) {
            return;
        }
        let now_us = (self.woke_ns / 1000) as u32;
        if socket.cadence.arrived(now_us, quick_us, bytes) {
            socket.flags.insert(TIMED);
            self.timetable.add(id);
            self.cancel_recv(id);
        }
    }

    /// A fetch is over. `full`: it took all the room there was.
    pub(super) fn count_fetch(&mut self, id: SocketId, bytes: usize, full: bool) {
        self.timetable.count(bytes);
        let Some(socket) = self.sockets.get_mut(id) else {
            return;
        };
        if !socket.cadence.fetched(bytes) {
            self.stop_timing(id);
        } else if full {
            // With the next wait: a flush receives nothing new.
            self.timetable.again.push(id);
        }
    }

    /// What comes from now on comes by itself, once the owner of the flags has settled the socket.
    pub(super) fn stop_timing(&mut self, id: SocketId) {
        if let Some(socket) = self.sockets.get_mut(id)
            && socket.flags.intersects(TIMED)
        {
            socket.flags.remove(TIMED);
            self.timetable.remove(id);
        }
    }

    /// Waits for a completion, in naps while there are timed sockets.
    pub(super) fn sleep(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let Some(timeout) = timeout.filter(|_| !self.timetable.is_empty()) else {
            return self.ring.enter(1, timeout);
        };
        let end_ns = now_ns() + timeout.as_nanos() as u64;
        let mut left_ns = timeout.as_nanos() as u64;
        while left_ns > 0 && self.ring.harvested(0).is_none() {
            let nap = Duration::from_nanos(left_ns.min(NAP_NS));
            self.ring.enter(1, Some(nap))?;
            self.ring.harvest();
            left_ns = end_ns.saturating_sub(now_ns());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_micros(800);
    const MICRO: u64 = 1000;

    fn id(slot: u32) -> SocketId {
        SocketId {
            slot,
            generation: 0,
        }
    }

    /// A timetable in which every fetch of each socket brings so much.
    fn timetable(sockets: u32, bytes: u64) -> Timetable {
        let mut timetable = Timetable::new(LONGEST);
        (0..sockets).for_each(|slot| timetable.add(id(slot)));
        for _ in 0..100 {
            timetable.count((u64::from(sockets) * bytes) as usize);
            timetable.begin(0);
        }
        timetable
    }

    #[test]
    fn the_interval_grows_with_the_sockets_and_shrinks_when_fetches_bring_enough() {
        let interval = |sockets, bytes| timetable(sockets, bytes).interval_ns / MICRO;
        assert_eq!(interval(1, 1400), 200);
        assert_eq!(interval(5, 1400), 500);
        assert_eq!(interval(1000, 1400), 800);
        assert_eq!(interval(4, 64 << 10), INTERVAL_NS_MIN / MICRO);
    }

    #[test]
    fn the_next_fetch_is_an_interval_later_or_when_the_thread_has_rested_as_long_as_it_worked() {
        let due = |turn_us| timetable(2, 1400).due_ns(turn_us * MICRO) / MICRO;
        assert_eq!(due(20), 200);
        assert_eq!(due(150), 300);
        assert_eq!(due(900), 1100, "a long turn is not followed by a long rest");
        let mut timetable = timetable(2, 1400);
        timetable.due_ns(20 * MICRO);
        assert_eq!(timetable.due_ns(190 * MICRO), 200 * MICRO, "decided once");
    }

    #[test]
    fn a_socket_that_leaves_is_not_fetched_from() {
        let mut timetable = timetable(3, 1400);
        timetable.remove(id(1));
        assert_eq!(timetable.sockets, [id(0), id(2)]);
    }
}
