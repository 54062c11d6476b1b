//! ServerKey, server to client: the first frame of a connection, sent before anything is known of the
//! client, and also when the client did not wait for it (fast start).

use super::{FrameType, Malformed, write_frame};
use crate::NodePublic;

/// What makes a stranger's server recognisable as DERP: "DERP🔑" in UTF-8.
pub const MAGIC: [u8; 8] = [0x44, 0x45, 0x52, 0x50, 0xf0, 0x9f, 0x94, 0x91];

/// Layout: `magic: [u8; 8]`, `key: [u8; 32]`, then bytes of future versions, ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerKey {
    /// The key that boxes to this server are sealed to.
    pub key: NodePublic,
}

impl ServerKey {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The magic is missing, or the body ends before the key does.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let rest = body.strip_prefix(&MAGIC).ok_or(Malformed::new(
            "ServerKey",
            "does not start with the DERP magic",
        ))?;
        let key = rest
            .first_chunk()
            .ok_or(Malformed::new("ServerKey", "shorter than a key"))?;
        Ok(Self {
            key: NodePublic(*key),
        })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::ServerKey, &[&MAGIC, &self.key.0]);
    }
}
