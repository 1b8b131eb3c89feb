//! Registration of accounts upstream (RFC 3261 section 10): refresh, 423, challenges, back-off.

use super::config::{Credentials, Renewal};
use super::failover::{Fault, retry_after};
use super::stack::Owner;
use super::transaction::{ClientId, keys};
use super::write::{ALLOW, Draft};
use super::{Flow, Hop, Output, Registration, Stack, digest, home};
use crate::base::{Key, Map, Now, Random, ShardId, Slab, TimerId, Wheel};
use crate::leg::{Account, Cause, Reason, TrunkId};
use sip_codec::{Address, Escaped, Message, Method, Name, RetryAfter};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

keys! {
    /// A registration.
    RegistrationId;
}

/// A registration and which of its requests is meant: an older one's answer changes nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RegistrationKey {
    id: RegistrationId,
    turn: u32,
}

/// Longest expiry that a registrar may talk us into.
const LONGEST: u32 = 86_400;
/// Registrations move from one server to another so many milliseconds apart.
const MOVE_MS: u64 = 5;
/// How often one attempt may be answered with 423.
const TOO_BRIEF: u8 = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// REGISTER is out.
    Asking,
    /// Bound; a refresh is due.
    Bound,
    /// Failed; the next attempt is due.
    Waiting,
    /// REGISTER with expiry 0 is out.
    Leaving {
        /// It was asked for again meanwhile.
        back: bool,
    },
}

#[derive(Debug)]
struct Entry {
    account: Account,
    trunk: TrunkId,
    /// The server that has, or is asked for, the binding, and those that are tried if nobody is there.
    hop: Option<Hop>,
    rest: Vec<Hop>,
    /// That server said something to this attempt.
    answered: bool,
    /// The REGISTER that is out.
    client: Option<ClientId>,
    user: String,
    credentials: Arc<Credentials>,
    keys: digest::Keys,
    call_id: String,
    tag: String,
    cseq: u32,
    /// Seconds to ask for.
    expires: u32,
    state: State,
    turn: u32,
    /// How often this attempt was challenged, and found too brief.
    tries: u8,
    brief: u8,
    failures: u32,
    /// The registrar may hold a binding.
    bound: bool,
    told: Option<Result<(), Reason>>,
    timer: Option<(TimerId, Instant)>,
}

/// All registrations of a shard.
#[derive(Debug)]
pub(super) struct Registrations {
    entries: Slab<RegistrationId, Entry>,
    by_account: Map<Account, RegistrationId>,
    wheel: Wheel<RegistrationId>,
}

impl Registrations {
    pub fn new(shard: ShardId, cap: usize) -> Self {
        Registrations { entries: Slab::new(shard, cap), by_account: Map::default(), wheel: Wheel::default() }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn next(&self) -> Option<Instant> {
        self.wheel.next()
    }

    pub fn expire(&mut self, now: Now) -> Option<RegistrationId> {
        let id = self.wheel.expire(now.instant)?;
        if let Some(entry) = self.entries.get_mut(id) {
            entry.timer = None;
        }
        Some(id)
    }

    /// The secret with which an account's calls over this trunk are signed.
    pub fn credentials(&self, account: &Account, trunk: TrunkId) -> Option<Arc<Credentials>> {
        let entry = self.entries.get(*self.by_account.get(account)?)?;
        (entry.trunk == trunk).then(|| entry.credentials.clone())
    }

    /// With which trunk an account is registered.
    pub fn trunk(&self, account: &Account) -> Option<TrunkId> {
        self.entries.get(*self.by_account.get(account)?).map(|entry| entry.trunk)
    }

    pub fn check_invariants(&self) {
        assert_eq!(self.entries.len(), self.by_account.len());
    }

    fn arm(&mut self, now: Now, id: RegistrationId, after: Option<Duration>) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        if let Some((timer, _)) = entry.timer.take() {
            self.wheel.cancel(timer);
        }
        let at = after.map(|after| now.instant + after);
        entry.timer = at.map(|at| (self.wheel.insert(at, id), at));
    }

