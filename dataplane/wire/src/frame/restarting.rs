//! Restarting, server to client: the server goes away soon.
//! Only to clients that are known to bear it: `ts_derp` 0.6 takes it for an error.

use super::{FrameType, Malformed, write_frame};

/// Layout: `reconnect_in_ms: u32`, `try_for_ms: u32`, then bytes of future versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restarting {
    /// When to connect again, in milliseconds from now; clients should add jitter.
    pub reconnect_in_ms: u32,
    /// How long to try before taking the region for lost.
    pub try_for_ms: u32,
}

impl Restarting {
    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is shorter than 8 bytes.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let short = Malformed::new("Restarting", "shorter than 8 bytes");
        let (reconnect_in_ms, rest) = body.split_first_chunk().ok_or(short)?;
        let try_for_ms = rest.first_chunk().ok_or(short)?;
        Ok(Self {
            reconnect_in_ms: u32::from_be_bytes(*reconnect_in_ms),
            try_for_ms: u32::from_be_bytes(*try_for_ms),
        })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        let (reconnect_in, try_for) = (
            self.reconnect_in_ms.to_be_bytes(),
            self.try_for_ms.to_be_bytes(),
        );
        write_frame(out, FrameType::Restarting, &[&reconnect_in, &try_for]);
    }
}
