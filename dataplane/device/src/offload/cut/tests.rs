//! Byte-exact segments, and what is refused.

use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::offload::testing::{Packet, naive_sum, ordinary, packets};

use Transport::{Tcp, Udp};
use Version::{V4, V6};

/// A super-packet of 21 bytes in segments of 8, with FIN, PSH and CWR, whose sequence numbers and ids wrap; the packets
/// were made by another program.
struct Fixture {
    vnet: VnetHeader,
    whole: &'static str,
    packets: [&'static str; 3],
}

const TCP_V4: Fixture = Fixture {
    vnet: vnet(VnetHeader::GSO_TCPV4 | VnetHeader::GSO_ECN, 20, 16),
    whole: "45020049ffff4000400626ab0a0000010a00000280001451fffffff801020304809901f5143e00000101080a00000007000000090102030405060708090a0b0c0d0e0f101112131415",
    packets: [
        "4502003cffff4000400626b80a0000010a00000280001451fffffff801020304809001f5b7c900000101080a00000007000000090102030405060708",
        "4502003c00004000400626b80a0000010a000002800014510000000001020304801001f5982200000101080a0000000700000009090a0b0c0d0e0f10",
        "4502003900014000400626ba0a0000010a000002800014510000000801020304801901f58f2200000101080a00000007000000091112131415",
    ],
};
const UDP_V4: Fixture = Fixture {
    vnet: vnet(VnetHeader::GSO_UDP_L4, 20, 6),
    whole: "45020031ffff4000401126b80a0000010a00000280001451001d14310102030405060708090a0b0c0d0e0f101112131415",
    packets: [
        "45020024ffff4000401126c50a0000010a00000280001451001047660102030405060708",
        "4502002400004000401126c50a0000010a0000028000145100102746090a0b0c0d0e0f10",
        "4502002100014000401126c70a0000010a00000280001451000d1e5a1112131415",
    ],
};
const TCP_V6: Fixture = Fixture {
    vnet: vnet(VnetHeader::GSO_TCPV6 | VnetHeader::GSO_ECN, 40, 16),
    whole: "602123450035063ffd000000000000000000000000000001fd00000000000000000000000000000280001451fffffff801020304809901f5fa3f00000101080a00000007000000090102030405060708090a0b0c0d0e0f101112131415",
    packets: [
        "602123450028063ffd000000000000000000000000000001fd00000000000000000000000000000280001451fffffff801020304809001f5d1c700000101080a00000007000000090102030405060708",
        "602123450028063ffd000000000000000000000000000001fd000000000000000000000000000002800014510000000001020304801001f5b22000000101080a0000000700000009090a0b0c0d0e0f10",
        "602123450025063ffd000000000000000000000000000001fd000000000000000000000000000002800014510000000801020304801901f5a92000000101080a00000007000000091112131415",
    ],
};
const UDP_V6: Fixture = Fixture {
    vnet: vnet(VnetHeader::GSO_UDP_L4, 40, 6),
    whole: "60212345001d113ffd000000000000000000000000000001fd00000000000000000000000000000280001451001dfa320102030405060708090a0b0c0d0e0f101112131415",
    packets: [
        "602123450010113ffd000000000000000000000000000001fd00000000000000000000000000000280001451001061640102030405060708",
        "602123450010113ffd000000000000000000000000000001fd0000000000000000000000000000028000145100104144090a0b0c0d0e0f10",
        "60212345000d113ffd000000000000000000000000000001fd00000000000000000000000000000280001451000d38581112131415",
    ],
};

const fn vnet(gso_type: u8, csum_start: u16, csum_offset: u16) -> VnetHeader {
    VnetHeader {
        flags: VnetHeader::FLAG_NEEDS_CSUM,
        gso_type,
        // A hint that is wrong is no matter.
        hdr_len: 1,
        gso_size: 8,
        csum_start,
        csum_offset,
    }
}

fn behind(vnet: &VnetHeader, packet: &[u8]) -> Vec<u8> {
    [&vnet.write()[..], packet].concat()
}

#[test]
fn segments_are_those_of_another_program() {
    for fixture in [TCP_V4, UDP_V4, TCP_V6, UDP_V6] {
        let whole = HEXLOWER.decode(fixture.whole.as_bytes()).unwrap();
        let packets = packets(&behind(&fixture.vnet, &whole)).unwrap();
        let packets: Vec<_> = packets
            .iter()
            .map(|packet| HEXLOWER.encode(packet))
            .collect();
        assert_eq!(packets, fixture.packets);
    }
}

#[test]
fn a_cut_says_what_it_is() {
    let mut packet = Packet::new(V6, Udp, 250);
    packet.traffic_class = 0b0000_0110;
    let bytes = packet.super_packet(100);
    let cut = Cut::new(&bytes).unwrap();
    assert_eq!(
        (cut.segments(), cut.segment_bytes(), cut.last_bytes()),
        (3, 148, 98)
    );
    assert_eq!(cut.ecn(), 0b10);
    assert_eq!(
        cut.source().to_string(),
        "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fd01"
    );
    assert_eq!(
        cut.destination().to_string(),
        "fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd:fdfd"
    );
    let bytes = ordinary(&Packet::new(V4, Tcp, 0).bytes());
    let cut = Cut::new(&bytes).unwrap();
    assert_eq!(
        (cut.segments(), cut.segment_bytes(), cut.last_bytes()),
        (1, 40, 40)
    );
    assert_eq!(cut.source().to_string(), "10.0.0.1");
    assert_eq!(cut.destination().to_string(), "10.0.1.0");
}

#[test]
fn an_ordinary_packet_stays_as_it_is_without_padding() {
    let mut packet = Packet::new(V4, Tcp, 9).bytes();
    packet[36] ^= 1;
    let padded = [&packet[..], &[0; 5]].concat();
    assert_eq!(packets(&ordinary(&padded)), Ok(vec![packet]));
}

#[test]
fn a_missing_checksum_is_completed_whatever_the_field_holds() {
    for (version, transport) in [(V4, Tcp), (V4, Udp), (V6, Tcp), (V6, Udp)] {
        let packet = Packet::new(version, transport, 33);
        let mut bytes = packet.unfinished(VnetHeader::GSO_NONE, 0);
        assert_eq!(packets(&bytes), Ok(vec![packet.bytes()]));
        let field = VNET_HEADER_BYTES + packet.at() + transport.checksum_at();
        bytes[field] ^= 0x55;
        assert_eq!(packets(&bytes), Ok(vec![packet.bytes()]));
    }
}

#[test]
fn the_checksum_of_another_protocol_starts_with_what_is_there() {
    // UDP in UDP: the sum that is missing is that of the inner one.
    let inner = Packet::new(V4, Udp, 30);
    let mut outer = Packet::new(V6, Udp, 0);
    outer.payload = inner.unfinished(VnetHeader::GSO_NONE, 0)[VNET_HEADER_BYTES..].to_vec();
    let start = outer.at() + 8 + inner.at();
    let vnet = VnetHeader {
        flags: VnetHeader::FLAG_NEEDS_CSUM,
        csum_start: start as u16,
        csum_offset: 6,
        ..VnetHeader::default()
    };
    let bytes = outer.bytes();
    let packets = packets(&behind(&vnet, &bytes)).unwrap();
    assert_eq!(packets[0][outer.at() + 8..], inner.bytes());
}

#[test]
fn a_zero_checksum_is_written_as_ones_for_udp() {
    let mut packet = Packet::new(V4, Udp, 4);
    packet.payload = vec![0; 4];
    // What zeros lack to a sum of ones is their checksum.
    let checksum = packet.bytes()[26..28].to_vec();
    packet.payload[..2].copy_from_slice(&checksum);
    let mut two = packet.clone();
    two.payload.extend(packet.payload.clone());
    for written in packets(&two.super_packet(4)).unwrap() {
        assert_eq!(written[26..28], [0xff, 0xff]);
    }
    let written = packets(&packet.unfinished(VnetHeader::GSO_NONE, 0)).unwrap();
    assert_eq!(written[0][26..28], [0xff, 0xff]);
}

#[test]
fn options_and_extension_headers_are_repeated() {
    // Router alert; no operations and a timestamp.
    let options = vec![148, 4, 0, 0, 1, 68, 6, 5, 0, 0, 0, 0];
    let hop_by_hop = [43, 0, 5, 2, 0, 0, 1, 0];
    let routing = [
        60, 2, 4, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
    ];
    for transport in [Tcp, Udp] {
        let destination_options = [transport.protocol(), 0, 1, 4, 0, 0, 0, 0];
        let extensions = [&hop_by_hop[..], &routing, &destination_options].concat();
        for (version, ip_options, next_header) in
            [(V4, options.clone(), None), (V6, extensions, Some(0))]
        {
            let mut whole = Packet::new(version, transport, 50);
            (whole.ip_options, whole.next_header) = (ip_options, next_header);
            let expected = split(&whole, 20);
            assert_eq!(packets(&whole.super_packet(20)), Ok(expected));
        }
    }
}

/// The packets of a whole, each made by itself.
fn split(whole: &Packet, size: usize) -> Vec<Vec<u8>> {
    let chunks = whole.payload.chunks(size).enumerate();
    let packets = chunks.map(|(index, payload)| {
        let mut packet = whole.clone();
        packet.payload = payload.to_vec();
        packet.id = whole.id.wrapping_add(index as u16);
        packet.sequence = whole.sequence.wrapping_add((index * size) as u32);
        if (index + 1) * size < whole.payload.len() {
            packet.flags &= !0x09;
        }
        if index > 0 {
            packet.flags &= !0x80;
        }
        packet.bytes()
    });
    packets.collect()
}

#[test]
fn the_last_destination_of_a_routed_packet_is_what_its_sender_summed() {
    let last = [9; 16];
    let mut packet = Packet::new(V6, Tcp, 40);
    packet.next_header = Some(43);
    packet.ip_options = [&[6, 2, 4, 1, 0, 0, 0, 0][..], &last].concat();
    let mut bytes = packet.super_packet(20);
    let sum = |length: u16| {
        let source = [&[0xfd; 15][..], &[1]].concat();
        naive_sum(&[&source[..], &last, &[0, 6], &length.to_be_bytes()].concat())
    };
    let field = packet.at() + 16;
    let in_bytes = VNET_HEADER_BYTES + field;
    bytes[in_bytes..in_bytes + 2].copy_from_slice(&sum(60).to_be_bytes());
    for written in packets(&bytes).unwrap() {
        let transport = naive_sum(&written[packet.at()..]);
        let whole = [transport.to_be_bytes(), sum(40).to_be_bytes()].concat();
        assert_eq!(naive_sum(&whole), 0xffff);
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
    let tcp = Packet::new(V4, Tcp, 100).super_packet(10);
    let udp = Packet::new(V6, Udp, 100).super_packet(10);
    let change = |bytes: &[u8], at: usize, value: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] = value;
        bytes
    };
    let mut long = Packet::new(V6, Udp, 100);
    long.next_header = Some(60);
    long.ip_options = vec![0; 520];
    long.ip_options[..2].copy_from_slice(&[17, 64]);
    let mut fragment = Packet::new(V4, Udp, 100);
    fragment.fragment = 0x2000;
    let ip = VNET_HEADER_BYTES;
    for (bytes, error) in [
        (vec![], CutError::TooShort),
        (vec![0; ip], CutError::TooShort),
        (tcp[..ip + 19].to_vec(), CutError::TooShort),
        (udp[..ip + 39].to_vec(), CutError::TooShort),
        (vec![0x45; ip + PACKET_BYTES_MAX + 1], CutError::TooLong),
        (change(&tcp, ip, 0x55), CutError::NotIp),
        (change(&tcp, ip, 0x44), CutError::IpLength),
        (change(&tcp, ip + 3, 141), CutError::IpLength),
        (change(&udp, ip + 5, 0xff), CutError::IpLength),
        (change(&tcp, 1, 3), CutError::GsoType),
        (change(&udp, 1, 0x85), CutError::GsoType),
        (change(&tcp, 1, 0x80), CutError::GsoType),
        (change(&tcp, 1, 4), CutError::GsoProtocol),
        (change(&tcp, 1, 5), CutError::GsoProtocol),
        (change(&udp, 1, 1), CutError::GsoProtocol),
        (fragment.super_packet(10), CutError::GsoProtocol),
        (change(&tcp, 0, 0), CutError::ChecksumMissing),
        (change(&tcp, 6, 24), CutError::ChecksumPlace),
        (change(&tcp, 8, 6), CutError::ChecksumPlace),
        (change(&change(&tcp, 1, 0), 6, 139), CutError::ChecksumPlace),
        (change(&tcp, ip + 32, 0x40), CutError::TransportHeader),
        (
            change(&change(&udp, ip + 4, 0), ip + 5, 7),
            CutError::TransportHeader,
        ),
        (long.super_packet(10), CutError::HeadersTooLong),
        (change(&tcp, 4, 0), CutError::GsoSize),
        (
            Packet::new(V4, Tcp, 2049).super_packet(1),
            CutError::TooManySegments,
        ),
    ] {
        assert_eq!(packets(&bytes).err(), Some(error));
    }
}

