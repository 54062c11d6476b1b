//! The five timers, and clocks that jump.

use core::time::Duration;

use towline_wire::limits::{
    KEEPALIVE_TIMEOUT, REKEY_TIMEOUT, REKEY_TIMEOUT_JITTER_MAX, WIPE_AFTER_TIME,
};
use towline_wire::wireguard::{DATA, INITIATION};

use super::net::{Net, endpoint};

#[test]
fn data_that_is_not_answered_is_acknowledged_by_a_keepalive_once() {
    let mut net = Net::mesh(2, 1);
    net.send(0, 1, 100);
    net.run(KEEPALIVE_TIMEOUT - Duration::from_millis(100));
    assert_eq!(net.keepalives(), 0);
    net.run_ms(200);
    assert_eq!(net.keepalives(), 1);
    net.run(Duration::from_secs(100));
    assert_eq!(net.keepalives(), 1, "a keepalive provokes no keepalive");
    assert_eq!(net.sent(INITIATION), 1);
}

#[test]
fn idle_peers_say_nothing() {
    let mut net = Net::mesh(3, 2);
    net.run(Duration::from_secs(3600));
    assert!(net.log.is_empty());
    assert!(net.nodes.iter().all(|n| n.tunnel.poll_timeout().is_none()));
    net.send(0, 1, 100);
    net.run(Duration::from_secs(3600));
    let said = net.log.len();
    net.run(Duration::from_secs(3600));
    assert_eq!(net.log.len(), said);
    assert!(net.nodes.iter().all(|n| n.tunnel.poll_timeout().is_none()));
}

#[test]
fn an_unanswered_handshake_is_repeated_with_jitter_and_given_up() {
    let mut net = Net::mesh(2, 3);
    net.passes = Box::new(|_| false);
    net.send(0, 1, 100);
    net.run(Duration::from_secs(200));
    let times: Vec<_> = net.log.iter().map(|flying| flying.at).collect();
    assert_eq!(
        times.len(),
        20,
        "the first one and 19 repetitions, as the kernel does"
    );
    for pair in times.windows(2) {
        let pause = pair[1] - pair[0];
        assert!(pause >= REKEY_TIMEOUT && pause < REKEY_TIMEOUT + REKEY_TIMEOUT_JITTER_MAX);
    }
    let stats = net.nodes[0].tunnel.stats();
    assert_eq!((stats.handshakes_given_up, stats.staged_dropped), (1, 1));
    net.passes = Box::new(|_| true);
    net.send(0, 1, 100);
    net.run_ms(10);
    assert_eq!(net.received(1), 1, "a new packet begins again");
}

#[test]
fn a_handshake_begins_when_data_was_sent_and_nothing_came_back() {
    let mut net = Net::mesh(2, 4);
    net.send(0, 1, 100);
    net.run_ms(10);
    net.send(1, 0, 100);
    net.run_ms(10);
    net.passes = Box::new(|flying| flying.from.ip().to_string() != "192.0.2.2");
    net.send(0, 1, 100);
    net.run(KEEPALIVE_TIMEOUT + REKEY_TIMEOUT - Duration::from_millis(20));
    assert_eq!(net.sent(INITIATION), 1);
    net.run(REKEY_TIMEOUT_JITTER_MAX + Duration::from_millis(20));
    assert_eq!(net.sent(INITIATION), 2);
}

#[test]
fn steady_traffic_one_way_is_no_reason_for_a_handshake() {
    let mut net = Net::mesh(2, 5);
    for _ in 0..110 {
        net.send(0, 1, 100);
        net.run_ms(1000);
    }
    assert_eq!(net.sent(INITIATION), 1);
    assert!((9..=11).contains(&net.keepalives()), "{}", net.keepalives());
}

#[test]
fn keys_are_wiped_after_three_times_their_life() {
    let mut net = Net::mesh(2, 6);
    net.send(0, 1, 100);
    net.run(WIPE_AFTER_TIME - Duration::from_millis(100));
    let is_live = |net: &Net, at: usize| net.nodes[at].tunnel.peers.get(0).unwrap().live.is_some();
    assert!(is_live(&net, 0) && is_live(&net, 1));
    net.run_ms(200);
    assert!(!is_live(&net, 0) && !is_live(&net, 1));
}

