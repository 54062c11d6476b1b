//! Buffers: one region of lazily touched memory per direction, cut into equal buffers.
//!
//! A handle ([`RecvBuf`], [`SendBuf`]) is linear: it cannot be copied, and what it names is unused
//! until it is given back.

mod recv;
mod region;
mod send;

pub use recv::{Received, RecvBuf};
pub use send::SendBuf;

pub(crate) use recv::RecvPool;
pub(crate) use region::Region;
pub(crate) use send::SendPool;
