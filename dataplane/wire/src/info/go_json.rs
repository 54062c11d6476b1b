//! Reading a JSON object the way Go's `encoding/json` does. Used by the two types of `info`.

use core::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

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
    fn field<'de, A: MapAccess<'de>>(
        &mut self,
        name: &[u8],
        map: &mut A,
    ) -> Result<Known, A::Error>;
}

/// Whether a field was there; the value of an unknown one has yet to be skipped.
pub(super) enum Known {
    Yes,
    No,
}

/// Fills `fields` from a JSON object; `null` leaves it as it is.
pub(super) fn read_object(json: &[u8], fields: &mut impl Fields) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_slice(json);
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
        while let Some(name) = map.next_key_seed(Text)? {
            if let Known::No = self.0.field(&name, &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// A string as bytes: Go takes invalid UTF-8 and lone surrogates, `String` would refuse them.
pub(super) struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Vec<u8>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u8>, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Text {
    type Value = Vec<u8>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
        Ok(bytes.to_vec())
    }
}

/// A string, or `None` for `null`.
pub(super) struct OptionalText;

impl<'de> DeserializeSeed<'de> for OptionalText {
    type Value = Option<Vec<u8>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for OptionalText {
    type Value = Option<Vec<u8>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or null")
    }

    fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Text.deserialize(deserializer).map(Some)
    }
}

/// Whether Go takes `name` for `field`: equal but for case. Two letters outside ASCII fold into it,
/// the long s and the Kelvin sign; Go counts them, so we do.
pub(super) fn matches(name: &[u8], field: &str) -> bool {
    let Ok(name) = str::from_utf8(name) else {
        return false;
    };
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
        assert!(matches(b"MESHKEY", "meshKey"));
        assert!(matches("ver\u{17f}ion".as_bytes(), "version"));
        assert!(matches("CanAc\u{212a}Pings".as_bytes(), "CanAckPings"));
        assert!(!matches(b"mesh_key", "meshKey"));
        assert!(!matches(b"meshKe", "meshKey"));
        assert!(!matches(b"meshKey\xff", "meshKey"));
    }
}