    /// When something is due for it.
    fn due(&self, id: RegistrationId) -> Option<Instant> {
        self.entries.get(id)?.timer.map(|(_, at)| at)
    }

    fn remove(&mut self, now: Now, id: RegistrationId) {
        self.arm(now, id, None);
        if let Some(entry) = self.entries.remove(id) {
            self.by_account.remove(&entry.account);
        }
    }

    /// The entry, unless the answer is to an older request of it.
    fn current(&mut self, key: RegistrationKey) -> Option<&mut Entry> {
        self.entries.get_mut(key.id).filter(|entry| entry.turn == key.turn)
    }
}

/// When a binding of that many seconds is refreshed: at 80 to 90 % of them.
fn refresh_after(seconds: u32, random: &mut Random) -> Duration {
    let percent = 800 + random.below(101) as u32;
    (Duration::from_secs(seconds.into()) * percent / 1000).max(Duration::from_secs(1))
}

/// How long to wait after that many failures in a row.
fn back_off(pace: &Renewal, failures: u32, random: &mut Random) -> Duration {
    let wait = pace.retry * 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let wait = wait.min(pace.retry_max);
    wait + wait * (random.below(200) as u32) / 1000
}

impl Stack {
    pub(super) fn on_register(&mut self, now: Now, registration: Registration) {
        let Registration { account, trunk, user, auth_user, password } = registration;
        let credentials = Credentials { user: auth_user, password };
        if let Some(&id) = self.registrations.by_account.get(&account) {
            return self.on_register_again(now, id, (trunk, user, credentials));
        }
        let entry = Entry {
            account: account.clone(),
            trunk,
            hop: None,
            rest: Vec::new(),
            answered: false,
            client: None,
            user,
            credentials: Arc::new(credentials),
            keys: digest::Keys::default(),
            call_id: self.random.token(24),
            tag: home::tag(self.shard, &mut self.random),
            cseq: 0,
            expires: self.config.registration.expires.as_secs().min(LONGEST.into()) as u32,
            state: State::Asking,
            turn: 0,
            tries: 0,
            brief: 0,
            failures: 0,
            bound: false,
            told: None,
            timer: None,
        };
        let Ok(id) = self.registrations.entries.insert(entry) else {
            self.counters.full_registrations += 1;
            let state = Err(Reason::from(Cause::Overloaded));
            return self.out.push_back(Output::Registered { account, trunk, state });
        };
        self.registrations.by_account.insert(account, id);
        self.attempt(now, id);
    }

    fn on_register_again(
        &mut self,
        now: Now,
        id: RegistrationId,
        (trunk, user, credentials): (TrunkId, String, Credentials),
    ) {
        let Some(entry) = self.registrations.entries.get_mut(id) else { return };
        if entry.trunk == trunk && entry.user == user && *entry.credentials == credentials {
            if let State::Leaving { back } = &mut entry.state {
                *back = true;
                // Who asks anew must hear the outcome, even the same as before.
                entry.told = None;
            } else if let Some(state) = entry.told {
                // A further session of the same user wants to know, too.
                let (account, trunk) = (entry.account.clone(), entry.trunk);
                self.out.push_back(Output::Registered { account, trunk, state });
            }
            return;
        }
        if entry.trunk != trunk {
            entry.call_id = self.random.token(24);
            entry.hop = None;
        }
        (entry.trunk, entry.user, entry.credentials) = (trunk, user, Arc::new(credentials));
        (entry.keys, entry.told, entry.failures) = (digest::Keys::default(), None, 0);
        self.attempt(now, id);
    }

