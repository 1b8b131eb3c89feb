//! From a call's coming in to its answer.

use super::agree;
use super::core::{Core, Timer};
use super::describe::{wishes, with_parameters};
use super::early::Forks;
use super::half::{Half, Opened, Pending, Transport, Why};
use super::state::{Call, End, Preparing, Ringing, State, Talking};
use crate::base::{Now, PeerId};
use crate::leg::{Cause, Command, Dial, Fork, Party, Source, Target};
use crate::media;
use crate::sdp::negotiate::accept;
use crate::sdp::{Codec, Direction, Payload, Session, Setup};
use crate::webrtc;

impl Call {
    /// A media side stands.
    pub(super) fn on_media(&mut self, core: &mut Core, now: Now, end: End, opened: Opened) {
        let half = self.half(end);
        if half.opened.is_some() {
            core.counters.stray += 1;
            return;
        }
        if !half.is_web() && opened.address.is_none() {
            // An RTP side without a port is none.
            core.counters.media_full += 1;
            self.finish(core, now, Cause::Overloaded.into(), None);
            return;
        }
        half.opened = Some(opened);
        self.on_ready(core, now);
    }

    /// A transport stands, or stands with new ICE credentials.
    pub(super) fn on_transport(
        &mut self,
        core: &mut Core,
        now: Now,
        end: End,
        peer: PeerId,
        local: Box<webrtc::Local>,
    ) {
        let half = self.half(end);
        match half.transport {
            Transport::Opening => {
                core.peers.insert(peer, half.leg);
                half.transport = Transport::Open { peer, local };
                self.on_ready(core, now);
            }
            Transport::Restarting { peer: standing, .. } if standing == peer => {
                half.transport = Transport::Open { peer, local };
                self.on_restarted(core, end);
            }
            // The transports say it twice where they saw an ICE restart before they were asked for one.
            Transport::Open { peer: standing, .. } if standing == peer => {
                half.transport = Transport::Open { peer, local };
            }
            _ => core.counters.stray += 1,
        }
    }

    /// Calls the other party, once all that was asked for stands.
    fn on_ready(&mut self, core: &mut Core, now: Now) {
        let State::Preparing(Preparing { offer, ring }) = &mut self.state else { return };
        if !self.incoming.is_ready() || !self.outgoing.is_ready() {
            return;
        }
        let (mut offer, ring) = (offer.take(), *ring);
        // A browser's offer was answered already where another trunk was tried before.
        let basis = offer.as_deref().or(self.incoming.remote.as_deref());
        let (wished, direction) = self.wished(basis);
        if self.incoming.is_browser() && !self.outgoing.is_browser() {
            (self.outgoing.far, self.outgoing.far_told) = (direction, direction);
        }
        if self.incoming.is_browser()
            && let Some(offer) = offer.take()
        {
            // All that browser and policy share, so that ICE and DTLS come up while it rings.
            let allowed = self.incoming.own();
            let Some(answer) = self.answer_caller(core, offer, &allowed, Direction::SendRecv) else {
                self.finish(core, now, Cause::NotAcceptable.into(), None);
                return;
            };
            core.leg(Command::Progress { leg: self.incoming.leg, code: 0, answer: Some(answer) });
        }
        let offered = self.outgoing.offer(wished, direction);
        let dialled = self.outgoing.send(offered);
        self.outgoing.signalled = true;
        let late = match &self.facts.target {
            Target::Trunk(trunk) => core.config.trunk(*trunk).is_some_and(|trunk| trunk.late_offer),
            Target::Account(_) | Target::Phone(_) => false,
        };
        let dial = self.dial(dialled.clone(), late);
        core.leg(Command::Dial(Box::new(dial)));
        let first_reply = core.config.first_reply.filter(|_| self.outgoing.is_sip());
        let first_reply = first_reply.map(|after| core.arm(now, after, self.id, Timer::FirstReply));
        self.state =
            State::Ringing(Ringing { offer, dialled, late, forks: Forks::default(), ring, first_reply });
    }

