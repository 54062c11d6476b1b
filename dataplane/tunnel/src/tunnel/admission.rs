//! Which handshake messages are worked on: what stands between strangers and the costly part.

use towline_wire::Time;

use super::Tunnel;
use crate::endpoint::Endpoint;
use crate::flood::Verdict;

impl Tunnel {
    /// Whether a handshake message is worth the work; answers with a cookie if the sender must show one first.
    pub(super) fn may_work(
        &mut self,
        now: Time,
        from: Endpoint,
        message: &[u8],
        sender: u32,
    ) -> bool {
        let Some(own) = &mut self.identity else {
            self.stats.no_identity += 1;
            return false;
        };
        if !own.checker.has_mac1(message) {
            self.stats.bad_mac1 += 1;
            return false;
        }
        let address = from.address;
        let has_mac2 = || own.checker.has_mac2(message, &address, now);
        match self.flood.judge(address.ip(), now, has_mac2) {
            Verdict::Work => true,
            Verdict::Drop => {
                self.stats.source_rate += 1;
                false
            }
            Verdict::Cookie => {
                let entropy = &mut *self.entropy;
                if let Some(reply) = own.checker.reply(message, sender, &address, now, entropy) {
                    self.stats.cookies_sent += 1;
                    self.send(from, &reply);
                }
                false
            }
        }
    }
}
