//! All peers of one worker that have one private key in common. This file has what they share; the others what is done:
//! configuration, packets out, datagrams in, and the engines that run the peers.

mod admission;
mod boringtun;
mod configure;
mod engine;
mod inbound;
mod native;
mod outbound;

use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use siphasher::sip::SipHasher13;
use towline_wire::Time;
use towline_wire::deadlines::Deadlines;
use towline_wire::limits::{REKEY_TIMEOUT_JITTER_MAX, TUNNEL_EFFECTS_MAX};

pub use inbound::Opened;
pub use outbound::Unsealed;

use engine::{Engine, engine};

use crate::aead::Ring;
use crate::allowed_ips::AllowedIps;
use crate::config::TunnelConfig;
use crate::cookie::Checker;
use crate::effect::{Effect, Outgoing};
use crate::endpoint::{Endpoint, Entropy, random};
use crate::flood::Flood;
use crate::index::IndexTable;
use crate::key::{Agreement, StaticPrivate, StaticPublic};
use crate::noise::Pair;
use crate::peer::{Peer, PeerId, Peers};
use crate::siphash::Keyed;
use crate::stats::TunnelStats;

/// All peers of one worker, and one identity.
pub struct Tunnel {
    identity: Option<Identity>,
    is_up: bool,
    pub(crate) peers: Peers,
    by_key: HashMap<StaticPublic, u32, Keyed>,
    allowed_ips: AllowedIps,
    indices: IndexTable,
    deadlines: Deadlines,
    flood: Flood,
    effects: VecDeque<Effect>,
    /// Bytes staged for all peers.
    pub(crate) staged_bytes: usize,
    stats: TunnelStats,
    entropy: Box<dyn Entropy + Send>,
    jitter: Jitter,
    pub(crate) clock: Clock,
    aead: Ring,
    engine: &'static dyn Engine,
    /// Where boringtun puts packets; nothing else uses it.
    scratch: Vec<u8>,
}

/// Who we are.
struct Identity {
    private: StaticPrivate,
    agreement: Agreement,
    checker: Checker,
}

/// The wall clock, from what it was when the caller last told: only for timestamps and for showing when a handshake was.
pub(crate) struct Clock {
    start: Time,
    unix_time: Duration,
}

impl Clock {
    pub(crate) const fn new(start: Time, unix_time: Duration) -> Self {
        Self { start, unix_time }
    }

    /// The clock on the wall was looked at again. It is not set back: peers refuse timestamps that are not newer.
    fn set(&mut self, now: Time, unix_time: Duration) {
        if unix_time > self.unix_time(now) {
            *self = Self::new(now, unix_time);
        }
    }

    fn unix_time(&self, now: Time) -> Duration {
        self.unix_time + (now - self.start)
    }
}

impl Tunnel {
    /// A tunnel without identity and peers. `unix_time` is what the wall clock shows at `now`.
    #[must_use]
    pub fn new(
        config: TunnelConfig,
        mut entropy: Box<dyn Entropy + Send>,
        now: Time,
        unix_time: Duration,
    ) -> Self {
        let hash_key: [u8; 16] = random(&mut *entropy);
        let flood_key = random(&mut *entropy);
        let jitter = Jitter(u64::from_le_bytes(random(&mut *entropy)));
        Self {
            identity: None,
            is_up: true,
            peers: Peers::default(),
            by_key: HashMap::with_hasher(Keyed(SipHasher13::new_with_key(&hash_key))),
            allowed_ips: AllowedIps::default(),
            indices: IndexTable::new(config.indices),
            deadlines: Deadlines::with_capacity(0),
            flood: Flood::new(flood_key, now),
            effects: VecDeque::new(),
            staged_bytes: 0,
            stats: TunnelStats::default(),
            entropy,
            jitter,
            clock: Clock::new(now, unix_time),
            aead: Ring,
            engine: engine(config.engine),
            scratch: Vec::new(),
        }
    }

    /// What the wall clock shows at `now`: a host without a battery learns the time after it started.
    pub fn set_unix_time(&mut self, now: Time, unix_time: Duration) {
        self.clock.set(now, unix_time);
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> &TunnelStats {
        &self.stats
    }

    /// The next thing to be done.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        let effect = self.effects.pop_front()?;
        if let Effect::Ready(id) = effect
            && let Some(slot) = self.peers.slot_of(id)
            && let Some(peer) = self.peers.get_mut(slot)
        {
            peer.is_ready = false;
        }
        Some(effect)
    }

    /// When `handle_timeout` should be called next.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Time> {
        self.deadlines.next()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Time) {
        let engine = self.engine;
        while let Some(slot) = self.deadlines.pop_due(now) {
            engine.handle_timeout(self, now, slot);
        }
    }

    fn send(&mut self, to: Endpoint, datagram: &[u8]) {
        if self.effects.len() >= TUNNEL_EFFECTS_MAX {
            self.stats.effects_dropped += 1;
            return;
        }
        let datagram = Outgoing::new(datagram);
        self.effects.push_back(Effect::Send { to, datagram });
    }

    /// Tells the driver to send what is staged.
    fn ready(&mut self, slot: u32) {
        let id = self.peers.id_of(slot);
        if let Some(peer) = self.peers.get_mut(slot)
            && !peer.is_ready
        {
            peer.is_ready = true;
            self.effects.push_back(Effect::Ready(id));
        }
    }

    /// Brings the peer's place among the deadlines in line with its timers.
    fn reschedule(&mut self, slot: u32) {
        match self.peers.get(slot).and_then(|peer| peer.timers.next()) {
            Some(at) => self.deadlines.set(slot, at),
            None => self.deadlines.remove(slot),
        }
    }

    fn slot_of(&self, id: PeerId) -> Option<u32> {
        self.peers.slot_of(id)
    }
}

impl Identity {
    fn new(private: StaticPrivate) -> Self {
        let agreement = Agreement::new(private.as_bytes());
        let checker = Checker::new(&agreement.public);
        Self {
            private,
            agreement,
            checker,
        }
    }

    fn pair<'a>(&'a self, peer: &'a Peer) -> Pair<'a> {
        Pair {
            ours: &self.agreement,
            theirs: &peer.key,
            shared: peer.shared.as_ref(),
            preshared: &peer.preshared,
        }
    }
}

/// Random spans of no secrecy (splitmix64), seeded once: they are drawn on the path of packets.
struct Jitter(u64);

impl Jitter {
    fn draw(&mut self) -> Duration {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let max_ns = REKEY_TIMEOUT_JITTER_MAX.as_nanos() as u64;
        Duration::from_nanos(z % max_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_late_counts_and_one_that_is_set_back_does_not() {
        let seconds = Duration::from_secs;
        let mut clock = Clock::new(Time(0), seconds(5));
        let later = Time::ZERO + seconds(10);
        assert_eq!(clock.unix_time(later), seconds(15));
        clock.set(later, seconds(1_700_000_000));
        assert_eq!(clock.unix_time(later), seconds(1_700_000_000));
        clock.set(later, seconds(20));
        let end = later + seconds(1);
        assert_eq!(clock.unix_time(end), seconds(1_700_000_001));
    }
}
