//! Time as an argument.

use std::time::{Duration, Instant};

/// This instant, on both clocks: monotonic for deadlines, wall for JWT, `Date`, NTP stamps and records.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The monotonic clock.
    pub instant: Instant,
    /// Time since the Unix epoch.
    pub unix: Duration,
}

impl Now {
    /// The same moment, `by` later on both clocks.
    pub fn after(self, by: Duration) -> Now {
        Now { instant: self.instant + by, unix: self.unix + by }
    }

    /// The 64-bit NTP timestamp of this moment (RFC 5905 section 6): seconds since 1900, and a fraction.
    pub fn ntp(self) -> u64 {
        const UNIX_TO_NTP: u64 = 2_208_988_800;
        let fraction = (u64::from(self.unix.subsec_nanos()) << 32) / 1_000_000_000;
        (self.unix.as_secs().wrapping_add(UNIX_TO_NTP)) << 32 | fraction
    }
}

/// When something must be looked at again, and why: the reason names the timer in traces and in the loop's histogram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline {
    /// The moment.
    pub at: Instant,
    /// The timer's name, as in the RFC where it has one (`"timer_b"`).
    pub why: &'static str,
}

impl Deadline {
    /// The sooner of two.
    pub fn sooner(a: Option<Deadline>, b: Option<Deadline>) -> Option<Deadline> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ntp_of_the_unix_epoch_is_1900_plus_seventy_years() {
        #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
        let instant = Instant::now();
        let now = Now { instant, unix: Duration::from_millis(500) };
        assert_eq!(now.ntp() >> 32, 2_208_988_800);
        assert_eq!(now.ntp() & 0xffff_ffff, 0x8000_0000);
    }
}
