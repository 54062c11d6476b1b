//! Connections that are not read from for a while: clients that spent their rate, and mesh peers that
//! say more than the other shards take. Nothing is dropped; the kernel's buffer fills, and the peer waits.

use towline_wire::Time;

use super::rate::ReceiveRate;
use super::{Effect, Shard};
use crate::connected::RateLimit;

impl Shard {
    /// Sets the limit of one connection.
    pub(super) fn limit_conn(&mut self, slot: u32, limit: Option<RateLimit>) {
        let conn = &mut self.conns[slot];
        if conn.traits.mesh {
            return;
        }
        conn.rate = limit.and_then(ReceiveRate::new).map(Box::new);
        if conn.paused.rate_until.take().is_some() {
            self.resume_if_free(slot);
        }
    }

    /// Pays for bytes that came in.
    #[inline]
    pub(super) fn spend_rate(&mut self, now: Time, slot: u32, bytes: usize) {
        let conn = &mut self.conns[slot];
        let Some(rate) = &mut conn.rate else {
            return;
        };
        if let Some(until) = rate.spend(now, bytes) {
            let was_paused = conn.paused.any();
            self.stats.rate_limit_waited += u64::from(conn.paused.rate_until.is_none());
            conn.paused.rate_until = Some(until);
            let silent_since = conn.last_write;
            self.paused(slot, was_paused);
            self.schedule(slot, silent_since);
        }
    }

    /// Does not read from a mesh peer while other shards do not take what it says.
    pub(super) fn hold_back(&mut self, slot: u32) {
        let conn = &mut self.conns[slot];
        let was_paused = conn.paused.any();
        if !conn.paused.mesh {
            conn.paused.mesh = true;
            self.held_back.push(conn.id(slot));
            self.paused(slot, was_paused);
        }
    }

    pub(super) fn release_held_back(&mut self) {
        if self.held_back.is_empty() || !self.outbox.is_relieved() {
            return;
        }
        for conn in core::mem::take(&mut self.held_back) {
            if let Ok(slot) = self.slot(conn) {
                self.conns[slot].paused.mesh = false;
                self.resume_if_free(slot);
            }
        }
    }

    fn paused(&mut self, slot: u32, was_paused: bool) {
        if !was_paused {
            let conn = self.conns[slot].id(slot);
            self.effects.push_back(Effect::PauseReads { conn });
        }
    }

    pub(super) fn resume_if_free(&mut self, slot: u32) {
        let conn = &self.conns[slot];
        if !conn.paused.any() {
            let conn = conn.id(slot);
            self.effects.push_back(Effect::ResumeReads { conn });
        }
    }
}
