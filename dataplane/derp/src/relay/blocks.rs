//! Storage for packets that outlive the turn they came in: a slab of small fixed blocks, chained.
//!
//! One large allocation that is touched as it is used; blocks given back last are used first, so that
//! the part in use stays small and warm.

pub(super) use towline_wire::limits::QUEUE_BLOCK_BYTES as BLOCK_BYTES;

use super::slab::NONE;

/// So much memory is kept by blocks that nobody uses.
const RESTS_ABOVE_BYTES: usize = 2 << 20;

/// The blocks and who follows whom.
#[derive(Debug)]
pub(super) struct Blocks {
    bytes: Vec<u8>,
    next: Vec<u32>,
    /// Head of the chain of free blocks that were in use before.
    free: u32,
    /// Blocks from here on were never used.
    fresh: u32,
    free_count: u32,
}

/// A chain of blocks being filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) head: u32,
    tail: u32,
    /// Bytes stored.
    pub(super) len: u32,
}

impl Chain {
    pub(super) const EMPTY: Self = Self {
        head: NONE,
        tail: NONE,
        len: 0,
    };
}

/// How many blocks `len` bytes take.
pub(super) const fn blocks_for(len: u32) -> u32 {
    len.div_ceil(BLOCK_BYTES as u32)
}

impl Blocks {
    pub(super) fn new(bytes: usize) -> Self {
        let count = bytes / BLOCK_BYTES;
        Self {
            // Zeroed memory from the system is not touched before it is used.
            bytes: vec![0; count * BLOCK_BYTES],
            next: vec![0; count],
            free: NONE,
            fresh: 0,
            free_count: count as u32,
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.next.len() as u32
    }

    /// All of it, in use or not.
    pub(super) fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub(super) const fn free_bytes(&self) -> usize {
        self.free_count as usize * BLOCK_BYTES
    }

    /// Whether much memory was touched of which none is in use.
    pub(super) fn can_rest(&self) -> bool {
        self.free_count == self.count() && self.fresh as usize * BLOCK_BYTES > RESTS_ABOVE_BYTES
    }

    /// Gives the memory back to the system, to be touched anew. Nothing may be in use.
    pub(super) fn rest(&mut self) {
        if self.can_rest() {
            *self = Self::new(self.bytes.len());
        }
    }

    fn take(&mut self) -> Option<u32> {
        let block = if self.free != NONE {
            let block = self.free;
            self.free = self.next[block as usize];
            block
        } else if (self.fresh as usize) < self.next.len() {
            let block = self.fresh;
            self.fresh += 1;
            block
        } else {
            return None;
        };
        self.next[block as usize] = NONE;
        self.free_count -= 1;
        Some(block)
    }

    /// Appends to a chain. Without room for all of `bytes` the chain stays as it is.
    pub(super) fn append(&mut self, chain: &mut Chain, mut bytes: &[u8]) -> bool {
        let used = chain.len as usize % BLOCK_BYTES;
        let room = if chain.len == 0 || used == 0 {
            0
        } else {
            BLOCK_BYTES - used
        };
        let fresh = bytes.len().saturating_sub(room).div_ceil(BLOCK_BYTES);
        if fresh > self.free_count as usize {
            return false;
        }
        if room > 0 {
            let n = room.min(bytes.len());
            let at = chain.tail as usize * BLOCK_BYTES + used;
            self.bytes[at..at + n].copy_from_slice(&bytes[..n]);
            chain.len += n as u32;
            bytes = &bytes[n..];
        }
        while !bytes.is_empty() {
            let Some(block) = self.take() else {
                return false;
            };
            let n = bytes.len().min(BLOCK_BYTES);
            let at = block as usize * BLOCK_BYTES;
            self.bytes[at..at + n].copy_from_slice(&bytes[..n]);
            if chain.head == NONE {
                chain.head = block;
            } else {
                self.next[chain.tail as usize] = block;
            }
            chain.tail = block;
            chain.len += n as u32;
            bytes = &bytes[n..];
        }
        true
    }

    /// Gives back all blocks of the chain that starts at `head`.
    pub(super) fn release(&mut self, head: u32) {
        let mut block = head;
        while block != NONE {
            let next = self.next[block as usize];
            self.next[block as usize] = self.free;
            self.free = block;
            self.free_count += 1;
            block = next;
        }
    }

    /// The `len` bytes from `offset` on of the chain that starts at `head`, piece by piece.
    pub(super) const fn pieces(&self, head: u32, offset: u32, len: u32) -> ChainPieces<'_> {
        ChainPieces {
            blocks: self,
            block: head,
            offset,
            left: len,
        }
    }
}

