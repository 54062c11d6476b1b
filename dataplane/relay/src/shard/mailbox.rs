//! Byte rings between shards: how a `Message` reaches the thread that owns its destination.
//!
//! One single-producer ring for each ordered pair of shards. A record is its length (`u32`), then the encoded message. The
//! reader is woken when a portion of a turn is in the ring, not for each record.

use rtrb::{Consumer, Producer, RingBuffer};
use towline_derp::relay::{MESSAGE_HEAD_BYTES_MAX, Mailbox, MailboxFull, Message, ShardId};
use towline_io::Waker;
use towline_wire::limits::PACKET_BYTES_MAX;

/// The most bytes in flight between two shards. Beyond it packets are dropped and counted; memory is touched as used, and in
/// the long run all of it.
pub(super) const RING_BYTES_MAX: usize = 4 << 20;
const RING_BYTES_MIN: usize = 1 << 20;
/// The rings to one shard have this together while they are not the smallest.
const RINGS_BYTES: usize = 16 << 20;

/// Bytes taken from one shard before they are written: what one send can carry to one connection. More would only move the
/// wait from the ring to that connection's queue, and overflow it.
pub(super) const TAKEN_BYTES_MAX: usize = 64 << 10;

/// What one receive can bring for another shard: a buffer full of small packets (with shared buffers, four times the
/// size of one), each twice as long in the ring, and the packet that it ends.
const RECEIVE_BYTES: usize = 768 << 10;

/// No record is longer.
const RECORD_BYTES_MAX: usize = MESSAGE_HEAD_BYTES_MAX + PACKET_BYTES_MAX;

const LEN_BYTES: usize = 4;

const _: () = assert!(RING_BYTES_MIN >= RECEIVE_BYTES + LEN_BYTES + RECORD_BYTES_MAX);

/// Bytes of each ring among so many shards, two at least.
fn ring_bytes(shards: usize) -> usize {
    (RINGS_BYTES / (shards - 1)).clamp(RING_BYTES_MIN, RING_BYTES_MAX)
}

/// What one shard writes to the others.
pub(super) struct Outboxes {
    to: Vec<Option<Outbox>>,
}

struct Outbox {
    ring: Producer<u8>,
    waker: Option<Waker>,
    has_news: bool,
}

/// What the others wrote to one shard.
pub(super) struct Inboxes {
    from: Vec<Option<Inbox>>,
    record: Box<[u8]>,
}

struct Inbox {
    ring: Consumer<u8>,
    /// Length of the record whose length was read but not yet its bytes.
    pending: Option<usize>,
}

/// The ends of all rings among `shards` shards, one pair for each shard.
pub(super) fn mesh_of_rings(shards: u16) -> Vec<(Outboxes, Inboxes)> {
    let shards = usize::from(shards);
    let mut ends: Vec<_> = (0..shards)
        .map(|_| {
            let inboxes = Inboxes {
                from: Vec::new(),
                record: vec![0; RECORD_BYTES_MAX].into(),
            };
            (Outboxes { to: Vec::new() }, inboxes)
        })
        .collect();
    for writer in 0..shards {
        for reader in 0..shards {
            let (outbox, inbox) = if writer == reader {
                (None, None)
            } else {
                let (producer, consumer) = RingBuffer::new(ring_bytes(shards));
                (
                    Some(Outbox {
                        ring: producer,
                        waker: None,
                        has_news: false,
                    }),
                    Some(Inbox {
                        ring: consumer,
                        pending: None,
                    }),
                )
            };
            ends[writer].0.to.push(outbox);
            ends[reader].1.from.push(inbox);
        }
    }
    ends
}

impl Outboxes {
    /// Names the wakers of all shards, once they run.
    pub(super) fn set_wakers(&mut self, wakers: &[Waker]) {
        for (outbox, waker) in self.to.iter_mut().zip(wakers) {
            if let Some(outbox) = outbox {
                outbox.waker = Some(waker.clone());
            }
        }
    }

    /// Whether all rings have room for what one receive can bring.
    pub(super) fn have_room(&self) -> bool {
        (self.to.iter().flatten()).all(|outbox| {
            outbox.ring.cached_slots() >= RECEIVE_BYTES || outbox.ring.slots() >= RECEIVE_BYTES
        })
    }

