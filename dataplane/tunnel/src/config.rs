//! What a tunnel is made with.

use crate::index::Indices;

/// What a tunnel is made with; the rest is configured while it runs.
#[derive(Clone, Default)]
pub struct TunnelConfig {
    /// Which receiver indices it draws.
    pub indices: Indices,
    /// What runs the peers.
    pub engine: EngineKind,
}

/// What runs the peers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EngineKind {
    /// Ours.
    #[default]
    Native,
    /// boringtun's `Tunn`: a second implementation to compare with.
    Boringtun,
}
