//! Packets both ways, and what they look like under way.

use core::mem::size_of;
use std::collections::HashSet;

use towline_wire::limits::STAGED_PACKETS_MAX;
use towline_wire::wireguard::{DATA, INITIATION, RESPONSE};

use super::net::{Net, packet, slot_of};
use crate::Unsealed;
use crate::peer::Peer;

#[test]
fn a_packet_begins_a_handshake_and_follows_it() {
    let mut net = Net::mesh(2, 1);
    net.send(0, 1, 100);
    net.run_ms(10);
    let expected = packet(net.nodes[0].inner, net.nodes[1].inner, 100);
    assert_eq!(net.nodes[1].received, [expected]);
    net.send(1, 0, 1400);
    net.run_ms(10);
    assert_eq!(net.received(0), 1);
    assert_eq!((net.sent(INITIATION), net.sent(RESPONSE)), (1, 1));
    assert_eq!(
        net.keepalives(),
        0,
        "the staged packet confirmed the session"
    );
}

#[test]
fn what_was_staged_comes_in_order_and_the_oldest_gives_way() {
    let mut net = Net::mesh(2, 2);
    for len in 100..300 {
        net.send(0, 1, len);
    }
    net.run_ms(10);
    let lens: Vec<usize> = net.nodes[1].received.iter().map(Vec::len).collect();
    let expected: Vec<usize> = (300 - STAGED_PACKETS_MAX..300).collect();
    assert_eq!(lens, expected);
    let dropped = 200 - STAGED_PACKETS_MAX as u64;
    assert_eq!(net.nodes[0].tunnel.stats().staged_dropped, dropped);
    assert_eq!(net.sent(INITIATION), 1, "one handshake for all of them");
}

#[test]
fn every_datagram_of_data_is_a_multiple_of_16() {
    let mut net = Net::mesh(2, 3);
    for len in 20..120 {
        net.send(0, 1, len);
        net.run_ms(2);
    }
    let lens: Vec<usize> = net.nodes[1].received.iter().map(Vec::len).collect();
    assert_eq!(lens, (20..120).collect::<Vec<_>>(), "padding is cut off");
    let data = net.log.iter().filter(|it| it.bytes[0] == DATA as u8);
    assert!(data.clone().count() >= 100);
    assert!(data.clone().all(|it| it.bytes.len() % 16 == 0));
}

#[test]
fn a_slot_has_room_for_header_and_tag() {
    let mut net = Net::mesh(2, 3);
    net.send(0, 1, 20);
    net.run_ms(10);
    let peer = net.peer(0, 1);
    // Nothing more is asked of it: a packet of the MTU is not padded beyond that.
    let mut unpadded = vec![0; 16 + 20 + 16];
    let tunnel = &mut net.nodes[0].tunnel;
    assert!(tunnel.seal_train(net.now, peer, &mut unpadded, 52).is_ok());
    for (len, slot_bytes) in [(0, 0), (64, 0), (64, 16), (70, 64), (80, 64)] {
        let mut train = vec![0; len];
        let tunnel = &mut net.nodes[0].tunnel;
        let sealed = tunnel.seal_train(net.now, peer, &mut train, slot_bytes);
        assert_eq!(sealed, Err(Unsealed::BadSlot), "{len} in {slot_bytes}");
    }
}

#[test]
fn a_train_is_opened_packet_by_packet() {
    let mut net = Net::mesh(2, 4);
    net.send(0, 1, 20);
    net.run_ms(10);
    let peer = net.peer(0, 1);
    let [from, to] = [0, 1].map(|at| net.nodes[at].inner);
    // More than an answer of the cipher has bits, the last one shorter.
    let mut train = Vec::new();
    for _ in 0..100 {
        train.extend(slot_of(&packet(from, to, 500)));
    }
    train.extend(slot_of(&packet(from, to, 77)));
    let slot_bytes = slot_of(&packet(from, to, 500)).len();
    net.nodes[0]
        .tunnel
        .seal_train(net.now, peer, &mut train, slot_bytes)
        .unwrap();
    train[5 * slot_bytes + 20] ^= 1;
    let address = net.nodes[0].address;
    net.nodes[1].received.clear();
    net.deliver(1, address, &train, slot_bytes);
    assert_eq!(net.received(1), 100);
    assert_eq!(net.nodes[1].received[99], packet(from, to, 77));
    assert_eq!(net.nodes[1].tunnel.stats().forged, 1);
    net.deliver(1, address, &train, slot_bytes);
    assert_eq!(net.received(1), 100);
    assert_eq!(net.nodes[1].tunnel.stats().replayed, 100);
}

#[test]
fn indices_are_random_and_never_shared() {
    let mut net = Net::mesh(9, 5);
    for peer in 1..9 {
        net.send(0, peer, 100);
    }
    net.run_ms(10);
    let mut indices = HashSet::new();
    let mut ones = 0;
    for it in net.log.iter().filter(|it| it.bytes[0] <= 2) {
        let index = u32::from_le_bytes(it.bytes[4..8].try_into().unwrap());
        assert!(indices.insert(index));
        ones += index.count_ones();
    }
    assert_eq!(indices.len(), 16);
    assert!((200..312).contains(&ones), "half of 512 bits, more or less");
}

#[test]
fn a_configured_peer_costs_little_until_a_handshake_starts() {
    let net = Net::mesh(2, 6);
    let peer = net.nodes[0].tunnel.peers.get(0).unwrap();
    assert!(peer.live.is_none());
    assert!(size_of::<Peer>() <= 1024, "{} bytes", size_of::<Peer>());
}

#[test]
fn a_tunnel_can_be_moved_to_its_worker() {
    fn is_send<T: Send>() {}
    is_send::<crate::Tunnel>();
}

#[test]
fn a_train_without_an_endpoint_or_a_peer_is_refused() {
    let mut net = Net::mesh(1, 7);
    let other = net.add(1, 7);
    let key = net.nodes[other].key;
    let now = net.now;
    let tunnel = &mut net.nodes[0].tunnel;
    let peer = tunnel.add_peer(now, key).unwrap();
    let mut train = [0; 64];
    let sealed = tunnel.seal_train(now, peer, &mut train, 64);
    assert_eq!(sealed, Err(Unsealed::NoEndpoint));
    tunnel.remove_peer(now, peer);
    let sealed = tunnel.seal_train(now, peer, &mut train, 64);
    assert_eq!(sealed, Err(Unsealed::NoPeer));
    assert_ne!(tunnel.add_peer(now, key), Some(peer), "another generation");
}
