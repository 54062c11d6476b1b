//! Packets of the TUN device, both ways.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use support::namespace::ip;
use support::packets::{Station, TCP, UDP, Way, on_every_packet_driver, protocol, tun_options};
use towline_io::RecvBuf;
use towline_io::packet::{Arrival, PacketConfig, Piece, VNET_HEADER_BYTES};

on_every_packet_driver!(
    a_packet_of_the_kernel_arrives_behind_its_vnet_header,
    a_udp_train_arrives_as_one_super_packet,
    a_tcp_stream_arrives_in_super_packets,
    a_packet_above_the_size_of_a_buffer_is_dropped_and_counted,
    a_written_packet_reaches_a_local_socket,
    a_packet_is_written_from_pieces_of_received_buffers,
    what_tun_does_not_take_is_counted,
    a_burst_of_small_packets_is_read_whole,
    a_deleted_interface_is_reported_once,
    an_interface_that_goes_down_and_up_is_no_end,
);

/// Gives the first IPv4 packet of that protocol.
fn packet_of(station: &mut Station, wanted: u8) -> Vec<u8> {
    let mut found = Vec::new();
    station.run(|driver, arrival| {
        if let Arrival::Tun { buf } = arrival {
            let bytes = driver.recv_bytes(&buf);
            if found.is_empty() && protocol(bytes) == wanted {
                found.extend_from_slice(bytes);
            }
            driver.recycle(buf);
        }
        !found.is_empty()
    });
    found
}

/// A UDP packet from 10.9.0.7 to the station, without a checksum, behind an empty vnet header.
fn datagram(port: u16, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; VNET_HEADER_BYTES];
    let len = (28 + payload.len()) as u16;
    let mut head = vec![
        0x45, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0, 10, 9, 0, 7, 10, 9, 0, 1,
    ];
    head[2..4].copy_from_slice(&len.to_be_bytes());
    let words = head
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    head[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(&head);
    for word in [9999, port, len - 20, 0] {
        packet.extend_from_slice(&word.to_be_bytes());
    }
    packet.extend_from_slice(payload);
    packet
}

fn a_packet_of_the_kernel_arrives_behind_its_vnet_header(way: Way) {
    let mut station = way.open(PacketConfig::default());
    let app = UdpSocket::bind("10.9.0.1:0").unwrap();
    app.send_to(b"hello", "10.9.0.2:77").unwrap();
    let packet = packet_of(&mut station, UDP);
    assert_eq!(packet.len(), VNET_HEADER_BYTES + 28 + 5);
    assert!(packet.ends_with(b"hello"));
    // VIRTIO_NET_HDR_F_NEEDS_CSUM, VIRTIO_NET_HDR_GSO_NONE.
    assert_eq!(packet[..2], [1, 0]);
    station.check_buffers();
}

fn a_udp_train_arrives_as_one_super_packet(way: Way) {
    let mut station = way.open(PacketConfig::default());
    assert_eq!(station.tun.offload, tun_options().offload);
    let app = UdpSocket::bind("10.9.0.1:0").unwrap();
    send_in_trains_of(&app, 1000);
    app.send_to(&[5; 10_000], "10.9.0.2:77").unwrap();
    let packet = packet_of(&mut station, UDP);
    assert_eq!(packet.len(), VNET_HEADER_BYTES + 28 + 10_000);
    // VIRTIO_NET_HDR_GSO_UDP_L4, and its segments.
    assert_eq!(packet[1], 5);
    assert_eq!(packet[4..6], 1000u16.to_le_bytes());
    station.check_buffers();
}

fn send_in_trains_of(app: &UdpSocket, segment_bytes: libc::c_int) {
    let (fd, value) = (app.as_raw_fd(), &raw const segment_bytes);
    // SAFETY: `value` is valid for the call to read 4 bytes.
    let set = unsafe { libc::setsockopt(fd, libc::SOL_UDP, libc::UDP_SEGMENT, value.cast(), 4) };
    assert_eq!(set, 0);
}

