//! The WebSocket codec: any cutting, any masking, both directions, and every violation.

use proptest::prelude::*;
use towline_derp::handshake::server::Step;
use towline_derp::handshake::{HandshakeError, Malformation, Misbehaviour};
use towline_derp::websocket::{
    CloseCode, Codec, Event, FrameHeader, WebSocketError, server_header_len,
};

use crate::support::*;

/// What came out of a decoder.
#[derive(Debug, Default, PartialEq)]
struct Decoded {
    stream: Vec<u8>,
    pings: usize,
    closed: Option<Option<CloseCode>>,
    answers: Vec<u8>,
}

fn decode(codec: &mut Codec, bytes: &[u8], size: usize) -> Result<Decoded, WebSocketError> {
    let mut decoded = Decoded::default();
    for piece in bytes.chunks(size.max(1)) {
        let mut piece = piece.to_vec();
        let mut at = 0;
        while let Some(event) = codec.decode(&mut piece, &mut at)? {
            match event {
                Event::Payload(range) => decoded.stream.extend_from_slice(&piece[range]),
                Event::Ping => decoded.pings += 1,
                Event::Close(code) => decoded.closed = Some(code),
            }
        }
        assert_eq!(at, piece.len());
        while let Some(control) = codec.poll_output() {
            decoded.answers.extend_from_slice(&control);
        }
    }
    Ok(decoded)
}

/// A frame as a client writes it, by hand.
fn masked(first: u8, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..=125 => bytes.push(0x80 | len as u8),
        len @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&key);
    bytes.extend(
        payload
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key),
    );
    bytes
}

fn server_error(bytes: &[u8]) -> Option<WebSocketError> {
    decode(&mut Codec::server(), bytes, bytes.len()).err()
}

#[test]
fn the_examples_of_rfc_6455() {
    // Section 5.7, with the opcode of binary in place of text.
    let hello = b"\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let decoded = decode(&mut Codec::server(), hello, hello.len()).unwrap();
    assert_eq!(decoded.stream, b"Hello");

    let fragmented = b"\x02\x03Hel\x80\x02lo";
    let decoded = decode(&mut Codec::client([0; 16]), fragmented, 1).unwrap();
    assert_eq!(decoded.stream, b"Hello");

    let ping = b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
    let decoded = decode(&mut Codec::server(), ping, 2).unwrap();
    assert_eq!(
        (decoded.pings, &*decoded.answers),
        (1, &b"\x8a\x05Hello"[..])
    );

    assert_eq!(FrameHeader::server(256).as_bytes(), b"\x82\x7e\x01\x00");
    assert_eq!(
        FrameHeader::server(65536).as_bytes(),
        b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"
    );
}

#[test]
fn headers_are_as_long_as_announced() {
    for len in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 24] {
        let header = FrameHeader::server(len);
        assert_eq!(header.as_bytes().len(), server_header_len(len), "{len}");
        let client = Codec::client([1; 16]).header_for(len);
        assert_eq!(client.as_bytes().len(), server_header_len(len) + 4, "{len}");
    }
}

#[test]
fn masks_are_never_the_same_twice() {
    let mut codec = Codec::client([1; 16]);
    let first = codec.header_for(1);
    let second = codec.header_for(1);
    assert_ne!(first.as_bytes(), second.as_bytes());
}

#[test]
fn a_control_frame_may_stand_between_fragments() {
    let key = [1, 2, 3, 4];
    let bytes = [
        masked(0x02, b"one ", key),
        masked(0x89, b"are you there", key),
        masked(0x00, b"", key),
        masked(0x8a, b"unasked", key),
        masked(0x80, b"stream", key),
    ]
    .concat();
    for size in 1..=bytes.len() {
        let decoded = decode(&mut Codec::server(), &bytes, size).unwrap();
        assert_eq!(decoded.stream, b"one stream");
        assert_eq!(decoded.pings, 1);
        assert_eq!(decoded.answers, b"\x8a\x0dare you there");
    }
}

