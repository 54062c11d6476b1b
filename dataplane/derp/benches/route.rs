//! What the relay itself costs for each packet, without TLS and sockets: frames read from a receive
//! buffer, routed, queued, and written, or dropped from a full queue.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use towline_derp::connected::Connected;
use towline_derp::relay::{
    BufferId, Buffers, ConnId, FrameBuf, Mailbox, MailboxFull, Message, NoMailbox, Shard,
    ShardConfig, ShardId,
};
use towline_wire::frame::send_packet_header;
use towline_wire::{NodePublic, Time};

struct OneBuffer(Vec<u8>);

impl Buffers for OneBuffer {
    fn bytes(&self, _: BufferId) -> &[u8] {
        &self.0
    }
}

fn key(n: u32) -> NodePublic {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    NodePublic(bytes)
}

fn connect(shard: &mut Shard, key: NodePublic) -> ConnId {
    let client = Connected {
        key,
        addr: "192.0.2.1:1".parse().expect("an address"),
        mesh: false,
        prober: false,
        not_ideal: false,
        can_ack_pings: false,
        go_client: true,
        app_name: None,
        limits: None,
    };
    let conn = shard.handle_connected(Time(1), client, vec![3, 0, 0, 0, 0], &mut NoMailbox);
    conn.expect("there is room")
}

fn frames(dst: &NodePublic, packet_bytes: usize, count: usize) -> OneBuffer {
    let frame = [
        &send_packet_header(dst, packet_bytes)[..],
        &vec![9; packet_bytes],
    ]
    .concat();
    OneBuffer(frame.repeat(count))
}

/// Writes all that is due into 16 KiB records.
fn write_all(shard: &mut Shard, now: Time, buffers: &OneBuffer, out: &mut [u8]) {
    while let Some(conn) = shard.poll_writable() {
        while shard.write_frames(now, conn, buffers, &mut FrameBuf::new(out)) {}
    }
}

/// Packets of one turn: a receive buffer of 32 KiB holds about so many of 1400 bytes.
const PACKETS: usize = 20;

fn one_shard(c: &mut Criterion) {
    let mut group = c.benchmark_group("route");
    group.throughput(Throughput::Elements(PACKETS as u64));
    for (name, bytes, in_record, slow) in [
        ("1400 B", 1400, PACKETS, false),
        ("1400 B, each in a record of its own", 1400, 1, false),
        ("128 B", 128, PACKETS, false),
        ("1400 B, read a turn later", 1400, PACKETS, true),
    ] {
        let config = ShardConfig::new(ShardId(0), 1, [1; 16], key(u32::MAX));
        let mut shard = Shard::new(config, [0; 32]);
        let sender = connect(&mut shard, key(0));
        connect(&mut shard, key(1));
        let buffers = frames(&key(1), bytes, PACKETS);
        let record = buffers.0.len() / PACKETS * in_record;
        let mut out = vec![0; 16 << 10];
        let mut now = Time(1);
        group.bench_function(name, |b| {
            b.iter(|| {
                now.0 += 1000;
                for (n, bytes) in buffers.0.chunks(record).enumerate() {
                    shard
                        .handle_bytes(now, sender, BufferId(0), n * record, bytes, &mut NoMailbox)
                        .expect("frames are well-formed");
                }
                if slow {
                    shard.settle(&buffers);
                }
                write_all(&mut shard, now, &buffers, &mut out);
                shard.settle(&buffers);
            });
        });
        assert_eq!(
            shard.stats().sent.packets,
            shard.stats().received[1].packets
        );
    }
    group.finish();
}

