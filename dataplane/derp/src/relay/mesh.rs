//! The mesh: what peers with the mesh key ask of us (watching, closing), and what other relays tell us
//! through our uplinks (who is connected to them).
//!
//! Which relay has a key is known to the shard that owns the key; it alone decides where packets for
//! it go and when it has left the region.

use towline_wire::frame::{PeerGone, PeerPresent};
use towline_wire::limits::WATCH_WINDOW;
use towline_wire::{NodePublic, Time};

use super::mailbox::Mailbox;
use super::message::Control;
use super::presence::LeftFrom;
use super::slab::NONE;
use super::{CloseReason, Shard, ShardId, UplinkId};

/// What a watcher takes before it asks for more.
const WATCH_CREDIT: u32 = WATCH_WINDOW as u32;

/// A watcher at this shard: what it has taken of each shard's changes since that shard was told.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) slot: u32,
    pub(super) taken: Box<[u32]>,
}

impl Shard {
    /// `WatchConns`: the client is told who is connected, from the beginning, and then of changes.
    pub(super) fn start_watching(&mut self, now: Time, slot: u32, mail: &mut impl Mailbox) {
        let conn = &mut self.conns[slot];
        if conn.key == self.config.server_key {
            // It is this relay itself: a mesh list that names its own host.
            return;
        }
        let credit = if conn.watcher { 0 } else { WATCH_CREDIT };
        if !conn.watcher {
            conn.watcher = true;
            self.stats.watchers += 1;
            self.watchers.push(Watcher {
                slot,
                taken: vec![0; usize::from(self.config.shards)].into_boxed_slice(),
            });
        }
        let watcher = self.conns[slot].id(slot);
        for to in self.other_shards() {
            let watch = Control::Watch {
                watcher,
                restart: true,
                credit,
            };
            self.outbox.send(now, to, watch, mail);
        }
        self.watch(now, self.config.shard, watcher, credit, mail);
    }

    pub(super) fn stop_watching(&mut self, now: Time, slot: u32, mail: &mut impl Mailbox) {
        let conn = &mut self.conns[slot];
        if !conn.watcher {
            return;
        }
        conn.watcher = false;
        let watcher = conn.id(slot);
        self.stats.watchers -= 1;
        self.watchers.retain(|watcher| watcher.slot != slot);
        self.unwatch(self.config.shard, watcher);
        for to in self.other_shards() {
            let unwatch = Control::Unwatch { watcher };
            self.outbox.send(now, to, unwatch, mail);
        }
    }

    /// A watcher was written a change that `origin` told it.
    pub(super) fn change_taken(&mut self, slot: u32, origin: ShardId) {
        if origin == self.config.shard {
            let watcher = self.conns[slot].id(slot);
            return self.give_credit(origin, watcher, 1);
        }
        let watcher = self.watchers.iter_mut().find(|w| w.slot == slot);
        if let Some(taken) = watcher.and_then(|w| w.taken.get_mut(usize::from(origin.0))) {
            *taken += 1;
            if *taken >= WATCH_CREDIT / 2 {
                self.outbox.retry_at_once();
            }
        }
    }

    /// Tells the other shards that watchers here take more.
    pub(super) fn return_credit(&mut self, now: Time, mail: &mut impl Mailbox) {
        for watcher in &mut self.watchers {
            let id = self.conns[watcher.slot].id(watcher.slot);
            for (shard, taken) in watcher.taken.iter_mut().enumerate() {
                if *taken >= WATCH_CREDIT / 2 {
                    let watch = Control::Watch {
                        watcher: id,
                        restart: false,
                        credit: core::mem::take(taken),
                    };
                    self.outbox.send(now, ShardId(shard as u16), watch, mail);
                }
            }
        }
    }

    /// `ClosePeer`: to whichever shard owns the key.
    pub(super) fn close_peer(&mut self, now: Time, key: &NodePublic, mail: &mut impl Mailbox) {
        let owner = self.config.owner(key);
        if owner == self.config.shard {
            self.close_key(key, CloseReason::ClosedByMesh);
        } else {
            let close = Control::ClosePeer { key: *key };
            self.outbox.send(now, owner, close, mail);
        }
    }

    /// `PeerPresent` from another relay.
    pub(super) fn peer_present(
        &mut self,
        now: Time,
        uplink: UplinkId,
        peer: &PeerPresent,
        mail: &mut impl Mailbox,
    ) {
        self.peer_changed(now, uplink, &peer.key, true, mail);
    }

