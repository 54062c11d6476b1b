//! Readers that are slower than their senders: fairness, age, bounds.

use std::time::Duration;

use towline_derp::relay::{CloseReason, DropReason, PacketKind};
use towline_wire::frame::SendPacket;
use towline_wire::limits::QUEUE_DATA_BYTES_MAX;

use crate::clients::{disco_packet, everywhere};
use crate::net::{Net, Peer, RelaySpec, key};

/// Lets a reader take `bytes` in each of `steps` milliseconds, while `feed` writes.
fn stream(net: &mut Net, reader: Peer, bytes: usize, steps: u32, mut feed: impl FnMut(&mut Net)) {
    let mut saved = 0;
    for _ in 0..steps {
        feed(net);
        saved += bytes;
        net.set_room(reader, Some(saved));
        net.pass(Duration::from_millis(1));
        saved = net.room(reader);
    }
}

/// `TestSendFreeze`.
#[test]
fn a_frozen_reader_stalls_nobody() {
    everywhere(|net| {
        let [alice, bob, cathy] = [1, 2, 3].map(|n| net.client(n));
        net.set_room(bob, Some(0));
        for n in 0..2000u32 {
            net.send(alice, &key(2), &[1; 1400]);
            net.send(alice, &key(3), &n.to_be_bytes());
        }
        net.run();
        assert_eq!(net.take_packets(cathy).len(), 2000);
        let queued = net.stats(0).queued_bytes;
        assert!(queued <= QUEUE_DATA_BYTES_MAX as u64, "{queued}");
        // What is left for it is the newest.
        net.set_room(bob, None);
        net.run();
        let left = net.take_packets(bob).len();
        let dropped = net
            .stats(0)
            .dropped(DropReason::QueueHead, PacketKind::Other);
        assert_eq!(left as u64 + dropped.packets, 2000);
        assert!(left > 200);
    });
}

#[test]
fn senders_share_a_slow_reader_whatever_they_send() {
    everywhere(|net| {
        let reader = net.client(1);
        let [heavy, light] = [2, 3].map(|n| net.client(n));
        // Ten times what the reader takes from one, as much as it takes from the other.
        stream(net, reader, 10_000, 300, |net| {
            for _ in 0..70 {
                net.send(heavy, &key(1), &[2; 1400]);
            }
            for _ in 0..7 {
                net.send(light, &key(1), &[3; 1400]);
            }
        });
        let packets = net.take_packets(reader);
        let of = |n| packets.iter().filter(|(src, _)| *src == key(n)).count();
        let (heavy, light) = (of(2), of(3));
        let share = heavy as f64 / (heavy + light) as f64;
        assert!((0.45..0.55).contains(&share), "{heavy} and {light}");
    });
}

#[test]
fn one_small_sender_among_many_large_ones_loses_nothing() {
    everywhere(|net| {
        let reader = net.client(0);
        let large: Vec<_> = (1..40).map(|n| net.client(n)).collect();
        let small = net.client(99);
        stream(net, reader, 20_000, 100, |net| {
            for sender in &large {
                net.send(*sender, &key(0), &[1; 3000]);
            }
            net.send(small, &key(0), &[2; 100]);
        });
        net.set_room(reader, None);
        net.run();
        let packets = net.take_packets(reader);
        let got = packets.iter().filter(|(src, _)| *src == key(99)).count();
        assert_eq!(got, 100);
    });
}

#[test]
fn disco_overtakes_data_and_does_not_starve_it() {
    everywhere(|net| {
        let [reader, sender] = [1, 2].map(|n| net.client(n));
        net.set_room(reader, Some(0));
        for _ in 0..100 {
            net.send(sender, &key(1), &[1; 1400]);
        }
        net.send(sender, &key(1), &disco_packet(9));
        net.run();
        net.set_room(reader, Some(1000));
        net.run();
        assert_eq!(net.take_packets(reader)[0].1, disco_packet(9));

        stream(net, reader, 5_000, 100, |net| {
            for _ in 0..500 {
                net.send(sender, &key(1), &disco_packet(9));
            }
        });
        let packets = net.take_packets(reader);
        let data = packets.iter().filter(|(_, packet)| packet[0] == 1).count();
        assert!((15..100).contains(&data), "{data} of {}", packets.len());
    });
}

