//! Who is still there: liveness of browsers, silence of phones, and how a call sounds (design, section 6).
//!
//! A call asks its transports and the media plane at a slow beat, faster while a browser's signalling is lost. Alive
//! means any authenticated STUN, SRTP or SRTCP. The answers come in the order of the questions, the outgoing leg's media
//! last: then the call is judged.

use super::core::{Core, Timer};
use super::half::Half;
use super::state::{Call, End, State};
use crate::base::{LegId, Now};
use crate::leg::{Cause, Command, Level, Quality, Sound};
use crate::media::{self, Stats, opinion};
use crate::webrtc;
use std::time::{Duration, Instant};

/// Sound is judged by what happened in so long: RTCP reports come every five seconds or so.
const WINDOW: Duration = Duration::from_secs(6);
/// Packets that never came for so long, while the other direction flows, are one-way media.
const ONE_WAY: Duration = Duration::from_secs(8);

/// What is known of a half's life.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse {
    /// Since when its signalling is lost.
    lost: Option<Instant>,
    /// The last sign of life of its media.
    heard: Option<Instant>,
    /// When packets last were more than before.
    flowed: Option<Instant>,
    /// Since when its party should send.
    expected: Option<Instant>,
    /// No sign of life for a while.
    suspect: bool,
    /// Its browser asked for the numbers.
    asked: bool,
    /// The newest numbers, and those at the last judgement of sound.
    quality: Quality,
    before: Quality,
    /// What its browser last heard of sound.
    sound: Option<Sound>,
}

impl Pulse {
    /// Since when there has been no sign of life; for a party never heard since `start`.
    fn silent(&self, now: Now, start: Instant) -> Duration {
        now.instant.saturating_duration_since(self.heard.map_or(start, |heard| heard.max(start)))
    }

    /// For how long packets have been missing that should have come.
    fn missing(&self, now: Now) -> Option<Duration> {
        let since = self.expected?;
        Some(now.instant.saturating_duration_since(self.flowed.map_or(since, |flowed| flowed.max(since))))
    }

    fn on_stats(&mut self, now: Now, stats: &Stats) {
        let quality = stats.quality();
        if quality.packets_received != self.quality.packets_received {
            self.flowed = Some(now.instant);
        }
        self.heard = self.heard.max(stats.last_heard);
        self.quality = quality;
    }
}

/// What is wrong with a call.
enum Verdict {
    Fine,
    /// This browser is gone.
    Gone(End),
    /// A phone has been silent for too long.
    Silent,
}

impl Half {
    /// Whether its party should send now.
    fn expects(&self) -> bool {
        self.agreed().is_some_and(|agreed| agreed.receive)
    }
}

impl Call {
    /// The beat: ask all who know.
    pub(super) fn on_pulse(&mut self, core: &mut Core, now: Now) {
        self.arm_pulse(core, now);
        let halves = [&self.incoming, &self.outgoing];
        for peer in halves.iter().filter_map(|half| half.peer()) {
            core.web(webrtc::Command::Ask { peer });
        }
        for half in halves {
            core.media(media::Command::Ask { leg: half.leg });
        }
    }

    /// Arms the next beat, instead of the one that is armed.
    pub(super) fn arm_pulse(&mut self, core: &mut Core, now: Now) {
        if let Some(timer) = self.beat.take() {
            core.wheel.cancel(timer);
        }
        let lost = [&self.incoming, &self.outgoing].iter().any(|half| half.pulse.lost.is_some());
        let beat = if lost { core.config.pulse / 4 } else { core.config.pulse };
        self.beat = Some(core.arm(now, beat, self.id, Timer::Pulse));
    }

    /// A browser's signalling is lost, or is back.
    pub(super) fn on_signalling(&mut self, core: &mut Core, now: Now, end: End, there: bool) {
        let pulse = &mut self.half(end).pulse;
        if there {
            pulse.lost = None;
            pulse.sound = None;
        } else {
            core.counters.signalling_lost += 1;
            pulse.lost.get_or_insert(now.instant);
        }
        self.arm_pulse(core, now);
    }

    /// A browser asks for its numbers.
    pub(super) fn on_asked(&mut self, core: &mut Core, end: End) {
        let half = self.half(end);
        half.pulse.asked = true;
        core.media(media::Command::Ask { leg: half.leg });
    }

    /// When a transport was last heard.
    pub(super) fn on_heard(&mut self, end: End, at: Option<Instant>) {
        let pulse = &mut self.half(end).pulse;
        pulse.heard = pulse.heard.max(at);
    }

    /// How a leg's media goes.
    pub(super) fn on_stats(&mut self, core: &mut Core, now: Now, leg: LegId, stats: &Stats) {
        let Some(end) = self.end(leg) else { return };
        let half = self.half(end);
        half.pulse.on_stats(now, stats);
        if std::mem::take(&mut half.pulse.asked) {
            let quality = Box::new(half.pulse.quality.clone());
            core.leg(Command::Quality { leg, quality, sound: None });
        }
        if end == End::Out {
            self.judge(core, now);
        }
    }

