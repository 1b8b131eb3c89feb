//! Keys that are told us in words (SIP INFO, a browser's `dtmf`) and sent as telephone-events: a report each 20 ms, the
//! last one three times (RFC 4733 section 2.5.1), between the packets of whoever is heard on the stream.

use super::formats::{EVENT, clock};
use super::leg::Leg;
use super::plane::{Plane, Timer};
use super::segments::Segments;
use super::timeline::Beat;
use super::{Agreed, Output};
use crate::base::{LegId, Now, Packet, SocketId, TimerId};
use crate::rtp::{FIXED, Header, TelephoneEvent};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Keys of one leg that wait.
const MOST: usize = 64;
/// Between two reports.
const PACE: Duration = Duration::from_millis(20);
/// Between the last report of a key and the first of the next.
const GAP: Duration = Duration::from_millis(60);
/// How often the end is said.
const ENDS: u8 = 3;
/// -10 dBm0, as browsers send.
const VOLUME: u8 = 10;

/// The keys that a leg's party is sent.
#[derive(Debug, Default)]
pub(super) struct Presses {
    waiting: VecDeque<(u8, Duration)>,
    now: Option<Press>,
    timer: Option<TimerId>,
}

/// The one that is pressed.
#[derive(Clone, Copy, Debug)]
struct Press {
    event: u8,
    duration: Duration,
    since: Instant,
    /// On our timeline.
    timestamp: u32,
    /// Payload type and clock of its reports.
    number: u8,
    clock: u32,
    segments: Segments,
    ends: u8,
}

impl Presses {
    pub(super) fn timer(&self) -> Option<TimerId> {
        self.timer
    }
}

impl Plane {
    /// Presses a key towards a leg's party. `None` where it can't be.
    pub(super) fn press(&mut self, now: Now, id: LegId, digit: char, duration: Duration) -> Option<()> {
        let event = TelephoneEvent::of(digit)?;
        let leg = self.leg_mut(id)?;
        event_format(leg.agreed.as_deref()?)?;
        if leg.presses.waiting.len() >= MOST {
            self.counters.presses_refused += 1;
            return Some(());
        }
        leg.presses.waiting.push_back((event, duration));
        if leg.presses.timer.is_none() {
            self.on_press_timer(now, id);
        }
        Some(())
    }

    /// The next report is due.
    pub(super) fn on_press_timer(&mut self, now: Now, id: LegId) {
        let Some(leg) = self.leg_mut(id) else { return };
        leg.presses.timer = None;
        let mut packet = std::mem::take(&mut self.spare);
        let Some(leg) = self.leg_mut(id) else { return };
        let mut refused = 0;
        let sent = loop {
            match leg.report_press(now, &mut packet) {
                Some(Ok(sent)) => break Some(sent),
                // Where nothing can be sent a key is gone, not late.
                Some(Err(())) => refused += 1,
                None => break None,
            }
        };
        let after = if leg.presses.now.is_some() { PACE } else { GAP };
        self.counters.presses_refused += refused;
        if let Some((socket, to, first)) = sent {
            self.counters.presses += u64::from(first);
            self.outputs.push_back(Output::Send { socket, to, data: packet.bytes().to_vec() });
            let timer = self.timers.insert(now.instant + after, Timer::Press(id));
            if let Some(leg) = self.leg_mut(id) {
                leg.presses.timer = Some(timer);
            }
        }
        self.spare = packet;
    }
}

/// How a party is told of keys: on the clock of the call's codec, where it has the choice.
fn event_format(agreed: &Agreed) -> Option<(u8, u32)> {
    let mut events = agreed.formats.iter().filter(|format| format.codec.name == EVENT && format.send < 128);
    let best = events.clone().find(|format| format.codec.clock == clock(agreed)).or_else(|| events.next())?;
    Some((best.send, best.codec.clock.max(1)))
}

impl Leg {
    /// Writes the next report; `None` where no key is left, `Err` where this one can't be told.
    fn report_press(
        &mut self,
        now: Now,
        packet: &mut Packet,
    ) -> Option<Result<(SocketId, SocketAddr, bool), ()>> {
        let outbound = &mut self.outbound;
        let first = self.presses.now.is_none();
        let queued = if first { Some(self.presses.waiting.pop_front()?) } else { None };
        let ready = outbound.open && (!outbound.secure || outbound.srtp.is_some());
        let place = self.agreed.as_deref().and_then(|agreed| Some((event_format(agreed)?, clock(agreed))));
        let (Some(((number, events), stream)), Some((socket, to)), true) = (place, outbound.to, ready) else {
            self.presses.now = None;
            return Some(Err(()));
        };
        let step = stream / 50;
        let beat = Beat { clock: stream, step, event: true, scaled: false };
        let (slot, mut press) = match (self.presses.now, queued) {
            (Some(press), _) => (outbound.timeline.insert(now.instant, beat, Some(press.timestamp)), press),
            (None, Some((event, duration))) => {
                let slot = outbound.timeline.insert(now.instant, beat, None);
                let (since, timestamp, segments) = (now.instant, slot.timestamp, Segments::default());
                (slot, Press { event, duration, since, timestamp, number, clock: events, segments, ends: 0 })
            }
            (None, None) => return None,
        };
        let lasted = (now.instant.saturating_duration_since(press.since) + PACE).min(press.duration);
        let units =
            u64::try_from(lasted.as_millis()).unwrap_or(u64::MAX).saturating_mul(press.clock.into()) / 1000;
        let told = press.segments.report(units, lasted == press.duration);
        press.ends += u8::from(told.end);
        let over = press.ends >= ENDS;
        let head = Header {
            marker: first,
            padding: false,
            payload_type: press.number,
            sequence: slot.index as u16,
            // Wraps as timestamps do.
            timestamp: press
                .timestamp
                .wrapping_add((told.begins * u64::from(stream) / u64::from(press.clock)) as u32),
            ssrc: outbound.ssrc,
            csrcs: 0,
            extended: false,
            length: FIXED,
        };
        let report =
            TelephoneEvent { event: press.event, end: told.end, volume: VOLUME, duration: told.duration };
        self.presses.now = (!over).then_some(press);
        packet.fill(&[&head.write()[..], &report.write()].concat());
        if let Some(srtp) = outbound.srtp.as_deref_mut() {
            let index = slot.index.checked_sub(outbound.base);
            if index.is_none_or(|index| srtp.protect(index, packet).is_err()) {
                self.presses.now = None;
                return Some(Err(()));
            }
        }
        outbound.packets += 1;
        outbound.octets += TelephoneEvent::LENGTH as u64;
        Some(Ok((socket, to, first)))
    }
}
