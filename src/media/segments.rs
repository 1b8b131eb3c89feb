//! Telephone-events whose durations are ours: put into another clock's units, or made here. One that outlasts what a
//! duration can say is told in segments (RFC 4733 section 2.5.1.3).

use crate::rtp::{Header, TelephoneEvent};

/// The longest segment.
const MOST: u64 = 0xffff;

/// An event of ours as its receiver knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Segments {
    /// Those that are over.
    over: u64,
}

/// What a report says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told {
    /// Where its segment begins, in units after the event's beginning.
    pub(super) begins: u64,
    pub(super) duration: u16,
    pub(super) end: bool,
}

impl Segments {
    /// How to say that the event has lasted so many units. The report in which a segment fills up says that alone; the
    /// next one goes on. The end's repetitions leave room for that.
    pub(super) fn report(&mut self, lasted: u64, end: bool) -> Told {
        let begins = self.over * MOST;
        let rest = lasted.saturating_sub(begins);
        if rest > MOST {
            self.over += 1;
            return Told { begins, duration: u16::MAX, end: false };
        }
        Told { begins, duration: rest as u16, end }
    }
}

/// An event on its way from one clock to another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conversion {
    ssrc: u32,
    /// The timestamp of the sender's present segment, and the units of those before.
    theirs: u32,
    before: u64,
    /// Our timestamp at the beginning.
    ours: u32,
    event: u8,
    ended: bool,
    segments: Segments,
}

/// From which clock to which, and the one of our stream's timestamps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    pub(super) from: u32,
    pub(super) to: u32,
    pub(super) stream: u32,
}

impl Conversion {
    /// What becomes of a report whose place on our timeline is `timestamp`: its timestamp, and what it says.
    pub(super) fn convert(
        state: &mut Option<Conversion>,
        header: &Header,
        report: TelephoneEvent,
        clocks: Clocks,
        timestamp: u32,
    ) -> (u32, TelephoneEvent) {
        let known = state.filter(|known| known.ssrc == header.ssrc);
        let ahead = known.map(|known| header.timestamp.wrapping_sub(known.theirs));
        let mut press = match (known, ahead) {
            (Some(known), Some(0)) => known,
            // A late one, of a press before.
            (Some(_), Some(0x8000_0000..)) => {
                let duration = TelephoneEvent::rescale(report.duration, clocks.from, clocks.to);
                return (timestamp, TelephoneEvent { duration, ..report });
            }
            (Some(known), Some(ahead @ 0x8000..=0xffff))
                if !known.ended && !header.marker && known.event == report.event =>
            {
                Conversion { theirs: header.timestamp, before: known.before + u64::from(ahead), ..known }
            }
            _ => Conversion {
                ssrc: header.ssrc,
                theirs: header.timestamp,
                before: 0,
                ours: timestamp,
                event: report.event,
                ended: false,
                segments: Segments::default(),
            },
        };
        press.ended |= report.end;
        let lasted = press.before + u64::from(report.duration);
        let (from, to) = (u64::from(clocks.from.max(1)), u64::from(clocks.to.max(1)));
        let told = press.segments.report(lasted * to / from, report.end);
        *state = Some(press);
        // Wraps as timestamps do.
        let begins = press.ours.wrapping_add((told.begins * u64::from(clocks.stream) / to) as u32);
        (begins, TelephoneEvent { duration: told.duration, end: told.end, ..report })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Clocks = Clocks { from: 8000, to: 48_000, stream: 48_000 };
    const DOWN: Clocks = Clocks { from: 48_000, to: 8000, stream: 8000 };

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

    fn five(duration: u16, end: bool) -> TelephoneEvent {
        TelephoneEvent { event: 5, end, volume: 10, duration }
    }

    #[test]
    fn a_press_of_three_seconds_is_told_in_segments_on_the_quicker_clock() {
        let mut state = None;
        let mut told: Vec<(u32, u16, bool)> = Vec::new();
        let ends = [(24_000, true); 3];
        for (duration, end) in (1..=150).map(|n| (n * 160, n == 150)).chain(ends) {
            let first = duration == 160;
            let (timestamp, report) =
                Conversion::convert(&mut state, &head(900, first), five(duration, end), UP, 5_000);
            told.push((timestamp, report.duration, report.end));
        }
        assert_eq!(told[0], (5_000, 960, false));
        let full: Vec<u32> = told.iter().filter(|t| t.1 == 0xffff).map(|t| t.0).collect();
        assert_eq!(full, [5_000, 5_000 + 0xffff], "each full segment is reported, none ends");
        assert!(told.iter().all(|t| !t.2 || t.0 == 5_000 + 2 * 0xffff), "only the last one ends");
        // 3 s in all: two full segments and the rest.
        assert_eq!(told.last(), Some(&(5_000 + 2 * 0xffff, (144_000 - 2 * 0xffff) as u16, true)));
        assert!(told.windows(2).all(|w| (w[0].0, w[0].1) <= (w[1].0, w[1].1)), "time goes on");
    }

    #[test]
    fn segments_of_the_quicker_clock_become_one_press_on_the_slower() {
        let mut state = None;
        let mut last = (0, five(0, false));
        for (timestamp, duration, end) in
            [(0, 960, false), (0, 0xffff, false), (0xffff, 960, false), (0xffff, 28_800, true)]
        {
            let header = head(timestamp, timestamp == 0 && duration == 960);
            // The timeline gives the new segment another place; it is the old press all the same.
            last = Conversion::convert(&mut state, &header, five(duration, end), DOWN, 300 + timestamp);
            assert_eq!(last.0, 300);
        }
        assert_eq!((last.1.duration, last.1.end), (((0xffff + 28_800) / 6) as u16, true));
        // The next press is another.
        let (timestamp, report) =
            Conversion::convert(&mut state, &head(200_000, true), five(960, false), DOWN, 77_000);
        assert_eq!((timestamp, report.duration), (77_000, 160));
        // A late packet of the one before changes nothing.
        let (_, report) = Conversion::convert(&mut state, &head(0xffff, false), five(960, true), DOWN, 9);
        assert_eq!(report.duration, 160);
        let (timestamp, _) =
            Conversion::convert(&mut state, &head(200_000, false), five(1_920, false), DOWN, 9);
        assert_eq!(timestamp, 77_000);
    }

    #[test]
    fn an_end_right_behind_a_full_segment_is_told_by_its_repetition() {
        let mut segments = Segments::default();
        let told: Vec<Told> = (0..3).map(|_| segments.report(MOST + 100, true)).collect();
        assert_eq!(told[0], Told { begins: 0, duration: 0xffff, end: false });
        assert_eq!(told[1], Told { begins: MOST, duration: 100, end: true });
        assert_eq!(told[1], told[2]);
        assert_eq!(Segments::default().report(MOST, true), Told { begins: 0, duration: 0xffff, end: true });
    }
}
