//! Messages as bytes. The encoding never leaves the process: it has no version, and is only as strict
//! as it must be to fail cleanly.
//!
//! Layout: `kind: u8`, the fields in their order, numbers in little endian; for the two messages with a
//! packet, the packet is the rest of the record.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};

use towline_wire::NodePublic;
use towline_wire::frame::PresentFlags;

use super::{Control, Message, Presence, Route};
use crate::relay::{CloseReason, ConnId, Payload, UplinkId};

const PACKET: u8 = 0;
const FORWARD: u8 = 1;
const NOT_HERE: u8 = 2;
const GONE: u8 = 3;
const WATCH: u8 = 4;
const UNWATCH: u8 = 5;
const PRESENCE: u8 = 6;
const CLOSE: u8 = 7;
const CLOSE_PEER: u8 = 8;
const FORWARDER: u8 = 9;
const UPLINK_DOWN: u8 = 10;

/// No message is longer without its packet.
pub const MESSAGE_HEAD_BYTES_MAX: usize = 96;

/// A record that is no message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message of another shard")]
pub struct NotAMessage;

/// A message as bytes, without its packet.
#[derive(Debug, Clone, Copy)]
pub struct MessageHead {
    bytes: [u8; MESSAGE_HEAD_BYTES_MAX],
    len: usize,
}

impl<'a> Message<'a> {
    /// The packet in it.
    #[must_use]
    pub const fn payload(&self) -> Option<&Payload<'a>> {
        match self {
            Self::Packet { payload, .. } | Self::Forward { payload, .. } => Some(payload),
            Self::Control(_) => None,
        }
    }

    /// Everything that precedes the packet. A record is this, then the pieces of `payload`.
    #[must_use]
    pub fn head(&self) -> MessageHead {
        let mut head = MessageHead::new();
        match self {
            Self::Packet { route, .. } => {
                head.u8(PACKET).conn(route.from).bool(route.forwarded);
                head.key(&route.src).u64(route.src_hash);
                head.key(&route.dst).u64(route.dst_hash);
            }
            Self::Forward {
                uplink,
                src,
                src_hash,
                dst,
                ..
            } => {
                head.u8(FORWARD).u8(uplink.0).key(src).u64(*src_hash);
                head.key(dst);
            }
            Self::Control(control) => head.control(control),
        }
        head
    }

    /// Bytes of the whole record.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        self.head().len + self.payload().map_or(0, Payload::len)
    }

    /// Writes the record to the start of `out` and returns its length; `None` when `out` is too short.
    pub fn encode(&self, out: &mut [u8]) -> Option<usize> {
        let head = self.head();
        let (start, mut rest) = out.split_at_mut_checked(head.len)?;
        start.copy_from_slice(head.as_bytes());
        let mut len = head.len;
        for piece in self.payload().into_iter().flat_map(Payload::pieces) {
            let (start, end) = rest.split_at_mut_checked(piece.len())?;
            start.copy_from_slice(piece);
            rest = end;
            len += piece.len();
        }
        Some(len)
    }

    /// Reads a record; a packet in it is borrowed.
    ///
    /// # Errors
    /// It is no message.
    pub fn decode(record: &'a [u8]) -> Result<Self, NotAMessage> {
        let mut fields = Fields(record);
        Ok(match fields.u8()? {
            PACKET => Self::Packet {
                route: Route {
                    from: fields.conn()?,
                    forwarded: fields.bool()?,
                    src: fields.key()?,
                    src_hash: fields.u64()?,
                    dst: fields.key()?,
                    dst_hash: fields.u64()?,
                },
                payload: Payload::from(fields.0),
            },
            FORWARD => Self::Forward {
                uplink: UplinkId(fields.u8()?),
                src: fields.key()?,
                src_hash: fields.u64()?,
                dst: fields.key()?,
                payload: Payload::from(fields.0),
            },
            kind => Self::Control(fields.control(kind)?),
        })
    }
}

