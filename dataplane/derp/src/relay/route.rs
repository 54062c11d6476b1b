//! The way of a packet: to a connection of this shard, to the shard that owns its destination, through
//! the mesh, or nowhere.
//!
//! The owner of the destination decides: a connection of its own, else a relay of the mesh that has
//! one, else nobody. What came from another relay goes no further than to a connection here.

use towline_wire::frame::{ForwardPacket, SendPacket};
pub(super) use towline_wire::key::KEY_LEN;
use towline_wire::limits::QUEUE_NOT_HERE_MAX;
use towline_wire::{NodePublic, Time, disco};

use super::blocks::Chain;
use super::buffers::BufferId;
use super::conn::Role;
use super::frames_in::Body;
use super::mailbox::Mailbox;
use super::message::{Control, Message, Route};
use super::notes::Note;
use super::queue::{Arrival, Place, Pushed};
use super::stats::{DropReason, PacketKind};
use super::{ConnId, Payload, Shard, ShardId, UplinkId};

/// A packet on its way, and where it lies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Held<'a> {
    /// In a receive buffer of this turn, from `offset` on; the key that it is for lies before it.
    Here {
        buffer: BufferId,
        offset: u32,
        bytes: &'a [u8],
    },
    /// In blocks, from `offset` on; the key that it is for lies before it.
    Stored { chain: Chain, offset: u32 },
    /// In the mailbox.
    Mail(Payload<'a>),
}

impl Held<'_> {
    #[inline]
    const fn len(&self) -> usize {
        match self {
            Self::Here { bytes, .. } => bytes.len(),
            Self::Stored { chain, offset } => (chain.len - *offset) as usize,
            Self::Mail(payload) => payload.len(),
        }
    }
}

impl Shard {
    /// `SendPacket`: from a client, for anybody.
    #[inline]
    pub(super) fn send_packet(
        &mut self,
        now: Time,
        slot: u32,
        body: Body<'_>,
        mail: &mut impl Mailbox,
    ) {
        let start = body.start(&self.queues.blocks);
        let Ok(SendPacket { dst, packet }) = SendPacket::parse(start) else {
            return;
        };
        let kind = kind_of(packet);
        let len = body.len() - KEY_LEN;
        self.stats.received[kind as usize].count(len);
        let conn = &mut self.conns[slot];
        conn.received.count(len);
        let route = Route {
            from: conn.id(slot),
            forwarded: false,
            src: conn.key,
            src_hash: conn.key_hash,
            dst,
            dst_hash: 0,
        };
        self.route(now, route, kind, body.packet(KEY_LEN), mail);
    }

    /// `ForwardPacket`: from a relay of the mesh, for a client of ours.
    pub(super) fn forwarded_packet(
        &mut self,
        now: Time,
        slot: u32,
        body: Body<'_>,
        mail: &mut impl Mailbox,
    ) {
        let start = body.start(&self.queues.blocks);
        let Ok(ForwardPacket { src, dst, packet }) = ForwardPacket::parse(start) else {
            return;
        };
        let kind = kind_of(packet);
        self.stats.packets_forwarded_in += 1;
        self.conns[slot].received.count(body.len() - 2 * KEY_LEN);
        let route = Route {
            from: self.conns[slot].id(slot),
            forwarded: true,
            src_hash: self.memo.look_up(&self.config, &src).0,
            src,
            dst,
            dst_hash: 0,
        };
        self.route(now, route, kind, body.packet(2 * KEY_LEN), mail);
    }

    /// A packet of a connection here: delivers it, or hands it to the shard that owns its destination.
    #[inline]
    fn route(
        &mut self,
        now: Time,
        mut route: Route,
        kind: PacketKind,
        held: Held<'_>,
        mail: &mut impl Mailbox,
    ) {
        let (dst_hash, hint) = self.memo.look_up(&self.config, &route.dst);
        route.dst_hash = dst_hash;
        let owner = self.config.owner_of_hash(dst_hash);
        if owner == self.config.shard {
            return self.deliver(now, owner, &route, hint, kind, held, mail);
        }
        let payload = self.payload(held);
        if mail
            .send(owner, Message::Packet { route, payload })
            .is_err()
        {
            self.stats
                .count_drop(DropReason::QueueTail, kind, held.len());
        }
        self.release(held);
    }

