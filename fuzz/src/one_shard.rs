//! A relay of one shard with a few connections, in memory: bytes of one of them go in, and all that the others are
//! sent is kept. Not a network (`dataplane/derp/tests` has one): no time passes unless a target says so.

use core::time::Duration;

use towline_derp::Connected;
use towline_derp::relay::{
    BufferId, Buffers, CloseReason, ConnError, ConnId, Effect, FrameBuf, NoMailbox, Shard,
    ShardConfig, ShardId, Stats, UplinkId,
};
use towline_wire::frame::{FrameType, HEADER_LEN, Header};
use towline_wire::{NodePublic, Time};

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It broke the protocol.
    Error(ConnError),
    /// The shard gave it up.
    Closed(CloseReason),
}

/// All that can be seen of the relay.
#[derive(Debug, PartialEq)]
pub struct Seen {
    /// What each connection was sent, in the order in which they came.
    pub sent: Vec<Vec<u8>>,
    /// Who ended, and why.
    pub ends: Vec<Option<End>>,
    /// The counters. Without the storage of what was queued: a packet that comes in pieces is kept with its header.
    pub stats: Stats,
}

/// One shard and its connections.
pub struct OneShard {
    shard: Shard,
    now: Time,
    pool_bytes: usize,
    conns: Vec<ConnId>,
    sent: Vec<Vec<u8>>,
    ends: Vec<Option<End>>,
    turn: Turn,
}

/// The receive buffers of a turn.
#[derive(Default)]
struct Turn(Vec<Vec<u8>>);

impl Buffers for Turn {
    fn bytes(&self, buffer: BufferId) -> &[u8] {
        &self.0[buffer.0 as usize]
    }
}

/// The key of the client with this number.
pub const fn key(number: u8) -> NodePublic {
    NodePublic([number; 32])
}

impl OneShard {
    /// Without connections, and with this storage for packets.
    pub fn new(pool_bytes: usize) -> Self {
        let mut config = ShardConfig::new(ShardId(0), 1, [0; 16], key(0xee));
        config.connections_max = 16;
        config.remote_keys_max = 64;
        config.departures_max = 64;
        config.heard_max = 64;
        config.pool_bytes = pool_bytes;
        // Queues are bounded by the storage alone.
        config.disco_queue_bytes_max = u32::MAX;
        config.queue_bytes_max = u32::MAX;
        config.uplink_queue_bytes_max = u32::MAX;
        Self {
            shard: Shard::new(config, [0; 32]),
            now: Time(1_000_000_000),
            pool_bytes,
            conns: Vec::new(),
            sent: Vec::new(),
            ends: Vec::new(),
            turn: Turn::default(),
        }
    }

    /// A client connects; returns its place in [`Seen`].
    pub fn client(&mut self, number: u8, mesh: bool) -> usize {
        let client = Connected {
            key: key(number),
            addr: "192.0.2.7:4711".parse().expect("an address"),
            mesh,
            prober: false,
            not_ideal: false,
            can_ack_pings: true,
            go_client: true,
            app_name: None,
            limits: None,
        };
        let info = Header::new(FrameType::ServerInfo, 0).write().to_vec();
        let conn = self
            .shard
            .handle_connected(self.now, client, info, &mut NoMailbox);
        self.add(conn.expect("there is room"))
    }

    /// A connection of ours to another relay.
    pub fn uplink(&mut self) -> usize {
        let conn = self.shard.handle_uplink(self.now, UplinkId(0));
        self.add(conn.expect("the first uplink"))
    }

    fn add(&mut self, conn: ConnId) -> usize {
        self.conns.push(conn);
        self.sent.push(Vec::new());
        self.ends.push(None);
        self.conns.len() - 1
    }

    /// Bytes of a connection arrive, in a turn that goes on. Returns whether it may say more.
    pub fn hear(&mut self, who: usize, bytes: &[u8]) -> bool {
        if self.ends[who].is_some() {
            return false;
        }
        // As behind the header of a record.
        let offset = 13;
        let mut buffer = vec![0; offset];
        buffer.extend_from_slice(bytes);
        let id = BufferId(self.turn.0.len() as u32);
        let conn = self.conns[who];
        let heard = self
            .shard
            .handle_bytes(self.now, conn, id, offset, bytes, &mut NoMailbox);
        self.turn.0.push(buffer);
        if let Err(error) = heard {
            self.ends[who] = Some(End::Error(error));
        }
        self.take_effects();
        self.ends[who].is_none()
    }

    fn take_effects(&mut self) {
        while let Some(effect) = self.shard.poll_effect() {
            if let Effect::Close { conn, reason } = effect
                && let Some(who) = self.conns.iter().position(|known| *known == conn)
            {
                self.ends[who].get_or_insert(End::Closed(reason));
            }
        }
    }

    /// Ends a turn in which nothing was written: what is queued moves to the shard's storage.
    pub fn settle(&mut self) {
        self.shard.settle(&self.turn);
        self.turn.0.clear();
        self.take_effects();
        let usage = self.shard.usage();
        assert!(usage.pool_bytes_free <= self.pool_bytes, "{usage:?}");
    }

    /// Writes all that waits, into buffers of this many bytes.
    pub fn write_all(&mut self, buffer_bytes: usize) {
        while let Some(conn) = self.shard.poll_writable() {
            let who = self.conns.iter().position(|known| *known == conn);
            let who = who.expect("a connection of ours");
            loop {
                let mut bytes = vec![0; buffer_bytes];
                let mut out = FrameBuf::new(&mut bytes);
                let more = self
                    .shard
                    .write_frames(self.now, conn, &self.turn, &mut out);
                assert!(!more || !out.is_empty(), "no progress");
                self.sent[who].extend_from_slice(out.written());
                if !more {
                    break;
                }
            }
        }
        self.settle();
    }

    /// Time passes, and what is due is done.
    pub fn pass(&mut self, duration: Duration) {
        self.now += duration;
        self.shard.handle_timeout(self.now, &mut NoMailbox);
        self.take_effects();
    }

    /// All connections leave. Nothing of them may stay behind.
    pub fn finish(mut self) -> Seen {
        let stats = Stats {
            queued_bytes: 0,
            ..self.shard.stats().clone()
        };
        for conn in core::mem::take(&mut self.conns) {
            self.shard
                .handle_disconnected(self.now, conn, &mut NoMailbox);
        }
        self.settle();
        let usage = self.shard.usage();
        assert_eq!(usage.pool_bytes_free, self.pool_bytes, "{usage:?}");
        let left = (usage.packets, usage.flows, usage.notes, usage.heard);
        assert_eq!(left, (0, 0, 0, 0));
        assert_eq!(usage.keys, 0);
        let gauges = self.shard.stats();
        assert_eq!(
            (gauges.connections, gauges.uplinks, gauges.queued_bytes),
            (0, 0, 0)
        );
        assert_eq!(
            (gauges.clients_local, gauges.clients_remote, gauges.watchers),
            (0, 0, 0)
        );
        Seen {
            sent: self.sent,
            ends: self.ends,
            stats,
        }
    }
}

/// The frames of a stream; the last one may be cut.
pub fn frames(mut stream: &[u8]) -> impl Iterator<Item = (Header, &[u8])> {
    core::iter::from_fn(move || {
        let (header, rest) = stream.split_first_chunk::<HEADER_LEN>()?;
        let header = Header::parse(header);
        let (body, rest) = rest.split_at_checked(header.len as usize)?;
        stream = rest;
        Some((header, body))
    })
}
