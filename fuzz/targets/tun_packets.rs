//! What a TUN device hands over, and what peers send into it: hostile vnet headers are refused or cut into packets of the
//! promised sizes, and whatever is joined keeps every byte of payload in its place.
#![no_main]
#![forbid(unsafe_code)]

use libfuzzer_sys::fuzz_target;
use towline_device::offload::{Cut, JoinOffload, Joiner, VNET_HEADER_BYTES};
use towline_fuzz::take_byte;

/// More packets than this of one input say nothing new.
const PACKETS_MAX: usize = 200;

/// Input: a byte of options, then what was read of the device. Option 1 also joins the rest of the input as packets of
/// peers: their lengths are in a byte before each.
fn run(mut input: &[u8]) -> Option<()> {
    let options = take_byte(&mut input)?;
    let mut packets = cut(input);
    if options & 1 == 1 {
        while let Some(len) = take_byte(&mut input) {
            let (packet, rest) = input.split_at(usize::from(len).min(input.len()));
            packets.push(packet.to_vec());
            input = rest;
        }
    }
    packets.truncate(PACKETS_MAX);
    join(&packets);
    Some(())
}

fn cut(read: &[u8]) -> Vec<Vec<u8>> {
    let Ok(cut) = Cut::new(read) else {
        return Vec::new();
    };
    let _ = (cut.source(), cut.destination(), cut.ecn());
    let segments = cut.segments();
    let sizes = (0..segments).map(|index| {
        if index + 1 < segments {
            cut.segment_bytes()
        } else {
            cut.last_bytes()
        }
    });
    let packets = sizes.enumerate().map(|(index, bytes)| {
        let mut packet = vec![0; bytes];
        cut.write(index, &mut packet);
        packet
    });
    packets.collect()
}

/// Each packet is in a receive buffer of its own, whose number it is.
fn join(packets: &[Vec<u8>]) {
    let mut joiner = Joiner::new(JoinOffload {
        tcp: true,
        udp: true,
    });
    for (number, packet) in (0..).zip(packets) {
        joiner.add(packet, number, 0);
    }
    let mut seen = vec![0; packets.len()];
    joiner.flush(|header, pieces| {
        let bytes = header.len() + pieces.iter().map(|piece| piece.len as usize).sum::<usize>();
        assert!(bytes <= VNET_HEADER_BYTES + 65_535, "{bytes}");
        for piece in pieces {
            let packet = &packets[piece.buffer as usize];
            assert_eq!((piece.start + piece.len) as usize, packet.len());
            seen[piece.buffer as usize] += 1;
        }
    });
    assert!(seen.iter().all(|&count| count == 1), "{seen:?}");
    assert!(joiner.is_empty());
}

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});
