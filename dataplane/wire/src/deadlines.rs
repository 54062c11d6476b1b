//! One deadline for each of many (connections, peers), the next one first: a binary heap whose entries know whose they
//! are, and whose owners know their place, so that a deadline can be moved. Owners are slots: small numbers.
#![cfg_attr(
    not(test),
    expect(
        clippy::indexing_slicing,
        reason = "places in the heap are its own; no bytes of strangers"
    )
)]

use crate::Time;

/// The place of a slot that has no deadline.
const NONE: u32 = u32::MAX;

/// The deadlines of many slots.
#[derive(Debug)]
pub struct Deadlines {
    heap: Vec<(Time, u32)>,
    /// Place in the heap, by slot.
    places: Vec<u32>,
}

impl Deadlines {
    /// No deadlines. `slots`: as many need no further allocation.
    #[must_use]
    pub fn with_capacity(slots: usize) -> Self {
        Self {
            heap: Vec::with_capacity(slots),
            places: Vec::with_capacity(slots),
        }
    }

    /// Makes room for a slot, so that setting its deadline allocates nothing.
    pub fn reserve(&mut self, slot: u32) {
        let slots = slot as usize + 1;
        if self.places.len() < slots {
            self.places.resize(slots, NONE);
        }
        self.heap.reserve(slots - self.heap.len().min(slots));
    }

    /// The first of them.
    #[must_use]
    pub fn next(&self) -> Option<Time> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Takes a slot whose deadline is not after `now`; it has none afterwards.
    pub fn pop_due(&mut self, now: Time) -> Option<u32> {
        let (at, slot) = *self.heap.first()?;
        (at <= now).then(|| {
            self.remove(slot);
            slot
        })
    }

    /// Sets or moves the deadline of a slot.
    pub fn set(&mut self, slot: u32, at: Time) {
        let index = slot as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, NONE);
        }
        let place = self.places[index];
        if place == NONE {
            self.heap.push((at, slot));
            self.places[index] = self.heap.len() as u32 - 1;
            self.up(self.heap.len() - 1);
        } else if self.heap[place as usize].0 != at {
            self.heap[place as usize].0 = at;
            self.settle(place as usize);
        }
    }

    /// Takes the deadline of a slot away.
    pub fn remove(&mut self, slot: u32) {
        let Some(place) = self.places.get(slot as usize).copied() else {
            return;
        };
        if place == NONE {
            return;
        }
        self.places[slot as usize] = NONE;
        self.heap.swap_remove(place as usize);
        if let Some((_, moved)) = self.heap.get(place as usize) {
            self.places[*moved as usize] = place;
            self.settle(place as usize);
        }
    }

    fn settle(&mut self, place: usize) {
        self.up(place);
        self.down(place);
    }

    fn up(&mut self, mut place: usize) {
        while place > 0 {
            let parent = (place - 1) / 2;
            if self.heap[parent].0 <= self.heap[place].0 {
                return;
            }
            self.swap(parent, place);
            place = parent;
        }
    }

    fn down(&mut self, mut place: usize) {
        loop {
            let left = 2 * place + 1;
            if left >= self.heap.len() {
                return;
            }
            let right = left + 1;
            let least = if right < self.heap.len() && self.heap[right].0 < self.heap[left].0 {
                right
            } else {
                left
            };
            if self.heap[place].0 <= self.heap[least].0 {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.places[self.heap[a].1 as usize] = a as u32;
        self.places[self.heap[b].1 as usize] = b as u32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_slots_come_in_the_order_of_their_deadlines() {
        let mut deadlines = Deadlines::with_capacity(8);
        for (slot, at) in [(0, 50), (1, 20), (2, 40), (3, 10), (4, 30)] {
            deadlines.set(slot, Time(at));
        }
        deadlines.set(1, Time(60));
        deadlines.set(0, Time(5));
        deadlines.remove(2);
        deadlines.remove(2);
        assert_eq!(deadlines.next(), Some(Time(5)));
        let due: Vec<u32> = core::iter::from_fn(|| deadlines.pop_due(Time(45))).collect();
        assert_eq!(due, [0, 3, 4]);
        assert_eq!(deadlines.next(), Some(Time(60)));
    }
}
