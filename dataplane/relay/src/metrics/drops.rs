//! Drops by reason and kind: the same labels on both pages, under each page's names.

use std::fmt::Display;

use towline_derp::relay::{DropReason, PacketKind, Stats, Volume};

use super::text::Page;

impl Page {
    /// Two families, each given by its name and its help: the packets, and the bytes in them.
    pub(super) fn drops(&mut self, total: &Stats, packets: (&str, &str), bytes: (&str, &str)) {
        type Part = fn(Volume) -> u64;
        let families: [(_, Part); 2] = [
            (packets, |volume| volume.packets),
            (bytes, |volume| volume.bytes),
        ];
        for ((name, help), part) in families {
            self.family(name, "counter", help);
            for reason in DropReason::ALL {
                for kind in PacketKind::ALL {
                    let labels: [(&str, &dyn Display); 2] =
                        [("reason", &reason.name()), ("kind", &kind.name())];
                    self.sample(name, &labels, part(total.dropped(reason, kind)));
                }
            }
        }
    }
}
