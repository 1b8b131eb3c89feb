//! Sessions: signed-in browsers. A session outlives its connection by a grace.

use super::exchange::{Parked, To};
use super::hub::{Hub, Timer};
use super::kept::Kept;
use super::message::{self, Event, Numbered};
use super::registration::Standing;
use super::resume::Tokens;
use super::{Exchange, Output};
use crate::base::{FlowId, LegId, Now, SessionId, TimerId};
use crate::leg::{self, Account, Identity};
use std::sync::Arc;
use std::time::Instant;

/// Why a session ended whose browser said so.
pub(super) const SIGNED_OUT: &str = "disconnected";

/// A browser's signalling session.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) account: Account,
    /// The display name that its token gave.
    pub(super) name: Option<String>,
    /// The SIP identity that its token gave: all sessions of a user have the same.
    pub(super) identity: Option<Arc<Identity>>,
    /// The connection; `None` while it is lost.
    pub(super) flow: Option<FlowId>,
    /// Counts up with each event.
    pub(super) seq: u64,
    /// Counts up with each session: the newest has the highest.
    pub(super) serial: u64,
    pub(super) standing: Standing,
    /// Calls by the browser's ids, oldest first.
    pub(super) calls: Vec<(Arc<str>, LegId)>,
    /// Until when what it has sent fills its allowance of messages.
    pub(super) paced: Instant,
    /// Runs while the connection is lost.
    pub(super) grace: Option<TimerId>,
    /// Waits for events over HTTP.
    pub(super) poll: Option<Parked>,
    /// Exchanges that wait for an answer of the call machine, by request id.
    pub(super) waiting: Vec<(u64, Exchange)>,
    /// The call machine was told that it is lost.
    pub(super) lost: bool,
    /// It spoke by HTTP last: it is there, though nothing may wait at this moment.
    pub(super) polls: bool,
    /// What can be said again.
    pub(super) kept: Kept,
    /// What opens it.
    pub(super) tokens: Tokens,
}

impl Session {
    /// The leg of a call.
    pub(super) fn leg(&self, call: &str) -> Option<LegId> {
        self.calls.iter().find(|(key, _)| **key == *call).map(|(_, leg)| *leg)
    }

    /// Whether it can be reached now, or asks every now and then.
    pub(super) fn is_there(&self) -> bool {
        self.flow.is_some() || self.polls
    }

    /// What a connection is told when another takes over. It is no event of the session, so its number is not used up.
    pub(super) fn replaced(&self) -> String {
        message::text(&Numbered { seq: self.seq + 1, event: &Event::Closed { reason: "replaced" } })
    }
}

impl Hub {
    /// Begins a session; `None` where the tables are full.
    pub(super) fn open_session(&mut self, now: Now, account: &Account, to: To) -> Option<SessionId> {
        self.make_room(now, account);
        let siblings = self.accounts.get(account).map_or(0, Vec::len);
        if siblings >= self.config.max_sessions_per_user {
            return None;
        }
        self.serial += 1;
        let session = Session {
            account: account.clone(),
            name: None,
            identity: None,
            flow: None,
            seq: 0,
            serial: self.serial,
            standing: Standing::Off,
            calls: Vec::new(),
            paced: now.instant,
            grace: None,
            poll: None,
            waiting: Vec::new(),
            lost: false,
            polls: false,
            kept: Kept::default(),
            tokens: Tokens::default(),
        };
        let id = self.sessions.insert(session).ok()?;
        self.accounts.entry(account.clone()).or_default().push(id);
        self.counters.sessions_opened += 1;
        self.attach(now, id, to);
        Some(id)
    }

    /// Where a user has as many sessions as allowed, the oldest one that is lost and has no call makes room: a page
    /// that is reloaded again and again must not lock its user out.
    fn make_room(&mut self, now: Now, account: &Account) {
        let Some(siblings) = self.accounts.get(account) else { return };
        if siblings.len() < self.config.max_sessions_per_user {
            return;
        }
        let idle = siblings.iter().copied().find(|&id| {
            self.sessions.get(id).is_some_and(|session| !session.is_there() && session.calls.is_empty())
        });
        if let Some(id) = idle {
            self.end_session(now, id, "replaced");
        }
    }

    /// The grace begins, unless there still is a connection.
    pub(super) fn begin_grace(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.flow.is_none() && session.poll.is_none() && session.grace.is_none() {
            session.grace = Some(self.timers.insert(now.instant + self.config.grace, Timer::Grace(id)));
        }
    }

    /// The grace is over.
    pub(super) fn on_grace_over(&mut self, now: Now, id: SessionId) {
        self.counters.sessions_lost += 1;
        self.end_session(now, id, "lost");
    }

    /// Ends a session with its calls, and its user's registration if nobody else wants it.
    pub(super) fn end_session(&mut self, now: Now, id: SessionId, why: &'static str) {
        let Some(session) = self.sessions.get(id) else { return };
        let legs: Vec<LegId> = session.calls.iter().map(|(_, leg)| *leg).collect();
        for leg in legs {
            self.counters.calls_lost += u64::from(why != SIGNED_OUT);
            self.on_browser_gone(leg, id, why);
        }
        self.tell(id, &Event::Closed { reason: why });
        self.leave_registration(id);
        self.leave_errands(id);
        self.unpark(now, id);
        let Some(session) = self.sessions.remove(id) else { return };
        if let Some(grace) = session.grace {
            self.timers.cancel(grace);
        }
        if let Some(flow) = session.flow {
            self.flows.remove(&flow);
            self.close_flow(now, flow);
        }
        if let Some(siblings) = self.accounts.get_mut(&session.account) {
            siblings.retain(|&sibling| sibling != id);
            if siblings.is_empty() {
                self.accounts.remove(&session.account);
            }
        }
    }

    /// Sends an event, numbered, and keeps it until it is acknowledged. A browser that is connected and acknowledges
    /// nothing loses the oldest; one that is away too long for its events loses its session.
    pub(super) fn tell(&mut self, id: SessionId, event: &Event<'_>) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.seq += 1;
        let text = message::text(&Numbered { seq: session.seq, event });
        session.kept.push(session.seq, event, text.as_str().into());
        let forgot = session.kept.shrink(self.config.max_events, self.config.max_event_bytes);
        self.counters.events_forgotten += u64::from(forgot);
        if let Some(flow) = session.flow {
            self.outbox.push_back(Output::Send { flow, text });
        }
        if session.poll.is_some() && !self.told.contains(&id) {
            self.told.push(id);
        }
        if session.flow.is_some() || session.poll.is_some() {
            return;
        }
        self.counters.events_unheard += 1;
        if forgot && !self.overflowing.contains(&id) {
            self.overflowing.push(id);
        }
    }

    /// Ends the sessions whose events have outgrown their room while they were away.
    pub(super) fn end_overflowing(&mut self, now: Now) {
        while let Some(id) = self.overflowing.pop() {
            self.counters.sessions_overflowed += u64::from(self.sessions.get(id).is_some());
            self.end_session(now, id, "overflow");
        }
    }

    /// Passes a word to the call machine.
    pub(super) fn say(&mut self, event: leg::Event) {
        self.outbox.push_back(Output::Event(event));
    }
}
