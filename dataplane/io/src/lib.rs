//! Rings, buffers and sockets: the io_uring driver and its epoll twin behind one interface, and
//! small helpers around system calls. Knows bytes and sockets, nothing of what they mean.
//!
//! [`Driver`] is the way in for streams, [`packet::PacketDriver`] for packets between a TUN queue
//! and UDP sockets. It is the only crate of the data plane that may use `unsafe`, for
//! system calls and for the memory they share with us.

mod cadence;
mod completion;
mod config;
mod driver;
mod epoll;
mod error;
mod features;
mod flags;
pub mod host;
pub mod link;
mod pace;
pub mod packet;
mod pool;
mod probe;
mod slab;
pub mod socket;
mod stats;
pub mod tun;
pub mod udp;
mod uring;
mod waker;

pub use completion::Completion;
pub use config::{DriverConfig, DriverKind, MEASURED_BYTES};
pub use driver::Driver;
pub use error::DriverError;
pub use features::Features;
pub use pool::{Received, RecvBuf, SendBuf};
pub use probe::{Capabilities, probe};
pub use slab::SocketId;
pub use stats::DriverStats;
pub use waker::Waker;
