//! Transfers: a third party is called, or comes by itself, and takes the place of one of the two (RFC 5589, RFC 3891).
//!
//! Whoever stays notices nothing in its media: the same leg is joined to another one, on one timeline. Until the third
//! party has answered the call goes on as it was, and where it does not answer, it stays so.

use super::agree;
use super::config::{Config, Transfers};
use super::core::{Core, Timer};
use super::describe::{wishes, with_parameters};
use super::finish::{to_browser, to_caller};
use super::half::{Half, Opened, Pending, Why};
use super::limits::Held;
use super::route::{Asked, RouteTo};
use super::setup::common;
use super::state::{Call, End, State};
use crate::base::{LegId, Now, TimerId};
use crate::leg::{
    Account, Cause, Command, Dial, Event, Notice, Party, Reason, Referral, Replaces, Source, Stage, Target,
    Transfer, TrunkId,
};
use crate::sdp::negotiate::accept;
use crate::sdp::{Codec, Direction, Media, Session};
use std::collections::VecDeque;

/// Who shall take the place of one half's party.
#[derive(Debug)]
pub(super) struct Third {
    pub(super) half: Half,
    /// Whose place.
    pub(super) end: End,
    how: How,
    timer: TimerId,
    /// Its place among the calls that its trunk may carry.
    held: Option<Held>,
}

#[derive(Debug)]
enum How {
    /// It is called, as the party whose place it takes has asked.
    Called(Box<Called>),
    /// It came by itself, with this offer.
    Came { offer: Option<Box<Session>>, party: Party },
}

#[derive(Debug)]
struct Called {
    target: Target,
    callee: Party,
    referral: Referral,
    dialled: Option<Box<Session>>,
    early: Option<Box<Session>>,
}

impl Call {
    /// The browser user at this end.
    fn account(&self, end: End) -> Option<&Account> {
        self.facts.counted[end as usize].as_ref()
    }

    /// Who is at this end.
    pub(super) fn party(&self, end: End) -> &Party {
        match (&self.others[end as usize], end) {
            (Some(party), _) => party,
            (None, End::In) => &self.facts.caller,
            (None, End::Out) => &self.facts.callee,
        }
    }

    /// What is done with a transfer that this end's party asks for.
    pub(super) fn policy(&mut self, config: &Config, end: End) -> Transfers {
        // Its calls are its own server's business: what we dialled for it we would have to answer for.
        let phone = match end {
            End::In => matches!(self.facts.source, Source::Phone(_)),
            End::Out => matches!(self.facts.target, Target::Phone(_)),
        };
        let (half, other) = self.halves(end);
        let of = |half: &Half| half.trunk.and_then(|trunk| config.trunk(trunk)).and_then(|it| it.transfer);
        match (of(if half.is_sip() { half } else { other }), half.is_sip()) {
            (Some(Transfers::Pass), _) if other.is_sip() => Transfers::Pass,
            (Some(Transfers::Local | Transfers::Pass), _) if phone => Transfers::Refuse,
            (Some(Transfers::Pass), _) => Transfers::Local,
            (Some(policy), _) => policy,
            // Whoever is called may not let us call whom it likes, until it is trusted with that.
            (None, true) => Transfers::Refuse,
            (None, false) => Transfers::Local,
        }
    }

    /// Whether a transfer may begin now; else what the party that asks is told.
    pub(super) fn may_transfer(&mut self, end: End) -> Result<(), Reason> {
        let talking = matches!(self.state, State::Talking(_));
        let (half, other) = self.halves(end);
        let settled = half.local.is_some() && other.local.is_some();
        match () {
            () if !talking || !settled => Err(Cause::Rejected.into()),
            () if self.third.is_some() || self.referring.is_some() => Err(Cause::Pending.into()),
            () => Ok(()),
        }
    }

