//! One turn of one shard: mail, bytes and time go in; frames and effects come out.

use std::collections::VecDeque;

use towline_derp::relay::{
    BufferId, Buffers, ConnId, Effect, FRAME_BUF_BYTES_MIN, FrameBuf, Mailbox, MailboxFull,
    Message, Shard, ShardId,
};

use super::{End, Far, Net, Relay};

/// The receive buffers of a turn. They are overwritten when it ends.
#[derive(Default)]
struct TurnBuffers(Vec<Vec<u8>>);

impl Buffers for TurnBuffers {
    fn bytes(&self, buffer: BufferId) -> &[u8] {
        &self.0[buffer.0 as usize]
    }
}

/// A shard's way out: one bounded queue of encoded messages to each other shard.
pub(super) struct Mail<'a> {
    from: usize,
    boxes: &'a mut [VecDeque<(ShardId, Vec<u8>)>],
    room: usize,
}

impl Mailbox for Mail<'_> {
    fn send(&mut self, to: ShardId, message: Message<'_>) -> Result<(), MailboxFull> {
        assert_ne!(
            usize::from(to.0),
            self.from,
            "a shard writes no mail to itself"
        );
        let mailbox = &mut self.boxes[usize::from(to.0)];
        if mailbox.len() >= self.room {
            return Err(MailboxFull);
        }
        let mut record = vec![0; message.encoded_len()];
        assert_eq!(message.encode(&mut record), Some(record.len()));
        mailbox.push_back((ShardId(self.from as u16), record));
        Ok(())
    }
}

impl Net {
    pub(super) fn turn(&mut self, relay: usize, shard: usize) -> bool {
        let mut buffers = TurnBuffers::default();
        let mut moved = self.deliver_mail(relay, shard);
        moved |= self.deliver_bytes(relay, shard, &mut buffers);
        moved |= self.deliver_time(relay, shard);
        // Before and after writing: what is closed must not be written to for long.
        moved |= self.apply_effects(relay, shard);
        moved |= self.write_out(relay, shard, &buffers);
        self.relays[relay].shards[shard].settle(&buffers);
        for buffer in &mut buffers.0 {
            buffer.fill(0xee);
        }
        moved |= self.apply_effects(relay, shard);
        moved
    }

    fn deliver_mail(&mut self, relay: usize, shard: usize) -> bool {
        let count = self.relays[relay].mail[shard].len();
        let count = if count > 4 {
            1 + self.random.below(count)
        } else {
            count
        };
        for _ in 0..count {
            let Some((from, record)) = self.relays[relay].mail[shard].pop_front() else {
                break;
            };
            let (shard, mut mail) = self.relays[relay].split(shard);
            let message = Message::decode(&record).unwrap();
            shard.handle_message(self.now, from, message, &mut mail);
        }
        count > 0
    }

    fn deliver_bytes(&mut self, relay: usize, shard: usize, buffers: &mut TurnBuffers) -> bool {
        let mut readable: Vec<ConnId> = (self.relays[relay].sockets[shard].iter())
            .filter(|(_, socket)| !socket.paused && !socket.inbound.is_empty())
            .map(|(conn, _)| *conn)
            .collect();
        readable.sort_by_key(|conn| conn.slot);
        self.random.shuffle(&mut readable);
        for conn in &readable {
            let max = self.chunk_bytes_max;
            let socket = (self.relays[relay].sockets[shard].get_mut(conn)).unwrap();
            let len = socket.inbound.len().min(1 + self.random.below(max));
            let offset = self.random.below(9);
            let mut bytes = vec![0xdd; offset];
            bytes.extend(socket.inbound.drain(..len));
            let buffer = BufferId(buffers.0.len() as u32);
            buffers.0.push(bytes);
            let bytes = &buffers.0[buffer.0 as usize];
            // A buffer holds several TLS records, and each is handed in by itself.
            let middle = offset + self.random.below(len + 1);
            for (start, end) in [(offset, middle), (middle, bytes.len())] {
                let (shard_ref, mut mail) = self.relays[relay].split(shard);
                let part = &bytes[start..end];
                let result =
                    shard_ref.handle_bytes(self.now, *conn, buffer, start, part, &mut mail);
                if let Err(error) = result {
                    self.end_far(relay, shard, *conn, End::Error(error));
                    break;
                }
            }
        }
        !readable.is_empty()
    }

