//! Several connections with one key. All stay open; the newest is active and gets the packets, and
//! whenever another one says anything it becomes the active one.
//!
//! That is right for a client that reconnected and left its old connection behind. Two machines with
//! one key, however, take the packets from each other without end: they are told (`Health`), once the
//! turns have changed often enough, and again when it is over.

use towline_wire::Time;
use towline_wire::limits::{DUPLICATES_MAX, FIGHT_SPAN, FIGHT_TURNS};

use super::conn::Health;
use super::slab::NONE;
use super::{CloseReason, Shard};

/// The connections of a key that has more than one.
#[derive(Debug)]
pub(super) struct Duplicates {
    /// By when they last spoke or connected; the last one is active.
    conns: Vec<u32>,
    /// How often the active one changed since `since`.
    turns: u32,
    since: Time,
    last_turn: Time,
    /// They were told that they fight.
    fighting: bool,
}

impl Duplicates {
    pub(super) fn conns(&self) -> &[u32] {
        &self.conns
    }

    /// Makes a connection the active one. True when that makes it a fight.
    fn take_turn(&mut self, now: Time, slot: u32) -> bool {
        self.conns.retain(|conn| *conn != slot);
        self.conns.push(slot);
        if now - self.since > FIGHT_SPAN {
            self.since = now;
            self.turns = 0;
        }
        self.turns += 1;
        self.last_turn = now;
        let begins = self.turns >= FIGHT_TURNS && !self.fighting;
        self.fighting |= begins;
        begins
    }
}

impl Shard {
    /// Adds a connection to its key, as the active one.
    pub(super) fn enter_key(&mut self, now: Time, index: u32, slot: u32) {
        let record = &mut self.table[index];
        let active = record.active;
        record.active = slot;
        if active == NONE {
            return;
        }
        self.stats.dup_client_conns_total += 1;
        self.conns[slot].duplicate = true;
        if let Some(duplicates) = &mut record.duplicates {
            self.stats.dup_client_conns += 1;
            duplicates.conns.push(slot);
            if duplicates.conns.len() > DUPLICATES_MAX {
                let eldest = duplicates.conns[0];
                self.close(eldest, CloseReason::TooManyDuplicates);
            }
            return;
        }
        self.stats.dup_client_keys += 1;
        self.stats.dup_client_conns += 2;
        self.conns[active].duplicate = true;
        record.duplicates = Some(Box::new(Duplicates {
            conns: vec![active, slot],
            turns: 0,
            since: now,
            last_turn: now,
            fighting: false,
        }));
    }

    /// Takes a connection from its key. What is left of several is an ordinary connection again, or
    /// the one that spoke last is active.
    pub(super) fn leave_key(&mut self, index: u32, slot: u32) {
        let record = &mut self.table[index];
        let Some(duplicates) = &mut record.duplicates else {
            record.active = NONE;
            return;
        };
        self.stats.dup_client_conns -= 1;
        duplicates.conns.retain(|conn| *conn != slot);
        record.active = duplicates.conns.last().copied().unwrap_or(NONE);
        if let [remaining] = *duplicates.conns {
            let fought = duplicates.fighting;
            record.duplicates = None;
            self.stats.dup_client_conns -= 1;
            self.stats.dup_client_keys -= 1;
            self.conns[remaining].duplicate = false;
            if fought {
                self.tell_health(remaining, Health::Well);
            }
        }
    }

    /// A connection whose key has others said something.
    #[cold]
    pub(super) fn spoke(&mut self, now: Time, index: u32, slot: u32) {
        let record = &mut self.table[index];
        if record.active == slot {
            return;
        }
        record.active = slot;
        if let Some(duplicates) = &mut record.duplicates
            && duplicates.take_turn(now, slot)
        {
            self.tell_all_health(index, Health::Fighting);
        }
    }

    /// Ends a fight that was not carried on for long.
    pub(super) fn end_fight(&mut self, now: Time, index: u32) {
        if let Some(duplicates) = &mut self.table[index].duplicates
            && duplicates.fighting
            && now - duplicates.last_turn > FIGHT_SPAN
        {
            duplicates.fighting = false;
            duplicates.turns = 0;
            self.tell_all_health(index, Health::Well);
        }
    }

    fn tell_all_health(&mut self, index: u32, health: Health) {
        let count = self.table[index]
            .duplicates
            .as_ref()
            .map_or(0, |duplicates| duplicates.conns.len());
        for place in 0..count {
            let conn = self.table[index]
                .duplicates
                .as_ref()
                .and_then(|duplicates| duplicates.conns.get(place).copied());
            if let Some(conn) = conn {
                self.tell_health(conn, health);
            }
        }
    }

    /// Only clients that bear the frame are told.
    fn tell_health(&mut self, slot: u32, health: Health) {
        let conn = &mut self.conns[slot];
        if conn.traits.go_client {
            conn.due.health = Some(health);
            self.mark_writable(slot);
        }
    }
}
