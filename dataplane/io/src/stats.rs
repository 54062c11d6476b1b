//! Counters of one driver, for the metrics of whoever owns it.

/// Counted since the driver was opened. Plain numbers: the driver's thread copies them out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DriverStats {
    /// System calls that submit or wait: `io_uring_enter`, or `epoll_wait`.
    pub enters: u64,
    /// Completions taken from the kernel: queue entries, or epoll events.
    pub kernel_completions: u64,
    /// Completions of a socket that no longer exists: ignored.
    pub stale_completions: u64,
    /// Times that the kernel had more completions than its ring had room for.
    pub cq_overflows: u64,
    /// Times that a receive found no free buffer and was put off.
    pub recv_starved: u64,
    /// Receives.
    pub received: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Bytes that arrived after `close` and were thrown away.
    pub discarded_bytes: u64,
    /// Receives of busy sockets that were asked for at an interval.
    pub fetches: u64,
    /// Sends that the kernel took bytes of.
    pub sent: u64,
    /// Bytes the kernel took.
    pub sent_bytes: u64,
    /// Sends that found the socket full.
    pub send_blocked: u64,
    /// Calls with the id of a socket that was closed before: ignored.
    pub stale_calls: u64,
    /// Calls with a buffer of another driver: ignored, and the buffer is lost to the driver that it is of.
    pub foreign_buffers: u64,
}

impl DriverStats {
    pub(crate) fn count_send(&mut self, result: &std::io::Result<usize>) {
        match result {
            Ok(len) => {
                self.sent += 1;
                self.sent_bytes += *len as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => self.send_blocked += 1,
            Err(_) => {}
        }
    }
}
