//! The four messages of WireGuard (whitepaper section 5.4; messages.h of the kernel): their lengths, where their
//! fields lie, and reading an untrusted datagram as one of them. Numbers are little endian.
//!
//! ```text
//! 1 initiation    type 4 | sender 4 | ephemeral 32 | static 32+16 | timestamp 12+16 | mac1 16 | mac2 16
//! 2 response      type 4 | sender 4 | receiver 4 | ephemeral 32 | nothing 0+16 | mac1 16 | mac2 16
//! 3 cookie reply  type 4 | receiver 4 | nonce 24 | cookie 16+16
//! 4 data          type 4 | receiver 4 | counter 8 | packet n+16
//! ```

use crate::Malformed;

/// Bytes of a Curve25519 key.
pub const KEY_LEN: usize = 32;
/// Bytes of the tag of ChaCha20-Poly1305.
pub const TAG_LEN: usize = 16;
/// Bytes of `mac1` and of `mac2`.
pub const MAC_LEN: usize = 16;
/// Bytes of a TAI64N timestamp.
pub const TIMESTAMP_LEN: usize = 12;
/// Bytes of the nonce of a cookie reply (XChaCha20-Poly1305).
pub const COOKIE_NONCE_LEN: usize = 24;
/// Bytes of a cookie.
pub const COOKIE_LEN: usize = 16;
/// Packets are padded to a multiple of this before they are sealed.
pub const PADDING: usize = 16;

/// Type of an initiation. The three bytes behind the type are zero, so both are read as one number.
pub const INITIATION: u32 = 1;
/// Type of a response.
pub const RESPONSE: u32 = 2;
/// Type of a cookie reply.
pub const COOKIE_REPLY: u32 = 3;
/// Type of data.
pub const DATA: u32 = 4;

/// Bytes of an initiation.
pub const INITIATION_LEN: usize =
    8 + KEY_LEN + KEY_LEN + TAG_LEN + TIMESTAMP_LEN + TAG_LEN + MACS_LEN;
/// Bytes of a response.
pub const RESPONSE_LEN: usize = 12 + KEY_LEN + TAG_LEN + MACS_LEN;
/// Bytes of a cookie reply.
pub const COOKIE_REPLY_LEN: usize = 8 + COOKIE_NONCE_LEN + COOKIE_LEN + TAG_LEN;
/// Bytes before the sealed packet of data: type, receiver, counter.
pub const DATA_HEADER_LEN: usize = 16;
/// Bytes of data that carries an empty packet: a keepalive.
pub const KEEPALIVE_LEN: usize = DATA_HEADER_LEN + TAG_LEN;
/// Bytes of the two MACs at the end of an initiation and of a response.
pub const MACS_LEN: usize = 2 * MAC_LEN;
/// Where the receiver index of a response lies; of cookie replies and data it is `RECEIVER_AT`.
pub const RESPONSE_RECEIVER_AT: usize = 8;
/// Where the receiver index of cookie replies and data lies.
pub const RECEIVER_AT: usize = 4;
/// Where the counter of data lies.
pub const COUNTER_AT: usize = 8;

const _: () = assert!(INITIATION_LEN == 148 && RESPONSE_LEN == 92 && COOKIE_REPLY_LEN == 64);

