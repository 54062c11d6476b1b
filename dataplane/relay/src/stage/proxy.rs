//! The PROXY protocol, version 2, from load balancers that the operator trusts: when a header is read, and reading it.

use std::net::SocketAddr;

use towline_derp::proxy::parse;

use super::stream::Stream;
use crate::config::IpPrefix;

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
        if let Some(header) = parse(&bytes).map_err(|error| error.to_string())? {
            return Ok(ProxyHeader {
                client: header.client,
                rest: bytes.split_off(header.len),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::io;

    use super::*;

    /// What a stream brings, a piece for each read, and then its end.
    struct Pieces<'a>(RefCell<std::slice::Chunks<'a, u8>>);

    impl Stream for Pieces<'_> {
        async fn read(&self, _: Vec<u8>) -> io::Result<Vec<u8>> {
            let piece = self.0.borrow_mut().next();
            Ok(piece.unwrap_or_default().to_vec())
        }

        async fn write_all(&self, _: Vec<u8>) -> io::Result<()> {
            panic!("nothing is answered");
        }
    }

    #[tokio::test]
    async fn a_header_is_read_in_pieces_and_what_follows_is_kept() {
        let mut sent = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        sent.extend_from_slice(&[192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb]);
        let len = sent.len();
        sent.extend_from_slice(b"\x16\x03\x01");
        for piece in 1..=sent.len() {
            let header = read(&Pieces(sent.chunks(piece).into())).await.unwrap();
            assert_eq!(header.client, Some("192.0.2.1:4660".parse().unwrap()));
            assert_eq!(
                header.rest,
                sent[len..len.next_multiple_of(piece).min(sent.len())]
            );
        }
        let ended = read(&Pieces(sent[..len - 1].chunks(7).into())).await;
        assert!(ended.err().unwrap().contains("ended within it"));
        let other = read(&Pieces(b"GET /derp HTTP/1.1".chunks(99).into())).await;
        assert!(other.is_err());
    }
}
