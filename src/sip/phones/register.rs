//! REGISTER of phones, passed on to their server with a contact of ours (RFC 3261 section 10).
//!
//! A phone behind UDP is told a short expiry. What it sends in between is answered here, where it comes by the flow that
//! it is registered on; the server hears of it as often as the expiry that it granted wants.

use super::super::inbound::Request;
use super::super::stack::Owner;
use super::super::transaction::{ServerId, keys};
use super::super::write::{ALLOW, Draft, Headers};
use super::super::{Credentials, Flow, Stack, Transport, digest, home};
use super::guard::Verdict;
use super::relay;
use super::table::{Binding, PhoneKey, State, way};
use crate::base::{Key, Now, ShardId};
use crate::leg::Account;
use sip_codec::{Address, Escaped, Message, Method, Name, NameAddr};
use std::sync::Arc;
use std::time::Duration;

keys! {
    /// A REGISTER that waits for the server.
    AskKey;
}

/// Where neither phone nor server says how long (RFC 3261 section 10.3).
const EXPIRES: u32 = 3_600;
/// Longest expiry that is passed on.
const LONGEST: u32 = 86_400;
/// Contacts in one REGISTER.
const CONTACTS: usize = 4;
/// How much later than it was told a phone may come back: the time that a lost REGISTER takes to be sent again.
pub(super) const GRACE: Duration = Duration::from_secs(32);

/// A REGISTER that waits for the server.
#[derive(Debug)]
pub(in crate::sip) struct Asking {
    /// The phone's own request; none where the gateway ends a registration by itself.
    server: Option<ServerId>,
    /// By which it came.
    flow: Flow,
    /// Its Call-ID.
    call_id: String,
    uri: String,
    record: String,
    account: Option<Account>,
    credentials: Option<Arc<Credentials>>,
    keys: digest::Keys,
    tries: u8,
    /// Credentials that pass as they are.
    pass: relay::Passed,
    upstream: (String, String),
    /// The contacts that it is about; all of the user's where `star`.
    contacts: Vec<Asked>,
    star: bool,
}

/// One contact of a REGISTER that waits.
#[derive(Debug)]
struct Asked {
    phone: PhoneKey,
    /// As the phone writes it, with the parameters that are the server's business.
    uri: String,
    params: String,
    /// Seconds that it asks for.
    expires: u32,
}

/// A contact as a phone writes it.
struct Wanted {
    name: Box<str>,
    uri: String,
    params: String,
    expires: u32,
}

/// What tells a phone from others of its user: its instance (RFC 5626 section 4.1), else its contact.
fn wanted(contact: &NameAddr<'_>, record: &str, all: u32) -> Wanted {
    let instance = contact.params.value("+sip.instance");
    let dropped = ["expires", "reg-id", "pub-gruu", "temp-gruu", "temp-gruu-cookie"];
    let mut params = String::new();
    for param in
        contact.params.into_iter().filter(|p| !dropped.iter().any(|d| p.name.eq_ignore_ascii_case(d)))
    {
        params.push(';');
        params.push_str(param.name);
        if let Some(value) = param.value {
            params.push('=');
            params.push_str(value);
        }
    }
    Wanted {
        name: match (instance, contact.params.value("reg-id")) {
            (Some(instance), flow) => format!("{record}|{instance}|{}", flow.unwrap_or("")).into(),
            (None, _) => format!("{record}|{}", contact.uri).into(),
        },
        uri: contact.uri.to_owned(),
        params,
        expires: contact.expires().unwrap_or(all).min(LONGEST),
    }
}

/// `user@domain` of an address of record in one of these domains.
fn record(address: &NameAddr<'_>, domains: &[String]) -> Option<String> {
    let uri = address.uri().ok().filter(sip_codec::Uri::is_sip)?;
    let host = uri.host?.to_string().to_ascii_lowercase();
    let user = uri.user.filter(|user| !user.is_empty())?;
    domains.contains(&host).then(|| format!("{user}@{host}"))
}

