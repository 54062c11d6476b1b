//! PeerGone, server to client: a peer that it heard from is no longer connected, or one that it sent
//! disco to never was.

use super::{FrameType, Malformed, write_frame};
use crate::NodePublic;
use crate::key::KEY_LEN;

/// Layout: `key: [u8; 32]`, `reason: u8` (old servers leave it out), then bytes of future versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerGone {
    /// The peer.
    pub key: NodePublic,
    /// Why it is gone.
    pub reason: GoneReason,
}

/// Why a peer is gone. Tailscale's third reason, 0xf0, is never on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GoneReason {
    /// 0x00: its last connection to the region ended.
    Disconnected,
    /// 0x01: this server does not know it.
    NotHere,
    /// A reason of a future version.
    Other(u8),
}

impl GoneReason {
    /// The reason with this number.
    #[must_use]
    pub const fn from_u8(reason: u8) -> Self {
        match reason {
            0x00 => Self::Disconnected,
            0x01 => Self::NotHere,
            other => Self::Other(other),
        }
    }

    /// The number on the wire.
    #[must_use]
    pub const fn to_u8(self) -> u8 {
        match self {
            Self::Disconnected => 0x00,
            Self::NotHere => 0x01,
            Self::Other(other) => other,
        }
    }
}

impl PeerGone {
    /// Bytes of the body that mean something.
    pub const FIELDS_BYTES: usize = KEY_LEN + 1;

    /// Reads the body of a frame; one of 32 bytes means "disconnected".
    ///
    /// # Errors
    /// The body is shorter than a key.
    pub fn parse(body: &[u8]) -> Result<Self, Malformed> {
        let (key, rest) = body
            .split_first_chunk()
            .ok_or(Malformed::new("PeerGone", "shorter than a key"))?;
        let reason = rest
            .first()
            .map_or(GoneReason::Disconnected, |r| GoneReason::from_u8(*r));
        Ok(Self {
            key: NodePublic(*key),
            reason,
        })
    }

    /// Appends the frame.
    pub fn write(&self, out: &mut Vec<u8>) {
        write_frame(
            out,
            FrameType::PeerGone,
            &[&self.key.0, &[self.reason.to_u8()]],
        );
    }
}
