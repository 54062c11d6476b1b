//! Control messages that found a mailbox full. They are sent again, in order; whoever makes many of
//! them is not read from meanwhile.
//!
//! Only what cannot be made again from the shard's state waits here: it is bounded by what mesh peers
//! may say between a pause and its effect.

use std::collections::VecDeque;

use towline_wire::Time;
use towline_wire::limits::{SHARD_OUTBOX_CROWDED, SHARD_OUTBOX_MAX, SHARD_OUTBOX_RETRY};

use super::ShardId;
use super::mailbox::Mailbox;
use super::message::{Control, Message};

#[derive(Debug)]
pub(super) struct Outbox {
    waiting: Vec<VecDeque<Control>>,
    count: usize,
    retry_at: Option<Time>,
}

impl Outbox {
    pub(super) fn new(shards: u16) -> Self {
        Self {
            waiting: vec![VecDeque::new(); usize::from(shards)],
            count: 0,
            retry_at: None,
        }
    }

    /// Sends a message that must arrive, now or later.
    pub(super) fn send(
        &mut self,
        now: Time,
        to: ShardId,
        control: Control,
        mail: &mut impl Mailbox,
    ) {
        let waiting = &mut self.waiting[usize::from(to.0)];
        if waiting.is_empty() && mail.send(to, Message::Control(control)).is_ok() {
            return;
        }
        waiting.push_back(control);
        self.count += 1;
        self.retry_later(now);
    }

    /// Tries again what waits.
    pub(super) fn flush(&mut self, now: Time, mail: &mut impl Mailbox) {
        self.retry_at = None;
        if self.count == 0 {
            return;
        }
        for (shard, waiting) in self.waiting.iter_mut().enumerate() {
            while let Some(control) = waiting.front() {
                if (mail.send(ShardId(shard as u16), Message::Control(*control))).is_err() {
                    break;
                }
                waiting.pop_front();
                self.count -= 1;
            }
        }
        if self.count > 0 {
            self.retry_later(now);
        }
    }

    /// Something could not be sent: be called again.
    pub(super) fn retry_later(&mut self, now: Time) {
        self.retry_at.get_or_insert(now + SHARD_OUTBOX_RETRY);
    }

    /// Something is to be sent that was found out where there was no mailbox at hand.
    pub(super) const fn retry_at_once(&mut self) {
        self.retry_at = Some(Time::ZERO);
    }

    pub(super) const fn retry_at(&self) -> Option<Time> {
        self.retry_at
    }

    pub(super) const fn is_crowded(&self) -> bool {
        self.count >= SHARD_OUTBOX_CROWDED
    }

    pub(super) const fn is_relieved(&self) -> bool {
        self.count < SHARD_OUTBOX_CROWDED / 2
    }

    pub(super) const fn is_overfull(&self) -> bool {
        self.count >= SHARD_OUTBOX_MAX
    }
}
