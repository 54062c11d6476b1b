//! WebSocket framing, received by a relay or by a client: however it is cut, the same bytes, the same answers and
//! the same error come out, and what one side writes the other reads.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use towline_derp::websocket::{CloseCode, Codec, Event, WebSocketError};
use towline_fuzz::{Cuts, take_byte};

/// All that can be seen of a codec.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    payload: Vec<u8>,
    pings: usize,
    closed: Option<Option<CloseCode>>,
    answers: Vec<u8>,
    error: Option<WebSocketError>,
}

/// Input: a byte for the role, cuts, the stream.
fn run(mut input: &[u8]) -> Option<()> {
    let codec = match take_byte(&mut input)? % 2 {
        0 => Codec::server(),
        _ => Codec::client([5; 16]),
    };
    let cuts = Cuts::take(&mut input)?;
    let whole = feed(codec.clone(), core::iter::once(input));
    assert_eq!(feed(codec, cuts.pieces(input)), whole);
    there_and_back(cuts, input);
    Some(())
}

fn feed<'a>(mut codec: Codec, pieces: impl Iterator<Item = &'a [u8]>) -> Seen {
    let mut seen = Seen::default();
    for piece in pieces {
        let (mut piece, mut at) = (piece.to_vec(), 0);
        loop {
            match codec.decode(&mut piece, &mut at) {
                Ok(Some(Event::Payload(range))) => seen.payload.extend_from_slice(&piece[range]),
                Ok(Some(Event::Ping)) => seen.pings += 1,
                Ok(Some(Event::Close(code))) => {
                    assert_eq!(seen.closed, None, "closed twice");
                    seen.closed = Some(code);
                }
                Ok(None) => break,
                Err(error) => {
                    codec.close(error.close_code());
                    seen.error = Some(error);
                }
            }
            // At most one answer waits.
            if let Some(answer) = codec.poll_output() {
                seen.answers.extend_from_slice(&answer);
            }
            assert!(!codec.has_output());
            if seen.error.is_some() {
                return seen;
            }
        }
        assert_eq!(at, piece.len());
    }
    seen
}

/// What a client sends, in messages of these lengths, arrives at a server.
fn there_and_back(cuts: Cuts<'_>, stream: &[u8]) {
    let mut client = Codec::client([6; 16]);
    let mut wire = Vec::new();
    for piece in cuts.pieces(stream) {
        let mut header = client.header_for(piece.len());
        wire.extend_from_slice(header.as_bytes());
        let start = wire.len();
        wire.extend_from_slice(piece);
        header.mask(&mut wire[start..]);
    }
    let seen = feed(Codec::server(), core::iter::once(&wire[..]));
    assert_eq!((seen.payload.as_slice(), seen.error), (stream, None));
}

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});
