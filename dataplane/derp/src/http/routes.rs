//! From a request head to what is to be done: answer it, ask the relay for a page, or upgrade.

use super::answers::{self, HomePage};
use super::{Body, HttpError, RequestHead, Response, Version};
use crate::websocket;

/// A page that only the relay knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page {
    /// `/bootstrap-dns`: addresses of the names a client needs to get started.
    BootstrapDns,
    /// `/metrics`, in the format of Prometheus. Access has been checked.
    Metrics,
    /// Anything below `/debug/`, `/debug/varz` foremost. Access has been checked.
    Debug,
    /// `/.well-known/acme-challenge/…`: proof for a certificate authority.
    AcmeChallenge,
}

/// A request for a [`Page`], `GET` or `HEAD`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageRequest {
    /// Which page.
    pub page: Page,
    /// The path, as it was sent.
    pub path: String,
    /// The query without its `?`, as it was sent.
    pub query: String,
}

/// What of the configuration and the connection decides on an answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    pub(crate) home: &'a HomePage,
    pub(crate) derp_enabled: bool,
    pub(crate) plain_http_port: bool,
    pub(crate) debug_allowed: bool,
}

/// What to do with a request.
#[derive(Debug)]
pub(crate) enum Route {
    Answer(Response),
    Page(PageRequest),
    Upgrade(UpgradeRequest),
    /// An upgrade that breaks the rules, and the answer that says so.
    BadUpgrade(BadUpgrade, Response),
}

/// A request to become DERP.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UpgradeRequest {
    pub(crate) opening: Opening,
    /// The client says that another node of the region is its ideal one.
    pub(crate) not_ideal: bool,
}

/// How the server begins to speak.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// With a `101`.
    Raw,
    /// Without: the client knows our key from the TLS handshake and has already gone on.
    FastStart,
    /// With a `101` that carries this `Sec-WebSocket-Accept`.
    WebSocket { accept: String },
}

/// How an upgrade breaks the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUpgrade {
    /// It announces a body, which would be taken for DERP.
    #[error("upgrade request with a body")]
    Body,
    /// A method other than `GET` (or `POST`, which `ts_derp` uses).
    #[error("upgrade request with a method that cannot upgrade")]
    Method,
    /// No `Connection: Upgrade` in a WebSocket request.
    #[error("WebSocket request without Connection: Upgrade")]
    Connection,
    /// A version of WebSocket other than 13.
    #[error("unsupported WebSocket version")]
    WebSocketVersion,
    /// `Sec-WebSocket-Key` is missing, repeated, or not base64 of 16 bytes.
    #[error("missing or malformed Sec-WebSocket-Key")]
    WebSocketKey,
}

/// Decides on a request.
pub(crate) fn route(head: &RequestHead<'_>, access: Access<'_>) -> Result<Route, HttpError> {
    if access.plain_http_port {
        return plain_port(head, access);
    }
    Ok(match head.path {
        _ if head.method == "CONNECT" => {
            Route::Answer(Response::text(403, "CONNECT not enabled\n"))
        }
        "/derp" if access.derp_enabled => upgrade(head),
        "/derp" => Route::Answer(Response::text(404, "derp server disabled\n")),
        "/derp/probe" | "/derp/latency-check" => Route::Answer(answers::probe(head.method)),
        "/generate_204" => Route::Answer(answers::no_content(head)),
        "/robots.txt" => Route::Answer(answers::robots().hardened()),
        "/bootstrap-dns" => page(Page::BootstrapDns, head),
        path if is_acme(path) => page(Page::AcmeChallenge, head),
        path if is_debug(path) => debug(head, access),
        _ => {
            let home = answers::home(access.home, access.derp_enabled, head.method);
            Route::Answer(home.hardened())
        }
    })
}

/// The plain HTTP port beside a TLS one: it proves that it is there, and sends everyone to TLS.
fn plain_port(head: &RequestHead<'_>, access: Access<'_>) -> Result<Route, HttpError> {
    Ok(match head.path {
        "/generate_204" => Route::Answer(answers::no_content(head)),
        path if is_acme(path) => page(Page::AcmeChallenge, head),
        path if is_debug(path) => debug(head, access),
        path if matches!(head.method, "GET" | "HEAD") => {
            let host = head.host().ok_or(HttpError::Host)?;
            let query = if head.query.is_empty() { "" } else { "?" };
            let url = format!("https://{host}{path}{query}{}", head.query);
            Route::Answer(answers::redirect(&url, head.method))
        }
        _ => Route::Answer(Response::text(400, "Use HTTPS\n")),
    })
}

