//! Ordinary clients: packets, departures, pings, duplicates, limits.

use std::time::Duration;

use towline_derp::connected::RateLimit;
use towline_derp::relay::{CloseReason, DropReason, PacketKind};
use towline_wire::disco;
use towline_wire::frame::{FrameType, SendPacket};

use crate::frames::Frame;
use crate::net::{End, Net, RelaySpec, connected, key};

pub(crate) fn disco_packet(tag: u8) -> Vec<u8> {
    let mut packet = disco::MAGIC.to_vec();
    packet.resize(disco::HEADER_LEN + 20, tag);
    packet
}

/// Runs a scenario with one shard and with several, each with a few seeds.
pub(crate) fn everywhere(scenario: impl Fn(&mut Net)) {
    for shards in [1, 4] {
        for seed in 0..8 {
            scenario(&mut Net::single(seed, shards));
        }
    }
}

/// `TestSendRecv`.
#[test]
fn packets_reach_their_destination_and_departures_those_who_heard() {
    everywhere(|net| {
        let [a, b, c] = [1, 2, 3].map(|n| net.client(n));
        let [key_a, key_b, key_c] = [1, 2, 3].map(key);

        net.send(a, &key_b, b"hello 0->1");
        net.run();
        assert_eq!(net.take(b), [Frame::Recv(key_a, b"hello 0->1".to_vec())]);
        net.send(a, &key_c, b"hello 0->2");
        net.send(b, &key_c, b"hello 1->2");
        net.run();
        let mut at_c = net.take(c);
        at_c.sort_by_key(|frame| format!("{frame:?}"));
        assert_eq!(at_c.len(), 2);
        assert!(at_c.contains(&Frame::Recv(key_a, b"hello 0->2".to_vec())));
        assert!(at_c.contains(&Frame::Recv(key_b, b"hello 1->2".to_vec())));

        // A lost packet is not answered, lost disco is: three times at once.
        net.send(a, &key(99), b"hello nobody");
        net.run();
        assert_eq!(net.take(a), []);
        for _ in 0..10 {
            net.send(a, &key(99), &disco_packet(0));
        }
        net.run();
        assert_eq!(net.take(a), vec![Frame::NotHere(key(99)); 3]);
        let stats = net.stats(0);
        let unknown = |kind| stats.dropped(DropReason::UnknownDest, kind).packets;
        assert_eq!(unknown(PacketKind::Disco), 10);
        assert_eq!(unknown(PacketKind::Other), 1);
        assert_eq!(stats.peer_gone_not_here_frames, 3);

        // Only those who heard from a client are told that it left.
        net.leave(a);
        net.run();
        assert_eq!(net.take(b), [Frame::Gone(key_a)]);
        assert_eq!(net.take(c), [Frame::Gone(key_a)]);
        net.leave(c);
        net.run();
        assert_eq!(net.take(b), []);
        assert_eq!(net.stats(0).peer_gone_disconnected_frames, 2);
    });
}

/// What waits for a slow reader ties a departure to the packets before it, but never to those after it.
#[test]
fn a_sender_that_comes_back_to_a_slow_reader_is_missed_each_time_it_left() {
    everywhere(|net| {
        let [reader, other] = [1, 3].map(|n| net.client(n));
        let [key_a, key_other] = [2, 3].map(key);
        let first = net.client(2);
        net.set_room(reader, Some(0));
        net.send(first, &key(1), &[1; 1000]);
        net.send(other, &key(1), &[3; 1000]);
        net.run();
        net.leave(first);
        net.leave(other);
        net.run();
        let second = net.client(2);
        net.send(second, &key(1), &[2; 1000]);
        net.run();
        net.set_room(reader, None);
        net.run();
        let told = net.take(reader);
        let place = |frame: Frame| told.iter().position(|f| *f == frame).expect("it is told");
        let gone = place(Frame::Gone(key_a));
        assert!(gone < place(Frame::Recv(key_a, vec![2; 1000])), "{told:?}");
        let last = place(Frame::Recv(key_other, vec![3; 1000]));
        assert!(last < place(Frame::Gone(key_other)));
        assert_eq!(told.len(), 5);

        net.leave(second);
        net.run();
        assert_eq!(net.take(reader), [Frame::Gone(key_a)]);
    });
}

