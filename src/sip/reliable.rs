//! Reliable provisional responses (RFC 3262): ours until their PRACK comes, theirs acknowledged in order.

use super::body::{self, Body};
use super::config::Reliability;
use super::inbound::Request;
use super::leg::{By, Change, Leg, LegKey, Offered, Purpose, Ringing, State, Tick};
use super::session_timer::Asked;
use super::stack::Ask;
use super::write::{ALLOW, Headers, SDP, borrowed};
use super::{Flow, Stack, Trunk, fate, home};
use crate::base::Now;
use crate::leg::{Cause, Event, Fork, Reason};
use crate::sdp::Session;
use sip_codec::{Message, Method, Name, RAck};
use std::collections::VecDeque;
use std::time::Duration;

/// Provisional responses that wait for the PRACK of the one before.
const MOST_WAITING: usize = 8;

/// Which of our provisional responses to an INVITE are to be acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Use {
    /// None: the caller doesn't know how.
    #[default]
    Never,
    /// Those with a description.
    Described,
    /// All.
    Always,
}

/// Our reliable provisional responses to one INVITE.
#[derive(Debug, Default)]
pub(super) struct Reliable {
    pub using: Use,
    /// The last RSeq.
    rseq: u32,
    /// The one that waits for its PRACK.
    out: Option<Out>,
    waiting: VecDeque<(u16, Option<Vec<u8>>)>,
    /// Our 2xx waits for that PRACK, too; with its body.
    held: Option<Held>,
    /// Offer and answer are both known to have arrived: either side may make another offer (RFC 3311 section 5.1).
    pub settled: bool,
    /// Whether media may flow before the answer, as the called side says (RFC 5009); the caller knows the header.
    pub early_media: Option<bool>,
}

/// Our 2xx's body, which is kept back.
#[derive(Debug)]
pub(super) struct Held(pub Option<Vec<u8>>);

#[derive(Debug)]
struct Out {
    interval: Duration,
    /// It holds a description.
    described: bool,
    /// Namely our offer: the PRACK brings the answer.
    offered: bool,
}

impl Reliable {
    /// What an INVITE lets us do, or makes us do. `Err`: it doesn't know what this trunk's operator requires.
    pub fn read(invite: &Message<'_>, trunk: &Trunk) -> Result<Reliable, ()> {
        let policy = trunk.reliable;
        let required = invite.has_token(Name::Require, "100rel");
        let supported = required || invite.has_token(Name::Supported, "100rel");
        let using = match policy {
            _ if required => Use::Always,
            Reliability::Required if !supported => return Err(()),
            Reliability::Required => Use::Always,
            Reliability::Supported if supported => Use::Described,
            _ => Use::Never,
        };
        let early_media = trunk.early_media
            && invite.values(Name::PEarlyMedia).any(|value| value.eq_ignore_ascii_case("supported"));
        Ok(Reliable { using, early_media: early_media.then_some(true), ..Reliable::default() })
    }

    fn must(&self, described: bool) -> bool {
        match self.using {
            Use::Never => false,
            Use::Described => described,
            Use::Always => true,
        }
    }

    /// Whether our 2xx has to wait (section 3).
    fn holds_answer(&self) -> bool {
        self.out.as_ref().is_some_and(|out| out.described)
            || self.waiting.iter().any(|(_, body)| body.is_some())
    }

    /// An offer of ours went out and has no answer.
    pub fn is_offering(&self) -> bool {
        self.out.as_ref().is_some_and(|out| out.offered)
    }
}

impl Stack {
    /// Sends a provisional response, once those before it are acknowledged.
    pub(super) fn send_progress(&mut self, now: Now, key: LegKey, code: u16, body: Option<Vec<u8>>) {
        let random = self.random.below(1 << 30) as u32;
        let Some(ringing) = self.legs.get_mut(key).and_then(Leg::ringing) else { return };
        let reliable = &mut ringing.reliable;
        if reliable.out.is_some() {
            if reliable.waiting.len() >= MOST_WAITING {
                self.counters.progress_dropped += 1;
            } else if body.is_some() || reliable.waiting.back().is_none_or(|(last, _)| *last != code) {
                reliable.waiting.push_back((code, body));
            }
            return;
        }
        // What is settled is not said again (RFC 6337 section 3.1.1).
        let body = body.filter(|_| !reliable.settled);
        let must = reliable.must(body.is_some());
        if must {
            // Between 1 and 2^31 at first, so that it has room to grow.
            reliable.rseq = if reliable.rseq == 0 { 1 + random } else { reliable.rseq + 1 };
            let interval = self.config.timers.t1;
            let offered = ringing.delayed && body.is_some();
            reliable.out = Some(Out { interval, described: body.is_some(), offered });
        }
        let rseq = reliable.rseq.to_string();
        let authorised = reliable.early_media.filter(|_| body.is_some());
        let server = ringing.server;
        let contact = self.legs.get(key).map(|leg| leg.contact.clone()).unwrap_or_default();
        let mut headers = vec![(Name::Contact, &*contact), (Name::Allow, ALLOW)];
        if must {
            headers.extend([(Name::Require, "100rel"), (Name::RSeq, &*rseq)]);
        }
        if let Some(open) = authorised {
            headers.push((Name::PEarlyMedia, if open { "sendrecv" } else { "inactive" }));
        }
        self.respond(now, server, code, &headers, body.as_deref());
        if must {
            let t1 = self.config.timers.t1;
            self.arm(now, key, Tick::Resend, t1);
            self.arm(now, key, Tick::Ack, t1 * 64);
        }
    }

