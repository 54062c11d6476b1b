//! How a packet driver is sized.

use crate::Features;

/// The virtio header in front of a TUN packet (`struct virtio_net_hdr`, without `num_buffers`).
pub const VNET_HEADER_BYTES: usize = 10;
/// The most segments of one send: the kernel's limit before Linux 6.9.
pub const SEGMENTS_MAX: usize = 64;
/// The most bytes of one send: a UDP payload over IPv4.
pub const SEND_BYTES_MAX: usize = 65_507;
/// The most pieces of one write to TUN; with the header they are as many as the kernel takes.
pub const PIECES_MAX: usize = libc::UIO_MAXIOV as usize - 1;

/// A super-packet or a GRO train, with room for what stands before it, in whole pages.
const RECV_BUFFER_BYTES: u32 = 68 << 10;
const _: () = assert!(RECV_BUFFER_BYTES as usize > super::RECV_HEAD_BYTES + (64 << 10));
const _: () = assert!(RECV_BUFFER_BYTES as usize > VNET_HEADER_BYTES + (64 << 10));

/// Sizes of one packet driver, that is of one thread. Buffer memory is reserved at start and
/// touched only when used.
#[derive(Debug, Clone)]
pub struct PacketConfig {
    /// Receive buffers, for three sources: at least three times `turn`.
    pub recv_buffers: u16,
    /// Bytes of one receive buffer: less than the default cuts off the largest packets, which are
    /// then counted and dropped.
    pub recv_buffer_bytes: u32,
    /// Send buffers, so the most sends between two flushes.
    pub send_buffers: u16,
    /// Bytes of one send buffer, so the most in one send.
    pub send_buffer_bytes: u32,
    /// Receives of one source (TUN, or one of the sockets) in one turn, so that neither direction
    /// starves the other. More make small packets cheaper; fewer keep what a turn touches in the
    /// cache.
    pub turn: u16,
    /// The io_uring features that may be used; see [`crate::DriverConfig::features`].
    pub features: Features,
}

impl Default for PacketConfig {
    fn default() -> Self {
        Self {
            recv_buffers: 64,
            recv_buffer_bytes: RECV_BUFFER_BYTES,
            send_buffers: 64,
            send_buffer_bytes: 64 << 10,
            turn: 16,
            features: Features::all(),
        }
    }
}

impl PacketConfig {
    /// What is wrong with the sizes, if anything.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if self.turn == 0 || self.recv_buffers / 3 < self.turn {
            return Some("turn must not be 0, and recv_buffers at least three times as many");
        }
        if self.send_buffers == 0 || self.recv_buffers > 1 << 15 || self.send_buffers > 1 << 13 {
            return Some("at most 32768 recv_buffers, and 1 to 8192 send_buffers");
        }
        if self.recv_buffer_bytes < 1 << 10 || self.send_buffer_bytes < 1 << 10 {
            return Some("a buffer has at least 1024 bytes");
        }
        if self.recv_buffer_bytes > 1 << 20 || self.send_buffer_bytes > 1 << 20 {
            return Some("a buffer has at most 1 MiB");
        }
        None
    }
}