    pub(super) fn on_unregister(&mut self, now: Now, account: &Account) {
        let Some(&id) = self.registrations.by_account.get(account) else { return };
        let Some(entry) = self.registrations.entries.get_mut(id) else { return };
        if !entry.bound && entry.state == State::Waiting {
            return self.registrations.remove(now, id);
        }
        entry.state = State::Leaving { back: false };
        (entry.tries, entry.brief) = (0, 0);
        self.registrations.arm(now, id, None);
        if !self.send_register(now, id) {
            self.registrations.remove(now, id);
        }
    }

    pub(super) fn on_register_due(&mut self, now: Now, id: RegistrationId) {
        let asking =
            self.registrations.entries.get(id).is_some_and(|entry| matches!(entry.state, State::Asking));
        let client = self.registrations.entries.get(id).and_then(|entry| entry.client);
        let trunk = self.registrations.entries.get(id).map_or(TrunkId(0), |entry| entry.trunk);
        if asking && client.is_some_and(|client| self.by_datagram(now, client)) {
            let patience = self.config.trunks.get(usize::from(trunk.0)).map(|trunk| trunk.patience);
            return self.registrations.arm(now, id, patience);
        }
        // The server let its time pass.
        if asking && self.next_registrar(now, id, Fault::Silent) {
            return;
        }
        if !asking {
            self.attempt(now, id);
        }
    }

    /// Begins a new attempt to bind.
    fn attempt(&mut self, now: Now, id: RegistrationId) {
        let Some(entry) = self.registrations.entries.get_mut(id) else { return };
        entry.state = State::Asking;
        (entry.tries, entry.brief, entry.answered) = (0, 0, false);
        let (trunk, kept) = (entry.trunk, entry.hop.clone());
        self.registrations.arm(now, id, None);
        let realm = self.config.trunks.get(usize::from(trunk.0)).map(|trunk| trunk.realm);
        let mut hops = realm.map(|realm| self.order(now, realm, trunk)).unwrap_or_default();
        // A binding stays where it is while that server lives.
        if let Some(kept) = kept.filter(|kept| !self.servers.is_better(now, trunk, kept)) {
            hops.retain(|hop| *hop != kept);
            hops.insert(0, kept);
        }
        hops.reverse();
        let Some(entry) = self.registrations.entries.get_mut(id) else { return };
        entry.hop = hops.pop();
        entry.rest = hops;
        let sent = self.send_register(now, id);
        if !sent && !self.next_registrar(now, id, Fault::Silent) {
            self.failed(now, id, Reason::from(Cause::Unreachable), None);
        }
    }

    /// Asks the next server. False where none is left.
    fn next_registrar(&mut self, now: Now, id: RegistrationId, fault: Fault) -> bool {
        let Some(entry) = self.registrations.entries.get_mut(id) else { return false };
        let (trunk, hop, answered) = (entry.trunk, entry.hop.clone(), entry.answered);
        // Nobody must be bound where nobody was when it mattered.
        if let Some(client) = entry.client.take() {
            self.table.abandon(client, Owner::Registration(RegistrationKey { id, turn: entry.turn }));
        }
        match (hop, fault) {
            (Some(hop), Fault::Busy(Some(wait))) => self.suspect(now, trunk, &hop, Some(wait)),
            (Some(hop), Fault::Silent) if !answered => self.suspect(now, trunk, &hop, None),
            _ => {}
        }
        while let Some(entry) = self.registrations.entries.get_mut(id) {
            let Some(next) = entry.rest.pop() else { return false };
            (entry.hop, entry.tries, entry.answered) = (Some(next), 0, false);
            if self.send_register(now, id) {
                self.counters.failovers += 1;
                return true;
            }
        }
        false
    }

