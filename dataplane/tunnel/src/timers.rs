//! The five timers of a peer, as in the kernel's timers.c. Here is when each is set and cleared; what happens when one
//! fires is in `tunnel::timeouts`.

use core::time::Duration;

use towline_wire::Time;
use towline_wire::limits::{KEEPALIVE_TIMEOUT, REKEY_TIMEOUT, WIPE_AFTER_TIME};

/// A timer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// An initiation was not answered.
    Retransmit,
    /// We received data and said nothing since.
    Keepalive,
    /// We sent data and heard nothing since.
    NewHandshake,
    /// No session was made for long.
    Wipe,
    /// Nothing passed in either direction for as long as the operator wants.
    Persistent,
}

impl Timer {
    pub(crate) const ALL: [Self; 5] = [
        Self::Retransmit,
        Self::Keepalive,
        Self::NewHandshake,
        Self::Wipe,
        Self::Persistent,
    ];
}

/// A time that does not come.
const NEVER: Time = Time(u64::MAX);

#[derive(Debug)]
pub(crate) struct Timers {
    at: [Time; 5],
    /// The interval of persistent keepalives.
    pub(crate) persistent: Option<Duration>,
    /// Initiations since the last one that was not a repetition.
    pub(crate) attempts: u32,
    /// Data came while a keepalive was due already.
    pub(crate) needs_another_keepalive: bool,
    /// A side that only receives has asked for a new session.
    pub(crate) took_last_chance: bool,
    /// When we last sent a handshake message.
    pub(crate) last_handshake_sent: Option<Time>,
}

impl Timers {
    pub(crate) const fn new() -> Self {
        Self {
            at: [NEVER; 5],
            persistent: None,
            attempts: 0,
            needs_another_keepalive: false,
            took_last_chance: false,
            last_handshake_sent: None,
        }
    }

    /// When the first of them fires.
    pub(crate) fn next(&self) -> Option<Time> {
        let [a, b, c, d, e] = self.at;
        let next = a.min(b).min(c).min(d).min(e);
        (next != NEVER).then_some(next)
    }

    /// Takes a timer if it is due.
    pub(crate) fn take_due(&mut self, timer: Timer, now: Time) -> bool {
        let due = self.at[timer as usize] <= now && self.is_set(timer);
        if due {
            self.clear(timer);
        }
        due
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.at[timer as usize] != NEVER
    }

    pub(crate) fn set(&mut self, timer: Timer, at: Time) {
        self.at[timer as usize] = at;
    }

    pub(crate) fn clear(&mut self, timer: Timer) {
        self.at[timer as usize] = NEVER;
    }

    pub(crate) fn clear_all(&mut self) {
        self.at = [NEVER; 5];
    }

    /// No timer runs until something happens again.
    pub(crate) fn rest(&mut self) {
        *self = Self {
            persistent: self.persistent,
            ..Self::new()
        };
    }

    /// Changes the interval of persistent keepalives; the next one counts from now.
    pub(crate) fn set_persistent(&mut self, interval: Option<Duration>, now: Time) {
        self.persistent = interval;
        self.clear(Timer::Persistent);
        self.passed(now);
    }

    /// Data left. `jitter` keeps two peers from beginning handshakes at the same time.
    pub(crate) fn data_sent(&mut self, now: Time, jitter: impl FnOnce() -> Duration) {
        if !self.is_set(Timer::NewHandshake) {
            let at = now + KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + jitter();
            self.set(Timer::NewHandshake, at);
        }
    }

    /// Data came; a keepalive is not data.
    pub(crate) fn data_received(&mut self, now: Time) {
        if self.is_set(Timer::Keepalive) {
            self.needs_another_keepalive = true;
        } else {
            self.set(Timer::Keepalive, now + KEEPALIVE_TIMEOUT);
        }
    }

    /// Anything left that the peer can authenticate.
    pub(crate) fn sent(&mut self, now: Time) {
        self.clear(Timer::Keepalive);
        self.passed(now);
    }

    /// Anything came that was authenticated.
    pub(crate) fn received(&mut self, now: Time) {
        self.clear(Timer::NewHandshake);
        self.passed(now);
    }

    /// An initiation left.
    pub(crate) fn initiated(&mut self, now: Time, jitter: Duration) {
        self.sent(now);
        self.last_handshake_sent = Some(now);
        self.set(Timer::Retransmit, now + REKEY_TIMEOUT + jitter);
    }

    /// A response left.
    pub(crate) fn responded(&mut self, now: Time) {
        self.sent(now);
        self.last_handshake_sent = Some(now);
    }

    /// Both sides have the keys of a new session, and we know it.
    pub(crate) fn handshake_complete(&mut self) {
        self.clear(Timer::Retransmit);
        self.attempts = 0;
        self.took_last_chance = false;
    }

    /// We have the keys of a new session.
    pub(crate) fn session_derived(&mut self, now: Time) {
        self.set(Timer::Wipe, now + WIPE_AFTER_TIME);
    }

    fn passed(&mut self, now: Time) {
        if let Some(interval) = self.persistent {
            self.set(Timer::Persistent, now + interval);
        }
    }
}
