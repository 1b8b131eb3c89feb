//! Keys in a stream of telephone-event reports: each is told once, whatever is lost, doubled or out of order.

use crate::rtp::{Header, TelephoneEvent};
use std::time::{Duration, Instant};

/// Keys that may be told at once, before they come no faster than [`PACE`].
const BURST: u32 = 24;
/// The least time between two keys in the long run: quicker than any hand or tone generator.
const PACE: Duration = Duration::from_millis(40);
/// After so long without reports an older timestamp is another beginning, not a late packet.
const FORGET: Duration = Duration::from_secs(10);

/// After so long without reports a key is released, whose end was lost. Reports come each 50 ms at the least often
/// (RFC 4733 section 2.5.1.1).
pub(super) const QUIET: Duration = Duration::from_millis(200);
/// What is told of a key of which a single report came.
const SHORTEST: Duration = Duration::from_millis(40);

/// A key that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pressed {
    pub(super) digit: char,
    pub(super) duration: Duration,
    /// The other leg is sent its reports.
    pub(super) forwarded: bool,
}

/// What a report tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Keys that are released: the one before, whose end was lost, and this one.
    pub(super) keys: [Option<Pressed>; 2],
    /// A key is pressed now.
    pub(super) begun: bool,
    /// A new one, too soon.
    pub(super) too_fast: bool,
}

/// How reports come and go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// The clock of durations.
    pub(super) clock: u32,
    /// The other leg is sent them.
    pub(super) forwarded: bool,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    ssrc: u32,
    timestamp: u32,
    event: u8,
    ended: bool,
    at: Instant,
    /// Units of its segments that are over, and of the present one.
    before: u64,
    lasted: u16,
    way: Way,
    /// What is still to be told.
    digit: Option<char>,
}

impl Press {
    fn hear(&mut self, now: Instant, report: TelephoneEvent) {
        self.ended |= report.end;
        self.lasted = self.lasted.max(report.duration);
        self.at = now;
    }

    fn release(&mut self) -> Option<Pressed> {
        let digit = self.digit.take()?;
        let units = self.before + u64::from(self.lasted);
        let duration = Duration::from_millis(units * 1000 / u64::from(self.way.clock.max(1)));
        Some(Pressed { digit, duration: duration.max(SHORTEST), forwarded: self.way.forwarded })
    }
}

/// The keys of one party.
#[derive(Debug, Default)]
pub(super) struct Digits {
    last: Option<Press>,
    /// Keys told of the burst.
    told: u32,
    /// When the burst was last paid back.
    since: Option<Instant>,
}

impl Digits {
    /// Takes a report. Its timestamp names the key press (RFC 4733 section 2.2.1).
    pub(super) fn hear(&mut self, now: Instant, header: &Header, report: TelephoneEvent, way: Way) -> Heard {
        let mut heard = Heard::default();
        if let Some(last) = &mut self.last {
            let ahead = header.timestamp.wrapping_sub(last.timestamp);
            let same = last.ssrc == header.ssrc;
            // A press longer than the duration can say goes on under a new timestamp (section 2.5.1.3).
            let long = (0x8000..=0xffff).contains(&ahead) && !last.ended && !header.marker;
            if same && (ahead == 0 || (long && last.event == report.event)) {
                if ahead != 0 {
                    (last.timestamp, last.before, last.lasted) =
                        (header.timestamp, last.before + u64::from(ahead), 0);
                }
                last.hear(now, report);
                heard.keys[1] = last.ended.then(|| last.release()).flatten();
                return heard;
            }
            if same && ahead >= 1 << 31 && now.saturating_duration_since(last.at) < FORGET {
                return heard;
            }
            heard.keys[0] = last.release();
        }
        let digit = report.digit().filter(|_| self.may_tell(now));
        heard.too_fast = digit.is_none() && report.digit().is_some();
        let mut press = Press {
            ssrc: header.ssrc,
            timestamp: header.timestamp,
            event: report.event,
            ended: false,
            at: now,
            before: 0,
            lasted: 0,
            way,
            digit,
        };
        press.hear(now, report);
        heard.keys[1] = press.ended.then(|| press.release()).flatten();
        heard.begun = press.digit.is_some();
        self.last = Some(press);
        heard
    }

