//! Sessions follow each other, by time and by messages, and nothing is lost between them.

use core::time::Duration;

use towline_wire::limits::{REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES};
use towline_wire::wireguard::{INITIATION, RESPONSE};

use super::net::Net;
use crate::Unsealed;
use crate::session::Session;

fn current(net: &mut Net, at: usize) -> &mut Session {
    let peer = net.nodes[at].tunnel.peers.get_mut(0).unwrap();
    let live = peer.live.as_mut().unwrap();
    live.sessions.current.as_mut().unwrap()
}

fn established(seed: u64) -> Net {
    let mut net = Net::mesh(2, seed);
    net.send(0, 1, 100);
    net.run_ms(10);
    net.send(1, 0, 100);
    net.run_ms(10);
    assert_eq!((net.received(0), net.received(1)), (1, 1));
    net
}

#[test]
fn a_hundred_rekeys_under_steady_traffic_lose_nothing_and_leave_nobody_deaf() {
    let mut net = Net::mesh(2, 1);
    let mut sent = 0;
    while net.nodes[0].tunnel.stats().sessions < 101 {
        net.send(0, 1, 100);
        net.send(1, 0, 100);
        sent += 1;
        net.run_ms(500);
        assert!(sent < 100_000);
    }
    for _ in 0..200 {
        net.send(0, 1, 100);
        net.send(1, 0, 100);
        sent += 1;
        net.run_ms(250);
    }
    assert_eq!((net.received(0), net.received(1)), (sent, sent));
    assert_eq!(net.sent(INITIATION), net.sent(RESPONSE));
    for node in &net.nodes {
        let stats = node.tunnel.stats();
        assert_eq!(stats.unknown_index + stats.expired + stats.replayed, 0);
        assert_eq!(stats.staged_dropped, 0);
    }
}

#[test]
fn rekeys_in_the_middle_of_trains_lose_nothing() {
    // Many packets are always under way, so that old and new sessions overlap.
    let mut net = Net::mesh(2, 2);
    net.send(0, 1, 100);
    net.run_ms(10);
    let mut sent = 1;
    for _ in 0..130 {
        net.run_ms(990);
        for _ in 0..20 {
            net.send(0, 1, 100);
            sent += 1;
            net.run(Duration::from_micros(100));
        }
    }
    net.run_ms(10);
    assert_eq!(net.received(1), sent);
    assert!(net.sent(RESPONSE) >= 2);
}

#[test]
fn the_initiator_rekeys_after_120_seconds_of_use_and_the_responder_does_not() {
    let mut net = established(3);
    net.run(Duration::from_secs(121));
    net.send(1, 0, 100);
    net.run_ms(10);
    assert_eq!(net.sent(INITIATION), 1, "the responder waits");
    net.send(0, 1, 100);
    net.run_ms(10);
    assert_eq!(net.sent(INITIATION), 2);
    assert_eq!(net.nodes[0].tunnel.stats().rekeys, 1);
}

#[test]
fn an_initiator_that_only_receives_rekeys_in_time() {
    let mut net = established(4);
    for second in 0..200 {
        net.send(1, 0, 100);
        net.run_ms(1000);
        let expected = 1 + usize::from(second >= 119);
        assert!(net.sent(INITIATION) <= expected, "at {second} s");
    }
    assert_eq!(net.sent(INITIATION), 2);
    assert_eq!(net.received(0), 201);
}

#[test]
fn a_session_of_180_seconds_is_used_by_nobody() {
    let mut net = established(5);
    net.passes = Box::new(|flying| flying.bytes[0] == 4);
    let peer = net.peer(0, 1);
    let mut slot = [0; 64];
    let now = net.now;
    net.nodes[0]
        .tunnel
        .seal_train(now, peer, &mut slot, 64)
        .unwrap();
    net.now = now + REJECT_AFTER_TIME;
    let address = net.nodes[0].address;
    net.deliver(1, address, &slot, 64);
    assert_eq!(net.nodes[1].tunnel.stats().expired, 1);
    let sealed = net.nodes[0].tunnel.seal_train(net.now, peer, &mut slot, 64);
    assert_eq!(sealed, Err(Unsealed::NoSession));
}

