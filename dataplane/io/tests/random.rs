//! Everything at once, in an order that a seed decides: whatever a driver's owner and peers do,
//! each stream stays in order, each promise about completions holds, and each buffer comes back.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use socket2::SockRef;
use support::{PATIENCE, check, fill, on_every_driver, pair, tight};
use towline_io::{Completion, Driver, DriverConfig, RecvBuf, SocketId};

on_every_driver!(any_order_of_events_keeps_every_promise);

const STEPS: usize = 6000;
const SEND_BYTES_MAX: u64 = 16 << 10;

fn any_order_of_events_keeps_every_promise(way: support::Way) {
    for seed in 1..=6 {
        let mut world = World::new(way.open(config(seed)), seed);
        for _ in 0..STEPS {
            world.step();
        }
        world.finish();
    }
}

/// Receive buffers of the same size in all; those of odd seeds are joined where they are shared.
fn config(seed: u64) -> DriverConfig {
    let joined = seed % 2 == 1;
    let (recv_buffers, recv_buffer_bytes) = if joined { (32, 1024) } else { (8, 4096) };
    DriverConfig {
        recv_buffers,
        recv_buffer_bytes,
        // So long that some sockets are busy.
        gather: Duration::from_millis(20),
        ..tight()
    }
}

/// A socket of the driver's, and what is true of it.
struct Conn {
    id: SocketId,
    peer: Option<TcpStream>,
    /// Bytes that the peer has sent, and that the driver received.
    sent_to_us: u64,
    received: u64,
    /// Bytes that the kernel took from the driver, and that the peer has read.
    taken: u64,
    read_by_peer: u64,
    sending: bool,
    asked: bool,
    ended: bool,
    reset: bool,
    closing: bool,
}

struct World {
    driver: Driver,
    conns: HashMap<u64, Conn>,
    held: Vec<RecvBuf>,
    next_token: u64,
    random: u64,
    seed: u64,
    out: Vec<Completion>,
}

