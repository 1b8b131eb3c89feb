//! Changes of an established session: re-INVITE both ways (RFC 3261 section 14) and UPDATE (RFC 3311).

use super::body::{self, Body};
use super::inbound::Request;
use super::leg::{AwaitAck, Backoff, By, Change, LegKey, Offered, Offering, Purpose, State, Tick};
use super::session_timer::Asked;
use super::stack::{Ask, Owner, Sent};
use super::transaction::ClientId;
use super::uac::Acknowledged;
use super::write::{ALLOW, SDP, borrowed};
use super::{Flow, Stack, fate, home};
use crate::base::Now;
use crate::leg::{Cause, Event, Fork, Reason};
use crate::sdp::Session;
use sip_codec::{Message, Method, Name, RetryAfter};
use std::time::Duration;

/// A re-INVITE that is still unanswered after that long is cancelled.
const PATIENCE: Duration = Duration::from_mins(1);
/// How often one offer may meet theirs.
const GLARES: u8 = 4;

impl Stack {
    /// The call machine offers a change.
    pub(super) fn on_offer(&mut self, now: Now, key: LegKey, offer: &Session) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let id = leg.id;
        let offer = body::write(offer);
        let refreshing = matches!(&leg.change, Change::Offering(offering) if offering.refresh);
        let idle = matches!(leg.change, Change::Idle);
        let early = leg.able.update;
        match &mut leg.state {
            State::Up(up) if up.queued.is_none() && (refreshing || (idle && up.ack.is_some())) => {
                up.queued = Some(offer);
            }
            State::Up(up) if idle && up.ack.is_none() && up.late.is_none() => {
                self.send_offer(now, key, offer, 0);
            }
            // Before the answer only by UPDATE, and only where both know that offer and answer stand.
            State::Ringing(ringing) if idle && early && ringing.reliable.settled => {
                self.send_offer(now, key, offer, 0);
            }
            _ => self.tell(Event::Refused { leg: id, reason: Reason::from(Cause::Pending) }),
        }
    }

    pub(super) fn send_offer(&mut self, now: Now, key: LegKey, offer: Vec<u8>, glares: u8) {
        self.send_change(now, key, offer, (glares, 0, false));
    }

    /// Repeats our description, unchanged, only to refresh the session.
    pub(super) fn send_refresh(&mut self, now: Now, key: LegKey, standing: Vec<u8>) {
        self.send_change(now, key, standing, (0, 0, true));
    }

    fn send_change(
        &mut self,
        now: Now,
        key: LegKey,
        offer: Vec<u8>,
        (glares, tries, refresh): (u8, u8, bool),
    ) {
        let Some(leg) = self.legs.get(key) else { return };
        let (id, update) = (leg.id, matches!(leg.state, State::Ringing(_)));
        let sent = if update {
            self.send_update(now, key, Some(&offer))
        } else {
            self.send_reinvite(now, key, &offer)
        };
        let Some(sent) = sent else {
            if refresh {
                return self.try_refresh_in(now, key, Duration::from_secs(2));
            }
            return self.tell(Event::Refused { leg: id, reason: Reason::from(Cause::Overloaded) });
        };
        if let Some(leg) = self.legs.get_mut(key) {
            let (client, authorization) = (sent.client, sent.authorization);
            let offering = Offering { client, update, refresh, offer, authorization, tries, glares };
            leg.change = Change::Offering(offering);
            self.arm(now, key, Tick::Ring, PATIENCE);
        }
    }

    fn send_reinvite(&mut self, now: Now, key: LegKey, offer: &[u8]) -> Option<Sent> {
        let main = self.legs.get(key)?.main;
        let headers = self.refresh_headers(key);
        let headers = borrowed(&headers);
        let ask = Ask {
            method: Method::Invite,
            purpose: Purpose::Reinvite,
            headers: &headers,
            content: SDP,
            body: Some(offer),
        };
        self.request(now, key, main, ask)
    }

    pub(super) fn on_reinvite_response(
        &mut self,
        now: Now,
        flow: Flow,
        (key, id): (LegKey, ClientId),
        message: &Message<'_>,
        code: u16,
    ) {
        if code < 200 {
            return;
        }
        let offering = self.take_offering(key, id);
        let Some(leg) = self.legs.get_mut(key) else { return };
        let main = leg.main;
        if code < 300 {
            // Also after we hung up: their 2xx is retransmitted until its ACK.
            let cseq = message.cseq().map_or(0, |cseq| cseq.number);
            let authorization = offering.as_ref().map(|o| o.authorization.clone()).unwrap_or_default();
            if let Some(dialog) = leg.dialogs.get_mut(main) {
                dialog.refresh(message);
            }
            let ack = Acknowledged { id, cseq, authorization: &authorization, body: None };
            self.send_ack(key, main, ack);
        }
        if let Some(offering) = offering {
            self.on_offer_response(now, flow, (key, offering), message, code);
        }
    }

    pub(super) fn on_update_response(
        &mut self,
        now: Now,
        flow: Flow,
        (key, id): (LegKey, ClientId),
        message: &Message<'_>,
        code: u16,
    ) {
        if self.on_refresh_response(now, flow, (key, id), message, code) || code < 200 {
            return;
        }
        let Some(offering) = self.take_offering(key, id) else { return };
        let Some(leg) = self.legs.get_mut(key) else { return };
        let main = leg.main;
        if code < 300
            && let Some(dialog) = leg.dialogs.get_mut(main)
        {
            dialog.refresh(message);
        }
        self.on_offer_response(now, flow, (key, offering), message, code);
    }

    fn take_offering(&mut self, key: LegKey, id: ClientId) -> Option<Offering> {
        let leg = self.legs.get_mut(key)?;
        let out = matches!(&leg.change, Change::Offering(offering) if offering.client == id);
        let change = out.then(|| std::mem::replace(&mut leg.change, Change::Idle));
        if out {
            self.disarm(key, Tick::Ring);
        }
        match change {
            Some(Change::Offering(offering)) => Some(offering),
            _ => None,
        }
    }

    /// A final answer to our offer.
    fn on_offer_response(
        &mut self,
        now: Now,
        flow: Flow,
        (key, offering): (LegKey, Offering),
        message: &Message<'_>,
        code: u16,
    ) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let (id, early) = (leg.id, offering.update);
        let raised = code == 422 && self.raise(key, message);
        match code {
            200..=299 => {
                if !early {
                    self.hear_timer(now, key, message);
                }
                self.keep_standing(key, &offering.offer);
                match Body::read(message).session() {
                    Some(answer) if offering.refresh => self.tell(Event::Refreshed { leg: id, answer }),
                    Some(answer) => self.tell(Event::Accepted { leg: id, answer }),
                    None if offering.refresh => {}
                    None => self.refused(id, Cause::NotAcceptable.into()),
                }
            }
            _ if offering.refresh => {
                self.on_refresh_refused(now, flow, (key, false), message, code);
            }
            401 | 407 if self.learn(key, flow, message, offering.tries) => {
                let turn = (offering.glares, offering.tries + 1, false);
                self.send_change(now, key, offering.offer, turn);
            }
            401 | 407 => {
                // It waits for the credentials of the phone on whose behalf it went.
                if let Some(leg) = self.legs.get_mut(key) {
                    leg.change = Change::Offering(offering);
                }
                if !self.pass_challenge(now, key, (message, code), flow.remote.ip()) {
                    self.forget_offer(key, code);
                }
            }
            422 if raised && offering.tries < 3 => {
                let turn = (offering.glares, offering.tries + 1, false);
                self.send_change(now, key, offering.offer, turn);
            }
            491 => self.back_off(now, key, offering, code),
            // Theirs waits at the far side (section 14.2).
            500 if retry_after(message).is_some_and(|seconds| seconds <= 10) => {
                self.back_off(now, key, offering, code);
            }
            // Before the answer the call is settled by what becomes of its INVITE.
            _ if fate::ends_dialog(code) && !early => {
                self.hang_up(now, key, Some(Reason::new(Cause::Expired, code)));
            }
            _ => self.refused(id, Reason::from_code(code)),
        }
        self.offer_queued(now, key);
    }

    /// What waited for a refresh of the session goes out.
    fn offer_queued(&mut self, now: Now, key: LegKey) {
        let Some(leg) = self.legs.get_mut(key).filter(|leg| matches!(leg.change, Change::Idle)) else {
            return;
        };
        let Some(up) = leg.up().filter(|up| up.ack.is_none()) else { return };
        if let Some(offer) = up.queued.take() {
            self.send_offer(now, key, offer, 0);
        }
    }

    /// An offer that was challenged is refused.
    pub(super) fn forget_offer(&mut self, key: LegKey, code: u16) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let id = leg.id;
        if matches!(leg.change, Change::Offering(_)) {
            leg.change = Change::Idle;
            self.refused(id, Reason::from_code(code));
        }
    }

    /// An offer that was challenged goes out again.
    pub(super) fn offer_again(&mut self, now: Now, key: LegKey) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        match std::mem::replace(&mut leg.change, Change::Idle) {
            Change::Offering(Offering { offer, tries, glares, .. }) => {
                self.send_change(now, key, offer, (glares, tries.saturating_add(1), false));
            }
            other => leg.change = other,
        }
    }

    fn refused(&mut self, leg: crate::base::LegId, reason: Reason) {
        self.tell(Event::Refused { leg, reason });
    }

    /// How long one waits whose offer met theirs: the owner of the Call-ID 2.1 to 4 s, the other up to 2 s (section 14.1),
    /// in steps of 10 ms.
    pub(super) fn glare_wait(&mut self, key: LegKey) -> Duration {
        let owner = self.legs.get(key).is_some_and(|leg| leg.outbound);
        let tens = if owner { 210 + self.random.below(191) } else { self.random.below(201) };
        Duration::from_millis(tens * 10)
    }

    /// Both offered at once.
    fn back_off(&mut self, now: Now, key: LegKey, offering: Offering, code: u16) {
        self.counters.glares += 1;
        let wait = self.glare_wait(key);
        let Some(leg) = self.legs.get_mut(key) else { return };
        let id = leg.id;
        if offering.glares >= GLARES {
            return self.refused(id, Reason::from_code(code));
        }
        leg.change = Change::Backoff(Backoff { offer: offering.offer, glares: offering.glares + 1 });
        self.arm(now, key, Tick::Glare, wait);
    }

    pub(super) fn on_backoff_over(&mut self, now: Now, key: LegKey) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let Change::Backoff(backoff) = std::mem::replace(&mut leg.change, Change::Idle) else { return };
        match leg.up() {
            Some(up) if up.ack.is_some() => up.queued = Some(backoff.offer),
            _ => self.send_offer(now, key, backoff.offer, backoff.glares),
        }
    }

    /// Whether they may offer now; else their request is refused. With a transaction: by the time that it comes again
    /// the answer would be another (section 8.2.7).
    fn may_offer(&mut self, now: Now, request: &Request<'_, '_>, (key, fork): (LegKey, usize)) -> bool {
        let Some(leg) = self.legs.get_mut(key) else { return false };
        let (main, invite) = (leg.main == fork, request.method == Method::Invite);
        let retry = format!("{}", 1 + self.random.below(9));
        let wait = [(Name::RetryAfter, &*retry)];
        let busy = match (&leg.change, &leg.state) {
            _ if !main => Some(500),
            (Change::Offering(_), State::Up(_) | State::Ringing(_)) => Some(491),
            (Change::Offered(_), State::Up(_) | State::Ringing(_)) => Some(500),
            // Our 2xx may be on its way with an offer of ours.
            (_, State::Up(up)) if up.ack.is_some() => Some(491),
            (_, State::Up(_)) => None,
            (_, State::Ringing(ringing)) if ringing.reliable.is_offering() => Some(491),
            // By UPDATE alone, once both know that the first offer is answered (RFC 3311 section 5.1).
            (_, State::Ringing(ringing)) if ringing.reliable.settled && !invite => None,
            // Not before the first offer is answered (RFC 3311 section 5.2, RFC 3261 section 14.2).
            _ => Some(500),
        };
        match busy {
            Some(491) => {
                self.counters.glares += 1;
                self.reply(now, request, 491, &[]);
            }
            Some(code) => self.reply(now, request, code, &wait),
            None => {}
        }
        busy.is_none()
    }

    pub(super) fn on_reinvite(&mut self, now: Now, request: &Request<'_, '_>, place: (LegKey, usize)) {
        if !self.on_change_again(now, request, place) && self.may_offer(now, request, place) {
            self.take_offer(now, request, place, By::Invite);
        }
    }

    pub(super) fn on_update(&mut self, now: Now, request: &Request<'_, '_>, (key, fork): (LegKey, usize)) {
        if self.legs.get_mut(key).is_some_and(|leg| leg.calling().is_some()) {
            return self.on_early_update(now, request, (key, fork));
        }
        if !request.message.body().is_empty() {
            let place = (key, fork);
            if !self.on_change_again(now, request, place) && self.may_offer(now, request, place) {
                self.take_offer(now, request, place, By::Update);
            }
            return;
        }
        // Without an offer it refreshes the session and the target, at any time.
        let least = self.least(key);
        let Ok(session) = Asked::read(request.message, least) else {
            return self.refuse(request, 422, &[(Name::MinSe, &*least.to_string())]);
        };
        let tag = home::tag(self.shard, &mut self.random);
        let Some(server) = self.serve(request, &tag) else { return };
        let Some(leg) = self.legs.get_mut(key) else { return };
        leg.able.learn(request.message);
        if let Some(dialog) = leg.dialogs.get_mut(fork) {
            dialog.refresh(request.message);
        }
        self.accept_with(now, key, server, session, None);
    }

    /// UPDATE in an early dialog of a leg that we dialled.
    fn on_early_update(&mut self, now: Now, request: &Request<'_, '_>, (key, fork): (LegKey, usize)) {
        let message = request.message;
        let offer = match Body::read(message) {
            Body::Broken => return self.refuse(request, 400, &[]),
            Body::Foreign => return self.refuse(request, 415, &[(Name::Accept, SDP)]),
            body => body.session(),
        };
        let retry = format!("{}", 1 + self.random.below(9));
        let Some(leg) = self.legs.get_mut(key) else { return };
        let (id, known, contact) = (leg.id, leg.known, leg.contact.clone());
        let Some(dialog) = leg.dialogs.get_mut(fork) else { return };
        let wrong = match &offer {
            _ if !known => Some(481),
            Some(_) if !dialog.settled || dialog.change.is_some() => Some(500),
            _ => None,
        };
        if let Some(code) = wrong {
            let wait = [(Name::RetryAfter, &*retry)];
            return self.reply(now, request, code, if code == 500 { &wait } else { &[] });
        }
        dialog.refresh(message);
        let tag = home::tag(self.shard, &mut self.random);
        let Some(server) = self.serve(request, &tag) else { return };
        self.tell_gate(key, fork, message);
        let Some(offer) = offer else {
            let headers = [(Name::Contact, &*contact), (Name::Allow, ALLOW)];
            return self.respond(now, server, 200, &headers, None);
        };
        if let Some(dialog) = self.legs.get_mut(key).and_then(|leg| leg.dialogs.get_mut(fork)) {
            dialog.change = Some(server);
        }
        self.tell(Event::OfferedEarly { leg: id, fork: Fork(fork as u16), offer });
    }

    fn take_offer(&mut self, now: Now, request: &Request<'_, '_>, (key, fork): (LegKey, usize), by: By) {
        let message = request.message;
        let offer = match Body::read(message) {
            Body::Broken => return self.refuse(request, 400, &[]),
            Body::Foreign => return self.refuse(request, 415, &[(Name::Accept, SDP)]),
            Body::None => None,
            Body::Session(session) => Some(session),
        };
        let least = self.least(key);
        let Ok(session) = Asked::read(message, least) else {
            return self.refuse(request, 422, &[(Name::MinSe, &*least.to_string())]);
        };
        let tag = home::tag(self.shard, &mut self.random);
        let Some(server) = self.serve(request, &tag) else { return };
        self.table.own(server, Owner::Leg(key, Purpose::Invite));
        if by == By::Invite {
            self.respond(now, server, 100, &[], None);
        }
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let Some(leg) = self.legs.get_mut(key) else { return };
        leg.dialogs[fork].refresh(message);
        leg.able.learn(message);
        let id = leg.id;
        let offered = Offered { server, cseq, by, delayed: offer.is_none(), session };
        let before = std::mem::replace(&mut leg.change, Change::Offered(offered));
        if matches!(before, Change::Backoff(_)) {
            // Theirs came first: ours was made for a session that is about to change.
            self.disarm(key, Tick::Glare);
            self.refused(id, Reason::from(Cause::Pending));
        }
        self.tell(Event::Offered { leg: id, offer });
    }

    fn take_offered(&mut self, key: LegKey) -> Option<Offered> {
        let leg = self.legs.get_mut(key)?;
        match std::mem::replace(&mut leg.change, Change::Idle) {
            Change::Offered(offered) => Some(offered),
            other => {
                leg.change = other;
                None
            }
        }
    }

    pub(super) fn on_accept(&mut self, now: Now, key: LegKey, answer: &Session) {
        if self.answer_late(now, key, answer) {
            return;
        }
        let Some(offered) = self.take_offered(key) else { return };
        let answer = body::write(answer);
        self.accept_with(now, key, offered.server, offered.session, Some(&answer));
        self.keep_standing(key, &answer);
        if offered.by != By::Invite {
            return;
        }
        let interval = self.config.timers.t1;
        let Some(leg) = self.legs.get_mut(key) else { return };
        if let State::Up(up) = &mut leg.state {
            let (server, cseq) = (offered.server, offered.cseq);
            up.ack = Some(AwaitAck { server, cseq, interval, offered: offered.delayed });
            self.await_ack(now, key);
        }
    }

    pub(super) fn on_refuse(&mut self, now: Now, key: LegKey, reason: Reason) {
        let Some(offered) = self.take_offered(key) else { return };
        let own = if (300..700).contains(&reason.code) { reason.code } else { reason.cause.code() };
        let code = if own < 300 { Cause::NotAcceptable.code() } else { own };
        self.respond(now, offered.server, code, &[], None);
    }
}

fn retry_after(message: &Message<'_>) -> Option<u32> {
    Some(RetryAfter::parse(message.header(Name::RetryAfter)?).ok()?.seconds)
}
