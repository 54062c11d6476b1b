//! The header before every packet of a TUN device with `IFF_VNET_HDR` (`struct virtio_net_hdr`,
//! include/uapi/linux/virtio_net.h): ten bytes in the machine's byte order, without the count of merged buffers.

pub use towline_io::packet::VNET_HEADER_BYTES;

/// What the header says. From the kernel it is a claim to be checked against the packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VnetHeader {
    /// `FLAG_…`; others mean nothing here.
    pub flags: u8,
    /// `GSO_…`, perhaps with `GSO_ECN`.
    pub gso_type: u8,
    /// Bytes of all headers. A hint: for a forwarded packet it can be the length of the whole first segment.
    pub hdr_len: u16,
    /// Bytes of payload in each segment but the last.
    pub gso_size: u16,
    /// Where summing starts, from the start of the packet.
    pub csum_start: u16,
    /// Where the checksum goes, from `csum_start`.
    pub csum_offset: u16,
}

impl VnetHeader {
    /// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the field holds the sum of the pseudo-header, and the rest is to be added.
    pub const FLAG_NEEDS_CSUM: u8 = 1;
    /// `VIRTIO_NET_HDR_GSO_NONE`: a packet by itself.
    pub const GSO_NONE: u8 = 0;
    /// `VIRTIO_NET_HDR_GSO_TCPV4`.
    pub const GSO_TCPV4: u8 = 1;
    /// `VIRTIO_NET_HDR_GSO_TCPV6`.
    pub const GSO_TCPV6: u8 = 4;
    /// `VIRTIO_NET_HDR_GSO_UDP_L4`: datagrams of one size, over IPv4 or IPv6.
    pub const GSO_UDP_L4: u8 = 5;
    /// `VIRTIO_NET_HDR_GSO_ECN`: a TCP super-packet with CWR.
    pub const GSO_ECN: u8 = 0x80;

    /// Reads the header.
    #[must_use]
    pub const fn parse(bytes: &[u8; VNET_HEADER_BYTES]) -> Self {
        // The array pattern is the layout.
        let [flags, gso_type, h0, h1, g0, g1, s0, s1, o0, o1] = *bytes;
        Self {
            flags,
            gso_type,
            hdr_len: u16::from_ne_bytes([h0, h1]),
            gso_size: u16::from_ne_bytes([g0, g1]),
            csum_start: u16::from_ne_bytes([s0, s1]),
            csum_offset: u16::from_ne_bytes([o0, o1]),
        }
    }

    /// The bytes of the header.
    #[must_use]
    pub const fn write(&self) -> [u8; VNET_HEADER_BYTES] {
        let [h0, h1] = self.hdr_len.to_ne_bytes();
        let [g0, g1] = self.gso_size.to_ne_bytes();
        let [s0, s1] = self.csum_start.to_ne_bytes();
        let [o0, o1] = self.csum_offset.to_ne_bytes();
        [self.flags, self.gso_type, h0, h1, g0, g1, s0, s1, o0, o1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_as_in_the_kernel() {
        let header = VnetHeader {
            flags: VnetHeader::FLAG_NEEDS_CSUM,
            gso_type: VnetHeader::GSO_TCPV4 | VnetHeader::GSO_ECN,
            hdr_len: u16::from_ne_bytes([1, 2]),
            gso_size: u16::from_ne_bytes([3, 4]),
            csum_start: u16::from_ne_bytes([5, 6]),
            csum_offset: u16::from_ne_bytes([7, 8]),
        };
        let bytes = [1, 0x81, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(header.write(), bytes);
        assert_eq!(VnetHeader::parse(&bytes), header);
        assert_eq!(VnetHeader::default().write(), [0; VNET_HEADER_BYTES]);
    }
}
