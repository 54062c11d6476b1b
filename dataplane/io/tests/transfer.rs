//! Bytes through the drivers: all arrive, in order, under every limit.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use support::echo::Echo;
use support::{PATIENCE, check, fill, on_every_driver, pair, tight};
use towline_io::Driver;

on_every_driver!(
    echoes_many_sockets,
    echoes_large_transfers,
    echoes_with_default_sizes
);

fn echoes_many_sockets(way: support::Way) {
    let mut driver = way.open(tight());
    let mut echo = Echo::default();
    let mut peers = Vec::new();
    for token in 0..200 {
        let (ours, peer) = pair();
        echo.add(&mut driver, ours, token);
        peers.push(peer);
    }
    let peers = thread::spawn(move || {
        for round in 0..20u64 {
            let len = 1 + (round * 577 % 3000) as usize;
            let mut bytes = vec![0; len];
            for (stream, peer) in peers.iter_mut().enumerate() {
                fill(stream as u64, round * 10_000, &mut bytes);
                peer.write_all(&bytes).unwrap();
            }
            for (stream, peer) in peers.iter_mut().enumerate() {
                peer.read_exact(&mut bytes).unwrap();
                check(stream as u64, round * 10_000, &bytes);
            }
        }
    });
    serve(&mut driver, &mut echo, 200);
    peers.join().unwrap();
    assert_eq!(echo.failed, 0);
}

fn echoes_large_transfers(way: support::Way) {
    transfer(&mut way.open(tight()), 8, 512 << 10);
}

fn echoes_with_default_sizes(way: support::Way) {
    transfer(
        &mut way.open(towline_io::DriverConfig::default()),
        4,
        8 << 20,
    );
}

fn transfer(driver: &mut Driver, sockets: u64, len: u64) {
    let mut echo = Echo::default();
    let mut threads = Vec::new();
    for stream in 0..sockets {
        let (ours, peer) = pair();
        echo.add(driver, ours, stream);
        let writer = peer.try_clone().unwrap();
        threads.push(thread::spawn(move || write_stream(writer, stream, len)));
        threads.push(thread::spawn(move || read_stream(peer, stream, len)));
    }
    serve(driver, &mut echo, sockets as usize);
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(echo.failed, 0);
}

fn write_stream(mut peer: TcpStream, stream: u64, len: u64) {
    let mut bytes = vec![0; 30_011];
    let mut from = 0;
    while from < len {
        let part = bytes.len().min((len - from) as usize);
        fill(stream, from, &mut bytes[..part]);
        peer.write_all(&bytes[..part]).unwrap();
        from += part as u64;
    }
    peer.shutdown(Shutdown::Write).unwrap();
}

fn read_stream(mut peer: TcpStream, stream: u64, len: u64) {
    let mut bytes = vec![0; 20_000];
    let mut from = 0;
    loop {
        let part = peer.read(&mut bytes).unwrap();
        if part == 0 {
            break;
        }
        check(stream, from, &bytes[..part]);
        from += part as u64;
    }
    assert_eq!(from, len);
}

fn serve(driver: &mut Driver, echo: &mut Echo, sockets: usize) {
    let deadline = Instant::now() + PATIENCE;
    while echo.closed < sockets {
        echo.turn(driver, Duration::from_millis(100));
        assert!(
            Instant::now() < deadline,
            "stuck at {}: {:?}",
            echo.len(),
            driver.stats()
        );
    }
    assert_eq!(driver.sockets(), 0);
    assert_eq!(driver.stats().stale_completions, 0);
    assert_eq!(driver.stats().stale_calls, 0);
}