/// A datagram whose type and length agree. Nothing in it has been verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Datagram<'a> {
    /// The first message of a handshake.
    Initiation(Initiation<'a>),
    /// The second one.
    Response(Response<'a>),
    /// The answer of a peer under load.
    CookieReply(CookieReply<'a>),
    /// A sealed packet.
    Data(Data<'a>),
}

/// The first message of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Initiation<'a> {
    /// The index by which the initiator wants to be addressed.
    pub sender: u32,
    /// Its ephemeral public key.
    pub ephemeral: &'a [u8; KEY_LEN],
    /// Its static public key, sealed.
    pub sealed_static: &'a [u8; KEY_LEN + TAG_LEN],
    /// A TAI64N timestamp, sealed.
    pub sealed_timestamp: &'a [u8; TIMESTAMP_LEN + TAG_LEN],
}

/// The second message of a handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response<'a> {
    /// The index by which the responder wants to be addressed.
    pub sender: u32,
    /// The index that the initiation named.
    pub receiver: u32,
    /// The responder's ephemeral public key.
    pub ephemeral: &'a [u8; KEY_LEN],
    /// The tag of an empty text.
    pub sealed_nothing: &'a [u8; TAG_LEN],
}

/// What a peer under load answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CookieReply<'a> {
    /// The sender index of the message that is answered.
    pub receiver: u32,
    /// The nonce under which the cookie is sealed.
    pub nonce: &'a [u8; COOKIE_NONCE_LEN],
    /// The cookie, sealed.
    pub sealed_cookie: &'a [u8; COOKIE_LEN + TAG_LEN],
}

/// A sealed packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data<'a> {
    /// The index that the receiver chose.
    pub receiver: u32,
    /// The nonce of the packet.
    pub counter: u64,
    /// Packet and tag.
    pub sealed: &'a [u8],
}

/// Reads a datagram of a stranger.
///
/// # Errors
/// It is none of the four messages, or its length is not that of its type.
pub fn parse(datagram: &[u8]) -> Result<Datagram<'_>, Malformed> {
    let (kind, body) = take::<4>(datagram, "Datagram")?;
    match u32::from_le_bytes(*kind) {
        INITIATION => parse_initiation(body).map(Datagram::Initiation),
        RESPONSE => parse_response(body).map(Datagram::Response),
        COOKIE_REPLY => parse_cookie_reply(body).map(Datagram::CookieReply),
        DATA => parse_data(body).map(Datagram::Data),
        _ => Err(Malformed::new("Datagram", "unknown type")),
    }
}

/// Receiver and counter of a datagram that is data: what the path of a packet needs of it.
#[must_use]
pub fn data_header(datagram: &[u8]) -> Option<(u32, u64)> {
    let (header, sealed) = datagram.split_first_chunk::<DATA_HEADER_LEN>()?;
    let [a, b, c, d, e, f, g, h, counter @ ..] = *header;
    (u32::from_le_bytes([a, b, c, d]) == DATA && sealed.len() >= TAG_LEN).then(|| {
        (
            u32::from_le_bytes([e, f, g, h]),
            u64::from_le_bytes(counter),
        )
    })
}

/// The first bytes of data.
#[must_use]
pub fn write_data_header(receiver: u32, counter: u64) -> [u8; DATA_HEADER_LEN] {
    let low = u64::from(DATA) | u64::from(receiver) << 32;
    (u128::from(low) | u128::from(counter) << 64).to_le_bytes()
}

fn parse_initiation(body: &[u8]) -> Result<Initiation<'_>, Malformed> {
    const NAME: &str = "Initiation";
    let (sender, rest) = take::<4>(body, NAME)?;
    let (ephemeral, rest) = take(rest, NAME)?;
    let (sealed_static, rest) = take(rest, NAME)?;
    let (sealed_timestamp, rest) = take(rest, NAME)?;
    let (_, rest) = take::<MACS_LEN>(rest, NAME)?;
    ended(rest, NAME)?;
    Ok(Initiation {
        sender: u32::from_le_bytes(*sender),
        ephemeral,
        sealed_static,
        sealed_timestamp,
    })
}

fn parse_response(body: &[u8]) -> Result<Response<'_>, Malformed> {
    const NAME: &str = "Response";
    let (sender, rest) = take::<4>(body, NAME)?;
    let (receiver, rest) = take::<4>(rest, NAME)?;
    let (ephemeral, rest) = take(rest, NAME)?;
    let (sealed_nothing, rest) = take(rest, NAME)?;
    let (_, rest) = take::<MACS_LEN>(rest, NAME)?;
    ended(rest, NAME)?;
    Ok(Response {
        sender: u32::from_le_bytes(*sender),
        receiver: u32::from_le_bytes(*receiver),
        ephemeral,
        sealed_nothing,
    })
}

