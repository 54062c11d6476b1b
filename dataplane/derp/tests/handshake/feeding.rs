//! How the bytes are cut must not matter, and no bytes may do harm.

use proptest::prelude::*;
use towline_derp::handshake::client::{self, ClientHandshake, Opening, Options};
use towline_derp::handshake::server::{Config, ServerHandshake, Step, Verdict};
use towline_derp::sealed::public_key;
use towline_wire::limits;

use crate::support::*;

/// What a client sends in a whole connection: pages, an upgrade, client info, and more.
fn stream_of(opening: Opening) -> Vec<u8> {
    let options = Options {
        opening,
        mesh_key: Some(mesh_key(1)),
        app_name: "feeding".to_owned(),
        ..options()
    };
    let mut client = client(options);
    let mut server = server(meshed());
    let mut stream = b"POST /generate_204 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc\
                       HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
        .to_vec();
    while let Some(sent) = client.poll_output() {
        stream.extend_from_slice(&sent);
        server.handle_bytes(&sent).unwrap();
        client.handle_bytes(&output(&mut server)).unwrap();
    }
    stream.extend_from_slice(b"what the client sends next");
    stream
}

fn meshed() -> Config {
    let mut config = config();
    config.mesh_keys = vec![mesh_key(1)];
    config
}

/// All that can be seen of a handshake.
#[derive(Debug, PartialEq)]
struct Seen {
    output: Vec<u8>,
    client: String,
    server_info_frame: Vec<u8>,
    leftover: Vec<u8>,
}

/// Feeds the pieces and acts on every step.
fn feed<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Option<Seen> {
    let mut server = server(meshed());
    let mut sent = Vec::new();
    for piece in pieces.by_ref() {
        server.handle_bytes(piece).unwrap();
        sent.extend(output(&mut server));
        if let Step::Admit(_) = server.step() {
            server.handle_verdict(ALLOW).unwrap();
            break;
        }
    }
    match server.step() {
        Step::Ready(ready) => Some(Seen {
            output: sent,
            client: format!("{:?} {:?}", ready.client, ready.opening),
            server_info_frame: ready.server_info_frame,
            leftover: pieces.fold(ready.leftover, |leftover, piece| {
                [&leftover, piece].concat()
            }),
        }),
        Step::NeedInput => None,
        other => panic!("{other:?}"),
    }
}

fn openings() -> [Opening; 3] {
    [
        Opening::Raw,
        Opening::FastStart(public_key(&server_key())),
        Opening::WebSocket,
    ]
}

#[test]
fn byte_by_byte_equals_whole() {
    for opening in openings() {
        let stream = stream_of(opening);
        let whole = feed(core::iter::once(&stream[..])).unwrap();
        assert!(whole.leftover.ends_with(b"what the client sends next"));
        assert_eq!(feed(stream.chunks(1)).unwrap(), whole, "{opening:?}");
    }
}

#[test]
fn every_prefix_waits_for_the_rest() {
    for opening in openings() {
        let stream = stream_of(opening);
        let whole = stream.len() - b"what the client sends next".len();
        for len in 0..stream.len() {
            let seen = feed(core::iter::once(&stream[..len]));
            assert_eq!(
                seen.is_some(),
                len >= whole,
                "{opening:?}, {len} of {whole} bytes"
            );
        }
    }
}