    /// A packet that another shard's client, or another relay through that shard, has for a key of
    /// ours.
    pub(super) fn packet_from_shard(
        &mut self,
        now: Time,
        from: ShardId,
        route: &Route,
        payload: Payload<'_>,
        mail: &mut impl Mailbox,
    ) {
        let kind = kind_of(payload.pieces().next().unwrap_or_default());
        let hint = self.memo.hint(&route.dst, route.dst_hash);
        self.deliver(now, from, route, hint, kind, Held::Mail(payload), mail);
    }

    /// A packet for a key of ours.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "the parts of one packet")]
    fn deliver(
        &mut self,
        now: Time,
        from: ShardId,
        route: &Route,
        hint: u32,
        kind: PacketKind,
        held: Held<'_>,
        mail: &mut impl Mailbox,
    ) {
        let found = if self.table.holds(hint, &route.dst) {
            Some(hint)
        } else {
            self.table.find(&route.dst, route.dst_hash)
        };
        let Some(index) = found else {
            return self.nowhere(now, from, route, kind, held, mail);
        };
        if hint != index {
            self.memo.note(&route.dst, index);
        }
        let record = &self.table[index];
        if !record.is_away() {
            let dst = record.active;
            return self.queue(now, dst, kind, &route.src, route.src_hash, held);
        }
        if record.forwarders == 0 || route.forwarded {
            return self.nowhere(now, from, route, kind, held, mail);
        }
        let uplink = UplinkId(record.preferred);
        self.forward(now, uplink, route, kind, held, mail);
    }

    /// Queues a packet for a client.
    #[inline]
    fn queue(
        &mut self,
        now: Time,
        dst: u32,
        kind: PacketKind,
        src: &NodePublic,
        src_hash: u64,
        held: Held<'_>,
    ) {
        let len = held.len() as u32;
        let place = match held {
            Held::Here { buffer, offset, .. } => Place::Buffer { buffer, offset },
            Held::Stored { chain, offset } => Place::Blocks {
                head: chain.head,
                offset,
            },
            Held::Mail(payload) => match self.store(&[], payload) {
                Some(chain) => Place::Blocks {
                    head: chain.head,
                    offset: 0,
                },
                None => return self.no_room(dst, kind, len as usize),
            },
        };
        let arrival = Arrival {
            dst,
            kind,
            src,
            src_hash,
            place,
            len,
            key_bytes: 0,
        };
        let conn = &mut self.conns[dst];
        let pushed = (self.queues).push(now, &mut conn.out, &arrival, &mut self.stats);
        // A flow that was there may be what its sender left behind before it came back.
        let to_note = match pushed {
            Pushed::NewFlow => true,
            Pushed::Queued => conn.heard.has_departures(),
            Pushed::Dropped => false,
        };
        if to_note && !self.heard.note(&mut conn.heard, dst, src, src_hash) {
            self.stats.heard_full += 1;
        }
        self.mark_writable(dst);
    }

    /// Hands a packet to another relay.
    fn forward(
        &mut self,
        now: Time,
        uplink: UplinkId,
        route: &Route,
        kind: PacketKind,
        held: Held<'_>,
        mail: &mut impl Mailbox,
    ) {
        self.stats.packets_forwarded_out += 1;
        let owner = self.config.uplink_owner(uplink);
        if owner == self.config.shard {
            let (src, dst) = (&route.src, &route.dst);
            return self.queue_uplink(now, uplink, kind, src, route.src_hash, dst, held);
        }
        let payload = self.payload(held);
        let forward = Message::Forward {
            uplink,
            src: route.src,
            src_hash: route.src_hash,
            dst: route.dst,
            payload,
        };
        if mail.send(owner, forward).is_err() {
            self.stats
                .count_drop(DropReason::QueueTail, kind, held.len());
        }
        self.release(held);
    }

    /// Queues a packet for an uplink that this shard runs.
    #[expect(clippy::too_many_arguments, reason = "the parts of one packet")]
    pub(super) fn queue_uplink(
        &mut self,
        now: Time,
        uplink: UplinkId,
        kind: PacketKind,
        src: &NodePublic,
        src_hash: u64,
        dst: &NodePublic,
        held: Held<'_>,
    ) {
        let Some(slot) = self.uplink_slot(uplink) else {
            self.stats
                .count_drop(DropReason::GoneDisconnected, kind, held.len());
            return self.release(held);
        };
        let key_len = KEY_LEN as u32;
        let place = match held {
            Held::Here { buffer, offset, .. } => Place::Buffer {
                buffer,
                offset: offset - key_len,
            },
            Held::Stored { chain, offset } => Place::Blocks {
                head: chain.head,
                offset: offset - key_len,
            },
            Held::Mail(payload) => match self.store(&dst.0, payload) {
                Some(chain) => Place::Blocks {
                    head: chain.head,
                    offset: 0,
                },
                None => return self.no_room(slot, kind, held.len()),
            },
        };
        let arrival = Arrival {
            dst: slot,
            kind,
            src,
            src_hash,
            place,
            len: held.len() as u32 + key_len,
            key_bytes: KEY_LEN as u8,
        };
        let out = &mut self.conns[slot].out;
        self.queues.push(now, out, &arrival, &mut self.stats);
        self.mark_writable(slot);
    }