#[test]
fn persistent_keepalives_come_when_nothing_else_passes() {
    let mut net = Net::mesh(2, 7);
    let interval = Some(Duration::from_secs(25));
    let peer = net.peer(0, 1);
    let now = net.now;
    net.nodes[0].tunnel.set_keepalive(now, peer, interval);
    net.collect(0);
    net.run_ms(10);
    assert_eq!(net.sent(INITIATION), 1, "at once when it is switched on");
    assert_eq!(net.keepalives(), 1, "which confirms the session");
    net.run(Duration::from_secs(100));
    assert_eq!(net.keepalives(), 5);
    let before = net.keepalives();
    for _ in 0..15 {
        net.send(0, 1, 100);
        net.send(1, 0, 100);
        net.run_ms(1000);
    }
    assert_eq!(net.keepalives(), before, "none while packets pass");
    net.nodes[0].tunnel.set_keepalive(net.now, peer, None);
    net.run(Duration::from_secs(3600));
    let quiet = net.log.len();
    net.run(Duration::from_secs(3600));
    assert_eq!(net.log.len(), quiet);
}

#[test]
fn persistent_keepalives_go_on_for_ever_without_an_answer() {
    let mut net = Net::mesh(2, 8);
    net.passes = Box::new(|_| false);
    let peer = net.peer(0, 1);
    let interval = Some(Duration::from_secs(25));
    let now = net.now;
    net.nodes[0].tunnel.set_keepalive(now, peer, interval);
    net.collect(0);
    net.run(Duration::from_secs(7200));
    net.passes = Box::new(|_| true);
    net.run(Duration::from_secs(200));
    assert!(net.sent(DATA) > 0, "the peer came back");
}

#[test]
fn a_suspend_of_hours_is_over_with_the_first_handshake() {
    let mut net = Net::mesh(2, 9);
    let peer = net.peer(0, 1);
    let now = net.now;
    let interval = Some(Duration::from_secs(25));
    net.nodes[0].tunnel.set_keepalive(now, peer, interval);
    net.collect(0);
    net.send(0, 1, 100);
    net.run_ms(10);
    net.now += Duration::from_secs(5 * 3600);
    let before = net.sent(INITIATION);
    net.send(0, 1, 100);
    net.run_ms(100);
    assert_eq!(net.received(1), 2);
    let begun = net.sent(INITIATION) - before;
    assert!(begun <= 2, "both may begin, since timers of both are due");
}

#[test]
fn a_clock_that_goes_back_stops_nothing() {
    let mut net = Net::mesh(2, 10);
    net.run(Duration::from_secs(1000));
    net.send(0, 1, 100);
    net.run_ms(10);
    net.now = towline_wire::Time(5_000_000_000);
    net.send(0, 1, 100);
    net.send(1, 0, 100);
    net.run_ms(10);
    assert_eq!((net.received(0), net.received(1)), (1, 2));
}

#[test]
fn the_time_of_the_next_timeout_is_exact() {
    let mut net = Net::mesh(2, 11);
    net.send(0, 1, 100);
    net.run_ms(1);
    let at = net.nodes[1].tunnel.poll_timeout().unwrap();
    net.run_ms(2);
    let keepalive = net.nodes[1].tunnel.poll_timeout().unwrap();
    assert_eq!(keepalive, net.now + KEEPALIVE_TIMEOUT);
    assert!(at > keepalive);
    net.nodes[1].tunnel.handle_timeout(net.now);
    assert_eq!(net.nodes[1].tunnel.poll_timeout(), Some(keepalive));
}

#[test]
fn what_waits_for_an_endpoint_begins_when_there_is_one() {
    let mut net = Net::mesh(1, 12);
    let other = net.add(1, 12);
    net.introduce(other, 0);
    let (key, address) = (net.nodes[other].key, net.nodes[other].address);
    let now = net.now;
    let tunnel = &mut net.nodes[0].tunnel;
    let peer = tunnel.add_peer(now, key).unwrap();
    tunnel.set_keepalive(now, peer, Some(Duration::from_secs(25)));
    assert!(tunnel.poll_effect().is_none());
    tunnel.set_endpoint(now, peer, endpoint(address));
    net.collect(0);
    assert_eq!(net.sent(INITIATION), 1);
}
