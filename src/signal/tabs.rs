//! A call rings at all tabs of its user. One offer is made to all of them, and it is answered once: the transport behind
//! it takes the ICE credentials and the fingerprint of the first answer, and hears nobody else.

use super::call::State;
use super::hub::Hub;
use super::message::Event;
use super::registration::Standing;
use crate::base::{LegId, SessionId};
use crate::leg::{Account, Cause, Reason};
use std::sync::Arc;

impl Hub {
    /// The tabs at which a call to a user rings: those that are there and have room; where some asked for registration,
    /// only those. The newest comes first.
    pub(super) fn choose_tabs(&self, account: &Account) -> Vec<SessionId> {
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
        able.into_iter().map(|(id, _, _)| id).collect()
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