    /// Brings registrations to where they belong since a trunk's servers changed: away from the dead, back from a
    /// standby server, and at once where there was none before. Spread, so that no server is stampeded.
    pub(super) fn move_registrations(&mut self, now: Now, trunk: TrunkId) {
        let usable = self.servers.is_usable(now, trunk);
        let moves = |entry: &Entry| {
            entry.trunk == trunk
                && match entry.state {
                    State::Bound => {
                        entry.hop.as_ref().is_some_and(|hop| self.servers.is_better(now, trunk, hop))
                    }
                    State::Waiting => usable && entry.told == Some(Err(Reason::from(Cause::Unreachable))),
                    State::Asking | State::Leaving { .. } => false,
                }
        };
        let all = self.registrations.entries.iter();
        let ids: Vec<RegistrationId> = all.filter(|(_, entry)| moves(entry)).map(|(id, _)| id).collect();
        let span = (ids.len() as u64 * MOVE_MS).clamp(1_000, 60_000);
        for id in ids {
            let wait = Duration::from_millis(self.random.below(span));
            let sooner = self.registrations.due(id).is_none_or(|due| now.instant + wait < due);
            if sooner {
                self.registrations.arm(now, id, Some(wait));
            }
        }
    }

    fn send_register(&mut self, now: Now, id: RegistrationId) -> bool {
        let (branch, cnonce) = (home::branch(self.shard, &mut self.random), self.random.token(16));
        let config = self.config.clone();
        let Some(trunk_id) = self.registrations.entries.get(id).map(|entry| entry.trunk) else {
            return false;
        };
        let Some(trunk) = config.trunks.get(usize::from(trunk_id.0)) else { return false };
        let Some(listener) = self.listener(trunk.realm) else { return false };
        let hop = self.registrations.entries.get(id).and_then(|entry| entry.hop.clone());
        let Some(flow) = hop.and_then(|hop| self.reach(trunk.realm, &hop, Some(trunk_id))) else {
            return false;
        };
        let Some(entry) = self.registrations.entries.get_mut(id) else { return false };
        let leaving = matches!(entry.state, State::Leaving { .. });
        let expires = if leaving { 0 } else { entry.expires };
        let uri = format!("sip:{}", trunk.domain);
        let record = format!("sip:{}@{}", Escaped(&entry.user), trunk.domain);
        let to = Address { display: "", uri: &record, tag: None }.to_string();
        let from = Address { display: "", uri: &record, tag: Some(&entry.tag) }.to_string();
        let user = home::user(&entry.account);
        let contact = listener.contact(&Escaped(&user).to_string(), flow.transport, false);
        let contact = format!("{contact};expires={expires}");
        let expires = expires.to_string();
        entry.cseq += 1;
        entry.turn += 1;
        let request = digest::Request { method: "REGISTER", uri: &uri, body: b"" };
        let authorization = entry.keys.authorise(&entry.credentials, request, &cnonce);
        let draft = Draft {
            method: Method::Register,
            uri: &uri,
            transport: flow.transport,
            sent_by: listener.sent_by(flow.transport),
            branch: &branch,
            routes: &[],
            from: &from,
            to: &to,
            call_id: &entry.call_id,
            cseq: entry.cseq,
            hops: 70,
            contact: Some(&contact),
            authorization: &authorization,
            headers: &[(Name::Expires, &expires), (Name::Allow, ALLOW)],
            user_agent: &self.config.user_agent,
            content: "",
            body: None,
        };
        let Some(bytes) = draft.write() else {
            self.counters.refused_writes += 1;
            return false;
        };
        let owner = Owner::Registration(RegistrationKey { id, turn: entry.turn });
        entry.bound |= !leaving;
        let hurry = !leaving && !entry.rest.is_empty();
        let begun = self.begin(now, flow, (&branch, Method::Register), bytes, owner);
        if let Some(entry) = self.registrations.entries.get_mut(id) {
            entry.client = begun;
        }
        if begun.is_some() {
            self.registrations.arm(now, id, hurry.then_some(trunk.patience));
        }
        begun.is_some()
    }

