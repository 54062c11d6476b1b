//! Clocks. All of them in nanoseconds.

/// `CLOCK_BOOTTIME`: never goes back, and counts while the machine sleeps, which a session's age
/// must.
#[must_use]
pub fn now_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME)
}

/// Processor time of all threads of this process, in user and kernel mode.
#[must_use]
pub fn process_cpu_ns() -> u64 {
    read(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// Processor time of this thread, in user and kernel mode.
#[must_use]
pub fn thread_cpu_ns() -> u64 {
    read(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn read(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is valid for the call to write to. It cannot fail: all kernels have these
    // clocks.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time_and_processor() {
        let (time, thread, process) = (now_ns(), thread_cpu_ns(), process_cpu_ns());
        let mut sum = 0u64;
        while thread_cpu_ns() < thread + 2_000_000 {
            sum = core::hint::black_box(sum + 1);
        }
        assert!(now_ns() >= time + 1_000_000);
        assert!(process_cpu_ns() >= process + 1_000_000);
    }
}
