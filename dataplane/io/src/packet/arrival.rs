//! What a packet driver reports, and the small types that go with it.

use std::net::{IpAddr, SocketAddr};

use crate::RecvBuf;

/// Which of the two sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Of an address.
    #[must_use]
    pub fn of(address: &SocketAddr) -> Self {
        match address {
            SocketAddr::V4(_) => Self::V4,
            SocketAddr::V6(_) => Self::V6,
        }
    }
}

/// Our end of a datagram: what was reached, and so what an answer is to leave from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Local {
    /// One of this host's addresses.
    pub address: IpAddr,
    /// Index of the interface; 0 in a send: whichever the routes say.
    pub interface: u32,
}

/// A part of a held receive buffer, for [`crate::packet::PacketDriver::write_tun`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Index into the held buffers of the call.
    pub buffer: u32,
    /// Of the first byte in that buffer.
    pub start: u32,
    /// Bytes.
    pub len: u32,
}

/// One thing that happened. Every buffer must come back through
/// [`crate::packet::PacketDriver::recycle`].
#[derive(Debug)]
pub enum Arrival {
    /// One read of the TUN queue: vnet header and packet (with its offloads a super-packet of up to
    /// 64 KiB).
    Tun {
        /// Where they lie.
        buf: RecvBuf,
    },
    /// One receive of a UDP socket: one datagram, or with GRO several of the same sender, one
    /// behind the other, never empty.
    Datagrams {
        /// Where they lie.
        buf: RecvBuf,
        /// Who sent them.
        from: SocketAddr,
        /// Where they came in.
        local: Option<Local>,
        /// Bytes of each datagram; the last may be shorter.
        segment_bytes: usize,
        /// The two ECN bits of the outer header.
        ecn: u8,
    },
    /// A send from a local address failed, and succeeded without it: the address is no longer ours
    /// (or leads nowhere), the owner should forget it.
    SourceGone {
        /// Where the send went.
        to: SocketAddr,
    },
    /// The interface was deleted. Comes once; nothing is read or written any more.
    TunGone,
    /// A [`crate::Waker`] was used, once or more, since the last `Woken`.
    Woken,
}
