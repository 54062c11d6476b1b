//! The NaCl boxes of the DERP handshake (curve25519xsalsa20poly1305): a client proves its key by
//! sealing its info to the server, and the server answers under the same shared secret.
//!
//! One Diffie-Hellman for a connection serves both directions; it is the costly part of a handshake.

use aws_lc_rs::agreement;
use crypto_secretbox::aead::generic_array::GenericArray;
use crypto_secretbox::{AeadInPlace, Kdf, KeyInit, XSalsa20Poly1305};
use towline_wire::{NodePrivate, NodePublic};
use zeroize::Zeroizing;

/// Bytes of a nonce. Nonces are random: 24 bytes never repeat by chance.
pub const NONCE_LEN: usize = 24;
/// Bytes of the authentication tag, which stands before the ciphertext.
pub const TAG_LEN: usize = 16;

/// The box does not open: the sender does not hold the key that it claims, or meant another server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("box does not open with the key that the sender claims")]
pub struct CannotOpen;

/// The private key of one side, ready to agree with others. Wiped when dropped.
pub struct BoxKey {
    private: agreement::PrivateKey,
    public: NodePublic,
}

impl BoxKey {
    /// Prepares a key: a multiplication, so once for all connections of a server.
    #[must_use]
    pub fn new(private: &NodePrivate) -> Self {
        let private =
            agreement::PrivateKey::from_private_key(&agreement::X25519, private.as_bytes())
                .expect("any 32 bytes are an X25519 key");
        let computed = private
            .compute_public_key()
            .expect("every X25519 key has a public half");
        let mut public = NodePublic([0; 32]);
        public.0.copy_from_slice(computed.as_ref());
        Self { private, public }
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> NodePublic {
        self.public
    }

    /// Agrees on the secret that this key shares with a peer's: the costly part of a handshake.
    ///
    /// # Errors
    /// The peer's key is one of the few with which everybody shares the same secret (RFC 7748
    /// section 6.1): it proves nothing.
    pub fn agree(&self, peer: &NodePublic) -> Result<SharedBox, CannotOpen> {
        let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, &peer.0);
        agreement::agree(&self.private, peer, CannotOpen, |secret| {
            let secret = GenericArray::from_slice(secret);
            let key = Zeroizing::new(XSalsa20Poly1305::kdf(secret, &GenericArray::default()));
            Ok(SharedBox(XSalsa20Poly1305::new(&key)))
        })
    }
}

/// What two keys share: opens what the peer sealed, and seals what the peer can open.
/// Wiped when dropped.
pub struct SharedBox(XSalsa20Poly1305);

impl SharedBox {
    /// Opens `sealed` (tag, then ciphertext) in place and returns the plaintext.
    ///
    /// # Errors
    /// The box was not sealed by the peer to us, or was changed on the way.
    pub fn open<'a>(
        &self,
        nonce: &[u8; NONCE_LEN],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], CannotOpen> {
        let (tag, text) = sealed
            .split_first_chunk_mut::<TAG_LEN>()
            .ok_or(CannotOpen)?;
        let tag = GenericArray::from_slice(&*tag);
        self.0
            .decrypt_in_place_detached(GenericArray::from_slice(nonce), b"", text, tag)
            .map_err(|_| CannotOpen)?;
        Ok(text)
    }

    /// Seals `plaintext`: tag, then ciphertext.
    #[must_use]
    pub fn seal(&self, nonce: &[u8; NONCE_LEN], plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = vec![0; TAG_LEN + plaintext.len()];
        let (tag, text) = sealed.split_at_mut(TAG_LEN);
        text.copy_from_slice(plaintext);
        let computed = self
            .0
            .encrypt_in_place_detached(GenericArray::from_slice(nonce), b"", text)
            .expect("infos are far below the cipher's limit of 256 GiB");
        tag.copy_from_slice(&computed);
        sealed
    }
}

/// The public half of a key.
#[must_use]
pub fn public_key(private: &NodePrivate) -> NodePublic {
    BoxKey::new(private).public()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> NodePrivate {
        NodePrivate::from_bytes([byte; 32])
    }

    fn share(own: &NodePrivate, peer: &NodePrivate) -> SharedBox {
        BoxKey::new(own).agree(&public_key(peer)).unwrap()
    }

    #[test]
    fn a_key_that_shares_one_secret_with_everybody_proves_nothing() {
        let mut small_order = NodePublic([0; 32]);
        for first_byte in [0, 1] {
            small_order.0[0] = first_byte;
            assert!(BoxKey::new(&key(1)).agree(&small_order).is_err());
        }
    }

    #[test]
    fn one_agreement_opens_and_seals_on_both_sides() {
        let (server, client) = (key(1), key(2));
        let at_server = share(&server, &client);
        let at_client = share(&client, &server);
        for (from, to) in [(&at_client, &at_server), (&at_server, &at_client)] {
            let mut sealed = from.seal(&[9; NONCE_LEN], b"{\"version\":2}");
            assert_eq!(sealed.len(), TAG_LEN + 13);
            assert_eq!(
                to.open(&[9; NONCE_LEN], &mut sealed).unwrap(),
                b"{\"version\":2}"
            );
        }
    }

    #[test]
    fn another_key_nonce_or_byte_does_not_open() {
        let (server, client) = (key(1), key(2));
        let at_server = share(&server, &client);
        let sealed = share(&client, &server).seal(&[9; NONCE_LEN], b"hello");

        let stranger = share(&server, &key(3));
        assert_eq!(
            stranger.open(&[9; NONCE_LEN], &mut sealed.clone()),
            Err(CannotOpen)
        );
        assert_eq!(
            at_server.open(&[8; NONCE_LEN], &mut sealed.clone()),
            Err(CannotOpen)
        );
        for index in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[index] ^= 1;
            assert_eq!(
                at_server.open(&[9; NONCE_LEN], &mut changed),
                Err(CannotOpen)
            );
        }
        for len in 0..sealed.len() {
            let mut short = sealed[..len].to_vec();
            assert_eq!(at_server.open(&[9; NONCE_LEN], &mut short), Err(CannotOpen));
        }
    }

    #[test]
    fn boxes_are_those_of_go() {
        // Keys: RFC 7748 section 6.1. Box: golang.org/x/crypto/nacl/box, Alice to Bob.
        fn hex<const N: usize>(text: &str) -> [u8; N] {
            let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap();
            bytes.try_into().unwrap()
        }
        let alice = NodePrivate::from_bytes(hex(
            "77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a",
        ));
        let bob = NodePrivate::from_bytes(hex(
            "5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb",
        ));
        let bob_public = NodePublic(hex(
            "de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f",
        ));
        let nonce: [u8; NONCE_LEN] = core::array::from_fn(|i| i as u8);
        let plaintext = b"{\"version\":2,\"CanAckPings\":true}";
        let mut sealed: [u8; 48] = hex(
            "f857ec21fe9b663e37a51ed82b058c047e6c26c069053c122ea5a24c8fa8fbbf\
             8f83ba8b258ec2ea09f11d4e345f8b61",
        );

        assert_eq!(public_key(&bob), bob_public);
        let at_alice = BoxKey::new(&alice).agree(&bob_public).unwrap();
        assert_eq!(at_alice.seal(&nonce, plaintext), sealed);
        let at_bob = share(&bob, &alice);
        assert_eq!(at_bob.open(&nonce, &mut sealed).unwrap(), plaintext);
    }
}