impl Stack {
    /// A request outside dialogs from an address that belongs to no trunk.
    pub(in crate::sip) fn on_guest(&mut self, now: Now, request: &Request<'_, '_>) {
        let config = self.config.clone();
        let admitted = config.phones.as_ref().filter(|p| p.transports.contains(&request.flow.transport));
        let Some(phones) = admitted else { return self.rebuff(now, request) };
        if request.method == Method::Register {
            return self.on_phone_register(now, request, phones);
        }
        let known = self.is_phone(&request.flow);
        match request.method {
            _ if !known => self.rebuff(now, request),
            Method::Invite => self.on_phone_invite(now, request, phones),
            Method::Options => self.on_options(request),
            Method::Bye | Method::Update | Method::Info | Method::Prack | Method::Notify => {
                self.refuse(request, 481, &[]);
            }
            _ => self.refuse_method(request),
        }
    }

    fn on_phone_register(&mut self, now: Now, request: &Request<'_, '_>, phones: &super::Phones) {
        let (message, flow) = (request.message, request.flow);
        let stranger = !self.is_phone(&flow);
        if stranger {
            let caps = super::super::Caps { rebuffs: phones.pace, ..self.config.caps };
            if !self.phones.strikes.may_answer(now, flow.remote.ip(), &caps) {
                self.counters.phones_throttled += 1;
                return;
            }
        }
        let to = message.to().ok().and_then(|to| record(&to, &phones.domains));
        let here = message.uri().ok().and_then(|uri| uri.host).map(|host| host.to_string());
        let here = here.is_some_and(|host| phones.domains.contains(&host.to_ascii_lowercase()));
        let (Some(record), true) = (to, here) else {
            self.counters.strangers += 1;
            return self.refuse(request, 403, &[]);
        };
        if self.is_unsupported(request) {
            return;
        }
        let account = match self.held(now, request, phones, &record) {
            Ok(account) => account,
            Err(stale) => return self.challenge(now, request, 401, stale),
        };
        let all = message.number(Name::Expires).ok().flatten().unwrap_or(EXPIRES);
        let star = message.is_contact_star();
        let contacts: Vec<_> = if star { Vec::new() } else { message.addresses(Name::Contact).collect() };
        let sound =
            contacts.iter().all(|contact| matches!(contact, Ok(c) if c.uri().is_ok_and(|u| u.is_sip())));
        if !sound || contacts.len() > CONTACTS || (star && all != 0) {
            return self.refuse(request, 400, &[]);
        }
        let wanted: Vec<_> = contacts.iter().flatten().map(|c| wanted(c, &record, all)).collect();
        if self.answer_refresh(now, request, phones, &wanted) {
            return;
        }
        self.pass_register(now, request, (record, account), (&wanted, star));
    }

    /// The user whose secret we hold, where this is one and proves it. `Err`: ask for the password; true where only the
    /// nonce was old.
    pub(super) fn held(
        &mut self,
        now: Now,
        request: &Request<'_, '_>,
        phones: &super::Phones,
        record: &str,
    ) -> Result<Option<Account>, bool> {
        let user = record.split('@').next().and_then(sip_codec::unescape).unwrap_or_default();
        let account = Account::from(&*user);
        let Some(password) = phones.users.get(&account) else { return Ok(None) };
        let realm = phones.domains.first().map_or("", String::as_str);
        let source = request.flow.remote.ip();
        match self.phones.guard.judge(now, request.message, (realm, source), (&user, password)) {
            Verdict::Right => Ok(Some(account)),
            Verdict::Stale => Err(true),
            Verdict::Wrong => {
                self.counters.phones_unauthorised += 1;
                if !relay::credentials(request.message).is_empty() {
                    self.strike(now, &request.flow);
                }
                Err(false)
            }
        }
    }

    /// Asks a user for the password.
    pub(super) fn challenge(&mut self, now: Now, request: &Request<'_, '_>, code: u16, stale: bool) {
        let realm = self.config.phones.as_ref().and_then(|phones| phones.domains.first().cloned());
        let source = request.flow.remote.ip();
        let values = self.phones.guard.challenges(now, &realm.unwrap_or_default(), source, stale);
        let name = if code == 401 { Name::WwwAuthenticate } else { Name::ProxyAuthenticate };
        let headers: Vec<_> = values.iter().map(|value| (name, value.as_str())).collect();
        if request.method == Method::Register {
            // Without one: whoever has shown nothing yet must not fill a table that trunks' calls share.
            return self.answer_statelessly(request, code, &headers);
        }
        // With a transaction, so that an INVITE's ACK finds it and a repeated request the same nonce.
        self.reply(now, request, code, &headers);
    }

