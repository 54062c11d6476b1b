//! What the kernel knows about this process, from `/proc/self`. A fact that cannot be read is 0: metrics are no reason to fail.

use std::fs;

use towline_io::host;

use super::text::Page;

/// Clock ticks of `/proc/self/stat` in a second: fixed in the kernel's interface (`USER_HZ`) on every architecture we run on.
const TICKS_PER_SECOND: u64 = 100;

/// A reading.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProcessFacts {
    pub(crate) cpu_seconds: f64,
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) descriptors: u64,
    pub(crate) descriptors_max: u64,
    pub(crate) threads: u64,
    /// Seconds since 1970 at which the host started.
    pub(crate) boot_unix_seconds: u64,
    /// Seconds since 1970 at which the process started.
    pub(crate) start_unix_seconds: u64,
}

impl ProcessFacts {
    /// Writes those whose names all monitoring knows.
    pub(super) fn write(&self, page: &mut Page) {
        page.counter(
            "process_cpu_seconds_total",
            "Total user and system CPU time spent in seconds.",
            self.cpu_seconds,
        );
        page.gauge(
            "process_max_fds",
            "Maximum number of open file descriptors.",
            self.descriptors_max,
        );
        page.gauge(
            "process_open_fds",
            "Number of open file descriptors.",
            self.descriptors,
        );
        page.gauge(
            "process_resident_memory_bytes",
            "Resident memory size in bytes.",
            self.resident_bytes,
        );
        page.gauge(
            "process_virtual_memory_bytes",
            "Virtual memory size in bytes.",
            self.virtual_bytes,
        );
        page.gauge(
            "process_start_time_seconds",
            "Start time of the process since unix epoch in seconds.",
            self.start_unix_seconds,
        );
    }

    /// Reads them now.
    pub(crate) fn read() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        let boot_unix_seconds = boot_time(&fs::read_to_string("/proc/stat").unwrap_or_default());
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self {
            cpu_seconds: std::time::Duration::from_nanos(host::process_cpu_ns()).as_secs_f64(),
            resident_bytes: host::rss_bytes().unwrap_or(0),
            virtual_bytes: stat_field(&stat, 23),
            descriptors: host::fd_count().unwrap_or(0),
            descriptors_max: open_files_max(&limits),
            threads: stat_field(&stat, 20),
            boot_unix_seconds,
            start_unix_seconds: boot_unix_seconds + stat_field(&stat, 22) / TICKS_PER_SECOND,
        }
    }
}

/// A field of `/proc/self/stat`, numbered as in proc_pid_stat(5). The second one is a name in parentheses that may hold anything.
fn stat_field(stat: &str, number: usize) -> u64 {
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let field = fields.split_ascii_whitespace().nth(number - 3);
    field.and_then(|field| field.parse().ok()).unwrap_or(0)
}

fn boot_time(stat: &str) -> u64 {
    let line = stat.lines().find_map(|line| line.strip_prefix("btime "));
    line.and_then(|time| time.trim().parse().ok()).unwrap_or(0)
}

fn open_files_max(limits: &str) -> u64 {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"));
    let soft = line.and_then(|line| line.split_ascii_whitespace().next());
    soft.and_then(|soft| soft.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_itself() {
        let facts = ProcessFacts::read();
        assert!(facts.resident_bytes > 0 && facts.virtual_bytes > facts.resident_bytes);
        assert!(facts.descriptors > 0 && facts.descriptors_max > facts.descriptors);
        assert!(facts.threads > 0);
        assert!(facts.start_unix_seconds >= facts.boot_unix_seconds && facts.boot_unix_seconds > 0);
    }

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        assert_eq!(stat_field("7 (a) b) S 1 2 3", 4), 1);
        assert_eq!(stat_field("", 22), 0);
    }
}
