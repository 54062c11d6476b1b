//! Frames as byte strings, what is refused, and that every frame comes back as it was written.

use core::net::SocketAddr;
use core::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::NodePublic;
use crate::limits::{PACKET_BYTES_MAX, PING_BYTES_MAX};

const A: NodePublic = NodePublic([0xaa; 32]);
const B: NodePublic = NodePublic([0xbb; 32]);

fn written(write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

/// Splits a frame, and checks that its header tells the truth.
fn body(frame: &[u8], kind: FrameType) -> &[u8] {
    let (header, body) = frame.split_first_chunk().unwrap();
    let header = Header::parse(header);
    assert_eq!(header.frame_type(), Some(kind));
    assert_eq!(header.len as usize, body.len());
    body
}

#[test]
fn a_header_is_a_type_and_a_big_endian_length() {
    let header = Header::parse(b"\x04\x00\x01\x00\x02");
    assert_eq!(
        header,
        Header {
            kind: 4,
            len: 0x0001_0002
        }
    );
    assert_eq!(header.frame_type(), Some(FrameType::SendPacket));
    assert_eq!(header.write(), *b"\x04\x00\x01\x00\x02");
    assert_eq!(Header::parse(&[0xff; 5]).frame_type(), None);
}

#[test]
fn types_have_their_numbers_and_there_are_no_others() {
    let known = |number: &u8| FrameType::from_u8(*number).is_some_and(|kind| kind as u8 == *number);
    let numbers: Vec<u8> = (0..=255).filter(known).collect();
    let expected: Vec<u8> = (0x01..=0x0a).chain(0x10..=0x15).collect();
    assert_eq!(numbers, expected);
    let skipped = (0..=255).filter(|number| FrameType::from_u8(*number).is_none());
    assert_eq!(skipped.count(), 256 - expected.len());
}

#[test]
fn server_key() {
    let frame = written(|out| ServerKey { key: A }.write(out));
    assert_eq!(
        frame,
        [b"\x01\0\0\0\x28DERP\xf0\x9f\x94\x91", &A.0[..]].concat()
    );
    let from_the_future = [body(&frame, FrameType::ServerKey), b"more"].concat();
    assert_eq!(ServerKey::parse(&from_the_future), Ok(ServerKey { key: A }));
    assert!(ServerKey::parse(&[b"HTTP/1.1", &A.0[..]].concat()).is_err());
}

#[test]
fn packets() {
    let frame = written(|out| {
        SendPacket {
            dst: B,
            packet: b"hi",
        }
        .write(out)
    });
    assert_eq!(frame, [b"\x04\0\0\0\x22", &B.0[..], b"hi"].concat());
    assert_eq!(send_packet_header(&B, 2), frame[..37]);

    let frame = written(|out| {
        RecvPacket {
            src: A,
            packet: b"hi",
        }
        .write(out)
    });
    assert_eq!(frame, [b"\x05\0\0\0\x22", &A.0[..], b"hi"].concat());
    assert_eq!(recv_packet_header(&A, 2), frame[..37]);

    let frame = written(|out| {
        ForwardPacket {
            src: A,
            dst: B,
            packet: b"hi",
        }
        .write(out)
    });
    assert_eq!(frame, [b"\x0a\0\0\0\x42", &A.0[..], &B.0, b"hi"].concat());
    assert_eq!(forward_packet_start(&A, 32 + 2), frame[..37]);
}

#[test]
fn a_packet_may_be_empty_or_64_kib_but_no_longer() {
    let longest = vec![0; 64 + PACKET_BYTES_MAX];
    assert_eq!(
        SendPacket::parse(&A.0),
        Ok(SendPacket {
            dst: A,
            packet: b""
        })
    );
    assert!(SendPacket::parse(&longest[32..]).is_ok());
    assert!(SendPacket::parse(&longest[31..]).is_err());
    assert!(RecvPacket::parse(&longest[32..]).is_ok());
    assert!(RecvPacket::parse(&longest[31..]).is_err());
    assert!(ForwardPacket::parse(&longest).is_ok());
    assert!(ForwardPacket::parse(&[&longest[..], b"1"].concat()).is_err());
}

#[test]
fn keep_alive_and_watch_conns_are_headers_alone() {
    assert_eq!(written(|out| KeepAlive.write(out)), b"\x06\0\0\0\0");
    assert_eq!(written(|out| WatchConns.write(out)), b"\x10\0\0\0\0");
    assert_eq!(KeepAlive::parse(b"future"), Ok(KeepAlive));
    assert_eq!(WatchConns::parse(b""), Ok(WatchConns));
    assert!(WatchConns::parse(b"1").is_err());
}

/// Whoever goes by the header refuses the frames that whoever has the body refuses.
#[test]
fn bodies_are_refused_by_their_length_as_they_are_by_parse() {
    let body = vec![0; 2 * 32 + PACKET_BYTES_MAX + 2];
    let accepted = |allowed: BodyBytes, parse: &dyn Fn(&[u8]) -> bool| {
        let around = |len: usize| len.saturating_sub(1)..=len + 1;
        for len in around(allowed.min).chain(around(allowed.max)) {
            assert_eq!(parse(&body[..len]), allowed.allow(len), "{allowed:?} {len}");
        }
    };
    accepted(SendPacket::BODY_BYTES, &|b| SendPacket::parse(b).is_ok());
    accepted(RecvPacket::BODY_BYTES, &|b| RecvPacket::parse(b).is_ok());
    accepted(ForwardPacket::BODY_BYTES, &|b| {
        ForwardPacket::parse(b).is_ok()
    });
    accepted(NotePreferred::BODY_BYTES, &|b| {
        NotePreferred::parse(b).is_ok()
    });
    accepted(WatchConns::BODY_BYTES, &|b| WatchConns::parse(b).is_ok());
    accepted(ClosePeer::BODY_BYTES, &|b| ClosePeer::parse(b).is_ok());
    accepted(Ping::BODY_BYTES, &|b| Ping::parse(b).is_ok());
}

/// What follows the fields changes nothing.
#[test]
fn the_fields_of_a_frame_are_all_of_it() {
    let body: Vec<u8> = (1..=100).collect();
    let fields = |len: usize| &body[..len];
    let gone = PeerGone::parse(fields(PeerGone::FIELDS_BYTES));
    assert_eq!(gone, PeerGone::parse(&body));
    let present = PeerPresent::parse(fields(PeerPresent::FIELDS_BYTES));
    assert_eq!(present, PeerPresent::parse(&body));
    let ping = Ping::parse(fields(Ping::FIELDS_BYTES));
    assert_eq!(ping, Ping::parse(&body));
}

#[test]
fn note_preferred_is_exactly_one_byte() {
    assert_eq!(
        written(|out| NotePreferred(true).write(out)),
        b"\x07\0\0\0\x01\x01"
    );
    assert_eq!(
        written(|out| NotePreferred(false).write(out)),
        b"\x07\0\0\0\x01\0"
    );
    assert_eq!(NotePreferred::parse(b"\x02"), Ok(NotePreferred(true)));
    assert!(NotePreferred::parse(b"").is_err());
    assert!(NotePreferred::parse(b"\x01\x01").is_err());
}

#[test]
fn close_peer_is_exactly_a_key() {
    let frame = written(|out| ClosePeer { key: A }.write(out));
    assert_eq!(frame, [b"\x11\0\0\0\x20", &A.0[..]].concat());
    assert!(ClosePeer::parse(&[0; 31]).is_err());
    assert!(ClosePeer::parse(&[0; 33]).is_err());
}

#[test]
fn peer_gone_has_a_reason_except_from_old_servers() {
    let gone = PeerGone {
        key: A,
        reason: GoneReason::NotHere,
    };
    assert_eq!(
        written(|out| gone.write(out)),
        [b"\x08\0\0\0\x21", &A.0[..], b"\x01"].concat()
    );
    let old = PeerGone {
        key: A,
        reason: GoneReason::Disconnected,
    };
    assert_eq!(PeerGone::parse(&A.0), Ok(old));
    let future = PeerGone::parse(&[&A.0[..], b"\x07more"].concat()).unwrap();
    assert_eq!(future.reason, GoneReason::Other(7));
}

#[test]
fn peer_present_grew_over_time() {
    let addr = Some("192.0.2.1:443".parse().unwrap());
    let ip_port = b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\x00\x02\x01\x01\xbb";
    let none = PresentFlags::NONE;
    for (tail, addr, flags) in [
        (vec![], None, none),
        (b"inside the address"[..17].to_vec(), None, none),
        (ip_port.to_vec(), addr, none),
        (
            [&ip_port[..], b"\x01"].concat(),
            addr,
            PresentFlags::REGULAR,
        ),
        (
            [&ip_port[..], b"\x0cmore"].concat(),
            addr,
            PresentFlags::PROBER | PresentFlags::NOT_IDEAL,
        ),
        (
            [&[0; 18][..], b"\x02"].concat(),
            None,
            PresentFlags::MESH_PEER,
        ),
    ] {
        let present = PeerPresent::parse(&[&A.0[..], &tail].concat());
        assert_eq!(
            present,
            Ok(PeerPresent {
                key: A,
                addr,
                flags
            }),
            "{tail:?}"
        );
    }

    let today = PeerPresent {
        key: A,
        addr,
        flags: PresentFlags::REGULAR,
    };
    let frame = written(|out| today.write(out));
    assert_eq!(
        frame,
        [b"\x09\0\0\0\x33", &A.0[..], ip_port, b"\x01"].concat()
    );
    let oldest = PeerPresent {
        key: A,
        addr: None,
        flags: none,
    };
    assert_eq!(
        written(|out| oldest.write(out)),
        [b"\x09\0\0\0\x20", &A.0[..]].concat()
    );
}

#[test]
fn a_ping_is_answered_with_its_eight_bytes() {
    let ping = Ping(*b"12345678");
    assert_eq!(written(|out| ping.write(out)), b"\x12\0\0\0\x0812345678");
    let pong = written(|out| Pong(ping.0).write(out));
    assert_eq!(pong, b"\x13\0\0\0\x0812345678");
    assert_eq!(Ping::parse(b"12345678 and more"), Ok(ping));
    assert_eq!(Pong::parse(b"12345678 and more"), Ok(Pong(*b"12345678")));
    assert!(Ping::parse(b"1234567").is_err());
    assert!(Pong::parse(b"1234567").is_err());
    assert!(Ping::parse(&[0; PING_BYTES_MAX]).is_ok());
    assert!(Ping::parse(&[0; PING_BYTES_MAX + 1]).is_err());
}

#[test]
fn health_is_text() {
    let sick = Health {
        problem: "two of you".into(),
    };
    assert_eq!(written(|out| sick.write(out)), b"\x14\0\0\0\x0atwo of you");
    assert_eq!(Health::parse(b"").unwrap().problem, "");
    assert_eq!(Health::parse(b"a\xff").unwrap().problem, "a\u{fffd}");
}

#[test]
fn restarting_is_two_spans() {
    let span_ms = |secs| u32::try_from(Duration::from_secs(secs).as_millis()).unwrap();
    let soon = Restarting {
        reconnect_in_ms: span_ms(1),
        try_for_ms: span_ms(60),
    };
    assert_eq!(
        written(|out| soon.write(out)),
        b"\x15\0\0\0\x08\0\0\x03\xe8\0\0\xea\x60"
    );
    assert_eq!(Restarting::parse(b"\0\0\x03\xe8\0\0\xea\x60more"), Ok(soon));
}

#[test]
fn an_error_names_the_frame_and_what_is_wrong() {
    let error = WatchConns::parse(b"1").unwrap_err();
    assert_eq!(error.to_string(), "malformed WatchConns: not empty");
}

/// Calls every parser, for the sake of those that would panic.
fn parse_all(body: &[u8]) {
    let _ = ServerKey::parse(body);
    let _ = ClientInfo::parse(body);
    let _ = ServerInfo::parse(body);
    let _ = SendPacket::parse(body);
    let _ = RecvPacket::parse(body);
    let _ = KeepAlive::parse(body);
    let _ = NotePreferred::parse(body);
    let _ = PeerGone::parse(body);
    let _ = PeerPresent::parse(body);
    let _ = ForwardPacket::parse(body);
    let _ = WatchConns::parse(body);
    let _ = ClosePeer::parse(body);
    let _ = Ping::parse(body);
    let _ = Pong::parse(body);
    let _ = Health::parse(body);
    let _ = Restarting::parse(body);
}

prop_compose! {
    fn key()(bytes: [u8; 32]) -> NodePublic { NodePublic(bytes) }
}

/// An address as it is on the wire: never IPv4-mapped, and `[::]:0` stands for none.
fn addr() -> impl Strategy<Value = Option<SocketAddr>> {
    let v4 = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
    let v6 = any::<([u8; 16], u16)>().prop_map(SocketAddr::from);
    prop::option::of(prop_oneof![v4, v6]).prop_map(|addr| {
        addr.map(|a| SocketAddr::new(a.ip().to_canonical(), a.port()))
            .filter(|a| !(a.is_ipv6() && a.ip().is_unspecified() && a.port() == 0))
    })
}

fn bytes(len_max: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..=len_max)
}

