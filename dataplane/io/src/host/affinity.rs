//! Which processors a thread runs on.

use std::io;

/// The processors that this thread may run on, in ascending order.
///
/// # Errors
/// What `sched_getaffinity` says: on hosts with more than 1024 processors, `InvalidInput`.
pub fn cpus_allowed() -> io::Result<Vec<usize>> {
    let mut set = empty_set();
    // SAFETY: `set` is valid for the call to write to, and of the size given.
    let result = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the macro reads a bit inside of the set, whose size bounds the range.
    let allowed = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    Ok((0..libc::CPU_SETSIZE as usize).filter(allowed).collect())
}

/// Keeps this thread on one processor.
///
/// # Errors
/// `InvalidInput` for a processor that does not exist or is forbidden to this process.
pub fn pin_thread(cpu: usize) -> io::Result<()> {
    if cpu >= libc::CPU_SETSIZE as usize {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut set = empty_set();
    // SAFETY: the macro sets a bit inside of the set: checked above.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is valid for the call to read, and of the size given.
    let result = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

fn empty_set() -> libc::cpu_set_t {
    // SAFETY: a set is an array of integers; all zeros is the empty set.
    unsafe { core::mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_stays_on_its_processor() {
        // On a thread of its own: the test threads are shared.
        std::thread::spawn(|| {
            let last = *cpus_allowed().unwrap().last().unwrap();
            pin_thread(last).unwrap();
            assert_eq!(cpus_allowed().unwrap(), [last]);
            assert!(pin_thread(usize::MAX).is_err());
        })
        .join()
        .unwrap();
    }
}
