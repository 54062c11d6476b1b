//! Sealing with the current session of a peer.

use towline_wire::Time;
use towline_wire::wireguard::{DATA_HEADER_LEN, KEEPALIVE_LEN, write_data_header};

use crate::aead::Aead;
use crate::endpoint::Endpoint;
use crate::tunnel::{Tunnel, Unsealed};

impl Tunnel {
    pub(super) fn seal(
        &mut self,
        now: Time,
        slot: u32,
        train: &mut [u8],
        slot_bytes: usize,
    ) -> Result<Endpoint, Unsealed> {
        let peer = self.peers.get_mut(slot).ok_or(Unsealed::NoPeer)?;
        let endpoint = peer.endpoint.ok_or(Unsealed::NoEndpoint)?;
        let count = train.len().div_ceil(slot_bytes) as u64;
        let current = peer
            .live
            .as_mut()
            .and_then(|live| live.sessions.current.as_mut());
        let Some((session, first)) = current.and_then(|session| {
            session
                .take_counters(count, now)
                .map(|first| (session, first))
        }) else {
            self.initiate(now, slot, false);
            return Err(Unsealed::NoSession);
        };

        for (counter, datagram) in (first..).zip(train.chunks_mut(slot_bytes)) {
            datagram[..DATA_HEADER_LEN]
                .copy_from_slice(&write_data_header(session.remote, counter));
        }
        self.aead.seal_train(&session.sending, train, slot_bytes);

        let is_stale = session.is_stale_to_send(now);
        peer.tx_bytes += train.len() as u64;
        peer.timers.sent(now);
        if train.len() > KEEPALIVE_LEN {
            peer.timers.data_sent(now, || self.jitter.draw());
        }
        if is_stale {
            self.rekey(now, slot);
        }
        Ok(endpoint)
    }

    /// Sends an empty packet, or what is staged. Without a session a handshake is begun, which serves as well.
    pub(super) fn send_keepalive(&mut self, now: Time, slot: u32) {
        let Some(peer) = self.peers.get(slot) else {
            return;
        };
        if !peer.staged.is_empty() {
            if self.has_session(now, slot) {
                self.ready(slot);
            } else {
                self.initiate(now, slot, false);
            }
            return;
        }
        let mut datagram = [0; KEEPALIVE_LEN];
        if let Ok(to) = self.seal(now, slot, &mut datagram, KEEPALIVE_LEN) {
            self.stats.keepalives_sent += 1;
            self.send(to, &datagram);
        }
    }
}