    /// A party wants the other one elsewhere.
    pub(super) fn on_transfer(&mut self, core: &mut Core, now: Now, end: End, transfer: Box<Transfer>) {
        let config = core.config.clone();
        let policy = self.policy(&config, end);
        let begun = match (self.may_transfer(end), policy) {
            (Err(reason), _) => Err(reason),
            (_, Transfers::Refuse) => Err(Cause::Declined.into()),
            (_, Transfers::Pass) => {
                self.referring = Some(end);
                let leg = self.half(end.other()).leg;
                core.leg(Command::Refer { leg, transfer });
                core.counters.transfers_passed += 1;
                return;
            }
            (Ok(()), Transfers::Local) => self.call_third(core, now, end, *transfer),
        };
        let leg = self.half(end).leg;
        let stage = match begun {
            Ok(()) => Stage::Trying(100),
            Err(reason) => {
                core.counters.transfers_refused += 1;
                Stage::Failed(reason)
            }
        };
        core.leg(Command::Transfer { leg, stage });
    }

    /// Where a transfer goes: as if the one who asks had called there. A SIP server that is trusted with transfers knows
    /// those whom we have no route for.
    fn way(
        &self,
        core: &mut Core,
        now: Now,
        end: End,
        to: &mut Party,
    ) -> Result<(VecDeque<TrunkId>, Option<usize>), Reason> {
        let config = core.config.clone();
        let half = if end == End::In { &self.incoming } else { &self.outgoing };
        let source = match (self.account(end), half.trunk) {
            (Some(account), _) => Source::Account(account.clone()),
            (None, Some(trunk)) => Source::Trunk(trunk),
            (None, None) => return Err(Cause::NotFound.into()),
        };
        // As it would dial the number itself.
        if let Source::Trunk(trunk) = source
            && let Some(plan) = config.trunk(trunk).and_then(|trunk| trunk.dialled.as_ref())
        {
            to.user = plan.normalise(&to.user);
        }
        let asked = Asked {
            source: &source,
            side: half.leg.side(),
            home: self.facts.identity.as_ref().map(|identity| identity.trunk),
            called: &to.user,
            calling: &self.party(end).user,
            headers: &self.facts.carried.seen,
            unix: now.unix,
        };
        let Some(found) = config.route(&asked) else {
            return half.trunk.map(|trunk| (VecDeque::from([trunk]), None)).ok_or(Cause::NotFound.into());
        };
        if let RouteTo::Reject(reason) = found.to {
            return Err(reason);
        }
        let route = found.route.and_then(|n| config.routes.get(n));
        if let Some(rewrite) = route.and_then(|route| route.rewrite_called.as_ref()) {
            to.user = rewrite.apply(&to.user);
        }
        Ok((found.to.order(&mut core.random).into(), found.route))
    }

    /// Opens a leg for the third party, to be called once its media stands.
    fn call_third(&mut self, core: &mut Core, now: Now, end: End, transfer: Transfer) -> Result<(), Reason> {
        let Transfer { mut to, replaces, by } = transfer;
        let replaces = match replaces {
            None => None,
            Some(Replaces::Dialog(dialog)) => Some(dialog),
            Some(Replaces::Leg(_)) => return Err(Cause::Expired.into()),
        };
        self.facts.hops = self.facts.hops.checked_sub(1).ok_or(Reason::from(Cause::Loop))?;
        let (mut trunks, route) = self.way(core, now, end, &mut to)?;
        let (trunk, held) =
            core.take_trunk(now, &mut trunks, false).ok_or(Reason::from(Cause::Overloaded))?;
        let mut half = core.half_to(trunk, route).ok_or(Reason::from(Cause::NotFound))?;
        core.legs.insert(half.leg, self.id);
        core.open(&mut half, None);
        let timer = core.arm(now, core.config.ring, self.id, Timer::Transfer);
        let referral = Referral { by: by.or_else(|| Some(self.party(end).clone())), replaces };
        let called =
            Called { target: Target::Trunk(trunk), callee: to, referral, dialled: None, early: None };
        self.third = Some(Box::new(Third { half, end, how: How::Called(Box::new(called)), timer, held }));
        core.counters.transfers += 1;
        Ok(())
    }

