//! What happens when one side does not keep up: full sockets, paused sockets, no free buffers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use support::{check, fill, on_every_driver, pair, run, run_for, tight};
use towline_io::socket::ConnectionOptions;
use towline_io::{
    Completion, Driver, DriverConfig, DriverKind, Features, MEASURED_BYTES, SocketId,
};

on_every_driver!(
    a_slow_reader_blocks_and_unblocks_its_sender,
    a_low_water_mark_counts_as_full,
    room_is_reported_once_for_each_question,
    a_second_send_at_the_same_time_is_refused,
    sends_can_follow_each_other_before_anything_is_received,
    the_rest_of_a_short_send_can_follow,
    a_paused_socket_receives_nothing_until_resumed,
    pausing_and_resuming_many_times_loses_nothing,
    receives_go_on_after_all_buffers_were_held,
    held_buffers_keep_their_bytes,
    little_more_comes_of_a_measured_socket_that_is_paused,
);

fn a_slow_reader_blocks_and_unblocks_its_sender(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, mut peer) = pair();
    let id = driver.add(ours, 1).unwrap();
    let mut sent = fill_up(&mut driver, id, 0);
    let mut read = 0;
    for _ in 0..5 {
        driver.notify_writable(id);
        let early = run_for(&mut driver, Duration::from_millis(20));
        assert!(early.is_empty(), "room in a full socket: {early:?}");
        while read < sent {
            let mut bytes = vec![0; (sent - read).min(100_000) as usize];
            peer.read_exact(&mut bytes).unwrap();
            check(0, read, &bytes);
            read += bytes.len() as u64;
        }
        run(&mut driver, |_, completion| {
            matches!(completion, Completion::Writable { token: 1 })
        });
        sent = fill_up(&mut driver, id, sent);
    }
    assert!(driver.stats().send_blocked >= 6);
}

fn a_low_water_mark_counts_as_full(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, mut peer) = pair();
    let options = ConnectionOptions {
        notsent_lowat: Some(32 << 10),
        ..ConnectionOptions::default()
    };
    options.set(&ours).unwrap();
    let id = driver.add(ours, 1).unwrap();
    let (other, _idle_peer) = pair();
    let other = driver.add(other, 1).unwrap();
    let plain = fill_up(&mut driver, other, 0);
    let sent = fill_up(&mut driver, id, 0);
    assert!(sent < plain, "{sent} bytes with the mark, {plain} without");
    driver.notify_writable(id);
    let reader = std::thread::spawn(move || {
        let mut bytes = vec![0; sent as usize];
        peer.read_exact(&mut bytes).unwrap();
        check(0, 0, &bytes);
        peer
    });
    run(&mut driver, |_, completion| {
        matches!(completion, Completion::Writable { token: 1 })
    });
    drop(reader.join().unwrap());
}

/// Sends until the socket is full. Gives the place in the stream that was reached.
fn fill_up(driver: &mut Driver, id: SocketId, from: u64) -> u64 {
    let mut at = fill_once(driver, id, from);
    loop {
        // What the kernel has still to move to the reader's side makes room again.
        std::thread::sleep(Duration::from_millis(20));
        let filled = fill_once(driver, id, at);
        if filled == at {
            return at;
        }
        at = filled;
    }
}

fn fill_once(driver: &mut Driver, id: SocketId, from: u64) -> u64 {
    let mut at = from;
    send_at(driver, id, at);
    run(driver, |driver, completion| {
        let Completion::Sent {
            token: 1,
            result,
            buf,
        } = completion
        else {
            panic!("{completion:?}");
        };
        driver.recycle_send(buf);
        match result {
            Ok(len) => {
                at += len as u64;
                send_at(driver, id, at);
                false
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                true
            }
        }
    });
    at
}

fn send_at(driver: &mut Driver, id: SocketId, at: u64) {
    let buf = driver.send_buffer().unwrap();
    fill(0, at, driver.send_bytes_mut(&buf));
    let len = driver.send_bytes_mut(&buf).len();
    driver.send(id, buf, len);
}

fn room_is_reported_once_for_each_question(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, _peer) = pair();
    let id = driver.add(ours, 1).unwrap();
    assert!(run_for(&mut driver, Duration::from_millis(10)).is_empty());
    for _ in 0..3 {
        driver.notify_writable(id);
        driver.notify_writable(id);
        let seen = run_for(&mut driver, Duration::from_millis(10));
        assert!(
            matches!(seen[..], [Completion::Writable { token: 1 }]),
            "{seen:?}"
        );
    }
}

