//! A virtual network: tunnels at addresses, datagrams that take a millisecond, a clock that moves only when a test says
//! so, and a seed that decides all that is random.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;

use towline_wire::Time;
use towline_wire::wireguard::{KEEPALIVE_LEN, PADDING, TAG_LEN};

use crate::{
    Effect, Endpoint, EngineKind, Opened, PeerId, Source, StaticPrivate, StaticPublic, Tunnel,
    TunnelConfig, Unsealed,
};

pub(super) const LATENCY: Duration = Duration::from_millis(1);
/// The wall clock when a network starts.
pub(super) const EPOCH: Duration = Duration::from_secs(1_700_000_000);

/// splitmix64.
#[derive(Clone)]
pub(super) struct Seeded(pub(super) u64);

impl Seeded {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

impl crate::Entropy for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let random = self.next().to_le_bytes();
            chunk.copy_from_slice(&random[..chunk.len()]);
        }
    }
}

/// A datagram under way.
#[derive(Clone)]
pub(super) struct Flying {
    pub(super) at: Time,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Node {
    pub(super) tunnel: Tunnel,
    pub(super) address: SocketAddr,
    pub(super) inner: Ipv4Addr,
    pub(super) key: StaticPublic,
    /// Packets that came through the tunnel.
    pub(super) received: Vec<Vec<u8>>,
}

pub(super) struct Net {
    pub(super) now: Time,
    pub(super) nodes: Vec<Node>,
    pub(super) wire: VecDeque<Flying>,
    /// Every datagram that was ever sent.
    pub(super) log: Vec<Flying>,
    /// Datagrams for which it says no are lost.
    pub(super) passes: Box<dyn FnMut(&Flying) -> bool>,
    /// Datagrams take up to 20 ms more, so they overtake each other, and some come twice.
    pub(super) disorder: Option<Seeded>,
}

pub(super) fn private(number: u8) -> StaticPrivate {
    StaticPrivate::from_bytes([number + 1; 32])
}

impl Net {
    /// `count` tunnels that all know each other and where they are.
    pub(super) fn mesh(count: u8, seed: u64) -> Self {
        Self::mesh_of(&vec![EngineKind::Native; usize::from(count)], seed)
    }

    /// The same with an engine for each tunnel.
    pub(super) fn mesh_of(engines: &[EngineKind], seed: u64) -> Self {
        let mut net = Self {
            now: Time(1_000_000_000),
            nodes: Vec::new(),
            wire: VecDeque::new(),
            log: Vec::new(),
            passes: Box::new(|_| true),
            disorder: None,
        };
        for (number, engine) in (0..).zip(engines) {
            net.add_with(number, seed, *engine);
        }
        for a in 0..net.nodes.len() {
            for b in 0..net.nodes.len() {
                if a != b {
                    net.introduce(a, b);
                }
            }
        }
        net
    }

    /// Adds a tunnel without peers.
    pub(super) fn add(&mut self, number: u8, seed: u64) -> usize {
        self.add_with(number, seed, EngineKind::Native)
    }

    fn add_with(&mut self, number: u8, seed: u64, engine: EngineKind) -> usize {
        let entropy = Box::new(Seeded(seed << 8 | u64::from(number)));
        let config = TunnelConfig {
            engine,
            ..TunnelConfig::default()
        };
        let mut tunnel = Tunnel::new(config, entropy, self.now, EPOCH);
        tunnel.set_private_key(self.now, Some(private(number)));
        self.nodes.push(Node {
            tunnel,
            address: SocketAddr::from(([192, 0, 2, number + 1], 51820)),
            inner: Ipv4Addr::new(10, 0, 0, number + 1),
            key: private(number).public(),
            received: Vec::new(),
        });
        self.nodes.len() - 1
    }

    /// Makes `a` know `b`.
    pub(super) fn introduce(&mut self, a: usize, b: usize) -> PeerId {
        let (key, inner, address) = {
            let b = &self.nodes[b];
            (b.key, b.inner, b.address)
        };
        let now = self.now;
        let tunnel = &mut self.nodes[a].tunnel;
        let peer = tunnel.add_peer(now, key).unwrap();
        tunnel.add_allowed_ip(peer, IpAddr::V4(inner).into());
        tunnel.set_endpoint(now, peer, endpoint(address));
        peer
    }

    pub(super) fn peer(&self, at: usize, of: usize) -> PeerId {
        self.nodes[at].tunnel.peer(&self.nodes[of].key).unwrap()
    }

    /// Sends a packet of `len` bytes through the tunnel.
    pub(super) fn send(&mut self, from: usize, to: usize, len: usize) {
        let packet = packet(self.nodes[from].inner, self.nodes[to].inner, len);
        self.send_packet(from, &packet);
        self.collect(from);
    }

