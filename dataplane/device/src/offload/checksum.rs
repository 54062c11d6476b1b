//! The Internet checksum (RFC 1071).
//!
//! The sum of 16-bit words modulo 65,535 is the same in any byte order and in words of any size, so 32-bit words are
//! added in the machine's order into several 64-bit lanes, which the compiler makes vectors of. Measured against 64-bit
//! words with carries in `benches/offload.rs`.

/// A sum that is not yet folded into 16 bits. Whoever adds sums of parts gives all but the last an even length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

/// Bytes of a turn of the loops below.
const STRIDE: usize = 32;
const LANES: usize = STRIDE / 4;

impl Sum {
    /// The sum of bytes; the missing half of an odd last word counts as zero.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (strides, rest) = bytes.as_chunks::<STRIDE>();
        let mut lanes = [0; LANES];
        for stride in strides {
            add(&mut lanes, stride);
        }
        Self::from_lanes(lanes).plus(Self::of_few(rest))
    }

    /// Copies `from` to `into`, which has its length, and sums on the way.
    ///
    /// # Panics
    /// The lengths differ.
    #[must_use]
    pub fn copying(into: &mut [u8], from: &[u8]) -> Self {
        assert_eq!(
            into.len(),
            from.len(),
            "a copy has the length of its source"
        );
        let (strides, rest) = from.as_chunks::<STRIDE>();
        let (into, into_rest) = into.as_chunks_mut::<STRIDE>();
        let mut lanes = [0; LANES];
        for (into, stride) in into.iter_mut().zip(strides) {
            *into = *stride;
            add(&mut lanes, stride);
        }
        into_rest.copy_from_slice(rest);
        Self::from_lanes(lanes).plus(Self::of_few(rest))
    }

    /// With a 16-bit field, such as a length, given as a number.
    #[must_use]
    pub const fn word(self, value: u16) -> Self {
        Self(self.0 + u16::from_ne_bytes(value.to_be_bytes()) as u64)
    }

    /// With the sum of bytes that stand elsewhere.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }

    /// The folded sum as its bytes lie in a packet: what the field of a checksum left to the kernel holds.
    #[must_use]
    pub const fn folded(self) -> [u8; 2] {
        self.fold().to_ne_bytes()
    }

    /// The checksum as its bytes lie in a packet.
    #[must_use]
    pub const fn checksum(self) -> [u8; 2] {
        (!self.fold()).to_ne_bytes()
    }

    /// The checksum for UDP, where zero means that there is none (RFC 768).
    #[must_use]
    pub const fn checksum_udp(self) -> [u8; 2] {
        match self.checksum() {
            [0, 0] => [0xff, 0xff],
            checksum => checksum,
        }
    }

    /// Whether bytes with their checksum and pseudo-header, all summed, are as they were sent.
    #[must_use]
    pub const fn is_correct(self) -> bool {
        self.fold() == 0xffff
    }

    const fn fold(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    /// Brought under 2^34, so that sums of many parts cannot overflow.
    fn from_lanes(lanes: [u64; LANES]) -> Self {
        let sum: u64 = lanes.iter().sum();
        Self((sum & 0xffff_ffff) + (sum >> 32))
    }

    /// The sum of fewer bytes than a stride: headers, and what strides leave.
    fn of_few(bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<4>();
        let words: u64 = words
            .iter()
            .map(|word| u64::from(u32::from_ne_bytes(*word)))
            .sum();
        let (pairs, odd) = rest.as_chunks::<2>();
        let pairs: u64 = pairs
            .iter()
            .map(|pair| u64::from(u16::from_ne_bytes(*pair)))
            .sum();
        let odd: u64 = odd
            .iter()
            .map(|byte| u64::from(u16::from_ne_bytes([*byte, 0])))
            .sum();
        Self(words + pairs + odd)
    }
}

#[inline(always)]
fn add(lanes: &mut [u64; LANES], stride: &[u8; STRIDE]) {
    let (words, _) = stride.as_chunks::<4>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        *lane += u64::from(u32::from_ne_bytes(*word));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::offload::testing::naive_sum;

    #[test]
    fn the_example_of_rfc_1071() {
        let sum = Sum::of(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.folded(), [0xdd, 0xf2]);
        assert_eq!(sum.checksum(), [0x22, 0x0d]);
    }

    #[test]
    fn a_zero_is_written_as_ones_for_udp() {
        let sum = Sum::of(&[0xff, 0xff]);
        assert_eq!(sum.checksum(), [0, 0]);
        assert_eq!(sum.checksum_udp(), [0xff, 0xff]);
        assert!(sum.is_correct());
    }

    #[test]
    fn ones_all_the_way_do_not_overflow() {
        let ones = vec![0xff; 1 << 20];
        let sum = Sum::of(&ones).plus(Sum::of(&ones)).word(0xffff);
        assert_eq!(sum.folded(), [0xff, 0xff]);
    }

    proptest! {
        #[test]
        fn sums_are_the_naive_ones(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..150) {
            let expected = naive_sum(&bytes).to_be_bytes();
            prop_assert_eq!(Sum::of(&bytes).folded(), expected);

            let mut copy = vec![0; bytes.len()];
            prop_assert_eq!(Sum::copying(&mut copy, &bytes).folded(), expected);
            prop_assert_eq!(&copy, &bytes);

            let (head, tail) = bytes.split_at((2 * cut).min(bytes.len() & !1));
            prop_assert_eq!(Sum::of(head).plus(Sum::of(tail)).folded(), expected);
        }
    }
}