    /// Wakes the shards that were written to since the last call.
    pub(super) fn wake_readers(&mut self) {
        for outbox in self.to.iter_mut().flatten() {
            if core::mem::take(&mut outbox.has_news)
                && let Some(waker) = &outbox.waker
            {
                waker.wake();
            }
        }
    }
}

impl Mailbox for Outboxes {
    fn send(&mut self, to: ShardId, message: Message<'_>) -> Result<(), MailboxFull> {
        let outbox = self
            .to
            .get_mut(usize::from(to.0))
            .and_then(Option::as_mut)
            .ok_or(MailboxFull)?;
        let head = message.head();
        let payload_len = message.payload().map_or(0, |payload| payload.len());
        let len = head.as_bytes().len() + payload_len;
        if outbox.ring.slots() < LEN_BYTES + len {
            return Err(MailboxFull);
        }
        let mut push = |bytes: &[u8]| {
            let (_, rest) = outbox.ring.push_partial_slice(bytes);
            debug_assert!(rest.is_empty(), "room was checked, and only we write");
        };
        push(&(len as u32).to_le_bytes());
        push(head.as_bytes());
        for piece in message
            .payload()
            .into_iter()
            .flat_map(|payload| payload.pieces())
        {
            push(piece);
        }
        outbox.has_news = true;
        Ok(())
    }
}

impl Inboxes {
    /// How many shards there are.
    pub(super) fn shards(&self) -> u16 {
        self.from.len() as u16
    }

    /// The next whole record from a shard.
    pub(super) fn next(&mut self, from: ShardId) -> Option<&[u8]> {
        let inbox = self.from.get_mut(usize::from(from.0))?.as_mut()?;
        let len = match inbox.pending {
            Some(len) => len,
            None => {
                let mut len = [0; LEN_BYTES];
                inbox.ring.pop_entire_slice(&mut len).ok()?;
                *inbox.pending.insert(u32::from_le_bytes(len) as usize)
            }
        };
        let record = self.record.get_mut(..len)?;
        inbox.ring.pop_entire_slice(record).ok()?;
        inbox.pending = None;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use towline_derp::relay::{Control, UplinkId};
    use towline_wire::NodePublic;

    #[test]
    fn many_shards_do_not_take_all_memory_for_their_rings() {
        let all = |shards| shards * (shards - 1) * ring_bytes(shards);
        assert_eq!(ring_bytes(2), RING_BYTES_MAX);
        assert!(all(16) <= 256 << 20);
        assert!(all(64) <= 4 << 30);
    }

    #[test]
    fn records_arrive_in_order_and_a_full_ring_refuses() {
        let mut ends = mesh_of_rings(2);
        let (_, mut inboxes) = ends.pop().unwrap();
        let (mut outboxes, _) = ends.pop().unwrap();
        let body = vec![7u8; 60_000];
        let packet = || Message::Forward {
            uplink: UplinkId(3),
            src: NodePublic([1; 32]),
            src_hash: 5,
            dst: NodePublic([2; 32]),
            payload: body.as_slice().into(),
        };
        let gone = Message::Control(Control::Gone {
            key: NodePublic([9; 32]),
        });
        for _ in 0..5 {
            let mut sent = 0;
            while outboxes.send(ShardId(1), packet()).is_ok() {
                sent += 1;
            }
            assert!(sent >= 8);
            for _ in 0..sent {
                let record = inboxes.next(ShardId(0)).unwrap();
                let Ok(Message::Forward { payload: got, .. }) = Message::decode(record) else {
                    panic!("another message came out");
                };
                assert_eq!(got.len(), body.len());
            }
            assert!(inboxes.next(ShardId(0)).is_none());
            outboxes.send(ShardId(1), gone).unwrap();
            let record = inboxes.next(ShardId(0)).unwrap();
            assert!(matches!(
                Message::decode(record),
                Ok(Message::Control(Control::Gone { .. }))
            ));
        }
        assert!(
            outboxes.send(ShardId(0), gone).is_err(),
            "no ring to oneself"
        );
    }
}
