//! The sockets that the relay listens on: those that the service manager passed, and for whatever it did not pass its
//! own. Serving them is `stage`'s and `stun`'s. Called once, by the start.

use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};

use anyhow::{Context as _, bail};
use towline_io::socket::{ConnectionOptions, ListenOptions, Passed, PassedSocket, listen};
use tracing::info;

use crate::admin::{ListenerKind, ListenerStatus};
use crate::config::{ListenAddress, RelayConfig};
use crate::stage::{Listener, Purpose};
use crate::stun;

/// Names that a passed socket can have (`FileDescriptorName=`) to say what it is for. Any other name, such as that of
/// the socket unit, says nothing: then the protocol and the port do.
const NAMES: [(&str, ListenerKind); 4] = [
    ("derp", ListenerKind::Derp),
    ("https", ListenerKind::Derp),
    ("http", ListenerKind::Http),
    ("stun", ListenerKind::Stun),
];

/// All of them.
pub(crate) struct Listeners {
    pub(crate) tcp: Vec<Listener>,
    pub(crate) stun: Vec<UdpSocket>,
}

impl Listeners {
    /// Sorts the passed sockets and opens those that are missing. Several may be passed for one purpose, such as one for
    /// IPv4 and one for IPv6.
    ///
    /// # Errors
    /// A passed socket is of no use to this configuration, or an address cannot be had; the reason says which.
    pub(crate) fn open(config: &RelayConfig, passed: Vec<Passed>) -> anyhow::Result<Self> {
        let wanted = Wanted::of(config);
        let mut listeners = Self {
            tcp: Vec::new(),
            stun: Vec::new(),
        };
        for passed in passed {
            let name = passed.name.clone().unwrap_or_else(|| "no name".to_owned());
            listeners
                .take(&wanted, passed)
                .with_context(|| format!("the service manager passed a socket ({name})"))?;
        }
        listeners.open_missing(&wanted)?;
        Ok(listeners)
    }

    /// For the admin socket.
    pub(crate) fn status(&self) -> anyhow::Result<Vec<ListenerStatus>> {
        let mut status = Vec::new();
        for listener in &self.tcp {
            status.push(ListenerStatus {
                kind: match listener.purpose.plain_http_port {
                    true => ListenerKind::Http,
                    false => ListenerKind::Derp,
                },
                address: listener.socket.local_addr()?,
                tls: listener.purpose.tls,
            });
        }
        for socket in &self.stun {
            status.push(ListenerStatus {
                kind: ListenerKind::Stun,
                address: socket.local_addr()?,
                tls: false,
            });
        }
        Ok(status)
    }

    fn take(&mut self, wanted: &Wanted, passed: Passed) -> anyhow::Result<()> {
        let named = NAMES
            .iter()
            .find(|(name, _)| passed.name.as_deref() == Some(*name))
            .map(|(_, kind)| *kind);
        match passed.socket {
            PassedSocket::Tcp(socket) => {
                let address = socket.local_addr()?;
                let kind = match named {
                    Some(ListenerKind::Stun) => bail!("stun is UDP, and this listens for TCP"),
                    Some(kind) => kind,
                    None => wanted.tcp_kind(address.port())?,
                };
                if kind == ListenerKind::Http && wanted.http.is_none() {
                    bail!(
                        "there is no plain HTTP port beside the main listener: it has no TLS, or -http-port is -1"
                    );
                }
                info!(%address, ?kind, "socket taken over from the service manager");
                self.tcp.push(wanted.listener(socket, kind, false));
            }
            PassedSocket::Udp(socket) => {
                let address = socket.local_addr()?;
                match named {
                    Some(ListenerKind::Derp | ListenerKind::Http) => {
                        bail!("its name is that of a TCP listener, and this is UDP")
                    }
                    Some(ListenerKind::Stun) => {}
                    None => wanted.check_stun_port(address.port())?,
                }
                if wanted.stun.is_none() {
                    bail!("STUN is switched off by -stun=false");
                }
                info!(%address, kind = ?ListenerKind::Stun, "socket taken over from the service manager");
                self.stun.push(socket);
            }
            PassedSocket::Other(what) => bail!("it is {what}"),
        }
        Ok(())
    }

