//! All calls of a shard: who may begin one, whom an event is for, and when all must end.

use super::admit::party;
use super::config::Config;
use super::core::{Core, Counters, Timer};
use super::half::Opened;
use super::record::Record;
use super::state::{Call, State};
use super::{Input, Output};
use crate::base::{
    CallId, Deadline, LegId, Machine, Map, Mint, Now, PeerId, Random, Set, ShardId, Slab, Wheel,
};
use crate::leg::{Cause, Command, Event, Incoming, Reason, Replaces};
use crate::sdp::Session;
use crate::{media, webrtc};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// The call machine of a shard.
#[derive(Debug)]
pub struct Calls {
    pub(super) core: Core,
    pub(super) slots: Slab<CallId, Call>,
    /// When draining, the moment at which all calls end.
    pub(super) draining: Option<Instant>,
    pub(super) overloaded: bool,
}

impl Calls {
    /// No calls yet.
    pub fn new(shard: ShardId, config: Arc<Config>, random: Random) -> Calls {
        Calls {
            slots: Slab::new(shard, config.calls + config.emergency_calls),
            core: Core {
                config,
                random,
                mint: Mint::new(shard, true),
                outbox: VecDeque::new(),
                legs: Map::default(),
                accounts: Map::default(),
                peers: Map::default(),
                media: Set::default(),
                playing: Set::default(),
                wheel: Wheel::default(),
                counters: Counters::default(),
            },
            draining: None,
            overloaded: false,
        }
    }

    /// What it has seen.
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// How many calls there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All calls, in the order of their slots.
    pub(super) fn slots(&self) -> impl Iterator<Item = &Call> {
        self.slots.iter().map(|(_, call)| call)
    }

    /// The call that a leg belongs to.
    pub fn call_of(&self, leg: LegId) -> Option<CallId> {
        self.core.legs.get(&leg).copied()
    }

    /// The leg that came in of the call that a leg belongs to.
    pub fn caller_of(&self, leg: LegId) -> Option<LegId> {
        Some(self.slots.get(self.call_of(leg)?)?.incoming.leg)
    }

    /// Lets a leg's call act; it is forgotten where it is over.
    pub(super) fn with(&mut self, leg: LegId, act: impl FnOnce(&mut Call, &mut Core)) {
        match self.call_of(leg) {
            Some(id) => self.with_call(id, act),
            None => self.core.counters.stray += 1,
        }
    }

    pub(super) fn with_call(&mut self, id: CallId, act: impl FnOnce(&mut Call, &mut Core)) {
        let Some(call) = self.slots.get_mut(id) else { return };
        act(call, &mut self.core);
        if call.is_over() {
            self.slots.remove(id);
        }
    }

    fn on_leg(&mut self, now: Now, event: Event) {
        if let Some(session) = session_of(&event) {
            let ignored: u32 = session.media.iter().map(|media| media.candidates_ignored).sum();
            self.core.counters.candidates_ignored += u64::from(ignored);
        }
        if let Event::Incoming(incoming) = event {
            self.on_incoming(now, *incoming);
            return;
        }
        let leg = event.leg();
        if let Event::Transfer { transfer, .. } = &event
            && let Some(Replaces::Leg(other)) = transfer.replaces
        {
            let transfer = transfer.clone();
            return self.on_joining(now, leg, other, transfer);
        }
        self.with(leg, |call, core| match call.end(leg) {
            Some(end) => call.on_leg(core, now, end, event),
            None => call.on_third(core, now, event),
        });
    }

    /// Refuses a leg that is no call yet.
    pub(super) fn turn_away(&mut self, now: Now, incoming: Incoming, reason: Reason) {
        let core = &mut self.core;
        core.counters.ended += 1;
        core.leg(Command::End { leg: incoming.leg, reason });
        core.outbox.push_back(Output::Record(Box::new(Record {
            call: None,
            incoming: incoming.leg,
            outgoing: None,
            key: incoming.key,
            callee: party(&incoming.callee),
            source: incoming.source,
            caller: incoming.caller,
            target: None,
            started: now.unix,
            answered: None,
            ended: now.unix,
            cause: reason.cause,
            code: reason.code,
            q850: reason.q850_cause(),
            sessions: [incoming.carried.session, None],
            quality: [None, None],
        })));
    }

