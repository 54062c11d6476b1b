//! Packets and a second, naive checksum for the tests of cutting and joining.

use super::ip::{IPV4_BYTES, IPV6_BYTES, Transport, Version};
use super::vnet::{VNET_HEADER_BYTES, VnetHeader};

/// The folded sum, word by word as RFC 1071 section 4.1 has it.
pub(super) fn naive_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        sum += u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    sum as u16
}

/// A packet in words.
#[derive(Clone, Debug)]
pub(super) struct Packet {
    pub(super) version: Version,
    pub(super) transport: Transport,
    /// The last byte of the source address.
    pub(super) source: u8,
    pub(super) traffic_class: u8,
    pub(super) ttl: u8,
    pub(super) id: u16,
    /// Flags and offset of a fragment; IPv4 only.
    pub(super) fragment: u16,
    /// IPv4 options, or extension headers, of which `next_header` is the first.
    pub(super) ip_options: Vec<u8>,
    pub(super) next_header: Option<u8>,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) flags: u8,
    pub(super) window: u16,
    pub(super) tcp_options: Vec<u8>,
    pub(super) payload: Vec<u8>,
}

impl Packet {
    pub(super) fn new(version: Version, transport: Transport, payload: usize) -> Self {
        Self {
            version,
            transport,
            source: 1,
            traffic_class: 0,
            ttl: 64,
            id: 1,
            fragment: 0x4000,
            ip_options: Vec::new(),
            next_header: None,
            sequence: 1000,
            acknowledgement: 7,
            flags: 0x10,
            window: 501,
            tcp_options: Vec::new(),
            payload: (0..payload).map(|index| (index * 7) as u8).collect(),
        }
    }

    /// Where the transport header starts.
    pub(super) fn at(&self) -> usize {
        let fixed = match self.version {
            Version::V4 => IPV4_BYTES,
            Version::V6 => IPV6_BYTES,
        };
        fixed + self.ip_options.len()
    }

    /// The packet with correct checksums.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.without_checksum();
        let sum = self.sum(&bytes[self.at()..]);
        let checksum = match (self.transport, !sum) {
            (Transport::Udp, 0) => 0xffff,
            (_, checksum) => checksum,
        };
        self.put_checksum(&mut bytes, checksum);
        bytes
    }

    /// The packet with the checksum left to the reader, behind a vnet header.
    pub(super) fn unfinished(&self, gso_type: u8, gso_size: usize) -> Vec<u8> {
        let mut bytes = self.without_checksum();
        let mut pseudo_header = self.pseudo_header();
        pseudo_header.extend(((bytes.len() - self.at()) as u16).to_be_bytes());
        self.put_checksum(&mut bytes, naive_sum(&pseudo_header));
        let vnet = VnetHeader {
            flags: VnetHeader::FLAG_NEEDS_CSUM,
            gso_type,
            hdr_len: (bytes.len() - self.payload.len()) as u16,
            gso_size: gso_size as u16,
            csum_start: self.at() as u16,
            csum_offset: self.checksum_at() as u16,
        };
        [&vnet.write()[..], &bytes].concat()
    }

    /// A super-packet behind its vnet header.
    pub(super) fn super_packet(&self, gso_size: usize) -> Vec<u8> {
        let gso_type = match (self.transport, self.version) {
            (Transport::Tcp, Version::V4) => VnetHeader::GSO_TCPV4,
            (Transport::Tcp, Version::V6) => VnetHeader::GSO_TCPV6,
            (Transport::Udp, _) => VnetHeader::GSO_UDP_L4,
        };
        self.unfinished(gso_type, gso_size)
    }

    /// The folded sum of the transport header, the payload and the pseudo-header.
    fn sum(&self, transport: &[u8]) -> u16 {
        let mut whole = self.pseudo_header();
        whole.extend((transport.len() as u16).to_be_bytes());
        whole.extend(transport);
        naive_sum(&whole)
    }

    fn pseudo_header(&self) -> Vec<u8> {
        [&self.addresses()[..], &[0, self.transport.protocol()]].concat()
    }

    fn addresses(&self) -> Vec<u8> {
        match self.version {
            Version::V4 => vec![10, 0, 0, self.source, 10, 0, 1, 0],
            Version::V6 => {
                let mut addresses = vec![0xfd; 32];
                addresses[15] = self.source;
                addresses
            }
        }
    }

    fn without_checksum(&self) -> Vec<u8> {
        let mut transport = vec![0x80, 0, 0x14, 0x51];
        match self.transport {
            Transport::Tcp => {
                transport.extend(self.sequence.to_be_bytes());
                transport.extend(self.acknowledgement.to_be_bytes());
                transport.extend([((20 + self.tcp_options.len()) * 4) as u8, self.flags]);
                transport.extend(self.window.to_be_bytes());
                transport.extend([0; 4]);
                transport.extend(&self.tcp_options);
            }
            Transport::Udp => {
                transport.extend(((8 + self.payload.len()) as u16).to_be_bytes());
                transport.extend([0; 2]);
            }
        }
        let behind = self.ip_options.len() + transport.len() + self.payload.len();
        let protocol = self
            .next_header
            .unwrap_or_else(|| self.transport.protocol());
        let mut bytes = Vec::new();
        match self.version {
            Version::V4 => {
                bytes.extend([0x45 + (self.ip_options.len() / 4) as u8, self.traffic_class]);
                bytes.extend(((IPV4_BYTES + behind) as u16).to_be_bytes());
                bytes.extend(self.id.to_be_bytes());
                bytes.extend(self.fragment.to_be_bytes());
                bytes.extend([self.ttl, protocol, 0, 0]);
            }
            Version::V6 => {
                let class = self.traffic_class;
                bytes.extend([0x60 | (class >> 4), class << 4, 0, 9]);
                bytes.extend((behind as u16).to_be_bytes());
                bytes.extend([protocol, self.ttl]);
            }
        }
        bytes.extend(self.addresses());
        bytes.extend(&self.ip_options);
        if self.version == Version::V4 {
            let checksum = !naive_sum(&bytes);
            bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        }
        bytes.extend(transport);
        bytes.extend(&self.payload);
        bytes
    }

    fn checksum_at(&self) -> usize {
        match self.transport {
            Transport::Tcp => 16,
            Transport::Udp => 6,
        }
    }

    fn put_checksum(&self, bytes: &mut [u8], checksum: u16) {
        let field = self.at() + self.checksum_at();
        bytes[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Every packet that a cut gives.
pub(super) fn packets(bytes: &[u8]) -> Result<Vec<Vec<u8>>, super::CutError> {
    let cut = super::Cut::new(bytes)?;
    let write = |index| {
        let last = index + 1 == cut.segments();
        let mut packet = vec![
            0xee;
            if last {
                cut.last_bytes()
            } else {
                cut.segment_bytes()
            }
        ];
        cut.write(index, &mut packet);
        packet
    };
    Ok((0..cut.segments()).map(write).collect())
}

/// An ordinary packet behind an empty vnet header.
pub(super) fn ordinary(packet: &[u8]) -> Vec<u8> {
    [&[0; VNET_HEADER_BYTES][..], packet].concat()
}
