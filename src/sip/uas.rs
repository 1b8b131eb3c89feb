//! Legs that come in (RFC 3261 section 13.3).

use super::body::{self, Body};
use super::dialog::{self, Dialog};
use super::inbound::Request;
use super::inform::{EVENTS, Words};
use super::invite::Brought;
use super::leg::{Able, AwaitAck, Change, Leg, LegKey, Offered, Purpose, Ringing, State, TICKS, Tick, Up};
use super::phones::{self, Line, PhoneKey};
use super::reason::{self, Reasons};
use super::refer::Refer;
use super::reliable::{Held, Use};
use super::rules::{self, Places};
use super::session_id::{self, Names};
use super::session_timer::{Asked, Clock};
use super::stack::{Ask, Listener, Owner};
use super::transaction::ServerId;
use super::write::{ALLOW, SDP};
use super::{Stack, Transport, digest, home};
use crate::base::{Now, Side};
use crate::leg::{self, Callee, Cause, Event, Incoming, Party, Reason, SessionId, Source, TrunkId};
use crate::sdp::Session;
use sip_codec::{Message, Method, Name, NameAddr, Refresher, Scheme, SessionExpires, Uri};
use std::cell::OnceCell;
use std::time::Duration;

/// RFC 3261 section 13.3.1.1: a provisional response at least once a minute.
const MINUTE: Duration = Duration::from_mins(1);

/// Whether the far side wants us to be named by `sips` (RFC 3261 section 12.1.1): by the Request-URI, else by the
/// topmost Record-Route, or the Contact where there is none.
fn is_sips(request: &Message<'_>) -> bool {
    let route = request.addresses(Name::RecordRoute).next();
    let last = route.or_else(|| request.addresses(Name::Contact).next()).and_then(Result::ok);
    let sips = |uri: Uri<'_>| uri.scheme == Scheme::Sips;
    request.uri().is_ok_and(sips) || last.is_some_and(|last| last.uri().is_ok_and(sips))
}

/// Whether the caller takes an answer in SDP: what it says nothing of, it takes (RFC 3261 section 20.1).
fn takes_sdp(message: &Message<'_>) -> bool {
    let mut types =
        message.values(Name::Accept).map(|value| value.split(';').next().unwrap_or("").trim()).peekable();
    types.peek().is_none()
        || types.any(|kind| {
            ["application/sdp", "application/*", "*/*"].iter().any(|known| kind.eq_ignore_ascii_case(known))
        })
}

/// Who an address is.
pub(super) fn party(address: &NameAddr<'_>) -> Party {
    let uri = address.uri().ok();
    let host = uri.and_then(|uri| uri.host).map(|host| host.to_string()).unwrap_or_default();
    let user = uri.and_then(|uri| uri.user_text()).unwrap_or_default();
    let anonymous = host.eq_ignore_ascii_case("anonymous.invalid");
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect();
    Party {
        user: if anonymous { String::new() } else { clean(&user) },
        host: clean(&host),
        display: clean(&address.display_name()),
    }
}

