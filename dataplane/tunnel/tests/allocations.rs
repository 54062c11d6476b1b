//! The way of a packet allocates nothing, and a peer that is only configured costs little.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use towline_tunnel::{Effect, Endpoint, Opened, PeerId, StaticPrivate, Tunnel, TunnelConfig};
use towline_wire::Time;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it is; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        BYTES.set(BYTES.get() + layout.size() as i64);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        BYTES.set(BYTES.get() - layout.size() as i64);
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const START: Time = Time(1_000_000_000);

fn tunnel(own: u8) -> Tunnel {
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
    let mut tunnel = Tunnel::new(config, Box::new(entropy), START, Duration::from_secs(1));
    tunnel.set_private_key(START, Some(StaticPrivate::from_bytes([own; 32])));
    tunnel
}

fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

fn endpoint(last: u8) -> Endpoint {
    Endpoint {
        address: SocketAddr::from(([192, 0, 2, last], 51820)),
        source: None,
    }
}

fn end(own: u8, other: u8) -> (Tunnel, PeerId) {
    let mut tunnel = tunnel(own);
    let key = StaticPrivate::from_bytes([other; 32]).public();
    let peer = tunnel.add_peer(START, key).expect("another key");
    tunnel.set_endpoint(START, peer, endpoint(other));
    tunnel.add_allowed_ip(peer, IpAddr::V4(address(other)).into());
    (tunnel, peer)
}

/// A train of packets of 100 bytes in slots of 144.
fn train(from: u8, to: u8, count: usize) -> Vec<u8> {
    let mut slot = [0; 144];
    slot[16] = 0x45;
    slot[19] = 100;
    slot[28..32].copy_from_slice(&address(from).octets());
    slot[32..36].copy_from_slice(&address(to).octets());
    slot.repeat(count)
}

#[test]
fn trains_allocate_nothing() {
    let (mut a, to_b) = end(1, 2);
    let (mut b, to_a) = end(2, 1);
    assert!(a.seal_train(START, to_b, &mut train(1, 2, 1), 144).is_err());
    for turn in 0..3 {
        let (from, to) = if turn % 2 == 0 {
            (&mut a, &mut b)
        } else {
            (&mut b, &mut a)
        };
        while let Some(effect) = from.poll_effect() {
            if let Effect::Send { datagram, .. } = effect {
                let mut datagram = datagram.to_vec();
                let len = datagram.len();
                to.handle_train(START, endpoint(1), &mut datagram, len, &mut Vec::new());
            }
        }
    }
    let plain = [train(1, 2, 44), train(2, 1, 44)];
    let mut buffers = plain.clone();
    let mut opened: Vec<Opened> = Vec::with_capacity(44);
    let before = ALLOCATIONS.get();
    for step in 0..100 {
        let now = START + Duration::from_millis(step);
        let [out, back] = &mut buffers;
        out.copy_from_slice(&plain[0]);
        back.copy_from_slice(&plain[1]);
        assert_eq!(a.route(IpAddr::V4(address(2))), Some(to_b));
        a.seal_train(now, to_b, out, 144).unwrap();
        opened.clear();
        b.handle_train(now, endpoint(1), out, 144, &mut opened);
        assert_eq!(opened.len(), 44);
        b.seal_train(now, to_a, back, 144).unwrap();
        opened.clear();
        a.handle_train(now, endpoint(2), back, 144, &mut opened);
        assert_eq!(opened.len(), 44);
        a.handle_timeout(now);
    }
    assert_eq!(ALLOCATIONS.get() - before, 0);
}

#[test]
fn a_configured_peer_costs_less_than_4_kib() {
    const PEERS: u32 = 1000;
    let mut tunnel = tunnel(1);
    let before = BYTES.get();
    for number in 0..PEERS {
        let mut key = [7; 32];
        key[8..12].copy_from_slice(&number.to_le_bytes());
        let key = StaticPrivate::from_bytes(key).public();
        let peer = tunnel.add_peer(START, key).unwrap();
        tunnel.set_endpoint(START, peer, endpoint(2));
        let v4 = Ipv4Addr::from_bits(0x0a00_0000 + number);
        tunnel.add_allowed_ip(peer, IpAddr::V4(v4).into());
        let v6 = format!("fd00::{number:x}/128").parse().unwrap();
        tunnel.add_allowed_ip(peer, v6);
    }
    let each = (BYTES.get() - before) / i64::from(PEERS);
    println!("{each} bytes for each of {} peers", tunnel.peers().count());
    assert!(each <= 4096, "{each} bytes for each peer");
    assert_eq!(tunnel.poll_timeout(), None, "nobody is looked at");
}
