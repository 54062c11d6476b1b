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

/// The kernel's smoothed estimate of a round trip (`tcpi_rtt` of `TCP_INFO`).
///
/// # Errors
/// What the kernel says: it is no TCP socket.
pub fn round_trip(socket: &impl AsFd) -> io::Result<Duration> {
    // SAFETY: plain numbers, for which zeros are values.
    let mut info: libc::tcp_info = unsafe { core::mem::zeroed() };
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the descriptor is borrowed, and the kernel writes at most `len` bytes into `info`, which has as many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    match result {
        0 => Ok(Duration::from_micros(info.tcpi_rtt.into())),
        _ => Err(io::Error::last_os_error()),
    }
}

fn as_ip(addr: socket2::SockAddr) -> io::Result<SocketAddr> {
    let addr = addr.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    Ok(SocketAddr::new(addr.ip().to_canonical(), addr.port()))
}

#[cfg(test)]
mod tests {
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
        assert_eq!(SockRef::from(&one).tcp_notsent_lowat().unwrap(), 65_536);
        assert_eq!(peer_addr(&one).unwrap(), local_addr(&other).unwrap());
    }

    #[test]
    fn a_round_trip_is_known_once_there_was_one() {
        let (one, _other) = pair();
        let time = round_trip(&one).unwrap();
        assert!(
            !time.is_zero() && time < Duration::from_secs(60),
            "{time:?}"
        );
        let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(round_trip(&datagrams).is_err());
    }
}
