//! The seam between a tunnel and what runs its peers: sessions, handshakes and their timers. The tunnel keeps what is the
//! same for all: configuration, allowed IPs, endpoints, staged packets, and the look at inner packets.
//!
//! An engine has no state of its own; it works on the tunnel that it is given.

use towline_wire::Time;
use towline_wire::wireguard::Datagram;

use super::boringtun::Boringtun;
use super::inbound::{Opened, Run};
use super::native::Native;
use super::{Tunnel, Unsealed};
use crate::config::EngineKind;
use crate::endpoint::Endpoint;

pub(super) trait Engine: Sync {
    /// Seals a train in place, or begins a handshake.
    fn seal(
        &self,
        tunnel: &mut Tunnel,
        now: Time,
        slot: u32,
        train: &mut [u8],
        slot_bytes: usize,
    ) -> Result<Endpoint, Unsealed>;

    /// Opens a run of data in place.
    fn open(
        &self,
        tunnel: &mut Tunnel,
        now: Time,
        run: &Run,
        train: &mut [u8],
        opened: &mut Vec<Opened>,
    );

    /// Takes a message that is not data.
    fn handle_message(
        &self,
        tunnel: &mut Tunnel,
        now: Time,
        from: Endpoint,
        message: &[u8],
        parsed: &Datagram<'_>,
    );

    /// Sends a keepalive, has what is staged sent, or begins a handshake: whatever is possible.
    fn speak(&self, tunnel: &mut Tunnel, now: Time, slot: u32);

    /// Does what is due for a peer.
    fn handle_timeout(&self, tunnel: &mut Tunnel, now: Time, slot: u32);

    /// Ends all that was agreed on with a peer.
    fn end_sessions(&self, tunnel: &mut Tunnel, slot: u32);

    /// The preshared key or the keepalive interval of a peer changed.
    fn reconfigured(&self, tunnel: &mut Tunnel, slot: u32);
}

pub(super) fn engine(kind: EngineKind) -> &'static dyn Engine {
    match kind {
        EngineKind::Native => &Native,
        EngineKind::Boringtun => &Boringtun,
    }
}
