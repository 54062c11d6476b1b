//! SendPacket, client to server: a packet for a peer.

use super::{BodyBytes, FrameType, HEADER_LEN, Header, Malformed, body_len, write_frame};
use crate::NodePublic;
use crate::key::KEY_LEN;

/// Layout: `dst: [u8; 32]`, `packet: the rest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendPacket<'a> {
    /// Whom it is for.
    pub dst: NodePublic,
    /// The packet, opaque.
    pub packet: &'a [u8],
}

impl<'a> SendPacket<'a> {
    /// Bytes of the body.
    pub const BODY_BYTES: BodyBytes = BodyBytes::packet_after(KEY_LEN);

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is shorter than a key, or the packet longer than `limits::PACKET_BYTES_MAX`.
    #[inline]
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        match body.split_first_chunk() {
            Some((dst, packet)) if Self::BODY_BYTES.allow(body.len()) => Ok(Self {
                dst: NodePublic(*dst),
                packet,
            }),
            _ => Err(Malformed::new("SendPacket", "not a key and at most 64 KiB")),
        }
    }

    /// Appends the frame, packet included.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::SendPacket, &[&self.dst.0, self.packet]);
    }
}

/// All of the frame that precedes its packet of `payload_len` bytes.
#[must_use]
pub fn send_packet_header(dst: &NodePublic, payload_len: usize) -> [u8; HEADER_LEN + KEY_LEN] {
    let mut bytes = [0; HEADER_LEN + KEY_LEN];
    let (header, key) = bytes.split_at_mut(HEADER_LEN);
    let len = body_len(KEY_LEN + payload_len);
    header.copy_from_slice(&Header::new(FrameType::SendPacket, len).write());
    key.copy_from_slice(&dst.0);
    bytes
}