fn parse_cookie_reply(body: &[u8]) -> Result<CookieReply<'_>, Malformed> {
    const NAME: &str = "CookieReply";
    let (receiver, rest) = take::<4>(body, NAME)?;
    let (nonce, rest) = take(rest, NAME)?;
    let (sealed_cookie, rest) = take(rest, NAME)?;
    ended(rest, NAME)?;
    Ok(CookieReply {
        receiver: u32::from_le_bytes(*receiver),
        nonce,
        sealed_cookie,
    })
}

fn parse_data(body: &[u8]) -> Result<Data<'_>, Malformed> {
    const NAME: &str = "Data";
    let (receiver, rest) = take::<4>(body, NAME)?;
    let (counter, sealed) = take::<8>(rest, NAME)?;
    if sealed.len() < TAG_LEN {
        return Err(Malformed::new(NAME, "too short"));
    }
    Ok(Data {
        receiver: u32::from_le_bytes(*receiver),
        counter: u64::from_le_bytes(*counter),
        sealed,
    })
}

fn take<'a, const N: usize>(
    bytes: &'a [u8],
    name: &'static str,
) -> Result<(&'a [u8; N], &'a [u8]), Malformed> {
    bytes
        .split_first_chunk()
        .ok_or_else(|| Malformed::new(name, "too short"))
}

fn ended(rest: &[u8], name: &'static str) -> Result<(), Malformed> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Malformed::new(name, "too long"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, len: usize) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..len).map(|i| i as u8).collect();
        bytes[..4].copy_from_slice(&[kind, 0, 0, 0]);
        bytes
    }

    #[test]
    fn each_message_has_its_length() {
        for (kind, len) in [(1, 148), (2, 92), (3, 64)] {
            assert!(parse(&message(kind, len)).is_ok());
            assert!(parse(&message(kind, len - 1)).is_err());
            assert!(parse(&message(kind, len + 1)).is_err());
        }
        assert!(parse(&message(4, 31)).is_err());
        assert!(parse(&message(4, 32)).is_ok());
        assert!(parse(&message(4, 65_535)).is_ok());
        assert!(parse(&message(5, 148)).is_err());
        assert!(parse(&[]).is_err());
    }

    #[test]
    fn the_bytes_behind_the_type_are_zero() {
        let mut bytes = message(1, 148);
        bytes[2] = 1;
        assert!(parse(&bytes).is_err());
        assert_eq!(data_header(&bytes), None);
    }

    #[test]
    fn fields_lie_where_the_kernel_has_them() {
        let bytes = message(1, 148);
        let Ok(Datagram::Initiation(initiation)) = parse(&bytes) else {
            panic!("an initiation");
        };
        assert_eq!(initiation.sender, 0x0706_0504);
        assert_eq!(initiation.ephemeral[0], 8);
        assert_eq!(initiation.sealed_static[0], 40);
        assert_eq!(initiation.sealed_timestamp[0], 88);
        let bytes = message(2, 92);
        let Ok(Datagram::Response(response)) = parse(&bytes) else {
            panic!("a response");
        };
        assert_eq!(response.receiver, 0x0b0a_0908);
        assert_eq!(response.ephemeral[0], 12);
        assert_eq!(response.sealed_nothing[0], 44);
    }

    #[test]
    fn a_data_header_is_read_as_it_was_written() {
        let mut bytes = write_data_header(0x1234_5678, 0x0102_0304_0506_0708).to_vec();
        assert_eq!(bytes[..8], [4, 0, 0, 0, 0x78, 0x56, 0x34, 0x12]);
        assert_eq!(data_header(&bytes), None, "no tag");
        bytes.resize(KEEPALIVE_LEN, 0);
        let header = data_header(&bytes);
        assert_eq!(header, Some((0x1234_5678, 0x0102_0304_0506_0708)));
        let Ok(Datagram::Data(data)) = parse(&bytes) else {
            panic!("data");
        };
        assert_eq!(Some((data.receiver, data.counter)), header);
    }
}
