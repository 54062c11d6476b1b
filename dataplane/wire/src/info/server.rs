//! What the server says of itself in the ServerInfo box.

use serde::Serialize;
use serde::de::MapAccess;

use super::go_json::{Fields, InfoError, Known, matches, read_object};
use crate::limits::PROTOCOL_VERSION;

/// Version and, when the server announces one, the rate it allows. Zero is absent, as in Go.
///
/// Go clients that are told a rate drop what exceeds it, instead of waiting until the relay reads on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerInfo {
    /// DERP protocol version.
    #[serde(rename = "version", skip_serializing_if = "is_zero")]
    pub version: i64,
    /// Sustained rate, in bytes per second of frames.
    #[serde(rename = "TokenBucketBytesPerSecond", skip_serializing_if = "is_zero")]
    pub token_bucket_bytes_per_second: i64,
    /// Bytes that may be sent at once.
    #[serde(rename = "TokenBucketBytesBurst", skip_serializing_if = "is_zero")]
    pub token_bucket_bytes_burst: i64,
}

/// Our version, no rate: `{"version":2}`, which is all that derper ever sends.
impl Default for ServerInfo {
    fn default() -> Self {
        Self {
            version: i64::from(PROTOCOL_VERSION),
            token_bucket_bytes_per_second: 0,
            token_bucket_bytes_burst: 0,
        }
    }
}

impl ServerInfo {
    /// Reads what was in the box.
    ///
    /// # Errors
    /// Not JSON, or a field of the wrong type.
    pub fn parse(json: &[u8]) -> Result<Self, InfoError> {
        let mut info = Self {
            version: 0,
            token_bucket_bytes_per_second: 0,
            token_bucket_bytes_burst: 0,
        };
        read_object(json, &mut info).map_err(|_| InfoError::Json)?;
        Ok(info)
    }

    /// What goes into the box.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of integers is JSON")
    }
}

impl Fields for ServerInfo {
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        name: &str,
        map: &mut A,
    ) -> Result<Known, A::Error> {
        let field = if matches(name, "version") {
            &mut self.version
        } else if matches(name, "TokenBucketBytesPerSecond") {
            &mut self.token_bucket_bytes_per_second
        } else if matches(name, "TokenBucketBytesBurst") {
            &mut self.token_bucket_bytes_burst
        } else {
            return Ok(Known::No);
        };
        if let Some(value) = map.next_value()? {
            *field = value;
        }
        Ok(Known::Yes)
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's calling convention"
)]
fn is_zero(value: &i64) -> bool {
    *value == 0
}
