//! Legs that go out (RFC 3261 section 13.2): INVITE, forks, CANCEL, and what comes too late.

use super::body::{self, Body};
use super::dialog::Dialog;
use super::failover::{Fault, retry_after};
use super::inform::{EVENTS, Words};
use super::leg::{Able, Calling, Cancel, Change, Leg, LegKey, Purpose, State, TICKS, Tick, Up, Way};
use super::multipart;
use super::phones::{FLOW_FAILED, Inherited, Line};
use super::policy::Dressed;
use super::refer::{self, Refer};
use super::reliable;
use super::session_id::{self, Names};
use super::session_timer::Clock;
use super::stack::{Ask, Owner};
use super::transaction::ClientId;
use super::write::{self, ALLOW, Draft, MAX_BREADTH, SDP, borrowed};
use super::{Credentials, Flow, Registration, Stack, digest, home};
use crate::base::Now;
use crate::leg::{Cause, Data, Dial, Event, Fork, Identity, Part, Party, Reason, Target, TrunkId};
use crate::sdp::Session;
use sip_codec::{Address, Escaped, Message, Method, Name};
use std::collections::VecDeque;
use std::sync::Arc;

/// Dialogs that answers make beyond the bound of early ones.
const LATE_ANSWERS: usize = 16;

/// The value of From: a party at `domain`, whatever host it had on the side that it comes from.
pub(super) fn address(party: &Party, domain: &str) -> String {
    let clean = |text: &str| text.chars().filter(|c| !c.is_control()).collect::<String>();
    if party.user.is_empty() {
        // RFC 3323 section 4.1.1.3.
        return "\"Anonymous\" <sip:anonymous@anonymous.invalid>".to_owned();
    }
    let uri = format!("sip:{}@{domain}", Escaped(&clean(&party.user)));
    Address { display: &clean(&party.display), uri: &uri, tag: None }.to_string()
}

/// A 2xx that is to be acknowledged.
#[derive(Clone, Copy)]
pub(super) struct Acknowledged<'a> {
    /// Its INVITE.
    pub id: ClientId,
    pub cseq: u32,
    /// The INVITE's.
    pub authorization: &'a [(&'static str, String)],
    /// Our answer, where it brought an offer.
    pub body: Option<&'a [u8]>,
}

/// Whether a body part goes to this trunk.
fn passes(trunk: &super::Trunk, part: &Part) -> bool {
    trunk.passes(part.kind.split(';').next().unwrap_or_default().trim())
}

impl Stack {
    pub(super) fn on_dial(&mut self, now: Now, dial: &Dial) {
        let id = dial.leg;
        if let Err(cause) = self.dial(now, dial) {
            self.tell(Event::Ended { leg: id, reason: Reason::from(cause) });
        }
    }

