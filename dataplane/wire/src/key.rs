//! The keys of the protocol and their text forms, which are Tailscale's.
//!
//! No arithmetic on curves: deriving a public key and boxes live in `derp::sealed`.
//! Secrets are wiped on drop, have neither `Debug` nor `PartialEq`, and hand out copies only as
//! `Zeroizing`.

use core::fmt;
use core::str::FromStr;

use data_encoding::{BASE64, HEXLOWER, HEXLOWER_PERMISSIVE};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes of each key in this module (Curve25519 points and scalars, mesh keys).
pub const KEY_LEN: usize = 32;

const PUBLIC_PREFIX: &str = "nodekey:";
const PRIVATE_PREFIX: &str = "privkey:";

/// A text that is not the key it should be. It never repeats the text, which may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyError {
    /// The text must start with this.
    Prefix(&'static str),
    /// The key is not 64 digits long.
    Length,
    /// One of the digits is not hexadecimal.
    Digit,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Prefix(prefix) => write!(f, "a key must start with `{prefix}`"),
            Self::Length => f.write_str("a key must have 64 hexadecimal digits"),
            Self::Digit => f.write_str("a key must consist of hexadecimal digits"),
        }
    }
}

impl core::error::Error for KeyError {}

/// The public key that names a peer (Curve25519, little endian as on the wire).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodePublic(pub [u8; KEY_LEN]);

impl NodePublic {
    /// The key as 64 lower-case hexadecimal digits, as in `Derp-Public-Key` and the meta certificate.
    #[must_use]
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

/// `nodekey:` and 64 lower-case hexadecimal digits.
impl fmt::Display for NodePublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut hex = [0; 2 * KEY_LEN];
        HEXLOWER.encode_mut(&self.0, &mut hex);
        f.write_str(PUBLIC_PREFIX)?;
        f.write_str(str::from_utf8(&hex).expect("hexadecimal digits are ASCII"))
    }
}

/// The short form that Tailscale's logs use: `[` and the first five Base64 characters `]`.
impl fmt::Debug for NodePublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        let mut text = [0; 8];
        BASE64.encode_mut(&[a, b, c, d], &mut text);
        let [head @ .., _, _, _] = text;
        write!(f, "[{}]", str::from_utf8(&head).expect("Base64 is ASCII"))
    }
}

/// Reads `nodekey:<hex>` and the bare digits.
impl FromStr for NodePublic {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let hex = text.strip_prefix(PUBLIC_PREFIX).unwrap_or(text);
        let mut bytes = [0; KEY_LEN];
        decode_hex(hex.as_bytes(), &mut bytes)?;
        Ok(Self(bytes))
    }
}

impl Serialize for NodePublic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for NodePublic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The private key of a node or a server.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct NodePrivate([u8; KEY_LEN]);

impl NodePrivate {
    /// Takes a key as it is.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// Makes a key of random bytes, with the bits that RFC 7748 section 5 fixes.
    #[must_use]
    pub const fn from_random(bytes: [u8; KEY_LEN]) -> Self {
        let mut bytes = bytes;
        bytes[0] &= 0b1111_1000;
        bytes[31] = (bytes[31] & 0b0111_1111) | 0b0100_0000;
        Self(bytes)
    }

    /// The secret scalar.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// `privkey:` and 64 hexadecimal digits, as in derper's key file.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        encode_secret(PRIVATE_PREFIX, &self.0)
    }
}

/// Reads `privkey:<hex>`.
impl FromStr for NodePrivate {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let hex = text
            .strip_prefix(PRIVATE_PREFIX)
            .ok_or(KeyError::Prefix(PRIVATE_PREFIX))?;
        let mut key = Self([0; KEY_LEN]);
        decode_hex(hex.as_bytes(), &mut key.0)?;
        Ok(key)
    }
}

/// The key that the relays of a mesh share.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct MeshKey([u8; KEY_LEN]);

impl MeshKey {
    /// Takes a key as it is.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// Reads exactly 64 hexadecimal digits of either case.
    ///
    /// # Errors
    /// Any other length, any other character (white space too).
    pub fn from_hex(text: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let mut key = Self([0; KEY_LEN]);
        decode_hex(text.as_ref(), &mut key.0)?;
        Ok(key)
    }

    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> Zeroizing<String> {
        encode_secret("", &self.0)
    }

    /// Whether both are the same key, in constant time. The only way to compare mesh keys.
    #[must_use]
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }

    /// Whether this is the zero key, which Go writes for "no mesh key" and which proves nothing.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.0.ct_eq(&[0; KEY_LEN]).into()
    }
}

