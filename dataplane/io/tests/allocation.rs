//! Once warm, a driver allocates nothing: not for a packet, not for a full socket, not for a
//! wake-up, and not for a new connection.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use support::{on_every_driver, pair, tight};
use towline_io::{Completion, Driver, SocketId};

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

on_every_driver!(a_warm_driver_allocates_nothing);

const CONNS: usize = 20;

fn a_warm_driver_allocates_nothing(way: support::Way) {
    let mut driver = way.open(tight());
    let mut out = Vec::with_capacity(1024);
    let (mut ids, mut peers) = (Vec::new(), Vec::new());
    for token in 0..CONNS {
        let (ours, peer) = pair();
        ids.push(driver.add(ours, token as u64).unwrap());
        peers.push(peer);
    }
    let warm = 200;
    let mut before = 0;
    for round in 0..600 {
        if round == warm {
            before = ALLOCATIONS.get();
        }
        if round % 10 == 0 {
            let counted = ALLOCATIONS.get();
            let (ours, peer) = pair();
            ALLOCATIONS.set(counted);
            reconnect(&mut driver, &mut out, &mut ids, &mut peers, ours, peer);
        }
        talk(&mut driver, &mut out, &ids, &mut peers, round);
    }
    let allocations = ALLOCATIONS.get() - before;
    assert_eq!(allocations, 0, "allocations in {} rounds", 600 - warm);
    assert!(
        driver.stats().recv_starved > 0,
        "the round includes a want of buffers"
    );
}

/// The last connection closes and a new one takes its place.
fn reconnect(
    driver: &mut Driver,
    out: &mut Vec<Completion>,
    ids: &mut [SocketId],
    peers: &mut [TcpStream],
    ours: std::os::fd::OwnedFd,
    peer: TcpStream,
) {
    driver.close(ids[CONNS - 1]);
    let mut closed = false;
    while !closed {
        driver.wait(Some(Duration::from_secs(1)), out).unwrap();
        for completion in out.drain(..) {
            closed |= matches!(completion, Completion::Closed { .. });
        }
    }
    ids[CONNS - 1] = driver.add(ours, CONNS as u64 - 1).unwrap();
    peers[CONNS - 1] = peer;
}

/// Every peer says something, is heard, and answered.
fn talk(
    driver: &mut Driver,
    out: &mut Vec<Completion>,
    ids: &[SocketId],
    peers: &mut [TcpStream],
    round: usize,
) {
    const LEN: usize = 3000;
    let bytes = [round as u8; LEN];
    for peer in &mut *peers {
        peer.write_all(&bytes).unwrap();
    }
    driver.waker().wake();
    driver.notify_writable(ids[0]);
    driver.pause_recv(ids[1]);
    driver.resume_recv(ids[1]);
    let (mut heard, mut writable, mut woken) = (0, false, false);
    while heard < CONNS * LEN || !writable || !woken {
        driver.wait(Some(Duration::from_secs(1)), out).unwrap();
        for completion in out.drain(..) {
            match completion {
                Completion::Received { buf, .. } => {
                    heard += buf.len();
                    driver.recycle(buf);
                }
                Completion::Writable { .. } => writable = true,
                Completion::Woken => woken = true,
                other => panic!("{other:?}"),
            }
        }
    }
    for (id, peer) in ids.iter().zip(peers) {
        let buf = driver.send_buffer().unwrap();
        driver.send(*id, buf, 1000);
        let mut sent = false;
        while !sent {
            driver.wait(Some(Duration::from_secs(1)), out).unwrap();
            for completion in out.drain(..) {
                let Completion::Sent { result, buf, .. } = completion else {
                    panic!("{completion:?}");
                };
                assert_eq!(result.unwrap(), 1000);
                driver.recycle_send(buf);
                sent = true;
            }
        }
        peer.read_exact(&mut [0; 1000]).unwrap();
    }
}
