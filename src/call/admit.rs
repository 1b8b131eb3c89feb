//! Whether a leg that came in may become a call, and where it goes: routes, room, limits.

use super::agree;
use super::calls::Calls;
use super::config::Config;
use super::core::{Core, Timer};
use super::half::Half;
use super::limits::{Full, Held};
use super::route::{Asked, Route, RouteTo};
use super::setup::common;
use super::state::{Call, Facts, Preparing, State};
use crate::base::{Now, RealmId, Side};
use crate::leg::{
    Account, Callee, Cause, Command, Incoming, Party, Phone, Reason, SessionId, Source, Target, TrunkId,
};
use crate::media::Kind;
use std::collections::VecDeque;

/// The places that a call holds in limits. Dropped, it gives them back.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Of its route.
    pub(super) route: Option<Held>,
    /// Of the trunk that it came from.
    pub(super) source: Option<Held>,
    /// Of the trunk that it goes to.
    pub(super) target: Option<Held>,
}

/// What routes say of a call.
struct Way {
    target: Target,
    /// Trunks to be tried where the target can't be reached.
    rest: VecDeque<TrunkId>,
    /// Whom the record names.
    callee: Party,
    /// Whom the leg that goes out asks for.
    dialled: Party,
    route: Option<usize>,
    /// No limit holds it.
    urgent: bool,
}

impl Way {
    /// To a party of this gateway, which no route leads to.
    fn to(target: Target, callee: Party) -> Way {
        let (rest, dialled) = (VecDeque::new(), callee.clone());
        Way { target, rest, callee, dialled, route: None, urgent: false }
    }
}

/// Where an admitted call goes, and how its legs look.
struct Plan {
    way: Way,
    places: Places,
    incoming: Half,
    outgoing: Half,
}

/// The called party as a name or number.
pub(super) fn party(callee: &Callee) -> Party {
    match callee {
        Callee::Account(account) => Party { user: account.name().into(), ..Party::default() },
        Callee::Phone { party, .. } => party.clone(),
        Callee::Dialled(party) => party.clone(),
    }
}

/// Whether anything of an offer can be had by both legs. A missing one can only where the caller is a SIP party.
fn offer_fits(incoming: &Incoming, inbound: &mut Half, outbound: &Half) -> bool {
    let Some(offer) = &incoming.offer else {
        return inbound.is_sip()
            && inbound.allowed.iter().any(|codec| !codec.is_auxiliary() && outbound.allowed.contains(codec));
    };
    let Some(place) = agree::stream(inbound.kind, offer) else { return false };
    inbound.stream = place;
    offer.media.get(place).is_some_and(|media| !common(&media.payload_types(), inbound, outbound).is_empty())
}

impl Route {
    /// Its policy on codecs, over a trunk's.
    fn narrow(&self, half: &mut Half) {
        if !self.codecs.is_empty() {
            let allowed = std::mem::take(&mut half.allowed);
            half.allowed = self.codecs.iter().filter(|codec| allowed.contains(codec)).cloned().collect();
            half.ordered = true;
        }
        half.allowed.retain(|codec| !self.denied.contains(codec));
    }
}

impl Core {
    /// A browser has no half of `Session-ID` of its own: it has one of ours (RFC 7989 section 7).
    fn name_halves(&mut self, incoming: crate::base::LegId, facts: &mut Facts) {
        let caller = facts.carried.session.unwrap_or_else(|| self.session_id());
        facts.carried.session = Some(caller);
        facts.sessions[0] = Some(caller);
        if matches!(facts.target, Target::Account(_)) {
            let callee = self.session_id();
            facts.sessions[1] = Some(callee);
            if incoming.side() == Side::Sip {
                self.leg(Command::Named { leg: incoming, session: callee });
            }
        }
    }

    fn session_id(&mut self) -> SessionId {
        SessionId::random(self.random.u64(), self.random.u64())
    }

    pub(super) fn half(
        &mut self,
        leg: crate::base::LegId,
        kind: Kind,
        codecs: Vec<crate::sdp::Codec>,
    ) -> Half {
        let id = self.random.u64();
        Half::new(leg, kind, codecs, id, &self.config.session_name)
    }

    /// The half of a call that goes out to a trunk; `None` where it is not known.
    pub(super) fn half_to(&mut self, trunk: TrunkId, route: Option<usize>) -> Option<Half> {
        let config = self.config.clone();
        let place = config.trunk(trunk)?;
        let leg = self.mint.leg(Side::Sip);
        let mut half = self.half(leg, place.media(), place.codecs.clone());
        half.trunk = Some(trunk);
        if let Some(route) = route.and_then(|n| config.routes.get(n)) {
            route.narrow(&mut half);
        }
        Some(half)
    }

