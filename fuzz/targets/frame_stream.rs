//! The DERP stream of a client, of a mesh peer, or of a relay that we are a client of: however it is cut, the others
//! are sent the same and the same is counted; whatever it says, storage stays within its bounds and comes back.
#![no_main]
#![forbid(unsafe_code)]

use core::time::Duration;

use libfuzzer_sys::fuzz_target;
use towline_fuzz::one_shard::{End, OneShard, Seen, frames, key};
use towline_fuzz::{Cuts, take_byte};
use towline_wire::frame::{
    FrameType, GoneReason, PeerGone, PeerPresent, Pong, RecvPacket, SendPacket, WatchConns,
};

/// Whose stream it is.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speaker {
    Client,
    MeshPeer,
    Uplink,
}

const SPEAKER: u8 = 1;
const HEARER: u8 = 2;
const WATCHER: u8 = 3;
/// Nobody here has this key; an uplink may say that it leads to it.
const REMOTE: u8 = 4;

/// Input: a byte for the speaker and how often it says the stream, cuts, the stream.
fn run(mut input: &[u8]) -> Option<()> {
    let options = take_byte(&mut input)?;
    let cuts = Cuts::take(&mut input)?;
    let speaker = match options % 3 {
        0 => Speaker::Client,
        1 => Speaker::MeshPeer,
        _ => Speaker::Uplink,
    };
    let whole = listen(speaker, core::iter::once(input));
    check_sent(speaker, &whole);
    assert_eq!(listen(speaker, cuts.pieces(input)), whole);
    press(speaker, cuts, input, options / 3 % 16);
    Some(())
}

/// With room for all of it.
fn listen<'a>(speaker: Speaker, pieces: impl Iterator<Item = &'a [u8]>) -> Seen {
    let mut relay = OneShard::new(4 << 20);
    let who = connect(&mut relay, speaker, SPEAKER);
    let hearer = relay.client(HEARER, false);
    let watcher = relay.client(WATCHER, true);
    let mut watch = Vec::new();
    WatchConns.write(&mut watch);
    relay.hear(watcher, &watch);
    for piece in pieces {
        let goes_on = relay.hear(who, piece);
        relay.settle();
        if !goes_on {
            break;
        }
    }
    for dst in [SPEAKER, REMOTE] {
        let (dst, packet) = (key(dst), b"answer".as_slice());
        let mut answer = Vec::new();
        SendPacket { dst, packet }.write(&mut answer);
        relay.hear(hearer, &answer);
    }
    relay.write_all(1 << 14);
    relay.finish()
}

/// Two speak at once, over and over, with far too little room, and nobody listens for a while.
fn press(speaker: Speaker, cuts: Cuts<'_>, stream: &[u8], times: u8) {
    let mut relay = OneShard::new(16 << 10);
    let first = connect(&mut relay, speaker, SPEAKER);
    let second = relay.client(REMOTE, speaker == Speaker::MeshPeer);
    relay.client(HEARER, false);
    for round in 0..=times {
        for piece in cuts.pieces(stream) {
            relay.hear(first, piece);
            relay.hear(second, piece);
            relay.settle();
        }
        match round % 8 {
            3 => relay.write_all(512),
            // Longer than a frame may stay unfinished.
            7 => relay.pass(Duration::from_secs(11)),
            _ => {}
        }
    }
    relay.finish();
}

fn connect(relay: &mut OneShard, speaker: Speaker, number: u8) -> usize {
    match speaker {
        Speaker::Client => relay.client(number, false),
        Speaker::MeshPeer => relay.client(number, true),
        Speaker::Uplink => relay.uplink(),
    }
}

/// What the others were sent are whole frames that a client can read, from whom they say.
fn check_sent(speaker: Speaker, seen: &Seen) {
    for (who, stream) in seen.sent.iter().enumerate() {
        if speaker == Speaker::Uplink && who == 0 {
            continue;
        }
        let mut len = 0;
        for (header, body) in frames(stream) {
            len += 5 + body.len();
            match header.frame_type() {
                Some(FrameType::RecvPacket) => {
                    let frame = RecvPacket::parse(body).expect("a packet");
                    let is_known = [key(SPEAKER), key(HEARER)].contains(&frame.src);
                    assert!(is_known || speaker == Speaker::MeshPeer, "{frame:?}");
                }
                Some(FrameType::PeerGone) => {
                    let frame = PeerGone::parse(body).expect("a departure");
                    assert!(!matches!(frame.reason, GoneReason::Other(_)), "{frame:?}");
                }
                Some(FrameType::PeerPresent) => {
                    assert!(PeerPresent::parse(body).is_ok());
                }
                Some(FrameType::Pong) => assert!(Pong::parse(body).is_ok()),
                Some(FrameType::ServerInfo) => assert!(body.is_empty()),
                other => panic!("{other:?} for a client"),
            }
        }
        assert_eq!(len, stream.len(), "a frame was cut");
    }
    // Nobody pays for what the speaker did, unless a mesh peer asked for it.
    let innocent = &seen.ends[1..];
    let unharmed = innocent.iter().all(Option::is_none);
    let by_wish = speaker == Speaker::MeshPeer
        && innocent
            .iter()
            .flatten()
            .all(|end| *end == End::Closed(towline_derp::relay::CloseReason::ClosedByMesh));
    assert!(unharmed || by_wish, "{innocent:?}");
}

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});
