//! A peer that seals and opens whatever it likes, and a session with fixed keys to talk to: for
//! unit tests and fuzz targets.

use zeroize::Zeroizing;

use super::opener::Opener;
use super::record::{content, record_len};
use super::sealer::Sealer;
use super::{KeyMaterial, Session, TrafficKey, messages};
use crate::suite::{Cipher, Version};

pub(crate) const SUITES: [(Version, Cipher); 6] = [
    (Version::Tls13, Cipher::Aes128Gcm),
    (Version::Tls13, Cipher::Aes256Gcm),
    (Version::Tls13, Cipher::ChaCha20Poly1305),
    (Version::Tls12, Cipher::Aes128Gcm),
    (Version::Tls12, Cipher::Aes256Gcm),
    (Version::Tls12, Cipher::ChaCha20Poly1305),
];

/// Keys that nobody should use.
pub(crate) fn material(cipher: Cipher, seed: u8) -> KeyMaterial {
    KeyMaterial {
        cipher,
        key: Zeroizing::new([seed; 32]),
        iv: Zeroizing::new([seed ^ 0x55; 12]),
        sequence: 0,
        secret: Zeroizing::new([seed ^ 0xaa; 48]),
    }
}

/// The other end of a session.
pub(crate) struct Peer {
    pub(crate) sealer: Sealer,
    pub(crate) opener: Opener,
}

impl Peer {
    /// A session in this role, and its peer.
    pub(crate) fn of_session(
        is_client: bool,
        (version, cipher): (Version, Cipher),
    ) -> (Session, Self) {
        let (to_session, from_session) = (material(cipher, 1), material(cipher, 2));
        let session = Session::new(version, is_client, to_session, from_session, None);
        let peer = Self::new(version, material(cipher, 1), material(cipher, 2));
        (session, peer)
    }

    pub(crate) fn new(
        version: Version,
        to_session: KeyMaterial,
        from_session: KeyMaterial,
    ) -> Self {
        Self {
            sealer: Sealer::new(version, TrafficKey::new(to_session)),
            opener: Opener::new(version, TrafficKey::new(from_session)),
        }
    }

    /// A record with any content of any type.
    pub(crate) fn seal(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let prefix = self.sealer.prefix_bytes();
        let mut record = vec![0; prefix];
        record.extend_from_slice(content);
        record.resize(record.len() + self.sealer.suffix_bytes(), 0);
        let sealed = self.sealer.seal(kind, &mut record, content.len());
        assert_eq!(sealed, Ok(record.len()));
        record
    }

    /// TLS 1.3: data with zeros after its type.
    pub(crate) fn seal_padded(&mut self, data: &[u8], padding: usize) -> Vec<u8> {
        let mut content = data.to_vec();
        content.push(content::APPLICATION_DATA);
        content.resize(content.len() + padding - 1, 0);
        self.seal(0, &content)
    }

    /// Changes the sealing key if the session has taken a key update of this peer: a new key
    /// counts from 0, while the key that sealed the update has counted it.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn follow_own_key_updates(&mut self, session: &Session) {
        if self.sealer.key.sequence() != session.opener.key.sequence() {
            self.sealer.advance();
        }
    }

    /// Type and content of a record of the session.
    pub(crate) fn open(&mut self, mut record: Vec<u8>) -> (u8, Vec<u8>) {
        let opened = self.opener.open(&mut record);
        let (kind, range) = opened.expect("the session seals good records");
        (kind, record[range].to_vec())
    }

    /// Opens all records of `wire`, and follows the session's key updates.
    pub(crate) fn open_all(&mut self, mut wire: Vec<u8>) -> Vec<(u8, Vec<u8>)> {
        let mut opened = Vec::new();
        while let Ok(Some(len)) = record_len(&wire) {
            let (kind, content) = self.open(wire.drain(..len).collect());
            if kind == content::HANDSHAKE && content.first() == Some(&messages::KEY_UPDATE) {
                self.opener.key.advance();
            }
            opened.push((kind, content));
        }
        assert!(wire.is_empty(), "the session sends whole records");
        opened
    }
}
