//! Datagrams in. Neighbours in a train with the same receiver index are opened together, and what follows from them
//! (endpoint, timers, sessions) is done once.

use towline_wire::Time;
use towline_wire::wireguard::{Datagram, data_header, parse};

use super::Tunnel;
use crate::aead::SLOTS_MAX;
use crate::endpoint::Endpoint;
use crate::inner::source_and_len;
use crate::peer::PeerId;

/// A packet that was opened in a train.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Who sent it; its source is among the peer's allowed IPs.
    pub peer: PeerId,
    /// Where in the train it starts.
    pub start: usize,
    /// Its bytes, padding not counted.
    pub len: usize,
}

/// Neighbours in a train that are data for one session.
pub(super) struct Run {
    pub(super) from: Endpoint,
    /// Where in the train it starts.
    pub(super) start: usize,
    pub(super) receiver: u32,
    /// Its segments, at most `SLOTS_MAX`.
    pub(super) count: usize,
    pub(super) segment_bytes: usize,
}

impl Tunnel {
    /// Takes a train of datagrams from one sender: segments of `segment_bytes`, the last may be shorter. Data is opened
    /// in place; the packets that may pass are appended to `opened`.
    pub fn handle_train(
        &mut self,
        now: Time,
        from: Endpoint,
        train: &mut [u8],
        segment_bytes: usize,
        opened: &mut Vec<Opened>,
    ) {
        let engine = self.engine;
        let mut start = 0;
        while start < train.len() && segment_bytes > 0 {
            let rest = &mut train[start..];
            if let Some((receiver, count)) = run_at(rest, segment_bytes) {
                let run_bytes = rest.len().min(count * segment_bytes);
                let run = Run {
                    from,
                    start,
                    receiver,
                    count,
                    segment_bytes,
                };
                engine.open(self, now, &run, &mut rest[..run_bytes], opened);
                start += run_bytes;
            } else {
                let len = rest.len().min(segment_bytes);
                self.handle_message(now, from, &rest[..len]);
                start += len;
            }
        }
    }

    fn handle_message(&mut self, now: Time, from: Endpoint, message: &[u8]) {
        match parse(message) {
            Ok(Datagram::Data(_)) | Err(_) => self.stats.malformed += 1,
            Ok(parsed) => {
                let engine = self.engine;
                engine.handle_message(self, now, from, message, &parsed);
            }
        }
    }

    /// The length of a packet that may pass: one whose source would be routed back to its peer.
    pub(super) fn admit_inner(&mut self, slot: u32, packet: &[u8]) -> Option<usize> {
        let Some((source, len)) = source_and_len(packet) else {
            self.stats.bad_inner += 1;
            return None;
        };
        if self.allowed_ips.lookup(source) != Some(slot) {
            self.stats.source_not_allowed += 1;
            return None;
        }
        Some(len)
    }
}

/// How many segments at the start of `rest` are data for one receiver, and which.
fn run_at(rest: &[u8], segment_bytes: usize) -> Option<(u32, usize)> {
    let mut segments = rest.chunks(segment_bytes);
    let (receiver, _) = data_header(segments.next()?)?;
    let alike = segments
        .take(SLOTS_MAX - 1)
        .take_while(|segment| data_header(segment).is_some_and(|(other, _)| other == receiver))
        .count();
    Some((receiver, 1 + alike))
}
