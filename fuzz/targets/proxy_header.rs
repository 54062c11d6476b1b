//! The header that a load balancer sends first, of the PROXY protocol: it is read or refused at the same byte however it
//! is cut and whatever follows, never past the limit, and names the client that its bytes name.
#![no_main]
#![forbid(unsafe_code)]

use core::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use towline_derp::proxy::{ProxyError, ProxyHeader, parse};
use towline_fuzz::{Cuts, take_byte};
use towline_wire::limits::PROXY_HEADER_BYTES_MAX;

/// What every header begins with (`proxy-protocol.txt`, section 2.2).
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Input: a byte of options, cuts, the stream. Option 1 puts the signature in front.
fn run(mut input: &[u8]) -> Option<()> {
    let options = take_byte(&mut input)?;
    let cuts = Cuts::take(&mut input)?;
    let mut stream = Vec::new();
    if options & 1 == 1 {
        stream.extend_from_slice(SIGNATURE);
    }
    stream.extend_from_slice(input);
    let whole = parse(&stream).transpose();
    let pieces = feed(cuts.pieces(&stream));
    assert_eq!(pieces, whole);
    match whole {
        Some(Ok(header)) => check(&stream, header),
        Some(Err(ProxyError::TooLong(len))) => {
            assert!(len > PROXY_HEADER_BYTES_MAX && len == announced(&stream));
        }
        Some(Err(ProxyError::Malformed(_))) => {}
        None => assert!(stream.len() < PROXY_HEADER_BYTES_MAX),
    }
    Some(())
}

/// What the relay does: it looks again after each piece, until it knows.
fn feed<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Option<Result<ProxyHeader, ProxyError>> {
    let mut bytes = Vec::new();
    for piece in pieces {
        bytes.extend_from_slice(piece);
        if let Some(known) = parse(&bytes).transpose() {
            return Some(known);
        }
    }
    None
}

fn check(stream: &[u8], header: ProxyHeader) {
    assert!(header.len <= PROXY_HEADER_BYTES_MAX.min(stream.len()));
    assert_eq!(header.len, announced(stream));
    assert!(stream.starts_with(SIGNATURE));
    assert_eq!(header.client, client(&stream[..header.len]));
}

/// The length of the header as it says itself.
fn announced(stream: &[u8]) -> usize {
    16 + usize::from(u16::from_be_bytes([stream[14], stream[15]]))
}

/// The source of a header for somebody else, read once more.
fn client(header: &[u8]) -> Option<SocketAddr> {
    let addresses = &header[16..];
    let (ip, port): (IpAddr, _) = match (header[12], header[13] >> 4) {
        (0x21, 1) => (
            addresses.first_chunk::<4>().copied()?.into(),
            &addresses[8..10],
        ),
        (0x21, 2) => (
            addresses.first_chunk::<16>().copied()?.into(),
            &addresses[32..34],
        ),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]])))
}

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});
