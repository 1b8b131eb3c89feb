//! How long passes of the loop take, and what the slow ones were doing.

use super::control::{BOUNDS, Passes};
use crate::base::counters;
use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

/// A pass that takes longer is counted with what it was doing.
const SLOW: Duration = Duration::from_millis(5);
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
        }
    }

    pub(super) fn begin(&mut self, now: Instant) {
        (self.start, self.lap) = (now, now);
        self.parts = [Duration::ZERO; PARTS];
    }

    /// What was done since the last lap was this part.
    pub(super) fn lap(&mut self, now: Instant, part: Part) {
        self.parts[part as usize] += now.saturating_duration_since(self.lap);
        self.lap = now;
    }

    pub(super) fn end(&mut self) {
        let whole = self.lap.saturating_duration_since(self.start);
        self.histogram.saturating_record((whole.as_nanos() as u64).clamp(1_000, LONGEST));
        self.total += whole;
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
