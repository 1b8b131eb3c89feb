//! Calls: one leg at one session each. What browsers ask of them, in which state.

use super::Output;
use super::hub::Hub;
use super::message::{self, Carried, Event, Refusal, Reply, Request};
use super::party::parse_dialled;
use super::quality::Stats;
use super::registration::Standing;
use super::session::SIGNED_OUT;
use super::tabs::Bell;
use crate::base::{LegId, SessionId, Side, TimerId};
use crate::leg::{self, Callee, Cause, Fork, Incoming, Party, Reason, Source};
use crate::sdp;
use std::sync::Arc;

/// Max-Forwards of a call that begins here (RFC 3261 section 8.1.1.6).
const HOPS: u8 = 70;

/// A leg at a browser.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) session: SessionId,
    /// Other tabs at which it rings.
    pub(super) also: Vec<SessionId>,
    /// The browser's id of it.
    pub(super) key: Arc<str>,
    /// The other party's name or number.
    pub(super) party: Arc<str>,
    pub(super) incoming: bool,
    pub(super) state: State,
    /// The browser's `update` that waits for its answer, by request id.
    pub(super) theirs: Option<u64>,
    /// The browser's `hold` or `resume` that waits for its answer, by request id.
    pub(super) holding: Option<u64>,
    /// The browser's `info` that wait for the other party's word, by request id.
    pub(super) telling: Vec<u64>,
    /// The browser's `transfer` that waits for its outcome, by request id.
    pub(super) moving: Option<u64>,
    /// Our `update` that waits for `accept`, until then.
    pub(super) ours: Option<TimerId>,
    /// The browser's `stats` that waits for its answer, by request id.
    pub(super) asking: Option<u64>,
    /// How its media goes, as it was told last.
    pub(super) quality: Option<Box<leg::Quality>>,
    /// This browser holds the other party.
    pub(super) on_hold: bool,
    /// The other party holds this browser.
    pub(super) held: bool,
    /// What it says while it rings.
    pub(super) bell: Option<Box<Bell>>,
}

/// How far a call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// The browser dialled.
    Dialling {
        /// Its offer was answered by `media`.
        answered: bool,
    },
    /// It rings at the browser.
    Ringing {
        /// The browser said so.
        alerted: bool,
    },
    /// Both talk.
    Talking,
}

impl Hub {
    /// `dial`.
    pub(super) fn dial(&mut self, id: SessionId, request: &Request) -> Result<(), Refusal> {
        let Some(session) = self.sessions.get(id) else { return Err(Refusal::WRONG_STATE) };
        let key = request.call.as_deref().filter(|key| is_call_id(key)).ok_or(Refusal::NO_CALL)?;
        if session.leg(key).is_some() {
            return Err(Refusal::CALL_USED);
        }
        let party = request.to.as_deref().and_then(parse_dialled).ok_or(Refusal::BAD_CALLEE)?;
        if self.config.require_registration && session.standing != Standing::Registered {
            return Err(Refusal::NOT_REGISTERED);
        }
        if self.draining {
            self.counters.calls_refused += 1;
            return Err(Refusal::OVERLOADED);
        }
        if session.calls.len() >= self.config.max_calls_per_session {
            self.counters.calls_refused += 1;
            return Err(Refusal::TOO_MANY_CALLS);
        }
        let offer = read_sdp(request)?;
        let data = self.attached(request)?;
        let (account, identity) = (session.account.clone(), session.identity.clone());
        let known = || self.config.users.get(&account).map(|user| user.display.clone());
        let display = session.name.clone().or_else(known).unwrap_or_default();
        let leg = self.mint.leg(Side::Web);
        let caller = Party { user: account.name().to_owned(), host: String::new(), display };
        self.add_call(leg, id, key.into(), party.user.as_str().into(), State::Dialling { answered: false });
        self.counters.calls_dialled += 1;
        self.say(leg::Event::Incoming(Box::new(Incoming {
            leg,
            source: Source::Account(account),
            identity,
            caller,
            callee: Callee::Dialled(party),
            offer: Some(offer),
            hops: HOPS,
            key: key.to_owned(),
            data,
            carried: Box::default(),
            reliable: false,
            replaces: None,
        })));
        Ok(())
    }

    /// `ringing`.
    pub(super) fn ringing(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let (leg, call) = self.call(session, request)?;
        let State::Ringing { alerted } = call.state else { return Err(Refusal::WRONG_STATE) };
        if !alerted {
            call.state = State::Ringing { alerted: true };
            self.say(leg::Event::Progress { leg, fork: Fork(0), code: 180, answer: None });
        }
        Ok(())
    }