    fn on_web(&mut self, now: Now, event: webrtc::Event) {
        match event {
            webrtc::Event::Opened { leg, peer, local } => match self.call_of(leg) {
                Some(id) => self.with_call(id, |call, core| {
                    if let Some(end) = call.end(leg) {
                        call.on_transport(core, now, end, peer, local);
                    }
                }),
                // Its call was over before it stood.
                None => self.core.web(webrtc::Command::Close { peer }),
            },
            webrtc::Event::Full { leg } => {
                self.core.counters.web_full += 1;
                self.with(leg, |call, core| call.finish(core, now, Cause::Overloaded.into(), None));
            }
            webrtc::Event::Verified { leg, peer, address } => self.with_peer(leg, peer, |_, core, _| {
                core.media(media::Command::Path { leg, address });
            }),
            webrtc::Event::Connected { leg, peer, keys } => self.with_peer(leg, peer, |_, core, _| {
                core.media(media::Command::Keys { leg, keys });
            }),
            webrtc::Event::Heard { leg, peer, at } => {
                self.with_peer(leg, peer, |call, _, end| call.on_heard(end, at));
            }
            webrtc::Event::Failed { leg, peer, .. } => self.with(leg, |call, core| {
                // It may fail before it stood.
                match call.end_of_peer(leg, peer).or_else(|| call.opening(leg)) {
                    Some(end) => call.on_failed(core, now, end, peer),
                    None => core.counters.stray += 1,
                }
            }),
        }
    }

    fn with_peer(
        &mut self,
        leg: LegId,
        peer: PeerId,
        act: impl FnOnce(&mut Call, &mut Core, super::state::End),
    ) {
        self.with(leg, |call, core| match call.end_of_peer(leg, peer) {
            Some(end) => act(call, core, end),
            None => core.counters.stray += 1,
        });
    }

    fn on_media(&mut self, now: Now, event: media::Event) {
        match event {
            media::Event::Opened { leg, address, ssrc, cname } => self.with(leg, |call, core| {
                let opened = Opened { address, ssrc, cname };
                match call.end(leg) {
                    Some(end) => call.on_media(core, now, end, opened),
                    None => call.on_third_media(core, now, opened),
                }
            }),
            media::Event::Stats { leg, stats } => {
                self.with(leg, |call, core| call.on_stats(core, now, leg, &stats));
            }
            media::Event::Digit { leg, digit, duration, forwarded } => self.with(leg, |call, core| {
                if let Some(end) = call.end(leg) {
                    call.on_digit(core, end, (digit, duration), forwarded);
                }
            }),
            media::Event::Full { leg } => {
                if !self.core.media.remove(&leg) {
                    self.core.counters.stray += 1;
                    return;
                }
                self.core.counters.media_full += 1;
                self.with(leg, |call, core| match call.end(leg) {
                    Some(_) => call.finish(core, now, Cause::Overloaded.into(), None),
                    None => call.fail_third(core, now, Cause::Overloaded.into()),
                });
            }
        }
    }

    fn on_timer(&mut self, now: Now, id: CallId, timer: Timer) {
        self.with_call(id, |call, core| match timer {
            Timer::Ring => {
                core.counters.ring_timeouts += 1;
                call.finish(core, now, Cause::NoAnswer.into(), None);
            }
            Timer::FirstReply => {
                core.counters.silent_timeouts += 1;
                let reason = Reason::new(Cause::Unreachable, 504);
                if let State::Ringing(ringing) = &mut call.state {
                    ringing.first_reply = None;
                }
                if !call.fail_over(core, now, reason, false) {
                    call.finish(core, now, reason, None);
                }
            }
            Timer::Retry => call.on_retry(core),
            Timer::Longest => {
                core.counters.too_long += 1;
                call.finish(core, now, Cause::Expired.into(), None);
            }
            Timer::Transfer => call.fail_third(core, now, Cause::NoAnswer.into()),
            Timer::Pulse => {
                call.beat = None;
                call.on_pulse(core, now);
            }
        });
    }