/// A sender that came back and does not fall silent must not hold up what the reader is told of others.
#[test]
fn departures_are_told_though_a_sender_that_came_back_keeps_its_queue_full() {
    let mut net = Net::single(1, 1);
    let [reader, other] = [1, 3].map(|n| net.client(n));
    let first = net.client(2);
    net.set_room(reader, Some(0));
    net.send(first, &key(1), &[1; 1000]);
    net.send(other, &key(1), &[3; 1000]);
    net.run();
    net.leave(first);
    net.leave(other);
    let second = net.client(2);
    let mut told = Vec::new();
    for _ in 0..100 {
        for _ in 0..10 {
            net.send(second, &key(1), &[2; 1000]);
        }
        net.set_room(reader, Some(2500));
        net.run();
        told.extend(net.take(reader));
    }
    let gone = |n| told.iter().filter(|f| **f == Frame::Gone(key(n))).count();
    assert_eq!([gone(2), gone(3)], [1, 1]);
}

#[test]
fn homes_are_counted() {
    everywhere(|net| {
        let [a, b] = [1, 2].map(|n| net.client(n));
        net.frame(a, FrameType::NotePreferred, &[1]);
        net.frame(b, FrameType::NotePreferred, &[1]);
        net.run();
        assert_eq!(net.stats(0).home_connections, 2);
        assert_eq!(net.stats(0).home_moves_in, 0, "the first word is no move");
        net.pass(Duration::from_secs(6));
        net.frame(a, FrameType::NotePreferred, &[0]);
        net.frame(b, FrameType::NotePreferred, &[1]);
        net.run();
        assert_eq!(net.stats(0).home_connections, 1);
        assert_eq!(net.stats(0).home_moves_out, 1);
        net.leave(b);
        net.run();
        assert_eq!(net.stats(0).home_connections, 0);
    });
}

#[test]
fn a_client_may_write_to_itself() {
    everywhere(|net| {
        let a = net.client(1);
        net.send(a, &key(1), b"note to self");
        net.run();
        assert_eq!(net.take(a), [Frame::Recv(key(1), b"note to self".to_vec())]);
        net.leave(a);
        net.run();
    });
}

/// `TestPing`, `TestServerRepliesToPing`.
#[test]
fn pings_are_answered_with_their_first_eight_bytes() {
    everywhere(|net| {
        let a = net.client(1);
        net.frame(a, FrameType::Ping, b"ABCDEFGH");
        net.run();
        assert_eq!(net.take(a), [Frame::Pong(*b"ABCDEFGH")]);
        let mut long = b"12345678".to_vec();
        long.resize(1000, 0);
        net.frame(a, FrameType::Ping, &long);
        net.run();
        assert_eq!(net.take(a), [Frame::Pong(*b"12345678")]);
        assert_eq!(net.stats(0).got_ping, 2);
        assert_eq!(net.stats(0).sent_pong, 2);
    });
}

#[test]
fn pings_of_a_client_that_does_not_read_pile_up_to_one_pong() {
    let mut net = Net::single(1, 1);
    let a = net.client(1);
    net.set_room(a, Some(0));
    for n in 0..100 {
        net.frame(a, FrameType::Ping, &[n; 8]);
    }
    net.run();
    net.set_room(a, None);
    net.run();
    assert_eq!(net.take(a), [Frame::Pong([0; 8])]);
}

#[test]
fn silence_is_broken_before_clients_give_up() {
    everywhere(|net| {
        let clients: Vec<_> = (0..20).map(|n| net.client(n)).collect();
        net.pass(Duration::from_secs(59));
        assert!(clients.iter().all(|client| net.take(*client).is_empty()));
        net.pass(Duration::from_millis(3500));
        let early = (clients.iter()).filter(|client| !net.take(**client).is_empty());
        assert!((1..20).contains(&early.count()), "they are spread");
        net.pass(Duration::from_secs(120));
        for client in clients {
            let frames = net.take(client);
            assert!(frames.iter().all(|frame| *frame == Frame::KeepAlive));
            assert!((1..=2).contains(&frames.len()), "{}", frames.len());
        }
    });
}

#[test]
fn a_busy_connection_needs_no_keepalive() {
    let mut net = Net::single(1, 1);
    let [a, b] = [1, 2].map(|n| net.client(n));
    for _ in 0..30 {
        net.pass(Duration::from_secs(10));
        net.send(a, &key(2), b"x");
    }
    net.run();
    assert_eq!(net.take_packets(b).len(), 30);
    net.pass(Duration::from_secs(59));
    assert_eq!(net.take(b), []);
    net.pass(Duration::from_secs(6));
    assert_eq!(net.take(b), [Frame::KeepAlive]);
}

