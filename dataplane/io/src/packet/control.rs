//! Control messages of datagrams, written and read byte by byte.
//!
//! One message: length of header and data (`usize`), level 4, type 4, data, zeros up to the next
//! multiple of a `usize`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Local;

/// Room for what is asked of the kernel, either way and family: packet information (IPv6: 40), the
/// traffic class (24) and the segment size (24).
pub(crate) const CONTROL_BYTES: usize = 96;
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
const ALIGNMENT: usize = size_of::<usize>();
const _: () = assert!(HEADER_BYTES == size_of::<usize>() + 8);

#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(crate) struct Control {
    pub(crate) bytes: [u8; CONTROL_BYTES],
    pub(crate) len: usize,
}

impl Control {
    pub(crate) const EMPTY: Self = Self {
        bytes: [0; CONTROL_BYTES],
        len: 0,
    };

    /// What a send says: its local address, its segments (`UDP_SEGMENT`) and its ECN bits.
    pub(crate) fn write(
        &mut self,
        v6: bool,
        local: Option<Local>,
        segment_bytes: Option<u16>,
        ecn: u8,
    ) {
        self.len = 0;
        match local.map(|local| (local.address, local.interface)) {
            Some((IpAddr::V4(address), interface)) if !v6 => {
                let mut info = [0; 12];
                info[..4].copy_from_slice(&interface.to_ne_bytes());
                info[4..8].copy_from_slice(&address.octets());
                self.push(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            Some((IpAddr::V6(address), interface)) if v6 => {
                let mut info = [0; 20];
                info[..16].copy_from_slice(&address.octets());
                info[16..].copy_from_slice(&interface.to_ne_bytes());
                self.push(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
            _ => {}
        }
        if let Some(bytes) = segment_bytes {
            self.push(libc::SOL_UDP, libc::UDP_SEGMENT, &bytes.to_ne_bytes());
        }
        if ecn != 0 {
            let class = libc::c_int::from(ecn).to_ne_bytes();
            if v6 {
                self.push(libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &class);
            } else {
                self.push(libc::IPPROTO_IP, libc::IP_TOS, &class);
            }
        }
    }

    fn push(&mut self, level: i32, kind: i32, data: &[u8]) {
        let len = HEADER_BYTES + data.len();
        let padded = len.next_multiple_of(ALIGNMENT);
        let message = &mut self.bytes[self.len..self.len + padded];
        message.fill(0);
        message[..ALIGNMENT].copy_from_slice(&len.to_ne_bytes());
        message[ALIGNMENT..ALIGNMENT + 4].copy_from_slice(&level.to_ne_bytes());
        message[ALIGNMENT + 4..HEADER_BYTES].copy_from_slice(&kind.to_ne_bytes());
        message[HEADER_BYTES..len].copy_from_slice(data);
        self.len += padded;
    }
}

/// What the kernel says of a receive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) local: Option<Local>,
    /// Of GRO.
    pub(crate) segment_bytes: Option<usize>,
    pub(crate) ecn: u8,
}

/// Reads what it knows and passes over the rest.
pub(crate) fn read(mut bytes: &[u8]) -> Told {
    let mut told = Told::default();
    while let Some((level, kind, data)) = next(&mut bytes) {
        match (level, kind) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => told.local = local_v4(data),
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => told.local = local_v6(data),
            (libc::SOL_UDP, libc::UDP_GRO) => {
                let bytes = data.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
                told.segment_bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
            }
            // One byte of the kernel's.
            (libc::IPPROTO_IP, libc::IP_TOS) => told.ecn = data.first().map_or(0, |tos| tos & 3),
            (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                let class = data
                    .first_chunk()
                    .map_or(0, |class| i32::from_ne_bytes(*class));
                told.ecn = class as u8 & 3;
            }
            _ => {}
        }
    }
    told
}

fn next<'a>(bytes: &mut &'a [u8]) -> Option<(i32, i32, &'a [u8])> {
    let len = usize::from_ne_bytes(*bytes.first_chunk()?);
    let message = bytes.get(..len)?;
    let level = i32::from_ne_bytes(*message.get(ALIGNMENT..)?.first_chunk()?);
    let kind = i32::from_ne_bytes(*message.get(ALIGNMENT + 4..)?.first_chunk()?);
    let data = message.get(HEADER_BYTES..)?;
    *bytes = bytes.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or(&[]);
    Some((level, kind, data))
}

/// `struct in_pktinfo`: interface 4, the address to answer from 4, the address reached 4.
fn local_v4(data: &[u8]) -> Option<Local> {
    let (interface, rest) = data.split_first_chunk()?;
    Some(Local {
        address: Ipv4Addr::from(*rest.first_chunk::<4>()?).into(),
        interface: u32::from_ne_bytes(*interface),
    })
}

/// `struct in6_pktinfo`: the address reached 16, interface 4.
fn local_v6(data: &[u8]) -> Option<Local> {
    let (address, rest) = data.split_first_chunk::<16>()?;
    Some(Local {
        address: Ipv6Addr::from(*address).into(),
        interface: u32::from_ne_bytes(*rest.first_chunk()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_local_address_and_ecn_are_read_as_written() {
        for (address, v6) in [("192.0.2.1", false), ("2001:db8::1", true)] {
            let local = Some(Local {
                address: address.parse().unwrap(),
                interface: 7,
            });
            let mut control = Control::EMPTY;
            control.write(v6, local, Some(1400), 2);
            let told = read(&control.bytes[..control.len]);
            assert_eq!((told.local, told.ecn), (local, 2));
            control.write(!v6, local, None, 0);
            assert_eq!(control.len, 0, "an address of the other family is left out");
        }
    }

    #[test]
    fn nonsense_is_passed_over() {
        let mut control = Control::EMPTY;
        control.push(libc::SOL_UDP, libc::UDP_GRO, &1200i32.to_ne_bytes());
        let whole = &control.bytes[..control.len];
        assert_eq!(read(whole).segment_bytes, Some(1200));
        for cut in 0..HEADER_BYTES + 4 {
            assert_eq!(read(&whole[..cut]), Told::default());
        }
        assert_eq!(read(&[0; 64]), Told::default());
        assert_eq!(read(&[0xff; 64]), Told::default());
    }
}
