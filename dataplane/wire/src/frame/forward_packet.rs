//! ForwardPacket, relay to relay within a mesh: a packet for a client of the other relay. It goes one
//! hop: a relay never forwards what was forwarded to it.

use super::{FrameType, HEADER_LEN, Header, Malformed, body_len, write_frame};
use crate::NodePublic;
use crate::limits::PACKET_BYTES_MAX;

/// Layout: `src: [u8; 32]`, `dst: [u8; 32]`, `packet: the rest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ForwardPacket<'a> {
    /// Who sent it; the relay that forwards vouches for it.
    pub src: NodePublic,
    /// Whom it is for.
    pub dst: NodePublic,
    /// The packet, opaque.
    pub packet: &'a [u8],
}

impl<'a> ForwardPacket<'a> {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is shorter than two keys, or the packet longer than `limits::PACKET_BYTES_MAX`.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let short = Malformed::new("ForwardPacket", "shorter than two keys");
        let (src, rest) = body.split_first_chunk().ok_or(short)?;
        let (dst, packet) = rest.split_first_chunk().ok_or(short)?;
        if packet.len() > PACKET_BYTES_MAX {
            return Err(Malformed::new("ForwardPacket", "packet longer than 64 KiB"));
        }
        Ok(Self {
            src: NodePublic(*src),
            dst: NodePublic(*dst),
            packet,
        })
    }

    /// Appends the frame, packet included.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(
            out,
            FrameType::ForwardPacket,
            &[&self.src.0, &self.dst.0, self.packet],
        );
    }
}

/// All of the frame that precedes its packet of `payload_len` bytes.
#[must_use]
pub fn forward_packet_header(
    src: &NodePublic,
    dst: &NodePublic,
    payload_len: usize,
) -> [u8; HEADER_LEN + 64] {
    let mut bytes = [0; HEADER_LEN + 64];
    let (header, keys) = bytes.split_at_mut(HEADER_LEN);
    let len = body_len(64 + payload_len);
    header.copy_from_slice(&Header::new(FrameType::ForwardPacket, len).write());
    let (src_bytes, dst_bytes) = keys.split_at_mut(32);
    src_bytes.copy_from_slice(&src.0);
    dst_bytes.copy_from_slice(&dst.0);
    bytes
}
