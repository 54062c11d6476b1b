//! Configuration, with the meaning that it has in the kernel (netlink.c) and in the userspace API.

use core::net::SocketAddr;
use core::time::Duration;

use ipnet::IpNet;
use towline_wire::Time;
use towline_wire::limits::TUNNEL_PEERS_MAX;

use super::{Identity, Tunnel};
use crate::endpoint::Endpoint;
use crate::key::{PresharedKey, StaticPrivate, StaticPublic};
use crate::peer::{Peer, PeerId, PeerInfo};

impl Tunnel {
    /// Sets who we are, or nobody. A peer that has our own public key is removed; sessions of the old key end.
    pub fn set_private_key(&mut self, now: Time, key: Option<StaticPrivate>) {
        let identity = key.map(Identity::new);
        let before = self.public_key();
        let after = identity.as_ref().map(|new| new.agreement.public);
        if before == after {
            return;
        }
        self.identity = identity;
        if let Some(own) = after.and_then(|own| self.peer(&own)) {
            self.remove_peer(now, own);
        }
        let engine = self.engine;
        let ids: Vec<PeerId> = self.peers().collect();
        for id in ids {
            self.agree_with(id.slot);
            engine.end_sessions(self, id.slot);
            if let Some(peer) = self.peers.get_mut(id.slot) {
                peer.timers.clear_all();
                peer.timers.last_handshake_sent = None;
            }
            self.reschedule(id.slot);
            self.wake(now, id.slot);
        }
    }

    /// Our public key.
    #[must_use]
    pub fn public_key(&self) -> Option<StaticPublic> {
        self.identity.as_ref().map(|own| own.agreement.public)
    }

    /// Our private key.
    #[must_use]
    pub fn private_key(&self) -> Option<&StaticPrivate> {
        self.identity.as_ref().map(|own| &own.private)
    }

    /// Sets the tunnel up, as it is at first, or down: then sessions end, no timer runs, and nothing is begun.
    pub fn set_up(&mut self, now: Time, up: bool) {
        if self.is_up == up {
            return;
        }
        self.is_up = up;
        for id in self.peers.ids().collect::<Vec<_>>() {
            if up {
                self.wake(now, id.slot);
            } else {
                self.rest(id.slot);
            }
        }
    }

    /// Adds a peer, or finds the one that is there. None for our own key, and when there are too many.
    pub fn add_peer(&mut self, _now: Time, key: StaticPublic) -> Option<PeerId> {
        if let Some(id) = self.peer(&key) {
            return Some(id);
        }
        if self.public_key() == Some(key) || self.peers.len() >= TUNNEL_PEERS_MAX {
            return None;
        }
        let id = self.peers.add(Peer::new(key));
        self.by_key.insert(key, id.slot);
        self.deadlines.reserve(id.slot);
        self.agree_with(id.slot);
        Some(id)
    }

    /// The peer with a key.
    #[must_use]
    pub fn peer(&self, key: &StaticPublic) -> Option<PeerId> {
        self.by_key.get(key).map(|&slot| self.peers.id_of(slot))
    }

    /// Removes a peer with all that belongs to it.
    pub fn remove_peer(&mut self, _now: Time, peer: PeerId) {
        let Some(slot) = self.slot_of(peer) else {
            return;
        };
        self.replace_allowed_ips(peer);
        let engine = self.engine;
        engine.end_sessions(self, slot);
        self.deadlines.remove(slot);
        if let Some(peer) = self.peers.get(slot) {
            self.staged_bytes -= peer.staged.bytes();
            self.by_key.remove(&peer.key);
        }
        self.peers.remove(slot);
    }

