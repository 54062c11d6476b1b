//! Sockets by number. A slot that is used again has a new generation, so an old id finds nothing.

/// Names a socket of one driver until its `Closed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SocketId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// Generations are this wide, because they travel in the 64 bits of `user_data` with slot and
/// operation.
pub(crate) const GENERATION_BITS: u32 = 24;

struct Entry<T> {
    generation: u32,
    /// Of the free list, while there is no value.
    next_free: u32,
    value: Option<T>,
}

/// A slab with a fixed bound. Its memory is reserved at once and touched as it fills.
pub(crate) struct Slab<T> {
    entries: Vec<Entry<T>>,
    free: u32,
    live: u32,
    max: u32,
}

const END: u32 = u32::MAX;

impl<T> Slab<T> {
    /// Memory of one value and its slot.
    pub(crate) const ENTRY_BYTES: usize = size_of::<Entry<T>>();

    pub(crate) fn new(max: u32) -> Self {
        Self {
            entries: Vec::with_capacity(max as usize),
            free: END,
            live: 0,
            max,
        }
    }

    pub(crate) fn len(&self) -> u32 {
        self.live
    }

    /// The id is known before the value is made, so the value may hold it. `None` when the slab is
    /// full.
    pub(crate) fn insert(&mut self, value: T) -> Option<SocketId> {
        let slot = self.free;
        if slot == END {
            let slot = self.entries.len() as u32;
            if slot >= self.max {
                return None;
            }
            self.entries.push(Entry {
                generation: 0,
                next_free: END,
                value: Some(value),
            });
            self.live += 1;
            return Some(SocketId {
                slot,
                generation: 0,
            });
        }
        let entry = &mut self.entries[slot as usize];
        self.free = entry.next_free;
        entry.value = Some(value);
        self.live += 1;
        Some(SocketId {
            slot,
            generation: entry.generation,
        })
    }

    pub(crate) fn get_mut(&mut self, id: SocketId) -> Option<&mut T> {
        let entry = self.entries.get_mut(id.slot as usize)?;
        if entry.generation == id.generation {
            entry.value.as_mut()
        } else {
            None
        }
    }

    pub(crate) fn remove(&mut self, id: SocketId) -> Option<T> {
        let entry = self.entries.get_mut(id.slot as usize)?;
        if entry.generation != id.generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = (entry.generation + 1) & ((1 << GENERATION_BITS) - 1);
        entry.next_free = self.free;
        self.free = id.slot;
        self.live -= 1;
        Some(value)
    }

    /// The ids of all values, for the end of a driver.
    pub(crate) fn ids(&self) -> impl Iterator<Item = SocketId> {
        self.entries
            .iter()
            .enumerate()
            .filter(|(_, entry)| entry.value.is_some())
            .map(|(slot, entry)| SocketId {
                slot: slot as u32,
                generation: entry.generation,
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_id_finds_nothing_after_reuse() {
        let mut slab = Slab::new(2);
        let first = slab.insert("first").unwrap();
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second").unwrap();
        assert_eq!(second.slot, first.slot);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "second"));
    }

    #[test]
    fn a_full_slab_refuses_and_recovers() {
        let mut slab = Slab::new(2);
        let a = slab.insert(1).unwrap();
        let b = slab.insert(2).unwrap();
        assert_eq!(slab.insert(3), None);
        slab.remove(a);
        assert!(slab.insert(4).is_some());
        assert_eq!(slab.len(), 2);
        assert_eq!(slab.get_mut(b), Some(&mut 2));
    }
}
