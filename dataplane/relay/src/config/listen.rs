//! Listen addresses of DERP, HTTP and STUN.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use towline_wire::limits;

use super::IpPrefix;
use std::net::ToSocketAddrs;
use std::str::FromStr;

use super::go;
use super::setting::{Field, Group, Item, Kind, Setting, setting};

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
            port: limits::STUN_PORT,
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

impl FromStr for ListenAddress {
    type Err = String;

    /// Reads Go's form. A name is looked up now, IPv4 first as Go does.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |hint: &str| {
            format!(
                "{text:?} is not a listen address ({hint}); write :443, 192.0.2.1:443 or [2001:db8::1]:443"
            )
        };
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| wrong("the port is missing"))?;
        let port = match port {
            "https" => 443,
            "http" => 80,
            port => port
                .parse()
                .map_err(|_| wrong("the port must be 0 to 65535"))?,
        };
        let bracketed = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let ip = match (host, bracketed) {
            ("", _) => None,
            (_, Some(ipv6)) => {
                let ip: Ipv6Addr = ipv6
                    .parse()
                    .map_err(|_| wrong("the brackets must hold an IPv6 address"))?;
                Some(IpAddr::V6(ip))
            }
            (host, None) if host.contains(':') => {
                return Err(wrong("an IPv6 address stands in brackets"));
            }
            (host, None) => Some(look_up(host).ok_or_else(|| wrong("the host is unknown"))?),
        };
        Ok(Self { ip, port })
    }
}

fn look_up(host: &str) -> Option<IpAddr> {
    if let Ok(ip) = host.parse() {
        return Some(ip);
    }
    let found: Vec<SocketAddr> = (host, 0).to_socket_addrs().ok()?.collect();
    found
        .iter()
        .find(|address| address.is_ipv4())
        .or_else(|| found.first())
        .map(SocketAddr::ip)
}

impl Field for ListenAddress {
    const KIND: Kind = Kind::Text;
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }
    fn show(&self) -> toml::Value {
        self.to_string().into()
    }
}

impl Item for IpPrefix {
    fn parse(text: &str) -> Result<Self, String> {
        text.parse()
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        short: Some('a'),
        ..setting!(
            Listening,
            "listen",
            "listen.address",
            "ADDR",
            listen.address,
            "Address to serve on: :port, ip:port or [ip]:port; without an IP, every address of the host. TLS is spoken if the port is 443, or if --certmode is manual or self-signed"
        )
    },
    Setting {
        long: "http-port",
        short: None,
        key: "listen.http_port",
        group: Group::Listening,
        value_name: "PORT",
        help: "Port for plain HTTP beside TLS (captive portal checks, ACME, redirects), on the same IP; -1 switches it off",
        reloads: false,
        kind: Kind::Integer,
        set: |config, text| {
            config.listen.http_port = match go::parse_int(text)? {
                -1 => None,
                port => Some(u16::try_from(port).map_err(|_| {
                    format!("{port} is no port: give 0 to 65535, or -1 to switch it off")
                })?),
            };
            Ok(())
        },
        show: |config| config.listen.http_port.map_or(-1, i64::from).into(),
    },
    setting!(
        Listening,
        "stun",
        "stun.enabled",
        "BOOL",
        stun.enabled,
        "Answer STUN on the same IP"
    ),
    setting!(
        Listening,
        "stun-port",
        "stun.port",
        "PORT",
        stun.port,
        "UDP port for STUN"
    ),
    setting!(
        Listening,
        "proxy-protocol-from",
        "listen.proxy_protocol_from",
        "CIDR,…",
        listen.proxy_protocol_from,
        "Load balancers in front: connections from here must begin with a PROXY protocol v2 header, which is believed"
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_as_go_reads_them() {
        let cases = [
            (":443", "[::]:443", ":443"),
            (":https", "[::]:443", ":443"),
            ("192.0.2.1:8443", "192.0.2.1:8443", "192.0.2.1:8443"),
            ("[2001:db8::1]:0", "[2001:db8::1]:0", "[2001:db8::1]:0"),
            ("[::]:443", "[::]:443", "[::]:443"),
        ];
        for (text, bound, written) in cases {
            let address: ListenAddress = text.parse().unwrap();
            assert_eq!(address.socket_addr().to_string(), bound, "{text}");
            assert_eq!(address.to_string(), written, "{text}");
        }
        assert!(
            "localhost:3340"
                .parse::<ListenAddress>()
                .unwrap()
                .ip
                .unwrap()
                .is_loopback()
        );
    }

    #[test]
    fn a_wrong_address_says_what_is_wrong() {
        let cases = [
            ("443", "port is missing"),
            (":99999", "0 to 65535"),
            ("2001:db8::1:443", "in brackets"),
            ("[nonsense]:443", "IPv6"),
            ("no-such-host.invalid:443", "unknown"),
        ];
        for (text, says) in cases {
            let error = text.parse::<ListenAddress>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
