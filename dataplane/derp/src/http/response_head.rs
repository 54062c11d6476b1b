//! The head of a response, as a client of DERP reads it: a status and the fields of an upgrade.

use towline_wire::limits::HTTP_HEADERS_MAX;

use super::HttpError;

/// What the client needs to know of a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ResponseHead {
    pub(crate) status: u16,
    /// `Sec-WebSocket-Accept`, empty when absent.
    pub(crate) websocket_accept: String,
    /// `Sec-WebSocket-Protocol`, empty when absent.
    pub(crate) websocket_protocol: String,
}

impl ResponseHead {
    /// Parses a head that ends with its empty line.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, HttpError> {
        let mut fields = [httparse::EMPTY_HEADER; HTTP_HEADERS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        if response.parse(bytes)?.is_partial() {
            return Err(HttpError::Syntax("incomplete head"));
        }
        let text = |name: &str| {
            response
                .headers
                .iter()
                .find(|field| field.name.eq_ignore_ascii_case(name))
                .map(|field| String::from_utf8_lossy(field.value.trim_ascii()).into_owned())
                .unwrap_or_default()
        };
        Ok(Self {
            status: response.code.ok_or(HttpError::Syntax("status"))?,
            websocket_accept: text("sec-websocket-accept"),
            websocket_protocol: text("sec-websocket-protocol"),
        })
    }
}
