//! How long passes of the loop take, and what the slow ones were doing.

use super::control::{BOUNDS, Passes};
use crate::base::counters;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// A pass that takes longer is counted with what it was doing.
const SLOW: Duration = Duration::from_millis(5);
/// Over how long it is measured how busy the loop is.
const WINDOW: Duration = Duration::from_secs(1);
/// A shard that refuses calls takes them again when it is so many percent less busy than when it began to, or half as
/// busy where that is nearer.
const RELIEF: u8 = 10;
/// The histogram's reach, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;

counters! {
    /// Passes over 5 ms, by what took the largest part.
    pub struct Slow {
        /// Receiving, forwarding and sending media, and the handshakes and SIP messages among it.
        datagrams,
        /// Messages and orders from other threads.
        mail,
        /// Connections.
        streams,
        /// Deadlines.
        timers,
        /// Carrying out what the machines asked for.
        outputs,
    }
}

/// A part of a pass.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Part {
    Datagrams,
    Mail,
    Streams,
    Timers,
    Outputs,
}

const PARTS: usize = 5;

/// The stop-watch.
#[derive(Debug)]
pub(super) struct Pace {
    histogram: Histogram<u64>,
    total: Duration,
    slow: Slow,
    start: Instant,
    lap: Instant,
    parts: [Duration; PARTS],
    /// Since when it is measured how busy the loop is, and the time at work since then.
    window: (Instant, Duration),
    load: u8,
    full: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Pace {
        // 1 µs to 60 s in 2 digits: 20 kB, and recording never allocates.
        let histogram = Histogram::new_with_bounds(1_000, LONGEST, 2);
        Pace {
            histogram: histogram.unwrap_or_else(|_| unreachable!("the bounds are constants in range")),
            total: Duration::ZERO,
            slow: Slow::default(),
            start: now,
            lap: now,
            parts: [Duration::ZERO; PARTS],
            window: (now, Duration::ZERO),
            load: 0,
            full: false,
        }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        (self.start, self.lap) = (now, now);
        self.parts = [Duration::ZERO; PARTS];
    }

    /// What was done since the last lap was this part. A part that finds nothing to do needs no lap.
    pub(super) fn lap(&mut self, now: Instant, part: Part) {
        self.parts[part as usize] += now.saturating_duration_since(self.lap);
        self.lap = now;
    }

    /// When the clock was read last.
    pub(super) fn last(&self) -> Instant {
        self.lap
    }

    pub(super) fn end(&mut self) {
        let whole = self.lap.saturating_duration_since(self.start);
        self.histogram.saturating_record((whole.as_nanos() as u64).clamp(1_000, LONGEST));
        self.total += whole;
        self.window.1 += whole;
        if whole < SLOW {
            return;
        }
        let longest = (0..PARTS).max_by_key(|&n| self.parts[n]).unwrap_or(0);
        let count = [
            &mut self.slow.datagrams,
            &mut self.slow.mail,
            &mut self.slow.streams,
            &mut self.slow.timers,
            &mut self.slow.outputs,
        ];
        if let Some(count) = count.into_iter().nth(longest) {
            *count += 1;
        }
    }

    /// How busy the loop was in the last whole second, in percent.
    pub(super) fn load(&self) -> u8 {
        self.load
    }

    /// Whether new calls are to be refused from now on, or taken again; `None` while nothing changes. `most` is how
    /// busy the loop may be, in percent.
    pub(super) fn weigh(&mut self, most: u8) -> Option<bool> {
        let (start, busy) = self.window;
        let whole = self.lap.saturating_duration_since(start);
        if whole < WINDOW {
            return None;
        }
        self.load = (busy.as_nanos() * 100 / whole.as_nanos().max(1)).min(100) as u8;
        self.window = (self.lap, Duration::ZERO);
        let limit = if self.full { most - RELIEF.min(most / 2) } else { most };
        let full = most > 0 && self.load >= limit;
        (full != std::mem::replace(&mut self.full, full)).then_some(full)
    }

    pub(super) fn slow(&self) -> &Slow {
        &self.slow
    }

    /// How many passes took no longer than each of the bounds.
    fn within(&self) -> [u64; BOUNDS.len()] {
        let mut counts = [0; BOUNDS.len()];
        for value in self.histogram.iter_recorded() {
            let at = Duration::from_nanos(value.value_iterated_to());
            let bounds = BOUNDS.iter().zip(&mut counts).filter(|(bound, _)| at <= **bound);
            bounds.for_each(|(_, count)| *count += value.count_since_last_iteration());
        }
        counts
    }

    pub(super) fn passes(&self) -> Passes {
        let at = |quantile| Duration::from_nanos(self.histogram.value_at_quantile(quantile));
        Passes {
            count: self.histogram.len(),
            p50: at(0.5),
            p99: at(0.99),
            p999: at(0.999),
            max: Duration::from_nanos(self.histogram.max()),
            total: self.total,
            within: self.within(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_without_time_is_full_until_it_has_some_again() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let start = Instant::now();
        let mut pace = Pace::new(start);
        // One pass of 100 ms in each, of which so many are work.
        let mut second = |from: u64, busy: u64| {
            let mut said = Vec::new();
            for n in 0..10 {
                let at = start + Duration::from_millis(from * 1000 + n * 100);
                pace.begin(at);
                said.extend(pace.weigh(95));
                pace.lap(at + Duration::from_millis(busy), Part::Datagrams);
                pace.end();
            }
            said
        };
        // What a second was like is known when the next begins.
        let none: [bool; 0] = [];
        assert_eq!(second(0, 90), none);
        assert_eq!(second(1, 97), none);
        assert_eq!(second(2, 90), [true]);
        assert_eq!(second(3, 80), none, "a little less is not enough");
        assert_eq!(second(4, 97), [false]);
        assert_eq!(second(5, 97), [true]);
        assert_eq!(pace.load(), 97);
        // Nothing happened for a while, so nobody looked.
        pace.begin(start + Duration::from_mins(1));
        assert_eq!((pace.weigh(95), pace.load()), (Some(false), 1));
    }

    #[test]
    fn a_low_limit_is_left_behind_too() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let start = Instant::now();
        for most in 1..=100 {
            let mut pace = Pace::new(start);
            pace.begin(start);
            pace.lap(start + WINDOW, Part::Datagrams);
            pace.end();
            pace.begin(start + WINDOW);
            assert_eq!(pace.weigh(most), Some(true), "{most}");
            pace.begin(start + 2 * WINDOW);
            assert_eq!(pace.weigh(most), Some(false), "{most}: nothing is done any more");
        }
    }

    #[test]
    fn a_slow_pass_is_put_down_to_its_longest_part() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let start = Instant::now();
        let ms = |n| start + Duration::from_millis(n);
        let mut pace = Pace::new(start);
        pace.begin(ms(0));
        pace.lap(ms(1), Part::Datagrams);
        pace.lap(ms(5), Part::Timers);
        pace.lap(ms(6), Part::Outputs);
        pace.end();
        pace.begin(ms(10));
        pace.lap(ms(14), Part::Datagrams);
        pace.end();
        assert_eq!(pace.slow(), &Slow { timers: 1, ..Slow::default() });
        let passes = pace.passes();
        assert_eq!(passes.count, 2);
        assert!(passes.max >= Duration::from_micros(5_900) && passes.p50 >= Duration::from_micros(3_900));
    }
}
