//! Ping, either way: asks for a `Pong` with the same eight bytes.

use super::{BodyBytes, FrameType, Malformed, write_frame};
use crate::limits::{PING_BYTES_MAX, PING_BYTES_MIN};

/// Layout: `data: [u8; 8]`, then bytes that are ignored, up to 1000 in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping(pub [u8; 8]);

impl Ping {
    /// Bytes of the body.
    pub const BODY_BYTES: BodyBytes = BodyBytes {
        min: PING_BYTES_MIN,
        max: PING_BYTES_MAX,
    };

    /// Bytes of the body that mean something.
    pub const FIELDS_BYTES: usize = PING_BYTES_MIN;

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is shorter than 8 bytes or longer than `limits::PING_BYTES_MAX`.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        match body.first_chunk() {
            Some(data) if Self::BODY_BYTES.allow(body.len()) => Ok(Self(*data)),
            _ => Err(Malformed::new("Ping", "not 8 to 1000 bytes")),
        }
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::Ping, &[&self.0]);
    }
}
