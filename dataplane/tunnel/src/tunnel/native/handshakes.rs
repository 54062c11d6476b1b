//! Handshakes: beginning one, answering one, and the sessions that come of them. Nothing of a peer changes before its
//! message is proved to be its own.

use towline_wire::Time;
use towline_wire::limits::{INITIATIONS_PER_SECOND, REKEY_TIMEOUT};
use towline_wire::wireguard::{CookieReply, INITIATION_LEN, Initiation, RESPONSE_LEN, Response};
use zeroize::Zeroizing;

use crate::endpoint::{Endpoint, random};
use crate::noise::{INITIATION_BODY_LEN, Initiated, RESPONSE_BODY_LEN, Received};
use crate::session::Session;
use crate::tai64n::timestamp;
use crate::timers::Timer;
use crate::tunnel::Tunnel;

/// The least time between two initiations of a peer that are answered.
const INITIATION_INTERVAL_NS: u64 = 1_000_000_000 / INITIATIONS_PER_SECOND as u64;

impl Tunnel {
    /// Begins a handshake, unless one was begun a short time ago. A repetition counts as one more attempt.
    pub(super) fn initiate(&mut self, now: Time, slot: u32, is_repetition: bool) {
        let (Some(own), Some(peer)) = (&self.identity, self.peers.get_mut(slot)) else {
            return;
        };
        if !is_repetition {
            peer.timers.attempts = 0;
        }
        let Some(endpoint) = peer.endpoint else {
            return;
        };
        if let Some(last) = peer.timers.last_handshake_sent
            && now - last < REKEY_TIMEOUT
        {
            if !peer.timers.is_set(Timer::Retransmit) {
                // A response of ours went out, and nothing came of it yet. The kernel would wait for another packet.
                let at = last + REKEY_TIMEOUT + self.jitter.draw();
                peer.timers.set(Timer::Retransmit, at);
            }
            return;
        }

        let ephemeral = Zeroizing::new(random(&mut *self.entropy));
        let local = self.indices.add(slot, &mut *self.entropy);
        let stamp = timestamp(self.clock.unix_time(now));
        let Ok((initiated, body)) = Initiated::new(&own.pair(peer), &ephemeral, local, &stamp)
        else {
            self.indices.remove(local);
            return;
        };
        let live = peer.live.get_or_insert_default();
        if let Some(before) = live.initiated.replace(initiated) {
            self.indices.remove(before.local);
        }
        let mut message = [0; INITIATION_LEN];
        message[..INITIATION_BODY_LEN].copy_from_slice(&body);
        peer.jar.complete(&peer.mac_keys, &mut message, now);
        peer.tx_bytes += message.len() as u64;
        peer.timers.initiated(now, self.jitter.draw());
        self.stats.initiations_sent += 1;
        self.send(endpoint, &message);
    }

    /// Begins a handshake because the session grew old or has sealed much.
    pub(super) fn rekey(&mut self, now: Time, slot: u32) {
        let before = self.stats.initiations_sent;
        self.initiate(now, slot, false);
        self.stats.rekeys += self.stats.initiations_sent - before;
    }

    /// The peer is under load. Its endpoint stays: the reply proves only that it saw our message.
    pub(super) fn handle_cookie_reply(&mut self, now: Time, reply: &CookieReply<'_>) {
        let owner = self.indices.owner(reply.receiver);
        let Some(peer) = owner.and_then(|slot| self.peers.get_mut(slot)) else {
            self.stats.unknown_index += 1;
            return;
        };
        if peer.jar.take(&peer.mac_keys, reply, now) {
            self.stats.cookies_received += 1;
        } else {
            self.stats.bad_cookie += 1;
        }
    }

