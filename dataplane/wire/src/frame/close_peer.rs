//! ClosePeer, mesh client to server: close the connections of this peer.

use super::{BodyBytes, FrameType, Malformed, write_frame};
use crate::NodePublic;
use crate::key::KEY_LEN;

/// Layout: `key: [u8; 32]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClosePeer {
    /// The peer.
    pub key: NodePublic,
}

impl ClosePeer {
    /// Bytes of the body.
    pub const BODY_BYTES: BodyBytes = BodyBytes::exactly(KEY_LEN);

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is not exactly a key.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        match body.as_array() {
            Some(key) => Ok(Self {
                key: NodePublic(*key),
            }),
            None => Err(Malformed::new("ClosePeer", "not exactly a key")),
        }
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::ClosePeer, &[&self.key.0]);
    }
}