    /// Sends a packet through the tunnel, as a driver does.
    pub(super) fn send_packet(&mut self, from: usize, packet: &[u8]) {
        let now = self.now;
        let destination: [u8; 4] = packet[16..20].try_into().unwrap();
        let node = &mut self.nodes[from];
        let Some(peer) = node.tunnel.route(IpAddr::from(destination)) else {
            return;
        };
        let mut slot = slot_of(packet);
        let len = slot.len();
        match node.tunnel.seal_train(now, peer, &mut slot, len) {
            Ok(to) => self.put(from, to, slot),
            Err(Unsealed::NoSession) => node.tunnel.stage(peer, packet),
            Err(_) => {}
        }
    }

    /// Does what the tunnel wants done.
    pub(super) fn collect(&mut self, at: usize) {
        while let Some(effect) = self.nodes[at].tunnel.poll_effect() {
            match effect {
                Effect::Send { to, datagram } => self.put(at, to, datagram.to_vec()),
                Effect::Ready(peer) => {
                    while let Some(packet) = self.nodes[at].tunnel.take_staged(peer) {
                        self.send_packet(at, &packet);
                    }
                }
            }
        }
    }

    pub(super) fn put(&mut self, from: usize, to: Endpoint, bytes: Vec<u8>) {
        let mut flying = Flying {
            at: self.now + LATENCY,
            from: self.nodes[from].address,
            to: to.address,
            bytes,
        };
        self.log.push(flying.clone());
        if !(self.passes)(&flying) {
            return;
        }
        if let Some(mut random) = self.disorder.clone() {
            if random.next() % 10 == 0 {
                self.fly(flying.clone());
            }
            flying.at += Duration::from_micros(random.next() % 20_000);
            self.disorder = Some(random);
        }
        self.fly(flying);
    }

    fn fly(&mut self, flying: Flying) {
        let place = self.wire.partition_point(|other| other.at <= flying.at);
        self.wire.insert(place, flying);
    }

    /// Hands a train to a tunnel.
    pub(super) fn deliver(&mut self, to: usize, from: SocketAddr, bytes: &[u8], segment: usize) {
        let mut train = bytes.to_vec();
        let mut opened: Vec<Opened> = Vec::new();
        let source = Source {
            address: self.nodes[to].address.ip(),
            interface: 1,
        };
        let from = Endpoint {
            address: from,
            source: Some(source),
        };
        let node = &mut self.nodes[to];
        node.tunnel
            .handle_train(self.now, from, &mut train, segment, &mut opened);
        for packet in opened {
            let range = packet.start..packet.start + packet.len;
            node.received.push(train[range].to_vec());
        }
        self.collect(to);
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        loop {
            let arrival = self.wire.front().map(|flying| flying.at);
            let timeout = self
                .nodes
                .iter()
                .filter_map(|n| n.tunnel.poll_timeout())
                .min();
            let next = arrival.into_iter().chain(timeout).min();
            let Some(next) = next.filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if arrival.is_some_and(|at| at <= self.now) {
                let flying = self.wire.pop_front().unwrap();
                if let Some(to) = self.nodes.iter().position(|n| n.address == flying.to) {
                    self.deliver(to, flying.from, &flying.bytes, flying.bytes.len());
                }
                continue;
            }
            for at in 0..self.nodes.len() {
                self.nodes[at].tunnel.handle_timeout(self.now);
                self.collect(at);
            }
        }
    }

    pub(super) fn run_ms(&mut self, ms: u64) {
        self.run(Duration::from_millis(ms));
    }

    /// How many datagrams of a type were sent.
    pub(super) fn sent(&self, kind: u32) -> usize {
        let kind = kind.to_le_bytes();
        self.log.iter().filter(|it| it.bytes[..4] == kind).count()
    }

    pub(super) fn keepalives(&self) -> usize {
        let is_keepalive = |it: &&Flying| it.bytes[0] == 4 && it.bytes.len() == KEEPALIVE_LEN;
        self.log.iter().filter(is_keepalive).count()
    }

    pub(super) fn received(&self, at: usize) -> usize {
        self.nodes[at].received.len()
    }
}

pub(super) fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        address,
        source: None,
    }
}

/// An IPv4 packet of `len` bytes.
pub(super) fn packet(from: Ipv4Addr, to: Ipv4Addr, len: usize) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..len).map(|n| n as u8).collect();
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    packet
}

/// The slot of a packet: header, padded packet, tag.
pub(super) fn slot_of(packet: &[u8]) -> Vec<u8> {
    let mut slot = vec![0; 16];
    slot.extend_from_slice(packet);
    slot.resize(16 + packet.len().next_multiple_of(PADDING) + TAG_LEN, 0);
    slot
}
