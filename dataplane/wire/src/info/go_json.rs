//! Reading a JSON object the way Go's `encoding/json` does. Used by the two types of `info`.

use core::fmt;

use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};
use zeroize::Zeroizing;

/// Why the JSON of a box cannot be read; the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InfoError {
    /// Not JSON, not an object, or a field of the wrong type.
    Json,
    /// `meshKey` is there but is not 64 hexadecimal digits.
    MeshKey,
}

impl fmt::Display for InfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "client or server info is not the JSON it should be",
            Self::MeshKey => "meshKey is not 64 hexadecimal digits",
        })
    }
}

impl core::error::Error for InfoError {}

/// A struct that is filled field by field.
pub(super) trait Fields {
    /// Takes the value of the field `name`, or returns it untouched when there is no such field.
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A)
    -> Result<Known, A::Error>;
}

/// Whether a field was there; the value of an unknown one has yet to be skipped.
pub(super) enum Known {
    Yes,
    No,
}

/// Fills `fields` from a JSON object; `null` leaves it as it is. As in Go, what is not UTF-8 is
/// replaced; unlike there, half of an escaped surrogate pair is an error.
pub(super) fn read_object(json: &[u8], fields: &mut impl Fields) -> serde_json::Result<()> {
    let replaced;
    let text = match str::from_utf8(json) {
        Ok(text) => text,
        Err(_) => {
            // A copy that may hold a mesh key.
            replaced = Zeroizing::new(String::from_utf8_lossy(json).into_owned());
            &replaced
        }
    };
    let mut json = serde_json::Deserializer::from_str(text);
    json.deserialize_any(ObjectVisitor(fields))?;
    json.end()
}

struct ObjectVisitor<'a, F>(&'a mut F);

impl<'de, F: Fields> Visitor<'de> for ObjectVisitor<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if let Known::No = self.0.field(&name, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// Whether Go takes `name` for `field`: equal but for case. Two letters outside ASCII fold into it,
/// the long s and the Kelvin sign; Go counts them, so we do.
pub(super) fn matches(name: &str, field: &str) -> bool {
    let fold = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    name.chars().map(fold).eq(field.chars().map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_as_in_go() {
        assert!(matches("MESHKEY", "meshKey"));
        assert!(matches("ver\u{17f}ion", "version"));
        assert!(matches("CanAc\u{212a}Pings", "CanAckPings"));
        assert!(!matches("mesh_key", "meshKey"));
        assert!(!matches("meshKe", "meshKey"));
        assert!(!matches("meshKey\u{fffd}", "meshKey"));
    }
}
