//! Keys in a stream of telephone-event reports: each is told once, whatever is lost, doubled or out of order.

use crate::rtp::{Header, TelephoneEvent};
use std::time::{Duration, Instant};

/// Keys that may be told at once, before they come no faster than [`PACE`].
const BURST: u32 = 24;
/// The least time between two keys in the long run: quicker than any hand or tone generator.
const PACE: Duration = Duration::from_millis(40);
/// After so long without reports an older timestamp is another beginning, not a late packet.
const FORGET: Duration = Duration::from_secs(10);

/// What a report tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// A key that was not told before.
    Digit(char),
    /// Another report of a known one, or of what is no key.
    Nothing,
    /// A new one, too soon.
    TooFast,
}

#[derive(Clone, Copy, Debug)]
struct Press {
    ssrc: u32,
    timestamp: u32,
    event: u8,
    ended: bool,
    at: Instant,
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
    pub(super) fn hear(&mut self, now: Instant, header: &Header, report: TelephoneEvent) -> Heard {
        if let Some(last) = &mut self.last
            && last.ssrc == header.ssrc
        {
            let ahead = header.timestamp.wrapping_sub(last.timestamp);
            if ahead == 0 {
                last.ended |= report.end;
                last.at = now;
                return Heard::Nothing;
            }
            if ahead >= 1 << 31 && now.saturating_duration_since(last.at) < FORGET {
                return Heard::Nothing;
            }
            // A press longer than the duration can say goes on under a new timestamp (section 2.5.1.3).
            let goes_on = (0x8000..=0xffff).contains(&ahead) && !last.ended && !header.marker;
            if goes_on && last.event == report.event {
                (last.timestamp, last.ended, last.at) = (header.timestamp, report.end, now);
                return Heard::Nothing;
            }
        }
        let (ssrc, timestamp, event, ended) = (header.ssrc, header.timestamp, report.event, report.end);
        self.last = Some(Press { ssrc, timestamp, event, ended, at: now });
        match report.digit() {
            None => Heard::Nothing,
            Some(digit) if self.may_tell(now) => Heard::Digit(digit),
            Some(_) => Heard::TooFast,
        }
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
                    if let Heard::Digit(digit) = digits.hear(now, &header, report) {
                        told.push(digit);
                    }
                }
            }
            assert_eq!(told, keys, "seed {seed}");
        }
    }

    #[test]
    fn a_press_longer_than_its_duration_can_say_is_one() {
        let (mut digits, now) = (Digits::default(), start());
        assert_eq!(digits.hear(now, &head(0, true), report('5', 160, false)), Heard::Digit('5'));
        for n in 1..4_u32 {
            let header = head(n * 0xffff, false);
            assert_eq!(digits.hear(now, &header, report('5', 160, false)), Heard::Nothing);
        }
        assert_eq!(digits.hear(now, &head(3 * 0xffff, false), report('5', 160, true)), Heard::Nothing);
        assert_eq!(digits.hear(now, &head(4 * 0xffff, true), report('5', 160, false)), Heard::Digit('5'));
    }

    #[test]
    fn hooks_and_other_events_are_no_keys_and_floods_are_bounded() {
        let (mut digits, now) = (Digits::default(), start());
        let flash = TelephoneEvent { event: 16, end: false, volume: 0, duration: 0 };
        assert_eq!(digits.hear(now, &head(5, true), flash), Heard::Nothing);
        let told = (0..1_000_u32)
            .filter(|n| digits.hear(now, &head(10 + n, true), report('1', 0, false)) != Heard::TooFast)
            .count();
        assert_eq!(told as u32, BURST);
        let later = now + Duration::from_secs(1);
        assert_eq!(digits.hear(later, &head(5_000, true), report('1', 0, false)), Heard::Digit('1'));
    }

    #[test]
    fn a_source_that_begins_again_is_heard_after_a_while() {
        let (mut digits, now) = (Digits::default(), start());
        assert_eq!(digits.hear(now, &head(1 << 20, true), report('1', 0, true)), Heard::Digit('1'));
        assert_eq!(digits.hear(now, &head(1, true), report('2', 0, true)), Heard::Nothing);
        let later = now + FORGET;
        assert_eq!(digits.hear(later, &head(1, true), report('2', 0, true)), Heard::Digit('2'));
    }
}