    fn deliver_time(&mut self, relay: usize, shard: usize) -> bool {
        let (shard, mut mail) = self.relays[relay].split(shard);
        let due = shard.poll_timeout().is_some_and(|at| at <= self.now);
        if due {
            shard.handle_timeout(self.now, &mut mail);
        }
        due
    }

    fn write_out(&mut self, relay: usize, shard: usize, buffers: &TurnBuffers) -> bool {
        let mut writable = Vec::new();
        while let Some(conn) = self.relays[relay].shards[shard].poll_writable() {
            writable.push(conn);
        }
        for (conn, socket) in &mut self.relays[relay].sockets[shard] {
            if core::mem::take(&mut socket.blocked) && !writable.contains(conn) {
                writable.push(*conn);
            }
        }
        writable.sort_by_key(|conn| conn.slot);
        self.random.shuffle(&mut writable);
        let mut moved = false;
        for conn in writable {
            moved |= self.write_conn(relay, shard, conn, buffers);
        }
        moved
    }

    fn write_conn(
        &mut self,
        relay: usize,
        shard: usize,
        conn: ConnId,
        buffers: &TurnBuffers,
    ) -> bool {
        let Some(socket) = self.relays[relay].sockets[shard].get(&conn) else {
            return false;
        };
        let far = socket.far;
        let mut moved = false;
        let mut records = 1 + self.random.below(4);
        loop {
            let room = match far {
                Far::Peer(peer) => self.clients[peer].room.unwrap_or(usize::MAX),
                Far::Relay(..) => usize::MAX,
            };
            let most = (FRAME_BUF_BYTES_MIN + self.random.below(16 << 10)).min(room);
            if most < FRAME_BUF_BYTES_MIN || records == 0 {
                let socket = self.relays[relay].sockets[shard].get_mut(&conn).unwrap();
                // A socket without room is written to again when `set_room` gives it some.
                socket.blocked = most >= FRAME_BUF_BYTES_MIN;
                return moved;
            }
            records -= 1;
            let mut bytes = vec![0; most];
            let mut out = FrameBuf::new(&mut bytes);
            let shard_ref = &mut self.relays[relay].shards[shard];
            let more = shard_ref.write_frames(self.now, conn, buffers, &mut out);
            assert!(
                !more || !out.is_empty(),
                "an empty buffer always takes something"
            );
            moved |= !out.is_empty();
            let written = out.written().to_vec();
            match far {
                Far::Peer(peer) => self.clients[peer].receive(&written),
                Far::Relay(relay, shard, conn) => {
                    if let Some(socket) = self.relays[relay].sockets[shard].get_mut(&conn) {
                        socket.inbound.extend(&written);
                    }
                }
            }
            if !more {
                return moved;
            }
        }
    }

    fn apply_effects(&mut self, relay: usize, shard: usize) -> bool {
        let mut moved = false;
        while let Some(effect) = self.relays[relay].shards[shard].poll_effect() {
            moved = true;
            let sockets = &mut self.relays[relay].sockets[shard];
            match effect {
                Effect::Close { conn, reason } => {
                    self.end_far(relay, shard, conn, End::Closed(reason));
                }
                Effect::PauseReads { conn } => {
                    if let Some(socket) = sockets.get_mut(&conn) {
                        assert!(!socket.paused, "paused twice");
                        socket.paused = true;
                    }
                }
                Effect::ResumeReads { conn } => {
                    if let Some(socket) = sockets.get_mut(&conn) {
                        assert!(socket.paused, "resumed without a pause");
                        socket.paused = false;
                    }
                }
            }
        }
        moved
    }
}

impl Relay {
    pub(super) fn split(&mut self, shard: usize) -> (&mut Shard, Mail<'_>) {
        let mail = Mail {
            from: shard,
            boxes: &mut self.mail,
            room: self.mail_room,
        };
        (&mut self.shards[shard], mail)
    }
}
