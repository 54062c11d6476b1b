//! Seeds of DERP itself: frames of clients and relays, client infos.

use towline_fuzz::derp::{KNOWN, mesh_key};
use towline_fuzz::one_shard::key;
use towline_wire::disco;
use towline_wire::frame::{
    ClosePeer, ForwardPacket, FrameType, GoneReason, Header, Health, KeepAlive, NotePreferred,
    PeerGone, PeerPresent, Ping, Pong, PresentFlags, RecvPacket, Restarting, SendPacket, ServerKey,
    WatchConns,
};

use crate::{EVERY_BYTE, Seed};

const CLIENT: u8 = 0;
const MESH_PEER: u8 = 1;
const UPLINK: u8 = 2;
/// Times three, plus the speaker: how often the stream is said again.
const OFTEN: u8 = 3 * 15;

/// Appends a frame to a stream.
macro_rules! write {
    ($stream:ident, $($frame:expr),+ $(,)?) => {{ $($frame.write(&mut $stream);)+ }};
}

pub(crate) fn frame_stream() -> Vec<Seed> {
    vec![
        ("client-packets", speak(CLIENT, packets())),
        ("client-packets-often", repeat(CLIENT, packets())),
        ("client-disco-to-nobody", speak(CLIENT, disco_to_nobody())),
        ("client-control", speak(CLIENT, control())),
        ("client-without-mesh-key", speak(CLIENT, mesh())),
        (
            "client-short-packet",
            speak(CLIENT, vec![4, 0, 0, 0, 31, 9]),
        ),
        ("client-endless-frame", repeat(CLIENT, endless())),
        ("client-error-with-a-queue", speak(CLIENT, queued())),
        ("mesh-peer", speak(MESH_PEER, mesh())),
        (
            "mesh-peer-watches",
            speak(MESH_PEER, vec![0x10, 0, 0, 0, 0]),
        ),
        ("mesh-peer-often", repeat(MESH_PEER, mesh())),
        ("uplink", speak(UPLINK, uplink())),
        ("uplink-often", repeat(UPLINK, uplink())),
    ]
}

fn speak(options: u8, stream: Vec<u8>) -> Vec<u8> {
    [vec![options, EVERY_BYTE], stream].concat()
}

/// In pieces of 50 and 11 bytes.
fn repeat(speaker: u8, stream: Vec<u8>) -> Vec<u8> {
    [vec![OFTEN + speaker, 2, 49, 10], stream].concat()
}

fn packet(number: u8, packet: &[u8]) -> SendPacket<'_> {
    let dst = key(number);
    SendPacket { dst, packet }
}

fn packets() -> Vec<u8> {
    let mut stream = Vec::new();
    write!(
        stream,
        packet(2, b"hello"),
        packet(2, &[7; 600]),
        packet(1, b"")
    );
    write!(
        stream,
        packet(3, b"to the watcher"),
        packet(9, b"to nobody")
    );
    stream
}

fn disco_to_nobody() -> Vec<u8> {
    let mut stream = Vec::new();
    let probe = [disco::MAGIC.as_slice(), &[0; 40]].concat();
    for number in [9, 10, 9, 2, 11, 12] {
        packet(number, &probe).write(&mut stream);
    }
    stream
}

fn control() -> Vec<u8> {
    let mut stream = Vec::new();
    write!(
        stream,
        NotePreferred(true),
        Ping([5; 8]),
        KeepAlive,
        NotePreferred(false)
    );
    // A longer ping, a type that nobody knows, a pong.
    stream.extend_from_slice(&Header::new(FrameType::Ping, 12).write());
    stream.extend_from_slice(&[6; 12]);
    stream.extend_from_slice(&[0x7f, 0, 0, 0, 3, 1, 2, 3]);
    write!(stream, Pong([5; 8]));
    stream
}

fn endless() -> Vec<u8> {
    let mut stream = Header::new(FrameType::SendPacket, 60_000).write().to_vec();
    stream.extend_from_slice(&key(2).0);
    stream.extend_from_slice(&[1; 300]);
    stream
}

/// Packets to oneself, which are never sent because of the frame behind them. Each would fit one block without the
/// header before it.
fn queued() -> Vec<u8> {
    let mut stream = Vec::new();
    for len in [480, 490] {
        packet(1, &[8; 490][..len]).write(&mut stream);
    }
    stream.extend_from_slice(&Header::new(FrameType::NotePreferred, 7).write());
    stream
}

fn mesh() -> Vec<u8> {
    let mut stream = Vec::new();
    let forward = |number, packet| ForwardPacket {
        src: key(20),
        dst: key(number),
        packet,
    };
    write!(
        stream,
        WatchConns,
        forward(2, b"forwarded"),
        forward(9, b"to nobody")
    );
    write!(
        stream,
        ClosePeer { key: key(9) },
        ClosePeer { key: key(2) },
        packet(3, b"hello")
    );
    stream
}

