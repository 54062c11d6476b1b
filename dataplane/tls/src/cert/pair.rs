//! A certificate chain with its private key, checked to belong together.

use std::sync::Arc;

use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::der;
use super::error::CertError;
use super::trust::CertPin;

/// A certificate chain and its private key, ready for a [`CertStore`](super::CertStore).
#[derive(Clone)]
pub struct CertPair {
    pub(super) certified: Arc<CertifiedKey>,
    not_before_secs: u64,
    not_after_secs: u64,
    pin: CertPin,
}

impl CertPair {
    /// Reads the two PEM texts of a certificate: the chain, leaf first, and the leaf's key.
    ///
    /// # Errors
    /// Says which of the two is wrong and how; a reload keeps its old pair then.
    pub fn from_pem(certificate_pem: &[u8], key_pem: &[u8]) -> Result<Self, CertError> {
        let chain = CertificateDer::pem_slice_iter(certificate_pem)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| CertError::CertificatePem(error.to_string()))?;
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|error| match error {
            PemError::NoItemsFound => CertError::NoKey,
            error => CertError::KeyPem(error.to_string()),
        })?;
        Self::from_der(chain, &key)
    }

    /// The same from DER.
    ///
    /// # Errors
    /// As [`CertPair::from_pem`].
    pub fn from_der(
        chain: Vec<CertificateDer<'static>>,
        key: &PrivateKeyDer<'_>,
    ) -> Result<Self, CertError> {
        let leaf = chain.first().ok_or(CertError::NoCertificate)?;
        let fields = der::read_certificate(leaf)
            .ok_or_else(|| CertError::UnusableCertificate("not an X.509 certificate".to_owned()))?;
        let (not_before_secs, not_after_secs) = (fields.not_before_secs, fields.not_after_secs);
        let pin = CertPin::of(leaf);
        let key =
            any_supported_type(key).map_err(|error| CertError::UnusableKey(error.to_string()))?;
        let certified = CertifiedKey::new(chain, key);
        match certified.keys_match() {
            Ok(()) => {}
            Err(rustls::Error::InconsistentKeys(_)) => return Err(CertError::KeyMismatch),
            Err(error) => return Err(CertError::UnusableCertificate(error.to_string())),
        }
        Ok(Self {
            certified: Arc::new(certified),
            not_before_secs,
            not_after_secs,
            pin,
        })
    }

    /// When the leaf's validity begins, in seconds since 1970.
    pub fn not_before_secs(&self) -> u64 {
        self.not_before_secs
    }

    /// When the leaf expires, in seconds since 1970.
    pub fn not_after_secs(&self) -> u64 {
        self.not_after_secs
    }

    /// The leaf's fingerprint.
    pub fn pin(&self) -> CertPin {
        self.pin
    }
}

impl core::fmt::Debug for CertPair {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("CertPair")
            .field("pin", &self.pin)
            .field("not_after_secs", &self.not_after_secs)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::SelfSigned;
    use super::*;
    use rustls::pki_types::UnixTime;

    fn pair(name: &str) -> SelfSigned {
        SelfSigned::generate(name, UnixTime::now()).unwrap()
    }

    #[test]
    fn a_pair_loads_and_tells_its_pin() {
        let made = pair("relay.example");
        let pair = CertPair::from_pem(made.certificate_pem.as_bytes(), made.key_pem.as_bytes());
        let pair = pair.unwrap();
        assert_eq!(pair.pin(), made.pin);
        assert!(pair.not_after_secs() > UnixTime::now().as_secs());
    }

    #[test]
    fn each_mistake_has_its_own_words() {
        let (one, two) = (pair("192.0.2.1"), pair("192.0.2.1"));
        let load = |cert: &str, key: &str| {
            CertPair::from_pem(cert.as_bytes(), key.as_bytes()).unwrap_err()
        };
        assert_eq!(
            load(&one.certificate_pem, &two.key_pem),
            CertError::KeyMismatch
        );
        assert_eq!(load("", &one.key_pem), CertError::NoCertificate);
        assert_eq!(load(&one.key_pem, &one.key_pem), CertError::NoCertificate);
        assert_eq!(load(&one.certificate_pem, ""), CertError::NoKey);
        assert_eq!(
            load(&one.certificate_pem, &one.certificate_pem),
            CertError::NoKey
        );
        let torn = &one.certificate_pem[..one.certificate_pem.len() / 2];
        assert!(matches!(
            load(torn, &one.key_pem),
            CertError::CertificatePem(_)
        ));
        let torn = &one.key_pem[..one.key_pem.len() / 2];
        assert!(matches!(
            load(&one.certificate_pem, torn),
            CertError::KeyPem(_)
        ));
        let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(
            load(junk, &one.key_pem),
            CertError::UnusableCertificate(_)
        ));
        let junk = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        assert!(matches!(
            load(&one.certificate_pem, junk),
            CertError::UnusableKey(_)
        ));
    }
}
