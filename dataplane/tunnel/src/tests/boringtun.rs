//! The other implementation as the peer: both roles, data both ways, and a new handshake from either side.

use core::time::Duration;

use boringtun::noise::{Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use towline_wire::wireguard::{INITIATION, RESPONSE};

use super::net::{Net, packet, private};
use crate::{Effect, PresharedKey};

/// Ours at place 0; the other one has the identity of place 1.
struct Mixed {
    net: Net,
    tunn: Tunn,
    received: usize,
}

impl Mixed {
    fn new(seed: u64) -> Self {
        let mut net = Net::mesh(2, seed);
        let peer = net.peer(0, 1);
        let key = PresharedKey::from_bytes([8; 32]);
        net.nodes[0].tunnel.set_preshared_key(peer, Some(key));
        let secret = StaticSecret::from(*private(1).as_bytes());
        let ours = PublicKey::from(net.nodes[0].key.0);
        Self {
            net,
            tunn: Tunn::new(secret, ours, Some([8; 32]), None, 5, None),
            received: 0,
        }
    }

    /// Hands over what either side sends until both are silent.
    fn exchange(&mut self) {
        while let Some(flying) = self.net.wire.pop_front() {
            let mut out = [0; 2048];
            let mut datagram = flying.bytes;
            loop {
                let answer = match self.tunn.decapsulate(None, &datagram, &mut out) {
                    TunnResult::WriteToNetwork(answer) => answer.to_vec(),
                    TunnResult::WriteToTunnelV4(..) => {
                        self.received += 1;
                        break;
                    }
                    TunnResult::Done => break,
                    other => panic!("{other:?}"),
                };
                self.deliver(&answer);
                datagram = Vec::new();
            }
        }
    }

    fn deliver(&mut self, datagram: &[u8]) {
        let from = self.net.nodes[1].address;
        self.net.deliver(0, from, datagram, datagram.len());
    }

    /// The other side sends a packet.
    fn reply(&mut self, len: usize) {
        let packet = packet(self.net.nodes[1].inner, self.net.nodes[0].inner, len);
        let mut out = [0; 2048];
        if let TunnResult::WriteToNetwork(sent) = self.tunn.encapsulate(&packet, &mut out) {
            let sent = sent.to_vec();
            self.deliver(&sent);
        }
        self.exchange();
    }

    fn send(&mut self, len: usize) {
        self.net.send(0, 1, len);
        self.exchange();
    }
}

#[test]
fn as_initiator_with_data_both_ways_and_a_rekey() {
    let mut mixed = Mixed::new(1);
    mixed.send(100);
    assert_eq!(mixed.net.sent(INITIATION), 1);
    mixed.reply(77);
    assert_eq!((mixed.received, mixed.net.received(0)), (1, 1));
    for round in 2..5 {
        mixed.net.now += Duration::from_secs(121);
        mixed.send(1000);
        assert_eq!(mixed.net.sent(INITIATION), round);
        mixed.send(1001);
        mixed.reply(1002);
        mixed.reply(1003);
    }
    assert_eq!((mixed.received, mixed.net.received(0)), (7, 7));
}

#[test]
fn as_responder_with_data_both_ways_and_a_rekey() {
    let mut mixed = Mixed::new(2);
    mixed.reply(100);
    assert_eq!(mixed.net.sent(RESPONSE), 1);
    mixed.send(200);
    assert_eq!((mixed.received, mixed.net.received(0)), (1, 1));
    for round in 2..5 {
        mixed.net.now += Duration::from_secs(10);
        // Its timestamps are those of the real clock, cut to 17 ms by nobody.
        let mut out = [0; 200];
        let begun = mixed.tunn.format_handshake_initiation(&mut out, true);
        let TunnResult::WriteToNetwork(initiation) = begun else {
            panic!("an initiation");
        };
        let initiation = initiation.to_vec();
        mixed.deliver(&initiation);
        mixed.exchange();
        assert_eq!(mixed.net.sent(RESPONSE), round);
        mixed.reply(300);
        mixed.send(301);
    }
    assert_eq!((mixed.received, mixed.net.received(0)), (4, 4));
}

#[test]
fn its_packets_without_padding_are_taken() {
    let mut mixed = Mixed::new(3);
    mixed.send(100);
    for len in 20..60 {
        mixed.reply(len);
    }
    let lens: Vec<usize> = mixed.net.nodes[0].received.iter().map(Vec::len).collect();
    assert_eq!(lens, (20..60).collect::<Vec<_>>());
    assert!(!matches!(
        mixed.net.nodes[0].tunnel.poll_effect(),
        Some(Effect::Send { .. })
    ));
}
