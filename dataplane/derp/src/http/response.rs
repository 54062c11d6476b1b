//! Answers. They are whole and small, so they always carry their length.

use std::borrow::Cow;

use super::Version;

/// An answer to a request. Not yet bytes: version, `HEAD` and the end of the connection come with
/// the request that it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: u16,
    fields: Vec<(&'static str, Cow<'static, str>)>,
    body: Cow<'static, [u8]>,
    close: bool,
}

/// derper's, word for word.
const CONTENT_SECURITY_POLICY: &str = "default-src 'self'; frame-ancestors 'none'; \
    form-action 'self'; base-uri 'self'; block-all-mixed-content; object-src 'none'";

/// What the request says about the form of the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Framing {
    pub(crate) version: Version,
    /// `HEAD`: the same header fields, no body.
    pub(crate) head_only: bool,
    pub(crate) keep_alive: bool,
}

impl Response {
    /// An answer without a body.
    #[must_use]
    pub const fn empty(status: u16) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: Cow::Borrowed(b""),
            close: false,
        }
    }

    /// An answer with a body of that media type.
    #[must_use]
    pub fn with_body(
        status: u16,
        content_type: &'static str,
        body: impl Into<Cow<'static, [u8]>>,
    ) -> Self {
        Self::empty(status)
            .field("Content-Type", content_type)
            .body(body)
    }

    /// Plain text, as Go's `http.Error` sends it.
    #[must_use]
    pub fn text(status: u16, text: &'static str) -> Self {
        Self::with_body(status, "text/plain; charset=utf-8", text.as_bytes())
            .field("X-Content-Type-Options", "nosniff")
    }

    /// Adds a header field. A value that could end the line is left out: it would let whoever
    /// chose it write the rest of the answer.
    #[must_use]
    pub fn field(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        let value = value.into();
        if !value.chars().any(char::is_control) {
            self.fields.push((name, value));
        }
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Cow<'static, [u8]>>) -> Self {
        self.body = body.into();
        self
    }

    /// Ends the connection after this answer.
    #[must_use]
    pub const fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    /// The status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Whether a field of that name is set.
    #[must_use]
    pub fn has_field(&self, name: &str) -> bool {
        self.fields
            .iter()
            .any(|(field, _)| field.eq_ignore_ascii_case(name))
    }

    /// Adds the header fields that keep browsers from doing anything clever with a page.
    pub(crate) fn hardened(self) -> Self {
        let mut response = self.field("Content-Security-Policy", CONTENT_SECURITY_POLICY);
        response = response.field("X-Frame-Options", "DENY");
        if !response.has_field("X-Content-Type-Options") {
            response = response.field("X-Content-Type-Options", "nosniff");
        }
        // Also without TLS of ours, as derper: behind a proxy that ends TLS it reaches browsers, and over plain HTTP they
        // ignore it (RFC 6797 §7.2).
        response.field(
            "Strict-Transport-Security",
            "max-age=63072000; includeSubDomains",
        )
    }

    /// Appends the bytes of the answer (`date` empty: without one) and returns whether the connection goes on after it.
    pub(crate) fn write(&self, framing: Framing, date: &str, out: &mut Vec<u8>) -> bool {
        let keep_alive = framing.keep_alive && !self.close;
        let version = match framing.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        };
        let status = self.status;
        let mut head = format!("{version} {status} {}\r\n", reason(status));
        for (name, value) in &self.fields {
            head.extend([*name, ": ", value, "\r\n"]);
        }
        if !date.is_empty() {
            head.extend(["Date: ", date, "\r\n"]);
        }
        // RFC 9110 §8.6: no length in an answer that never has a body.
        if status != 204 && status != 304 {
            head.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        if !keep_alive {
            head.push_str("Connection: close\r\n");
        }
        head.push_str("\r\n");
        out.extend_from_slice(head.as_bytes());
        if !framing.head_only && status != 204 && status != 304 {
            out.extend_from_slice(&self.body);
        }
        keep_alive
    }
}

/// The phrase beside the status; clients ignore it (RFC 9112 §4).
const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        302 => "Found",
        400 => "Bad Request",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        411 => "Length Required",
        426 => "Upgrade Required",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
