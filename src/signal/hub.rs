//! One shard's part of browser signalling.

use super::call::Call;
use super::config::{Config, Counters};
use super::errand::Errands;
use super::exchange::To;
use super::message::Refusal;
use super::session::Session;
use super::throttle::Throttle;
use super::{Input, Output};
use crate::base::{
    Deadline, FlowId, LegId, Machine, Map, Mint, Now, Random, SessionId, ShardId, Slab, TimerId, Wheel,
};
use crate::leg::Account;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// The signalling machine of one shard.
#[derive(Debug)]
pub struct Hub {
    pub(super) shard: ShardId,
    pub(super) shards: u8,
    pub(super) config: Arc<Config>,
    pub(super) random: Random,
    pub(super) mint: Mint,
    /// Connections that have not signed in.
    pub(super) unknown: Map<FlowId, Unknown>,
    pub(super) flows: Map<FlowId, SessionId>,
    pub(super) sessions: Slab<SessionId, Session>,
    /// The sessions of each user, oldest first. A user without one has no entry.
    pub(super) accounts: Map<Account, Vec<SessionId>>,
    pub(super) calls: Map<LegId, Call>,
    pub(super) throttle: Throttle,
    pub(super) errands: Errands,
    pub(super) timers: Wheel<Timer>,
    pub(super) outbox: VecDeque<Output>,
    pub(super) counters: Counters,
    pub(super) draining: bool,
    pub(super) serial: u64,
    /// Connections of exchanges that wait, and for whose session.
    pub(super) exchanges: Map<FlowId, SessionId>,
    /// Sessions with a poll to be answered.
    pub(super) told: Vec<SessionId>,
    /// Sessions to be ended for events that outgrew their room.
    pub(super) overflowing: Vec<SessionId>,
}

/// A connection that has not signed in.
#[derive(Debug)]
pub(super) struct Unknown {
    pub(super) source: Option<IpAddr>,
    pub(super) failures: u32,
    /// It was told to close; nothing that still comes is heard.
    pub(super) closing: bool,
    timer: TimerId,
}

/// What a deadline is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    /// A connection must have signed in; or, told to close, is forgotten.
    Connect(FlowId),
    /// A session's connection stays lost.
    Grace(SessionId),
    /// A poll has waited long enough.
    Poll(SessionId),
    /// A browser must have accepted our offer.
    Update(LegId),
}

impl Hub {
    /// The hub of one of `shards` shards.
    pub fn new(shard: ShardId, shards: u8, config: Arc<Config>, random: Random) -> Hub {
        Hub {
            shard,
            shards,
            random,
            mint: Mint::new(shard, false),
            unknown: Map::default(),
            flows: Map::default(),
            sessions: Slab::new(shard, config.max_sessions),
            accounts: Map::default(),
            calls: Map::default(),
            throttle: Throttle::default(),
            errands: Errands::default(),
            timers: Wheel::default(),
            outbox: VecDeque::new(),
            counters: Counters::default(),
            draining: false,
            serial: 0,
            exchanges: Map::default(),
            told: Vec::new(),
            overflowing: Vec::new(),
            config,
        }
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// How many sessions there are, those whose connection is lost included.
    pub fn sessions(&self) -> usize {
        self.sessions.len()
    }

    /// How many legs there are.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    fn on_opened(&mut self, now: Now, flow: FlowId, source: Option<IpAddr>) {
        if self.unknown.contains_key(&flow) || self.flows.contains_key(&flow) {
            return;
        }
        if self.unknown.len() >= self.config.max_unknown {
            self.counters.unknown_full += 1;
            self.outbox.push_back(Output::Close { flow });
            return;
        }
        let timer = self.timers.insert(now.instant + self.config.connect_timeout, Timer::Connect(flow));
        self.unknown.insert(flow, Unknown { source, failures: 0, closing: false, timer });
    }

    fn on_closed(&mut self, now: Now, flow: FlowId) {
        self.forget_unknown(flow);
        if let Some(id) = self.flows.remove(&flow) {
            if let Some(session) = self.sessions.get_mut(id) {
                session.flow = None;
            }
            self.begin_grace(now, id);
            self.say_presence(id, false);
        }
    }

    fn on_message(&mut self, now: Now, flow: FlowId, text: &str) {
        self.counters.messages += 1;
        if let Some(&session) = self.flows.get(&flow) {
            return self.on_request(now, To::Flow(flow), session, text);
        }
        self.on_opened(now, flow, None);
        if self.unknown.get(&flow).is_some_and(|unknown| !unknown.closing) {
            self.on_first(now, flow, text);
        }
    }

    /// A connection that has signed in, or moved, or is gone.
    pub(super) fn forget_unknown(&mut self, flow: FlowId) -> Option<Unknown> {
        let unknown = self.unknown.remove(&flow)?;
        self.timers.cancel(unknown.timer);
        Some(unknown)
    }

    /// Counts what a connection that has not signed in did wrong; too much of it closes it.
    pub(super) fn on_failure(&mut self, now: Now, flow: FlowId, refusal: Refusal) {
        let Some(unknown) = self.unknown.get_mut(&flow) else { return };
        unknown.failures += 1;
        if unknown.failures >= self.config.max_failures || refusal == Refusal::OTHER_HOME {
            self.counters.strangers_closed += 1;
            self.close_flow(now, flow);
        }
    }