    /// Ends all calls: the drain's deadline.
    fn end_all(&mut self, now: Now) {
        let all: Vec<CallId> = self.slots.iter().map(|(id, _)| id).collect();
        for id in all {
            self.core.counters.drained += 1;
            self.with_call(id, |call, core| {
                let cause = if call.facts.answered.is_some() { Cause::Hangup } else { Cause::Overloaded };
                call.finish(core, now, cause.into(), None);
            });
        }
    }
}

/// The description that an event brings.
fn session_of(event: &Event) -> Option<&Session> {
    match event {
        Event::Incoming(incoming) => incoming.offer.as_deref(),
        Event::Progress { answer, .. } | Event::Answered { answer, .. } => answer.as_deref(),
        Event::Offered { offer, .. } => offer.as_deref(),
        Event::OfferedEarly { offer, .. } => Some(offer),
        Event::Accepted { answer, .. } | Event::Refreshed { answer, .. } => Some(answer),
        Event::Gate { .. }
        | Event::Withdrawn { .. }
        | Event::Refused { .. }
        | Event::Lost { .. }
        | Event::Found { .. }
        | Event::Asked { .. }
        | Event::Hold { .. }
        | Event::Named { .. }
        | Event::Told { .. }
        | Event::Inform { .. }
        | Event::Redirected { .. }
        | Event::Transfer { .. }
        | Event::Referred { .. }
        | Event::Ended { .. } => None,
    }
}

impl Machine for Calls {
    type Input<'a> = Input;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input) {
        match input {
            Input::Leg(event) => self.on_leg(now, event),
            Input::Web(event) => self.on_web(now, event),
            Input::Media(event) => self.on_media(now, event),
            Input::Overload(overloaded) => self.overloaded = overloaded,
            Input::Drain => {
                self.draining.get_or_insert(now.instant + self.core.config.drain);
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        while let Some((id, timer)) = self.core.wheel.expire(now.instant) {
            self.on_timer(now, id, timer);
        }
        if self.draining.is_some_and(|deadline| deadline <= now.instant) {
            self.end_all(now);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.core.outbox.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Deadline> {
        let timer = self.core.wheel.next().map(|at| Deadline { at, why: "call" });
        let drain = self.draining.filter(|_| !self.slots.is_empty()).map(|at| Deadline { at, why: "drain" });
        Deadline::sooner(timer, drain)
    }

    fn check_invariants(&self) {
        let config = &self.core.config;
        assert!(self.slots.len() <= config.calls + config.emergency_calls);
        let thirds = self.slots.iter().filter(|(_, call)| call.third.is_some()).count();
        assert_eq!(self.core.legs.len(), 2 * self.slots.len() + thirds, "each call has two legs, or three");
        assert_eq!(self.core.media.len(), 2 * self.slots.len() + thirds, "each leg has one media side");
        assert!(self.core.wheel.len() <= 4 * self.slots.len() + thirds, "a timer outlived its call");
        let mut peers = 0;
        let mut accounts: Map<_, u32> = Map::default();
        for (id, call) in self.slots.iter() {
            assert_eq!(id, call.id);
            call.check(&self.core);
            peers +=
                [&call.incoming, &call.outgoing].into_iter().filter(|half| half.peer().is_some()).count();
            call.facts.accounts().for_each(|account| *accounts.entry(account.clone()).or_default() += 1);
        }
        assert_eq!(self.core.peers.len(), peers, "each transport is of a living leg");
        assert_eq!(self.core.accounts, accounts);
        let urgent = self.slots.iter().filter(|(_, call)| call.facts.urgent).count() as u32;
        assert!(accounts.values().all(|&calls| calls <= config.calls_per_account + urgent));
    }
}
