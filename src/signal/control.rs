//! What happens in a call beside its changes: hold, keys, bodies, third-party control and attached headers.

use super::call::State;
use super::hub::Hub;
use super::message::{Caller, Carried, Event, Refusal, Request};
use crate::base::{LegId, SessionId};
use crate::leg::{self, Data, Digit, MOST_BODY, Notice, Reason};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::time::Duration;

/// Keys of one request.
const MOST_DIGITS: usize = 32;
/// Bodies of one call that wait for the other party's word.
const MOST_TOLD: usize = 16;
/// How long a key may be pressed, in milliseconds (W3C WebRTC section 7.2).
const PRESS: std::ops::RangeInclusive<u32> = 40..=6_000;

/// Whether a body of bytes is in base64, as it must be.
fn is_encoded(kind: &str, text: &str) -> bool {
    !leg::is_binary(kind) || STANDARD.decode(text).is_ok()
}

impl Hub {
    /// `hold` and `resume`: answered when the other party knows.
    pub(super) fn hold(&mut self, session: SessionId, request: &Request, on: bool) -> Result<(), Refusal> {
        let (leg, call) = self.call(session, request)?;
        if call.state != State::Talking || call.holding.is_some() {
            return Err(Refusal::WRONG_STATE);
        }
        call.holding = Some(request.id);
        self.say(leg::Event::Hold { leg, on });
        Ok(())
    }

    /// `dtmf`: keys that the browser does not send as media.
    pub(super) fn dtmf(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let (leg, call) = self.call(session, request)?;
        if call.state != State::Talking {
            return Err(Refusal::WRONG_STATE);
        }
        let keys = request.digits.as_deref().unwrap_or_default();
        let duration = request.duration.unwrap_or(Digit::USUAL.as_millis() as u32);
        let digits: Option<Vec<char>> = keys.chars().take(MOST_DIGITS + 1).map(Digit::key).collect();
        let digits = digits.filter(|digits| (1..=MOST_DIGITS).contains(&digits.len()));
        let digits = digits.filter(|_| PRESS.contains(&duration)).ok_or(Refusal::BAD_DIGITS)?;
        let duration = Duration::from_millis(u64::from(duration));
        let spelled = request.via.as_deref() == Some("info");
        for digit in digits {
            let notice = Box::new(Notice::Digit(Digit { digit, duration, sounds: false, spelled }));
            self.say(leg::Event::Inform { leg, notice });
        }
        Ok(())
    }

    /// `info`: answered when the other party has taken it, or refused.
    pub(super) fn info(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let (leg, call) = self.call(session, request)?;
        if call.state != State::Talking {
            return Err(Refusal::WRONG_STATE);
        }
        let kind =
            request.content_type.as_deref().filter(|kind| leg::passes(kind)).ok_or(Refusal::BAD_TYPE)?;
        let text = request.body.as_deref().unwrap_or_default();
        // A NUL is in no text; line breaks are in many, and stay in the body.
        let long = |most: usize| text.len() > if leg::is_binary(kind) { most.div_ceil(3) * 4 } else { most };
        if text.is_empty() || long(MOST_BODY) || text.contains('\0') || !is_encoded(kind, text) {
            return Err(Refusal::BAD_BODY);
        }
        if call.telling.len() >= MOST_TOLD {
            return Err(Refusal::TOO_MANY_TOLD);
        }
        call.telling.push(request.id);
        let (kind, text) = (kind.to_owned(), text.to_owned());
        let notice = Box::new(Notice::Body { kind, text, receipt: Some(request.id) });
        self.say(leg::Event::Inform { leg, notice });
        Ok(())
    }

    /// What `dial` attaches.
    pub(super) fn attached(&self, request: &Request) -> Result<Data, Refusal> {
        let mut data = Data::new();
        for (name, value) in request.attach.iter().flatten() {
            if !self.config.attach.add(&mut data, name, value) {
                return Err(Refusal::BAD_ATTACH);
            }
        }
        Ok(data)
    }

    /// The call machine's word for `hold` or `resume`.
    pub(super) fn on_hold_outcome(&mut self, leg: LegId, on: bool, outcome: Result<(), Reason>) {
        let Some(call) = self.calls.get_mut(&leg) else { return };
        let session = call.session;
        if outcome.is_ok() {
            call.on_hold = on;
        }
        match call.holding.take() {
            Some(id) => {
                self.answer_later(session, id, outcome.map(|()| Carried::default()).map_err(Refusal::of));
            }
            None => self.counters.stale_commands += 1,
        }
    }

    /// What became of an `info`.
    pub(super) fn on_told(&mut self, leg: LegId, receipt: u64, outcome: Result<(), Reason>) {
        let Some(call) = self.calls.get_mut(&leg) else { return };
        let session = call.session;
        let Some(place) = call.telling.iter().position(|id| *id == receipt) else {
            self.counters.stale_commands += 1;
            return;
        };
        call.telling.remove(place);
        self.answer_later(session, receipt, outcome.map(|()| Carried::default()).map_err(Refusal::of));
    }

    /// The call machine tells the browser something.
    pub(super) fn on_inform(&mut self, leg: LegId, notice: &Notice) {
        let Some(call) = self.calls.get_mut(&leg) else { return };
        match notice {
            Notice::Held(held) => call.held = *held,
            Notice::Party(party) => call.party = party.user.as_str().into(),
            _ => {}
        }
        let (session, key) = (call.session, call.key.clone());
        let call = &*key;
        match notice {
            Notice::Held(true) => self.tell(session, &Event::Held { call }),
            Notice::Held(false) => self.tell(session, &Event::Resumed { call }),
            Notice::Party(party) => {
                self.tell(session, &Event::Party { call, party: Caller::from(party) });
            }
            Notice::Control(control) => self.tell(session, &Event::Control { call, action: control.name() }),
            Notice::Body { kind, text, .. } => {
                self.tell(session, &Event::Info { call, content_type: kind, body: text });
            }
            Notice::Page { kind, text, .. } => {
                let call = Some(call);
                self.tell(session, &Event::Message { call, from: None, content_type: kind, body: text });
            }
            Notice::Digit(Digit { digit, duration, .. }) => {
                let duration = u32::try_from(duration.as_millis()).unwrap_or(u32::MAX);
                self.tell(session, &Event::Dtmf { call, digit: *digit, duration });
            }
        }
    }
}