/// Writes a frame, reads it back, and feeds all its prefixes to all parsers.
macro_rules! round_trip {
    ($frame:expr, $type:ident) => {{
        let frame = $frame;
        let out = written(|out| frame.write(out));
        let body = body(&out, FrameType::$type);
        prop_assert_eq!($type::parse(body), Ok(frame));
        (0..body.len()).for_each(|len| parse_all(&body[..len]));
    }};
}

proptest! {
    #[test]
    fn headers_come_back(bytes: [u8; 5]) {
        prop_assert_eq!(Header::parse(&bytes).write(), bytes);
    }

    #[test]
    fn handshake_frames_come_back(key in key(), nonce: [u8; 24], sealed in bytes(100)) {
        round_trip!(ServerKey { key }, ServerKey);
        round_trip!(ClientInfo { key, nonce, sealed: &sealed }, ClientInfo);
        round_trip!(ServerInfo { nonce, sealed: &sealed }, ServerInfo);
    }

    #[test]
    fn packet_frames_come_back(src in key(), dst in key(), packet in bytes(200)) {
        round_trip!(SendPacket { dst, packet: &packet }, SendPacket);
        round_trip!(RecvPacket { src, packet: &packet }, RecvPacket);
        round_trip!(ForwardPacket { src, dst, packet: &packet }, ForwardPacket);
    }

    #[test]
    fn frames_about_peers_come_back(key in key(), reason: u8, addr in addr(), flags: u8) {
        round_trip!(PeerGone { key, reason: GoneReason::from_u8(reason) }, PeerGone);
        round_trip!(PeerPresent { key, addr, flags: PresentFlags(flags) }, PeerPresent);
        round_trip!(ClosePeer { key }, ClosePeer);
    }

    #[test]
    fn other_frames_come_back(data: [u8; 8], text: String, ms: (u32, u32), preferred: bool) {
        round_trip!(KeepAlive, KeepAlive);
        round_trip!(WatchConns, WatchConns);
        round_trip!(NotePreferred(preferred), NotePreferred);
        round_trip!(Ping(data), Ping);
        round_trip!(Pong(data), Pong);
        round_trip!(Health { problem: text.as_str().into() }, Health);
        round_trip!(Restarting { reconnect_in_ms: ms.0, try_for_ms: ms.1 }, Restarting);
    }

    #[test]
    fn nothing_panics(body in bytes(1100)) {
        parse_all(&body);
    }
}