    /// `answer`.
    pub(super) fn answer(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let (leg, call) = self.call(session, request)?;
        let State::Ringing { .. } = call.state else { return Err(Refusal::WRONG_STATE) };
        let answer = read_sdp(request)?;
        self.settle_on(leg, session);
        if let Some(call) = self.calls.get_mut(&leg) {
            call.state = State::Talking;
            call.bell = None;
        }
        self.say(leg::Event::Answered { leg, fork: Fork(0), answer: Some(answer) });
        Ok(())
    }

    /// `reject`.
    pub(super) fn reject(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let (leg, call) = self.call(session, request)?;
        let State::Ringing { .. } = call.state else { return Err(Refusal::WRONG_STATE) };
        let cause = match request.reason.as_deref() {
            None | Some("declined") => Cause::Declined,
            Some("busy") => Cause::Busy,
            Some(_) => return Err(Refusal::BAD_REASON),
        };
        // Who is busy at one tab may be free at another; who declines, declines everywhere.
        if cause != Cause::Busy || !self.leave_busy(leg, session) {
            self.end_call(leg, cause.into());
        }
        Ok(())
    }

    /// `hangup`.
    pub(super) fn hangup(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let (leg, call) = self.call(session, request)?;
        let cause = match call.state {
            State::Dialling { .. } => Cause::Cancelled,
            State::Ringing { .. } => Cause::Declined,
            State::Talking => Cause::Hangup,
        };
        self.end_call(leg, cause.into());
        Ok(())
    }

    /// `update`: answered when the call machine has decided.
    pub(super) fn update(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let (_, call) = self.call(session, request)?;
        if call.state != State::Talking {
            return Err(Refusal::WRONG_STATE);
        }
        let offer = read_sdp(request)?;
        if request.takeover == Some(true) {
            self.clear_for_takeover(session, request)?;
        }
        let (leg, call) = self.call(session, request)?;
        if call.theirs.is_some() {
            return Err(Refusal::WRONG_STATE);
        }
        if call.ours.is_some() {
            return Err(Refusal::CROSSED);
        }
        call.theirs = Some(request.id);
        self.say(leg::Event::Offered { leg, offer: Some(offer) });
        Ok(())
    }

    /// A reloaded page takes a call over: what its predecessor left half done is void.
    fn clear_for_takeover(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let (leg, call) = self.call(session, request)?;
        let (theirs, asking, ours) = (call.theirs.take(), call.asking.take(), call.ours.take());
        for id in [theirs, asking].into_iter().flatten() {
            self.answer_later(session, id, Err(Refusal::CROSSED));
        }
        if let Some(timer) = ours {
            self.timers.cancel(timer);
            self.say(leg::Event::Refused { leg, reason: Cause::Pending.into() });
        }
        Ok(())
    }

