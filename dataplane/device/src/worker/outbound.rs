//! From the TUN device to the peers: packets are cut to size and put into trains.

use towline_io::RecvBuf;
use towline_tunnel::PeerId;

use super::Worker;
use super::ecn;
use super::trains::Shape;
use crate::offload::Cut;

impl Worker {
    /// One read of the TUN device.
    pub(super) fn handle_tun(&mut self, buf: &RecvBuf) {
        let Ok(cut) = Cut::new(self.driver.received().bytes(buf)) else {
            self.counts.outbound_malformed += 1;
            return;
        };
        let shape = Shape {
            segments: cut.segments(),
            segment_bytes: cut.segment_bytes(),
            last_bytes: cut.last_bytes(),
        };
        let (destination, ecn) = (cut.destination(), cut.ecn());
        let Some(peer) = self.tunnel.route(destination) else {
            self.counts.outbound_no_route += shape.segments as u64;
            return;
        };
        let (trains, mut track) = self.track();
        trains.put_cut(&mut track, (peer, ecn), buf, shape);
    }

    /// A session is there: what waited for it goes.
    pub(super) fn send_staged(&mut self, peer: PeerId) {
        // No more than there are now: without a session after all they are staged again.
        for _ in 0..self.tunnel.staged(peer) {
            let Some(packet) = self.tunnel.take_staged(peer) else {
                return;
            };
            let (trains, mut track) = self.track();
            trains.put(&mut track, (peer, ecn::inner(&packet)), &packet);
        }
    }
}