    pub(super) fn on_register_response(
        &mut self,
        now: Now,
        flow: Flow,
        key: RegistrationKey,
        message: &Message<'_>,
        code: u16,
    ) {
        let Some(entry) = self.registrations.current(key) else { return };
        entry.answered = true;
        let (id, trunk_id) = (key.id, entry.trunk);
        if matches!(entry.state, State::Asking) {
            // Whoever says anything has all the time that its transaction gives it.
            self.registrations.arm(now, id, None);
        }
        if code < 200 {
            return;
        }
        let is_source = self.is_source(trunk_id, flow.remote.ip());
        let Some(entry) = self.registrations.current(key) else { return };
        let trunk = self.config.trunks.get(usize::from(entry.trunk.0));
        if matches!(code, 401 | 407) {
            self.counters.challenges += 1;
            let tries = entry.tries;
            entry.tries += 1;
            let realm = trunk.and_then(|trunk| trunk.digest_realm.as_deref());
            let worth = is_source && entry.keys.learn(digest::challenges(message), realm, tries);
            if worth && self.send_register(now, key.id) {
                return;
            }
        }
        let Some(entry) = self.registrations.entries.get_mut(key.id) else { return };
        if let State::Leaving { back } = entry.state {
            entry.bound = false;
            return if back { self.attempt(now, key.id) } else { self.registrations.remove(now, key.id) };
        }
        match code {
            200..=299 => self.on_registered(now, key.id, message),
            423 => self.on_too_brief(now, key.id, message),
            503 if self.next_registrar(now, key.id, Fault::Busy(retry_after(message))) => {}
            _ => {
                let wait = message.header(Name::RetryAfter).and_then(|value| RetryAfter::parse(value).ok());
                let wait = wait.map(|wait| Duration::from_secs(wait.seconds.min(3600).into()));
                self.failed(now, key.id, Reason::from_code(code), wait);
            }
        }
    }

    fn on_registered(&mut self, now: Now, id: RegistrationId, message: &Message<'_>) {
        let Some(entry) = self.registrations.entries.get_mut(id) else { return };
        let advertised = self.config.trunks.get(usize::from(entry.trunk.0)).and_then(|trunk| {
            let listener = self.listeners.iter().find(|l| l.realm == trunk.realm)?;
            Some(listener.sent_by(entry.hop.as_ref()?.transport))
        });
        let granted =
            advertised.and_then(|at| granted(message, &home::user(&entry.account), at, entry.expires));
        let Some(seconds) = granted.filter(|seconds| *seconds > 0) else {
            // The registrar took the request and has no binding of ours.
            return self.failed(now, id, Reason::new(Cause::Failed, 200), None);
        };
        entry.state = State::Bound;
        entry.failures = 0;
        let after = refresh_after(seconds, &mut self.random);
        self.registrations.arm(now, id, Some(after));
        self.report(id, Ok(()));
    }

    /// 423 (section 10.3): ask for as much as the registrar wants.
    fn on_too_brief(&mut self, now: Now, id: RegistrationId, message: &Message<'_>) {
        let Some(entry) = self.registrations.entries.get_mut(id) else { return };
        let least = message.number(Name::MinExpires).ok().flatten().unwrap_or(0);
        entry.brief += 1;
        let sound = least > entry.expires && least <= LONGEST && entry.brief <= TOO_BRIEF;
        if sound {
            entry.expires = least;
        }
        if !sound || !self.send_register(now, id) {
            self.failed(now, id, Reason::from_code(423), None);
        }
    }

    pub(super) fn on_register_silence(&mut self, now: Now, key: RegistrationKey) {
        let Some(entry) = self.registrations.current(key) else { return };
        self.counters.timeouts += 1;
        let state = entry.state;
        match state {
            State::Leaving { back: true } => self.attempt(now, key.id),
            State::Leaving { back: false } => self.registrations.remove(now, key.id),
            State::Asking if self.next_registrar(now, key.id, Fault::Silent) => {}
            _ => self.failed(now, key.id, Reason::from(Cause::Unreachable), None),
        }
    }