#[test]
fn only_the_latest_ping_is_answered() {
    let mut bytes = [masked(0x89, b"1", [1; 4]), masked(0x89, b"2", [1; 4])].concat();
    let mut codec = Codec::server();
    let mut at = 0;
    while codec.decode(&mut bytes, &mut at).unwrap().is_some() {}
    assert_eq!(&*codec.poll_output().unwrap(), b"\x8a\x012");
    assert!(codec.poll_output().is_none());
}

#[test]
fn close_is_answered_once_and_ends_the_stream() {
    let close = |payload: &[u8]| masked(0x88, payload, [9; 4]);
    let bytes = [close(b"\x03\xe8bye"), masked(0x82, b"late", [9; 4])].concat();
    let mut codec = Codec::server();
    let decoded = decode(&mut codec, &bytes, 3).unwrap();
    assert_eq!(decoded.closed, Some(Some(CloseCode::NORMAL)));
    assert_eq!(
        (&*decoded.stream, &*decoded.answers),
        (&b""[..], &b"\x88\x02\x03\xe8"[..])
    );

    let decoded = decode(&mut Codec::server(), &close(b""), 1).unwrap();
    assert_eq!(
        (decoded.closed, &*decoded.answers),
        (Some(None), &b"\x88\x02\x03\xe8"[..])
    );

    // Ours goes out once, whoever asks how often; the peer's is then its answer.
    let mut codec = Codec::server();
    codec.close(CloseCode::GOING_AWAY);
    codec.close(CloseCode::NORMAL);
    assert_eq!(&*codec.poll_output().unwrap(), b"\x88\x02\x03\xe9");
    let bytes = [masked(0x89, b"ping", [9; 4]), close(b"\x03\xe9")].concat();
    let decoded = decode(&mut codec, &bytes, 100).unwrap();
    assert_eq!(
        (decoded.closed.is_some(), &*decoded.answers),
        (true, &b""[..])
    );
}

#[test]
fn violations() {
    let frame = |first: u8, payload: &[u8]| masked(first, payload, [7; 4]);
    let cases = [
        (frame(0xc2, b"x"), WebSocketError::ReservedBit),
        (frame(0x83, b"x"), WebSocketError::UnknownOpcode(3)),
        (frame(0x8b, b"x"), WebSocketError::UnknownOpcode(11)),
        (frame(0x81, b"x"), WebSocketError::Text),
        (b"\x82\x01x".to_vec(), WebSocketError::Unmasked),
        (frame(0x89, &[0; 126]), WebSocketError::ControlTooLong),
        (frame(0x09, b"x"), WebSocketError::ControlFragmented),
        (
            b"\x82\xfe\x00\x7d\0\0\0\0".to_vec(),
            WebSocketError::LengthNotMinimal,
        ),
        (
            b"\x82\xff\0\0\0\0\0\0\xff\xff\0\0\0\0".to_vec(),
            WebSocketError::LengthNotMinimal,
        ),
        (
            b"\x82\xff\0\0\0\0\x01\0\0\x01\0\0\0\0".to_vec(),
            WebSocketError::TooLong((1 << 24) + 1),
        ),
        (
            b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0".to_vec(),
            WebSocketError::TooLong(u64::MAX),
        ),
        (frame(0x80, b"x"), WebSocketError::LoneContinuation),
        (
            [frame(0x02, b"x"), frame(0x82, b"y")].concat(),
            WebSocketError::InterleavedMessage,
        ),
        (frame(0x88, b"\x03"), WebSocketError::BadClose),
        (frame(0x88, b"\x03\xed"), WebSocketError::BadClose),
    ];
    for (bytes, error) in cases {
        assert_eq!(server_error(&bytes), Some(error), "{error}");
        assert!(error.close_code().may_be_sent());
        // However it is cut.
        assert_eq!(decode(&mut Codec::server(), &bytes, 1).err(), Some(error));
    }
    let to_client = decode(&mut Codec::client([0; 16]), &frame(0x82, b"x"), 100);
    assert_eq!(to_client.err(), Some(WebSocketError::Masked));
    assert_eq!(
        WebSocketError::Text.close_code(),
        CloseCode::UNSUPPORTED_DATA
    );
}

