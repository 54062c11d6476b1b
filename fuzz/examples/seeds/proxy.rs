//! Seeds of the header that a load balancer sends first.

use super::{EVERY_BYTE, Seed};

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const TCP4: u8 = 0x11;
const UDP4: u8 = 0x12;
const TCP6: u8 = 0x21;
const UNIX: u8 = 0x31;
const UNSPECIFIED: u8 = 0;

const ADDRESSES_V4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 2, 0x12, 0x34, 0x01, 0xbb];

pub(crate) fn proxy_header() -> Vec<Seed> {
    let v6 = [
        [0x20; 16].as_slice(),
        &[0x30; 16],
        &[0x12, 0x34, 0x01, 0xbb],
    ]
    .concat();
    let hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03";
    // ALPN, a checksum, padding.
    let extensions = b"\x01\0\x02h2\x03\0\x04abcd\x04\0\x01\0";
    let with_extensions = [ADDRESSES_V4.as_slice(), extensions].concat();
    let v4 = header(PROXY, TCP4, 12, &ADDRESSES_V4);
    vec![
        ("tcp4", seed(&v4)),
        ("tcp4-then-hello", seed(&[&v4, hello.as_slice()].concat())),
        ("tcp6", seed(&header(PROXY, TCP6, 36, &v6))),
        ("udp4", seed(&header(PROXY, UDP4, 12, &ADDRESSES_V4))),
        ("unix", seed(&header(PROXY, UNIX, 216, &[b'/'; 216]))),
        ("unspecified", seed(&header(PROXY, UNSPECIFIED, 0, &[]))),
        ("local", seed(&header(LOCAL, UNSPECIFIED, 0, &[]))),
        (
            "local-with-addresses",
            seed(&header(LOCAL, TCP4, 12, &ADDRESSES_V4)),
        ),
        (
            "extensions",
            seed(&header(
                PROXY,
                TCP4,
                with_extensions.len() as u16,
                &with_extensions,
            )),
        ),
        (
            "cut-in-addresses",
            seed(&header(PROXY, TCP4, 12, &[192, 0, 2])),
        ),
        (
            "too-short-for-addresses",
            seed(&header(PROXY, TCP6, 12, &ADDRESSES_V4)),
        ),
        (
            "longer-than-the-limit",
            seed(&header(PROXY, TCP4, 4096, &ADDRESSES_V4)),
        ),
        (
            "longest",
            seed(&header(PROXY, TCP4, u16::MAX, &ADDRESSES_V4)),
        ),
        (
            "unknown-command",
            seed(&header(0x22, TCP4, 12, &ADDRESSES_V4)),
        ),
        (
            "unknown-family",
            seed(&header(PROXY, 0x41, 12, &ADDRESSES_V4)),
        ),
        (
            "unknown-transport",
            seed(&header(PROXY, 0x13, 12, &ADDRESSES_V4)),
        ),
        ("version-3", seed(&header(0x31, TCP4, 12, &ADDRESSES_V4))),
        (
            "version-1",
            [
                &[0, EVERY_BYTE],
                b"PROXY TCP4 192.0.2.1 198.51.100.2 4660 443\r\n".as_slice(),
            ]
            .concat(),
        ),
        ("no-header", [&[0, EVERY_BYTE], hello.as_slice()].concat()),
    ]
}

/// A header without its signature.
fn header(command: u8, family: u8, len: u16, rest: &[u8]) -> Vec<u8> {
    [&[command, family], len.to_be_bytes().as_slice(), rest].concat()
}

/// With the signature in front, cut at every byte.
fn seed(header: &[u8]) -> Vec<u8> {
    [&[1, EVERY_BYTE], header].concat()
}
