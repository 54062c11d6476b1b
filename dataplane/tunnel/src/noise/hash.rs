//! BLAKE2s in the four shapes that WireGuard has: hash, keyed MAC, HMAC and the key derivation over it (whitepaper
//! section 5.4).

use blake2::digest::Mac;
use blake2::digest::consts::U16;
use blake2::{Blake2s256, Blake2sMac, Digest};
use towline_wire::wireguard::MAC_LEN;
use zeroize::{Zeroize, Zeroizing};

/// Bytes of a hash.
pub(crate) const HASH_LEN: usize = 32;

const BLOCK_LEN: usize = 64;

/// BLAKE2s-256 over the pieces.
pub(crate) fn hash(pieces: &[&[u8]]) -> [u8; HASH_LEN] {
    let mut state = Blake2s256::new();
    for piece in pieces {
        Digest::update(&mut state, piece);
    }
    state.finalize().into()
}

/// BLAKE2s-128 under a key of at most 32 bytes.
pub(crate) fn mac(key: &[u8], pieces: &[&[u8]]) -> [u8; MAC_LEN] {
    let mut state = Blake2sMac::<U16>::new_with_salt_and_personal(key, &[], &[])
        .expect("keys of 16 and 32 bytes are within the 32 of BLAKE2s");
    for piece in pieces {
        Mac::update(&mut state, piece);
    }
    state.finalize().into_bytes().into()
}

/// HKDF of `input` with the chaining key: `N` outputs of 32 bytes.
pub(crate) fn derive<const N: usize>(
    chaining: &[u8; HASH_LEN],
    input: &[u8],
) -> Zeroizing<[[u8; HASH_LEN]; N]> {
    let mut secret = hmac(chaining, &[input]);
    let mut outputs = Zeroizing::new([[0; HASH_LEN]; N]);
    let mut before: &[u8] = &[];
    for (output, number) in outputs.iter_mut().zip(1u8..) {
        *output = hmac(&secret, &[before, &[number]]);
        before = output;
    }
    secret.zeroize();
    outputs
}

fn hmac(key: &[u8; HASH_LEN], pieces: &[&[u8]]) -> [u8; HASH_LEN] {
    let mut pad = Zeroizing::new([0; BLOCK_LEN]);
    pad[..HASH_LEN].copy_from_slice(key);
    pad.iter_mut().for_each(|byte| *byte ^= 0x36);
    let mut inner = Blake2s256::new();
    Digest::update(&mut inner, &pad[..]);
    for piece in pieces {
        Digest::update(&mut inner, piece);
    }
    let inner: [u8; HASH_LEN] = inner.finalize().into();
    pad.iter_mut().for_each(|byte| *byte ^= 0x36 ^ 0x5c);
    hash(&[&*pad, &inner])
}

#[cfg(test)]
mod tests {
    use super::*;
    use data_encoding::HEXLOWER_PERMISSIVE as HEX;

    /// Linux, lib/crypto and crypto/blake2s_generic self tests: BLAKE2s-256 of nothing and RFC 7693 appendix B.
    #[test]
    fn hashes_as_rfc_7693_does() {
        let expected = HEX
            .decode(b"508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982")
            .unwrap();
        assert_eq!(hash(&[b"a", b"bc"])[..], expected);
    }
}
