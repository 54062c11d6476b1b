//! What the handshake and its driver say to each other.

use core::net::SocketAddr;

use towline_wire::NodePublic;

use super::DenyReason;
use crate::connected::{Connected, RateLimit};
use crate::http::PageRequest;
use crate::websocket::Codec;

/// What the driver knows of a connection.
#[derive(Clone, Copy, Debug)]
pub struct ConnInfo {
    /// The client's address, from the socket or a trusted PROXY header.
    pub peer: SocketAddr,
    /// Whether this is the plain HTTP port beside a TLS one.
    pub plain_http_port: bool,
    /// Whether the client may see metrics and debug pages.
    pub debug_allowed: bool,
}

/// What the handshake waits for.
#[derive(Debug)]
pub enum Step {
    /// Bytes from the client.
    NeedInput,
    /// A verdict on this client.
    Admit(AdmitRequest),
    /// This page.
    Page(PageRequest),
    /// Nothing: the connection is the caller's. Given once.
    Ready(Box<Ready>),
    /// Nothing: the connection is to be closed once the output is sent.
    CloseAfterOutput,
}

/// A client whose key is proven and that asks to be let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdmitRequest {
    /// Its key.
    pub key: NodePublic,
    /// Its address.
    pub addr: SocketAddr,
    /// It presented the mesh key; derper lets such clients in unasked.
    pub mesh: bool,
    /// It says that it is a prober.
    pub prober: bool,
}

/// The answer to an [`AdmitRequest`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it in.
    Allow {
        /// A limit for this key instead of the relay's default.
        limits: Option<RateLimit>,
    },
    /// Close the connection. Clients are not told why, as in derper.
    Deny(DenyReason),
}

/// A connection that has become DERP.
#[derive(Debug)]
pub struct Ready {
    /// Who it is.
    pub client: Connected,
    /// The frame that must be the first thing written from here on.
    pub server_info_frame: Vec<u8>,
    /// The WebSocket around the stream, if it is one; for `server_info_frame` too.
    pub websocket: Option<Codec>,
    /// What was received past the client info, as it came: inside the WebSocket if there is one.
    pub leftover: Vec<u8>,
    /// How the connection was opened, for counting.
    pub opening: OpeningKind,
}

/// How a connection became DERP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpeningKind {
    /// By an upgrade that was answered with `101`.
    Raw,
    /// By an upgrade without an answer.
    FastStart,
    /// Inside a WebSocket.
    WebSocket,
}

/// Which deadline applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Between requests, or in one.
    Http,
    /// Upgraded, the client info is due.
    ClientInfo,
    /// Admission is being asked.
    Admission,
    /// Handed over, or to be closed.
    Over,
}