    /// Somebody comes to take the place of this end's party (RFC 3891). `half` is its own, not opened yet.
    pub(super) fn on_replacing(
        &mut self,
        core: &mut Core,
        now: Now,
        end: End,
        mut half: Half,
        (offer, party): (Option<Box<Session>>, Party),
    ) {
        let early = matches!(self.state, State::Ringing(_)) && end == End::Out;
        let talking = matches!(self.state, State::Talking(_));
        let free = self.third.is_none() && self.referring.is_none();
        let refusal = match &offer {
            _ if !(early || talking) => Some(Reason::new(Cause::Expired, 481)),
            _ if !free => Some(Cause::Pending.into()),
            Some(offer) => match agree::stream(half.kind, offer) {
                Some(place) => {
                    half.stream = place;
                    None
                }
                None => Some(Cause::NotAcceptable.into()),
            },
            None => None,
        };
        if let Some(reason) = refusal {
            core.counters.transfers_refused += 1;
            return core.leg(Command::End { leg: half.leg, reason });
        }
        half.signalled = true;
        core.legs.insert(half.leg, self.id);
        core.open(&mut half, None);
        let timer = core.arm(now, core.config.ring, self.id, Timer::Transfer);
        self.third = Some(Box::new(Third { half, end, how: How::Came { offer, party }, timer, held: None }));
        core.counters.replaced += 1;
    }

    /// The third party's media stands.
    pub(super) fn on_third_media(&mut self, core: &mut Core, now: Now, opened: Opened) {
        let Some(mut third) = self.third.take() else { return };
        if opened.address.is_none() || third.half.opened.is_some() {
            self.third = Some(third);
            return self.fail_third(core, now, Cause::Overloaded.into());
        }
        third.half.opened = Some(opened);
        match &third.how {
            How::Called(_) => {
                self.dial_third(core, &mut third);
                self.third = Some(third);
            }
            How::Came { .. } => self.answer_third(core, now, third),
        }
    }

    fn dial_third(&self, core: &mut Core, third: &mut Third) {
        let stays = if third.end == End::In { &self.outgoing } else { &self.incoming };
        let mut codecs: Vec<Codec> =
            third.half.limit(stays, true).into_iter().filter(|it| third.half.allowed.contains(it)).collect();
        let event = Codec::telephone_event(8000);
        if codecs.iter().any(Codec::is_telephone_event) && !codecs.contains(&event) {
            codecs.push(event);
        }
        let offer = third.half.offer(wishes(&codecs, false), Direction::SendRecv);
        let offer = third.half.send(offer);
        third.half.signalled = true;
        let How::Called(called) = &mut third.how else { return };
        called.dialled = Some(offer.clone());
        // Whose account pays for it: the browser user that asks, else the one that is transferred.
        let asks = third.end;
        let account = self.account(asks).or_else(|| self.account(asks.other())).cloned();
        let caller = if self.account(asks).is_some() { asks } else { asks.other() };
        core.leg(Command::Dial(Box::new(Dial {
            leg: third.half.leg,
            target: called.target.clone(),
            caller: self.party(caller).clone(),
            callee: called.callee.clone(),
            account,
            identity: self.facts.identity.clone(),
            offer,
            hops: self.facts.hops,
            data: self.facts.data.clone(),
            carried: Box::default(),
            late: false,
            with: None,
            referral: Some(Box::new(called.referral.clone())),
        })));
    }

    /// Answers who came by itself, and lets it take its place.
    fn answer_third(&mut self, core: &mut Core, now: Now, mut third: Box<Third>) {
        let How::Came { offer, party } = &mut third.how else { return };
        let (offer, party) = (offer.take(), std::mem::take(party));
        let stays = if third.end == End::In { &self.outgoing } else { &self.incoming };
        let half = &mut third.half;
        // Where the caller's own offer still waits for an answer, what it offers is what can be had.
        let waits = match &self.state {
            State::Ringing(ringing) => ringing.offer.as_deref(),
            _ => None,
        };
        let limit: Vec<Codec> = match waits.and_then(|offer| offer.media.get(stays.stream)) {
            Some(media) => {
                accept(&media.payload_types(), &stays.allowed).into_iter().map(|it| it.codec).collect()
            }
            None => half.limit(stays, true),
        };
        let session = if let Some(offer) = offer {
            let place = half.stream;
            let types = offer.media.get(place).map(Media::payload_types).unwrap_or_default();
            let payloads = accept(&common(&types, half, stays), &limit);
            let payloads = with_parameters(payloads, &stays.party_types());
            let asked = offer.media.get(place).map(|media| agree::direction(half.kind, &offer, media));
            let direction = asked.unwrap_or_default().answer(Direction::SendRecv);
            let answer = half.answer(&offer, place, &payloads, direction);
            let answer = half.send(answer);
            if !half.settle(answer.clone(), offer, place) {
                self.third = Some(third);
                return self.fail_third(core, now, Cause::NotAcceptable.into());
            }
            half.holds = !asked.unwrap_or_default().receives();
            answer
        } else {
            let codecs: Vec<Codec> = limit.into_iter().filter(|it| half.allowed.contains(it)).collect();
            let offer = half.offer(wishes(&codecs, half.is_web()), Direction::SendRecv);
            let offer = half.send(offer);
            half.pending = Pending::Ours(offer.clone(), Why::Asked);
            offer
        };
        core.leg(Command::Answer { leg: half.leg, session: Some(session) });
        core.wheel.cancel(third.timer);
        let Third { end, half, .. } = *third;
        // It comes where another leg of the same trunk was, and has the place that was taken for that one.
        let place = if end == End::In { &mut self.places.source } else { &mut self.places.target };
        let held = place.take();
        let early = matches!(self.state, State::Ringing(_));
        self.take_place(core, end, half, (party, held));
        if early {
            self.connect(core, now);
        }
    }

