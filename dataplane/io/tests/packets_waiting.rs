//! When the packet driver's `wait` returns, and how much one turn brings.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::net::UdpSocket;
use std::thread;
use std::time::{Duration, Instant};

use support::namespace::ip;
use support::packets::{Station, UDP, Way, on_every_packet_driver, protocol};
use towline_io::packet::{Arrival, PacketConfig, PacketDriver};
use towline_io::{RecvBuf, host};

on_every_packet_driver!(
    another_thread_wakes_a_sleeping_driver,
    a_timeout_ends_the_wait_in_time,
    waiting_costs_no_processor,
    neither_source_starves_the_other,
    receives_stop_while_the_owner_holds_all_buffers,
);

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
