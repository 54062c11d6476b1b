//! One ring: setting it up with what the kernel has of the wanted features, queueing requests, and the one system call
//! that submits and waits. Knows no sockets.

use std::io;
use std::os::fd::AsRawFd;
use std::time::Duration;

use io_uring::register::Probe;
use io_uring::{IoUring, cqueue, opcode, squeue, types};

use super::restrict::restrict;
use crate::error::HostFacts;
use crate::{DriverError, Features};

const ENTER_GETEVENTS: u32 = 1;
const ENTER_EXT_ARG: u32 = 1 << 3;
const ENTER_REGISTERED_RING: u32 = 1 << 4;
const ENTER_NO_IOWAIT: u32 = 1 << 7;
pub(crate) const REGISTER_RING_FDS: u32 = 20;
pub(crate) const UNREGISTER_RING_FDS: u32 = 21;

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
    /// Tries the wanted features, and the fewer the older the kernel proves to be.
    pub(crate) fn open(sq: u32, cq: u32, wanted: Features) -> Result<Self, DriverError> {
        let host = HostFacts::read();
        let (ring, setup) = set_up(sq, cq, wanted.consistent(), &host)?;
        let mut ring = Self {
            ring,
            features: setup,
            registered: None,
            harvested: Vec::with_capacity(cq as usize),
            enters: 0,
        };
        ring.check_base(&host)?;
        ring.probe_features(wanted)?;
        ring.enable(wanted)
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
    /// What the request points to must stay valid, and untouched by others, until its (last) completion.
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

    /// Submits all that is queued and waits until there are `want` completions or the time is over. Returns early on a
    /// signal.
    pub(crate) fn enter(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
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
        let mut flags = ENTER_GETEVENTS | ENTER_EXT_ARG;
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
        let submit = self.ring.submission().len() as u32;
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

    /// Whether the kernel holds completions back because the ring was full. The next `enter` fetches them.
    pub(crate) fn overflowed(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }

    pub(crate) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }

    fn check_base(&self, host: &HostFacts) -> Result<(), DriverError> {
        let params = self.ring.params();
        let missing = if !params.is_feature_ext_arg() {
            "IORING_FEAT_EXT_ARG"
        } else if !params.is_feature_nodrop() {
            "IORING_FEAT_NODROP"
        } else if !params.is_feature_fast_poll() {
            "IORING_FEAT_FAST_POLL"
        } else {
            return Ok(());
        };
        Err(DriverError::KernelTooOld {
            release: host.release.clone(),
            missing,
        })
    }

    /// Features that setup flags do not decide.
    fn probe_features(&mut self, wanted: Features) -> Result<(), DriverError> {
        let mut probe = Probe::new();
        self.ring
            .submitter()
            .register_probe(&mut probe)
            .map_err(|error| DriverError::os("io_uring_register(PROBE)", error))?;
        let mut found = Features::none();
        if self.ring.params().is_feature_no_iowait() {
            found = found.with(Features::NO_IOWAIT);
        }
        // Multishot receive came with Linux 6.0, as zero-copy send did; only the latter is an opcode to probe for.
        if probe.is_supported(opcode::SendZc::CODE) {
            found = found.with(Features::MULTISHOT_RECV);
        }
        // Of these the registration itself tells.
        found = found
            .with(Features::BUFFER_RING)
            .with(Features::INCREMENTAL);
        self.features = self.features.with(found.intersection(wanted)).consistent();
        Ok(())
    }

    /// A ring is set up disabled, so that restrictions hold before it can do anything.
    fn enable(&mut self, wanted: Features) -> io::Result<()> {
        if wanted.contains(Features::RESTRICTIONS) && restrict(&self.ring).is_ok() {
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

/// The newest setup flags first: a kernel that refuses a set is asked for the same without the newest.
fn set_up(
    sq: u32,
    cq: u32,
    wanted: Features,
    host: &HostFacts,
) -> Result<(IoUring, Features), DriverError> {
    let newest_first = [
        Features::NO_SQARRAY,
        Features::DEFER_TASKRUN,
        Features::SINGLE_ISSUER,
        Features::COOP_TASKRUN,
    ];
    let mut flags = newest_first.iter().fold(Features::none(), |set, flag| {
        set.with(wanted.intersection(*flag))
    });
    let mut refused = newest_first.iter();
    loop {
        let mut builder = IoUring::builder();
        builder.setup_cqsize(cq).setup_clamp().setup_r_disabled();
        if flags.contains(Features::NO_SQARRAY) {
            builder.setup_no_sqarray();
        }
        if flags.contains(Features::DEFER_TASKRUN) {
            builder.setup_defer_taskrun();
        }
        if flags.contains(Features::SINGLE_ISSUER) {
            builder.setup_single_issuer();
        }
        if flags.contains(Features::COOP_TASKRUN) {
            builder.setup_coop_taskrun();
        }
        match builder.build(sq) {
            Ok(ring) => return Ok((ring, flags)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                let Some(flag) = refused.find(|flag| flags.contains(**flag)) else {
                    return Err(DriverError::setup(error, host));
                };
                flags = flags.without(*flag);
            }
            Err(error) => return Err(DriverError::setup(error, host)),
        }
    }
}

/// `struct io_uring_getevents_arg`.
#[repr(C)]
struct GeteventsArg {
    sigmask: u64,
    sigmask_sz: u32,
    min_wait_usec: u32,
    ts: u64,
}

/// `struct io_uring_rsrc_update`.
#[repr(C)]
struct RingFdUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

fn sys_enter(fd: i32, submit: u32, want: u32, flags: u32, arg: &GeteventsArg) -> io::Result<()> {
    // SAFETY: `arg` and the time it points to live through the call; queued requests were vouched for by `push`.
    let result = unsafe {
        libc::syscall(
            libc::SYS_io_uring_enter,
            fd,
            submit,
            want,
            flags,
            core::ptr::from_ref(arg),
            size_of::<GeteventsArg>(),
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn sys_register_ring(fd: i32, op: u32, update: &mut RingFdUpdate) -> io::Result<()> {
    // SAFETY: `update` is one entry, as the last argument says, valid for reading and writing.
    let result = unsafe {
        libc::syscall(
            libc::SYS_io_uring_register,
            fd,
            op,
            core::ptr::from_mut(update),
            1,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

/// A descriptor as requests take it.
pub(crate) fn fd(socket: &impl AsRawFd) -> types::Fd {
    types::Fd(socket.as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restricted_ring_refuses_what_the_driver_never_does() {
        let mut ring = Ring::open(8, 8, Features::all()).unwrap();
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
        assert_eq!(Ring::open(8, 8, asked).unwrap().features(), asked);
        assert_eq!(
            Ring::open(8, 8, Features::none()).unwrap().features(),
            Features::none()
        );
    }
}