impl Stack {
    /// A call from a trunk; where `phone` is set, from that phone of it, whose secret may be held.
    pub(super) fn on_invite(
        &mut self,
        now: Now,
        request: &Request<'_, '_>,
        trunk: TrunkId,
        phone: Option<(PhoneKey, bool)>,
    ) {
        let message = request.message;
        let hops = message.max_forwards().ok().flatten().unwrap_or(70);
        if hops == 0 {
            return self.refuse(request, 483, &[]);
        }
        let (Ok(from), Ok(uri), Some(_)) = (message.from(), message.uri(), dialog::target(message)) else {
            return self.refuse(request, 400, &[]);
        };
        let Some(callee) = self.callee(&uri, trunk, phone.is_some()) else {
            return self.refuse(request, phones::FLOW_FAILED.code, &[]);
        };
        let Some(trunk_config) = self.config.trunks.get(usize::from(trunk.0)) else { return };
        let Brought { offer, mut carried, session, reliable } = match Brought::read(message, trunk_config) {
            Ok(brought) => brought,
            Err((code, header)) => {
                let headers: Vec<_> = header.iter().map(|(name, value)| (*name, &**value)).collect();
                return self.refuse(request, code, &headers);
            }
        };
        if !takes_sdp(message) {
            return self.refuse(request, 406, &[]);
        }
        let using = reliable.using;
        let from_trunk = phone.is_none().then_some(trunk);
        if !self.carry(message, from_trunk, &mut carried) {
            return self.refuse(request, 500, &[]);
        }
        // A caller without a half of its own has one of ours.
        let far = session_id::read(message).unwrap_or_else(|| self.new_session_id());
        carried.session = Some(far);
        let replaces = match self.replaced(message, trunk) {
            Ok(replaces) => replaces,
            Err(code) => return self.refuse(request, code, &[]),
        };
        let tag = home::tag(self.shard, &mut self.random);
        let Some(server) = self.serve(request, &tag) else { return };
        self.respond(now, server, 100, &[], None);
        let ringing = Ringing {
            server,
            cseq: message.cseq().map_or(0, |cseq| cseq.number),
            delayed: offer.is_none(),
            answer: None,
            session,
            reliable,
        };
        let Some(key) = self.admit(request, (trunk, phone), &from, (&tag, ringing), carried.session) else {
            return self.respond(now, server, 503, &[(Name::RetryAfter, "10")], None);
        };
        self.table.own(server, Owner::Leg(key, Purpose::Invite));
        self.arm(now, key, Tick::Minute, MINUTE);
        let source = phone.and_then(|(key, _)| Some(Source::Phone(self.phones.get(key)?.word(key, trunk))));
        let data = self.attached(message);
        let Some(leg) = self.legs.get(key) else { return };
        let incoming = Incoming {
            leg: leg.id,
            source: source.unwrap_or(Source::Trunk(trunk)),
            identity: None,
            caller: party(&from),
            callee,
            offer,
            hops,
            key: leg.call_id.clone(),
            data,
            carried,
            reliable: using != Use::Never,
            replaces,
        };
        self.tell(Event::Incoming(Box::new(incoming)));
    }

    /// Whom a Request-URI names. `None`: a phone to which there is no way any more.
    fn callee(&self, uri: &Uri<'_>, trunk: TrunkId, from_phone: bool) -> Option<Callee> {
        match uri.user.filter(|_| !from_phone) {
            Some(user) if let Some(account) = home::account(user) => return Some(Callee::Account(account)),
            Some(user) if home::is_phone(user) => return self.called_phone(trunk, user),
            _ => {}
        }
        Some(Callee::Dialled(Party {
            user: uri.user_text().unwrap_or_default().into_owned(),
            host: uri.host.map(|host| host.to_string()).unwrap_or_default(),
            display: String::new(),
        }))
    }

    /// The headers of an INVITE that are passed on.
    fn attached(&mut self, message: &Message<'_>) -> leg::Data {
        let mut data = leg::Data::new();
        if self.config.attach.is_empty() {
            return data;
        }
        // Most calls have nothing attached.
        let places = OnceCell::new();
        for line in message.iter().filter(|line| self.config.attach.allows(line.name.as_str())) {
            let value = rules::unfolded(line.value);
            if places.get_or_init(|| Places::of(message)).are_named_in(&value) {
                self.counters.attach_refused += 1;
                continue;
            }
            let added = self.config.attach.add(&mut data, line.name.as_str(), &value);
            self.counters.attach_refused += u64::from(!added);
        }
        data
    }

    /// Makes the leg of an INVITE.
    fn admit(
        &mut self,
        request: &Request<'_, '_>,
        (trunk, phone): (TrunkId, Option<(PhoneKey, bool)>),
        from: &NameAddr<'_>,
        (tag, ringing): (&str, Ringing),
        far: Option<SessionId>,
    ) -> Option<LegKey> {
        let message = request.message;
        let listener: Listener = self.listener(request.flow.realm)?;
        let trunk_config = self.config.trunks.get(usize::from(trunk.0))?;
        // Our own requests go where the trunk says it listens, unless routes or target say better.
        let mut flow = request.flow;
        if flow.transport == Transport::Udp {
            flow.id = listener.flow;
            let server = self.server_at(trunk, flow.remote.ip()).filter(|_| phone.is_none());
            if let Some(hop) = server.filter(|hop| hop.transport == Transport::Udp) {
                flow.remote = hop.address;
            }
        }
        // What a phone calls is its own business, never the trunk's.
        let credentials = trunk_config.credentials.clone().filter(|_| phone.is_none());
        let line = phone.map(|(phone, held)| {
            let uri = message.request_uri().unwrap_or_default().to_owned();
            // Whom we authenticated ourselves signed for us.
            let pass = if held { Vec::new() } else { phones::credentials(message) };
            Box::new(Line { phone: Some(phone), held, uri, pass, ..Line::default() })
        });
        let mut able = Able::default();
        able.learn(message);
        let leg = Leg {
            id: self.mint.leg(Side::Sip),
            known: true,
            outbound: false,
            trunk,
            credentials: credentials.map(std::sync::Arc::new),
            keys: digest::Keys::default(),
            flow,
            call_id: message.call_id().ok()?.to_owned(),
            local: format!("<{}>;tag={tag}", message.to().ok()?.uri),
            local_tag: tag.into(),
            names: Names { far, near: None },
            why: None,
            contact: listener.contact(tag, flow.transport, is_sips(message)),
            dialogs: vec![Dialog::from_request(message, from)],
            main: 0,
            state: State::Ringing(ringing),
            change: Change::Idle,
            able,
            clock: Clock::default(),
            words: Words::default(),
            refer: Refer::default(),
            open: 0,
            timers: [None; TICKS],
            line,
        };
        self.insert(leg)
    }

