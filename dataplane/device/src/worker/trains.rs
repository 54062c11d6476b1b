//! Trains: packets for one peer, side by side in a send buffer, sealed together and sent in one call.
//!
//! A packet is written straight into its slot: room for the header, the packet, padding, room for the tag. The slots of a
//! train are equal but for the last, as the kernel wants them (UDP_SEGMENT). Used by `outbound`.

use towline_io::packet::{PacketDriver, SEGMENTS_MAX, SEND_BYTES_MAX};
use towline_io::{RecvBuf, SendBuf};
use towline_tunnel::{PeerId, Tunnel, Unsealed};
use towline_wire::Time;
use towline_wire::wireguard::{DATA_HEADER_LEN, PADDING, TAG_LEN};

use super::Counts;
use super::send::send;
use crate::offload::Cut;

/// Trains that are filled at the same time; more peers than that in one turn take turns.
const OPEN_MAX: usize = 32;

/// Which train a packet goes into: of which peer, with which congestion mark outside.
pub(super) type Key = (PeerId, u8);

/// How the TUN device's packet is cut.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) segments: usize,
    pub(super) segment_bytes: usize,
    pub(super) last_bytes: usize,
}

struct Train {
    peer: PeerId,
    ecn: u8,
    buf: SendBuf,
    len: usize,
    slot_bytes: usize,
    slots: usize,
    /// Its last slot is shorter: nothing fits behind it.
    closed: bool,
}

/// The trains that are being filled.
pub(super) struct Trains {
    open: Vec<Train>,
    /// Bytes that the interface carries: padding ends there, because a datagram of this much just fits the network.
    pub(super) mtu: usize,
}

/// What trains are sealed by and sent through.
pub(super) struct Track<'a> {
    pub(super) now: Time,
    pub(super) tunnel: &'a mut Tunnel,
    pub(super) driver: &'a mut PacketDriver,
    pub(super) counts: &'a mut Counts,
}

impl Trains {
    pub(super) fn new(mtu: usize) -> Self {
        Self {
            open: Vec::with_capacity(OPEN_MAX),
            mtu,
        }
    }

    /// Puts a packet into the train of a peer.
    pub(super) fn put(&mut self, track: &mut Track<'_>, key: Key, packet: &[u8]) {
        let slot_bytes = self.slot_bytes(packet.len());
        if slot_bytes > SEND_BYTES_MAX {
            track.counts.outbound_too_big += 1;
            return;
        }
        let Some(index) = self.train_for(track, key, slot_bytes) else {
            track.counts.outbound_no_buffer += 1;
            return;
        };
        let train = &mut self.open[index];
        let place = track.driver.send_bytes_mut(&train.buf);
        let slot = train.next_slot(place, slot_bytes);
        inner(slot, packet.len()).copy_from_slice(packet);
    }

    /// Cuts what the TUN device gave into the train of a peer.
    pub(super) fn put_cut(&mut self, track: &mut Track<'_>, key: Key, tun: &RecvBuf, shape: Shape) {
        let largest = shape.segment_bytes.max(shape.last_bytes);
        if self.slot_bytes(largest) > SEND_BYTES_MAX {
            track.counts.outbound_too_big += shape.segments as u64;
            return;
        }
        let mut next = 0;
        while next < shape.segments {
            let is_last = next + 1 == shape.segments;
            let bytes = if is_last {
                shape.last_bytes
            } else {
                shape.segment_bytes
            };
            let slot_bytes = self.slot_bytes(bytes);
            let Some(index) = self.train_for(track, key, slot_bytes) else {
                track.counts.outbound_no_buffer += (shape.segments - next) as u64;
                return;
            };
            let train = &mut self.open[index];
            let equal = if is_last {
                1
            } else {
                shape.segments - 1 - next
            };
            let end = next + equal.min(train.room(slot_bytes));
            let (place, received) = track.driver.send_bytes_and_received(&train.buf);
            // It was cut before, with success, to learn its shape.
            let Ok(cut) = Cut::new(received.bytes(tun)) else {
                return;
            };
            for segment in next..end {
                let slot = train.next_slot(place, slot_bytes);
                cut.write(segment, inner(slot, bytes));
            }
            next = end;
        }
    }

    /// Bytes of the slot of a packet. It is padded to a multiple of 16 (whitepaper, 5.4.6), but not beyond the MTU.
    fn slot_bytes(&self, packet_bytes: usize) -> usize {
        let padded = packet_bytes.next_multiple_of(PADDING);
        DATA_HEADER_LEN + padded.min(packet_bytes.max(self.mtu)) + TAG_LEN
    }

