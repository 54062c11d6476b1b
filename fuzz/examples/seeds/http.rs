//! Seeds of what is around DERP: HTTP, WebSocket, STUN.

use towline_derp::handshake::client::Opening;
use towline_derp::websocket::Codec;
use towline_fuzz::derp;
use towline_wire::stun::{self, TransactionId};

use crate::{EVERY_BYTE, Seed};

/// Options: 1 the plain port, 2 an operator, 4 without DERP, 16 times the power of two by which it is repeated.
pub(crate) fn http_upgrade() -> Vec<Seed> {
    let [raw, fast, websocket] = derp::openings();
    vec![
        ("client-raw", stream(0, &client(raw))),
        ("client-fast-start", stream(0, &client(fast))),
        ("head-then-fast-start", stream(0, HEAD_THEN_FAST_START)),
        ("client-websocket", stream(0, &client(websocket))),
        ("websocket-ping-and-close", stream(0, &websocket_control())),
        ("pages", stream(0, PAGES)),
        ("pages-without-end", repeat(7, PAGES)),
        (
            "head-without-end",
            repeat(15, b"GET / HTTP/1.1\r\nHost: a\r\nX: "),
        ),
        ("debug-pages", stream(2, DEBUG_PAGES)),
        ("plain-port", stream(1, PLAIN_PORT)),
        (
            "derp-disabled",
            stream(4, b"GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\n\r\n"),
        ),
        ("body-is-skipped", stream(0, BODY)),
        ("chunked", stream(0, CHUNKED)),
        ("http10", stream(0, b"GET / HTTP/1.0\r\n\r\n")),
        (
            "connect",
            stream(0, b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"),
        ),
        (
            "absolute-form",
            stream(0, b"GET http://a/derp?q HTTP/1.1\r\nHost: a\r\n\r\n"),
        ),
        ("websocket-of-wrong-version", stream(0, WRONG_VERSION)),
        ("websocket-without-key", stream(0, WITHOUT_KEY)),
        ("upgrade-with-body", stream(0, UPGRADE_WITH_BODY)),
        (
            "upgrade-by-put",
            stream(0, b"PUT /derp HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\n\r\n"),
        ),
        (
            "tls-on-plain-port",
            stream(1, b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03"),
        ),
    ]
}

const PAGES: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /generate_204 HTTP/1.1\r\nHost: a\r\nX-Tailscale-Challenge: a.b-c\r\n\r\n\
    GET /derp/probe HTTP/1.1\r\nHost: a\r\n\r\nPOST /derp/latency-check HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /robots.txt HTTP/1.1\r\nHost: a\r\n\r\nGET /derp HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /bootstrap-dns?q=a HTTP/1.1\r\nHost: a\r\n\r\n";
const HEAD_THEN_FAST_START: &[u8] = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /derp HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n";
const DEBUG_PAGES: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /debug/varz HTTP/1.1\r\nHost: a\r\n\r\nPUT /debug/ HTTP/1.1\r\nHost: a\r\n\r\n\
    GET /debug/ HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: b\r\n\r\n\
    GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
const PLAIN_PORT: &[u8] = b"GET /a?b=<c HTTP/1.1\r\nHost: a.example:80\r\n\r\n\
    HEAD /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a\r\n\r\n\
    POST / HTTP/1.1\r\nHost: a\r\n\r\n";
const BODY: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
    GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
const WRONG_VERSION: &[u8] = b"GET /derp HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Protocol: x, derp\r\nSec-WebSocket-Version: 8\r\n\r\n";
const WITHOUT_KEY: &[u8] = b"GET /derp HTTP/1.1\r\nHost: a\r\nConnection: a, upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Protocol: derp\r\nSec-WebSocket-Version: 13\r\n\r\n";
const UPGRADE_WITH_BODY: &[u8] = b"POST /derp HTTP/1.1\r\nHost: a\r\nUpgrade: DERP\r\n\
    Content-Length: 1\r\n\r\na";

fn stream(options: u8, bytes: &[u8]) -> Vec<u8> {
    [&[options, EVERY_BYTE], bytes].concat()
}

/// In pieces of 200 bytes.
fn repeat(power: u8, bytes: &[u8]) -> Vec<u8> {
    [&[16 * power, 1, 199], bytes].concat()
}

/// All that a client of ours sends until it is let in, and its first frame.
fn client(opening: Opening) -> Vec<u8> {
    let (mut client, mut server) = (derp::client(opening), derp::server());
    let mut sent = Vec::new();
    while let Some(bytes) = client.poll_output() {
        sent.extend_from_slice(&bytes);
        server.handle_bytes(&bytes).expect("our client is right");
        while let Some(answer) = server.poll_output() {
            client.handle_bytes(&answer).expect("our server is right");
        }
    }
    sent.extend_from_slice(&[6, 0, 0, 0, 0]);
    sent
}

fn websocket_control() -> Vec<u8> {
    let mut bytes = client(Opening::WebSocket);
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n");
    bytes.truncate(head.expect("a head") + 4);
    bytes.extend_from_slice(&[0x89, 0x82, 1, 2, 3, 4, 9, 9, 0x88, 0x80, 0, 0, 0, 0]);
    bytes
}

/// Roles: 0 a server receives, 1 a client does.
pub(crate) fn websocket() -> Vec<Seed> {
    let mut codec = Codec::client([1; 16]);
    let mut message = |payload: &[u8]| {
        let mut header = codec.header_for(payload.len());
        let mut payload = payload.to_vec();
        let head = header.as_bytes().to_vec();
        header.mask(&mut payload);
        [head, payload].concat()
    };
    let long = message(&[7; 300]);
    let messages = [message(b"one"), message(b""), message(b"two")].concat();
    vec![
        ("messages", stream(0, &messages)),
        ("long-message", stream(0, &long)),
        ("ping-inside-a-message", stream(0, FRAGMENTS)),
        (
            "close-with-code",
            stream(0, &[0x88, 0x82, 0, 0, 0, 0, 3, 0xe8, 0x89, 0x80]),
        ),
        ("text", stream(0, &[0x81, 0x80, 0, 0, 0, 0])),
        (
            "length-of-64-bits",
            stream(1, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0, 1]),
        ),
        ("length-not-minimal", stream(1, &[0x82, 126, 0, 1, 1])),
        (
            "from-a-server",
            stream(1, &[0x82, 3, 1, 2, 3, 0x8a, 0, 0x89, 1, 5, 0x88, 0]),
        ),
        ("close-with-half-a-code", stream(1, &[0x88, 1, 3])),
    ]
}

const FRAGMENTS: &[u8] = &[
    0x02, 0x81, 1, 1, 1, 1, 9, 0x89, 0x81, 2, 2, 2, 2, 8, 0x00, 0x80, 3, 3, 3, 3, 0x80, 0x81, 4, 4,
    4, 4, 7,
];

/// Options: 1 mends the lengths and the fingerprint.
pub(crate) fn stun() -> Vec<Seed> {
    let transaction = TransactionId(*b"transaction!");
    let v4 = "192.0.2.7:4711".parse().expect("an address");
    let v6 = "[2001:db8::7]:4711".parse().expect("an address");
    let request = stun::binding_request(&transaction);
    let bare = [&request[..2], &[0, 0], &request[4..20]].concat();
    let with = |attributes: &[u8]| {
        let len = (attributes.len() as u16).to_be_bytes();
        [&request[..2], &len, &request[4..20], attributes].concat()
    };
    let old = with(&[0, 1, 0, 8, 0, 1, 0x12, 0x67, 192, 0, 2, 7]);
    vec![
        ("tailscale-request", datagram(0, &request)),
        ("bare-request", datagram(0, &bare)),
        ("request-to-mend", datagram(1, &request)),
        (
            "optional-attribute",
            datagram(0, &with(&[0x80, 0x30, 0, 1, 9, 0, 0, 0])),
        ),
        (
            "unknown-attribute",
            datagram(0, &with(&[0, 0x30, 0, 1, 9, 0, 0, 0])),
        ),
        (
            "attribute-too-long",
            datagram(0, &with(&[0x80, 0x30, 0, 9, 9])),
        ),
        (
            "response-ipv4",
            datagram(0, &stun::binding_response(&transaction, v4)),
        ),
        (
            "response-ipv6",
            datagram(0, &stun::binding_response(&transaction, v6)),
        ),
        (
            "response-of-an-old-server",
            datagram(0, &[&[1, 1], &old[2..]].concat()),
        ),
    ]
}

fn datagram(options: u8, bytes: &[u8]) -> Vec<u8> {
    let source = [
        0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0x12, 0x67,
    ];
    [&[options], source.as_slice(), bytes].concat()
}
