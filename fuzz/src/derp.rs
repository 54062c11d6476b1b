//! A relay and a client with fixed keys, for the targets that begin with a handshake. Seeds hold boxes that were
//! sealed with these keys: whoever changes them makes the seeds again (examples/seeds).

use std::sync::{Arc, LazyLock};

use towline_derp::handshake::client::{ClientHandshake, Opening, Options};
use towline_derp::handshake::server::{Config, ConnInfo, ServerHandshake};
use towline_derp::sealed::{BoxKey, SharedBox};
use towline_derp::websocket::{Codec, Event};
use towline_wire::{MeshKey, NodePrivate, NodePublic};

/// What the relay and the client know of each other, made once: the agreement of keys is what takes time.
pub struct Known {
    /// The relay's key.
    pub server: NodePublic,
    /// The client's key.
    pub client: NodePublic,
    /// The client's end of the boxes between them.
    pub at_client: SharedBox,
    /// The relay's end.
    pub at_server: SharedBox,
    config: Arc<Config>,
}

/// See [`Known`].
pub static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let (server_key, client_key) = (BoxKey::new(&server_key()), BoxKey::new(&client_key()));
    let (server, client) = (server_key.public(), client_key.public());
    Known {
        server,
        client,
        at_client: client_key.agree(&server).expect("an honest key"),
        at_server: server_key.agree(&client).expect("an honest key"),
        config: Arc::new(config()),
    }
});

/// A relay that knows [`mesh_key`].
pub fn config() -> Config {
    let mut config = Config::new(server_key());
    config.mesh_keys = vec![mesh_key()];
    config
}

fn server_key() -> NodePrivate {
    NodePrivate::from_bytes([1; 32])
}

fn client_key() -> NodePrivate {
    NodePrivate::from_bytes([2; 32])
}

/// What makes a client a peer of the mesh.
pub fn mesh_key() -> MeshKey {
    MeshKey::from_bytes([3; 32])
}

/// The relay's side of a connection from a stranger, inside TLS.
pub fn server() -> ServerHandshake {
    server_of(&KNOWN.config, conn())
}

/// The same of another relay or connection.
pub fn server_of(config: &Arc<Config>, conn: ConnInfo) -> ServerHandshake {
    ServerHandshake::new(Arc::clone(config), conn, [7; 32])
}

/// A connection from a stranger, inside TLS.
pub fn conn() -> ConnInfo {
    ConnInfo {
        peer: "192.0.2.7:4711".parse().expect("an address"),
        plain_http_port: false,
        debug_allowed: false,
    }
}

/// The three ways to open a connection.
pub fn openings() -> [Opening; 3] {
    [
        Opening::Raw,
        Opening::FastStart(KNOWN.server),
        Opening::WebSocket,
    ]
}

/// The client's side.
pub fn client(opening: Opening) -> ClientHandshake {
    let mut options = Options::new("relay.example", client_key());
    options.opening = opening;
    ClientHandshake::new(options, [9; 64]).expect("a host and a path")
}

/// What one side sent, as text; inside a WebSocket as `codec`, the other side's, reads it. So pongs are left out: of
/// several pings only the last must be answered, and none before a close (RFC 6455 §5.5.3).
pub fn shown(output: &[u8], mut codec: Codec) -> String {
    let websocket = (output.windows(5)).position(|bytes| bytes == b"\r\n\r\n\x82");
    let (head, inside) = output.split_at(websocket.map_or(output.len(), |at| at + 4));
    let mut shown = head.escape_ascii().to_string();
    let (mut inside, mut at) = (inside.to_vec(), 0);
    while let Some(event) = (codec.decode(&mut inside, &mut at)).expect("good WebSocket frames") {
        shown += &match event {
            Event::Payload(range) => inside[range].escape_ascii().to_string(),
            other => format!("{other:?}"),
        };
    }
    shown
}
