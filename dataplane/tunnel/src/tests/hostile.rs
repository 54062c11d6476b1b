//! What strangers and replays can do: raise a counter.

use core::fmt::Write;
use core::net::SocketAddr;
use core::time::Duration;

use proptest::prelude::*;
use towline_wire::wireguard::{INITIATION, write_data_header};

use super::net::{Net, packet, private, slot_of};
use crate::Tunnel;

fn stranger() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 4242))
}

/// All that may not change for a forged packet, as text.
fn state(tunnel: &Tunnel) -> String {
    let mut text = format!("{:?} {}\n", tunnel.poll_timeout(), tunnel.staged_bytes);
    for id in tunnel.peers() {
        let peer = tunnel.peers.get(id.slot).unwrap();
        let _ = writeln!(
            text,
            "{:?} {:?} {:?} {} {} {:?} {:?} {:?} {:?} {}",
            peer.key,
            peer.endpoint,
            peer.timers,
            peer.rx_bytes,
            peer.tx_bytes,
            peer.last_handshake,
            peer.latest_timestamp,
            peer.latest_initiation,
            peer.allowed_ips,
            peer.staged.len(),
        );
        let Some(live) = &peer.live else {
            continue;
        };
        let sessions = &live.sessions;
        let _ = writeln!(text, "{:?}", live.initiated.as_ref().map(|it| it.local));
        for session in [&sessions.previous, &sessions.current, &sessions.next] {
            let session = session.as_ref();
            let _ = writeln!(
                text,
                "{:?}",
                session.map(|it| (
                    it.local,
                    it.remote,
                    it.counter,
                    it.created,
                    it.replay.state()
                ))
            );
        }
    }
    text
}

/// A network in the middle of everything: sessions, a handshake under way, timers.
fn busy(seed: u64) -> Net {
    let mut net = Net::mesh(2, seed);
    net.send(0, 1, 100);
    net.run_ms(10);
    net.send(1, 0, 200);
    net.run(Duration::from_secs(125));
    net.send(0, 1, 100);
    net
}

#[test]
fn a_forged_packet_leaves_the_state_equal() {
    let mut net = busy(1);
    net.run(Duration::from_micros(1500));
    let genuine: Vec<Vec<u8>> = net.log.iter().map(|it| it.bytes.clone()).collect();
    for at in [0, 1] {
        let before = state(&net.nodes[at].tunnel);
        let received = net.received(at);
        for bytes in &genuine {
            // Without load nobody looks at mac2, the last field of handshake messages.
            let mac2_len = if bytes[0] <= 2 { 16 } else { 0 };
            for place in 0..bytes.len() - mac2_len {
                let mut forged = bytes.clone();
                forged[place] ^= 0x40;
                net.deliver(at, stranger(), &forged, forged.len());
            }
        }
        assert_eq!(state(&net.nodes[at].tunnel), before);
        assert_eq!(net.received(at), received);
    }
    let stats = net.nodes[1].tunnel.stats();
    assert!(stats.forged > 0 && stats.replayed > 100 && stats.bad_mac1 > 100);
}

#[test]
fn a_forged_response_does_not_end_the_handshake() {
    let mut net = Net::mesh(2, 2);
    net.send(0, 1, 100);
    net.run(Duration::from_micros(1500));
    let mut response = net.wire.front().unwrap().bytes.clone();
    response[20] ^= 1;
    // An attacker who knows the public key makes a right mac1.
    let keys = crate::cookie::MacKeys::new(&net.nodes[0].key);
    crate::cookie::Jar::default().complete(&keys, &mut response, net.now);
    net.deliver(0, stranger(), &response, response.len());
    assert_eq!(net.nodes[0].tunnel.stats().bad_handshake, 1);
    net.run_ms(10);
    assert_eq!(net.received(1), 1);
}

#[test]
fn replayed_data_is_dropped() {
    let mut net = Net::mesh(2, 3);
    net.send(0, 1, 100);
    net.run_ms(10);
    let all: Vec<_> = net.log.clone();
    let before = state(&net.nodes[1].tunnel);
    for flying in all.iter().filter(|it| it.bytes[0] == 4) {
        net.deliver(1, stranger(), &flying.bytes, flying.bytes.len());
    }
    assert_eq!(state(&net.nodes[1].tunnel), before);
    assert_eq!(net.received(1), 1);
    assert_eq!(net.nodes[1].tunnel.stats().replayed, 1);
}

#[test]
fn a_packet_twice_in_one_train_is_taken_once() {
    let mut net = Net::mesh(2, 4);
    net.send(0, 1, 100);
    net.run_ms(10);
    let peer = net.peer(0, 1);
    let mut slot = slot_of(&packet(net.nodes[0].inner, net.nodes[1].inner, 100));
    let len = slot.len();
    let now = net.now;
    net.nodes[0]
        .tunnel
        .seal_train(now, peer, &mut slot, len)
        .unwrap();
    let train = slot.repeat(3);
    let from = net.nodes[0].address;
    net.deliver(1, from, &train, len);
    assert_eq!(net.received(1), 2);
    assert_eq!(net.nodes[1].tunnel.stats().replayed, 2);
}

#[test]
fn initiations_with_old_timestamps_are_refused() {
    let mut net = Net::mesh(2, 5);
    net.send(0, 1, 100);
    net.run_ms(10);
    let first = net.log[0].bytes.clone();
    assert_eq!(first[0], INITIATION as u8);
    net.run(Duration::from_secs(600));
    net.deliver(1, stranger(), &first, first.len());
    assert_eq!(net.nodes[1].tunnel.stats().old_timestamp, 1);
    net.send(0, 1, 100);
    net.run_ms(10);
    assert_eq!(net.received(1), 2);
    net.deliver(1, stranger(), &first, first.len());
    assert_eq!(net.nodes[1].tunnel.stats().old_timestamp, 2);
}

