//! One shard of the relay, as a state machine without sockets, clock or randomness of its own.
//!
//! A shard owns every connection whose key hashes to it, and all of their state. Bytes of the DERP
//! stream come in (`handle_*`), frames and effects go out (`poll_*`, `write_frames`); what concerns a key
//! of another shard crosses in a `Message`. TLS, WebSocket and sockets are the caller's: the shard
//! threads of the crate `relay`, and a virtual network in the tests.
//!
//! A turn of the caller's loop:
//! 1. `handle_connected`, `handle_bytes`, `handle_message`, `handle_timeout` as things happen;
//! 2. `poll_writable` names the connections that gained frames; `write_frames` for those whose socket
//!    takes bytes;
//! 3. `poll_effect` until it has nothing more;
//! 4. `settle`: packets that are still queued leave the receive buffers.

mod admin;
mod blocks;
mod buffers;
mod config;
mod conn;
mod connections;
mod dispatch;
mod duplicates;
mod effect;
mod frames_in;
mod frames_out;
mod heard;
mod mailbox;
mod memo;
mod mesh;
mod message;
mod notes;
mod outbox;
mod pauses;
mod payload;
mod presence;
mod queue;
mod random;
mod rate;
mod route;
mod slab;
mod stats;
mod table;

use std::collections::VecDeque;

use towline_wire::Time;
use towline_wire::deadlines::Deadlines;
use towline_wire::frame::Restarting;
use towline_wire::limits::{SHARD_NOTICES_MAX, UPLINKS_MAX};

pub use admin::{ClientRow, Usage};
pub use buffers::{BufferId, Buffers, FRAME_BUF_BYTES_MIN, FrameBuf};
pub use config::{ShardConfig, ShardId, UplinkId};
pub use effect::{CloseReason, ConnError, ConnId, ConnectError, Effect};
pub use mailbox::{Mailbox, MailboxFull, NoMailbox};
pub use message::{
    Control, MESSAGE_HEAD_BYTES_MAX, Message, MessageHead, NotAMessage, Presence, Route,
};
pub use payload::{Payload, Pieces};
pub use stats::{DropReason, PacketKind, Stats, Volume};

use crate::connected::Connected;
use conn::Conn;
use heard::Heard;
use memo::Memo;
use mesh::Watcher;
use notes::{Note, Notes};
use outbox::Outbox;
use presence::Changes;
use queue::{Bounds, Queues};
use random::Random;
use route::Held;
use slab::{NONE, Slab};
use table::Table;

/// A shard.
pub struct Shard {
    config: ShardConfig,
    stats: Stats,
    random: Random,

    conns: Slab<Conn>,
    table: Table,
    memo: Memo,
    deadlines: Deadlines,
    /// Connections that gained frames, for `poll_writable`.
    writable: VecDeque<u32>,
    effects: VecDeque<Effect>,

    queues: Queues,
    /// Bytes of frames that were begun and not finished, of all connections.
    unfinished_bytes: usize,
    notes: Notes,
    heard: Heard,
    restarting: Restarting,
    /// Where frames of our own are put together.
    scratch: Vec<u8>,

    changes: Changes,
    watchers: Vec<Watcher>,
    /// The connections of the uplinks that this shard runs.
    uplinks: Vec<u32>,
    outbox: Outbox,
    /// Mesh peers that are not read from until the outbox is shorter.
    held_back: Vec<ConnId>,
}