fn is_acme(path: &str) -> bool {
    path.starts_with("/.well-known/acme-challenge/")
}

fn is_debug(path: &str) -> bool {
    path == "/metrics" || path == "/debug" || path.starts_with("/debug/")
}

/// Metrics and debug pages are for the operator. Whoever is behind a proxy has the proxy's address,
/// so a forwarded request is never let in.
fn debug(head: &RequestHead<'_>, access: Access<'_>) -> Route {
    let forwarded = head.field("x-forwarded-for").is_some();
    if forwarded || !access.debug_allowed {
        return Route::Answer(Response::text(403, "debug access denied\n"));
    }
    page(
        if head.path == "/metrics" {
            Page::Metrics
        } else {
            Page::Debug
        },
        head,
    )
}

fn page(page: Page, head: &RequestHead<'_>) -> Route {
    if !matches!(head.method, "GET" | "HEAD") {
        let answer = Response::text(405, "method not allowed\n").field("Allow", "GET, HEAD");
        return Route::Answer(answer);
    }
    Route::Page(PageRequest {
        page,
        path: head.path.to_owned(),
        query: head.query.to_owned(),
    })
}

fn upgrade(head: &RequestHead<'_>) -> Route {
    // An upgrade in HTTP/1.0 is to be ignored (RFC 9110 §7.8).
    let protocol = match head.field("upgrade") {
        Some(protocol) if head.version == Version::Http11 => protocol,
        _ => b"",
    };
    let is_websocket = protocol.eq_ignore_ascii_case(b"websocket");
    if !is_websocket && !protocol.eq_ignore_ascii_case(b"derp") {
        return Route::Answer(Response::text(426, "DERP requires connection upgrade\n"));
    }
    let opening =
        if is_websocket && head.has_token("sec-websocket-protocol", websocket::SUB_PROTOCOL) {
            websocket_opening(head)
        } else {
            raw_opening(head)
        };
    match opening {
        Ok(opening) => Route::Upgrade(UpgradeRequest {
            opening,
            not_ideal: head
                .field("ideal-node")
                .is_some_and(|node| !node.is_empty()),
        }),
        Err(bad) => Route::BadUpgrade(bad, bad.answer()),
    }
}

fn raw_opening(head: &RequestHead<'_>) -> Result<Opening, BadUpgrade> {
    if !matches!(head.method, "GET" | "POST") {
        return Err(BadUpgrade::Method);
    }
    refuse_body(head)?;
    Ok(if head.field("derp-fast-start") == Some(b"1") {
        Opening::FastStart
    } else {
        Opening::Raw
    })
}

/// The server's reading of an opening handshake (RFC 6455 §4.2.1).
fn websocket_opening(head: &RequestHead<'_>) -> Result<Opening, BadUpgrade> {
    if head.method != "GET" {
        return Err(BadUpgrade::Method);
    }
    refuse_body(head)?;
    if !head.has_token("connection", "upgrade") {
        return Err(BadUpgrade::Connection);
    }
    if head.field("sec-websocket-version") != Some(b"13") {
        return Err(BadUpgrade::WebSocketVersion);
    }
    let mut keys = head.fields("sec-websocket-key");
    match (keys.next(), keys.next()) {
        (Some(key), None) if websocket::is_valid_key(key) => Ok(Opening::WebSocket {
            accept: websocket::accept_value(key),
        }),
        _ => Err(BadUpgrade::WebSocketKey),
    }
}

fn refuse_body(head: &RequestHead<'_>) -> Result<(), BadUpgrade> {
    match head.body() {
        Ok(Body::Length(0)) => Ok(()),
        _ => Err(BadUpgrade::Body),
    }
}

impl BadUpgrade {
    fn answer(self) -> Response {
        match self {
            Self::Body => Response::text(400, "upgrade request with a body\n"),
            Self::Method => Response::text(405, "method cannot upgrade\n").field("Allow", "GET"),
            Self::Connection => Response::text(426, "Connection: Upgrade is missing\n"),
            Self::WebSocketVersion => Response::text(400, "WebSocket version must be 13\n")
                .field("Sec-WebSocket-Version", "13"),
            Self::WebSocketKey => Response::text(400, "malformed Sec-WebSocket-Key\n"),
        }
        .closing()
    }
}
