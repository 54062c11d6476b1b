//! From the peers to the TUN device: datagrams are opened where they lie, neighbours of a flow are joined, and what they
//! carried is written out of the receive buffers.

use std::net::SocketAddr;

use towline_io::RecvBuf;
use towline_io::packet::Local;

use super::Worker;
use super::ecn;
use super::send::endpoint;

impl Worker {
    /// One receive of a UDP socket.
    pub(super) fn handle_datagrams(
        &mut self,
        buf: RecvBuf,
        (from, local): (SocketAddr, Option<Local>),
        segment_bytes: usize,
        outer_ecn: u8,
    ) {
        let bytes = self.driver.recv_bytes(&buf);
        let from = endpoint(from, local);
        self.tunnel
            .handle_train(self.now, from, bytes, segment_bytes, &mut self.opened);
        let index = self.held.len() as u32;
        for opened in self.opened.drain(..) {
            let packet = &mut bytes[opened.start..opened.start + opened.len];
            if ecn::combine(outer_ecn, packet) {
                self.joiner.add(packet, index, opened.start as u32);
            } else {
                self.counts.inbound_ecn_dropped += 1;
            }
        }
        self.held.push(buf);
    }

    /// Writes what was received in this turn to the TUN device, and gives its buffers back.
    pub(super) fn write_tun(&mut self) {
        let (driver, held) = (&mut self.driver, &self.held);
        self.joiner
            .flush(|header, pieces| driver.write_tun(header, held, pieces));
        for buf in self.held.drain(..) {
            self.driver.recycle(buf);
        }
    }
}
