//! A session: the keys that a handshake ended in, the counter of what was sealed with them and the window of what was
//! opened. And the three of them that a peer may have, which follow each other as in the kernel (noise.c).

use towline_wire::Time;
use towline_wire::limits::{
    KEEPALIVE_TIMEOUT, REJECT_AFTER_MESSAGES, REJECT_AFTER_TIME, REKEY_AFTER_MESSAGES,
    REKEY_AFTER_TIME, REKEY_TIMEOUT,
};

use crate::aead::Key;
use crate::noise::Keys;
use crate::replay::Replay;

pub(crate) struct Session {
    pub(crate) sending: Key,
    pub(crate) receiving: Key,
    /// How the peer addresses us.
    pub(crate) local: u32,
    /// How we address the peer.
    pub(crate) remote: u32,
    /// The counter of the next message.
    pub(crate) counter: u64,
    pub(crate) replay: Replay,
    pub(crate) created: Time,
    /// We spoke first, so it is on us to replace it.
    pub(crate) is_initiator: bool,
}

impl Session {
    pub(crate) fn new(keys: Keys, local: u32, is_initiator: bool, now: Time) -> Box<Self> {
        Box::new(Self {
            sending: keys.sending,
            receiving: keys.receiving,
            local,
            remote: keys.remote,
            counter: 0,
            replay: Replay::new(),
            created: now,
            is_initiator,
        })
    }

    /// Whether it is too old for anything.
    pub(crate) fn is_expired(&self, now: Time) -> bool {
        now - self.created >= REJECT_AFTER_TIME
    }

    /// Takes the counters of `count` messages; none when the session is too old or has sealed too many.
    pub(crate) fn take_counters(&mut self, count: u64, now: Time) -> Option<u64> {
        let first = self.counter;
        let next = first.checked_add(count)?;
        if self.is_expired(now) || next > REJECT_AFTER_MESSAGES {
            return None;
        }
        self.counter = next;
        Some(first)
    }

    /// Whether it should be replaced, after something was sealed with it.
    pub(crate) fn is_stale_to_send(&self, now: Time) -> bool {
        self.counter > REKEY_AFTER_MESSAGES
            || self.is_initiator && now - self.created >= REKEY_AFTER_TIME
    }

    /// Whether it should be replaced, after something was opened with it: the last chance of a side that only receives.
    pub(crate) fn is_stale_to_receive(&self, now: Time) -> bool {
        let last_chance = REJECT_AFTER_TIME - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT;
        self.is_initiator && now - self.created >= last_chance
    }
}

/// The sessions of one peer. What leaves is sealed with the current one; what comes is opened with any.
#[derive(Default)]
pub(crate) struct Sessions {
    pub(crate) previous: Option<Box<Session>>,
    pub(crate) current: Option<Box<Session>>,
    /// One that the peer began and has not used yet: the response may have been lost.
    pub(crate) next: Option<Box<Session>>,
}

impl Sessions {
    /// The session that is addressed by `local`.
    pub(crate) fn find(&mut self, local: u32) -> Option<&mut Session> {
        [&mut self.current, &mut self.next, &mut self.previous]
            .into_iter()
            .flatten()
            .map(|session| &mut **session)
            .find(|session| session.local == local)
    }

    /// Adds one that was just agreed on, and returns those that give way.
    pub(crate) fn add(&mut self, session: Box<Session>) -> [Option<Box<Session>>; 2] {
        if session.is_initiator {
            // The peer has answered, so it can be used at once. What the peer began meanwhile may be in use there.
            let gone = if self.next.is_some() {
                [
                    core::mem::replace(&mut self.previous, self.next.take()),
                    self.current.take(),
                ]
            } else {
                let previous = core::mem::replace(&mut self.previous, self.current.take());
                [previous, None]
            };
            self.current = Some(session);
            gone
        } else {
            [self.previous.take(), self.next.replace(session)]
        }
    }

    /// The peer has used the next session, so it is the current one. Returns the one that gives way.
    pub(crate) fn confirm(&mut self) -> Option<Box<Session>> {
        let gone = core::mem::replace(&mut self.previous, self.current.take());
        self.current = self.next.take();
        gone
    }

    /// Takes all of them.
    pub(crate) fn take(&mut self) -> [Option<Box<Session>>; 3] {
        [self.previous.take(), self.current.take(), self.next.take()]
    }
}
