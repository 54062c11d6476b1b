//! What a thread asks of the host it runs on: time, its own costs, its processor and its limits.

mod affinity;
mod clock;
mod process;

pub use affinity::{cpus_allowed, pin_thread};
pub use clock::{now_ns, process_cpu_ns, thread_cpu_ns};
pub use process::{fd_count, raise_nofile, rss_bytes, rss_bytes_of};