impl MessageHead {
    const fn new() -> Self {
        Self {
            bytes: [0; MESSAGE_HEAD_BYTES_MAX],
            len: 0,
        }
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    fn control(&mut self, control: &Control) {
        match control {
            Control::NotHere { to, key } => self.u8(NOT_HERE).conn(*to).key(key),
            Control::Gone { key } => self.u8(GONE).key(key),
            Control::Watch {
                watcher,
                restart,
                credit,
            } => self.u8(WATCH).conn(*watcher).bool(*restart).u32(*credit),
            Control::Unwatch { watcher } => self.u8(UNWATCH).conn(*watcher),
            Control::Presence { watcher, change } => {
                self.u8(PRESENCE).conn(*watcher).key(&change.key);
                match change.here {
                    Some((addr, flags)) => self.bool(true).u8(flags.0).addr(addr),
                    None => self.bool(false),
                }
            }
            Control::Close { conn, reason } => {
                self.u8(CLOSE).conn(*conn).u8(close_reason_code(*reason))
            }
            Control::ClosePeer { key } => self.u8(CLOSE_PEER).key(key),
            Control::Forwarder {
                uplink,
                key,
                present,
            } => self.u8(FORWARDER).u8(uplink.0).key(key).bool(*present),
            Control::UplinkDown { uplink } => self.u8(UPLINK_DOWN).u8(uplink.0),
        };
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
        self
    }

    fn u8(&mut self, value: u8) -> &mut Self {
        self.put(&[value])
    }

    fn bool(&mut self, value: bool) -> &mut Self {
        self.u8(u8::from(value))
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    fn key(&mut self, key: &NodePublic) -> &mut Self {
        self.put(&key.0)
    }

    fn conn(&mut self, conn: ConnId) -> &mut Self {
        self.u32(conn.slot).u32(conn.generation)
    }

    fn addr(&mut self, addr: SocketAddr) -> &mut Self {
        let ip = match addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        self.put(&ip.octets()).put(&addr.port().to_le_bytes())
    }
}

/// What is left of a record.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn control(&mut self, kind: u8) -> Result<Control, NotAMessage> {
        Ok(match kind {
            NOT_HERE => Control::NotHere {
                to: self.conn()?,
                key: self.key()?,
            },
            GONE => Control::Gone { key: self.key()? },
            WATCH => Control::Watch {
                watcher: self.conn()?,
                restart: self.bool()?,
                credit: self.u32()?,
            },
            UNWATCH => Control::Unwatch {
                watcher: self.conn()?,
            },
            PRESENCE => Control::Presence {
                watcher: self.conn()?,
                change: self.presence()?,
            },
            CLOSE => Control::Close {
                conn: self.conn()?,
                reason: close_reason(self.u8()?)?,
            },
            CLOSE_PEER => Control::ClosePeer { key: self.key()? },
            FORWARDER => Control::Forwarder {
                uplink: UplinkId(self.u8()?),
                key: self.key()?,
                present: self.bool()?,
            },
            UPLINK_DOWN => Control::UplinkDown {
                uplink: UplinkId(self.u8()?),
            },
            _ => return Err(NotAMessage),
        })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], NotAMessage> {
        let (field, rest) = self.0.split_first_chunk().ok_or(NotAMessage)?;
        self.0 = rest;
        Ok(*field)
    }

    fn u8(&mut self) -> Result<u8, NotAMessage> {
        Ok(self.take::<1>()?[0])
    }

    fn bool(&mut self) -> Result<bool, NotAMessage> {
        Ok(self.u8()? != 0)
    }

    fn u32(&mut self) -> Result<u32, NotAMessage> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, NotAMessage> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn key(&mut self) -> Result<NodePublic, NotAMessage> {
        Ok(NodePublic(self.take()?))
    }

    fn conn(&mut self) -> Result<ConnId, NotAMessage> {
        Ok(ConnId {
            slot: self.u32()?,
            generation: self.u32()?,
        })
    }

    fn presence(&mut self) -> Result<Presence, NotAMessage> {
        let key = self.key()?;
        let here = if self.bool()? {
            let flags = PresentFlags(self.u8()?);
            let ip = Ipv6Addr::from(self.take::<16>()?).to_canonical();
            let port = u16::from_le_bytes(self.take()?);
            Some((SocketAddr::new(ip, port), flags))
        } else {
            None
        };
        Ok(Presence { key, here })
    }
}

const CLOSE_REASONS: [CloseReason; 9] = [
    CloseReason::Kicked,
    CloseReason::ClosedByMesh,
    CloseReason::TooManyDuplicates,
    CloseReason::WatcherLags,
    CloseReason::TooManyWatchers,
    CloseReason::MeshBacklog,
    CloseReason::UplinkSilent,
    CloseReason::OutOfStorage,
    CloseReason::FrameUnfinished,
];

