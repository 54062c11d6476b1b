//! What a stranger says to a relay once TLS is up, or on its plain port: pages, upgrades of every kind, WebSocket,
//! client info. However it is cut, the relay answers the same; it holds little; its answers are well-formed HTTP.
#![no_main]
#![forbid(unsafe_code)]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use towline_derp::handshake::HandshakeError;
use towline_derp::handshake::server::{Config, ServerHandshake, Stage, Step, Verdict};
use towline_derp::http::Response;
use towline_derp::websocket::Codec;
use towline_fuzz::{Cuts, derp, take_byte};
use towline_wire::limits;

/// Enough for every bound but that of client info.
const STREAM_BYTES_MAX: usize = 80_000;

static WITH_DERP: LazyLock<Arc<Config>> = LazyLock::new(|| Arc::new(derp::config()));
static WITHOUT_DERP: LazyLock<Arc<Config>> = LazyLock::new(|| {
    let mut config = derp::config();
    config.derp_enabled = false;
    Arc::new(config)
});

/// All that can be seen of a handshake, but what it sends.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    error: Option<HandshakeError>,
    /// The client, how it connected, and what it was told.
    ready: Option<(String, Vec<u8>)>,
    leftover: Vec<u8>,
    closing: bool,
}

/// Input: a byte of options, cuts, the stream. From option 16 on the stream is repeated, so that a short input reaches
/// the bounds.
fn run(mut input: &[u8]) -> Option<()> {
    let options = take_byte(&mut input)?;
    let cuts = Cuts::take(&mut input)?;
    let mut stream = input.repeat(1 << (options / 16));
    stream.truncate(STREAM_BYTES_MAX);
    let (output, whole) = feed(options, core::iter::once(&stream[..]));
    check_answers(&output);
    let (cut_output, cut) = feed(options, cuts.pieces(&stream));
    assert_eq!(cut, whole);
    let shown = |output: &[u8]| derp::shown(output, Codec::client([0; 16]));
    assert_eq!(shown(&cut_output), shown(&output));
    Some(())
}

fn server(options: u8) -> ServerHandshake {
    let mut conn = derp::conn();
    conn.plain_http_port = options & 1 == 1;
    conn.debug_allowed = options & 2 == 2;
    let config = if options & 4 == 0 {
        &WITH_DERP
    } else {
        &WITHOUT_DERP
    };
    derp::server_of(config, conn)
}

fn feed<'a>(options: u8, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Seen) {
    let mut server = server(options);
    let mut seen = Seen::default();
    for piece in pieces {
        if seen.ready.is_some() {
            seen.leftover.extend_from_slice(piece);
            continue;
        }
        let mut fed = server.handle_bytes(piece);
        check_held(&server, piece.len());
        while fed.is_ok() {
            fed = match server.step() {
                Step::NeedInput => break,
                Step::Page(_) => server.handle_page(Response::text(200, "a page\n")),
                Step::Admit(_) => server.handle_verdict(Verdict::Allow { limits: None }),
                Step::Ready(ready) => {
                    let who = format!("{:?} {:?}", ready.client, ready.opening);
                    seen.ready = Some((who, ready.server_info_frame));
                    seen.leftover = ready.leftover;
                    break;
                }
                Step::CloseAfterOutput => {
                    seen.closing = true;
                    break;
                }
            };
        }
        seen.error = fed.err();
        if seen.error.is_some() || seen.closing {
            break;
        }
    }
    // Only now: whether the connection is kept depends on what waits to be sent.
    let output = core::iter::from_fn(|| server.poll_output()).flatten();
    (output.collect(), seen)
}

/// Vectors may hold twice what is in them.
fn check_held(server: &ServerHandshake, piece_len: usize) {
    let received = match server.stage() {
        Stage::Http => limits::HTTP_HEAD_BYTES_MAX,
        _ => limits::CLIENT_INFO_BODY_BYTES_MAX,
    };
    // The bound decides whether one answer more is the last.
    let answer = limits::HTTP_HEAD_BYTES_MAX + 4096;
    let output = limits::HTTP_OUTPUT_BYTES_MAX + answer;
    let held = server.held_bytes();
    assert!(held <= 2 * (received + piece_len + output), "{held} bytes");
}

/// Responses of HTTP, one after the other, then perhaps DERP.
fn check_answers(mut output: &[u8]) {
    while output.starts_with(b"HTTP/") {
        let mut fields = [httparse::EMPTY_HEADER; 20];
        let mut response = httparse::Response::new(&mut fields);
        let parsed = response.parse(output).expect("a response");
        output = &output[parsed.unwrap()..];
        let length = response.headers.iter().find(|f| f.name == "Content-Length");
        let length = length.map_or("0", |field| str::from_utf8(field.value).expect("digits"));
        let length: usize = length.parse().expect("a length");
        // An answer to HEAD has a length and no body: what follows is the next answer or, after a fast start, DERP.
        let has_body = !output.is_empty() && !output.starts_with(b"HTTP/") && output[0] != 0x01;
        if has_body {
            output = &output[length..];
        }
        if response.code == Some(101) {
            break;
        }
    }
    // The server key, raw or in a WebSocket.
    let derp = output.is_empty() || output[0] == 0x01 || output[0] == 0x82;
    assert!(derp, "{:?}", String::from_utf8_lossy(output));
}

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});