    /// Sets the secret that the next handshakes need beside the keys.
    pub fn set_preshared_key(&mut self, peer: PeerId, key: Option<PresharedKey>) {
        let Some(slot) = self.slot_of(peer) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.preshared = key.unwrap_or(PresharedKey::NONE);
        }
        let engine = self.engine;
        engine.reconfigured(self, slot);
    }

    /// A local address is gone: what goes to `to` leaves from wherever the routes say, until that is heard of again.
    pub fn forget_source(&mut self, to: SocketAddr) {
        for peer in self.peers.iter_mut() {
            if let Some(endpoint) = peer.endpoint.as_mut().filter(|at| at.address == to) {
                endpoint.source = None;
            }
        }
    }

    /// Sets where the peer is, until it is heard of from elsewhere.
    pub fn set_endpoint(&mut self, now: Time, peer: PeerId, endpoint: Endpoint) {
        let Some(slot) = self.slot_of(peer) else {
            return;
        };
        if let Some(peer) = self.peers.get_mut(slot) {
            let was_unknown = peer.endpoint.is_none();
            peer.endpoint = Some(endpoint);
            if was_unknown {
                self.wake(now, slot);
            }
        }
    }

    /// Sets after how long without any traffic a keepalive is sent; one is sent at once when there was none.
    pub fn set_keepalive(&mut self, now: Time, peer: PeerId, interval: Option<Duration>) {
        let Some(slot) = self.slot_of(peer) else {
            return;
        };
        let interval = interval.filter(|interval| !interval.is_zero());
        let Some(peer) = self.peers.get_mut(slot) else {
            return;
        };
        let was_off = peer.timers.persistent.is_none();
        peer.timers.set_persistent(interval, now);
        self.reschedule(slot);
        let engine = self.engine;
        engine.reconfigured(self, slot);
        if !self.is_up {
            self.rest(slot);
        } else if was_off && interval.is_some() {
            engine.speak(self, now, slot);
        }
    }

    /// Takes all allowed IPs from a peer; what is added then replaces them.
    pub fn replace_allowed_ips(&mut self, peer: PeerId) {
        if let Some(peer) = self.get_mut(peer) {
            for prefix in core::mem::take(&mut peer.allowed_ips) {
                self.allowed_ips.remove(&prefix);
            }
        }
    }

    /// Gives a prefix to a peer, and takes it from the one that had it. False when there are too many prefixes.
    pub fn add_allowed_ip(&mut self, peer: PeerId, prefix: IpNet) -> bool {
        let prefix = prefix.trunc();
        let Some(slot) = self.slot_of(peer) else {
            return false;
        };
        let Ok(before) = self.allowed_ips.insert(prefix, slot) else {
            return false;
        };
        if before == Some(slot) {
            return true;
        }
        if let Some(before) = before.and_then(|before| self.peers.get_mut(before)) {
            before.allowed_ips.retain(|other| *other != prefix);
        }
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.allowed_ips.push(prefix);
        }
        true
    }

    /// Takes a prefix from a peer, if it has it.
    pub fn remove_allowed_ip(&mut self, peer: PeerId, prefix: IpNet) {
        let prefix = prefix.trunc();
        if let Some(slot) = self.slot_of(peer)
            && self.allowed_ips.owner(&prefix) == Some(slot)
            && let Some(peer) = self.peers.get_mut(slot)
        {
            peer.allowed_ips.retain(|other| *other != prefix);
            self.allowed_ips.remove(&prefix);
        }
    }

    /// All peers.
    pub fn peers(&self) -> impl Iterator<Item = PeerId> {
        self.peers.ids()
    }

    /// What is known of a peer.
    #[must_use]
    pub fn info(&self, peer: PeerId) -> Option<PeerInfo<'_>> {
        let peer = self.peers.get(self.slot_of(peer)?)?;
        Some(PeerInfo {
            public_key: peer.key,
            preshared_key: Some(&peer.preshared).filter(|key| !key.is_none()),
            endpoint: peer.endpoint,
            keepalive: peer.timers.persistent,
            rx_bytes: peer.rx_bytes,
            tx_bytes: peer.tx_bytes,
            last_handshake: peer.last_handshake,
            allowed_ips: &peer.allowed_ips,
        })
    }

    fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        let slot = self.slot_of(id)?;
        self.peers.get_mut(slot)
    }

    /// Computes what our static key and the peer's agree on.
    fn agree_with(&mut self, slot: u32) {
        if let Some(peer) = self.peers.get_mut(slot) {
            let own = self.identity.as_ref();
            peer.shared = own.and_then(|own| own.agreement.agree(&peer.key.0));
        }
    }

    /// Begins what a peer could not do before it was configured whole.
    fn wake(&mut self, now: Time, slot: u32) {
        if let Some(peer) = self.peers.get(slot)
            && self.is_up
            && (peer.timers.persistent.is_some() || !peer.staged.is_empty())
        {
            let engine = self.engine;
            engine.speak(self, now, slot);
        }
    }

    /// Ends what goes on with a peer; what is configured stays.
    fn rest(&mut self, slot: u32) {
        let engine = self.engine;
        engine.end_sessions(self, slot);
        self.drop_staged(slot);
        if let Some(peer) = self.peers.get_mut(slot) {
            peer.timers.rest();
        }
        self.reschedule(slot);
    }
}
