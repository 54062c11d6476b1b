//! ServerInfo, server to client: the first frame after admission. What is in the box:
//! `info::ServerInfo`; sealing and opening it: `derp`.

use super::{FrameType, Malformed, write_frame};

/// Layout: `nonce: [u8; 24]`, `sealed: the rest` (NaCl box of JSON).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerInfo<'a> {
    /// Nonce of the box.
    pub nonce: [u8; 24],
    /// The box: authentication tag, then ciphertext.
    pub sealed: &'a [u8],
}

impl<'a> ServerInfo<'a> {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is shorter than a nonce.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let (nonce, sealed) = body
            .split_first_chunk()
            .ok_or(Malformed::new("ServerInfo", "shorter than a nonce"))?;
        Ok(Self {
            nonce: *nonce,
            sealed,
        })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::ServerInfo, &[&self.nonce, self.sealed]);
    }
}