    /// The calls of a session, for a page that comes back to it.
    pub(super) fn standing(&self, session: SessionId) -> Vec<message::Standing<'_>> {
        let legs = self.sessions.get(session).map_or(&[][..], |session| &session.calls);
        let calls = legs.iter().filter_map(|(_, leg)| self.calls.get(leg));
        let told = calls.map(|call| message::Standing {
            call: &call.key,
            direction: if call.incoming { "incoming" } else { "outgoing" },
            state: match call.state {
                State::Dialling { .. } => "dialling",
                State::Ringing { .. } => "ringing",
                State::Talking => "answered",
            },
            party: &call.party,
            on_hold: call.on_hold,
            held: call.held,
            ringing: call.bell.as_deref().map(Bell::told),
        });
        told.collect()
    }

    /// `accept`. An answer that can't be read refuses our offer, as no other will come.
    pub(super) fn accept(&mut self, session: SessionId, request: &Request) -> Result<(), Refusal> {
        let (leg, call) = self.call(session, request)?;
        let timer = call.ours.take().ok_or(Refusal::WRONG_STATE)?;
        self.timers.cancel(timer);
        let answer = read_sdp(request);
        self.say(match &answer {
            Ok(answer) => leg::Event::Accepted { leg, answer: answer.clone() },
            Err(_) => leg::Event::Refused { leg, reason: Cause::NotAcceptable.into() },
        });
        answer.map(|_| ())
    }

    /// Our offer was not accepted in time.
    pub(super) fn on_update_unanswered(&mut self, leg: LegId) {
        if let Some(call) = self.calls.get_mut(&leg) {
            call.ours = None;
            self.counters.updates_unanswered += 1;
            self.say(leg::Event::Refused { leg, reason: Reason::from_code(408) });
        }
    }

    /// The browser of a call is gone for good.
    pub(super) fn on_browser_gone(&mut self, leg: LegId, tab: SessionId, why: &str) {
        if self.leave_tab(leg, tab, Cause::NoAnswer.into()) {
            return;
        }
        let Some(call) = self.calls.get(&leg) else { return };
        let cause = match call.state {
            State::Dialling { .. } => Cause::Cancelled,
            State::Ringing { .. } => Cause::NoAnswer,
            State::Talking if why == SIGNED_OUT => Cause::Hangup,
            State::Talking => Cause::MediaLost,
        };
        self.end_call(leg, cause.into());
    }

    /// Ends a call from the browser's side: both the browser and the call machine hear it.
    fn end_call(&mut self, leg: LegId, reason: Reason) {
        self.drop_call(leg, reason);
        self.say(leg::Event::Ended { leg, reason });
    }

    /// Forgets a call, telling the browser.
    pub(super) fn drop_call(&mut self, leg: LegId, reason: Reason) {
        let tabs = self.tabs(leg);
        let Some(call) = self.calls.remove(&leg) else { return };
        if let Some(timer) = call.ours {
            self.timers.cancel(timer);
        }
        let waiting = [call.theirs, call.holding, call.asking, call.moving].into_iter().flatten();
        for id in waiting.chain(call.telling.iter().copied()) {
            self.answer_update(call.session, id, Err(Refusal::UNKNOWN_CALL));
        }
        let (name, code) = (reason.cause.name(), reason.code);
        for tab in tabs {
            if let Some(session) = self.sessions.get_mut(tab) {
                session.calls.retain(|(_, other)| *other != leg);
            }
            let stats = call.quality.as_deref().map(Stats::from);
            self.tell(tab, &Event::Ended { call: &call.key, reason: name, code, stats });
        }
    }

    pub(super) fn add_call(
        &mut self,
        leg: LegId,
        id: SessionId,
        key: Arc<str>,
        party: Arc<str>,
        state: State,
    ) {
        let incoming = matches!(state, State::Ringing { .. });
        let call = Call {
            session: id,
            also: Vec::new(),
            key: key.clone(),
            party,
            incoming,
            state,
            theirs: None,
            holding: None,
            telling: Vec::new(),
            moving: None,
            ours: None,
            asking: None,
            quality: None,
            on_hold: false,
            held: false,
            bell: None,
        };
        self.calls.insert(leg, call);
        if let Some(session) = self.sessions.get_mut(id) {
            session.calls.push((key, leg));
        }
    }

    /// Answers the browser's `update`.
    pub(super) fn answer_update(&mut self, session: SessionId, id: u64, result: Result<String, Refusal>) {
        let carried = result.map(|sdp| Carried { sdp: Some(sdp), ..Carried::default() });
        self.answer_later(session, id, carried);
    }

    /// Answers a request that waited for the call machine.
    pub(super) fn answer_later(&mut self, session: SessionId, id: u64, result: Result<Carried<'_>, Refusal>) {
        let reply = match result {
            Ok(carried) => Reply::Ok { id, carried },
            Err(refusal) => {
                self.counters.refusals += 1;
                Reply::refused(Some(id), refusal)
            }
        };
        let text = message::text(&reply);
        let Some(kept) = self.sessions.get_mut(session) else { return };
        kept.kept.answered(id, &text);
        // Without a connection: the browser will come back and ask again.
        let flow = kept.flow;
        if let Some(exchange) = self.take_waiting(session, id) {
            self.outbox.push_back(Output::Respond { exchange, status: 200, body: text });
        } else if let Some(flow) = flow {
            self.outbox.push_back(Output::Send { flow, text });
        }
    }

    /// Whether a request waits for the call machine.
    pub(super) fn waits(&self, session: SessionId, request: u64) -> bool {
        let legs = self.sessions.get(session).map_or(&[][..], |session| &session.calls);
        self.errands.waits(session, request)
            || legs.iter().any(|(_, leg)| {
                self.calls.get(leg).is_some_and(|call| {
                    let one = [call.theirs, call.holding, call.asking, call.moving].contains(&Some(request));
                    one || call.telling.contains(&request)
                })
            })
    }

    pub(super) fn call(
        &mut self,
        session: SessionId,
        request: &Request,
    ) -> Result<(LegId, &mut Call), Refusal> {
        let key = request.call.as_deref().ok_or(Refusal::NO_CALL)?;
        let leg =
            self.sessions.get(session).and_then(|session| session.leg(key)).ok_or(Refusal::UNKNOWN_CALL)?;
        self.calls.get_mut(&leg).map(|call| (leg, call)).ok_or(Refusal::UNKNOWN_CALL)
    }
}

fn read_sdp(request: &Request) -> Result<Box<sdp::Session>, Refusal> {
    let text = request.sdp.as_deref().ok_or(Refusal::BAD_SDP)?;
    sdp::Session::parse(text.as_bytes()).map(Box::new).map_err(|_| Refusal::BAD_SDP)
}

/// 1 to 64 of `[A-Za-z0-9_-]`.
pub(super) fn is_call_id(key: &str) -> bool {
    (1..=64).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
