//! One direction's traffic key: AEAD, nonce, sequence number, and in TLS 1.3 the secret from which
//! the next key comes. Record formats are in `opener.rs` and `sealer.rs`.

use aws_lc_rs::hkdf;
use rustls::ConnectionTrafficSecrets;
use zeroize::Zeroizing;

use super::aead::ExpandedKey;
use crate::error::TlsError;
use crate::suite::{Cipher, KEY_BYTES_MAX, NONCE_BYTES, SECRET_BYTES_MAX};

/// The key material that a handshake hands over for one direction.
pub(crate) struct KeyMaterial {
    pub(crate) cipher: Cipher,
    pub(crate) key: Zeroizing<[u8; KEY_BYTES_MAX]>,
    pub(crate) iv: Zeroizing<[u8; NONCE_BYTES]>,
    pub(crate) sequence: u64,
    /// The TLS 1.3 traffic secret; unused and zero in TLS 1.2.
    pub(crate) secret: Zeroizing<[u8; SECRET_BYTES_MAX]>,
}

impl KeyMaterial {
    pub(crate) fn from_rustls(
        (sequence, secrets): (u64, ConnectionTrafficSecrets),
        secret: Zeroizing<[u8; SECRET_BYTES_MAX]>,
    ) -> Option<Self> {
        let (cipher, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => {
                (Cipher::ChaCha20Poly1305, key, iv)
            }
            _ => return None,
        };
        let mut material = Self {
            cipher,
            key: Zeroizing::default(),
            iv: Zeroizing::default(),
            sequence,
            secret,
        };
        if key.as_ref().len() != cipher.key_bytes() {
            return None;
        }
        material.key[..cipher.key_bytes()].copy_from_slice(key.as_ref());
        material.iv.copy_from_slice(iv.as_ref());
        Some(material)
    }
}

/// A traffic key in use.
pub(crate) struct TrafficKey {
    material: KeyMaterial,
    /// Absent while the session rests.
    expanded: Option<ExpandedKey>,
    /// The sequence number at the last [`TrafficKey::rest_if_idle`].
    seen: u64,
}

impl TrafficKey {
    pub(crate) fn new(material: KeyMaterial) -> Self {
        let expanded = Some(expand(&material));
        Self {
            material,
            expanded,
            seen: 0,
        }
    }

    pub(crate) fn cipher(&self) -> Cipher {
        self.material.cipher
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.material.sequence
    }

    pub(crate) fn iv(&self) -> &[u8; NONCE_BYTES] {
        &self.material.iv
    }

    /// `iv XOR sequence` (RFC 8446, section 5.3; RFC 7905, section 2).
    #[inline]
    pub(crate) fn nonce(&self) -> [u8; NONCE_BYTES] {
        let mut nonce = *self.material.iv;
        for (byte, sequence) in nonce[4..].iter_mut().zip(self.sequence().to_be_bytes()) {
            *byte ^= sequence;
        }
        nonce
    }

    /// Opens `sealed` (ciphertext, then tag) in place and returns the plaintext. Only a record
    /// that authenticates moves the sequence number.
    #[inline]
    pub(crate) fn open<'s>(
        &mut self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        sealed: &'s mut [u8],
    ) -> Result<&'s mut [u8], TlsError> {
        let next = self.next_sequence()?;
        let plain = self.expanded().open(nonce, aad, sealed)?;
        self.material.sequence = next;
        Ok(plain)
    }

    /// Seals `plain` in place and writes its tag.
    #[inline]
    pub(crate) fn seal(
        &mut self,
        nonce: [u8; NONCE_BYTES],
        aad: &[u8],
        plain: &mut [u8],
        tag: &mut [u8],
    ) -> Result<(), TlsError> {
        let next = self.next_sequence()?;
        self.expanded().seal(nonce, aad, plain, tag)?;
        self.material.sequence = next;
        Ok(())
    }

    /// The next generation of this key (RFC 8446, section 7.2).
    pub(crate) fn advance(&mut self) {
        let cipher = self.material.cipher;
        let mut next = Zeroizing::new([0; SECRET_BYTES_MAX]);
        expand_label(
            cipher,
            &self.material.secret,
            b"traffic upd",
            &mut next[..cipher.secret_bytes()],
        );
        let mut material = KeyMaterial {
            cipher,
            key: Zeroizing::default(),
            iv: Zeroizing::default(),
            sequence: 0,
            secret: next,
        };
        expand_label(
            cipher,
            &material.secret,
            b"key",
            &mut material.key[..cipher.key_bytes()],
        );
        expand_label(cipher, &material.secret, b"iv", &mut material.iv[..]);
        *self = Self::new(material);
    }

    /// Frees the expanded key; the next use expands it again.
    pub(crate) fn rest(&mut self) {
        self.expanded = None;
    }

    /// [`Self::rest`], if the key was not used since the last call.
    pub(crate) fn rest_if_idle(&mut self) {
        if core::mem::replace(&mut self.seen, self.material.sequence) == self.material.sequence {
            self.rest();
        }
    }

    /// Whether the expanded key is absent.
    #[cfg(test)]
    pub(crate) fn rests(&self) -> bool {
        self.expanded.is_none()
    }

    /// The same key for another user of it, in tests that compare two.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn copy(&self) -> KeyMaterial {
        KeyMaterial {
            cipher: self.material.cipher,
            key: self.material.key.clone(),
            iv: self.material.iv.clone(),
            sequence: self.material.sequence,
            secret: self.material.secret.clone(),
        }
    }

    #[inline]
    fn expanded(&mut self) -> &ExpandedKey {
        let material = &self.material;
        self.expanded.get_or_insert_with(|| expand(material))
    }

    /// A sequence number is never used twice (RFC 8446, section 5.3).
    #[inline]
    fn next_sequence(&self) -> Result<u64, TlsError> {
        self.sequence().checked_add(1).ok_or(TlsError::KeyUsedUp)
    }
}

fn expand(material: &KeyMaterial) -> ExpandedKey {
    ExpandedKey::new(
        material.cipher,
        &material.key[..material.cipher.key_bytes()],
    )
}

struct OutputBytes(usize);

impl hkdf::KeyType for OutputBytes {
    fn len(&self) -> usize {
        self.0
    }
}

/// HKDF-Expand-Label with an empty context (RFC 8446, section 7.1).
fn expand_label(cipher: Cipher, secret: &[u8; SECRET_BYTES_MAX], label: &[u8], out: &mut [u8]) {
    const PREFIX: &[u8] = b"tls13 ";
    let out_bytes = (out.len() as u16).to_be_bytes();
    let label_bytes = [(PREFIX.len() + label.len()) as u8];
    hkdf::Prk::new_less_safe(cipher.hkdf(), &secret[..cipher.secret_bytes()])
        .expand(
            &[&out_bytes, &label_bytes, PREFIX, label, &[0]],
            OutputBytes(out.len()),
        )
        .and_then(|okm| okm.fill(out))
        .expect("outputs of the key schedule are shorter than 255 hashes");
}
