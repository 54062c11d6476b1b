//! Listen addresses of DERP, HTTP and STUN.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::IpPrefix;

/// Where to listen for TCP.
#[derive(Clone, Debug, PartialEq)]
pub struct ListenConfig {
    /// The main listener (`-a`). STUN and the plain HTTP port bind to the same IP.
    pub address: ListenAddress,
    /// Port of the plain HTTP listener beside TLS (`-http-port`); `None` when off. It is not
    /// opened when the main listener has no TLS, as with derper.
    pub http_port: Option<u16>,
    /// Sources that must begin with a PROXY protocol v2 header, and whose header is believed.
    /// Empty: the header is never looked for.
    pub proxy_protocol_from: Vec<IpPrefix>,
}

impl Default for ListenConfig {
    fn default() -> Self {
        Self {
            address: ListenAddress {
                ip: None,
                port: 443,
            },
            http_port: Some(80),
            proxy_protocol_from: Vec::new(),
        }
    }
}

/// STUN over UDP.
#[derive(Clone, Debug, PartialEq)]
pub struct StunConfig {
    /// Answer STUN (`-stun`).
    pub enabled: bool,
    /// UDP port (`-stun-port`), on the IP of the main listener.
    pub port: u16,
}

impl Default for StunConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            port: 3478,
        }
    }
}

/// An address to listen on, in Go's form `:port`, `ip:port` or `[ip]:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListenAddress {
    /// `None`: every address of the host, IPv6 and IPv4.
    pub ip: Option<IpAddr>,
    /// Port; 0 lets the kernel choose.
    pub port: u16,
}

impl ListenAddress {
    /// The socket address to bind. All interfaces are `[::]`, which must be bound dual-stack
    /// (and as `0.0.0.0` on a host without IPv6).
    #[must_use]
    pub fn socket_addr(self) -> SocketAddr {
        SocketAddr::new(
            self.ip.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
            self.port,
        )
    }

    /// The same IP with another port.
    #[must_use]
    pub fn with_port(self, port: u16) -> Self {
        Self { port, ..self }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ip {
            None => write!(f, ":{}", self.port),
            Some(ip) => SocketAddr::new(ip, self.port).fmt(f),
        }
    }
}