fn a_packet_above_the_size_of_a_buffer_is_dropped_and_counted(way: Way) {
    let config = PacketConfig {
        recv_buffer_bytes: 2048,
        ..PacketConfig::default()
    };
    let mut station = way.open(config);
    let app = UdpSocket::bind("10.9.0.1:0").unwrap();
    send_in_trains_of(&app, 1000);
    app.send_to(&[5; 10_000], "10.9.0.2:77").unwrap();
    app.send_to(b"small", "10.9.0.2:77").unwrap();
    assert!(packet_of(&mut station, UDP).ends_with(b"small"));
    assert_eq!(station.driver.stats().truncated, 1);
    station.check_buffers();
}

/// Answers a SYN (with a segment size of 1380) from the other end of the interface, then sees what a sender with a full window sends.
fn a_tcp_stream_arrives_in_super_packets(way: Way) {
    let mut station = way.open(PacketConfig::default());
    let app = thread::spawn(|| {
        let mut stream = TcpStream::connect("10.9.0.2:77").unwrap();
        // As much as the socket takes: nobody acknowledges it.
        stream.set_nonblocking(true).unwrap();
        assert!(stream.write(&[7; 60_000]).unwrap() > 10_000);
        stream
    });
    let syn = packet_of(&mut station, TCP);
    station.driver.write_tun(&syn_ack(&syn), &[], &[]);
    let mut large = 0;
    station.run(|driver, arrival| {
        if let Arrival::Tun { buf } = arrival {
            let bytes = driver.recv_bytes(&buf);
            if protocol(bytes) == TCP && bytes.len() > 4000 {
                // VIRTIO_NET_HDR_GSO_TCPV4.
                assert_eq!(bytes[1], 1);
                large = bytes.len();
            }
            driver.recycle(buf);
        }
        large > 0
    });
    app.join().unwrap();
    station.check_buffers();
}

fn syn_ack(syn: &[u8]) -> Vec<u8> {
    let syn = &syn[VNET_HEADER_BYTES..];
    let tcp = &syn[20..];
    let acknowledged = u32::from_be_bytes(tcp[4..8].try_into().unwrap()) + 1;
    let mut answer = vec![0x60, 0x12, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 0x05, 0x64];
    let mut segment = [&tcp[2..4], &tcp[..2], &[0, 0, 0, 9]].concat();
    segment.extend_from_slice(&acknowledged.to_be_bytes());
    segment.append(&mut answer);
    let mut head = vec![0x45, 0, 0, 44, 0, 0, 0, 0, 64, TCP, 0, 0];
    head.extend_from_slice(&syn[16..20]);
    head.extend_from_slice(&syn[12..16]);
    let sum = checksum(&head);
    head[10..12].copy_from_slice(&sum.to_be_bytes());
    let pseudo = [&head[12..20], &[0, TCP, 0, 24], &segment[..]].concat();
    segment[16..18].copy_from_slice(&checksum(&pseudo).to_be_bytes());
    [&[0; VNET_HEADER_BYTES][..], &head, &segment].concat()
}

fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

fn a_written_packet_reaches_a_local_socket(way: Way) {
    let mut station = way.open(PacketConfig::default());
    let app = UdpSocket::bind("10.9.0.1:0").unwrap();
    let packet = datagram(app.local_addr().unwrap().port(), b"from afar");
    station.driver.write_tun(&packet, &[], &[]);
    let mut bytes = [0; 100];
    let (len, from) = app.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..len], b"from afar");
    assert_eq!(from, "10.9.0.7:9999".parse().unwrap());
    let stats = station.driver.stats();
    assert_eq!(
        (stats.tun_writes, stats.tun_written_bytes),
        (1, packet.len() as u64)
    );
}

