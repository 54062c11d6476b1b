//! The values of keys. `None` means that it is not one.

use core::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use core::str::FromStr;

use data_encoding::HEXLOWER_PERMISSIVE;
use ipnet::IpNet;
use zeroize::Zeroizing;

use super::KEY_BYTES;

/// A key in hexadecimal digits.
pub(super) fn key(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    let mut key = Zeroizing::new([0; KEY_BYTES]);
    let written = HEXLOWER_PERMISSIVE.decode_mut(text.as_bytes(), &mut *key);
    written.ok().map(|_| key)
}

/// A decimal number, of digits only.
pub(super) fn number<N: FromStr>(text: &str) -> Option<N> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

/// An address and port, IPv6 in brackets, there with a scope perhaps: a number, or a name that `scope` knows. (`wg` writes
/// names, because `getnameinfo` does.)
pub(super) fn endpoint(text: &str, scope: fn(&str) -> Option<u32>) -> Option<SocketAddr> {
    if let Ok(endpoint) = text.parse() {
        return Some(endpoint);
    }
    let (address, rest) = text.strip_prefix('[')?.split_once('%')?;
    let (name, port) = rest.rsplit_once("]:")?;
    let address: Ipv6Addr = address.parse().ok()?;
    let port = number(port)?;
    Some(SocketAddrV6::new(address, port, 0, scope(name)?).into())
}

/// A network with the length of its prefix; bits of hosts are cleared.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let (_, bits) = text.split_once('/')?;
    number::<u8>(bits)?;
    let network: IpNet = text.parse().ok()?;
    Some(network.trunc())
}
