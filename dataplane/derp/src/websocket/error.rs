//! What can be wrong with a WebSocket stream, and the close code that says so to the peer.

/// A violation of RFC 6455, or of the subset that DERP uses. The connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebSocketError {
    /// A reserved bit is set although no extension was agreed on (§5.2).
    #[error("reserved bit set in a WebSocket frame")]
    ReservedBit,
    /// An opcode that RFC 6455 does not define.
    #[error("unknown WebSocket opcode {0:#x}")]
    UnknownOpcode(u8),
    /// A text message: DERP is a stream of bytes.
    #[error("WebSocket text message in a binary stream")]
    Text,
    /// A frame of a client that is not masked (§5.1).
    #[error("unmasked WebSocket frame from a client")]
    Unmasked,
    /// A frame of a server that is masked (§5.1).
    #[error("masked WebSocket frame from a server")]
    Masked,
    /// A control frame of more than 125 bytes (§5.5).
    #[error("WebSocket control frame longer than 125 bytes")]
    ControlTooLong,
    /// A control frame in pieces (§5.5).
    #[error("fragmented WebSocket control frame")]
    ControlFragmented,
    /// A length that is not written in the fewest bytes possible (§5.2).
    #[error("WebSocket length not in its shortest form")]
    LengthNotMinimal,
    /// A frame longer than the limit.
    #[error("WebSocket frame of {0} bytes is too long")]
    TooLong(u64),
    /// A continuation without a message to continue (§5.4).
    #[error("WebSocket continuation outside a message")]
    LoneContinuation,
    /// A new message before the last fragment of the one before (§5.4).
    #[error("WebSocket message inside a fragmented message")]
    InterleavedMessage,
    /// A close frame with one byte, or with a code that must not be sent (§7.4).
    #[error("malformed WebSocket close frame")]
    BadClose,
}

impl WebSocketError {
    /// The close code that tells the peer what was wrong (§7.4.1).
    #[must_use]
    pub const fn close_code(self) -> CloseCode {
        match self {
            Self::Text => CloseCode::UNSUPPORTED_DATA,
            Self::TooLong(_) => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}

/// Why a WebSocket was closed (RFC 6455 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseCode(pub u16);

impl CloseCode {
    /// The purpose of the connection is fulfilled.
    pub const NORMAL: Self = Self(1000);
    /// The endpoint goes away: a relay that drains.
    pub const GOING_AWAY: Self = Self(1001);
    /// The peer broke the protocol.
    pub const PROTOCOL_ERROR: Self = Self(1002);
    /// The peer sent a kind of message that is not accepted.
    pub const UNSUPPORTED_DATA: Self = Self(1003);
    /// The peer sent a frame that is too long.
    pub const TOO_BIG: Self = Self(1009);

    /// Whether the code may stand in a close frame; some codes only exist for local use (§7.4.2).
    #[must_use]
    pub const fn may_be_sent(self) -> bool {
        matches!(self.0, 1000..=1003 | 1007..=1014 | 3000..=4999)
    }
}
