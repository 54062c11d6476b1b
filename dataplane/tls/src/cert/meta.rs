//! The meta certificate: how a relay tells its DERP key inside the TLS handshake, so that a
//! client can skip a round trip (fast start).
//!
//! It follows the real chain, in every handshake. Nobody verifies its signature: the chain it
//! rides in is authenticated, and encrypted, by TLS 1.3. The format is Tailscale's
//! (`derpserver.initMetacert`): common name `derpkey` and the key in hexadecimal, the DERP protocol
//! version as serial number, exactly one extension.

use core::time::Duration;

use data_encoding::HEXLOWER_PERMISSIVE;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, PKCS_ED25519,
    SerialNumber,
};
use rustls::pki_types::{CertificateDer, UnixTime};

use super::der;
use super::error::CertError;
use super::self_signed::set_validity;

/// What the common name starts with.
const COMMON_NAME_PREFIX: &str = "derpkey";

/// The DERP protocol version that the serial number tells.
const PROTOCOL_VERSION: u64 = 2;

/// Validity before and after now. Wide, because a client's clock may be wrong.
const VALIDITY: Duration = Duration::from_secs(30 * 24 * 3600);

/// Object identifier of BasicConstraints.
const BASIC_CONSTRAINTS: &[u64] = &[2, 5, 29, 19];

/// An empty DER sequence: not a certificate authority.
const NOT_AN_AUTHORITY: &[u8] = &[0x30, 0x00];

/// Makes the meta certificate of the relay with this public DERP key. Valid 30 days: make a new
/// one, for [`CertStore::set_meta`](super::CertStore::set_meta), every few days.
///
/// # Errors
/// The crypto provider failed.
pub fn certificate(
    server_public: &[u8; 32],
    now: UnixTime,
) -> Result<CertificateDer<'static>, CertError> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(
        DnType::CommonName,
        format!(
            "{COMMON_NAME_PREFIX}{}",
            HEXLOWER_PERMISSIVE.encode(server_public)
        ),
    );
    params.serial_number = Some(SerialNumber::from(PROTOCOL_VERSION));
    set_validity(
        &mut params,
        now.as_secs().saturating_sub(VALIDITY.as_secs()),
        now.as_secs().saturating_add(VALIDITY.as_secs()),
    );
    // By hand, because rcgen would add a key identifier, and clients count the extensions.
    let mut constraints =
        CustomExtension::from_oid_content(BASIC_CONSTRAINTS, NOT_AN_AUTHORITY.to_vec());
    constraints.set_criticality(true);
    params.custom_extensions = vec![constraints];
    let certificate = params.self_signed(&key)?;
    Ok(certificate.der().clone())
}

/// The DERP key that a certificate tells, if it is a meta certificate.
pub fn key_of(certificate: &CertificateDer<'_>) -> Option<[u8; 32]> {
    let fields = der::read_certificate(certificate)?;
    let hex = fields
        .common_name?
        .strip_prefix(COMMON_NAME_PREFIX.as_bytes())?;
    // Versions up to 255, as Tailscale reads them.
    if !matches!(fields.serial, [_] | [0, _]) {
        return None;
    }
    let mut key = [0; 32];
    if hex.len() != 64 {
        return None;
    }
    HEXLOWER_PERMISSIVE.decode_mut(hex, &mut key).ok()?;
    Some(key)
}

/// The DERP key of the first meta certificate in a peer's chain.
pub(crate) fn key_in_chain(chain: &[CertificateDer<'_>]) -> Option<[u8; 32]> {
    chain.iter().find_map(key_of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_comes_back() {
        let key = core::array::from_fn(|i| i as u8 * 7);
        let certificate = certificate(&key, UnixTime::now()).unwrap();
        assert_eq!(key_of(&certificate), Some(key));
    }

    #[test]
    fn fields_are_as_tailscale_reads_them() {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_800_000_000));
        let der = certificate(&[0xab; 32], now).unwrap();
        let fields = der::read_certificate(&der).unwrap();
        assert_eq!(fields.serial, [2]);
        let name = format!("derpkey{}", "ab".repeat(32));
        assert_eq!(fields.common_name, Some(name.as_bytes()));
        assert_eq!(fields.not_before_secs, 1_800_000_000 - 30 * 86_400);
        assert_eq!(fields.not_after_secs, 1_800_000_000 + 30 * 86_400);
    }

    #[test]
    fn other_certificates_tell_no_key() {
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        for name in [
            "relay.example",
            "derpkey",
            "derpkeyzz",
            &"derpkey00".repeat(8),
        ] {
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            let der = params.self_signed(&key).unwrap();
            assert_eq!(key_of(der.der()), None, "{name}");
        }
    }
}
