//! Requests of users outside of calls: MESSAGE (RFC 3428), and SUBSCRIBE with its notifications (RFC 6665).

use super::dialog::{Addressed, Dialog};
use super::digest;
use super::hop::Place;
use super::inbound::Request;
use super::stack::Owner;
use super::transaction::{ServerId, keys};
use super::uas::party;
use super::write::{ALLOW, Draft};
use super::{Credentials, Flow, Output, Registration, Stack, home};
use crate::base::{Key, Map, Now, Random, ShardId, Slab, TimerId, Wheel};
use crate::leg::{Account, Cause, Identity, MOST_BODY, News, Package, Page, Reason, TrunkId, Watch, passes};
use sip_codec::{Address, Escaped, Host, Message, Method, Name, RetryAfter};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

keys! {
    /// An errand.
    ErrandId;
}

/// Seconds that a subscription is asked for.
const EXPIRES: u32 = 3_600;
/// The longest that a notifier may want.
const LONGEST: u32 = 86_400;
/// How often 423 is met in one attempt.
const TOO_BRIEF: u8 = 2;
/// Before a subscription that ended by itself is tried again.
const PAUSE: Duration = Duration::from_secs(30);
/// And at most.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// A MESSAGE that waits for its final response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Receipt(ServerId);

/// Which request of an errand.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ErrandKey {
    id: ErrandId,
    turn: u32,
}

#[derive(Debug)]
struct Errand {
    account: Account,
    trunk: TrunkId,
    /// User part of the address of record.
    user: String,
    credentials: Option<Arc<Credentials>>,
    keys: digest::Keys,
    call_id: String,
    tag: Box<str>,
    cseq: u32,
    turn: u32,
    tries: u8,
    what: What,
    timer: Option<TimerId>,
}

#[derive(Debug)]
enum What {
    Page { page: Page, receipt: u64 },
    Watch(Box<Watching>),
}

#[derive(Debug)]
struct Watching {
    number: u64,
    watch: Watch,
    state: State,
    expires: u32,
    brief: u8,
    /// Made by the first NOTIFY or 2xx; another fork's is refused (RFC 6665 section 4.4.1).
    dialog: Option<Dialog>,
    failures: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// SUBSCRIBE is out.
    Asking,
    /// It was taken: news come until the next refresh.
    Active,
    /// It ended, and is tried again later.
    Waiting,
    /// SUBSCRIBE with no duration is out.
    Leaving,
}

/// A user at its own host, else at `domain`.
fn uri_at(user: &str, host: &str, domain: &str) -> String {
    let clean: String = user.chars().filter(|c| !c.is_control()).collect();
    let host = if Host::parse(host).is_some() { host } else { domain };
    format!("sip:{}@{host}", Escaped(&clean))
}

impl Errand {
    /// The next request: its method, where it goes, and what To says.
    fn address(&self, domain: &str) -> (Method<'static>, Addressed, String) {
        let (method, uri) = match &self.what {
            What::Page { page, .. } => (Method::Message, uri_at(&page.party.user, &page.party.host, domain)),
            What::Watch(watching) => {
                if let Some(dialog) = &watching.dialog {
                    return (Method::Subscribe, dialog.address(), dialog.remote.clone());
                }
                let target = &watching.watch.target;
                let user = if target.is_empty() { &self.user } else { target };
                (Method::Subscribe, uri_at(user, "", domain))
            }
        };
        let to = Address { display: "", uri: &uri, tag: None }.to_string();
        (method, Addressed { uri, routes: Vec::new(), place: Place::default(), target: None }, to)
    }
}

/// All errands of a shard.
#[derive(Debug)]
pub(super) struct Errands {
    entries: Slab<ErrandId, Errand>,
    by_number: Map<u64, ErrandId>,
    by_tag: Map<Box<str>, ErrandId>,
    wheel: Wheel<ErrandId>,
}

