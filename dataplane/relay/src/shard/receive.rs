//! Receiving: what a socket brought goes through its connection's layers to the protocol, where it lies, a part at a time.
//! Called by the turn; the bytes stay where they are until the turn ends.

use std::io;
use std::ops::Range;

use towline_derp::relay::ConnId;
use towline_io::RecvBuf;
use towline_wire::limits::QUEUE_DATA_BYTES_MAX;
use tracing::debug;

use super::transport::{Flow, Place, TransportError};
use super::turn::Thread;

/// So much of a turn's receives is passed on before the rest is looked at: a turn can bring one destination more than its
/// queue may hold, and another shard more than the ring to it.
const PASS_ON_BYTES: usize = 512 << 10;

const _: () = assert!(PASS_ON_BYTES * 4 <= QUEUE_DATA_BYTES_MAX);

impl Thread {
    /// Takes in a receive, and passes on what came so far whenever it is much: one receive can bring more than the queue
    /// of its destination holds.
    pub(super) fn receive_in_parts(
        &mut self,
        id: ConnId,
        buf: RecvBuf,
        kept_bytes: &mut usize,
    ) -> io::Result<()> {
        let len = buf.len();
        let index = self.hold(buf);
        let mut at = 0;
        while at < len {
            self.wait_for_room()?;
            let end = len.min(at + PASS_ON_BYTES - *kept_bytes);
            self.receive(id, index, at..end);
            *kept_bytes += end - at;
            at = end;
            if *kept_bytes >= PASS_ON_BYTES {
                *kept_bytes = 0;
                self.pass_on()?;
            }
        }
        Ok(())
    }

    /// Keeps a receive until the turn ends; gives its place.
    pub(super) fn hold(&mut self, buf: RecvBuf) -> usize {
        self.held.push(buf);
        self.held.len() - 1
    }

    /// Takes in a part of a receive.
    pub(super) fn receive(&mut self, id: ConnId, index: usize, part: Range<usize>) {
        let conn = match self.conns.get_mut(id.slot as usize) {
            Some(Some(conn)) if conn.id == id => conn,
            _ => return,
        };
        let Self {
            core,
            driver,
            carries,
            held,
            outboxes,
            now,
            ..
        } = self;
        let start = part.start;
        let bytes = &mut driver.recv_bytes(&held[index])[part];
        let mut sink = |place: Place, offset: usize, bytes: &[u8]| {
            let offset = match place {
                Place::Receive(_) => start + offset,
                Place::Carry(_) => offset,
            };
            core.handle_bytes(*now, id, place.buffer(), offset, bytes, outboxes)
                .map_err(TransportError::from)
        };
        let received = conn
            .transport
            .receive(Place::Receive(index), bytes, carries, &mut sink);
        self.received(id, received);
    }

    pub(super) fn received(&mut self, id: ConnId, received: Result<Flow, TransportError>) {
        match received {
            Ok(Flow::Open) => {
                if self
                    .conn(id)
                    .is_some_and(|conn| conn.transport.has_output())
                {
                    self.ready.push(id);
                }
            }
            Ok(Flow::Ended) => self.close_politely(id),
            Err(error) => {
                debug!(shard = self.shard.0, slot = id.slot, %error, "connection closed for its error");
                self.close_politely(id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use towline_io::DriverKind;
    use towline_wire::NodePublic;
    use towline_wire::frame::SendPacket;

    use super::super::testing::{admitted, thread};
    use super::PASS_ON_BYTES;

    const PACKET_BYTES: usize = 1400;
    /// Packets of one sender: less than the kernel takes for a socket that nobody reads from.
    const PACKETS: usize = 30;
    const SENDERS: usize = 20;

    const _: () = assert!(SENDERS * PACKETS * PACKET_BYTES > PASS_ON_BYTES * 3 / 2);

    async fn a_turn_sends_what_all_its_parts_brought(kind: DriverKind) {
        let mut thread = thread(kind);
        let (_receiver, adopted) = admitted(1, false, 0).await;
        thread.adopt(adopted);
        let mut senders = Vec::new();
        for key in 0..SENDERS {
            let (sender, adopted) = admitted(10 + key as u8, false, 0).await;
            thread.adopt(adopted);
            senders.push(sender);
        }
        // What they are told first is sent, and what they say is waited for.
        for _ in 0..3 {
            thread.ready.push(thread.conns[0].as_ref().unwrap().id);
            thread.turn().unwrap();
        }
        let mut frames = Vec::new();
        for _ in 0..PACKETS {
            SendPacket {
                dst: NodePublic([1; 32]),
                packet: &[7; PACKET_BYTES],
            }
            .write(&mut frames);
        }
        for sender in &mut senders {
            sender.write_all(&frames).await.unwrap();
        }
        // One turn, unless the host is so busy that it sees less of them.
        let mut received = 0;
        while received < (SENDERS * PACKETS) as u64 {
            thread.turn().unwrap();
            let stats = thread.core.stats();
            received = stats.received.iter().map(|volume| volume.packets).sum();
            assert_eq!(stats.sent.packets, received);
        }
    }

    #[tokio::test]
    async fn a_turn_sends_what_all_its_parts_brought_by_epoll() {
        a_turn_sends_what_all_its_parts_brought(DriverKind::Epoll).await;
    }

    #[tokio::test]
    async fn a_turn_sends_what_all_its_parts_brought_by_uring() {
        a_turn_sends_what_all_its_parts_brought(DriverKind::Uring).await;
    }
}
