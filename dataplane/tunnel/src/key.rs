//! The keys of WireGuard. Secrets are wiped on drop and have neither `Debug` nor `PartialEq`.

use core::fmt;

use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use data_encoding::BASE64;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use towline_wire::wireguard::KEY_LEN;

/// The public key that names a peer (Curve25519).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StaticPublic(pub [u8; KEY_LEN]);

/// Base64, as the `wg` tool prints it, cut to what tells peers apart in a log.
impl fmt::Debug for StaticPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = BASE64.encode(&self.0);
        write!(f, "[{}…]", text.get(..8).unwrap_or_default())
    }
}

/// The private key of an identity.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct StaticPrivate([u8; KEY_LEN]);

impl StaticPrivate {
    /// Takes a key as it is; its bits are clamped wherever it is used.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The secret scalar.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> StaticPublic {
        Agreement::new(&self.0).public
    }
}

/// A secret that two peers share beside their keys.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; KEY_LEN]);

impl PresharedKey {
    /// No secret: what the handshake mixes in where none is configured.
    pub(crate) const NONE: Self = Self([0; KEY_LEN]);

    /// Takes a key as it is.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// The secret.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// Whether it is all zeros, which stands for none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.0.ct_eq(&[0; KEY_LEN]).into()
    }
}

/// What two keys agreed on.
pub(crate) type Shared = Zeroizing<[u8; KEY_LEN]>;

/// A private key that is ready to agree with others: static or ephemeral.
pub(crate) struct Agreement {
    private: PrivateKey,
    pub(crate) public: StaticPublic,
}

impl Agreement {
    /// Prepares a key: one multiplication.
    pub(crate) fn new(private: &[u8; KEY_LEN]) -> Self {
        let private =
            PrivateKey::from_private_key(&X25519, private).expect("any 32 bytes are an X25519 key");
        let computed = private
            .compute_public_key()
            .expect("every X25519 key has a public half");
        let mut public = StaticPublic([0; KEY_LEN]);
        public.0.copy_from_slice(computed.as_ref());
        Self { private, public }
    }

    /// The secret shared with `theirs`; none with the few points with which everybody shares the same one.
    pub(crate) fn agree(&self, theirs: &[u8; KEY_LEN]) -> Option<Shared> {
        let theirs = UnparsedPublicKey::new(&X25519, theirs);
        agreement::agree(&self.private, theirs, (), |secret| {
            let mut shared = Shared::default();
            shared.copy_from_slice(secret);
            let nothing: bool = shared.ct_eq(&[0; KEY_LEN]).into();
            if nothing { Err(()) } else { Ok(shared) }
        })
        .ok()
    }
}
