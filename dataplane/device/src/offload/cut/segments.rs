//! A super-packet of TCP or UDP: what its segments share, and what each has of its own.

use super::CutError;
use crate::offload::checksum::Sum;
use crate::offload::ip::{
    self, FLAG_CWR, FLAG_FIN, FLAG_PSH, IPV6_BYTES, TCP_BYTES, TCP_DATA_OFFSET, TCP_FLAGS,
    TCP_SEQUENCE, Transport, UDP_BYTES, UDP_LENGTH, Upper, Version,
};
use crate::offload::limits::{CUT_HEADER_BYTES_MAX, CUT_SEGMENTS_MAX};
use crate::offload::vnet::VnetHeader;

#[derive(Debug)]
pub(super) struct Segments {
    pub(super) transport: Transport,
    /// Where the transport header starts.
    pub(super) at: usize,
    /// Where it ends and the payload starts.
    pub(super) headers: usize,
    /// Bytes of payload in each segment but the last.
    pub(super) size: usize,
    pub(super) count: usize,
    /// The pseudo-header without its length.
    pub(super) pseudo_header: Sum,
}

impl Segments {
    pub(super) fn new(
        vnet: &VnetHeader,
        version: Version,
        packet: &[u8],
    ) -> Result<Self, CutError> {
        let transport = transport(vnet, version)?;
        let upper = ip::upper(version, packet)
            .filter(|upper| upper.protocol == transport.protocol())
            .ok_or(CutError::GsoProtocol)?;
        if vnet.flags & VnetHeader::FLAG_NEEDS_CSUM == 0 {
            return Err(CutError::ChecksumMissing);
        }
        let place = (vnet.csum_start.into(), vnet.csum_offset.into());
        if place != (upper.at, transport.checksum_at()) {
            return Err(CutError::ChecksumPlace);
        }
        let headers = upper.at + transport_bytes(transport, packet, upper.at)?;
        if headers > CUT_HEADER_BYTES_MAX {
            return Err(CutError::HeadersTooLong);
        }
        let size = usize::from(vnet.gso_size);
        if size == 0 {
            return Err(CutError::GsoSize);
        }
        let count = (packet.len() - headers).div_ceil(size).max(1);
        if count > CUT_SEGMENTS_MAX {
            return Err(CutError::TooManySegments);
        }
        Ok(Self {
            transport,
            at: upper.at,
            headers,
            size,
            count,
            pseudo_header: pseudo_header(version, packet, transport, &upper),
        })
    }

    pub(super) fn write(&self, version: Version, packet: &[u8], index: usize, into: &mut [u8]) {
        let (from, to) = (index * self.size, (index + 1) * self.size);
        let (headers, payload) = packet.split_at(self.headers);
        let payload = &payload[from..to.min(payload.len())];
        let (head, body) = into.split_at_mut(self.headers);
        head.copy_from_slice(headers);
        body.copy_from_slice(payload);

        let total = self.headers + payload.len();
        let (ip, transport) = head.split_at_mut(self.at);
        self.correct_ip(version, ip, index, total);
        let bytes = (total - self.at) as u16;
        match self.transport {
            Transport::Tcp => self.correct_tcp(transport, index),
            Transport::Udp => ip::put_u16(transport, UDP_LENGTH, bytes),
        }
        let field = self.transport.checksum_at();
        transport[field..field + 2].fill(0);
        let sum = Sum::of(body)
            .plus(Sum::of(transport))
            .plus(self.pseudo_header)
            .word(bytes);
        transport[field..field + 2].copy_from_slice(&self.transport.checksum(sum));
    }

    fn correct_ip(&self, version: Version, header: &mut [u8], index: usize, total: usize) {
        match version {
            Version::V4 => {
                ip::put_u16(header, 2, total as u16);
                let id = ip::u16_at(header, 4).wrapping_add(index as u16);
                ip::put_u16(header, 4, id);
                ip::put_header_checksum(header);
            }
            Version::V6 => ip::put_u16(header, 4, (total - IPV6_BYTES) as u16),
        }
    }

    fn correct_tcp(&self, header: &mut [u8], index: usize) {
        let sequence = &mut header[TCP_SEQUENCE..TCP_SEQUENCE + 4];
        let first = u32::from_be_bytes([sequence[0], sequence[1], sequence[2], sequence[3]]);
        // Both are under 2^16: a super-packet has no more bytes.
        let own = first.wrapping_add((index * self.size) as u32);
        sequence.copy_from_slice(&own.to_be_bytes());
        if index > 0 {
            header[TCP_FLAGS] &= !FLAG_CWR;
        }
        if index + 1 < self.count {
            header[TCP_FLAGS] &= !(FLAG_FIN | FLAG_PSH);
        }
    }
}

/// The transport that the type of super-packet says.
fn transport(vnet: &VnetHeader, version: Version) -> Result<Transport, CutError> {
    let ecn = vnet.gso_type & VnetHeader::GSO_ECN != 0;
    match (vnet.gso_type & !VnetHeader::GSO_ECN, version) {
        (VnetHeader::GSO_TCPV4, Version::V4) | (VnetHeader::GSO_TCPV6, Version::V6) => {
            Ok(Transport::Tcp)
        }
        (VnetHeader::GSO_TCPV4 | VnetHeader::GSO_TCPV6, _) => Err(CutError::GsoProtocol),
        (VnetHeader::GSO_UDP_L4, _) if !ecn => Ok(Transport::Udp),
        _ => Err(CutError::GsoType),
    }
}

/// Bytes of the transport header, which lies whole in the packet.
fn transport_bytes(transport: Transport, packet: &[u8], at: usize) -> Result<usize, CutError> {
    let header = packet.get(at..).ok_or(CutError::TransportHeader)?;
    let (least, bytes) = match transport {
        Transport::Udp => (UDP_BYTES, UDP_BYTES),
        Transport::Tcp => {
            let offset = header
                .get(TCP_DATA_OFFSET)
                .ok_or(CutError::TransportHeader)?;
            (TCP_BYTES, usize::from(offset >> 4) * 4)
        }
    };
    if bytes < least || bytes > header.len() {
        return Err(CutError::TransportHeader);
    }
    Ok(bytes)
}

/// The pseudo-header without its length. Of a packet that is routed on, the last destination is known to its sender
/// only: it is what the field holds, with the length of the whole taken out.
fn pseudo_header(version: Version, packet: &[u8], transport: Transport, upper: &Upper) -> Sum {
    if !upper.routed {
        return ip::pseudo_header(version, packet, transport);
    }
    let field = ip::u16_at(packet, upper.at + transport.checksum_at());
    let length = (packet.len() - upper.at) as u16;
    Sum::default().word(field).word(!length)
}
