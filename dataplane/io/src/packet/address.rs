//! Socket addresses as the kernel lays them out, written and read byte by byte.
//!
//! `sockaddr_in`: family 2, port 2 (big-endian), address 4, zeros 8. `sockaddr_in6`: family 2, port
//! 2 (big-endian), flow information 4, address 16, scope 4.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

const V4_BYTES: usize = size_of::<libc::sockaddr_in>();
const V6_BYTES: usize = size_of::<libc::sockaddr_in6>();
const _: () = assert!(V4_BYTES == 16 && V6_BYTES == NAME_BYTES);

/// Room for an address of either family.
pub(crate) const NAME_BYTES: usize = 28;

/// Aligned as both structures are.
#[derive(Clone, Copy)]
#[repr(C, align(4))]
pub(crate) struct Name(pub(crate) [u8; NAME_BYTES]);

impl Name {
    pub(crate) const EMPTY: Self = Self([0; NAME_BYTES]);

    /// Gives the length of what it wrote.
    pub(crate) fn write(&mut self, address: &SocketAddr) -> u32 {
        let bytes = &mut self.0;
        match address {
            SocketAddr::V4(address) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&address.ip().octets());
                bytes[8..V4_BYTES].fill(0);
                V4_BYTES as u32
            }
            SocketAddr::V6(address) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
                bytes[4..8].copy_from_slice(&address.flowinfo().to_ne_bytes());
                bytes[8..24].copy_from_slice(&address.ip().octets());
                bytes[24..].copy_from_slice(&address.scope_id().to_ne_bytes());
                V6_BYTES as u32
            }
        }
    }
}

/// `None` for what is no address of these families.
pub(crate) fn read(bytes: &[u8]) -> Option<SocketAddr> {
    let (family, rest) = bytes.split_first_chunk::<2>()?;
    let (port, rest) = rest.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    match i32::from(u16::from_ne_bytes(*family)) {
        libc::AF_INET => {
            let ip = Ipv4Addr::from(*rest.first_chunk::<4>()?);
            Some(SocketAddrV4::new(ip, port).into())
        }
        libc::AF_INET6 => {
            let (_flow, rest) = rest.split_first_chunk::<4>()?;
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            let scope = u32::from_ne_bytes(*rest.first_chunk()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(*ip), port, 0, scope).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for text in ["192.0.2.7:51820", "[2001:db8::7]:1", "[fe80::1%3]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut name = Name([0xff; NAME_BYTES]);
            let len = name.write(&address) as usize;
            assert_eq!(read(&name.0[..len]), Some(address));
            assert_eq!(read(&name.0[..len / 2 - 1]), None);
        }
        assert_eq!(read(&[0; NAME_BYTES]), None);
    }
}
