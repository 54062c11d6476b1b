//! Buffers: one region of lazily touched memory per direction, cut into equal buffers.
//!
//! A handle ([`RecvBuf`], [`SendBuf`]) is linear: it cannot be copied, and what it names is unused
//! until it is given back. It names its pool too: elsewhere it would name memory that the kernel or
//! another caller writes to.

mod recv;
mod region;
mod send;

use core::sync::atomic::{AtomicU32, Ordering};

pub use recv::{Received, RecvBuf};
pub use send::SendBuf;

pub(crate) use recv::RecvPool;
pub(crate) use region::Region;
pub(crate) use send::SendPool;

/// Tells a pool from all others of the process (which opens no 2^32 of them).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PoolId(u32);

impl PoolId {
    fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}
