//! Datagrams of strangers at the STUN port: what is answered, is answered rightly and with a short datagram; a
//! request whose fingerprint does not fit is not answered. Also what a client of ours reads from a server.
#![no_main]
#![forbid(unsafe_code)]

use core::net::{IpAddr, SocketAddr};

use libfuzzer_sys::fuzz_target;
use towline_fuzz::take_byte;
use towline_wire::stun::{self, StunError};

/// The head of a FINGERPRINT attribute (RFC 8489 section 14.7); four bytes of value follow.
const FINGERPRINT: [u8; 4] = [0x80, 0x28, 0, 4];

/// Input: a byte of options, 18 bytes of a source address, the datagram. Option 1 mends the datagram's cookie and
/// length, and its fingerprint if it ends with one, which a fuzzer can hardly guess.
fn run(mut input: &[u8]) -> Option<()> {
    let options = take_byte(&mut input)?;
    let (source, datagram) = input.split_first_chunk::<18>()?;
    let (ip, port) = source.split_first_chunk::<16>()?;
    let ip = IpAddr::from(*ip).to_canonical();
    let source = SocketAddr::new(ip, u16::from_be_bytes([port[0], port[1]]));
    let mut datagram = datagram.to_vec();
    if options & 1 == 1 {
        mend(&mut datagram)?;
    }

    if let Ok((_, address)) = stun::parse_binding_response(&datagram) {
        assert_eq!(address.ip(), address.ip().to_canonical());
    }
    let transaction = stun::parse_binding_request(&datagram).ok()?;
    assert_eq!(datagram[8..20], transaction.0);
    let response = stun::binding_response(&transaction, source);
    assert!(response.len() <= 44);
    assert_eq!(
        stun::parse_binding_response(&response),
        Ok((transaction, source))
    );
    // Neither side takes the other's message for one of its own.
    assert_eq!(
        stun::parse_binding_request(&response),
        Err(StunError::NotBinding)
    );
    assert!(stun::parse_binding_response(&datagram).is_err());
    if has_fingerprint(&datagram) {
        datagram[8] ^= 0x40;
        assert_eq!(
            stun::parse_binding_request(&datagram),
            Err(StunError::BadFingerprint)
        );
    }
    Some(())
}

/// Whether the last attribute is one. That of a request that was accepted is, if it looks like one and no other
/// attribute reaches into it.
fn has_fingerprint(datagram: &[u8]) -> bool {
    let mut attributes = &datagram[20..];
    while let Some((&[k0, k1, l0, l1], rest)) = attributes.split_first_chunk::<4>() {
        if [k0, k1, l0, l1] == FINGERPRINT {
            return true;
        }
        let padded = usize::from(u16::from_be_bytes([l0, l1])).next_multiple_of(4);
        attributes = rest.get(padded..).unwrap_or_default();
    }
    false
}

fn mend(datagram: &mut [u8]) -> Option<()> {
    let len = u16::try_from(datagram.len().checked_sub(20)?).ok()?;
    datagram[2..4].copy_from_slice(&len.to_be_bytes());
    datagram[4..8].copy_from_slice(&stun::MAGIC_COOKIE);
    if let Some((before, last)) = datagram.split_last_chunk_mut::<8>()
        && last[..4] == FINGERPRINT
    {
        last[4..].copy_from_slice(&(crc32(before) ^ 0x5354_554e).to_be_bytes());
    }
    Some(())
}

/// CRC-32 of ISO 3309, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(crc & 1))
        })
    })
}

fuzz_target!(|input: &[u8]| {
    let _ = run(input);
});