    pub(super) fn on_progress(&mut self, now: Now, key: LegKey, code: u16, answer: Option<Box<Session>>) {
        let Some(ringing) = self.legs.get_mut(key).and_then(Leg::ringing) else { return };
        let code = match (code, &answer) {
            (101..=199, _) => code,
            (_, Some(_)) => 183,
            _ => return,
        };
        // An offer of ours can't be answered before the 2xx without reliable provisional responses (RFC 3262 section 5).
        let unfit = ringing.delayed && ringing.reliable.using == Use::Never;
        let fresh = answer.filter(|_| !unfit).map(|session| body::write(&session));
        // Without them every response says it, lest it be lost.
        let repeats = ringing.reliable.using == Use::Never;
        if fresh.is_some() {
            ringing.answer.clone_from(&fresh);
        }
        let body = if repeats { ringing.answer.clone() } else { fresh };
        self.send_progress(now, key, code, body);
        self.arm(now, key, Tick::Minute, MINUTE);
    }

    pub(super) fn on_minute(&mut self, now: Now, key: LegKey) {
        if let Some(ringing) = self.legs.get_mut(key).and_then(Leg::ringing) {
            let server = ringing.server;
            self.table.repeat(server, &mut self.out);
            self.arm(now, key, Tick::Minute, MINUTE);
        }
    }

    pub(super) fn on_answer(&mut self, now: Now, key: LegKey, session: Option<Box<Session>>) {
        let Some(ringing) = self.legs.get_mut(key).and_then(Leg::ringing) else { return };
        let body = session.map(|session| body::write(&session)).or_else(|| ringing.answer.clone());
        if let Some(body) = self.hold_answer(key, Held(body)) {
            self.send_answer(now, key, body.0);
        }
    }

