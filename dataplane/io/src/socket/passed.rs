//! Sockets that the service manager opened before it started this process (`sd_listen_fds(3)`): their descriptors begin
//! at 3, `LISTEN_PID` says whom they are for, `LISTEN_FDS` how many there are, `LISTEN_FDNAMES` what they are called.

use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use socket2::{Socket, Type};

/// What `sd-notify` calls a descriptor that came without a name.
const NO_NAME: &str = "unknown";

/// A descriptor from the service manager.
#[derive(Debug)]
pub struct Passed {
    /// systemd's `FileDescriptorName=`, by default the name of the socket unit.
    pub name: Option<String>,
    /// What it is.
    pub socket: PassedSocket,
}

/// What the service manager can pass. Sockets do not block.
#[derive(Debug)]
pub enum PassedSocket {
    /// A TCP socket that listens.
    Tcp(TcpListener),
    /// A UDP socket that is bound.
    Udp(UdpSocket),
    /// Anything else, in words.
    Other(&'static str),
}

/// Takes the descriptors that were passed to this process, once: a second call gives none. They are not inherited by
/// children, and the variables are gone afterwards. Call it while the process has one thread: the environment belongs
/// to all of them.
///
/// # Errors
/// The variables name descriptors that are not there, or say nothing that can be read.
pub fn take_passed() -> io::Result<Vec<Passed>> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::Relaxed) {
        return Ok(Vec::new());
    }
    let mut passed = Vec::new();
    for (fd, name) in sd_notify::listen_fds_with_names(true)? {
        // SAFETY: it is open (making it close-on-exec succeeded), it was passed to this process to own, and it is taken
        // here only, once.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        passed.push(Passed {
            name: Some(name).filter(|name| !name.is_empty() && name != NO_NAME),
            socket: PassedSocket::of(fd)?,
        });
    }
    Ok(passed)
}

impl PassedSocket {
    fn of(fd: OwnedFd) -> io::Result<Self> {
        let socket = Socket::from(fd);
        // Whatever is no socket has no such address either.
        let is_internet = socket
            .local_addr()
            .is_ok_and(|address| address.as_socket().is_some());
        if !is_internet {
            return Ok(Self::Other("no internet socket"));
        }
        socket.set_nonblocking(true)?;
        Ok(match socket.r#type()? {
            Type::STREAM if socket.is_listener()? => Self::Tcp(socket.into()),
            Type::STREAM => Self::Other("a TCP connection, where a listener is wanted (Accept=no)"),
            Type::DGRAM => Self::Udp(socket.into()),
            _ => Self::Other("neither a TCP nor a UDP socket"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::net::TcpStream;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_are_told_apart() {
        let of = |fd: OwnedFd| PassedSocket::of(fd).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let PassedSocket::Tcp(listener) = of(listener.into()) else {
            panic!("it listens");
        };
        listener.accept().unwrap();
        let nobody = listener.accept().unwrap_err();
        assert_eq!(nobody.kind(), io::ErrorKind::WouldBlock);
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(matches!(of(datagrams.into()), PassedSocket::Udp(_)));
        for other in [
            connection.into(),
            UnixStream::pair().unwrap().0.into(),
            File::open("/dev/null").unwrap().into(),
        ] {
            assert!(matches!(of(other), PassedSocket::Other(_)));
        }
    }
}
