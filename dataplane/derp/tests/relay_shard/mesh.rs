//! Several relays of one region.

use std::time::Duration;

use towline_derp::relay::{DropReason, PacketKind};
use towline_wire::frame::FrameType;

use crate::clients::disco_packet;
use crate::frames::Frame;
use crate::net::{Net, Peer, RelaySpec, connected, key};

/// Relays that all know each other.
fn region(seed: u64, shards: &[u16]) -> Net {
    let specs: Vec<_> = shards
        .iter()
        .map(|shards| RelaySpec {
            shards: *shards,
            ..RelaySpec::default()
        })
        .collect();
    let mut net = Net::new(seed, &specs);
    for from in 0..shards.len() {
        for to in (0..shards.len()).filter(|to| *to != from) {
            net.mesh(from, to, to as u8);
        }
    }
    net.run();
    net
}

fn regions(scenario: impl Fn(&mut Net)) {
    for shards in [[1, 1, 1], [4, 4, 4], [1, 3, 2]] {
        for seed in 0..6 {
            scenario(&mut region(seed, &shards));
        }
    }
}

fn client(net: &mut Net, relay: usize, n: usize) -> Peer {
    let peer = net.connect(relay, connected(key(n)));
    net.run();
    assert_eq!(net.take(peer), [Frame::ServerInfo]);
    peer
}

#[test]
fn packets_find_clients_of_other_relays() {
    regions(|net| {
        let [a, b, c] = [(0, 1), (1, 2), (2, 3)].map(|(relay, n)| client(net, relay, n));
        for (from, to) in [(a, 2), (b, 3), (c, 1)] {
            net.send(from, &key(to), &[to as u8; 1400]);
        }
        net.run();
        assert_eq!(net.take(a), [Frame::Recv(key(3), vec![1; 1400])]);
        assert_eq!(net.take(b), [Frame::Recv(key(1), vec![2; 1400])]);
        assert_eq!(net.take(c), [Frame::Recv(key(2), vec![3; 1400])]);
        assert_eq!(net.stats(0).packets_forwarded_out, 1);
        assert_eq!(net.stats(1).packets_forwarded_in, 1);
        assert_eq!(net.stats(0).clients_remote, 2);
        assert_eq!(net.stats(0).uplinks, 2);

        // Whoever leaves the region is missed in all of it.
        net.leave(b);
        net.run();
        assert_eq!(net.take(c), [Frame::Gone(key(2))]);
        net.send(a, &key(2), &disco_packet(0));
        net.run();
        assert_eq!(net.take(a), [Frame::NotHere(key(2))]);
    });
}

#[test]
fn a_local_connection_is_preferred_to_another_relay() {
    regions(|net| {
        let a = client(net, 0, 1);
        let [near, far] = [client(net, 0, 2), client(net, 1, 2)];
        net.send(a, &key(2), b"x");
        net.run();
        assert_eq!(net.take_packets(near).len(), 1);
        net.leave(near);
        net.send(a, &key(2), b"x");
        net.run();
        assert_eq!(net.take_packets(far).len(), 1);
    });
}

#[test]
fn the_relay_that_had_a_client_first_is_used_until_it_has_it_no_more() {
    regions(|net| {
        let a = client(net, 0, 1);
        let first = client(net, 2, 5);
        let second = client(net, 1, 5);
        assert_eq!(net.stats(0).multiforwarder_created, 1);
        net.send(a, &key(5), b"x");
        net.run();
        assert_eq!(
            [first, second].map(|peer| net.take_packets(peer).len()),
            [1, 0]
        );
        net.leave(first);
        net.run();
        assert_eq!(net.stats(0).multiforwarder_deleted, 1);
        net.send(a, &key(5), b"x");
        net.run();
        assert_eq!(net.take_packets(second).len(), 1);
        assert_eq!(net.take(a), []);
    });
}

#[test]
fn what_was_forwarded_is_not_forwarded_again() {
    regions(|net| {
        let mut mesh = connected(key(77));
        mesh.mesh = true;
        let mesh = net.connect(0, mesh);
        let far = client(net, 1, 2);
        net.run();
        net.take(mesh);
        let forward = |net: &mut Net, packet: &[u8]| {
            let body = [&key(9).0[..], &key(2).0, packet].concat();
            net.frame(mesh, FrameType::ForwardPacket, &body);
            net.run();
        };
        forward(net, b"data");
        assert_eq!(net.take(mesh), []);
        forward(net, &disco_packet(1));
        assert_eq!(net.take(mesh), [Frame::NotHere(key(2))]);
        assert_eq!(net.take(far), []);
        let stats = net.stats(0);
        let dropped = |kind| stats.dropped(DropReason::UnknownDestOnFwd, kind).packets;
        assert_eq!(PacketKind::ALL.map(dropped), [1, 1]);
        assert_eq!(stats.packets_forwarded_in, 2);
    });
}

