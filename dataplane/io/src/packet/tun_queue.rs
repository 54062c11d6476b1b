//! One queue of the TUN device.

use std::os::fd::OwnedFd;

use super::sys::{Errno, writev};
use super::{PIECES_MAX, Piece};
use crate::{Received, RecvBuf};

pub(crate) struct TunQueue {
    pub(crate) fd: OwnedFd,
    /// The interface was deleted.
    pub(crate) gone: bool,
    /// Of one write.
    parts: Vec<libc::iovec>,
}

impl TunQueue {
    pub(crate) fn new(fd: OwnedFd) -> Self {
        Self {
            fd,
            gone: false,
            parts: Vec::with_capacity(PIECES_MAX + 1),
        }
    }

    /// Writes one packet; `EINVAL` also for pieces outside of their buffers, or too many.
    pub(crate) fn write(
        &mut self,
        header: &[u8],
        held: &[RecvBuf],
        pieces: &[Piece],
        received: Received<'_>,
    ) -> Result<usize, Errno> {
        if self.gone {
            return Err(libc::EBADFD);
        }
        if pieces.len() > PIECES_MAX {
            return Err(libc::EINVAL);
        }
        self.parts.clear();
        self.parts.push(part(header));
        for piece in pieces {
            let bytes = find(piece, held, received).ok_or(libc::EINVAL)?;
            self.parts.push(part(bytes));
        }
        // SAFETY: all parts are slices that the arguments keep borrowed.
        unsafe { writev(&self.fd, &self.parts) }
    }
}

/// Whether a failed read says that the interface was deleted: `EBADFD` afterwards, `EFAULT` of a
/// read that was waiting. (A link that is down says nothing.)
pub(crate) fn is_gone(errno: Errno) -> bool {
    matches!(errno, libc::EBADFD | libc::EFAULT | libc::EBADF)
}

fn find<'a>(piece: &Piece, held: &[RecvBuf], received: Received<'a>) -> Option<&'a [u8]> {
    let bytes = received.bytes(held.get(piece.buffer as usize)?);
    bytes.get(piece.start as usize..)?.get(..piece.len as usize)
}

fn part(bytes: &[u8]) -> libc::iovec {
    libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    }
}