fn uplink() -> Vec<u8> {
    let mut stream = Vec::new();
    for number in [4, 5, 2] {
        present(number).write(&mut stream);
    }
    write!(
        stream,
        gone(5, GoneReason::Disconnected),
        gone(6, GoneReason::NotHere),
        Ping([1; 8])
    );
    write!(stream, present(5), KeepAlive);
    stream
}

fn present(number: u8) -> PeerPresent {
    PeerPresent {
        key: key(number),
        addr: Some("192.0.2.1:41641".parse().expect("an address")),
        flags: PresentFlags::REGULAR,
    }
}

fn gone(number: u8, reason: GoneReason) -> PeerGone {
    let key = key(number);
    PeerGone { key, reason }
}

pub(crate) fn client_info() -> Vec<Seed> {
    let json = |text: &str| [&[0], text.as_bytes()].concat();
    let mesh = format!(
        "{{\"meshKey\":\"{}\",\"version\":2}}",
        mesh_key().to_hex().as_str()
    );
    vec![
        (
            "go-client",
            json("{\"version\":2,\"CanAckPings\":true,\"IsProber\":false}"),
        ),
        (
            "ts-derp",
            json("{\"version\":2,\"can_ack_pings\":true,\"mesh_key\":\"none\"}"),
        ),
        ("mesh-peer", json(&mesh)),
        ("mesh-key-of-no-hex", json("{\"meshKey\":\"zz\"}")),
        (
            "prober-with-name",
            json("{\"IsProber\":true,\"AppName\":\"a\\u0000b\\ud83d\\ude00\"}"),
        ),
        (
            "folded-names",
            json("{\"VER\u{17f}ION\":1,\"canac\u{212a}pings\":true}"),
        ),
        (
            "nulls-and-repeats",
            json("{\"version\":null,\"version\":1,\"version\":-2}"),
        ),
        (
            "nested-unknown",
            json("{\"x\":[{\"y\":[1.5e3,null,\"z\"]}],\"version\":2}"),
        ),
        (
            "not-utf8",
            [b"\0{\"AppName\":\"".as_slice(), &[0xff, 0xe9], b"\"}"].concat(),
        ),
        ("half-a-surrogate", json("{\"AppName\":\"\\ud800\"}")),
        ("null", json("null")),
        (
            "changed-on-the-way",
            [b"\x05".as_slice(), b"{\"version\":2}"].concat(),
        ),
    ]
}

/// Openings: 0 raw, 1 fast start, 2 WebSocket. Places times three: 0 the input is all, 1 it follows the greeting, 2 it
/// is the server info, 3 it follows it.
pub(crate) fn client_frames() -> Vec<Seed> {
    let info = b"{\"version\":2,\"TokenBucketBytesPerSecond\":1000,\"TokenBucketBytesBurst\":5}";
    let refusal = b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 3\r\n\r\nno\n";
    let slow = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n\r\n";
    let mut server_key = Vec::new();
    ServerKey { key: KNOWN.server }.write(&mut server_key);
    vec![
        ("frames-raw", speak(3 * 3, relay_frames())),
        ("frames-after-fast-start", speak(3 * 3 + 1, relay_frames())),
        ("frames-in-websocket", speak(3 * 3 + 2, relay_frames())),
        ("server-info-raw", speak(2 * 3, info.to_vec())),
        (
            "server-info-after-fast-start",
            speak(2 * 3 + 1, info.to_vec()),
        ),
        ("server-info-in-websocket", speak(2 * 3 + 2, info.to_vec())),
        ("refused", speak(0, refusal.to_vec())),
        ("refused-fast-start", speak(1, refusal.to_vec())),
        (
            "fast-start-not-taken",
            speak(1, [slow.as_slice(), &server_key].concat()),
        ),
        ("other-frame-than-info", speak(3, relay_frames())),
        ("websocket-closed", speak(3 + 2, vec![0x88, 2, 3, 0xe9])),
    ]
}

fn relay_frames() -> Vec<u8> {
    let mut stream = Vec::new();
    let (src, packet) = (key(2), b"hello".as_slice());
    write!(
        stream,
        RecvPacket { src, packet },
        KeepAlive,
        Ping([1; 8]),
        Pong([2; 8])
    );
    write!(
        stream,
        present(4),
        gone(5, GoneReason::NotHere),
        gone(5, GoneReason::Other(9))
    );
    write!(
        stream,
        Health {
            problem: "too many".into()
        }
    );
    write!(
        stream,
        Restarting {
            reconnect_in_ms: 10,
            try_for_ms: 1000
        }
    );
    // As old servers write them.
    stream.extend_from_slice(&Header::new(FrameType::PeerGone, 32).write());
    stream.extend_from_slice(&[5; 32]);
    stream.extend_from_slice(&Header::new(FrameType::PeerPresent, 32).write());
    stream.extend_from_slice(&[5; 32]);
    stream
}
