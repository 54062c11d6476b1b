//! WebSocket (RFC 6455) as DERP uses it: binary messages that carry one byte stream, whose
//! message and frame boundaries mean nothing.
//!
//! Not a general WebSocket library: no text messages, no extensions, no whole messages in memory.
//! The handshake decodes the first frames with it; the data path of a relay goes on with the same
//! [`Codec`], and so does the client.

mod codec;
mod control;
mod error;
mod header;
mod mask;
mod opening;

pub use codec::{Codec, Event};
pub use control::ControlFrame;
pub use error::{CloseCode, WebSocketError};
pub use header::{CLIENT_HEADER_LEN_MAX, FrameHeader, SERVER_HEADER_LEN_MAX, server_header_len};
pub use opening::{accept_value, is_valid_key, new_key};

/// The sub-protocol that tells a WebSocket client of DERP from one that only writes
/// `Upgrade: websocket` and then speaks raw DERP.
pub const SUB_PROTOCOL: &str = "derp";
