//! What a relay on this machine uses: processor time and memory, from `/proc`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::time::Duration;

use towline_io::host;

use crate::error::LoadError;

/// A process to read from; nothing when none was given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch(pub(crate) Option<u32>);

/// Processor time of a process so far.
#[derive(Clone, Debug)]
pub(crate) struct CpuSample {
    /// Nanoseconds of each thread that lives.
    threads: BTreeMap<u32, u64>,
    /// Of all threads, gone ones too, but in ticks of 10 ms.
    ticks: u64,
}

/// `USER_HZ`, which is 100 on all of Linux's ABIs that we run on.
const TICK: Duration = Duration::from_millis(10);

/// How far ticks may be off without meaning anything: user and system time, at both ends.
const TICKS_ERROR: Duration = Duration::from_millis(40);

impl Watch {
    pub(crate) fn cpu(self) -> Result<Option<CpuSample>, LoadError> {
        self.read(|pid| {
            Ok(CpuSample {
                threads: thread_times(pid)?,
                ticks: ticks(&fs::read_to_string(format!("/proc/{pid}/stat"))?)?,
            })
        })
    }

    pub(crate) fn resident_bytes(self) -> Result<Option<u64>, LoadError> {
        self.read(host::rss_bytes_of)
    }

    fn read<T>(self, read: impl FnOnce(u32) -> io::Result<T>) -> Result<Option<T>, LoadError> {
        let Some(pid) = self.0 else { return Ok(None) };
        read(pid)
            .map(Some)
            .map_err(|error| LoadError::Watch { pid, error })
    }
}

impl CpuSample {
    /// Processor time since an earlier sample. Threads that ended meanwhile took their exact time
    /// with them; then the ticks have to do.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let by_ticks = TICK * (self.ticks.saturating_sub(earlier.ticks)) as u32;
        let all_live = earlier
            .threads
            .keys()
            .all(|id| self.threads.contains_key(id));
        // Some kernels tell no times of threads.
        if !all_live || self.threads.is_empty() {
            return by_ticks;
        }
        let total = |sample: &Self| sample.threads.values().sum::<u64>();
        let exact = Duration::from_nanos(total(self).saturating_sub(total(earlier)));
        // Threads that began and ended in between show in the ticks alone.
        if by_ticks > exact + TICKS_ERROR {
            by_ticks
        } else {
            exact
        }
    }
}

/// The first number of each thread's `schedstat` is its time on a processor.
fn thread_times(pid: u32) -> io::Result<BTreeMap<u32, u64>> {
    let mut times = BTreeMap::new();
    for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path();
        let id = path
            .file_name()
            .and_then(|name| name.to_str()?.parse().ok());
        // A thread may end between the two reads.
        if let (Some(id), Ok(text)) = (id, fs::read_to_string(path.join("schedstat"))) {
            let time = text
                .split_whitespace()
                .next()
                .and_then(|time| time.parse().ok());
            times.insert(id, time.ok_or(io::ErrorKind::InvalidData)?);
        }
    }
    Ok(times)
}

/// User and system time are fields 14 and 15; the second, in parentheses, may hold anything.
fn ticks(stat: &str) -> io::Result<u64> {
    let fields = stat
        .rsplit_once(')')
        .map(|(_, fields)| fields.split_whitespace());
    let times: Option<Vec<u64>> = fields.and_then(|fields| {
        fields
            .skip(11)
            .take(2)
            .map(|time| time.parse().ok())
            .collect()
    });
    times
        .filter(|times| times.len() == 2)
        .map(|times| times.iter().sum())
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_both_clocks() {
        let watch = Watch(Some(std::process::id()));
        let before = watch.cpu().unwrap().unwrap();
        let mut sum = 0u64;
        let start = host::thread_cpu_ns();
        while host::thread_cpu_ns() < start + 50_000_000 {
            sum = std::hint::black_box(sum + 1);
        }
        let after = watch.cpu().unwrap().unwrap();
        assert!(after.since(&before) >= Duration::from_millis(30));
        assert!(after.ticks >= before.ticks + 2);
        assert!(watch.resident_bytes().unwrap().unwrap() > 0);
        assert!(Watch(None).cpu().unwrap().is_none());
    }

    #[test]
    fn a_command_with_spaces_and_parentheses_is_no_obstacle() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 0 0 0 0 0 30 12 0 0 20 0";
        assert_eq!(ticks(stat).unwrap(), 42);
        assert!(ticks("7 (a").is_err());
    }
}