    /// Sends it again, at growing intervals without bound (section 3).
    pub(super) fn on_resend_progress(&mut self, now: Now, key: LegKey) {
        let Some(ringing) = self.legs.get_mut(key).and_then(Leg::ringing) else { return };
        let Some(out) = &mut ringing.reliable.out else { return };
        out.interval *= 2;
        let (server, interval) = (ringing.server, out.interval);
        self.table.repeat(server, &mut self.out);
        self.arm(now, key, Tick::Resend, interval);
    }

    /// Its PRACK never came: the call is refused (section 3).
    pub(super) fn on_no_prack(&mut self, now: Now, key: LegKey) {
        let Some(ringing) = self.legs.get_mut(key).and_then(Leg::ringing) else { return };
        let server = ringing.server;
        self.counters.lost_pracks += 1;
        self.respond(now, server, 504, &[], None);
        self.finish(key, Some(Reason::new(Cause::Unreachable, 504)));
    }

    /// Keeps our answer back while a description waits for its PRACK. Gives it back where it may go out at once.
    pub(super) fn hold_answer(&mut self, key: LegKey, body: Held) -> Option<Held> {
        let ringing = self.legs.get_mut(key).and_then(Leg::ringing);
        let Some(ringing) = ringing.filter(|ringing| ringing.reliable.holds_answer()) else {
            return Some(body);
        };
        ringing.reliable.held = Some(body);
        None
    }

    /// PRACK from the caller.
    pub(super) fn on_prack(&mut self, now: Now, request: &Request<'_, '_>, key: LegKey) {
        let message = request.message;
        let rack = message.header(Name::RAck).and_then(|value| RAck::parse(value).ok());
        let Some(rack) = rack else { return self.reply(now, request, 400, &[]) };
        let Some(leg) = self.legs.get_mut(key) else { return };
        let acknowledges = |ringing: &Ringing| {
            ringing.reliable.out.is_some()
                && rack.rseq == ringing.reliable.rseq
                && rack.cseq.number == ringing.cseq
                && rack.cseq.method == Method::Invite
        };
        match &mut leg.state {
            State::Ringing(ringing) if acknowledges(ringing) => {}
            State::Up(up) if up.unacknowledged == Some(rack.rseq) => {
                up.unacknowledged = None;
                return self.reply(now, request, 200, &[]);
            }
            _ => return self.reply(now, request, 481, &[]),
        }
        let body = match Body::read(message) {
            Body::Broken => return self.reply(now, request, 400, &[]),
            Body::Foreign => return self.reply(now, request, 415, &[(Name::Accept, SDP)]),
            body => body.session(),
        };
        self.on_acknowledged(now, request, key, body);
    }