    /// The 2xx to their INVITE.
    pub(super) fn send_answer(&mut self, now: Now, key: LegKey, body: Option<Vec<u8>>) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let Some(ringing) = leg.ringing() else { return };
        let (server, cseq, session) = (ringing.server, ringing.cseq, ringing.session);
        // What went out reliably is not said again (RFC 6337 section 3.1.1).
        let settled = ringing.reliable.settled;
        let standing = body.clone().or_else(|| ringing.answer.take());
        let body = body.filter(|_| !settled);
        let mut up = Up::new(0, Vec::new());
        let interval = self.config.timers.t1;
        let offered = ringing.delayed && body.is_some();
        up.ack = Some(AwaitAck { server, cseq, interval, offered });
        up.unacknowledged = Stack::unacknowledged(ringing);
        leg.state = State::Up(up);
        self.disarm(key, Tick::Minute);
        self.accept_with(now, key, server, session, body.as_deref());
        if let Some(standing) = standing {
            self.keep_standing(key, &standing);
        }
        self.await_ack(now, key);
    }

    /// Sends a 2xx with all that belongs to it.
    pub(super) fn accept_with(
        &mut self,
        now: Now,
        key: LegKey,
        server: ServerId,
        asked: Asked,
        body: Option<&[u8]>,
    ) {
        let policy = self.policy(key);
        let Some(leg) = self.legs.get(key) else { return };
        let met = leg.clock.keep(asked).or_else(|| asked.meet(&policy));
        let (contact, early) = (leg.contact.clone(), !matches!(leg.state, State::Up(_)));
        // A session has no timer before it is one (RFC 4028 section 7.4).
        let met = met.filter(|_| !early);
        let supported = self.supported(Some(leg.trunk));
        let expires = met
            .map(|(seconds, refresher)| SessionExpires { seconds, refresher: Some(refresher) }.to_string());
        let mut headers = vec![(Name::Contact, &*contact), (Name::Allow, ALLOW)];
        headers.extend([(Name::Supported, &*supported), (Name::AllowEvents, EVENTS)]);
        if let (Some(expires), Some((_, refresher))) = (&expires, met) {
            headers.push((Name::SessionExpires, &**expires));
            if refresher == Refresher::Uac {
                // It is theirs to do: they must know (section 9).
                headers.push((Name::Require, "timer"));
            }
        }
        self.respond(now, server, 200, &headers, body);
        if !early {
            let (interval, refresher) = met.unwrap_or((0, Refresher::Uac));
            self.start_clock(now, key, interval, refresher == Refresher::Uas);
        }
    }

    /// Resends our 2xx until the ACK comes (section 13.3.1.4).
    pub(super) fn await_ack(&mut self, now: Now, key: LegKey) {
        let t1 = self.config.timers.t1;
        self.arm(now, key, Tick::Resend, t1);
        self.arm(now, key, Tick::Ack, t1 * 64);
    }

    pub(super) fn on_resend(&mut self, now: Now, key: LegKey) {
        if self.legs.get_mut(key).and_then(Leg::ringing).is_some() {
            return self.on_resend_progress(now, key);
        }
        let t2 = self.config.timers.t2;
        let Some(ack) = self.legs.get_mut(key).and_then(Leg::up).and_then(|up| up.ack.as_mut()) else {
            return;
        };
        ack.interval = (ack.interval * 2).min(t2);
        let (server, interval) = (ack.server, ack.interval);
        self.table.repeat(server, &mut self.out);
        self.arm(now, key, Tick::Resend, interval);
    }

    /// The ACK never came: the session ends (section 13.3.1.4).
    pub(super) fn on_no_ack(&mut self, now: Now, key: LegKey) {
        if self.legs.get_mut(key).and_then(Leg::ringing).is_some() {
            return self.on_no_prack(now, key);
        }
        self.counters.lost_acks += 1;
        self.hang_up(now, key, Some(Reason::new(Cause::Unreachable, 408)));
    }

    pub(super) fn on_answer_acknowledged(&mut self, now: Now, key: LegKey, message: &Message<'_>) {
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let Some(leg) = self.legs.get_mut(key) else { return };
        let id = leg.id;
        let Some(up) = leg.up() else { return };
        let Some(ack) = up.ack.take_if(|ack| ack.cseq == cseq) else { return };
        let (closing, queued) = (up.closing, up.queued.take());
        self.table.acknowledged(ack.server);
        self.disarm(key, Tick::Resend);
        self.disarm(key, Tick::Ack);
        if closing {
            return self.hang_up(now, key, None);
        }
        if ack.offered {
            match Body::read(message) {
                Body::Session(answer) => self.tell(Event::Accepted { leg: id, answer }),
                // No answer to our offer: there is no session.
                _ => return self.hang_up(now, key, Some(Reason::from(Cause::NotAcceptable))),
            }
        }
        if let Some(offer) = queued {
            self.send_offer(now, key, offer, 0);
        }
    }

    pub(super) fn on_cancel(&mut self, now: Now, request: &Request<'_, '_>) {
        // Its own key but for the method is its INVITE's.
        let base = request.key.strip_suffix(b"CANCEL").unwrap_or_default();
        let invite = [base, b"INVITE"].concat();
        let found = self.table.find_server(&invite);
        let Some((owner, tag)) = found.and_then(|id| self.table.owner(id)) else {
            if self.trunk_of(&request.flow).is_none() {
                self.counters.strangers += 1;
                return;
            }
            return self.refuse(request, 481, &[]);
        };
        let tag = tag.to_owned();
        if let Some(server) = self.serve(request, &tag) {
            self.respond(now, server, 200, &[], None);
        }
        let (Some(Owner::Leg(key, _)), Some(server)) = (owner, found) else { return };
        let Some(leg) = self.legs.get_mut(key) else { return };
        match &mut leg.state {
            State::Ringing(ringing) if ringing.server == server => {
                self.respond(now, server, 487, &[], None);
                self.finish(key, Some(Reasons::of_cancel(request.message)));
            }
            State::Up(_) => {
                if matches!(&leg.change, Change::Offered(Offered { server: s, .. }) if *s == server) {
                    leg.change = Change::Idle;
                    let id = leg.id;
                    self.respond(now, server, 487, &[], None);
                    self.tell(Event::Withdrawn { leg: id });
                }
            }
            _ => {}
        }
    }

    pub(super) fn on_bye(&mut self, now: Now, request: &Request<'_, '_>, key: LegKey, fork: usize) {
        if self.on_phone_bye(now, request, key) {
            return;
        }
        self.reply(now, request, 200, &[]);
        let Some(leg) = self.legs.get_mut(key) else { return };
        leg.dialogs[fork].ended = true;
        match &mut leg.state {
            State::Ringing(ringing) => {
                let server = ringing.server;
                self.respond(now, server, 487, &[], None);
                self.finish(key, Some(Reason::from(Cause::Cancelled)));
            }
            State::Up(_) if leg.main == fork => {
                self.on_referred_gone(key);
                self.drop_change(now, key);
                let trunk = self.legs.get(key).map(|leg| leg.trunk);
                let policy = trunk.and_then(|trunk| self.trunk_policy(trunk));
                let reason = policy.map_or(Cause::Hangup.into(), |p| p.reasons.of_bye(request.message));
                self.finish(key, Some(reason));
            }
            _ => {}
        }
    }

    /// The call machine's word that a leg is over, in whatever state it is.
    pub(super) fn on_end(&mut self, now: Now, key: LegKey, reason: Reason) {
        let waits = self.waits_for_notify(key);
        let Some(leg) = self.legs.get_mut(key) else { return };
        leg.why = reason::header(reason);
        match &mut leg.state {
            State::Calling(_) => self.give_up(now, key),
            State::Ringing(ringing) => {
                let server = ringing.server;
                let policy = self.config.trunks.get(usize::from(leg.trunk.0)).map(|trunk| &trunk.policy);
                let code = policy.map_or(reason.cause.code(), |policy| policy.reasons.code(reason));
                let why = reason::header_of_response(reason);
                let mut headers: Vec<_> = why.iter().map(|why| (Name::Reason, &**why)).collect();
                headers.extend((reason.cause == Cause::Overloaded).then_some((Name::RetryAfter, "10")));
                self.respond(now, server, code, &headers, None);
                self.finish(key, None);
            }
            State::Up(up) if up.ack.is_some() => {
                // BYE must wait for the ACK (section 15).
                up.closing = true;
                self.forget(key, None);
                self.drop_change(now, key);
            }
            State::Up(_) if waits => {
                self.forget(key, None);
                self.drop_change(now, key);
            }
            State::Up(_) => self.hang_up(now, key, None),
            State::Over => {}
        }
    }

    /// BYE, and the leg is over.
    pub(super) fn hang_up(&mut self, now: Now, key: LegKey, reason: Option<Reason>) {
        self.drop_change(now, key);
        self.answer_bye(now, key);
        if let Some(main) = self.legs.get(key).map(|leg| leg.main) {
            self.send_bye(now, key, main);
        }
        self.finish(key, reason);
    }

    /// False where it can't be sent.
    pub(super) fn send_bye(&mut self, now: Now, key: LegKey, fork: usize) -> bool {
        let dialog = self.legs.get_mut(key).and_then(|leg| leg.dialogs.get_mut(fork));
        let Some(dialog) = dialog else { return false };
        dialog.ended = true;
        let purpose = Purpose::Bye(fork as u16);
        let why = self.legs.get(key).and_then(|leg| leg.why.clone());
        let headers: Vec<_> = why.iter().map(|why| (Name::Reason, &**why)).collect();
        self.request(
            now,
            key,
            fork,
            Ask { method: Method::Bye, purpose, headers: &headers, content: SDP, body: None },
        )
        .is_some()
    }

    /// A challenged BYE still ends the call.
    pub(super) fn on_bye_response(
        &mut self,
        now: Now,
        flow: super::Flow,
        (key, fork): (LegKey, u16),
        message: &Message<'_>,
        code: u16,
    ) {
        let fork = usize::from(fork);
        if code < 200 {
            return;
        }
        let dialog = self.legs.get_mut(key).and_then(|leg| leg.dialogs.get_mut(fork));
        if let Some(dialog) = dialog.filter(|_| matches!(code, 401 | 407)) {
            let tries = dialog.tries;
            dialog.tries = tries.saturating_add(1);
            if self.learn(key, flow, message, tries) {
                self.send_bye(now, key, fork);
                return;
            }
            if self.pass_challenge(now, key, (message, code), flow.remote.ip()) {
                let leg = self.legs.get_mut(key);
                if let Some(dialog) = leg.and_then(|leg| leg.dialogs.get_mut(fork)) {
                    dialog.ended = false;
                }
                return;
            }
        }
        self.end_bye(now, key);
    }
}