#[test]
fn a_restarted_initiator_gets_in_since_its_wall_clock_went_on() {
    let mut net = Net::mesh(2, 6);
    net.send(0, 1, 100);
    net.run(Duration::from_secs(3));
    // The same identity with a clock that starts anew.
    let mut again = Net::mesh(2, 7);
    again.now = net.now;
    std::mem::swap(&mut net.nodes[1], &mut again.nodes[1]);
    let later = super::net::EPOCH + Duration::from_secs(3);
    let start = again.now;
    again.nodes[0].tunnel.clock = crate::tunnel::Clock::new(start, later);
    again.send(0, 1, 100);
    again.run_ms(10);
    assert_eq!(again.received(1), 2);
}

#[test]
fn the_source_of_a_packet_must_lead_back_to_its_peer() {
    let mut net = Net::mesh(3, 8);
    net.send(0, 1, 100);
    net.run_ms(10);
    let [own, to, other] = [0, 1, 2].map(|at| net.nodes[at].inner);
    // The whole network belongs to the first peer, but one address in it to the other one.
    let peer = net.peer(1, 0);
    let tunnel = &mut net.nodes[1].tunnel;
    assert!(tunnel.add_allowed_ip(peer, "10.0.0.0/8".parse().unwrap()));
    net.nodes[1].received.clear();
    for (source, passes) in [
        (own, true),
        ([10, 9, 9, 9].into(), true),
        (other, false),
        ([11, 0, 0, 1].into(), false),
    ] {
        net.nodes[1].received.clear();
        net.send_packet(0, &packet(source, to, 100));
        net.run_ms(10);
        assert_eq!(net.received(1) == 1, passes, "{source}");
    }
    assert_eq!(net.nodes[1].tunnel.stats().source_not_allowed, 2);
}

#[test]
fn packets_that_are_not_what_they_say_are_dropped() {
    let mut net = Net::mesh(2, 9);
    net.send(0, 1, 100);
    net.run_ms(10);
    let good = packet(net.nodes[0].inner, net.nodes[1].inner, 100);
    let mut bad = vec![good.clone(); 4];
    bad[0][0] = 0x55;
    bad[1][2..4].copy_from_slice(&500u16.to_be_bytes());
    bad[2][2..4].copy_from_slice(&19u16.to_be_bytes());
    bad[3][0] = 0x60;
    bad[3][4..6].copy_from_slice(&1000u16.to_be_bytes());
    for packet in &bad {
        net.send_packet(0, packet);
        net.run_ms(10);
    }
    assert_eq!(net.received(1), 1);
    assert_eq!(net.nodes[1].tunnel.stats().bad_inner, 4);
}

#[test]
fn a_stranger_is_not_answered() {
    let mut net = Net::mesh(2, 10);
    let intruder = net.add(2, 10);
    net.introduce(intruder, 0);
    net.send(intruder, 0, 100);
    net.run_ms(10);
    assert_eq!(net.nodes[0].tunnel.stats().unknown_peer, 1);
    assert_eq!(net.log.len(), 1);
}

#[test]
fn without_a_private_key_nothing_happens() {
    let mut net = Net::mesh(2, 11);
    net.nodes[1].tunnel.set_private_key(net.now, None);
    net.send(0, 1, 100);
    net.run_ms(10);
    assert_eq!(net.nodes[1].tunnel.stats().no_identity, 1);
    net.send(1, 0, 100);
    assert_eq!(net.log.len(), 1);
    net.nodes[1]
        .tunnel
        .set_private_key(net.now, Some(private(1)));
    net.collect(1);
    net.run(Duration::from_secs(10));
    assert_eq!((net.received(0), net.received(1)), (1, 1));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes, in trains of whatever shape.
    #[test]
    fn arbitrary_bytes_panic_nothing_and_change_nothing(
        bytes in prop::collection::vec(any::<u8>(), 0..3000),
        kind in 0..6u8,
        segment in 0..2000usize,
        index in any::<bool>(),
        counter in any::<u64>(),
    ) {
        let mut net = busy(12);
        net.run(Duration::from_micros(1500));
        let before = (state(&net.nodes[1].tunnel), net.received(1));
        let mut train = bytes;
        let local = if index { local_index(&net, 1) } else { 7 };
        for slot in train.chunks_mut(segment.max(1)) {
            let len = slot.len().min(16);
            slot[..len].copy_from_slice(&write_data_header(local, counter)[..len]);
            slot[0] = kind;
        }
        net.deliver(1, stranger(), &train, segment);
        prop_assert_eq!((state(&net.nodes[1].tunnel), net.received(1)), before);
    }

    /// Genuine datagrams, cut or with bytes behind them.
    #[test]
    fn truncated_and_oversized_datagrams_are_dropped(cut in 0..200usize, more in 1..70_000usize) {
        let mut net = busy(13);
        net.run(Duration::from_micros(1500));
        let before = state(&net.nodes[1].tunnel);
        for flying in net.log.clone() {
            let mut bytes = flying.bytes.clone();
            bytes.resize(bytes.len() + more, 0);
            net.deliver(1, stranger(), &bytes, bytes.len());
            bytes.truncate(cut.min(flying.bytes.len() - 1));
            net.deliver(1, stranger(), &bytes, bytes.len().max(1));
        }
        prop_assert_eq!(state(&net.nodes[1].tunnel), before);
    }
}

fn local_index(net: &Net, at: usize) -> u32 {
    let live = &net.nodes[at].tunnel.peers.get(0).unwrap().live;
    let current = &live.as_ref().unwrap().sessions.current;
    current.as_ref().unwrap().local
}
