//! Requests that come in: whom they are from, whether they may, and who deals with them.

use super::inform::EVENTS;
use super::leg::{LegKey, State};
use super::transaction::{Begin, Seen, ServerId};
use super::write::{self, ALLOW, Answer, Headers, SDP};
use super::{Flow, Output, Stack, Strangers, home};
use crate::base::{Now, Seeded};
use sip_codec::{Error, Message, Method, Name};
use std::hash::BuildHasher;

/// A request with what was read of it.
pub(super) struct Request<'a, 'b> {
    pub flow: Flow,
    pub message: &'a Message<'b>,
    pub data: &'b [u8],
    pub method: Method<'b>,
    pub key: Vec<u8>,
    pub merge: Vec<u8>,
}

/// What tells a server transaction: branch, sent-by and method (RFC 3261 section 17.2.3); for a peer of RFC 2543 the
/// values that stay the same over its retransmissions.
fn key_of(message: &Message<'_>, method: Method<'_>) -> Option<Vec<u8>> {
    let via = message.via().ok()?;
    let class = if method == Method::Ack { "INVITE" } else { method.as_str() };
    let port = via.port.unwrap_or(5060);
    let text = if via.has_cookie() {
        format!("{}|{}|{port}|{class}", via.branch()?, via.host.to_string().to_ascii_lowercase())
    } else {
        let (from, cseq) = (message.from().ok()?, message.cseq().ok()?);
        let (tag, call, top) =
            (from.tag().unwrap_or(""), message.call_id().ok()?, via.branch().unwrap_or(""));
        format!("2543|{call}|{tag}|{}|{}|{port}|{top}|{class}", cseq.number, via.host)
    };
    Some(text.into_bytes())
}

/// What tells a merged request (section 8.2.2.2); empty within dialogs. Each user that we registered is a UA of its own:
/// a server may fork one call to several of them.
fn merge_of(message: &Message<'_>) -> Option<Vec<u8>> {
    if message.to().ok()?.tag().is_some() {
        return Some(Vec::new());
    }
    let (from, cseq) = (message.from().ok()?, message.cseq().ok()?);
    let ours = |user: &&str| home::account(user).is_some() || home::is_phone(user);
    let user = message.uri().ok().and_then(|uri| uri.user).filter(ours);
    let (call, tag) = (message.call_id().ok()?, from.tag().unwrap_or(""));
    Some(format!("{call}|{tag}|{cseq}|{}", user.unwrap_or("")).into_bytes())
}

/// Extensions that a request may require of us.
const KNOWN: [&str; 3] = ["timer", "100rel", "replaces"];

/// What of those it requires we don't have.
fn unsupported(message: &Message<'_>) -> String {
    let known = |option: &str| KNOWN.iter().any(|known| option.eq_ignore_ascii_case(known));
    let wanted = message.values(Name::Require).filter(|option| !known(option));
    wanted.collect::<Vec<_>>().join(", ")
}

