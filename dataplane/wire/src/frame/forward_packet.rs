//! ForwardPacket, relay to relay within a mesh: a packet for a client of the other relay. It goes one
//! hop: a relay never forwards what was forwarded to it.

use super::{BodyBytes, FrameType, HEADER_LEN, Header, Malformed, body_len, write_frame};
use crate::NodePublic;
use crate::key::KEY_LEN;

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
    /// Bytes of the body.
    pub const BODY_BYTES: BodyBytes = BodyBytes::packet_after(2 * KEY_LEN);

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is shorter than two keys, or the packet longer than `limits::PACKET_BYTES_MAX`.
    #[inline]
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let wrong = Malformed::new("ForwardPacket", "not two keys and at most 64 KiB");
        if !Self::BODY_BYTES.allow(body.len()) {
            return Err(wrong);
        }
        let (src, rest) = body.split_first_chunk().ok_or(wrong)?;
        let (dst, packet) = rest.split_first_chunk().ok_or(wrong)?;
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

/// The start of the frame; the destination's key and the packet, `rest_len` bytes together, follow.
#[must_use]
pub fn forward_packet_start(src: &NodePublic, rest_len: usize) -> [u8; HEADER_LEN + KEY_LEN] {
    let mut bytes = [0; HEADER_LEN + KEY_LEN];
    let (header, key) = bytes.split_at_mut(HEADER_LEN);
    let len = body_len(KEY_LEN + rest_len);
    header.copy_from_slice(&Header::new(FrameType::ForwardPacket, len).write());
    key.copy_from_slice(&src.0);
    bytes
}