#[test]
fn every_reason_has_a_counter_of_its_own() {
    let names: std::collections::BTreeSet<_> = CutError::ALL.iter().map(|e| e.counter()).collect();
    assert_eq!(names.len(), CutError::ALL.len());
}

proptest! {
    #[test]
    fn segments_are_packets_with_correct_checksums(
        v4: bool, tcp: bool, payload in 0..3000_usize, size in 1..1500_usize, options in 0..4_usize,
        flags: u8, sequence: u32, id: u16,
    ) {
        let version = if v4 { V4 } else { V6 };
        let mut whole = Packet::new(version, if tcp { Tcp } else { Udp }, payload);
        (whole.flags, whole.sequence, whole.id) = (flags, sequence, id);
        whole.tcp_options = vec![1; 4 * options];
        let bytes = whole.super_packet(size);
        if payload.div_ceil(size) > crate::offload::limits::CUT_SEGMENTS_MAX {
            prop_assert_eq!(packets(&bytes), Err(CutError::TooManySegments));
        } else if payload > 0 {
            prop_assert_eq!(packets(&bytes).unwrap(), split(&whole, size));
        } else {
            prop_assert_eq!(packets(&bytes).unwrap(), vec![whole.bytes()]);
        }
    }

    #[test]
    fn no_bytes_panic(
        flags in 0..4_u8, gso in 0..8_u8, rest in prop::collection::vec(any::<u8>(), 8),
        version in 4..7_u8, bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = [&[flags, gso][..], &rest, &[version << 4 | 5], &bytes].concat();
        let _ = packets(&bytes);
        // With lengths that fit, and a small header of a protocol.
        let total = bytes.len() - VNET_HEADER_BYTES;
        if total > 40 {
            let at = if version == 4 { 2 } else { 4 };
            let length = if version == 4 { total } else { total - 40 } as u16;
            let at = VNET_HEADER_BYTES + at;
            bytes[at..at + 2].copy_from_slice(&length.to_be_bytes());
            for (start, offset, protocol) in [(20_u16, 16_u16, 6), (40, 6, 17), (48, 6, 60), (40, 16, 6)] {
                bytes[6..8].copy_from_slice(&start.to_ne_bytes());
                bytes[8..10].copy_from_slice(&offset.to_ne_bytes());
                bytes[VNET_HEADER_BYTES + if version == 4 { 9 } else { 6 }] = protocol;
                let _ = packets(&bytes);
            }
        }
    }

    #[test]
    fn a_changed_super_packet_does_not_panic(
        v4: bool, tcp: bool, at in 0..100_usize, value: u8, again in 0..100_usize, other: u8,
    ) {
        let packet = Packet::new(if v4 { V4 } else { V6 }, if tcp { Tcp } else { Udp }, 300);
        let mut bytes = packet.super_packet(100);
        bytes[at] = value;
        bytes[again] = other;
        let _ = packets(&bytes);
    }
}
