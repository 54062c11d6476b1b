//! Datagrams of the packet driver: trains, addresses, errors.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use support::fill;
use support::namespace::{in_namespace, ip};
use support::packets::{Station, Way, on_every_packet_driver};
use towline_io::packet::{Arrival, Family, PacketConfig, Piece};
use towline_io::udp::{self, UdpOffload, UdpOptions};

on_every_packet_driver!(
    a_train_arrives_with_its_segments_sender_local_address_and_ecn,
    a_train_leaves_whole_by_datagrams_where_there_is_no_gso,
    an_answer_leaves_from_the_address_that_was_asked,
    a_local_address_that_vanished_is_left_out_and_reported,
    one_bad_send_costs_no_other,
    segments_above_the_mtu_are_sent_in_fragments,
    what_does_not_fit_is_dropped_and_counted,
    empty_datagrams_are_counted,
    a_port_changes_while_running,
    a_burst_of_small_datagrams_is_received_whole,
    both_sockets_and_many_sends_in_one_flush,
    buffers_of_another_driver_are_counted_and_ignored,
    a_dropped_driver_frees_its_port,
);

/// Receives until there are so many bytes; gives them, and how many receives that took.
fn collect(
    station: &mut Station,
    len: usize,
    mut check: impl FnMut(SocketAddr, Option<IpAddr>, usize, u8),
) -> (Vec<u8>, usize) {
    let (mut bytes, mut receives) = (Vec::new(), 0);
    station.run(|driver, arrival| {
        if let Arrival::Datagrams {
            buf,
            from,
            local,
            segment_bytes,
            ecn,
        } = arrival
        {
            check(from, local.map(|local| local.address), segment_bytes, ecn);
            bytes.extend_from_slice(driver.recv_bytes(&buf));
            driver.recycle(buf);
            receives += 1;
        }
        bytes.len() >= len
    });
    (bytes, receives)
}

fn pattern(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    fill(1, 0, &mut bytes);
    bytes
}

fn a_train_arrives_with_its_segments_sender_local_address_and_ecn(way: Way) {
    let (mut station, port) = way.open_with_udp(PacketConfig::default());
    let bytes = pattern(39 * 1400 + 700);
    for host in ["127.0.0.1", "::1"] {
        let host: IpAddr = host.parse().unwrap();
        let before = station.driver.stats();
        // To itself: the train is both ways the driver's.
        station.send(&bytes, 1400, (host, port).into(), None, 1);
        let (received, receives) =
            collect(&mut station, bytes.len(), |from, local, segment, ecn| {
                assert_eq!((from, local), ((host, port).into(), Some(host)));
                assert_eq!((segment, ecn), (1400, 1));
            });
        assert_eq!(received, bytes);
        assert!(receives <= 2, "{receives} receives");
        let stats = station.driver.stats();
        assert_eq!(stats.sends - before.sends, 1);
        assert_eq!(stats.segments - before.segments, 40);
        assert_eq!(stats.datagrams - before.datagrams, 40);
    }
    station.check_buffers();
}

fn a_train_leaves_whole_by_datagrams_where_there_is_no_gso(way: Way) {
    let (mut station, port) = way.open_with_udp(PacketConfig::default());
    let offload = UdpOffload {
        gso: false,
        gro: false,
    };
    let plain = udp::bind_v4(&UdpOptions {
        offload,
        ..UdpOptions::default()
    });
    let other = plain.unwrap();
    let _ = port;
    let port = other.port;
    station.driver.set_udp(Family::V4, Some(other));
    let bytes = pattern(63 * 1000 + 10);
    station.send(&bytes, 1000, ([127, 0, 0, 1], port).into(), None, 0);
    let (received, receives) = collect(&mut station, bytes.len(), |_, _, _, ecn| {
        assert_eq!(ecn, 0);
    });
    assert_eq!((received, receives), (bytes, 64));
    assert_eq!(station.driver.stats().segments, 64);
    station.check_buffers();
}