    /// `PeerGone` from another relay, whatever its reason.
    pub(super) fn peer_gone(
        &mut self,
        now: Time,
        uplink: UplinkId,
        peer: &PeerGone,
        mail: &mut impl Mailbox,
    ) {
        self.peer_changed(now, uplink, &peer.key, false, mail);
    }

    fn peer_changed(
        &mut self,
        now: Time,
        uplink: UplinkId,
        key: &NodePublic,
        present: bool,
        mail: &mut impl Mailbox,
    ) {
        if *key == self.config.server_key {
            // The uplink itself, as the other relay sees it.
            return;
        }
        let owner = self.config.owner(key);
        if owner == self.config.shard {
            self.set_forwarder(now, uplink, key, present, mail);
        } else {
            let forwarder = Control::Forwarder {
                uplink,
                key: *key,
                present,
            };
            self.outbox.send(now, owner, forwarder, mail);
        }
    }

    /// Notes whether another relay has a key that this shard owns.
    pub(super) fn set_forwarder(
        &mut self,
        now: Time,
        uplink: UplinkId,
        key: &NodePublic,
        present: bool,
        mail: &mut impl Mailbox,
    ) {
        let hash = self.config.key_hash(key);
        if !present {
            match self.table.find(key, hash) {
                Some(index) if self.table[index].forwarders & bit(uplink) != 0 => {
                    self.remove_forwarder(now, uplink, index, mail);
                }
                _ => self.stats.packet_forwarder_delete_other_value += 1,
            }
            return;
        }
        let known = self.table.find(key, hash);
        let room = self.stats.clients_remote < u64::from(self.config.remote_keys_max);
        let index = known.or_else(|| room.then(|| self.table.find_or_insert(key, hash)).flatten());
        let Some(index) = index else {
            self.stats.notices_lost += 1;
            return;
        };
        let record = &mut self.table[index];
        if record.forwarders == 0 {
            record.preferred = uplink.0;
            self.stats.clients_remote += u64::from(record.is_away());
        }
        let before = record.forwarders.count_ones();
        record.forwarders |= bit(uplink);
        if before == 1 && record.forwarders.count_ones() == 2 {
            self.stats.multiforwarder_created += 1;
        }
    }

    fn remove_forwarder(
        &mut self,
        now: Time,
        uplink: UplinkId,
        index: u32,
        mail: &mut impl Mailbox,
    ) {
        let record = &mut self.table[index];
        record.forwarders &= !bit(uplink);
        match record.forwarders.count_ones() {
            0 => {}
            left => {
                self.stats.multiforwarder_deleted += u64::from(left == 1);
                if record.preferred == uplink.0 {
                    record.preferred = record.forwarders.trailing_zeros() as u8;
                }
                return;
            }
        }
        if record.is_away() {
            self.stats.clients_remote -= 1;
            self.left_region(index);
            self.changed(now, index, LeftFrom::OtherRelays, mail);
        }
    }

    /// No connection of the key is left anywhere: clients here that heard from it are told. Those of
    /// other shards are told by `changed`.
    pub(super) fn left_region(&mut self, index: u32) {
        let (key, hash) = (self.table[index].key, self.table[index].hash);
        self.tell_departure(&key, hash);
    }

    pub(super) fn tell_departure(&mut self, key: &NodePublic, hash: u64) {
        let mut cursor = self.heard.cursor(hash);
        while let Some((entry, receiver)) = self.heard.next_to_tell(&mut cursor, key, hash) {
            self.heard.depart(&mut self.conns[receiver].heard, entry);
            self.mark_writable(receiver);
        }
    }

    /// The uplink is gone, and with it the way to all that the other relay told us of.
    pub(super) fn uplink_down(&mut self, now: Time, uplink: UplinkId, mail: &mut impl Mailbox) {
        for index in 0..self.table.places() {
            if self.table.is_live(index) && self.table[index].forwarders & bit(uplink) != 0 {
                self.remove_forwarder(now, uplink, index, mail);
            }
        }
    }

    /// The connection of an uplink that this shard runs.
    pub(super) fn uplink_slot(&self, uplink: UplinkId) -> Option<u32> {
        (self.uplinks.get(usize::from(uplink.0)).copied()).filter(|slot| *slot != NONE)
    }

    pub(super) fn other_shards(&self) -> impl Iterator<Item = ShardId> + use<> {
        let me = self.config.shard;
        (0..self.config.shards)
            .map(ShardId)
            .filter(move |shard| *shard != me)
    }
}

const fn bit(uplink: UplinkId) -> u64 {
    1 << (uplink.0 & 63)
}
