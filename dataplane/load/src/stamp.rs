//! The first bytes of every packet of ours: what tells loss, disorder and age.
//!
//! ```text
//! 0         8        16        24       28
//! | "towbench" | number | sent ns | flow | 0 |      all little endian
//! ```

/// Bytes of a stamp, so the least size of a packet.
pub(crate) const STAMP_LEN: usize = 32;

/// No other traffic of a relay begins so; least of all disco messages, which relays prefer.
const MAGIC: [u8; 8] = *b"towbench";

/// What a packet says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Number of the packet in its flow, from 0.
    pub(crate) number: u64,
    /// When it was sent (or, of an answer, when what it answers was).
    pub(crate) sent_ns: u64,
    /// Which flow of the sender's thread.
    pub(crate) flow: u32,
}

impl Stamp {
    pub(crate) fn write(self) -> [u8; STAMP_LEN] {
        let mut bytes = [0; STAMP_LEN];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.number.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sent_ns.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.flow.to_le_bytes());
        bytes
    }

    /// `None` for packets that are not ours.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; STAMP_LEN] = bytes.first_chunk()?;
        let word = |at: usize| bytes[at..].first_chunk().copied().map(u64::from_le_bytes);
        (bytes[..8] == MAGIC).then_some(Self {
            number: word(8)?,
            sent_ns: word(16)?,
            flow: word(24)? as u32,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_reads_as_written() {
        let stamp = Stamp {
            number: 1 << 40,
            sent_ns: u64::MAX,
            flow: 7,
        };
        assert_eq!(Stamp::read(&stamp.write()), Some(stamp));
        assert_eq!(Stamp::read(&[0; STAMP_LEN]), None);
        assert_eq!(Stamp::read(b"towbench"), None);
    }
}
