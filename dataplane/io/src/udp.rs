//! UDP sockets for the packet driver: with GSO and GRO, the local address and ECN bits of each
//! datagram, and buffers of a size that was checked.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::socket::set_int;

/// What is wanted of a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpOptions {
    /// 0: any.
    pub port: u16,
    /// `SO_MARK` of what is sent; 0: none.
    pub fwmark: u32,
    /// Wanted; each can be switched off because of a kernel that gets it wrong.
    pub offload: UdpOffload,
    /// Of each direction, in payload; the kernel accounts for twice that.
    pub buffer_bytes: usize,
    /// Several sockets on one port (`SO_REUSEPORT`).
    pub reuse_port: bool,
}

/// Segmentation by the kernel, wanted or in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UdpOffload {
    /// A train of datagrams leaves in one send (`UDP_SEGMENT`, Linux 4.18).
    pub gso: bool,
    /// A train of datagrams comes in one receive (`UDP_GRO`, Linux 5.0).
    pub gro: bool,
}

impl Default for UdpOptions {
    fn default() -> Self {
        Self {
            port: 0,
            fwmark: 0,
            offload: UdpOffload {
                gso: true,
                gro: true,
            },
            buffer_bytes: BUFFER_BYTES,
            reuse_port: false,
        }
    }
}

/// What wireguard-go found to end its losses on a long way: more than 50 ms of 1 Gbit/s.
const BUFFER_BYTES: usize = 7 << 20;

/// A bound socket and what it got.
#[derive(Debug)]
pub struct Udp {
    /// Does block; the driver's calls do not.
    pub fd: OwnedFd,
    /// The port it is bound to.
    pub port: u16,
    /// In effect.
    pub offload: UdpOffload,
    /// In payload, as [`UdpOptions::buffer_bytes`]: less than asked for where a sysctl
    /// (`net.core.rmem_max`) bounds it and `CAP_NET_ADMIN` is missing.
    pub recv_buffer_bytes: usize,
    /// As above (`net.core.wmem_max`).
    pub send_buffer_bytes: usize,
}

/// Binds to all IPv4 addresses.
///
/// # Errors
/// What the kernel says: the port is taken, or a fwmark needs `CAP_NET_ADMIN`.
pub fn bind_v4(options: &UdpOptions) -> io::Result<Udp> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    set_int(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    set_int(&socket, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
    // As the kernel's WireGuard: no "don't fragment" on what is sent, so that a path's MTU below
    // ours costs fragments instead of silence.
    let allow = libc::IP_PMTUDISC_DONT;
    set_int(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, allow)?;
    bind(
        socket,
        options,
        (Ipv4Addr::UNSPECIFIED, options.port).into(),
    )
}

/// Binds to all IPv6 addresses, and to no IPv4 ones.
///
/// # Errors
/// As for [`bind_v4`]; `EAFNOSUPPORT` or `EADDRNOTAVAIL` where there is no IPv6.
pub fn bind_v6(options: &UdpOptions) -> io::Result<Udp> {
    let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_only_v6(true)?;
    set_int(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
    set_int(&socket, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
    let allow = libc::IPV6_PMTUDISC_DONT;
    set_int(&socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, allow)?;
    bind(
        socket,
        options,
        (Ipv6Addr::UNSPECIFIED, options.port).into(),
    )
}

/// Marks what a socket sends from now on, for routing rules; 0: no mark.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN`.
pub fn set_fwmark(socket: &impl AsFd, fwmark: u32) -> io::Result<()> {
    SockRef::from(socket).set_mark(fwmark)
}

fn bind(socket: Socket, options: &UdpOptions, address: SocketAddr) -> io::Result<Udp> {
    if options.fwmark != 0 {
        set_fwmark(&socket, options.fwmark)?;
    }
    if options.reuse_port {
        socket.set_reuse_port(true)?;
    }
    let sizes = [
        (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF),
        (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF),
    ];
    for (force, ask) in sizes {
        let bytes = i32::try_from(options.buffer_bytes).unwrap_or(i32::MAX / 2);
        if set_int(&socket, libc::SOL_SOCKET, force, bytes).is_err() {
            set_int(&socket, libc::SOL_SOCKET, ask, bytes)?;
        }
    }
    let offload = offload(&socket, options.offload);
    socket.bind(&address.into())?;
    let bound = socket.local_addr()?.as_socket();
    Ok(Udp {
        port: bound.map_or(options.port, |bound| bound.port()),
        offload,
        recv_buffer_bytes: socket.recv_buffer_size()? / 2,
        send_buffer_bytes: socket.send_buffer_size()? / 2,
        fd: socket.into(),
    })
}

/// Tries what is wanted. A size of 0 leaves segmentation to each send, and shows that there is one.
fn offload(socket: &Socket, wanted: UdpOffload) -> UdpOffload {
    let works = |option, value| set_int(socket, libc::SOL_UDP, option, value).is_ok();
    UdpOffload {
        gso: wanted.gso && works(libc::UDP_SEGMENT, 0),
        gro: wanted.gro && works(libc::UDP_GRO, 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_share_a_port_and_get_what_they_ask_for() {
        let v4 = bind_v4(&UdpOptions::default()).unwrap();
        let same = UdpOptions {
            port: v4.port,
            ..UdpOptions::default()
        };
        let v6 = bind_v6(&same).unwrap();
        assert_eq!(v6.port, v4.port);
        for udp in [&v4, &v6] {
            assert_eq!(udp.offload, UdpOptions::default().offload);
            assert!(udp.recv_buffer_bytes > 100_000 && udp.send_buffer_bytes > 100_000);
        }
        let taken = bind_v4(&same).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_port_can_be_shared_and_offloads_switched_off() {
        let mut options = UdpOptions {
            reuse_port: true,
            offload: UdpOffload {
                gso: false,
                gro: false,
            },
            ..UdpOptions::default()
        };
        let first = bind_v4(&options).unwrap();
        options.port = first.port;
        let second = bind_v4(&options).unwrap();
        assert_eq!(second.port, first.port);
        assert_eq!(second.offload, options.offload);
    }
}
