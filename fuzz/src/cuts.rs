//! How an input says where a stream is cut into pieces, as a network would.

/// Lengths of pieces, used over and over until the stream ends.
#[derive(Clone, Copy, Debug)]
pub struct Cuts<'a>(&'a [u8]);

/// The next byte of an input that is read from its start.
pub fn take_byte(input: &mut &[u8]) -> Option<u8> {
    let (&first, rest) = input.split_first()?;
    *input = rest;
    Some(first)
}

impl<'a> Cuts<'a> {
    /// Takes them from the start of an input: how many there are (up to 7), then each length less one.
    pub fn take(input: &mut &'a [u8]) -> Option<Self> {
        let count = usize::from(take_byte(input)? % 8).min(input.len());
        let (lengths, rest) = input.split_at(count);
        *input = rest;
        Some(Self(lengths))
    }

    /// The stream in pieces of these lengths; without any, byte by byte.
    pub fn pieces<'s>(self, mut stream: &'s [u8]) -> impl Iterator<Item = &'s [u8]> + use<'a, 's> {
        let lengths = if self.0.is_empty() { &[0] } else { self.0 };
        let mut lengths = lengths.iter().cycle();
        core::iter::from_fn(move || {
            let len = 1 + usize::from(*lengths.next()?);
            let (piece, rest) = stream.split_at(len.min(stream.len()));
            stream = rest;
            (!piece.is_empty()).then_some(piece)
        })
    }
}
