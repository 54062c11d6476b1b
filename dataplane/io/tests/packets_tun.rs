//! Packets of the TUN device, and when `wait` returns.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use support::namespace::{in_namespace, ip};
use support::packets::{Station, Way, on_every_packet_driver, tun_options};
use towline_io::packet::{Arrival, PacketConfig, PacketDriver, Piece, VNET_HEADER_BYTES};
use towline_io::tun::{self, TunError, TunOffload, TunOptions};
use towline_io::{RecvBuf, host};

on_every_packet_driver!(
    a_packet_of_the_kernel_arrives_behind_its_vnet_header,
    a_udp_train_arrives_as_one_super_packet,
    a_tcp_stream_arrives_in_super_packets,
    a_packet_above_the_size_of_a_buffer_is_dropped_and_counted,
    a_written_packet_reaches_a_local_socket,
    a_packet_is_written_from_pieces_of_received_buffers,
    what_tun_does_not_take_is_counted,
    a_burst_of_small_packets_is_read_whole,
    neither_source_starves_the_other,
    a_deleted_interface_is_reported_once,
    an_interface_that_goes_down_and_up_is_no_end,
    another_thread_wakes_a_sleeping_driver,
    a_timeout_ends_the_wait_in_time,
    waiting_costs_no_processor,
    receives_stop_while_the_owner_holds_all_buffers,
);

const UDP: u8 = 17;
const TCP: u8 = 6;

/// The protocol of an IPv4 packet behind a vnet header; 0 of anything else.
fn protocol(packet: &[u8]) -> u8 {
    let ip = &packet[VNET_HEADER_BYTES..];
    if ip[0] >> 4 == 4 { ip[9] } else { 0 }
}

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

