//! The two system calls that the `io-uring` crate does not make as this driver needs them: with a
//! registered ring, and with all flags of `io_uring_enter`.

use std::io;

pub(crate) const ENTER_GETEVENTS: u32 = 1;
pub(crate) const ENTER_EXT_ARG: u32 = 1 << 3;
pub(crate) const ENTER_REGISTERED_RING: u32 = 1 << 4;
pub(crate) const ENTER_NO_IOWAIT: u32 = 1 << 7;
pub(crate) const REGISTER_RING_FDS: u32 = 20;
pub(crate) const UNREGISTER_RING_FDS: u32 = 21;

/// `struct io_uring_getevents_arg`.
#[repr(C)]
pub(crate) struct GeteventsArg {
    pub(crate) sigmask: u64,
    pub(crate) sigmask_sz: u32,
    pub(crate) min_wait_usec: u32,
    pub(crate) ts: u64,
}

/// `struct io_uring_rsrc_update`.
#[repr(C)]
pub(crate) struct RingFdUpdate {
    pub(crate) offset: u32,
    pub(crate) reserved: u32,
    pub(crate) data: u64,
}

pub(crate) fn sys_enter(
    fd: i32,
    submit: u32,
    want: u32,
    flags: u32,
    arg: &GeteventsArg,
) -> io::Result<()> {
    // SAFETY: `arg` and the time it points to live through the call; queued requests were vouched
    // for by `push`.
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

pub(crate) fn sys_register_ring(fd: i32, op: u32, update: &mut RingFdUpdate) -> io::Result<()> {
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
