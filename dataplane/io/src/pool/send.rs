//! Send buffers: last in, first out, so that the same few stay in the cache.

use std::io;

use super::Region;

/// A send buffer of the caller's, until it is sent from or recycled.
#[derive(Debug)]
#[must_use = "a send buffer that is not recycled is lost to the driver"]
pub struct SendBuf {
    index: u16,
}

pub(crate) struct SendPool {
    region: Region,
    buffer_bytes: u32,
    free: Vec<u16>,
}

impl SendPool {
    pub(crate) fn new(count: u16, buffer_bytes: u32) -> io::Result<Self> {
        Ok(Self {
            region: Region::new(usize::from(count) * buffer_bytes as usize)?,
            buffer_bytes,
            free: (0..count).rev().collect(),
        })
    }

    pub(crate) fn take(&mut self) -> Option<SendBuf> {
        self.free.pop().map(|index| SendBuf { index })
    }

    pub(crate) fn recycle(&mut self, buf: SendBuf) {
        self.free.push(buf.index);
    }

    pub(crate) fn bytes_mut(&mut self, buf: &SendBuf) -> &mut [u8] {
        let len = self.buffer_bytes as usize;
        self.region.bytes_mut(usize::from(buf.index) * len, len)
    }

    pub(crate) fn bytes(&self, buf: &SendBuf) -> &[u8] {
        let len = self.buffer_bytes as usize;
        self.region.bytes(usize::from(buf.index) * len, len)
    }

    /// See [`Region::leak`].
    pub(crate) fn leak(&mut self) {
        self.region.leak();
    }
}

impl SendBuf {
    /// Splits into the number that a kernel request carries; [`Self::from_index`] undoes it.
    pub(crate) fn into_index(self) -> u16 {
        self.index
    }

    pub(crate) fn from_index(index: u16) -> Self {
        Self { index }
    }
}
