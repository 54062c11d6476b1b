//! Our own engine: the protocol as the kernel runs it.

mod handshakes;
mod open;
mod seal;
mod timeouts;

use towline_wire::Time;
use towline_wire::wireguard::Datagram;

use super::engine::Engine;
use super::inbound::{Opened, Run};
use super::{Tunnel, Unsealed};
use crate::endpoint::Endpoint;

pub(super) struct Native;

impl Engine for Native {
    fn seal(
        &self,
        tunnel: &mut Tunnel,
        now: Time,
        slot: u32,
        train: &mut [u8],
        slot_bytes: usize,
    ) -> Result<Endpoint, Unsealed> {
        let sealed = tunnel.seal(now, slot, train, slot_bytes);
        tunnel.reschedule(slot);
        sealed
    }

    fn open(
        &self,
        tunnel: &mut Tunnel,
        now: Time,
        run: &Run,
        train: &mut [u8],
        opened: &mut Vec<Opened>,
    ) {
        tunnel.open_run(now, run, train, opened);
    }

    fn handle_message(
        &self,
        tunnel: &mut Tunnel,
        now: Time,
        from: Endpoint,
        message: &[u8],
        parsed: &Datagram<'_>,
    ) {
        match parsed {
            Datagram::Initiation(it) => tunnel.handle_initiation(now, from, message, it),
            Datagram::Response(it) => tunnel.handle_response(now, from, message, it),
            Datagram::CookieReply(it) => tunnel.handle_cookie_reply(now, it),
            Datagram::Data(_) => {}
        }
    }

    fn speak(&self, tunnel: &mut Tunnel, now: Time, slot: u32) {
        tunnel.send_keepalive(now, slot);
        tunnel.reschedule(slot);
    }

    fn handle_timeout(&self, tunnel: &mut Tunnel, now: Time, slot: u32) {
        tunnel.fire_due(now, slot);
        tunnel.reschedule(slot);
    }

    fn end_sessions(&self, tunnel: &mut Tunnel, slot: u32) {
        tunnel.end_sessions(slot, false);
    }

    /// The next handshake sees the new preshared key, and the timers the new interval.
    fn reconfigured(&self, _tunnel: &mut Tunnel, _slot: u32) {}
}
