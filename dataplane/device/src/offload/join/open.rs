//! The joins to which packets may still be added, one for a flow.

use super::flow::{Addresses, Flow};
use crate::offload::limits::OPEN_JOINS_MAX;

/// A small table, searched by hash; a flow that finds no room takes another one's, which only starts a new join.
#[derive(Debug)]
pub(super) struct OpenJoins {
    hashes: [u32; OPEN_JOINS_MAX],
    entries: Vec<(Flow, usize)>,
    /// Whose turn it is to be forgotten.
    turn: usize,
}

/// A place in the table, until it is changed.
#[derive(Clone, Copy)]
pub(super) struct Slot(usize);

impl Default for OpenJoins {
    fn default() -> Self {
        Self {
            hashes: [0; OPEN_JOINS_MAX],
            entries: Vec::with_capacity(OPEN_JOINS_MAX),
            turn: 0,
        }
    }
}

impl OpenJoins {
    /// The open join of a flow.
    pub(super) fn find(&self, flow: &Flow) -> Option<Slot> {
        let hash = flow.hash();
        let matches = self
            .hashes
            .iter()
            .zip(&self.entries)
            .position(|(candidate, (open, _))| *candidate == hash && open == flow);
        matches.map(Slot)
    }

    /// The item that is open there.
    pub(super) fn item(&self, slot: Slot) -> usize {
        self.entries[slot.0].1
    }

    /// Opens the join of a flow that has none.
    pub(super) fn insert(&mut self, flow: Flow, item: usize) {
        let slot = if self.entries.len() < OPEN_JOINS_MAX {
            self.entries.push((flow, item));
            self.entries.len() - 1
        } else {
            self.turn = (self.turn + 1) % OPEN_JOINS_MAX;
            self.entries[self.turn] = (flow, item);
            self.turn
        };
        self.hashes[slot] = flow.hash();
    }

    /// Closes the join there.
    pub(super) fn close(&mut self, slot: Slot) {
        self.entries.swap_remove(slot.0);
        self.hashes[slot.0] = self.hashes[self.entries.len()];
    }

    /// Closes every join between two addresses.
    pub(super) fn close_between(&mut self, addresses: &Addresses) {
        for index in (0..self.entries.len()).rev() {
            if self.entries[index].0.addresses() == addresses {
                self.close(Slot(index));
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }
}
