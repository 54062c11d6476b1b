//! What each frame does. Its length was checked, and that its sender may send it (`frames_in`).

use towline_wire::Time;
use towline_wire::frame::{ClosePeer, FrameType, NotePreferred, PeerGone, PeerPresent, Ping};
use towline_wire::limits::HOME_SETTLED;

use super::conn::Role;
use super::frames_in::Body;
use super::mailbox::Mailbox;
use super::{CloseReason, Shard, UplinkId};

impl Shard {
    /// Handles a frame.
    #[inline]
    pub(super) fn handle_frame(
        &mut self,
        now: Time,
        slot: u32,
        kind: u8,
        body: Body<'_>,
        mail: &mut impl Mailbox,
    ) {
        let role = self.conns[slot].role;
        match (role, FrameType::from_u8(kind)) {
            (Role::Client { .. }, Some(FrameType::SendPacket)) => {
                self.send_packet(now, slot, body, mail);
            }
            (Role::Client { .. }, Some(FrameType::ForwardPacket)) => {
                self.forwarded_packet(now, slot, body, mail);
            }
            (role, Some(frame)) => {
                // What is left is short; it is copied so that blocks need not be held.
                let mut start = [0; 64];
                let bytes = body.start(&self.queues.blocks);
                let len = bytes.len().min(start.len());
                start[..len].copy_from_slice(&bytes[..len]);
                if let Body::Stored(chain) = body {
                    self.queues.blocks.release(chain.head);
                }
                match role {
                    Role::Client { .. } => {
                        self.client_frame(now, slot, frame, &start[..len], mail);
                    }
                    Role::Uplink(uplink) => {
                        self.uplink_frame(now, slot, uplink, frame, &start[..len], mail);
                    }
                    Role::Vacant => {}
                }
            }
            (_, None) => {}
        }
    }

    fn client_frame(
        &mut self,
        now: Time,
        slot: u32,
        frame: FrameType,
        body: &[u8],
        mail: &mut impl Mailbox,
    ) {
        match frame {
            FrameType::NotePreferred => {
                if let Ok(NotePreferred(home)) = NotePreferred::parse(body) {
                    self.set_home(now, slot, home);
                }
            }
            FrameType::Ping => self.ping(slot, body),
            FrameType::WatchConns => {
                self.start_watching(now, slot, mail);
                self.check_backlog(slot);
            }
            FrameType::ClosePeer => {
                if let Ok(peer) = ClosePeer::parse(body) {
                    self.close_peer(now, &peer.key, mail);
                    self.check_backlog(slot);
                }
            }
            _ => {}
        }
    }

    fn uplink_frame(
        &mut self,
        now: Time,
        slot: u32,
        uplink: UplinkId,
        frame: FrameType,
        body: &[u8],
        mail: &mut impl Mailbox,
    ) {
        match frame {
            FrameType::PeerPresent => {
                if let Ok(peer) = PeerPresent::parse(body) {
                    self.peer_present(now, uplink, &peer, mail);
                    self.check_backlog(slot);
                }
            }
            FrameType::PeerGone => {
                if let Ok(peer) = PeerGone::parse(body) {
                    self.peer_gone(now, uplink, &peer, mail);
                    self.check_backlog(slot);
                }
            }
            FrameType::Ping => self.ping(slot, body),
            _ => {}
        }
    }

    /// Pings that come faster than their pongs are written are ignored.
    fn ping(&mut self, slot: u32, body: &[u8]) {
        self.stats.got_ping += 1;
        let pong = &mut self.conns[slot].due.pong;
        if pong.is_none()
            && let Ok(Ping(data)) = Ping::parse(body)
        {
            *pong = Some(data);
            self.mark_writable(slot);
        }
    }

    fn set_home(&mut self, now: Time, slot: u32, home: bool) {
        let conn = &mut self.conns[slot];
        if conn.home == home {
            return;
        }
        conn.home = home;
        let moved = u64::from(now - conn.connected_at > HOME_SETTLED);
        if home {
            self.stats.home_connections += 1;
            self.stats.home_moves_in += moved;
        } else {
            self.stats.home_connections -= 1;
            self.stats.home_moves_out += moved;
        }
    }

    /// Holds a mesh peer back, or gives it up, when other shards do not take what it says.
    fn check_backlog(&mut self, slot: u32) {
        if self.outbox.is_overfull() {
            self.close(slot, CloseReason::MeshBacklog);
        } else if self.outbox.is_crowded() {
            self.hold_back(slot);
        }
    }
}
