//! What the io_uring driver remembers of a socket: 32 bytes.

use std::os::fd::OwnedFd;

use crate::cadence::Cadence;
use crate::flags::Flags;

pub(crate) struct Socket {
    pub(crate) token: u64,
    pub(crate) fd: OwnedFd,
    pub(crate) flags: Flags,
    /// The buffer of the send in flight.
    pub(crate) send_buf: u16,
    pub(crate) cadence: Cadence,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd, token: u64) -> Self {
        Self {
            token,
            fd,
            flags: Flags::default(),
            send_buf: 0,
            cadence: Cadence::default(),
        }
    }
}

// Requests that the kernel has.
pub(crate) const RECV: Flags = Flags::bit(0);
pub(crate) const SEND: Flags = Flags::bit(1);
pub(crate) const POLL: Flags = Flags::bit(2);
pub(crate) const CANCEL_RECV: Flags = Flags::bit(3);
pub(crate) const CANCEL_POLL: Flags = Flags::bit(4);
/// The owner wants no receives for now.
pub(crate) const PAUSED: Flags = Flags::bit(5);
/// In the list of sockets that wait for a receive buffer.
pub(crate) const STARVED: Flags = Flags::bit(6);
/// Nothing more will be received.
pub(crate) const ENDED: Flags = Flags::bit(7);
/// The owner is through with the socket.
pub(crate) const CLOSING: Flags = Flags::bit(8);
/// The owner wants little at a time.
pub(crate) const MEASURED: Flags = Flags::bit(9);
/// Received from at intervals.
pub(crate) const TIMED: Flags = Flags::bit(10);

/// With one of these the kernel still has a request of the socket.
pub(crate) const IN_FLIGHT: Flags = RECV.or(SEND).or(POLL).or(CANCEL_RECV).or(CANCEL_POLL);
/// With one of these no receive is to be armed. A cancellation on its way would hit the new one.
pub(crate) const KEEPS_FROM_RECV: Flags = KEEPS_FROM_FETCH.or(TIMED);
/// With one of these a timed socket is passed over.
pub(crate) const KEEPS_FROM_FETCH: Flags = RECV
    .or(CANCEL_RECV)
    .or(PAUSED)
    .or(STARVED)
    .or(ENDED)
    .or(CLOSING);
