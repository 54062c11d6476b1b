//! What of io_uring the driver uses beyond its oldest base, as a set of bits.
//!
//! Each bit is asked for, probed, and then in effect or not; an operator may mask bits off (a
//! kernel with a bug, a measurement). Not here: how they are probed (`uring::ring`, `probe`).

use core::fmt;

/// A set of io_uring features newer than the base of Linux 5.11.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Features(u32);

impl Features {
    /// `IORING_SETUP_COOP_TASKRUN` (5.19): no inter-processor interrupt for a completion.
    pub const COOP_TASKRUN: Self = Self(1);
    /// `IORING_SETUP_SINGLE_ISSUER` (6.0): the kernel may rely on one submitting thread.
    pub const SINGLE_ISSUER: Self = Self(1 << 1);
    /// `IORING_SETUP_DEFER_TASKRUN` (6.1): completions run only when the owner enters; needs
    /// `SINGLE_ISSUER`.
    pub const DEFER_TASKRUN: Self = Self(1 << 2);
    /// `IORING_SETUP_NO_SQARRAY` (6.6): one indirection less in a submission.
    pub const NO_SQARRAY: Self = Self(1 << 3);
    /// `IORING_REGISTER_RING_FDS` (5.18): no descriptor lookup in `io_uring_enter`.
    pub const REGISTERED_RING: Self = Self(1 << 4);
    /// `IORING_ENTER_NO_IOWAIT` (6.15): a sleeping driver does not show as I/O wait.
    pub const NO_IOWAIT: Self = Self(1 << 5);
    /// `IORING_REGISTER_PBUF_RING` (5.19): buffers are given back without a submission.
    pub const BUFFER_RING: Self = Self(1 << 6);
    /// `IOU_PBUF_RING_INC` (6.12): small receives share a buffer; needs `BUFFER_RING`.
    pub const INCREMENTAL: Self = Self(1 << 7);
    /// `IORING_RECV_MULTISHOT` (6.0): one receive request serves a socket for its life.
    pub const MULTISHOT_RECV: Self = Self(1 << 8);
    /// `IORING_REGISTER_RESTRICTIONS` (5.10): the ring takes only the operations that this crate
    /// uses.
    pub const RESTRICTIONS: Self = Self(1 << 9);

    /// `IORING_OP_READ_MULTISHOT` (6.7): one read request serves a TUN queue for its life. Of the
    /// packet driver only.
    pub const MULTISHOT_READ: Self = Self(1 << 10);

    const NAMES: [(Self, &'static str); 11] = [
        (Self::COOP_TASKRUN, "coop-taskrun"),
        (Self::SINGLE_ISSUER, "single-issuer"),
        (Self::DEFER_TASKRUN, "defer-taskrun"),
        (Self::NO_SQARRAY, "no-sqarray"),
        (Self::REGISTERED_RING, "registered-ring"),
        (Self::NO_IOWAIT, "no-iowait"),
        (Self::BUFFER_RING, "buffer-ring"),
        (Self::INCREMENTAL, "incremental"),
        (Self::MULTISHOT_RECV, "multishot-recv"),
        (Self::RESTRICTIONS, "restrictions"),
        (Self::MULTISHOT_READ, "multishot-read"),
    ];

    /// Every feature that this crate knows.
    #[must_use]
    pub const fn all() -> Self {
        Self((1 << Self::NAMES.len()) - 1)
    }

    /// Nothing beyond the base: single-shot receives, buffers provided one submission at a time.
    #[must_use]
    pub const fn none() -> Self {
        Self(0)
    }

    /// Whether every bit of `other` is in `self`.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits of either.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The bits of `self` that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The bits of both.
    #[must_use]
    pub const fn intersection(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The feature of that name, as `Display` writes it.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(bit, _)| *bit)
    }

    /// The names of the bits in the set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES
            .iter()
            .filter(move |(bit, _)| self.contains(*bit))
            .map(|(_, name)| *name)
    }

    /// Drops every bit whose own requirement is missing from the set.
    #[must_use]
    pub const fn consistent(self) -> Self {
        let mut set = self;
        if !set.contains(Self::SINGLE_ISSUER) {
            set = set.without(Self::DEFER_TASKRUN);
        }
        if !set.contains(Self::BUFFER_RING) {
            set = set.without(Self::INCREMENTAL);
        }
        set
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for name in self.names() {
            write!(f, "{separator}{name}")?;
            separator = ",";
        }
        if separator.is_empty() {
            f.write_str("none")
        } else {
            Ok(())
        }
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Features({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_a_name_that_finds_it() {
        assert_eq!(Features::all().names().count(), Features::NAMES.len());
        for name in Features::all().names() {
            let bit = Features::by_name(name).unwrap();
            assert_eq!(bit.names().collect::<Vec<_>>(), [name]);
        }
        assert_eq!(Features::by_name("telepathy"), None);
    }

    #[test]
    fn a_feature_without_its_requirement_is_dropped() {
        let asked = Features::all()
            .without(Features::SINGLE_ISSUER)
            .without(Features::BUFFER_RING);
        let kept = asked.consistent();
        assert!(!kept.contains(Features::DEFER_TASKRUN));
        assert!(!kept.contains(Features::INCREMENTAL));
        assert!(kept.contains(Features::MULTISHOT_RECV));
    }

    #[test]
    fn sets_print_as_lists() {
        assert_eq!(Features::none().to_string(), "none");
        let two = Features::COOP_TASKRUN.with(Features::MULTISHOT_RECV);
        assert_eq!(two.to_string(), "coop-taskrun,multishot-recv");
    }
}
