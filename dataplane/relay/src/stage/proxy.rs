//! The PROXY protocol, version 2, from load balancers that the operator trusts.

use std::net::SocketAddr;

use ppp::v2::{Addresses, Header, ParseError};

use super::stream::Stream;
use crate::config::IpPrefix;

/// A header with all its extensions is no longer.
const HEADER_BYTES_MAX: usize = 4 << 10;

/// What a header said, and what was read behind it.
pub(super) struct ProxyHeader {
    /// The client's address; `None` when the balancer speaks for itself (`LOCAL`).
    pub(super) client: Option<SocketAddr>,
    pub(super) rest: Vec<u8>,
}

/// Whether this peer must begin with a header.
pub(super) fn is_expected(trusted: &[IpPrefix], peer: SocketAddr) -> bool {
    trusted.iter().any(|prefix| prefix.contains(peer.ip()))
}

/// Reads the header.
pub(super) async fn read<S: Stream>(stream: &S) -> Result<ProxyHeader, String> {
    let mut bytes = Vec::new();
    loop {
        let more = stream
            .read(Vec::with_capacity(512))
            .await
            .map_err(|error| error.to_string())?;
        if more.is_empty() {
            return Err("the connection ended within it".to_owned());
        }
        bytes.extend_from_slice(&more);
        match parse(&bytes) {
            Ok(header) => return Ok(header),
            Err(ParseError::Incomplete(_) | ParseError::Partial(..))
                if bytes.len() < HEADER_BYTES_MAX => {}
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn parse(bytes: &[u8]) -> Result<ProxyHeader, ParseError> {
    let header = Header::try_from(bytes)?;
    let client = match (header.command, header.addresses) {
        (ppp::v2::Command::Local, _) => None,
        (_, Addresses::IPv4(v4)) => Some(SocketAddr::new(v4.source_address.into(), v4.source_port)),
        (_, Addresses::IPv6(v6)) => Some(SocketAddr::new(v6.source_address.into(), v6.source_port)),
        _ => None,
    };
    let len = header.header.len();
    Ok(ProxyHeader {
        client,
        rest: bytes[len..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_the_client_and_leaves_the_rest() {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        bytes.extend_from_slice(&[192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb]);
        for cut in 0..bytes.len() {
            assert!(parse(&bytes[..cut]).is_err());
        }
        bytes.extend_from_slice(b"\x16\x03\x01");
        let header = parse(&bytes).unwrap();
        assert_eq!(header.client, Some("192.0.2.1:4660".parse().unwrap()));
        assert_eq!(header.rest, b"\x16\x03\x01");
    }

    #[test]
    fn anything_else_is_refused() {
        assert!(matches!(
            parse(b"GET /derp HTTP/1.1\r\n"),
            Err(ParseError::Prefix)
        ));
    }
}