    fn open_missing(&mut self, wanted: &Wanted) -> anyhow::Result<()> {
        if !self
            .tcp
            .iter()
            .any(|listener| !listener.purpose.plain_http_port)
        {
            let socket = wanted.bind(wanted.derp)?;
            self.tcp
                .push(wanted.listener(socket, ListenerKind::Derp, true));
        }
        if let Some(address) = wanted.http
            && !self
                .tcp
                .iter()
                .any(|listener| listener.purpose.plain_http_port)
        {
            let socket = wanted.bind(address)?;
            self.tcp
                .push(wanted.listener(socket, ListenerKind::Http, true));
        }
        if let Some(address) = wanted.stun
            && self.stun.is_empty()
        {
            self.stun.push(bind_stun(address)?);
        }
        Ok(())
    }
}

/// What the configuration says.
struct Wanted {
    derp: ListenAddress,
    http: Option<ListenAddress>,
    stun: Option<ListenAddress>,
    tls: bool,
    connections: ConnectionOptions,
}

impl Wanted {
    fn of(config: &RelayConfig) -> Self {
        let derp = config.listen.address;
        let http_port = config.listen.http_port.filter(|_| config.tls.enabled);
        Self {
            derp,
            http: http_port.map(|port| derp.with_port(port)),
            stun: config
                .stun
                .enabled
                .then(|| derp.with_port(config.stun.port)),
            tls: config.tls.enabled,
            connections: config.tcp.accepted(),
        }
    }

    fn listener(&self, socket: TcpListener, kind: ListenerKind, has_options: bool) -> Listener {
        let plain_http_port = kind == ListenerKind::Http;
        Listener {
            socket,
            purpose: Purpose {
                tls: self.tls && !plain_http_port,
                plain_http_port,
                has_options,
            },
        }
    }

    /// Binds an address; on a host without IPv6 the wildcard is IPv4's.
    fn bind(&self, address: ListenAddress) -> anyhow::Result<TcpListener> {
        let options = ListenOptions {
            connections: self.connections,
            ..ListenOptions::default()
        };
        let bound = match listen(address.socket_addr(), options) {
            Err(_) if address.ip.is_none() => listen(ipv4_wildcard(address), options),
            bound => bound,
        };
        bound.map_err(|error| refused(address, error))
    }

    /// What a TCP listener without a name of ours is for.
    fn tcp_kind(&self, port: u16) -> anyhow::Result<ListenerKind> {
        if port == self.derp.port {
            return Ok(ListenerKind::Derp);
        }
        if self.http.is_some_and(|http| http.port == port) {
            return Ok(ListenerKind::Http);
        }
        let http = self.http.map_or_else(String::new, |http| {
            format!(" nor that of plain HTTP ({})", http.port)
        });
        bail!(
            "TCP port {port} is not that of the main listener ({}){http}; set -a or -http-port, or \
             FileDescriptorName= to derp or http",
            self.derp.port
        )
    }

    fn check_stun_port(&self, port: u16) -> anyhow::Result<()> {
        match self.stun {
            Some(stun) if stun.port != port => bail!(
                "UDP port {port} is not that of STUN ({}); set -stun-port, or FileDescriptorName= to stun",
                stun.port
            ),
            _ => Ok(()),
        }
    }
}

/// Why an address cannot be listened on, and what may help.
fn refused(address: ListenAddress, error: io::Error) -> anyhow::Error {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "; another server is there",
        io::ErrorKind::PermissionDenied => "; ports below 1024 need root or CAP_NET_BIND_SERVICE",
        io::ErrorKind::AddrNotAvailable => "; no interface of this machine has that address",
        _ => "",
    };
    anyhow::Error::new(error).context(format!("listening on {address}{hint}"))
}

fn bind_stun(address: ListenAddress) -> anyhow::Result<UdpSocket> {
    let bound = match stun::bind(address.socket_addr()) {
        Err(_) if address.ip.is_none() => stun::bind(ipv4_wildcard(address)),
        bound => bound,
    };
    bound.with_context(|| {
        format!("listening for STUN on UDP {address}; -stun=false switches it off")
    })
}

