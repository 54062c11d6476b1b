//! Verdicts of the admission controller, remembered for a while. Bounded: when it is full, one entry makes room.
//!
//! Denials make room first: strangers without number cannot make the relay forget whom it let in, which is what carries
//! those over an outage of the controller.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::time::Duration;

use towline_wire::limits::ADMISSION_CACHE_ENTRIES_MAX;
use towline_wire::{NodePublic, Time};

use super::controller::{Answer, Question};

pub(super) struct Cache {
    fresh: Duration,
    keep: Duration,
    entries: HashMap<NodePublic, Entry>,
    /// Keys by the turn of their last answer.
    denied: BTreeMap<u64, NodePublic>,
    allowed: BTreeMap<u64, NodePublic>,
    next_turn: u64,
}

#[derive(Clone)]
struct Entry {
    answer: Answer,
    source: IpAddr,
    at: Time,
    turn: u64,
}

/// A remembered verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) answer: Answer,
    /// Good enough not to ask: recent, and the answer to this very question. A controller may judge a key by where it is.
    pub(super) is_fresh: bool,
}

impl Cache {
    pub(super) fn new(fresh: Duration, keep: Duration) -> Self {
        Self {
            fresh,
            keep: keep.max(fresh),
            entries: HashMap::new(),
            denied: BTreeMap::new(),
            allowed: BTreeMap::new(),
            next_turn: 0,
        }
    }

    pub(super) fn get(&self, now: Time, question: &Question) -> Option<Known> {
        let entry = self.entries.get(&question.key)?;
        let age = now - entry.at;
        (age < self.keep).then_some(Known {
            answer: entry.answer,
            is_fresh: age < self.fresh && entry.source == question.source,
        })
    }

    /// When this key was last allowed, if that was its last answer; however long ago.
    pub(super) fn allowed_at(&self, key: &NodePublic) -> Option<Time> {
        let entry = self.entries.get(key)?;
        entry.answer.allow.then_some(entry.at)
    }

    pub(super) fn put(&mut self, now: Time, question: &Question, answer: Answer) {
        self.remove(&question.key);
        if self.entries.len() >= ADMISSION_CACHE_ENTRIES_MAX {
            let oldest = self.denied.values().chain(self.allowed.values()).next();
            if let Some(oldest) = oldest.copied() {
                self.remove(&oldest);
            }
        }
        let turn = self.next_turn;
        self.next_turn += 1;
        self.turns(answer).insert(turn, question.key);
        let entry = Entry {
            answer,
            source: question.source,
            at: now,
            turn,
        };
        self.entries.insert(question.key, entry);
    }

    /// Takes the answers of another; how long they hold stays its own.
    pub(super) fn copy_from(&mut self, other: &Self) {
        self.entries.clone_from(&other.entries);
        self.denied.clone_from(&other.denied);
        self.allowed.clone_from(&other.allowed);
        self.next_turn = other.next_turn;
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }

    fn remove(&mut self, key: &NodePublic) {
        if let Some(entry) = self.entries.remove(key) {
            self.turns(entry.answer).remove(&entry.turn);
        }
    }

    fn turns(&mut self, answer: Answer) -> &mut BTreeMap<u64, NodePublic> {
        match answer.allow {
            true => &mut self.allowed,
            false => &mut self.denied,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Answer = Answer {
        allow: true,
        limits: None,
    };
    const DENIED: Answer = Answer {
        allow: false,
        limits: None,
    };

    fn question(n: usize) -> Question {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        Question {
            key: NodePublic(key),
            source: [192, 0, 2, 1].into(),
        }
    }

    fn knows(cache: &Cache, n: usize) -> bool {
        cache.get(Time::ZERO, &question(n)).is_some()
    }

    #[test]
    fn a_verdict_is_fresh_then_only_kept_then_gone() {
        let mut cache = Cache::new(Duration::from_secs(60), Duration::from_secs(3600));
        cache.put(Time::ZERO, &question(1), ALLOWED);
        let at = |secs, question: &Question| {
            cache
                .get(Time::ZERO + Duration::from_secs(secs), question)
                .map(|known| known.is_fresh)
        };
        assert_eq!(at(59, &question(1)), Some(true));
        assert_eq!(at(61, &question(1)), Some(false));
        assert_eq!(at(3601, &question(1)), None);
        let elsewhere = Question {
            source: [198, 51, 100, 1].into(),
            ..question(1)
        };
        assert_eq!(at(1, &elsewhere), Some(false));
    }

    #[test]
    fn a_full_cache_forgets_the_oldest_alone() {
        let hour = Duration::from_secs(3600);
        let mut cache = Cache::new(hour, hour);
        for n in 0..=ADMISSION_CACHE_ENTRIES_MAX {
            cache.put(Time::ZERO, &question(n), ALLOWED);
        }
        assert_eq!(cache.len(), ADMISSION_CACHE_ENTRIES_MAX as u64);
        assert!(!knows(&cache, 0) && knows(&cache, 1));
        cache.put(Time::ZERO, &question(1), ALLOWED);
        cache.put(Time::ZERO, &question(0), ALLOWED);
        assert!(knows(&cache, 0) && knows(&cache, 1) && !knows(&cache, 2));
    }

    #[test]
    fn strangers_do_not_push_out_those_who_are_allowed() {
        let hour = Duration::from_secs(3600);
        let mut cache = Cache::new(hour, hour);
        cache.put(Time::ZERO, &question(0), ALLOWED);
        for n in 1..=2 * ADMISSION_CACHE_ENTRIES_MAX {
            cache.put(Time::ZERO, &question(n), DENIED);
        }
        assert_eq!(cache.len(), ADMISSION_CACHE_ENTRIES_MAX as u64);
        assert!(knows(&cache, 0) && !knows(&cache, 1));
        // A verdict that turns leaves nothing behind.
        cache.put(Time::ZERO, &question(0), DENIED);
        assert!(cache.allowed.is_empty());
        assert_eq!(cache.denied.len(), cache.entries.len());
    }
}
