//! What is counted of packets, by the span in which they were sent.

use super::end::Heard;
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::time::Duration;

/// Which way a packet goes: from the first end of its pair to the second, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the first end.
    Up = 0,
    /// From the second end.
    Down = 1,
}

/// Names a span of measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub(super) u32);

/// What was counted one way in one span. Times are in nanoseconds.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Packets sent.
    pub sent: u64,
    /// Those that arrived, once each.
    pub heard: u64,
    /// Those that arrived after [`super::Settings::late`].
    pub late: u64,
    /// Those that arrived again.
    pub repeated: u64,
    /// Those that arrived behind a later one.
    pub overtaken: u64,
    /// From sending to arrival.
    pub delay: Histogram<u64>,
    /// By how much the delay differs from that of the packet before.
    pub jitter: Histogram<u64>,
    /// How long the span was.
    pub lasted: Duration,
}

/// Longest delay that is told from longer ones.
const LONGEST: u64 = 60_000_000_000;

impl Figures {
    fn new() -> Figures {
        // Three digits, from a microsecond on: bounds that are right for any histogram.
        let histogram = || Histogram::new_with_bounds(1_000, LONGEST, 3).expect("constant bounds are valid");
        Figures {
            sent: 0,
            heard: 0,
            late: 0,
            repeated: 0,
            overtaken: 0,
            delay: histogram(),
            jitter: histogram(),
            lasted: Duration::ZERO,
        }
    }

    /// Packets that never arrived.
    pub fn lost(&self) -> u64 {
        self.sent.saturating_sub(self.heard)
    }

    /// The share of packets that were lost or late, from 0 to 1.
    pub fn missed(&self) -> f64 {
        if self.sent == 0 { 0.0 } else { (self.lost() + self.late) as f64 / self.sent as f64 }
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Figures) {
        self.sent += other.sent;
        self.heard += other.heard;
        self.late += other.late;
        self.repeated += other.repeated;
        self.overtaken += other.overtaken;
        self.lasted = self.lasted.max(other.lasted);
        for (own, other) in [(&mut self.delay, &other.delay), (&mut self.jitter, &other.jitter)] {
            own.add(other).expect("all have the same bounds");
        }
    }
}

pub(super) struct Measure {
    late: u64,
    spans: BTreeMap<Span, [Figures; 2]>,
    current: Span,
    began: u64,
}

impl Measure {
    pub(super) fn new(late: Duration) -> Measure {
        let spans = BTreeMap::from([(Span(0), [Figures::new(), Figures::new()])]);
        Measure { late: late.as_nanos() as u64, spans, current: Span(0), began: super::sys::now() }
    }

    pub(super) fn current(&self) -> Span {
        self.current
    }

    pub(super) fn begin(&mut self, now: u64) -> Span {
        if let Some(figures) = self.spans.get_mut(&self.current) {
            for one in figures {
                one.lasted = Duration::from_nanos(now.saturating_sub(self.began));
            }
        }
        self.began = now;
        self.current = Span(self.current.0 + 1);
        self.spans.insert(self.current, [Figures::new(), Figures::new()]);
        self.current
    }

    pub(super) fn take(&mut self, span: Span) -> Option<[Figures; 2]> {
        self.spans.remove(&span)
    }

    #[inline]
    pub(super) fn on_sent(&mut self, way: Way) {
        if let Some(figures) = self.spans.get_mut(&self.current) {
            figures[way as usize].sent += 1;
        }
    }

    #[inline]
    pub(super) fn on_heard(&mut self, heard: &Heard, at: u64) {
        let Some(figures) = self.spans.get_mut(&heard.span) else { return };
        let figures = &mut figures[heard.way as usize];
        if heard.repeated {
            figures.repeated += 1;
            return;
        }
        let transit = heard.transit(at);
        figures.heard += 1;
        figures.late += u64::from(transit > self.late);
        figures.overtaken += u64::from(heard.overtaken);
        figures.delay.saturating_record(transit);
        if let Some(jitter) = heard.jitter {
            figures.jitter.saturating_record(jitter);
        }
    }
}
