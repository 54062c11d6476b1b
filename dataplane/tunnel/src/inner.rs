//! The one look at an inner packet: whose it claims to be, and where its padding begins.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const V4_HEADER_LEN: usize = 20;
const V6_HEADER_LEN: usize = 40;

/// Source and length of an IP packet with zeros behind it.
pub(crate) fn source_and_len(packet: &[u8]) -> Option<(IpAddr, usize)> {
    let (source, len, header_len) = match packet.first()? >> 4 {
        4 => {
            let header = packet.first_chunk::<V4_HEADER_LEN>()?;
            let len = u16::from_be_bytes([header[2], header[3]]);
            let [.., a, b, c, d, _, _, _, _] = *header;
            let source = Ipv4Addr::new(a, b, c, d);
            (IpAddr::V4(source), usize::from(len), V4_HEADER_LEN)
        }
        6 => {
            let header = packet.first_chunk::<V6_HEADER_LEN>()?;
            let len = u16::from_be_bytes([header[4], header[5]]);
            let source: [u8; 16] = *header[8..].first_chunk()?;
            let len = V6_HEADER_LEN + usize::from(len);
            (IpAddr::V6(Ipv6Addr::from(source)), len, V6_HEADER_LEN)
        }
        _ => return None,
    };
    (header_len <= len && len <= packet.len()).then_some((source, len))
}
