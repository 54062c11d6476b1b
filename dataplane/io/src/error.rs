//! Why a driver could not be opened, in words that an operator can act on.

use std::io;

/// Each variant names one cause and what removes it. Its words are whole: there is no `source` to print besides.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DriverError {
    /// The kernel has no io_uring, or one older than Linux 5.11.
    #[error(
        "io_uring: kernel {release} is too old or was built without it ({missing} is missing); \
         Linux 5.11 is needed, 6.1 or later recommended"
    )]
    KernelTooOld {
        /// As `uname -r` says.
        release: String,
        /// What was looked for in vain.
        missing: &'static str,
    },
    /// The sysctl `kernel.io_uring_disabled` forbids it.
    #[error(
        "io_uring: forbidden by the sysctl kernel.io_uring_disabled={value}; \
         set it to 0, or to 1 and put the process's group into kernel.io_uring_group"
    )]
    Sysctl {
        /// 1: forbidden but for a group and CAP_SYS_ADMIN; 2: forbidden for all.
        value: u8,
    },
    /// A seccomp filter (or a security module) refuses the system call.
    #[error(
        "io_uring: refused by a seccomp filter or a security module ({cause}), as container \
         runtimes do by default; allow io_uring_setup, io_uring_enter and io_uring_register"
    )]
    Seccomp {
        /// EPERM, EACCES, or ENOSYS on a kernel that has io_uring.
        cause: io::Error,
    },
    /// Locked memory is bounded too low (Linux before 5.12), or the memory cgroup is full.
    #[error(
        "io_uring: no memory for the rings (RLIMIT_MEMLOCK is {limit_bytes} bytes); \
         raise the limit (systemd: LimitMEMLOCK=) or the memory limit of the control group"
    )]
    Memlock {
        /// The soft limit; `u64::MAX` when there is none.
        limit_bytes: u64,
    },
    /// No descriptor left.
    #[error("{what}: out of file descriptors ({cause}); raise RLIMIT_NOFILE")]
    Descriptors {
        /// The call that failed.
        what: &'static str,
        /// EMFILE or ENFILE.
        cause: io::Error,
    },
    /// The sizes make no sense.
    #[error("driver configuration: {0}")]
    Config(&'static str),
    /// Anything else.
    #[error("{what}: {cause}")]
    Os {
        /// The call that failed.
        what: &'static str,
        /// As the kernel gave it.
        cause: io::Error,
    },
}

impl DriverError {
    /// For calls other than `io_uring_setup`.
    pub(crate) fn os(what: &'static str, cause: io::Error) -> Self {
        match cause.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE) => Self::Descriptors { what, cause },
            _ => Self::Os { what, cause },
        }
    }

    /// For a failed `io_uring_setup` with no flags left that an older kernel may refuse.
    pub(crate) fn setup(cause: io::Error, host: &HostFacts) -> Self {
        let what = "io_uring_setup";
        match cause.raw_os_error() {
            Some(libc::ENOSYS) if host.has_io_uring() => Self::Seccomp { cause },
            Some(libc::ENOSYS) => Self::KernelTooOld {
                release: host.release.clone(),
                missing: "io_uring_setup",
            },
            Some(libc::EPERM) => match host.io_uring_disabled {
                Some(value @ 1..) => Self::Sysctl { value },
                _ => Self::Seccomp { cause },
            },
            Some(libc::EACCES) => Self::Seccomp { cause },
            Some(libc::ENOMEM) => Self::Memlock {
                limit_bytes: host.memlock_bytes,
            },
            Some(libc::EINVAL) => Self::KernelTooOld {
                release: host.release.clone(),
                missing: "a setup flag",
            },
            _ => Self::os(what, cause),
        }
    }
}

/// What tells the causes of one errno apart.
#[derive(Debug, Clone)]
pub(crate) struct HostFacts {
    pub(crate) release: String,
    /// The sysctl of Linux 6.6; `None` where it does not exist.
    pub(crate) io_uring_disabled: Option<u8>,
    pub(crate) memlock_bytes: u64,
}

impl HostFacts {
    pub(crate) fn read() -> Self {
        let text = |path| {
            std::fs::read_to_string(path)
                .unwrap_or_default()
                .trim()
                .to_owned()
        };
        Self {
            release: text("/proc/sys/kernel/osrelease"),
            io_uring_disabled: text("/proc/sys/kernel/io_uring_disabled").parse().ok(),
            memlock_bytes: memlock_bytes(),
        }
    }

    /// Whether this kernel has io_uring. From 6.6 on the sysctl tells; from 5.1 on it is likely.
    fn has_io_uring(&self) -> bool {
        let mut numbers = self
            .release
            .split(['.', '-'])
            .map(|part| part.parse::<u32>().ok());
        let version = (numbers.next().flatten(), numbers.next().flatten());
        self.io_uring_disabled.is_some()
            || (version >= (Some(5), Some(1)) && version < (Some(6), Some(6)))
    }
}

fn memlock_bytes() -> u64 {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for the call to write to.
    unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, &mut limit) };
    limit.rlim_cur
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(release: &str, io_uring_disabled: Option<u8>) -> HostFacts {
        HostFacts {
            release: release.to_owned(),
            io_uring_disabled,
            memlock_bytes: 65_536,
        }
    }

    fn cause(errno: i32, host: &HostFacts) -> String {
        DriverError::setup(io::Error::from_raw_os_error(errno), host).to_string()
    }

    #[test]
    fn the_same_errno_is_told_apart_by_what_the_host_says() {
        let debian = host("6.1.0-37-amd64", None);
        assert!(cause(libc::EPERM, &debian).contains("seccomp"));
        assert!(cause(libc::ENOSYS, &debian).contains("seccomp"));
        assert!(cause(libc::ENOMEM, &debian).contains("RLIMIT_MEMLOCK is 65536"));
        let locked = host("6.12.9", Some(2));
        assert!(cause(libc::EPERM, &locked).contains("kernel.io_uring_disabled=2"));
        let allowed = host("6.12.9", Some(0));
        assert!(cause(libc::EPERM, &allowed).contains("seccomp"));
        let built_without = host("6.12.9", None);
        assert!(cause(libc::ENOSYS, &built_without).contains("built without it"));
        let ancient = host("4.19.0", None);
        assert!(cause(libc::ENOSYS, &ancient).contains("kernel 4.19.0 is too old"));
        assert!(cause(libc::EMFILE, &debian).contains("RLIMIT_NOFILE"));
    }
}
