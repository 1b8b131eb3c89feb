//! How a call ends: who is told what, what is given back, what is remembered.

use super::Output;
use super::core::Core;
use super::record::Record;
use super::state::{Call, End, State};
use crate::base::{LegId, Now, PeerId};
use crate::leg::{Cause, Command, Reason};

/// What a browser hears of its call that was never answered: what happened, and the code that said so.
pub(super) fn to_browser(reason: Reason) -> Reason {
    match reason.cause {
        // It did not cancel: somebody else did.
        Cause::Cancelled => Reason { cause: Cause::NoAnswer, ..reason },
        _ => reason,
    }
}

/// What a SIP caller hears of a call that was never answered: a final response that is true of us.
pub(super) fn to_caller(reason: Reason) -> Reason {
    let code = match (reason.cause, reason.code) {
        // A caller that did not cancel has no 487 coming (RFC 3261 section 15.1.2).
        (Cause::Cancelled, _) | (Cause::NoAnswer, 408) => {
            return Reason { cause: Cause::NoAnswer, code: 480, ..reason };
        }
        (_, 487) => 480,
        // Our own credentials are no business of the caller's (RFC 3261 section 22).
        (Cause::Forbidden, _) => 403,
        // The SIP server is overloaded, not we (RFC 3261 section 16.7 step 6).
        (Cause::Unreachable, 503) => 500,
        (_, 503) if reason.q850 != 0 => 500,
        (Cause::Pending, _) => 500,
        // Their dialog's end is not ours.
        (Cause::Expired, _) => 480,
        // We do not pass on whom to call instead.
        (Cause::Rejected, 300..=399) => 480,
        (_, code @ 400..=699) => code,
        (Cause::Unreachable, _) => 504,
        (cause, _) if cause.code() != 0 => cause.code(),
        _ => 480,
    };
    Reason { code, ..reason }
}

/// What the called party hears of a call that was never answered.
fn to_callee(reason: Reason, caller_gone: bool) -> Reason {
    match reason.cause {
        // Where it rings besides, it is no missed call.
        Cause::AnsweredElsewhere => reason,
        Cause::Hangup | Cause::Cancelled => Reason::from(Cause::Cancelled).with_q850(reason.q850),
        _ if caller_gone => Reason::from(Cause::Cancelled).with_q850(reason.q850),
        _ => reason,
    }
}

impl Call {
    /// A leg is over: so is the call.
    pub(super) fn on_ended(&mut self, core: &mut Core, now: Now, end: End, reason: Reason) {
        if end == End::Out && self.fail_over(core, now, reason, true) {
            return;
        }
        if end == End::Out && matches!(self.state, State::Ringing(_)) && self.go_elsewhere(core, now) {
            return;
        }
        if !self.outlives(end) {
            self.finish(core, now, reason, Some(end));
        }
    }

    /// A transport failed for good, and is closed.
    pub(super) fn on_failed(&mut self, core: &mut Core, now: Now, end: End, peer: PeerId) {
        core.counters.media_lost += 1;
        core.peers.remove(&peer);
        self.half(end).transport = super::half::Transport::None;
        self.finish(core, now, Cause::MediaLost.into(), None);
    }

    /// Ends both legs but the one that is `gone`, gives everything back, and leaves the record.
    pub(super) fn finish(&mut self, core: &mut Core, now: Now, reason: Reason, gone: Option<End>) {
        if self.is_over() {
            return;
        }
        self.drop_third(core, reason);
        self.cancel_timers(core);
        if let Some(beat) = self.beat.take() {
            core.wheel.cancel(beat);
        }
        let answered = self.facts.answered.is_some();
        let outgoing = self.outgoing.signalled.then_some(self.outgoing.leg);
        for end in [End::Out, End::In] {
            let said = match end {
                _ if answered => reason,
                End::In if self.incoming.is_sip() => to_caller(reason),
                End::In => to_browser(reason),
                End::Out => to_callee(reason, gone == Some(End::In)),
            };
            let half = self.half(end);
            if std::mem::take(&mut half.signalled) && gone != Some(end) {
                core.leg(Command::End { leg: half.leg, reason: said });
            }
        }
        self.leave_record(core, now, reason, outgoing);
        // After the record: the shard still finds the legs' last numbers when it takes that.
        core.close(&mut self.outgoing);
        core.close(&mut self.incoming);
        for account in self.facts.accounts() {
            core.uncount_account(account);
        }
        self.places = super::admit::Places::default();
        core.counters.ended += 1;
        self.state = State::Over;
    }

    pub(super) fn leave_record(&self, core: &mut Core, now: Now, reason: Reason, outgoing: Option<LegId>) {
        let facts = &self.facts;
        core.outbox.push_back(Output::Record(Box::new(Record {
            call: Some(self.id),
            incoming: self.incoming.leg,
            outgoing,
            key: facts.key.clone(),
            source: facts.source.clone(),
            caller: facts.caller.clone(),
            callee: facts.callee.clone(),
            target: Some(facts.target.clone()),
            started: facts.started,
            answered: facts.answered,
            ended: now.unix,
            cause: reason.cause,
            code: reason.code,
            q850: reason.q850_cause(),
            sessions: facts.sessions,
            quality: [None, None],
        })));
    }

    /// Disarms what the state has armed.
    pub(super) fn cancel_timers(&mut self, core: &mut Core) {
        let timers = match &mut self.state {
            State::Preparing(preparing) => [Some(preparing.ring), None],
            State::Ringing(ringing) => [Some(ringing.ring), ringing.first_reply.take()],
            State::Talking(talking) => [talking.retry.take(), talking.longest.take()],
            State::Over => [None, None],
        };
        for timer in timers.into_iter().flatten() {
            core.wheel.cancel(timer);
        }
    }
}
