//! When `wait` returns: for time, for other threads, for nothing else.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::{PATIENCE, on_every_driver, tight};
use towline_io::{Completion, host};

on_every_driver!(
    a_timeout_ends_the_wait_in_time,
    a_zero_timeout_does_not_wait,
    waiting_costs_no_processor,
    a_socket_that_does_not_block_is_waited_for_too,
    another_thread_wakes_a_sleeping_driver,
    no_call_is_lost_and_calls_join,
    a_waker_may_outlive_its_driver,
);

fn a_timeout_ends_the_wait_in_time(way: support::Way) {
    let mut driver = way.open(tight());
    let mut out = Vec::new();
    driver.wait(Some(Duration::ZERO), &mut out).unwrap();
    for timeout in [Duration::from_micros(300), Duration::from_millis(30)] {
        let start = Instant::now();
        while start.elapsed() < timeout {
            driver.wait(Some(timeout), &mut out).unwrap();
        }
        assert!(start.elapsed() < timeout + Duration::from_millis(200));
        assert!(out.is_empty());
    }
    assert!(driver.stats().enters < 10);
}

fn a_zero_timeout_does_not_wait(way: support::Way) {
    let mut driver = way.open(tight());
    let mut out = Vec::new();
    let start = Instant::now();
    for _ in 0..100 {
        driver.wait(Some(Duration::ZERO), &mut out).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(out.is_empty());
}

fn waiting_costs_no_processor(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, _peer) = support::pair();
    driver.add(ours, 1).unwrap();
    let mut out = Vec::new();
    driver
        .wait(Some(Duration::from_millis(1)), &mut out)
        .unwrap();
    let cpu = host::thread_cpu_ns();
    driver
        .wait(Some(Duration::from_millis(100)), &mut out)
        .unwrap();
    driver
        .wait(Some(Duration::from_millis(100)), &mut out)
        .unwrap();
    assert!(host::thread_cpu_ns() - cpu < 10_000_000);
    assert!(out.is_empty());
}

fn a_socket_that_does_not_block_is_waited_for_too(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, mut peer) = support::pair();
    let ours = TcpStream::from(ours);
    ours.set_nonblocking(true).unwrap();
    driver.add(ours.into(), 1).unwrap();
    let mut out = Vec::new();
    let end = Instant::now() + Duration::from_millis(30);
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        driver.wait(Some(left), &mut out).unwrap();
    }
    assert!(out.is_empty(), "{out:?}");
    assert!(driver.stats().enters < 20, "{:?}", driver.stats());
    peer.write_all(b"now").unwrap();
    while out.is_empty() {
        driver.wait(Some(PATIENCE), &mut out).unwrap();
    }
    assert!(
        matches!(&out[..], [Completion::Received { buf, .. }] if buf.len() == 3),
        "{out:?}"
    );
}

fn another_thread_wakes_a_sleeping_driver(way: support::Way) {
    let mut driver = way.open(tight());
    for _ in 0..10 {
        let waker = driver.waker();
        let caller = thread::spawn(move || {
            thread::sleep(Duration::from_millis(10));
            waker.wake();
        });
        let start = Instant::now();
        let mut out = Vec::new();
        while out.is_empty() {
            driver.wait(None, &mut out).unwrap();
        }
        assert!(matches!(out[..], [Completion::Woken]), "{out:?}");
        assert!(start.elapsed() < PATIENCE / 2);
        caller.join().unwrap();
    }
}

fn no_call_is_lost_and_calls_join(way: support::Way) {
    const CALLS: u64 = 20_000;
    let mut driver = way.open(tight());
    let written = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..2)
        .map(|_| {
            let (waker, written) = (driver.waker(), Arc::clone(&written));
            thread::spawn(move || {
                for call in 0..CALLS / 2 {
                    written.fetch_add(1, Ordering::Relaxed);
                    waker.wake();
                    if call % 100 == 0 {
                        thread::sleep(Duration::from_micros(50));
                    }
                }
            })
        })
        .collect();
    let (mut woken, mut seen) = (0, 0);
    let mut out = Vec::new();
    while seen < CALLS {
        // A lost call would let this sleep for ever.
        driver.wait(Some(PATIENCE), &mut out).unwrap();
        for completion in out.drain(..) {
            assert!(matches!(completion, Completion::Woken));
            woken += 1;
            seen = written.load(Ordering::Relaxed);
        }
    }
    assert!(woken <= CALLS);
    callers
        .into_iter()
        .for_each(|caller| caller.join().unwrap());
}

fn a_waker_may_outlive_its_driver(way: support::Way) {
    let waker = way.open(tight()).waker();
    waker.wake();
    thread::spawn(move || waker.wake()).join().unwrap();
}
