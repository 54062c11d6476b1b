//! Datagrams in. Neighbours in a train with the same receiver index are opened together, and what follows from them
//! (endpoint, timers, sessions) is done once.

use core::net::IpAddr;

use towline_wire::Time;
use towline_wire::wireguard::{
    CookieReply, DATA_HEADER_LEN, Datagram, KEEPALIVE_LEN, TAG_LEN, data_header, parse,
};

use super::Tunnel;
use crate::aead::{Aead, SLOTS_MAX};
use crate::endpoint::Endpoint;
use crate::inner::source_and_len;
use crate::peer::PeerId;

/// A packet that was opened in a train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Who sent it; its source is among the peer's allowed IPs.
    pub peer: PeerId,
    /// Where in the train it starts.
    pub start: usize,
    /// Its bytes, padding not counted.
    pub len: usize,
}

/// Neighbours in a train that are data for one session.
struct Run {
    /// Where in the train it starts.
    start: usize,
    receiver: u32,
    count: usize,
}

impl Tunnel {
    /// Takes a train of datagrams from one sender: segments of `segment_bytes`, the last may be shorter. Data is opened
    /// in place; the packets that may pass are appended to `opened`.
    pub fn handle_train(
        &mut self,
        now: Time,
        from: Endpoint,
        train: &mut [u8],
        segment_bytes: usize,
        opened: &mut Vec<Opened>,
    ) {
        let mut start = 0;
        while start < train.len() && segment_bytes > 0 {
            let rest = &mut train[start..];
            if let Some((receiver, count)) = run_at(rest, segment_bytes) {
                let run_bytes = rest.len().min(count * segment_bytes);
                let run = Run {
                    start,
                    receiver,
                    count,
                };
                self.open_run(
                    now,
                    from,
                    &run,
                    &mut rest[..run_bytes],
                    segment_bytes,
                    opened,
                );
                start += run_bytes;
            } else {
                let len = rest.len().min(segment_bytes);
                self.handle_message(now, from, &rest[..len]);
                start += len;
            }
        }
    }

    fn handle_message(&mut self, now: Time, from: Endpoint, message: &[u8]) {
        match parse(message) {
            Ok(Datagram::Initiation(initiation)) => {
                self.handle_initiation(now, from, message, &initiation);
            }
            Ok(Datagram::Response(response)) => {
                self.handle_response(now, from, message, &response);
            }
            Ok(Datagram::CookieReply(reply)) => self.handle_cookie_reply(now, &reply),
            Ok(Datagram::Data(_)) | Err(_) => self.stats.malformed += 1,
        }
    }

    /// The peer is under load. Its endpoint stays: the reply proves only that it saw our message.
    fn handle_cookie_reply(&mut self, now: Time, reply: &CookieReply<'_>) {
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

    fn open_run(
        &mut self,
        now: Time,
        from: Endpoint,
        run: &Run,
        train: &mut [u8],
        segment_bytes: usize,
        opened: &mut Vec<Opened>,
    ) {
        let count = run.count as u64;
        let Some(slot) = self.indices.owner(run.receiver) else {
            self.stats.unknown_index += count;
            return;
        };
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let live = peer.live.as_mut();
        let Some(session) = live.and_then(|live| live.sessions.find(run.receiver)) else {
            self.stats.unknown_index += count;
            return;
        };
        if session.is_expired(now) {
            self.stats.expired += count;
            return;
        }

        let mut fresh = 0u64;
        for (number, segment) in train.chunks(segment_bytes).enumerate() {
            if data_header(segment).is_some_and(|(_, counter)| session.replay.is_fresh(counter)) {
                fresh |= 1 << number;
            }
        }
        let opens = self
            .aead
            .open_train(&session.receiving, train, segment_bytes, fresh);
        let mut accepted = 0u64;
        for (number, segment) in train.chunks(segment_bytes).enumerate() {
            if opens & 1 << number != 0
                && data_header(segment).is_some_and(|(_, counter)| session.replay.accept(counter))
            {
                accepted |= 1 << number;
            }
        }
        let forged = u64::from((fresh & !opens).count_ones());
        self.stats.forged += forged;
        self.stats.replayed += count - forged - u64::from(accepted.count_ones());
        if accepted == 0 {
            return;
        }

        // Authentic from here on.
        peer.endpoint = Some(from);
        let id = self.peers.id_of(slot);
        let mut has_data = false;
        let mut rx_bytes = 0;
        for (number, segment) in train.chunks(segment_bytes).enumerate() {
            if accepted & 1 << number == 0 {
                continue;
            }
            rx_bytes += segment.len() as u64;
            if segment.len() == KEEPALIVE_LEN {
                self.stats.keepalives_received += 1;
                continue;
            }
            has_data = true;
            let packet = &segment[DATA_HEADER_LEN..segment.len() - TAG_LEN];
            if let Some(len) = self.admit_inner(slot, packet) {
                opened.push(Opened {
                    peer: id,
                    start: run.start + number * segment_bytes + DATA_HEADER_LEN,
                    len,
                });
            }
        }
        self.after_opening(now, slot, run.receiver, rx_bytes, has_data);
    }

    /// The length of a packet that may pass: one whose source would be routed back to its peer.
    fn admit_inner(&mut self, slot: u32, packet: &[u8]) -> Option<usize> {
        let Some((source, len)) = source_and_len(packet) else {
            self.stats.bad_inner += 1;
            return None;
        };
        let owner = match source {
            IpAddr::V4(source) => self.allowed_ips.lookup_v4(source),
            IpAddr::V6(source) => self.allowed_ips.lookup_v6(source),
        };
        if owner != Some(slot) {
            self.stats.source_not_allowed += 1;
            return None;
        }
        Some(len)
    }

    /// What follows from authentic data, once for a run.
    fn after_opening(
        &mut self,
        now: Time,
        slot: u32,
        receiver: u32,
        rx_bytes: u64,
        has_data: bool,
    ) {
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        peer.rx_bytes += rx_bytes;
        let Some(live) = peer.live.as_mut() else {
            return;
        };
        let sessions = &live.sessions;
        let is_next = sessions
            .next
            .as_ref()
            .is_some_and(|next| next.local == receiver);
        if is_next {
            self.confirm(now, slot);
        }
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let current = peer
            .live
            .as_ref()
            .and_then(|live| live.sessions.current.as_ref());
        let is_stale = current.is_some_and(|session| session.is_stale_to_receive(now));
        let takes_last_chance = is_stale && !peer.timers.took_last_chance;
        peer.timers.took_last_chance |= takes_last_chance;
        peer.timers.received(now);
        if has_data {
            peer.timers.data_received(now);
        }
        if takes_last_chance {
            self.rekey(now, slot);
        }
        self.reschedule(slot);
    }
}

/// How many segments at the start of `rest` are data for one receiver, and which.
fn run_at(rest: &[u8], segment_bytes: usize) -> Option<(u32, usize)> {
    let mut segments = rest.chunks(segment_bytes);
    let (receiver, _) = data_header(segments.next()?)?;
    let alike = segments
        .take(SLOTS_MAX - 1)
        .take_while(|segment| data_header(segment).is_some_and(|(other, _)| other == receiver))
        .count();
    Some((receiver, 1 + alike))
}