    fn dial(&mut self, offer: Box<Session>, late: bool) -> Dial {
        let account = match (&self.facts.source, &self.facts.target) {
            (Source::Account(account), Target::Trunk(_)) => Some(account.clone()),
            _ => None,
        };
        // A browser is no part of a network that may know what the caller hides (RFC 3323).
        let hidden = self.outgoing.is_browser() && self.facts.carried.privacy.hides_caller();
        let caller = if hidden { Party::default() } else { self.facts.caller.clone() };
        Dial {
            leg: self.outgoing.leg,
            target: self.facts.target.clone(),
            caller,
            callee: self.facts.dialled.clone(),
            account,
            identity: self.facts.identity.clone(),
            offer,
            late,
            hops: self.facts.hops,
            data: self.facts.data.clone(),
            carried: self.facts.carried.clone(),
            with: Some(self.incoming.leg),
            referral: None,
        }
    }

    /// What the called party is offered, and which way: what caller and both policies allow, in the caller's order.
    pub(super) fn wished(&self, offer: Option<&Session>) -> (Vec<Payload>, Direction) {
        let (incoming, outgoing) = (&self.incoming, &self.outgoing);
        let offered = offer.and_then(|offer| Some((offer, offer.media.get(incoming.stream)?)));
        let Some((session, media)) = offered else {
            // Of a party that said nothing: what it may well do without is not offered.
            let both = |codec: &&Codec| outgoing.allowed.contains(codec) && !codec.is_extra();
            let codecs: Vec<Codec> = incoming.allowed.iter().filter(both).cloned().collect();
            return (wishes(&codecs, outgoing.is_web()), Direction::SendRecv);
        };
        let common = common(&media.payload_types(), incoming, outgoing);
        let direction = agree::direction(incoming.kind, session, media);
        if !incoming.is_web() && !outgoing.is_web() {
            return (common, direction);
        }
        let mut codecs: Vec<Codec> = common.into_iter().map(|payload| payload.codec).collect();
        // A browser with 48 kHz events alone: phones want those of 8 kHz.
        let event = Codec::telephone_event(8000);
        let some = codecs.iter().any(Codec::is_telephone_event);
        if !outgoing.is_web() && some && !codecs.contains(&event) && outgoing.allowed.contains(&event) {
            codecs.push(event);
        }
        (wishes(&codecs, outgoing.is_web()), direction)
    }

    /// Makes our answer to the caller's offer stand.
    pub(super) fn answer_caller(
        &mut self,
        core: &mut Core,
        offer: Box<Session>,
        allowed: &[Codec],
        want: Direction,
    ) -> Option<Box<Session>> {
        let half = &mut self.incoming;
        let place = half.stream;
        let media = offer.media.get(place)?;
        let payloads = accept(&accept(&media.payload_types(), &half.allowed), allowed);
        let payloads = with_parameters(payloads, &self.outgoing.party_types());
        let direction = agree::direction(half.kind, &offer, media).answer(want);
        if half.is_web() {
            half.role = Some(agree::our_role(&offer, media));
        }
        let answer = half.answer(&offer, place, &payloads, direction);
        let answer = half.send(answer);
        if !half.settle(answer.clone(), offer, place) {
            return None;
        }
        core.agree(half);
        Some(answer)
    }

    /// Lets both parties hear each other, once both have an agreement.
    pub(super) fn join(&mut self, core: &mut Core) {
        if !self.joined && self.incoming.local.is_some() && self.outgoing.local.is_some() {
            self.joined = true;
            core.media(media::Command::Join { a: self.incoming.leg, b: self.outgoing.leg });
        }
    }

    /// The called party answered.
    pub(super) fn on_answered(
        &mut self,
        core: &mut Core,
        now: Now,
        fork: Fork,
        answer: Option<Box<Session>>,
    ) {
        let State::Ringing(_) = &self.state else {
            core.counters.stray += 1;
            return;
        };
        if self.hear_final(core, fork, answer) {
            self.connect(core, now);
        } else {
            self.finish(core, now, Cause::NotAcceptable.into(), None);
        }
    }