impl Stack {
    pub(super) fn on_request<'b>(&mut self, now: Now, flow: Flow, message: &Message<'b>, data: &'b [u8]) {
        let Some(method) = message.method() else { return };
        let (Some(key), merge) = (key_of(message, method), merge_of(message).unwrap_or_default()) else {
            return self.on_nameless(now, flow, (message, method), data);
        };
        let request = Request { flow, message, data, method, key, merge };
        if let Ok(via) = message.via() {
            self.on_alias(&flow, &via);
        }
        if method == Method::Ack {
            if !self.table.handle_ack(now, &request.key, &mut self.out) && message.check().is_ok() {
                self.on_ack(now, &request);
            }
            return;
        }
        match self.table.handle_request(now, &request.key, &request.merge, &mut self.out) {
            Seen::Before => return,
            Seen::Merged => {
                self.counters.merged += 1;
                return self.refuse(&request, 482, &[]);
            }
            Seen::New => {}
        }
        if let Err(fault) = message.check() {
            self.counters.malformed += 1;
            if self.trunk_of(&flow).is_none() {
                return self.rebuff(now, &request);
            }
            return self.refuse(&request, fault.status(), &[]);
        }
        if method == Method::Cancel {
            return self.on_cancel(now, &request);
        }
        if let Some(trunk) = self.trunk_of(&flow)
            && self.is_barred(&request, trunk)
        {
            return;
        }
        if message.to().is_ok_and(|to| to.tag().is_some()) {
            return self.on_in_dialog(now, &request);
        }
        let Some(trunk) = self.trunk_of(&flow) else { return self.on_guest(now, &request) };
        if self.is_unsupported(&request) {
            return;
        }
        match method {
            Method::Invite => self.on_invite(now, &request, trunk, None),
            Method::Options => self.on_options(&request),
            Method::Notify => self.on_unasked_notify(now, &request),
            Method::Message => self.on_message_in(now, &request),
            Method::Bye | Method::Update | Method::Info | Method::Prack => self.refuse(&request, 481, &[]),
            // Only within a call is there somebody to be transferred.
            Method::Refer => self.refuse(&request, 403, &[]),
            _ => self.refuse_method(&request),
        }
    }

    /// A request that lacks what its transaction would be known by: answered for what is wrong, without one, to where it
    /// came from (RFC 4475 sections 3.1.2.1 and 3.3.1).
    fn on_nameless<'b>(
        &mut self,
        now: Now,
        flow: Flow,
        (message, method): (&Message<'b>, Method<'b>),
        data: &'b [u8],
    ) {
        self.counters.malformed += 1;
        let Err(fault) = message.check() else { return };
        // Without any Via there is no way back that its sender would know for one.
        if message.header(Name::Via).is_none() {
            return;
        }
        let request = Request { flow, message, data, method, key: data.to_vec(), merge: Vec::new() };
        match self.trunk_of(&flow) {
            Some(_) => self.refuse(&request, fault.status(), &[]),
            None if method == Method::Ack => {}
            None => self.rebuff(now, &request),
        }
    }

    /// A stream's message that has no end, or too late a one: refused from its header section.
    pub(super) fn on_broken(&mut self, now: Now, flow: Flow, head: &[u8], error: Error) {
        self.counters.malformed += 1;
        let Ok(message) = Message::parse(head) else { return };
        let (Some(method), Some(key)) =
            (message.method(), message.method().and_then(|m| key_of(&message, m)))
        else {
            return;
        };
        self.links.note(&flow);
        let request = Request { flow, message: &message, data: head, method, key, merge: Vec::new() };
        if self.trunk_of(&flow).is_none() {
            return self.rebuff(now, &request);
        }
        self.refuse(&request, error.status(), &[]);
    }

    /// A request from an address that belongs to no trunk.
    pub(super) fn rebuff(&mut self, now: Now, request: &Request<'_, '_>) {
        self.counters.strangers += 1;
        self.strike(now, &request.flow);
        if self.config.strangers == Strangers::Ignore {
            return;
        }
        // Source addresses are easily forged: we are nobody's loudspeaker.
        if self.strikes.may_answer(now, request.flow.remote.ip(), &self.config.caps) {
            self.answer_statelessly(request, 403, &[]);
        } else {
            self.counters.unanswered += 1;
        }
    }

    /// 420 where an extension is required that we don't have (section 8.2.2.3).
    pub(super) fn is_unsupported(&mut self, request: &Request<'_, '_>) -> bool {
        let options = unsupported(request.message);
        if !options.is_empty() {
            self.refuse(request, 420, &[(Name::Unsupported, &options)]);
        }
        !options.is_empty()
    }

    /// 405 for methods that we know and don't do, 501 for others.
    pub(super) fn refuse_method(&mut self, request: &Request<'_, '_>) {
        let code = if matches!(request.method, Method::Other(_)) { 501 } else { 405 };
        self.refuse(request, code, &[(Name::Allow, ALLOW)]);
    }

    /// Refuses without keeping state: the same request gets the same answer again.
    pub(super) fn refuse(&mut self, request: &Request<'_, '_>, code: u16, headers: Headers<'_>) {
        self.counters.refused += 1;
        self.answer_statelessly(request, code, headers);
    }

    pub(super) fn answer_statelessly(&mut self, request: &Request<'_, '_>, code: u16, headers: Headers<'_>) {
        if request.method == Method::Ack {
            return;
        }
        // Our tag must be the same each time (section 8.2.7), and an attacker must not guess those of dialogs.
        let tag = format!("{:02x}s{:016x}", self.shard.0, Seeded::default().hash_one(&request.key));
        let answer = Answer { code, tag: &tag, headers, server: &self.config.user_agent, body: None };
        let flow = self.way_back(request);
        if let Some(data) = answer.write(request.message, request.flow.remote) {
            self.out.push_back(Output::Send { flow, data });
        }
    }

    /// Begins a server transaction with a tag of ours; says 503 where there are too many.
    pub(super) fn serve(&mut self, request: &Request<'_, '_>, tag: &str) -> Option<ServerId> {
        let begin = Begin {
            flow: self.way_back(request),
            key: &request.key,
            merge: &request.merge,
            invite: request.method == Method::Invite,
            tag,
            request: request.data,
        };
        let server = self.table.serve(&begin);
        if server.is_none() {
            self.counters.full_transactions += 1;
            self.answer_statelessly(request, 503, &[(Name::RetryAfter, "10")]);
        }
        server
    }

    /// Where the answer to a request goes. A phone behind a NAT may not know that it must ask for that (RFC 3581): it
    /// hears where it speaks from.
    fn way_back(&self, request: &Request<'_, '_>) -> Flow {
        if self.is_guest(&request.flow) {
            return request.flow;
        }
        write::way_back(request.flow, request.message)
    }

    /// Answers at once, with a transaction behind the answer.
    pub(super) fn reply(&mut self, now: Now, request: &Request<'_, '_>, code: u16, headers: Headers<'_>) {
        let tag = home::tag(self.shard, &mut self.random);
        if let Some(server) = self.serve(request, &tag) {
            self.respond(now, server, code, headers, None);
        }
    }

    /// What we can do (section 11.2). Without state: pings are many, and their answer is always the same.
    pub(super) fn on_options(&mut self, request: &Request<'_, '_>) {
        let headers = [
            (Name::Allow, ALLOW),
            (Name::Accept, SDP),
            (Name::Supported, "timer, 199, 100rel, replaces"),
            (Name::AllowEvents, EVENTS),
        ];
        self.answer_statelessly(request, 200, &headers);
    }

    /// The leg and the dialog that a request with a To tag belongs to.
    fn find_dialog(&self, message: &Message<'_>) -> Option<(LegKey, usize)> {
        let (to, from) = (message.to().ok()?, message.from().ok()?);
        let key = *self.by_tag.get(to.tag()?)?;
        let leg = self.legs.get(key).filter(|leg| Some(&*leg.call_id) == message.call_id().ok())?;
        Some((key, leg.dialog_of(from.tag().unwrap_or(""))?))
    }

    fn on_in_dialog(&mut self, now: Now, request: &Request<'_, '_>) {
        let Some((key, fork)) = self.find_dialog(request.message) else {
            if request.method == Method::Notify && self.on_watch_notify(now, request) {
                return;
            }
            self.counters.stray_requests += 1;
            if self.trunk_of(&request.flow).is_none() {
                return self.rebuff(now, request);
            }
            return self.refuse(request, 481, &[]);
        };
        if request.method != Method::Bye && self.is_unsupported(request) {
            return;
        }
        let cseq = request.message.cseq().map_or(0, |cseq| cseq.number);
        self.note_phone(key, request);
        let Some(leg) = self.legs.get_mut(key) else { return };
        let over = matches!(leg.state, State::Over) || leg.dialogs[fork].ended;
        // With a transaction, else the same request gets another answer when it comes again (section 8.2.7).
        if !leg.dialogs[fork].is_in_order(cseq, request.method) {
            return self.reply(now, request, 500, &[]);
        }
        self.learn_session(key, request.message);
        match request.method {
            Method::Bye => self.on_bye(now, request, key, fork),
            _ if over => self.reply(now, request, 481, &[]),
            Method::Invite => self.on_reinvite(now, request, (key, fork)),
            Method::Update => self.on_update(now, request, (key, fork)),
            Method::Options => self.on_options(request),
            Method::Info => self.on_info(now, request, key),
            Method::Notify => self.on_notify(now, request, key),
            Method::Message => self.on_page_within(now, request, key),
            Method::Refer => self.on_refer(now, request, (key, fork)),
            Method::Prack => self.on_prack(now, request, key),
            _ => self.refuse_method(request),
        }
    }

    fn on_ack(&mut self, now: Now, request: &Request<'_, '_>) {
        match self.find_dialog(request.message) {
            Some((key, _)) => self.on_answer_acknowledged(now, key, request.message),
            None => self.counters.stray_requests += 1,
        }
    }
}
