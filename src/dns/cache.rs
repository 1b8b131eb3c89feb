//! What was learnt, for as long as it holds; and somewhat longer, in case nobody can be asked (RFC 8767).

use super::{Data, Kind, Missing, Name};
use crate::base::{Map, Now};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// One question's answer.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub records: Result<Arc<[Data]>, Missing>,
    /// It holds until then.
    pub expires: Instant,
    /// It may stand in until then.
    pub stale: Instant,
    /// Nobody could be asked: it stands in until then without another try.
    pub retry: Option<Instant>,
}

impl Entry {
    pub fn is_fresh(&self, now: Now) -> bool {
        now.instant < self.expires
    }

    /// Whether it stands in for an answer that can't be had.
    pub fn stands_in(&self, now: Now) -> bool {
        self.records.is_ok() && now.instant < self.stale
    }
}

/// Answers by question, of which there are never more than the cap.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: Map<(Name, Kind), Entry>,
}

impl Cache {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn find(&self, name: &Name, kind: Kind) -> Option<&Entry> {
        self.entries.get(&(name.clone(), kind))
    }

    /// Remembers an answer. True where another had to go for it.
    pub fn put(&mut self, now: Now, (name, kind): (Name, Kind), entry: Entry, cap: usize) -> bool {
        let mut evicted = false;
        let key = (name, kind);
        if self.entries.len() >= cap.max(1) && !self.entries.contains_key(&key) {
            self.entries.retain(|_, entry| now.instant < entry.stale.max(entry.expires));
            while self.entries.len() >= cap.max(1) {
                let soonest = self.entries.iter().min_by_key(|(key, entry)| (entry.expires, (*key).clone()));
                let Some(soonest) = soonest.map(|(key, _)| key.clone()) else { break };
                self.entries.remove(&soonest);
                evicted = true;
            }
        }
        self.entries.insert(key, entry);
        evicted
    }

    /// Nobody could be asked: what is known stands in for `by`, or its lack is remembered as long.
    pub fn put_failure(&mut self, now: Now, key: (Name, Kind), by: Duration, cap: usize) -> bool {
        if let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.stands_in(now)) {
            entry.retry = Some(now.instant + by);
            return false;
        }
        let at = now.instant + by;
        self.put(now, key, Entry { records: Err(Missing::Away), expires: at, stale: at, retry: None }, cap)
    }
}
