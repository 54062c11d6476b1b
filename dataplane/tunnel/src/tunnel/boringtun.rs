//! The other engine: boringtun's `Tunn`, one for each peer that is in use. It is a second implementation to compare with,
//! and a baseline; what it cannot do stays undone:
//!
//! - its indices are the peer's slot and a counter, so they are not random and name no worker: one worker, or handing
//!   over in user space;
//! - it runs on its own clock and randomness, and its timers are looked at a few times a second;
//! - it copies each packet twice, and has a replay window of 1024;
//! - a changed preshared key or keepalive interval ends its sessions.
//!
//! What it lacks is done here: padding (packets come padded), and sessions are not used to stage packets.

use core::time::Duration;

use boringtun::noise::errors::WireGuardError;
use boringtun::noise::handshake::parse_handshake_anon;
use boringtun::noise::{Packet, Tunn, TunnResult};
use boringtun::x25519::{PublicKey, StaticSecret};
use towline_wire::Time;
use towline_wire::wireguard::{DATA_HEADER_LEN, Datagram, INITIATION_LEN, KEEPALIVE_LEN, TAG_LEN};

use super::engine::Engine;
use super::inbound::{Opened, Run};
use super::{Identity, Tunnel, Unsealed};
use crate::endpoint::Endpoint;
use crate::key::StaticPublic;
use crate::peer::Peer;
use crate::timers::Timer;

/// How often the timers of a `Tunn` are looked at.
const TICK: Duration = Duration::from_millis(250);
/// The one timer of ours that this engine uses.
const TICKS: Timer = Timer::Retransmit;
/// Room that `Tunn` wants for the messages of its own.
const SCRATCH_BYTES_MIN: usize = INITIATION_LEN;

pub(super) struct Boringtun;

impl Engine for Boringtun {
    fn seal(
        &self,
        tunnel: &mut Tunnel,
        now: Time,
        slot: u32,
        train: &mut [u8],
        slot_bytes: usize,
    ) -> Result<Endpoint, Unsealed> {
        let peer = tunnel.peers.get_mut(slot).ok_or(Unsealed::NoPeer)?;
        let endpoint = peer.endpoint.ok_or(Unsealed::NoEndpoint)?;
        if !has_session(peer) {
            self.begin(tunnel, now, slot);
            return Err(Unsealed::NoSession);
        }
        let Some(tunn) = &mut peer.tunn else {
            return Err(Unsealed::NoSession);
        };
        let mut scratch = core::mem::take(&mut tunnel.scratch);
        scratch.resize(slot_bytes.max(SCRATCH_BYTES_MIN), 0);
        for datagram in train.chunks_mut(slot_bytes) {
            let packet = &datagram[DATA_HEADER_LEN..datagram.len() - TAG_LEN];
            if let TunnResult::WriteToNetwork(sealed) = tunn.encapsulate(packet, &mut scratch)
                && sealed.len() == datagram.len()
            {
                datagram.copy_from_slice(sealed);
            }
        }
        tunnel.scratch = scratch;
        peer.tx_bytes += train.len() as u64;
        Ok(endpoint)
    }

    fn open(
        &self,
        tunnel: &mut Tunnel,
        now: Time,
        run: &Run,
        train: &mut [u8],
        opened: &mut Vec<Opened>,
    ) {
        let slot = run.receiver >> 8;
        if tunnel.peers.get(slot).is_none_or(|it| it.tunn.is_none()) {
            tunnel.stats.unknown_index += run.count as u64;
            return;
        }
        let id = tunnel.peers.id_of(slot);
        let mut scratch = core::mem::take(&mut tunnel.scratch);
        scratch.resize(run.segment_bytes.min(train.len()).max(SCRATCH_BYTES_MIN), 0);
        for (number, segment) in train.chunks_mut(run.segment_bytes).enumerate() {
            let Some(peer) = tunnel.peers.get_mut(slot) else {
                break;
            };
            let Some(tunn) = &mut peer.tunn else {
                break;
            };
            let is_keepalive = segment.len() == KEEPALIVE_LEN;
            let (packet, is_authentic) = match tunn.decapsulate(None, segment, &mut scratch) {
                TunnResult::WriteToTunnelV4(packet, _) | TunnResult::WriteToTunnelV6(packet, _) => {
                    let end = DATA_HEADER_LEN + packet.len();
                    segment[DATA_HEADER_LEN..end].copy_from_slice(packet);
                    (Some(DATA_HEADER_LEN..end), true)
                }
                TunnResult::Done => (None, is_keepalive),
                TunnResult::Err(error) => {
                    tunnel.stats.count(&error);
                    (None, matches!(error, WireGuardError::InvalidPacket))
                }
                TunnResult::WriteToNetwork(_) => (None, false),
            };
            if is_authentic {
                peer.endpoint = Some(run.from);
                peer.rx_bytes += segment.len() as u64;
                tunnel.stats.keepalives_received += u64::from(is_keepalive);
            }
            if let Some(packet) = packet
                && let Some(len) = tunnel.admit_inner(slot, &segment[packet])
            {
                opened.push(Opened {
                    peer: id,
                    start: run.start + number * run.segment_bytes + DATA_HEADER_LEN,
                    len,
                });
            }
        }
        tunnel.scratch = scratch;
        self.after_message(tunnel, now, slot);
    }