fn a_second_send_at_the_same_time_is_refused(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, mut peer) = pair();
    let id = driver.add(ours, 1).unwrap();
    let (first, second) = (driver.send_buffer().unwrap(), driver.send_buffer().unwrap());
    driver.send_bytes_mut(&first)[..5].copy_from_slice(b"first");
    driver.send(id, first, 5);
    driver.send(id, second, 5);
    let mut results = Vec::new();
    run(&mut driver, |driver, completion| {
        let Completion::Sent { result, buf, .. } = completion else {
            panic!("{completion:?}")
        };
        driver.recycle_send(buf);
        results.push(result.map_err(|error| error.kind()));
        results.len() == 2
    });
    results.sort_by_key(Result::is_err);
    assert_eq!(results, [Ok(5), Err(ErrorKind::InvalidInput)]);
    let mut bytes = [0; 5];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"first");
}

fn sends_can_follow_each_other_before_anything_is_received(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, mut peer) = pair();
    let id = driver.add(ours, 1).unwrap();
    assert!(run_for(&mut driver, Duration::from_millis(10)).is_empty());
    peer.write_all(b"for later").unwrap();
    let mut received = 0;
    let mut out = Vec::new();
    for part in 0..3_u8 {
        let buf = driver.send_buffer().unwrap();
        driver.send_bytes_mut(&buf)[0] = part;
        driver.send(id, buf, 1);
        driver.flush(&mut out).unwrap();
        let mut sent = 0;
        for completion in out.drain(..) {
            match completion {
                Completion::Sent { result, buf, .. } => {
                    sent += result.unwrap();
                    driver.recycle_send(buf);
                }
                Completion::Received { buf, .. } => {
                    received += buf.len();
                    driver.recycle(buf);
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(sent, 1, "a send that was flushed is complete");
    }
    if driver.features().contains(Features::DEFER_TASKRUN) || driver.kind() == DriverKind::Epoll {
        assert_eq!(received, 0);
    }
    let mut bytes = [0; 3];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(bytes, [0, 1, 2]);
    while received < b"for later".len() {
        run(&mut driver, |driver, completion| {
            if let Completion::Received { buf, .. } = completion {
                received += buf.len();
                driver.recycle(buf);
            }
            true
        });
    }
}

fn the_rest_of_a_short_send_can_follow(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, mut peer) = pair();
    let id = driver.add(ours, 1).unwrap();
    let buf = driver.send_buffer().unwrap();
    driver.send_bytes_mut(&buf)[..8].copy_from_slice(b"headtail");
    driver.send(id, buf, 4);
    let mut sends = 0;
    run(&mut driver, |driver, completion| {
        let Completion::Sent { result, buf, .. } = completion else {
            panic!("{completion:?}")
        };
        assert_eq!(result.unwrap(), 4);
        sends += 1;
        if sends == 1 {
            driver.send_from(id, buf, 4, 4);
        } else {
            driver.recycle_send(buf);
        }
        sends == 2
    });
    let mut bytes = [0; 8];
    peer.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"headtail");
}

fn a_paused_socket_receives_nothing_until_resumed(way: support::Way) {
    let mut driver = way.open(tight());
    let (ours, mut peer) = pair();
    let id = driver.add(ours, 1).unwrap();
    driver.pause_recv(id);
    assert!(run_for(&mut driver, Duration::from_millis(10)).is_empty());
    peer.write_all(b"later").unwrap();
    drop(peer);
    let early = run_for(&mut driver, Duration::from_millis(30));
    assert!(early.is_empty(), "{early:?}");
    driver.resume_recv(id);
    let mut bytes = Vec::new();
    run(&mut driver, |driver, completion| match completion {
        Completion::Received { buf, .. } => {
            bytes.extend_from_slice(driver.recv_bytes(&buf));
            driver.recycle(buf);
            false
        }
        Completion::Ended { error: None, .. } => true,
        other => panic!("{other:?}"),
    });
    assert_eq!(bytes, b"later");
}

fn pausing_and_resuming_many_times_loses_nothing(way: support::Way) {
    const LEN: u64 = 1 << 20;
    let mut driver = way.open(tight());
    let (ours, mut peer) = pair();
    let id = driver.add(ours, 1).unwrap();
    let writer = std::thread::spawn(move || {
        let mut bytes = vec![0; LEN as usize];
        fill(1, 0, &mut bytes);
        peer.write_all(&bytes).unwrap();
        peer
    });
    let (mut received, mut turn) = (0, 0);
    let mut out = Vec::new();
    while received < LEN {
        turn += 1;
        assert!(turn < 1_000_000, "stuck at {received}");
        match turn % 5 {
            0 => driver.pause_recv(id),
            1 => driver.resume_recv(id),
            2 => {
                driver.resume_recv(id);
                driver.pause_recv(id);
            }
            3 => {
                driver.pause_recv(id);
                driver.resume_recv(id);
            }
            _ => {}
        }
        driver
            .wait(Some(Duration::from_micros(200)), &mut out)
            .unwrap();
        for completion in out.drain(..) {
            let Completion::Received { token: 1, buf } = completion else {
                panic!("{completion:?}");
            };
            check(1, received, driver.recv_bytes(&buf));
            received += buf.len() as u64;
            driver.recycle(buf);
        }
    }
    drop(writer.join().unwrap());
}

