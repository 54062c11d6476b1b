//! What an operator sees of a shard's clients, and does to them.

use core::net::SocketAddr;

use towline_wire::{NodePublic, Time};

use super::conn::{Conn, Role};
use super::{CloseReason, ConnId, Shard, Volume};
use crate::connected::RateLimit;
use towline_wire::frame::Restarting;

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
    /// Its rate limit, its own or the default.
    pub limit: Option<RateLimit>,
}

/// How full a shard's bounded stores are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Storage for packets that is free.
    pub pool_bytes_free: usize,
    /// Packets that wait, or are being written.
    pub packets: u32,
    /// Pairs of sender and receiver between whom packets wait.
    pub flows: u32,
    /// Short notices that wait.
    pub notes: u32,
    /// Remembered pairs of receiver and sender.
    pub heard: u32,
    /// Keys with a connection here or at another relay, or whose departure is still told.
    pub keys: u32,
}

impl Shard {
    /// How full the shard's bounded stores are.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let (packets, flows) = self.queues.len();
        Usage {
            pool_bytes_free: self.queues.blocks.free_bytes(),
            packets,
            flows,
            notes: self.notes.len(),
            heard: self.heard.len(),
            keys: self.table.len(),
        }
    }

    /// Whether storage for packets was touched that none of them needs now. The caller looks at it for a while before it
    /// calls [`Self::rest`]: a burst that comes again would touch it again.
    #[must_use]
    pub fn can_rest(&self) -> bool {
        self.queues.blocks.can_rest()
    }

    /// Gives storage that no packet needs back to the system.
    pub fn rest(&mut self) {
        self.queues.blocks.rest();
    }

    /// Tells the clients that bear it that the relay goes away; returns how many are told.
    pub fn restart_notice(&mut self, reconnect_in_ms: u32, try_for_ms: u32) -> u32 {
        self.restarting = Restarting {
            reconnect_in_ms,
            try_for_ms,
        };
        let mut told = 0;
        for slot in self.client_slots() {
            let conn = &mut self.conns[slot];
            if conn.traits.go_client {
                conn.due.restarting = true;
                told += 1;
                self.mark_writable(slot);
            }
        }
        told
    }

    /// Closes all connections of a key that this shard owns; returns how many there are.
    pub fn kick(&mut self, key: &NodePublic) -> u32 {
        self.close_key(key, CloseReason::Kicked)
    }

    /// Replaces the rate limit of all clients that have none of their own.
    pub fn set_limits(&mut self, limit: Option<RateLimit>) {
        self.config.rate_limit = limit;
        for slot in self.client_slots() {
            if !self.conns[slot].rate_is_own {
                self.limit_conn(slot, limit);
            }
        }
    }

    /// Gives the connections of a key a limit of their own, or (`None`) none, whatever the default; returns
    /// how many there are. Mesh peers stay without limit.
    pub fn set_client_limit(&mut self, key: &NodePublic, limit: Option<RateLimit>) -> u32 {
        let conns = self.conns_of(key);
        for slot in &conns {
            self.conns[*slot].rate_is_own = true;
            self.limit_conn(*slot, limit);
        }
        conns.len() as u32
    }

    /// All clients, uplinks not among them.
    pub fn clients(&self) -> impl Iterator<Item = ClientRow> + '_ {
        self.client_slots()
            .map(|slot| self.row(slot, &self.conns[slot]))
    }

    /// The connections of clients. They are found again for each, so that they may change meanwhile.
    fn client_slots(&self) -> impl Iterator<Item = u32> + use<> {
        let slots: Vec<u32> = (0..self.conns.places().len() as u32)
            .filter(|slot| self.is_client(*slot))
            .collect();
        slots.into_iter()
    }

    fn row(&self, slot: u32, conn: &Conn) -> ClientRow {
        let active = match conn.role {
            Role::Client { record } => self.table[record].active == slot,
            _ => false,
        };
        ClientRow {
            conn: conn.id(slot),
            key: conn.key,
            addr: conn.addr(),
            app_name: conn.app_name.clone(),
            home: conn.home,
            mesh: conn.traits.mesh,
            prober: conn.traits.prober,
            not_ideal: conn.traits.not_ideal,
            watcher: conn.watcher,
            duplicate: conn.duplicate,
            active,
            paused: conn.paused.any(),
            limit: conn.rate.as_ref().map(|rate| rate.limit()),
            received: conn.received,
            sent: conn.sent,
            dropped: conn.out.dropped,
            queued_bytes: conn.out.bytes(),
            connected_at: conn.connected_at,
        }
    }
}