/// The bytes of a chain.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChainPieces<'a> {
    blocks: &'a Blocks,
    block: u32,
    offset: u32,
    left: u32,
}

impl<'a> Iterator for ChainPieces<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.left == 0 {
            return None;
        }
        while self.offset >= BLOCK_BYTES as u32 {
            self.block = self.blocks.next[self.block as usize];
            self.offset -= BLOCK_BYTES as u32;
        }
        let n = self.left.min(BLOCK_BYTES as u32 - self.offset);
        let at = self.block as usize * BLOCK_BYTES + self.offset as usize;
        self.offset += n;
        self.left -= n;
        Some(&self.blocks.bytes[at..at + n as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(blocks: &Blocks, chain: &Chain, offset: u32) -> Vec<u8> {
        let pieces = blocks.pieces(chain.head, offset, chain.len - offset);
        pieces.collect::<Vec<_>>().concat()
    }

    #[test]
    fn a_chain_holds_what_was_appended_wherever_it_was_cut() {
        let mut blocks = Blocks::new(64 * BLOCK_BYTES);
        let text: Vec<u8> = (0..5000).map(|i| (i % 251) as u8).collect();
        for step in [1, 7, 511, 512, 513, 1024, 5000] {
            let mut chain = Chain::EMPTY;
            for part in text.chunks(step) {
                assert!(blocks.append(&mut chain, part));
            }
            for offset in [0, 32, 511, 512, 1300, 5000] {
                assert_eq!(bytes(&blocks, &chain, offset), &text[offset as usize..]);
            }
            blocks.release(chain.head);
            assert_eq!(blocks.free_bytes(), 64 * BLOCK_BYTES);
        }
    }

    #[test]
    fn a_chain_that_finds_no_room_stays_as_it_is() {
        let mut blocks = Blocks::new(3 * BLOCK_BYTES);
        let mut chain = Chain::EMPTY;
        assert!(blocks.append(&mut chain, &[1; 600]));
        assert!(!blocks.append(&mut chain, &[2; 1000]));
        assert_eq!(bytes(&blocks, &chain, 0), [1; 600]);
        assert!(blocks.append(&mut chain, &[3; 3 * BLOCK_BYTES - 600]));
        assert!(!blocks.append(&mut chain, &[4]));
        assert_eq!(chain.len as usize, 3 * BLOCK_BYTES);
        assert_eq!(blocks.free_bytes(), 0);
        blocks.release(chain.head);
        let mut whole = Chain::EMPTY;
        assert!(blocks.append(&mut whole, &[5; 3 * BLOCK_BYTES]));
    }

    #[test]
    fn memory_rests_only_when_nothing_is_in_use() {
        let mut blocks = Blocks::new(8 << 20);
        let mut chain = Chain::EMPTY;
        assert!(blocks.append(&mut chain, &vec![7; 3 << 20]));
        assert!(!blocks.can_rest());
        blocks.release(chain.head);
        assert!(blocks.can_rest());
        blocks.rest();
        assert!(!blocks.can_rest());
        assert_eq!(blocks.free_bytes(), 8 << 20);
    }
}