impl Shard {
    /// A shard without connections. `seed` feeds what should differ between connections, such as the
    /// time of their keepalives; it is not used for secrets.
    #[must_use]
    pub fn new(config: ShardConfig, seed: [u8; 32]) -> Self {
        let bounds = Bounds {
            bytes_max: [config.disco_queue_bytes_max, config.queue_bytes_max],
            uplink_bytes_max: config.uplink_queue_bytes_max,
            age_max_ns: config.queue_age_max.as_nanos() as u64,
            bytes_aged: config.queue_bytes_aged,
        };
        // Keys of other relays count twice: those that are learned while all others are being missed.
        // One departure more, while it is decided who is not told about it.
        let keys_max =
            config.connections_max + 2 * config.remote_keys_max + config.departures_max + 1;
        Self {
            stats: Stats::default(),
            random: Random::new(seed),
            conns: Slab::new(config.connections_max),
            table: Table::new(keys_max),
            memo: Memo::new(),
            deadlines: Deadlines::with_capacity(config.connections_max as usize),
            writable: VecDeque::with_capacity(1 << 10),
            effects: VecDeque::with_capacity(1 << 8),
            queues: Queues::new(config.pool_bytes, bounds),
            unfinished_bytes: 0,
            notes: Notes::new(SHARD_NOTICES_MAX as u32),
            heard: Heard::new(config.heard_max),
            restarting: Restarting {
                reconnect_in_ms: 0,
                try_for_ms: 0,
            },
            scratch: Vec::with_capacity(FRAME_BUF_BYTES_MIN),
            changes: Changes::new(&config),
            watchers: Vec::new(),
            uplinks: vec![NONE; UPLINKS_MAX],
            outbox: Outbox::new(config.shards),
            held_back: Vec::new(),
            config,
        }
    }

    /// Takes over a client after its handshake. `server_info_frame` is the first thing written to it.
    ///
    /// # Errors
    /// The shard is full, or does not own the client's key.
    pub fn handle_connected(
        &mut self,
        now: Time,
        client: Connected,
        server_info_frame: Vec<u8>,
        mail: &mut impl Mailbox,
    ) -> Result<ConnId, ConnectError> {
        self.connect(now, client, server_info_frame, mail)
    }

    /// Takes over a connection that this relay opened to another one of its mesh, after `ServerInfo`
    /// was read from it. Only the shard `ShardConfig::uplink_owner` takes it.
    ///
    /// # Errors
    /// The shard is full or the wrong one, or the uplink is connected already.
    pub fn handle_uplink(&mut self, now: Time, uplink: UplinkId) -> Result<ConnId, ConnectError> {
        self.connect_uplink(now, uplink)
    }

    /// Takes bytes of a connection's DERP stream, which lie at `offset` of `buffer`. Frames may start
    /// and end anywhere. May be called many times in a turn.
    ///
    /// # Errors
    /// The connection broke the protocol: close it, then call `handle_disconnected`.
    pub fn handle_bytes(
        &mut self,
        now: Time,
        conn: ConnId,
        buffer: BufferId,
        offset: usize,
        bytes: &[u8],
        mail: &mut impl Mailbox,
    ) -> Result<(), ConnError> {
        let slot = self.slot(conn)?;
        self.conns[slot].last_read = now;
        let result = self.read(now, slot, buffer, offset, bytes, mail);
        self.spend_rate(now, slot, bytes.len());
        if result.is_err() {
            self.conns[slot].closing = true;
        }
        result
    }

    /// Takes a message of another shard.
    pub fn handle_message(
        &mut self,
        now: Time,
        from: ShardId,
        message: Message<'_>,
        mail: &mut impl Mailbox,
    ) {
        match message {
            Message::Packet { route, payload } => {
                self.packet_from_shard(now, from, &route, payload, mail);
            }
            Message::Forward {
                uplink,
                src,
                src_hash,
                dst,
                payload,
            } => {
                let kind = route::kind_of(payload.pieces().next().unwrap_or_default());
                let held = Held::Mail(payload);
                self.queue_uplink(now, uplink, kind, &src, src_hash, &dst, held);
            }
            Message::Control(control) => self.handle_control(now, from, control, mail),
        }
    }

