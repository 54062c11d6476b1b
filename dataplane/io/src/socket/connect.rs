//! Outgoing connections from a chosen address.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// Connects from `source`, whose port the kernel chooses at the last moment, so that it may share
/// ports between targets: one address has ports for some 28,000 connections to each target, and
/// more source addresses have more.
///
/// # Errors
/// `TimedOut`, `ConnectionRefused`, `AddrNotAvailable` (no port left), and the like.
pub fn connect_from(
    source: Option<IpAddr>,
    target: SocketAddr,
    timeout: Duration,
) -> io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if let Some(source) = source {
        set_late_port(&socket)?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    socket.connect_timeout(&target.into(), timeout)?;
    Ok(socket.into())
}

/// `IP_BIND_ADDRESS_NO_PORT`; the option is the same for IPv6.
fn set_late_port(socket: &Socket) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option takes one int, valid for the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            core::ptr::from_ref(&on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn the_source_address_is_the_one_asked_for() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let source: IpAddr = "127.0.0.9".parse().unwrap();
        let target = listener.local_addr().unwrap();
        let stream = connect_from(Some(source), target, Duration::from_secs(5)).unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), source);
        assert_eq!(listener.accept().unwrap().1.ip(), source);
    }

    #[test]
    fn nobody_listening_is_an_error() {
        let target = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let error = connect_from(None, target, Duration::from_secs(5)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }
}
