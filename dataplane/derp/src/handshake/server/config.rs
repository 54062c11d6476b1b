//! What all handshakes of a relay share. Replaced whole when the operator reloads.

use towline_wire::{MeshKey, NodePrivate, NodePublic};

use crate::connected::RateLimit;
use crate::http::HomePage;
use crate::sealed::BoxKey;

/// Configuration of the server's side. Handshakes hold it by `Arc`, so that a new one serves new
/// connections and disturbs none.
pub struct Config {
    /// Keys of which any makes a client a peer of the mesh; two while a key is being replaced.
    pub mesh_keys: Vec<MeshKey>,
    /// What `/` and unknown paths show.
    pub home: HomePage,
    /// Whether `/derp` is served; without it the server only answers HTTP (derper's `-derp=false`).
    pub derp_enabled: bool,
    /// The rate to tell clients that have no limit of their own. With `None` no rate is told to
    /// anyone, which is what derper does: a Go client that knows its rate drops packets above it.
    pub announced_limit: Option<RateLimit>,
    box_key: BoxKey,
}

impl Config {
    /// A relay with this key, open to DERP, with neither mesh nor announced limit.
    #[must_use]
    pub fn new(server_key: NodePrivate) -> Self {
        Self {
            mesh_keys: Vec::new(),
            home: HomePage::default(),
            derp_enabled: true,
            announced_limit: None,
            box_key: BoxKey::new(&server_key),
        }
    }

    /// The key by which clients know the server.
    #[must_use]
    pub const fn server_public(&self) -> NodePublic {
        self.box_key.public()
    }

    pub(super) const fn box_key(&self) -> &BoxKey {
        &self.box_key
    }

    /// Whether a client that presents this key is a peer of the mesh. Looks at every key, so that
    /// time tells nothing.
    pub(super) fn is_mesh_key(&self, presented: &MeshKey) -> bool {
        self.mesh_keys
            .iter()
            .fold(false, |any, key| any | key.ct_eq(presented))
    }
}
