//! Listening sockets.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::ConnectionOptions;

/// How to listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenOptions {
    /// Several listeners may share the address; the kernel spreads connections over them.
    pub reuse_port: bool,
    /// An IPv6 wildcard takes IPv4 connections too.
    pub dual_stack: bool,
    /// Connections that may wait to be accepted; the kernel caps it at `net.core.somaxconn`.
    pub backlog: u32,
    /// What the connections have from the first moment.
    pub connections: ConnectionOptions,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            reuse_port: false,
            dual_stack: true,
            backlog: 4096,
            connections: ConnectionOptions::default(),
        }
    }
}

/// A listener that does not block and can be bound while old connections linger
/// (`SO_REUSEADDR`).
///
/// # Errors
/// `AddrInUse`, `PermissionDenied` (a port below 1024), `AddrNotAvailable`, and the like.
pub fn listen(addr: SocketAddr, options: ListenOptions) -> io::Result<TcpListener> {
    let kind = Type::STREAM.nonblocking();
    let socket = Socket::new(Domain::for_address(addr), kind, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(!options.dual_stack)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(options.reuse_port)?;
    options.connections.set(&socket)?;
    socket.bind(&addr.into())?;
    socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use socket2::SockRef;

    use super::*;
    use crate::socket::{Keepalive, peer_addr};

    #[test]
    fn two_listeners_share_a_port_when_asked() {
        let options = ListenOptions {
            reuse_port: true,
            ..ListenOptions::default()
        };
        let first = listen("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let addr = first.local_addr().unwrap();
        let second = listen(addr, options).unwrap();
        assert_eq!(second.local_addr().unwrap(), addr);
        let refused = listen(addr, ListenOptions::default()).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn connections_have_the_options_of_their_listener() {
        let keepalive = Keepalive {
            idle: Duration::from_secs(77),
            interval: Duration::from_secs(78),
            probes: 9,
        };
        let options = ListenOptions {
            connections: ConnectionOptions {
                notsent_lowat: Some(65_536),
                user_timeout: Some(Duration::from_secs(15)),
                keepalive: Some(keepalive),
            },
            ..ListenOptions::default()
        };
        let listener = listen("127.0.0.1:0".parse().unwrap(), options).unwrap();
        let _peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (ours, _) = listener.accept().unwrap();
        let ours = SockRef::from(&ours);
        assert!(ours.tcp_nodelay().unwrap() && ours.keepalive().unwrap());
        assert_eq!(ours.tcp_notsent_lowat().unwrap(), 65_536);
        let user_timeout = Some(Duration::from_secs(15));
        assert_eq!(ours.tcp_user_timeout().unwrap(), user_timeout);
        assert_eq!(ours.tcp_keepalive_time().unwrap(), keepalive.idle);
        assert_eq!(ours.tcp_keepalive_interval().unwrap(), keepalive.interval);
        assert_eq!(ours.tcp_keepalive_retries().unwrap(), keepalive.probes);
    }

    #[test]
    fn a_dual_stack_listener_sees_ipv4_peers_as_ipv4() {
        let Ok(listener) = listen("[::]:0".parse().unwrap(), ListenOptions::default()) else {
            return; // a host without IPv6
        };
        let port = listener.local_addr().unwrap().port();
        let peer = TcpStream::connect(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (ours, _) = listener.accept().unwrap();
        assert_eq!(peer_addr(&ours).unwrap(), peer.local_addr().unwrap());
    }
}
