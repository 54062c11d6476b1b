//! What an operator sees of a shard's clients.

use core::net::SocketAddr;

use towline_wire::{NodePublic, Time};

use super::{ConnId, Volume};

/// A connection, as `towline relay clients` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientRow {
    /// The connection.
    pub conn: ConnId,
    /// Its key.
    pub key: NodePublic,
    /// Where it connects from.
    pub addr: SocketAddr,
    /// What program it says it is.
    pub app_name: Option<Box<str>>,
    /// It calls this relay its home.
    pub home: bool,
    /// A mesh peer.
    pub mesh: bool,
    /// A prober.
    pub prober: bool,
    /// Another node of the region would suit it better.
    pub not_ideal: bool,
    /// It watches who is connected.
    pub watcher: bool,
    /// Its key has several connections ...
    pub duplicate: bool,
    /// ... and this is the one that gets the packets.
    pub active: bool,
    /// Reading from it is paused.
    pub paused: bool,
    /// Packets that it sent.
    pub received: Volume,
    /// Packets written to it.
    pub sent: Volume,
    /// Packets for it that were dropped.
    pub dropped: u64,
    /// Bytes in its queues, as they are charged.
    pub queued_bytes: u32,
    /// Since when it is connected.
    pub connected_at: Time,
}
