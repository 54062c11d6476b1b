//! Health, server to client: what is wrong with the connection, such as another one with the same key.
//! Only to clients that are known to bear it: `ts_derp` 0.6 takes it for an error.

use std::borrow::Cow;

use super::{FrameType, Malformed, write_frame};

/// Layout: text, UTF-8.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health<'a> {
    /// The problem, for a human; empty when all is well again.
    pub problem: Cow<'a, str>,
}

impl<'a> Health<'a> {
    /// Reads the body of a frame. What is not UTF-8 is replaced: the text is only shown.
    ///
    /// # Errors
    /// None today.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        Ok(Self {
            problem: String::from_utf8_lossy(body),
        })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(out, FrameType::Health, &[self.problem.as_bytes()]);
    }
}
