//! Measures what bare TCP forwarding through a driver costs: processor time of the forwarding
//! thread for each 1400-byte packet, over loopback, for each way to run the drivers.
//!
//! `cargo run --release -p towline-io --example forward -- [pairs] [in flight] [burst] [rounds]`
//!
//! The forwarder runs on the first processor, its load on the last. Each pair keeps a number of
//! packets in flight; the load writes some in one system call, as its peers' programs do.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program"
)]

use std::io::{ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use towline_io::{
    Completion, Driver, DriverConfig, DriverKind, DriverStats, Features, RecvBuf, SocketId, host,
};

const PACKET_BYTES: usize = 1400;

#[derive(Clone, Copy)]
struct Load {
    pairs: usize,
    in_flight: usize,
    burst: usize,
    rounds: usize,
}

/// One way to run a driver.
#[derive(Clone, Copy)]
struct Way {
    kind: DriverKind,
    features: Features,
    gather: Duration,
}

const ROUND: Duration = Duration::from_millis(500);

fn main() {
    let mut args = std::env::args()
        .skip(1)
        .map(|arg| arg.parse::<usize>().unwrap());
    let mut next = |default| args.next().unwrap_or(default);
    let load = Load {
        pairs: next(4),
        in_flight: next(24),
        burst: next(8),
        rounds: next(5),
    };
    println!(
        "{} pairs, {} packets of {PACKET_BYTES} bytes in flight each, {} in a write; \
         the best of {} rounds of {ROUND:?}, taken in turns",
        load.pairs, load.in_flight, load.burst, load.rounds
    );
    let (all, gather) = (Features::all(), DriverConfig::default().gather);
    let older = Features::INCREMENTAL
        .with(Features::NO_SQARRAY)
        .with(Features::NO_IOWAIT);
    let way = |kind, features, gather| Way {
        kind,
        features,
        gather,
    };
    let (uring, epoll, none) = (DriverKind::Uring, DriverKind::Epoll, Features::none());
    let ways = [
        ("uring", way(uring, all, gather)),
        ("uring, not gathering", way(uring, all, Duration::ZERO)),
        ("uring, as of 6.1", way(uring, all.without(older), gather)),
        ("uring, base", way(uring, none, gather)),
        ("epoll", way(epoll, none, gather)),
        ("epoll, not gathering", way(epoll, none, Duration::ZERO)),
    ];
    let mut best: Vec<Option<Row>> = vec![None; ways.len()];
    for _ in 0..load.rounds {
        for (best, (_, way)) in best.iter_mut().zip(&ways) {
            let row = measure(*way, load);
            if best.is_none_or(|best| row.cpu_ns < best.cpu_ns) {
                *best = Some(row);
            }
        }
    }
    println!(
        "{:<22} {:>10} {:>8} {:>13} {:>11} {:>13}",
        "driver", "ns/packet", "Gbit/s", "packets/turn", "bytes/recv", "packets/enter"
    );
    for (row, (name, ..)) in best.into_iter().flatten().zip(&ways) {
        println!(
            "{name:<22} {:>10.0} {:>8.2} {:>13.1} {:>11.0} {:>13.1}",
            row.cpu_ns, row.gbit_s, row.packets_per_turn, row.bytes_per_recv, row.packets_per_enter
        );
    }
}

/// One round's figures of one way.
#[derive(Clone, Copy)]
struct Row {
    /// Of the forwarding thread, for each packet.
    cpu_ns: f64,
    gbit_s: f64,
    packets_per_turn: f64,
    packets_per_enter: f64,
    bytes_per_recv: f64,
}

fn measure(way: Way, load: Load) -> Row {
    let mut inlets = Vec::new();
    let mut outlets = Vec::new();
    let mut sockets: Vec<OwnedFd> = Vec::new();
    for _ in 0..load.pairs {
        let (ours, theirs) = pair();
        sockets.push(ours);
        inlets.push(theirs);
        let (ours, theirs) = pair();
        sockets.push(ours);
        outlets.push(theirs);
    }
    let (stop, stop_load) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let forwarder = {
        let stop = Arc::clone(&stop);
        let name = format!("forward-{}", way.kind);
        let run = move || forward(way, sockets, &stop);
        thread::Builder::new().name(name).spawn(run).unwrap()
    };
    let generator = {
        let stop = Arc::clone(&stop_load);
        thread::spawn(move || generate(inlets, outlets, load, &stop))
    };
    thread::sleep(ROUND);
    stop_load.store(true, Ordering::Relaxed);
    let delivered = generator.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    let (cpu_ns, turns, stats) = forwarder.join().unwrap();
    let packets = stats.received_bytes as f64 / PACKET_BYTES as f64;
    Row {
        cpu_ns: cpu_ns as f64 / packets,
        gbit_s: delivered as f64 * 8.0 / ROUND.as_secs_f64() / 1e9,
        packets_per_turn: packets / turns as f64,
        packets_per_enter: packets / stats.enters as f64,
        bytes_per_recv: stats.received_bytes as f64 / stats.received as f64,
    }
}

/// Sends what comes in at an even token out at the next one.
fn forward(way: Way, sockets: Vec<OwnedFd>, stop: &AtomicBool) -> (u64, u64, DriverStats) {
    host::pin_thread(host::cpus_allowed().unwrap()[0]).unwrap();
    let config = DriverConfig {
        features: way.features,
        gather: way.gather,
        ..DriverConfig::default()
    };
    let mut driver = Driver::open(way.kind, &config).unwrap();
    let ids: Vec<SocketId> = sockets
        .into_iter()
        .enumerate()
        .map(|(token, socket)| driver.add(socket, token as u64).unwrap())
        .collect();
    let mut queues: Vec<Vec<RecvBuf>> = ids.iter().map(|_| Vec::new()).collect();
    let mut sending = vec![false; ids.len()];
    let mut out = Vec::new();
    let (start, mut turns) = (host::thread_cpu_ns(), 0);
    while !stop.load(Ordering::Relaxed) {
        turns += 1;
        driver
            .wait(Some(Duration::from_millis(100)), &mut out)
            .unwrap();
        for completion in out.drain(..) {
            match completion {
                Completion::Received { token, buf } => queues[token as usize + 1].push(buf),
                Completion::Sent { token, buf, result } => {
                    assert!(!matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock));
                    driver.recycle_send(buf);
                    sending[token as usize] = false;
                }
                _ => {}
            }
        }
        for (token, queue) in queues.iter_mut().enumerate() {
            if queue.is_empty() || sending[token] {
                continue;
            }
            let Some(buf) = driver.send_buffer() else {
                break;
            };
            let (bytes, received) = driver.send_bytes_and_received(&buf);
            let (mut len, mut taken) = (0, 0);
            for part in &*queue {
                let part = received.bytes(part);
                let Some(space) = bytes.get_mut(len..len + part.len()) else {
                    break;
                };
                space.copy_from_slice(part);
                len += part.len();
                taken += 1;
            }
            sending[token] = true;
            driver.send(ids[token], buf, len);
            queue.drain(..taken).for_each(|part| driver.recycle(part));
        }
    }
    (host::thread_cpu_ns() - start, turns, driver.stats())
}