    /// The third party says something.
    pub(super) fn on_third(&mut self, core: &mut Core, now: Now, event: Event) {
        let Some(third) = self.third.as_mut().filter(|third| third.half.leg == event.leg()) else {
            core.counters.stray += 1;
            return;
        };
        match (event, &mut third.how) {
            (Event::Ended { reason, .. }, _) => {
                third.half.signalled = false;
                self.fail_third(core, now, reason);
            }
            // What it says before it answers is heard by nobody.
            (Event::OfferedEarly { leg, fork, .. }, _) => {
                core.leg(Command::AcceptEarly { leg, fork, answer: None });
            }
            // Whoever transfers may do so again.
            (Event::Redirected { code, .. }, _) => {
                third.half.signalled = false;
                self.fail_third(core, now, Reason::from_code(code));
            }
            (Event::Progress { code, answer, .. }, How::Called(called)) => {
                called.early = answer.or(called.early.take());
                let leg = if third.end == End::In { self.incoming.leg } else { self.outgoing.leg };
                if (101..199).contains(&code) {
                    core.leg(Command::Transfer { leg, stage: Stage::Trying(code) });
                }
            }
            (Event::Answered { answer, .. }, How::Called(called)) => {
                let both = called.dialled.take().zip(answer.or(called.early.take()));
                let party = called.callee.clone();
                let place = third.half.stream;
                if both.is_some_and(|(dialled, answer)| third.half.settle(dialled, answer, place)) {
                    let Some(third) = self.third.take() else { return };
                    core.wheel.cancel(third.timer);
                    self.take_place(core, third.end, third.half, (party, third.held));
                } else {
                    self.fail_third(core, now, Cause::NotAcceptable.into());
                }
            }
            _ => core.counters.stray += 1,
        }
    }

    /// The third party does not come: the call goes on as it was, if the one whose place it was to take is still there.
    pub(super) fn fail_third(&mut self, core: &mut Core, now: Now, reason: Reason) {
        let Some(end) = self.third.as_ref().map(|third| third.end) else { return };
        self.drop_third(core, reason);
        if self.half(end).signalled {
            return;
        }
        self.finish(core, now, reason, Some(end));
    }

    /// Gives the third party's leg back, and tells whoever asked for it.
    pub(super) fn drop_third(&mut self, core: &mut Core, reason: Reason) {
        let Some(mut third) = self.third.take() else { return };
        core.wheel.cancel(third.timer);
        let called = matches!(third.how, How::Called(_));
        if std::mem::take(&mut third.half.signalled) {
            let said = if called { Cause::Cancelled.into() } else { to_caller(reason) };
            core.leg(Command::End { leg: third.half.leg, reason: said });
        }
        core.close(&mut third.half);
        if called {
            core.counters.transfers_failed += 1;
            let half = self.half(third.end);
            let reason = if half.is_browser() { to_browser(reason) } else { to_caller(reason) };
            core.leg(Command::Transfer { leg: half.leg, stage: Stage::Failed(reason) });
        }
    }

