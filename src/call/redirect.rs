//! A called party says by a 3xx whom to call instead (RFC 3261 section 8.1.3.4): followed, passed on or refused.

use super::config::Redirects;
use super::core::Core;
use super::route::{Asked, RouteTo};
use super::state::{Call, End, Preparing, State};
use crate::base::Now;
use crate::leg::{Command, Party, Reason, Target, TrunkId};
use std::collections::VecDeque;

/// How often one call is sent elsewhere.
const MOST: usize = 5;

/// Where a call was sent, and is to be sent where that fails.
#[derive(Debug, Default)]
pub(super) struct Elsewhere {
    /// Best first.
    next: VecDeque<Party>,
    /// Where it was: it never goes there again.
    been: Vec<(String, String)>,
}

impl Call {
    /// The called party says whom to call instead, best first.
    pub(super) fn on_redirected(&mut self, core: &mut Core, now: Now, code: u16, to: Vec<Party>) {
        self.outgoing.signalled = false;
        let policy = match self.facts.target {
            Target::Trunk(trunk) => core.config.trunk(trunk).map(|trunk| trunk.redirects),
            Target::Account(_) | Target::Phone(_) => None,
        };
        let reason = Reason::from_code(code);
        let early = match &self.state {
            State::Ringing(ringing) => ringing.forks.is_heard(),
            _ => true,
        };
        match policy.unwrap_or_default() {
            Redirects::Pass if self.incoming.is_sip() && !early => {
                self.incoming.signalled = false;
                core.counters.redirects_passed += 1;
                core.leg(Command::Redirect { leg: self.incoming.leg, code, to });
                self.finish(core, now, reason, Some(End::Out));
            }
            Redirects::Follow if !early => {
                let first = (self.facts.dialled.user.clone(), self.facts.dialled.host.clone());
                if self.elsewhere.been.is_empty() {
                    self.elsewhere.been.push(first);
                }
                // What is told later comes first: it is nearer to the party.
                for party in to.into_iter().rev() {
                    self.elsewhere.next.push_front(party);
                }
                self.elsewhere.next.truncate(2 * MOST);
                if !self.go_elsewhere(core, now) {
                    self.finish(core, now, reason, Some(End::Out));
                }
            }
            Redirects::Pass | Redirects::Follow | Redirects::Refuse => {
                core.counters.redirects_refused += 1;
                self.finish(core, now, reason, Some(End::Out));
            }
        }
    }

    /// Calls the next one of those that were named. False where none is left, or none can be called.
    pub(super) fn go_elsewhere(&mut self, core: &mut Core, now: Now) -> bool {
        while let Some(party) = self.elsewhere.next.pop_front() {
            let place = (party.user.clone(), party.host.clone());
            let been = self.elsewhere.been.contains(&place);
            if been || self.elsewhere.been.len() > MOST || self.facts.hops == 0 {
                core.counters.redirects_refused += 1;
                continue;
            }
            self.elsewhere.been.push(place);
            if self.dial_elsewhere(core, now, party) {
                core.counters.redirects_followed += 1;
                return true;
            }
        }
        false
    }

    /// Where a named party is: at the SIP server that named it, or (a host of others) wherever routes send its number.
    fn place(
        &self,
        core: &mut Core,
        now: Now,
        party: &mut Party,
    ) -> Option<(VecDeque<TrunkId>, Option<usize>)> {
        let Target::Trunk(trunk) = self.facts.target else { return None };
        if party.host.is_empty() {
            return Some((VecDeque::from([trunk]), self.facts.route));
        }
        let config = core.config.clone();
        // As the server that names it would dial the number itself.
        if let Some(plan) = config.trunk(trunk).and_then(|trunk| trunk.dialled.as_ref()) {
            party.user = plan.normalise(&party.user);
        }
        let found = config.route(&Asked {
            source: &self.facts.source,
            side: self.incoming.leg.side(),
            home: self.facts.identity.as_ref().map(|identity| identity.trunk),
            called: &party.user,
            calling: &self.facts.caller.user,
            headers: &self.facts.carried.seen,
            unix: now.unix,
        })?;
        if matches!(found.to, RouteTo::Reject(_)) {
            return None;
        }
        party.host.clear();
        let route = found.route.and_then(|n| config.routes.get(n));
        if let Some(rewrite) = route.and_then(|route| route.rewrite_called.as_ref()) {
            party.user = rewrite.apply(&party.user);
        }
        Some((found.to.order(&mut core.random).into(), found.route))
    }

    fn dial_elsewhere(&mut self, core: &mut Core, now: Now, mut party: Party) -> bool {
        let Some((mut trunks, route)) = self.place(core, now, &mut party) else { return false };
        let State::Ringing(ringing) = &mut self.state else { return false };
        self.places.target = None;
        let Some((trunk, held)) = core.take_trunk(now, &mut trunks, self.facts.urgent) else { return false };
        let Some(half) = core.half_to(trunk, route) else { return false };
        if let Some(timer) = ringing.first_reply.take() {
            core.wheel.cancel(timer);
        }
        let (offer, ring) = (ringing.offer.take(), ringing.ring);
        core.close(&mut self.outgoing);
        core.legs.insert(half.leg, self.id);
        self.outgoing = half;
        // The one before may have been heard already.
        self.joined = false;
        self.places.target = held;
        (self.facts.target, self.facts.dialled, self.rest) = (Target::Trunk(trunk), party, trunks);
        // Its longest duration holds for the call.
        self.facts.route = route;
        self.facts.hops -= 1;
        core.open(&mut self.outgoing, None);
        self.state = State::Preparing(Preparing { offer, ring });
        true
    }
}
