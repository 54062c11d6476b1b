//! Memory that belongs to the caller: receive buffers, which packets are read from while the turn
//! lasts, and the buffer that frames are written to.

/// A receive buffer of the caller, valid from `handle_bytes` until `settle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BufferId(pub u32);

/// The caller's receive buffers.
pub trait Buffers {
    /// The whole buffer, as it was when its bytes were handed to `handle_bytes`.
    fn bytes(&self, buffer: BufferId) -> &[u8];
}

/// The room that `write_frames` fills: the plaintext of one TLS record, for instance.
#[derive(Debug)]
pub struct FrameBuf<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

/// Every frame that must not be split fits into a `FrameBuf` of this size.
pub const FRAME_BUF_BYTES_MIN: usize = 512;

impl<'a> FrameBuf<'a> {
    /// An empty buffer of at least `FRAME_BUF_BYTES_MIN` bytes.
    #[must_use]
    pub const fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes, len: 0 }
    }

    /// Bytes written.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes left.
    #[must_use]
    pub const fn room(&self) -> usize {
        self.bytes.len() - self.len
    }

    /// What was written.
    #[must_use]
    pub fn written(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Appends as much of `bytes` as there is room for; returns how much that was.
    #[inline]
    pub(super) fn put(&mut self, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room());
        self.bytes[self.len..self.len + n].copy_from_slice(&bytes[..n]);
        self.len += n;
        n
    }
}
