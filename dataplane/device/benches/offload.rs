//! What a packet of the TUN device costs besides its encryption: its checksum, cutting it out of a super-packet, joining
//! it into one.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use towline_device::offload::checksum::Sum;
use towline_device::offload::{Cut, JoinOffload, Joiner, VNET_HEADER_BYTES, VnetHeader};

const MTU: usize = 1420;
const HEADERS: usize = 40;
const SEGMENTS: usize = 44;

/// A TCP super-packet over IPv4, behind its vnet header.
fn super_packet() -> Vec<u8> {
    let total = HEADERS + SEGMENTS * (MTU - HEADERS);
    let vnet = VnetHeader {
        flags: VnetHeader::FLAG_NEEDS_CSUM,
        gso_type: VnetHeader::GSO_TCPV4,
        hdr_len: HEADERS as u16,
        gso_size: (MTU - HEADERS) as u16,
        csum_start: 20,
        csum_offset: 16,
    };
    let mut bytes = vnet.write().to_vec();
    bytes.extend([0x45, 0]);
    bytes.extend((total as u16).to_be_bytes());
    bytes.extend([0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend([0x80, 0, 0x14, 0x51, 0, 0, 0, 1, 0, 0, 0, 2]);
    bytes.extend([0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    bytes.extend((0..total - HEADERS).map(|index| (index * 31) as u8));
    bytes
}

fn checksum(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum, 1420 B");
    group.throughput(Throughput::Bytes(MTU as u64));
    let bytes: Vec<u8> = (0..MTU).map(|index| (index * 31) as u8).collect();
    let mut copy = vec![0; MTU];
    group.bench_function("32-bit lanes (ours)", |b| {
        b.iter(|| Sum::of(black_box(&bytes)).checksum());
    });
    group.bench_function("64-bit words with carries", |b| {
        b.iter(|| with_carries(black_box(&bytes)));
    });
    group.bench_function("copied, then summed (ours)", |b| {
        b.iter(|| {
            black_box(&mut copy).copy_from_slice(black_box(&bytes));
            Sum::of(black_box(&copy)).checksum()
        });
    });
    group.bench_function("copied and summed at once", |b| {
        b.iter(|| copying(black_box(&mut copy), black_box(&bytes)));
    });
    group.bench_function("copied only", |b| {
        b.iter(|| black_box(&mut copy).copy_from_slice(black_box(&bytes)));
    });
    group.finish();
}

/// A form that is not used: a chain of carries through each stride.
fn with_carries(bytes: &[u8]) -> u64 {
    let (strides, rest) = bytes.as_chunks::<64>();
    let (mut sum, mut carries) = (0_u64, 0);
    for stride in strides {
        let mut carry = false;
        for word in stride.as_chunks::<8>().0 {
            let (with_word, over) = sum.overflowing_add(u64::from_ne_bytes(*word));
            let (with_carry, over_again) = with_word.overflowing_add(carry.into());
            (sum, carry) = (with_carry, over | over_again);
        }
        carries += u64::from(carry);
    }
    (sum & 0xffff_ffff) + (sum >> 32) + carries + words(rest)
}

/// A form that is not used: every stride is copied and added to lanes of 64 bits.
fn copying(into: &mut [u8], from: &[u8]) -> u64 {
    let (strides, rest) = from.as_chunks::<32>();
    let (into, into_rest) = into.as_chunks_mut::<32>();
    let mut lanes = [0_u64; 8];
    for (into, stride) in into.iter_mut().zip(strides) {
        *into = *stride;
        for (lane, word) in lanes.iter_mut().zip(stride.as_chunks::<4>().0) {
            *lane += u64::from(u32::from_ne_bytes(*word));
        }
    }
    into_rest.copy_from_slice(rest);
    lanes.iter().sum::<u64>() + words(rest)
}

fn words(bytes: &[u8]) -> u64 {
    let words = bytes.as_chunks::<4>().0.iter();
    words.map(|word| u64::from(u32::from_ne_bytes(*word))).sum()
}

fn cut(c: &mut Criterion) {
    let mut group = c.benchmark_group("cut, 44 packets of 1420 B");
    group.throughput(Throughput::Elements(SEGMENTS as u64));
    let bytes = super_packet();
    let mut slots = vec![0; SEGMENTS * MTU];
    group.bench_function("TCP over IPv4", |b| {
        b.iter(|| {
            let cut = Cut::new(black_box(&bytes)).expect("a super-packet");
            for (index, slot) in slots.chunks_exact_mut(cut.segment_bytes()).enumerate() {
                cut.write(index, slot);
            }
        });
    });
    group.finish();
}

fn join(c: &mut Criterion) {
    let mut group = c.benchmark_group("join, 44 packets of 1420 B");
    group.throughput(Throughput::Elements(SEGMENTS as u64));
    let bytes = super_packet();
    let cut = Cut::new(&bytes).expect("a super-packet");
    let packets: Vec<Vec<u8>> = (0..cut.segments())
        .map(|index| {
            let mut packet = vec![0; MTU];
            cut.write(index, &mut packet);
            packet
        })
        .collect();
    let mut joiner = Joiner::new(JoinOffload {
        tcp: true,
        udp: true,
    });
    group.bench_function("TCP over IPv4", |b| {
        b.iter(|| {
            for packet in &packets {
                joiner.add(black_box(packet), 0, VNET_HEADER_BYTES as u32);
            }
            joiner.flush(|header, pieces| {
                assert_eq!(pieces.len(), SEGMENTS);
                black_box(header);
            });
        });
    });
    group.finish();
}

criterion_group!(benches, checksum, cut, join);
criterion_main!(benches);
