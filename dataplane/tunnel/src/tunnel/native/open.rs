//! Opening runs of data, and what follows from them.

use towline_wire::Time;
use towline_wire::wireguard::{DATA_HEADER_LEN, KEEPALIVE_LEN, TAG_LEN, data_header};

use crate::aead::Aead;
use crate::tunnel::Tunnel;
use crate::tunnel::inbound::{Opened, Run};

impl Tunnel {
    pub(super) fn open_run(
        &mut self,
        now: Time,
        run: &Run,
        train: &mut [u8],
        opened: &mut Vec<Opened>,
    ) {
        let Some(slot) = self.indices.owner(run.receiver) else {
            self.stats.unknown_index += run.count as u64;
            return;
        };
        let accepted = self.authenticate(now, slot, run, train);
        if accepted == 0 {
            return;
        }
        let id = self.peers.id_of(slot);
        let mut has_data = false;
        let mut rx_bytes = 0;
        for (number, segment) in train.chunks(run.segment_bytes).enumerate() {
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
                    start: run.start + number * run.segment_bytes + DATA_HEADER_LEN,
                    len,
                });
            }
        }
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.endpoint = Some(run.from);
            peer.rx_bytes += rx_bytes;
        }
        self.after_opening(now, slot, run.receiver, has_data);
    }

    /// Opens what is fresh, and returns the bits of the segments that are authentic and came for the first time.
    fn authenticate(&mut self, now: Time, slot: u32, run: &Run, train: &mut [u8]) -> u64 {
        let count = run.count as u64;
        let live = self.peers.get_mut(slot).and_then(|it| it.live.as_mut());
        let Some(session) = live.and_then(|live| live.sessions.find(run.receiver)) else {
            self.stats.unknown_index += count;
            return 0;
        };
        if session.is_expired(now) {
            self.stats.expired += count;
            return 0;
        }
        let mut fresh = 0u64;
        for (number, segment) in train.chunks(run.segment_bytes).enumerate() {
            if data_header(segment).is_some_and(|(_, counter)| session.replay.is_fresh(counter)) {
                fresh |= 1 << number;
            }
        }
        let opens = self
            .aead
            .open_train(&session.receiving, train, run.segment_bytes, fresh);
        let mut accepted = 0u64;
        for (number, segment) in train.chunks(run.segment_bytes).enumerate() {
            if opens & 1 << number != 0
                && data_header(segment).is_some_and(|(_, counter)| session.replay.accept(counter))
            {
                accepted |= 1 << number;
            }
        }
        let forged = u64::from((fresh & !opens).count_ones());
        self.stats.forged += forged;
        self.stats.replayed += count - forged - u64::from(accepted.count_ones());
        accepted
    }

    /// What follows from authentic data, once for a run.
    fn after_opening(&mut self, now: Time, slot: u32, receiver: u32, has_data: bool) {
        let peer = self.peers.get(slot);
        let Some(live) = peer.and_then(|peer| peer.live.as_ref()) else {
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