fn decode_hex(digits: &[u8], key: &mut [u8; KEY_LEN]) -> Result<(), KeyError> {
    if digits.len() != 2 * KEY_LEN {
        return Err(KeyError::Length);
    }
    match HEXLOWER_PERMISSIVE.decode_mut(digits, key) {
        Ok(_) => Ok(()),
        Err(_) => {
            // Whatever was decoded before the bad digit may be most of a secret.
            key.zeroize();
            Err(KeyError::Digit)
        }
    }
}

fn encode_secret(prefix: &str, key: &[u8; KEY_LEN]) -> Zeroizing<String> {
    // Reserved in full: a string that grows leaves its old, unwiped copy in the heap.
    let mut text = Zeroizing::new(String::with_capacity(prefix.len() + 2 * KEY_LEN));
    text.push_str(prefix);
    HEXLOWER.encode_append(key, &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

    fn counting() -> [u8; 32] {
        core::array::from_fn(|i| i as u8)
    }

    #[test]
    fn a_public_key_is_written_as_nodekey() {
        let key = NodePublic(counting());
        assert_eq!(key.to_string(), format!("nodekey:{HEX}"));
        assert_eq!(key.to_hex(), HEX);
        assert_eq!(format!("{key:?}"), "[AAECA]");
    }

    #[test]
    fn a_public_key_is_read_with_and_without_its_prefix() {
        let key = NodePublic(counting());
        assert_eq!(format!("nodekey:{HEX}").parse(), Ok(key));
        assert_eq!(HEX.parse(), Ok(key));
        assert_eq!(HEX.to_uppercase().parse(), Ok(key));
    }

    #[test]
    fn what_is_no_public_key_is_refused() {
        let parse = |text: &str| text.parse::<NodePublic>();
        assert_eq!(parse(""), Err(KeyError::Length));
        assert_eq!(parse("nodekey:"), Err(KeyError::Length));
        assert_eq!(parse(&HEX[1..]), Err(KeyError::Length));
        assert_eq!(parse(&format!("{HEX}0")), Err(KeyError::Length));
        assert_eq!(parse(&HEX.replace('f', "g")), Err(KeyError::Digit));
        assert_eq!(parse(&format!("privkey:{HEX}")), Err(KeyError::Length));
        // 64 bytes, but not 64 digits: the length is in bytes and nothing is cut inside a character.
        assert_eq!(parse(&"é".repeat(32)), Err(KeyError::Digit));
    }

    #[test]
    fn a_public_key_is_its_text_in_json() {
        let key = NodePublic(counting());
        let json = serde_json::to_string(&key).unwrap();
        assert_eq!(json, format!("\"nodekey:{HEX}\""));
        assert_eq!(serde_json::from_str::<NodePublic>(&json).unwrap(), key);
        assert!(serde_json::from_str::<NodePublic>("\"nodekey:00\"").is_err());
    }

    #[test]
    fn a_private_key_needs_its_prefix() {
        let key: NodePrivate = format!("privkey:{HEX}").parse().ok().unwrap();
        assert_eq!(key.as_bytes(), &counting());
        assert_eq!(*key.to_text(), format!("privkey:{HEX}"));
        assert_eq!(
            HEX.parse::<NodePrivate>().err(),
            Some(KeyError::Prefix("privkey:"))
        );
    }

    #[test]
    fn random_bytes_become_a_clamped_scalar() {
        let key = NodePrivate::from_random([0xff; 32]);
        assert_eq!(key.as_bytes()[0], 0xf8);
        assert_eq!(key.as_bytes()[31], 0x7f);
        assert_eq!(NodePrivate::from_random([0; 32]).as_bytes()[31], 0x40);
    }

    #[test]
    fn mesh_keys_are_64_digits_and_compared_whole() {
        let key = MeshKey::from_hex(HEX).ok().unwrap();
        let same = MeshKey::from_hex(HEX.to_uppercase()).ok().unwrap();
        let mut other = counting();
        other[31] ^= 1;
        assert!(key.ct_eq(&same));
        assert!(!key.ct_eq(&MeshKey::from_bytes(other)));
        assert_eq!(*key.to_hex(), HEX);
        assert!(!key.is_zero());
        assert!(MeshKey::from_hex("0".repeat(64)).ok().unwrap().is_zero());
        assert_eq!(MeshKey::from_hex("none").err(), Some(KeyError::Length));
        assert_eq!(
            MeshKey::from_hex(format!("{HEX}\n")).err(),
            Some(KeyError::Length)
        );
        assert_eq!(
            MeshKey::from_hex("z".repeat(64)).err(),
            Some(KeyError::Digit)
        );
    }

    #[test]
    fn errors_say_what_is_wrong_and_not_what_was_given() {
        assert_eq!(
            KeyError::Prefix("privkey:").to_string(),
            "a key must start with `privkey:`"
        );
        assert_eq!(
            KeyError::Length.to_string(),
            "a key must have 64 hexadecimal digits"
        );
    }
}