fn close_reason_code(reason: CloseReason) -> u8 {
    CLOSE_REASONS
        .iter()
        .position(|r| *r == reason)
        .map_or(u8::MAX, |code| code as u8)
}

fn close_reason(code: u8) -> Result<CloseReason, NotAMessage> {
    CLOSE_REASONS
        .get(usize::from(code))
        .copied()
        .ok_or(NotAMessage)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::relay::blocks::{Blocks, Chain};

    const KEY: NodePublic = NodePublic([0xab; 32]);
    const CONN: ConnId = ConnId {
        slot: 0x0102_0304,
        generation: 0xf0f1_f2f3,
    };

    fn controls() -> Vec<Control> {
        let key = KEY;
        let uplink = UplinkId(63);
        let watcher = CONN;
        let here = |addr: &str| Some((addr.parse().unwrap(), PresentFlags(12)));
        let mut controls = vec![
            Control::NotHere { to: CONN, key },
            Control::Gone { key },
            Control::Watch {
                watcher,
                restart: true,
                credit: 77,
            },
            Control::Unwatch { watcher },
            Control::ClosePeer { key },
            Control::Forwarder {
                uplink,
                key,
                present: false,
            },
            Control::UplinkDown { uplink },
        ];
        controls.extend(CLOSE_REASONS.map(|reason| Control::Close { conn: CONN, reason }));
        let changes = [None, here("192.0.2.1:443"), here("[2001:db8::1]:1")];
        controls.extend(changes.map(|here| Control::Presence {
            watcher,
            change: Presence { key, here },
        }));
        controls
    }

    fn encoded(message: &Message<'_>) -> Vec<u8> {
        let mut record = vec![0; message.encoded_len()];
        assert_eq!(message.encode(&mut record), Some(record.len()));
        let mut short = vec![0; record.len() - 1];
        assert_eq!(message.encode(&mut short), None);
        record
    }

    fn packet(payload: Payload<'_>) -> Message<'_> {
        let route = Route {
            from: CONN,
            forwarded: true,
            src: KEY,
            src_hash: 1 << 60,
            dst: NodePublic([0xcd; 32]),
            dst_hash: 1 << 50,
        };
        Message::Packet { route, payload }
    }

    #[test]
    fn messages_without_a_packet_are_read_as_they_were_written() {
        for control in controls() {
            let record = encoded(&Message::Control(control));
            match Message::decode(&record) {
                Ok(Message::Control(read)) => assert_eq!(read, control),
                other => panic!("{other:?}"),
            }
            for len in 0..record.len() {
                assert!(
                    Message::decode(&record[..len]).is_err(),
                    "{control:?} cut at {len}"
                );
            }
        }
    }

    #[test]
    fn packets_are_carried_in_one_piece_or_in_several() {
        let bytes: Vec<u8> = (0..3000).map(|i| (i % 251) as u8).collect();
        let mut blocks = Blocks::new(1 << 14);
        let mut chain = Chain::EMPTY;
        assert!(blocks.append(&mut chain, &bytes));
        let pieces = blocks.pieces(chain.head, 32, chain.len - 32);
        let chained = Payload::chained(bytes.len() - 32, pieces);
        let record = encoded(&packet(chained));
        assert!(record == encoded(&packet(Payload::from(&bytes[32..]))));
        let Ok(Message::Packet { route, payload }) = Message::decode(&record) else {
            panic!("a packet");
        };
        assert_eq!(Some(route), packet_route(&packet(payload)));
        assert!(payload.pieces().eq([&bytes[32..]]));

        let forward = Message::Forward {
            uplink: UplinkId(3),
            src: KEY,
            src_hash: 5,
            dst: route.dst,
            payload,
        };
        let record = encoded(&forward);
        assert!(matches!(
            Message::decode(&record),
            Ok(Message::Forward { uplink: UplinkId(3), src: KEY, src_hash: 5, payload, .. })
                if payload.len() == 2968
        ));
    }

    fn packet_route(message: &Message<'_>) -> Option<Route> {
        match message {
            Message::Packet { route, .. } => Some(*route),
            _ => None,
        }
    }

    proptest! {
        #[test]
        fn no_record_is_read_out_of_its_bounds(record in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(message) = Message::decode(&record) {
                prop_assert!(message.encoded_len() <= record.len() + MESSAGE_HEAD_BYTES_MAX);
            }
        }
    }
}