    /// Seconds that a phone is told of those that the server granted.
    fn told(&self, flow: &Flow, granted: u32) -> u32 {
        let most = self.config.phones.as_ref().map_or(granted, |p| p.udp_expires.as_secs() as u32);
        if flow.transport == Transport::Udp { granted.min(most) } else { granted }
    }

    /// Answers a REGISTER that tells nothing new, while the server's own expiry is not half over. True where it did.
    fn answer_refresh(
        &mut self,
        now: Now,
        request: &Request<'_, '_>,
        phones: &super::Phones,
        wanted: &[Wanted],
    ) -> bool {
        let (flow, call_id) = (way(&request.flow), request.message.call_id().unwrap_or_default());
        let mut contacts = Vec::new();
        for want in wanted {
            let Some(key) = self.phones.of_name(&want.name) else { return false };
            let Some(binding) = self.phones.get(key) else { return false };
            let left = binding.until.saturating_duration_since(now.instant);
            let same = binding.state == State::Bound
                && way(&binding.flow) == flow
                && binding.call_id == call_id
                && binding.contact == want.uri
                && want.expires > 0;
            if !same || left < Duration::from_secs(binding.granted.into()) / 2 {
                return false;
            }
            let told = self.told(&request.flow, want.expires).min(left.as_secs() as u32);
            contacts.push((key, told, format!("<{}>;expires={told}", binding.contact)));
        }
        if contacts.is_empty() {
            return false;
        }
        self.counters.phone_refreshes += 1;
        for (key, told, _) in &contacts {
            self.note_told(now, *key, *told, phones);
        }
        let contact = contacts.into_iter().map(|(_, _, text)| text).collect::<Vec<_>>().join(", ");
        self.answer_statelessly(request, 200, &[(Name::Contact, &contact)]);
        true
    }

    /// A phone must come back by then, and is reminded of until then.
    fn note_told(&mut self, now: Now, key: PhoneKey, told: u32, phones: &super::Phones) {
        let Some(binding) = self.phones.get_mut(key) else { return };
        binding.lapse = now.instant + Duration::from_secs(told.into()) + GRACE;
        let (lapse, udp) = (binding.lapse, binding.flow.transport == Transport::Udp);
        let at = if udp { lapse.min(now.instant + phones.keepalive) } else { lapse };
        self.phones.arm(key, Some(at));
    }

    fn pass_register(
        &mut self,
        now: Now,
        request: &Request<'_, '_>,
        (record, account): (String, Option<Account>),
        (wanted, star): (&[Wanted], bool),
    ) {
        let tag = home::tag(self.shard, &mut self.random);
        let Some(server) = self.serve(request, &tag) else { return };
        let mut contacts = Vec::new();
        for want in wanted {
            let place = (record.as_str(), account.as_ref());
            match self.binding_of(now, request, want, place) {
                Some(phone) => contacts.push(Asked {
                    phone,
                    uri: want.uri.clone(),
                    params: want.params.clone(),
                    expires: want.expires,
                }),
                None if want.expires == 0 => {}
                None => {
                    self.counters.full_phones += 1;
                    self.drop_new(&contacts);
                    return self.respond(now, server, 503, &[(Name::RetryAfter, "60")], None);
                }
            }
        }
        let known =
            contacts.first().and_then(|asked| self.phones.get(asked.phone)).map(|b| b.upstream.clone());
        let upstream = known.unwrap_or_else(|| (self.random.token(24), self.random.token(16)));
        let credentials =
            account.as_ref().and_then(|account| self.config.accounts.get(account)).map(|held| {
                Arc::new(Credentials { user: held.auth_user.clone(), password: held.password.clone() })
            });
        let asking = Asking {
            server: Some(server),
            flow: request.flow,
            call_id: request.message.call_id().unwrap_or_default().to_owned(),
            uri: request.message.request_uri().unwrap_or_default().to_owned(),
            record,
            pass: if credentials.is_none() { relay::credentials(request.message) } else { Vec::new() },
            account,
            credentials,
            keys: digest::Keys::default(),
            tries: 0,
            upstream,
            contacts,
            star,
        };
        self.begin_asking(now, asking);
    }

