//! Noise's symmetric state: a chaining key that becomes the session's, and a hash of all that both sides saw.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use towline_wire::wireguard::{KEY_LEN, TAG_LEN};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::Refused;
use super::hash::{HASH_LEN, derive, hash};
use crate::aead::Key;

const CONSTRUCTION: &[u8] = b"Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s";
const IDENTIFIER: &[u8] = b"WireGuard v1 zx2c4 Jason@zx2c4.com";

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(super) struct Symmetric {
    chaining: [u8; HASH_LEN],
    hash: [u8; HASH_LEN],
}

/// A key that seals one text of a handshake.
pub(super) struct Once(Zeroizing<[u8; KEY_LEN]>);

impl Symmetric {
    /// The state before the first message to `responder`.
    pub(super) fn new(responder: &[u8; KEY_LEN]) -> Self {
        let chaining = hash(&[CONSTRUCTION]);
        let mut state = Self {
            chaining,
            hash: hash(&[&chaining, IDENTIFIER]),
        };
        state.mix_hash(responder);
        state
    }

    pub(super) fn mix_hash(&mut self, bytes: &[u8]) {
        self.hash = hash(&[&self.hash, bytes]);
    }

    /// An ephemeral public key goes into both (the `psk` modifier of Noise).
    pub(super) fn mix_ephemeral(&mut self, public: &[u8; KEY_LEN]) {
        self.mix_hash(public);
        self.chaining = derive::<1>(&self.chaining, public)[0];
    }

    pub(super) fn mix_chaining(&mut self, secret: &[u8; KEY_LEN]) {
        self.chaining = derive::<1>(&self.chaining, secret)[0];
    }

    pub(super) fn mix_key(&mut self, secret: &[u8; KEY_LEN]) -> Once {
        let [chaining, key] = *derive::<2>(&self.chaining, secret);
        self.chaining = chaining;
        Once(Zeroizing::new(key))
    }

    pub(super) fn mix_preshared(&mut self, secret: &[u8; KEY_LEN]) -> Once {
        let [chaining, hashed, key] = *derive::<3>(&self.chaining, secret);
        self.chaining = chaining;
        self.mix_hash(&hashed);
        Once(Zeroizing::new(key))
    }

    /// Seals `out`, whose last 16 bytes become the tag.
    pub(super) fn seal(&mut self, key: &Once, out: &mut [u8]) {
        let (text, tag_out) = out.split_at_mut(out.len() - TAG_LEN);
        let tag = key
            .cipher()
            .seal_in_place_separate_tag(zero_nonce(), Aad::from(self.hash), text)
            .expect("texts of a handshake are short");
        tag_out.copy_from_slice(tag.as_ref());
        self.mix_hash(out);
    }

    /// Opens `sealed`, whose last 16 bytes are the tag, into `N` bytes.
    pub(super) fn open<const N: usize>(
        &mut self,
        key: &Once,
        sealed: &[u8],
    ) -> Result<[u8; N], Refused> {
        let mut text = Zeroizing::new([0; KEY_LEN + TAG_LEN]);
        let text = text.get_mut(..sealed.len()).ok_or(Refused)?;
        text.copy_from_slice(sealed);
        let opened = key
            .cipher()
            .open_in_place(zero_nonce(), Aad::from(self.hash), text)
            .map_err(|_| Refused)?;
        self.mix_hash(sealed);
        opened.try_into().map_err(|_| Refused)
    }

    /// The keys of the session: the initiator's sending key first.
    pub(super) fn split(self) -> [Key; 2] {
        let keys = derive::<2>(&self.chaining, &[]);
        [Key::new(&keys[0]), Key::new(&keys[1])]
    }
}

impl Once {
    fn cipher(&self) -> LessSafeKey {
        let key = UnboundKey::new(&CHACHA20_POLY1305, &*self.0).expect("a key has 32 bytes");
        LessSafeKey::new(key)
    }
}

fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}