#[test]
fn what_a_slow_reader_gets_is_fresh() {
    everywhere(|net| {
        let [reader, sender] = [1, 2].map(|n| net.client(n));
        let mut ages = Vec::new();
        // 20 Mbit/s, offered ten times that; each packet says when it was sent.
        let mut saved = 0;
        for _ in 0..600 {
            let sent = net.now.0.to_be_bytes().repeat(175);
            for _ in 0..18 {
                net.send(sender, &key(1), &sent);
            }
            saved += 2_500;
            net.set_room(reader, Some(saved));
            net.pass(Duration::from_millis(1));
            saved = net.room(reader);
            for (_, packet) in net.take_packets(reader) {
                let sent = u64::from_be_bytes(packet[..8].try_into().unwrap());
                ages.push((net.now.0 - sent) / 1_000_000);
            }
        }
        ages.sort_unstable();
        let p99 = ages[ages.len() * 99 / 100];
        assert!(p99 <= 110, "{p99} ms");
        assert!(ages.len() > 900, "the reader is kept busy: {}", ages.len());
    });
}

#[test]
fn a_short_queue_is_kept_however_old_it_is() {
    let mut net = Net::single(1, 1);
    let [reader, sender] = [1, 2].map(|n| net.client(n));
    net.set_room(reader, Some(0));
    for _ in 0..40 {
        net.send(sender, &key(1), &[1; 1000]);
    }
    net.pass(Duration::from_secs(3));
    net.set_room(reader, None);
    net.run();
    assert_eq!(net.take_packets(reader).len(), 40);
}

#[test]
fn memory_stays_within_the_sum_of_the_bounds() {
    for shards in [1, 3] {
        let spec = RelaySpec {
            shards,
            mail_room: 100,
            configure: |config| {
                config.pool_bytes = 1 << 20;
                config.queue_bytes_max = 256 << 10;
            },
        };
        let mut net = Net::new(3, &[spec]);
        let stuck: Vec<_> = (0..30).map(|n| net.client(n)).collect();
        let [sender, quick] = [100, 101].map(|n| net.client(n));
        for peer in &stuck {
            net.set_room(*peer, Some(0));
        }
        for round in 0..100 {
            for n in 0..30 {
                net.send(sender, &key(n), &vec![1; 1 + (round * 37) % 5000]);
            }
            net.run();
            let queued = net.stats(0).queued_bytes;
            assert!(queued <= u64::from(shards) << 20, "{queued}");
        }
        // Those who read are served all the same.
        for len in [1, 1400, 16384] {
            net.send(sender, &key(101), &vec![7; len]);
            net.run();
            assert_eq!(net.take_packets(quick).len(), 1, "{len}");
        }
        for peer in stuck {
            net.set_room(peer, None);
        }
        net.run();
        assert_eq!(net.stats(0).queued_bytes, 0);
    }
}

#[test]
fn a_full_mailbox_costs_packets_and_nothing_else() {
    let spec = RelaySpec {
        shards: 2,
        mail_room: 4,
        ..RelaySpec::default()
    };
    let mut net = Net::new(1, &[spec]);
    let peers: Vec<_> = (0..16).map(|n| net.client(n)).collect();
    for _ in 0..20 {
        for peer in &peers {
            for n in 0..16 {
                net.send(*peer, &key(n), b"x");
            }
        }
    }
    net.run();
    let received: usize = (peers.iter())
        .map(|peer| net.take_packets(*peer).len())
        .sum();
    let stats = net.stats(0);
    let dropped = stats
        .dropped(DropReason::QueueTail, PacketKind::Other)
        .packets;
    assert_eq!(received as u64 + dropped, 20 * 16 * 16);
    assert!(dropped > 0);
    assert_eq!(stats.received[1].packets, 20 * 16 * 16);
}

