//! How connections come, stay and go.

use core::net::{Ipv6Addr, SocketAddr};
use core::time::Duration;

use towline_wire::limits::{
    CLIENT_READ_TIMEOUT, FRAME_TIMEOUT, KEEPALIVE_INTERVAL, KEEPALIVE_JITTER_MAX, UPLINKS_MAX,
};
use towline_wire::{NodePublic, Time};

use super::conn::{Conn, Role, Traits};
use super::mailbox::Mailbox;
use super::message::Control;
use super::notes::Note;
use super::presence::LeftFrom;
use super::rate::ReceiveRate;
use super::slab::NONE;
use super::{CloseReason, ConnError, ConnId, ConnectError, Effect, Shard, ShardId, UplinkId};
use crate::connected::Connected;

impl Shard {
    pub(super) fn connect(
        &mut self,
        now: Time,
        client: Connected,
        server_info_frame: Vec<u8>,
        mail: &mut impl Mailbox,
    ) -> Result<ConnId, ConnectError> {
        let hash = self.config.key_hash(&client.key);
        if self.config.owner_of_hash(hash) != self.config.shard {
            return Err(ConnectError::WrongShard);
        }
        if self.conns.is_full() {
            return Err(ConnectError::Full);
        }
        let record = self
            .table
            .find_or_insert(&client.key, hash)
            .ok_or(ConnectError::Full)?;
        let slot = self.add_conn(now, Role::Client { record }, client.key, hash, client.addr)?;
        let conn = &mut self.conns[slot];
        conn.app_name = client.app_name;
        conn.traits = Traits {
            mesh: client.mesh,
            prober: client.prober,
            not_ideal: client.not_ideal,
            go_client: client.go_client,
        };
        conn.due.server_info = Some(server_info_frame.into_boxed_slice());
        conn.rate_is_own = client.limits.is_some();
        let limit = client.limits.or(self.config.rate_limit);
        conn.rate = (limit.filter(|_| !client.mesh))
            .and_then(ReceiveRate::new)
            .map(Box::new);
        self.stats.accepts += 1;
        self.stats.connections += 1;
        self.stats.notideal_connections += u64::from(client.not_ideal);
        if self.table[record].is_away() {
            self.stats.clients_local += 1;
            self.stats.clients_remote -= u64::from(self.table[record].forwarders != 0);
        }
        self.enter_key(now, record, slot);
        self.table[record].was_here = true;
        self.changed(now, record, LeftFrom::Here, mail);
        self.mark_writable(slot);
        Ok(self.conns[slot].id(slot))
    }

    pub(super) fn connect_uplink(
        &mut self,
        now: Time,
        uplink: UplinkId,
    ) -> Result<ConnId, ConnectError> {
        if usize::from(uplink.0) >= UPLINKS_MAX || self.uplink_slot(uplink).is_some() {
            return Err(ConnectError::UplinkTaken);
        }
        if self.config.uplink_owner(uplink) != self.config.shard {
            return Err(ConnectError::WrongShard);
        }
        let addr = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        let key = self.config.server_key;
        let slot = self.add_conn(now, Role::Uplink(uplink), key, 0, addr)?;
        self.conns[slot].due.watch = true;
        self.uplinks[usize::from(uplink.0)] = slot;
        self.stats.uplinks += 1;
        self.mark_writable(slot);
        Ok(self.conns[slot].id(slot))
    }

    fn add_conn(
        &mut self,
        now: Time,
        role: Role,
        key: NodePublic,
        key_hash: u64,
        addr: SocketAddr,
    ) -> Result<u32, ConnectError> {
        let slot = (self.conns)
            .insert_with(|old| {
                let generation = old.map_or(0, |old| old.generation.wrapping_add(1));
                Conn::new(role, generation, key, key_hash, addr, now)
            })
            .ok_or(ConnectError::Full)?;
        let jitter_ms = self
            .random
            .below(KEEPALIVE_JITTER_MAX.as_millis() as u64 + 1);
        self.conns[slot].keep_alive_ms = KEEPALIVE_INTERVAL.as_millis() as u32 + jitter_ms as u32;
        self.schedule(slot, now);
        Ok(slot)
    }

    pub(super) fn disconnect(&mut self, now: Time, slot: u32, mail: &mut impl Mailbox) {
        self.stop_watching(now, slot, mail);
        self.deadlines.remove(slot);
        let conn = &mut self.conns[slot];
        let role = conn.role;
        self.queues.clear(&mut conn.out, &mut self.stats);
        self.unfinished_bytes -= conn.reader.body.len as usize;
        self.queues.blocks.release(conn.reader.body.head);
        self.heard.forget(&mut conn.heard);
        self.notes.clear(&mut conn.notes);
        // The place keeps only its generation; what it owned is freed now.
        let generation = conn.generation;
        let traits = conn.traits;
        let home = conn.home;
        let nobody = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
        *conn = Conn::new(Role::Vacant, generation, conn.key, 0, nobody, now);
        match role {
            Role::Client { record } => {
                self.stats.connections -= 1;
                self.stats.home_connections -= u64::from(home);
                self.stats.notideal_connections -= u64::from(traits.not_ideal);
                self.leave_key(record, slot);
                if self.table[record].is_away() {
                    self.client_left(now, record, mail);
                }
            }
            Role::Uplink(uplink) => {
                self.stats.uplinks -= 1;
                self.uplinks[usize::from(uplink.0)] = NONE;
                for to in self.other_shards() {
                    let down = Control::UplinkDown { uplink };
                    self.outbox.send(now, to, down, mail);
                }
                self.uplink_down(now, uplink, mail);
            }
            Role::Vacant => {}
        }
        self.conns.remove(slot);
    }

