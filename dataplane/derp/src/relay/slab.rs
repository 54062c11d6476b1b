//! Items of one kind behind 32-bit indices. Memory is reserved at the start and touched as used;
//! items given back last are used first. Nothing is allocated after `new`.

/// No index.
pub(super) const NONE: u32 = u32::MAX;

/// A bounded set of items.
#[derive(Debug)]
pub(super) struct Slab<T> {
    items: Vec<T>,
    free: Vec<u32>,
    max: u32,
}

impl<T> Slab<T> {
    pub(super) fn new(max: u32) -> Self {
        Self {
            items: Vec::with_capacity(max as usize),
            free: Vec::with_capacity(max as usize),
            max,
        }
    }

    /// Takes a place for `item`; `None` when all are taken.
    #[inline]
    pub(super) fn insert(&mut self, item: T) -> Option<u32> {
        self.insert_with(|_| item)
    }

    /// The same for an item that depends on what was in its place before.
    #[inline]
    pub(super) fn insert_with(&mut self, item: impl FnOnce(Option<&T>) -> T) -> Option<u32> {
        if let Some(index) = self.free.pop() {
            let place = &mut self.items[index as usize];
            *place = item(Some(place));
            return Some(index);
        }
        if self.items.len() >= self.max as usize {
            return None;
        }
        self.items.push(item(None));
        Some(self.items.len() as u32 - 1)
    }

    /// Gives a place back. What is in it stays until it is used again.
    #[inline]
    pub(super) fn remove(&mut self, index: u32) {
        debug_assert!((index as usize) < self.items.len());
        self.free.push(index);
    }

    /// Items in use.
    pub(super) fn len(&self) -> u32 {
        (self.items.len() - self.free.len()) as u32
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() == self.max
    }

    /// Every place that was ever used.
    pub(super) fn places(&self) -> &[T] {
        &self.items
    }
}

impl<T> core::ops::Index<u32> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, index: u32) -> &T {
        &self.items[index as usize]
    }
}

impl<T> core::ops::IndexMut<u32> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, index: u32) -> &mut T {
        &mut self.items[index as usize]
    }
}
