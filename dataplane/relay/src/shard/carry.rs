//! Partial TLS records between two receives.
//!
//! A receive may end in the middle of a record. Its start is carried here until the rest arrives, and the whole record is
//! opened here. A connection between records holds nothing. Buffers grow with the bytes that really arrived, are kept for
//! the next user, and stay valid until the end of the turn in which their record was opened, because packets in it are
//! queued by reference.

/// A carry buffer in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CarryId(pub(super) u32);

#[derive(Default)]
pub(super) struct Carries {
    buffers: Vec<Vec<u8>>,
    free: Vec<CarryId>,
    opened: Vec<CarryId>,
}

impl Carries {
    /// An empty buffer.
    pub(super) fn take(&mut self) -> CarryId {
        self.free.pop().unwrap_or_else(|| {
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
        self.free.push(id);
    }

    /// The turn is over: nothing refers to opened records any more.
    pub(super) fn end_turn(&mut self) {
        while let Some(id) = self.opened.pop() {
            self.release(id);
        }
    }
}
