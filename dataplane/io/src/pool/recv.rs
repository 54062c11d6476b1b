//! Receive buffers and the slices of them that callers hold.
//!
//! One buffer may carry several receives, of several sockets, one behind the other. It is free
//! again when its filler (the kernel, or the epoll twin) is done with it and every slice of it came
//! back.

use std::io;

use super::{PoolId, Region};
use crate::DriverConfig;

/// Buffers of the configuration that are joined into one to be shared.
const JOINED: u16 = 4;

/// Received bytes: a slice of a receive buffer, the caller's until [`crate::Driver::recycle`].
#[derive(Debug)]
#[must_use = "a receive buffer that is not recycled is lost to the driver"]
pub struct RecvBuf {
    pool: PoolId,
    offset: u32,
    len: u32,
    buffer: u16,
}

impl RecvBuf {
    /// Bytes received; never 0.
    #[expect(
        clippy::len_without_is_empty,
        reason = "a receive buffer is never empty"
    )]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len as usize
    }
}

/// A shared view of all received bytes, to read several buffers while a send buffer is written.
#[derive(Clone, Copy)]
pub struct Received<'a> {
    pool: &'a RecvPool,
}

impl<'a> Received<'a> {
    /// The bytes of a received buffer; none of another driver's.
    #[must_use]
    pub fn bytes(&self, buf: &RecvBuf) -> &'a [u8] {
        let (start, len) = self.pool.range(buf);
        self.pool.region.bytes(start, len)
    }
}

#[derive(Clone, Copy, Default)]
struct Buffer {
    /// Bytes filled so far.
    filled: u32,
    /// Slices that callers hold.
    held: u32,
    /// The filler is done with it.
    retired: bool,
}

pub(crate) struct RecvPool {
    id: PoolId,
    region: Region,
    buffer_bytes: u32,
    buffers: Box<[Buffer]>,
}

impl RecvPool {
    pub(crate) fn new(count: u16, buffer_bytes: u32) -> io::Result<Self> {
        Ok(Self {
            id: PoolId::next(),
            region: Region::new(usize::from(count) * buffer_bytes as usize)?,
            buffer_bytes,
            buffers: vec![Buffer::default(); usize::from(count)].into_boxed_slice(),
        })
    }

    /// Where several receives share a buffer, a few large ones serve better than many: fewer
    /// receives are cut short at the end of one (3 % of the time of a forwarded packet).
    pub(crate) fn for_sharing(config: &DriverConfig, shared: bool) -> io::Result<Self> {
        let joined = if shared && config.recv_buffers >= 8 * JOINED {
            JOINED
        } else {
            1
        };
        Self::new(
            config.recv_buffers / joined,
            config.recv_buffer_bytes * u32::from(joined),
        )
    }

    pub(crate) fn count(&self) -> u16 {
        self.buffers.len() as u16
    }

    pub(crate) fn buffer_bytes(&self) -> u32 {
        self.buffer_bytes
    }

    /// Where the filler may write: from the filled part to the end.
    pub(crate) fn spare(&self, buffer: u16) -> (*mut u8, u32) {
        let filled = self.buffers[usize::from(buffer)].filled;
        let len = self.buffer_bytes - filled;
        let offset = usize::from(buffer) * self.buffer_bytes as usize + filled as usize;
        (self.region.at(offset, len as usize), len)
    }

    /// The filler put `len` more bytes into a buffer, and is done with it when `retire`.
    ///
    /// # Panics
    /// When the kernel claims to have written past the end of a buffer: memory would be corrupt
    /// already.
    pub(crate) fn filled(&mut self, buffer: u16, len: u32, retire: bool) -> RecvBuf {
        let state = &mut self.buffers[usize::from(buffer)];
        let offset = state.filled;
        assert!(
            len <= self.buffer_bytes - offset,
            "more bytes than the buffer had room for"
        );
        state.filled += len;
        state.held += 1;
        state.retired |= retire;
        RecvBuf {
            pool: self.id,
            offset,
            len,
            buffer,
        }
    }

    /// The filler put `len` bytes behind the first `start` of an empty buffer, and is done with it.
    ///
    /// # Panics
    /// As for [`Self::filled`].
    pub(crate) fn filled_behind(&mut self, buffer: u16, start: u32, len: u32) -> RecvBuf {
        self.buffers[usize::from(buffer)].filled = start;
        self.filled(buffer, len, true)
    }

    /// The first `len` bytes of a buffer that the filler is done with and nobody holds.
    pub(crate) fn head(&self, buffer: u16, len: usize) -> &[u8] {
        let start = usize::from(buffer) * self.buffer_bytes as usize;
        self.region.bytes(start, len)
    }

    /// Lets a filler that is not done start over, when nobody holds a slice of its buffer.
    pub(crate) fn rewind(&mut self, buffer: u16) {
        let state = &mut self.buffers[usize::from(buffer)];
        if state.held == 0 {
            state.filled = 0;
        }
    }

    /// The filler is done with a buffer. True when it is free.
    pub(crate) fn retire(&mut self, buffer: u16) -> bool {
        self.buffers[usize::from(buffer)].retired = true;
        self.reset_if_free(buffer)
    }

    /// Whether a slice is one of this pool's.
    #[inline]
    pub(crate) fn owns(&self, buf: &RecvBuf) -> bool {
        buf.pool == self.id
    }

    /// A slice of this pool came back. The buffer when this made it free.
    pub(crate) fn recycle(&mut self, buf: RecvBuf) -> Option<u16> {
        let state = &mut self.buffers[usize::from(buf.buffer)];
        debug_assert!(state.held > 0, "a slice of a buffer that has none");
        state.held -= 1;
        self.reset_if_free(buf.buffer).then_some(buf.buffer)
    }

    pub(crate) fn bytes_mut(&mut self, buf: &RecvBuf) -> &mut [u8] {
        let (start, len) = self.range(buf);
        self.region.bytes_mut(start, len)
    }

    pub(crate) fn view(&self) -> Received<'_> {
        Received { pool: self }
    }

    /// See [`Region::leak`].
    pub(crate) fn leak(&mut self) {
        self.region.leak();
    }

    /// Start and length of a slice; nothing of another pool's.
    #[inline]
    fn range(&self, buf: &RecvBuf) -> (usize, usize) {
        if !self.owns(buf) {
            return (0, 0);
        }
        let start = usize::from(buf.buffer) * self.buffer_bytes as usize + buf.offset as usize;
        (start, buf.len())
    }

    fn reset_if_free(&mut self, buffer: u16) -> bool {
        let state = &mut self.buffers[usize::from(buffer)];
        let free = state.retired && state.held == 0;
        if free {
            *state = Buffer::default();
        }
        free
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shared_buffer_is_free_when_its_filler_and_all_holders_are_done() {
        let mut pool = RecvPool::new(2, 4096).unwrap();
        let first = pool.filled(1, 1000, false);
        let second = pool.filled(1, 3096, true);
        assert_eq!(pool.spare(1).1, 0);
        pool.bytes_mut(&second).fill(7);
        assert!(pool.view().bytes(&first).iter().all(|byte| *byte == 0));
        assert_eq!(pool.recycle(first), None);
        assert_eq!(pool.recycle(second), Some(1));
        assert_eq!(pool.spare(1).1, 4096);
    }

    #[test]
    fn a_buffer_whose_slices_came_back_waits_for_its_filler() {
        let mut pool = RecvPool::new(1, 4096).unwrap();
        let slice = pool.filled(0, 10, false);
        assert_eq!(pool.recycle(slice), None);
        assert!(pool.retire(0));
    }
}