    /// Media kind and codecs of a SIP phone's half; `None` where its trunk is not known.
    fn of_phone(&self, phone: &Phone, web: bool) -> Option<(Kind, Vec<crate::sdp::Codec>)> {
        let trunk = self.config.trunk(phone.trunk)?;
        // Phones behind one NAT may well say the same address: each call has ports of its own.
        let plain = || (Kind::Rtp(trunk.realm), trunk.codecs.clone());
        Some(if web { (Kind::Web, self.config.browser.clone()) } else { plain() })
    }

    /// Takes the first trunk, in order, that may carry one call more. `None`: none may.
    pub(super) fn take_trunk(
        &mut self,
        now: Now,
        order: &mut VecDeque<TrunkId>,
        urgent: bool,
    ) -> Option<(TrunkId, Option<Held>)> {
        while let Some(id) = order.pop_front() {
            let Some(trunk) = self.config.trunk(id) else { continue };
            match trunk.quota.take(now, urgent) {
                Ok(held) => return Some((id, Some(held))),
                Err(full) => self.count_full(full),
            }
        }
        None
    }

    fn count_full(&mut self, full: Full) {
        match full {
            Full::Calls => self.counters.refused_limit += 1,
            Full::Rate => self.counters.refused_rate += 1,
        }
    }
}

impl Calls {
    pub(super) fn on_incoming(&mut self, now: Now, mut incoming: Incoming) {
        self.core.counters.incoming += 1;
        if self.core.legs.contains_key(&incoming.leg) {
            self.core.counters.stray += 1;
            return;
        }
        if let Some(leg) = incoming.replaces {
            return self.on_replacing(now, incoming, leg);
        }
        match self.admit(now, &mut incoming) {
            Ok(plan) => self.begin(now, incoming, plan),
            Err(reason) => self.turn_away(now, incoming, reason),
        }
    }

    /// Whether a leg may become a call, and where it goes.
    fn admit(&mut self, now: Now, incoming: &mut Incoming) -> Result<Plan, Reason> {
        // Where no route is for emergencies, a busy core refuses before it looks.
        self.check_room(self.core.config.has_emergencies())?;
        if incoming.hops == 0 {
            self.core.counters.refused_hops += 1;
            return Err(Cause::Loop.into());
        }
        let mut way = self.find_way(now, incoming)?;
        self.check_room(way.urgent)?;
        if !way.urgent {
            self.check_accounts(&incoming.source, &way.target)?;
        }
        let places = self.take_places(now, &incoming.source, &mut way)?;
        let Some((mut inbound, outbound)) = self.halves(incoming, &way) else {
            self.core.counters.refused_route += 1;
            return Err(Cause::Forbidden.into());
        };
        if !offer_fits(incoming, &mut inbound, &outbound) {
            self.core.counters.refused_offer += 1;
            return Err(Cause::NotAcceptable.into());
        }
        Ok(Plan { way, places, incoming: inbound, outgoing: outbound })
    }

    /// Whether there is time and room for one call more, on this shard.
    pub(super) fn check_room(&mut self, urgent: bool) -> Result<(), Reason> {
        let config = self.core.config.clone();
        let calls = if urgent { config.calls + config.emergency_calls } else { config.calls };
        let (len, counters) = (self.len(), &mut self.core.counters);
        let refused = if self.draining.is_some() {
            &mut counters.refused_draining
        } else if self.overloaded && !urgent {
            &mut counters.refused_load
        } else if len >= calls {
            &mut counters.refused_cap
        } else {
            return Ok(());
        };
        *refused += 1;
        Err(Cause::Overloaded.into())
    }

    fn check_accounts(&mut self, source: &Source, target: &Target) -> Result<(), Reason> {
        let caller = if let Source::Account(account) = source { Some(account) } else { None };
        let callee = if let Target::Account(account) = target { Some(account) } else { None };
        let calls = |account: &Account| self.core.accounts.get(account).copied().unwrap_or(0);
        let most = self.core.config.calls_per_account;
        if caller.into_iter().chain(callee).all(|account| calls(account) < most) {
            return Ok(());
        }
        self.core.counters.refused_account_cap += 1;
        Err(Cause::Overloaded.into())
    }

