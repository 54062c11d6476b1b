//! The rules that do not depend on time, with boringtun's engine on either side or on both. It runs on its own clock.

use core::net::SocketAddr;

use proptest::prelude::*;

use super::net::{Net, packet, private, slot_of};
use crate::EngineKind::{self, Boringtun, Native};
use crate::Unsealed;

const PAIRS: [[EngineKind; 2]; 3] = [
    [Boringtun, Native],
    [Native, Boringtun],
    [Boringtun, Boringtun],
];

fn each_pair(test: impl Fn(&mut Net)) {
    for pair in PAIRS {
        let mut net = Net::mesh_of(&pair, 1);
        net.send(0, 1, 100);
        net.run_ms(10);
        assert_eq!(net.received(1), 1, "{pair:?}");
        test(&mut net);
    }
}

#[test]
fn packets_pass_both_ways_and_in_order() {
    each_pair(|net| {
        for len in 20..150 {
            net.send(0, 1, len);
            net.send(1, 0, len);
        }
        net.run_ms(10);
        let lens: Vec<usize> = net.nodes[0].received.iter().map(Vec::len).collect();
        assert_eq!(lens, (20..150).collect::<Vec<_>>());
        assert_eq!(net.received(1), 131);
        let data = net.log.iter().filter(|it| it.bytes[0] == 4);
        assert!(data.clone().all(|it| it.bytes.len() % 16 == 0), "padded");
        for (at, of) in [(0, 1), (1, 0)] {
            let info = net.nodes[at].tunnel.info(net.peer(at, of)).unwrap();
            assert!(info.rx_bytes > 0 && info.tx_bytes > 0 && info.last_handshake.is_some());
        }
    });
}

#[test]
fn what_was_staged_comes_in_order() {
    for pair in PAIRS {
        let mut net = Net::mesh_of(&pair, 2);
        for len in 100..150 {
            net.send(0, 1, len);
        }
        net.run_ms(10);
        let lens: Vec<usize> = net.nodes[1].received.iter().map(Vec::len).collect();
        assert_eq!(lens, (100..150).collect::<Vec<_>>());
    }
}

#[test]
fn trains_are_opened_and_what_is_forged_or_replayed_is_dropped() {
    each_pair(|net| {
        let [from, to] = [0, 1].map(|at| net.nodes[at].inner);
        let mut train = slot_of(&packet(from, to, 500)).repeat(10);
        let slot_bytes = train.len() / 10;
        train.extend(slot_of(&packet(from, to, 50)));
        let peer = net.peer(0, 1);
        net.nodes[0]
            .tunnel
            .seal_train(net.now, peer, &mut train, slot_bytes)
            .unwrap();
        train[3 * slot_bytes + 30] ^= 1;
        let elsewhere = SocketAddr::from(([198, 51, 100, 7], 4242));
        net.deliver(1, elsewhere, &train, slot_bytes);
        assert_eq!(net.received(1), 11);
        net.deliver(1, ([203, 0, 113, 1], 1).into(), &train, slot_bytes);
        assert_eq!(net.received(1), 11);
        let stats = net.nodes[1].tunnel.stats();
        assert_eq!((stats.forged, stats.replayed), (2, 10));
        let info = net.nodes[1].tunnel.info(net.peer(1, 0)).unwrap();
        assert_eq!(info.endpoint.unwrap().address, elsewhere);
    });
}

#[test]
fn the_source_of_a_packet_must_lead_back_to_its_peer() {
    each_pair(|net| {
        let to = net.nodes[1].inner;
        net.send_packet(0, &packet([10, 9, 9, 9].into(), to, 100));
        net.run_ms(10);
        assert_eq!(net.received(1), 1);
        assert_eq!(net.nodes[1].tunnel.stats().source_not_allowed, 1);
    });
}

#[test]
fn another_key_ends_the_sessions() {
    each_pair(|net| {
        net.nodes[0]
            .tunnel
            .set_private_key(net.now, Some(private(9)));
        let peer = net.peer(0, 1);
        let mut slot = [0; 64];
        let sealed = net.nodes[0].tunnel.seal_train(net.now, peer, &mut slot, 64);
        assert_eq!(sealed, Err(Unsealed::NoSession));
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn arbitrary_bytes_panic_nothing(
        mut bytes in prop::collection::vec(any::<u8>(), 0..3000),
        kind in 0..6u8,
        segment in 0..2000usize,
    ) {
        let mut net = Net::mesh_of(&[Native, Boringtun], 3);
        net.send(0, 1, 100);
        net.run_ms(10);
        for slot in bytes.chunks_mut(segment.max(1)) {
            let len = slot.len().min(8);
            slot[..len].copy_from_slice(&[kind, 0, 0, 0, 1, 0, 0, 0][..len]);
        }
        net.deliver(1, ([203, 0, 113, 1], 1).into(), &bytes, segment);
        prop_assert_eq!(net.received(1), 1);
    }
}
