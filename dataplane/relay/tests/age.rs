//! A reader that is much slower than its senders gets packets that are young: neither the relay's queue nor
//! the kernel's keeps them for long.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::{Client, Relay};
use towline_relay::config::DriverChoice;
use towline_wire::NodePublic;
use towline_wire::frame::{FrameType, Ping, SendPacket};

/// What the reader takes, in bytes a millisecond: 20 Mbit/s.
const BYTES_PER_MS: u64 = 2_500;
const RECEIVE_BUFFER_BYTES: usize = 16 << 10;
/// How many times that it is sent. With ten times, what is dropped for newer packets makes room so fast that what is
/// left is young by itself; with twice, it is the bound on their age that does it.
const OVERLOADS: [u64; 2] = [2, 10];
const SENDERS: u8 = 4;
const PACKET_BYTES: usize = 1400;
/// Packets that a sender writes before it waits for the relay to have handled them.
const PACKETS_AT_ONCE: u64 = 8;

/// The age is told in bytes that the reader took meanwhile, which no busy machine makes older. At the reader's
/// rate these are 150 ms.
const AGE_BYTES_MAX: u64 = 150 * BYTES_PER_MS;
/// Not looked at: the queue is still filling.
const BYTES_TO_WARM_UP: u64 = 500 * BYTES_PER_MS;
const BYTES: u64 = 2_000 * BYTES_PER_MS;

/// Seen by all clients.
#[derive(Default)]
struct Shared {
    /// Bytes that the reader took.
    taken: AtomicU64,
    /// Bytes that were sent to it.
    offered: AtomicU64,
    over: AtomicBool,
}

#[test]
fn what_a_slow_reader_gets_is_young() {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        for tls in [false, true] {
            let relay = Relay::start(tls, driver);
            for overload in OVERLOADS {
                let mut ages = ages(&relay, overload);
                ages.sort_unstable();
                let quantile = |share: usize| ages[(ages.len() - 1) * share / 100];
                let told = format!(
                    "{driver:?}, TLS: {tls}, offered {overload} times that: {} packets, at 20 Mbit/s \
                     p50 {} ms, p99 {} ms, most {} ms",
                    ages.len(),
                    quantile(50) / BYTES_PER_MS,
                    quantile(99) / BYTES_PER_MS,
                    quantile(100) / BYTES_PER_MS,
                );
                println!("{told}");
                assert!(quantile(99) <= AGE_BYTES_MAX, "{told}");
            }
        }
    }
}

/// The ages of what the reader gets, in bytes that it took since each was sent.
fn ages(relay: &Relay, overload: u64) -> Vec<u64> {
    let shared = Shared::default();
    let mut reader = Client::connect(relay, 100, Some(RECEIVE_BUFFER_BYTES));
    let to = reader.key;
    thread::scope(|scope| {
        for n in 0..SENDERS {
            let shared = &shared;
            scope.spawn(move || {
                send(Client::connect(relay, n + 1, None), &to, overload, shared);
            });
        }
        let ages = read_slowly(&mut reader, overload, &shared);
        shared.over.store(true, Ordering::Relaxed);
        ages
    })
}

fn read_slowly(reader: &mut Client, overload: u64, shared: &Shared) -> Vec<u64> {
    let mut ages = Vec::new();
    let mut taken = 0;
    let (mut allowed, mut last) = (0, Instant::now());
    while taken < BYTES_TO_WARM_UP + BYTES {
        let now = Instant::now();
        allowed += (now - last).as_micros() as u64 * BYTES_PER_MS / 1000;
        last = now;
        // It catches up on little, and is never offered less than it should be.
        allowed = allowed.min(10 * BYTES_PER_MS);
        let offered = shared.offered.load(Ordering::Relaxed) / overload;
        let bytes = allowed.min(offered.saturating_sub(taken)).min(4096);
        if bytes < 1024 {
            thread::sleep(Duration::from_micros(500));
            continue;
        }
        let len = reader.read(bytes as usize) as u64;
        allowed -= len;
        taken += len;
        shared.taken.store(taken, Ordering::Relaxed);
        while let Some((kind, body)) = reader.next_frame() {
            if kind == FrameType::RecvPacket && taken > BYTES_TO_WARM_UP {
                let sent = u64::from_le_bytes(body[32..40].try_into().unwrap());
                ages.push(taken - sent);
            }
        }
    }
    ages
}

/// Sends at its share of the load. It writes little at a time and then waits for a pong: so nothing of what it
/// sent lies in the sockets before the relay.
fn send(mut client: Client, to: &NodePublic, overload: u64, shared: &Shared) {
    let mut bytes = Vec::new();
    let share = overload * BYTES_PER_MS / u64::from(SENDERS);
    let interval = Duration::from_micros(PACKETS_AT_ONCE * PACKET_BYTES as u64 * 1000 / share);
    let mut next = Instant::now();
    while !shared.over.load(Ordering::Relaxed) {
        let now = Instant::now();
        next = next.max(now - 20 * interval) + interval;
        thread::sleep(next.saturating_duration_since(now));
        let mut packet = [0; PACKET_BYTES];
        packet[..8].copy_from_slice(&shared.taken.load(Ordering::Relaxed).to_le_bytes());
        for _ in 0..PACKETS_AT_ONCE {
            bytes.clear();
            SendPacket {
                dst: *to,
                packet: &packet,
            }
            .write(&mut bytes);
            client.write(&bytes);
        }
        bytes.clear();
        Ping([0; 8]).write(&mut bytes);
        client.write(&bytes);
        loop {
            match client.next_frame() {
                Some((FrameType::Pong, _)) => break,
                Some(_) => {}
                None => {
                    client.read(4096);
                }
            }
        }
        let sent = PACKETS_AT_ONCE * PACKET_BYTES as u64;
        shared.offered.fetch_add(sent, Ordering::Relaxed);
    }
}
