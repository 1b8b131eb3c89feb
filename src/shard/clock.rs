//! Where time comes from.

use crate::base::Now;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long the wall clock is carried on by the monotonic one before it is read again: who sets it is heard so late.
const CARRY: Duration = Duration::from_millis(100);

/// This moment, on both clocks.
#[expect(clippy::disallowed_methods, reason = "the loop is where time comes from")]
pub fn clock() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now(), unix }
}

#[expect(clippy::disallowed_methods, reason = "the loop is where time comes from")]
pub(super) fn instant() -> Instant {
    Instant::now()
}

/// Both clocks by reading one.
#[derive(Debug)]
pub(super) struct Clock {
    read: Now,
}

impl Clock {
    pub(super) fn new(now: Now) -> Clock {
        Clock { read: now }
    }

    /// This moment, the wall clock's at most 100 ms out of date with what was set.
    pub(super) fn now(&mut self) -> Now {
        let passed = instant().saturating_duration_since(self.read.instant);
        if passed >= CARRY {
            self.read = clock();
            return self.read;
        }
        self.read.after(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wall_clock_is_carried_on_and_read_again() {
        let start = clock();
        let mut carried = Clock::new(start);
        let now = carried.now();
        let passed = now.instant.saturating_duration_since(start.instant);
        assert_eq!(now.unix, start.after(passed).unix);
        // As if it had been set back by an hour long ago.
        let past = start.instant.checked_sub(2 * CARRY).unwrap();
        let mut stale = Clock::new(Now { instant: past, unix: start.unix + Duration::from_hours(1) });
        assert!(stale.now().unix < start.unix + Duration::from_mins(30));
    }
}
