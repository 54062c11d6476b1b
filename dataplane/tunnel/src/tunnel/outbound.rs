//! Packets out: which peer they go to, sealing them, and keeping them while there is no session.

use core::net::IpAddr;

use towline_wire::Time;
use towline_wire::limits::{STAGED_BYTES_MAX, STAGED_TUNNEL_BYTES_MAX};
use towline_wire::wireguard::{DATA_HEADER_LEN, KEEPALIVE_LEN, PADDING, write_data_header};

use super::Tunnel;
use crate::aead::Aead;
use crate::endpoint::Endpoint;
use crate::peer::PeerId;

/// Why a train was not sealed. It is as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// There is no session yet; a handshake is under way. The packets should be staged.
    #[error("no session yet")]
    NoSession,
    /// Nobody knows where the peer is.
    #[error("the peer's endpoint is not known")]
    NoEndpoint,
    /// The peer is gone.
    #[error("the peer is gone")]
    NoPeer,
    /// A slot has no room for header and tag, or its packet is not padded.
    #[error("a slot that is not header, padded packet and tag")]
    BadSlot,
}

impl Tunnel {
    /// The peer that a packet to `destination` goes to.
    #[must_use]
    pub fn route(&self, destination: IpAddr) -> Option<PeerId> {
        let slot = self.allowed_ips.lookup(destination)?;
        Some(self.peers.id_of(slot))
    }

    /// Seals a train in place. It consists of slots of `slot_bytes`, the last may be shorter; each slot is 16 bytes
    /// for the header, the packet padded with zeros to a multiple of 16, and 16 bytes for the tag. Without a session
    /// a handshake is begun.
    ///
    /// # Errors
    /// The train was not sealed.
    pub fn seal_train(
        &mut self,
        now: Time,
        peer: PeerId,
        train: &mut [u8],
        slot_bytes: usize,
    ) -> Result<Endpoint, Unsealed> {
        let slot = self.slot_of(peer).ok_or(Unsealed::NoPeer)?;
        if !is_slot(slot_bytes) || !is_slot((train.len() + slot_bytes - 1) % slot_bytes + 1) {
            return Err(Unsealed::BadSlot);
        }
        let sealed = self.seal(now, slot, train, slot_bytes);
        self.reschedule(slot);
        sealed
    }

    /// Keeps a packet until there is a session. It needs no padding.
    pub fn stage(&mut self, peer: PeerId, packet: &[u8]) {
        let room = STAGED_TUNNEL_BYTES_MAX - self.staged_bytes;
        let Some(peer) = self.slot_of(peer).and_then(|slot| self.peers.get_mut(slot)) else {
            return;
        };
        if packet.len() > room.min(STAGED_BYTES_MAX) {
            self.stats.staged_dropped += 1;
            return;
        }
        let before = peer.staged.bytes();
        self.stats.staged_dropped += peer.staged.push(packet);
        self.staged_bytes = self.staged_bytes - before + peer.staged.bytes();
    }

    /// The oldest packet that was kept.
    pub fn take_staged(&mut self, peer: PeerId) -> Option<Vec<u8>> {
        let slot = self.slot_of(peer)?;
        let packet = self.peers.get_mut(slot)?.staged.pop()?;
        self.staged_bytes -= packet.len();
        Some(packet)
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

    /// Drops what waits for a session.
    pub(super) fn drop_staged(&mut self, slot: u32) {
        if let Some(peer) = self.peers.get_mut(slot) {
            self.stats.staged_dropped += peer.staged.len() as u64;
            self.staged_bytes -= peer.staged.bytes();
            peer.staged = Default::default();
        }
    }

    fn seal(
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
}

/// Whether a datagram of so many bytes is header, padded packet and tag.
fn is_slot(bytes: usize) -> bool {
    bytes >= KEEPALIVE_LEN && bytes.is_multiple_of(PADDING)
}
