//! What may still be done for a send that the kernel refused: leave its local address out, or send
//! its segments one by one.

use super::outbox::Outbox;
use super::outgoing::Order;
use super::sockets::Socket;
use super::sys::{Errno, sendmmsg};
use super::{PacketStats, SEGMENTS_MAX};

impl Outbox {
    /// Tries the rest for a send of a filled slot, and counts what comes of it.
    pub(super) fn rescue(
        &mut self,
        index: u16,
        errno: Errno,
        socket: &mut Socket,
        stats: &mut PacketStats,
    ) {
        let order = self.slots[usize::from(index)].order;
        if order.local.is_some() && may_be_the_source(errno) {
            let order = Order {
                local: None,
                ..order
            };
            let start = self.start(index);
            self.slots[usize::from(index)].address(&order, start, true);
            if self.send_one(index, socket).is_ok() {
                self.source_gone(&order, stats);
                stats.count_sent(order.segments(), order.len);
                return;
            }
        }
        if order.segments() == 1 {
            stats.count_send_error(errno, 1);
            return;
        }
        match errno {
            // A device that computes no checksums, or a transformation (IPsec) on the way.
            libc::EIO => {
                socket.gso = false;
                stats.gso_switched_off += 1;
            }
            // Most likely a segment above the path's MTU: alone it may be fragmented.
            libc::EINVAL | libc::EMSGSIZE => stats.trains_split += 1,
            _ => {
                stats.count_send_error(errno, order.segments());
                return;
            }
        }
        self.send_segments(index, order, socket, stats);
    }

    /// Sends a slot's message as it stands.
    fn send_one(&mut self, index: u16, socket: &Socket) -> Result<(), Errno> {
        let mut message = [libc::mmsghdr {
            msg_hdr: self.slots[usize::from(index)].header,
            msg_len: 0,
        }];
        // SAFETY: as in `Outbox::send_whole`.
        unsafe { sendmmsg(&socket.fd, &mut message) }.map(drop)
    }

    /// Sends each segment of an order for itself. A segment that fails costs no other one.
    pub(super) fn send_segments(
        &mut self,
        index: u16,
        mut order: Order,
        socket: &Socket,
        stats: &mut PacketStats,
    ) {
        let start = self.start(index);
        self.slots[usize::from(index)].address(&order, start, false);
        let step = order.segment_bytes.max(1);
        let mut at = 0;
        while at < order.len {
            let end = order.len.min(at + SEGMENTS_MAX * step);
            self.load_train(index, start, at..end, step);
            // SAFETY: as in `Outbox::send_whole`.
            match unsafe { sendmmsg(&socket.fd, &mut self.train) } {
                Ok(sent) => {
                    let next = end.min(at + sent * step);
                    (0..sent).for_each(|segment| {
                        let from = at + segment * step;
                        stats.count_sent(1, step.min(next - from));
                    });
                    at = next;
                }
                Err(errno) if order.local.is_some() && may_be_the_source(errno) => {
                    order.local = None;
                    self.slots[usize::from(index)].address(&order, start, false);
                    self.source_gone(&order, stats);
                }
                Err(errno) => {
                    stats.count_send_error(errno, 1);
                    at += step;
                }
            }
        }
    }

    /// One message for each segment of a range; all share the slot's addresses.
    fn load_train(
        &mut self,
        index: u16,
        start: *mut u8,
        range: core::ops::Range<usize>,
        step: usize,
    ) {
        self.segments.clear();
        self.train.clear();
        for from in range.clone().step_by(step) {
            self.segments.push(libc::iovec {
                iov_base: start.wrapping_add(from).cast(),
                iov_len: step.min(range.end - from),
            });
        }
        for segment in &mut self.segments {
            let mut message = self.slots[usize::from(index)].header;
            message.msg_iov = segment;
            self.train.push(libc::mmsghdr {
                msg_hdr: message,
                msg_len: 0,
            });
        }
    }

    fn source_gone(&mut self, order: &Order, stats: &mut PacketStats) {
        stats.sources_gone += 1;
        // Full: the owner hears of this one when it happens again.
        if self.sources_gone.len() < self.sources_gone.capacity() {
            self.sources_gone.push(order.to);
        }
    }
}

/// What the kernel answers when a local address is not ours any more (`EINVAL`), its interface is
/// gone (`ENODEV`) or leads nowhere.
fn may_be_the_source(errno: Errno) -> bool {
    matches!(
        errno,
        libc::EINVAL
            | libc::ENODEV
            | libc::EADDRNOTAVAIL
            | libc::ENETUNREACH
            | libc::EHOSTUNREACH
            | libc::ENETDOWN
    )
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;
    use crate::packet::sockets::Sockets;
    use crate::packet::{Family, PacketConfig};

    #[test]
    fn where_the_kernel_cannot_segment_trains_leave_in_parts_from_then_on() {
        let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let mut sockets = Sockets::default();
        let fd = UdpSocket::bind("127.0.0.1:0").unwrap().into();
        sockets.replace(Family::V4, Some(Socket { fd, gso: true }));
        let mut outbox = Outbox::new(&PacketConfig::default()).unwrap();
        let mut stats = PacketStats::default();
        let order = Order {
            len: 250,
            segment_bytes: 100,
            to: peer.local_addr().unwrap(),
            local: None,
            ecn: 0,
        };
        let buf = outbox.pool.take().unwrap();
        let index = outbox.put(buf, order);
        outbox.finish(index, Err(libc::EIO), &mut sockets, &mut stats);
        let buf = outbox.pool.take().unwrap();
        let index = outbox.put(buf, order);
        outbox.enqueue(index);
        outbox.flush(&mut sockets, &mut stats);
        for len in [100, 100, 50, 100, 100, 50] {
            assert_eq!(peer.recv(&mut [0; 300]).unwrap(), len);
        }
        assert_eq!((stats.gso_switched_off, stats.segments), (1, 6));
        assert_eq!(outbox.held(), 0);
    }
}