    fn dial(&mut self, now: Now, dial: &Dial) -> Result<(), Cause> {
        let trunk_id = match dial.target {
            Target::Trunk(trunk) => trunk,
            Target::Phone(phone) => return self.dial_phone(now, dial, phone),
            Target::Account(_) => return Err(Cause::NotFound),
        };
        let config = self.config.clone();
        let trunk = config.trunks.get(usize::from(trunk_id.0)).ok_or(Cause::NotFound)?;
        let listener = self.listener(trunk.realm).ok_or(Cause::Unreachable)?;
        let tag = home::tag(self.shard, &mut self.random);
        let clean: String = dial.callee.user.chars().filter(|c| !c.is_control()).collect();
        let at = if clean.is_empty() { String::new() } else { format!("{}@", Escaped(&clean)) };
        let uri = format!("sip:{at}{}", trunk.domain);
        // What a phone signed is for its own server alone: elsewhere it would give its password's digest away.
        let at_home = config.phones.as_ref().is_some_and(|phones| phones.trunk == trunk_id);
        let inherited = self.inherited(dial.with, &dial.callee.user).filter(|_| at_home);
        let uri = inherited.as_ref().and_then(|it| it.uri.clone()).unwrap_or(uri);
        let (identity, credentials) = self.signer(dial, trunk_id, inherited.as_ref());
        let name = identity.as_ref().map(|identity| identity.user.as_str());
        let near = dial.carried.session.unwrap_or_else(|| self.new_session_id());
        let Dressed { caller, headers } = self.dress(dial, trunk, name);
        let user = dial.account.as_ref().map_or_else(|| tag.clone(), home::user);
        let (user, pass) = inherited.map_or((user, None), |it| (it.token.into(), Some(it.pass)));
        if self.by_id.contains_key(&dial.leg) {
            return Err(Cause::Failed);
        }
        let usable = self.servers.is_usable(now, trunk_id);
        let mut rest = VecDeque::from(self.order(now, trunk.realm, trunk_id));
        let brief = !usable && (trunk.probe.is_some() || rest.len() > 1);
        let (hop, flow) = loop {
            let hop = rest.pop_front().ok_or(Cause::Unreachable)?;
            if let Some(flow) = self.reach(trunk.realm, &hop, Some(trunk_id)) {
                break (hop, flow);
            }
        };
        let user = Escaped(&user).to_string();
        let contact = listener.contact(&user, flow.transport, false);
        let way = Way { hop, rest, brief, answered: false, heard: false, user };
        let calling = self.calling(dial, trunk, uri, (headers, way));
        let leg = Leg {
            id: dial.leg,
            known: true,
            outbound: true,
            trunk: trunk_id,
            credentials,
            keys: digest::Keys::default(),
            flow,
            call_id: self.random.token(24),
            local: format!("{};tag={tag}", address(&caller, &trunk.domain)),
            local_tag: tag.into(),
            names: Names { far: None, near: Some(near) },
            why: None,
            contact,
            dialogs: Vec::new(),
            main: 0,
            state: State::Calling(calling),
            change: Change::Idle,
            able: Able::default(),
            clock: Clock::default(),
            words: Words::default(),
            refer: Refer::default(),
            open: 0,
            timers: [None; TICKS],
            line: pass.map(|pass| Box::new(Line { pass, ..Line::default() })),
        };
        let key = self.insert(leg).ok_or(Cause::Overloaded)?;
        self.link(key, dial.with);
        self.arm(now, key, Tick::Ring, trunk.ring);
        if let Err(cause) = self.send_invite(now, key, false) {
            self.finish(key, Some(Reason::from(cause)));
        }
        Ok(())
    }

    /// Who is calling, as the SIP server knows them, and what its challenges are answered with: where there is no user, by
    /// the trunk's own credentials, but never for a phone, whose calls are its own business.
    fn signer(
        &self,
        dial: &Dial,
        trunk: TrunkId,
        inherited: Option<&Inherited>,
    ) -> (Option<Identity>, Option<Arc<Credentials>>) {
        let account = dial.account.as_ref();
        let secret = inherited.and_then(|inherited| inherited.secret.as_ref());
        let configured = || secret.or_else(|| self.config.accounts.get(account?)).map(Registration::identity);
        let identity = dial.identity.as_deref().cloned().or_else(configured).filter(|it| it.trunk == trunk);
        let known = || {
            let Identity { auth_user, secret, .. } = identity.clone()?;
            Some(Arc::new(Credentials { user: auth_user, password: secret? }))
        };
        let own = account.and_then(|account| self.registrations.credentials(account, trunk)).or_else(known);
        let trusted = || {
            let trunk = self.config.trunks.get(usize::from(trunk.0)).filter(|_| inherited.is_none())?;
            trunk.credentials.clone().map(Arc::new)
        };
        let credentials = own.or_else(trusted);
        (identity, credentials)
    }

    /// The flow of a leg's INVITE: its connection may be gone since it was challenged.
    fn first_flow(&mut self, key: LegKey) -> Option<Flow> {
        let leg = self.legs.get_mut(key)?;
        let (flow, trunk_id, hop) = (leg.flow, leg.trunk, leg.calling()?.way.hop.clone());
        if self.links.is_live(&flow) {
            return Some(flow);
        }
        if self.legs.get(key)?.phone().is_some() {
            return None;
        }
        let flow = self.reach(flow.realm, &hop, Some(trunk_id))?;
        self.legs.get_mut(key)?.flow = flow;
        Some(flow)
    }