    fn begin_asking(&mut self, now: Now, asking: Asking) {
        self.counters.phone_registers += 1;
        match self.phones.asking.insert(asking) {
            Ok(key) => {
                if !self.send_asking(now, key) {
                    self.end_asking(now, key, 503, &[(Name::RetryAfter, "10")]);
                }
            }
            Err(asking) => {
                self.counters.full_phones += 1;
                self.drop_new(&asking.contacts);
                if let Some(server) = asking.server {
                    self.respond(now, server, 503, &[(Name::RetryAfter, "10")], None);
                }
            }
        }
    }

    /// The place of a contact, made where it is new and is to stay.
    fn binding_of(
        &mut self,
        now: Now,
        request: &Request<'_, '_>,
        want: &Wanted,
        (record, account): (&str, Option<&Account>),
    ) -> Option<PhoneKey> {
        let known = self.phones.of_name(&want.name);
        if known.is_some() || want.expires == 0 {
            return known;
        }
        let token = home::phone(self.shard, &mut self.random);
        let names = (token.into(), want.name.clone());
        let mut binding = Binding::new(now, names, request.flow, &mut self.random);
        record.clone_into(&mut binding.record);
        binding.account = account.cloned();
        binding.contact.clone_from(&want.uri);
        self.phones.insert(binding)
    }

    /// Removes those that the server never said yes to, unless another request of theirs is still under way.
    fn drop_new(&mut self, contacts: &[Asked]) {
        for key in contacts.iter().map(|asked| asked.phone) {
            if self.phones.get(key).is_none_or(|binding| binding.state != State::New) {
                continue;
            }
            let is_about = |asking: &Asking| asking.contacts.iter().any(|asked| asked.phone == key);
            let waits = self.phones.asking.iter().any(|(_, other)| is_about(other));
            if !waits {
                self.phones.remove(key);
            }
        }
    }

    fn send_asking(&mut self, now: Now, key: AskKey) -> bool {
        let (branch, cnonce) = (home::branch(self.shard, &mut self.random), self.random.token(16));
        let config = self.config.clone();
        let Some(trunk_id) = config.phones.as_ref().map(|phones| phones.trunk) else { return false };
        let Some(trunk) = config.trunks.get(usize::from(trunk_id.0)) else { return false };
        let Some(listener) = self.listener(trunk.realm) else { return false };
        let hop = self.favourite(now, trunk_id);
        let Some(flow) = hop.and_then(|hop| self.reach(trunk.realm, &hop, Some(trunk_id))) else {
            return false;
        };
        self.phones.cseq += 1;
        let cseq = self.phones.cseq;
        let contact: Vec<String> = match self.phones.asking.get(key) {
            Some(asking) if asking.star => vec!["*".to_owned()],
            Some(asking) => asking
                .contacts
                .iter()
                .filter_map(|Asked { phone, params, expires, .. }| {
                    let token = &self.phones.get(*phone)?.token;
                    let contact = listener.contact(token, flow.transport, false);
                    Some(format!("{contact}{params};expires={expires}"))
                })
                .collect(),
            None => return false,
        };
        let Some(asking) = self.phones.asking.get_mut(key) else { return false };
        let contact = contact.join(", ");
        // A user whose secret we hold is known to the server by the name of the configuration.
        let held = asking.account.as_ref().and_then(|account| config.accounts.get(account));
        let uri = held.map_or_else(|| asking.uri.clone(), |_| format!("sip:{}", trunk.domain));
        let record = held.map_or_else(
            || format!("sip:{}", asking.record),
            |held| format!("sip:{}@{}", Escaped(&held.user), trunk.domain),
        );
        let to = Address { display: "", uri: &record, tag: None }.to_string();
        let from = Address { display: "", uri: &record, tag: Some(&asking.upstream.1) }.to_string();
        let authorization = match &asking.credentials {
            Some(credentials) => {
                let request = digest::Request { method: "REGISTER", uri: &uri, body: b"" };
                asking.keys.authorise(credentials, request, &cnonce)
            }
            None => asking.pass.clone(),
        };
        let expires = [(Name::Expires, "0")];
        let allow = [(Name::Allow, ALLOW)];
        let draft = Draft {
            method: Method::Register,
            uri: &uri,
            transport: flow.transport,
            sent_by: listener.sent_by(flow.transport),
            branch: &branch,
            routes: &[],
            from: &from,
            to: &to,
            call_id: &asking.upstream.0,
            cseq,
            hops: 70,
            contact: (!contact.is_empty()).then_some(&*contact),
            authorization: &authorization,
            headers: if asking.star { &expires } else { &allow },
            user_agent: &self.config.user_agent,
            content: "",
            body: None,
        };
        let Some(bytes) = draft.write() else {
            self.counters.refused_writes += 1;
            return false;
        };
        let owner = Owner::Phone(key);
        let begun = self.table.begin(now, flow, (&branch, Method::Register), bytes, owner, &mut self.out);
        self.counters.full_transactions += u64::from(begun.is_none());
        begun.is_some()
    }

