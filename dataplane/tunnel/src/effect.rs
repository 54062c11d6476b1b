//! What a tunnel asks of its driver.

use core::ops::Deref;

use towline_wire::wireguard::INITIATION_LEN;

use crate::endpoint::Endpoint;
use crate::peer::PeerId;

/// Something to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// A datagram of the tunnel itself: handshake, cookie or keepalive.
    Send {
        /// Where to.
        to: Endpoint,
        /// Its bytes.
        datagram: Outgoing,
    },
    /// A session can be used: the packets staged for the peer can go. They must, since the first of them shows the
    /// peer that we have the session.
    Ready(PeerId),
}

/// A datagram of at most the length of an initiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outgoing {
    bytes: [u8; INITIATION_LEN],
    len: u8,
}

impl Outgoing {
    /// A copy of the first bytes of `datagram`, which is no longer than an initiation.
    pub(crate) fn new(datagram: &[u8]) -> Self {
        let len = datagram.len().min(INITIATION_LEN);
        let mut bytes = [0; INITIATION_LEN];
        bytes[..len].copy_from_slice(&datagram[..len]);
        Self {
            bytes,
            len: len as u8,
        }
    }
}

impl Deref for Outgoing {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}
