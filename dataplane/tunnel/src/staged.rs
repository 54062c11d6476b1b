//! Packets of one peer that wait for a session, in plaintext. Bounded; the oldest gives way.

use std::collections::VecDeque;

use towline_wire::limits::{STAGED_BYTES_MAX, STAGED_PACKETS_MAX};

#[derive(Default)]
pub(crate) struct Staged {
    packets: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Staged {
    /// Adds a packet, and returns how many older ones gave way. The packet alone must fit.
    pub(crate) fn push(&mut self, packet: &[u8]) -> u64 {
        let mut gone = 0;
        while self.packets.len() >= STAGED_PACKETS_MAX
            || self.bytes + packet.len() > STAGED_BYTES_MAX
        {
            if self.pop().is_none() {
                break;
            }
            gone += 1;
        }
        self.bytes += packet.len();
        self.packets.push_back(packet.to_vec());
        gone
    }

    pub(crate) fn pop(&mut self) -> Option<Vec<u8>> {
        let packet = self.packets.pop_front()?;
        self.bytes -= packet.len();
        if self.packets.is_empty() {
            // The room goes too: most peers need it once.
            self.packets = VecDeque::new();
        }
        Some(packet)
    }

    pub(crate) fn len(&self) -> usize {
        self.packets.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_gives_way() {
        let mut staged = Staged::default();
        let gone: u64 = (0..200u8).map(|n| staged.push(&[n])).sum();
        assert_eq!(gone, 200 - STAGED_PACKETS_MAX as u64);
        assert_eq!(staged.pop(), Some(vec![200 - STAGED_PACKETS_MAX as u8]));
        let large = vec![0; 60_000];
        (0..10).for_each(|_| {
            staged.push(&large);
        });
        assert!(staged.bytes() <= STAGED_BYTES_MAX);
        assert_eq!(staged.len(), 3);
    }
}
