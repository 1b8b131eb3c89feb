//! The call machine's commands, to messages.

use super::call::State;
use super::hub::{Hub, Timer};
use super::message::{Event, Refusal};
use super::tabs::Bell;
use crate::base::{LegId, Now, SessionId};
use crate::leg::{self, Cause, Command, Dial, Reason, Target};
use crate::sdp;
use std::sync::Arc;

impl Hub {
    /// Carries out a command. One for a leg that is over is ignored.
    pub(super) fn on_command(&mut self, now: Now, command: Command) {
        if let Command::Dial(dial) = command {
            return self.on_dial(&dial);
        }
        let leg = command.leg();
        if !self.calls.contains_key(&leg) {
            self.counters.stale_commands += 1;
            return;
        }
        match command {
            // What is of early dialogs is for SIP alone.
            Command::Dial(_) | Command::Gate { .. } | Command::AcceptEarly { .. } => {}
            Command::Progress { code, answer, .. } => self.on_progress(leg, code, answer.as_deref()),
            Command::Answer { session, .. } => self.on_answer(leg, session.as_deref()),
            Command::Offer { offer, .. } => self.on_offer(now, leg, &offer),
            Command::Accept { answer, .. } => self.on_verdict(leg, Ok(&answer)),
            Command::Refuse { reason, .. } => self.on_verdict(leg, Err(reason)),
            Command::Quality { quality, sound, .. } => self.on_quality(leg, quality, sound),
            Command::Hold { on, outcome, .. } => self.on_hold_outcome(leg, on, outcome),
            // No browser asks for it.
            Command::Named { .. } => {}
            Command::Told { receipt, outcome, .. } => self.on_told(leg, receipt, outcome),
            Command::Inform { notice, .. } => self.on_inform(leg, &notice),
            Command::Transfer { stage, .. } => self.on_transfer(leg, stage),
            // SIP servers alone are asked to go elsewhere.
            Command::Refer { .. } | Command::Redirect { .. } => self.counters.stale_commands += 1,
            Command::End { reason, .. } => self.drop_call(leg, reason),
        }
    }

    fn on_dial(&mut self, dial: &Dial) {
        let leg = dial.leg;
        let Target::Account(account) = &dial.target else {
            // The switchboard sends only web legs here; a trunk can't be reached by a browser.
            return self.say(leg::Event::Ended { leg, reason: Cause::Failed.into() });
        };
        if self.draining {
            self.counters.calls_refused += 1;
            return self.say(leg::Event::Ended { leg, reason: Cause::Overloaded.into() });
        }
        let (tabs, registered) = self.choose_tabs(account);
        let Some((first, others)) = tabs.split_first() else {
            self.counters.nobody_home += 1;
            return self.say(leg::Event::Ended { leg, reason: Cause::NoAnswer.into() });
        };
        let key = self.new_key(&tabs);
        let party = dial.caller.user.as_str().into();
        self.add_call(leg, *first, key.clone(), party, State::Ringing { alerted: false });
        for tab in others {
            self.ring_also(leg, *tab, &key);
        }
        self.counters.calls_offered += 1;
        let bell = Bell::new(dial, write_sdp(&dial.offer), registered);
        for tab in tabs {
            self.tell(tab, &Event::Incoming { call: &key, ringing: bell.told() });
        }
        if let Some(call) = self.calls.get_mut(&leg) {
            call.bell = Some(Box::new(bell));
        }
    }

    /// An id that no tab has used for a call of its own.
    fn new_key(&mut self, tabs: &[SessionId]) -> Arc<str> {
        loop {
            let key = self.random.token(16);
            let used = |tab| self.sessions.get(tab).is_some_and(|session| session.leg(&key).is_some());
            if !tabs.iter().copied().any(used) {
                return key.into();
            }
        }
    }

    fn on_progress(&mut self, leg: LegId, code: u16, answer: Option<&sdp::Session>) {
        let Some((session, key, State::Dialling { .. })) = self.place(leg) else { return };
        self.send_media(leg, answer);
        if (180..=199).contains(&code) {
            self.tell(session, &Event::Ringing { call: &key, code });
        }
    }

    fn on_answer(&mut self, leg: LegId, answer: Option<&sdp::Session>) {
        let Some((session, key, State::Dialling { .. })) = self.place(leg) else { return };
        self.send_media(leg, answer);
        if let Some(call) = self.calls.get_mut(&leg) {
            call.state = State::Talking;
        }
        self.tell(session, &Event::Answered { call: &key });
    }

    /// Sends the answer to the browser's offer: once, as a browser takes no second one.
    fn send_media(&mut self, leg: LegId, answer: Option<&sdp::Session>) {
        let (Some(answer), Some(call)) = (answer, self.calls.get_mut(&leg)) else { return };
        if call.state != (State::Dialling { answered: false }) {
            self.counters.second_answers += 1;
            return;
        }
        call.state = State::Dialling { answered: true };
        let (session, key) = (call.session, call.key.clone());
        self.tell(session, &Event::Media { call: &key, sdp: write_sdp(answer) });
    }

    /// Our offer goes first: one of the browser's that waits is refused. While it rings, the newer offer is the one that
    /// `answer` answers, so no `accept` is waited for.
    fn on_offer(&mut self, now: Now, leg: LegId, offer: &sdp::Session) {
        let Some((session, key, state)) = self.place(leg) else { return };
        if state == (State::Dialling { answered: false }) {
            // Its own offer comes first (RFC 3264 section 4).
            return self.say(leg::Event::Refused { leg, reason: Cause::Pending.into() });
        }
        if !matches!(state, State::Ringing { .. }) {
            let timer = self.timers.insert(now.instant + self.config.update_timeout, Timer::Update(leg));
            let Some(call) = self.calls.get_mut(&leg) else { return };
            let (crossed, stale) = (call.theirs.take(), call.ours.replace(timer));
            if let Some(stale) = stale {
                // The one before will not be accepted any more.
                self.timers.cancel(stale);
                self.say(leg::Event::Refused { leg, reason: Cause::Pending.into() });
            }
            if let Some(id) = crossed {
                self.answer_update(session, id, Err(Refusal::CROSSED));
            }
        }
        let sdp = write_sdp(offer);
        for tab in self.tabs(leg) {
            self.tell(tab, &Event::Update { call: &key, sdp: sdp.clone() });
        }
        if let Some(bell) = self.calls.get_mut(&leg).and_then(|call| call.bell.as_mut()) {
            bell.sdp = sdp;
        }
    }

    fn on_verdict(&mut self, leg: LegId, verdict: Result<&sdp::Session, Reason>) {
        let Some(call) = self.calls.get_mut(&leg) else { return };
        let session = call.session;
        match call.theirs.take() {
            Some(id) => {
                let answer = verdict.map(write_sdp).map_err(Refusal::of);
                self.answer_update(session, id, answer);
            }
            None => self.counters.stale_commands += 1,
        }
    }

    fn place(&self, leg: LegId) -> Option<(SessionId, Arc<str>, State)> {
        self.calls.get(&leg).map(|call| (call.session, call.key.clone(), call.state))
    }
}

fn write_sdp(session: &sdp::Session) -> String {
    let mut bytes = Vec::with_capacity(2048);
    session.write(&mut bytes);
    String::from_utf8(bytes).unwrap_or_default()
}
