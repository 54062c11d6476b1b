//! What sealing and opening cost, for each packet: trains of 44 packets of 1420 bytes, as a TUN super-packet gives them,
//! and single packets of 64 bytes. Beside it the cipher alone, and boringtun.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::hint::black_box;

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use towline_tunnel::{
    Effect, Endpoint, Opened, PeerId, StaticPrivate, Tunnel, TunnelConfig, Unsealed,
};
use towline_wire::Time;

const NOW: Time = Time(1_000_000_000);
/// Packets of a train, and bytes of a packet.
const SHAPES: [(usize, usize); 2] = [(44, 1420), (1, 64)];

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn endpoint(last: u8) -> Endpoint {
    Endpoint {
        address: SocketAddr::from(([192, 0, 2, last], 51820)),
        source: None,
    }
}

fn packet(len: usize) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    packet[12..16].copy_from_slice(&address(1).octets());
    packet[16..20].copy_from_slice(&address(2).octets());
    packet
}

/// A train of packets in their slots, and the length of a slot.
fn train(count: usize, len: usize) -> (Vec<u8>, usize) {
    let mut slot = vec![0; 16];
    slot.extend(packet(len));
    slot.resize(16 + len.next_multiple_of(16) + 16, 0);
    (slot.repeat(count), slot.len())
}

/// One end of a session: the tunnel, and its peer.
type End = (Tunnel, PeerId);

fn ends() -> (End, End) {
    let private = |last: u8| StaticPrivate::from_bytes([last; 32]);
    let end = |own: u8, other: u8| {
        let mut state = u64::from(own);
        let entropy = move |bytes: &mut [u8]| {
            for byte in bytes {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                *byte = (state >> 56) as u8;
            }
        };
        let config = TunnelConfig::default();
        let mut tunnel = Tunnel::new(config, Box::new(entropy), NOW, Duration::from_secs(1));
        tunnel.set_private_key(NOW, Some(private(own)));
        let peer = tunnel.add_peer(NOW, private(other).public());
        let peer = peer.expect("another key");
        tunnel.set_endpoint(NOW, peer, endpoint(other));
        tunnel.add_allowed_ip(peer, IpAddr::V4(address(other)).into());
        (tunnel, peer)
    };
    let (mut a, mut b) = (end(1, 2), end(2, 1));
    shake(&mut a, &mut b, NOW);
    (a, b)
}

/// A whole handshake: initiation, response, and the keepalive that confirms the session.
fn shake(a: &mut End, b: &mut End, now: Time) {
    let (mut first, slot_bytes) = train(1, 64);
    let sealed = a.0.seal_train(now, a.1, &mut first, slot_bytes);
    assert_eq!(sealed, Err(Unsealed::NoSession));
    for turn in 0..3 {
        let (from, to) = if turn % 2 == 0 {
            (&mut *a, &mut *b)
        } else {
            (&mut *b, &mut *a)
        };
        while let Some(effect) = from.0.poll_effect() {
            if let Effect::Send { datagram, .. } = effect {
                let mut datagram = datagram.to_vec();
                let len = datagram.len();
                let from = endpoint(1 + turn % 2);
                to.0.handle_train(now, from, &mut datagram, len, &mut Vec::new());
            }
        }
    }
}

fn handshake(c: &mut Criterion) {
    let (mut a, mut b) = ends();
    let mut now = NOW;
    c.bench_function("handshake, both sides", |bench| {
        bench.iter(|| {
            now += Duration::from_secs(200);
            shake(&mut a, &mut b, now);
        });
    });
}

