//! What reading the frames of a stream costs: a header, then the body by its type.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use towline_wire::NodePublic;
use towline_wire::frame::{
    FrameType, HEADER_LEN, Header, Ping, RecvPacket, SendPacket, recv_packet_header,
    send_packet_header,
};

const FRAMES: usize = 100;

fn key() -> NodePublic {
    NodePublic([7; 32])
}

/// Frames back to back.
fn stream(write: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    (0..FRAMES).for_each(|_| write(&mut bytes));
    bytes
}

/// Calls `body` with each frame of a stream.
fn each(mut stream: &[u8], mut body: impl FnMut(FrameType, &[u8])) {
    while let Some((header, rest)) = stream.split_first_chunk::<HEADER_LEN>() {
        let header = Header::parse(header);
        let (bytes, rest) = rest.split_at(header.len as usize);
        body(header.frame_type().expect("a known type"), bytes);
        stream = rest;
    }
}

fn parse(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame parse");
    group.throughput(Throughput::Elements(FRAMES as u64));
    let (dst, packet) = (key(), [9; 1400].as_slice());
    let packets = stream(|out| SendPacket { dst, packet }.write(out));
    group.bench_function("SendPacket, 1400 B", |b| {
        b.iter(|| {
            each(black_box(&packets), |_, body| {
                black_box(SendPacket::parse(body)).expect("a packet");
            });
        });
    });
    let (src, packet) = (key(), [9; 128].as_slice());
    let mixed = stream(|out| {
        RecvPacket { src, packet }.write(out);
        Ping([5; 8]).write(out);
    });
    group.bench_function("RecvPacket of 128 B and Ping, in turns", |b| {
        b.iter(|| {
            each(black_box(&mixed), |frame, body| match frame {
                FrameType::Ping => drop(black_box(Ping::parse(body)).expect("a ping")),
                _ => drop(black_box(RecvPacket::parse(body)).expect("a packet")),
            });
        });
    });
    group.finish();
}

fn headers(c: &mut Criterion) {
    let mut group = c.benchmark_group("frame write");
    group.bench_function("header of SendPacket", |b| {
        b.iter(|| send_packet_header(black_box(&key()), black_box(1400)));
    });
    group.bench_function("header of RecvPacket", |b| {
        b.iter(|| recv_packet_header(black_box(&key()), black_box(1400)));
    });
    group.finish();
}

criterion_group!(benches, parse, headers);
criterion_main!(benches);
