//! Why a handshake fails, sorted by who is to blame.

use towline_wire::Malformed;
use towline_wire::info::InfoError;

use crate::http::{BadUpgrade, HttpError};
use crate::websocket::WebSocketError;

/// The end of a handshake. What `poll_output` still holds (an HTTP error page, a WebSocket close
/// frame) may be sent, then the connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The peer's bytes are not the protocol.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformation),
    /// The peer's bytes are well formed, and not allowed here.
    #[error("peer misbehaved: {0}")]
    PeerMisbehaved(#[from] Misbehaviour),
    /// One side does not want the other.
    #[error("refused: {0}")]
    Refused(#[from] Refusal),
    /// Our own side used the state machine wrongly.
    #[error("local fault: {0}")]
    Local(#[from] LocalFault),
}

/// Bytes that are not the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformation {
    /// In the HTTP head.
    #[error(transparent)]
    Http(#[from] HttpError),
    /// In the WebSocket framing.
    #[error(transparent)]
    WebSocket(#[from] WebSocketError),
    /// In a DERP frame.
    #[error(transparent)]
    Frame(#[from] Malformed),
    /// In the JSON of an opened box.
    #[error(transparent)]
    Info(#[from] InfoError),
}

/// Well formed, and not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misbehaviour {
    /// An upgrade request that breaks the rules.
    #[error(transparent)]
    Upgrade(#[from] BadUpgrade),
    /// A frame of another type than the handshake wants next.
    #[error("unexpected frame {kind:#04x} in the handshake")]
    UnexpectedFrame {
        /// Its type.
        kind: u8,
    },
    /// A frame that is too short or too long to be what it says.
    #[error("frame {kind:#04x} of {len} bytes in the handshake")]
    FrameLength {
        /// Its type.
        kind: u8,
        /// Bytes of its body.
        len: u32,
    },
    /// A box that the claimed key did not seal.
    #[error("box does not open with the claimed key")]
    BoxDoesNotOpen,
    /// The all-zero key: everyone can open and seal its boxes.
    #[error("all-zero public key")]
    ZeroKey,
    /// A WebSocket answer that does not fit our request.
    #[error("WebSocket answer does not fit the request")]
    WebSocketAnswer,
    /// The peer closed the WebSocket before the end of the handshake.
    #[error("WebSocket closed during the handshake")]
    Closed,
}

/// One side does not want the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The server answered with this HTTP status instead of an upgrade.
    #[error("the server answers with HTTP status {0}")]
    Status(u16),
    /// Admission denied the client.
    #[error(transparent)]
    Denied(#[from] DenyReason),
}

/// Why admission denies a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DenyReason {
    /// The key is not allowed here.
    #[error("key is not allowed")]
    NotAllowed,
    /// Nobody could be asked, and unknown keys are not let in unasked.
    #[error("admission is not available")]
    Unavailable,
    /// The relay has as many clients as it may.
    #[error("relay is full")]
    Full,
    /// The relay is going away.
    #[error("relay is draining")]
    Draining,
}

/// Mistakes of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocalFault {
    /// Bytes were read on and on although the handshake waits for the caller, not for the peer.
    #[error("fed too much while the handshake waits for its caller")]
    FedWhileWaiting,
    /// Bytes came after the connection was handed over; they would be lost.
    #[error("fed after the handshake was over")]
    FedAfterReady,
    /// A host, path or node name that cannot stand in an HTTP head.
    #[error("text that cannot stand in an HTTP head")]
    NotHttpText,
}

impl From<HttpError> for HandshakeError {
    fn from(error: HttpError) -> Self {
        Malformation::from(error).into()
    }
}

impl From<WebSocketError> for HandshakeError {
    fn from(error: WebSocketError) -> Self {
        Malformation::from(error).into()
    }
}

impl HandshakeError {
    /// A stable name for metrics.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Malformed(Malformation::Http(_)) => "malformed_http",
            Self::Malformed(Malformation::WebSocket(_)) => "malformed_websocket",
            Self::Malformed(Malformation::Frame(_)) => "malformed_frame",
            Self::Malformed(Malformation::Info(_)) => "malformed_info",
            Self::PeerMisbehaved(Misbehaviour::Upgrade(_)) => "bad_upgrade",
            Self::PeerMisbehaved(Misbehaviour::UnexpectedFrame { .. }) => "unexpected_frame",
            Self::PeerMisbehaved(Misbehaviour::FrameLength { .. }) => "frame_length",
            Self::PeerMisbehaved(Misbehaviour::BoxDoesNotOpen) => "box_does_not_open",
            Self::PeerMisbehaved(Misbehaviour::ZeroKey) => "zero_key",
            Self::PeerMisbehaved(Misbehaviour::WebSocketAnswer) => "websocket_answer",
            Self::PeerMisbehaved(Misbehaviour::Closed) => "websocket_closed",
            Self::Refused(Refusal::Status(_)) => "http_status",
            Self::Refused(Refusal::Denied(DenyReason::NotAllowed)) => "denied_not_allowed",
            Self::Refused(Refusal::Denied(DenyReason::Unavailable)) => "denied_unavailable",
            Self::Refused(Refusal::Denied(DenyReason::Full)) => "denied_full",
            Self::Refused(Refusal::Denied(DenyReason::Draining)) => "denied_draining",
            Self::Local(_) => "local_fault",
        }
    }
}