fn an_answer_leaves_from_the_address_that_was_asked(way: Way) {
    ip("addr add 10.8.0.1/32 dev lo");
    ip("addr add 10.8.0.2/32 dev lo");
    ip("addr add fd08::1/128 dev lo nodad");
    ip("addr add fd08::2/128 dev lo nodad");
    let (mut station, port) = way.open_with_udp(PacketConfig::default());
    for host in ["10.8.0.1", "10.8.0.2", "fd08::1", "fd08::2"] {
        let host: IpAddr = host.parse().unwrap();
        let any = if host.is_ipv4() {
            "0.0.0.0:0"
        } else {
            "[::]:0"
        };
        let asker = UdpSocket::bind(any).unwrap();
        asker.send_to(b"question", (host, port)).unwrap();
        station.run(|driver, arrival| {
            let Arrival::Datagrams {
                buf, from, local, ..
            } = arrival
            else {
                return false;
            };
            driver.recycle(buf);
            assert_eq!(local.unwrap().address, host);
            let buf = driver.send_buffer().unwrap();
            driver.send_bytes_mut(&buf)[..6].copy_from_slice(b"answer");
            driver.send(buf, 6, 6, from, local, 0);
            true
        });
        station.driver.flush().unwrap();
        asker
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let (len, from) = asker.recv_from(&mut [0; 100]).unwrap();
        assert_eq!((len, from), (6, (host, port).into()));
    }
    station.check_buffers();
}

fn a_local_address_that_vanished_is_left_out_and_reported(way: Way) {
    let (mut station, _) = way.open_with_udp(PacketConfig::default());
    for (host, vanished) in [("127.0.0.1", "10.99.0.1"), ("::1", "fd99::1")] {
        let peer = UdpSocket::bind((host, 0)).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let to = peer.local_addr().unwrap();
        let bytes = pattern(3000);
        let vanished = vanished.parse().unwrap();
        station.send(&bytes, 1000, to, Some(vanished), 0);
        let mut reported = false;
        station.run(|_, arrival| {
            reported |= matches!(arrival, Arrival::SourceGone { to: gone } if gone == to);
            reported
        });
        let mut received = [0; 1500];
        for segment in bytes.chunks(1000) {
            let len = peer.recv(&mut received).unwrap();
            assert_eq!(received[..len], *segment);
        }
    }
    assert_eq!(station.driver.stats().sources_gone, 2);
    station.check_buffers();
}

fn one_bad_send_costs_no_other(way: Way) {
    let (mut station, _) = way.open_with_udp(PacketConfig::default());
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(Duration::from_secs(10)))
        .unwrap();
    let to = peer.local_addr().unwrap();
    ip("route add prohibit 10.77.0.0/16");
    let bad = ["192.0.2.1:9", "10.77.0.1:9", "[2001:db8::1]:9"];
    for (round, bad) in bad.iter().enumerate() {
        station.send(&[round as u8; 100], 100, to, None, 0);
        station.send(&[9; 300], 100, bad.parse().unwrap(), None, 0);
    }
    station.send(&[8; 100], 100, to, None, 0);
    station.driver.flush().unwrap();
    for expected in [0, 1, 2, 8] {
        let mut received = [0; 200];
        let len = peer.recv(&mut received).unwrap();
        assert_eq!(received[..len], [expected; 100]);
    }
    let stats = station.driver.stats();
    assert_eq!(
        (stats.send_unreachable, stats.send_refused),
        (6, 3),
        "{stats:?}"
    );
    assert_eq!((stats.sends, stats.segments), (4, 4));
    station.driver.set_udp(Family::V6, None);
    station.send(&[9; 300], 100, "[::1]:9".parse().unwrap(), None, 0);
    station.driver.flush().unwrap();
    assert_eq!(station.driver.stats().send_no_socket, 3);
    station.check_buffers();
}

fn segments_above_the_mtu_are_sent_in_fragments(way: Way) {
    let (mut station, port) = way.open_with_udp(PacketConfig::default());
    ip("link set lo mtu 1280");
    let bytes = pattern(5 * 1400);
    for host in ["127.0.0.1", "::1"] {
        let host: IpAddr = host.parse().unwrap();
        station.send(&bytes, 1400, (host, port).into(), None, 0);
        let (received, receives) = collect(&mut station, bytes.len(), |_, _, segment, _| {
            assert_eq!(segment, 1400);
        });
        assert_eq!((received.len(), receives), (bytes.len(), 5));
    }
    assert_eq!(station.driver.stats().trains_split, 2);
    assert_eq!(station.driver.stats().gso_switched_off, 0);
    station.check_buffers();
}

