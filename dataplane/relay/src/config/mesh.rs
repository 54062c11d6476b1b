//! Other relays of the region.

use std::path::PathBuf;

/// Other relays of the region.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MeshConfig {
    /// Where the pre-shared key comes from (`-mesh-psk-file`).
    pub key: MeshKeySource,
    /// Relays to dial (`-mesh-with`); our own name may be among them.
    pub with: Vec<MeshPeer>,
}

/// Where the mesh keys come from. The keys themselves are read when they are needed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum MeshKeySource {
    /// No mesh.
    #[default]
    None,
    /// A file with one key, or two during rotation: the first is sent, both are accepted.
    File(PathBuf),
    /// `TAILSCALE_DERPER_MESH_KEY`, in development mode only, as with derper.
    Environment,
}

/// A relay to mesh with: `host[:port][/dialhost]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshPeer {
    /// Name in its certificate and in the URL `https://<host>/derp`; may carry a port.
    pub host: String,
    /// Name or IP address to dial instead, on the same port.
    pub dial_host: Option<String>,
}
