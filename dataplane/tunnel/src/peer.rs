//! A peer: what is configured of it, what is known of it, and, once a handshake began, its sessions.

use core::time::Duration;

use boringtun::noise::Tunn;
use ipnet::IpNet;
use towline_wire::Time;
use towline_wire::wireguard::TIMESTAMP_LEN;

use crate::cookie::{Jar, MacKeys};
use crate::endpoint::Endpoint;
use crate::key::{PresharedKey, Shared, StaticPublic};
use crate::noise::Initiated;
use crate::session::Sessions;
use crate::staged::Staged;
use crate::timers::Timers;

/// A peer of a tunnel. It stays invalid when the peer is gone, even if another one has its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PeerId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What is known of a peer.
pub struct PeerInfo<'a> {
    /// Its key.
    pub public_key: StaticPublic,
    /// The secret shared beside the keys.
    pub preshared_key: Option<&'a PresharedKey>,
    /// Where it was last heard of, or is configured to be.
    pub endpoint: Option<Endpoint>,
    /// The interval of persistent keepalives.
    pub keepalive: Option<Duration>,
    /// Bytes of authenticated datagrams from it.
    pub rx_bytes: u64,
    /// Bytes of datagrams to it.
    pub tx_bytes: u64,
    /// When a handshake was last completed, since the Unix epoch.
    pub last_handshake: Option<Duration>,
    /// Its allowed IPs.
    pub allowed_ips: &'a [IpNet],
}

pub(crate) struct Peer {
    pub(crate) key: StaticPublic,
    pub(crate) mac_keys: MacKeys,
    /// What our static key and the peer's agree on; none without a key of ours, or when the peer's is of low order.
    pub(crate) shared: Option<Shared>,
    pub(crate) preshared: PresharedKey,
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) allowed_ips: Vec<IpNet>,

    pub(crate) rx_bytes: u64,
    pub(crate) tx_bytes: u64,
    pub(crate) last_handshake: Option<Duration>,

    pub(crate) timers: Timers,
    pub(crate) jar: Jar,
    /// The timestamp of its newest initiation.
    pub(crate) latest_timestamp: [u8; TIMESTAMP_LEN],
    /// When that came.
    pub(crate) latest_initiation: Option<Time>,
    pub(crate) staged: Staged,
    /// `Effect::Ready` waits to be fetched.
    pub(crate) is_ready: bool,
    /// With our own engine: what there is once a handshake began.
    pub(crate) live: Option<Box<Live>>,
    /// With boringtun's.
    pub(crate) tunn: Option<Box<Tunn>>,
}

/// What exists of a peer only after a handshake began.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) initiated: Option<Initiated>,
    pub(crate) sessions: Sessions,
}

impl Peer {
    pub(crate) fn new(key: StaticPublic) -> Self {
        Self {
            key,
            mac_keys: MacKeys::new(&key),
            shared: None,
            preshared: PresharedKey::NONE,
            endpoint: None,
            allowed_ips: Vec::new(),
            rx_bytes: 0,
            tx_bytes: 0,
            last_handshake: None,
            timers: Timers::new(),
            jar: Jar::default(),
            latest_timestamp: [0; TIMESTAMP_LEN],
            latest_initiation: None,
            staged: Staged::default(),
            is_ready: false,
            live: None,
            tunn: None,
        }
    }
}

/// The peers of a tunnel by their slot.
#[derive(Default)]
pub(crate) struct Peers {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    peer: Option<Box<Peer>>,
}

impl Peers {
    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(crate) fn add(&mut self, peer: Peer) -> PeerId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() as u32 - 1
        });
        let place = &mut self.slots[slot as usize];
        place.peer = Some(Box::new(peer));
        PeerId {
            slot,
            generation: place.generation,
        }
    }

    pub(crate) fn remove(&mut self, slot: u32) {
        if let Some(place) = self.slots.get_mut(slot as usize)
            && place.peer.take().is_some()
        {
            place.generation = place.generation.wrapping_add(1);
            self.free.push(slot);
        }
    }

    pub(crate) fn slot_of(&self, id: PeerId) -> Option<u32> {
        let place = self.slots.get(id.slot as usize)?;
        (place.generation == id.generation && place.peer.is_some()).then_some(id.slot)
    }

    pub(crate) fn id_of(&self, slot: u32) -> PeerId {
        let generation = self.slots.get(slot as usize).map_or(0, |s| s.generation);
        PeerId { slot, generation }
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Peer> {
        self.slots.get(slot as usize)?.peer.as_deref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Peer> {
        self.slots.get_mut(slot as usize)?.peer.as_deref_mut()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.slots
            .iter_mut()
            .filter_map(|place| place.peer.as_deref_mut())
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = PeerId> {
        (0..).zip(&self.slots).filter_map(|(slot, place)| {
            place.peer.as_ref().map(|_| PeerId {
                slot,
                generation: place.generation,
            })
        })
    }
}
