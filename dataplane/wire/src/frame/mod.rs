//! DERP frames: five bytes of header (type, length), then a body; one file for each type.
//!
//! `parse` takes a whole body and refuses what derper refuses, `write` appends a whole frame with its
//! header. `BODY_BYTES` says how long a body may be, to refuse a frame by its header; `FIELDS_BYTES` how
//! much of it means something today, where longer ones are allowed. Packets are never copied here: the
//! three packet frames borrow theirs and offer what precedes it as an array. Reassembly of the stream,
//! order of frames and who may send what are `derp`'s.
//!
//! Layouts are those of Tailscale's `derp/derp.go`; integers are big endian.

mod body_bytes;
mod client_info;
mod close_peer;
mod forward_packet;
mod health;
mod keep_alive;
mod note_preferred;
mod peer_gone;
mod peer_present;
mod ping;
mod pong;
mod recv_packet;
mod restarting;
mod send_packet;
mod server_info;
mod server_key;
mod watch_conns;

pub use body_bytes::BodyBytes;
pub use client_info::ClientInfo;
pub use close_peer::ClosePeer;
pub use forward_packet::{ForwardPacket, forward_packet_start};
pub use health::Health;
pub use keep_alive::KeepAlive;
pub use note_preferred::NotePreferred;
pub use peer_gone::{GoneReason, PeerGone};
pub use peer_present::{PeerPresent, PresentFlags};
pub use ping::Ping;
pub use pong::Pong;
pub use recv_packet::{RecvPacket, recv_packet_header};
pub use restarting::Restarting;
pub use send_packet::{SendPacket, send_packet_header};
pub use server_info::ServerInfo;
pub use server_key::{MAGIC, ServerKey};
pub use watch_conns::WatchConns;

pub use crate::Malformed;

/// Bytes of a frame header: type, then the length of the body.
pub const HEADER_LEN: usize = 5;

/// The frames that we know. Others exist and are skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameType {
    /// The server's key, its first word.
    ServerKey = 0x01,
    /// The client's key and its sealed `info::ClientInfo`.
    ClientInfo = 0x02,
    /// The sealed `info::ServerInfo`: the connection is ready.
    ServerInfo = 0x03,
    /// A packet from a client for a peer.
    SendPacket = 0x04,
    /// A packet for a client from a peer.
    RecvPacket = 0x05,
    /// Keeps a silent connection alive, from the server.
    KeepAlive = 0x06,
    /// Whether this relay is the client's home.
    NotePreferred = 0x07,
    /// A peer is not, or no longer, connected.
    PeerGone = 0x08,
    /// A peer is connected, to watchers.
    PeerPresent = 0x09,
    /// A packet from another relay of the mesh.
    ForwardPacket = 0x0a,
    /// Asks for `PeerPresent` and `PeerGone`; mesh only.
    WatchConns = 0x10,
    /// Asks to close a peer's connections; mesh only.
    ClosePeer = 0x11,
    /// Asks for a `Pong`.
    Ping = 0x12,
    /// The answer to a `Ping`.
    Pong = 0x13,
    /// What is wrong with this connection, in words.
    Health = 0x14,
    /// The server goes away.
    Restarting = 0x15,
}

impl FrameType {
    /// The type with this number; `None` for a frame that we skip.
    #[must_use]
    pub const fn from_u8(kind: u8) -> Option<Self> {
        Some(match kind {
            0x01 => Self::ServerKey,
            0x02 => Self::ClientInfo,
            0x03 => Self::ServerInfo,
            0x04 => Self::SendPacket,
            0x05 => Self::RecvPacket,
            0x06 => Self::KeepAlive,
            0x07 => Self::NotePreferred,
            0x08 => Self::PeerGone,
            0x09 => Self::PeerPresent,
            0x0a => Self::ForwardPacket,
            0x10 => Self::WatchConns,
            0x11 => Self::ClosePeer,
            0x12 => Self::Ping,
            0x13 => Self::Pong,
            0x14 => Self::Health,
            0x15 => Self::Restarting,
            _ => return None,
        })
    }
}

/// The start of every frame. Layout: `kind: u8`, `len: u32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The type, known to us or not.
    pub kind: u8,
    /// Bytes of the body, the header not counted.
    pub len: u32,
}

impl Header {
    /// The header of a frame of this type with a body of `len` bytes.
    #[must_use]
    pub const fn new(kind: FrameType, len: u32) -> Self {
        Self {
            kind: kind as u8,
            len,
        }
    }

    /// Reads a header; every five bytes are one.
    #[must_use]
    pub const fn parse(bytes: &[u8; HEADER_LEN]) -> Self {
        let [kind, a, b, c, d] = *bytes;
        Self {
            kind,
            len: u32::from_be_bytes([a, b, c, d]),
        }
    }

    /// The header as it is on the wire.
    #[must_use]
    pub const fn write(self) -> [u8; HEADER_LEN] {
        let [a, b, c, d] = self.len.to_be_bytes();
        [self.kind, a, b, c, d]
    }

    /// The type, when we know it.
    #[must_use]
    pub const fn frame_type(self) -> Option<FrameType> {
        FrameType::from_u8(self.kind)
    }
}

/// Appends a whole frame whose body is the concatenation of `parts`.
fn write_frame(out: &mut Vec<u8>, kind: FrameType, parts: &[&[u8]]) {
    let len: usize = parts.iter().map(|part| part.len()).sum();
    out.reserve(HEADER_LEN + len);
    out.extend_from_slice(&Header::new(kind, body_len(len)).write());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// The length field for a body of our own making.
fn body_len(len: usize) -> u32 {
    u32::try_from(len).expect("we write no body of 4 GiB")
}

#[cfg(test)]
mod tests;
