//! The FINGERPRINT attribute: CRC-32 of the message up to it, exclusive-or "STUN" (RFC 8489
//! section 14.7).

/// Type, length, and the value of four bytes.
pub(super) const ATTRIBUTE_LEN: usize = 8;

/// The value over the parts of a message, from its header to just before the attribute.
pub(super) fn fingerprint(parts: &[&[u8]]) -> u32 {
    let crc = parts.iter().copied().flatten().fold(u32::MAX, |crc, byte| {
        let [low, ..] = crc.to_le_bytes();
        TABLE
            .get(usize::from(low ^ byte))
            .map_or(crc, |entry| (crc >> 8) ^ entry)
    });
    !crc ^ 0x5354_554e
}

/// CRC-32 of IEEE 802.3, reflected, a byte at a time: messages are tens of bytes long.
#[expect(
    clippy::indexing_slicing,
    reason = "constant evaluation: it would fail to compile"
)]
const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc32() {
        assert_eq!(fingerprint(&[b"1234", b"56789"]) ^ 0x5354_554e, 0xcbf4_3926);
    }
}
