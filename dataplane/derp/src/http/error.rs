//! What can be wrong with a request head, and the answer that says so.

use super::Response;

/// A head that cannot be read or must not be trusted. The connection ends after the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// Not HTTP.
    #[error("not an HTTP head: {0}")]
    Syntax(&'static str),
    /// An HTTP version other than 1.0 and 1.1.
    #[error("HTTP version is neither 1.0 nor 1.1")]
    Version,
    /// The head is longer than the limit.
    #[error("HTTP head is too long")]
    TooLong,
    /// More header fields than the limit.
    #[error("too many HTTP header fields")]
    TooManyFields,
    /// The request target has none of the forms of RFC 9112 §3.2.
    #[error("malformed HTTP request target")]
    Target,
    /// No `Host` where it is required, several, or one that is no host (RFC 9112 §3.2).
    #[error("missing or malformed Host header")]
    Host,
    /// Where the body ends is unknown or ambiguous: the door of request smuggling (RFC 9112 §6.3).
    #[error("ambiguous length of HTTP body")]
    BodyLength,
    /// A body whose length is not said in advance; nothing here takes one.
    #[error("HTTP body without a length")]
    LengthRequired,
}

impl HttpError {
    /// The last answer on the connection.
    #[must_use]
    pub fn answer(self) -> Response {
        let (status, text) = match self {
            Self::Syntax(_) | Self::Target | Self::Host | Self::BodyLength => {
                (400, "400 Bad Request\n")
            }
            Self::LengthRequired => (411, "411 Length Required\n"),
            Self::TooLong | Self::TooManyFields => (431, "431 Request Header Fields Too Large\n"),
            Self::Version => (505, "505 HTTP Version Not Supported\n"),
        };
        Response::text(status, text).closing()
    }
}

impl From<httparse::Error> for HttpError {
    fn from(error: httparse::Error) -> Self {
        match error {
            httparse::Error::HeaderName => Self::Syntax("header name"),
            httparse::Error::HeaderValue => Self::Syntax("header value"),
            httparse::Error::NewLine => Self::Syntax("line end"),
            httparse::Error::Status => Self::Syntax("status"),
            httparse::Error::Token => Self::Syntax("token"),
            httparse::Error::TooManyHeaders => Self::TooManyFields,
            httparse::Error::Version => Self::Version,
        }
    }
}