impl Errands {
    pub fn new(shard: ShardId, cap: usize) -> Self {
        Errands {
            entries: Slab::new(shard, cap),
            by_number: Map::default(),
            by_tag: Map::default(),
            wheel: Wheel::default(),
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn next(&self) -> Option<Instant> {
        self.wheel.next()
    }

    pub fn expire(&mut self, now: Now) -> Option<ErrandId> {
        let id = self.wheel.expire(now.instant)?;
        if let Some(entry) = self.entries.get_mut(id) {
            entry.timer = None;
        }
        Some(id)
    }

    pub fn check_invariants(&self) {
        assert_eq!(self.by_tag.len(), self.entries.len());
        assert!(self.by_number.len() <= self.entries.len());
        assert!(self.wheel.len() <= self.entries.len());
    }

    fn arm(&mut self, now: Now, id: ErrandId, after: Option<Duration>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if let Some(timer) = entry.timer.take() {
            self.wheel.cancel(timer);
        }
        entry.timer = after.map(|after| self.wheel.insert(now.instant + after, id));
    }

    fn remove(&mut self, now: Now, id: ErrandId) -> Option<Errand> {
        self.arm(now, id, None);
        let entry = self.entries.remove(id)?;
        self.by_tag.remove(&entry.tag);
        if let What::Watch(watching) = &entry.what
            && self.by_number.get(&watching.number) == Some(&id)
        {
            self.by_number.remove(&watching.number);
        }
        Some(entry)
    }

    fn watching(&mut self, id: ErrandId) -> Option<&mut Watching> {
        match &mut self.entries.get_mut(id)?.what {
            What::Watch(watching) => Some(watching),
            What::Page { .. } => None,
        }
    }
}

/// Seconds until a subscription of that many seconds is refreshed.
fn refresh_after(seconds: u32, random: &mut Random) -> Duration {
    let percent = 800 + random.below(101) as u32;
    (Duration::from_secs(seconds.into()) * percent / 1000).max(Duration::from_secs(1))
}

impl Stack {
    /// A user's errand at a trunk. `None` where there are too many.
    fn begin_errand(
        &mut self,
        account: &Account,
        identity: Option<&Identity>,
        trunk: TrunkId,
        what: What,
    ) -> Option<ErrandId> {
        let configured = || self.config.accounts.get(account).map(Registration::identity);
        let identity = identity.cloned().or_else(configured).filter(|it| it.trunk == trunk);
        let known = || {
            let Identity { auth_user, secret, .. } = identity.clone()?;
            Some(Arc::new(Credentials { user: auth_user, password: secret? }))
        };
        let own = || self.config.trunks.get(usize::from(trunk.0))?.credentials.clone().map(Arc::new);
        let credentials = self.registrations.credentials(account, trunk).or_else(known).or_else(own);
        let entry = Errand {
            account: account.clone(),
            trunk,
            user: identity.map_or_else(|| account.name().to_owned(), |identity| identity.user),
            credentials,
            keys: digest::Keys::default(),
            call_id: self.random.token(24),
            tag: home::tag(self.shard, &mut self.random).into(),
            cseq: 0,
            turn: 0,
            tries: 0,
            what,
            timer: None,
        };
        let tag = entry.tag.clone();
        let Ok(id) = self.errands.entries.insert(entry) else {
            self.counters.full_errands += 1;
            return None;
        };
        self.errands.by_tag.insert(tag, id);
        Some(id)
    }

    /// A user sends a text.
    pub(super) fn on_page(
        &mut self,
        now: Now,
        page: Page,
        identity: Option<&Identity>,
        trunk: TrunkId,
        receipt: u64,
    ) {
        let account = page.account.clone();
        let begun = self.begin_errand(&account, identity, trunk, What::Page { page, receipt });
        match begun {
            Some(id) if self.send_errand(now, id) => {}
            Some(id) => {
                self.errands.remove(now, id);
                self.paged(receipt, Err(Cause::Unreachable.into()));
            }
            None => self.paged(receipt, Err(Cause::Overloaded.into())),
        }
    }

    fn paged(&mut self, receipt: u64, outcome: Result<(), Reason>) {
        self.out.push_back(Output::Paged { receipt, outcome });
    }

    /// A user wants to be told of something.
    pub(super) fn on_watch(
        &mut self,
        now: Now,
        watch: Watch,
        identity: Option<&Identity>,
        trunk: TrunkId,
        number: u64,
    ) {
        let account = watch.account.clone();
        let watching = Watching {
            number,
            watch,
            state: State::Asking,
            expires: EXPIRES,
            brief: 0,
            dialog: None,
            failures: 0,
        };
        match self.begin_errand(&account, identity, trunk, What::Watch(Box::new(watching))) {
            Some(id) => {
                self.errands.by_number.insert(number, id);
                self.subscribe(now, id);
            }
            None => self.out.push_back(Output::Watched { number, news: News::Over("overloaded") }),
        }
    }

    /// It wants to be told of it no more.
    pub(super) fn on_unwatch(&mut self, now: Now, number: u64) {
        let Some(id) = self.errands.by_number.remove(&number) else { return };
        let Some(watching) = self.errands.watching(id) else { return };
        let bound = watching.state != State::Waiting;
        watching.state = State::Leaving;
        self.errands.arm(now, id, None);
        if !bound || !self.send_errand(now, id) {
            self.errands.remove(now, id);
        }
    }

    fn subscribe(&mut self, now: Now, id: ErrandId) {
        let Some(entry) = self.errands.entries.get_mut(id) else { return };
        entry.tries = 0;
        if let What::Watch(watching) = &mut entry.what {
            (watching.state, watching.brief) = (State::Asking, 0);
        }
        self.errands.arm(now, id, None);
        if !self.send_errand(now, id) {
            self.retry_watch(now, id, None);
        }
    }

    /// Tries it again later, from the beginning.
    fn retry_watch(&mut self, now: Now, id: ErrandId, at_least: Option<Duration>) {
        let (call_id, tag) = (self.random.token(24), home::tag(self.shard, &mut self.random));
        let Some(entry) = self.errands.entries.get_mut(id) else { return };
        let What::Watch(watching) = &mut entry.what else { return };
        if watching.state == State::Leaving {
            self.errands.remove(now, id);
            return;
        }
        watching.failures += 1;
        (watching.state, watching.dialog) = (State::Waiting, None);
        let wait = (PAUSE * 2_u32.saturating_pow(watching.failures.min(8) - 1)).min(LONGEST_PAUSE);
        let wait = wait + wait * (self.random.below(200) as u32) / 1_000;
        entry.call_id = call_id;
        entry.cseq = 0;
        let old = std::mem::replace(&mut entry.tag, tag.as_str().into());
        self.errands.by_tag.remove(&old);
        self.errands.by_tag.insert(tag.into(), id);
        let wait = at_least.map_or(wait, |least| least.min(LONGEST_PAUSE));
        self.errands.arm(now, id, Some(wait));
    }

    /// It is over for good.
    fn end_watch(&mut self, now: Now, id: ErrandId, why: &'static str) {
        let Some(entry) = self.errands.remove(now, id) else { return };
        if let What::Watch(watching) = entry.what
            && watching.state != State::Leaving
        {
            self.out.push_back(Output::Watched { number: watching.number, news: News::Over(why) });
        }
    }

    pub(super) fn on_errand_due(&mut self, now: Now, id: ErrandId) {
        self.subscribe(now, id);
    }

    fn send_errand(&mut self, now: Now, id: ErrandId) -> bool {
        let (branch, cnonce) = (home::branch(self.shard, &mut self.random), self.random.token(16));
        let config = self.config.clone();
        let Some(trunk_id) = self.errands.entries.get(id).map(|entry| entry.trunk) else { return false };
        let Some(trunk) = config.trunks.get(usize::from(trunk_id.0)) else { return false };
        let Some(listener) = self.listener(trunk.realm) else { return false };
        let hop = self.favourite(now, trunk_id);
        let Some(mut flow) = hop.and_then(|hop| self.reach(trunk.realm, &hop, Some(trunk_id))) else {
            return false;
        };
        let Some(entry) = self.errands.entries.get(id) else { return false };
        let (method, Addressed { uri, routes, place, .. }, target) = entry.address(&trunk.domain);
        let near = |to: &SocketAddr| to.is_ipv4() == flow.remote.is_ipv4();
        // Over a stream it goes by the connection to the trunk.
        let to = place.address.filter(near).filter(|_| !flow.transport.is_stream());
        flow.remote = to.unwrap_or(flow.remote);
        let is_source = self.is_source(trunk_id, flow.remote.ip());
        let Some(entry) = self.errands.entries.get_mut(id) else { return false };
        let own = uri_at(&entry.user, "", &trunk.domain);
        let from = Address { display: "", uri: &own, tag: Some(&entry.tag) }.to_string();
        let contact =
            listener.contact(&Escaped(&home::user(&entry.account)).to_string(), flow.transport, false);
        let mut headers = vec![(Name::Allow, ALLOW)];
        let (mut kind, mut body, mut seconds) = ("", None, String::new());
        match &entry.what {
            What::Page { page, .. } => (kind, body) = (&page.kind, Some(page.text.as_bytes())),
            What::Watch(watching) => {
                let leaving = watching.state == State::Leaving;
                seconds = if leaving { 0 } else { watching.expires }.to_string();
                headers.push((Name::Event, watching.watch.package.name()));
                headers.push((Name::Accept, watching.watch.package.kind()));
            }
        }
        if !seconds.is_empty() {
            headers.push((Name::Expires, &seconds));
        }
        entry.cseq += 1;
        entry.turn += 1;
        let request = digest::Request { method: method.as_str(), uri: &uri, body: body.unwrap_or_default() };
        let authorization = match &entry.credentials {
            Some(credentials) if is_source => entry.keys.authorise(credentials, request, &cnonce),
            _ => Vec::new(),
        };
        let draft = Draft {
            method,
            uri: &uri,
            transport: flow.transport,
            sent_by: listener.sent_by(flow.transport),
            branch: &branch,
            routes: &routes,
            from: &from,
            to: &target,
            call_id: &entry.call_id,
            cseq: entry.cseq,
            hops: 70,
            contact: (method == Method::Subscribe).then_some(&*contact),
            authorization: &authorization,
            headers: &headers,
            user_agent: &config.user_agent,
            content: kind,
            body,
        };
        let Some(bytes) = draft.write() else {
            self.counters.refused_writes += 1;
            return false;
        };
        let owner = Owner::Errand(ErrandKey { id, turn: entry.turn });
        self.begin(now, flow, (&branch, method), bytes, owner).is_some()
    }

    pub(super) fn on_errand_response(
        &mut self,
        now: Now,
        flow: Flow,
        key: ErrandKey,
        message: &Message<'_>,
        code: u16,
    ) {
        if code < 200 {
            return;
        }
        let Some(trunk_id) = self.errands.entries.get(key.id).map(|entry| entry.trunk) else { return };
        let is_source = self.is_source(trunk_id, flow.remote.ip());
        let Some(entry) = self.errands.entries.get_mut(key.id).filter(|entry| entry.turn == key.turn) else {
            return;
        };
        if matches!(code, 401 | 407) {
            self.counters.challenges += 1;
            let tries = entry.tries;
            entry.tries += 1;
            let trunk = self.config.trunks.get(usize::from(entry.trunk.0));
            let realm = trunk.and_then(|trunk| trunk.digest_realm.as_deref());
            let worth = entry.credentials.is_some()
                && is_source
                && entry.keys.learn(digest::challenges(message), realm, tries);
            if worth && self.send_errand(now, key.id) {
                return;
            }
        }
        let Some(entry) = self.errands.entries.get_mut(key.id) else { return };
        if let What::Page { receipt, .. } = entry.what {
            self.errands.remove(now, key.id);
            let outcome = if code < 300 { Ok(()) } else { Err(Reason::from_code(code)) };
            return self.paged(receipt, outcome);
        }
        let cseq = entry.cseq;
        let Some(watching) = self.errands.watching(key.id) else { return };
        let wait = message.header(Name::RetryAfter).and_then(|value| RetryAfter::parse(value).ok());
        let wait = wait.map(|wait| Duration::from_secs(wait.seconds.into()));
        match code {
            _ if watching.state == State::Leaving => {
                self.errands.remove(now, key.id);
            }
            200..=299 => {
                if watching.dialog.is_none() {
                    watching.dialog = Some(Dialog::from_response(message, cseq, ""));
                }
                watching.state = State::Active;
                watching.failures = 0;
                let granted = message.number(Name::Expires).ok().flatten().unwrap_or(watching.expires);
                let after = refresh_after(granted.clamp(1, LONGEST), &mut self.random);
                self.errands.arm(now, key.id, Some(after));
            }
            423 => {
                let least = message.number(Name::MinExpires).ok().flatten().unwrap_or(0);
                watching.brief += 1;
                let sound = least > watching.expires && least <= LONGEST && watching.brief <= TOO_BRIEF;
                watching.expires = if sound { least } else { watching.expires };
                if !sound || !self.send_errand(now, key.id) {
                    self.retry_watch(now, key.id, wait);
                }
            }
            // They know this subscription no more: a new one may do (RFC 6665 section 4.1.2.2).
            481 if watching.dialog.is_some() => self.retry_watch(now, key.id, Some(Duration::from_secs(1))),
            489 => self.end_watch(now, key.id, "not_supported"),
            401 | 403 | 407 | 603 => self.end_watch(now, key.id, "forbidden"),
            404 | 405 | 410 | 501 | 604 => self.end_watch(now, key.id, "not_found"),
            _ => self.retry_watch(now, key.id, wait),
        }
    }

    pub(super) fn on_errand_silence(&mut self, now: Now, key: ErrandKey) {
        let Some(entry) = self.errands.entries.get(key.id).filter(|entry| entry.turn == key.turn) else {
            return;
        };
        self.counters.timeouts += 1;
        if let What::Page { receipt, .. } = entry.what {
            self.errands.remove(now, key.id);
            return self.paged(receipt, Err(Reason::from_code(408)));
        }
        self.retry_watch(now, key.id, None);
    }

    /// NOTIFY that belongs to no call. True where it was one of a subscription.
    pub(super) fn on_watch_notify(&mut self, now: Now, request: &Request<'_, '_>) -> bool {
        let message = request.message;
        let (Ok(to), Ok(from)) = (message.to(), message.from()) else { return false };
        let Some(&id) = to.tag().and_then(|tag| self.errands.by_tag.get(tag)) else { return false };
        let Some(entry) = self.errands.entries.get(id) else { return false };
        let (trunk, call_id) = (entry.trunk, entry.call_id.clone());
        if !self.is_source(trunk, request.flow.remote.ip()) || message.call_id().ok() != Some(&call_id) {
            return false;
        }
        let Some(watching) = self.errands.watching(id) else { return false };
        let event = message.header(Name::Event).unwrap_or_default();
        if Package::named(event.split(';').next().unwrap_or_default().trim()) != Some(watching.watch.package)
        {
            self.reply(now, request, 489, &[(Name::AllowEvents, super::inform::EVENTS)]);
            return true;
        }
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let tag = from.tag().unwrap_or_default();
        match &mut watching.dialog {
            // It may come before the response to our SUBSCRIBE; another fork's is refused.
            Some(dialog) if *dialog.remote_tag != *tag => {
                self.reply(now, request, 481, &[]);
                return true;
            }
            Some(dialog) => {
                if !dialog.is_in_order(cseq, Method::Notify) {
                    self.reply(now, request, 500, &[]);
                    return true;
                }
                dialog.refresh(message);
            }
            None => watching.dialog = Some(Dialog::from_request(message, &from)),
        }
        let number = watching.number;
        self.reply(now, request, 200, &[]);
        if let Some((kind, text)) = told(message) {
            self.counters.notified += 1;
            self.out.push_back(Output::Watched { number, news: News::State { kind, text } });
        }
        self.on_subscription_state(now, id, message);
        true
    }

    /// What a NOTIFY says of its subscription (RFC 6665 section 4.1.3).
    fn on_subscription_state(&mut self, now: Now, id: ErrandId, message: &Message<'_>) {
        let state = message.header(Name::SubscriptionState).unwrap_or_default();
        let (word, params) = state.split_at(state.find(';').unwrap_or(state.len()));
        let params = sip_codec::Params::new(params);
        let seconds = |name| params.value(name).and_then(|value| value.parse::<u32>().ok());
        if !word.trim().eq_ignore_ascii_case("terminated") {
            if let Some(seconds) = seconds("expires")
                && self.errands.watching(id).is_some_and(|watching| watching.state == State::Active)
            {
                let after = refresh_after(seconds.clamp(1, LONGEST), &mut self.random);
                self.errands.arm(now, id, Some(after));
            }
            return;
        }
        let wait = seconds("retry-after").map(|seconds| Duration::from_secs(seconds.into()));
        match params.value("reason").unwrap_or_default().to_ascii_lowercase().as_str() {
            "deactivated" | "timeout" => self.retry_watch(now, id, Some(Duration::from_secs(1))),
            "rejected" => self.end_watch(now, id, "forbidden"),
            "noresource" | "invariant" => self.end_watch(now, id, "not_found"),
            _ => self.retry_watch(now, id, wait),
        }
    }

    /// NOTIFY of waiting messages that nobody subscribed to, as many registrars send it.
    pub(super) fn on_unasked_notify(&mut self, now: Now, request: &Request<'_, '_>) {
        let message = request.message;
        let account = message.uri().ok().and_then(|uri| uri.user).and_then(home::account);
        let event = message.header(Name::Event).unwrap_or_default();
        let package = Package::named(event.split(';').next().unwrap_or_default().trim());
        let (Some(account), Some(Package::MessageSummary)) = (account, package) else {
            return self.refuse(request, 481, &[]);
        };
        if self.registrations.trunk(&account) != self.trunk_of(&request.flow) {
            return self.refuse(request, 403, &[]);
        }
        self.reply(now, request, 200, &[]);
        if let Some((kind, text)) = told(message) {
            self.counters.notified += 1;
            self.out.push_back(Output::Waiting { account, kind, text });
        }
    }

    /// MESSAGE outside of a call.
    pub(super) fn on_message_in(&mut self, now: Now, request: &Request<'_, '_>) {
        let message = request.message;
        let Some(account) = message.uri().ok().and_then(|uri| uri.user).and_then(home::account) else {
            return self.reply(now, request, 404, &[]);
        };
        let kind = message.header(Name::ContentType).unwrap_or("text/plain").trim().to_owned();
        let plain = message.values(Name::ContentEncoding).all(|name| name.eq_ignore_ascii_case("identity"));
        let text = std::str::from_utf8(message.body()).ok().filter(|text| !text.contains('\0'));
        let (code, text) = match (text, message.from()) {
            _ if !plain || !passes(&kind) => (415, None),
            _ if message.body().len() > MOST_BODY => (413, None),
            (Some(text), Ok(from)) => (200, Some((text.to_owned(), party(&from)))),
            _ => (400, None),
        };
        let Some((text, from)) = text else {
            return self.reply(now, request, code, &[(Name::Accept, "text/*, application/json")]);
        };
        let tag = home::tag(self.shard, &mut self.random);
        let Some(server) = self.serve(request, &tag) else { return };
        let page = Page { account, party: from, kind, text };
        self.out.push_back(Output::Page { page, receipt: Receipt(server) });
    }

    /// Whether a text was taken by its user.
    pub(super) fn on_taken(&mut self, now: Now, receipt: Receipt, taken: bool) {
        self.respond(now, receipt.0, if taken { 200 } else { 480 }, &[], None);
    }
}

/// What a NOTIFY tells, as text.
fn told(message: &Message<'_>) -> Option<(String, String)> {
    let body = message.body();
    let text = std::str::from_utf8(body).ok().filter(|text| !text.is_empty() && !text.contains('\0'))?;
    let kind = message.header(Name::ContentType).unwrap_or_default().trim();
    let fits =
        body.len() <= MOST_BODY * 4 && kind.len() <= 128 && kind.bytes().all(|b| (0x20..0x7f).contains(&b));
    fits.then(|| (kind.to_owned(), text.to_owned()))
}
