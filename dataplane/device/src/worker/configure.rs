//! What a worker does when it is asked: configuration, a snapshot, sockets, the state of the interface.

use std::time::Duration;

use towline_tunnel::{Endpoint, PeerId, PresharedKey, StaticPrivate, StaticPublic};
use zeroize::Zeroizing;

use super::Worker;
use crate::command::{Command, Ended};
use crate::system::now;
use crate::uapi::{PeerSnapshot, SetDevice, SetPeer, Snapshot};

impl Worker {
    pub(super) fn handle_command(&mut self, command: Command) -> Option<Ended> {
        // Who asked may have given up meanwhile: an answer that nobody takes is no error.
        match command {
            Command::Configure(set, done) => {
                self.configure(&set);
                let _ = done.send(());
            }
            Command::Show(answer) => _ = answer.send(self.snapshot()),
            Command::Place(answer) => _ = answer.send(self.driver.place()),
            Command::Socket(family, socket, done) => {
                self.driver.set_udp(family, socket);
                let _ = done.send(());
            }
            Command::Up(up) => self.tunnel.set_up(now(), up),
            Command::Mtu(mtu) => self.trains.mtu = mtu as usize,
            Command::Stop => return Some(Ended::Stopped),
        }
        None
    }

    fn configure(&mut self, set: &SetDevice) {
        let now = now();
        if let Some(key) = &set.private_key {
            let key = key.as_ref().map(|key| StaticPrivate::from_bytes(**key));
            self.tunnel.set_private_key(now, key);
        }
        if set.replace_peers {
            for peer in self.tunnel.peers().collect::<Vec<_>>() {
                self.tunnel.remove_peer(now, peer);
            }
        }
        for peer in &set.peers {
            self.configure_peer(peer);
        }
    }

    fn configure_peer(&mut self, set: &SetPeer) {
        let now = now();
        let key = StaticPublic(set.public_key);
        let known = self.tunnel.peer(&key);
        if set.remove {
            if let Some(peer) = known {
                self.tunnel.remove_peer(now, peer);
            }
            return;
        }
        if set.update_only && known.is_none() {
            return;
        }
        // A peer with our own key is left out, as by the kernel.
        let Some(peer) = self.tunnel.add_peer(now, key) else {
            return;
        };
        if let Some(psk) = &set.preshared_key {
            let psk = PresharedKey::from_bytes(**psk);
            self.tunnel.set_preshared_key(peer, Some(psk));
        }
        if let Some(endpoint) = set.endpoint {
            let endpoint = Endpoint {
                address: endpoint,
                source: None,
            };
            self.tunnel.set_endpoint(now, peer, endpoint);
        }
        if set.replace_allowed_ips {
            self.tunnel.replace_allowed_ips(peer);
        }
        for allowed in &set.allowed_ips {
            if allowed.remove {
                self.tunnel.remove_allowed_ip(peer, allowed.network);
            } else {
                self.tunnel.add_allowed_ip(peer, allowed.network);
            }
        }
        // Last: it may be a reason to begin a handshake at once.
        if let Some(keepalive) = set.persistent_keepalive_interval {
            let interval = Duration::from_secs(keepalive.into());
            self.tunnel.set_keepalive(now, peer, Some(interval));
        }
    }

    fn snapshot(&self) -> Snapshot {
        let peers = self.tunnel.peers();
        Snapshot {
            private_key: self
                .tunnel
                .private_key()
                .map(|key| Zeroizing::new(*key.as_bytes())),
            peers: peers.filter_map(|peer| self.peer_snapshot(peer)).collect(),
            ..Snapshot::default()
        }
    }

    fn peer_snapshot(&self, peer: PeerId) -> Option<PeerSnapshot> {
        let info = self.tunnel.info(peer)?;
        let preshared_key = info
            .preshared_key
            .map(|key| Zeroizing::new(*key.as_bytes()));
        let interval_s = info.keepalive.unwrap_or_default().as_secs();
        Some(PeerSnapshot {
            public_key: info.public_key.0,
            preshared_key,
            endpoint: info.endpoint.map(|endpoint| endpoint.address),
            last_handshake: info.last_handshake.unwrap_or_default(),
            tx_bytes: info.tx_bytes,
            rx_bytes: info.rx_bytes,
            // It was set from a number of 16 bits.
            persistent_keepalive_interval: u16::try_from(interval_s).unwrap_or(u16::MAX),
            allowed_ips: info.allowed_ips.to_vec(),
        })
    }
}