fn what_does_not_fit_is_dropped_and_counted(way: Way) {
    let config = PacketConfig {
        recv_buffer_bytes: 2048,
        ..PacketConfig::default()
    };
    let (mut station, port) = way.open_with_udp(config);
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(&[1; 3000], ("127.0.0.1", port)).unwrap();
    peer.send_to(&[2; 1500], ("127.0.0.1", port)).unwrap();
    let (received, _) = collect(&mut station, 1, |_, _, _, _| {});
    assert_eq!(received, [2; 1500]);
    assert_eq!(station.driver.stats().truncated, 1);
    station.check_buffers();
}

fn empty_datagrams_are_counted(way: Way) {
    let (mut station, port) = way.open_with_udp(PacketConfig::default());
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..300 {
        peer.send_to(&[], ("127.0.0.1", port)).unwrap();
    }
    peer.send_to(&[2; 15], ("127.0.0.1", port)).unwrap();
    let (received, _) = collect(&mut station, 1, |_, _, _, _| {});
    assert_eq!(received, [2; 15]);
    assert_eq!(station.driver.stats().empty, 300);
    station.check_buffers();
}

fn a_port_changes_while_running(way: Way) {
    let (mut station, mut port) = way.open_with_udp(PacketConfig::default());
    for round in 0..20 {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.send_to(&[round; 20], ("127.0.0.1", port)).unwrap();
        let (received, _) = collect(&mut station, 1, |_, _, _, _| {});
        assert_eq!(received, [round; 20]);
        // Something waits in the old socket, or is on its way out, when it goes.
        peer.send_to(&[99; 20], ("127.0.0.1", port)).unwrap();
        station.send(&[round; 30], 30, peer.local_addr().unwrap(), None, 0);
        let old = port;
        if round % 2 == 0 {
            port = station.bind(&UdpOptions::default());
        } else {
            station.driver.set_udp(Family::V4, None);
            let again = UdpOptions {
                port,
                ..UdpOptions::default()
            };
            assert_free(port);
            let socket = udp::bind_v4(&again).unwrap();
            station.driver.set_udp(Family::V4, Some(socket));
        }
        assert_eq!(peer.recv(&mut [0; 50]).unwrap(), 30);
        // What waited in the old socket may still come, nothing else.
        let mut out = Vec::new();
        station
            .driver
            .wait(Some(Duration::from_millis(1)), &mut out)
            .unwrap();
        for arrival in out {
            if let Arrival::Datagrams { buf, .. } = arrival {
                assert_eq!(station.driver.recv_bytes(&buf), [99; 20]);
                station.driver.recycle(buf);
            }
        }
        if round % 2 == 0 {
            assert_free(old);
        }
    }
    station.check_buffers();
}

/// Nobody has the port. (A child that another test starts has a copy of every descriptor for a
/// moment.)
fn assert_free(port: u16) {
    let start = Instant::now();
    while UdpSocket::bind(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(2), "the port is kept");
        thread::sleep(Duration::from_millis(1));
    }
}

fn a_burst_of_small_datagrams_is_received_whole(way: Way) {
    const COUNT: u32 = 10_000;
    let (mut station, port) = way.open_with_udp(PacketConfig::default());
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..COUNT {
        // Lengths differ, so that GRO joins little.
        let mut bytes = vec![0; 40 + number as usize % 7];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        peer.send_to(&bytes, ("127.0.0.1", port)).unwrap();
    }
    let mut expected = 0;
    station.run(|driver, arrival| {
        if let Arrival::Datagrams {
            buf, segment_bytes, ..
        } = arrival
        {
            for datagram in driver.recv_bytes(&buf).chunks(segment_bytes) {
                assert_eq!(datagram[..4], u32::to_le_bytes(expected));
                expected += 1;
            }
            driver.recycle(buf);
        }
        expected == COUNT
    });
    assert_eq!(station.driver.stats().datagrams, COUNT.into());
    station.check_buffers();
}

