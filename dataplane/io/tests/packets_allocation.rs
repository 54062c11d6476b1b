//! Once open, a packet driver allocates nothing: not for a packet of any source, not for a send
//! that fails or is split, not for a write to TUN, not for a wake-up.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use support::packets::{Station, Way, on_every_packet_driver};
use towline_io::packet::{Arrival, PacketConfig, Piece};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands every call on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, start: *mut u8, layout: Layout) {
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(start, layout) }
    }

    unsafe fn realloc(&self, start: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: as promised by the caller.
        unsafe { System.realloc(start, layout, new_size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

on_every_packet_driver!(a_driver_allocates_nothing);

fn a_driver_allocates_nothing(way: Way) {
    let config = PacketConfig {
        recv_buffers: 12,
        turn: 4,
        ..PacketConfig::default()
    };
    let (mut station, port) = way.open_with_udp(config);
    let app = UdpSocket::bind("10.9.0.1:0").unwrap();
    let mut out = Vec::with_capacity(1024);
    // The first lets the thread's own things come into being.
    for round in 0..50 {
        if round == 1 {
            ALLOCATIONS.set(0);
        }
        talk(&mut station, &app, port, &mut out);
    }
    assert_eq!(ALLOCATIONS.get(), 0);
    let stats = station.driver.stats();
    assert!(
        stats.tun_reads >= 50 * 20 && stats.tun_refused >= 50 * 40,
        "{stats:?}"
    );
    assert!(
        stats.sources_gone >= 50 && stats.send_too_big >= 50,
        "{stats:?}"
    );
    station.check_buffers();
}

/// More of everything than fits into a turn.
fn talk(station: &mut Station, app: &UdpSocket, port: u16, out: &mut Vec<Arrival>) {
    let beyond: SocketAddr = ([10, 9, 0, 2], 77).into();
    for _ in 0..20 {
        app.send_to(&[1; 100], beyond).unwrap();
    }
    station.driver.waker().wake();
    let vanished = Some([10, 99, 0, 1].into());
    for local in [None, vanished] {
        for to in [([127, 0, 0, 1], port).into(), "[::1]:1".parse().unwrap()] {
            station.send(&[2; 40_000], 1000, to, local, 1);
        }
    }
    let nowhere = "[2001:db8::1]:1".parse().unwrap();
    station.send(&[3; 4000], 1000, nowhere, None, 0);
    station.send(&[3; 65_530], 65_530, ([127, 0, 0, 1], port).into(), None, 0);
    let (mut packets, mut bytes, mut woken, mut gone) = (0, 0, false, false);
    while packets < 20 || bytes < 80_000 || !woken || !gone {
        let wait = Some(Duration::from_secs(1));
        station.driver.wait(wait, out).unwrap();
        for arrival in out.drain(..) {
            match arrival {
                Arrival::Tun { buf } => {
                    packets += 1;
                    station.driver.recycle(buf);
                }
                Arrival::Datagrams { buf, .. } => {
                    bytes += buf.len();
                    let piece = Piece {
                        buffer: 0,
                        start: 0,
                        len: 500,
                    };
                    let held = [buf];
                    for _ in 0..40 {
                        station.driver.write_tun(&[0xff; 30], &held, &[piece; 30]);
                    }
                    held.into_iter().for_each(|buf| station.driver.recycle(buf));
                }
                Arrival::Woken => woken = true,
                Arrival::SourceGone { .. } => gone = true,
                Arrival::TunGone => panic!("gone"),
            }
        }
    }
}
