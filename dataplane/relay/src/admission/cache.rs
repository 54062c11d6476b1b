//! Verdicts of the admission controller, remembered for a while. Bounded: when it is full, one entry makes room.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use towline_wire::limits::ADMISSION_CACHE_ENTRIES_MAX;
use towline_wire::{NodePublic, Time};

use super::callback::Answer;

pub(super) struct Cache {
    fresh: Duration,
    keep: Duration,
    entries: HashMap<NodePublic, Entry>,
    /// In the order of their last answer, with answers that were replaced since.
    order: VecDeque<(NodePublic, Time)>,
}

struct Entry {
    answer: Answer,
    at: Time,
}

/// A remembered verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) answer: Answer,
    /// Good enough not to ask.
    pub(super) is_fresh: bool,
}

impl Cache {
    pub(super) fn new(fresh: Duration, keep: Duration) -> Self {
        Self {
            fresh,
            keep: keep.max(fresh),
            entries: HashMap::new(),
            order: VecDeque::new(),
        }
    }

    pub(super) fn get(&self, now: Time, key: &NodePublic) -> Option<Known> {
        let entry = self.entries.get(key)?;
        let age = now - entry.at;
        (age < self.keep).then_some(Known {
            answer: entry.answer,
            is_fresh: age < self.fresh,
        })
    }

    pub(super) fn put(&mut self, now: Time, key: NodePublic, answer: Answer) {
        self.entries.insert(key, Entry { answer, at: now });
        self.order.push_back((key, now));
        // Twice the entries leaves room for answers that were replaced.
        while self.entries.len() > ADMISSION_CACHE_ENTRIES_MAX
            || self.order.len() > 2 * ADMISSION_CACHE_ENTRIES_MAX
        {
            let Some((oldest, at)) = self.order.pop_front() else {
                return;
            };
            if self
                .entries
                .get(&oldest)
                .is_some_and(|entry| entry.at == at)
            {
                self.entries.remove(&oldest);
            }
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.entries.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOWED: Answer = Answer {
        allow: true,
        limits: None,
    };

    fn key(n: usize) -> NodePublic {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&n.to_le_bytes());
        NodePublic(key)
    }

    #[test]
    fn a_verdict_is_fresh_then_only_kept_then_gone() {
        let mut cache = Cache::new(Duration::from_secs(60), Duration::from_secs(3600));
        cache.put(Time::ZERO, key(1), ALLOWED);
        let at = |cache: &Cache, secs| {
            cache
                .get(Time::ZERO + Duration::from_secs(secs), &key(1))
                .map(|known| known.is_fresh)
        };
        assert_eq!(at(&cache, 59), Some(true));
        assert_eq!(at(&cache, 61), Some(false));
        assert_eq!(at(&cache, 3601), None);
    }

    #[test]
    fn a_full_cache_forgets_the_oldest_alone() {
        let mut cache = Cache::new(Duration::from_secs(60), Duration::from_secs(60));
        for n in 0..=ADMISSION_CACHE_ENTRIES_MAX {
            cache.put(Time(n as u64), key(n), ALLOWED);
        }
        assert_eq!(cache.len(), ADMISSION_CACHE_ENTRIES_MAX as u64);
        assert!(cache.get(Time(0), &key(0)).is_none());
        assert!(cache.get(Time(0), &key(1)).is_some());
        for n in 0..5 * ADMISSION_CACHE_ENTRIES_MAX {
            cache.put(Time(n as u64), key(1), ALLOWED);
        }
        assert!(cache.order.len() <= 2 * ADMISSION_CACHE_ENTRIES_MAX);
        assert!(cache.get(Time(0), &key(1)).is_some());
    }
}