fn ipv4_wildcard(address: ListenAddress) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], address.port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> RelayConfig {
        let mut config = RelayConfig::default();
        config.listen.address = "127.0.0.1:0".parse().unwrap();
        config.listen.http_port = None;
        config.stun.enabled = false;
        config
    }

    fn tcp(name: Option<&str>) -> (Passed, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (passed(name, PassedSocket::Tcp(socket)), address)
    }

    fn udp(name: Option<&str>) -> (Passed, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (passed(name, PassedSocket::Udp(socket)), address)
    }

    fn passed(name: Option<&str>, socket: PassedSocket) -> Passed {
        Passed {
            name: name.map(str::to_owned),
            socket,
        }
    }

    /// What the relay listens on, as `kind address`.
    fn opened(config: &RelayConfig, passed: Vec<Passed>) -> Vec<(ListenerKind, SocketAddr)> {
        let listeners = Listeners::open(config, passed).unwrap();
        let status = listeners.status().unwrap();
        status.iter().map(|one| (one.kind, one.address)).collect()
    }

    #[track_caller]
    fn refused(config: &RelayConfig, socket: Passed, says: &str) {
        let error = Listeners::open(config, vec![socket]).err().unwrap();
        let error = format!("{error:#}");
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn names_say_what_a_socket_is_for_whatever_its_port() {
        let mut config = config();
        config.tls.enabled = true;
        config.listen.http_port = Some(80);
        config.stun.enabled = true;
        let (main, main_address) = tcp(Some("derp"));
        let (second, second_address) = tcp(Some("https"));
        let (http, http_address) = tcp(Some("http"));
        let (stun, stun_address) = udp(Some("stun"));
        let opened = opened(&config, vec![http, main, stun, second]);
        assert_eq!(
            opened,
            [
                (ListenerKind::Http, http_address),
                (ListenerKind::Derp, main_address),
                (ListenerKind::Derp, second_address),
                (ListenerKind::Stun, stun_address),
            ]
        );
    }

    #[test]
    fn without_a_name_of_ours_the_port_does() {
        let mut config = config();
        config.tls.enabled = true;
        config.stun.enabled = true;
        let (main, main_address) = tcp(Some("towline-relay.socket"));
        let (http, http_address) = tcp(None);
        let (stun, stun_address) = udp(Some("towline-relay.socket"));
        config.listen.address = config.listen.address.with_port(main_address.port());
        config.listen.http_port = Some(http_address.port());
        config.stun.port = stun_address.port();
        let opened = opened(&config, vec![stun, http, main]);
        assert_eq!(
            opened,
            [
                (ListenerKind::Http, http_address),
                (ListenerKind::Derp, main_address),
                (ListenerKind::Stun, stun_address),
            ]
        );
    }

    #[test]
    fn what_was_not_passed_is_opened() {
        let mut config = config();
        config.stun.enabled = true;
        config.stun.port = 0;
        let (main, main_address) = tcp(Some("derp"));
        let opened = opened(&config, vec![main]);
        assert_eq!(opened[0], (ListenerKind::Derp, main_address));
        assert_eq!(opened[1].0, ListenerKind::Stun);
        assert_ne!(opened[1].1.port(), 0);
    }

    #[test]
    fn a_socket_that_is_of_no_use_stops_the_start() {
        let mut config = config();
        refused(&config, tcp(Some("http")).0, "no plain HTTP port");
        refused(&config, tcp(Some("stun")).0, "stun is UDP");
        refused(&config, tcp(None).0, "is not that of the main listener (0)");
        refused(
            &config,
            udp(Some("derp")).0,
            "TCP listener, and this is UDP",
        );
        refused(&config, udp(None).0, "-stun=false");
        refused(&config, udp(Some("stun")).0, "-stun=false");
        config.stun.enabled = true;
        refused(&config, udp(None).0, "is not that of STUN (3478)");
        let other = passed(Some("derp"), PassedSocket::Other("no internet socket"));
        refused(&config, other, "(derp): it is no internet socket");
    }
}
