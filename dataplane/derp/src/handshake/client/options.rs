//! What a client asks for and says of itself.

use towline_wire::{MeshKey, NodePrivate, NodePublic};

/// How the client opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// An upgrade to raw DERP that waits for its answer.
    Raw,
    /// An upgrade that waits for nothing, because the server's key is known from its meta
    /// certificate.
    FastStart(NodePublic),
    /// A WebSocket with the sub-protocol `derp`.
    WebSocket,
}

/// Options of one connection.
#[derive(Clone)]
pub struct Options {
    /// The `Host` of the request, with a port unless it is the default.
    pub host: String,
    /// The path of the request.
    pub path: String,
    /// How to open.
    pub opening: Opening,
    /// The client's key.
    pub key: NodePrivate,
    /// Makes the client a peer of the mesh.
    pub mesh_key: Option<MeshKey>,
    /// Says that the client only measures.
    pub is_prober: bool,
    /// Says that the client answers pings.
    pub can_ack_pings: bool,
    /// Names the program; empty for none.
    pub app_name: String,
    /// The node that the client would rather be connected to, if this is another one.
    pub ideal_node: Option<String>,
}

impl Options {
    /// An ordinary client with a raw upgrade of `/derp`.
    #[must_use]
    pub fn new(host: impl Into<String>, key: NodePrivate) -> Self {
        Self {
            host: host.into(),
            path: "/derp".to_owned(),
            opening: Opening::Raw,
            key,
            mesh_key: None,
            is_prober: false,
            can_ack_pings: false,
            app_name: String::new(),
            ideal_node: None,
        }
    }
}
