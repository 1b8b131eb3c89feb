//! One stable timeline toward a receiver: whatever source is heard, its sequence numbers and timestamps go on.
//!
//! A receiver hears one SSRC for the leg's life. At a *splice* (another source, another leg, the end of a hold, a leap)
//! the next packet follows the last one: the sequence number by one, the timestamp by the time that passed. Within one
//! source, order and losses are kept as they came, and a packet that was there before is refused.

use super::srtp::{Place, Window};
use crate::rtp::{Extended, Header};
use std::time::{Duration, Instant};

/// A leap by more sequence numbers than this is another place in the source (RFC 3550 section A.1).
const LEAP: i64 = 3000;
/// A timestamp further ahead of the clock than this is another place in the source.
const AHEAD: Duration = Duration::from_secs(2);
/// How long a source that was left is not believed to be back: its last packets are still under way.
const FAREWELL: Duration = Duration::from_millis(500);
/// How far before the first packet of all a reordered one may lie.
const BEFORE: u64 = 64;

/// The payload of a packet, as far as time is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Beat {
    /// Clock rate of the stream that it belongs to.
    pub(super) clock: u32,
    /// Timestamp units that a packet lasts, as far as is known.
    pub(super) step: u32,
    /// A telephone-event: its timestamp stands still while it lasts.
    pub(super) event: bool,
    /// Its timestamps run at another clock than they will: they are made from the time of arrival.
    pub(super) scaled: bool,
}

/// Where a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// The outgoing index: the sequence number with its wraps.
    pub(super) index: u64,
    /// The outgoing timestamp.
    pub(super) timestamp: u32,
    /// The first after a splice: carries the marker.
    pub(super) splice: bool,
}

/// Why a packet has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lost {
    Repeated,
    Old,
    Leap,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    highest: Extended,
    // Outgoing index minus the source's number.
    offset: i64,
    floor: u64,
    // Outgoing timestamp minus the source's.
    shift: u32,
    // The source's timestamp at its highest packet; unknown after a splice at an event of another clock.
    timestamp: Option<u32>,
    clock: u32,
    // The timestamp of the last event, theirs and ours.
    event: Option<(u32, u32)>,
}

#[derive(Debug)]
pub(super) struct Timeline {
    used: Window,
    // The next splice begins after this.
    last: u64,
    begun: bool,
    timestamp: u32,
    // When `timestamp` was sent.
    at: Option<Instant>,
    clock: u32,
    source: Option<Source>,
    left: Option<(u32, Instant)>,
    // What would prove a leap.
    leap: Option<(u32, u16)>,
}

fn units(time: Duration, clock: u32) -> u32 {
    // Wraps as timestamps do.
    (time.as_secs().wrapping_mul(u64::from(clock)))
        .wrapping_add(u64::from(time.subsec_nanos()) * u64::from(clock) / 1_000_000_000) as u32
}

impl Timeline {
    /// Begins somewhere in the lower half of the first rollover (RFC 3711 section 3.3.1), at any timestamp.
    pub(super) fn new(random: u64) -> Timeline {
        Timeline {
            used: Window::default(),
            last: 1024 + (random & 0x3fff),
            begun: false,
            timestamp: (random >> 32) as u32,
            at: None,
            clock: 8000,
            source: None,
            left: None,
            leap: None,
        }
    }

    /// The next packet, whatever it is, follows the last one without a gap.
    pub(super) fn cut(&mut self) {
        self.source = None;
        self.left = None;
        self.leap = None;
    }

    /// The receiver has new keys: the index goes on in a later rollover, whose first index is given back.
    pub(super) fn renew(&mut self, random: u64) -> u64 {
        self.cut();
        let base = if self.begun { ((self.last >> 16) + 1) << 16 } else { 0 };
        self.last = base + 1024 + (random & 0x3fff);
        base
    }

    /// The timestamp of this moment, for sender reports; `None` before the first packet.
    pub(super) fn moment(&self, now: Instant) -> Option<u32> {
        let since = now.saturating_duration_since(self.at?);
        Some(self.timestamp.wrapping_add(units(since, self.clock)))
    }

    /// A place for a packet of our own, between those of the source; at `timestamp`, or at this moment.
    pub(super) fn insert(&mut self, now: Instant, beat: Beat, timestamp: Option<u32>) -> Slot {
        let index = self.last + 1;
        self.last = index;
        self.begun = true;
        self.used.mark(index);
        if let Some(source) = &mut self.source {
            // What comes next follows. One that is late may find its place taken, and is lost.
            source.offset += 1;
        }
        let timestamp = timestamp.unwrap_or_else(|| {
            let next = self.next(now, beat);
            (self.timestamp, self.clock, self.at) = (next, beat.clock, Some(now));
            next
        });
        Slot { index, timestamp, splice: false }
    }

