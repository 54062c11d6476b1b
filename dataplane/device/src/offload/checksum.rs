//! The Internet checksum (RFC 1071).
//!
//! The sum of 16-bit words modulo 65,535 is the same in any byte order, so words are added in the machine's order, in
//! lanes of 32 bits, which the compiler makes vectors of. `benches/offload.rs` measures it against 64-bit words with
//! carries, and against summing while copying, which the compiler does worse than one after the other.

/// A sum that is not yet folded into 16 bits. Whoever adds sums of parts gives all but the last an even length.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

/// Bytes of a turn of the loop.
const STRIDE: usize = 4 * LANES;
const LANES: usize = 8;
/// Turns before a lane of 16-bit words could overflow.
const STRIDES_MAX: usize = 1 << 16;

impl Sum {
    /// The sum of bytes; the missing half of an odd last word counts as zero.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let (strides, rest) = bytes.as_chunks::<STRIDE>();
        let mut sum = Self::of_few(rest);
        for strides in strides.chunks(STRIDES_MAX) {
            let mut lanes = Lanes::default();
            for stride in strides {
                lanes.add(stride);
            }
            sum = sum.plus(lanes.sum());
        }
        sum
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

/// In each lane, 32-bit words added without their carries, and their high halves. Together they say what the low halves
/// add up to: one operation less for a word than with both halves apart.
#[derive(Default)]
struct Lanes {
    whole: [u32; LANES],
    high: [u32; LANES],
}

impl Lanes {
    #[inline(always)]
    fn add(&mut self, stride: &[u8; STRIDE]) {
        let (words, _) = stride.as_chunks::<4>();
        for ((whole, high), word) in self.whole.iter_mut().zip(&mut self.high).zip(words) {
            let word = u32::from_ne_bytes(*word);
            *whole = whole.wrapping_add(word);
            *high += word >> 16;
        }
    }

    fn sum(&self) -> Sum {
        let lanes = self.whole.iter().zip(&self.high);
        let sums = lanes.map(|(whole, high)| {
            let low = whole.wrapping_sub(high << 16);
            u64::from(low) + u64::from(*high)
        });
        Sum(sums.sum())
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
        let ones = vec![0xff; STRIDE * STRIDES_MAX * 2 + 2];
        let sum = Sum::of(&ones).plus(Sum::of(&ones)).word(0xffff);
        assert_eq!(sum.folded(), [0xff, 0xff]);
    }

    proptest! {
        #[test]
        fn sums_are_the_naive_ones(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0_usize..150) {
            let expected = naive_sum(&bytes).to_be_bytes();
            prop_assert_eq!(Sum::of(&bytes).folded(), expected);

            let (head, tail) = bytes.split_at((2 * cut).min(bytes.len() & !1));
            prop_assert_eq!(Sum::of(head).plus(Sum::of(tail)).folded(), expected);
        }
    }
}
