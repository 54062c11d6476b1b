//! A network that loses, doubles and reorders: whatever state it leaves, both sides find together again.

use core::time::Duration;

use towline_wire::wireguard::INITIATION;

use super::net::{Net, Seeded};

#[test]
fn nobody_is_deaf_after_a_storm() {
    for seed in 0..6 {
        let mut net = Net::mesh(2, seed);
        let mut loss = Seeded(1000 + seed);
        net.passes = Box::new(move |_| loss.next() % 100 >= 30);
        net.disorder = Some(Seeded(2000 + seed));
        let mut sent = 0;
        for _ in 0..2000 {
            net.send(0, 1, 100);
            net.send(1, 0, 100);
            sent += 1;
            net.run_ms(300);
        }
        let received = [0, 1].map(|at| net.received(at));
        assert!(
            received.iter().all(|it| *it > sent / 2),
            "{received:?} of {sent}"
        );
        let handshakes = net.sent(INITIATION);
        assert!(handshakes < 40, "{handshakes} in 600 s");

        net.passes = Box::new(|_| true);
        net.run(Duration::from_secs(6));
        let before = [0, 1].map(|at| net.received(at));
        for _ in 0..1000 {
            net.send(0, 1, 100);
            net.send(1, 0, 100);
            net.run_ms(300);
        }
        net.run_ms(100);
        let after = [0, 1].map(|at| net.received(at));
        for at in [0, 1] {
            assert_eq!(after[at] - before[at], 1000, "seed {seed}");
        }
    }
}

#[test]
fn no_packet_is_taken_twice_in_disorder() {
    let mut net = Net::mesh(2, 9);
    net.disorder = Some(Seeded(9));
    for len in 100..1100 {
        net.send(0, 1, len);
        net.run_ms(1);
    }
    net.run_ms(100);
    let mut lens: Vec<usize> = net.nodes[1].received.iter().map(Vec::len).collect();
    lens.sort_unstable();
    assert_eq!(lens, (100..1100).collect::<Vec<_>>());
}
