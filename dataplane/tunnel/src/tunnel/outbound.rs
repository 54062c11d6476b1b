//! Packets out: which peer they go to, sealing them, and keeping them while there is no session.

use core::net::IpAddr;

use towline_wire::Time;
use towline_wire::limits::{STAGED_BYTES_MAX, STAGED_TUNNEL_BYTES_MAX};
use towline_wire::wireguard::KEEPALIVE_LEN;

use super::Tunnel;
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
    /// A slot has no room for header and tag.
    #[error("a slot that is not header, packet and tag")]
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
    /// for the header, the packet, and 16 bytes for the tag. The packet is padded with zeros by the caller, who knows the
    /// MTU: to a multiple of 16, but not beyond that (as the kernel does). Without a session a handshake is begun.
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
        if slot_bytes < KEEPALIVE_LEN || last_slot_bytes(train, slot_bytes) < KEEPALIVE_LEN {
            return Err(Unsealed::BadSlot);
        }
        let engine = self.engine;
        engine.seal(self, now, slot, train, slot_bytes)
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

    /// How many packets are kept for a peer.
    #[must_use]
    pub fn staged(&self, peer: PeerId) -> usize {
        let peer = self.slot_of(peer).and_then(|slot| self.peers.get(slot));
        peer.map_or(0, |peer| peer.staged.len())
    }

    /// The oldest packet that was kept.
    pub fn take_staged(&mut self, peer: PeerId) -> Option<Vec<u8>> {
        let slot = self.slot_of(peer)?;
        let packet = self.peers.get_mut(slot)?.staged.pop()?;
        self.staged_bytes -= packet.len();
        Some(packet)
    }

    /// Drops what waits for a session.
    pub(super) fn drop_staged(&mut self, slot: u32) {
        if let Some(peer) = self.peers.get_mut(slot) {
            self.stats.staged_dropped += peer.staged.len() as u64;
            self.staged_bytes -= peer.staged.bytes();
            peer.staged = Default::default();
        }
    }
}

/// Bytes of the last slot of a train; none of an empty train.
fn last_slot_bytes(train: &[u8], slot_bytes: usize) -> usize {
    train.chunks(slot_bytes).next_back().map_or(0, <[u8]>::len)
}