    /// The called party's answer stands: the caller has its own, and both talk.
    pub(super) fn connect(&mut self, core: &mut Core, now: Now) {
        let Ok(session) = self.final_answer(core) else {
            self.finish(core, now, Cause::NotAcceptable.into(), None);
            return;
        };
        self.cancel_timers(core);
        self.facts.answered = Some(now.unix);
        core.counters.answered += 1;
        core.leg(Command::Answer { leg: self.incoming.leg, session });
        let longest = self.facts.route.and_then(|n| core.config.routes.get(n)?.longest);
        let longest = longest.map(|after| core.arm(now, after, self.id, Timer::Longest));
        self.state = State::Talking(Talking { retry: None, retries: 0, longest });
        self.note_hold();
        self.note_far();
        self.join(core);
        if self.incoming.remote.is_some() {
            // The caller may have changed its direction since it called.
            self.tell_direction(core, End::In);
        }
        self.settle_codecs(core);
    }

    /// A SIP party may hold from the beginning on.
    fn note_hold(&mut self) {
        for end in [End::In, End::Out] {
            let half = self.half(end);
            // Who answered an offer that is only to receive doesn't hold.
            let asked = end == End::In || half.our_direction().sends();
            half.holds = half.is_sip() && asked && !half.party_direction().receives();
        }
    }

    /// A called browser may go another way than it was offered: where that was both ways, it is what it wants.
    fn note_far(&mut self) {
        if !self.outgoing.is_browser() || self.incoming.is_browser() {
            return;
        }
        if self.outgoing.our_direction() == Direction::SendRecv {
            let far = self.outgoing.party_direction();
            // The caller has heard of it, unless our offer went out in the answer.
            let told = if self.incoming.pending == Pending::None { far } else { Direction::SendRecv };
            (self.incoming.far, self.incoming.far_told, self.incoming.far_telling) = (far, told, told);
        }
    }

    /// What the caller's answer says: nothing to a browser, which has had it; the same again where it went out with
    /// early media (RFC 6337 section 3.1.1); our offer where the caller made none.
    fn final_answer(&mut self, core: &mut Core) -> Result<Option<Box<Session>>, ()> {
        if let Some(local) = &self.incoming.local {
            return Ok(self.incoming.is_sip().then(|| local.clone()));
        }
        if let Pending::Ours(_, Why::Asked) = self.incoming.pending {
            // Our offer went out with early media.
            return Ok(None);
        }
        let State::Ringing(ringing) = &mut self.state else { return Err(()) };
        if let Some(offer) = ringing.offer.take() {
            let (codecs, want) = (self.incoming.limit(&self.outgoing, true), self.outgoing.party_direction());
            return self.answer_caller(core, offer, &codecs, want).map(Some).ok_or(());
        }
        Ok(Some(self.offer_caller()))
    }

    /// Our offer to a caller that made none.
    pub(super) fn offer_caller(&mut self) -> Box<Session> {
        let codecs = self.outgoing.all_codecs();
        let offer = self.incoming.offer(wishes(&codecs, self.incoming.is_web()), Direction::SendRecv);
        let offer = self.incoming.send(offer);
        self.incoming.pending = Pending::Ours(offer.clone(), Why::Asked);
        offer
    }
}

/// What a party whose stream was no sound for a while is offered: what both are known to speak.
pub(super) fn common_stream(half: &Half, other: &Half) -> Vec<Payload> {
    let known = other.usable();
    half.usable()
        .into_iter()
        .filter(|payload| known.iter().any(|other| other.codec == payload.codec))
        .collect()
}

/// What of an offer both policies allow.
pub(super) fn common(offered: &[Payload], incoming: &Half, outgoing: &Half) -> Vec<Payload> {
    let mut both = accept(&accept(offered, &incoming.allowed), &outgoing.allowed);
    if outgoing.ordered {
        // The operator's order goes before the caller's.
        both.sort_by_key(|payload| outgoing.allowed.iter().position(|codec| *codec == payload.codec));
    }
    both
}

impl Half {
    /// The role in DTLS of an offer's sender, as the transport must know it.
    pub(super) fn our_role(&self, session: &Session) -> Option<Setup> {
        let media = session.media.get(self.stream)?;
        Some(self.role.unwrap_or_else(|| agree::our_role(session, media)))
    }
}
