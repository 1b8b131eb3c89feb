//! The telephone-event payload: DTMF digits as RTP (RFC 4733 section 2.3).

/// One report of an event; several with the same timestamp make one key press.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TelephoneEvent {
    /// 0–9 are the digits, 10 is `*`, 11 is `#`, 12–15 are `A`–`D`, 16 is a hook flash.
    pub event: u8,
    /// The event is over.
    pub end: bool,
    /// Power in dBm0 with its sign dropped, 0 to 63.
    pub volume: u8,
    /// How long it has lasted, in units of the payload type's clock.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Bytes of one report.
    pub const LENGTH: usize = 4;

    /// Reads the first report of a payload; `None` where it is too short.
    pub fn parse(payload: &[u8]) -> Option<TelephoneEvent> {
        let &[event, flags, high, low, ..] = payload else { return None };
        Some(TelephoneEvent {
            event,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }

    /// The payload. A volume above 63 is written as 63.
    pub fn write(&self) -> [u8; TelephoneEvent::LENGTH] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event, u8::from(self.end) << 7 | self.volume.min(63), high, low]
    }

    /// The digit; `None` for a hook flash and the many events that are no key.
    pub fn digit(&self) -> Option<char> {
        b"0123456789*#ABCD".get(usize::from(self.event)).map(|&digit| char::from(digit))
    }

    /// The event of a digit.
    pub fn of(digit: char) -> Option<u8> {
        let place = "0123456789*#ABCD".find(digit.to_ascii_uppercase())?;
        Some(place as u8)
    }

    /// A duration in another clock's units; one that doesn't fit is written as the longest there is.
    #[inline]
    pub fn rescale(duration: u16, from: u32, to: u32) -> u16 {
        let scaled = u64::from(duration) * u64::from(to) / u64::from(from.max(1));
        scaled.min(0xffff) as u16
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_its_own_writing() {
        for event in 0..=255 {
            let report = TelephoneEvent { event, end: event % 2 == 0, volume: event % 64, duration: 257 };
            assert_eq!(TelephoneEvent::parse(&report.write()), Some(report));
        }
        assert_eq!(TelephoneEvent::parse(&[1, 2, 3]), None);
    }

    #[test]
    fn the_reserved_bit_is_ignored() {
        // RFC 4733 section 2.3.2: the receiver ignores R.
        let report = TelephoneEvent::parse(&[5, 0x4a, 0, 160]).unwrap();
        assert_eq!((report.end, report.volume), (false, 10));
    }

    #[test]
    fn digits_have_events_and_events_digits() {
        for (n, digit) in "0123456789*#ABCD".chars().enumerate() {
            assert_eq!(TelephoneEvent::of(digit), Some(n as u8));
            let report = TelephoneEvent { event: n as u8, end: false, volume: 0, duration: 0 };
            assert_eq!(report.digit(), Some(digit));
        }
        assert_eq!(TelephoneEvent::of('d'), Some(15));
        assert_eq!(TelephoneEvent::of('x'), None);
    }

    #[test]
    fn durations_change_clocks_without_overflow() {
        assert_eq!(TelephoneEvent::rescale(960, 48_000, 8_000), 160);
        assert_eq!(TelephoneEvent::rescale(160, 8_000, 48_000), 960);
        assert_eq!(TelephoneEvent::rescale(20_000, 8_000, 48_000), 0xffff);
        assert_eq!(TelephoneEvent::rescale(1, 0, u32::MAX), 0xffff);
    }
}