impl World {
    fn new(driver: Driver, seed: u64) -> Self {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (conns, held, out) = (HashMap::new(), Vec::new(), Vec::new());
        Self {
            driver,
            conns,
            held,
            next_token: 0,
            random,
            seed,
            out,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn step(&mut self) {
        let action = self.below(100);
        if action < 4 && self.conns.len() < 40 {
            return self.connect();
        }
        if action < 30 {
            let timeout = Duration::from_micros(self.below(300));
            return self.wait(timeout);
        }
        if action < 36 {
            return self.give_back();
        }
        let mut tokens: Vec<u64> = self.conns.keys().copied().collect();
        tokens.sort_unstable();
        if tokens.is_empty() {
            return;
        }
        let token = tokens[self.below(tokens.len() as u64) as usize];
        match action {
            36..55 => self.peer_writes(token),
            55..70 => self.peer_reads(token),
            70..84 => self.send(token),
            84..87 => self.driver.pause_recv(self.conns[&token].id),
            87..92 => self.driver.resume_recv(self.conns[&token].id),
            92..95 => self.ask_for_room(token),
            95..97 => self.peer_leaves(token),
            _ => self.close(token),
        }
    }

    fn connect(&mut self) {
        let (ours, peer) = pair();
        peer.set_nonblocking(true).unwrap();
        SockRef::from(&peer).set_send_buffer_size(1 << 14).unwrap();
        let id = self.driver.add(ours, self.next_token).unwrap();
        let conn = Conn {
            id,
            peer: Some(peer),
            sent_to_us: 0,
            received: 0,
            taken: 0,
            read_by_peer: 0,
            sending: false,
            asked: false,
            ended: false,
            reset: false,
            closing: false,
        };
        self.conns.insert(self.next_token, conn);
        self.next_token += 1;
    }

    fn peer_writes(&mut self, token: u64) {
        let len = self.below(9000) as usize + 1;
        let conn = self.conns.get_mut(&token).unwrap();
        let Some(peer) = &mut conn.peer else { return };
        let mut bytes = vec![0; len];
        fill(token, conn.sent_to_us, &mut bytes);
        match peer.write(&bytes) {
            Ok(len) => conn.sent_to_us += len as u64,
            Err(error) => assert!(may_fail(&error, conn.closing), "{error}"),
        }
    }

    fn peer_reads(&mut self, token: u64) {
        let mut bytes = vec![0; self.below(30_000) as usize + 1];
        let conn = self.conns.get_mut(&token).unwrap();
        let Some(peer) = &mut conn.peer else { return };
        match peer.read(&mut bytes) {
            Ok(len) => {
                // Streams of the driver's have numbers of their own.
                check(!token, conn.read_by_peer, &bytes[..len]);
                conn.read_by_peer += len as u64;
            }
            Err(error) => assert!(may_fail(&error, conn.closing), "{error}"),
        }
    }

    fn peer_leaves(&mut self, token: u64) {
        let abrupt = self.below(2) == 0;
        let conn = self.conns.get_mut(&token).unwrap();
        let Some(peer) = conn.peer.take() else { return };
        if abrupt {
            SockRef::from(&peer)
                .set_linger(Some(Duration::ZERO))
                .unwrap();
        }
        // Unread bytes make it a reset, too.
        conn.reset = true;
    }

    fn send(&mut self, token: u64) {
        let len = self.below(SEND_BYTES_MAX) as usize + 1;
        let conn = self.conns.get_mut(&token).unwrap();
        if conn.sending || conn.closing {
            return;
        }
        let Some(buf) = self.driver.send_buffer() else {
            return;
        };
        fill(
            !token,
            conn.taken,
            &mut self.driver.send_bytes_mut(&buf)[..len],
        );
        conn.sending = true;
        self.driver.send(conn.id, buf, len);
    }

    fn ask_for_room(&mut self, token: u64) {
        let conn = self.conns.get_mut(&token).unwrap();
        self.driver.notify_writable(conn.id);
        conn.asked |= !conn.closing;
    }

    fn close(&mut self, token: u64) {
        let conn = self.conns.get_mut(&token).unwrap();
        conn.closing = true;
        self.driver.close(conn.id);
    }

    /// Returns some of the receive buffers, in any order.
    fn give_back(&mut self) {
        for _ in 0..self.below(6) {
            if self.held.is_empty() {
                return;
            }
            let index = self.below(self.held.len() as u64) as usize;
            let buf = self.held.swap_remove(index);
            self.driver.recycle(buf);
        }
    }

    fn wait(&mut self, timeout: Duration) {
        let mut out = core::mem::take(&mut self.out);
        self.driver.wait(Some(timeout), &mut out).unwrap();
        for completion in out.drain(..) {
            self.handle(completion);
        }
        self.out = out;
    }

    fn handle(&mut self, completion: Completion) {
        let seed = self.seed;
        match completion {
            Completion::Received { token, buf } => {
                let conn = self.conns.get_mut(&token).expect("bytes after Closed");
                assert!(
                    !conn.ended && !conn.closing,
                    "seed {seed}: bytes after the end"
                );
                let bytes = self.driver.recv_bytes(&buf);
                check(token, conn.received, bytes);
                // As a TLS record is: opened in place.
                bytes.fill(0xee);
                conn.received += buf.len() as u64;
                self.held.push(buf);
            }
            Completion::Ended { token, error } => {
                let conn = self.conns.get_mut(&token).expect("an end after Closed");
                assert!(!conn.ended && !conn.closing, "seed {seed}: a second end");
                assert!(
                    conn.peer.is_none(),
                    "seed {seed}: an end that the peer did not make"
                );
                if error.is_none() {
                    assert_eq!(
                        conn.received, conn.sent_to_us,
                        "seed {seed}: bytes were lost"
                    );
                }
                conn.ended = true;
            }
            Completion::Sent { token, result, buf } => {
                let conn = self.conns.get_mut(&token).expect("a send after Closed");
                assert!(conn.sending, "seed {seed}: a send that was not made");
                conn.sending = false;
                match result {
                    Ok(len) => conn.taken += len as u64,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => assert!(conn.reset, "seed {seed}: {error}"),
                }
                self.driver.recycle_send(buf);
            }
            Completion::Writable { token } => {
                let conn = self.conns.get_mut(&token).expect("room after Closed");
                assert!(
                    conn.asked && !conn.closing,
                    "seed {seed}: room nobody asked for"
                );
                conn.asked = false;
            }
            Completion::Closed { token } => {
                let conn = self.conns.remove(&token).expect("a second Closed");
                assert!(conn.closing && !conn.sending, "seed {seed}: closed early");
            }
            Completion::Woken => panic!("nobody called"),
        }
    }

    /// Lets every stream run to its end, then closes all and looks for what is missing.
    fn finish(mut self) {
        let deadline = Instant::now() + PATIENCE;
        let mut tokens: Vec<u64> = self.conns.keys().copied().collect();
        tokens.sort_unstable();
        for token in &tokens {
            self.driver.resume_recv(self.conns[token].id);
        }
        while self.conns.values().any(|conn| {
            let due = conn.received < conn.sent_to_us && !conn.reset;
            !conn.ended && !conn.closing && due
        }) {
            assert!(Instant::now() < deadline, "seed {}: stuck", self.seed);
            self.give_back();
            self.wait(Duration::from_millis(1));
        }
        for token in tokens {
            if self.conns.contains_key(&token) {
                self.close(token);
            }
        }
        while !self.conns.is_empty() {
            assert!(Instant::now() < deadline, "seed {}: not closed", self.seed);
            self.wait(Duration::from_millis(1));
        }
        self.held.drain(..).for_each(|buf| self.driver.recycle(buf));
        assert_eq!(self.driver.sockets(), 0);
        assert_eq!(self.driver.stats().stale_completions, 0);
        let sends: Vec<_> = std::iter::from_fn(|| self.driver.send_buffer()).collect();
        assert_eq!(sends.len(), 4, "seed {}: send buffers were lost", self.seed);
        self.fill_every_receive_buffer();
    }

    /// More bytes than all receive buffers hold, taken without giving any back, must fill them all.
    fn fill_every_receive_buffer(&mut self) {
        let (ours, mut peer) = pair();
        peer.write_all(&[9; 8 * 4096]).unwrap();
        self.driver.add(ours, u64::MAX).unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        let mut len = 0;
        // What an earlier socket left in a buffer that is still being filled is not ours to use.
        while len < 7 * 4096 {
            assert!(
                Instant::now() < deadline,
                "seed {}: buffers were lost: {len}",
                self.seed
            );
            self.driver
                .wait(Some(Duration::from_millis(1)), &mut self.out)
                .unwrap();
            for completion in self.out.drain(..) {
                let Completion::Received { buf, .. } = completion else {
                    panic!("{completion:?}");
                };
                len += buf.len();
                self.held.push(buf);
            }
        }
    }
}

fn may_fail(error: &std::io::Error, closing: bool) -> bool {
    error.kind() == ErrorKind::WouldBlock
        || closing
            && matches!(
                error.kind(),
                ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            )
}
