//! What happens when a timer of a peer fires (timers.c of the kernel).

use towline_wire::Time;
use towline_wire::limits::{KEEPALIVE_TIMEOUT, REKEY_ATTEMPT_TIME, REKEY_TIMEOUT, WIPE_AFTER_TIME};

use crate::timers::Timer;
use crate::tunnel::Tunnel;

/// Repetitions of an initiation before the handshake is given up.
const REPETITIONS_MAX: u32 = (REKEY_ATTEMPT_TIME.as_secs() / REKEY_TIMEOUT.as_secs()) as u32;

impl Tunnel {
    /// Fires the timers of a peer that are due.
    pub(super) fn fire_due(&mut self, now: Time, slot: u32) {
        for timer in Timer::ALL {
            let peer = self.peers.get_mut(slot);
            if peer.is_some_and(|peer| peer.timers.take_due(timer, now)) {
                self.fire(timer, now, slot);
            }
        }
    }

    fn fire(&mut self, timer: Timer, now: Time, slot: u32) {
        match timer {
            Timer::Retransmit => self.retransmit(now, slot),
            Timer::Keepalive => {
                self.send_keepalive(now, slot);
                if let Some(peer) = self.peers.get_mut(slot)
                    && core::mem::take(&mut peer.timers.needs_another_keepalive)
                {
                    peer.timers.set(Timer::Keepalive, now + KEEPALIVE_TIMEOUT);
                }
            }
            Timer::NewHandshake => {
                self.forget_source_of(slot);
                self.initiate(now, slot, false);
            }
            Timer::Wipe => self.wipe(slot),
            Timer::Persistent => self.send_keepalive(now, slot),
        }
    }

    /// A handshake that is under way survives: after a suspend it may have begun just before the timer is seen to.
    fn wipe(&mut self, slot: u32) {
        let peer = self.peers.get_mut(slot);
        let under_way = peer.is_some_and(|peer| peer.timers.is_set(Timer::Retransmit));
        self.end_sessions(slot, under_way);
    }

    fn retransmit(&mut self, now: Time, slot: u32) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        if peer.timers.attempts > REPETITIONS_MAX {
            peer.timers.clear(Timer::Keepalive);
            if !peer.timers.is_set(Timer::Wipe) {
                peer.timers.set(Timer::Wipe, now + WIPE_AFTER_TIME);
            }
            self.stats.handshakes_given_up += 1;
            self.drop_staged(slot);
        } else {
            peer.timers.attempts += 1;
            self.forget_source_of(slot);
            self.initiate(now, slot, true);
        }
    }

    /// The local address that was reached last may be the reason why nothing comes back.
    fn forget_source_of(&mut self, slot: u32) {
        if let Some(endpoint) = self
            .peers
            .get_mut(slot)
            .and_then(|peer| peer.endpoint.as_mut())
        {
            endpoint.source = None;
        }
    }
}
