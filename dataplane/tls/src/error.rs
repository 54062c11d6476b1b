//! What can go wrong, named by the guilty side: the peer, its certificate, our configuration,
//! or the caller of this crate.

use rustls::{AlertDescription, CertificateError, Error as RustlsError};

/// Why a record was not opened or sealed. All but [`TlsError::Misuse`], [`TlsError::Closed`] and [`TlsError::KeyUsedUp`] end
/// the session: later calls answer [`TlsError::Ended`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The peer sent bytes that are no record, or a message that does not parse.
    #[error("malformed TLS record: {0}")]
    Malformed(&'static str),
    /// A record or its content is longer than the protocol allows.
    #[error("TLS record too long")]
    Oversize,
    /// The tag is wrong: the record was changed on the way, or is not of this session.
    #[error("TLS record does not authenticate")]
    BadTag,
    /// A well-formed message that may not come now.
    #[error("unexpected TLS message: {0}")]
    Unexpected(&'static str),
    /// The peer sends, again and again, what is allowed but moves no data.
    #[error("peer floods the connection with {0}")]
    Flood(&'static str),
    /// The peer ended the connection with a fatal alert (its number is RFC 8446, section 6).
    #[error("peer sent the fatal TLS alert {0}")]
    Alert(u8),
    /// The keys have protected as much as they may, and could not be replaced.
    #[error("TLS keys are used up")]
    KeyUsedUp,
    /// This direction was closed by `close_notify`.
    #[error("TLS session is closed")]
    Closed,
    /// An earlier error ended the session.
    #[error("TLS session has ended with an error")]
    Ended,
    /// The caller passed a buffer that does not fit; the session is unchanged.
    #[error("TLS record layer was called with {0}")]
    Misuse(&'static str),
}

/// Alert levels and descriptions that we name (RFC 8446, section 6).
pub(crate) mod alert {
    pub(crate) const WARNING: u8 = 1;
    pub(crate) const FATAL: u8 = 2;

    pub(crate) const CLOSE_NOTIFY: u8 = 0;
    pub(crate) const UNEXPECTED_MESSAGE: u8 = 10;
    pub(crate) const BAD_RECORD_MAC: u8 = 20;
    pub(crate) const RECORD_OVERFLOW: u8 = 22;
    pub(crate) const DECODE_ERROR: u8 = 50;
    pub(crate) const USER_CANCELED: u8 = 90;
    pub(crate) const NO_RENEGOTIATION: u8 = 100;
}

impl TlsError {
    /// The alert that tells the peer of this error, if it is to be told.
    pub(crate) fn alert(self) -> Option<u8> {
        match self {
            Self::Malformed(_) => Some(alert::DECODE_ERROR),
            Self::Oversize => Some(alert::RECORD_OVERFLOW),
            Self::BadTag => Some(alert::BAD_RECORD_MAC),
            Self::Unexpected(_) | Self::Flood(_) => Some(alert::UNEXPECTED_MESSAGE),
            Self::Alert(_) | Self::KeyUsedUp | Self::Closed | Self::Ended | Self::Misuse(_) => None,
        }
    }
}

/// Why a handshake failed. Where an alert is due it waits in `poll_output`.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The peer does not speak TLS, or breaks its rules.
    #[error("peer broke the TLS handshake: {0}")]
    Peer(RustlsError),
    /// The peer ended the handshake with an alert.
    #[error("peer refused the TLS handshake: {0:?}")]
    Alert(AlertDescription),
    /// No certificate for the name that was asked, or nothing in common with the peer.
    #[error("TLS handshake refused: {0}")]
    Refused(RustlsError),
    /// The certificate of the server was not accepted.
    #[error("server certificate not accepted: {0}")]
    Untrusted(CertificateError),
    /// More handshake bytes than a handshake of ours can have.
    #[error("TLS handshake larger than {limit_bytes} bytes")]
    TooLarge {
        /// The bound that was met.
        limit_bytes: usize,
    },
    /// Our configuration or the crypto provider failed.
    #[error("TLS handshake failed on our side: {0}")]
    Local(RustlsError),
    /// The handshake had already ended.
    #[error("TLS handshake has already ended")]
    Ended,
}

impl From<RustlsError> for HandshakeError {
    fn from(error: RustlsError) -> Self {
        match error {
            RustlsError::AlertReceived(alert) => Self::Alert(alert),
            RustlsError::InvalidCertificate(error) => Self::Untrusted(error),
            RustlsError::NoCertificatesPresented => Self::Peer(error),
            RustlsError::PeerIncompatible(_)
            | RustlsError::NoApplicationProtocol
            | RustlsError::General(_) => Self::Refused(error),
            RustlsError::InappropriateMessage { .. }
            | RustlsError::InappropriateHandshakeMessage { .. }
            | RustlsError::InvalidMessage(_)
            | RustlsError::PeerMisbehaved(_)
            | RustlsError::DecryptError
            | RustlsError::PeerSentOversizedRecord => Self::Peer(error),
            _ => Self::Local(error),
        }
    }
}
