//! The header of the PROXY protocol, version 2, which a load balancer sends before all else to say whom it speaks for
//! (haproxy's `proxy-protocol.txt`, section 2.2). Extensions are skipped. Whether a header is expected is the caller's to
//! know: it must never be looked for on a connection of a stranger.

use core::net::SocketAddr;

use ppp::v2::{Addresses, Command, Header, ParseError};
use towline_wire::limits::PROXY_HEADER_BYTES_MAX;

/// Bytes before addresses and extensions.
const FIXED_BYTES: usize = 16;

/// What a header said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProxyHeader {
    /// The client's address; `None` when the balancer speaks for itself (`LOCAL`) or has no such address.
    pub client: Option<SocketAddr>,
    /// Bytes of the header; what the client sent is behind them.
    pub len: usize,
}

/// Why it is no header.
#[derive(Debug, PartialEq, thiserror::Error)]
pub enum ProxyError {
    /// Something else, or a header that contradicts itself.
    #[error(transparent)]
    Malformed(ParseError),
    /// It says that it is longer than the limit.
    #[error("it has {0} bytes, more than {PROXY_HEADER_BYTES_MAX}")]
    TooLong(usize),
}

/// Reads the header at the start of a connection; `None` while more bytes are needed. What it gives does not change with
/// bytes that come later.
///
/// # Errors
/// The connection does not begin with a header that can be used.
pub fn parse(bytes: &[u8]) -> Result<Option<ProxyHeader>, ProxyError> {
    let (len, header) = match Header::try_from(bytes) {
        Ok(header) => (header.header.len(), Some(header)),
        Err(ParseError::Partial(_, announced)) => (FIXED_BYTES + announced, None),
        Err(ParseError::Incomplete(_)) => return Ok(None),
        Err(error) => return Err(ProxyError::Malformed(error)),
    };
    if len > PROXY_HEADER_BYTES_MAX {
        return Err(ProxyError::TooLong(len));
    }
    Ok(header.map(|header| ProxyHeader {
        client: client(&header),
        len,
    }))
}

fn client(header: &Header<'_>) -> Option<SocketAddr> {
    match (header.command, &header.addresses) {
        (Command::Proxy, Addresses::IPv4(v4)) => {
            Some(SocketAddr::new(v4.source_address.into(), v4.source_port))
        }
        (Command::Proxy, Addresses::IPv6(v6)) => {
            Some(SocketAddr::new(v6.source_address.into(), v6.source_port))
        }
        (Command::Local, _) | (_, Addresses::Unspecified | Addresses::Unix(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header for TCP over IPv4 with so many bytes of extensions.
    fn header(extensions: u16) -> Vec<u8> {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11".to_vec();
        bytes.extend((12 + extensions).to_be_bytes());
        bytes.extend([192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb]);
        bytes.resize(bytes.len() + usize::from(extensions), 0);
        bytes
    }

    #[test]
    fn a_header_names_the_client_and_leaves_the_rest() {
        let mut bytes = header(0);
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), Ok(None), "{cut}");
        }
        bytes.extend_from_slice(b"\x16\x03\x01");
        let header = parse(&bytes).unwrap().unwrap();
        assert_eq!(header.client, Some("192.0.2.1:4660".parse().unwrap()));
        assert_eq!(bytes[header.len..], *b"\x16\x03\x01");
    }

    #[test]
    fn a_balancer_that_speaks_for_itself_names_nobody() {
        let mut bytes = header(0);
        bytes[12] = 0x20;
        assert_eq!(parse(&bytes).unwrap().unwrap().client, None);
    }

    #[test]
    fn anything_else_is_refused() {
        assert_eq!(
            parse(b"GET /derp HTTP/1.1\r\n"),
            Err(ProxyError::Malformed(ParseError::Prefix))
        );
    }

    #[test]
    fn the_limit_is_one_of_the_header_however_it_arrives() {
        let most = (PROXY_HEADER_BYTES_MAX - 28) as u16;
        let whole = header(most);
        assert_eq!(parse(&whole[..whole.len() - 1]), Ok(None));
        assert_eq!(parse(&whole).unwrap().unwrap().len, PROXY_HEADER_BYTES_MAX);
        let longer = header(most + 1);
        let refused = Err(ProxyError::TooLong(PROXY_HEADER_BYTES_MAX + 1));
        assert_eq!(parse(&longer), refused);
        assert_eq!(parse(&longer[..FIXED_BYTES]), refused);
    }
}
