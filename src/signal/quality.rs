//! How a call's media goes, as a browser hears it: `stats`, the event `quality`, and the last numbers with `ended`.

use super::hub::Hub;
use super::message::{Carried, Event, Refusal, Request};
use crate::base::{LegId, SessionId};
use crate::leg::{self, Quality, Sound};
use serde::Serialize;
use std::time::Duration;

/// `stats` of the schema.
#[derive(Serialize, Debug)]
pub(super) struct Stats<'a> {
    codec: &'a str,
    packets_received: u64,
    octets_received: u64,
    lost: u64,
    jitter_ms: f64,
    packets_sent: u64,
    octets_sent: u64,
    remote_lost: u64,
    remote_jitter_ms: f64,
    round_trip_ms: Option<f64>,
    mos_received: Option<f64>,
    mos_sent: Option<f64>,
}

fn ms(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

/// An opinion of hundredths as people know it, 1.0 to 4.5.
pub(super) fn opinion(mos: u16) -> Option<f64> {
    (mos > 0).then(|| f64::from(mos) / 100.0)
}

impl<'a> From<&'a Quality> for Stats<'a> {
    fn from(quality: &'a Quality) -> Self {
        Stats {
            codec: &quality.codec,
            packets_received: quality.packets_received,
            octets_received: quality.octets_received,
            lost: quality.lost,
            jitter_ms: ms(quality.jitter),
            packets_sent: quality.packets_sent,
            octets_sent: quality.octets_sent,
            remote_lost: quality.remote_lost,
            remote_jitter_ms: ms(quality.remote_jitter),
            round_trip_ms: quality.round_trip.map(ms),
            mos_received: opinion(quality.mos_received),
            mos_sent: opinion(quality.mos_sent),
        }
    }
}

impl Hub {
    /// `stats`: answered by the call machine's [`leg::Command::Quality`].
    pub(super) fn stats(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let (leg, call) = self.call(session, request)?;
        if call.asking.is_some() {
            return Err(Refusal::WRONG_STATE);
        }
        call.asking = Some(request.id);
        self.say(leg::Event::Asked { leg });
        Ok(())
    }

    /// The call machine tells how the media goes.
    pub(super) fn on_quality(&mut self, leg: LegId, quality: Box<Quality>, sound: Option<Sound>) {
        let Some(call) = self.calls.get_mut(&leg) else { return };
        let (session, key, asking) = (call.session, call.key.clone(), call.asking.take());
        if let Some(id) = asking {
            let stats = Some(Stats::from(&*quality));
            self.answer_later(session, id, Ok(Carried { stats, ..Carried::default() }));
        }
        if let Some(Sound { level, mos, one_way }) = sound {
            self.tell(
                session,
                &Event::Quality { call: &key, level: level.name(), mos: opinion(mos), one_way },
            );
        }
        if let Some(call) = self.calls.get_mut(&leg) {
            call.quality = Some(quality);
        }
    }

    /// Tells the call machine that the calls of a session have lost their browser, or found it.
    pub(super) fn say_presence(&mut self, session: SessionId, there: bool) {
        let Some(session) = self.sessions.get_mut(session) else { return };
        if std::mem::replace(&mut session.lost, !there) != there {
            return;
        }
        let legs: Vec<LegId> = session.calls.iter().map(|(_, leg)| *leg).collect();
        for leg in legs {
            if self.calls.get(&leg).is_some_and(|call| !call.also.is_empty()) {
                continue; // it rings at others
            }
            self.say(if there { leg::Event::Found { leg } } else { leg::Event::Lost { leg } });
        }
    }
}
