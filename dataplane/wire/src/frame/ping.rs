//! Ping, either way: asks for a `Pong` with the same eight bytes.

use super::{FrameType, Malformed, Pong, write_frame};
use crate::limits::{PING_BYTES_MAX, PING_BYTES_MIN};

/// Layout: `data: [u8; 8]`, then bytes that are ignored, up to 1000 in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping(pub [u8; 8]);

impl Ping {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is shorter than 8 bytes or longer than `limits::PING_BYTES_MAX`.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        if body.len() > PING_BYTES_MAX {
            return Err(Malformed::new("Ping", "longer than 1000 bytes"));
        }
        match body.first_chunk::<PING_BYTES_MIN>() {
            Some(data) => Ok(Self(*data)),
            None => Err(Malformed::new("Ping", "shorter than 8 bytes")),
        }
    }

    /// The answer.
    #[must_use]
    pub const fn pong(self) -> Pong {
        Pong(self.0)
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::Ping, &[&self.0]);
    }
}
