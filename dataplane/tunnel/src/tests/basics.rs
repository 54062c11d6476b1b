//! Packets both ways.

use super::net::{Net, packet};

#[test]
fn a_packet_begins_a_handshake_and_follows_it() {
    let mut net = Net::mesh(2, 1);
    net.send(0, 1, 100);
    net.run_ms(10);
    let expected = packet(net.nodes[0].inner, net.nodes[1].inner, 100);
    assert_eq!(net.nodes[1].received, [expected]);
    net.send(1, 0, 1400);
    net.run_ms(10);
    assert_eq!(net.received(0), 1);
    assert_eq!((net.sent(1), net.sent(2)), (1, 1), "one handshake");
    assert_eq!(
        net.keepalives(),
        0,
        "the staged packet confirmed the session"
    );
}
