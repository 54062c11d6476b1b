//! Why a certificate could not be made or used, in words for an operator.

/// Why a certificate could not be made or used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertError {
    /// The certificate text is not PEM.
    #[error("certificate file is not valid PEM: {0}")]
    CertificatePem(String),
    /// There is PEM, but no `CERTIFICATE` in it.
    #[error("certificate file has no CERTIFICATE block")]
    NoCertificate,
    /// The key text is not PEM.
    #[error("key file is not valid PEM: {0}")]
    KeyPem(String),
    /// There is PEM, but no private key in it.
    #[error("key file has no PRIVATE KEY block")]
    NoKey,
    /// The key's algorithm is not RSA, ECDSA (P-256, P-384, P-521) or Ed25519, or it is broken.
    #[error("private key cannot be used: {0}")]
    UnusableKey(String),
    /// The first certificate is broken.
    #[error("certificate cannot be used: {0}")]
    UnusableCertificate(String),
    /// Certificate and key are not a pair.
    #[error("private key does not belong to the first certificate of the certificate file")]
    KeyMismatch,
    /// A name that no certificate can carry.
    #[error("`{0}` is neither an IP address nor a DNS name")]
    BadName(String),
    /// A pin that is not `sha256-raw:` and 64 hexadecimal digits.
    #[error("certificate pin must be `sha256-raw:` and 64 hexadecimal digits")]
    BadPin,
    /// More ACME challenges at a time than any order has.
    #[error("more than {0} ACME challenges at a time")]
    TooManyChallenges(usize),
    /// The crypto provider failed.
    #[error("making a certificate failed: {0}")]
    Generation(String),
}

impl From<rcgen::Error> for CertError {
    fn from(error: rcgen::Error) -> Self {
        Self::Generation(error.to_string())
    }
}