    fn failed(&mut self, now: Now, id: RegistrationId, reason: Reason, at_least: Option<Duration>) {
        let Some(entry) = self.registrations.entries.get_mut(id) else { return };
        if matches!(entry.state, State::Leaving { .. }) {
            return self.registrations.remove(now, id);
        }
        entry.state = State::Waiting;
        entry.failures += 1;
        let pace = &self.config.registration;
        let wait = match reason.cause {
            Cause::Forbidden | Cause::NotFound => {
                pace.refused + pace.refused * (self.random.below(200) as u32) / 1000
            }
            _ => back_off(pace, entry.failures, &mut self.random),
        };
        self.registrations.arm(now, id, Some(wait.max(at_least.unwrap_or_default())));
        self.report(id, Err(reason));
    }

    /// Says what changed.
    fn report(&mut self, id: RegistrationId, state: Result<(), Reason>) {
        let Some(entry) = self.registrations.entries.get_mut(id) else { return };
        if entry.told != Some(state) {
            entry.told = Some(state);
            let (account, trunk) = (entry.account.clone(), entry.trunk);
            self.out.push_back(Output::Registered { account, trunk, state });
        }
    }
}

/// The seconds granted to *our* binding, among those of the user's other devices (section 10.2.4). A registrar that
/// rewrote its address (some do, behind NAT) kept its user part, which is ours alone; one that lists none at all is
/// believed.
fn granted(message: &Message<'_>, user: &str, advertised: SocketAddr, asked: u32) -> Option<u32> {
    let all = message.number(Name::Expires).ok().flatten();
    let users = || {
        message
            .addresses(Name::Contact)
            .filter_map(Result::ok)
            .filter(|contact| contact.uri().is_ok_and(|uri| uri.user_text().is_some_and(|text| text == user)))
    };
    let exact = users().find(|contact| {
        contact.uri().is_ok_and(|uri| {
            uri.host.and_then(sip_codec::Host::ip) == Some(advertised.ip())
                && uri.port.unwrap_or(5060) == advertised.port()
        })
    });
    let only = || users().next().filter(|_| users().count() == 1);
    match exact.or_else(only) {
        Some(contact) => Some(contact.expires().or(all).unwrap_or(asked)),
        None if message.header(Name::Contact).is_none() => Some(all.unwrap_or(asked)),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refreshes_at_eighty_to_ninety_per_cent() {
        let mut random = Random::from_number(1);
        for _ in 0..1000 {
            let after = refresh_after(1000, &mut random).as_secs();
            assert!((800..=900).contains(&after), "{after}");
        }
    }

    #[test]
    fn waits_longer_after_each_failure_up_to_a_limit() {
        let (mut random, pace) = (Random::from_number(1), Renewal::default());
        for (failures, least) in [(1, 30), (2, 60), (3, 120), (4, 240), (5, 300), (60, 300)] {
            let wait = back_off(&pace, failures, &mut random).as_secs();
            assert!((least..=least * 6 / 5).contains(&wait), "{failures}: {wait}");
        }
    }

    #[test]
    fn reads_the_expiry_of_its_own_binding_among_several() {
        let text = |contacts: &str| format!("SIP/2.0 200 OK\r\n{contacts}Expires: 77\r\n\r\n").into_bytes();
        let at = "192.0.2.1:5060".parse().unwrap();
        let read = |contacts: &str| granted(&Message::parse(&text(contacts)).unwrap(), "u.al b", at, 3600);
        let both =
            "Contact: <sip:u.al%20b@192.0.2.7>;expires=9, <sip:u.al%20b@192.0.2.1:5060>;expires=120\r\n";
        assert_eq!(read(both), Some(120));
        assert_eq!(read("Contact: <sip:u.al%20b@192.0.2.1>\r\n"), Some(77));
        assert_eq!(read("Contact: <sip:u.al%20b@192.0.2.7>;expires=9\r\n"), Some(9));
        assert_eq!(read("Contact: <sip:al@192.0.2.1:5060>;expires=9\r\n"), None);
        assert_eq!(read(""), Some(77));
    }
}
