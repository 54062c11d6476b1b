//! A flood of initiations leaves room for others.

use core::net::SocketAddr;
use core::time::Duration;

use towline_wire::Time;
use towline_wire::limits::{HANDSHAKES_BURST, HANDSHAKES_PER_SECOND};
use towline_wire::wireguard::INITIATION_LEN;

use super::net::{Net, Seeded};
use crate::Entropy;
use crate::cookie::{Jar, MacKeys};

/// An initiation by somebody who knows our public key and nothing else.
fn junk(keys: &MacKeys, random: &mut Seeded, now: Time) -> Vec<u8> {
    let mut message = vec![0; INITIATION_LEN];
    random.fill(&mut message[4..INITIATION_LEN - 32]);
    message[0] = 1;
    Jar::default().complete(keys, &mut message, now);
    message
}

/// `per_ms` initiations each millisecond, from as many addresses as there are datagrams.
fn flood(net: &mut Net, random: &mut Seeded, per_ms: usize, ms: u16) {
    let keys = MacKeys::new(&net.nodes[1].key);
    for step in 0..ms {
        for _ in 0..per_ms {
            let from = random.next().to_le_bytes();
            let from = SocketAddr::from(([100, from[0], from[1], from[2]], 1 + step));
            let message = junk(&keys, random, net.now);
            net.deliver(1, from, &message, message.len());
        }
        // What goes to addresses that nobody has is lost.
        net.wire.retain(|it| it.to.port() == 51820);
        net.send(0, 1, 100);
        net.run_ms(1);
    }
}

#[test]
fn twenty_thousand_junk_initiations_a_second_leave_others_working() {
    let mut net = Net::mesh(3, 1);
    net.send(0, 1, 100);
    net.run_ms(10);
    let mut random = Seeded(77);
    flood(&mut net, &mut random, 20, 1000);
    let stats = *net.nodes[1].tunnel.stats();
    assert!(stats.cookies_sent > 19_000, "{stats:?}");
    let worked = u64::from(HANDSHAKES_BURST + HANDSHAKES_PER_SECOND);
    assert!(stats.bad_handshake <= worked, "{stats:?}");

    // Somebody wants in: is asked for a cookie, and shows it when it tries again after 5 s.
    net.send(2, 1, 100);
    flood(&mut net, &mut random, 3, 5400);
    assert_eq!(net.nodes[2].tunnel.stats().cookies_received, 1);
    assert_eq!(net.nodes[2].tunnel.stats().responses_received, 1);
    assert_eq!(
        net.received(1),
        1 + 1000 + 5400 + 1,
        "established traffic and the new peer"
    );
}

#[test]
fn a_cookie_is_good_for_its_address_and_port_only_and_for_its_time() {
    let mut net = Net::mesh(2, 2);
    let mut random = Seeded(5);
    let now = net.now;
    let mut checker = crate::cookie::Checker::new(&net.nodes[1].key);
    let keys = MacKeys::new(&net.nodes[1].key);
    let from: SocketAddr = ([192, 0, 2, 1], 1000).into();
    let mut message = junk(&keys, &mut random, now);
    let mut jar = Jar::default();
    message[INITIATION_LEN - 32..].fill(0);
    jar.complete(&keys, &mut message, now);
    assert!(!checker.has_mac2(&message, &from, now));
    let reply = checker.reply(&message, 1, &from, now, &mut random).unwrap();
    let towline_wire::wireguard::Datagram::CookieReply(reply) =
        towline_wire::wireguard::parse(&reply).unwrap()
    else {
        panic!("a cookie reply");
    };
    assert!(jar.take(&keys, &reply, now));
    assert!(!jar.take(&keys, &reply, now), "it answers one message");
    jar.complete(&keys, &mut message, now);
    assert!(checker.has_mac1(&message) && checker.has_mac2(&message, &from, now));
    let port: SocketAddr = ([192, 0, 2, 1], 1001).into();
    let address: SocketAddr = ([192, 0, 2, 2], 1000).into();
    assert!(!checker.has_mac2(&message, &port, now));
    assert!(!checker.has_mac2(&message, &address, now));
    let later = now + Duration::from_secs(120);
    assert!(!checker.has_mac2(&message, &from, later));
    message[INITIATION_LEN - 16..].fill(0);
    jar.complete(&keys, &mut message, now + Duration::from_secs(115));
    assert_eq!(message[INITIATION_LEN - 16..], [0; 16], "too old to show");
    net.run_ms(1);
}