/// `TestServerDupClients`.
#[test]
fn the_newest_duplicate_is_active_until_another_one_speaks() {
    everywhere(|net| {
        let sender = net.client(1);
        let first = net.client(2);
        let second = net.client(2);
        let third = net.client(2);
        assert_eq!(net.stats(0).dup_client_keys, 1);
        assert_eq!(net.stats(0).dup_client_conns, 3);
        let hear = |net: &mut Net| {
            net.send(sender, &key(2), b"x");
            net.run();
            [first, second, third].map(|peer| net.take_packets(peer).len())
        };
        assert_eq!(hear(net), [0, 0, 1]);
        net.frame(first, FrameType::NotePreferred, &[1]);
        net.run();
        assert_eq!(hear(net), [1, 0, 0]);
        // The one that spoke before takes over, and then the only one left.
        net.leave(first);
        assert_eq!(hear(net), [0, 0, 1]);
        net.leave(third);
        assert_eq!(hear(net), [0, 1, 0]);
        assert_eq!(net.stats(0).dup_client_keys, 0);
        assert_eq!(net.stats(0).dup_client_conns, 0);
        assert_eq!(net.stats(0).dup_client_conns_total, 2);
        // As long as one was left, the key had not left the region.
        assert_eq!(net.take(sender), []);
        net.send(second, &key(1), b"heard");
        net.run();
        net.leave(second);
        net.run();
        assert_eq!(net.take(sender)[1..], [Frame::Gone(key(2))]);
    });
}

#[test]
fn duplicates_that_fight_are_told_and_told_when_it_is_over() {
    everywhere(|net| {
        let go = net.client(2);
        let mut other = connected(key(2));
        other.go_client = false;
        let other = net.connect(0, other);
        net.run();
        net.take(other);
        for _ in 0..2 {
            for peer in [go, other] {
                net.frame(peer, FrameType::NotePreferred, &[1]);
                net.run();
            }
        }
        let told = net.take(go);
        assert!(matches!(&told[..], [Frame::Health(text)] if !text.is_empty()));
        assert_eq!(net.take(other), [], "it would take Health for an error");
        net.leave(other);
        net.run();
        assert_eq!(net.take(go), [Frame::Health(String::new())]);
    });
}

#[test]
fn a_fight_that_ceased_is_over_after_a_while() {
    let mut net = Net::single(3, 1);
    let [a, b] = [net.client(2), net.client(2)];
    for _ in 0..4 {
        for peer in [a, b] {
            net.frame(peer, FrameType::NotePreferred, &[1]);
            net.run();
        }
    }
    for peer in [a, b] {
        assert_eq!(net.take(peer).len(), 1);
    }
    net.pass(Duration::from_secs(140));
    for peer in [a, b] {
        let told = net.take(peer);
        assert!(told.contains(&Frame::Health(String::new())), "{told:?}");
    }
}

#[test]
fn a_client_that_reconnects_is_not_fighting() {
    let mut net = Net::single(3, 1);
    let mut old = net.client(2);
    for _ in 0..10 {
        let new = net.client(2);
        net.frame(new, FrameType::NotePreferred, &[1]);
        net.run();
        net.leave(old);
        net.run();
        assert_eq!(net.take(new), []);
        old = new;
    }
}

#[test]
fn a_rate_limit_delays_reads_and_drops_nothing() {
    everywhere(|net| {
        for shard in net.shards(0) {
            shard.set_limits(Some(RateLimit {
                bytes_per_second: 100_000,
                burst_bytes: 0,
            }));
        }
        let [a, b] = [1, 2].map(|n| net.client(n));
        let packet = [7; 1000 - 37];
        for _ in 0..400 {
            net.send(a, &key(2), &packet);
        }
        net.run();
        assert!(net.is_paused(a));
        let burst = net.take_packets(b).len();
        assert!((60..=100).contains(&burst), "{burst}");
        net.pass(Duration::from_secs(1));
        let next = net.take_packets(b).len();
        assert!((80..=125).contains(&next), "{next}");
        net.pass(Duration::from_secs(3));
        assert_eq!(burst + next + net.take_packets(b).len(), 400);
        assert!(net.stats(0).rate_limit_waited > 0);

        // Without a limit nothing waits.
        for shard in net.shards(0) {
            shard.set_limits(None);
        }
        for _ in 0..400 {
            net.send(a, &key(2), &packet);
        }
        net.run();
        assert_eq!(net.take_packets(b).len(), 400);
    });
}

