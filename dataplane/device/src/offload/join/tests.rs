//! What joins and what does not, and that nothing of a flow is lost, changed or overtaken.

use proptest::prelude::*;

use super::*;
use crate::offload::ip::Version;
use crate::offload::limits::{JOIN_TCP_SEGMENTS_MAX, JOIN_UDP_SEGMENTS_MAX, OPEN_JOINS_MAX};
use crate::offload::testing::{Packet, packets};

use Transport::{Tcp, Udp};
use Version::{V4, V6};

const ALL: [(Version, Transport); 4] = [(V4, Tcp), (V4, Udp), (V6, Tcp), (V6, Udp)];
const BOTH: JoinOffload = JoinOffload {
    tcp: true,
    udp: true,
};

/// Every write, as its bytes. Packets lie behind 100 bytes of their buffers.
fn joined(joiner: &mut Joiner, batch: &[Vec<u8>]) -> Vec<Vec<u8>> {
    for (buffer, packet) in batch.iter().enumerate() {
        joiner.add(packet, buffer as u32, 100);
    }
    let mut writes = Vec::new();
    joiner.flush(|header, pieces| {
        let mut bytes = header.to_vec();
        for piece in pieces {
            let start = piece.start as usize - 100;
            bytes.extend(&batch[piece.buffer as usize][start..start + piece.len as usize]);
        }
        writes.push(bytes);
    });
    assert!(joiner.is_empty());
    writes
}

/// How many packets each write holds.
fn sizes(batch: &[Packet]) -> Vec<usize> {
    let batch: Vec<_> = batch.iter().map(Packet::bytes).collect();
    let writes = joined(&mut Joiner::new(BOTH), &batch);
    let parts: Vec<_> = writes.iter().map(|write| packets(write).unwrap()).collect();
    let mut given = parts.concat();
    let mut sent = batch;
    given.sort();
    sent.sort();
    assert!(given == sent, "the packets are not those that came");
    parts.iter().map(Vec::len).collect()
}

/// So many packets of a flow, one after the other; sequence numbers wrap on the way.
fn train(version: Version, transport: Transport, count: usize, payload: usize) -> Vec<Packet> {
    let packet = |index: usize| {
        let mut packet = Packet::new(version, transport, payload);
        packet.id = index as u16;
        packet.sequence = (u32::MAX - 150).wrapping_add((index * payload) as u32);
        packet
    };
    (0..count).map(packet).collect()
}

#[test]
fn what_was_cut_is_joined_again() {
    for (version, transport) in ALL {
        for payload in [250, 300, 6000, 60_000] {
            let mut whole = Packet::new(version, transport, payload);
            whole.sequence = u32::MAX - 120;
            if transport == Tcp {
                whole.flags = 0x18;
                whole.tcp_options = vec![1, 1, 8, 10, 0, 0, 0, 7, 0, 0, 0, 9];
            }
            let whole = whole.super_packet(if payload > 300 { 1200 } else { 100 });
            let batch = packets(&whole).unwrap();
            assert_eq!(joined(&mut Joiner::new(BOTH), &batch), [whole]);
        }
    }
}

#[test]
fn a_packet_by_itself_is_not_touched() {
    for (version, transport) in ALL {
        // Its checksum is left to the kernel.
        let mut packet = Packet::new(version, transport, 30).bytes();
        *packet.last_mut().unwrap() ^= 1;
        let mut joiner = Joiner::new(BOTH);
        joiner.add(&packet, 7, 3);
        joiner.flush(|header, pieces| {
            assert_eq!(header, [0; VNET_HEADER_BYTES]);
            let len = packet.len() as u32;
            assert_eq!(
                pieces,
                [Piece {
                    buffer: 7,
                    start: 3,
                    len
                }]
            );
        });
    }
}

