//! IP headers as far as cutting and joining need them: where things lie, whom a packet goes to, and what its checksums
//! cover (RFC 791, RFC 8200, RFC 9293 section 3.1, RFC 768).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::checksum::Sum;
use super::limits::EXTENSION_HEADERS_MAX;

pub(super) const IPV4_BYTES: usize = 20;
pub(super) const IPV6_BYTES: usize = 40;
pub(super) const TCP_BYTES: usize = 20;
pub(super) const TCP_BYTES_MAX: usize = 60;
pub(super) const UDP_BYTES: usize = 8;

/// Where fields of TCP and UDP lie, from the start of their header.
pub(super) const TCP_SEQUENCE: usize = 4;
pub(super) const TCP_DATA_OFFSET: usize = 12;
pub(super) const TCP_FLAGS: usize = 13;
pub(super) const TCP_CHECKSUM: usize = 16;
pub(super) const UDP_LENGTH: usize = 4;
pub(super) const UDP_CHECKSUM: usize = 6;

pub(super) const FLAG_FIN: u8 = 0x01;
pub(super) const FLAG_PSH: u8 = 0x08;
pub(super) const FLAG_ACK: u8 = 0x10;
pub(super) const FLAG_CWR: u8 = 0x80;

/// Numbers of protocols (IANA, "Protocol Numbers").
pub(super) const PROTOCOL_TCP: u8 = 6;
pub(super) const PROTOCOL_UDP: u8 = 17;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const DESTINATION_OPTIONS: u8 = 60;

/// IPv4 options of source routes (RFC 791 section 3.1): loose and strict.
const SOURCE_ROUTES: [u8; 2] = [131, 137];

/// More fragments, and the offset of this one.
const FRAGMENT_BITS: u16 = 0x3fff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// The transport of a super-packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

impl Transport {
    pub(super) const fn of(protocol: u8) -> Option<Self> {
        match protocol {
            PROTOCOL_TCP => Some(Self::Tcp),
            PROTOCOL_UDP => Some(Self::Udp),
            _ => None,
        }
    }

    pub(super) const fn protocol(self) -> u8 {
        match self {
            Self::Tcp => PROTOCOL_TCP,
            Self::Udp => PROTOCOL_UDP,
        }
    }

    /// Where its checksum lies, from the start of its header.
    pub(super) const fn checksum_at(self) -> usize {
        match self {
            Self::Tcp => TCP_CHECKSUM,
            Self::Udp => UDP_CHECKSUM,
        }
    }

    pub(super) const fn checksum(self, sum: Sum) -> [u8; 2] {
        match self {
            Self::Tcp => sum.checksum(),
            Self::Udp => sum.checksum_udp(),
        }
    }
}

/// What stands behind the IP header and the extension headers that can be walked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Upper {
    pub(super) protocol: u8,
    pub(super) at: usize,
    /// A source route or routing header sends the packet on: the destination of the IP header is not the last one, which
    /// is what checksums cover.
    pub(super) routed: bool,
}

/// Both addresses in one slice, as checksums cover them. `packet` holds a whole IP header.
pub(super) fn addresses(version: Version, packet: &[u8]) -> &[u8] {
    match version {
        Version::V4 => &packet[12..20],
        Version::V6 => &packet[8..40],
    }
}

/// Source and destination. `packet` holds a whole IP header.
pub(super) fn endpoints(version: Version, packet: &[u8]) -> (IpAddr, IpAddr) {
    fn halves<const N: usize>(addresses: &[u8]) -> ([u8; N], [u8; N]) {
        let (source, destination) = addresses.split_at(N);
        let mut halves = ([0; N], [0; N]);
        halves.0.copy_from_slice(source);
        halves.1.copy_from_slice(destination);
        halves
    }
    let addresses = addresses(version, packet);
    match version {
        Version::V4 => {
            let (source, destination) = halves::<4>(addresses);
            (
                Ipv4Addr::from(source).into(),
                Ipv4Addr::from(destination).into(),
            )
        }
        Version::V6 => {
            let (source, destination) = halves::<16>(addresses);
            (
                Ipv6Addr::from(source).into(),
                Ipv6Addr::from(destination).into(),
            )
        }
    }
}

/// The type-of-service byte or traffic class.
pub(super) fn traffic_class(version: Version, packet: &[u8]) -> u8 {
    match version {
        Version::V4 => packet[1],
        Version::V6 => (packet[0] << 4) | (packet[1] >> 4),
    }
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
}

/// Writes the checksum of an IPv4 header, which is all of `header`.
pub(super) fn put_header_checksum(header: &mut [u8]) {
    header[10..12].fill(0);
    let checksum = Sum::of(header).checksum();
    header[10..12].copy_from_slice(&checksum);
}

/// The pseudo-header without its length (RFC 9293 section 3.1, RFC 8200 section 8.1).
pub(super) fn pseudo_header(version: Version, packet: &[u8], transport: Transport) -> Sum {
    Sum::of(addresses(version, packet)).word(transport.protocol().into())
}

/// Whether it is a piece of a longer IPv4 packet.
pub(super) fn is_fragment_v4(packet: &[u8]) -> bool {
    u16_at(packet, 6) & FRAGMENT_BITS != 0
}

/// Walks to what the IP header carries; `None` in a fragment and where headers do not fit the packet.
pub(super) fn upper(version: Version, packet: &[u8]) -> Option<Upper> {
    match version {
        Version::V4 if is_fragment_v4(packet) => None,
        Version::V4 => {
            let at = usize::from(packet[0] & 0xf) * 4;
            let options = packet.get(IPV4_BYTES..at)?;
            Some(Upper {
                protocol: packet[9],
                at,
                routed: has_source_route(options),
            })
        }
        Version::V6 => upper_v6(packet),
    }
}

fn upper_v6(packet: &[u8]) -> Option<Upper> {
    let (mut protocol, mut at, mut routed) = (packet[6], IPV6_BYTES, false);
    for _ in 0..EXTENSION_HEADERS_MAX {
        if ![HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS].contains(&protocol) {
            return Some(Upper {
                protocol,
                at,
                routed,
            });
        }
        // Next header, length in units of eight bytes beyond the first, and, of a routing header, type and segments left.
        let [next, length, _, segments_left] = *packet.get(at..)?.first_chunk()?;
        routed |= protocol == ROUTING && segments_left != 0;
        protocol = next;
        at += (usize::from(length) + 1) * 8;
    }
    None
}

fn has_source_route(mut options: &[u8]) -> bool {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    while let [kind, rest @ ..] = options {
        options = match *kind {
            END => return false,
            NO_OPERATION => rest,
            kind if SOURCE_ROUTES.contains(&kind) => return true,
            _ => match rest
                .first()
                .and_then(|len| options.get(usize::from(*len).max(2)..))
            {
                Some(rest) => rest,
                None => return false,
            },
        };
    }
    false
}
