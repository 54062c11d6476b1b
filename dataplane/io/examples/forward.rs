//! Measures what bare TCP forwarding costs: processor time of the forwarding thread for each packet,
//! over loopback, for each way to run the drivers, and without one: the kernel's share, which no
//! program that forwards through sockets gets below, by how long it lets packets gather.
//!
//! `cargo run --release -p towline-io --example forward -- [pairs] [in flight] [burst] [rounds] [bytes]`
//!
//! The forwarder runs on the first processor, its load on the last. Each pair keeps a number of
//! packets in flight; the load writes some in one system call, as its peers' programs do.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a measuring program"
)]

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use towline_io::{Completion, Driver, DriverConfig, DriverKind, Features, RecvBuf, SocketId, host};

#[derive(Clone, Copy)]
struct Load {
    pairs: usize,
    in_flight: usize,
    burst: usize,
    rounds: usize,
    packet_bytes: usize,
}

/// One way to forward.
#[derive(Clone, Copy)]
enum Way {
    Driver {
        kind: DriverKind,
        features: Features,
        gather: Duration,
    },
    /// A receive and a send for each pair, then this sleep.
    Plain { sleep: Duration },
}

/// What a forwarder has done.
#[derive(Default)]
struct Forwarded {
    cpu_ns: u64,
    turns: u64,
    enters: u64,
    bytes: u64,
    receives: u64,
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
        packet_bytes: next(1400),
    };
    println!(
        "{} pairs, {} packets of {} bytes in flight each, {} in a write; \
         the best of {} rounds of {ROUND:?}, taken in turns",
        load.pairs, load.in_flight, load.packet_bytes, load.burst, load.rounds
    );
    let (all, gather) = (Features::all(), DriverConfig::default().gather);
    let older = Features::INCREMENTAL
        .with(Features::NO_SQARRAY)
        .with(Features::NO_IOWAIT);
    let way = |kind, features, gather| Way::Driver {
        kind,
        features,
        gather,
    };
    let plain = |micros| Way::Plain {
        sleep: Duration::from_micros(micros),
    };
    let (uring, epoll, none) = (DriverKind::Uring, DriverKind::Epoll, Features::none());
    let ways = [
        ("uring", way(uring, all, gather)),
        ("uring, not gathering", way(uring, all, Duration::ZERO)),
        ("uring, as of 6.1", way(uring, all.without(older), gather)),
        ("uring, base", way(uring, none, gather)),
        ("epoll", way(epoll, none, gather)),
        ("epoll, not gathering", way(epoll, none, Duration::ZERO)),
        ("plain, 20 us apart", plain(20)),
        ("plain, 50 us apart", plain(50)),
        ("plain, 100 us apart", plain(100)),
        ("plain, 200 us apart", plain(200)),
        ("plain, 400 us apart", plain(400)),
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
        let run = move || forward(way, sockets, &stop);
        thread::Builder::new()
            .name("forward".into())
            .spawn(run)
            .unwrap()
    };
    let generator = {
        let stop = Arc::clone(&stop_load);
        thread::spawn(move || generate(inlets, outlets, load, &stop))
    };
    thread::sleep(ROUND);
    stop_load.store(true, Ordering::Relaxed);
    let delivered = generator.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    let done = forwarder.join().unwrap();
    let packets = done.bytes as f64 / load.packet_bytes as f64;
    Row {
        cpu_ns: done.cpu_ns as f64 / packets,
        gbit_s: delivered as f64 * 8.0 / ROUND.as_secs_f64() / 1e9,
        packets_per_turn: packets / done.turns as f64,
        packets_per_enter: packets / done.enters as f64,
        bytes_per_recv: done.bytes as f64 / done.receives as f64,
    }
}

/// Sends what comes in at an even socket out at the next one.
fn forward(way: Way, sockets: Vec<OwnedFd>, stop: &AtomicBool) -> Forwarded {
    host::pin_thread(host::cpus_allowed().unwrap()[0]).unwrap();
    let start = host::thread_cpu_ns();
    let done = match way {
        Way::Driver {
            kind,
            features,
            gather,
        } => {
            let config = DriverConfig {
                features,
                gather,
                ..DriverConfig::default()
            };
            forward_by_driver(Driver::open(kind, &config).unwrap(), sockets, stop)
        }
        Way::Plain { sleep } => forward_plainly(sleep, sockets, stop),
    };
    Forwarded {
        cpu_ns: host::thread_cpu_ns() - start,
        ..done
    }
}

fn forward_plainly(sleep: Duration, sockets: Vec<OwnedFd>, stop: &AtomicBool) -> Forwarded {
    let mut streams: Vec<TcpStream> = sockets.into_iter().map(TcpStream::from).collect();
    for stream in &streams {
        stream.set_nonblocking(true).unwrap();
    }
    // Opening a driver makes the timers of its thread precise.
    let _driver = Driver::open(DriverKind::Epoll, &DriverConfig::default()).unwrap();
    let mut buffer = vec![0; 1 << 20];
    let mut done = Forwarded::default();
    while !stop.load(Ordering::Relaxed) {
        done.turns += 1;
        for pair in streams.chunks_exact_mut(2) {
            match pair[0].read(&mut buffer) {
                Ok(0) => return done,
                Ok(len) => {
                    // What is in flight fits the buffers of the socket.
                    pair[1].write_all(&buffer[..len]).unwrap();
                    done.bytes += len as u64;
                    done.receives += 1;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            done.enters += 2;
        }
        thread::sleep(sleep);
    }
    done
}

fn forward_by_driver(mut driver: Driver, sockets: Vec<OwnedFd>, stop: &AtomicBool) -> Forwarded {
    let ids: Vec<SocketId> = sockets
        .into_iter()
        .enumerate()
        .map(|(token, socket)| driver.add(socket, token as u64).unwrap())
        .collect();
    let mut queues: Vec<Vec<RecvBuf>> = ids.iter().map(|_| Vec::new()).collect();
    let mut sending = vec![false; ids.len()];
    let mut out = Vec::new();
    let mut turns = 0;
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
    let stats = driver.stats();
    Forwarded {
        turns,
        enters: stats.enters,
        bytes: stats.received_bytes,
        receives: stats.received,
        ..Forwarded::default()
    }
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
    let write_bytes = load.burst * load.packet_bytes;
    let packets = vec![0; write_bytes];
    let mut credit = vec![load.in_flight * load.packet_bytes; load.pairs];
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