/// Keeps each pair's packets in flight. Gives the bytes delivered.
fn generate(
    mut inlets: Vec<TcpStream>,
    outlets: Vec<TcpStream>,
    load: Load,
    stop: &AtomicBool,
) -> u64 {
    host::pin_thread(*host::cpus_allowed().unwrap().last().unwrap()).unwrap();
    let mut driver = Driver::open(DriverKind::Epoll, &DriverConfig::default()).unwrap();
    for (token, outlet) in outlets.into_iter().enumerate() {
        driver.add(outlet.into(), token as u64).unwrap();
    }
    let write_bytes = load.burst * PACKET_BYTES;
    let packets = vec![0; write_bytes];
    let mut credit = vec![load.in_flight * PACKET_BYTES; load.pairs];
    let (mut out, mut delivered) = (Vec::new(), 0);
    while !stop.load(Ordering::Relaxed) {
        for (inlet, credit) in inlets.iter_mut().zip(&mut credit) {
            while *credit >= write_bytes {
                inlet.write_all(&packets).unwrap();
                *credit -= write_bytes;
            }
        }
        driver
            .wait(Some(Duration::from_millis(100)), &mut out)
            .unwrap();
        for completion in out.drain(..) {
            if let Completion::Received { token, buf } = completion {
                credit[token as usize] += buf.len();
                delivered += buf.len() as u64;
                driver.recycle(buf);
            }
        }
    }
    delivered
}

fn pair() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    ours.set_nodelay(true).unwrap();
    theirs.set_nodelay(true).unwrap();
    (ours.into(), theirs)
}
