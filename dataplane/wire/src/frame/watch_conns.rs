//! WatchConns, mesh client to server: send `PeerPresent` for all who are connected, then changes.

use super::{BodyBytes, FrameType, Malformed, write_frame};

/// Layout: empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchConns;

impl WatchConns {
    /// Bytes of the body.
    pub const BODY_BYTES: BodyBytes = BodyBytes::exactly(0);

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is not empty.
    pub const fn parse(body: &[u8]) -> Result<Self, Malformed> {
        match body {
            [] => Ok(Self),
            _ => Err(Malformed::new("WatchConns", "not empty")),
        }
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::WatchConns, &[]);
    }
}