#[test]
fn a_client_does_not_mind_either() {
    for opening in openings() {
        let options = || Options {
            opening,
            ..options()
        };
        // All that the server sends, the server info included.
        let mut server = server(config());
        let mut first = client(options());
        let mut stream = Vec::new();
        for _ in 0..3 {
            while let Some(sent) = first.poll_output() {
                server.handle_bytes(&sent).unwrap();
            }
            let sent = output(&mut server);
            first.handle_bytes(&sent).unwrap();
            stream.extend(sent);
        }
        server.handle_verdict(ALLOW).unwrap();
        let Step::Ready(mut ready) = server.step() else {
            panic!("not ready")
        };
        if let Some(codec) = &mut ready.websocket {
            stream.extend_from_slice(codec.header_for(ready.server_info_frame.len()).as_bytes());
        }
        stream.extend_from_slice(&ready.server_info_frame);
        stream.extend_from_slice(b"what the server sends next");

        for size in [1, 2, 3, 7, 100, stream.len()] {
            let mut client = client(options());
            for piece in stream.chunks(size) {
                client.handle_bytes(piece).unwrap();
                let _ = client.poll_output();
            }
            let client::Step::Ready(ready) = client.step() else {
                panic!("not ready")
            };
            assert_eq!(
                ready.leftover, b"what the server sends next",
                "{opening:?} by {size}"
            );
            assert_eq!(ready.server_info.version, 2);
        }
    }
}

/// Feeds whatever and checks that nothing is held beyond the bounds. Returns at the first error.
fn feed_anything(server: &mut ServerHandshake, bytes: &[u8], size: usize) {
    // Vectors may hold twice what is in them.
    let bound = 2 * (limits::HTTP_HEAD_BYTES_MAX + limits::HTTP_OUTPUT_BYTES_MAX + size)
        + 2 * limits::CLIENT_INFO_BODY_BYTES_MAX;
    for piece in bytes.chunks(size) {
        if server.handle_bytes(piece).is_err() {
            return;
        }
        assert!(
            server.held_bytes() <= bound,
            "{} bytes",
            server.held_bytes()
        );
        let _ = output(server);
        match server.step() {
            Step::Admit(_) => server
                .handle_verdict(Verdict::Allow { limits: None })
                .unwrap(),
            Step::NeedInput => {}
            _ => return,
        }
    }
}

/// Requests that a fuzzer would take long to find.
fn upgrade() -> impl Strategy<Value = Vec<u8>> {
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: derp\r\n";
    prop_oneof![
        Just(String::new()),
        Just("Upgrade: DERP\r\n".to_owned()),
        Just("Upgrade: DERP\r\nDerp-Fast-Start: 1\r\n".to_owned()),
        Just(websocket.to_owned()),
    ]
    .prop_map(|fields| format!("GET /derp HTTP/1.1\r\nHost: a\r\n{fields}\r\n").into_bytes())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn garbage_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..40_000), size in 1usize..5000) {
        feed_anything(&mut server(config()), &bytes, size);
    }

    #[test]
    fn garbage_after_an_upgrade_does_no_harm(
        request in upgrade(),
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        size in 1usize..300,
    ) {
        feed_anything(&mut server(config()), &[request, bytes].concat(), size);
    }

    #[test]
    fn a_long_client_info_stays_within_bounds(
        request in upgrade(),
        len in 0u32..400_000,
        size in 1000usize..20_000,
    ) {
        let mut bytes = request;
        bytes.push(2);
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.resize(bytes.len() + 400_000, 0);
        feed_anything(&mut server(config()), &bytes, size);
    }

    #[test]
    fn one_wrong_byte_is_an_error_or_nothing(
        which in 0usize..3,
        index in any::<prop::sample::Index>(),
        flip in 1u8..=255,
        size in 1usize..200,
    ) {
        let mut stream = stream_of(openings()[which]);
        let index = index.index(stream.len());
        stream[index] ^= flip;
        feed_anything(&mut server(meshed()), &stream, size);
    }

    #[test]
    fn a_client_survives_any_server(
        which in 0usize..3,
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
        size in 1usize..300,
        polite in any::<bool>(),
    ) {
        let options = Options { opening: openings()[which], ..options() };
        let mut client = ClientHandshake::new(options, [9; 64]).unwrap();
        let mut stream = if polite { b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec() } else { Vec::new() };
        stream.extend(bytes);
        for piece in stream.chunks(size) {
            if client.handle_bytes(piece).is_err() {
                break;
            }
        }
        let _ = client.poll_output();
        prop_assert!(!matches!(client.step(), client::Step::Ready(_)));
    }
}
