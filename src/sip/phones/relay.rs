//! Calls of phones whose credentials are the server's business: a challenge goes to the phone as it is, and what the phone
//! sends to meet it goes on as the same call.

use super::super::inbound::Request;
use super::super::leg::{Change, Leg, LegKey, State, Tick};
use super::super::stack::Owner;
use super::super::transaction::ServerId;
use super::super::{Stack, home};
use super::table::{PhoneKey, way};
use crate::base::Now;
use crate::leg::{Cause, Reason};
use crate::sip::leg::Purpose;
use crate::sip::rules::unfolded;
use sip_codec::{Challenge, Message, Name, NameAddr};
use std::fmt::Write as _;
use std::time::Duration;

/// Header names and values of credentials.
pub(in crate::sip) type Passed = Vec<(&'static str, String)>;

/// How long a phone has to come back with credentials.
const PATIENCE: Duration = Duration::from_secs(32);
/// How often one request may be challenged: for a few realms on the way, and old nonces of each.
const ROUNDS: u8 = 8;
/// Credentials in one request.
const MOST: usize = 4;

/// What a leg has to do with phones.
#[derive(Debug, Default)]
pub(in crate::sip) struct Line {
    /// The far party is this phone.
    pub phone: Option<PhoneKey>,
    /// Its secret is held: nothing is passed on.
    pub held: bool,
    /// The leg that it is joined to.
    pub partner: Option<LegKey>,
    /// Request-URI of the phone's INVITE, which its credentials sign.
    pub uri: String,
    /// Credentials that the phone sent, for our next request.
    pub pass: Passed,
    /// The phone's BYE that waits for the other party's answer to ours.
    pub bye: Option<ServerId>,
    /// The phone's request was challenged, and it has not come back.
    pub waits: bool,
    /// How often it was challenged.
    pub rounds: u8,
}

/// The credentials of a request.
pub(in crate::sip) fn credentials(message: &Message<'_>) -> Passed {
    let names = [(Name::Authorization, "Authorization"), (Name::ProxyAuthorization, "Proxy-Authorization")];
    let all =
        names.into_iter().flat_map(|(name, text)| message.headers(name).map(move |value| (text, value)));
    all.take(MOST).map(|(name, value)| (name, unfolded(value))).collect()
}

/// Headers of a response that pass as they are.
pub(super) fn copied<'a>(message: &Message<'_>, names: &[Name<'a>]) -> Vec<(Name<'a>, String)> {
    let values = |name: &Name<'a>| message.headers(*name).map(unfolded).map(|value| (*name, value)).collect();
    names.iter().flat_map(|name| -> Vec<_> { values(name) }).take(8).collect()
}

/// The challenges of a 401 or 407, as the phone gets them: `auth-int` is struck out, as descriptions are rewritten.
pub(super) fn challenges(message: &Message<'_>) -> Vec<(Name<'static>, String)> {
    let headers = copied(message, &[Name::WwwAuthenticate, Name::ProxyAuthenticate]);
    headers.into_iter().map(|(name, value)| (name, without_integrity(value))).collect()
}

fn without_integrity(value: String) -> String {
    let Ok(challenge) = Challenge::parse(&value) else { return value };
    if !challenge.is_digest() || !challenge.offers_qop("auth-int") {
        return value;
    }
    let mut out = String::from("Digest");
    let mut between = ' ';
    for param in challenge.params {
        let text = param.value.unwrap_or_default();
        let mut kept = String::new();
        if param.name.eq_ignore_ascii_case("qop") {
            let list = param.text();
            let rest: Vec<_> =
                list.split(',').map(str::trim).filter(|q| !q.eq_ignore_ascii_case("auth-int")).collect();
            if rest.is_empty() {
                continue;
            }
            let _ = write!(kept, "\"{}\"", rest.join(","));
        } else {
            kept.push_str(text);
        }
        let _ = write!(out, "{between}{}={kept}", param.name);
        between = ',';
    }
    out
}

impl Leg {
    /// What it has to do with phones, made where it was nothing.
    pub fn line(&mut self) -> &mut Line {
        self.line.get_or_insert_with(Box::default)
    }

    /// The phone that it leads to.
    pub fn phone(&self) -> Option<PhoneKey> {
        self.line.as_ref()?.phone
    }
}

impl Stack {
    /// A phone calls.
    pub(super) fn on_phone_invite(&mut self, now: Now, request: &Request<'_, '_>, phones: &super::Phones) {
        if self.is_unsupported(request) {
            return;
        }
        let Ok(from) = request.message.from() else { return self.refuse(request, 400, &[]) };
        let Some((phone, record, account)) = self.caller(request, &from) else {
            return self.refuse(request, 403, &[]);
        };
        if account.is_some() {
            match self.held(now, request, phones, &record) {
                Ok(_) => {}
                Err(stale) => return self.challenge(now, request, 407, stale),
            }
        } else if self.on_retry(now, request) {
            return;
        }
        self.on_invite(now, request, phones.trunk, Some((phone, account.is_some())));
    }

    /// The phone that calls: of those on this flow the one that `from` names, or any where the caller is anonymous.
    fn caller(
        &self,
        request: &Request<'_, '_>,
        from: &NameAddr<'_>,
    ) -> Option<(PhoneKey, String, Option<crate::leg::Account>)> {
        let uri = from.uri().ok()?;
        let host = uri.host?.to_string().to_ascii_lowercase();
        let record = format!("{}@{host}", uri.user.unwrap_or_default());
        let anonymous = host == "anonymous.invalid";
        let mut here = self.phones.on_flow(&request.flow);
        let (key, binding) = here.find(|(_, binding)| anonymous || binding.record == record)?;
        Some((key, binding.record.clone(), binding.account.clone()))
    }

    /// The same phone's INVITE that was challenged before, now with credentials (or a changed mind: then the first is
    /// over). True where it goes on as the same call.
    fn on_retry(&mut self, now: Now, request: &Request<'_, '_>) -> bool {
        let Some(name) = call_name(request.message) else { return false };
        let Some(key) = self.phones.challenged.remove(&*name) else { return false };
        let Some(leg) = self.legs.get_mut(key) else { return false };
        let (partner, tag) = (leg.line.as_ref().and_then(|line| line.partner), leg.local_tag.clone());
        let same_phone = way(&leg.flow) == way(&request.flow);
        let pass = credentials(request.message);
        let cseq = request.message.cseq().map_or(0, |cseq| cseq.number);
        let (Some(partner), true, true) = (partner, same_phone, leg.ringing().is_some()) else {
            return false;
        };
        let Some(server) = self.serve(request, &tag) else { return true };
        self.respond(now, server, 100, &[], None);
        self.table.own(server, Owner::Leg(key, Purpose::Invite));
        self.disarm(key, Tick::Deadline);
        let Some(leg) = self.legs.get_mut(key) else { return true };
        leg.line().waits = false;
        if let Some(dialog) = leg.dialogs.first_mut() {
            dialog.remote_seq = Some(cseq);
        }
        if let Some(ringing) = leg.ringing() {
            (ringing.server, ringing.cseq) = (server, cseq);
        }
        let Some(other) = self.legs.get_mut(partner) else { return true };
        other.line().pass = pass;
        if let Err(cause) = self.send_invite(now, partner, false) {
            self.finish(partner, Some(Reason::from(cause)));
        }
        true
    }

    /// Our request on `key` was challenged: the phone on whose behalf it went is asked. False where there is none.
    pub(in crate::sip) fn pass_challenge(
        &mut self,
        now: Now,
        key: LegKey,
        (message, code): (&Message<'_>, u16),
        source: std::net::IpAddr,
    ) -> bool {
        let Some((phone, waiting)) = self.asker(key) else { return false };
        let trunk = self.legs.get(key).map(|leg| leg.trunk);
        let headers = challenges(message);
        if headers.is_empty() || trunk.is_none_or(|trunk| !self.is_source(trunk, source)) {
            return false;
        }
        let Some(leg) = self.legs.get_mut(phone) else { return false };
        let line = leg.line();
        if line.rounds >= ROUNDS {
            return false;
        }
        (line.rounds, line.waits) = (line.rounds + 1, true);
        let early = leg.ringing().is_some();
        let name = waiting_name(leg);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.counters.challenges_passed += 1;
        self.respond(now, waiting, code, &headers, None);
        if early {
            self.disarm(phone, Tick::Minute);
            self.phones.challenged.insert(name.into(), phone);
        }
        self.arm(now, phone, Tick::Deadline, PATIENCE);
        true
    }

    /// The phone's leg on whose behalf a leg's request went, and the phone's request.
    fn asker(&self, key: LegKey) -> Option<(LegKey, ServerId)> {
        let asked = self.legs.get(key)?;
        // Another server's challenge is not the phone's to answer.
        if self.config.phones.as_ref().is_none_or(|phones| phones.trunk != asked.trunk) {
            return None;
        }
        let phone = asked.line.as_ref()?.partner?;
        let leg = self.legs.get(phone)?;
        let line = leg.line.as_ref().filter(|line| line.phone.is_some() && !line.held && !line.waits)?;
        let server = match &leg.state {
            State::Ringing(ringing) => ringing.server,
            State::Up(_) => match (&leg.change, line.bye) {
                (_, Some(bye)) => bye,
                (Change::Offered(offered), None) => offered.server,
                _ => return None,
            },
            State::Calling(_) | State::Over => return None,
        };
        Some((phone, server))
    }

    /// The phone did not come back.
    pub(in crate::sip) fn on_no_retry(&mut self, key: LegKey) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        let partner = leg.line().partner;
        let early = leg.ringing().is_some();
        leg.line().waits = early;
        let bye = leg.line().bye.take().is_some();
        match (early, bye) {
            (true, _) => self.finish(key, Some(Reason::from(Cause::Cancelled))),
            (false, true) => self.finish(key, Some(Reason::from(Cause::Hangup))),
            (false, false) => {
                // The change is off; the call goes on as it was.
                if let Some(other) = partner {
                    self.forget_offer(other, 407);
                }
            }
        }
    }

    /// A leg is over: nobody need come back to it.
    pub(in crate::sip) fn forget_challenge(&mut self, key: LegKey) {
        let Some(leg) = self.legs.get(key) else { return };
        if leg.line.as_ref().is_some_and(|line| line.waits) && matches!(leg.state, State::Ringing(_)) {
            let name = waiting_name(leg);
            self.phones.challenged.remove(&*name);
        }
    }

    /// A phone's BYE that waits for an answer need not wait any more.
    pub(in crate::sip) fn answer_bye(&mut self, now: Now, key: LegKey) {
        let line = self.legs.get_mut(key).and_then(|leg| leg.line.as_mut());
        if let Some(bye) = line.and_then(|line| line.bye.take()) {
            self.respond(now, bye, 200, &[], None);
        }
    }

    /// A phone's re-INVITE comes again with credentials. True where it does, and goes on.
    pub(in crate::sip) fn on_change_again(
        &mut self,
        now: Now,
        request: &Request<'_, '_>,
        (key, fork): (LegKey, usize),
    ) -> bool {
        let Some(leg) = self.legs.get_mut(key) else { return false };
        let Some(line) = leg.line.as_mut().filter(|line| line.waits && line.bye.is_none()) else {
            return false;
        };
        let Some(partner) = line.partner else { return false };
        line.waits = false;
        if let Some(dialog) = leg.dialogs.get_mut(fork) {
            dialog.refresh(request.message);
        }
        self.disarm(key, Tick::Deadline);
        let tag = home::tag(self.shard, &mut self.random);
        let Some(server) = self.serve(request, &tag) else { return true };
        self.table.own(server, Owner::Leg(key, Purpose::Invite));
        if request.method == sip_codec::Method::Invite {
            self.respond(now, server, 100, &[], None);
        }
        let cseq = request.message.cseq().map_or(0, |cseq| cseq.number);
        let Some(leg) = self.legs.get_mut(key) else { return true };
        let Change::Offered(offered) = &mut leg.change else { return true };
        (offered.server, offered.cseq) = (server, cseq);
        if let Some(other) = self.legs.get_mut(partner) {
            other.line().pass = credentials(request.message);
            self.offer_again(now, partner);
        }
        true
    }

    /// A phone's request in a dialog: it may come from where its NAT has moved it, and what credentials it has are for
    /// what we send on its behalf.
    pub(in crate::sip) fn note_phone(&mut self, key: LegKey, request: &Request<'_, '_>) {
        if self.config.phones.is_none() {
            return;
        }
        let guest = self.is_guest(&request.flow);
        let Some(leg) = self.legs.get_mut(key).filter(|leg| leg.phone().is_some()) else { return };
        if guest {
            leg.flow = request.flow;
        }
        let line = leg.line();
        let Some(partner) = line.partner.filter(|_| !line.held) else { return };
        let pass = credentials(request.message);
        if let Some(other) = self.legs.get_mut(partner).filter(|_| !pass.is_empty()) {
            other.line().pass = pass;
        }
    }

    /// A phone hangs up, and the server may want to know that it was the phone: it is answered as the server answers. True
    /// where that is waited for.
    pub(in crate::sip) fn on_phone_bye(&mut self, now: Now, request: &Request<'_, '_>, key: LegKey) -> bool {
        let Some(leg) = self.legs.get_mut(key) else { return false };
        let Some(line) = leg.line.as_ref().filter(|line| line.phone.is_some() && !line.held) else {
            return false;
        };
        let Some(partner) = line.partner.filter(|_| matches!(leg.state, State::Up(_))) else { return false };
        let ready = self.legs.get_mut(partner).and_then(Leg::up).is_some_and(|up| up.ack.is_none());
        if !ready {
            return false;
        }
        let tag = home::tag(self.shard, &mut self.random);
        let Some(server) = self.serve(request, &tag) else { return true };
        self.disarm(key, Tick::Deadline);
        if let Some(leg) = self.legs.get_mut(key) {
            let line = leg.line();
            (line.bye, line.waits) = (Some(server), false);
        }
        let Some(main) = self.legs.get(partner).map(|leg| leg.main) else { return true };
        self.drop_change(now, partner);
        if !self.send_bye(now, partner, main) {
            self.end_bye(now, partner);
        }
        true
    }

    /// The other party's last word to the BYE that we sent on behalf of a phone. True where it was one.
    pub(in crate::sip) fn end_bye(&mut self, now: Now, key: LegKey) -> bool {
        let phone = self.legs.get(key).and_then(|leg| leg.line.as_ref()?.partner);
        let Some(phone) = phone else { return false };
        let line = self.legs.get_mut(phone).and_then(|leg| leg.line.as_mut());
        let Some(bye) = line.and_then(|line| line.bye.take()) else { return false };
        self.respond(now, bye, 200, &[], None);
        self.drop_change(now, phone);
        // First the one that the call machine would hang up else.
        self.finish(key, None);
        self.finish(phone, Some(Reason::from(Cause::Hangup)));
        true
    }

    /// Joins a leg to the one that it is dialled for, where a phone is on either.
    pub(in crate::sip) fn link(&mut self, key: LegKey, with: Option<crate::base::LegId>) {
        let Some(other) = with.and_then(|id| self.by_id.get(&id)).copied() else { return };
        let is_phone = |key: LegKey| self.legs.get(key).is_some_and(|leg| leg.phone().is_some());
        if !is_phone(key) && !is_phone(other) {
            return;
        }
        for (one, two) in [(key, other), (other, key)] {
            if let Some(leg) = self.legs.get_mut(one) {
                leg.line().partner = Some(two);
            }
        }
    }

    /// What a phone gave for the INVITE that is about to go out on its behalf: its Request-URI, which its credentials
    /// sign, and those. None where we sign ourselves, or where the phone asks for another than is called.
    pub(in crate::sip) fn inherited(
        &self,
        with: Option<crate::base::LegId>,
        callee: &str,
    ) -> Option<Inherited> {
        let key = *self.by_id.get(&with?)?;
        let leg = self.legs.get(key)?;
        let line = leg.line.as_ref().filter(|line| line.phone.is_some())?;
        let (held, phone) = (line.held, line.phone);
        let asked = sip_codec::Uri::parse(&line.uri).ok().and_then(|uri| Some(uri.user_text()?.into_owned()));
        let same = asked.as_deref().unwrap_or_default() == callee;
        // Kept: the call may be tried at another server.
        let (uri, pass) = (line.uri.clone(), line.pass.clone());
        let binding = self.phones.get(phone?)?;
        let account = binding.account.as_ref();
        let secret = account.filter(|_| held).and_then(|account| self.config.accounts.get(account)).cloned();
        Some(Inherited {
            uri: Some(uri).filter(|_| same && !held),
            pass,
            secret,
            token: binding.token.clone(),
        })
    }
}

/// What an INVITE takes from that of the phone for which it goes out.
pub(in crate::sip) struct Inherited {
    /// The phone's Request-URI.
    pub uri: Option<String>,
    pub pass: Passed,
    /// The user whose secret we hold.
    pub secret: Option<crate::sip::Registration>,
    /// User part of the phone's contact at the server.
    pub token: Box<str>,
}

/// The same of a leg whose INVITE was challenged.
fn waiting_name(leg: &Leg) -> String {
    let tag = leg.dialogs.first().map_or("", |dialog| &*dialog.remote_tag);
    format!("{}|{tag}", leg.call_id)
}

/// What tells a call before it has our tag.
fn call_name(message: &Message<'_>) -> Option<String> {
    Some(format!("{}|{}", message.call_id().ok()?, message.from().ok()?.tag().unwrap_or("")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn challenge(value: &str) -> Vec<(Name<'static>, String)> {
        let text = format!("SIP/2.0 407 Challenge\r\nProxy-Authenticate: {value}\r\n\r\n");
        challenges(&Message::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_challenge_passes_as_it_is() {
        let value =
            "Digest realm=\"a, b\", nonce=\"x\\\"y\",opaque=\"\", qop=\"auth\", algorithm=MD5,stale=FALSE";
        assert_eq!(challenge(value), [(Name::ProxyAuthenticate, value.to_owned())]);
        assert_eq!(challenge("Bearer qop=\"auth-int\"")[0].1, "Bearer qop=\"auth-int\"");
    }

    #[test]
    fn integrity_is_struck_out_and_nothing_else() {
        let all = challenge("Digest realm=\"a, b\", nonce=\"n\", qop=\"auth, auth-int\", algorithm=SHA-256");
        assert_eq!(all[0].1, "Digest realm=\"a, b\",nonce=\"n\",qop=\"auth\",algorithm=SHA-256");
        let alone = challenge("Digest realm=\"r\", qop=\"auth-int\", nonce=\"n\"");
        assert_eq!(alone[0].1, "Digest realm=\"r\",nonce=\"n\"");
    }

    #[test]
    fn credentials_pass_on_one_line() {
        let text =
            "BYE sip:a@b SIP/2.0\r\nAuthorization: Digest a=\"b\",\r\n c=d\r\nProxy-Authorization: x\r\n\r\n";
        let message = Message::parse(text.as_bytes()).unwrap();
        let expected = [("Authorization", "Digest a=\"b\", c=d"), ("Proxy-Authorization", "x")];
        assert_eq!(credentials(&message), expected.map(|(name, value)| (name, value.to_owned())));
    }
}
