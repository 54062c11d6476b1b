//! The way of a packet allocates nothing, once a relay has warmed up.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use towline_derp::connected::Connected;
use towline_derp::relay::{
    BufferId, Buffers, FrameBuf, Mailbox, MailboxFull, Message, NoMailbox, Shard, ShardConfig,
    ShardId,
};
use towline_wire::frame::{FrameType, Header, send_packet_header};
use towline_wire::{NodePublic, Time, disco};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is passed on to the system's allocator as it is; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

struct OneBuffer(Vec<u8>);

impl Buffers for OneBuffer {
    fn bytes(&self, _: BufferId) -> &[u8] {
        &self.0
    }
}

/// Messages in memory that is there already.
struct OneMailbox {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Mailbox for OneMailbox {
    fn send(&mut self, _: ShardId, message: Message<'_>) -> Result<(), MailboxFull> {
        let start = self.ends.last().copied().unwrap_or(0);
        let room = self.bytes.get_mut(start..).ok_or(MailboxFull)?;
        let len = message.encode(room).ok_or(MailboxFull)?;
        self.ends.push(start + len);
        Ok(())
    }
}

fn key(n: u32) -> NodePublic {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    NodePublic(bytes)
}

fn client(key: NodePublic) -> Connected {
    Connected {
        key,
        addr: "192.0.2.1:1".parse().expect("an address"),
        mesh: false,
        prober: false,
        not_ideal: false,
        can_ack_pings: false,
        go_client: true,
        app_name: None,
        limits: None,
    }
}

#[test]
fn packets_allocate_nothing() {
    let config = |id| ShardConfig::new(ShardId(id), 2, [1; 16], key(u32::MAX));
    let mut shards = [0, 1].map(|id| Shard::new(config(id), [0; 32]));
    let of = |shard| {
        (0..)
            .map(key)
            .filter(move |key| config(0).owner(key) == ShardId(shard))
    };
    let here: Vec<_> = of(0).take(3).collect();
    let there: Vec<_> = of(1).take(1).collect();
    let mut connect = |shard: usize, key: NodePublic| {
        let connected =
            shards[shard].handle_connected(Time(1), client(key), vec![], &mut NoMailbox);
        connected.expect("there is room")
    };
    let sender = connect(0, here[0]);
    connect(0, here[1]);
    connect(1, there[0]);

    // Packets for this shard, the other one, nobody, in pieces that end anywhere; a ping.
    let mut stream = Vec::new();
    let mut send = |dst: &NodePublic, packet: &[u8]| {
        stream.extend_from_slice(&send_packet_header(dst, packet.len()));
        stream.extend_from_slice(packet);
    };
    let mut lost = disco::MAGIC.to_vec();
    lost.resize(200, 0);
    for dst in [&here[1], &there[0], &here[2]] {
        send(dst, &[1; 1400]);
        send(dst, &lost);
        send(dst, &[2; 20_000]);
    }
    stream.extend_from_slice(&Header::new(FrameType::Ping, 8).write());
    stream.extend_from_slice(&[3; 8]);
    let buffers = OneBuffer(stream);

    let mut mail = OneMailbox {
        bytes: vec![0; 1 << 20],
        ends: Vec::with_capacity(1 << 10),
    };
    let mut out = vec![0; 16 << 10];
    let mut now = Time(1);
    let mut turn = |piece: usize, write: bool| {
        now.0 += 1_000_000_000;
        for (n, bytes) in buffers.0.chunks(piece).enumerate() {
            shards[0]
                .handle_bytes(now, sender, BufferId(0), n * piece, bytes, &mut mail)
                .expect("frames are well-formed");
        }
        let mut start = 0;
        for end in mail.ends.drain(..) {
            let message = Message::decode(&mail.bytes[start..end]).expect("a message");
            shards[1].handle_message(now, ShardId(0), message, &mut NoMailbox);
            start = end;
        }
        for shard in &mut shards {
            shard.settle(&buffers);
            while let Some(conn) = shard.poll_writable() {
                let mut more = write;
                while more {
                    more = shard.write_frames(now, conn, &buffers, &mut FrameBuf::new(&mut out));
                }
            }
            shard.settle(&buffers);
        }
    };
    for (piece, write) in [(100_000, true), (1400, true), (1400, false), (777, true)] {
        turn(piece, write);
    }
    let before = ALLOCATIONS.get();
    for _ in 0..100 {
        turn(100_000, true);
        turn(1400, true);
        turn(777, false);
        turn(1, true);
    }
    assert_eq!(ALLOCATIONS.get(), before);
    let sent: u64 = shards.iter().map(|shard| shard.stats().sent.packets).sum();
    assert!(sent > 2000, "{sent}");
}
