//! Thousands of sockets at once, and nothing left of them afterwards. A test of its own process,
//! because it counts descriptors.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use support::echo::Echo;
use support::{PATIENCE, Way, run, tight};
use towline_io::socket::connect_from;
use towline_io::{Completion, DriverConfig, DriverKind, DriverStats, Features, host};

#[test]
fn thousands_of_sockets_come_and_go_without_a_trace() {
    let sockets = host::raise_nofile().unwrap().saturating_sub(500) / 2;
    let sockets = sockets.min(4000);
    let ways = [
        (DriverKind::Uring, Features::all()),
        (
            DriverKind::Uring,
            Features::all().without(Features::INCREMENTAL),
        ),
        (DriverKind::Uring, Features::none()),
        (DriverKind::Epoll, Features::none()),
    ];
    let mut tight_overflows = false;
    for (kind, features) in ways {
        let before = host::fd_count().unwrap();
        for config in [tight(), DriverConfig::default()] {
            let stats = come_and_go(Way { kind, features }, config, sockets);
            tight_overflows |= stats.cq_overflows > 0;
            drop_with_sockets(Way { kind, features }, sockets / 4);
        }
        // The kernel lets go of a ring's last references a moment after it is closed.
        let deadline = Instant::now() + PATIENCE;
        while host::fd_count().unwrap() > before {
            assert!(Instant::now() < deadline, "{kind}: descriptors leak");
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(
        tight_overflows,
        "the completion ring never overflowed, so that was not tested"
    );
}

fn come_and_go(way: Way, config: DriverConfig, sockets: u64) -> DriverStats {
    let mut driver = way.open(config);
    let mut echo = Echo::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peers: Vec<_> = (0..sockets)
        .map(|token| {
            let (ours, peer) = pair_from(&listener, token);
            echo.add(&mut driver, ours, token);
            peer
        })
        .collect();
    // All speak at once, then each is heard.
    for (token, peer) in peers.iter_mut().enumerate() {
        peer.write_all(&[token as u8; 300]).unwrap();
    }
    let client = std::thread::spawn(move || {
        for (token, peer) in peers.iter_mut().enumerate() {
            let mut bytes = [0; 300];
            peer.read_exact(&mut bytes).unwrap();
            assert_eq!(bytes, [token as u8; 300]);
        }
        drop(peers);
    });
    let deadline = Instant::now() + PATIENCE;
    while echo.closed < sockets as usize {
        echo.turn(&mut driver, Duration::from_millis(100));
        assert!(
            Instant::now() < deadline,
            "{} left: {:?}",
            echo.len(),
            driver.stats()
        );
    }
    client.join().unwrap();
    assert_eq!(echo.failed, 0);
    assert_eq!(driver.sockets(), 0);
    assert_eq!(driver.stats().stale_completions, 0);
    driver.stats()
}

fn drop_with_sockets(way: Way, sockets: u64) {
    let mut driver = way.open(tight());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peers = Vec::new();
    for token in 0..sockets {
        let (ours, peer) = pair_from(&listener, token);
        driver.add(ours, token).unwrap();
        peers.push(peer);
    }
    driver.waker().wake();
    run(&mut driver, |_, completion| {
        matches!(completion, Completion::Woken)
    });
    drop(driver);
    for mut peer in peers {
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
    }
}

/// From many addresses, so that lingering ports do not run out.
fn pair_from(listener: &TcpListener, number: u64) -> (OwnedFd, TcpStream) {
    let source = IpAddr::V4(Ipv4Addr::new(127, 0, 1, (number % 200) as u8 + 1));
    let peer = connect_from(Some(source), listener.local_addr().unwrap(), PATIENCE).unwrap();
    (listener.accept().unwrap().0.into(), peer)
}
