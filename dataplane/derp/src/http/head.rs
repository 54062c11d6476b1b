//! A request head: parsed once, when it is complete, and borrowed from the bytes it came in.

use towline_wire::limits::HTTP_HEADERS_MAX;

use super::HttpError;

/// The version of a request decides the version of the answer and whether the connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: one request on a connection.
    Http10,
    /// HTTP/1.1: connections persist.
    Http11,
}

/// How long the body after the head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// That many bytes follow.
    Length(u64),
    /// Chunks follow; nothing here reads them.
    Chunked,
}

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead<'a> {
    /// As it stands: methods are case-sensitive.
    pub method: &'a str,
    /// Path of the target, never empty, not decoded.
    pub path: &'a str,
    /// Query of the target without its `?`, empty when there is none.
    pub query: &'a str,
    /// Version of HTTP.
    pub version: Version,
    fields: [httparse::Header<'a>; HTTP_HEADERS_MAX],
    fields_len: usize,
}

impl<'a> RequestHead<'a> {
    /// Parses a head that ends with its empty line.
    ///
    /// # Errors
    /// Anything that is not a well-formed head; see [`HttpError`].
    pub fn parse(bytes: &'a [u8]) -> Result<Self, HttpError> {
        let mut fields = [httparse::EMPTY_HEADER; HTTP_HEADERS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        if request.parse(bytes)?.is_partial() {
            return Err(HttpError::Syntax("incomplete head"));
        }
        let (Some(method), Some(target), Some(minor)) =
            (request.method, request.path, request.version)
        else {
            return Err(HttpError::Syntax("request line"));
        };
        let fields_len = request.headers.len();
        let version = if minor == 0 {
            Version::Http10
        } else {
            Version::Http11
        };
        let (path, query) = split_target(method, target)?;
        let head = Self {
            method,
            path,
            query,
            version,
            fields,
            fields_len,
        };
        head.check_host()?;
        Ok(head)
    }

    /// The first field of that name, without the white space around it.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&'a [u8]> {
        self.fields(name).next()
    }

    /// All fields of that name.
    pub fn fields<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'b> {
        self.fields[..self.fields_len]
            .iter()
            .filter(move |field| field.name.eq_ignore_ascii_case(name))
            .map(|field| field.value.trim_ascii())
    }

    /// Whether a field that is a list of tokens has this one, in any of its lines and any case.
    #[must_use]
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.fields(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The `Host`, port included: what a redirect may name. `None` only in HTTP/1.0.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        let host = str::from_utf8(self.field("host")?).ok()?;
        (!host.is_empty()).then_some(host)
    }

    /// Whether the client wants to go on after the answer.
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        self.version == Version::Http11 && !self.has_token("connection", "close")
    }

    /// The length of the body, when it can be told beyond doubt.
    pub(crate) fn body(&self) -> Result<Body, HttpError> {
        let mut lengths = self.fields("content-length");
        let length = lengths.next();
        if lengths.next().is_some() {
            return Err(HttpError::BodyLength);
        }
        let has_encoding = self.field("transfer-encoding").is_some();
        match (length, has_encoding) {
            (None, false) => Ok(Body::Length(0)),
            (Some(digits), false) => parse_length(digits).map(Body::Length),
            (None, true) if self.version == Version::Http11 => Ok(Body::Chunked),
            (_, true) => Err(HttpError::BodyLength),
        }
    }

    /// Exactly one well-formed host in HTTP/1.1, at most one in 1.0 (RFC 9112 §3.2).
    fn check_host(&self) -> Result<(), HttpError> {
        let mut hosts = self.fields("host");
        match (hosts.next(), hosts.next()) {
            (Some(host), None) if host.iter().all(|&byte| is_host_byte(byte)) => Ok(()),
            (None, None) if self.version == Version::Http10 => Ok(()),
            _ => Err(HttpError::Host),
        }
    }
}

/// Names, addresses and ports; RFC 3986 allows more, and nothing that is served here uses it.
const fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']' | b'%')
}

/// Digits only: `str::parse` would take a `+`.
fn parse_length(digits: &[u8]) -> Result<u64, HttpError> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(HttpError::BodyLength);
    }
    str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or(HttpError::BodyLength)
}

/// Path and query of a target in origin or absolute form. `*` and the authority form are left as
/// the path: only `OPTIONS` and `CONNECT` have them, and neither is looked up by path.
fn split_target<'a>(method: &str, target: &'a str) -> Result<(&'a str, &'a str), HttpError> {
    let origin = if target.starts_with('/') || target == "*" || method == "CONNECT" {
        target
    } else {
        let (_, after_scheme) = target.split_once("://").ok_or(HttpError::Target)?;
        match after_scheme.find(['/', '?']) {
            Some(start) => &after_scheme[start..],
            None => "/",
        }
    };
    let (path, query) = origin.split_once('?').unwrap_or((origin, ""));
    Ok((if path.is_empty() { "/" } else { path }, query))
}