    fn handle_control(
        &mut self,
        now: Time,
        from: ShardId,
        control: Control,
        mail: &mut impl Mailbox,
    ) {
        match control {
            Control::NotHere { to, key } => self.not_here(now, to, key),
            Control::Gone { key } => self.tell_departure(&key, self.config.key_hash(&key)),
            Control::Watch {
                watcher,
                restart,
                credit,
            } => {
                if restart {
                    self.watch(now, from, watcher, credit, mail);
                } else {
                    self.give_credit(from, watcher, credit);
                    self.tell_changes(now, mail);
                }
            }
            Control::Unwatch { watcher } => self.unwatch(from, watcher),
            Control::Presence { watcher, change } => {
                if !self.note(watcher, Note::Presence(change, from)) {
                    self.close_anywhere(
                        now,
                        self.config.shard,
                        watcher,
                        CloseReason::WatcherLags,
                        mail,
                    );
                }
            }
            Control::Close { conn, reason } => {
                self.close_anywhere(now, self.config.shard, conn, reason, mail);
            }
            Control::ClosePeer { key } => {
                self.close_key(&key, CloseReason::ClosedByMesh);
            }
            Control::Forwarder {
                uplink,
                key,
                present,
            } => self.set_forwarder(now, uplink, &key, present, mail),
            Control::UplinkDown { uplink } => self.uplink_down(now, uplink, mail),
        }
    }

    /// Forgets a connection that is closed, whoever closed it. Its id is not valid any more.
    pub fn handle_disconnected(&mut self, now: Time, conn: ConnId, mail: &mut impl Mailbox) {
        if let Ok(slot) = self.slot(conn) {
            self.disconnect(now, slot, mail);
        }
    }

    /// Does what is due: keepalives, the end of pauses, messages that found a mailbox full.
    pub fn handle_timeout(&mut self, now: Time, mail: &mut impl Mailbox) {
        while let Some(slot) = self.deadlines.pop_due(now) {
            self.deadline_due(now, slot);
        }
        if self.outbox.retry_at().is_some_and(|at| at <= now) {
            self.outbox.flush(now, mail);
            self.return_credit(now, mail);
            self.tell_changes(now, mail);
            self.release_held_back();
        }
    }

    /// When `handle_timeout` is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        // `settle` may have left something to be done.
        if !self.effects.is_empty() {
            return Some(Time::ZERO);
        }
        match (self.deadlines.next(), self.outbox.retry_at()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// A connection that gained something to write since it was named last.
    pub fn poll_writable(&mut self) -> Option<ConnId> {
        loop {
            let slot = self.writable.pop_front()?;
            let conn = &mut self.conns[slot];
            // False for the place of a connection that went meanwhile.
            if core::mem::take(&mut conn.listed_writable) {
                return Some(conn.id(slot));
            }
        }
    }

    /// Writes frames into `out` until it is full or there are no more; says whether there are more.
    /// A packet may go on in the next buffer: the bytes of a connection's buffers, one after the other,
    /// are its stream. Whatever was written counts as sent.
    pub fn write_frames(
        &mut self,
        now: Time,
        conn: ConnId,
        buffers: &impl Buffers,
        out: &mut FrameBuf<'_>,
    ) -> bool {
        match self.slot(conn) {
            Ok(slot) => self.write(now, slot, buffers, out),
            Err(_) => false,
        }
    }

    /// Ends the turn: no queue refers to a receive buffer afterwards.
    pub fn settle(&mut self, buffers: &impl Buffers) {
        while let Some((packet, slot)) = self.queues.next_unsettled() {
            let out = &mut self.conns[slot].out;
            let settled = self
                .queues
                .settle_packet(packet, out, buffers, &mut self.stats);
            if settled.is_err() {
                self.close(slot, CloseReason::OutOfStorage);
            }
        }
    }

    /// The next thing to do for the caller.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// The counters.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Who this shard is, and its bounds.
    #[must_use]
    pub const fn config(&self) -> &ShardConfig {
        &self.config
    }
}

impl core::fmt::Debug for Shard {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Shard")
            .field("shard", &self.config.shard)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}
