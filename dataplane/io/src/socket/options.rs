//! Options and facts of a TCP socket. Each function is one system call on a descriptor.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Whether small segments leave at once (`TCP_NODELAY`).
///
/// # Errors
/// What the kernel says.
pub fn set_nodelay(socket: &impl AsFd, on: bool) -> io::Result<()> {
    SockRef::from(socket).set_tcp_nodelay(on)
}

/// The socket counts as full while the kernel holds this many bytes that were never sent
/// (`TCP_NOTSENT_LOWAT`): the backlog then stays with the caller, where it can be reordered and
/// dropped.
///
/// # Errors
/// What the kernel says.
pub fn set_notsent_lowat(socket: &impl AsFd, bytes: u32) -> io::Result<()> {
    SockRef::from(socket).set_tcp_notsent_lowat(bytes)
}

/// The connection fails when sent bytes stay unacknowledged that long (`TCP_USER_TIMEOUT`); `None`
/// leaves it to the kernel's retransmissions, many minutes.
///
/// # Errors
/// What the kernel says.
pub fn set_user_timeout(socket: &impl AsFd, timeout: Option<Duration>) -> io::Result<()> {
    SockRef::from(socket).set_tcp_user_timeout(timeout)
}

/// When a silent connection is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe; whole seconds.
    pub idle: Duration,
    /// Between probes; whole seconds.
    pub interval: Duration,
    /// Unanswered probes that end the connection.
    pub probes: u32,
}

/// Probes a silent connection (`SO_KEEPALIVE`), or stops to.
///
/// # Errors
/// What the kernel says.
pub fn set_keepalive(socket: &impl AsFd, keepalive: Option<Keepalive>) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let Some(Keepalive {
        idle,
        interval,
        probes,
    }) = keepalive
    else {
        return socket.set_keepalive(false);
    };
    let params = TcpKeepalive::new().with_time(idle).with_interval(interval);
    socket.set_tcp_keepalive(&params.with_retries(probes))
}

/// Fixes the send buffer (`SO_SNDBUF`; the kernel doubles the number and no longer adapts it).
///
/// # Errors
/// What the kernel says.
pub fn set_send_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    SockRef::from(socket).set_send_buffer_size(bytes)
}

/// Fixes the receive buffer (`SO_RCVBUF`; as above). For a listener: of its connections, whose
/// window is announced before they are accepted.
///
/// # Errors
/// What the kernel says.
pub fn set_recv_buffer(socket: &impl AsFd, bytes: usize) -> io::Result<()> {
    SockRef::from(socket).set_recv_buffer_size(bytes)
}

/// The peer's address. An IPv4 peer of a dual-stack socket is given as IPv4.
///
/// # Errors
/// `NotConnected` once the peer is gone.
pub fn peer_addr(socket: &impl AsFd) -> io::Result<SocketAddr> {
    as_ip(SockRef::from(socket).peer_addr()?)
}

/// Our own address, IPv4 as in [`peer_addr`].
///
/// # Errors
/// What the kernel says.
pub fn local_addr(socket: &impl AsFd) -> io::Result<SocketAddr> {
    as_ip(SockRef::from(socket).local_addr()?)
}

fn as_ip(addr: socket2::SockAddr) -> io::Result<SocketAddr> {
    let addr = addr.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    Ok(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
}

/// A sample of what TCP knows of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpFacts {
    /// Smoothed round-trip time.
    pub rtt: Duration,
    /// Its mean deviation.
    pub rtt_deviation: Duration,
    /// Segments sent again since the start.
    pub retransmits: u32,
}

/// Reads `TCP_INFO`.
///
/// # Errors
/// What the kernel says; `Unsupported` for a socket that is not TCP.
pub fn tcp_facts(socket: &impl AsFd) -> io::Result<TcpFacts> {
    // SAFETY: the struct is plain integers; zero is a value of each.
    let mut info: libc::tcp_info = unsafe { core::mem::zeroed() };
    let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` is valid for `len` bytes to be written to, and `len` for its own.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            core::ptr::from_mut(&mut info).cast(),
            &mut len,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(TcpFacts {
        rtt: Duration::from_micros(info.tcpi_rtt.into()),
        rtt_deviation: Duration::from_micros(info.tcpi_rttvar.into()),
        retransmits: info.tcpi_total_retrans,
    })
}

/// Bytes that the kernel has taken and not yet sent once (`SIOCOUTQNSD`).
///
/// # Errors
/// What the kernel says.
pub fn unsent_bytes(socket: &impl AsFd) -> io::Result<u32> {
    /// From `linux/sockios.h`; the C library has no name for it.
    const SIOCOUTQNSD: libc::c_ulong = 0x894b;
    let mut bytes: libc::c_int = 0;
    // SAFETY: this request writes one int.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), SIOCOUTQNSD as _, &mut bytes) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(bytes.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let one = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (one, listener.accept().unwrap().0)
    }

    #[test]
    fn options_are_taken_and_addresses_agree() {
        let (one, other) = pair();
        set_nodelay(&one, true).unwrap();
        set_notsent_lowat(&one, 65_536).unwrap();
        set_user_timeout(&one, Some(Duration::from_secs(15))).unwrap();
        let second = Duration::from_secs(1);
        set_keepalive(
            &one,
            Some(Keepalive {
                idle: 60 * second,
                interval: second,
                probes: 3,
            }),
        )
        .unwrap();
        set_keepalive(&one, None).unwrap();
        set_send_buffer(&one, 65_536).unwrap();
        set_recv_buffer(&one, 65_536).unwrap();
        assert_eq!(SockRef::from(&one).tcp_notsent_lowat().unwrap(), 65_536);
        assert_eq!(peer_addr(&one).unwrap(), local_addr(&other).unwrap());
    }

    #[test]
    fn a_used_connection_has_a_round_trip_time() {
        let (mut one, mut other) = pair();
        one.write_all(b"ping").unwrap();
        other.read_exact(&mut [0; 4]).unwrap();
        let facts = tcp_facts(&one).unwrap();
        assert!(facts.rtt > Duration::ZERO && facts.rtt < Duration::from_secs(1));
        assert_eq!(unsent_bytes(&one).unwrap(), 0);
    }
}