#[test]
fn what_the_device_does_not_take_is_not_joined() {
    for (version, transport) in ALL {
        let batch: Vec<_> = train(version, transport, 3, 100)
            .iter()
            .map(Packet::bytes)
            .collect();
        for offload in [
            JoinOffload {
                tcp: true,
                udp: false,
            },
            JoinOffload {
                tcp: false,
                udp: true,
            },
        ] {
            let expected = if offload.allows(transport) { 1 } else { 3 };
            assert_eq!(joined(&mut Joiner::new(offload), &batch).len(), expected);
        }
    }
}

#[test]
fn what_differs_does_not_join() {
    type Change = fn(&mut Packet);
    let anywhere: [Change; 6] = [
        |packet| packet.ttl -= 1,
        |packet| packet.traffic_class = 3,
        |packet| packet.source += 1,
        |packet| packet.payload.push(0),
        |packet| packet.payload.clear(),
        |packet| {
            packet.ip_options = match packet.version {
                V4 => vec![1; 4],
                V6 => vec![packet.transport.protocol(), 0, 1, 4, 0, 0, 0, 0],
            };
            packet.next_header = (packet.version == V6).then_some(60);
        },
    ];
    let v4: [Change; 3] = [
        |packet| packet.fragment = 0,
        |packet| packet.fragment = 0x2000,
        |packet| packet.fragment = 0x0001,
    ];
    let tcp: [Change; 11] = [
        |packet| packet.sequence += 1,
        |packet| packet.acknowledgement += 1,
        |packet| packet.window += 1,
        |packet| packet.tcp_options = vec![1; 4],
        |packet| packet.flags |= 0x01,
        |packet| packet.flags |= 0x02,
        |packet| packet.flags |= 0x04,
        |packet| packet.flags |= 0x20,
        |packet| packet.flags |= 0x40,
        |packet| packet.flags |= 0x80,
        |packet| packet.flags = 0,
    ];
    for (version, transport) in ALL {
        let changes = anywhere.iter();
        let changes = changes.chain(v4.iter().filter(|_| version == V4));
        let changes = changes.chain(tcp.iter().filter(|_| transport == Tcp));
        for (index, change) in changes.enumerate() {
            let mut batch = train(version, transport, 3, 100);
            change(&mut batch[2]);
            assert_eq!(sizes(&batch), [2, 1], "{version:?} {transport:?} {index}");
        }
    }
}

#[test]
fn ids_count_up_where_they_mean_something() {
    for (fragment, expected) in [(0, vec![2, 1]), (0x4000, vec![3])] {
        let mut batch = train(V4, Udp, 3, 100);
        batch
            .iter_mut()
            .for_each(|packet| packet.fragment = fragment);
        assert_eq!(sizes(&batch), [3]);
        batch[2].id = 9;
        let batch: Vec<_> = batch.iter().map(Packet::bytes).collect();
        let writes = joined(&mut Joiner::new(BOTH), &batch);
        let counts: Vec<_> = writes
            .iter()
            .map(|write| packets(write).unwrap().len())
            .collect();
        assert_eq!(counts, expected);
    }
}

#[test]
fn a_shorter_packet_or_a_push_ends_a_join() {
    for (version, transport) in ALL {
        let mut batch = train(version, transport, 5, 100);
        batch[2].payload.pop();
        for packet in &mut batch[3..] {
            packet.sequence -= 1;
        }
        assert_eq!(sizes(&batch), [3, 2]);
        if transport == Tcp {
            let mut batch = train(version, transport, 5, 100);
            batch[2].flags |= 0x08;
            assert_eq!(sizes(&batch), [3, 2]);
            batch[0].flags |= 0x08;
            assert_eq!(sizes(&batch), [1, 2, 2]);
        }
    }
}

#[test]
fn a_join_ends_where_a_packet_would_be_too_long() {
    for (version, transport) in ALL {
        let most = match transport {
            Tcp => JOIN_TCP_SEGMENTS_MAX,
            Udp => JOIN_UDP_SEGMENTS_MAX,
        };
        assert_eq!(sizes(&train(version, transport, most + 3, 10)), [most, 3]);
        // 65,535 bytes less headers, in payloads of 1300.
        assert_eq!(sizes(&train(version, transport, 60, 1300)), [50, 10]);
    }
}

