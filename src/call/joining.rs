//! Two calls become one: an attended transfer whose both calls are here, and a call that takes a party's place.

use super::calls::Calls;
use super::config::Transfers;
use super::core::Core;
use super::half::Pending;
use super::state::End;
use crate::base::{CallId, LegId, Now, Side};
use crate::leg::{Cause, Command, Incoming, Reason, Replaces, Stage, Transfer};

impl Calls {
    /// A party wants the other parties of two calls of its own connected (an attended transfer).
    pub(super) fn on_joining(&mut self, now: Now, leg: LegId, other: LegId, mut transfer: Box<Transfer>) {
        let refuse = |core: &mut Core, reason| {
            core.counters.transfers_refused += 1;
            core.leg(Command::Transfer { leg, stage: Stage::Failed(reason) });
        };
        let (first, second) = (self.call_of(leg), self.call_of(other));
        let (Some(first), Some(second)) = (first, second.filter(|second| Some(*second) != first)) else {
            return refuse(&mut self.core, Reason::new(Cause::Expired, 481));
        };
        let behind = self.slots.get(second).and_then(|call| call.behind(other));
        let config = self.core.config.clone();
        let policy = |calls: &mut Self| {
            let call = calls.slots.get_mut(first)?;
            let end = call.end(leg)?;
            Some(call.policy(&config, end))
        };
        let policy = policy(self);
        if !matches!(policy, Some(Transfers::Local | Transfers::Pass)) {
            return refuse(&mut self.core, Cause::Declined.into());
        }
        if policy == Some(Transfers::Pass) {
            // Whoever is sent there knows nothing of the leg that asks, but of the one behind it.
            transfer.replaces = behind.filter(|leg| leg.side() == Side::Sip).map(Replaces::Leg);
            if transfer.replaces.is_some() {
                return self.with(leg, |call, core| {
                    if let Some(end) = call.end(leg) {
                        call.on_transfer(core, now, end, transfer);
                    }
                });
            }
        }
        match self.may_join(first, leg, second, other) {
            Ok(()) => self.join_calls(now, (first, leg), (second, other)),
            Err(reason) => refuse(&mut self.core, reason),
        }
    }

    /// Whether two calls may become one.
    fn may_join(&mut self, first: CallId, leg: LegId, second: CallId, other: LegId) -> Result<(), Reason> {
        for (id, leg) in [(first, leg), (second, other)] {
            let gone = Reason::new(Cause::Expired, 481);
            let call = self.slots.get_mut(id).ok_or(gone)?;
            let end = call.end(leg).ok_or(gone)?;
            call.may_transfer(end)?;
            if call.half(end.other()).pending != Pending::None {
                return Err(Cause::Pending.into());
            }
        }
        let party = |id: CallId, leg: LegId| {
            let call = self.slots.get(id)?;
            Some(if call.end(leg)? == End::In { &call.incoming } else { &call.outgoing })
        };
        // Two legs of one party: of one SIP server, or (the signalling room has seen to that) of one browser.
        let same = party(first, leg).zip(party(second, other)).is_some_and(|(a, b)| a.trunk == b.trunk);
        if same { Ok(()) } else { Err(Cause::Forbidden.into()) }
    }

    /// Makes one call of two, without the party that has asked for it.
    fn join_calls(&mut self, now: Now, (first, leg): (CallId, LegId), (second, other): (CallId, LegId)) {
        let Some(call) = self.slots.remove(second) else { return };
        let Some(keeps) = call.end(other).map(End::other) else { return };
        let (party, counted) = (call.party(keeps).clone(), call.facts.counted[keeps as usize].clone());
        let (half, held) = call.part(&mut self.core, now, keeps);
        self.core.counters.transfers += 1;
        self.core.legs.insert(half.leg, first);
        self.with_call(first, |call, core| {
            let Some(end) = call.end(leg) else { return };
            call.take_place(core, end, half, (party, held));
            if let Some(account) = counted {
                core.count_account(&account);
                call.facts.counted[end as usize] = Some(account);
            }
        });
    }

    /// Somebody comes to take the place of a party (RFC 3891).
    pub(super) fn on_replacing(&mut self, now: Now, incoming: Incoming, leg: LegId) {
        let room = self.check_room(false);
        let found = self.call_of(leg).ok_or(Reason::new(Cause::Expired, 481));
        let half = self.inbound(&incoming).ok_or(Reason::from(Cause::Forbidden));
        match room.and(found).and_then(|id| Ok((id, half?))) {
            Ok((id, half)) => self.with_call(id, |call, core| {
                let Some(end) = call.end(leg) else {
                    let reason = Reason::new(Cause::Expired, 481);
                    return core.leg(Command::End { leg: half.leg, reason });
                };
                call.on_replacing(core, now, end, half, (incoming.offer, incoming.caller));
            }),
            Err(reason) => self.turn_away(now, incoming, reason),
        }
    }
}
