//! Limits that hold over all shards: calls at once, and calls in any one second.
//!
//! A [`Quota`] is shared by all shards and touched only when a call is set up and when it is over, so that a limit of
//! ten admits ten and not ten a core.

use crate::base::Now;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// The window of a rate.
const SECOND: Duration = Duration::from_secs(1);
/// The highest rate that a quota counts, in calls a second: each takes eight bytes.
pub const MOST_RATE: u32 = 10_000;

/// What a trunk or a route may carry.
#[derive(Debug, Default)]
pub struct Quota {
    most: Option<u32>,
    held: AtomicU32,
    /// One for each call that a second may begin: when it was last taken, in microseconds from `epoch` and one; 0: never.
    starts: Box<[AtomicU64]>,
    /// Where the search for a free one begins.
    hint: AtomicUsize,
    epoch: OnceLock<Instant>,
}

/// Which limit a call met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Full {
    /// As many calls as there may be at once.
    Calls,
    /// As many calls as a second may begin.
    Rate,
}

/// A call's place in a quota, given back when it is dropped.
#[derive(Debug)]
pub struct Held(Arc<Quota>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Quota {
    /// At most so many calls at once, and so many begun in any one second; no limit where absent. A rate above
    /// [`MOST_RATE`] is none.
    pub fn new(calls: Option<u32>, rate: Option<u32>) -> Quota {
        let rate = rate.filter(|rate| *rate <= MOST_RATE).unwrap_or(0);
        let starts = (0..rate).map(|_| AtomicU64::new(0)).collect();
        Quota { most: calls, starts, ..Quota::default() }
    }

    /// Calls that hold a place now.
    pub fn held(&self) -> u32 {
        self.held.load(Ordering::Acquire)
    }

    /// Calls at once that it allows.
    pub fn most(&self) -> Option<u32> {
        self.most
    }

    /// Takes a place for one call. `always`: even where there is none left, for a call that must go.
    ///
    /// # Errors
    ///
    /// The limit that the call met; nothing is taken then.
    pub fn take(self: &Arc<Quota>, now: Now, always: bool) -> Result<Held, Full> {
        let room = |held: u32| (always || self.most.is_none_or(|most| held < most)).then_some(held + 1);
        self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, room).map_err(|_| Full::Calls)?;
        // From here on it is given back.
        let held = Held(Arc::clone(self));
        if self.starts.is_empty() || self.start(now) || always { Ok(held) } else { Err(Full::Rate) }
    }

    /// Takes a start that nobody has taken for a second: at most as many as there are in any window of that length,
    /// whichever shards race for them.
    fn start(&self, now: Now) -> bool {
        let epoch = *self.epoch.get_or_init(|| now.instant);
        let at = now.instant.saturating_duration_since(epoch).as_micros() as u64 + 1;
        let (first, all) = (self.hint.load(Ordering::Relaxed), self.starts.len());
        for place in (first..first + all).map(|n| n % all) {
            let before = self.starts[place].load(Ordering::Acquire);
            let free = before == 0 || at.saturating_sub(before) >= SECOND.as_micros() as u64;
            let take = |slot: &AtomicU64| {
                slot.compare_exchange(before, at, Ordering::AcqRel, Ordering::Acquire).is_ok()
            };
            if free && take(&self.starts[place]) {
                self.hint.store((place + 1) % all, Ordering::Relaxed);
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;

    fn now() -> Now {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let instant = Instant::now();
        Now { instant, unix: Duration::ZERO }
    }

    #[test]
    fn as_many_calls_as_allowed_and_what_ended_makes_room() {
        let quota = Arc::new(Quota::new(Some(2), None));
        let (first, _second) = (quota.take(now(), false).unwrap(), quota.take(now(), false).unwrap());
        assert_eq!(quota.take(now(), false).unwrap_err(), Full::Calls);
        let urgent = quota.take(now(), true).unwrap();
        assert_eq!(quota.held(), 3);
        drop(urgent);
        assert_eq!(quota.take(now(), false).unwrap_err(), Full::Calls);
        drop(first);
        assert!(quota.take(now(), false).is_ok());
    }

    #[test]
    fn no_second_has_more_starts_than_allowed_wherever_it_begins() {
        let (quota, begin) = (Arc::new(Quota::new(None, Some(10))), now());
        let mut taken = Vec::new();
        // Three seconds, a try each 7 ms.
        for step in 0..430_u64 {
            let at = Duration::from_millis(7 * step);
            match quota.take(begin.after(at), false) {
                Ok(_) => taken.push(at),
                Err(full) => assert_eq!(full, Full::Rate),
            }
        }
        for first in &taken {
            let second = taken.iter().filter(|at| *at >= first && **at < *first + SECOND).count();
            assert!(second <= 10, "{second} from {first:?}");
        }
        assert!((30..=40).contains(&taken.len()), "{}", taken.len());
        // Refused starts hold no place.
        assert_eq!(quota.held(), 0);
    }

    #[test]
    fn threads_that_race_get_exactly_what_there_is() {
        for round in 0..200 {
            let quota = Arc::new(Quota::new(Some(7), Some(10)));
            let (barrier, at) = (Arc::new(Barrier::new(4)), now());
            let racers: Vec<_> = (0..4)
                .map(|_| {
                    let (quota, barrier) = (Arc::clone(&quota), Arc::clone(&barrier));
                    thread::spawn(move || {
                        barrier.wait();
                        (0..5).filter_map(|_| quota.take(at, false).ok()).collect::<Vec<Held>>()
                    })
                })
                .collect();
            let held: Vec<Held> = racers.into_iter().flat_map(|racer| racer.join().unwrap()).collect();
            assert_eq!(held.len(), 7, "round {round}");
            drop(held);
            assert_eq!(quota.held(), 0);
            // Seven of this second's ten are gone: three are left, though seven places are free.
            let more: Vec<_> = (0..7).map_while(|_| quota.take(at, false).ok()).collect();
            assert_eq!(more.len(), 3, "round {round}");
        }
    }
}