    /// What goes into the INVITE of a call to this URI.
    pub(super) fn calling(
        &mut self,
        dial: &Dial,
        trunk: &super::Trunk,
        uri: String,
        (data, way): (Data, Way),
    ) -> Calling {
        let offer = if dial.late { Vec::new() } else { body::write(&dial.offer) };
        let parts = dial.carried.parts.iter().filter(|part| passes(trunk, part));
        let parts: Vec<Part> = parts.cloned().collect();
        let (content, offer) = multipart::compose(offer, &parts, || self.random.token(24));
        Calling {
            invite: None,
            way,
            to: Address { display: "", uri: &uri, tag: None }.to_string(),
            uri,
            hops: dial.hops,
            data,
            referral: dial.referral.clone(),
            cseq: 0,
            offer,
            content,
            late: dial.late,
            reliable: false,
            breadth: dial.carried.breadth,
            authorization: Vec::new(),
            tries: 0,
            cancel: Cancel::No,
        }
    }

    /// Sends the INVITE, the first time, signed after a challenge, or (`same`) as it was, to another server.
    pub(super) fn send_invite(&mut self, now: Now, key: LegKey, same: bool) -> Result<(), Cause> {
        let branch = home::branch(self.shard, &mut self.random);
        let cnonce = self.random.token(16);
        let flow = self.first_flow(key).ok_or(Cause::Unreachable)?;
        let listener = self.listener(flow.realm).ok_or(Cause::Unreachable)?;
        let extensions = self.invite_headers(key);
        let leg = self.legs.get_mut(key).ok_or(Cause::Failed)?;
        let State::Calling(calling) = &mut leg.state else { return Err(Cause::Failed) };
        calling.cseq += u32::from(!same);
        if let Some(credentials) = leg.credentials.as_ref().filter(|_| !same) {
            let request = digest::Request { method: "INVITE", uri: &calling.uri, body: &calling.offer };
            calling.authorization = leg.keys.authorise(credentials, request, &cnonce);
        } else if let Some(line) = leg.line.as_mut().filter(|line| line.phone.is_none()) {
            calling.authorization = std::mem::take(&mut line.pass);
        }
        let mut headers = vec![(Name::Allow, ALLOW), (Name::AllowEvents, EVENTS)];
        headers.extend(borrowed(&extensions));
        let breadth = calling.breadth.map(|breadth| breadth.to_string());
        headers.extend(breadth.as_deref().map(|breadth| (MAX_BREADTH, breadth)));
        let names = leg.names.value();
        headers.push((session_id::NAME, &*names));
        let domain = self.config.trunks.get(usize::from(leg.trunk.0)).map_or("", |trunk| &trunk.domain);
        let referral = calling.referral.as_deref();
        let by = referral.and_then(|it| refer::referred_by(it.by.as_ref()?, domain));
        let replaces = referral.and_then(|it| it.replaces.as_ref()).map(refer::replaces);
        headers.extend(by.iter().map(|by| (Name::ReferredBy, &**by)));
        if let Some(replaces) = &replaces {
            headers.extend([(Name::Replaces, &**replaces), (Name::Require, "replaces")]);
        }
        headers.extend(calling.data.iter().map(|(name, value)| (Name::parse(name), &**value)));
        let draft = Draft {
            method: Method::Invite,
            uri: &calling.uri,
            transport: flow.transport,
            sent_by: listener.sent_by(flow.transport),
            branch: &branch,
            routes: &[],
            from: &leg.local,
            to: &calling.to,
            call_id: &leg.call_id,
            cseq: calling.cseq,
            hops: calling.hops,
            contact: Some(&leg.contact),
            authorization: &calling.authorization,
            headers: &headers,
            user_agent: &self.config.user_agent,
            content: &calling.content,
            body: (!calling.offer.is_empty()).then_some(&calling.offer),
        };
        let Some(bytes) = draft.write() else {
            self.counters.refused_writes += 1;
            return Err(Cause::Failed);
        };
        let owner = Owner::Leg(key, Purpose::Invite);
        let begun =
            self.begin(now, flow, (&branch, Method::Invite), bytes, owner).ok_or(Cause::Overloaded)?;
        let leg = self.legs.get_mut(key).ok_or(Cause::Failed)?;
        leg.open += 1;
        if let State::Calling(calling) = &mut leg.state {
            calling.invite = Some(begun);
        }
        let patience = self.invite_patience(key);
        self.arm(now, key, Tick::Deadline, patience);
        Ok(())
    }

