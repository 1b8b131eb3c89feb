//! Registration upstream: one for all sessions of a user that ask for it.

use super::Output;
use super::hub::Hub;
use super::message::Event;
use crate::base::SessionId;
use crate::leg::{Account, Reason};

/// What a session asked for, and what it was told.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Standing {
    /// It did not ask.
    Off,
    /// It asked; nothing is known yet.
    Waiting,
    /// It was told `registered`.
    Registered,
    /// It was told `unregistered`.
    Failed(Reason),
}

impl Hub {
    /// A session asks for registration.
    pub(super) fn register(&mut self, id: SessionId) {
        let Some(account) = self.sessions.get(id).map(|session| session.account.clone()) else { return };
        let standings = self.standings(&account);
        if standings.contains(&Standing::Registered) {
            self.set_standing(id, Standing::Registered);
            self.tell(id, &Event::Registered);
            return self.ring_late(id);
        }
        let asked = standings.contains(&Standing::Waiting);
        self.set_standing(id, Standing::Waiting);
        if !asked {
            self.outbox.push_back(Output::Register(account));
        }
        self.ring_late(id);
    }

    /// A session asks for an end of it.
    pub(super) fn unregister(&mut self, id: SessionId) {
        if self.sessions.get(id).is_some_and(|session| session.standing != Standing::Off) {
            self.leave_registration(id);
            self.tell(id, &Event::Unregistered { reason: "unregistered", code: 0 });
        }
    }

    /// A session wants it no more, or is over. The last one ends it upstream.
    pub(super) fn leave_registration(&mut self, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        if session.standing == Standing::Off {
            return;
        }
        session.standing = Standing::Off;
        let account = session.account.clone();
        if self.standings(&account).iter().all(|standing| *standing == Standing::Off) {
            self.outbox.push_back(Output::Unregister(account));
        }
    }

    /// News from upstream: every session that asked and was not told the same already hears it.
    pub(super) fn on_registered(&mut self, account: &Account, state: Result<(), Reason>) {
        let standing = state.map_or_else(Standing::Failed, |()| Standing::Registered);
        let event = match state {
            Ok(()) => Event::Registered,
            Err(reason) => Event::Unregistered { reason: reason.cause.name(), code: reason.code },
        };
        for id in self.accounts.get(account).cloned().unwrap_or_default() {
            let old = self.sessions.get(id).map_or(Standing::Off, |session| session.standing);
            if old != Standing::Off && old != standing {
                self.set_standing(id, standing);
                self.tell(id, &event);
            }
        }
    }

    fn standings(&self, account: &Account) -> Vec<Standing> {
        let siblings = self.accounts.get(account).map_or(&[][..], Vec::as_slice);
        siblings.iter().filter_map(|&id| self.sessions.get(id)).map(|session| session.standing).collect()
    }

    fn set_standing(&mut self, id: SessionId, standing: Standing) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.standing = standing;
        }
    }
}
