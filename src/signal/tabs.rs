//! A call rings at all tabs of its user. One offer is made to all of them, and it is answered once: the transport behind
//! it takes the ICE credentials and the fingerprint of the first answer, and hears nobody else.

use super::call::State;
use super::hub::Hub;
use super::message::{Caller, Event, Ringing};
use super::registration::Standing;
use crate::base::{LegId, SessionId};
use crate::leg::{Account, Cause, Data, Dial, Party, Reason};
use std::sync::Arc;

/// What a call says as long as it rings: a tab that comes later hears it, too.
#[derive(Debug)]
pub(super) struct Bell {
    from: Party,
    to: String,
    pub(super) sdp: String,
    data: Data,
    /// It rings only where registration was asked for.
    registered: bool,
    /// Tabs that are busy: it rings there no more.
    busy: Vec<SessionId>,
}

impl Bell {
    pub(super) fn new(dial: &Dial, sdp: String, registered: bool) -> Bell {
        let (from, to, data) = (dial.caller.clone(), dial.callee.user.clone(), dial.data.clone());
        Bell { from, to, sdp, data, registered, busy: Vec::new() }
    }

    /// As a browser hears it.
    pub(super) fn told(&self) -> Ringing<'_> {
        let data = self.data.iter().map(|(name, value)| (&**name, &**value)).collect();
        Ringing { from: Caller::from(&self.from), to: &self.to, sdp: &self.sdp, data }
    }
}

impl Hub {
    /// The tabs at which a call to a user rings: those that are there and have room; where some asked for registration,
    /// only those, which is told as well. The newest comes first.
    pub(super) fn choose_tabs(&self, account: &Account) -> (Vec<SessionId>, bool) {
        let siblings = self.accounts.get(account).map_or(&[][..], Vec::as_slice);
        let able = |id: &SessionId| {
            let session = self.sessions.get(*id)?;
            let able = session.is_there() && session.calls.len() < self.config.max_calls_per_session;
            able.then_some((*id, session.standing != Standing::Off, session.serial))
        };
        let mut able: Vec<_> = siblings.iter().filter_map(able).collect();
        let registered = able.iter().any(|(_, registered, _)| *registered);
        able.retain(|(_, asked, _)| *asked == registered);
        able.sort_by_key(|(_, _, serial)| std::cmp::Reverse(*serial));
        (able.into_iter().map(|(id, _, _)| id).collect(), registered)
    }

    /// A tab that comes while calls ring at its user's others rings, too.
    pub(super) fn ring_late(&mut self, tab: SessionId) {
        let Some(session) = self.sessions.get(tab) else { return };
        let siblings = self.accounts.get(&session.account).map_or(&[][..], Vec::as_slice);
        let legs = siblings.iter().filter_map(|&id| self.sessions.get(id)).flat_map(|other| &other.calls);
        let mut legs: Vec<LegId> = legs.map(|(_, leg)| *leg).collect();
        legs.sort_unstable();
        legs.dedup();
        for leg in legs {
            self.ring_at(leg, tab);
        }
    }

    fn ring_at(&mut self, leg: LegId, tab: SessionId) {
        let (Some(call), Some(session)) = (self.calls.get_mut(&leg), self.sessions.get(tab)) else { return };
        let there = call.session == tab || call.also.contains(&tab);
        let full = session.calls.len() >= self.config.max_calls_per_session;
        // An id that this tab has given to a call of its own can't stand for another.
        if there || full || session.leg(&call.key).is_some() {
            return;
        }
        let asked = session.standing != Standing::Off;
        let Some(bell) = call.bell.take_if(|bell| !bell.busy.contains(&tab) && (asked || !bell.registered))
        else {
            return;
        };
        let key = Arc::clone(&call.key);
        self.ring_also(leg, tab, &key);
        self.tell(tab, &Event::Incoming { call: &key, ringing: bell.told() });
        if let Some(call) = self.calls.get_mut(&leg) {
            call.bell = Some(bell);
        }
    }

    /// A call that rings at one tab rings at another, too.
    pub(super) fn ring_also(&mut self, leg: LegId, tab: SessionId, key: &Arc<str>) {
        if let (Some(call), Some(session)) = (self.calls.get_mut(&leg), self.sessions.get_mut(tab)) {
            call.also.push(tab);
            session.calls.push((Arc::clone(key), leg));
        }
    }

    /// Where a call is: one tab, or all at which it rings.
    pub(super) fn tabs(&self, leg: LegId) -> Vec<SessionId> {
        let call = self.calls.get(&leg);
        call.map_or_else(Vec::new, |call| [&[call.session], &call.also[..]].concat())
    }

    /// One tab is busy; false where it is the only one.
    pub(super) fn leave_busy(&mut self, leg: LegId, tab: SessionId) -> bool {
        if !self.leave_tab(leg, tab, Cause::Busy.into()) {
            return false;
        }
        if let Some(bell) = self.calls.get_mut(&leg).and_then(|call| call.bell.as_mut()) {
            bell.busy.retain(|&other| self.sessions.get(other).is_some());
            bell.busy.push(tab);
        }
        true
    }

    /// One tab answered: the others stop ringing.
    pub(super) fn settle_on(&mut self, leg: LegId, winner: SessionId) {
        for tab in self.tabs(leg) {
            if tab != winner {
                self.leave_tab(leg, tab, Cause::AnsweredElsewhere.into());
            }
        }
    }

    /// A tab leaves a call that rings at others, too; false where it is the only one, or is talking.
    pub(super) fn leave_tab(&mut self, leg: LegId, tab: SessionId, reason: Reason) -> bool {
        let Some(call) = self.calls.get_mut(&leg) else { return false };
        if !matches!(call.state, State::Ringing { .. }) || call.also.is_empty() {
            return false;
        }
        if call.session == tab {
            call.session = call.also.remove(0);
        } else {
            call.also.retain(|other| *other != tab);
        }
        let key = Arc::clone(&call.key);
        if let Some(session) = self.sessions.get_mut(tab) {
            session.calls.retain(|(_, other)| *other != leg);
        }
        let (name, code) = (reason.cause.name(), reason.code);
        self.tell(tab, &Event::Ended { call: &key, reason: name, code, stats: None });
        true
    }
}