    /// The last connection of a key here is gone.
    fn client_left(&mut self, now: Time, record: u32, mail: &mut impl Mailbox) {
        self.stats.clients_local -= 1;
        if self.table[record].is_gone() {
            self.left_region(record);
        } else {
            self.stats.clients_remote += 1;
        }
        self.changed(now, record, LeftFrom::Here, mail);
    }

    /// The place of a connection.
    #[inline]
    pub(super) fn slot(&self, conn: ConnId) -> Result<u32, ConnError> {
        match self.conns.places().get(conn.slot as usize) {
            Some(found) if found.generation == conn.generation && found.role != Role::Vacant => {
                Ok(conn.slot)
            }
            _ => Err(ConnError::UnknownConn),
        }
    }

    /// Has the caller close a connection.
    pub(super) fn close(&mut self, slot: u32, reason: CloseReason) {
        let conn = &mut self.conns[slot];
        if !conn.closing {
            conn.closing = true;
            let conn = conn.id(slot);
            self.effects.push_back(Effect::Close { conn, reason });
        }
    }

    /// The same for a connection of any shard.
    pub(super) fn close_anywhere(
        &mut self,
        now: Time,
        shard: ShardId,
        conn: ConnId,
        reason: CloseReason,
        mail: &mut impl Mailbox,
    ) {
        if shard != self.config.shard {
            let close = Control::Close { conn, reason };
            return self.outbox.send(now, shard, close, mail);
        }
        if let Ok(slot) = self.slot(conn) {
            self.close(slot, reason);
        }
    }

    /// Closes all connections of a key of this shard; returns how many there are.
    pub(super) fn close_key(&mut self, key: &NodePublic, reason: CloseReason) -> u32 {
        let conns = self.conns_of(key);
        for slot in &conns {
            self.close(*slot, reason);
        }
        conns.len() as u32
    }

    pub(super) fn conns_of(&self, key: &NodePublic) -> Vec<u32> {
        let Some(index) = self.table.find(key, self.config.key_hash(key)) else {
            return Vec::new();
        };
        let record = &self.table[index];
        match &record.duplicates {
            Some(duplicates) => duplicates.conns().to_vec(),
            None if record.is_away() => Vec::new(),
            None => vec![record.active],
        }
    }

    /// Queues a notice for a connection, if it is still there; false when there is no room.
    pub(super) fn note(&mut self, conn: ConnId, note: Note) -> bool {
        let Ok(slot) = self.slot(conn) else {
            return true;
        };
        let pushed = self.notes.push(&mut self.conns[slot].notes, note);
        if pushed {
            self.mark_writable(slot);
        }
        pushed
    }

    /// Has `poll_writable` name a connection.
    #[inline]
    pub(super) fn mark_writable(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        if !conn.listed_writable {
            conn.listed_writable = true;
            self.writable.push_back(slot);
        }
    }

    /// What a connection's deadline was set for.
    pub(super) fn deadline_due(&mut self, now: Time, slot: u32) {
        let conn = &mut self.conns[slot];
        if conn.paused.rate_until.is_some_and(|until| until <= now) {
            conn.paused.rate_until = None;
            conn.last_read = now;
            self.resume_if_free(slot);
        }
        let conn = &mut self.conns[slot];
        match conn.role {
            Role::Client { record } => {
                // While it is held back, nothing of the frame can be read.
                let unfinished = conn.reader.body.len > 0 && !conn.paused.any();
                if unfinished && now >= conn.last_read + FRAME_TIMEOUT {
                    return self.close(slot, CloseReason::FrameUnfinished);
                }
                let mut silent_since = conn.last_write;
                if now >= silent_since + Duration::from_millis(conn.keep_alive_ms.into()) {
                    conn.due.keep_alive = true;
                    silent_since = now;
                    self.mark_writable(slot);
                }
                self.schedule(slot, silent_since);
                self.end_fight(now, record);
            }
            Role::Uplink(_) => {
                // While it is held back, nothing can be read.
                if now >= conn.last_read + CLIENT_READ_TIMEOUT && !conn.paused.any() {
                    return self.close(slot, CloseReason::UplinkSilent);
                }
                self.schedule(slot, now);
            }
            Role::Vacant => {}
        }
    }

    /// Sets the deadline of a connection that was last written to at `silent_since`.
    pub(super) fn schedule(&mut self, slot: u32, silent_since: Time) {
        let conn = &self.conns[slot];
        let next = match conn.role {
            Role::Uplink(_) => conn.last_read.max(silent_since) + CLIENT_READ_TIMEOUT,
            _ => silent_since + Duration::from_millis(conn.keep_alive_ms.into()),
        };
        let next = conn.paused.rate_until.map_or(next, |until| until.min(next));
        self.deadlines.set(slot, next);
    }
}
