//! One write to the TUN device: a packet by itself, or a join with the header that it will have.

use super::flow::DO_NOT_FRAGMENT;
use super::segment::Segment;
use crate::offload::ip::{
    self, FLAG_PSH, IPV6_BYTES, TCP_BYTES_MAX, TCP_FLAGS, TCP_SEQUENCE, Transport, UDP_LENGTH,
    Version,
};
use crate::offload::limits::{JOIN_BYTES_MAX, JOIN_TCP_SEGMENTS_MAX, JOIN_UDP_SEGMENTS_MAX};
use crate::offload::vnet::{VNET_HEADER_BYTES, VnetHeader};

const HEADER_BYTES_MAX: usize = VNET_HEADER_BYTES + IPV6_BYTES + TCP_BYTES_MAX;

#[derive(Debug)]
pub(super) struct Item {
    pub(super) first_piece: u32,
    pub(super) last_piece: u32,
    /// `None`: it goes by itself, whatever comes.
    join: Option<Join>,
}

#[derive(Debug)]
struct Join {
    segment: Segment,
    packets: usize,
    /// Bytes of headers and all payloads.
    total: usize,
    /// The sequence number that comes next; of TCP only.
    next: u32,
    /// A packet has come that is shorter than the first, or pushes.
    ends: bool,
    /// Room for the vnet header, then the headers of the first packet.
    header: [u8; HEADER_BYTES_MAX],
}

impl Item {
    pub(super) const fn alone(piece: u32) -> Self {
        Self {
            first_piece: piece,
            last_piece: piece,
            join: None,
        }
    }

    /// Begins a join.
    pub(super) fn join(segment: &Segment, packet: &[u8], piece: u32) -> Self {
        let mut header = [0; HEADER_BYTES_MAX];
        header[VNET_HEADER_BYTES..VNET_HEADER_BYTES + segment.headers]
            .copy_from_slice(&packet[..segment.headers]);
        let join = Join {
            segment: *segment,
            packets: 1,
            total: packet.len(),
            next: sequence(segment, packet).wrapping_add(segment.payload as u32),
            ends: false,
            header,
        };
        Self {
            first_piece: piece,
            last_piece: piece,
            join: Some(join),
        }
    }

    /// Whether a packet of the same flow follows in the join.
    pub(super) fn is_followed_by(&self, segment: &Segment, packet: &[u8]) -> bool {
        self.join.as_ref().is_some_and(|join| {
            segment.headers == join.segment.headers
                && segment.payload <= join.segment.payload
                && join.total + segment.payload <= JOIN_BYTES_MAX
                && join.has_same_ip(packet)
                && join.has_same_transport(segment, packet)
        })
    }

    /// Takes a packet that follows.
    pub(super) fn extend(&mut self, segment: &Segment, packet: &[u8], last_piece: u32) {
        self.last_piece = last_piece;
        let Some(join) = &mut self.join else { return };
        join.packets += 1;
        join.total += segment.payload;
        join.next = join.next.wrapping_add(segment.payload as u32);
        join.ends |= segment.ends || segment.payload < join.segment.payload;
        if segment.transport == Transport::Tcp {
            let flags = packet[segment.at() + TCP_FLAGS];
            join.header[VNET_HEADER_BYTES + segment.at() + TCP_FLAGS] |= flags & FLAG_PSH;
        }
    }

    /// Whether nothing more can follow.
    pub(super) fn is_full(&self) -> bool {
        self.join.as_ref().is_none_or(|join| {
            let most = match join.segment.transport {
                Transport::Tcp => JOIN_TCP_SEGMENTS_MAX,
                Transport::Udp => JOIN_UDP_SEGMENTS_MAX,
            };
            join.ends || join.packets >= most
        })
    }

    /// Completes and gives the header of a join; `None` for a packet by itself.
    pub(super) fn finish(&mut self) -> Option<&[u8]> {
        let join = self.join.as_mut().filter(|join| join.packets > 1)?;
        Some(join.finish())
    }
}

impl Join {
    /// The headers of the first packet.
    fn headers(&self) -> &[u8] {
        &self.header[VNET_HEADER_BYTES..VNET_HEADER_BYTES + self.segment.headers]
    }

    /// Whether the IP header differs in nothing that the join cannot keep. Ids count up, as cutting counts them, where
    /// they mean something (RFC 6864 section 4).
    fn has_same_ip(&self, packet: &[u8]) -> bool {
        let first = self.headers();
        match self.segment.version {
            Version::V4 => {
                let id = ip::u16_at(first, 4).wrapping_add(self.packets as u16);
                first[1] == packet[1]
                    && first[6..9] == packet[6..9]
                    && (ip::u16_at(first, 6) & DO_NOT_FRAGMENT != 0 || ip::u16_at(packet, 4) == id)
            }
            Version::V6 => first[..4] == packet[..4] && first[7] == packet[7],
        }
    }

    /// Whether TCP goes on where it stopped, with nothing else changed.
    fn has_same_transport(&self, segment: &Segment, packet: &[u8]) -> bool {
        if segment.transport == Transport::Udp {
            return true;
        }
        let first = &self.headers()[segment.at()..];
        let header = &packet[segment.at()..segment.headers];
        // Behind the sequence number: acknowledgement and data offset; window; urgent pointer and options.
        sequence(segment, packet) == self.next
            && first[8..13] == header[8..13]
            && first[14..16] == header[14..16]
            && first[18..] == header[18..]
    }

    fn finish(&mut self) -> &[u8] {
        let segment = &self.segment;
        let end = VNET_HEADER_BYTES + segment.headers;
        let (vnet, headers) = self.header[..end].split_at_mut(VNET_HEADER_BYTES);
        // All are under 2^16: a join has no more bytes.
        vnet.copy_from_slice(
            &VnetHeader {
                flags: VnetHeader::FLAG_NEEDS_CSUM,
                gso_type: match (segment.transport, segment.version) {
                    (Transport::Tcp, Version::V4) => VnetHeader::GSO_TCPV4,
                    (Transport::Tcp, Version::V6) => VnetHeader::GSO_TCPV6,
                    (Transport::Udp, _) => VnetHeader::GSO_UDP_L4,
                },
                hdr_len: segment.headers as u16,
                gso_size: segment.payload as u16,
                csum_start: segment.at() as u16,
                csum_offset: segment.transport.checksum_at() as u16,
            }
            .write(),
        );
        let bytes = (self.total - segment.at()) as u16;
        let pseudo_header = ip::pseudo_header(segment.version, headers, segment.transport);
        let (ip_header, transport) = headers.split_at_mut(segment.at());
        match segment.version {
            Version::V4 => {
                ip::put_u16(ip_header, 2, self.total as u16);
                ip::put_header_checksum(ip_header);
            }
            Version::V6 => ip::put_u16(ip_header, 4, bytes),
        }
        if segment.transport == Transport::Udp {
            ip::put_u16(transport, UDP_LENGTH, bytes);
        }
        let field = segment.transport.checksum_at();
        transport[field..field + 2].copy_from_slice(&pseudo_header.word(bytes).folded());
        &self.header[..end]
    }
}

/// The sequence number; 0 for UDP.
fn sequence(segment: &Segment, packet: &[u8]) -> u32 {
    match segment.transport {
        Transport::Udp => 0,
        Transport::Tcp => {
            let at = segment.at() + TCP_SEQUENCE;
            u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
        }
    }
}