#[test]
fn a_lost_uplink_loses_all_that_it_led_to() {
    regions(|net| {
        let a = client(net, 0, 1);
        let [b, c] = [client(net, 1, 2), client(net, 2, 3)];
        for from in [b, c] {
            net.send(from, &key(1), b"x");
        }
        net.run();
        net.take(a);
        net.break_mesh(0, 1);
        net.run();
        assert_eq!(net.take(a), [Frame::Gone(key(2))]);
        net.send(a, &key(2), &disco_packet(0));
        net.run();
        assert_eq!(net.take(a), [Frame::NotHere(key(2))]);
        // And finds it again.
        net.mesh(0, 1, 1);
        net.run();
        net.send(a, &key(2), b"again");
        net.run();
        assert_eq!(net.take_packets(b), [(key(1), b"again".to_vec())]);
    });
}

#[test]
fn a_relay_that_went_silent_is_given_up() {
    let mut net = region(1, &[2, 2]);
    net.pass(Duration::from_secs(300));
    assert_eq!(net.stats(0).uplinks, 1, "keepalives are enough");
    assert_eq!(net.stats(1).uplinks, 1);
}

#[test]
fn what_other_relays_say_is_not_lost_in_full_mailboxes() {
    let spec = |shards, mail_room| RelaySpec {
        shards,
        mail_room,
        ..RelaySpec::default()
    };
    let mut net = Net::new(1, &[spec(4, 3), spec(1, 1)]);
    let a = client(&mut net, 0, 0);
    let far: Vec<_> = (1..3000)
        .map(|n| net.connect(1, connected(key(n))))
        .collect();
    net.mesh(0, 1, 0);
    net.pass(Duration::from_secs(2));
    assert_eq!(net.stats(0).clients_remote, 2999);
    assert_eq!(net.stats(0).notices_lost, 0);
    net.send(far[7], &key(0), b"x");
    net.mesh(1, 0, 0);
    net.pass(Duration::from_secs(2));
    net.take(a);
    net.break_mesh(0, 1);
    net.pass(Duration::from_secs(2));
    assert_eq!(net.stats(0).clients_remote, 0);
}

/// However many keys go with a relay: their departures wait for full mailboxes, and none is lost.
#[test]
fn everybody_who_is_lost_with_a_relay_is_missed() {
    let near = RelaySpec {
        shards: 4,
        mail_room: 3,
        configure: |config| config.departures_max = 10,
    };
    let mut net = Net::new(1, &[near, RelaySpec::default()]);
    net.mesh(0, 1, 0);
    net.mesh(1, 0, 0);
    let receivers: Vec<_> = (0..8).map(|n| client(&mut net, 0, n)).collect();
    for n in 100..300 {
        let sender = client(&mut net, 1, n);
        for to in 0..8 {
            net.send(sender, &key(to), b"x");
            net.run();
        }
    }
    for receiver in &receivers {
        assert_eq!(net.take_packets(*receiver).len(), 200);
    }
    net.break_mesh(0, 1);
    net.pass(Duration::from_secs(2));
    for receiver in receivers {
        let told = net.take(receiver);
        let missed = (100..300).filter(|n| told.contains(&Frame::Gone(key(*n))));
        assert_eq!(missed.count(), 200);
    }
    assert_eq!(net.stats(0).notices_lost, 0);
}

#[test]
fn departures_that_another_shard_was_not_told_are_counted_one_by_one() {
    let spec = RelaySpec {
        shards: 2,
        mail_room: 0,
        configure: |config| config.departures_max = 10,
    };
    let mut net = Net::new(1, &[spec]);
    let owner = net.shard_of(0, &key(0)).config().shard;
    let of_one_shard: Vec<_> = (0..100)
        .filter(|n| net.shard_of(0, &key(*n)).config().shard == owner)
        .take(11)
        .collect();
    for n in of_one_shard {
        let client = client(&mut net, 0, n);
        net.leave(client);
    }
    assert_eq!(net.stats(0).notices_lost, 11);
}
