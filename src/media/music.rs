//! Music for a party that is held: our own packets on its own timeline, which goes on when the call does.

use super::leg::Leg;
use super::plane::{Plane, Timer};
use super::timeline::Beat;
use super::{Agreed, Output};
use crate::base::{LegId, Now, SocketId, TimerId};
use crate::rtp::{FIXED, Header};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Samples of a packet, at 8000 Hz.
const FRAME: usize = 160;
/// What a packet lasts.
const PACE: Duration = Duration::from_millis(20);
/// A timer that is later than that skips what it missed.
const LATE: Duration = Duration::from_millis(200);

/// What held parties hear, in both laws of G.711 at 8000 Hz, played round and round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Music {
    /// PCMU.
    pub pcmu: Vec<u8>,
    /// PCMA, as long.
    pub pcma: Vec<u8>,
}

/// Where the music of a leg has got to.
#[derive(Debug)]
pub(super) struct Playing {
    at: usize,
    due: Instant,
    timestamp: Option<u32>,
    timer: Option<TimerId>,
}

impl Playing {
    pub(super) fn timer(&self) -> Option<TimerId> {
        self.timer
    }
}

/// The payload type by which a party hears G.711, and its law.
fn format(agreed: &Agreed) -> Option<(u8, bool)> {
    agreed.formats.iter().find_map(|format| match (format.codec.name.as_str(), format.codec.clock) {
        ("pcmu", 8_000) => Some((format.send, true)),
        ("pcma", 8_000) => Some((format.send, false)),
        _ => None,
    })
}

impl Plane {
    /// Plays music to a leg's party, or no more. `None` where there is none that it can hear.
    pub(super) fn play(&mut self, now: Now, id: LegId, on: bool) -> Option<()> {
        let some = self.config.music.as_ref().is_some_and(|music| music.pcmu.len() >= FRAME);
        let leg = self.leg_mut(id)?;
        if !on {
            let timer = leg.playing.take().and_then(|playing| playing.timer);
            leg.outbound.timeline.cut();
            timer.map(|timer| self.timers.cancel(timer));
            return Some(());
        }
        if leg.playing.is_some() {
            return Some(());
        }
        if !some || leg.agreed.as_deref().and_then(format).is_none() {
            self.counters.music_refused += 1;
            return Some(());
        }
        // Whoever was heard before is heard no more: what comes next follows what was sent last.
        leg.outbound.timeline.cut();
        leg.playing = Some(Box::new(Playing { at: 0, due: now.instant, timestamp: None, timer: None }));
        self.counters.music += 1;
        self.on_play_timer(now, id);
        Some(())
    }

    /// The next packet of music is due.
    pub(super) fn on_play_timer(&mut self, now: Now, id: LegId) {
        let Some(music) = self.config.music.clone() else { return };
        let mut packet = std::mem::take(&mut self.spare);
        if let Some(leg) = self.leg_mut(id) {
            let sent = leg.play_frame(now, &music, &mut packet);
            let due = leg.playing.as_ref().map(|playing| playing.due);
            if let Some((socket, to)) = sent {
                self.outputs.push_back(Output::Send { socket, to, data: packet.bytes().to_vec() });
            }
            let timer = due.map(|due| self.timers.insert(due, Timer::Play(id)));
            if let Some(playing) = self.leg_mut(id).and_then(|leg| leg.playing.as_mut()) {
                playing.timer = timer;
            }
        }
        self.spare = packet;
    }
}

impl Leg {
    /// Writes the next packet; `None` where the party can't be sent one now.
    fn play_frame(
        &mut self,
        now: Now,
        music: &Music,
        packet: &mut crate::base::Packet,
    ) -> Option<(SocketId, SocketAddr)> {
        let playing = self.playing.as_deref_mut()?;
        if now.instant.saturating_duration_since(playing.due) > LATE {
            (playing.due, playing.timestamp) = (now.instant, None);
        }
        playing.due += PACE;
        let (number, mu) = self.agreed.as_deref().and_then(format)?;
        let samples = if mu { &music.pcmu } else { &music.pcma };
        let outbound = &mut self.outbound;
        let (socket, to) = outbound.to.filter(|_| !outbound.secure)?;
        let beat = Beat { clock: 8_000, step: FRAME as u32, event: false, scaled: false };
        let first = playing.timestamp.is_none();
        let next = playing.timestamp.map(|before| before.wrapping_add(FRAME as u32));
        let slot = outbound.timeline.insert(now.instant, beat, next);
        playing.timestamp = Some(slot.timestamp);
        let head = Header {
            marker: first,
            padding: false,
            payload_type: number,
            sequence: slot.index as u16,
            timestamp: slot.timestamp,
            ssrc: outbound.ssrc,
            csrcs: 0,
            extended: false,
            length: FIXED,
        };
        let mut frame = [0; FRAME];
        for (place, sample) in frame.iter_mut().enumerate() {
            *sample = samples[(playing.at + place) % samples.len()];
        }
        playing.at = (playing.at + FRAME) % samples.len();
        packet.fill(&[&head.write()[..], &frame].concat());
        outbound.packets += 1;
        outbound.octets += FRAME as u64;
        Some((socket, to))
    }
}
