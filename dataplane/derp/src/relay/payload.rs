//! The bytes of a packet on its way to another shard, wherever they lie.

use super::blocks::ChainPieces;

/// A packet in one piece (in a receive buffer, in a mailbox) or in several (in blocks).
#[derive(Debug, Clone, Copy)]
pub struct Payload<'a> {
    len: usize,
    pieces: Pieces<'a>,
}

/// The pieces of a packet, in order.
#[derive(Debug, Clone, Copy)]
pub struct Pieces<'a>(Source<'a>);

#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    Slice(&'a [u8]),
    Chain(ChainPieces<'a>),
}

impl<'a> Payload<'a> {
    /// Bytes of the packet.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether the packet is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The packet, piece by piece.
    #[must_use]
    pub const fn pieces(&self) -> Pieces<'a> {
        self.pieces
    }

    pub(super) const fn chained(len: usize, pieces: ChainPieces<'a>) -> Self {
        Self {
            len,
            pieces: Pieces(Source::Chain(pieces)),
        }
    }
}

impl<'a> From<&'a [u8]> for Payload<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self {
            len: bytes.len(),
            pieces: Pieces(Source::Slice(bytes)),
        }
    }
}

impl<'a> Iterator for Pieces<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        match &mut self.0 {
            Source::Slice([]) => None,
            Source::Slice(bytes) => Some(core::mem::take(bytes)),
            Source::Chain(pieces) => pieces.next(),
        }
    }
}
