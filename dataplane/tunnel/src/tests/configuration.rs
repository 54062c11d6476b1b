//! Configuration means what it means in the kernel.

use core::time::Duration;

use super::net::{Net, private};
use crate::PresharedKey;

#[test]
fn a_peer_is_added_once_and_never_our_own_key() {
    let mut net = Net::mesh(2, 1);
    let now = net.now;
    let (own, other) = (net.nodes[0].key, net.nodes[1].key);
    let peer = net.peer(0, 1);
    let tunnel = &mut net.nodes[0].tunnel;
    assert_eq!(tunnel.add_peer(now, other), Some(peer));
    assert_eq!(tunnel.add_peer(now, own), None);
    assert_eq!(tunnel.peers().count(), 1);
}

#[test]
fn taking_the_key_of_a_peer_removes_it() {
    let mut net = Net::mesh(2, 2);
    net.nodes[0]
        .tunnel
        .set_private_key(net.now, Some(private(1)));
    assert_eq!(net.nodes[0].tunnel.peers().count(), 0);
    assert_eq!(net.nodes[0].tunnel.public_key(), Some(net.nodes[1].key));
}

#[test]
fn a_new_private_key_ends_the_sessions_of_the_old_one() {
    let mut net = Net::mesh(2, 3);
    net.send(0, 1, 100);
    net.run_ms(10);
    let peer = net.peer(0, 1);
    net.nodes[0]
        .tunnel
        .set_private_key(net.now, Some(private(9)));
    let mut slot = [0; 64];
    let sealed = net.nodes[0].tunnel.seal_train(net.now, peer, &mut slot, 64);
    assert!(sealed.is_err());
    // The other side learns the new key, and both go on.
    let key = private(9).public();
    let now = net.now;
    let tunnel = &mut net.nodes[1].tunnel;
    let id = tunnel.add_peer(now, key).unwrap();
    tunnel.add_allowed_ip(id, "10.0.0.1/32".parse().unwrap());
    net.collect(0);
    net.run(Duration::from_secs(6));
    net.send(0, 1, 100);
    net.run(Duration::from_secs(6));
    assert_eq!(net.received(1), 2);
}

#[test]
fn a_prefix_moves_from_peer_to_peer() {
    let mut net = Net::mesh(3, 4);
    let (first, second) = (net.peer(0, 1), net.peer(0, 2));
    let tunnel = &mut net.nodes[0].tunnel;
    let wide = "172.16.5.9/12".parse().unwrap();
    let narrow = "172.16.1.0/24".parse().unwrap();
    assert!(tunnel.add_allowed_ip(first, wide));
    assert!(tunnel.add_allowed_ip(second, narrow));
    let inside = [172, 16, 1, 1].into();
    assert_eq!(tunnel.route(inside), Some(second), "the longest prefix");
    assert_eq!(tunnel.route([172, 16, 2, 1].into()), Some(first));
    assert!(tunnel.add_allowed_ip(first, narrow));
    assert_eq!(tunnel.route(inside), Some(first));
    assert_eq!(tunnel.info(second).unwrap().allowed_ips.len(), 1);
    assert_eq!(tunnel.info(first).unwrap().allowed_ips.len(), 3);
    tunnel.remove_allowed_ip(second, narrow);
    assert_eq!(tunnel.route(inside), Some(first), "it was not its own");
    tunnel.remove_allowed_ip(first, narrow);
    assert_eq!(tunnel.route(inside), Some(first), "by the wide one");
    tunnel.replace_allowed_ips(first);
    assert_eq!(tunnel.route(inside), None);
    assert!(tunnel.info(first).unwrap().allowed_ips.is_empty());
    assert!(tunnel.add_allowed_ip(first, "fd00::/8".parse().unwrap()));
    let v6 = "fd12::1".parse().unwrap();
    assert_eq!(tunnel.route(v6), Some(first));
}

#[test]
fn a_removed_peer_leaves_nothing() {
    let mut net = Net::mesh(2, 5);
    net.send(0, 1, 100);
    net.run_ms(10);
    let peer = net.peer(0, 1);
    let now = net.now;
    net.nodes[0].tunnel.stage(peer, &[0; 100]);
    net.nodes[0].tunnel.remove_peer(now, peer);
    let tunnel = &net.nodes[0].tunnel;
    assert!(tunnel.info(peer).is_none());
    assert_eq!(tunnel.poll_timeout(), None);
    assert_eq!(tunnel.staged_bytes, 0);
    assert_eq!(tunnel.route([10, 0, 0, 2].into()), None);
    net.send(1, 0, 100);
    net.run_ms(10);
    assert_eq!(net.nodes[0].tunnel.stats().unknown_index, 1);
    assert_eq!(net.received(0), 0);
}

#[test]
fn peers_with_one_preshared_key_talk_and_others_do_not() {
    let mut net = Net::mesh(2, 6);
    let peers = [net.peer(0, 1), net.peer(1, 0)];
    let key = || Some(PresharedKey::from_bytes([3; 32]));
    net.nodes[0].tunnel.set_preshared_key(peers[0], key());
    net.send(0, 1, 100);
    net.run_ms(10);
    assert_eq!(net.received(1), 0);
    assert_eq!(net.nodes[0].tunnel.stats().bad_handshake, 1);
    net.nodes[1].tunnel.set_preshared_key(peers[1], key());
    net.run(Duration::from_secs(6));
    assert_eq!(net.received(1), 1);
    let info = net.nodes[1].tunnel.info(peers[1]).unwrap();
    assert!(info.preshared_key.is_some());
}

#[test]
fn bytes_and_handshakes_are_counted() {
    let mut net = Net::mesh(2, 7);
    net.send(0, 1, 100);
    net.run_ms(10);
    let [a, b] = [(0, 1), (1, 0)].map(|(at, of)| {
        let info = net.nodes[at].tunnel.info(net.peer(at, of)).unwrap();
        (info.tx_bytes, info.rx_bytes, info.last_handshake.is_some())
    });
    assert_eq!(a, (148 + 144, 92, true));
    assert_eq!(b, (92, 148 + 144, true));
}