#[test]
fn flows_that_alternate_join_each() {
    let mut batch = Vec::new();
    for index in 0..5 {
        for (version, transport) in ALL {
            for source in 1..4 {
                let mut packet = train(version, transport, 5, 100).remove(index);
                packet.source = source;
                batch.push(packet);
            }
        }
    }
    assert_eq!(sizes(&batch), [5; 12]);
}

#[test]
fn a_flow_whose_join_ends_leaves_the_others_open() {
    let mut batch = Vec::new();
    for index in 0..4 {
        for source in 1..=4 {
            let mut packet = train(V4, Tcp, 4, 100).remove(index);
            packet.source = source;
            if (index, source) == (1, 1) {
                packet.flags |= 0x08;
            }
            batch.push(packet);
        }
    }
    assert_eq!(sizes(&batch), [2, 4, 4, 4, 2]);
}

#[test]
fn more_flows_than_can_be_open_lose_nothing() {
    let flows = OPEN_JOINS_MAX + 5;
    let mut batch = Vec::new();
    for index in 0..4 {
        for source in 1..=flows {
            let mut packet = train(V6, Tcp, 4, 100).remove(index);
            packet.source = source as u8;
            batch.push(packet);
        }
    }
    let sizes = sizes(&batch);
    assert_eq!(sizes.iter().sum::<usize>(), 4 * flows);
}

#[test]
fn what_was_damaged_goes_as_it_came_and_joins_nothing() {
    for (version, transport) in ALL {
        for damaged in 0..3 {
            let mut batch: Vec<_> = train(version, transport, 3, 100)
                .iter()
                .map(Packet::bytes)
                .collect();
            *batch[damaged].last_mut().unwrap() ^= 1;
            let writes = joined(&mut Joiner::new(BOTH), &batch);
            let parts: Vec<_> = writes.iter().map(|write| packets(write).unwrap()).collect();
            let counts: Vec<_> = parts.iter().map(Vec::len).collect();
            assert_eq!(counts, [vec![1, 2], vec![1, 1, 1], vec![2, 1]][damaged]);
            assert_eq!(parts.concat(), batch);
        }
    }
}

#[test]
fn a_datagram_without_checksum_goes_by_itself() {
    let mut batch: Vec<_> = train(V4, Udp, 3, 100).iter().map(Packet::bytes).collect();
    batch[1][26..28].fill(0);
    assert_eq!(joined(&mut Joiner::new(BOTH), &batch).len(), 3);
}

#[test]
fn a_joiner_that_has_grown_allocates_nothing() {
    let batch: Vec<_> = train(V4, Tcp, 200, 100).iter().map(Packet::bytes).collect();
    let mut joiner = Joiner::new(BOTH);
    let capacities = |joiner: &Joiner| {
        (
            joiner.items.capacity(),
            joiner.pieces.0.capacity(),
            joiner.handed.capacity(),
        )
    };
    joined(&mut joiner, &batch);
    let before = capacities(&joiner);
    joined(&mut joiner, &batch);
    assert_eq!(capacities(&joiner), before);
}

/// What happens next in one of a few flows.
#[derive(Clone, Debug)]
enum Event {
    Data(usize),
    Push,
    Acknowledge,
    Finish,
    Gap,
    Window,
    Damage,
    Fragment,
    Options,
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        12 => prop::sample::select(vec![100, 100, 100, 60, 140]).prop_map(Event::Data),
        1 => Just(Event::Push),
        1 => Just(Event::Acknowledge),
        1 => Just(Event::Finish),
        1 => Just(Event::Gap),
        1 => Just(Event::Window),
        1 => Just(Event::Damage),
        1 => Just(Event::Fragment),
        1 => Just(Event::Options),
    ]
}

