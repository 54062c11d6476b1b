//! What this process holds: memory, descriptors, limits.

use std::fs;
use std::io;

/// Resident memory of this process, in bytes.
///
/// # Errors
/// Without `/proc`.
pub fn rss_bytes() -> io::Result<u64> {
    parse_rss(&fs::read_to_string("/proc/self/statm")?)
}

/// Resident memory of another process, in bytes.
///
/// # Errors
/// When there is no such process, or no `/proc`.
pub fn rss_bytes_of(pid: u32) -> io::Result<u64> {
    parse_rss(&fs::read_to_string(format!("/proc/{pid}/statm"))?)
}

/// Descriptors that this process has open, the one that this call needs not counted.
///
/// # Errors
/// Without `/proc`, or with no descriptor left.
pub fn fd_count() -> io::Result<u64> {
    Ok((fs::read_dir("/proc/self/fd")?.count() as u64).saturating_sub(1))
}

/// Raises the soft limit of open descriptors to the hard one. Gives the soft limit in effect.
///
/// # Errors
/// What `setrlimit` says.
pub fn raise_nofile() -> io::Result<u64> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid for the call to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is valid for the call to read.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(limit.rlim_cur)
}

/// The second number of `statm` is the resident pages.
fn parse_rss(statm: &str) -> io::Result<u64> {
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    // SAFETY: reads a constant of the process.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    pages
        .map(|pages| pages * page_bytes)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn touched_memory_is_resident() {
        let before = rss_bytes().unwrap();
        let touched = core::hint::black_box(vec![1u8; 32 << 20]);
        let grown = rss_bytes().unwrap() - before;
        assert!(grown > 24 << 20, "{grown} bytes for {}", touched.len());
        assert!(rss_bytes_of(std::process::id()).unwrap() > 24 << 20);
    }

    #[test]
    fn descriptors_are_counted_and_their_limit_raised() {
        let held: Vec<_> = (0..100)
            .map(|_| fs::File::open("/dev/null").unwrap())
            .collect();
        assert!(fd_count().unwrap() >= held.len() as u64);
        assert!(raise_nofile().unwrap() >= 100);
    }
}