fn neither_source_starves_the_other(way: Way) {
    let turn = 8;
    let config = PacketConfig {
        turn,
        ..PacketConfig::default()
    };
    let (mut station, outer) = way.open_with_udp(config);
    let app = UdpSocket::bind("10.9.0.1:0").unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    for number in 0..100 {
        app.send_to(&[1; 10], "10.9.0.2:77").unwrap();
        // Lengths differ, so that GRO does not join them.
        let len = 10 + number % 50;
        peer.send_to(&[1; 100][..len], ("127.0.0.1", outer))
            .unwrap();
    }
    let mut out = Vec::new();
    for _ in 0..4 {
        // The first turn may find only one of them.
        let wait = Some(Duration::from_secs(1));
        station.driver.wait(wait, &mut out).unwrap();
        let (mut inner, mut outer) = (0, 0);
        for arrival in out.drain(..) {
            match arrival {
                Arrival::Tun { buf } => {
                    inner += 1;
                    station.driver.recycle(buf);
                }
                Arrival::Datagrams { buf, .. } => {
                    outer += 1;
                    station.driver.recycle(buf);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(inner <= turn && outer <= turn, "{inner} and {outer}");
        assert!(inner > 0 && outer > 0, "{inner} and {outer}");
    }
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

fn another_thread_wakes_a_sleeping_driver(way: Way) {
    let mut station = quiet(way);
    for _ in 0..10 {
        let waker = station.driver.waker();
        let caller = thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            waker.wake();
        });
        let mut out = Vec::new();
        while out.is_empty() {
            station.driver.wait(None, &mut out).unwrap();
        }
        assert!(matches!(out[..], [Arrival::Woken]), "{out:?}");
        caller.join().unwrap();
    }
    station.driver.waker().wake();
    let mut out = Vec::new();
    station.driver.wait(None, &mut out).unwrap();
    assert!(matches!(out[..], [Arrival::Woken]), "{out:?}");
}

fn a_timeout_ends_the_wait_in_time(way: Way) {
    let mut station = quiet(way);
    let mut out = Vec::new();
    let start = Instant::now();
    for _ in 0..100 {
        station.driver.wait(Some(Duration::ZERO), &mut out).unwrap();
    }
    assert!(start.elapsed() < Duration::from_millis(500));
    for timeout in [Duration::from_micros(200), Duration::from_millis(30)] {
        let mut shortest = Duration::MAX;
        for _ in 0..20 {
            let start = Instant::now();
            // A send is no reason to return.
            station.send(&[1; 10], 10, "127.0.0.1:9".parse().unwrap(), None, 0);
            while start.elapsed() < timeout {
                station.driver.wait(Some(timeout), &mut out).unwrap();
            }
            shortest = shortest.min(start.elapsed());
        }
        let slack = Duration::from_micros(700);
        assert!(shortest < timeout + slack, "{shortest:?} for {timeout:?}");
    }
    assert!(out.is_empty(), "{out:?}");
    // A ring looks once more before it sleeps on sends.
    assert!(station.driver.stats().enters < 220);
    station.check_buffers();
}

fn waiting_costs_no_processor(way: Way) {
    let mut station = quiet(way);
    let mut out = Vec::new();
    let cpu = host::thread_cpu_ns();
    for _ in 0..3 {
        let wait = Some(Duration::from_millis(70));
        station.driver.wait(wait, &mut out).unwrap();
    }
    assert!(host::thread_cpu_ns() - cpu < 10_000_000);
    assert!(out.is_empty());
}

/// What the kernel says to a new interface is over.
fn quiet(way: Way) -> Station {
    let (mut station, _) = way.open_with_udp(PacketConfig::default());
    ip(&format!("-6 addr flush dev {}", station.tun.name));
    let mut out = Vec::new();
    let end = Instant::now() + Duration::from_millis(100);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        station.driver.wait(Some(left), &mut out).unwrap();
        for arrival in out.drain(..) {
            if let Arrival::Tun { buf } = arrival {
                station.driver.recycle(buf);
            }
        }
    }
    station
}

fn receives_stop_while_the_owner_holds_all_buffers(way: Way) {
    let config = PacketConfig {
        recv_buffers: 12,
        turn: 4,
        ..PacketConfig::default()
    };
    let (mut station, outer) = way.open_with_udp(config);
    let app = UdpSocket::bind("10.9.0.1:0").unwrap();
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..50 {
        app.send_to(&[1; 10], "10.9.0.2:77").unwrap();
        peer.send_to(&[1; 10], ("127.0.0.1", outer)).unwrap();
    }
    let (mut held, mut datagrams) = (Vec::new(), 0);
    let cpu = host::thread_cpu_ns();
    let mut take = |driver: &mut PacketDriver, held: &mut Vec<RecvBuf>, ms| {
        let mut out = Vec::new();
        driver
            .wait(Some(Duration::from_millis(ms)), &mut out)
            .unwrap();
        for arrival in out {
            match arrival {
                Arrival::Tun { buf } => {
                    datagrams += usize::from(protocol(driver.recv_bytes(&buf)) == UDP);
                    held.push(buf);
                }
                Arrival::Datagrams {
                    buf, segment_bytes, ..
                } => {
                    datagrams += buf.len().div_ceil(segment_bytes);
                    held.push(buf);
                }
                other => panic!("{other:?}"),
            }
        }
        datagrams
    };
    for _ in 0..20 {
        take(&mut station.driver, &mut held, 10);
    }
    assert!(held.len() <= 12, "{}", held.len());
    assert!(host::thread_cpu_ns() - cpu < 50_000_000);
    let start = Instant::now();
    while take(&mut station.driver, &mut held, 10) < 100 {
        held.drain(..).for_each(|buf| station.driver.recycle(buf));
        assert!(start.elapsed() < support::PATIENCE);
    }
    held.drain(..).for_each(|buf| station.driver.recycle(buf));
    station.check_buffers();
}

#[test]
fn a_device_is_made_as_asked_and_named_errors_say_what_to_do() {
    in_namespace(|| {
        let options = TunOptions {
            name: "wg%d".to_owned(),
            queues: 3,
            mtu: Some(1380),
            ..tun_options()
        };
        let tun = tun::open(&options).unwrap();
        assert_eq!((tun.name.as_str(), tun.queues.len()), ("wg0", 3));
        assert_eq!(tun::mtu("wg0").unwrap(), 1380);
        assert!(tun::mtu("wg1").is_err());
        let read = |what: &str| {
            let link = std::process::Command::new("ip")
                .args(["-o", "link", "show", what])
                .output();
            String::from_utf8(link.unwrap().stdout).unwrap()
        };
        let link = read("wg0");
        assert!(
            link.contains("qlen 1000") && link.contains("state DOWN"),
            "{link}"
        );
        assert!(link.starts_with(&format!("{}:", tun.index)), "{link}");
        let named = TunOptions {
            name: "wg0".to_owned(),
            ..tun_options()
        };
        let error = tun::open(&named).unwrap_err();
        assert!(matches!(error, TunError::Busy { .. }), "{error}");
        assert!(error.to_string().contains("ip link delete wg0"), "{error}");
        for name in ["", "a b", "a/b", "sixteen-bytes-is", "."] {
            let options = TunOptions {
                name: name.to_owned(),
                ..tun_options()
            };
            assert!(
                matches!(tun::open(&options), Err(TunError::Name(_))),
                "{name}"
            );
        }
        let options = TunOptions {
            queues: 0,
            ..tun_options()
        };
        assert!(matches!(tun::open(&options), Err(TunError::Queues(0))));
        let plain = TunOptions {
            offload: TunOffload {
                checksum: true,
                tso: true,
                uso: false,
            },
            ..tun_options()
        };
        let other = tun::open(&plain).unwrap();
        assert_eq!(other.name, "wg1");
        assert_eq!(other.offload, plain.offload);
        assert_eq!(tun::mtu("wg1").unwrap(), 1420);
    });
}

#[test]
fn without_the_right_the_error_names_it() {
    in_namespace(|| {
        // SAFETY: changes this thread's identity, and nothing else of the process: the plain system call.
        let result = unsafe { libc::syscall(libc::SYS_setresuid, -1, 65534, -1) };
        assert_eq!(result, 0);
        let error = tun::open(&tun_options()).unwrap_err();
        assert!(error.to_string().contains("CAP_NET_ADMIN"), "{error}");
    });
}
