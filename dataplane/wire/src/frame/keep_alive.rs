//! KeepAlive, server to client, every minute: Tailscale's Go client gives up a connection that was
//! silent for two.

use super::{FrameType, Malformed, write_frame};

/// Layout: empty. Bytes of future versions are ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepAlive;

impl KeepAlive {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// None today.
    pub const fn parse(_body: &[u8]) -> Result<Self, Malformed> {
        Ok(Self)
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::KeepAlive, &[]);
    }
}