#[test]
fn a_session_is_replaced_after_2_to_the_60_messages() {
    let mut net = established(6);
    current(&mut net, 1).counter = REKEY_AFTER_MESSAGES - 1;
    net.run(Duration::from_secs(6));
    net.send(1, 0, 100);
    assert_eq!(net.sent(INITIATION), 1);
    net.send(1, 0, 100);
    net.run_ms(10);
    assert_eq!(net.sent(INITIATION), 2, "by the responder too");
    assert_eq!(net.received(0), 3);
}

#[test]
fn a_session_seals_no_more_than_its_messages() {
    let mut net = established(7);
    net.passes = Box::new(|flying| flying.bytes[0] == 4);
    current(&mut net, 0).counter = REJECT_AFTER_MESSAGES - 1;
    let peer = net.peer(0, 1);
    let mut two = [0; 128];
    let now = net.now;
    let tunnel = &mut net.nodes[0].tunnel;
    let sealed = tunnel.seal_train(now, peer, &mut two, 64);
    assert_eq!(
        sealed,
        Err(Unsealed::NoSession),
        "the whole train or nothing"
    );
    assert!(tunnel.seal_train(now, peer, &mut two[..64], 64).is_ok());
    let sealed = tunnel.seal_train(now, peer, &mut two[..64], 64);
    assert_eq!(sealed, Err(Unsealed::NoSession));
}

#[test]
fn a_lost_response_costs_one_repetition_and_no_packet() {
    let mut net = Net::mesh(2, 8);
    let mut lost = false;
    net.passes = Box::new(move |flying| {
        let is_first = flying.bytes[0] == 2 && !lost;
        lost |= is_first;
        !is_first
    });
    net.send(0, 1, 100);
    net.run(Duration::from_secs(6));
    assert_eq!(net.sent(INITIATION), 2);
    assert_eq!(net.received(1), 1);
}

#[test]
fn a_lost_confirmation_does_not_hold_the_responder_up() {
    let mut net = Net::mesh(2, 11);
    let peer = net.peer(0, 1);
    let now = net.now;
    net.nodes[0]
        .tunnel
        .set_keepalive(now, peer, Some(Duration::from_secs(60)));
    net.collect(0);
    net.passes = Box::new(|flying| flying.bytes[0] != 4);
    net.run_ms(10);
    net.send(1, 0, 100);
    net.run_ms(10);
    net.passes = Box::new(|_| true);
    net.run(Duration::from_secs(6));
    assert_eq!(net.received(0), 1, "though nobody had more to say");
}

#[test]
fn the_responder_waits_for_the_first_packet_before_it_uses_a_session() {
    let mut net = Net::mesh(2, 9);
    net.passes = Box::new(|flying| flying.bytes[0] != 4);
    net.send(0, 1, 100);
    net.run_ms(10);
    let sessions = &net.nodes[1].tunnel.peers.get(0).unwrap().live;
    let sessions = &sessions.as_ref().unwrap().sessions;
    assert!(sessions.next.is_some() && sessions.current.is_none());
    let peer = net.peer(1, 0);
    let mut slot = [0; 64];
    let sealed = net.nodes[1].tunnel.seal_train(net.now, peer, &mut slot, 64);
    assert_eq!(sealed, Err(Unsealed::NoSession));
}

#[test]
fn both_sides_initiating_at_once_converge_at_once() {
    let mut net = Net::mesh(2, 10);
    net.send(0, 1, 100);
    net.send(1, 0, 100);
    net.run_ms(10);
    assert_eq!((net.received(0), net.received(1)), (1, 1));
    for _ in 0..1000 {
        net.send(0, 1, 100);
        net.send(1, 0, 100);
        net.run_ms(500);
    }
    assert_eq!((net.received(0), net.received(1)), (1001, 1001));
    let handshakes = net.sent(INITIATION);
    assert!(handshakes <= 2 * (2 + 500 / 120), "{handshakes} in 500 s");
}
