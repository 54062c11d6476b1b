//! How a driver is sized. Every bound of the crate is one of these fields.

use std::time::Duration;

use crate::Features;

/// Which of the two drivers to open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriverKind {
    /// io_uring: receives land in provided buffers, one system call per turn.
    Uring,
    /// epoll and plain `recv` and `send`: for hosts that forbid io_uring.
    Epoll,
}

impl core::fmt::Display for DriverKind {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
        })
    }
}

/// Sizes of one driver, that is of one thread. Buffer memory is reserved at start and touched only
/// when used.
#[derive(Debug, Clone)]
pub struct DriverConfig {
    /// Most sockets at a time; `add` refuses more.
    pub sockets_max: u32,
    /// Receive buffers: a power of two, at most 32,768 (the kernel's limit of a buffer ring).
    pub recv_buffers: u16,
    /// Bytes of one receive buffer. Where receives share buffers, some of these are joined.
    pub recv_buffer_bytes: u32,
    /// Send buffers, so the most sends between two calls of `wait`.
    pub send_buffers: u16,
    /// Bytes of one send buffer, so the most in one send.
    pub send_buffer_bytes: u32,
    /// Entries of the submission ring: a power of two. When it is full, the driver submits early.
    pub sq_entries: u32,
    /// Entries of the completion ring: a power of two, at least `sq_entries`.
    pub cq_entries: u32,
    /// The io_uring features that may be used; what the kernel lacks is left out silently and can
    /// be read from [`crate::Driver::features`].
    pub features: Features,
    /// How long packets of a busy socket may gather before they are fetched (`cadence`, io_uring
    /// only), and four times as long as completions may under a middling load (`pace`), for which
    /// everybody waits. The most that this adds to the time a packet takes; zero: nothing gathers.
    /// Otherwise the timers of the thread are made precise.
    pub gather: Duration,
    /// epoll only: receives of one socket in one turn, before the next socket has its go.
    pub recv_burst: u32,
}

/// The most that one receive of a measured socket brings: one packet of the largest size, about.
pub const MEASURED_BYTES: u32 = 64 << 10;

impl Default for DriverConfig {
    fn default() -> Self {
        Self {
            sockets_max: 1 << 20,
            recv_buffers: 64,
            recv_buffer_bytes: 64 << 10,
            send_buffers: 64,
            send_buffer_bytes: 64 << 10,
            sq_entries: 1024,
            cq_entries: 8192,
            features: Features::all(),
            gather: Duration::from_millis(2),
            recv_burst: 4,
        }
    }
}

impl DriverConfig {
    /// How long everybody may wait for completions to gather, busy or not.
    pub(crate) fn gather_all(&self) -> Duration {
        self.gather / 4
    }

    /// What is wrong with the sizes, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        let powers = [
            u32::from(self.recv_buffers),
            self.sq_entries,
            self.cq_entries,
        ];
        if powers.iter().any(|n| !n.is_power_of_two()) {
            return Some("recv_buffers, sq_entries and cq_entries must be powers of two");
        }
        if self.recv_buffers > 1 << 15 || self.sq_entries > 1 << 15 || self.cq_entries > 1 << 16 {
            return Some("recv_buffers and sq_entries are at most 32768, cq_entries 65536");
        }
        if self.cq_entries < self.sq_entries {
            return Some("cq_entries must not be below sq_entries");
        }
        if self.send_buffers == 0
            || self.recv_buffer_bytes < 1 << 10
            || self.send_buffer_bytes < 1 << 10
        {
            return Some("there must be send buffers, and a buffer has at least 1024 bytes");
        }
        if self.recv_buffer_bytes > 1 << 28 || self.send_buffer_bytes > 1 << 28 {
            return Some("a buffer has at most 256 MiB");
        }
        if self.sockets_max == 0 || self.recv_burst == 0 {
            return Some("sockets_max and recv_burst must not be 0");
        }
        None
    }
}