    /// A leg takes the place of one half's, whose party is told and ended.
    pub(super) fn take_place(
        &mut self,
        core: &mut Core,
        end: End,
        new: Half,
        (party, place): (Party, Option<Held>),
    ) {
        let (half, other) = self.halves(end);
        let mut old = std::mem::replace(half, new);
        if old.is_browser() {
            // Its hold went with it.
            (other.held, other.far) = (false, Direction::SendRecv);
        }
        if other.is_browser() {
            half.shown = old.shown;
            if half.is_sip() && old.is_sip() {
                (half.held, half.far) = (old.held, old.far);
            }
        } else {
            // So did that of the call that it comes from.
            (half.held, half.far) = (false, Direction::SendRecv);
        }
        if std::mem::take(&mut old.signalled) {
            let early = self.facts.answered.is_none();
            let cause = if early { Cause::Cancelled } else { Cause::Transferred };
            core.leg(Command::Transfer { leg: old.leg, stage: Stage::Done });
            core.leg(Command::End { leg: old.leg, reason: cause.into() });
        }
        if let Some(account) = self.facts.counted[end as usize].take() {
            core.uncount_account(&account);
        }
        core.close(&mut old);
        let places = &mut self.places;
        *(if end == End::In { &mut places.source } else { &mut places.target }) = place;
        self.joined = false;
        self.others[end as usize] = Some(party.clone());
        core.counters.transferred += 1;
        let (half, other) = self.halves(end);
        core.agree(half);
        core.agree(other);
        if other.is_browser() {
            core.leg(Command::Inform { leg: other.leg, notice: Box::new(Notice::Party(party)) });
        }
        if matches!(self.state, State::Talking(_)) {
            self.join(core);
            let half = self.half(end);
            // One that our own hold made silent is told of its end instead.
            if half.pending == Pending::None && half.held == half.told && half.far == half.far_told {
                self.tell_direction(core, end);
            }
            self.settle_codecs(core);
        }
    }

    /// How far the other party is with a transfer that was passed on.
    pub(super) fn on_referred(&mut self, core: &mut Core, now: Now, end: End, stage: Stage) {
        let Some(asked) = self.referring.filter(|asked| asked.other() == end) else {
            core.counters.stray += 1;
            return;
        };
        let leg = self.half(asked).leg;
        core.leg(Command::Transfer { leg, stage });
        match stage {
            Stage::Trying(_) => {}
            Stage::Failed(_) => {
                self.referring = None;
                core.counters.transfers_failed += 1;
            }
            Stage::Done => {
                self.referring = None;
                core.counters.transferred += 1;
                self.finish(core, now, Cause::Transferred.into(), None);
            }
        }
    }

    /// Whether the call goes on though this end's party is gone, until the one is there that takes its place.
    pub(super) fn outlives(&mut self, end: End) -> bool {
        let awaited = self.third.as_ref().is_some_and(|third| third.end == end);
        let lives = awaited && matches!(self.state, State::Talking(_)) && self.half(end.other()).signalled;
        if lives {
            self.half(end).signalled = false;
        }
        lives
    }

    /// Ends a call of which one half goes on in another one: gives that half.
    pub(super) fn part(mut self, core: &mut Core, now: Now, keeps: End) -> (Half, Option<Held>) {
        self.cancel_timers(core);
        if let Some(beat) = self.beat.take() {
            core.wheel.cancel(beat);
        }
        let reason = Reason::from(Cause::Transferred);
        let gone = self.half(keeps.other());
        if std::mem::take(&mut gone.signalled) {
            core.leg(Command::End { leg: gone.leg, reason });
        }
        let outgoing = Some(self.outgoing.leg);
        self.leave_record(core, now, reason, outgoing);
        core.close(self.half(keeps.other()));
        for account in self.facts.accounts() {
            core.uncount_account(account);
        }
        core.counters.ended += 1;
        match keeps {
            End::In => (self.incoming, self.places.source),
            End::Out => (self.outgoing, self.places.target),
        }
    }

    /// The leg that a transfer to this end's call is to: that of the other party.
    pub(super) fn behind(&self, leg: LegId) -> Option<LegId> {
        Some(match self.end(leg)? {
            End::In => self.outgoing.leg,
            End::Out => self.incoming.leg,
        })
    }
}
