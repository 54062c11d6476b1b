//! What a client of ours (a mesh uplink, a health check, the load generator) reads from a relay that may be anyone's:
//! the answer to its upgrade, server key and server info, then frames.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use towline_derp::handshake::HandshakeError;
use towline_derp::handshake::client::{Opening, Step};
use towline_derp::websocket::Codec;
use towline_fuzz::derp::{self, KNOWN};
use towline_fuzz::one_shard::frames;
use towline_fuzz::{Cuts, take_byte};
use towline_wire::frame::{self, FrameType, HEADER_LEN};

/// All that can be seen of a client.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    output: String,
    error: Option<HandshakeError>,
    ready: Option<String>,
    leftover: Vec<u8>,
}

/// Input: a byte for the opening and for how much of the handshake is right, cuts, the stream.
fn run(mut input: &[u8]) -> Option<()> {
    let options = take_byte(&mut input)?;
    let cuts = Cuts::take(&mut input)?;
    let opening = derp::openings()[usize::from(options) % 3];
    let stream = match options / 3 % 4 {
        0 => input.to_vec(),
        place => begin(opening, place, input),
    };
    let whole = feed(opening, core::iter::once(&stream[..]));
    assert_eq!(feed(opening, cuts.pieces(&stream)), whole);
    for (header, body) in frames(input) {
        if let Some(kind) = header.frame_type() {
            read(kind, body);
        }
    }
    Some(())
}

/// A relay that is right up to the place where the input matters: its frames, its server info, or what follows.
fn begin(opening: Opening, place: u8, input: &[u8]) -> Vec<u8> {
    let mut server = derp::server();
    let request = derp::client(opening).poll_output().expect("a request");
    server.handle_bytes(&request).expect("our client is right");
    let mut stream = server.poll_output().expect("an answer");
    let mut info = Vec::new();
    let nonce = [8; 24];
    let sealed = match place {
        1 => return [&stream, input].concat(),
        2 => &KNOWN.at_server.seal(&nonce, input),
        _ => &KNOWN.at_server.seal(&nonce, b"{\"version\":2}"),
    };
    frame::ServerInfo { nonce, sealed }.write(&mut info);
    if opening == Opening::WebSocket {
        stream.extend_from_slice(Codec::server().header_for(info.len()).as_bytes());
    }
    stream.extend_from_slice(&info);
    if place > 2 {
        stream.extend_from_slice(input);
    }
    stream
}

fn feed<'a>(opening: Opening, pieces: impl Iterator<Item = &'a [u8]>) -> Seen {
    let mut client = derp::client(opening);
    let mut seen = Seen::default();
    for piece in pieces {
        if let Err(error) = client.handle_bytes(piece) {
            seen.error = Some(error);
            break;
        }
    }
    let output: Vec<u8> = core::iter::from_fn(|| client.poll_output())
        .flatten()
        .collect();
    seen.output = derp::shown(&output, Codec::server());
    if let Step::Ready(ready) = client.step() {
        seen.ready = Some(format!("{:?} {:?}", ready.server_key, ready.server_info));
        seen.leftover = ready.leftover;
    }
    seen
}

/// Reads a body; what was read and is written again, reads the same.
fn read(kind: FrameType, body: &[u8]) {
    macro_rules! there_and_back {
        ($frame:ident) => {
            if let Ok(read) = frame::$frame::parse(body) {
                let mut written = Vec::new();
                read.write(&mut written);
                let (header, body) = frames(&written).next().expect("a whole frame");
                assert_eq!(header.frame_type(), Some(kind));
                assert_eq!(written.len(), HEADER_LEN + body.len());
                assert_eq!(frame::$frame::parse(body), Ok(read));
            }
        };
    }
    match kind {
        FrameType::ServerKey => there_and_back!(ServerKey),
        FrameType::ClientInfo => there_and_back!(ClientInfo),
        FrameType::ServerInfo => there_and_back!(ServerInfo),
        FrameType::SendPacket => there_and_back!(SendPacket),
        FrameType::RecvPacket => there_and_back!(RecvPacket),
        FrameType::KeepAlive => there_and_back!(KeepAlive),
        FrameType::NotePreferred => there_and_back!(NotePreferred),
        FrameType::PeerGone => there_and_back!(PeerGone),
        FrameType::PeerPresent => there_and_back!(PeerPresent),
        FrameType::ForwardPacket => there_and_back!(ForwardPacket),
        FrameType::WatchConns => there_and_back!(WatchConns),
        FrameType::ClosePeer => there_and_back!(ClosePeer),
        FrameType::Ping => there_and_back!(Ping),
        FrameType::Pong => there_and_back!(Pong),
        FrameType::Health => there_and_back!(Health),
        FrameType::Restarting => there_and_back!(Restarting),
    }
}

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});
