//! A peer's endpoint follows what is authentic, and nothing else.

use core::net::SocketAddr;

use super::net::{Net, private};
use crate::cookie::Checker;
use crate::endpoint::Source;

fn elsewhere() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 4242))
}

fn endpoint_of(net: &Net, at: usize, of: usize) -> SocketAddr {
    let info = net.nodes[at].tunnel.info(net.peer(at, of)).unwrap();
    info.endpoint.unwrap().address
}

fn established(seed: u64) -> Net {
    let mut net = Net::mesh(2, seed);
    net.send(0, 1, 100);
    net.run_ms(10);
    net
}

#[test]
fn it_follows_data_and_keepalives() {
    for len in [100, 0] {
        let mut net = established(1);
        let peer = net.peer(0, 1);
        let mut slot = if len == 0 { vec![0; 32] } else { vec![0; 128] };
        let slot_bytes = slot.len();
        let now = net.now;
        net.nodes[0]
            .tunnel
            .seal_train(now, peer, &mut slot, slot_bytes)
            .unwrap();
        net.deliver(1, elsewhere(), &slot, slot_bytes);
        assert_eq!(endpoint_of(&net, 1, 0), elsewhere());
        let info = net.nodes[1].tunnel.info(net.peer(1, 0)).unwrap();
        let source = Source {
            address: net.nodes[1].address.ip(),
            interface: 1,
        };
        assert_eq!(info.endpoint.unwrap().source, Some(source));
        // A replay from yet another place changes nothing.
        net.deliver(1, ([203, 0, 113, 1], 1).into(), &slot, slot_bytes);
        assert_eq!(endpoint_of(&net, 1, 0), elsewhere());
    }
}

#[test]
fn it_follows_initiations_and_responses() {
    let mut net = Net::mesh(2, 2);
    net.send(0, 1, 100);
    let initiation = net.wire.pop_front().unwrap().bytes;
    net.deliver(1, elsewhere(), &initiation, initiation.len());
    assert_eq!(endpoint_of(&net, 1, 0), elsewhere());
    let response = net.wire.pop_front().unwrap();
    assert_eq!(
        response.to,
        elsewhere(),
        "the answer goes where it came from"
    );
    net.deliver(0, elsewhere(), &response.bytes, response.bytes.len());
    assert_eq!(endpoint_of(&net, 0, 1), elsewhere());
}

#[test]
fn it_does_not_follow_what_is_forged() {
    let mut net = established(3);
    let before = endpoint_of(&net, 1, 0);
    let data = net.log.iter().rfind(|it| it.bytes[0] == 4).unwrap();
    let mut data = data.bytes.clone();
    data[8] += 1;
    net.deliver(1, elsewhere(), &data, data.len());
    assert_eq!(net.nodes[1].tunnel.stats().forged, 1);
    assert_eq!(endpoint_of(&net, 1, 0), before);
}

#[test]
fn it_does_not_follow_a_cookie_reply() {
    let mut net = Net::mesh(2, 4);
    net.send(0, 1, 100);
    let initiation = net.wire.pop_front().unwrap().bytes;
    let sender = u32::from_le_bytes(initiation[4..8].try_into().unwrap());
    let mut checker = Checker::new(&private(1).public());
    let from = net.nodes[0].address;
    let now = net.now;
    let reply = checker.reply(&initiation, sender, &from, now, &mut super::net::Seeded(9));
    let reply = reply.unwrap();
    let before = endpoint_of(&net, 0, 1);
    net.deliver(0, elsewhere(), &reply, reply.len());
    assert_eq!(net.nodes[0].tunnel.stats().cookies_received, 1);
    assert_eq!(endpoint_of(&net, 0, 1), before);
}
