//! What the io_uring driver remembers of a socket: 32 bytes.

use std::io;
use std::os::fd::OwnedFd;

pub(crate) struct Socket {
    pub(crate) token: u64,
    pub(crate) fd: OwnedFd,
    pub(crate) flags: Flags,
    /// The buffer of the send in flight.
    pub(crate) send_buf: u16,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd, token: u64) -> Self {
        Self {
            token,
            fd,
            flags: Flags(0),
            send_buf: 0,
        }
    }

    /// One send at a time: a second one in the same submission would follow the first even if that was cut short.
    pub(crate) fn refuses_send(&self) -> Option<io::ErrorKind> {
        if self.flags.intersects(Flags::CLOSING) {
            Some(io::ErrorKind::NotConnected)
        } else if self.flags.intersects(Flags::SEND) {
            Some(io::ErrorKind::InvalidInput)
        } else {
            None
        }
    }
}

/// Requests in flight, and what the owner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flags(u16);

impl Flags {
    pub(crate) const RECV: Self = Self(1);
    pub(crate) const SEND: Self = Self(1 << 1);
    pub(crate) const POLL: Self = Self(1 << 2);
    pub(crate) const CANCEL_RECV: Self = Self(1 << 3);
    pub(crate) const CANCEL_POLL: Self = Self(1 << 4);
    /// The owner wants no receives for now.
    pub(crate) const PAUSED: Self = Self(1 << 5);
    /// In the list of sockets that wait for a receive buffer.
    pub(crate) const STARVED: Self = Self(1 << 6);
    /// Nothing more will be received.
    pub(crate) const ENDED: Self = Self(1 << 7);
    pub(crate) const CLOSING: Self = Self(1 << 8);

    /// With one of these the kernel still has a request of the socket.
    pub(crate) const IN_FLIGHT: Self = Self(
        Self::RECV.0 | Self::SEND.0 | Self::POLL.0 | Self::CANCEL_RECV.0 | Self::CANCEL_POLL.0,
    );
    /// With one of these no receive is to be armed. A cancellation on its way would hit the new receive.
    pub(crate) const KEEPS_FROM_RECV: Self = Self(
        Self::RECV.0
            | Self::CANCEL_RECV.0
            | Self::PAUSED.0
            | Self::STARVED.0
            | Self::ENDED.0
            | Self::CLOSING.0,
    );

    pub(crate) fn insert(&mut self, other: Self) {
        self.0 |= other.0;
    }

    pub(crate) fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    pub(crate) fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl core::ops::BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}