/// A server in a WebSocket that waits for client info.
fn upgraded() -> towline_derp::handshake::server::ServerHandshake {
    let mut server = server(config());
    server
        .handle_bytes(
            b"GET /derp HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
              Sec-WebSocket-Protocol: derp\r\n\r\n",
        )
        .unwrap();
    let _ = output(&mut server);
    server
}

#[test]
fn the_handshake_answers_pings_and_says_why_it_closes() {
    let mut server = upgraded();
    server.handle_bytes(&masked(0x89, b"hi", [5; 4])).unwrap();
    assert_eq!(output(&mut server), b"\x8a\x02hi");
    assert_eq!(
        server.handle_bytes(&masked(0x81, b"text", [5; 4])),
        Err(HandshakeError::Malformed(Malformation::WebSocket(
            WebSocketError::Text
        )))
    );
    assert_eq!(output(&mut server), b"\x88\x02\x03\xeb");

    let mut server = upgraded();
    let closed = server.handle_bytes(&masked(0x88, b"\x03\xe8", [5; 4]));
    assert_eq!(closed, Err(Misbehaviour::Closed.into()));
    assert_eq!(output(&mut server), b"\x88\x02\x03\xe8");
    assert!(matches!(server.step(), Step::CloseAfterOutput));
}

/// One frame of a peer.
#[derive(Clone, Debug)]
enum Piece {
    Data(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
}

fn pieces() -> impl Strategy<Value = Vec<(Piece, bool, [u8; 4])>> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
    let piece = prop_oneof![
        3 => bytes(300).prop_map(Piece::Data),
        1 => bytes(126).prop_map(Piece::Ping),
        1 => bytes(126).prop_map(Piece::Pong),
    ];
    prop::collection::vec((piece, any::<bool>(), any::<[u8; 4]>()), 0..12)
}

proptest! {
    #[test]
    fn any_fragmentation_and_masking_gives_the_same_stream(pieces in pieces(), size in 1usize..400) {
        let mut bytes = Vec::new();
        let mut expected = Decoded::default();
        let mut in_message = false;
        for (piece, fin, key) in pieces {
            match piece {
                Piece::Data(payload) => {
                    let opcode = if in_message { 0x00 } else { 0x02 };
                    in_message = !fin;
                    bytes.extend(masked(opcode | if fin { 0x80 } else { 0 }, &payload, key));
                    expected.stream.extend(payload);
                }
                Piece::Ping(payload) => {
                    bytes.extend(masked(0x89, &payload, key));
                    expected.pings += 1;
                }
                Piece::Pong(payload) => bytes.extend(masked(0x8a, &payload, key)),
            }
        }
        let mut decoded = decode(&mut Codec::server(), &bytes, size).unwrap();
        decoded.answers.clear();
        prop_assert_eq!(decoded, expected);
    }

    #[test]
    fn what_one_side_writes_the_other_reads(
        writes in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..70_000), 0..4),
        from_client: bool,
        size in 1usize..80_000,
    ) {
        let (mut from, mut to) = (Codec::client([3; 16]), Codec::server());
        if !from_client {
            core::mem::swap(&mut from, &mut to);
        }
        let mut bytes = Vec::new();
        for write in &writes {
            let mut header = from.header_for(write.len());
            bytes.extend_from_slice(header.as_bytes());
            let start = bytes.len();
            bytes.extend_from_slice(write);
            // In two steps, as a sender with two buffers would.
            let (one, two) = bytes[start..].split_at_mut(write.len() / 3);
            header.mask(one);
            header.mask(two);
        }
        let decoded = decode(&mut to, &bytes, size).unwrap();
        prop_assert_eq!(decoded.stream, writes.concat());
    }

    #[test]
    fn garbage_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..2000), size in 1usize..200) {
        let _ = decode(&mut Codec::server(), &bytes, size);
        let _ = decode(&mut Codec::client([0; 16]), &bytes, size);
    }
}
