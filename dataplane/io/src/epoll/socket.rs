//! What the epoll driver remembers of a socket: 32 bytes.

use std::os::fd::OwnedFd;

use crate::flags::Flags;

pub(crate) struct Socket {
    pub(crate) token: u64,
    /// The turn of the last send: its completion is under way until the next turn.
    pub(crate) sent_turn: u64,
    pub(crate) fd: OwnedFd,
    pub(crate) flags: Flags,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd, token: u64) -> Self {
        // Writable until a send says otherwise; readable when the first edge says so.
        Self {
            token,
            sent_turn: 0,
            fd,
            flags: WRITABLE,
        }
    }
}

/// There may be something to receive.
pub(crate) const READABLE: Flags = Flags::bit(0);
/// An end or an error is there or behind the bytes: a short receive does not empty the socket.
pub(crate) const HUNG_UP: Flags = Flags::bit(1);
/// No send found the socket full since it last had room.
pub(crate) const WRITABLE: Flags = Flags::bit(2);
/// The owner wants to hear of room.
pub(crate) const NOTIFY: Flags = Flags::bit(3);
/// The owner wants no receives for now.
pub(crate) const PAUSED: Flags = Flags::bit(4);
/// In the list of sockets to receive from.
pub(crate) const QUEUED: Flags = Flags::bit(5);
/// Nothing more will be received.
pub(crate) const ENDED: Flags = Flags::bit(6);
/// The owner wants little at a time.
pub(crate) const MEASURED: Flags = Flags::bit(7);

/// With one of these nothing is received.
pub(crate) const KEEPS_FROM_RECV: Flags = PAUSED.or(ENDED);
