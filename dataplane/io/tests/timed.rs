//! Busy sockets, which the io_uring driver fetches from at intervals: nothing is lost by it,
//! whatever happens to them meanwhile, and quiet sockets do not wait for them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use support::{PATIENCE, check, fill, tight};
use towline_io::{Completion, Driver, DriverConfig, DriverKind, Features, SocketId};

/// Long, so that it does not matter how fast the test runs.
const GATHER: Duration = Duration::from_millis(40);
const PACKET_BYTES: usize = 700;
/// Bytes of a receive buffer that a fetch often fills.
const SMALL: u32 = 4096;

/// A driver and a socket of it, which is busy. Not of TCP, where a sender may keep packets back.
struct Busy {
    driver: Driver,
    id: SocketId,
    peer: UnixStream,
    sent: u64,
    received: u64,
    out: Vec<Completion>,
}

impl Busy {
    fn new(features: Features, recv_buffer_bytes: u32) -> Self {
        let config = DriverConfig {
            gather: GATHER,
            features,
            recv_buffer_bytes,
            ..tight()
        };
        let mut driver = Driver::open(DriverKind::Uring, &config).unwrap();
        let (ours, peer) = UnixStream::pair().unwrap();
        let id = driver.add(ours.into(), 0).unwrap();
        let mut busy = Self {
            driver,
            id,
            peer,
            sent: 0,
            received: 0,
            out: Vec::new(),
        };
        let deadline = Instant::now() + PATIENCE;
        while busy.driver.stats().fetches == 0 {
            assert!(Instant::now() < deadline, "{:?}", busy.driver.stats());
            busy.send();
            busy.wait();
        }
        busy
    }

    /// A packet of the peer's, unless much is under way.
    fn send(&mut self) {
        if self.sent > self.received + 20_000 {
            return;
        }
        let mut packet = [0; PACKET_BYTES];
        fill(0, self.sent, &mut packet);
        self.peer.write_all(&packet).unwrap();
        self.sent += PACKET_BYTES as u64;
    }

    /// One wait. What it brought of other sockets, and whether the busy one is over.
    fn wait(&mut self) -> (u64, bool) {
        let mut out = core::mem::take(&mut self.out);
        self.driver
            .wait(Some(Duration::from_millis(5)), &mut out)
            .unwrap();
        let (mut others, mut over) = (0, false);
        for completion in out.drain(..) {
            match completion {
                Completion::Received { token: 0, buf } => {
                    check(0, self.received, self.driver.recv_bytes(&buf));
                    self.received += buf.len() as u64;
                    self.driver.recycle(buf);
                }
                Completion::Received { buf, .. } => {
                    others += 1;
                    self.driver.recycle(buf);
                }
                Completion::Ended { token: 0, .. } | Completion::Closed { token: 0 } => over = true,
                other => panic!("{other:?}"),
            }
        }
        self.out = out;
        (others, over)
    }

    /// Waits until all that was sent has come.
    fn catch_up(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        while self.received < self.sent {
            assert!(Instant::now() < deadline, "{:?}", self.driver.stats());
            self.wait();
        }
    }
}

/// Without incremental buffers no socket is timed.
fn ways() -> [Features; 2] {
    let all = Features::all();
    [all, all.without(Features::MULTISHOT_RECV)]
}

#[test]
fn a_busy_stream_comes_whole_and_in_order_while_it_flows_and_when_it_stops() {
    for features in ways() {
        let mut busy = Busy::new(features, SMALL);
        for _ in 0..3 {
            for _ in 0..100 {
                (0..10).for_each(|_| busy.send());
                busy.wait();
            }
            busy.catch_up();
        }
        // The traffic is over: soon the driver only waits.
        let deadline = Instant::now() + PATIENCE;
        let mut fetches = 0;
        while fetches != busy.driver.stats().fetches {
            assert!(Instant::now() < deadline, "it fetches for ever");
            fetches = busy.driver.stats().fetches;
            let end = Instant::now() + 3 * GATHER;
            while Instant::now() < end {
                busy.wait();
            }
        }
        busy.send();
        busy.catch_up();
    }
}

#[test]
fn a_quiet_socket_does_not_wait_for_the_fetch() {
    // A fetch that fills its buffer is followed by another at once.
    let mut busy = Busy::new(Features::all(), 64 << 10);
    let (ours, mut quiet) = UnixStream::pair().unwrap();
    // Measured, so that it never counts as busy itself.
    busy.driver.add_measured(ours.into(), 1).unwrap();
    let mut before_fetch = 0;
    for _ in 0..300 {
        (0..10).for_each(|_| busy.send());
        let fetches = busy.driver.stats().fetches;
        quiet.write_all(b"now").unwrap();
        while busy.wait().0 == 0 {}
        before_fetch += u32::from(busy.driver.stats().fetches == fetches);
    }
    // At first fetches are close to each other, because of how much they brought.
    assert!(before_fetch > 100, "{before_fetch} of 300");
}

#[test]
fn a_busy_socket_can_be_paused_measured_and_closed() {
    for features in ways() {
        let mut busy = Busy::new(features, SMALL);
        busy.catch_up();
        busy.driver.pause_recv(busy.id);
        // A fetch may be under way.
        busy.wait();
        busy.send();
        let received = busy.received;
        let end = Instant::now() + 3 * GATHER;
        while Instant::now() < end {
            busy.wait();
        }
        assert_eq!(busy.received, received);
        busy.driver.resume_recv(busy.id);
        busy.catch_up();
        busy.driver.measure_recv(busy.id);
        for _ in 0..1000 {
            busy.send();
            busy.catch_up();
        }
        busy.driver.close(busy.id);
        let deadline = Instant::now() + PATIENCE;
        while !busy.wait().1 {
            assert!(Instant::now() < deadline, "not closed");
        }
        assert_eq!(busy.driver.sockets(), 0);
    }
}

#[test]
fn the_end_of_a_busy_stream_is_seen() {
    for features in ways() {
        let mut busy = Busy::new(features, SMALL);
        busy.send();
        busy.peer.shutdown(Shutdown::Write).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while !busy.wait().1 {
            assert!(Instant::now() < deadline, "no end");
        }
        assert_eq!(busy.received, busy.sent);
    }
}

#[test]
fn a_busy_socket_that_always_has_more_does_not_keep_fetches_from_the_others() {
    let mut busy = Busy::new(Features::all(), SMALL);
    let (ours, mut other) = UnixStream::pair().unwrap();
    busy.driver.add(ours.into(), 1).unwrap();
    let deadline = Instant::now() + PATIENCE;
    // Long enough for the other to be busy too.
    for _ in 0..100 {
        other.write_all(&[7; 10]).unwrap();
        let mut got = 0;
        while got == 0 {
            assert!(Instant::now() < deadline, "{:?}", busy.driver.stats());
            (0..40).for_each(|_| busy.send());
            got = busy.wait().0;
        }
    }
}
