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
mod effect;
mod mailbox;
mod message;
mod payload;
mod slab;
mod stats;

use std::collections::VecDeque;

use towline_wire::{NodePublic, Time};

pub use admin::ClientRow;
pub use buffers::{BufferId, Buffers, FRAME_BUF_BYTES_MIN, FrameBuf};
pub use config::{ShardConfig, ShardId, UPLINKS_MAX, UplinkId};
pub use effect::{CloseReason, ConnError, ConnId, ConnectError, Effect};
pub use mailbox::{Mailbox, MailboxFull, NoMailbox};
pub use message::{
    Control, MESSAGE_HEAD_BYTES_MAX, Message, MessageHead, NotAMessage, Presence, Route,
};
pub use payload::{Payload, Pieces};
pub use stats::{DropReason, PacketKind, Stats, Volume};

use crate::connected::{Connected, RateLimit};

/// A shard.
pub struct Shard {
    config: ShardConfig,
    stats: Stats,
    effects: VecDeque<Effect>,
}

impl Shard {
    /// A shard without connections. `seed` feeds what should differ between connections, such as the
    /// time of their keepalives; it is not used for secrets.
    #[must_use]
    pub fn new(config: ShardConfig, now: Time, seed: [u8; 32]) -> Self {
        let _ = (now, seed);
        Self {
            config,
            stats: Stats::default(),
            effects: VecDeque::new(),
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
        let _ = (now, client, server_info_frame, mail);
        Err(ConnectError::Full)
    }

    /// Takes over a connection that this relay opened to another one of its mesh, after `ServerInfo`
    /// was read from it. Only the shard `ShardConfig::uplink_owner` takes it.
    ///
    /// # Errors
    /// The shard is full or the wrong one, or the uplink is connected already.
    pub fn handle_uplink(
        &mut self,
        now: Time,
        uplink: UplinkId,
        mail: &mut impl Mailbox,
    ) -> Result<ConnId, ConnectError> {
        let _ = (now, uplink, mail);
        Err(ConnectError::Full)
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
        let _ = (now, conn, buffer, offset, bytes, mail);
        Err(ConnError::UnknownConn)
    }

    /// Takes a message of another shard.
    pub fn handle_message(
        &mut self,
        now: Time,
        from: ShardId,
        message: Message<'_>,
        mail: &mut impl Mailbox,
    ) {
        let _ = (now, from, message, mail);
    }

    /// Forgets a connection that is closed, whoever closed it. Its id is not valid any more.
    pub fn handle_disconnected(&mut self, now: Time, conn: ConnId, mail: &mut impl Mailbox) {
        let _ = (now, conn, mail);
    }

    /// Does what is due: keepalives, the end of pauses, messages that found a mailbox full.
    pub fn handle_timeout(&mut self, now: Time, mail: &mut impl Mailbox) {
        let _ = (now, mail);
    }

    /// When `handle_timeout` is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        None
    }

    /// A connection that gained something to write since it was named last.
    pub fn poll_writable(&mut self) -> Option<ConnId> {
        None
    }

    /// Writes frames into `out` until it is full or there are no more; says whether there are more.
    /// A packet may go on in the next buffer: the bytes of a connection's buffers, one after the other,
    /// are its stream.
    pub fn write_frames(
        &mut self,
        now: Time,
        conn: ConnId,
        buffers: &impl Buffers,
        out: &mut FrameBuf<'_>,
    ) -> bool {
        let _ = (now, conn, buffers, out);
        false
    }

    /// Ends the turn: no queue refers to a receive buffer afterwards.
    pub fn settle(&mut self, buffers: &impl Buffers) {
        let _ = buffers;
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

    /// Tells the clients that bear it that the relay goes away; returns how many are told.
    pub fn restart_notice(&mut self, reconnect_in_ms: u32, try_for_ms: u32) -> u32 {
        let _ = (reconnect_in_ms, try_for_ms);
        0
    }

    /// Closes all connections of a key that this shard owns; returns how many there are.
    pub fn kick(&mut self, key: &NodePublic) -> u32 {
        let _ = key;
        0
    }

    /// Replaces the rate limit of all clients that have none of their own.
    pub fn set_limits(&mut self, now: Time, limit: Option<RateLimit>) {
        let _ = now;
        self.config.rate_limit = limit;
    }

    /// Replaces the limit of one key's connections (`None`: back to the default); returns how many.
    pub fn set_client_limit(
        &mut self,
        now: Time,
        key: &NodePublic,
        limit: Option<RateLimit>,
    ) -> u32 {
        let _ = (now, key, limit);
        0
    }

    /// All clients, uplinks not among them.
    pub fn clients(&self) -> impl Iterator<Item = ClientRow> + '_ {
        core::iter::empty()
    }
}
