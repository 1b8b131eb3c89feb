//! Transfers that a browser asks for.

use super::call::State;
use super::hub::Hub;
use super::message::{Carried, Event, Refusal, Request};
use super::party::parse_dialled;
use crate::base::{LegId, SessionId};
use crate::leg::{self, Party, Replaces, Stage, Transfer};

impl Hub {
    /// `transfer`: to somebody (`to`), or to the other party of another call of this session (`with`). Answered when the
    /// other party is connected there, or is not.
    pub(super) fn transfer(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let with = match (&request.to, &request.with) {
            (Some(_), None) => None,
            (None, Some(key)) if request.call.as_ref() != Some(key) => {
                let other = self.sessions.get(session).and_then(|session| session.leg(key));
                let other = other.ok_or(Refusal::UNKNOWN_CALL)?;
                if self.calls.get(&other).is_none_or(|call| call.state != State::Talking) {
                    return Err(Refusal::WRONG_STATE);
                }
                Some(other)
            }
            _ => return Err(Refusal::BAD_TRANSFER),
        };
        let to = match (&request.to, with) {
            (Some(to), _) => parse_dialled(to).ok_or(Refusal::BAD_CALLEE)?,
            (None, _) => Party::default(),
        };
        let (leg, call) = self.call(session, request)?;
        if call.state != State::Talking || call.moving.is_some() {
            return Err(Refusal::WRONG_STATE);
        }
        call.moving = Some(request.id);
        let transfer = Box::new(Transfer { to, replaces: with.map(Replaces::Leg), by: None });
        self.say(leg::Event::Transfer { leg, transfer });
        Ok(())
    }

    /// How far it is.
    pub(super) fn on_transfer(&mut self, leg: LegId, stage: Stage) {
        let Some(call) = self.calls.get_mut(&leg) else { return };
        let (session, key) = (call.session, call.key.clone());
        let outcome = match stage {
            Stage::Trying(code) => return self.tell(session, &Event::Transferring { call: &key, code }),
            Stage::Done => Ok(Carried::default()),
            Stage::Failed(reason) => Err(Refusal::of(reason)),
        };
        match call.moving.take() {
            Some(id) => self.answer_later(session, id, outcome),
            None => self.counters.stale_commands += 1,
        }
    }
}