/// Nothing that a packet needs is in the caches: each goes to another client.
fn many_clients(c: &mut Criterion) {
    const CLIENTS: u32 = 10_000;

    let config = ShardConfig::new(ShardId(0), 1, [1; 16], key(u32::MAX));
    let mut shard = Shard::new(config, [0; 32]);
    let clients: Vec<_> = (0..CLIENTS).map(|n| connect(&mut shard, key(n))).collect();
    let turns: Vec<_> = (0..500u32)
        .map(|turn| {
            let dsts = (0..PACKETS as u32).map(|n| (turn * 20 + n) * 7919 % CLIENTS);
            let parts = dsts.map(|dst| frames(&key(dst), 1400, 1).0);
            OneBuffer(parts.collect::<Vec<_>>().concat())
        })
        .collect();
    let mut out = vec![0; 16 << 10];
    let mut now = Time(1);
    let mut turn = 0;
    let mut group = c.benchmark_group("route");
    group.throughput(Throughput::Elements(PACKETS as u64));
    group.bench_function("1400 B, each to another one of 10,000", |b| {
        b.iter(|| {
            now.0 += 1000;
            turn += 1;
            let buffers = &turns[turn % turns.len()];
            let sender = clients[turn * 13 % clients.len()];
            shard
                .handle_bytes(now, sender, BufferId(0), 0, &buffers.0, &mut NoMailbox)
                .expect("frames are well-formed");
            write_all(&mut shard, now, buffers, &mut out);
            shard.settle(buffers);
        });
    });
    group.finish();
}

/// Records of one mailbox, back to back.
#[derive(Default)]
struct OneMailbox {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Mailbox for OneMailbox {
    fn send(&mut self, _: ShardId, message: Message<'_>) -> Result<(), MailboxFull> {
        let start = self.bytes.len();
        self.bytes.resize(start + message.encoded_len(), 0);
        message
            .encode(&mut self.bytes[start..])
            .ok_or(MailboxFull)?;
        self.ends.push(self.bytes.len());
        Ok(())
    }
}

fn two_shards(c: &mut Criterion) {
    let config = |id| ShardConfig::new(ShardId(id), 2, [1; 16], key(u32::MAX));
    let mut shards = [0, 1].map(|id| Shard::new(config(id), [0; 32]));
    let of = |shard| {
        (0..)
            .map(key)
            .find(|key| config(0).owner(key) == ShardId(shard))
    };
    let [near, far] = [0, 1].map(|shard| of(shard).expect("there are enough keys"));
    let sender = connect(&mut shards[0], near);
    connect(&mut shards[1], far);
    let buffers = frames(&far, 1400, PACKETS);
    let mut out = vec![0; 16 << 10];
    let mut mail = OneMailbox::default();
    let mut now = Time(1);
    let mut group = c.benchmark_group("route");
    group.throughput(Throughput::Elements(PACKETS as u64));
    group.bench_function("1400 B, to another shard", |b| {
        b.iter(|| {
            now.0 += 1000;
            let bytes = &buffers.0;
            shards[0]
                .handle_bytes(now, sender, BufferId(0), 0, bytes, &mut mail)
                .expect("frames are well-formed");
            let mut start = 0;
            for end in mail.ends.drain(..) {
                let message = Message::decode(&mail.bytes[start..end]).expect("a message");
                shards[1].handle_message(now, ShardId(0), message, &mut NoMailbox);
                start = end;
            }
            mail.bytes.clear();
            write_all(&mut shards[1], now, &buffers, &mut out);
            shards[1].settle(&buffers);
        });
    });
    group.finish();
}

/// A client that reads nothing, behind whose full queue each packet pushes the oldest out of the longest flow; and the small
/// ones that pass the large.
fn queues(c: &mut Criterion) {
    const SENDERS: u32 = 64;

    let mut group = c.benchmark_group("queue");
    group.throughput(Throughput::Elements(PACKETS as u64));
    for (name, senders) in [("one sender", 1), ("64 senders", SENDERS)] {
        let config = ShardConfig::new(ShardId(0), 1, [1; 16], key(u32::MAX));
        let mut shard = Shard::new(config, [0; 32]);
        let reader = key(u32::MAX - 1);
        connect(&mut shard, reader);
        let senders: Vec<_> = (0..senders).map(|n| connect(&mut shard, key(n))).collect();
        let buffers = frames(&reader, 1400, PACKETS);
        let (mut now, mut turn) = (Time(1), 0);
        group.bench_function(format!("1400 B for a full queue, {name}"), |b| {
            b.iter(|| {
                now.0 += 1000;
                turn += 1;
                let sender = senders[turn % senders.len()];
                shard
                    .handle_bytes(now, sender, BufferId(0), 0, &buffers.0, &mut NoMailbox)
                    .expect("frames are well-formed");
                shard.settle(&buffers);
            });
        });
        assert!(shard.stats().queued_bytes > 0, "nothing was queued");
    }
    group.finish();
}

criterion_group!(benches, one_shard, many_clients, two_shards, queues);
criterion_main!(benches);
