//! What a change of the allowed keys means for clients that were admitted before it.
//!
//! A client may be on its way from its verdict to its shard while the file is read again, so each shard keeps the keys that
//! it was told last, and looks up in them who was decided on before.

use std::collections::HashSet;
use std::sync::Arc;

use towline_wire::NodePublic;

/// How often the allowed keys had been read again when something was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Generation(pub(super) u64);

/// The keys of a file that alone decides.
#[derive(Clone, Debug)]
pub(crate) struct AllowedKeys {
    /// Decisions of this generation and later ones know of them.
    pub(super) generation: Generation,
    pub(super) keys: Arc<HashSet<NodePublic>>,
}

impl AllowedKeys {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn allow(&self, key: &NodePublic) -> bool {
        self.keys.contains(key)
    }

    /// Whether a client that was let in at `decided` has lost that right.
    pub(crate) fn overrule(&self, decided: Generation, key: &NodePublic) -> bool {
        decided < self.generation && !self.allow(key)
    }

    #[cfg(test)]
    pub(crate) fn of(generation: u64, keys: impl IntoIterator<Item = NodePublic>) -> Self {
        Self {
            generation: Generation(generation),
            keys: Arc::new(keys.into_iter().collect()),
        }
    }
}

#[cfg(test)]
impl Generation {
    pub(crate) const fn of(number: u64) -> Self {
        Self(number)
    }
}
