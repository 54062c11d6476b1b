//! A relay that has warmed up allocates nothing for a packet, from socket to socket: TLS and plain HTTP,
//! io_uring and epoll.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

use support::{Client, Relay};
use towline_relay::config::DriverChoice;
use towline_wire::disco;
use towline_wire::frame::{FrameType, SendPacket};

/// What is counted: allocations of shards' threads, while this is set.
static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it is; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if COUNTING.load(Ordering::Relaxed) && is_shard() {
            ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        }
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Whether this is the thread of a shard, by its name.
fn is_shard() -> bool {
    let mut name = [0u8; 16];
    // SAFETY: the kernel writes the name of this thread, 16 bytes at most, to a buffer of as many.
    unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    name.starts_with(b"shard-")
}

/// Lists and buffers that are used again and again may still grow a few times: their size is that of the busiest turn,
/// which a slow machine has late.
const GROWTHS_MAX: u64 = 8;

const PAIRS: u8 = 4;
const ROUNDS_TO_WARM_UP: usize = 200;
const ROUNDS: usize = 500;
/// Packets of a pair that are under way at once.
const PACKETS: usize = 24;

#[test]
fn packets_through_a_relay_allocate_nothing() {
    for driver in [DriverChoice::Auto, DriverChoice::Epoll] {
        for tls in [false, true] {
            let relay = Relay::start(tls, driver);
            exchange(&relay);
            let allocations = ALLOCATIONS.swap(0, Ordering::Relaxed);
            let packets = usize::from(PAIRS) * ROUNDS * PACKETS;
            assert!(
                allocations <= GROWTHS_MAX,
                "{allocations} for {packets} packets with {driver:?}, TLS: {tls}"
            );
        }
    }
}

/// Sends packets of every pair from one client to the other, and waits for all of a round.
fn exchange(relay: &Relay) {
    let steady = Barrier::new(usize::from(PAIRS) + 1);
    thread::scope(|scope| {
        for pair in 0..PAIRS {
            let steady = &steady;
            scope.spawn(move || {
                let mut sender = Client::connect(relay, 2 * pair + 1, None);
                let mut receiver = Client::connect(relay, 2 * pair + 2, None);
                for _ in 0..ROUNDS_TO_WARM_UP {
                    round(&mut sender, &mut receiver);
                }
                steady.wait();
                steady.wait();
                for _ in 0..ROUNDS {
                    round(&mut sender, &mut receiver);
                }
                steady.wait();
                // Leaving may allocate: not before counting is over.
                steady.wait();
            });
        }
        steady.wait();
        COUNTING.store(true, Ordering::Relaxed);
        steady.wait();
        steady.wait();
        COUNTING.store(false, Ordering::Relaxed);
        steady.wait();
    });
}

fn round(sender: &mut Client, receiver: &mut Client) {
    let mut disco_packet = disco::MAGIC.to_vec();
    disco_packet.resize(disco::HEADER_LEN + 40, 0);
    let mut frame = Vec::new();
    for n in 0..PACKETS {
        let packet = match n % 8 {
            7 => &disco_packet[..],
            6 => &[6; 9000],
            _ => &[1; 1400],
        };
        frame.clear();
        SendPacket {
            dst: receiver.key,
            packet,
        }
        .write(&mut frame);
        sender.write(&frame);
    }
    let mut received = 0;
    while received < PACKETS {
        match receiver.next_frame() {
            Some((FrameType::RecvPacket, _)) => received += 1,
            Some(_) => {}
            None => {
                receiver.read(64 << 10);
            }
        }
    }
}
