//! Masking: XOR with a four-byte key that repeats (RFC 6455 §5.3).

use core::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// A masking key, turned so that its first byte is for the next byte of the payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask(pub(super) [u8; 4]);

impl Mask {
    /// What a server's frames are masked with: nothing.
    pub(super) const NONE: Self = Self([0; 4]);

    /// Masks or unmasks `payload` and turns the key by as many bytes.
    pub(super) fn apply(&mut self, payload: &mut [u8]) {
        // Wide enough for the compiler to use the widest vectors; 32 is a multiple of 4, so the
        // key stands the same at the start of every chunk.
        let mut wide = [0; 32];
        for piece in wide.as_chunks_mut::<4>().0 {
            *piece = self.0;
        }
        let (chunks, rest) = payload.as_chunks_mut::<32>();
        for chunk in chunks {
            for (byte, key) in chunk.iter_mut().zip(&wide) {
                *byte ^= key;
            }
        }
        for (byte, key) in rest.iter_mut().zip(&wide) {
            *byte ^= key;
        }
        self.0.rotate_left(rest.len() % 4);
    }
}

/// Where a client takes its masking keys from: a keyed hash of a counter, so that nobody who sees
/// the stream can tell the next one (RFC 6455 §10.3).
#[derive(Clone)]
pub(super) struct MaskKeys {
    seed: [u8; 16],
    drawn: u64,
}

impl MaskKeys {
    pub(super) const fn new(seed: [u8; 16]) -> Self {
        Self { seed, drawn: 0 }
    }

    pub(super) fn draw(&mut self) -> Mask {
        let mut hasher = SipHasher13::new_with_key(&self.seed);
        hasher.write_u64(self.drawn);
        self.drawn += 1;
        let [a, b, c, d, ..] = hasher.finish().to_ne_bytes();
        Mask([a, b, c, d])
    }
}

#[cfg(test)]
mod tests {
    use super::Mask;

    #[test]
    fn the_example_of_rfc_6455() {
        // §5.7: a single-frame masked text message of "Hello".
        let mut payload = [0x7f, 0x9f, 0x4d, 0x51, 0x58];
        Mask([0x37, 0xfa, 0x21, 0x3d]).apply(&mut payload);
        assert_eq!(&payload, b"Hello");
    }

    #[test]
    fn pieces_of_any_length_equal_the_whole() {
        let original: Vec<u8> = (0..=255).collect();
        let key = [1, 20, 90, 200];
        let mut whole = original.clone();
        Mask(key).apply(&mut whole);
        for cut in 0..original.len() {
            let mut pieces = original.clone();
            let mut mask = Mask(key);
            let (head, tail) = pieces.split_at_mut(cut);
            mask.apply(head);
            mask.apply(tail);
            assert_eq!(pieces, whole, "cut at {cut}");
        }
    }
}
