//! NotePreferred, client to server: whether this relay is the client's home, where peers look for it.

use super::{BodyBytes, FrameType, Malformed, write_frame};

/// Layout: one byte, 0 for "no", anything else for "yes" (written as 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotePreferred(pub bool);

impl NotePreferred {
    /// Bytes of the body.
    pub const BODY_BYTES: BodyBytes = BodyBytes::exactly(1);

    /// Reads the body of a frame.
    ///
    /// # Errors
    /// The body is not exactly one byte.
    pub const fn parse(body: &[u8]) -> Result<Self, Malformed> {
        match body {
            [preferred] => Ok(Self(*preferred != 0)),
            _ => Err(Malformed::new("NotePreferred", "not exactly one byte")),
        }
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::NotePreferred, &[&[u8::from(self.0)]]);
    }
}
