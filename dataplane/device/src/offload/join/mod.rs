//! Joins neighbours of a flow into super-packets for one write to the TUN device.
//!
//! The kernel's own rules for receive offload (`tcp_gro_receive`, `udp_gro_receive`), and stricter: cutting a join must
//! give back its packets. Payload is not touched, only its place is kept. A packet that breaks the rules, or is of its
//! flow but not understood, ends the flow's join, so that nothing of a flow overtakes what came before it.
//!
//! A checksum is verified when a packet opens a join or enters one, because the kernel will not look at it again; what
//! can only go by itself (no payload, or a push that ends what it would begin) is left to the kernel.

mod flow;
mod item;
mod open;
mod segment;

use flow::{Flow, Seen};
use item::Item;
use open::OpenJoins;
use segment::Segment;

use towline_io::packet::Piece;

use super::ip::Transport;
use super::vnet::VNET_HEADER_BYTES;

/// What the TUN device takes in super-packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JoinOffload {
    /// TCP segments (`TUN_F_TSO4` and `TUN_F_TSO6`).
    pub tcp: bool,
    /// UDP datagrams (`TUN_F_USO4` and `TUN_F_USO6`).
    pub udp: bool,
}

impl JoinOffload {
    const fn allows(self, transport: Transport) -> bool {
        match transport {
            Transport::Tcp => self.tcp,
            Transport::Udp => self.udp,
        }
    }
}

/// Joins the packets of one batch. It is reused: it grows with the largest batch, and allocates nothing after that.
#[derive(Debug)]
pub struct Joiner {
    offload: JoinOffload,
    /// What will be written, in the order of first packets.
    items: Vec<Item>,
    pieces: Pieces,
    open: OpenJoins,
    /// The pieces of one item, while they are handed out.
    handed: Vec<Piece>,
}

impl Joiner {
    /// An empty joiner.
    #[must_use]
    pub fn new(offload: JoinOffload) -> Self {
        Self {
            offload,
            items: Vec::new(),
            pieces: Pieces::default(),
            open: OpenJoins::default(),
            handed: Vec::new(),
        }
    }

    /// Whether there is nothing to hand out.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes a packet. `packet` is the inner IP packet, without padding, which lies in receive buffer `buffer` at
    /// `start` and stays there until it is flushed.
    pub fn add(&mut self, packet: &[u8], buffer: u32, start: u32) {
        let piece = Piece {
            buffer,
            start,
            len: packet.len() as u32,
        };
        match flow::of(packet) {
            Seen::Flow(flow, transport) if self.offload.allows(transport) => {
                self.add_to_flow(&flow, transport, packet, piece);
            }
            Seen::Flow(..) => self.alone(piece),
            Seen::Other(addresses) => {
                if let Some(addresses) = addresses {
                    self.open.close_between(&addresses);
                }
                self.alone(piece);
            }
        }
    }

    /// Hands out every join and every packet that could not be joined, those of one flow in their order: header (vnet
    /// header, and IP and transport headers of a join) and the pieces to be written behind it. Empties the joiner.
    pub fn flush(&mut self, mut write: impl FnMut(&[u8], &[Piece])) {
        for item in &mut self.items {
            self.handed.clear();
            self.pieces.of(item.first_piece, &mut self.handed);
            match item.finish() {
                Some(header) => {
                    let headers = header.len() - VNET_HEADER_BYTES;
                    for piece in &mut self.handed {
                        piece.start += headers as u32;
                        piece.len -= headers as u32;
                    }
                    write(header, &self.handed);
                }
                None => write(&[0; VNET_HEADER_BYTES], &self.handed),
            }
        }
        self.items.clear();
        self.pieces.clear();
        self.open.clear();
    }

    /// A packet follows in the open join of its flow, or ends that and begins another one, or goes by itself.
    fn add_to_flow(&mut self, flow: &Flow, transport: Transport, packet: &[u8], piece: Piece) {
        let segment = Segment::parse(flow.version(), transport, packet);
        if let Some(open) = self.open.find(flow) {
            let item = self.open.item(open);
            let extended =
                segment.is_some_and(|segment| self.extend(item, &segment, packet, piece));
            if !extended || self.items[item].is_full() {
                self.open.close(open);
            }
            if extended {
                return;
            }
        }
        match segment {
            Some(segment) if !segment.ends && segment.is_correct(packet) => {
                self.open.insert(*flow, self.items.len());
                let piece = self.pieces.push(piece);
                self.items.push(Item::join(&segment, packet, piece));
            }
            _ => self.alone(piece),
        }
    }

    /// Adds a packet to a join, if it follows there and is as it was sent.
    fn extend(&mut self, item: usize, segment: &Segment, packet: &[u8], piece: Piece) -> bool {
        let item = &mut self.items[item];
        let follows = item.is_followed_by(segment, packet) && segment.is_correct(packet);
        if follows {
            let last = self.pieces.push_behind(item.last_piece, piece);
            item.extend(segment, packet, last);
        }
        follows
    }

    fn alone(&mut self, piece: Piece) {
        let piece = self.pieces.push(piece);
        self.items.push(Item::alone(piece));
    }
}

/// The packets of all items, each chained to the next one of its item.
#[derive(Debug, Default)]
struct Pieces(Vec<(Piece, u32)>);

impl Pieces {
    const NONE: u32 = u32::MAX;

    fn push(&mut self, piece: Piece) -> u32 {
        let index = self.0.len() as u32;
        self.0.push((piece, Self::NONE));
        index
    }

    fn push_behind(&mut self, before: u32, piece: Piece) -> u32 {
        let index = self.push(piece);
        self.0[before as usize].1 = index;
        index
    }

    fn of(&self, first: u32, into: &mut Vec<Piece>) {
        let mut index = first;
        while let Some((piece, next)) = self.0.get(index as usize) {
            into.push(*piece);
            index = *next;
        }
    }

    fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests;