    /// The server's answer to a phone's REGISTER.
    pub(in crate::sip) fn on_asking_response(
        &mut self,
        now: Now,
        flow: Flow,
        key: AskKey,
        (message, code): (&Message<'_>, u16),
    ) {
        if code < 200 {
            return;
        }
        if let 401 | 407 = code {
            return self.on_asking_challenge(now, flow, key, (message, code));
        }
        if code >= 300 {
            // Not Warning: it names the server's host.
            let kept = [Name::MinExpires, Name::RetryAfter];
            let headers = relay::copied(message, &kept);
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            return self.end_asking(now, key, code, &headers);
        }
        self.on_asked(now, key, message);
    }

    fn on_asking_challenge(
        &mut self,
        now: Now,
        flow: Flow,
        key: AskKey,
        (message, code): (&Message<'_>, u16),
    ) {
        self.counters.challenges += 1;
        let trunk = self.config.phones.as_ref().and_then(|p| self.config.trunks.get(usize::from(p.trunk.0)));
        let trunk_id = self.config.phones.as_ref().map(|phones| phones.trunk);
        let trusted = trunk_id.is_some_and(|trunk| self.is_source(trunk, flow.remote.ip()));
        let realm = trunk.and_then(|trunk| trunk.digest_realm.clone());
        let Some(asking) = self.phones.asking.get_mut(key) else { return };
        let tries = asking.tries;
        asking.tries = tries.saturating_add(1);
        if asking.credentials.is_some() {
            let worth = asking.keys.learn(digest::challenges(message), realm.as_deref(), tries);
            if trusted && worth && self.send_asking(now, key) {
                return;
            }
            // Not the phone's fault, which has proved who it is.
            return self.end_asking(now, key, 403, &[]);
        }
        let headers = if trusted { relay::challenges(message) } else { Vec::new() };
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let code = if headers.is_empty() { 403 } else { code };
        self.counters.challenges_passed += u64::from(code != 403);
        self.end_asking(now, key, code, &headers);
    }

    /// The server took it.
    fn on_asked(&mut self, now: Now, key: AskKey, message: &Message<'_>) {
        let config = self.config.clone();
        let (Some(asking), Some(phones)) = (self.phones.asking.remove(key), &config.phones) else { return };
        let all = message.number(Name::Expires).ok().flatten();
        let mut told = Vec::new();
        for &Asked { phone, expires: asked, .. } in &asking.contacts {
            let Some(binding) = self.phones.get(phone) else { continue };
            let granted = if asked == 0 { 0 } else { granted(message, &binding.token, all.unwrap_or(asked)) };
            if granted == 0 {
                self.phones.remove(phone);
                continue;
            }
            let seconds = self.told(&asking.flow, granted);
            self.bind(now, phone, &asking, granted);
            self.note_told(now, phone, seconds, phones);
            let contact = self.phones.get(phone).map(|b| b.contact.clone()).unwrap_or_default();
            told.push((seconds, format!("<{contact}>;expires={seconds}")));
        }
        if asking.star {
            let gone: Vec<_> = self
                .phones
                .on_flow(&asking.flow)
                .filter(|(_, binding)| binding.record == asking.record)
                .map(|(key, _)| key)
                .collect();
            for key in gone {
                self.phones.remove(key);
            }
        }
        if asking.contacts.is_empty() && !asking.star {
            // A question: what of the answer is this phone's own.
            told.extend(self.phones.on_flow(&asking.flow).filter(|(_, b)| b.record == asking.record).map(
                |(_, binding)| {
                    let seconds = binding.lapse.saturating_duration_since(now.instant + GRACE).as_secs();
                    (seconds as u32, format!("<{}>;expires={seconds}", binding.contact))
                },
            ));
        }
        let Some(server) = asking.server else { return };
        let contact = told.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join(", ");
        let expires = told.iter().map(|(seconds, _)| *seconds).min().map(|seconds| seconds.to_string());
        let mut headers = Vec::new();
        if let Some(expires) = &expires {
            headers.extend([(Name::Contact, &*contact), (Name::Expires, &**expires)]);
        }
        self.respond(now, server, 200, &headers, None);
    }

    /// The server holds our contact for this phone.
    fn bind(&mut self, now: Now, key: PhoneKey, asking: &Asking, granted: u32) {
        let was = self.phones.get(key).map(|binding| binding.state);
        if was == Some(State::Lost) {
            // It is on no flow, until it moves to its new one.
            self.counters.phones_found += 1;
        }
        let moved = self.phones.move_to(key, asking.flow);
        let Some(binding) = self.phones.get_mut(key) else { return };
        binding.state = State::Bound;
        if let Some(asked) = asking.contacts.iter().find(|asked| asked.phone == key) {
            binding.contact.clone_from(&asked.uri);
            binding.params.clone_from(&asked.params);
        }
        binding.call_id.clone_from(&asking.call_id);
        (binding.granted, binding.until) = (granted, now.instant + Duration::from_secs(granted.into()));
        binding.open = asking.credentials.is_none() && asking.pass.is_empty();
        if moved {
            self.follow(key, asking.flow);
        }
    }

    /// The server refused, or is silent.
    fn end_asking(&mut self, now: Now, key: AskKey, code: u16, headers: Headers<'_>) {
        let Some(asking) = self.phones.asking.remove(key) else { return };
        self.drop_new(&asking.contacts);
        if let Some(server) = asking.server {
            self.respond(now, server, code, headers, None);
        }
    }

    pub(in crate::sip) fn on_asking_silence(&mut self, now: Now, key: AskKey) {
        self.counters.timeouts += 1;
        self.end_asking(now, key, 504, &[]);
    }

    /// Ends a registration at the server where we may: it took the phone's word without credentials, or we hold them.
    pub(super) fn leave(&mut self, now: Now, key: PhoneKey) -> bool {
        let Some(binding) = self.phones.get(key) else { return false };
        if !binding.open && binding.account.is_none() {
            return false;
        }
        let domain = binding.record.split_once('@').map_or("", |(_, domain)| domain);
        let credentials = binding.account.as_ref().and_then(|a| self.config.accounts.get(a)).map(|held| {
            Arc::new(Credentials { user: held.auth_user.clone(), password: held.password.clone() })
        });
        let asking = Asking {
            server: None,
            flow: binding.flow,
            call_id: String::new(),
            uri: format!("sip:{domain}"),
            record: binding.record.clone(),
            account: binding.account.clone(),
            credentials,
            keys: digest::Keys::default(),
            tries: 0,
            pass: Vec::new(),
            upstream: binding.upstream.clone(),
            contacts: vec![Asked {
                phone: key,
                uri: binding.contact.clone(),
                params: binding.params.clone(),
                expires: 0,
            }],
            star: false,
        };
        self.begin_asking(now, asking);
        true
    }
}

/// The seconds granted to our contact among those of the user's other devices; nothing where it is not among them.
fn granted(message: &Message<'_>, token: &str, all: u32) -> u32 {
    let mut contacts = message.addresses(Name::Contact).filter_map(Result::ok);
    let ours = contacts.find(|contact| contact.uri().is_ok_and(|uri| uri.user == Some(token)));
    match ours {
        Some(contact) => contact.expires().unwrap_or(all),
        // One that lists none at all is believed.
        None if message.header(Name::Contact).is_none() => all,
        None => 0,
    }
}
