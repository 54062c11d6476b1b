//! RecvPacket, server to client: a packet from a peer (protocol version 2, with its source).

use super::{BodyBytes, FrameType, HEADER_LEN, Header, Malformed, body_len, write_frame};
use crate::NodePublic;
use crate::key::KEY_LEN;

/// Layout: `src: [u8; 32]`, `packet: the rest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecvPacket<'a> {
    /// Who sent it.
    pub src: NodePublic,
    /// The packet, opaque.
    pub packet: &'a [u8],
}

impl<'a> RecvPacket<'a> {
    /// Bytes of the body.
    pub const BODY_BYTES: BodyBytes = BodyBytes::packet_after(KEY_LEN);

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is shorter than a key, or the packet longer than `limits::PACKET_BYTES_MAX`.
    #[inline]
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        match body.split_first_chunk() {
            Some((src, packet)) if Self::BODY_BYTES.allow(body.len()) => Ok(Self {
                src: NodePublic(*src),
                packet,
            }),
            _ => Err(Malformed::new("RecvPacket", "not a key and at most 64 KiB")),
        }
    }

    /// Appends the frame, packet included.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::RecvPacket, &[&self.src.0, self.packet]);
    }
}

/// All of the frame that precedes its packet of `payload_len` bytes.
#[must_use]
pub fn recv_packet_header(src: &NodePublic, payload_len: usize) -> [u8; HEADER_LEN + KEY_LEN] {
    let mut bytes = [0; HEADER_LEN + KEY_LEN];
    let (header, key) = bytes.split_at_mut(HEADER_LEN);
    let len = body_len(KEY_LEN + payload_len);
    header.copy_from_slice(&Header::new(FrameType::RecvPacket, len).write());
    key.copy_from_slice(&src.0);
    bytes
}
