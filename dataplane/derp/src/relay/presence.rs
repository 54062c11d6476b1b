//! Who is told that a key came or went: mesh peers that watch, on any shard, and the other shards,
//! whose clients may have heard from a key that left the region.
//!
//! Nothing is queued for them. The keys of the shard are listed in the order of their last change, and
//! each subscriber has a place in that list; what lies after it is told as fast as it is taken, in the
//! state that it has then. A key that left stays listed until everybody was told; there are only so
//! many of these, and a subscriber that holds up too many is given up. A relay of the mesh may be lost
//! with all of its keys at once: these are counted apart, and all of them have room.

use std::collections::VecDeque;

use towline_wire::Time;
use towline_wire::limits::SHARD_WATCHERS_MAX;

use super::mailbox::Mailbox;
use super::message::{Control, Message, Presence};
use super::notes::Note;
use super::slab::NONE;
use super::table::Table;
use super::{CloseReason, ConnId, Shard, ShardConfig, ShardId};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Audience {
    /// Another shard: is told of keys that left the region.
    Shard(ShardId),
    /// A mesh peer at this or another shard: is told of keys that came here or left.
    Watcher { shard: ShardId, conn: ConnId },
}

#[derive(Debug)]
struct Subscriber {
    audience: Audience,
    /// The first record that it was not told about.
    next: u32,
    /// Departures up to this change are none of its business: it never heard of the arrivals.
    since: u64,
    /// How many changes more it takes.
    credit: u32,
}

/// The order of changes, and who is told.
#[derive(Debug)]
pub(super) struct Changes {
    first: u32,
    last: u32,
    counter: u64,
    subscribers: Vec<Subscriber>,
    /// Keys that went, oldest first.
    departures: VecDeque<Departure>,
    /// How many of them left connections here, and how many other relays.
    held: [usize; 2],
    held_max: [usize; 2],
}

/// A key that went.
#[derive(Debug, Clone, Copy)]
struct Departure {
    record: u32,
    /// The change that it was.
    changed: u64,
    from: LeftFrom,
}

/// Where a key was until it left the region, or this relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftFrom {
    Here,
    OtherRelays,
}

impl Changes {
    pub(super) fn new(config: &ShardConfig) -> Self {
        let me = config.shard;
        let subscribers = (0..config.shards).map(ShardId).filter(|shard| *shard != me);
        Self {
            first: NONE,
            last: NONE,
            counter: 0,
            subscribers: subscribers
                .map(|shard| Subscriber {
                    audience: Audience::Shard(shard),
                    next: NONE,
                    since: 0,
                    credit: 0,
                })
                .collect(),
            departures: VecDeque::new(),
            held: [0; 2],
            held_max: [config.departures_max, config.remote_keys_max].map(|max| max as usize),
        }
    }

    /// Moves a record to the end of the order. `from` is for keys that went.
    fn touch(&mut self, table: &mut Table, index: u32, from: LeftFrom) {
        if table[index].listed {
            self.unlist(table, index);
        }
        self.counter += 1;
        let record = &mut table[index];
        record.listed = true;
        record.changed = self.counter;
        record.later = NONE;
        record.earlier = self.last;
        if self.last == NONE {
            self.first = index;
        } else {
            table[self.last].later = index;
        }
        self.last = index;
        for subscriber in &mut self.subscribers {
            if subscriber.next == NONE {
                subscriber.next = index;
            }
        }
        if table[index].is_away() {
            self.held[from as usize] += 1;
            self.departures.push_back(Departure {
                record: index,
                changed: self.counter,
                from,
            });
        }
    }

    fn unlist(&mut self, table: &mut Table, index: u32) {
        let record = &mut table[index];
        record.listed = false;
        let (earlier, later) = (record.earlier, record.later);
        if earlier == NONE {
            self.first = later;
        } else {
            table[earlier].later = later;
        }
        if later == NONE {
            self.last = earlier;
        } else {
            table[later].earlier = earlier;
        }
        for subscriber in &mut self.subscribers {
            if subscriber.next == index {
                subscriber.next = later;
            }
        }
    }

    /// Adds a watcher, or has it told from the beginning again; false when there are too many.
    fn watch(&mut self, audience: Audience, credit: u32) -> bool {
        let (first, since) = (self.first, self.counter);
        if let Some(subscriber) = self.find(audience) {
            // `since` stays: it was told of arrivals since then, and is to be told of their departures.
            subscriber.next = first;
            subscriber.credit += credit;
            return true;
        }
        if self.subscribers.len() >= SHARD_WATCHERS_MAX {
            return false;
        }
        self.subscribers.push(Subscriber {
            audience,
            next: first,
            since,
            credit,
        });
        true
    }

    fn find(&mut self, audience: Audience) -> Option<&mut Subscriber> {
        (self.subscribers.iter_mut()).find(|subscriber| subscriber.audience == audience)
    }

    fn unwatch(&mut self, audience: Audience) {
        self.subscribers
            .retain(|subscriber| subscriber.audience != audience);
    }

    fn holds_too_many(&self) -> bool {
        (self.held.iter().zip(&self.held_max)).any(|(held, max)| held > max)
    }

    /// How many keys have left the region, of those that a subscriber was not told about.
    fn gone_untold(&self, table: &Table, subscriber: usize) -> u64 {
        let mut at = self.subscribers[subscriber].next;
        let mut count = 0;
        while at != NONE {
            count += u64::from(table[at].is_gone());
            at = table[at].later;
        }
        count
    }

