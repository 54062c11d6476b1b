//! The relay's URL, and the address it stands for.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _};
use std::str::FromStr;

use towline_tls::pki_types::ServerName;

/// A relay by its URL: `https://host[:port][/path]` or with `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Whether TLS is spoken.
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// Port; 443 or 80 if the URL had none.
    pub port: u16,
    /// Path of the request; `/derp` if the URL had none.
    pub path: String,
    /// What stands between scheme and path: the `Host` of the request.
    pub authority: String,
}

/// Why a text is no URL of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Another scheme, or none.
    #[error("the URL must begin with https:// or http://")]
    Scheme,
    /// The host is missing or cannot be one.
    #[error("the URL has no usable host")]
    Host,
    /// The port is no port.
    #[error("the URL's port is not a number from 1 to 65535")]
    Port,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        let (tls, rest) = if let Some(rest) = url.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = url.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err(TargetError::Scheme);
        };
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(slash);
        let (host, port) = split_port(authority)?;
        let port = match port {
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or(TargetError::Port)?,
            None if tls => 443,
            None => 80,
        };
        if ServerName::try_from(host).is_err() {
            return Err(TargetError::Host);
        }
        Ok(Self {
            tls,
            host: host.to_owned(),
            port,
            path: if path.len() > 1 { path } else { "/derp" }.to_owned(),
            authority: authority.to_owned(),
        })
    }
}

impl Target {
    /// Where to connect: `instead`, or the first address that the host resolves to.
    pub(crate) fn resolve(&self, instead: Option<IpAddr>) -> io::Result<SocketAddr> {
        if let Some(address) = instead {
            return Ok(SocketAddr::new(address, self.port));
        }
        (self.host.as_str(), self.port)
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the host has no address"))
    }

    pub(crate) fn server_name(&self) -> ServerName<'static> {
        ServerName::try_from(self.host.clone()).expect("checked when the URL was read")
    }
}

/// Splits `host:port`, `[v6]:port`, and either without a port.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), TargetError> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or(TargetError::Host)?;
        return match after {
            "" => Ok((host, None)),
            _ => Ok((
                host,
                Some(after.strip_prefix(':').ok_or(TargetError::Port)?),
            )),
        };
    }
    Ok(match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target: Target = "https://relay.example.com".parse().unwrap();
        assert_eq!((target.tls, target.port), (true, 443));
        assert_eq!(target.path, "/derp");
        let target: Target = "http://[::1]:3340/derp".parse().unwrap();
        assert_eq!((target.tls, target.port), (false, 3340));
        assert_eq!(
            (target.host.as_str(), target.authority.as_str()),
            ("::1", "[::1]:3340")
        );
        let there = target.resolve(Some([127, 0, 0, 1].into())).unwrap();
        assert_eq!(there.to_string(), "127.0.0.1:3340");
    }

    #[test]
    fn what_is_no_url_of_a_relay_is_refused() {
        for (url, error) in [
            ("relay.example.com", TargetError::Scheme),
            ("https://", TargetError::Host),
            ("https://a b/", TargetError::Host),
            ("https://[::1", TargetError::Host),
            ("https://h:0", TargetError::Port),
            ("https://h:x", TargetError::Port),
        ] {
            assert_eq!(url.parse::<Target>(), Err(error), "{url}");
        }
    }
}