    /// The train that a slot of this size can follow in; the one before it leaves if it cannot. None without a buffer.
    fn train_for(
        &mut self,
        track: &mut Track<'_>,
        (peer, ecn): Key,
        slot_bytes: usize,
    ) -> Option<usize> {
        if let Some(index) = self.open.iter().position(|train| train.peer == peer) {
            let train = &self.open[index];
            let fits = !train.closed
                && train.ecn == ecn
                && slot_bytes <= train.slot_bytes
                && train.room(slot_bytes) > 0;
            if fits {
                return Some(index);
            }
            let train = self.open.swap_remove(index);
            depart(track, train);
        } else if self.open.len() == OPEN_MAX {
            let train = self.open.swap_remove(0);
            depart(track, train);
        }
        let buf = self.send_buffer(track, slot_bytes)?;
        self.open.push(Train {
            peer,
            ecn,
            buf,
            len: 0,
            slot_bytes,
            slots: 0,
            closed: false,
        });
        Some(self.open.len() - 1)
    }

    /// A free buffer that has room for a slot; those of other trains if there is no other.
    fn send_buffer(&mut self, track: &mut Track<'_>, slot_bytes: usize) -> Option<SendBuf> {
        let buf = track.driver.send_buffer().or_else(|| {
            self.depart_all(track);
            track.driver.flush().ok()?;
            track.driver.send_buffer()
        })?;
        if slot_bytes <= track.driver.send_bytes_mut(&buf).len() {
            return Some(buf);
        }
        track.driver.recycle_send(buf);
        None
    }

    /// Seals and sends what has gathered.
    pub(super) fn depart_all(&mut self, track: &mut Track<'_>) {
        for train in self.open.drain(..) {
            depart(track, train);
        }
    }
}

impl Train {
    /// How many further slots of this size fit.
    fn room(&self, slot_bytes: usize) -> usize {
        let bytes_left = SEND_BYTES_MAX.saturating_sub(self.len);
        (SEGMENTS_MAX - self.slots).min(bytes_left / slot_bytes)
    }

    /// Appends a slot to the train, which lies in `place`.
    fn next_slot<'a>(&mut self, place: &'a mut [u8], slot_bytes: usize) -> &'a mut [u8] {
        let start = self.len;
        self.len += slot_bytes;
        self.slots += 1;
        self.closed = slot_bytes < self.slot_bytes;
        &mut place[start..self.len]
    }
}

/// The place of a packet in its slot. What is behind it, up to the tag, is padding.
fn inner(slot: &mut [u8], packet_bytes: usize) -> &mut [u8] {
    let end = slot.len() - TAG_LEN;
    let (packet, padding) = slot[DATA_HEADER_LEN..end].split_at_mut(packet_bytes);
    padding.fill(0);
    packet
}

fn depart(track: &mut Track<'_>, train: Train) {
    let bytes = &mut track.driver.send_bytes_mut(&train.buf)[..train.len];
    match track
        .tunnel
        .seal_train(track.now, train.peer, bytes, train.slot_bytes)
    {
        Ok(to) => send(
            track.driver,
            train.buf,
            (train.len, train.slot_bytes),
            &to,
            train.ecn,
        ),
        Err(unsealed) => {
            match unsealed {
                Unsealed::NoSession => stage(track.tunnel, train.peer, bytes, train.slot_bytes),
                _ => track.counts.outbound_unsealed += train.slots as u64,
            }
            track.driver.recycle_send(train.buf);
        }
    }
}

/// The packets of a train wait for a session.
fn stage(tunnel: &mut Tunnel, peer: PeerId, train: &[u8], slot_bytes: usize) {
    for slot in train.chunks(slot_bytes) {
        let packet = &slot[DATA_HEADER_LEN..slot.len() - TAG_LEN];
        tunnel.stage(peer, packet);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_padded_to_16_but_not_beyond_the_mtu() {
        let trains = Trains::new(1420);
        let padded = |bytes| trains.slot_bytes(bytes) - DATA_HEADER_LEN - TAG_LEN;
        let cases = [(20, 32), (32, 32), (1400, 1408), (1409, 1420), (1420, 1420)];
        for (bytes, expected) in cases {
            assert_eq!(padded(bytes), expected);
        }
        // The MTU was made smaller just now.
        assert_eq!(padded(1500), 1500);
    }
}
