//! Reading frames: bytes of a stream become frames, wherever they were cut.
//!
//! A frame that lies whole in the bytes at hand is handled where it lies. One that goes on in bytes to
//! come is put together in blocks, so that no connection needs a buffer of its own. Lengths are checked
//! by the header, before anything is kept; frames that mean nothing to us are skipped at any length.

use towline_wire::Time;
use towline_wire::frame::{
    BodyBytes, ClosePeer, ForwardPacket, FrameType, HEADER_LEN, Header, NotePreferred, PeerGone,
    PeerPresent, Ping, SendPacket, WatchConns,
};
use towline_wire::limits::{FRAME_BODY_BYTES_MAX, UNFINISHED_SHARE};

use super::blocks::{Blocks, Chain};
use super::buffers::BufferId;
use super::conn::Role;
use super::mailbox::Mailbox;
use super::stats::{DropReason, PacketKind};
use super::{CloseReason, ConnError, Shard};

/// The body of a frame, as far as it is kept.
#[derive(Debug, Clone, Copy)]
pub(super) enum Body<'a> {
    /// In a receive buffer.
    Here {
        buffer: BufferId,
        offset: u32,
        bytes: &'a [u8],
    },
    /// In blocks, to be given back by whoever handles the frame.
    Stored(Chain),
}

impl Body<'_> {
    #[inline]
    pub(super) const fn len(&self) -> usize {
        match self {
            Self::Here { bytes, .. } => bytes.len(),
            Self::Stored(chain) => chain.len as usize,
        }
    }

    /// The start of the body, at least as long as a block if the body is.
    #[inline]
    pub(super) fn start<'b>(&'b self, blocks: &'b Blocks) -> &'b [u8] {
        match self {
            Self::Here { bytes, .. } => bytes,
            Self::Stored(chain) => (blocks.pieces(chain.head, 0, chain.len))
                .next()
                .unwrap_or_default(),
        }
    }
}

/// What to do with the body of a frame.
struct Shape {
    /// Bytes to keep, then handle.
    keep: u32,
    /// Bytes to skip after them.
    skip: u32,
    /// Nothing is handled.
    ignored: bool,
}

impl Shard {
    /// Takes all of `bytes`, which lie at `offset` of `buffer`.
    pub(super) fn read(
        &mut self,
        now: Time,
        slot: u32,
        buffer: BufferId,
        offset: usize,
        bytes: &[u8],
        mail: &mut impl Mailbox,
    ) -> Result<(), ConnError> {
        let mut at = 0;
        while at < bytes.len() && !self.conns[slot].closing {
            let rest = &bytes[at..];
            let idle = self.conns[slot].reader.is_idle();
            at += match rest.first_chunk::<HEADER_LEN>() {
                Some(header) if idle => {
                    let header = Header::parse(header);
                    let shape = self.shape(now, slot, header)?;
                    let end = HEADER_LEN + shape.keep as usize;
                    if let Some(body) = rest.get(HEADER_LEN..end) {
                        self.conns[slot].reader.skip = shape.skip;
                        if !shape.ignored {
                            let body = Body::Here {
                                buffer,
                                offset: (offset + at + HEADER_LEN) as u32,
                                bytes: body,
                            };
                            self.handle_frame(now, slot, header.kind, body, mail);
                        }
                        end
                    } else {
                        self.start_body(slot, header, &shape);
                        HEADER_LEN
                    }
                }
                _ => self.read_part(now, slot, rest, mail)?,
            };
        }
        Ok(())
    }

    /// Goes on with a frame that was cut; returns how many bytes that took.
    fn read_part(
        &mut self,
        now: Time,
        slot: u32,
        bytes: &[u8],
        mail: &mut impl Mailbox,
    ) -> Result<usize, ConnError> {
        let reader = &mut self.conns[slot].reader;
        if usize::from(reader.header_len) == HEADER_LEN {
            return Ok(self.read_body(now, slot, bytes, mail));
        }
        if reader.header_len == 0 && reader.skip > 0 {
            let n = bytes.len().min(reader.skip as usize);
            reader.skip -= n as u32;
            return Ok(n);
        }
        let have = usize::from(reader.header_len);
        let n = bytes.len().min(HEADER_LEN - have);
        reader.header[have..have + n].copy_from_slice(&bytes[..n]);
        reader.header_len += n as u8;
        if usize::from(reader.header_len) == HEADER_LEN {
            let header = Header::parse(&reader.header);
            let shape = self.shape(now, slot, header)?;
            self.start_body(slot, header, &shape);
            if shape.keep == 0 {
                self.finish_body(now, slot, shape.ignored, mail);
            }
        }
        Ok(n)
    }

    fn start_body(&mut self, slot: u32, header: Header, shape: &Shape) {
        let reader = &mut self.conns[slot].reader;
        reader.header = header.write();
        reader.header_len = HEADER_LEN as u8;
        reader.keep = shape.keep;
        reader.skip = shape.skip;
        reader.body = Chain::EMPTY;
    }

    fn read_body(&mut self, now: Time, slot: u32, bytes: &[u8], mail: &mut impl Mailbox) -> usize {
        let reader = &mut self.conns[slot].reader;
        let n = bytes.len().min(reader.keep as usize);
        // Frames that are never finished must not take all storage, neither one nor all of them together.
        let unfinished_max = self.queues.blocks.bytes() / UNFINISHED_SHARE;
        if reader.body.len + n as u32 > self.queues.share()
            || self.unfinished_bytes + n > unfinished_max
            || !self.queues.blocks.append(&mut reader.body, &bytes[..n])
        {
            self.abandon_body(slot);
            return 0;
        }
        self.unfinished_bytes += n;
        reader.keep -= n as u32;
        if reader.keep == 0 {
            self.finish_body(now, slot, false, mail);
        }
        n
    }

