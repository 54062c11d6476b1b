//! Buffers that are handed to a driver they are not of.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{Read, Write};

use support::{on_every_driver, pair, run, tight};
use towline_io::{Completion, Driver, RecvBuf};

on_every_driver!(a_buffer_of_another_driver_touches_nothing);

/// Receives `bytes` and holds on to them.
fn hold(driver: &mut Driver, bytes: &[u8]) -> RecvBuf {
    let (ours, mut peer) = pair();
    driver.add(ours, 1).unwrap();
    peer.write_all(bytes).unwrap();
    let mut held = None;
    run(driver, |_, completion| {
        if let Completion::Received { buf, .. } = completion {
            held = Some(buf);
        }
        held.is_some()
    });
    held.unwrap()
}

fn a_buffer_of_another_driver_touches_nothing(way: support::Way) {
    let (mut here, mut there) = (way.open(tight()), way.open(tight()));
    let (ours, mut peer) = pair();
    let id = there.add(ours, 2).unwrap();
    let kept = hold(&mut there, b"kept");
    let foreign = hold(&mut here, b"foreign");
    assert!(there.recv_bytes(&foreign).is_empty());
    assert!(there.received().bytes(&foreign).is_empty());
    there.recycle(foreign);
    let foreign = here.send_buffer().unwrap();
    assert!(there.send_bytes_mut(&foreign).is_empty());
    there.send(id, foreign, 5);
    there.recycle_send(here.send_buffer().unwrap());
    assert_eq!(there.stats().foreign_buffers, 3);

    // Its own buffers are what they were.
    assert_eq!(there.recv_bytes(&kept), b"kept");
    there.recycle(kept);
    let all: Vec<_> = std::iter::from_fn(|| there.send_buffer()).collect();
    assert_eq!(all.len(), usize::from(tight().send_buffers));
    for (n, buf) in all.into_iter().enumerate() {
        if n > 0 {
            there.recycle_send(buf);
            continue;
        }
        there.send_bytes_mut(&buf)[..3].copy_from_slice(b"own");
        there.send(id, buf, 3);
    }
    let mut got = [0; 3];
    run(&mut there, |driver, completion| match completion {
        Completion::Sent { result, buf, .. } => {
            assert_eq!(result.unwrap(), 3);
            driver.recycle_send(buf);
            true
        }
        _ => false,
    });
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"own");
    assert_eq!(there.stats().foreign_buffers, 3);
}
