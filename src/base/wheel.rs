//! Timers: a hierarchical wheel with a tick of one millisecond.
//!
//! Seven levels of 64 slots reach 139 years. A deadline sits at the level of the highest digit (base 64) in which it
//! differs from the wheel's time, so that insert and cancel are constant work and nothing is sorted. Timers fire at or
//! after their deadline, at most one tick late, and those of one tick in the order of insertion: a seed replays.

use std::cell::Cell;
use std::time::{Duration, Instant};

const LEVELS: usize = 7;
const NONE: u32 = u32::MAX;
/// How far before the first deadline time begins.
const BEFORE_FIRST: Duration = Duration::from_hours(24 * 400);

/// Names one armed timer; stale once it fired or was cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimerId {
    index: u32,
    generation: u32,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    tick: u64,
    list: u16,
    before: u32,
    after: u32,
    value: Option<T>,
}

#[derive(Clone, Copy, Debug)]
struct List {
    first: u32,
    last: u32,
}

/// Deadlines with what each is for.
#[derive(Debug)]
pub struct Wheel<T> {
    origin: Option<Instant>,
    tick: u64,
    occupied: [u64; LEVELS],
    // LEVELS * 64 slots, then one list of timers that are due.
    lists: Vec<List>,
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    len: usize,
    // The earliest tick, while it is known: a loop asks for it in every pass, and a slot may hold thousands.
    soonest: Cell<Option<u64>>,
}

const DUE: u16 = (LEVELS * 64) as u16;

impl<T> Default for Wheel<T> {
    fn default() -> Self {
        Wheel {
            origin: None,
            tick: 0,
            occupied: [0; LEVELS],
            lists: vec![List { first: NONE, last: NONE }; LEVELS * 64 + 1],
            entries: Vec::new(),
            free: Vec::new(),
            len: 0,
            soonest: Cell::new(None),
        }
    }
}

impl<T> Wheel<T> {
    /// Arms a timer.
    pub fn insert(&mut self, at: Instant, value: T) -> TimerId {
        // Tick 0 must lie before any deadline and any moment at which the wheel is asked: counted from the first
        // deadline itself, whatever is asked before it would fire early.
        let origin = *self.origin.get_or_insert_with(|| at.checked_sub(BEFORE_FIRST).unwrap_or(at));
        // Rounded up, so that nothing fires early; capped at the wheel's reach.
        let tick = at.saturating_duration_since(origin).as_nanos().div_ceil(1_000_000) as u64;
        let tick = tick.min((1 << (6 * LEVELS)) - 1);
        let entry = Entry { generation: 0, tick, list: 0, before: NONE, after: NONE, value: Some(value) };
        let index = if let Some(index) = self.free.pop() {
            let generation = self.entries[index as usize].generation;
            self.entries[index as usize] = Entry { generation, ..entry };
            index
        } else {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        };
        self.link(index);
        let known =
            if self.len == 0 { Some(tick) } else { self.soonest.get().map(|soonest| soonest.min(tick)) };
        self.soonest.set(known);
        self.len += 1;
        TimerId { index, generation: self.entries[index as usize].generation }
    }

    /// Disarms a timer; gives back its value unless it fired already.
    pub fn cancel(&mut self, id: TimerId) -> Option<T> {
        let entry = self.entries.get(id.index as usize)?;
        if entry.generation != id.generation || entry.value.is_none() {
            return None;
        }
        self.unlink(id.index);
        self.release(id.index)
    }

    /// The next timer whose deadline has passed. Call until `None`.
    pub fn expire(&mut self, now: Instant) -> Option<T> {
        let origin = self.origin?;
        let target = (now.saturating_duration_since(origin).as_nanos() / 1_000_000) as u64;
        loop {
            let due = self.lists[DUE as usize].first;
            if due != NONE {
                self.unlink(due);
                return self.release(due);
            }
            if !self.advance(target) {
                return None;
            }
        }
    }

    /// The earliest deadline.
    pub fn next(&self) -> Option<Instant> {
        if self.len == 0 {
            return None;
        }
        let origin = self.origin?;
        if self.soonest.get().is_none() {
            let list = if self.lists[DUE as usize].first == NONE { self.first_slot()? } else { DUE };
            let mut index = self.lists[list as usize].first;
            let mut soonest = u64::MAX;
            while index != NONE {
                let entry = &self.entries[index as usize];
                soonest = soonest.min(entry.tick);
                index = entry.after;
            }
            self.soonest.set(Some(soonest));
        }
        // A deadline between two ticks fires at the later one.
        self.soonest.get().map(|tick| origin + Duration::from_millis(tick))
    }

    /// How many timers are armed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is armed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lower levels always come before higher ones, and within a level lower slots before higher ones.
    fn first_slot(&self) -> Option<u16> {
        (0..LEVELS)
            .find(|&level| self.occupied[level] != 0)
            .map(|level| (level * 64) as u16 + self.occupied[level].trailing_zeros() as u16)
    }

