//! Why a request is refused, and the number that says so.

/// What is wrong with a request. It repeats nothing of its text but the names of known keys: values may be secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UapiError {
    /// The first line is neither `get=1` nor `set=1`. wireguard-go hangs up without an answer.
    #[error("neither get=1 nor set=1")]
    Operation,
    /// A line has no `=`, or text stands behind the end of the request.
    #[error("line {line} is not key=value")]
    Line {
        /// The line, counted from 1.
        line: usize,
    },
    /// The key is unknown, or not at its place: keys of the interface stand before the first peer.
    #[error("unknown key in line {line}")]
    Key {
        /// The line, counted from 1.
        line: usize,
    },
    /// The value is not one of its key.
    #[error("invalid {key} in line {line}")]
    Value {
        /// The key.
        key: &'static str,
        /// The line, counted from 1.
        line: usize,
    },
    /// A line is longer than `LINE_BYTES_MAX`.
    #[error("line {line} too long")]
    LineTooLong {
        /// The line, counted from 1.
        line: usize,
    },
    /// More lines than `REQUEST_LINES_MAX`.
    #[error("too many lines")]
    TooManyLines,
}

impl UapiError {
    /// What the answer says.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::Operation | Self::Line { .. } => Errno::PROTO,
            Self::Key { .. } | Self::Value { .. } => Errno::INVAL,
            Self::LineTooLong { .. } | Self::TooManyLines => Errno::IO,
        }
    }
}

/// A number of errno.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// `EIO`: the request cannot be read.
    pub const IO: Self = Self(5);
    /// `EINVAL`: a key or value is not one.
    pub const INVAL: Self = Self(22);
    /// `EPROTO`: not the text of a request.
    pub const PROTO: Self = Self(71);
}
