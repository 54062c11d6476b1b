//! A certificate of our own for a relay without a domain: clients pin it by its fingerprint, as a
//! DERP map's `CertName`.

use core::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};
use rustls::pki_types::{ServerName, UnixTime};
use zeroize::Zeroizing;

use super::error::CertError;
use super::trust::CertPin;

/// One year, as derper's.
const VALIDITY: Duration = Duration::from_secs(365 * 24 * 3600);

/// Validity before now, for clients whose clock is slow.
const BACKDATE: Duration = Duration::from_secs(24 * 3600);

/// End of the year 9999, the last that a certificate can name.
const DATE_SECS_MAX: u64 = 253_402_300_799;

/// A self-signed certificate and its key, as PEM text to keep and load again.
pub struct SelfSigned {
    /// The certificate.
    pub certificate_pem: String,
    /// Its private key, PKCS #8.
    pub key_pem: Zeroizing<String>,
    /// What clients pin.
    pub pin: CertPin,
}

impl SelfSigned {
    /// Makes a key (ECDSA P-256) and a certificate for an IP address or DNS name, valid for one
    /// year from `now`.
    ///
    /// # Errors
    /// [`CertError::BadName`], or the crypto provider failed.
    pub fn generate(name: &str, now: UnixTime) -> Result<Self, CertError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = params_for(name)?;
        set_validity(
            &mut params,
            now.as_secs().saturating_sub(BACKDATE.as_secs()),
            now.as_secs().saturating_add(VALIDITY.as_secs()),
        );
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.self_signed(&key)?;
        Ok(Self {
            certificate_pem: certificate.pem(),
            key_pem: Zeroizing::new(key.serialize_pem()),
            pin: CertPin::of(certificate.der()),
        })
    }
}

/// Parameters with `name` as common name and only alternative name.
pub(super) fn params_for(name: &str) -> Result<CertificateParams, CertError> {
    let bad_name = || CertError::BadName(name.to_owned());
    ServerName::try_from(name).map_err(|_| bad_name())?;
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(|_| bad_name())?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(params)
}

/// Sets the validity, in seconds since 1970.
pub(super) fn set_validity(params: &mut CertificateParams, from_secs: u64, until_secs: u64) {
    let epoch = date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(from_secs.min(DATE_SECS_MAX));
    params.not_after = epoch + Duration::from_secs(until_secs.min(DATE_SECS_MAX));
}