    /// The frame is complete; bytes to be skipped may follow.
    fn finish_body(&mut self, now: Time, slot: u32, ignored: bool, mail: &mut impl Mailbox) {
        let reader = &mut self.conns[slot].reader;
        reader.header_len = 0;
        let kind = Header::parse(&reader.header).kind;
        let body = core::mem::replace(&mut reader.body, Chain::EMPTY);
        self.unfinished_bytes -= body.len as usize;
        if !ignored {
            self.handle_frame(now, slot, kind, Body::Stored(body), mail);
        }
    }

    /// There is no storage for the frame. The rest of a packet is skipped: packets may be lost. Without any other frame the
    /// connection would go on with something else than its peer believes, so it is closed.
    #[cold]
    fn abandon_body(&mut self, slot: u32) {
        let reader = &mut self.conns[slot].reader;
        let header = Header::parse(&reader.header);
        reader.header_len = 0;
        reader.skip += reader.keep;
        reader.keep = 0;
        let body = core::mem::replace(&mut reader.body, Chain::EMPTY);
        self.unfinished_bytes -= body.len as usize;
        self.queues.blocks.release(body.head);
        let key_bytes = match header.frame_type() {
            Some(FrameType::SendPacket) => SendPacket::BODY_BYTES.min,
            Some(FrameType::ForwardPacket) => ForwardPacket::BODY_BYTES.min,
            _ => return self.close(slot, CloseReason::OutOfStorage),
        };
        let bytes = header.len as usize - key_bytes;
        self.stats
            .count_drop(DropReason::QueueTail, PacketKind::Other, bytes);
    }

    /// What to do with a frame, by its header: whether it may come, and how much of it matters.
    #[inline]
    fn shape(&mut self, now: Time, slot: u32, header: Header) -> Result<Shape, ConnError> {
        let conn = &self.conns[slot];
        match conn.role {
            Role::Client { record } => {
                let mesh = conn.traits.mesh;
                if conn.duplicate {
                    self.spoke(now, record, slot);
                }
                if header.kind == FrameType::SendPacket as u8 {
                    return whole(FrameType::SendPacket, header.len, SendPacket::BODY_BYTES);
                }
                self.client_shape(mesh, header)
            }
            Role::Uplink(_) => uplink_shape(header),
            Role::Vacant => Err(ConnError::UnknownConn),
        }
    }

    fn client_shape(&mut self, mesh: bool, header: Header) -> Result<Shape, ConnError> {
        let needs_mesh = |frame| {
            if mesh {
                Ok(())
            } else {
                Err(ConnError::NotMesh(frame))
            }
        };
        match header.frame_type() {
            Some(frame @ FrameType::ForwardPacket) => {
                needs_mesh(frame)?;
                whole(frame, header.len, ForwardPacket::BODY_BYTES)
            }
            Some(frame @ FrameType::WatchConns) => {
                needs_mesh(frame)?;
                whole(frame, header.len, WatchConns::BODY_BYTES)
            }
            Some(frame @ FrameType::ClosePeer) => {
                needs_mesh(frame)?;
                whole(frame, header.len, ClosePeer::BODY_BYTES)
            }
            Some(frame @ FrameType::NotePreferred) => {
                whole(frame, header.len, NotePreferred::BODY_BYTES)
            }
            Some(frame @ FrameType::Ping) => {
                whole(frame, header.len, Ping::BODY_BYTES)?;
                Ok(first(Ping::FIELDS_BYTES, header.len))
            }
            _ => {
                self.stats.unknown_frames += 1;
                Ok(skipped(header.len))
            }
        }
    }
}

/// A frame of which all is kept.
#[inline]
const fn whole(frame: FrameType, len: u32, allowed: BodyBytes) -> Result<Shape, ConnError> {
    if !allowed.allow(len as usize) {
        return Err(ConnError::Length { frame, len });
    }
    Ok(Shape {
        keep: len,
        skip: 0,
        ignored: false,
    })
}

/// A frame of which only the first bytes matter.
const fn first(keep: usize, len: u32) -> Shape {
    let keep = if (keep as u32) < len {
        keep as u32
    } else {
        len
    };
    Shape {
        keep,
        skip: len - keep,
        ignored: false,
    }
}

const fn skipped(len: u32) -> Shape {
    Shape {
        keep: 0,
        skip: len,
        ignored: true,
    }
}

/// What another relay sends us as its client. As every client, we skip what we do not know, but no
/// frame of absurd length.
fn uplink_shape(header: Header) -> Result<Shape, ConnError> {
    let Header { kind, len } = header;
    if len as usize > FRAME_BODY_BYTES_MAX {
        return Err(ConnError::TooLong { kind, len });
    }
    Ok(match header.frame_type() {
        Some(FrameType::PeerPresent) => first(PeerPresent::FIELDS_BYTES, len),
        Some(FrameType::PeerGone) => first(PeerGone::FIELDS_BYTES, len),
        Some(FrameType::Ping) => first(Ping::FIELDS_BYTES, len),
        _ => skipped(len),
    })
}
