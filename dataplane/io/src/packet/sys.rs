//! The system calls of packets. None of them waits.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// The errno of a call that failed.
pub(crate) type Errno = i32;

fn errno() -> Errno {
    io::Error::last_os_error()
        .raw_os_error()
        .unwrap_or(libc::EIO)
}

/// Sends messages in their order; gives how many left. An error is the first one's.
///
/// # Safety
/// All that the messages point to must be valid for reading.
pub(crate) unsafe fn sendmmsg(
    socket: &OwnedFd,
    messages: &mut [libc::mmsghdr],
) -> Result<usize, Errno> {
    let (start, len) = (messages.as_mut_ptr(), messages.len() as u32);
    // SAFETY: the messages are valid, and the caller vouches for what they point to.
    let result = unsafe { libc::sendmmsg(socket.as_raw_fd(), start, len, libc::MSG_DONTWAIT as _) };
    usize::try_from(result).map_err(|_| errno())
}

/// Receives into messages in their order; gives how many there were.
///
/// # Safety
/// All that the messages point to must be ours to write to.
pub(crate) unsafe fn recvmmsg(
    socket: &OwnedFd,
    messages: &mut [libc::mmsghdr],
) -> Result<usize, Errno> {
    let (start, len) = (messages.as_mut_ptr(), messages.len() as u32);
    let (fd, no_time) = (socket.as_raw_fd(), core::ptr::null_mut());
    // SAFETY: the messages are valid, and the caller vouches for what they point to.
    let result = unsafe { libc::recvmmsg(fd, start, len, libc::MSG_DONTWAIT as _, no_time) };
    usize::try_from(result).map_err(|_| errno())
}

/// Reads one packet.
///
/// # Safety
/// `len` bytes from `start` on must be ours to write to.
pub(crate) unsafe fn read(fd: &OwnedFd, start: *mut u8, len: usize) -> Result<usize, Errno> {
    // SAFETY: the caller vouches for the memory.
    let result = unsafe { libc::read(fd.as_raw_fd(), start.cast(), len) };
    usize::try_from(result).map_err(|_| errno())
}

/// Writes one packet.
///
/// # Safety
/// All that the parts point to must be valid for reading.
pub(crate) unsafe fn writev(fd: &OwnedFd, parts: &[libc::iovec]) -> Result<usize, Errno> {
    // SAFETY: the parts are valid, and the caller vouches for what they point to.
    let result = unsafe { libc::writev(fd.as_raw_fd(), parts.as_ptr(), parts.len() as i32) };
    usize::try_from(result).map_err(|_| errno())
}

/// A message without anything in it.
pub(crate) fn empty_message() -> libc::msghdr {
    // SAFETY: numbers and pointers, for which zeros are values.
    unsafe { core::mem::zeroed() }
}