/// The packet of an event; `state` is the last one of its flow.
fn happen(state: &mut Packet, event: &Event) -> Vec<u8> {
    state.sequence = state.sequence.wrapping_add(state.payload.len() as u32);
    state.id = state.id.wrapping_add(1);
    state.payload = vec![state.id as u8; 100];
    let mut packet = state.clone();
    match event {
        Event::Data(len) => packet.payload = vec![state.id as u8; *len],
        Event::Push => packet.flags |= 0x08,
        Event::Acknowledge => packet.payload.clear(),
        Event::Finish => packet.flags |= 0x01,
        Event::Gap => packet.sequence = packet.sequence.wrapping_add(1),
        Event::Window => packet.window = packet.window.wrapping_add(1),
        Event::Damage => {}
        Event::Fragment => packet.fragment = 0x2000,
        Event::Options if packet.version == V4 => packet.ip_options = vec![1; 4],
        Event::Options => {
            packet.ip_options = vec![packet.transport.protocol(), 0, 1, 4, 0, 0, 0, 0];
            packet.next_header = Some(60);
        }
    }
    state.sequence = packet.sequence;
    state.window = packet.window;
    state.payload.clone_from(&packet.payload);
    let mut bytes = packet.bytes();
    if matches!(event, Event::Damage) {
        *bytes.last_mut().unwrap() ^= 1;
    }
    bytes
}

proptest! {
    /// Joins are cut again: then each flow has what was sent, byte for byte, in its order. A flow is told by its
    /// addresses here.
    #[test]
    fn no_flow_loses_or_reorders_anything(
        events in prop::collection::vec((0..6_usize, event()), 0..120),
        batch in 1..120_usize,
    ) {
        let mut flows: Vec<_> = (0..6).map(|flow| {
            let (version, transport) = ALL[flow % 4];
            let mut packet = Packet::new(version, transport, 0);
            packet.source = flow as u8;
            packet
        }).collect();
        let sent: Vec<_> = events.iter().map(|(flow, event)| happen(&mut flows[*flow], event)).collect();
        let mut joiner = Joiner::new(BOTH);
        let writes: Vec<_> = sent.chunks(batch).flat_map(|batch| joined(&mut joiner, batch)).collect();
        let given = writes.iter().flat_map(|write| packets(write).unwrap());
        let given: Vec<_> = given.collect();
        let source = |packet: &[u8]| if packet[0] >> 4 == 4 { packet[15] } else { packet[23] };
        for flow in 0..6 {
            let of_flow = |packet: &&Vec<u8>| source(packet) == flow;
            let sent: Vec<_> = sent.iter().filter(of_flow).collect();
            let given: Vec<_> = given.iter().filter(of_flow).collect();
            prop_assert_eq!(given, sent);
        }
    }

    #[test]
    fn no_bytes_panic(batch in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..100)), 0..8)) {
        let mut joiner = Joiner::new(BOTH);
        let batch: Vec<_> = batch.into_iter().map(|(v4, mut bytes)| {
            if let Some(first) = bytes.first_mut() {
                *first = if v4 { 0x45 } else { 0x60 };
            }
            bytes
        }).collect();
        // Nothing of them joins: each is written as it came.
        let writes = joined(&mut joiner, &batch);
        prop_assert!(writes.iter().map(|write| &write[VNET_HEADER_BYTES..]).eq(batch.iter().map(|packet| &packet[..])));
    }

    #[test]
    fn changed_packets_do_not_panic(
        flow in 0..4_usize, changes in prop::collection::vec((0..4_usize, 0..60_usize, any::<u8>()), 0..6),
    ) {
        let (version, transport) = ALL[flow];
        let mut batch: Vec<_> = train(version, transport, 4, 20).iter().map(Packet::bytes).collect();
        for (packet, at, value) in changes {
            let len = batch[packet].len();
            batch[packet][at % len] = value;
        }
        let writes = joined(&mut Joiner::new(BOTH), &batch);
        prop_assert!(!writes.is_empty());
    }
}