    /// Moves time to the next occupied slot within `target`; false where there is none.
    fn advance(&mut self, target: u64) -> bool {
        let Some(slot) = self.first_slot() else {
            self.tick = self.tick.max(target);
            return false;
        };
        let level = u32::from(slot / 64);
        let digit = u64::from(slot % 64);
        let above = 6 * (level + 1);
        let start = (self.tick >> above << above) | digit << (6 * level);
        if start > target {
            // No entry's digit at its level is reached by then, so each stays where it is.
            self.tick = self.tick.max(target);
            return false;
        }
        self.tick = self.tick.max(start);
        self.cascade(slot);
        true
    }

    /// Links every entry of a slot anew, relative to the wheel's time.
    fn cascade(&mut self, slot: u16) {
        let mut index = self.lists[slot as usize].first;
        self.lists[slot as usize] = List { first: NONE, last: NONE };
        self.occupied[slot as usize / 64] &= !(1 << (slot % 64));
        while index != NONE {
            let after = self.entries[index as usize].after;
            self.link(index);
            index = after;
        }
    }

    fn link(&mut self, index: u32) {
        let tick = self.entries[index as usize].tick;
        let list = if tick <= self.tick {
            DUE
        } else {
            let level = (tick ^ self.tick).ilog2() / 6;
            let digit = (tick >> (6 * level)) & 63;
            self.occupied[level as usize] |= 1 << digit;
            (level * 64) as u16 + digit as u16
        };
        let last = self.lists[list as usize].last;
        let entry = &mut self.entries[index as usize];
        (entry.list, entry.before, entry.after) = (list, last, NONE);
        if last == NONE {
            self.lists[list as usize].first = index;
        } else {
            self.entries[last as usize].after = index;
        }
        self.lists[list as usize].last = index;
    }

    fn unlink(&mut self, index: u32) {
        let (list, before, after) = {
            let entry = &self.entries[index as usize];
            (entry.list, entry.before, entry.after)
        };
        if before == NONE {
            self.lists[list as usize].first = after;
        } else {
            self.entries[before as usize].after = after;
        }
        if after == NONE {
            self.lists[list as usize].last = before;
        } else {
            self.entries[after as usize].before = before;
        }
        if list != DUE && self.lists[list as usize].first == NONE {
            self.occupied[list as usize / 64] &= !(1 << (list % 64));
        }
    }

    fn release(&mut self, index: u32) -> Option<T> {
        let entry = &mut self.entries[index as usize];
        entry.generation = entry.generation.wrapping_add(1);
        if self.soonest.get() == Some(entry.tick) {
            self.soonest.set(None);
        }
        self.free.push(index);
        self.len -= 1;
        entry.value.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Random;

    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_first_deadline_does_not_fire_early_nor_one_before_it() {
        let (t0, ms) = (start(), Duration::from_millis);
        let mut wheel = Wheel::default();
        wheel.insert(t0 + ms(10_000), "late");
        wheel.insert(t0 + ms(5_000), "soon");
        assert_eq!(wheel.expire(t0 + ms(4_999)), None);
        assert_eq!(wheel.next(), Some(t0 + ms(5_000)));
        assert_eq!(wheel.expire(t0 + ms(5_000)), Some("soon"));
        assert_eq!(wheel.expire(t0 + ms(9_999)), None);
        assert_eq!(wheel.expire(t0 + ms(10_000)), Some("late"));
        assert!(wheel.is_empty());
    }

    #[test]
    fn fires_in_order_and_never_early() {
        let (t0, ms) = (start(), Duration::from_millis);
        for seed in 0..200 {
            let mut random = Random::from_number(seed);
            let mut wheel = Wheel::default();
            let mut armed: Vec<(Instant, u64, TimerId)> = Vec::new();
            let (mut now, mut serial) = (t0, 0);
            wheel.insert(t0, u64::MAX);
            assert_eq!(wheel.expire(t0), Some(u64::MAX));
            for _ in 0..300 {
                let range = [2, 70, 5_000, 400_000, 100_000_000][random.below(5) as usize];
                let at = now + Duration::from_micros(random.below(range * 1000));
                armed.push((at, serial, wheel.insert(at, serial)));
                serial += 1;
                if random.chance(0.2) {
                    let (_, value, id) = armed.swap_remove(random.below(armed.len() as u64) as usize);
                    assert_eq!(wheel.cancel(id), Some(value));
                    assert_eq!(wheel.cancel(id), None);
                }
                if random.chance(0.5) {
                    now += Duration::from_micros(random.below(range * 700));
                    while let Some(value) = wheel.expire(now) {
                        let place = armed.iter().position(|a| a.1 == value).unwrap();
                        assert!(armed.swap_remove(place).0 <= now);
                    }
                    assert!(armed.iter().all(|a| a.0 + ms(1) > now), "seed {seed}");
                }
                assert_eq!(wheel.len(), armed.len());
                let next = armed.iter().map(|a| a.0).min();
                let said = wheel.next();
                assert_eq!(next.is_some(), said.is_some());
                if let (Some(next), Some(said)) = (next, said) {
                    assert!(
                        said >= next && said <= next + ms(1),
                        "seed {seed}: {:?}",
                        said.duration_since(now)
                    );
                }
            }
        }
    }
}
