//! The error of every frame parser: the body does not have the shape that its type promises.
//! It names no bytes of the body, so that it can be logged.

use core::fmt;

/// A frame whose body cannot be read; the connection that sent it is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// The frame, by its name in the protocol.
    pub frame: &'static str,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Malformed {
    pub(crate) const fn new(frame: &'static str, what: &'static str) -> Self {
        Self { frame, what }
    }
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed {}: {}", self.frame, self.what)
    }
}

impl core::error::Error for Malformed {}
