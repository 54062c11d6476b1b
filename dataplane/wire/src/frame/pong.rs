//! Pong, either way: the answer to a `Ping`.

use super::{FrameType, Malformed, write_frame};

/// Layout: `data: [u8; 8]` of the ping, then bytes that are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pong(pub [u8; 8]);

impl Pong {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is shorter than 8 bytes.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        match body.first_chunk() {
            Some(data) => Ok(Self(*data)),
            None => Err(Malformed::new("Pong", "shorter than 8 bytes")),
        }
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::Pong, &[&self.0]);
    }
}
