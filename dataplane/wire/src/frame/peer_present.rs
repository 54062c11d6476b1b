//! PeerPresent, server to watchers: a peer is connected to that server.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::ops::BitOr;

use super::{FrameType, Malformed, write_frame};
use crate::NodePublic;
use crate::key::KEY_LEN;

/// Layout: `key: [u8; 32]`, then perhaps `ip: [u8; 16]` (IPv4 as v4-mapped) and `port: u16`, then
/// perhaps `flags: u8`, then bytes of future versions. The bodies in use are 32, 50 and 51 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerPresent {
    /// The peer.
    pub key: NodePublic,
    /// Where it connects from; absent from old servers, and when it is `[::]:0`.
    pub addr: Option<SocketAddr>,
    /// What kind of client it is; empty from old servers.
    pub flags: PresentFlags,
}

/// What kind of client is present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PresentFlags(pub u8);

impl PresentFlags {
    /// Nothing known.
    pub const NONE: Self = Self(0);
    /// An ordinary client; only ever alone.
    pub const REGULAR: Self = Self(1);
    /// A relay of the mesh.
    pub const MESH_PEER: Self = Self(2);
    /// A prober.
    pub const PROBER: Self = Self(4);
    /// It said that another node of the region would suit it better.
    pub const NOT_IDEAL: Self = Self(8);
}

impl BitOr for PresentFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl PeerPresent {
    /// Bytes of the body that mean something.
    pub const FIELDS_BYTES: usize = KEY_LEN + 16 + 2 + 1;

    /// Reads the body of a frame. A body that ends inside the address or before the flags has none.
    ///
    /// # Errors
    /// The body is shorter than a key.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let (key, rest) = body
            .split_first_chunk()
            .ok_or(Malformed::new("PeerPresent", "shorter than a key"))?;
        let key = NodePublic(*key);
        let Some((addr, rest)) = rest.split_first_chunk() else {
            return Ok(Self {
                key,
                addr: None,
                flags: PresentFlags::NONE,
            });
        };
        let flags = rest
            .first()
            .map_or(PresentFlags::NONE, |flags| PresentFlags(*flags));
        Ok(Self {
            key,
            addr: parse_addr(addr),
            flags,
        })
    }

    /// Appends the frame: 51 bytes of body, or 32 when there is nothing to say but the key.
    pub fn write(&self, out: &mut Vec<u8>) {
        if self.addr.is_none() && self.flags == PresentFlags::NONE {
            return write_frame(out, FrameType::PeerPresent, &[&self.key.0]);
        }
        let (ip, port) = self
            .addr
            .map_or((Ipv6Addr::UNSPECIFIED, 0), |addr| match addr.ip() {
                IpAddr::V4(ip) => (ip.to_ipv6_mapped(), addr.port()),
                IpAddr::V6(ip) => (ip, addr.port()),
            });
        let parts: [&[u8]; 4] = [
            &self.key.0,
            &ip.octets(),
            &port.to_be_bytes(),
            &[self.flags.0],
        ];
        write_frame(out, FrameType::PeerPresent, &parts);
    }
}

fn parse_addr(bytes: &[u8; 18]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_first_chunk::<16>()?;
    let ip = Ipv6Addr::from(*ip).to_canonical();
    let port = u16::from_be_bytes(*port.first_chunk()?);
    // What Go writes for an address that it does not know.
    (!ip.is_unspecified() || port != 0).then(|| SocketAddr::new(ip, port))
}
