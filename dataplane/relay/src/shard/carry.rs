//! Partial TLS records between two receives.
//!
//! A receive may end in the middle of a record. Its start is carried here until the rest arrives, and the whole record is
//! opened here. A connection between records holds nothing. Buffers grow with the bytes that really arrived, are kept for
//! the next user, and stay valid until the end of the turn in which their record was opened, because packets in it are
//! queued by reference. Those that a busy time left and nobody has needed since are given back.

use std::time::Duration;

use towline_wire::Time;

/// Spare buffers that are kept whatever happens: some 16 KiB each.
const SPARES_KEPT: usize = 64;

/// How long spare buffers must have been of no use before they are given back. Longer than traffic comes and goes, so that
/// what a steady load needs is never given back and made anew.
const REST_AFTER: Duration = Duration::from_secs(10);

/// Buffers given back at once, so that a turn does not become long by it.
const RESTED_MAX: usize = 1024;

/// A carry buffer in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CarryId(pub(super) u32);

#[derive(Default)]
pub(super) struct Carries {
    buffers: Vec<Vec<u8>>,
    /// Free, with their memory. The last one is used first, so those that are not needed gather at the start.
    spare: Vec<CarryId>,
    /// Free, their memory given back.
    empty: Vec<CarryId>,
    opened: Vec<CarryId>,
    /// The fewest that `spare` had since [`Carries::rest`] began to wait: so many were of no use.
    spare_min: usize,
    rest_at: Option<Time>,
}

impl Carries {
    /// An empty buffer.
    pub(super) fn take(&mut self) -> CarryId {
        if let Some(id) = self.spare.pop() {
            self.spare_min = self.spare_min.min(self.spare.len());
            return id;
        }
        self.spare_min = 0;
        self.empty.pop().unwrap_or_else(|| {
            self.buffers.push(Vec::new());
            CarryId(self.buffers.len() as u32 - 1)
        })
    }

    pub(super) fn bytes(&self, id: CarryId) -> &[u8] {
        &self.buffers[id.0 as usize]
    }

    pub(super) fn bytes_mut(&mut self, id: CarryId) -> &mut Vec<u8> {
        &mut self.buffers[id.0 as usize]
    }

    /// Gives a buffer back whose record was opened: it is used again after the turn.
    pub(super) fn opened(&mut self, id: CarryId) {
        self.opened.push(id);
    }

    /// Gives a buffer back that nothing refers to.
    pub(super) fn release(&mut self, id: CarryId) {
        self.bytes_mut(id).clear();
        self.spare.push(id);
    }

    /// The turn is over: nothing refers to opened records any more.
    pub(super) fn end_turn(&mut self, now: Time) {
        while let Some(id) = self.opened.pop() {
            self.release(id);
        }
        self.rest(now);
    }

    /// When there is something to give back, at the end of a turn.
    pub(super) const fn due(&self) -> Option<Time> {
        self.rest_at
    }

    /// Gives back the memory of spare buffers that were of no use for a while.
    fn rest(&mut self, now: Time) {
        match self.rest_at {
            Some(due) if due <= now => {
                let of_no_use = self.spare_min.saturating_sub(SPARES_KEPT);
                for id in self.spare.drain(..of_no_use.min(RESTED_MAX)) {
                    self.buffers[id.0 as usize] = Vec::new();
                    self.empty.push(id);
                }
                self.rest_at = None;
            }
            Some(_) if self.spare.len() > SPARES_KEPT => return,
            Some(_) => self.rest_at = None,
            None => {}
        }
        if self.spare.len() > SPARES_KEPT {
            self.spare_min = self.spare.len();
            self.rest_at = Some(now + REST_AFTER);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD_BYTES: usize = 1 << 10;

    impl Carries {
        fn memory(&self) -> usize {
            self.buffers.iter().map(Vec::capacity).sum()
        }

        /// A turn that opens the records of so many connections; gives how many buffers had no memory.
        fn turn(&mut self, connections: usize, now: Time) -> usize {
            let taken: Vec<_> = (0..connections).map(|_| self.take()).collect();
            let mut grown = 0;
            for id in taken {
                grown += usize::from(self.bytes_mut(id).capacity() == 0);
                self.bytes_mut(id).resize(RECORD_BYTES, 1);
                self.opened(id);
            }
            self.end_turn(now);
            grown
        }
    }

    #[test]
    fn what_a_burst_took_is_given_back() {
        let mut carries = Carries::default();
        carries.turn(5000, Time::ZERO);
        assert!(carries.memory() >= 5000 * RECORD_BYTES);
        for _ in 0..6 {
            let due = carries.due().expect("there is more than is kept");
            carries.turn(3, due);
        }
        // And what was in use meanwhile.
        assert_eq!(carries.spare.len(), SPARES_KEPT + 3);
        assert!(carries.memory() <= 2 * (SPARES_KEPT + 3) * RECORD_BYTES);
        let due = carries.due().expect("there is a little more");
        carries.end_turn(due);
        carries.end_turn(due + REST_AFTER);
        assert_eq!(carries.spare.len(), SPARES_KEPT);
        assert_eq!(carries.due(), None, "an idle shard is not woken for it");
        // Another burst uses the same places.
        carries.turn(5000, Time::ZERO);
        assert_eq!(carries.buffers.len(), 5000);
    }

    #[test]
    fn a_steady_load_keeps_its_buffers() {
        let mut carries = Carries::default();
        let mut now = Time::ZERO;
        assert_eq!(carries.turn(1000, now), 1000);
        for turn in 0..100 {
            now += REST_AFTER / 4;
            // Most turns need less.
            let connections = if turn % 3 == 0 { 1000 } else { 10 };
            assert_eq!(carries.turn(connections, now), 0, "turn {turn}");
        }
    }

    #[test]
    fn a_buffer_is_not_used_again_in_the_turn_of_its_record() {
        let mut carries = Carries::default();
        let first = carries.take();
        carries.bytes_mut(first).push(7);
        carries.opened(first);
        assert_ne!(carries.take(), first);
        assert_eq!(carries.bytes(first), [7]);
        carries.end_turn(Time::ZERO);
        assert_eq!(carries.take(), first);
        assert!(carries.bytes(first).is_empty());
    }
}