#[test]
fn packets_of_a_reader_that_left_are_counted_as_gone() {
    let mut net = Net::single(1, 1);
    let [reader, sender] = [1, 2].map(|n| net.client(n));
    net.set_room(reader, Some(0));
    for _ in 0..10 {
        net.send(sender, &key(1), &[1; 1000]);
    }
    net.run();
    net.set_room(reader, Some(600));
    net.run();
    net.leave(reader);
    net.run();
    let stats = net.stats(0);
    let count = |reason| stats.dropped(reason, PacketKind::Other).packets;
    assert_eq!(count(DropReason::WriteError), 1, "the one that was cut");
    assert_eq!(count(DropReason::GoneDisconnected), 9);
    assert_eq!(stats.queued_bytes, 0);
}

#[test]
fn a_packet_without_storage_is_lost_and_its_connection_goes_on() {
    let spec = RelaySpec {
        configure: |config| config.pool_bytes = 8 << 10,
        ..RelaySpec::default()
    };
    let mut net = Net::new(1, &[spec]);
    let [reader, sender] = [1, 2].map(|n| net.client(n));
    net.chunk_bytes_max = 700;
    net.send(sender, &key(1), &[1; 20_000]);
    net.send(sender, &key(1), &[2; 100]);
    net.run();
    assert_eq!(net.take_packets(reader), [(key(2), vec![2; 100])]);
    let stats = net.stats(0);
    let dropped = stats.dropped(DropReason::QueueTail, PacketKind::Other);
    assert_eq!((dropped.packets, dropped.bytes), (1, 20_000));
}

#[test]
fn a_connection_whose_cut_packet_has_no_storage_ends() {
    let spec = RelaySpec {
        configure: |config| config.pool_bytes = 8 << 10,
        ..RelaySpec::default()
    };
    let mut net = Net::new(1, &[spec]);
    let [reader, sender] = [1, 2].map(|n| net.client(n));
    net.chunk_bytes_max = 1 << 20;
    net.set_room(reader, Some(2000));
    // Read whole, written in part: nobody but this connection can hold the rest.
    loop {
        net.send(sender, &key(1), &[1; 20_000]);
        net.run();
        if let Some(end) = net.end_of(reader) {
            assert_eq!(end, crate::net::End::Closed(CloseReason::OutOfStorage));
            break;
        }
    }
    assert_eq!(net.end_of(sender), None);
    assert_eq!(net.shard_of(0, &key(1)).usage().pool_bytes_free, 8 << 10);
    let cut = net
        .stats(0)
        .dropped(DropReason::WriteError, PacketKind::Other);
    assert_eq!(cut.packets, 1);
}

/// A frame that is begun and never finished keeps storage: neither one client nor many may so take what others need.
#[test]
fn frames_that_are_never_finished_leave_storage_to_others_and_end_their_connection() {
    let spec = RelaySpec {
        configure: |config| config.pool_bytes = 1 << 20,
        ..RelaySpec::default()
    };
    let mut net = Net::new(1, &[spec]);
    let [reader, sender] = [1, 2].map(|n| net.client(n));
    let idlers: Vec<_> = (10..60).map(|n| net.client(n)).collect();
    let mut cut = Vec::new();
    SendPacket {
        dst: key(1),
        packet: &[3; 60_000],
    }
    .write(&mut cut);
    cut.truncate(50_000);
    for idler in &idlers {
        net.write(*idler, &cut);
    }
    net.run();
    assert!(net.shard_of(0, &key(1)).usage().pool_bytes_free >= 512 << 10);
    // A reader that only stumbles still gets what waits for it.
    net.set_room(reader, Some(0));
    for n in 0..20 {
        net.send(sender, &key(1), &[n; 1400]);
    }
    net.run();
    net.set_room(reader, None);
    net.run();
    assert_eq!(net.take_packets(reader).len(), 20);

    net.pass(Duration::from_secs(66));
    let closed = Some(crate::net::End::Closed(CloseReason::FrameUnfinished));
    let ended = idlers.iter().filter(|idler| net.end_of(**idler) == closed);
    assert_eq!(ended.count(), 10, "those that held storage");
    assert_eq!(net.end_of(sender), None);
    assert_eq!(net.shard_of(0, &key(1)).usage().pool_bytes_free, 1 << 20);
}
