//! ClientInfo, client to server: who the client says it is, and the proof: a box that only the holder
//! of that key could seal to the server. What is in the box: `info::ClientInfo`; opening it: `derp`.

use super::{FrameType, Malformed, write_frame};
use crate::NodePublic;

/// Layout: `key: [u8; 32]`, `nonce: [u8; 24]`, `sealed: the rest` (NaCl box of JSON).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientInfo<'a> {
    /// The key that the client claims; proven once the box opens.
    pub key: NodePublic,
    /// Nonce of the box.
    pub nonce: [u8; 24],
    /// The box: authentication tag, then ciphertext.
    pub sealed: &'a [u8],
}

impl<'a> ClientInfo<'a> {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is shorter than a key and a nonce.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let short = Malformed::new("ClientInfo", "shorter than a key and a nonce");
        let (key, rest) = body.split_first_chunk().ok_or(short)?;
        let (nonce, sealed) = rest.split_first_chunk().ok_or(short)?;
        Ok(Self {
            key: NodePublic(*key),
            nonce: *nonce,
            sealed,
        })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(
            out,
            FrameType::ClientInfo,
            &[&self.key.0, &self.nonce, self.sealed],
        );
    }
}