#[test]
fn a_limit_of_one_client_is_its_own() {
    let mut net = Net::single(1, 1);
    let mut limited = connected(key(1));
    limited.limits = Some(RateLimit {
        bytes_per_second: 1000,
        burst_bytes: 0,
    });
    let mut mesh = connected(key(2));
    mesh.mesh = true;
    mesh.limits = limited.limits;
    let [limited, mesh] = [limited, mesh].map(|client| net.connect(0, client));
    for peer in [limited, mesh] {
        net.frame(peer, FrameType::from_u8(0x13).unwrap(), &[0; 70_000]);
    }
    net.run();
    assert!(net.is_paused(limited));
    assert!(!net.is_paused(mesh), "mesh peers have no limit");
    net.shard_of(0, &key(1)).set_client_limit(&key(1), None);
    net.run();
    assert!(!net.is_paused(limited));
    // Lifted is lifted, also when there is a default, before or after.
    let default = Some(RateLimit {
        bytes_per_second: 1000,
        burst_bytes: 0,
    });
    net.shard_of(0, &key(1)).set_limits(default);
    for _ in 0..2 {
        net.frame(limited, FrameType::from_u8(0x13).unwrap(), &[0; 70_000]);
        net.run();
        assert!(!net.is_paused(limited));
        net.shard_of(0, &key(1)).set_client_limit(&key(1), None);
    }
}

#[test]
fn a_frame_that_our_own_pause_interrupts_is_not_held_against_its_sender() {
    let mut net = Net::single(1, 1);
    let mut limited = connected(key(1));
    limited.limits = Some(RateLimit {
        bytes_per_second: 1000,
        burst_bytes: 0,
    });
    let limited = net.connect(0, limited);
    let reader = net.client(2);
    // The first frame and most of the second come in one go, so the pause falls into the second.
    let mut bytes = Vec::new();
    for n in 0..2 {
        SendPacket {
            dst: key(2),
            packet: &[n; 60_000],
        }
        .write(&mut bytes);
    }
    let (now, later) = bytes.split_at(100_000);
    net.write(limited, now);
    net.run();
    assert!(net.is_paused(limited));
    while net.is_paused(limited) {
        net.pass(Duration::from_secs(1));
        assert_eq!(net.end_of(limited), None);
    }
    net.write(limited, later);
    net.pass(Duration::from_secs(60));
    assert_eq!(net.end_of(limited), None);
    assert_eq!(net.take_packets(reader).len(), 2);
}

#[test]
fn a_restart_is_told_to_those_who_bear_it() {
    let mut net = Net::single(1, 4);
    let go = net.client(1);
    let mut other = connected(key(2));
    other.go_client = false;
    let other = net.connect(0, other);
    net.run();
    net.take(other);
    let told: u32 = net.shards(0).map(|s| s.restart_notice(500, 60_000)).sum();
    assert_eq!(told, 1);
    net.run();
    assert_eq!(net.take(go), [Frame::Restarting(500, 60_000)]);
    assert_eq!(net.take(other), []);
}

#[test]
fn a_key_that_is_kicked_loses_all_its_connections() {
    everywhere(|net| {
        let [a, b, c] = [net.client(1), net.client(1), net.client(2)];
        assert_eq!(net.shard_of(0, &key(1)).kick(&key(1)), 2);
        assert_eq!(net.shard_of(0, &key(9)).kick(&key(9)), 0);
        net.run();
        for peer in [a, b] {
            assert_eq!(net.end_of(peer), Some(End::Closed(CloseReason::Kicked)));
        }
        assert_eq!(net.end_of(c), None);
        assert_eq!(net.stats(0).connections, 1);
    });
}

#[test]
fn the_operator_sees_who_is_connected_and_how_much_they_sent() {
    let mut net = Net::single(1, 1);
    let [a, b] = [1, 2].map(|n| net.client(n));
    net.frame(a, FrameType::NotePreferred, &[1]);
    net.send(a, &key(2), &[0; 100]);
    net.run();
    net.set_room(b, Some(0));
    net.send(a, &key(2), &[0; 50]);
    net.run();
    let rows: Vec<_> = net.shard_of(0, &key(1)).clients().collect();
    let row = |n| rows.iter().find(|row| row.key == key(n)).unwrap();
    assert!(row(1).home && row(1).active && !row(1).duplicate);
    assert_eq!((row(1).received.packets, row(1).received.bytes), (2, 150));
    assert_eq!((row(2).sent.packets, row(2).sent.bytes), (1, 100));
    assert!(row(2).queued_bytes > 0);
    assert_eq!(row(1).addr, connected(key(1)).addr);
}

#[test]
fn a_full_shard_takes_nobody_else() {
    let spec = RelaySpec {
        configure: |config| config.connections_max = 2,
        ..RelaySpec::default()
    };
    let mut net = Net::new(1, &[spec]);
    let a = net.client(1);
    net.client(2);
    let refuse = net.shard_of(0, &key(3)).handle_connected(
        towline_wire::Time(0),
        connected(key(3)),
        Vec::new(),
        &mut towline_derp::relay::NoMailbox,
    );
    assert_eq!(refuse, Err(towline_derp::relay::ConnectError::Full));
    net.leave(a);
    net.client(3);
}