fn a_packet_is_written_from_pieces_of_received_buffers(way: Way) {
    let (mut station, outer) = way.open_with_udp(PacketConfig::default());
    let app = UdpSocket::bind("10.9.0.1:0").unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.send_to(b"<<from one buffer", ("127.0.0.1", outer))
        .unwrap();
    peer.send_to(b"<and another>>", ("127.0.0.1", outer))
        .unwrap();
    let mut held: Vec<RecvBuf> = Vec::new();
    station.run(|driver, arrival| {
        match arrival {
            Arrival::Datagrams { buf, .. } => held.push(buf),
            Arrival::Tun { buf } => driver.recycle(buf),
            _ => {}
        }
        held.len() == 2
    });
    let packet = datagram(app.local_addr().unwrap().port(), &[0; 25]);
    let header = &packet[..packet.len() - 25];
    let piece = |buffer, start, len| Piece { buffer, start, len };
    let pieces = [piece(1, 1, 3), piece(0, 2, 15), piece(1, 4, 7)];
    station.driver.write_tun(header, &held, &pieces);
    let mut bytes = [0; 100];
    let len = app.recv(&mut bytes).unwrap();
    assert_eq!(&bytes[..len], b"andfrom one buffer anothe");
    for beyond in [piece(2, 0, 1), piece(0, 10, 10), piece(0, 1, u32::MAX)] {
        station.driver.write_tun(header, &held, &[beyond]);
    }
    assert_eq!(station.driver.stats().tun_refused, 3);
    held.into_iter().for_each(|buf| station.driver.recycle(buf));
    station.check_buffers();
}

fn what_tun_does_not_take_is_counted(way: Way) {
    let mut station = way.open(PacketConfig::default());
    let mut nonsense = datagram(9, b"x");
    nonsense[1] = 77;
    station.driver.write_tun(&nonsense, &[], &[]);
    assert_eq!(station.driver.stats().tun_refused, 1);
    ip(&format!("link set {} down", station.tun.name));
    station.driver.write_tun(&datagram(9, b"x"), &[], &[]);
    let stats = station.driver.stats();
    assert_eq!((stats.tun_down, stats.tun_writes), (1, 0));
}

fn a_burst_of_small_packets_is_read_whole(way: Way) {
    const COUNT: u32 = 10_000;
    let mut station = way.open(PacketConfig::default());
    let app = UdpSocket::bind("10.9.0.1:0").unwrap();
    let mut expected = 0u32;
    // As many as the queue holds at a time.
    for burst in 0..COUNT / 500 {
        for number in burst * 500..(burst + 1) * 500 {
            app.send_to(&number.to_le_bytes(), "10.9.0.2:77").unwrap();
        }
        let until = (burst + 1) * 500;
        station.run(|driver, arrival| {
            if let Arrival::Tun { buf } = arrival {
                let bytes = driver.recv_bytes(&buf);
                if protocol(bytes) == UDP {
                    assert!(bytes.ends_with(&expected.to_le_bytes()));
                    expected += 1;
                }
                driver.recycle(buf);
            }
            expected == until
        });
    }
    station.check_buffers();
}

fn a_deleted_interface_is_reported_once(way: Way) {
    for waiting in [false, true] {
        let (mut station, _) = way.open_with_udp(PacketConfig::default());
        let name = station.tun.name.clone();
        let mut out = Vec::new();
        // Whether the deletion meets a read that waits.
        if waiting {
            let wait = Some(Duration::from_millis(50));
            station.driver.wait(wait, &mut out).unwrap();
        }
        ip(&format!("link delete {name}"));
        let mut gone = 0;
        for _ in 0..20 {
            let wait = Some(Duration::from_millis(5));
            station.driver.wait(wait, &mut out).unwrap();
            for arrival in out.drain(..) {
                match arrival {
                    Arrival::TunGone => gone += 1,
                    Arrival::Tun { buf } => station.driver.recycle(buf),
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(gone, 1);
        station.driver.write_tun(&datagram(9, b"x"), &[], &[]);
        assert_eq!(station.driver.stats().tun_down, 1);
        assert!(station.driver.stats().enters < 40);
        station.check_buffers();
    }
}

fn an_interface_that_goes_down_and_up_is_no_end(way: Way) {
    let mut station = way.open(PacketConfig::default());
    let name = station.tun.name.clone();
    let app = UdpSocket::bind("0.0.0.0:0").unwrap();
    for _ in 0..3 {
        app.send_to(b"hello", "10.9.0.2:77").unwrap();
        assert!(packet_of(&mut station, UDP).ends_with(b"hello"));
        ip(&format!("link set {name} down"));
        let mut out = Vec::new();
        let wait = Some(Duration::from_millis(20));
        station.driver.wait(wait, &mut out).unwrap();
        for arrival in out {
            let Arrival::Tun { buf } = arrival else {
                panic!("{arrival:?}");
            };
            station.driver.recycle(buf);
        }
        ip(&format!("link set {name} up"));
    }
    station.check_buffers();
}
