//! Packets and a second, naive checksum for the tests of cutting and joining.

/// The folded sum, word by word as RFC 1071 section 4.1 has it.
pub(super) fn naive_sum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u32;
    for pair in bytes.chunks(2) {
        let word = u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0));
        sum += word;
        if sum > 0xffff {
            sum -= 0xffff;
        }
    }
    sum as u16
}
