//! One ring: setting it up with what the kernel has of the wanted features, queueing requests, and
//! the one system call that submits and waits. Knows no sockets.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::{IoUring, cqueue, squeue, types};

use super::restrict::restrict;
use super::setup::{check_base, probe_features, set_up};
use super::sys::{
    ENTER_EXT_ARG, ENTER_GETEVENTS, ENTER_NO_IOWAIT, ENTER_REGISTERED_RING, GeteventsArg,
    REGISTER_RING_FDS, RingFdUpdate, UNREGISTER_RING_FDS, sys_enter, sys_register_ring,
};
use crate::error::HostFacts;
use crate::{DriverError, Features};

pub(crate) struct Ring {
    ring: IoUring,
    /// In effect.
    features: Features,
    /// The ring's number among the thread's registered rings, if it has one.
    registered: Option<u32>,
    /// Completions taken from the kernel and not yet handled.
    harvested: Vec<cqueue::Entry>,
    enters: u64,
}

impl Ring {
    /// Tries the wanted features, and the fewer the older the kernel proves to be. The ring then
    /// takes these operations only.
    pub(crate) fn open(
        sq: u32,
        cq: u32,
        wanted: Features,
        operations: &[u8],
    ) -> Result<Self, DriverError> {
        let host = HostFacts::read();
        let (ring, setup) = set_up(sq, cq, wanted.consistent(), &host)?;
        let mut ring = Self {
            ring,
            features: setup,
            registered: None,
            harvested: Vec::with_capacity(cq as usize),
            enters: 0,
        };
        check_base(&ring.ring, &host)?;
        let found = probe_features(&ring.ring)?;
        ring.features = ring.features.with(found.intersection(wanted)).consistent();
        ring.enable(wanted, operations)
            .map_err(|error| DriverError::os("io_uring_register", error))?;
        if wanted.contains(Features::REGISTERED_RING) {
            ring.register_self();
        }
        Ok(ring)
    }

    pub(crate) fn features(&self) -> Features {
        self.features
    }

    /// A feature turned out not to work here.
    pub(crate) fn drop_feature(&mut self, feature: Features) {
        self.features = self.features.without(feature).consistent();
    }

    pub(crate) fn enters(&self) -> u64 {
        self.enters
    }

    /// Queues a request; submits first when the queue is full.
    ///
    /// # Safety
    /// What the request points to must stay valid, and untouched by others, until its (last)
    /// completion.
    pub(crate) unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: the caller vouches for the entry.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return Ok(());
            }
            self.enter(0, None)?;
            // An older kernel submits nothing while it holds completions back.
            self.harvest();
        }
    }

    /// Submits all that is queued, and neither waits for completions nor lets them happen.
    pub(crate) fn submit(&mut self) -> io::Result<()> {
        let submit = self.ring.submission().len() as u32;
        if submit == 0 {
            return Ok(());
        }
        self.enter_with(submit, 0, 0, None)
    }

    /// Submits all that is queued and waits until there are `want` completions or the time is over.
    /// Returns early on a signal.
    pub(crate) fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        let submit = self.ring.submission().len() as u32;
        self.enter_with(submit, want, ENTER_GETEVENTS, timeout)
    }

    fn enter_with(
        &mut self,
        submit: u32,
        want: u32,
        flags: u32,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let timespec = timeout.map(|timeout| libc::timespec {
            tv_sec: timeout.as_secs().min(i64::MAX as u64) as libc::time_t,
            tv_nsec: timeout.subsec_nanos().into(),
        });
        let arg = GeteventsArg {
            sigmask: 0,
            sigmask_sz: 0,
            min_wait_usec: 0,
            ts: timespec
                .as_ref()
                .map_or(0, |timespec| core::ptr::from_ref(timespec) as u64),
        };
        let mut flags = flags | ENTER_EXT_ARG;
        if self.features.contains(Features::NO_IOWAIT) {
            flags |= ENTER_NO_IOWAIT;
        }
        let fd = match self.registered {
            Some(index) => {
                flags |= ENTER_REGISTERED_RING;
                index as i32
            }
            None => self.ring.as_raw_fd(),
        };
        self.enters += 1;
        match sys_enter(fd, submit, want, flags, &arg) {
            Ok(()) => Ok(()),
            // Time is over; a signal; or the kernel wants completions taken first.
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Takes all completions that are there, to be read by [`Self::harvested`].
    pub(crate) fn harvest(&mut self) {
        self.harvested.extend(self.ring.completion());
    }

    /// The harvested completion of that index.
    pub(crate) fn harvested(&self, index: usize) -> Option<cqueue::Entry> {
        self.harvested.get(index).cloned()
    }

    /// All harvested completions were handled.
    pub(crate) fn clear_harvested(&mut self) {
        self.harvested.clear();
    }

    /// Whether the kernel holds completions back because the ring was full. The next `enter`
    /// fetches them.
    pub(crate) fn overflowed(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }

    pub(crate) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    /// A ring is set up disabled, so that restrictions hold before it can do anything.
    fn enable(&mut self, wanted: Features, operations: &[u8]) -> io::Result<()> {
        if wanted.contains(Features::RESTRICTIONS) && restrict(&self.ring, operations).is_ok() {
            self.features = self.features.with(Features::RESTRICTIONS);
        }
        self.ring.submitter().register_enable_rings()
    }

    fn register_self(&mut self) {
        let mut update = RingFdUpdate {
            offset: u32::MAX,
            reserved: 0,
            data: self.ring.as_raw_fd() as u64,
        };
        if sys_register_ring(self.ring.as_raw_fd(), REGISTER_RING_FDS, &mut update).is_ok() {
            self.registered = Some(update.offset);
            self.features = self.features.with(Features::REGISTERED_RING);
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // A registered ring would outlive its descriptor until the end of the thread.
        if let Some(offset) = self.registered {
            let mut update = RingFdUpdate {
                offset,
                reserved: 0,
                data: 0,
            };
            let _ = sys_register_ring(self.ring.as_raw_fd(), UNREGISTER_RING_FDS, &mut update);
        }
    }
}

/// A descriptor as requests take it.
pub(crate) fn fd(socket: &impl AsRawFd) -> types::Fd {
    types::Fd(socket.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use io_uring::opcode;

    use super::*;
    use crate::uring::restrict::STREAM_OPERATIONS;

    #[test]
    fn a_restricted_ring_refuses_what_the_driver_never_does() {
        let mut ring = Ring::open(8, 8, Features::all(), STREAM_OPERATIONS).unwrap();
        assert!(ring.features().contains(Features::RESTRICTIONS));
        let open = opcode::OpenAt::new(types::Fd(libc::AT_FDCWD), c"/etc/passwd".as_ptr()).build();
        // SAFETY: the path lives for ever.
        unsafe { ring.push(&open) }.unwrap();
        ring.enter(1, Some(Duration::from_secs(5))).unwrap();
        ring.harvest();
        assert_eq!(ring.harvested(0).unwrap().result(), -libc::EACCES);
    }

    #[test]
    fn a_masked_ring_has_no_more_than_was_asked_for() {
        let asked = Features::COOP_TASKRUN.with(Features::MULTISHOT_RECV);
        assert_eq!(
            Ring::open(8, 8, asked, STREAM_OPERATIONS)
                .unwrap()
                .features(),
            asked
        );
        assert_eq!(
            Ring::open(8, 8, Features::none(), STREAM_OPERATIONS)
                .unwrap()
                .features(),
            Features::none()
        );
    }
}