    /// Tells a connection to close. It is remembered for a while, as messages behind the fatal one may be on their way.
    pub(super) fn close_flow(&mut self, now: Now, flow: FlowId) {
        let source = self.forget_unknown(flow).and_then(|unknown| unknown.source);
        let timer = self.timers.insert(now.instant + self.config.connect_timeout, Timer::Connect(flow));
        self.unknown.insert(flow, Unknown { source, failures: 0, closing: true, timer });
        self.outbox.push_back(Output::Close { flow });
    }

    fn on_connect_deadline(&mut self, now: Now, flow: FlowId) {
        match self.unknown.get(&flow) {
            Some(unknown) if unknown.closing => {
                self.unknown.remove(&flow);
            }
            Some(_) => {
                self.counters.strangers_closed += 1;
                self.close_flow(now, flow);
            }
            None => {}
        }
    }

    fn on_stop(&mut self, now: Now) {
        self.draining = true;
        let ids: Vec<SessionId> = self.sessions.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.end_session(now, id, "draining");
        }
        let open = self.unknown.iter().filter(|(_, unknown)| !unknown.closing);
        let mut strangers: Vec<FlowId> = open.map(|(flow, _)| *flow).collect();
        strangers.sort_unstable(); // a map's order may decide nothing
        for flow in strangers {
            self.close_flow(now, flow);
        }
    }
}

impl Machine for Hub {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Opened { flow, source } => self.on_opened(now, flow, source),
            Input::Message { flow, text } => self.on_message(now, flow, text),
            Input::Closed { flow } => self.on_closed(now, flow),
            Input::Asked(ask) => self.on_asked(now, ask),
            Input::Abandoned(exchange) => self.on_abandoned(now, exchange),
            Input::Command(command) => self.on_command(now, command),
            Input::Registered { account, state } => self.on_registered(&account, state),
            Input::Paged { receipt, outcome } => self.on_paged(receipt, outcome),
            Input::Page(page) => self.on_page(&page),
            Input::Watched { number, news } => self.on_watched(number, news),
            Input::Waiting { account, kind, text } => self.on_waiting(&account, &kind, &text),
            Input::Drain => self.draining = true,
            Input::Stop => self.on_stop(now),
        }
        self.answer_polls(now);
        self.end_overflowing(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        while let Some(timer) = self.timers.expire(now.instant) {
            match timer {
                Timer::Connect(flow) => self.on_connect_deadline(now, flow),
                Timer::Grace(session) => self.on_grace_over(now, session),
                Timer::Poll(session) => self.on_poll_over(now, session),
                Timer::Update(leg) => self.on_update_unanswered(leg),
            }
        }
        self.answer_polls(now);
        self.end_overflowing(now);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Deadline> {
        self.timers.next().map(|at| Deadline { at, why: "signal" })
    }

    fn check_invariants(&self) {
        for (&flow, &id) in &self.flows {
            let session = self.sessions.get(id).expect("a connection's session exists");
            assert_eq!(session.flow, Some(flow), "a connection and its session know each other");
            assert!(!self.unknown.contains_key(&flow), "who has signed in is not unknown");
        }
        let mut listed = 0;
        for (id, session) in self.sessions.iter() {
            assert!(self.accounts.get(&session.account).is_some_and(|siblings| siblings.contains(&id)));
            assert_eq!(
                session.flow.is_none() && session.poll.is_none(),
                session.grace.is_some(),
                "a grace runs while the connection is lost"
            );
            assert!(session.flow.is_none_or(|flow| self.flows.get(&flow) == Some(&id)));
            assert!(session.calls.len() <= self.config.max_calls_per_session);
            listed += session.calls.len();
            for (key, leg) in &session.calls {
                let call = self.calls.get(leg).expect("a session's call exists");
                let here = call.session == id || call.also.contains(&id);
                assert!(here && call.key == *key, "a call and its session know each other");
            }
        }
        assert!(self.overflowing.is_empty() && self.told.is_empty());
        let waiting = self.sessions.iter().map(|(_, s)| s.waiting.len() + usize::from(s.poll.is_some()));
        assert_eq!(waiting.sum::<usize>(), self.exchanges.len(), "every exchange that waits is known");
        let placed: usize = self.calls.values().map(|call| 1 + call.also.len()).sum();
        assert_eq!(listed, placed, "every call belongs to a session, or rings at several");
        let siblings: usize = self.accounts.values().map(Vec::len).sum();
        assert_eq!(siblings, self.sessions.len(), "every session belongs to a user");
        assert!(self.accounts.values().all(|siblings| siblings.len() <= self.config.max_sessions_per_user));
        assert!(
            self.accounts.keys().all(|account| account.home(self.shards) == self.shard),
            "users live at home"
        );
        let updates = self.calls.values().filter(|call| call.ours.is_some()).count();
        let graces = self.sessions.iter().filter(|(_, session)| session.grace.is_some()).count();
        let polls = self.sessions.iter().filter(|(_, session)| session.poll.is_some()).count();
        assert_eq!(
            self.timers.len(),
            self.unknown.len() + updates + graces + polls,
            "no timer is left behind"
        );
    }
}