    /// The place of a packet, which is taken from now on.
    #[inline]
    pub(super) fn place(&mut self, now: Instant, header: &Header, beat: Beat) -> Result<Slot, Lost> {
        let Some(source) = &mut self.source else { return Ok(self.splice(now, header, beat)) };
        if source.ssrc != header.ssrc {
            return self.change(now, header, beat);
        }
        let number = source.highest.unwrap(header.sequence);
        let step = number.cast_signed() - source.highest.highest().cast_signed();
        if step > LEAP || step <= -Window::LENGTH.cast_signed() {
            return self.on_leap(now, header, beat);
        }
        let Some(index) = number.checked_add_signed(source.offset).filter(|index| *index >= source.floor)
        else {
            return Err(Lost::Old);
        };
        match self.used.place(index) {
            Place::Free => {}
            Place::Taken => return Err(Lost::Repeated),
            Place::Old => return Err(Lost::Old),
        }
        self.used.mark(index);
        self.leap = None;
        if step < 0 {
            let timestamp = match source.event {
                Some((theirs, ours)) if beat.scaled && theirs == header.timestamp => ours,
                _ => header.timestamp.wrapping_add(source.shift),
            };
            return Ok(Slot { index, timestamp, splice: false });
        }
        source.highest.advance(number);
        self.last = index;
        if beat.event {
            return Ok(Slot { index, timestamp: self.on_event(now, header.timestamp, beat), splice: false });
        }
        let steady = source.clock == beat.clock
            && source.timestamp.is_some_and(|before| {
                let ahead = header.timestamp.wrapping_sub(before);
                // Up to two seconds need no look at the clock.
                ahead <= 2 * beat.clock || plausible(ahead, self.at, now, beat.clock)
            });
        if !steady {
            return Ok(self.anchor(now, index, header, beat));
        }
        source.timestamp = Some(header.timestamp);
        self.timestamp = header.timestamp.wrapping_add(source.shift);
        self.at = Some(now);
        Ok(Slot { index, timestamp: self.timestamp, splice: false })
    }

    /// Another source. The one left before is not believed at once.
    #[cold]
    fn change(&mut self, now: Instant, header: &Header, beat: Beat) -> Result<Slot, Lost> {
        if let Some((ssrc, at)) = self.left
            && ssrc == header.ssrc
            && now.saturating_duration_since(at) < FAREWELL
        {
            return Err(Lost::Old);
        }
        self.left = self.source.map(|source| (source.ssrc, now));
        Ok(self.splice(now, header, beat))
    }

    /// A leap is believed when the next packet proves it.
    #[cold]
    fn on_leap(&mut self, now: Instant, header: &Header, beat: Beat) -> Result<Slot, Lost> {
        if self.leap == Some((header.ssrc, header.sequence)) {
            return Ok(self.splice(now, header, beat));
        }
        self.leap = Some((header.ssrc, header.sequence.wrapping_add(1)));
        Err(Lost::Leap)
    }

    /// The source goes on at this packet, which follows the last one sent.
    #[cold]
    fn splice(&mut self, now: Instant, header: &Header, beat: Beat) -> Slot {
        let highest = Extended::new(header.sequence);
        let index = self.last + 1;
        self.source = Some(Source {
            ssrc: header.ssrc,
            highest,
            offset: index.cast_signed() - highest.highest().cast_signed(),
            floor: if self.begun { index } else { index - BEFORE },
            shift: 0,
            timestamp: None,
            clock: beat.clock,
            event: None,
        });
        self.last = index;
        self.leap = None;
        self.used.mark(index);
        let slot = self.anchor(now, index, header, beat);
        self.begun = true;
        slot
    }

    /// The timestamp goes on by the time that passed.
    #[cold]
    fn anchor(&mut self, now: Instant, index: u64, header: &Header, beat: Beat) -> Slot {
        let timestamp = self.next(now, beat);
        if let Some(source) = &mut self.source {
            source.shift = timestamp.wrapping_sub(header.timestamp);
            source.clock = beat.clock;
            source.timestamp = if beat.scaled { None } else { Some(header.timestamp) };
            source.event = beat.event.then_some((header.timestamp, timestamp));
        }
        self.timestamp = timestamp;
        self.clock = beat.clock;
        self.at = Some(now);
        Slot { index, timestamp, splice: true }
    }

    fn next(&self, now: Instant, beat: Beat) -> u32 {
        match self.at {
            Some(at) => {
                let passed = units(now.saturating_duration_since(at), beat.clock);
                self.timestamp.wrapping_add(passed.max(beat.step))
            }
            None => self.timestamp,
        }
    }

    /// An event's reports share one timestamp. Where clocks differ, it is the time when the first one came.
    fn on_event(&mut self, now: Instant, theirs: u32, beat: Beat) -> u32 {
        let next = self.next(now, beat);
        let Some(source) = &mut self.source else { return next };
        match source.event {
            Some((before, ours)) if before == theirs => ours,
            _ => {
                let ours = if beat.scaled { next } else { theirs.wrapping_add(source.shift) };
                source.event = Some((theirs, ours));
                ours
            }
        }
    }
}

/// Whether a timestamp so far ahead of the last one fits the time that passed.
#[cold]
fn plausible(ahead: u32, at: Option<Instant>, now: Instant, clock: u32) -> bool {
    let passed = at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at)) + AHEAD;
    // Half the range ahead is behind.
    ahead < 1 << 31 && u64::from(ahead) <= u64::from(clock) * (passed.as_secs() + 1)
}
