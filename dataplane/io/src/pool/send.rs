//! Send buffers: last in, first out, so that the same few stay in the cache.

use std::io;

use super::{PoolId, Region};

/// A send buffer of the caller's, until it is sent from or recycled.
#[derive(Debug)]
#[must_use = "a send buffer that is not recycled is lost to the driver"]
pub struct SendBuf {
    pool: PoolId,
    index: u16,
}

pub(crate) struct SendPool {
    id: PoolId,
    region: Region,
    buffer_bytes: u32,
    free: Vec<u16>,
}

impl SendPool {
    pub(crate) fn new(count: u16, buffer_bytes: u32) -> io::Result<Self> {
        Ok(Self {
            id: PoolId::next(),
            region: Region::new(usize::from(count) * buffer_bytes as usize)?,
            buffer_bytes,
            free: (0..count).rev().collect(),
        })
    }

    /// Buffers that are free.
    pub(crate) fn free(&self) -> usize {
        self.free.len()
    }

    pub(crate) fn take(&mut self) -> Option<SendBuf> {
        self.free.pop().map(|index| self.taken(index))
    }

    /// The buffer of a send that is over; [`SendBuf::into_index`] made it a number.
    pub(crate) fn taken(&self, index: u16) -> SendBuf {
        SendBuf {
            pool: self.id,
            index,
        }
    }

    /// Whether a buffer is one of this pool's.
    #[inline]
    pub(crate) fn owns(&self, buf: &SendBuf) -> bool {
        buf.pool == self.id
    }

    /// A buffer of this pool came back.
    pub(crate) fn recycle(&mut self, buf: SendBuf) {
        self.free.push(buf.index);
    }

    pub(crate) fn bytes_mut(&mut self, buf: &SendBuf) -> &mut [u8] {
        let (start, len) = self.range(buf);
        self.region.bytes_mut(start, len)
    }

    pub(crate) fn bytes(&self, buf: &SendBuf) -> &[u8] {
        let (start, len) = self.range(buf);
        self.region.bytes(start, len)
    }

    /// Start and length of a buffer; nothing of another pool's.
    #[inline]
    fn range(&self, buf: &SendBuf) -> (usize, usize) {
        if !self.owns(buf) {
            return (0, 0);
        }
        let len = self.buffer_bytes as usize;
        (usize::from(buf.index) * len, len)
    }

    /// See [`Region::leak`].
    pub(crate) fn leak(&mut self) {
        self.region.leak();
    }
}

impl SendBuf {
    /// The number that a request to the kernel carries; [`SendPool::taken`] undoes it.
    pub(crate) fn into_index(self) -> u16 {
        self.index
    }
}