    fn handle_message(
        &self,
        tunnel: &mut Tunnel,
        now: Time,
        from: Endpoint,
        message: &[u8],
        parsed: &Datagram<'_>,
    ) {
        let slot = match parsed {
            Datagram::Initiation(initiation) => {
                if !tunnel.may_work(now, from, message, initiation.sender) {
                    return;
                }
                let Some(slot) = self.who_began(tunnel, message) else {
                    return;
                };
                slot
            }
            Datagram::Response(response) => {
                if !tunnel.may_work(now, from, message, response.sender) {
                    return;
                }
                response.receiver >> 8
            }
            Datagram::CookieReply(reply) => reply.receiver >> 8,
            Datagram::Data(_) => return,
        };
        self.prepare(tunnel, slot);
        let Some(peer) = tunnel.peers.get_mut(slot) else {
            tunnel.stats.unknown_index += 1;
            return;
        };
        let Some(tunn) = &mut peer.tunn else {
            return;
        };
        let mut out = [0; SCRATCH_BYTES_MIN];
        match tunn.decapsulate(Some(from.address.ip()), message, &mut out) {
            TunnResult::WriteToNetwork(answer) => {
                peer.endpoint = Some(from);
                peer.rx_bytes += message.len() as u64;
                peer.tx_bytes += answer.len() as u64;
                match parsed {
                    Datagram::Initiation(_) => tunnel.stats.initiations_received += 1,
                    _ => tunnel.stats.responses_received += 1,
                }
                tunnel.stats.sessions += 1;
                let answer = answer.to_vec();
                tunnel.send(from, &answer);
            }
            TunnResult::Err(error) => tunnel.stats.count(&error),
            _ => tunnel.stats.cookies_received += 1,
        }
        self.after_message(tunnel, now, slot);
    }

    fn speak(&self, tunnel: &mut Tunnel, now: Time, slot: u32) {
        let Some(peer) = tunnel.peers.get(slot) else {
            return;
        };
        if !has_session(peer) {
            self.begin(tunnel, now, slot);
        } else if peer.staged.is_empty() {
            let mut keepalive = [0; KEEPALIVE_LEN];
            if let Ok(to) = self.seal(tunnel, now, slot, &mut keepalive, KEEPALIVE_LEN) {
                tunnel.stats.keepalives_sent += 1;
                tunnel.send(to, &keepalive);
            }
        } else {
            tunnel.ready(slot);
        }
    }

    fn handle_timeout(&self, tunnel: &mut Tunnel, now: Time, slot: u32) {
        let Some(peer) = tunnel.peers.get_mut(slot) else {
            return;
        };
        peer.timers.clear_all();
        let Some(tunn) = &mut peer.tunn else {
            return;
        };
        let mut out = [0; SCRATCH_BYTES_MIN];
        match tunn.update_timers(&mut out) {
            TunnResult::WriteToNetwork(message) => {
                if let Some(to) = peer.endpoint {
                    peer.tx_bytes += message.len() as u64;
                    let message = message.to_vec();
                    tunnel.stats.count_sent(&message);
                    tunnel.send(to, &message);
                }
            }
            TunnResult::Err(_) => {
                // It expired. With a persistent keepalive it begins again.
                peer.tunn = None;
                let goes_on = peer.timers.persistent.is_some();
                tunnel.stats.handshakes_given_up += 1;
                tunnel.drop_staged(slot);
                if goes_on {
                    self.begin(tunnel, now, slot);
                }
                return;
            }
            _ => {}
        }
        self.after_message(tunnel, now, slot);
    }

    fn end_sessions(&self, tunnel: &mut Tunnel, slot: u32) {
        if let Some(peer) = tunnel.peers.get_mut(slot) {
            peer.tunn = None;
        }
    }

