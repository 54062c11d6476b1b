//! How long the body of a frame may be: said once by each frame that bounds it, for whoever has only the
//! header yet as well as for `parse`.

/// The least and the most bytes of a body, both allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyBytes {
    /// The least.
    pub min: usize,
    /// The most.
    pub max: usize,
}

impl BodyBytes {
    pub(super) const fn exactly(bytes: usize) -> Self {
        Self {
            min: bytes,
            max: bytes,
        }
    }

    /// Fixed fields of `fixed` bytes, then a packet.
    pub(super) const fn packet_after(fixed: usize) -> Self {
        Self {
            min: fixed,
            max: fixed + crate::limits::PACKET_BYTES_MAX,
        }
    }

    /// Whether a body of `len` bytes may be.
    #[must_use]
    #[inline]
    pub const fn allow(self, len: usize) -> bool {
        self.min <= len && len <= self.max
    }
}
