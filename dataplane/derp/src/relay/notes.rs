//! Short notices that wait for a connection and are not regenerated from elsewhere: peers that are not
//! here, and changes of presence on their way to a watcher.

use towline_wire::NodePublic;

use super::ShardId;
use super::message::Presence;
use super::slab::{NONE, Slab};

#[derive(Debug, Clone, Copy)]
pub(super) enum Note {
    /// Nobody has the key that a disco packet was for.
    NotHere(NodePublic),
    /// A key came or went, says the shard that owns it; it wants to know when this is written.
    Presence(Presence, ShardId),
}

/// One connection's notices.
#[derive(Debug, Clone, Copy)]
pub(super) struct NoteList {
    first: u32,
    last: u32,
    pub(super) count: u32,
}

impl NoteList {
    pub(super) const EMPTY: Self = Self {
        first: NONE,
        last: NONE,
        count: 0,
    };

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.first == NONE
    }
}

/// The notices of all connections.
#[derive(Debug)]
pub(super) struct Notes {
    notes: Slab<(Note, u32)>,
}

impl Notes {
    pub(super) fn new(max: u32) -> Self {
        Self {
            notes: Slab::new(max),
        }
    }

    pub(super) fn len(&self) -> u32 {
        self.notes.len()
    }

    /// Appends a notice; false when there is no room.
    pub(super) fn push(&mut self, list: &mut NoteList, note: Note) -> bool {
        let Some(index) = self.notes.insert((note, NONE)) else {
            return false;
        };
        if list.last == NONE {
            list.first = index;
        } else {
            self.notes[list.last].1 = index;
        }
        list.last = index;
        list.count += 1;
        true
    }

    pub(super) fn first(&self, list: &NoteList) -> Option<Note> {
        (list.first != NONE).then(|| self.notes[list.first].0)
    }

    pub(super) fn remove_first(&mut self, list: &mut NoteList) {
        if list.first == NONE {
            return;
        }
        let next = self.notes[list.first].1;
        self.notes.remove(list.first);
        list.first = next;
        if next == NONE {
            list.last = NONE;
        }
        list.count -= 1;
    }

    pub(super) fn clear(&mut self, list: &mut NoteList) {
        while !list.is_empty() {
            self.remove_first(list);
        }
    }
}
