//! The end of a socket: by us, by the peer, by force; and what must be left over, which is nothing.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;
use support::{check, fill, on_every_driver, pair, run, run_for, tight};
use towline_io::Completion;

on_every_driver!(
    an_idle_socket_closes_at_once,
    nothing_but_closed_is_reported_after_close,
    what_was_sent_before_close_arrives,
    a_send_after_close_is_ignored,
    an_old_id_harms_nobody,
    the_end_of_a_peer_comes_after_its_bytes,
    a_half_closed_peer_can_still_be_sent_to,
    a_reset_ends_a_socket_with_an_error,
    a_blocked_sender_learns_of_a_reset,
    sockets_over_the_limit_are_refused,
    a_driver_with_work_in_flight_can_be_dropped,
);

fn an_idle_socket_closes_at_once(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, mut peer) = pair();
    let id = driver.add(ours, 7).unwrap();
    assert!(run_for(&mut driver, Duration::from_millis(10)).is_empty());
    driver.close(id);
    run(&mut driver, |_, completion| {
        matches!(completion, Completion::Closed { token: 7 })
    });
    assert_eq!(driver.sockets(), 0);
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
}

fn nothing_but_closed_is_reported_after_close(way: support::Way) {
    for round in 0..50 {
        let mut driver = way.open(tight());
        let (ours, mut peer) = pair();
        let id = driver.add(ours, round).unwrap();
        let mut out = Vec::new();
        // At different moments: before the receive is armed, while it is, with bytes there.
        if round % 3 > 0 {
            driver.wait(Some(Duration::ZERO), &mut out).unwrap();
        }
        peer.write_all(&[1; 10_000]).unwrap();
        driver.notify_writable(id);
        if round % 2 > 0 {
            driver.pause_recv(id);
        }
        driver.close(id);
        driver.close(id);
        for completion in out.drain(..) {
            if let Completion::Received { buf, .. } = completion {
                driver.recycle(buf);
            }
        }
        let seen = run_for(&mut driver, Duration::from_millis(5));
        assert!(matches!(seen[..], [Completion::Closed { .. }]), "{seen:?}");
        assert_eq!(driver.stats().stale_completions, 0);
    }
}

fn what_was_sent_before_close_arrives(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, mut peer) = pair();
    let id = driver.add(ours, 1).unwrap();
    let buf = driver.send_buffer().unwrap();
    fill(1, 0, driver.send_bytes_mut(&buf));
    driver.send(id, buf, 16_000);
    driver.close(id);
    let mut seen = Vec::new();
    run(&mut driver, |driver, completion| match completion {
        Completion::Sent { result, buf, .. } => {
            driver.recycle_send(buf);
            seen.push(result.unwrap());
            false
        }
        Completion::Closed { token: 1 } => true,
        other => panic!("{other:?}"),
    });
    assert_eq!(seen, [16_000]);
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).unwrap();
    assert_eq!(bytes.len(), 16_000);
    check(1, 0, &bytes);
}

fn a_send_after_close_is_ignored(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, mut peer) = pair();
    let id = driver.add(ours, 1).unwrap();
    run_for(&mut driver, Duration::from_millis(1));
    driver.close(id);
    for _ in 0..10 {
        let buf = driver
            .send_buffer()
            .expect("the ignored ones are free again");
        driver.send(id, buf, 10);
    }
    let seen = run_for(&mut driver, Duration::from_millis(10));
    assert!(matches!(seen[..], [Completion::Closed { .. }]), "{seen:?}");
    assert_eq!(driver.stats().stale_calls, 10);
    assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0);
}

fn an_old_id_harms_nobody(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, _peer) = pair();
    let old = driver.add(ours, 1).unwrap();
    driver.close(old);
    run(&mut driver, |_, completion| {
        matches!(completion, Completion::Closed { .. })
    });
    let (ours, mut peer) = pair();
    let new = driver.add(ours, 2).unwrap();
    assert_ne!(old, new);
    driver.pause_recv(old);
    driver.notify_writable(old);
    driver.close(old);
    let buf = driver.send_buffer().unwrap();
    driver.send(old, buf, 3);
    peer.write_all(b"hello").unwrap();
    run(&mut driver, |driver, completion| match completion {
        Completion::Received { token: 2, buf } => {
            driver.recycle(buf);
            true
        }
        other => panic!("{other:?}"),
    });
    assert_eq!(driver.stats().stale_calls, 4);
    let all: Vec<_> = std::iter::from_fn(|| driver.send_buffer()).collect();
    assert_eq!(all.len(), 4, "the refused send buffer is free again");
    all.into_iter().for_each(|buf| driver.recycle_send(buf));
}

