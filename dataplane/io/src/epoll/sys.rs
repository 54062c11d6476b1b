//! The system calls of the epoll driver.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

pub(crate) struct Poller {
    epoll: OwnedFd,
    events: Box<[libc::epoll_event]>,
    /// Filled by the last wait.
    ready: usize,
    /// `epoll_pwait2` exists (Linux 5.11) and is not filtered.
    nanoseconds: bool,
}

impl Poller {
    pub(crate) fn new(events: usize) -> io::Result<Self> {
        // SAFETY: makes a descriptor, touches no memory.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        let events = vec![libc::epoll_event { events: 0, u64: 0 }; events].into_boxed_slice();
        Ok(Self {
            epoll,
            events,
            ready: 0,
            nanoseconds: true,
        })
    }

    /// Watches a descriptor until it is closed. Edges only: an event says that something changed.
    pub(crate) fn add(&self, fd: RawFd, events: i32, data: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: (events | libc::EPOLLET) as u32,
            u64: data,
        };
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: `event` is valid for the call to read.
        let result = unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_ADD, fd, &mut event) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// Watches a descriptor no more. Needed only where a copy of it may stay open elsewhere.
    pub(crate) fn remove(&self, fd: RawFd) {
        let epoll = self.epoll.as_raw_fd();
        // SAFETY: touches no memory.
        unsafe { libc::epoll_ctl(epoll, libc::EPOLL_CTL_DEL, fd, core::ptr::null_mut()) };
    }

    /// Waits for events. A signal ends the wait early.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.ready = 0;
        let result = if self.nanoseconds {
            self.pwait2(timeout)
        } else {
            self.wait_ms(timeout)
        };
        match result {
            Ok(ready) => self.ready = ready,
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::ENOSYS | libc::EPERM) if self.nanoseconds => {
                    self.nanoseconds = false;
                    return self.wait(timeout);
                }
                _ => return Err(error),
            },
        }
        Ok(())
    }

    /// Event flags and data of the last wait.
    pub(crate) fn event(&self, index: usize) -> Option<(i32, u64)> {
        let event = self.events[..self.ready].get(index)?;
        Some((event.events as i32, event.u64))
    }

    fn pwait2(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let time = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().min(i64::MAX as u64) as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let time = time.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
        let no_mask = core::ptr::null::<libc::sigset_t>();
        // SAFETY: `events` is valid for its length to be written to; `time` lives through the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.epoll.as_raw_fd(),
                self.events.as_mut_ptr(),
                self.events.len(),
                time,
                no_mask,
                0,
            )
        };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(result as usize)
        }
    }

    fn wait_ms(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let ms = timeout.map_or(-1, |timeout| {
            let ms = timeout.as_micros().div_ceil(1000);
            i32::try_from(ms).unwrap_or(i32::MAX)
        });
        let len = self.events.len() as i32;
        // SAFETY: `events` is valid for its length to be written to.
        let result =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), self.events.as_mut_ptr(), len, ms) };
        if result < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(result as usize)
        }
    }
}

/// Receives without waiting into memory that nobody refers to.
///
/// # Safety
/// `len` bytes from `start` on must be ours to write to.
pub(crate) unsafe fn recv(socket: &OwnedFd, start: *mut u8, len: usize) -> io::Result<usize> {
    // SAFETY: the caller vouches for the memory.
    let result = unsafe { libc::recv(socket.as_raw_fd(), start.cast(), len, libc::MSG_DONTWAIT) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as usize)
    }
}

/// Sends without waiting and without SIGPIPE.
pub(crate) fn send(socket: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: `bytes` is valid for the call to read.
    let result = unsafe {
        libc::send(
            socket.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            flags,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as usize)
    }
}
