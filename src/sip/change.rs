//! Changes of an established session: re-INVITE both ways (RFC 3261 section 14) and UPDATE (RFC 3311).

use super::body::{self, Body};
use super::inbound::Request;
use super::leg::{AwaitAck, Backoff, Change, Leg, LegKey, Offered, Offering, Purpose, State, Tick};
use super::stack::{Ask, Owner};
use super::transaction::ClientId;
use super::uas::session_timer;
use super::write::{ALLOW, SDP};
use super::{Flow, Stack, home};
use crate::base::Now;
use crate::leg::{Cause, Event, Reason};
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
        match leg.up() {
            Some(up) if up.ack.is_some() && matches!(up.change, Change::Idle) && up.queued.is_none() => {
                up.queued = Some(offer);
            }
            Some(up) if matches!(up.change, Change::Idle) && up.ack.is_none() => {
                self.send_offer(now, key, offer, 0);
            }
            _ => self.tell(Event::Refused { leg: id, reason: Reason::from(Cause::Pending) }),
        }
    }

    pub(super) fn send_offer(&mut self, now: Now, key: LegKey, offer: Vec<u8>, glares: u8) {
        self.send_reinvite(now, key, offer, (glares, 0));
    }

    fn send_reinvite(&mut self, now: Now, key: LegKey, offer: Vec<u8>, (glares, tries): (u8, u8)) {
        let Some(leg) = self.legs.get(key) else { return };
        let (id, main) = (leg.id, leg.main);
        let headers = [(Name::Allow, ALLOW)];
        let ask = Ask {
            method: Method::Invite,
            purpose: Purpose::Reinvite,
            headers: &headers,
            content: SDP,
            body: Some(&offer),
        };
        let Some(sent) = self.request(now, key, main, ask) else {
            return self.tell(Event::Refused { leg: id, reason: Reason::from(Cause::Overloaded) });
        };
        if let Some(up) = self.legs.get_mut(key).and_then(Leg::up) {
            let (client, authorization) = (sent.client, sent.authorization);
            up.change = Change::Offering(Offering { client, offer, authorization, tries, glares });
            self.arm(now, key, Tick::Ring, PATIENCE);
        }
    }

    pub(super) fn on_reinvite_response(
        &mut self,
        now: Now,
        flow: Flow,
        (key, id): (LegKey, ClientId),
        message: &Message<'_>,
        code: u16,
    ) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let (leg_id, main) = (leg.id, leg.main);
        if code < 200 {
            return;
        }
        let offering = leg.up().and_then(|up| match std::mem::replace(&mut up.change, Change::Idle) {
            Change::Offering(offering) if offering.client == id => Some(offering),
            other => {
                up.change = other;
                None
            }
        });
        if code < 300 {
            // Also after we hung up: their 2xx is retransmitted until its ACK.
            let cseq = message.cseq().map_or(0, |cseq| cseq.number);
            let authorization = offering.as_ref().map(|o| o.authorization.clone()).unwrap_or_default();
            if let Some(dialog) = leg.dialogs.get_mut(main) {
                dialog.refresh(message);
            }
            self.send_ack(key, main, (id, cseq, &authorization));
        }
        let Some(offering) = offering else { return };
        self.disarm(key, Tick::Ring);
        match code {
            200..=299 => match Body::read(message).session() {
                Some(answer) => self.tell(Event::Accepted { leg: leg_id, answer }),
                None => self.refused(leg_id, Cause::NotAcceptable.into()),
            },
            401 | 407 => {
                if self.learn(key, flow, message, offering.tries) {
                    let turn = (offering.glares, offering.tries + 1);
                    self.send_reinvite(now, key, offering.offer, turn);
                } else {
                    self.refused(leg_id, Reason::from_code(code));
                }
            }
            491 => self.back_off(now, key, offering, code),
            // Theirs waits at the far side (section 14.2).
            500 if retry_after(message).is_some_and(|seconds| seconds <= 10) => {
                self.back_off(now, key, offering, code);
            }
            // Theirs is gone (section 12.2.1.2).
            481 | 408 => self.hang_up(now, key, Some(Reason::new(Cause::Expired, code))),
            _ => self.refused(leg_id, Reason::from_code(code)),
        }
    }

    fn refused(&mut self, leg: crate::base::LegId, reason: Reason) {
        self.tell(Event::Refused { leg, reason });
    }

    /// Both offered at once: the owner of the Call-ID waits 2.1 to 4 s, the other up to 2 s (section 14.1).
    fn back_off(&mut self, now: Now, key: LegKey, offering: Offering, code: u16) {
        self.counters.glares += 1;
        let Some(leg) = self.legs.get_mut(key) else { return };
        let (id, owner) = (leg.id, leg.outbound);
        if offering.glares >= GLARES {
            return self.refused(id, Reason::from_code(code));
        }
        let tens = if owner { 210 + self.random.below(191) } else { self.random.below(201) };
        if let Some(up) = self.legs.get_mut(key).and_then(Leg::up) {
            up.change = Change::Backoff(Backoff { offer: offering.offer, glares: offering.glares + 1 });
            self.arm(now, key, Tick::Glare, Duration::from_millis(tens * 10));
        }
    }

    pub(super) fn on_backoff_over(&mut self, now: Now, key: LegKey) {
        let Some(up) = self.legs.get_mut(key).and_then(Leg::up) else { return };
        match std::mem::replace(&mut up.change, Change::Idle) {
            Change::Backoff(backoff) if up.ack.is_some() => up.queued = Some(backoff.offer),
            Change::Backoff(backoff) => self.send_offer(now, key, backoff.offer, backoff.glares),
            other => up.change = other,
        }
    }

    /// Whether they may offer now; else their request is refused. With a transaction: by the time that it comes again
    /// the answer would be another (section 8.2.7).
    fn may_offer(&mut self, now: Now, request: &Request<'_, '_>, (key, fork): (LegKey, usize)) -> bool {
        let Some(leg) = self.legs.get_mut(key) else { return false };
        let main = leg.main == fork;
        let retry = format!("{}", 1 + self.random.below(9));
        let wait = [(Name::RetryAfter, &*retry)];
        let busy = match leg.up() {
            Some(up) if main => match up.change {
                Change::Offering(_) => Some(491),
                Change::Offered(_) => Some(500),
                // Our 2xx may be on its way with an offer of ours.
                _ if up.ack.is_some() => Some(491),
                Change::Idle | Change::Backoff(_) => None,
            },
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
        if self.may_offer(now, request, place) {
            self.take_offer(now, request, place, false);
        }
    }

    pub(super) fn on_update(&mut self, now: Now, request: &Request<'_, '_>, (key, fork): (LegKey, usize)) {
        if !request.message.body().is_empty() {
            if self.may_offer(now, request, (key, fork)) {
                self.take_offer(now, request, (key, fork), true);
            }
            return;
        }
        // Without an offer it refreshes the session and the target, at any time.
        let Ok(session) = session_timer(request.message) else {
            return self.refuse(request, 422, &[(Name::MinSe, "90")]);
        };
        let tag = home::tag(self.shard, &mut self.random);
        let Some(server) = self.serve(request, &tag) else { return };
        if let Some(dialog) = self.legs.get_mut(key).and_then(|leg| leg.dialogs.get_mut(fork)) {
            dialog.refresh(request.message);
        }
        self.accept_with(now, key, server, session, None);
    }

    fn take_offer(
        &mut self,
        now: Now,
        request: &Request<'_, '_>,
        (key, fork): (LegKey, usize),
        update: bool,
    ) {
        let message = request.message;
        let offer = match Body::read(message) {
            Body::Broken => return self.refuse(request, 400, &[]),
            Body::Foreign => return self.refuse(request, 415, &[(Name::Accept, SDP)]),
            Body::None => None,
            Body::Session(session) => Some(session),
        };
        let Ok(session) = session_timer(message) else {
            return self.refuse(request, 422, &[(Name::MinSe, "90")]);
        };
        let tag = home::tag(self.shard, &mut self.random);
        let Some(server) = self.serve(request, &tag) else { return };
        self.table.own(server, Owner::Leg(key, Purpose::Invite));
        if !update {
            self.respond(now, server, 100, &[], None);
        }
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let Some(leg) = self.legs.get_mut(key) else { return };
        leg.dialogs[fork].refresh(message);
        let id = leg.id;
        let Some(up) = leg.up() else { return };
        let offered = Offered { server, cseq, update, delayed: offer.is_none(), session };
        let before = std::mem::replace(&mut up.change, Change::Offered(offered));
        if matches!(before, Change::Backoff(_)) {
            // Theirs came first: ours was made for a session that is about to change.
            self.disarm(key, Tick::Glare);
            self.refused(id, Reason::from(Cause::Pending));
        }
        self.tell(Event::Offered { leg: id, offer });
    }

    fn take_offered(&mut self, key: LegKey) -> Option<Offered> {
        let up = self.legs.get_mut(key)?.up()?;
        match std::mem::replace(&mut up.change, Change::Idle) {
            Change::Offered(offered) => Some(offered),
            other => {
                up.change = other;
                None
            }
        }
    }

    pub(super) fn on_accept(&mut self, now: Now, key: LegKey, answer: &Session) {
        let Some(offered) = self.take_offered(key) else { return };
        let answer = body::write(answer);
        self.accept_with(now, key, offered.server, offered.session, Some(&answer));
        if offered.update {
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