    pub(super) fn handle_initiation(
        &mut self,
        now: Time,
        from: Endpoint,
        message: &[u8],
        initiation: &Initiation<'_>,
    ) {
        if !self.may_work(now, from, message, initiation.sender) {
            return;
        }
        let Some(own) = &self.identity else {
            return;
        };
        let Ok(received) = Received::open(&own.agreement, initiation) else {
            self.stats.bad_handshake += 1;
            return;
        };
        let Some(&slot) = self.by_key.get(&received.peer) else {
            self.stats.unknown_peer += 1;
            return;
        };
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let Ok(checked) = received.check(peer.shared.as_ref(), initiation) else {
            self.stats.bad_handshake += 1;
            return;
        };
        if checked.timestamp <= peer.latest_timestamp {
            self.stats.old_timestamp += 1;
            return;
        }
        if let Some(latest) = peer.latest_initiation
            && now.0.saturating_sub(latest.0) < INITIATION_INTERVAL_NS
        {
            self.stats.initiation_rate += 1;
            return;
        }

        // Authentic from here on.
        peer.latest_timestamp = checked.timestamp;
        peer.latest_initiation = Some(now);
        peer.endpoint = Some(from);
        let ephemeral = Zeroizing::new(random(&mut *self.entropy));
        let local = self.indices.add(slot, &mut *self.entropy);
        let Ok((keys, body)) = checked.respond(&peer.preshared, &ephemeral, local) else {
            self.indices.remove(local);
            self.stats.bad_handshake += 1;
            return;
        };
        let mut response = [0; RESPONSE_LEN];
        response[..RESPONSE_BODY_LEN].copy_from_slice(&body);
        peer.jar.complete(&peer.mac_keys, &mut response, now);
        peer.rx_bytes += message.len() as u64;
        peer.tx_bytes += response.len() as u64;
        peer.timers.received(now);
        peer.timers.responded(now);
        self.stats.initiations_received += 1;
        self.add_session(now, slot, Session::new(keys, local, false, now));
        self.send(from, &response);
        self.reschedule(slot);
    }

    pub(super) fn handle_response(
        &mut self,
        now: Time,
        from: Endpoint,
        message: &[u8],
        response: &Response<'_>,
    ) {
        let Some(slot) = self.indices.owner(response.receiver) else {
            self.stats.unknown_index += 1;
            return;
        };
        if !self.may_work(now, from, message, response.sender) {
            return;
        }
        let (Some(own), Some(peer)) = (&self.identity, self.peers.get(slot)) else {
            return;
        };
        let initiated = peer.live.as_ref().and_then(|live| live.initiated.as_ref());
        let Some(initiated) = initiated.filter(|it| it.local == response.receiver) else {
            self.stats.unknown_index += 1;
            return;
        };
        let Ok(keys) = initiated.finish(&own.pair(peer), response) else {
            self.stats.bad_handshake += 1;
            return;
        };

        // Authentic from here on.
        let wall_time = self.clock.unix_time(now);
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        if let Some(live) = &mut peer.live {
            live.initiated = None;
        }
        peer.endpoint = Some(from);
        peer.rx_bytes += message.len() as u64;
        peer.last_handshake = Some(wall_time);
        peer.timers.handshake_complete();
        peer.timers.received(now);
        self.stats.responses_received += 1;
        let session = Session::new(keys, response.receiver, true, now);
        self.add_session(now, slot, session);
        // The peer uses the session only when it has heard of us with it.
        self.send_keepalive(now, slot);
        self.reschedule(slot);
    }

    /// The peer has used the session that it began.
    pub(super) fn confirm(&mut self, now: Time, slot: u32) {
        let wall_time = self.clock.unix_time(now);
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let Some(live) = &mut peer.live else {
            return;
        };
        if let Some(gone) = live.sessions.confirm() {
            self.indices.remove(gone.local);
        }
        // A handshake of our own, begun at the same time, has lost its purpose.
        if let Some(gone) = live.initiated.take() {
            self.indices.remove(gone.local);
        }
        peer.last_handshake = Some(wall_time);
        peer.timers.handshake_complete();
        if !peer.staged.is_empty() {
            self.ready(slot);
        }
    }

    /// Whether there is a session to seal with.
    pub(super) fn has_session(&self, now: Time, slot: u32) -> bool {
        self.peers
            .get(slot)
            .and_then(|peer| peer.live.as_ref()?.sessions.current.as_ref())
            .is_some_and(|session| !session.is_expired(now))
    }

    /// Ends all sessions of a peer, and the handshake that it began, if that is not to be kept.
    pub(super) fn end_sessions(&mut self, slot: u32, keep_initiated: bool) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let Some(live) = &mut peer.live else {
            return;
        };
        for session in live.sessions.take().into_iter().flatten() {
            self.indices.remove(session.local);
        }
        if keep_initiated && live.initiated.is_some() {
            return;
        }
        if let Some(initiated) = &live.initiated {
            self.indices.remove(initiated.local);
        }
        peer.live = None;
    }

    fn add_session(&mut self, now: Time, slot: u32, session: Box<Session>) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let live = peer.live.get_or_insert_default();
        for gone in live.sessions.add(session).into_iter().flatten() {
            self.indices.remove(gone.local);
        }
        peer.timers.session_derived(now);
        self.stats.sessions += 1;
    }
}