    fn judge(&mut self, core: &mut Core, now: Now) {
        for end in [End::In, End::Out] {
            let talking = matches!(self.state, State::Talking(_));
            let half = self.half(end);
            let expects = talking && half.expects();
            half.pulse.expected = expects.then(|| half.pulse.expected.unwrap_or(now.instant));
            if half.is_web() {
                half.suspect(core, now);
            }
        }
        match self.verdict(core, now) {
            Verdict::Fine => self.judge_sound(core, now),
            Verdict::Gone(end) => {
                core.counters.browsers_gone += 1;
                let cause = match (&self.state, end) {
                    (State::Talking(_), _) => Cause::MediaLost,
                    (_, End::In) => Cause::Cancelled,
                    (_, End::Out) => Cause::NoAnswer,
                };
                self.finish(core, now, cause.into(), None);
            }
            Verdict::Silent => {
                core.counters.media_timeouts += 1;
                self.finish(core, now, Cause::MediaLost.into(), None);
            }
        }
    }

    fn verdict(&self, core: &Core, now: Now) -> Verdict {
        for (end, half) in [(End::In, &self.incoming), (End::Out, &self.outgoing)] {
            if half.is_gone(core, now) {
                return Verdict::Gone(end);
            }
            // Who is gone, and whose place another one takes, need not be heard.
            let silent = half
                .pulse
                .expected
                .filter(|_| !half.is_web() && half.signalled)
                .map(|at| half.pulse.silent(now, at));
            if silent.zip(core.config.media_timeout).is_some_and(|(silent, most)| silent >= most) {
                return Verdict::Silent;
            }
        }
        Verdict::Fine
    }

    /// Tells browsers how the call sounds, where that changed.
    fn judge_sound(&mut self, core: &mut Core, now: Now) {
        let due = self.judged.is_none_or(|at| now.instant >= at + WINDOW);
        if !due || !matches!(self.state, State::Talking(_)) {
            return;
        }
        let first = self.judged.replace(now.instant).is_none();
        let heard = |half: &Half| opinion(&half.pulse.before, &half.pulse.quality);
        let (incoming, outgoing) = (heard(&self.incoming), heard(&self.outgoing));
        let missing = |half: &Half| half.pulse.missing(now).is_some_and(|missing| missing >= ONE_WAY);
        let one_way = missing(&self.incoming) != missing(&self.outgoing);
        for end in [End::In, End::Out] {
            let half = self.half(end);
            half.pulse.before = half.pulse.quality.clone();
        }
        if first {
            return;
        }
        if one_way && !std::mem::replace(&mut self.one_way, one_way) {
            core.counters.one_way += 1;
        }
        let opinions = [incoming.0, incoming.1, outgoing.0, outgoing.1];
        let mos = opinions.into_iter().filter(|&mos| mos > 0).min();
        if mos.is_none() && !self.incoming.expects() && !self.outgoing.expects() {
            // Held both ways: there is nothing to judge.
            return;
        }
        let mos = mos.unwrap_or(0);
        let level = if one_way { Level::Poor } else { Level::of(mos) };
        for end in [End::In, End::Out] {
            self.half(end).tell_sound(core, Sound { level, mos, one_way });
        }
    }
}

impl Half {
    /// Whether its browser is gone for good.
    fn is_gone(&self, core: &Core, now: Now) -> bool {
        let (pulse, config) = (&self.pulse, &core.config);
        if !self.is_web() {
            return false;
        }
        let Some(lost) = pulse.lost else {
            // One that never was heard has deadlines of its own (`webrtc::Config::check`).
            return pulse.heard.is_some_and(|heard| pulse.silent(now, heard) >= config.gone);
        };
        let away = now.instant.saturating_duration_since(lost);
        away >= config.signalling_grace || pulse.silent(now, lost) >= config.browser_grace
    }

    fn suspect(&mut self, core: &mut Core, now: Now) {
        let Some(heard) = self.pulse.heard else { return };
        let suspect = self.pulse.silent(now, heard) >= core.config.suspect;
        if suspect && !self.pulse.suspect {
            core.counters.suspects += 1;
        }
        self.pulse.suspect = suspect;
    }

    fn tell_sound(&mut self, core: &mut Core, sound: Sound) {
        let told = self.pulse.sound.map(|old| (old.level, old.one_way));
        if !self.is_browser() || told == Some((sound.level, sound.one_way)) {
            return;
        }
        self.pulse.sound = Some(sound);
        let quality = Box::new(self.pulse.quality.clone());
        core.leg(Command::Quality { leg: self.leg, quality, sound: Some(sound) });
    }
}