    pub(super) fn on_invite_response(
        &mut self,
        now: Now,
        flow: Flow,
        (key, id): (LegKey, ClientId),
        message: &Message<'_>,
        code: u16,
    ) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let current = leg.calling().is_some_and(|calling| calling.invite == Some(id));
        if current {
            self.on_heard(key, code);
        }
        match code {
            200..=299 if current => self.on_success(now, (key, id), message),
            // A fork that answers after another did, or after all was over.
            200..=299 => self.on_late_answer(now, (key, id), message),
            _ if !current => {}
            100..=199 => self.on_provisional(now, key, message, code),
            401 | 407 => self.on_challenge(now, flow, key, message, code),
            421 => self.on_extension_required(now, key, message),
            422 => self.on_too_short(now, key, message),
            300..=302 => self.on_redirected(key, message, code),
            // Section 21.5.4, and section 4.3 of RFC 3263.
            503 if self.fail_over(now, key, Fault::Busy(retry_after(message))) => {}
            _ => {
                let Some(trunk) = self.legs.get(key).map(|leg| leg.trunk) else { return };
                let reason = self.trunk_policy(trunk).map(|policy| policy.reasons.of_response(message, code));
                self.finish(key, Some(reason.unwrap_or(Reason::from_code(code))));
            }
        }
    }

    fn on_challenge(&mut self, now: Now, flow: Flow, key: LegKey, message: &Message<'_>, code: u16) {
        let Some(calling) = self.legs.get_mut(key).and_then(Leg::calling) else { return };
        let (tries, wanted) = (calling.tries, calling.cancel == Cancel::No);
        calling.tries += 1;
        let again =
            wanted && self.learn(key, flow, message, tries) && self.send_invite(now, key, false).is_ok();
        if again {
            return;
        }
        if wanted && self.pass_challenge(now, key, (message, code), flow.remote.ip()) {
            self.disarm(key, Tick::Deadline);
            if let Some(calling) = self.legs.get_mut(key).and_then(Leg::calling) {
                calling.invite = None;
            }
            return;
        }
        self.finish(key, Some(Reason::from_code(code)));
    }

    /// Our session timer is too short for somebody on the way: the same call, with a longer one (RFC 4028 section 7.3).
    fn on_too_short(&mut self, now: Now, key: LegKey, message: &Message<'_>) {
        let Some(calling) = self.legs.get_mut(key).and_then(Leg::calling) else { return };
        let wanted = calling.cancel == Cancel::No && calling.tries < 3;
        calling.tries += 1;
        if !(wanted && self.raise(key, message) && self.send_invite(now, key, false).is_ok()) {
            self.finish(key, Some(Reason::from_code(422)));
        }
    }

    /// What the far side requires of us is done, where we know how (RFC 3261 section 21.4.15).
    fn on_extension_required(&mut self, now: Now, key: LegKey, message: &Message<'_>) {
        let known = message.values(Name::Require).all(|option| option.eq_ignore_ascii_case("100rel"));
        let Some(calling) = self.legs.get_mut(key).and_then(Leg::calling) else { return };
        let wanted = known && calling.cancel == Cancel::No && !calling.reliable;
        calling.reliable = true;
        if !(wanted && self.send_invite(now, key, false).is_ok()) {
            self.finish(key, Some(Reason::from_code(421)));
        }
    }

    /// The dialog of a response, made where it is new. Answers may make some more than early dialogs: each must be
    /// acknowledged and ended.
    fn fork_of(&mut self, key: LegKey, message: &Message<'_>) -> Option<usize> {
        let answers = if message.code().is_some_and(|code| code >= 200) { LATE_ANSWERS } else { 0 };
        let cap = self.config.caps.forks + answers;
        let leg = self.legs.get_mut(key)?;
        let tag = message.to().ok()?.tag().unwrap_or("");
        if let Some(fork) = leg.dialog_of(tag) {
            return Some(fork);
        }
        if leg.dialogs.len() >= cap {
            self.counters.full_forks += 1;
            return None;
        }
        let (cseq, uri) = match &leg.state {
            State::Calling(calling) => (calling.cseq, calling.uri.clone()),
            State::Up(up) => (up.invite_seq, leg.dialogs.get(leg.main)?.target.clone()),
            _ => (
                message.cseq().ok()?.number,
                leg.dialogs.first().map(|d| d.target.clone()).unwrap_or_default(),
            ),
        };
        leg.dialogs.push(Dialog::from_response(message, cseq, &uri));
        Some(leg.dialogs.len() - 1)
    }

    fn on_provisional(&mut self, now: Now, key: LegKey, message: &Message<'_>, code: u16) {
        self.disarm(key, Tick::Deadline);
        let Some(leg) = self.legs.get_mut(key) else { return };
        let id = leg.id;
        match leg.calling().map(|calling| calling.cancel) {
            Some(Cancel::Wanted) => return self.send_cancel(now, key),
            Some(Cancel::No) => {}
            _ => return,
        }
        let tagged = message.to().is_ok_and(|to| to.tag().is_some());
        let body = Body::read(message).session();
        let late = leg.calling().is_some_and(|calling| calling.late);
        // Only a reliable one holds an offer (RFC 3262 section 5).
        let body = body.filter(|_| !late || reliable::is_reliable(message));
        let fork = if tagged && code > 100 {
            let Some(fork) = self.fork_of(key, message) else { return };
            let settled = self.legs.get(key).is_some_and(|leg| leg.dialogs[fork].settled);
            let offer = late && body.is_some() && !settled;
            if !self.acknowledge_provisional(now, (key, fork), message, offer) {
                return;
            }
            if let Some(leg) = self.legs.get_mut(key) {
                leg.able.learn(message);
                leg.dialogs[fork].offered |= offer;
                leg.dialogs[fork].settled |= !late && body.is_some() && reliable::is_reliable(message);
                leg.dialogs[fork].ended |= code == 199;
            }
            self.tell_gate(key, fork, message);
            fork
        } else {
            0
        };
        // A description that can't be read makes no early media; the final answer decides.
        self.tell(Event::Progress { leg: id, fork: Fork(fork as u16), code, answer: body });
    }

    /// What the called side says of early media (RFC 5009), where the trunk is of our trust domain.
    pub(super) fn tell_gate(&mut self, key: LegKey, fork: usize, message: &Message<'_>) {
        let Some(leg) = self.legs.get(key) else { return };
        let trusted = self.config.trunks.get(usize::from(leg.trunk.0)).is_some_and(|trunk| trunk.early_media);
        if let (Some(open), true) = (reliable::gate(message), trusted) {
            self.tell(Event::Gate { leg: leg.id, fork: Fork(fork as u16), open });
        }
    }

    fn on_success(&mut self, now: Now, (key, id): (LegKey, ClientId), message: &Message<'_>) {
        let cancelled = self.legs.get_mut(key).and_then(Leg::calling).is_some_and(|c| c.cancel != Cancel::No);
        let fork = self.fork_of(key, message);
        let Some(leg) = self.legs.get_mut(key) else { return };
        let (leg_id, Some(fork)) = (leg.id, fork) else {
            return self.finish(key, Some(Reason::from(Cause::Failed)));
        };
        leg.main = fork;
        leg.dialogs[fork].confirm(message);
        leg.dialogs[fork].ended = false;
        let settled = leg.dialogs[fork].settled;
        let Some(calling) = leg.calling() else { return };
        let (cseq, authorization) = (calling.cseq, std::mem::take(&mut calling.authorization));
        let (offer, late) = (std::mem::take(&mut calling.offer), calling.late && !settled);
        let content = std::mem::take(&mut calling.content);
        leg.state = State::Up(Up::new(cseq, authorization.clone()));
        self.disarm(key, Tick::Deadline);
        self.disarm(key, Tick::Ring);
        let body = Body::read(message);
        let offered = late && !cancelled && matches!(body, Body::Session(_));
        if offered {
            // Our answer goes into the ACK.
            if let Some(up) = self.legs.get_mut(key).and_then(Leg::up) {
                up.late = Some(id);
            }
        } else {
            self.send_ack(key, fork, Acknowledged { id, cseq, authorization: &authorization, body: None });
        }
        if cancelled {
            self.counters.late_answers += 1;
            return self.hang_up(now, key, None);
        }
        self.hear_timer(now, key, message);
        let offer = multipart::description(&content, &offer);
        if !offer.is_empty() {
            self.keep_standing(key, offer);
        }
        match body {
            Body::Broken | Body::Foreign => self.hang_up(now, key, Some(Reason::from(Cause::NotAcceptable))),
            Body::None if late => self.hang_up(now, key, Some(Reason::from(Cause::NotAcceptable))),
            body => {
                let answer = body.session();
                self.tell(Event::Answered { leg: leg_id, fork: Fork(fork as u16), answer });
            }
        }
    }

    /// The call machine's answer to the offer in their 2xx: it goes into the ACK. False where none waits.
    pub(super) fn answer_late(&mut self, now: Now, key: LegKey, answer: &Session) -> bool {
        let Some(leg) = self.legs.get_mut(key) else { return false };
        let main = leg.main;
        let Some(up) = leg.up() else { return false };
        let Some(id) = up.late.take() else { return false };
        let (cseq, authorization) = (up.invite_seq, up.authorization.clone());
        let answer = body::write(answer);
        self.send_ack(
            key,
            main,
            Acknowledged { id, cseq, authorization: &authorization, body: Some(&answer) },
        );
        self.keep_standing(key, &answer);
        let queued = self.legs.get_mut(key).and_then(Leg::up).and_then(|up| up.queued.take());
        if let Some(offer) = queued {
            self.send_offer(now, key, offer, 0);
        }
        true
    }

    /// Acknowledges a 2xx whose offer is not answered, before BYE.
    pub(super) fn refuse_late(&mut self, key: LegKey) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let main = leg.main;
        let Some(up) = leg.up() else { return };
        let Some(id) = up.late.take() else { return };
        let (cseq, authorization) = (up.invite_seq, up.authorization.clone());
        self.send_ack(key, main, Acknowledged { id, cseq, authorization: &authorization, body: None });
    }

    /// ACK and BYE for an answer that nobody waits for.
    pub(super) fn on_late_answer(&mut self, now: Now, (key, id): (LegKey, ClientId), message: &Message<'_>) {
        let Some(fork) = self.fork_of(key, message) else { return };
        let Some(leg) = self.legs.get_mut(key) else { return };
        let main = leg.main == fork;
        if leg.up().is_some_and(|up| up.late == Some(id) && main) {
            // The same again, while our answer is being made.
            return;
        }
        self.counters.late_answers += 1;
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let authorization = leg.up().map(|up| up.authorization.clone()).unwrap_or_default();
        leg.dialogs[fork].confirm(message);
        self.send_ack(key, fork, Acknowledged { id, cseq, authorization: &authorization, body: None });
        self.send_bye(now, key, fork);
    }

    /// The ACK of a 2xx: a request of its own in the dialog (section 13.2.2.4), with the INVITE's authorization.
    pub(super) fn send_ack(&mut self, key: LegKey, fork: usize, ack: Acknowledged<'_>) {
        let branch = home::branch(self.shard, &mut self.random);
        let headers: Vec<_> =
            ack.authorization.iter().map(|(name, value)| (Name::parse(name), value.as_str())).collect();
        let ask = Ask {
            method: Method::Ack,
            purpose: Purpose::Aside,
            headers: &headers,
            content: SDP,
            body: ack.body,
        };
        let Some(written) = self.draft(key, fork, ack.cseq, &branch, &ask) else { return };
        let Some(tag) =
            self.legs.get(key).and_then(|leg| leg.dialogs.get(fork)).map(|d| d.remote_tag.clone())
        else {
            return;
        };
        self.table.acknowledge(ack.id, &tag, written.flow, written.bytes, &mut self.out);
        if let (Some(name), Some(trunk)) = (written.name, self.legs.get(key).map(|leg| leg.trunk)) {
            self.hold(&name, Some(ack.id), trunk);
        }
    }

    /// Gives up our INVITE: CANCEL now, or once a provisional response allows it (section 9.1).
    pub(super) fn give_up(&mut self, now: Now, key: LegKey) {
        self.forget(key, None);
        self.disarm(key, Tick::Deadline);
        self.disarm(key, Tick::Ring);
        let Some(calling) = self.legs.get_mut(key).and_then(Leg::calling) else { return };
        if calling.cancel != Cancel::No {
            return;
        }
        if calling.invite.is_none() {
            // It waits for a phone's credentials: nothing is under way.
            return self.finish(key, None);
        }
        calling.cancel = Cancel::Wanted;
        if calling.invite.is_some_and(|invite| self.table.is_proceeding(invite)) {
            self.send_cancel(now, key);
        }
    }

    fn send_cancel(&mut self, now: Now, key: LegKey) {
        let Some(calling) = self.legs.get_mut(key).and_then(Leg::calling) else { return };
        calling.cancel = Cancel::Sent;
        if let Some(invite) = calling.invite {
            self.cancel(now, key, invite);
        }
    }

    /// Sends CANCEL for an INVITE of ours, and bounds how long its final response is waited for.
    pub(super) fn cancel(&mut self, now: Now, key: LegKey, invite: ClientId) {
        let Some((flow, request)) = self.table.asked(invite) else { return };
        let why = self.legs.get(key).and_then(|leg| leg.why.as_deref());
        let reason: Vec<_> = why.map(|why| (Name::Reason, why)).into_iter().collect();
        let bytes = write::companion(request, Method::Cancel, None, &reason);
        let branch = Message::parse(request).ok().and_then(|m| Some(m.via().ok()?.branch()?.to_owned()));
        self.table.bound(now, invite);
        let (Some(bytes), Some(branch)) = (bytes, branch) else { return };
        let owner = Owner::Leg(key, Purpose::Aside);
        let begun = self.table.begin(now, flow, (&branch, Method::Cancel), bytes, owner, &mut self.out);
        match (begun, self.legs.get_mut(key)) {
            (Some(_), Some(leg)) => leg.open += 1,
            _ => self.counters.full_transactions += 1,
        }
    }

    /// Nothing came by the trunk's deadline, or no answer while it rang.
    pub(super) fn on_patience(&mut self, now: Now, key: LegKey, tick: Tick) {
        if tick == Tick::Deadline {
            let invite = self.legs.get_mut(key).and_then(Leg::calling).and_then(|calling| calling.invite);
            if invite.is_some_and(|invite| self.by_datagram(now, invite)) {
                let patience = self.invite_patience(key);
                return self.arm(now, key, Tick::Deadline, patience);
            }
            if self.fail_over(now, key, Fault::Silent) {
                return;
            }
        }
        let Some(leg) = self.legs.get_mut(key) else { return };
        match &leg.state {
            State::Calling(_) => {
                let silent = tick == Tick::Deadline;
                let cause = if silent { Cause::Unreachable } else { Cause::NoAnswer };
                self.forget(key, Some(Reason::from(cause)));
                self.give_up(now, key);
            }
            State::Up(_) => {
                if let Change::Offering(offering) = &leg.change
                    && !offering.update
                {
                    let client = offering.client;
                    self.cancel(now, key, client);
                }
            }
            State::Ringing(_) | State::Over => {}
        }
    }

    /// A request of ours got no final response, or could not be sent.
    pub(super) fn on_silence(&mut self, now: Now, key: LegKey, purpose: Purpose) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        if purpose == Purpose::Invite && leg.calling().is_some() {
            let phone = leg.phone().is_some();
            if !self.fail_over(now, key, Fault::Silent) {
                let reason = if phone { FLOW_FAILED } else { Reason::from(Cause::Unreachable) };
                self.finish(key, Some(reason));
            }
            return;
        }
        match (purpose, &leg.state) {
            (Purpose::Bye(_), _) => {
                self.end_bye(now, key);
            }
            // 64*T1 without an answer ends the dialog (section 12.2.1.2).
            (Purpose::Inform, _) => self.on_inform_silence(now, key),
            (Purpose::Refer, _) => self.on_refer_silence(key),
            (Purpose::Notify(last), _) => {
                let flow = leg.flow;
                self.on_notify_response(now, flow, (key, last), None, 408);
            }
            (Purpose::Update, State::Ringing(_)) => {
                let id = leg.id;
                leg.change = Change::Idle;
                self.tell(Event::Refused { leg: id, reason: Reason::from_code(408) });
            }
            (Purpose::Reinvite | Purpose::Update, State::Up(_)) => {
                self.hang_up(now, key, Some(Reason::new(Cause::Unreachable, 408)));
            }
            _ => {}
        }
    }

    /// The leg ends in the midst of a change: answers what of theirs waits for the call machine (section 15.1.2), and
    /// waits for the answer to ours no longer than for that to a cancelled one.
    pub(super) fn drop_change(&mut self, now: Now, key: LegKey) {
        self.refuse_late(key);
        let Some(leg) = self.legs.get_mut(key) else { return };
        match std::mem::replace(&mut leg.change, Change::Idle) {
            Change::Offered(offered) => self.respond(now, offered.server, 487, &[], None),
            Change::Offering(offering) => self.table.bound(now, offering.client),
            Change::Idle | Change::Backoff(_) => {}
        }
    }
}
