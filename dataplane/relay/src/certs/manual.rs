//! When manual files count as changed. Looking at them and loading them is the caller's.

use super::files::Stamp;

/// Remembers what the files looked like when they were last taken, or refused.
pub(super) struct Watch {
    taken: Stamp,
    last: Stamp,
}

impl Watch {
    /// `stamp` is of the files that are in use.
    pub(super) fn new(stamp: Stamp) -> Self {
        Self {
            taken: stamp.clone(),
            last: stamp,
        }
    }

    /// True once for each change, when both files are there and were the same at two looks: tools
    /// write the certificate and the key one after the other, and half of a change is no pair.
    pub(super) fn look(&mut self, stamp: Stamp) -> bool {
        let settled = stamp == self.last;
        self.last = stamp;
        let changed = settled && self.last != self.taken && self.last.is_whole();
        if changed {
            self.taken = self.last.clone();
        }
        changed
    }
}
