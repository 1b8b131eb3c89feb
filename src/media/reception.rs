//! What is heard of one source: losses and jitter, as RFC 3550 sections A.1, A.3 and A.8 count them.

use crate::rtp::rtcp::{Block, Sending};
use crate::rtp::{Extended, Header};
use std::time::{Duration, Instant};

/// A leap by more than this is another place in the source.
const LEAP: i64 = 3000;
/// A packet further back than this is another place in the source.
const MISORDER: i64 = 100;

#[derive(Debug)]
pub(super) struct Reception {
    pub(super) ssrc: u32,
    base: u64,
    highest: Extended,
    received: u64,
    // Both at the last report.
    expected_before: u64,
    received_before: u64,
    // Sixteen times the jitter, in timestamp units.
    jitter: u32,
    transit: Option<u32>,
    clock: u32,
    leap: Option<u16>,
    // The middle of the last sender report's NTP timestamp, and when it came.
    report: Option<(u32, Instant)>,
}

impl Reception {
    pub(super) fn new(header: &Header, clock: u32) -> Reception {
        let highest = Extended::new(header.sequence);
        Reception {
            ssrc: header.ssrc,
            base: highest.highest(),
            highest,
            received: 0,
            expected_before: 0,
            received_before: 0,
            jitter: 0,
            transit: None,
            clock,
            leap: None,
            report: None,
        }
    }

    /// Counts a packet. `arrived` is the time since some fixed moment, `clock` is `None` where timestamps stand still.
    #[inline]
    pub(super) fn hear(&mut self, arrived: Duration, header: &Header, clock: Option<u32>) {
        let number = self.highest.unwrap(header.sequence);
        let step = number.cast_signed() - self.highest.highest().cast_signed();
        if !(-MISORDER..=LEAP).contains(&step) {
            if self.leap != Some(header.sequence) {
                self.leap = Some(header.sequence.wrapping_add(1));
                return;
            }
            *self = Reception { report: self.report, ..Reception::new(header, self.clock) };
        }
        self.leap = None;
        self.highest.advance(number);
        self.received += 1;
        let Some(clock) = clock else { return };
        if clock != self.clock {
            (self.clock, self.transit) = (clock, None);
        }
        let units = arrived.as_secs().wrapping_mul(u64::from(clock))
            + u64::from(arrived.subsec_nanos()) * u64::from(clock) / 1_000_000_000;
        let transit = (units as u32).wrapping_sub(header.timestamp);
        if let Some(before) = self.transit {
            let differs = transit.wrapping_sub(before).cast_signed().unsigned_abs();
            // A splice in the source is no jitter: a second is more than any network's.
            if differs < clock {
                self.jitter = self.jitter + differs - ((self.jitter + 8) >> 4);
            }
        }
        self.transit = Some(transit);
    }

    /// Takes note of the source's own report.
    pub(super) fn on_report(&mut self, now: Instant, sending: &Sending) {
        self.report = Some(((sending.ntp >> 16) as u32, now));
    }

    fn expected(&self) -> u64 {
        self.highest.highest().saturating_sub(self.base) + 1
    }

    /// Packets lost; negative where duplicates outnumber losses.
    pub(super) fn lost(&self) -> i64 {
        self.expected().cast_signed() - self.received.cast_signed()
    }

    pub(super) fn jitter(&self) -> Duration {
        let units = u64::from(self.jitter >> 4);
        Duration::from_nanos(units * 1_000_000_000 / u64::from(self.clock.max(1)))
    }

    /// The block of the next report.
    pub(super) fn report(&mut self, now: Instant) -> Block {
        let expected = self.expected().saturating_sub(self.expected_before);
        let received = self.received.saturating_sub(self.received_before);
        (self.expected_before, self.received_before) = (self.expected(), self.received);
        let lost = expected.saturating_sub(received);
        let fraction = (lost << 8).checked_div(expected).unwrap_or(0).min(255) as u8;
        let delay = self.report.map_or(0, |(_, at)| {
            let since = now.saturating_duration_since(at);
            (since.as_nanos() * 65_536 / 1_000_000_000).min(u128::from(u32::MAX)) as u32
        });
        Block {
            ssrc: self.ssrc,
            fraction,
            lost: self.lost().clamp(-0x80_0000, 0x7f_ffff) as i32,
            // The number begins one wrap above zero.
            highest: (self.highest.highest() - (1 << 16).min(self.highest.highest())) as u32,
            jitter: self.jitter >> 4,
            last_sr: self.report.map_or(0, |(middle, _)| middle),
            delay,
        }
    }
}