    /// What routes say. A browser is called only from a trunk: a browser's own call always goes out (design, section 1).
    fn find_way(&mut self, now: Now, incoming: &mut Incoming) -> Result<Way, Reason> {
        let config = self.core.config.clone();
        let mut callee = party(&incoming.callee);
        if let (Callee::Account(account), Source::Trunk(_)) = (&incoming.callee, &incoming.source) {
            return Ok(Way::to(Target::Account(account.clone()), callee));
        }
        if let (Callee::Phone { phone, .. }, Source::Trunk(_)) = (&incoming.callee, &incoming.source) {
            return Ok(Way::to(Target::Phone(*phone), callee));
        }
        if let Source::Trunk(trunk) = incoming.source
            && let Some(plan) = config.trunk(trunk).and_then(|trunk| trunk.dialled.as_ref())
        {
            callee.user = plan.normalise(&callee.user);
            incoming.caller.user = plan.normalise(&incoming.caller.user);
        }
        let Some(found) = config.route(&Asked::of(incoming, &callee.user, now)) else {
            self.core.counters.refused_route += 1;
            return Err(Cause::NotFound.into());
        };
        if let RouteTo::Reject(reason) = found.to {
            self.core.counters.refused_route += 1;
            // As the operator says: it is no other server's answer.
            return Err(reason);
        }
        let route = found.route.and_then(|n| config.routes.get(n));
        let mut dialled = callee.clone();
        if let Some(rewrite) = route.and_then(|route| route.rewrite_called.as_ref()) {
            dialled.user = rewrite.apply(&dialled.user);
        }
        if let Some(rewrite) = route.and_then(|route| route.rewrite_calling.as_ref()) {
            incoming.caller.user = rewrite.apply(&incoming.caller.user);
            incoming.carried.presented = Some(incoming.caller.user.clone());
        }
        let rest: VecDeque<TrunkId> = found.to.order(&mut self.core.random).into();
        // Which one of them is decided when their limits were asked.
        let Some(&first) = rest.front() else { return Err(Cause::NotFound.into()) };
        let urgent = route.is_some_and(|route| route.emergency);
        Ok(Way { target: Target::Trunk(first), rest, callee, dialled, route: found.route, urgent })
    }

    /// Takes a place in each limit that the call is under, and chooses its trunk by that.
    fn take_places(&mut self, now: Now, source: &Source, way: &mut Way) -> Result<Places, Reason> {
        let config = self.core.config.clone();
        let route = way.route.and_then(|n| config.routes.get(n)).map(|route| &route.quota);
        let from = match source {
            Source::Trunk(trunk) => config.trunk(*trunk).map(|trunk| &trunk.quota),
            Source::Account(_) | Source::Phone(_) => None,
        };
        let mut places = Places::default();
        for (quota, place) in [(from, &mut places.source), (route, &mut places.route)] {
            match quota.map(|quota| quota.take(now, way.urgent)).transpose() {
                Ok(held) => *place = held,
                Err(full) => {
                    self.core.count_full(full);
                    return Err(Cause::Overloaded.into());
                }
            }
        }
        if let Target::Trunk(first) = way.target
            && config.trunk(first).is_some()
        {
            let taken = self.core.take_trunk(now, &mut way.rest, way.urgent);
            let (trunk, held) = taken.ok_or(Reason::from(Cause::Overloaded))?;
            (way.target, places.target) = (Target::Trunk(trunk), held);
        }
        Ok(places)
    }

    /// Both halves of a call. `None` where a trunk is not known.
    fn halves(&mut self, incoming: &Incoming, way: &Way) -> Option<(Half, Half)> {
        let config = self.core.config.clone();
        let inbound = self.inbound(incoming)?;
        let outbound = match way.target {
            Target::Trunk(trunk) => self.core.half_to(trunk, way.route)?,
            Target::Account(_) => {
                let leg = self.core.mint.leg(Side::Web);
                self.core.half(leg, Kind::Web, config.browser.clone())
            }
            Target::Phone(phone) => {
                let (kind, allowed) = self.core.of_phone(&phone, phone.web)?;
                let leg = self.core.mint.leg(Side::Sip);
                let mut half = self.core.half(leg, kind, allowed);
                half.trunk = Some(phone.trunk);
                half
            }
        };
        Some((inbound, outbound))
    }

