//! Packets between one queue of a TUN device and up to two UDP sockets: the packet driver, sibling
//! of the stream [`crate::Driver`].
//!
//! It moves super-packets: a TUN read of up to 64 KiB with its vnet header, a GRO train of
//! datagrams, a GSO train to send. What is in them is the owner's business.

mod address;
mod arrival;
mod config;
mod control;
mod driver;
mod epoll;
mod incoming;
mod outbox;
mod outgoing;
mod rescue;
mod shared;
mod sockets;
mod stats;
mod sys;
mod tun_queue;
mod uring;

pub use arrival::{Arrival, Family, Local, Piece};
pub use config::{PIECES_MAX, PacketConfig, SEGMENTS_MAX, SEND_BYTES_MAX, VNET_HEADER_BYTES};
pub use driver::{PacketDriver, probe};
pub use stats::PacketStats;

/// What stands before a datagram in its receive buffer, at most.
const RECV_HEAD_BYTES: usize = 192;