fn receives_go_on_after_all_buffers_were_held(way: support::Way) {
    const SOCKETS: u64 = 40;
    const LEN: u64 = 20_000;
    let mut driver = way.open(tight());
    let mut peers = Vec::new();
    for token in 0..SOCKETS {
        let (ours, mut peer) = pair();
        let mut bytes = vec![0; LEN as usize];
        fill(token, 0, &mut bytes);
        peer.write_all(&bytes).unwrap();
        driver.add(ours, token).unwrap();
        peers.push(peer);
    }
    let mut received = vec![0; SOCKETS as usize];
    let mut rounds = 0;
    while received.iter().any(|len| *len < LEN) {
        // Holds whatever comes until nothing more does, then gives all of it back.
        let held = run_for(&mut driver, Duration::from_millis(5));
        rounds += 1;
        assert!(rounds < 2000, "stuck: {:?}", driver.stats());
        for completion in held {
            let Completion::Received { token, buf } = completion else {
                panic!("{completion:?}")
            };
            let at = &mut received[token as usize];
            check(token, *at, driver.recv_bytes(&buf));
            *at += buf.len() as u64;
            driver.recycle(buf);
        }
    }
    assert!(
        driver.stats().recv_starved > 0,
        "the buffers were never all held"
    );
}

fn held_buffers_keep_their_bytes(way: support::Way) {
    let config = DriverConfig {
        recv_buffers: 64,
        ..tight()
    };
    let mut driver = way.open(config);
    let (ours, mut peer) = pair();
    driver.add(ours, 1).unwrap();
    let mut held = Vec::new();
    for round in 0..30 {
        let mut bytes = [0; 1000];
        fill(1, round * 1000, &mut bytes);
        peer.write_all(&bytes).unwrap();
        let mut len = 0;
        run(&mut driver, |_, completion| {
            let Completion::Received { buf, .. } = completion else {
                panic!("{completion:?}")
            };
            len += buf.len();
            held.push(buf);
            len == 1000
        });
    }
    let mut at = 0;
    for buf in &held {
        check(1, at, driver.received().bytes(buf));
        at += buf.len() as u64;
    }
    // A send buffer can be written from all of them at once.
    let out = driver.send_buffer().unwrap();
    let (bytes, received) = driver.send_bytes_and_received(&out);
    let gathered = held.iter().flat_map(|buf| received.bytes(buf));
    bytes
        .iter_mut()
        .zip(gathered)
        .for_each(|(to, from)| *to = *from);
    check(1, 0, &bytes[..16_000]);
    driver.recycle_send(out);
    for buf in held {
        driver.recycle(buf);
    }
}

/// A pause of a measured socket holds although its peer pushes all the while.
fn little_more_comes_of_a_measured_socket_that_is_paused(way: support::Way) {
    let mut driver = way.open(DriverConfig::default());
    let (ours, mut peer) = pair();
    let total = 8 << 20;
    let writer = std::thread::spawn(move || {
        let mut bytes = vec![0; total];
        fill(1, 0, &mut bytes);
        peer.write_all(&bytes).unwrap();
        peer
    });
    // The peer has its bytes in the socket before the first receive is armed.
    std::thread::sleep(Duration::from_millis(100));
    let id = driver.add_measured(ours, 1).unwrap();
    let mut heard = 0;
    let mut pauses = 0;
    let mut out = Vec::new();
    while heard < total {
        driver.resume_recv(id);
        let before = heard;
        let mut is_quiet = false;
        while !is_quiet {
            driver
                .wait(Some(Duration::from_millis(10)), &mut out)
                .unwrap();
            is_quiet = out.is_empty() && heard > before;
            for completion in out.drain(..) {
                let Completion::Received { buf, .. } = completion else {
                    panic!("{completion:?}");
                };
                check(1, heard as u64, driver.recv_bytes(&buf));
                heard += buf.len();
                driver.recycle(buf);
                driver.pause_recv(id);
            }
        }
        // The receive that was handled, and at most one that was on its way.
        assert!(
            heard - before <= 2 * MEASURED_BYTES as usize,
            "{}",
            heard - before
        );
        pauses += 1;
    }
    assert!(pauses >= total / (2 * MEASURED_BYTES as usize));
    writer.join().unwrap();
}