    /// The subscriber that was not told about the oldest change, and that change.
    fn slowest(&self, table: &Table) -> Option<(usize, u64)> {
        (self.subscribers.iter().enumerate())
            .filter(|(_, subscriber)| subscriber.next != NONE)
            .map(|(index, subscriber)| (index, table[subscriber.next].changed))
            .min_by_key(|(_, changed)| *changed)
    }
}

impl Shard {
    /// Notes that a key came or went, and tells those who can be told now. `from` is where it was, if it
    /// went.
    pub(super) fn changed(
        &mut self,
        now: Time,
        record: u32,
        from: LeftFrom,
        mail: &mut impl Mailbox,
    ) {
        self.changes.touch(&mut self.table, record, from);
        self.tell_changes(now, mail);
    }

    /// Tells all subscribers what they take, then forgets what everybody knows.
    pub(super) fn tell_changes(&mut self, now: Time, mail: &mut impl Mailbox) {
        for index in 0..self.changes.subscribers.len() {
            if !self.tell_subscriber(index, mail) {
                self.outbox.retry_later(now);
            }
        }
        self.forget_departures(now, mail);
    }

    /// Adds a watcher, at this or another shard.
    pub(super) fn watch(
        &mut self,
        now: Time,
        shard: ShardId,
        conn: ConnId,
        credit: u32,
        mail: &mut impl Mailbox,
    ) {
        if self
            .changes
            .watch(Audience::Watcher { shard, conn }, credit)
        {
            self.tell_changes(now, mail);
        } else {
            self.close_anywhere(now, shard, conn, CloseReason::TooManyWatchers, mail);
        }
    }

    /// Lets a watcher be told more.
    pub(super) fn give_credit(&mut self, shard: ShardId, conn: ConnId, credit: u32) {
        if let Some(subscriber) = self.changes.find(Audience::Watcher { shard, conn }) {
            subscriber.credit += credit;
        }
    }

    pub(super) fn unwatch(&mut self, shard: ShardId, conn: ConnId) {
        self.changes.unwatch(Audience::Watcher { shard, conn });
    }

    /// Tells a watcher at this shard what it takes; there is no mailbox at hand.
    pub(super) fn tell_own_watcher(&mut self, conn: ConnId) {
        let audience = Audience::Watcher {
            shard: self.config.shard,
            conn,
        };
        let found = (self.changes.subscribers.iter()).position(|s| s.audience == audience);
        if let Some(index) = found {
            self.tell_subscriber(index, &mut super::NoMailbox);
        }
    }

    /// False when a mailbox was full.
    fn tell_subscriber(&mut self, index: usize, mail: &mut impl Mailbox) -> bool {
        loop {
            let subscriber = &self.changes.subscribers[index];
            if subscriber.next == NONE {
                return true;
            }
            let record = &self.table[subscriber.next];
            let later = record.later;
            match subscriber.audience {
                Audience::Shard(to) => {
                    let gone = Message::Control(Control::Gone { key: record.key });
                    if record.is_gone() && mail.send(to, gone).is_err() {
                        return false;
                    }
                }
                Audience::Watcher { shard, conn } => {
                    let here = (!record.is_away()).then(|| {
                        let client = &self.conns[record.active];
                        (client.addr(), client.present_flags())
                    });
                    let told =
                        here.is_some() || record.was_here && record.changed > subscriber.since;
                    if told {
                        if subscriber.credit == 0 {
                            return true;
                        }
                        let change = Presence {
                            key: record.key,
                            here,
                        };
                        if !self.tell_watcher(shard, conn, change, mail) {
                            return false;
                        }
                        self.changes.subscribers[index].credit -= 1;
                    }
                }
            }
            self.changes.subscribers[index].next = later;
        }
    }

    fn tell_watcher(
        &mut self,
        shard: ShardId,
        watcher: ConnId,
        change: Presence,
        mail: &mut impl Mailbox,
    ) -> bool {
        if shard != self.config.shard {
            let presence = Control::Presence { watcher, change };
            return mail.send(shard, Message::Control(presence)).is_ok();
        }
        self.note(watcher, Note::Presence(change, shard))
    }

    /// Forgets keys that went and that everybody knows to have gone; gives up subscribers that keep too
    /// many of them from being forgotten.
    fn forget_departures(&mut self, now: Time, mail: &mut impl Mailbox) {
        loop {
            let slowest = self.changes.slowest(&self.table);
            let unread = slowest.map_or(u64::MAX, |(_, changed)| changed);
            while let Some(departure) = self.changes.departures.front().copied() {
                let (index, changed) = (departure.record, departure.changed);
                let record = &self.table[index];
                let current = record.listed && record.changed == changed && record.is_away();
                if current && changed >= unread {
                    break;
                }
                self.changes.departures.pop_front();
                self.changes.held[departure.from as usize] -= 1;
                if current {
                    self.forget_departure(index);
                }
            }
            if !self.changes.holds_too_many() {
                return;
            }
            let Some((index, _)) = slowest else {
                return;
            };
            self.give_up(now, index, mail);
        }
    }

    fn forget_departure(&mut self, index: u32) {
        self.changes.unlist(&mut self.table, index);
        self.table[index].was_here = false;
        if self.table[index].is_gone() {
            self.table.remove(index);
        }
    }

    fn give_up(&mut self, now: Time, index: usize, mail: &mut impl Mailbox) {
        match self.changes.subscribers[index].audience {
            Audience::Shard(_) => {
                self.stats.notices_lost += self.changes.gone_untold(&self.table, index);
                self.changes.subscribers[index].next = NONE;
            }
            Audience::Watcher { shard, conn } => {
                self.changes.subscribers.remove(index);
                self.close_anywhere(now, shard, conn, CloseReason::WatcherLags, mail);
            }
        }
    }
}
