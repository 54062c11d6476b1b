//! Other relays of the region.

use std::path::PathBuf;

use super::setting::{Field, Item, Kind, Setting, setting};

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

impl Field for MeshKeySource {
    const KIND: Kind = Kind::Path;
    fn parse(text: &str) -> Result<Self, String> {
        Ok(if text.is_empty() {
            Self::None
        } else {
            Self::File(text.into())
        })
    }
    fn show(&self) -> toml::Value {
        match self {
            Self::None | Self::Environment => "".into(),
            Self::File(path) => path.display().to_string().into(),
        }
    }
}

impl Item for MeshPeer {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split('/');
        let host = parts.next().unwrap_or_default();
        let dial_host = parts.next();
        if parts.next().is_some() {
            return Err(format!(
                "{text:?} has too many parts; write host or host/dialhost"
            ));
        }
        if host.is_empty() || dial_host == Some("") || text.contains(char::is_whitespace) {
            return Err(format!(
                "{text:?} is not a relay; write host or host/dialhost"
            ));
        }
        Ok(Self {
            host: host.to_owned(),
            dial_host: dial_host.map(str::to_owned),
        })
    }
    fn show(&self) -> String {
        match &self.dial_host {
            None => self.host.clone(),
            Some(dial_host) => format!("{}/{dial_host}", self.host),
        }
    }
}

pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        reloads: true,
        ..setting!(
            Mesh,
            "mesh-psk-file",
            "mesh.psk_file",
            "FILE",
            mesh.key,
            "File with the mesh key, 64 hexadecimal digits; during rotation a second line holds the key that is still accepted [default: the first of /home/derp/keys/derp-mesh.key and ~/keys/derp-mesh.key that exists]"
        )
    },
    Setting {
        reloads: true,
        ..setting!(
            Mesh,
            "mesh-with",
            "mesh.with",
            "HOST[/DIALHOST],…",
            mesh.with,
            "Relays to mesh with; this one may be among them. The second part is dialled instead of the first"
        )
    },
];