    /// The half of a leg that came in. `None` where its trunk is not known.
    pub(super) fn inbound(&mut self, incoming: &Incoming) -> Option<Half> {
        let config = self.core.config.clone();
        let (kind, allowed, trunk) = match (incoming.leg.side(), &incoming.source) {
            (Side::Web, _) => (Kind::Web, config.browser.clone(), None),
            (Side::Sip, Source::Trunk(id)) => {
                let trunk = config.trunk(*id)?;
                (trunk.media(), trunk.codecs.clone(), Some(*id))
            }
            (Side::Sip, Source::Phone(phone)) => {
                let web = match incoming.offer.as_deref() {
                    Some(offer) => agree::stream(Kind::Web, offer).is_some(),
                    None => phone.web,
                };
                let (kind, codecs) = self.core.of_phone(phone, web)?;
                (kind, codecs, Some(phone.trunk))
            }
            (Side::Sip, Source::Account(_)) => (Kind::Rtp(RealmId::default()), config.browser.clone(), None),
        };
        let mut half = self.core.half(incoming.leg, kind, allowed);
        half.trunk = trunk;
        Some(half)
    }

    fn begin(&mut self, now: Now, incoming: Incoming, plan: Plan) {
        let Some(id) = self.slots.next_key() else {
            self.core.counters.refused_cap += 1;
            self.turn_away(now, incoming, Cause::Overloaded.into());
            return;
        };
        let core = &mut self.core;
        let counted = Facts::count(&incoming.source, &plan.way.target);
        let mut facts = Facts {
            key: incoming.key,
            source: incoming.source,
            identity: incoming.identity,
            caller: incoming.caller,
            callee: plan.way.callee,
            dialled: plan.way.dialled,
            target: plan.way.target,
            route: plan.way.route,
            urgent: plan.way.urgent,
            hops: incoming.hops - 1,
            started: now.unix,
            answered: None,
            data: incoming.data,
            carried: incoming.carried,
            reliable: incoming.reliable,
            sessions: [None, None],
            counted,
        };
        core.name_halves(incoming.leg, &mut facts);
        facts.accounts().for_each(|account| core.count_account(account));
        let (mut inbound, mut outbound) = (plan.incoming, plan.outgoing);
        inbound.signalled = true;
        core.legs.insert(inbound.leg, id);
        core.legs.insert(outbound.leg, id);
        let offered = incoming.offer.as_ref().and_then(|offer| {
            agree::transport(offer, offer.media.get(inbound.stream)?, None).filter(|_| inbound.is_web())
        });
        core.open(&mut inbound, offered);
        core.open(&mut outbound, None);
        let ring = core.arm(now, core.config.ring, id, Timer::Ring);
        let state = State::Preparing(Preparing { offer: incoming.offer, ring });
        let mut call = Call {
            id,
            facts,
            incoming: inbound,
            outgoing: outbound,
            rest: plan.way.rest,
            places: plan.places,
            heard: false,
            joined: false,
            beat: None,
            judged: None,
            one_way: false,
            third: None,
            referring: None,
            elsewhere: super::redirect::Elsewhere::default(),
            others: [None, None],
            state,
        };
        call.arm_pulse(core, now);
        // The key was free a moment ago, and nobody else inserts.
        let _ = self.slots.insert(call);
    }
}

impl Call {
    /// Goes on to the next trunk where the one that was dialled can't be reached, and nobody has heard of it yet. False
    /// where the call is over.
    pub(super) fn fail_over(&mut self, core: &mut Core, now: Now, reason: Reason, gone: bool) -> bool {
        let State::Ringing(ringing) = &mut self.state else { return false };
        let unreached = reason.cause == Cause::Unreachable || matches!(reason.code, 408 | 503);
        if self.heard || ringing.forks.is_heard() || !unreached {
            return false;
        }
        // Its place is free for others from now on.
        self.places.target = None;
        let Some((trunk, held)) = core.take_trunk(now, &mut self.rest, self.facts.urgent) else {
            return false;
        };
        let Some(half) = core.half_to(trunk, self.facts.route) else { return false };
        if let Some(timer) = ringing.first_reply.take() {
            core.wheel.cancel(timer);
        }
        let (offer, ring) = (ringing.offer.take(), ringing.ring);
        if std::mem::take(&mut self.outgoing.signalled) && !gone {
            core.leg(Command::End { leg: self.outgoing.leg, reason: Cause::Cancelled.into() });
        }
        core.close(&mut self.outgoing);
        core.counters.rerouted += 1;
        core.legs.insert(half.leg, self.id);
        self.outgoing = half;
        self.places.target = held;
        self.facts.target = Target::Trunk(trunk);
        core.open(&mut self.outgoing, None);
        self.state = State::Preparing(Preparing { offer, ring });
        true
    }
}

impl Config {
    fn has_emergencies(&self) -> bool {
        self.routes.iter().any(|route| route.emergency)
    }
}
