//! What a device is started with.

use towline_io::tun::TunOffload;
use towline_io::udp::UdpOffload;
use towline_tunnel::EngineKind;

/// Bytes that an interface carries unless said otherwise: 1500 of the network less 80 for IPv6, UDP and WireGuard.
pub const MTU_DEFAULT: u32 = 1420;

/// The most that still fits a datagram, padded and sealed: 65,507 bytes over IPv4.
pub const MTU_MAX: i64 = 65_475;

/// Which driver moves packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoChoice {
    /// io_uring; epoll, with a warning, where there is none.
    Auto,
    /// io_uring or nothing.
    Uring,
    /// epoll.
    Epoll,
}

/// Of one interface.
#[derive(Debug, Clone)]
pub struct DeviceConfig {
    /// Its name, as `ip link` shows it.
    pub name: String,
    /// Which driver moves the packets.
    pub io: IoChoice,
    /// What the TUN device may hand over in one piece.
    pub tun_offload: TunOffload,
    /// What the sockets may.
    pub udp_offload: UdpOffload,
    /// Who speaks WireGuard.
    pub engine: EngineKind,
    /// Bytes of the longest packet; it can be changed later by `ip link`.
    pub mtu: u32,
}

impl DeviceConfig {
    /// Everything on.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            io: IoChoice::Auto,
            tun_offload: TunOffload {
                checksum: true,
                tso: true,
                uso: true,
            },
            udp_offload: UdpOffload {
                gso: true,
                gro: true,
            },
            engine: EngineKind::default(),
            mtu: MTU_DEFAULT,
        }
    }
}
