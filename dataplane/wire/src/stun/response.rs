//! Binding success responses: "this is your address, as I see it".

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use core::ops::Deref;

use super::attributes::{Attributes, MAPPED_ADDRESS, XOR_MAPPED_ADDRESS, XOR_MAPPED_ADDRESS_DRAFT};
use super::{
    BINDING_SUCCESS, HEADER_LEN, MAGIC_COOKIE, StunError, TransactionId, header, parse_message,
};

const FAMILY_V4: u8 = 0x01;
const FAMILY_V6: u8 = 0x02;

/// Header, attribute head, zero, family, port, and the longer of the addresses.
const RESPONSE_LEN_MAX: usize = HEADER_LEN + 4 + 4 + 16;

/// A response ready to send; derefs to its bytes (32 for IPv4, 44 for IPv6).
#[derive(Debug, Clone, Copy)]
pub struct BindingResponse {
    bytes: [u8; RESPONSE_LEN_MAX],
    len: usize,
}

impl Deref for BindingResponse {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for BindingResponse {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

/// The answer to a request that came from `source`. XOR-MAPPED-ADDRESS is its only attribute. An IPv4
/// client of a dual-stack socket (`::ffff:a.b.c.d`) is told its four bytes.
#[must_use]
pub fn binding_response(transaction: &TransactionId, source: SocketAddr) -> BindingResponse {
    let (family, ip, ip_len) = match source.ip().to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            (
                FAMILY_V4,
                [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
                4_u8,
            )
        }
        IpAddr::V6(ip) => (FAMILY_V6, ip.octets(), 16),
    };
    let value_len = 4 + ip_len;
    let [k0, k1] = XOR_MAPPED_ADDRESS.to_be_bytes();
    let [p0, p1] = xor_port(source.port()).to_be_bytes();
    let mut bytes = [0; RESPONSE_LEN_MAX];
    let (message, rest) = bytes.split_at_mut(HEADER_LEN);
    let (head, address) = rest.split_at_mut(8);
    message.copy_from_slice(&header(
        BINDING_SUCCESS,
        u16::from(4 + value_len),
        transaction,
    ));
    head.copy_from_slice(&[k0, k1, 0, value_len, 0, family, p0, p1]);
    address.copy_from_slice(&xor_ip(ip, transaction));
    BindingResponse {
        bytes,
        len: HEADER_LEN + 4 + usize::from(value_len),
    }
}

/// Reads the address out of an answer: XOR-MAPPED-ADDRESS, or what older servers send instead.
/// The caller checks that the transaction is one of its own.
///
/// # Errors
/// Not a success response, malformed, or without an address.
pub fn parse_binding_response(datagram: &[u8]) -> Result<(TransactionId, SocketAddr), StunError> {
    let (transaction, attributes) = parse_message(datagram, BINDING_SUCCESS)?;
    let mut xor_mapped = None;
    let mut mapped = None;
    for attribute in Attributes::new(attributes) {
        let attribute = attribute?;
        match attribute.kind {
            XOR_MAPPED_ADDRESS | XOR_MAPPED_ADDRESS_DRAFT => {
                let addr = parse_address(attribute.value, |ip| xor_ip(ip, &transaction), xor_port)?;
                xor_mapped = xor_mapped.or(Some(addr));
            }
            MAPPED_ADDRESS => mapped = Some(parse_address(attribute.value, |ip| ip, |port| port)?),
            _ => {}
        }
    }
    xor_mapped
        .or(mapped)
        .map(|addr| (transaction, addr))
        .ok_or(StunError::Malformed)
}

/// Layout: zero, family, port, address; `ip` and `port` undo the exclusive-or, if there is one.
fn parse_address(
    value: &[u8],
    ip: impl Fn([u8; 16]) -> [u8; 16],
    port: impl Fn(u16) -> u16,
) -> Result<SocketAddr, StunError> {
    let (&[_, family, p0, p1], address) = value.split_first_chunk().ok_or(StunError::Malformed)?;
    let mut bytes = [0; 16];
    let wanted = match family {
        FAMILY_V4 => 4,
        FAMILY_V6 => 16,
        _ => return Err(StunError::Malformed),
    };
    match bytes.get_mut(..wanted) {
        Some(bytes) if bytes.len() == address.len() => bytes.copy_from_slice(address),
        _ => return Err(StunError::Malformed),
    }
    let bytes = ip(bytes);
    let [a, b, c, d, ..] = bytes;
    let ip = match family {
        FAMILY_V4 => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
        _ => Ipv6Addr::from(bytes).to_canonical(),
    };
    Ok(SocketAddr::new(ip, port(u16::from_be_bytes([p0, p1]))))
}

fn xor_port(port: u16) -> u16 {
    let [c0, c1, ..] = MAGIC_COOKIE;
    port ^ u16::from_be_bytes([c0, c1])
}

/// Exclusive-or with cookie and transaction id, so that no NAT finds and rewrites the address.
fn xor_ip(mut ip: [u8; 16], transaction: &TransactionId) -> [u8; 16] {
    let mask = MAGIC_COOKIE.iter().chain(&transaction.0);
    for (byte, mask) in ip.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    ip
}
