//! Waking a driver from another thread. A driver that is awake costs its wakers no system call.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The driver's thread runs, and will look at the state before it sleeps.
const AWAKE: u8 = 0;
/// The driver's thread sleeps, or is about to: only the eventfd wakes it.
const ASLEEP: u8 = 1;
/// Somebody called; the driver has not yet said so to its owner.
const CALLED: u8 = 2;

struct Shared {
    state: AtomicU8,
    eventfd: OwnedFd,
}

/// Wakes one driver. What was written before `wake` is visible to whoever sees the `Woken` that
/// follows.
#[derive(Clone)]
pub struct Waker(Arc<Shared>);

impl Waker {
    /// Makes the driver's next (or present) `wait` return with `Woken`.
    pub fn wake(&self) {
        if self.0.state.swap(CALLED, Ordering::AcqRel) == ASLEEP {
            self.0.sound();
        }
    }
}

impl Shared {
    fn sound(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: the descriptor is open as long as `self`, and `one` has the 8 bytes that an
        // eventfd takes. The write cannot fail: the counter is far from its limit.
        unsafe { libc::write(self.eventfd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

/// The driver's end of its wakers.
pub(crate) struct Alarm(Arc<Shared>);

impl Alarm {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: makes a descriptor, touches no memory. Blocking, so that a ring waits for it
        // instead of failing.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: just made, and nobody else's.
        let eventfd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self(Arc::new(Shared {
            state: AtomicU8::new(AWAKE),
            eventfd,
        })))
    }

    pub(crate) fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.0))
    }

    pub(crate) fn eventfd(&self) -> RawFd {
        self.0.eventfd.as_raw_fd()
    }

    /// Makes the eventfd readable, whatever the state.
    pub(crate) fn sound(&self) {
        self.0.sound();
    }

    /// Before sleeping: false when somebody called already, so there must be no sleep.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.0
            .state
            .compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether somebody called since the last [`Self::wake_up`].
    pub(crate) fn is_called(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == CALLED
    }

    /// After sleeping, or instead of it: whether somebody called.
    pub(crate) fn wake_up(&self) -> bool {
        self.0.state.swap(AWAKE, Ordering::AcqRel) == CALLED
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_to_a_driver_that_is_awake_join_and_prevent_its_sleep() {
        let alarm = Alarm::new().unwrap();
        let waker = alarm.waker();
        waker.wake();
        waker.wake();
        assert!(!alarm.fall_asleep());
        assert!(alarm.wake_up());
        assert!(!alarm.wake_up());
        assert!(alarm.fall_asleep());
    }
}
