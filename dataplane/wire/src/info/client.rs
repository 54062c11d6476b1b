//! What the client says of itself in the ClientInfo box.

use serde::de::MapAccess;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use zeroize::Zeroizing;

use super::go_json::{Fields, InfoError, Known, matches, read_object};
use crate::limits::{APP_NAME_BYTES_MAX, PROTOCOL_VERSION};
use crate::{KeyError, MeshKey};

/// The client's side of the introduction.
#[derive(Clone)]
pub struct ClientInfo {
    /// Proof that the client is a relay of the mesh or a prober of it; absent and all-zero are `None`.
    pub mesh_key: Option<MeshKey>,
    /// DERP protocol version that the client was built with; 0 when it did not say.
    pub version: i64,
    /// Whether the client answers pings.
    pub can_ack_pings: bool,
    /// Whether the name `CanAckPings` was there, cased as Go writes it. Go clients always write it and
    /// bear every frame; `ts_derp` 0.6 writes `can_ack_pings` and fails on frames that are new to it.
    pub can_ack_pings_go: bool,
    /// Whether the client measures the relay.
    pub is_prober: bool,
    /// The program, for statistics; empty when it did not say, cut at `limits::APP_NAME_BYTES_MAX`, and
    /// without control characters.
    pub app_name: String,
}

/// A Go client with nothing to add.
impl Default for ClientInfo {
    fn default() -> Self {
        Self {
            mesh_key: None,
            version: i64::from(PROTOCOL_VERSION),
            can_ack_pings: false,
            can_ack_pings_go: true,
            is_prober: false,
            app_name: String::new(),
        }
    }
}

impl ClientInfo {
    /// Reads what was in the box.
    ///
    /// # Errors
    /// Not JSON, a field of the wrong type, or a `meshKey` that is not 64 digits.
    pub fn parse(json: &[u8]) -> Result<Self, InfoError> {
        let mut read = Reader {
            info: Self {
                version: 0,
                can_ack_pings_go: false,
                ..Self::default()
            },
            bad_mesh_key: None,
        };
        read_object(json, &mut read).map_err(|_| InfoError::Json)?;
        if read.bad_mesh_key.is_some() {
            return Err(InfoError::MeshKey);
        }
        Ok(read.info)
    }

    /// What goes into the box, as a Go client would write it.
    #[must_use]
    pub fn to_json(&self) -> Zeroizing<Vec<u8>> {
        // Reserved in full, or the mesh key stays behind in a buffer that was outgrown. A character
        // of the name takes at most six bytes (`\u0000`).
        let len_max = JSON_BYTES_MAX_WITHOUT_NAME + 6 * self.app_name.len();
        let mut json = Zeroizing::new(Vec::with_capacity(len_max));
        serde_json::to_writer(&mut *json, self).expect("writing to memory does not fail");
        json
    }
}

/// All fields but the value of the name, at their longest, rounded up.
const JSON_BYTES_MAX_WITHOUT_NAME: usize = 256;

/// Everything but the mesh key.
impl core::fmt::Debug for ClientInfo {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ClientInfo")
            .field("has_mesh_key", &self.mesh_key.is_some())
            .field("version", &self.version)
            .field("can_ack_pings", &self.can_ack_pings)
            .field("can_ack_pings_go", &self.can_ack_pings_go)
            .field("is_prober", &self.is_prober)
            .field("app_name", &self.app_name)
            .finish_non_exhaustive()
    }
}

impl Serialize for ClientInfo {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut json = serializer.serialize_struct("ClientInfo", 5)?;
        if let Some(mesh_key) = &self.mesh_key {
            json.serialize_field("meshKey", mesh_key.to_hex().as_str())?;
        }
        if self.version != 0 {
            json.serialize_field("version", &self.version)?;
        }
        json.serialize_field("CanAckPings", &self.can_ack_pings)?;
        if self.is_prober {
            json.serialize_field("IsProber", &true)?;
        }
        if !self.app_name.is_empty() {
            json.serialize_field("AppName", &self.app_name)?;
        }
        json.end()
    }
}

struct Reader {
    info: ClientInfo,
    /// Kept apart from errors of the JSON, so that the two can be told in logs.
    bad_mesh_key: Option<KeyError>,
}

impl Fields for Reader {
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> Result<Known, A::Error> {
        let info = &mut self.info;
        if matches(name, "meshKey") {
            // Go hands `null` to the key's own reader, which refuses it like any wrong length.
            let text = Zeroizing::new(map.next_value::<Option<String>>()?.unwrap_or_default());
            match MeshKey::from_hex(&*text) {
                Ok(key) => info.mesh_key = (!key.is_zero()).then_some(key),
                Err(error) => self.bad_mesh_key = Some(error),
            }
        } else if matches(name, "version") {
            set(&mut info.version, map.next_value()?);
        } else if matches(name, "CanAckPings") {
            info.can_ack_pings_go |= name == "CanAckPings";
            set(&mut info.can_ack_pings, map.next_value()?);
        } else if matches(name, "IsProber") {
            set(&mut info.is_prober, map.next_value()?);
        } else if matches(name, "AppName") {
            if let Some(name) = map.next_value::<Option<String>>()? {
                info.app_name = kept(&name);
            }
        } else {
            return Ok(Known::No);
        }
        Ok(Known::Yes)
    }
}

fn set<T>(field: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *field = value;
    }
}

/// What is kept of a name. It lives as long as the connection, so its length cannot be the client's
/// choice; and it is shown to operators, so it cannot speak to their terminals.
fn kept(name: &str) -> String {
    let end = name.floor_char_boundary(APP_NAME_BYTES_MAX);
    name.get(..end)
        .unwrap_or_default()
        .replace(char::is_control, "?")
}