    fn on_acknowledged(
        &mut self,
        now: Now,
        request: &Request<'_, '_>,
        key: LegKey,
        body: Option<Box<Session>>,
    ) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let id = leg.id;
        let Some(ringing) = leg.ringing() else { return };
        let server = ringing.server;
        let Some(out) = ringing.reliable.out.take() else { return };
        self.disarm(key, Tick::Resend);
        self.disarm(key, Tick::Ack);
        if out.offered {
            self.reply(now, request, 200, &[]);
            let Some(answer) = body else {
                // Our offer has no answer: there is no session (section 5).
                self.respond(now, server, 488, &[], None);
                return self.finish(key, Some(Reason::from(Cause::NotAcceptable)));
            };
            self.settle_progress(key);
            self.tell(Event::Accepted { leg: id, answer });
        } else {
            if out.described {
                self.settle_progress(key);
            }
            match body {
                Some(offer) => self.take_prack_offer(now, request, key, offer),
                None => self.reply(now, request, 200, &[]),
            }
        }
        self.after_prack(now, key);
    }

    fn settle_progress(&mut self, key: LegKey) {
        if let Some(ringing) = self.legs.get_mut(key).and_then(Leg::ringing) {
            ringing.reliable.settled = true;
        }
    }

    /// An offer in a PRACK: allowed once the one before it is answered (section 5).
    fn take_prack_offer(&mut self, now: Now, request: &Request<'_, '_>, key: LegKey, offer: Box<Session>) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let id = leg.id;
        let settled = leg.ringing().is_some_and(|ringing| ringing.reliable.settled);
        if !settled || !matches!(leg.change, Change::Idle) {
            return self.reply(now, request, if settled { 491 } else { 488 }, &[]);
        }
        let tag = home::tag(self.shard, &mut self.random);
        let Some(server) = self.serve(request, &tag) else { return };
        let cseq = request.message.cseq().map_or(0, |cseq| cseq.number);
        if let Some(leg) = self.legs.get_mut(key) {
            let session = Asked::default();
            leg.change = Change::Offered(Offered { server, cseq, by: By::Prack, delayed: false, session });
        }
        self.tell(Event::Offered { leg: id, offer: Some(offer) });
    }

    /// What waited for the PRACK goes out.
    pub(super) fn after_prack(&mut self, now: Now, key: LegKey) {
        while let Some(ringing) = self.legs.get_mut(key).and_then(Leg::ringing) {
            if ringing.reliable.out.is_some() {
                return;
            }
            if !ringing.reliable.holds_answer()
                && let Some(Held(body)) = ringing.reliable.held.take()
            {
                return self.send_answer(now, key, body);
            }
            let Some((code, body)) = ringing.reliable.waiting.pop_front() else { return };
            self.send_progress(now, key, code, body);
        }
    }

    /// The last reliable response, where its PRACK has not come.
    pub(super) fn unacknowledged(ringing: &Ringing) -> Option<u32> {
        ringing.reliable.out.is_some().then_some(ringing.reliable.rseq)
    }

    /// A reliable provisional response of theirs is to be acknowledged, unless it came before or out of order: then
    /// false (section 4). `offer`: it holds an offer, whose answer goes into the PRACK.
    pub(super) fn acknowledge_provisional(
        &mut self,
        now: Now,
        (key, fork): (LegKey, usize),
        message: &Message<'_>,
        offer: bool,
    ) -> bool {
        if !is_reliable(message) {
            return true;
        }
        let Ok(Some(rseq)) = message.number(Name::RSeq) else { return true };
        let Some(dialog) = self.legs.get_mut(key).and_then(|leg| leg.dialogs.get_mut(fork)) else {
            return false;
        };
        if rseq == 0 || (dialog.reliable != 0 && rseq != dialog.reliable.wrapping_add(1)) {
            self.counters.unordered_progress += 1;
            return false;
        }
        dialog.reliable = rseq;
        dialog.refresh(message);
        dialog.tries = 0;
        if !offer {
            self.send_prack(now, key, fork, None);
        }
        true
    }

    pub(super) fn send_prack(&mut self, now: Now, key: LegKey, fork: usize, body: Option<&[u8]>) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let invite = match &leg.state {
            State::Calling(calling) => calling.cseq,
            State::Up(up) => up.invite_seq,
            State::Ringing(_) | State::Over => return,
        };
        let Some(dialog) = leg.dialogs.get_mut(fork) else { return };
        let rack = format!("{} {invite} INVITE", dialog.reliable);
        dialog.pracked = body.map(<[u8]>::to_vec);
        let headers = [(Name::RAck, &*rack)];
        let purpose = Purpose::Prack(fork as u16);
        self.request(
            now,
            key,
            fork,
            Ask { method: Method::Prack, purpose, headers: &headers, content: SDP, body },
        );
    }

    pub(super) fn on_prack_response(
        &mut self,
        now: Now,
        flow: Flow,
        (key, fork): (LegKey, u16),
        message: &Message<'_>,
        code: u16,
    ) {
        let fork = usize::from(fork);
        let Some(dialog) = self.legs.get_mut(key).and_then(|leg| leg.dialogs.get_mut(fork)) else { return };
        if code < 300 {
            if code >= 200 {
                dialog.pracked = None;
            }
            return;
        }
        let tries = dialog.tries;
        dialog.tries = tries.saturating_add(1);
        if matches!(code, 401 | 407) && self.learn(key, flow, message, tries) {
            let body = self.legs.get_mut(key).and_then(|leg| leg.dialogs.get_mut(fork)?.pracked.take());
            return self.send_prack(now, key, fork, body.as_deref());
        }
        self.counters.refused_pracks += 1;
        let early = self.legs.get_mut(key).is_some_and(|leg| leg.calling().is_some());
        if early && fate::ends_beside(code) {
            // Its side knows this early dialog no more; others, and the final answer, are another matter.
            self.end_fork(key, fork);
        }
    }

    /// An early dialog is over, the call is not (RFC 6228).
    pub(super) fn end_fork(&mut self, key: LegKey, fork: usize) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let id = leg.id;
        if let Some(dialog) = leg.dialogs.get_mut(fork) {
            dialog.ended = true;
        }
        if leg.known {
            self.tell(Event::Progress { leg: id, fork: Fork(fork as u16), code: 199, answer: None });
        }
    }

    /// The call machine's answer to an offer in an early dialog of a leg that we dialled: to one in a reliable
    /// provisional response, by PRACK; to one in an UPDATE, by its 2xx. `None` refuses.
    pub(super) fn on_accept_early(
        &mut self,
        now: Now,
        key: LegKey,
        Fork(fork): Fork,
        answer: Option<&Session>,
    ) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let contact = leg.contact.clone();
        let Some(dialog) = leg.dialogs.get_mut(usize::from(fork)) else { return };
        if let Some(server) = dialog.change.take() {
            let headers: Headers<'_> = &[(Name::Contact, &*contact), (Name::Allow, ALLOW)];
            match answer {
                Some(answer) => self.respond(now, server, 200, headers, Some(&body::write(answer))),
                None => self.respond(now, server, 488, &[], None),
            }
            return;
        }
        if std::mem::take(&mut dialog.offered) {
            dialog.settled = answer.is_some();
            self.send_prack(now, key, usize::from(fork), answer.map(body::write).as_deref());
        }
    }

    /// Whether the called side lets its early media be heard: the next description that goes out says so.
    pub(super) fn on_gate(&mut self, key: LegKey, open: bool) {
        let ringing = self.legs.get_mut(key).and_then(Leg::ringing);
        if let Some(said) = ringing.and_then(|ringing| ringing.reliable.early_media.as_mut()) {
            *said = open;
        }
    }

    /// Headers by which an INVITE says what we can do, and what we want.
    pub(super) fn invite_headers(&self, key: LegKey) -> Vec<(Name<'static>, String)> {
        let Some(leg) = self.legs.get(key) else { return Vec::new() };
        let Some(trunk) = self.config.trunks.get(usize::from(leg.trunk.0)) else { return Vec::new() };
        let asked = matches!(&leg.state, State::Calling(calling) if calling.reliable);
        // To know them all is what is said toward nobody in particular.
        let supported = self.supported(Some(leg.trunk).filter(|_| !asked));
        let mut headers = vec![(Name::Supported, supported)];
        if trunk.reliable == Reliability::Required {
            headers.push((Name::Require, "100rel".to_owned()));
        }
        headers.extend(self.timer_headers(key));
        if trunk.early_media {
            headers.push((Name::PEarlyMedia, "supported".to_owned()));
        }
        headers
    }

    /// Which extensions we know, toward one trunk.
    pub(super) fn supported(&self, trunk: Option<crate::leg::TrunkId>) -> String {
        let trunk = trunk.and_then(|trunk| self.config.trunks.get(usize::from(trunk.0)));
        let reliable = trunk.is_none_or(|trunk| trunk.reliable != Reliability::Off);
        if reliable { "timer, 199, 100rel, replaces" } else { "timer, 199, replaces" }.to_owned()
    }

    /// Sends UPDATE, with our offer or only to refresh the session.
    pub(super) fn send_update(
        &mut self,
        now: Now,
        key: LegKey,
        offer: Option<&[u8]>,
    ) -> Option<super::stack::Sent> {
        let main = self.legs.get(key)?.main;
        let headers = self.refresh_headers(key);
        let headers = borrowed(&headers);
        let ask = Ask {
            method: Method::Update,
            purpose: Purpose::Update,
            headers: &headers,
            content: SDP,
            body: offer,
        };
        self.request(now, key, main, ask)
    }
}

/// Whether a provisional response wants a PRACK.
pub(super) fn is_reliable(message: &Message<'_>) -> bool {
    message.code().is_some_and(|code| code > 100)
        && message.has_token(Name::Require, "100rel")
        && matches!(message.number(Name::RSeq), Ok(Some(_)))
}

/// What a provisional response says of early media (RFC 5009 section 8): whether the called side may be heard.
pub(super) fn gate(message: &Message<'_>) -> Option<bool> {
    let mut said = None;
    for value in message.values(Name::PEarlyMedia) {
        let value = value.split(';').next().unwrap_or_default().trim();
        match value.to_ascii_lowercase().as_str() {
            // As the sender of the header sees it: it sends.
            "sendrecv" | "sendonly" => said = Some(true),
            "recvonly" | "inactive" => said = Some(false),
            _ => {}
        }
    }
    said
}
