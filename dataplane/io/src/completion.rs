//! What a driver reports.

use std::io;

use crate::{RecvBuf, SendBuf};

/// One thing that happened. `token` is the number given to [`crate::Driver::add`].
///
/// For each socket: `Received` in stream order, then at most one `Ended`; a `Sent` for each send;
/// `Closed` last of all. After [`crate::Driver::close`] was called only the `Sent` of an earlier
/// send and `Closed` follow.
#[derive(Debug)]
pub enum Completion {
    /// Bytes arrived; never empty. The buffer must come back through [`crate::Driver::recycle`].
    Received {
        /// Of the socket.
        token: u64,
        /// Where the bytes lie.
        buf: RecvBuf,
    },
    /// The peer will send no more (`None`), or the receiving side failed. The socket still waits
    /// for its `close`.
    Ended {
        /// Of the socket.
        token: u64,
        /// The failure, if it was one: a reset, a `TCP_USER_TIMEOUT`.
        error: Option<io::Error>,
    },
    /// A send is over: how many bytes the kernel took, at times fewer than offered. `WouldBlock`
    /// when it took none because the socket is full: ask for `Writable`. The buffer is the caller's
    /// again.
    Sent {
        /// Of the socket.
        token: u64,
        /// Bytes taken.
        result: io::Result<usize>,
        /// To be sent from again, or recycled.
        buf: SendBuf,
    },
    /// Room for a send, after [`crate::Driver::notify_writable`]; also when the connection failed
    /// (the send tells).
    Writable {
        /// Of the socket.
        token: u64,
    },
    /// The descriptor is closed and nothing of this socket is in flight.
    Closed {
        /// Of the socket.
        token: u64,
    },
    /// A [`crate::Waker`] was used, once or more, since the last `Woken`.
    Woken,
}
