//! What the tests of the drivers share: the table of drivers, pairs of sockets, and an echo
//! service.

#![allow(
    dead_code,
    unused_macros,
    unused_imports,
    reason = "each test file uses a part of this"
)]

pub(crate) mod echo;
pub(crate) mod namespace;
pub(crate) mod packets;

use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use towline_io::{Completion, Driver, DriverConfig, DriverKind, Features};

/// Nothing in these tests takes longer than this unless it is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Small buffers, few of them, and small rings: so that each limit is met.
pub(crate) fn tight() -> DriverConfig {
    DriverConfig {
        sockets_max: 20_000,
        recv_buffers: 8,
        recv_buffer_bytes: 4096,
        send_buffers: 4,
        send_buffer_bytes: 16 << 10,
        sq_entries: 16,
        cq_entries: 32,
        ..DriverConfig::default()
    }
}

/// One way to run the drivers.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub(crate) kind: DriverKind,
    pub(crate) features: Features,
}

impl Way {
    pub(crate) fn open(self, config: DriverConfig) -> Driver {
        let config = DriverConfig {
            features: self.features,
            ..config
        };
        Driver::open(self.kind, &config).unwrap()
    }
}

/// Makes a test of each named function for every way to run the drivers.
macro_rules! on_every_driver {
    ($($case:ident),+ $(,)?) => {
        on_every_driver!(@way uring, Uring, Features::all(), $($case),+);
        on_every_driver!(@way uring_whole_buffers, Uring,
            Features::all().without(Features::INCREMENTAL), $($case),+);
        on_every_driver!(@way uring_6_1, Uring, Features::all().without(Features::INCREMENTAL)
            .without(Features::NO_SQARRAY).without(Features::NO_IOWAIT), $($case),+);
        on_every_driver!(@way uring_single_shot, Uring,
            Features::all().without(Features::MULTISHOT_RECV), $($case),+);
        on_every_driver!(@way epoll, Epoll, Features::none(), $($case),+);
        on_every_driver!(@way uring_base, Uring, Features::none(), $($case),+);
    };
    (@way $module:ident, $kind:ident, $features:expr, $($case:ident),+) => {
        mod $module {
            use towline_io::{DriverKind, Features};
            $(
                #[test]
                fn $case() {
                    let features = $features;
                    super::$case(super::support::Way { kind: DriverKind::$kind, features });
                }
            )+
        }
    };
}
pub(crate) use on_every_driver;

/// A connected pair: ours for the driver, and the peer's.
pub(crate) fn pair() -> (OwnedFd, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    peer.set_nodelay(true).unwrap();
    (ours.into(), peer)
}

/// Waits, handing each completion to `handle`, until that says it is done.
pub(crate) fn run(driver: &mut Driver, mut handle: impl FnMut(&mut Driver, Completion) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let mut out = Vec::new();
    loop {
        driver
            .wait(Some(Duration::from_millis(100)), &mut out)
            .unwrap();
        let mut done = false;
        for completion in out.drain(..) {
            done |= handle(driver, completion);
        }
        if done {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "the driver made no progress: {:?}",
            driver.stats()
        );
    }
}

/// Runs the driver for a while and gives what it reported.
pub(crate) fn run_for(driver: &mut Driver, time: Duration) -> Vec<Completion> {
    let end = Instant::now() + time;
    let mut out = Vec::new();
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        driver.wait(Some(left), &mut out).unwrap();
    }
    out
}

/// The byte at a place of a test stream; neighbours, and the same place in other streams, differ.
pub(crate) fn byte_at(stream: u64, place: u64) -> u8 {
    let mixed = (place / 7)
        .wrapping_add(stream.wrapping_mul(0x9e37))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 56) as u8 ^ place as u8
}

pub(crate) fn fill(stream: u64, from: u64, bytes: &mut [u8]) {
    for (place, byte) in (from..).zip(bytes) {
        *byte = byte_at(stream, place);
    }
}

pub(crate) fn check(stream: u64, from: u64, bytes: &[u8]) {
    for (place, byte) in (from..).zip(bytes) {
        assert_eq!(
            *byte,
            byte_at(stream, place),
            "byte {place} of stream {stream}"
        );
    }
}
