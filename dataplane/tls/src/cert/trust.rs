//! What a client accepts from a relay: a chain to a root, a pinned certificate, or anything.

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use aws_lc_rs::digest;
use data_encoding::HEXLOWER_PERMISSIVE;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error as RustlsError, RootCertStore, SignatureScheme,
};

use super::error::CertError;
use super::{der, meta};
use crate::error::HandshakeError;

/// What a DERP map's `CertName` starts with when it pins a certificate.
const PIN_PREFIX: &str = "sha256-raw:";

/// SHA-256 of one certificate: the `sha256-raw:…` of a DERP map's `CertName`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CertPin([u8; 32]);

impl CertPin {
    /// The pin of this certificate.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let mut pin = [0; 32];
        pin.copy_from_slice(digest::digest(&digest::SHA256, certificate).as_ref());
        Self(pin)
    }
}

impl fmt::Display for CertPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PIN_PREFIX}{}", HEXLOWER_PERMISSIVE.encode(&self.0))
    }
}

impl fmt::Debug for CertPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CertPin {
    type Err = CertError;

    fn from_str(text: &str) -> Result<Self, CertError> {
        let hex = text.strip_prefix(PIN_PREFIX).ok_or(CertError::BadPin)?;
        let mut pin = [0; 32];
        if hex.len() != 64 {
            return Err(CertError::BadPin);
        }
        HEXLOWER_PERMISSIVE
            .decode_mut(hex.as_bytes(), &mut pin)
            .map_err(|_| CertError::BadPin)?;
        Ok(Self(pin))
    }
}

/// Which servers a client accepts.
#[derive(Clone, Debug)]
pub enum ServerTrust {
    /// Those whose chain ends at one of these roots and carries the server's name.
    Roots(RootCertStore),
    /// The one with this certificate, by Tailscale's rules (`tlsdial.SetConfigExpectedCertHash`):
    /// the name and the dates must be right, and meta certificates beside it are passed over.
    Pinned(CertPin),
    /// Any. For tests, and for `InsecureForTests` in a DERP map.
    AnyoneInsecurely,
}

impl ServerTrust {
    pub(crate) fn into_verifier(
        self,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, HandshakeError> {
        let check = match self {
            Self::Roots(roots) => {
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
                        .build()
                        .map_err(|error| {
                            HandshakeError::Local(RustlsError::General(error.to_string()))
                        })?;
                return Ok(verifier);
            }
            Self::Pinned(pin) => Some(pin),
            Self::AnyoneInsecurely => None,
        };
        Ok(Arc::new(Verifier { check, provider }))
    }
}

/// Checks the pin, or nothing; and always that the server holds the key of what it shows.
#[derive(Debug)]
struct Verifier {
    check: Option<CertPin>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        let Some(pin) = self.check else {
            return Ok(ServerCertVerified::assertion());
        };
        let others = intermediates
            .iter()
            .any(|other| meta::key_of(other).is_none());
        if CertPin::of(end_entity) != pin || others {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
        let fields = der::read_certificate(end_entity).ok_or(CertificateError::BadEncoding)?;
        match now.as_secs() {
            now if now < fields.not_before_secs => Err(CertificateError::NotValidYet.into()),
            now if now > fields.not_after_secs => Err(CertificateError::Expired.into()),
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