fn tunnel(c: &mut Criterion) {
    for (count, len) in SHAPES {
        let mut group = c.benchmark_group(format!("{count} x {len} bytes"));
        group.throughput(Throughput::Elements(count as u64));
        let ((mut a, peer), (mut b, _)) = ends();
        let (plain, slot_bytes) = train(count, len);

        let mut buffer = plain.clone();
        group.bench_function("seal", |bench| {
            bench.iter(|| a.seal_train(NOW, peer, black_box(&mut buffer), slot_bytes));
        });

        let mut opened: Vec<Opened> = Vec::with_capacity(count);
        group.bench_function("open", |bench| {
            bench.iter_batched_ref(
                || {
                    let mut sealed = plain.clone();
                    a.seal_train(NOW, peer, &mut sealed, slot_bytes)
                        .expect("a session");
                    sealed
                },
                |sealed| {
                    opened.clear();
                    b.handle_train(NOW, endpoint(1), sealed, slot_bytes, &mut opened);
                    assert_eq!(opened.len(), count);
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

fn cipher(c: &mut Criterion) {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).expect("a key");
    let key = LessSafeKey::new(key);
    let nonce = || Nonce::assume_unique_for_key([0; 12]);
    for (count, len) in SHAPES {
        let mut group = c.benchmark_group(format!("{count} x {len} bytes"));
        group.throughput(Throughput::Elements(count as u64));
        let (mut buffer, slot_bytes) = train(count, len);
        group.bench_function("ring seals", |bench| {
            bench.iter(|| {
                for slot in buffer.chunks_mut(slot_bytes) {
                    let text = &mut slot[16..slot_bytes - 16];
                    let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), text);
                    let _ = black_box(tag.expect("it seals"));
                }
            });
        });
        let mut sealed = buffer.clone();
        for slot in sealed.chunks_mut(slot_bytes) {
            let text = &mut slot[16..slot_bytes - 16];
            let tag = key.seal_in_place_separate_tag(nonce(), Aad::empty(), text);
            slot[slot_bytes - 16..].copy_from_slice(tag.expect("it seals").as_ref());
        }
        group.bench_function("ring opens", |bench| {
            bench.iter_batched_ref(
                || sealed.clone(),
                |sealed| {
                    for slot in sealed.chunks_mut(slot_bytes) {
                        let opened = key.open_in_place(nonce(), Aad::empty(), &mut slot[16..]);
                        black_box(opened.expect("it opens"));
                    }
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

fn tunns() -> (Tunn, Tunn) {
    let secret = |byte: u8| StaticSecret::from([byte; 32]);
    let public = |byte: u8| PublicKey::from(&secret(byte));
    let mut a = Tunn::new(secret(1), public(2), None, None, 1, None);
    let mut b = Tunn::new(secret(2), public(1), None, None, 2, None);
    let mut buffers = [[0; 200]; 4];
    let [one, two, three, four] = &mut buffers;
    let written = |result: TunnResult<'_>| match result {
        TunnResult::WriteToNetwork(bytes) => bytes.to_vec(),
        _ => Vec::new(),
    };
    let initiation = written(a.format_handshake_initiation(one, false));
    let response = written(b.decapsulate(None, &initiation, two));
    let keepalive = written(a.decapsulate(None, &response, three));
    b.decapsulate(None, &keepalive, four);
    (a, b)
}

fn boringtun(c: &mut Criterion) {
    for (count, len) in SHAPES {
        let mut group = c.benchmark_group(format!("{count} x {len} bytes"));
        group.throughput(Throughput::Elements(count as u64));
        let (mut a, mut b) = tunns();
        let packet = packet(len);
        let mut out = vec![0; len + 200];
        group.bench_function("boringtun seals", |bench| {
            bench.iter(|| {
                for _ in 0..count {
                    let sealed = a.encapsulate(black_box(&packet), &mut out);
                    assert!(matches!(sealed, TunnResult::WriteToNetwork(_)));
                }
            });
        });
        group.bench_function("boringtun opens", |bench| {
            bench.iter_batched_ref(
                || {
                    let mut sealed = Vec::new();
                    for _ in 0..count {
                        if let TunnResult::WriteToNetwork(it) = a.encapsulate(&packet, &mut out) {
                            sealed.push(it.to_vec());
                        }
                    }
                    (sealed, vec![0; len + 200])
                },
                |(sealed, out)| {
                    for datagram in sealed {
                        let opened = b.decapsulate(None, datagram, out);
                        assert!(matches!(opened, TunnResult::WriteToTunnelV4(..)));
                    }
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, tunnel, cipher, boringtun, handshake);
criterion_main!(benches);
