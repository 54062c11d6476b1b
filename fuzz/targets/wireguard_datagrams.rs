//! Datagrams of strangers at the WireGuard port, in trains of any shape: nothing is opened, nothing of the peer changes
//! but counters of what was dropped, and what the peer sends afterwards is opened as if nothing had come.
#![no_main]
#![forbid(unsafe_code)]

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;

use libfuzzer_sys::fuzz_target;
use towline_fuzz::take_byte;
use towline_tunnel::{Effect, Endpoint, EngineKind, PeerId, StaticPrivate, Tunnel, TunnelConfig};
use towline_wire::Time;

const NOW: Time = Time(1_000_000_000);
/// A slot of one packet of 20 bytes: header, padded packet, tag.
const SLOT: usize = 64;

/// Input: a byte of options, two of the length of a segment, the train. Option 1 puts the receiver index of the session
/// into each segment, option 2 makes them data, option 4 changes a genuine datagram instead, option 8 takes boringtun's
/// engine.
fn run(mut input: &[u8]) -> Option<()> {
    let options = take_byte(&mut input)?;
    let (segment, train) = input.split_first_chunk::<2>()?;
    let segment = usize::from(u16::from_le_bytes(*segment));
    let engine = if options & 8 == 0 {
        EngineKind::Native
    } else {
        EngineKind::Boringtun
    };
    let ((mut a, to_b), (mut b, to_a)) = established(engine);
    let genuine = sealed(&mut a, to_b);
    let mut train = train.to_vec();
    for piece in train.chunks_mut(segment.max(1)) {
        if options & 4 != 0 {
            piece
                .iter_mut()
                .zip(&genuine)
                .for_each(|(it, by)| *it ^= by);
        }
        if options & 2 != 0 && piece.len() >= 4 {
            piece[..4].copy_from_slice(&[4, 0, 0, 0]);
        }
        if options & 1 != 0 && piece.len() >= 8 {
            piece[4..8].copy_from_slice(&genuine[4..8]);
        }
        if *piece == genuine {
            return None;
        }
    }

    let known = |b: &Tunnel| {
        let info = b.info(to_a).expect("the peer stays");
        (
            info.endpoint,
            info.rx_bytes,
            info.tx_bytes,
            info.last_handshake,
        )
    };
    let before = (known(&b), b.poll_timeout());
    let mut opened = Vec::new();
    b.handle_train(NOW, endpoint(9), &mut train, segment, &mut opened);
    assert!(opened.is_empty());
    if engine == EngineKind::Native {
        assert_eq!((known(&b), b.poll_timeout()), before);
    }
    while let Some(effect) = b.poll_effect() {
        assert!(matches!(effect, Effect::Send { to, .. } if to == endpoint(9)));
    }
    let mut genuine = genuine;
    b.handle_train(NOW, endpoint(1), &mut genuine, SLOT, &mut opened);
    assert_eq!(opened.len(), 1);
    assert_eq!((opened[0].start, opened[0].len), (16, 20));
    Some(())
}

/// A tunnel, and its peer.
type End = (Tunnel, PeerId);

/// Two ends of a session; the second one runs on the engine.
fn established(engine: EngineKind) -> (End, End) {
    let mut a = end(1, 2, EngineKind::Native);
    let mut b = end(2, 1, engine);
    assert!(a.0.seal_train(NOW, a.1, &mut packet(), SLOT).is_err());
    for turn in 0..3 {
        let (from, to) = if turn % 2 == 0 {
            (&mut a, &mut b)
        } else {
            (&mut b, &mut a)
        };
        while let Some(effect) = from.0.poll_effect() {
            if let Effect::Send { datagram, .. } = effect {
                let mut bytes = datagram.to_vec();
                let len = bytes.len();
                let sender = endpoint(1 + turn % 2);
                to.0.handle_train(NOW, sender, &mut bytes, len, &mut Vec::new());
            }
        }
    }
    (a, b)
}

fn end(own: u8, other: u8, engine: EngineKind) -> End {
    let mut state = u64::from(own);
    let entropy = move |bytes: &mut [u8]| {
        for byte in bytes {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
    };
    let config = TunnelConfig {
        engine,
        ..TunnelConfig::default()
    };
    let wall_time = Duration::from_secs(1_700_000_000);
    let mut tunnel = Tunnel::new(config, Box::new(entropy), NOW, wall_time);
    tunnel.set_private_key(NOW, Some(StaticPrivate::from_bytes([own; 32])));
    let key = StaticPrivate::from_bytes([other; 32]).public();
    let peer = tunnel.add_peer(NOW, key).expect("another key");
    tunnel.set_endpoint(NOW, peer, endpoint(other));
    tunnel.add_allowed_ip(peer, IpAddr::from([10, 0, 0, other]).into());
    (tunnel, peer)
}

fn endpoint(last: u8) -> Endpoint {
    Endpoint {
        address: SocketAddr::from(([192, 0, 2, last], 51820)),
        source: None,
    }
}

/// A slot with a packet from the first end to the second.
fn packet() -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    slot[16] = 0x45;
    slot[19] = 20;
    slot[28..32].copy_from_slice(&[10, 0, 0, 1]);
    slot[32..36].copy_from_slice(&[10, 0, 0, 2]);
    slot
}

fn sealed(a: &mut Tunnel, to_b: PeerId) -> [u8; SLOT] {
    let mut slot = packet();
    a.seal_train(NOW, to_b, &mut slot, SLOT).expect("a session");
    slot
}

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});