    /// The key of which no report has come for a while.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<Pressed> {
        self.last.as_mut().filter(|last| now.saturating_duration_since(last.at) >= QUIET)?.release()
    }

    /// When the key that is pressed would be overdue.
    pub(super) fn quiet_at(&self) -> Option<Instant> {
        self.last.filter(|last| last.digit.is_some()).map(|last| last.at + QUIET)
    }

    fn may_tell(&mut self, now: Instant) -> bool {
        let since = *self.since.get_or_insert(now);
        let paid = now.saturating_duration_since(since).as_millis() / PACE.as_millis();
        if paid > 0 {
            self.told = self.told.saturating_sub(u32::try_from(paid).unwrap_or(u32::MAX));
            self.since = Some(now);
        }
        let may = self.told < BURST;
        self.told += u32::from(may);
        may
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

    const WAY: Way = Way { clock: 8000, forwarded: true };

    fn head(timestamp: u32, marker: bool) -> Header {
        Header {
            marker,
            padding: false,
            payload_type: 101,
            sequence: 0,
            timestamp,
            ssrc: 7,
            csrcs: 0,
            extended: false,
            length: 12,
        }
    }

    fn report(digit: char, duration: u16, end: bool) -> TelephoneEvent {
        TelephoneEvent { event: TelephoneEvent::of(digit).unwrap(), end, volume: 10, duration }
    }

    /// A press of 100 ms: a report each 20 ms and the last one three times.
    fn press(digit: char, timestamp: u32) -> Vec<(Header, TelephoneEvent)> {
        let mut reports: Vec<_> =
            (1..=5).map(|n| (head(timestamp, n == 1), report(digit, n * 160, false))).collect();
        reports.extend([(head(timestamp, false), report(digit, 800, true)); 3]);
        reports
    }

    #[test]
    fn every_key_is_told_once_and_in_order_whatever_is_lost_doubled_or_late() {
        for seed in 0..200 {
            let (mut digits, mut random, mut now) = (Digits::default(), Random::from_number(seed), start());
            let keys = "1234567890*#ABCD1122";
            let mut stream: Vec<_> =
                keys.chars().enumerate().flat_map(|(n, key)| press(key, 1_000 + n as u32 * 1_600)).collect();
            for n in 1..stream.len() {
                if random.chance(0.05) {
                    stream.swap(n - 1, n);
                }
            }
            let mut told = String::new();
            for (header, report) in stream {
                now += Duration::from_millis(20);
                let copies = if random.chance(0.05) { 2 } else { 1 };
                for _ in 0..copies {
                    if random.chance(0.05) {
                        continue;
                    }
                    let heard = digits.hear(now, &header, report, WAY);
                    told.extend(heard.keys.into_iter().flatten().map(|key| key.digit));
                }
            }
            told.extend(digits.overdue(now + QUIET).map(|key| key.digit));
            assert_eq!(told, keys, "seed {seed}");
        }
    }

    /// What a report tells: keys with their milliseconds.
    fn told(heard: Heard) -> Vec<(char, u128)> {
        heard.keys.into_iter().flatten().map(|key| (key.digit, key.duration.as_millis())).collect()
    }

    #[test]
    fn a_key_is_told_with_its_duration_when_it_is_released() {
        let (mut digits, now) = (Digits::default(), start());
        let mut all = Vec::new();
        for (header, report) in press('7', 500) {
            let heard = digits.hear(now, &header, report, WAY);
            assert_eq!(heard.begun, header.marker);
            all.extend(told(heard));
        }
        assert_eq!(all, [('7', 100)]);
        let wide = Way { clock: 48_000, forwarded: false };
        let heard = digits.hear(now, &head(9_000, true), report('8', 12_000, true), wide);
        assert_eq!(
            heard.keys,
            [None, Some(Pressed { digit: '8', duration: Duration::from_millis(250), forwarded: false })]
        );
    }

    #[test]
    fn a_key_whose_end_is_lost_is_told_after_a_while_or_before_the_next() {
        let (mut digits, now) = (Digits::default(), start());
        digits.hear(now, &head(0, true), report('5', 480, false), WAY);
        assert_eq!(digits.quiet_at(), Some(now + QUIET));
        assert_eq!(digits.overdue(now + QUIET / 2), None);
        let key = digits.overdue(now + QUIET).map(|key| (key.digit, key.duration.as_millis()));
        assert_eq!((key, digits.quiet_at()), (Some(('5', 60)), None));
        assert_eq!(told(digits.hear(now, &head(0, false), report('5', 800, true), WAY)), [], "once");
        digits.hear(now, &head(2_000, true), report('6', 480, false), WAY);
        let heard = digits.hear(now, &head(4_000, false), report('7', 800, true), WAY);
        assert_eq!(told(heard), [('6', 60), ('7', 100)]);
    }

    #[test]
    fn a_press_longer_than_its_duration_can_say_is_one() {
        let (mut digits, now) = (Digits::default(), start());
        assert!(digits.hear(now, &head(0, true), report('5', 160, false), WAY).begun);
        for n in 1..4_u32 {
            let header = head(n * 0xffff, false);
            assert_eq!(digits.hear(now, &header, report('5', 160, false), WAY), Heard::default());
        }
        let heard = digits.hear(now, &head(3 * 0xffff, false), report('5', 800, true), WAY);
        assert_eq!(told(heard), [('5', 24_675)]);
        assert!(digits.hear(now, &head(4 * 0xffff, true), report('5', 160, false), WAY).begun);
    }

    #[test]
    fn hooks_and_other_events_are_no_keys_and_floods_are_bounded() {
        let (mut digits, now) = (Digits::default(), start());
        let flash = TelephoneEvent { event: 16, end: true, volume: 0, duration: 0 };
        assert_eq!(digits.hear(now, &head(5, true), flash, WAY), Heard::default());
        let all: Vec<Heard> = (0..1_000_u32)
            .map(|n| digits.hear(now, &head(10 + n, true), report('1', 0, true), WAY))
            .collect();
        assert_eq!(all.iter().filter(|heard| heard.keys[1].is_some()).count() as u32, BURST);
        assert_eq!(all.iter().filter(|heard| heard.too_fast).count() as u32, 1_000 - BURST);
        let later = now + Duration::from_secs(1);
        assert_eq!(told(digits.hear(later, &head(5_000, true), report('1', 0, true), WAY)), [('1', 40)]);
    }

    #[test]
    fn a_source_that_begins_again_is_heard_after_a_while() {
        let (mut digits, now) = (Digits::default(), start());
        assert_eq!(told(digits.hear(now, &head(1 << 20, true), report('1', 0, true), WAY)), [('1', 40)]);
        assert_eq!(told(digits.hear(now, &head(1, true), report('2', 0, true), WAY)), []);
        let later = now + FORGET;
        assert_eq!(told(digits.hear(later, &head(1, true), report('2', 0, true), WAY)), [('2', 40)]);
    }
}
