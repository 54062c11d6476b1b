//! A packet from the TUN device, ready to be cut into packets that fit the network.
//!
//! [`Cut::new`] believes nothing: it walks the headers itself and refuses what contradicts them, so that writing has
//! nothing left to check. Headers are repeated and corrected as the kernel's own segmentation does it
//! (`tcp_gso_segment`, `__udp_gso_segment`, `inet_gso_segment`).

mod error;
mod segments;

use core::net::IpAddr;

pub use error::CutError;
use segments::Segments;

use super::checksum::Sum;
use super::ip::{self, IPV4_BYTES, IPV6_BYTES, Transport, Version};
use super::limits::PACKET_BYTES_MAX;
use super::vnet::{VNET_HEADER_BYTES, VnetHeader};

/// A packet from the TUN device, checked.
#[derive(Debug)]
pub struct Cut<'a> {
    version: Version,
    /// As long as its IP header says.
    packet: &'a [u8],
    work: Work,
}

#[derive(Debug)]
enum Work {
    /// It goes as it is.
    Copy,
    /// Its checksum is missing.
    Checksum(Unfinished),
    /// It is a super-packet.
    Segments(Segments),
}

/// A packet of which the checksum is to be completed.
#[derive(Debug)]
struct Unfinished {
    /// Where summing starts.
    start: usize,
    /// Where the checksum goes.
    field: usize,
    /// The pseudo-header with its length, where we know it; the sum of somebody else's protocol starts with what is in
    /// the field.
    pseudo_header: Option<Sum>,
}

impl<'a> Cut<'a> {
    /// Checks a packet. `bytes`: vnet header and packet as read.
    ///
    /// Bytes behind the length of the IP header are left out: the receiver takes them for padding.
    ///
    /// # Errors
    /// Header and packet contradict each other, or ask for what was not agreed.
    pub fn new(bytes: &'a [u8]) -> Result<Self, CutError> {
        let (vnet, packet) = bytes
            .split_first_chunk::<VNET_HEADER_BYTES>()
            .ok_or(CutError::TooShort)?;
        let vnet = VnetHeader::parse(vnet);
        let (version, packet) = ip_packet(packet)?;
        let needs_checksum = vnet.flags & VnetHeader::FLAG_NEEDS_CSUM != 0;
        let work = match (vnet.gso_type, needs_checksum) {
            (VnetHeader::GSO_NONE, false) => Work::Copy,
            (VnetHeader::GSO_NONE, true) => {
                Work::Checksum(Unfinished::new(&vnet, version, packet)?)
            }
            _ => Work::Segments(Segments::new(&vnet, version, packet)?),
        };
        Ok(Self {
            version,
            packet,
            work,
        })
    }

    /// Who sends it.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        ip::endpoints(self.version, self.packet).0
    }

    /// Whom it is for.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        ip::endpoints(self.version, self.packet).1
    }

    /// The two bits of explicit congestion notification (RFC 3168).
    #[must_use]
    pub fn ecn(&self) -> u8 {
        ip::traffic_class(self.version, self.packet) & 0b11
    }

    /// Packets that it becomes: 1 for an ordinary one, `CUT_SEGMENTS_MAX` at most.
    #[must_use]
    pub const fn segments(&self) -> usize {
        match &self.work {
            Work::Copy | Work::Checksum(_) => 1,
            Work::Segments(segments) => segments.count,
        }
    }

    /// Bytes of each packet but the last, headers included.
    #[must_use]
    pub const fn segment_bytes(&self) -> usize {
        match &self.work {
            Work::Segments(segments) if segments.count > 1 => segments.headers + segments.size,
            _ => self.packet.len(),
        }
    }

    /// Bytes of the last packet, headers included.
    #[must_use]
    pub const fn last_bytes(&self) -> usize {
        match &self.work {
            Work::Copy | Work::Checksum(_) => self.packet.len(),
            Work::Segments(segments) => self.packet.len() - (segments.count - 1) * segments.size,
        }
    }

    /// Writes a whole packet into `into`, which has exactly its length.
    ///
    /// # Panics
    /// There is no such packet, or `into` has another length: mistakes of the caller, whatever was read.
    pub fn write(&self, index: usize, into: &mut [u8]) {
        assert!(index < self.segments(), "no such segment");
        match &self.work {
            Work::Copy => into.copy_from_slice(self.packet),
            Work::Checksum(unfinished) => unfinished.write(self.packet, into),
            Work::Segments(segments) => segments.write(self.version, self.packet, index, into),
        }
    }
}

impl Unfinished {
    fn new(vnet: &VnetHeader, version: Version, packet: &[u8]) -> Result<Self, CutError> {
        let start = usize::from(vnet.csum_start);
        let offset = usize::from(vnet.csum_offset);
        let field = start + offset;
        if field + 2 > packet.len() {
            return Err(CutError::ChecksumPlace);
        }
        let transport = ip::upper(version, packet)
            .filter(|upper| upper.at == start && !upper.routed)
            .and_then(|upper| Transport::of(upper.protocol))
            .filter(|transport| transport.checksum_at() == offset);
        // Lengths are under 2^16: a packet is as long as a 16-bit length says, its IP header not counted in IPv6.
        let pseudo_header = transport.map(|transport| {
            ip::pseudo_header(version, packet, transport).word((packet.len() - start) as u16)
        });
        Ok(Self {
            start,
            field,
            pseudo_header,
        })
    }

    fn write(&self, packet: &[u8], into: &mut [u8]) {
        into.copy_from_slice(packet);
        if self.pseudo_header.is_some() {
            into[self.field..self.field + 2].fill(0);
        }
        let sum = Sum::of(&into[self.start..]).plus(self.pseudo_header.unwrap_or_default());
        // As `skb_checksum_help` has it: never zero, which is the same number and means nothing else to UDP.
        into[self.field..self.field + 2].copy_from_slice(&sum.checksum_udp());
    }
}

/// The IP packet at the start of `bytes`, as long as it says.
fn ip_packet(bytes: &[u8]) -> Result<(Version, &[u8]), CutError> {
    if bytes.len() > PACKET_BYTES_MAX {
        return Err(CutError::TooLong);
    }
    let version = match bytes.first().ok_or(CutError::TooShort)? >> 4 {
        4 => Version::V4,
        6 => Version::V6,
        _ => return Err(CutError::NotIp),
    };
    let (fixed, header, total) = match version {
        Version::V4 if bytes.len() >= IPV4_BYTES => {
            let header = usize::from(bytes[0] & 0xf) * 4;
            (IPV4_BYTES, header, usize::from(ip::u16_at(bytes, 2)))
        }
        Version::V6 if bytes.len() >= IPV6_BYTES => {
            let payload = usize::from(ip::u16_at(bytes, 4));
            (IPV6_BYTES, IPV6_BYTES, IPV6_BYTES + payload)
        }
        _ => return Err(CutError::TooShort),
    };
    if header < fixed || total < header {
        return Err(CutError::IpLength);
    }
    let packet = bytes.get(..total).ok_or(CutError::IpLength)?;
    Ok((version, packet))
}

#[cfg(test)]
mod tests;
