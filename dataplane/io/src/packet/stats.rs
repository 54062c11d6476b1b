//! Counters of one packet driver, for the metrics of whoever owns it.

/// Counted since the driver was opened. What was dropped is counted in datagrams or packets, each
/// under one name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PacketStats {
    /// System calls that submit or wait: `io_uring_enter`, or `epoll_wait`.
    pub enters: u64,
    /// Receives of UDP sockets.
    pub receives: u64,
    /// Datagrams in them.
    pub datagrams: u64,
    /// Their payload.
    pub received_bytes: u64,
    /// Receives dropped because they did not fit into a buffer; of either side.
    pub truncated: u64,
    /// Datagrams dropped because they were empty.
    pub empty: u64,
    /// Receives that failed, or whose sender could not be read.
    pub recv_errors: u64,
    /// Times that there was no free buffer to receive into.
    pub recv_starved: u64,
    /// Sends that the kernel took: a train of segments is one.
    pub sends: u64,
    /// Datagrams in them.
    pub segments: u64,
    /// Their payload.
    pub sent_bytes: u64,
    /// Datagrams dropped because the socket was full (`EAGAIN`, `ENOBUFS`).
    pub send_full: u64,
    /// Datagrams dropped because no route leads there.
    pub send_unreachable: u64,
    /// Datagrams dropped because they were too large (`EMSGSIZE`).
    pub send_too_big: u64,
    /// Datagrams dropped because a firewall or a policy forbids them (`EPERM`, `EACCES`), or the
    /// peer's host does (`ECONNREFUSED`).
    pub send_refused: u64,
    /// Datagrams dropped for want of a socket of that family.
    pub send_no_socket: u64,
    /// Datagrams dropped for other reasons.
    pub send_other: u64,
    /// Trains that left as single datagrams, because the way did not take them whole (a segment
    /// above the path's MTU).
    pub trains_split: u64,
    /// Times that GSO was switched off for a socket, because the kernel could not do it (`EIO`).
    pub gso_switched_off: u64,
    /// Sends that left only without their local address.
    pub sources_gone: u64,
    /// Reads of TUN.
    pub tun_reads: u64,
    /// Bytes of them, headers included.
    pub tun_read_bytes: u64,
    /// Reads of TUN that failed.
    pub tun_read_errors: u64,
    /// Writes to TUN.
    pub tun_writes: u64,
    /// Bytes of them, headers included.
    pub tun_written_bytes: u64,
    /// Packets dropped because TUN was full (`EAGAIN`, `ENOBUFS`, `ENOMEM`).
    pub tun_full: u64,
    /// Packets dropped because the interface is down (`EIO`), or gone.
    pub tun_down: u64,
    /// Packets dropped because the kernel (`EINVAL`) or this driver did not take their header or pieces.
    pub tun_refused: u64,
    /// Packets dropped for other reasons.
    pub tun_write_errors: u64,
    /// Calls with a buffer of another driver: ignored, and the buffer is lost to the driver that
    /// it is of.
    pub foreign_buffers: u64,
}

impl PacketStats {
    pub(crate) fn count_sent(&mut self, segments: usize, bytes: usize) {
        self.sends += 1;
        self.segments += segments as u64;
        self.sent_bytes += bytes as u64;
    }

    pub(crate) fn count_send_error(&mut self, errno: i32, segments: usize) {
        let counter = match errno {
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => &mut self.send_full,
            libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
            | libc::EHOSTDOWN
            | libc::ENODEV
            | libc::EADDRNOTAVAIL => &mut self.send_unreachable,
            libc::EMSGSIZE => &mut self.send_too_big,
            libc::EPERM | libc::EACCES | libc::ECONNREFUSED => &mut self.send_refused,
            _ => &mut self.send_other,
        };
        *counter += segments as u64;
    }

    pub(crate) fn count_tun_write(&mut self, result: Result<usize, i32>) {
        let counter = match result {
            Ok(bytes) => {
                self.tun_written_bytes += bytes as u64;
                &mut self.tun_writes
            }
            Err(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => &mut self.tun_full,
            Err(libc::EIO | libc::EBADFD) => &mut self.tun_down,
            Err(libc::EINVAL) => &mut self.tun_refused,
            Err(_) => &mut self.tun_write_errors,
        };
        *counter += 1;
    }
}
