//! Registration upstream: one for all sessions of a user that ask for it.

use super::Output;
use super::hub::Hub;
use super::jwt::Flaw;
use super::message::{Event, Refusal, Request};
use crate::base::SessionId;
use crate::leg::{Account, Identity, Reason, Secret};
use std::sync::Arc;

/// Bytes of the longest SIP password.
const LONGEST_PASSWORD: usize = 256;

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
    /// A session asks for registration, and may tell the password of an identity that its token gave.
    pub(super) fn register(&mut self, id: SessionId, request: &Request) -> Result<(), Refusal> {
        let Some(session) = self.sessions.get(id) else { return Err(Refusal::WRONG_STATE) };
        let (account, identity) = (session.account.clone(), session.identity.clone());
        match (identity, &request.password) {
            (None, Some(_)) => return Err(Refusal::NO_IDENTITY),
            (Some(identity), None) if identity.secret.is_none() => return Err(Refusal::NO_SECRET),
            (Some(identity), Some(password)) => {
                let password = &password.0;
                if !(1..=LONGEST_PASSWORD).contains(&password.len()) || password.contains(char::is_control) {
                    return Err(Refusal::BAD_PASSWORD);
                }
                let secret = Some(Secret(password.clone()));
                self.share_identity(&account, &Arc::new(Identity { secret, ..(*identity).clone() }));
            }
            _ => {}
        }
        self.ask_upstream(id, account, request.password.is_some());
        Ok(())
    }

    /// The identity of a new session. All sessions of a user have one registration, and so the same identity; a secret
    /// that one of them has is good for all.
    pub(super) fn agree_identity(
        &mut self,
        account: &Account,
        identity: Option<Identity>,
    ) -> Result<Option<Arc<Identity>>, Flaw> {
        let first = self.accounts.get(account).and_then(|siblings| self.sessions.get(*siblings.first()?));
        match (first.map(|session| session.identity.clone()), identity) {
            (None, identity) => Ok(identity.map(Arc::new)),
            (Some(None), None) => Ok(None),
            (Some(Some(old)), Some(new)) if old.is(&new) => {
                if new.secret.is_none() {
                    return Ok(Some(old));
                }
                let new = Arc::new(new);
                self.share_identity(account, &new);
                Ok(Some(new))
            }
            _ => Err(Flaw::Identity),
        }
    }

    fn share_identity(&mut self, account: &Account, identity: &Arc<Identity>) {
        for &id in self.accounts.get(account).into_iter().flatten() {
            if let Some(session) = self.sessions.get_mut(id) {
                session.identity = Some(Arc::clone(identity));
            }
        }
    }

    fn ask_upstream(&mut self, id: SessionId, account: Account, anew: bool) {
        let identity = self.sessions.get(id).and_then(|session| session.identity.clone());
        let standings = self.standings(&account);
        if standings.contains(&Standing::Registered) {
            self.set_standing(id, Standing::Registered);
            self.tell(id, &Event::Registered);
            return self.ring_late(id);
        }
        let asked = standings.contains(&Standing::Waiting);
        self.set_standing(id, Standing::Waiting);
        if !asked || anew {
            self.outbox.push_back(Output::Register(account, identity));
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