fn the_end_of_a_peer_comes_after_its_bytes(way: support::Way) {
    let mut driver = way.open(tight());
    for round in 0..100 {
        let (ours, mut peer) = pair();
        let id = driver.add(ours, round).unwrap();
        peer.write_all(&[5; 9000]).unwrap();
        drop(peer);
        let mut len = 0;
        run(&mut driver, |driver, completion| match completion {
            Completion::Received { buf, .. } => {
                len += buf.len();
                driver.recycle(buf);
                false
            }
            Completion::Ended { token, error: None } => token == round,
            other => panic!("{other:?}"),
        });
        assert_eq!(len, 9000);
        driver.close(id);
        run(&mut driver, |_, completion| {
            matches!(completion, Completion::Closed { .. })
        });
    }
    assert_eq!(driver.stats().stale_completions, 0);
}

fn a_half_closed_peer_can_still_be_sent_to(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, mut peer) = pair();
    let id = driver.add(ours, 1).unwrap();
    peer.shutdown(Shutdown::Write).unwrap();
    run(&mut driver, |_, completion| {
        matches!(completion, Completion::Ended { error: None, .. })
    });
    // The end is told once, however often the socket is paused and resumed.
    driver.pause_recv(id);
    driver.resume_recv(id);
    assert!(run_for(&mut driver, Duration::from_millis(10)).is_empty());
    let buf = driver.send_buffer().unwrap();
    driver.send_bytes_mut(&buf)[..4].copy_from_slice(b"last");
    driver.send(id, buf, 4);
    run(&mut driver, |driver, completion| match completion {
        Completion::Sent { result, buf, .. } => {
            driver.recycle_send(buf);
            result.unwrap() == 4
        }
        other => panic!("{other:?}"),
    });
    let mut bytes = [0; 4];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"last");
}

fn a_reset_ends_a_socket_with_an_error(way: support::Way) {
    let mut driver = way.open(tight());
    for round in 0..20 {
        let (ours, peer) = pair();
        let id = driver.add(ours, round).unwrap();
        run_for(&mut driver, Duration::from_millis(1));
        SockRef::from(&peer)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(peer);
        run(&mut driver, |_, completion| match completion {
            Completion::Ended {
                error: Some(error), ..
            } => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset);
                true
            }
            other => panic!("{other:?}"),
        });
        let buf = driver.send_buffer().unwrap();
        driver.send(id, buf, 100);
        run(&mut driver, |driver, completion| match completion {
            Completion::Sent { result, buf, .. } => {
                driver.recycle_send(buf);
                result.unwrap_err();
                true
            }
            other => panic!("{other:?}"),
        });
        driver.close(id);
        run(&mut driver, |_, completion| {
            matches!(completion, Completion::Closed { .. })
        });
    }
}

fn a_blocked_sender_learns_of_a_reset(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, peer) = pair();
    let id = driver.add(ours, 1).unwrap();
    driver.pause_recv(id);
    let send = |driver: &mut towline_io::Driver| loop {
        let buf = driver.send_buffer().unwrap();
        driver.send(id, buf, 16 << 10);
        let mut answer = None;
        run(driver, |driver, completion| match completion {
            Completion::Sent { result, buf, .. } => {
                driver.recycle_send(buf);
                answer = Some(result);
                true
            }
            other => panic!("{other:?}"),
        });
        if let Some(Err(error)) = answer {
            return error.kind();
        }
    };
    assert_eq!(send(&mut driver), ErrorKind::WouldBlock);
    driver.notify_writable(id);
    SockRef::from(&peer)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    drop(peer);
    run(&mut driver, |_, completion| {
        matches!(completion, Completion::Writable { .. })
    });
    assert_ne!(send(&mut driver), ErrorKind::WouldBlock);
}

fn sockets_over_the_limit_are_refused(way: support::Way) {
    let mut driver = way.open(towline_io::DriverConfig {
        sockets_max: 2,
        ..tight()
    });
    let (first, _peer1) = pair();
    let (second, _peer2) = pair();
    let (third, mut peer3) = pair();
    let first = driver.add(first, 1).unwrap();
    driver.add(second, 2).unwrap();
    assert_eq!(
        driver.add(third, 3).unwrap_err().kind(),
        ErrorKind::QuotaExceeded
    );
    assert_eq!(
        peer3.read(&mut [0; 1]).unwrap(),
        0,
        "the refused socket is closed"
    );
    driver.close(first);
    run(&mut driver, |_, completion| {
        matches!(completion, Completion::Closed { .. })
    });
    driver.add(pair().0, 4).unwrap();
}

fn a_driver_with_work_in_flight_can_be_dropped(way: support::Way) {
    let mut driver = way.open(tight());
    let mut peers = Vec::new();
    for token in 0..50 {
        let (ours, mut peer) = pair();
        let id = driver.add(ours, token).unwrap();
        if token % 2 == 0 {
            peer.write_all(&[3; 5000]).unwrap();
        }
        if token % 3 == 0 {
            driver.notify_writable(id);
        }
        peers.push(peer);
    }
    let mut out = Vec::new();
    driver
        .wait(Some(Duration::from_millis(1)), &mut out)
        .unwrap();
    drop(driver);
    for mut peer in peers {
        // An end, or a reset because bytes were not read.
        let end = peer.read(&mut [0; 1]);
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }
}