    fn reconfigured(&self, tunnel: &mut Tunnel, slot: u32) {
        self.end_sessions(tunnel, slot);
    }
}

impl Boringtun {
    /// Makes the `Tunn` of a peer, if there is none.
    fn prepare(&self, tunnel: &mut Tunnel, slot: u32) {
        if let (Some(own), Some(peer)) = (&tunnel.identity, tunnel.peers.get_mut(slot))
            && peer.tunn.is_none()
        {
            let seconds = peer.timers.persistent.map(|it| it.as_secs());
            let tunn = Tunn::new(
                secret(own),
                PublicKey::from(peer.key.0),
                Some(&peer.preshared)
                    .filter(|key| !key.is_none())
                    .map(|key| *key.as_bytes()),
                seconds.map(|it| u16::try_from(it.max(1)).unwrap_or(u16::MAX)),
                slot,
                None,
            );
            peer.tunn = Some(Box::new(tunn));
        }
    }

    /// Begins a handshake, if none is under way.
    fn begin(&self, tunnel: &mut Tunnel, now: Time, slot: u32) {
        self.prepare(tunnel, slot);
        let Some(peer) = tunnel.peers.get_mut(slot) else {
            return;
        };
        let (Some(tunn), Some(to)) = (&mut peer.tunn, peer.endpoint) else {
            return;
        };
        let mut out = [0; SCRATCH_BYTES_MIN];
        if let TunnResult::WriteToNetwork(message) =
            tunn.format_handshake_initiation(&mut out, false)
        {
            peer.tx_bytes += message.len() as u64;
            let message = message.to_vec();
            tunnel.stats.count_sent(&message);
            tunnel.send(to, &message);
        }
        self.tick(tunnel, now, slot);
    }

    /// The peer that an initiation comes from.
    fn who_began(&self, tunnel: &mut Tunnel, message: &[u8]) -> Option<u32> {
        let own = tunnel.identity.as_ref()?;
        let Ok(Packet::HandshakeInit(initiation)) = Tunn::parse_incoming_packet(message) else {
            return None;
        };
        let public = PublicKey::from(own.agreement.public.0);
        let Ok(half) = parse_handshake_anon(&secret(own), &public, &initiation) else {
            tunnel.stats.bad_handshake += 1;
            return None;
        };
        let slot = tunnel.by_key.get(&StaticPublic(half.peer_static_public));
        if slot.is_none() {
            tunnel.stats.unknown_peer += 1;
        }
        slot.copied()
    }

    /// What may have changed with a message or with time.
    fn after_message(&self, tunnel: &mut Tunnel, now: Time, slot: u32) {
        let wall_time = tunnel.clock.unix_time(now);
        if let Some(peer) = tunnel.peers.get_mut(slot)
            && let Some(tunn) = &peer.tunn
            && let Some(since) = tunn.time_since_last_handshake()
        {
            peer.last_handshake = Some(wall_time.saturating_sub(since));
            if !peer.staged.is_empty() {
                tunnel.ready(slot);
            }
        }
        self.tick(tunnel, now, slot);
    }

    fn tick(&self, tunnel: &mut Tunnel, now: Time, slot: u32) {
        if let Some(peer) = tunnel.peers.get_mut(slot)
            && !peer.timers.is_set(TICKS)
        {
            peer.timers.set(TICKS, now + TICK);
            tunnel.reschedule(slot);
        }
    }
}

fn has_session(peer: &Peer) -> bool {
    peer.tunn
        .as_ref()
        .is_some_and(|tunn| tunn.time_since_last_handshake().is_some())
}

fn secret(own: &Identity) -> StaticSecret {
    StaticSecret::from(*own.private.as_bytes())
}

impl crate::stats::TunnelStats {
    fn count(&mut self, error: &WireGuardError) {
        use WireGuardError as E;
        let counter = match error {
            E::DuplicateCounter | E::InvalidCounter => &mut self.replayed,
            E::InvalidAeadTag => &mut self.forged,
            E::NoCurrentSession | E::WrongIndex => &mut self.unknown_index,
            E::InvalidPacket => &mut self.bad_inner,
            E::InvalidMac => &mut self.bad_mac1,
            E::WrongTai64nTimestamp => &mut self.old_timestamp,
            E::UnderLoad => &mut self.source_rate,
            E::ConnectionExpired => &mut self.expired,
            _ => &mut self.bad_handshake,
        };
        *counter += 1;
    }

    fn count_sent(&mut self, message: &[u8]) {
        if message.len() == INITIATION_LEN {
            self.initiations_sent += 1;
        } else {
            self.keepalives_sent += 1;
        }
    }
}