    /// Nobody has the key that the packet is for. The sender is told, if the packet was disco: then it
    /// looks for a path, and should look elsewhere.
    fn nowhere(
        &mut self,
        now: Time,
        from: ShardId,
        route: &Route,
        kind: PacketKind,
        held: Held<'_>,
        mail: &mut impl Mailbox,
    ) {
        let reason = if route.forwarded {
            DropReason::UnknownDestOnFwd
        } else {
            DropReason::UnknownDest
        };
        self.stats.count_drop(reason, kind, held.len());
        self.release(held);
        if kind != PacketKind::Disco {
            return;
        }
        if from == self.config.shard {
            return self.not_here(now, route.from, route.dst);
        }
        let not_here = Control::NotHere {
            to: route.from,
            key: route.dst,
        };
        if mail.send(from, Message::Control(not_here)).is_err() {
            self.stats.notices_lost += 1;
        }
    }

    /// Tells a client here that nobody has a key, if it was not told such things too often lately.
    pub(super) fn not_here(&mut self, now: Time, to: ConnId, key: NodePublic) {
        let Ok(slot) = self.slot(to) else {
            return;
        };
        let conn = &mut self.conns[slot];
        if !conn.not_here_rate.allow(now) {
            return;
        }
        if conn.notes.count >= QUEUE_NOT_HERE_MAX as u32 || !self.note(to, Note::NotHere(key)) {
            self.stats.notices_lost += 1;
        }
    }

    #[cold]
    fn no_room(&mut self, dst: u32, kind: PacketKind, len: usize) {
        self.conns[dst].out.dropped += 1;
        self.stats.count_drop(DropReason::QueueTail, kind, len);
    }

    /// Copies a packet out of the mailbox, behind `prefix`.
    fn store(&mut self, prefix: &[u8], payload: Payload<'_>) -> Option<Chain> {
        let blocks = &mut self.queues.blocks;
        let mut chain = Chain::EMPTY;
        let mut stored = blocks.append(&mut chain, prefix);
        for piece in payload.pieces() {
            stored = stored && blocks.append(&mut chain, piece);
        }
        if !stored {
            blocks.release(chain.head);
        }
        stored.then_some(chain)
    }

    fn payload<'a>(&'a self, held: Held<'a>) -> Payload<'a> {
        match held {
            Held::Here { bytes, .. } => Payload::from(bytes),
            Held::Stored { chain, offset } => {
                let len = chain.len - offset;
                Payload::chained(
                    len as usize,
                    self.queues.blocks.pieces(chain.head, offset, len),
                )
            }
            Held::Mail(payload) => payload,
        }
    }

    fn release(&mut self, held: Held<'_>) {
        if let Held::Stored { chain, .. } = held {
            self.queues.blocks.release(chain.head);
        }
    }

    /// Whether a connection is a client of ours (and not an uplink).
    pub(super) fn is_client(&self, slot: u32) -> bool {
        matches!(self.conns[slot].role, Role::Client { .. })
    }
}

impl<'a> Body<'a> {
    /// The packet in the body, after keys of `key_bytes` bytes.
    #[inline]
    fn packet(self, key_bytes: usize) -> Held<'a> {
        match self {
            Self::Here {
                buffer,
                offset,
                bytes,
            } => Held::Here {
                buffer,
                offset: offset + key_bytes as u32,
                bytes: &bytes[key_bytes..],
            },
            Self::Stored(chain) => Held::Stored {
                chain,
                offset: key_bytes as u32,
            },
        }
    }
}

/// `start` is the packet, or enough of it.
#[inline]
pub(super) fn kind_of(start: &[u8]) -> PacketKind {
    if disco::is_disco(start) {
        PacketKind::Disco
    } else {
        PacketKind::Other
    }
}