fn both_sockets_and_many_sends_in_one_flush(way: Way) {
    let (mut station, port) = way.open_with_udp(PacketConfig::default());
    let hosts: [IpAddr; 2] = ["127.0.0.1".parse().unwrap(), "::1".parse().unwrap()];
    let mut expected = 0;
    for round in 0..50 {
        let mut sent = 0;
        while let Some(buf) = station.driver.send_buffer() {
            let len = 500 + 300 * (sent % 3);
            let host = hosts[(sent / 4) % 2];
            station
                .driver
                .send(buf, len, 500, (host, port).into(), None, 0);
            expected += len;
            sent += 1;
        }
        assert_eq!(sent, 64, "all send buffers are back in round {round}");
        station.driver.flush().unwrap();
        assert_eq!(station.driver.buffers_held().1, 0);
    }
    let (received, _) = collect(&mut station, expected, |_, _, _, _| {});
    assert_eq!(received.len(), expected);
    assert_eq!(station.driver.stats().sends, 50 * 64);
    station.check_buffers();
}

fn buffers_of_another_driver_are_counted_and_ignored(way: Way) {
    let (mut station, port) = way.open_with_udp(PacketConfig::default());
    let mut other = way.open(PacketConfig::default());
    let to = ([127, 0, 0, 1], port).into();
    station.send(&[1; 100], 100, to, None, 0);
    station.run(|driver, arrival| {
        let Arrival::Datagrams { buf, .. } = arrival else {
            return false;
        };
        assert!(other.driver.recv_bytes(&buf).is_empty());
        assert!(other.driver.received().bytes(&buf).is_empty());
        let held = [buf];
        let piece = Piece {
            buffer: 0,
            start: 0,
            len: 100,
        };
        other.driver.write_tun(&[0; 30], &held, &[piece]);
        assert_eq!(other.driver.stats().tun_refused, 1);
        held.into_iter().for_each(|buf| driver.recycle(buf));
        true
    });
    station.send(&[1; 100], 100, to, None, 0);
    station.run(|_, arrival| {
        let Arrival::Datagrams { buf, .. } = arrival else {
            return false;
        };
        other.driver.recycle(buf);
        true
    });
    for send in [true, false] {
        let buf = station.driver.send_buffer().unwrap();
        assert!(other.driver.send_bytes_mut(&buf).is_empty());
        if send {
            other.driver.send(buf, 100, 100, to, None, 0);
        } else {
            other.driver.recycle_send(buf);
        }
    }
    assert_eq!(other.driver.stats().foreign_buffers, 3);
    other.check_buffers();
    assert_eq!(station.driver.buffers_held(), (1, 2), "lost, as said");
}

fn a_dropped_driver_frees_its_port(way: Way) {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = peer.local_addr().unwrap();
    for round in 0..10 {
        let (mut station, port) = way.open_with_udp(PacketConfig::default());
        let mut out = Vec::new();
        if round % 2 == 0 {
            let wait = Some(Duration::from_millis(1));
            station.driver.wait(wait, &mut out).unwrap();
        }
        station.send(&[1; 100], 100, to, None, 0);
        let start = Instant::now();
        drop(station);
        assert!(start.elapsed() < Duration::from_secs(1));
        assert_free(port);
    }
}

#[test]
fn a_fwmark_routes_what_is_sent() {
    in_namespace(|| {
        ip("rule add fwmark 7 unreachable");
        let options = UdpOptions {
            fwmark: 7,
            ..UdpOptions::default()
        };
        let udp = udp::bind_v4(&options).unwrap();
        assert_eq!(udp.recv_buffer_bytes, options.buffer_bytes);
        assert_eq!(udp.send_buffer_bytes, options.buffer_bytes);
        ip("link add out type veth peer name far");
        ip("addr add 10.6.0.1/24 dev out");
        ip("link set out up");
        let socket = UdpSocket::from(udp.fd);
        let send = || socket.send_to(b"x", "10.6.0.2:9");
        assert!(send().is_err());
        udp::set_fwmark(&socket, 0).unwrap();
        assert_eq!(send().unwrap(), 1);
    });
}
