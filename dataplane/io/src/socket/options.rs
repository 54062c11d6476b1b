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

/// When a silent connection is probed (`SO_KEEPALIVE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence before the first probe; whole seconds.
    pub idle: Duration,
    /// Between probes; whole seconds.
    pub interval: Duration,
    /// Unanswered probes that end the connection.
    pub probes: u32,
}

/// Options of a connection. A listener that has them passes them on to the connections that it accepts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConnectionOptions {
    /// The socket counts as full while the kernel holds this many bytes that were never sent
    /// (`TCP_NOTSENT_LOWAT`): the backlog then stays with the caller, where it can be reordered and
    /// dropped. `None`: the host's setting.
    pub notsent_lowat: Option<u32>,
    /// The connection fails when sent bytes stay unacknowledged that long (`TCP_USER_TIMEOUT`); `None`
    /// leaves it to the kernel's retransmissions, many minutes.
    pub user_timeout: Option<Duration>,
    /// Whether a silent connection is probed.
    pub keepalive: Option<Keepalive>,
}

impl ConnectionOptions {
    /// Sets these, and `TCP_NODELAY`.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set(&self, socket: &impl AsFd) -> io::Result<()> {
        set_nodelay(socket, true)?;
        let socket = SockRef::from(socket);
        if let Some(bytes) = self.notsent_lowat {
            socket.set_tcp_notsent_lowat(bytes)?;
        }
        if self.user_timeout.is_some() {
            socket.set_tcp_user_timeout(self.user_timeout)?;
        }
        if let Some(keepalive) = self.keepalive {
            let params = TcpKeepalive::new()
                .with_time(keepalive.idle)
                .with_interval(keepalive.interval)
                .with_retries(keepalive.probes);
            socket.set_tcp_keepalive(&params)?;
        }
        Ok(())
    }
}

/// Acknowledges at once what was received, instead of with the next answer or 40 ms later (`TCP_QUICKACK`): a peer without
/// `TCP_NODELAY` sends nothing more until then.
///
/// # Errors
/// What the kernel says.
pub fn acknowledge(socket: &impl AsFd) -> io::Result<()> {
    SockRef::from(socket).set_tcp_quickack(true)
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

/// Sets an option that takes an int, of those that `socket2` lacks.
pub(crate) fn set_int(
    socket: &impl AsRawFd,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    let value = core::ptr::from_ref(&value).cast();
    // SAFETY: `value` is valid for the call to read `len` bytes.
    let result = unsafe { libc::setsockopt(socket.as_raw_fd(), level, option, value, len) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
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
        let options = ConnectionOptions {
            notsent_lowat: Some(65_536),
            user_timeout: Some(Duration::from_secs(15)),
            keepalive: Some(Keepalive {
                idle: Duration::from_secs(60),
                interval: Duration::from_secs(1),
                probes: 3,
            }),
        };
        options.set(&one).unwrap();
        let socket = SockRef::from(&one);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), 65_536);
        assert!(socket.tcp_nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(peer_addr(&one).unwrap(), local_addr(&other).unwrap());
        acknowledge(&one).unwrap();
        ConnectionOptions::default().set(&other).unwrap();
        assert!(!SockRef::from(&other).keepalive().unwrap());
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
