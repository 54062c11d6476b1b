//! A packet that could be part of a join: it carries payload and no flag that must be seen by itself.

use crate::offload::checksum::Sum;
use crate::offload::ip::{
    self, FLAG_ACK, FLAG_PSH, IPV4_BYTES, IPV6_BYTES, TCP_BYTES, TCP_DATA_OFFSET, TCP_FLAGS,
    Transport, UDP_BYTES, UDP_CHECKSUM, UDP_LENGTH, Version,
};

#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) version: Version,
    pub(super) transport: Transport,
    /// Bytes of IP and transport headers.
    pub(super) headers: usize,
    /// Bytes of payload, not zero.
    pub(super) payload: usize,
    /// Nothing may come behind it in its join: it pushes.
    pub(super) ends: bool,
}

impl Segment {
    /// Looks whether a packet of a flow can be joined. It is as long as its IP header says, and has a whole transport
    /// header but for TCP options.
    pub(super) fn parse(version: Version, transport: Transport, packet: &[u8]) -> Option<Self> {
        let at = transport_at(version);
        let header = &packet[at..];
        let (bytes, ends) = match transport {
            Transport::Tcp => tcp(header)?,
            Transport::Udp => udp(header)?,
        };
        let payload = header.len().checked_sub(bytes)?;
        (payload > 0).then_some(Self {
            version,
            transport,
            headers: at + bytes,
            payload,
            ends,
        })
    }

    /// Where the transport header starts.
    pub(super) const fn at(&self) -> usize {
        transport_at(self.version)
    }

    /// Whether the transport checksum of its packet is correct, and for IPv4 that of the header.
    pub(super) fn is_correct(&self, packet: &[u8]) -> bool {
        let (header, body) = packet.split_at(self.at());
        let pseudo_header = ip::pseudo_header(self.version, packet, self.transport);
        // Under 2^16, as its IP header says it.
        let whole = Sum::of(body).plus(pseudo_header).word(body.len() as u16);
        whole.is_correct() && (self.version == Version::V6 || Sum::of(header).is_correct())
    }
}

const fn transport_at(version: Version) -> usize {
    match version {
        Version::V4 => IPV4_BYTES,
        Version::V6 => IPV6_BYTES,
    }
}

/// Bytes of the header, and whether it pushes; `None` with any flag but ACK and PSH, the reserved bits among them.
fn tcp(header: &[u8]) -> Option<(usize, bool)> {
    let (offset, flags) = (header[TCP_DATA_OFFSET], header[TCP_FLAGS]);
    let bytes = usize::from(offset >> 4) * 4;
    let plain = offset & 0xf == 0 && flags & !FLAG_PSH == FLAG_ACK && bytes >= TCP_BYTES;
    plain.then_some((bytes, flags & FLAG_PSH != 0))
}

/// Bytes of the header; `None` without a checksum, or when bytes are behind the datagram.
fn udp(header: &[u8]) -> Option<(usize, bool)> {
    let whole = usize::from(ip::u16_at(header, UDP_LENGTH)) == header.len();
    (whole && ip::u16_at(header, UDP_CHECKSUM) != 0).then_some((UDP_BYTES, false))
}
