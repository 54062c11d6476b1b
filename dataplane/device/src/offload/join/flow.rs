//! Which flow a packet is of: addresses, ports, protocol and IP version.

use crate::offload::ip::{
    self, IPV4_BYTES, IPV6_BYTES, PROTOCOL_TCP, PROTOCOL_UDP, TCP_BYTES, Transport, UDP_BYTES,
    Version,
};

/// What can be said of a packet at first sight.
pub(super) enum Seen {
    /// TCP or UDP right behind an IP header without options, whole, and as long as it says.
    Flow(Flow, Transport),
    /// Anything else: it may be of any flow between its addresses, if it has any.
    Other(Option<Addresses>),
}

/// Both addresses of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addresses {
    words: [u64; 4],
    version: Version,
}

/// A flow, ready to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    addresses: Addresses,
    ports: u32,
    transport: Transport,
}

/// Looks at a packet.
pub(super) fn of(packet: &[u8]) -> Seen {
    let Some(version) = version(packet) else {
        return Seen::Other(None);
    };
    let addresses = Addresses::of(version, packet);
    let (plain, total, protocol, at) = match version {
        // No options; no fragment, and the reserved bit is zero.
        Version::V4 => (
            packet[0] == 0x45 && ip::u16_at(packet, 6) & !DO_NOT_FRAGMENT == 0,
            usize::from(ip::u16_at(packet, 2)),
            packet[9],
            IPV4_BYTES,
        ),
        Version::V6 => (
            true,
            IPV6_BYTES + usize::from(ip::u16_at(packet, 4)),
            packet[6],
            IPV6_BYTES,
        ),
    };
    let (transport, least) = match protocol {
        PROTOCOL_TCP => (Transport::Tcp, TCP_BYTES),
        PROTOCOL_UDP => (Transport::Udp, UDP_BYTES),
        _ => return Seen::Other(Some(addresses)),
    };
    if !plain || total != packet.len() || total < at + least {
        return Seen::Other(Some(addresses));
    }
    let ports = [packet[at], packet[at + 1], packet[at + 2], packet[at + 3]];
    let ports = u32::from_ne_bytes(ports);
    Seen::Flow(
        Flow {
            addresses,
            ports,
            transport,
        },
        transport,
    )
}

/// The flag in the word of the fragment offset (RFC 791 section 3.1).
pub(super) const DO_NOT_FRAGMENT: u16 = 0x4000;

/// The IP version of a packet that has a whole header.
fn version(packet: &[u8]) -> Option<Version> {
    match packet.first()? >> 4 {
        4 if packet.len() >= IPV4_BYTES => Some(Version::V4),
        6 if packet.len() >= IPV6_BYTES => Some(Version::V6),
        _ => None,
    }
}

impl Addresses {
    fn of(version: Version, packet: &[u8]) -> Self {
        let (chunks, _) = ip::addresses(version, packet).as_chunks::<8>();
        let mut words = [0; 4];
        for (word, chunk) in words.iter_mut().zip(chunks) {
            *word = u64::from_ne_bytes(*chunk);
        }
        Self { words, version }
    }
}

impl Flow {
    pub(super) const fn version(&self) -> Version {
        self.addresses.version
    }

    pub(super) const fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Spreads flows over 32 bits. Strangers may make them equal: that costs comparing whole flows, and nothing else.
    pub(super) fn hash(&self) -> u32 {
        // An odd number of random bits: the fraction of the golden ratio.
        const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
        let words = &self.addresses.words;
        let mixed = words.iter().fold(u64::from(self.ports), |hash, word| {
            (hash ^ word).wrapping_mul(SPREAD).rotate_left(29)
        });
        (mixed >> 32) as u32
    }
}
