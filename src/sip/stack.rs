//! The stack itself: what comes in, what goes out, and what all of its parts stand on.

use super::bans::Bans;
use super::config::Config;
use super::counters::Counters;
use super::dialog::Dialog;
use super::errand::{ErrandKey, Errands};
use super::leg::{Leg, LegKey, Purpose, State, TICKS, Tick};
use super::links::Links;
use super::names::{Names, Onward};
use super::phones::{self, AskKey};
use super::register::{RegistrationKey, Registrations};
use super::servers::Servers;
use super::session_id;
use super::strikes::Strikes;
use super::transaction::{ClientId, Gone, Outbox, ServerId, Table};
use super::write::{Answer, Draft, Headers};
use super::{Flow, Input, Output, Target, home};
use crate::base::{Deadline, FlowId, LegId, Machine, Map, Mint, Now, Random, RealmId, ShardId, Slab, Wheel};
use crate::leg::{Command, Event, Reason, TrunkId};
use sip_codec::{Error, Message, Method};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A realm's listeners, as the world sees them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener {
    pub realm: RealmId,
    pub flow: FlowId,
    /// Over UDP and TCP.
    pub advertised: SocketAddr,
    /// Over TLS, where it listens for that.
    pub secure: Option<SocketAddr>,
}

/// Whose business a client transaction is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    Leg(LegKey, Purpose),
    Registration(RegistrationKey),
    /// A phone's REGISTER, passed on.
    Phone(AskKey),
    Errand(ErrandKey),
    /// The scout's.
    Probe(u32),
}

/// A request within a dialog.
#[derive(Clone, Copy)]
pub(super) struct Ask<'a> {
    pub method: Method<'static>,
    pub purpose: Purpose,
    pub headers: Headers<'a>,
    /// The body's type.
    pub content: &'a str,
    pub body: Option<&'a [u8]>,
}

/// A request, written: where it goes, its bytes, how it was signed.
pub(super) struct Written {
    pub flow: Flow,
    pub bytes: Vec<u8>,
    pub authorization: Vec<(&'static str, String)>,
    /// The way to this name is not known yet.
    pub name: Option<Target>,
}

/// What became of it.
pub(super) struct Sent {
    pub client: ClientId,
    pub authorization: Vec<(&'static str, String)>,
}

/// One shard's SIP stack.
#[derive(Debug)]
pub struct Stack {
    pub(super) shard: ShardId,
    pub(super) config: Arc<Config>,
    pub(super) random: Random,
    pub(super) listeners: Vec<Listener>,
    pub(super) table: Table<Owner>,
    pub(super) legs: Slab<LegKey, Leg>,
    pub(super) by_id: Map<LegId, LegKey>,
    pub(super) by_tag: Map<Box<str>, LegKey>,
    pub(super) wheel: Wheel<(LegKey, Tick)>,
    pub(super) registrations: Registrations,
    /// Boxed: a stack is moved about while it is made.
    pub(super) phones: Box<phones::Table>,
    pub(super) errands: Errands,
    pub(super) mint: Mint,
    pub(super) out: Outbox,
    pub(super) links: Links,
    pub(super) strikes: Strikes,
    pub(super) bans: Bans,
    pub(super) servers: Servers,
    pub(super) names: Names,
    pub(super) counters: Counters,
}

impl Stack {
    /// A stack without listeners. `shards` is how many there are; this one is `shard`.
    pub fn new(shard: ShardId, shards: u8, config: Arc<Config>, mut random: Random) -> Stack {
        debug_assert!(shard.0 < shards);
        let caps = config.caps;
        let mut servers = Servers::default();
        for (n, trunk) in config.trunks.iter().enumerate() {
            servers.set(TrunkId(n as u16), trunk.servers());
        }
        Stack {
            shard,
            phones: Box::new(phones::Table::new(shard, config.phones.as_ref(), &mut random)),
            random,
            listeners: Vec::new(),
            table: Table::new(shard, caps.transactions, config.timers),
            // Those that only wait for late answers have as much room again.
            legs: Slab::new(shard, caps.dialogs.saturating_mul(2)),
            by_id: Map::default(),
            by_tag: Map::default(),
            wheel: Wheel::default(),
            registrations: Registrations::new(shard, caps.registrations),
            errands: Errands::new(shard, caps.errands),
            mint: Mint::new(shard, false),
            out: Outbox::new(),
            links: Links::default(),
            strikes: Strikes::default(),
            bans: Bans::default(),
            servers,
            names: Names::default(),
            counters: Counters::default(),
            config,
        }
    }

    /// Says through which UDP listener a realm's requests go, and by which address the far side reaches it, over UDP
    /// and TCP.
    pub fn listen(&mut self, realm: RealmId, flow: FlowId, advertised: SocketAddr) {
        self.listeners.retain(|listener| listener.realm != realm);
        self.listeners.push(Listener { realm, flow, advertised, secure: None });
    }

    /// Says by which address the far side reaches a realm over TLS. After [`Stack::listen`].
    pub fn listen_secure(&mut self, realm: RealmId, advertised: SocketAddr) {
        let listener = self.listeners.iter_mut().find(|listener| listener.realm == realm);
        if let Some(listener) = listener {
            listener.secure = Some(advertised);
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Legs of any state, those included that only wait for late answers.
    pub fn dialogs(&self) -> usize {
        self.legs.len()
    }

    /// Connections of which it has heard.
    pub fn connections(&self) -> usize {
        self.links.len()
    }

    /// Client and server transactions that run.
    pub fn transactions(&self) -> (usize, usize) {
        self.table.count()
    }

    /// Accounts that are, or try to be, registered upstream.
    pub fn registered(&self) -> usize {
        self.registrations.len()
    }

    /// Texts under way, and subscriptions.
    pub fn errands(&self) -> usize {
        self.errands.len()
    }

    /// The Call-ID of a leg that the call machine knows.
    pub fn call_id(&self, leg: LegId) -> Option<&str> {
        let key = self.by_id.get(&leg)?;
        self.legs.get(*key).map(|leg| leg.call_id.as_str())
    }

    pub(super) fn listener(&self, realm: RealmId) -> Option<Listener> {
        self.listeners.iter().find(|listener| listener.realm == realm).copied()
    }

    /// The trunk that may speak by this flow: the one that a connection of ours goes to, else by address. One address
    /// can be several trunks': the port tells them apart, then the transport, else the first wins.
    pub(super) fn trunk_of(&self, flow: &Flow) -> Option<TrunkId> {
        if let Some(trunk) = self.links.trunk(flow) {
            return Some(trunk);
        }
        self.trunk_at(flow)
    }

    pub(super) fn tell(&mut self, mut event: Event) {
        if self.config.phones.is_some() {
            self.mend(&mut event);
        }
        self.out.push_back(Output::Event(event));
    }

    pub(super) fn arm(&mut self, now: Now, key: LegKey, tick: Tick, after: Duration) {
        self.disarm(key, tick);
        if let Some(leg) = self.legs.get_mut(key) {
            leg.timers[tick as usize] = Some(self.wheel.insert(now.instant + after, (key, tick)));
        }
    }

    pub(super) fn disarm(&mut self, key: LegKey, tick: Tick) {
        let timer = self.legs.get_mut(key).and_then(|leg| leg.timers[tick as usize].take());
        if let Some(timer) = timer {
            self.wheel.cancel(timer);
        }
    }

    /// Puts a leg into the tables; gives it back where they are full.
    pub(super) fn insert(&mut self, leg: Leg) -> Option<LegKey> {
        let (id, tag) = (leg.id, leg.local_tag.clone());
        let room = self.by_id.len() < self.config.caps.dialogs;
        let Some(key) = room.then(|| self.legs.insert(leg).ok()).flatten() else {
            self.counters.full_dialogs += 1;
            return None;
        };
        self.by_id.insert(id, key);
        self.by_tag.insert(tag, key);
        Some(key)
    }

    /// The leg is over for the call machine, which hears why unless it said so itself.
    pub(super) fn forget(&mut self, key: LegKey, reason: Option<Reason>) {
        let Some(leg) = self.legs.get_mut(key) else { return };
        if !std::mem::take(&mut leg.known) {
            return;
        }
        let id = leg.id;
        self.by_id.remove(&id);
        if let Some(reason) = reason {
            self.tell(Event::Ended { leg: id, reason });
        }
    }

    /// The leg is over; what transactions are left clean up behind it.
    pub(super) fn finish(&mut self, key: LegKey, reason: Option<Reason>) {
        self.forget(key, reason);
        self.forget_challenge(key);
        let Some(leg) = self.legs.get_mut(key) else { return };
        leg.state = State::Over;
        for timer in std::mem::replace(&mut leg.timers, [None; TICKS]).into_iter().flatten() {
            self.wheel.cancel(timer);
        }
        self.release(key);
    }

    /// Removes a leg that nothing refers to any more.
    pub(super) fn release(&mut self, key: LegKey) {
        let done = self.legs.get(key).is_some_and(|leg| matches!(leg.state, State::Over) && leg.open == 0);
        if done && let Some(leg) = self.legs.remove(key) {
            self.by_tag.remove(&leg.local_tag);
        }
    }

    /// One of a leg's client transactions is settled.
    pub(super) fn settle(&mut self, key: LegKey) {
        if let Some(leg) = self.legs.get_mut(key) {
            leg.open -= 1;
            self.release(key);
        }
    }

    /// Sends a request within a dialog of a leg. `None` where there are too many transactions, or where a part of it
    /// must not reach the wire.
    pub(super) fn request(&mut self, now: Now, key: LegKey, fork: usize, ask: Ask<'_>) -> Option<Sent> {
        let leg = self.legs.get_mut(key)?;
        let dialog = leg.dialogs.get_mut(fork)?;
        dialog.local_seq += 1;
        let cseq = dialog.local_seq;
        let branch = home::branch(self.shard, &mut self.random);
        let Written { flow, bytes, authorization, name } = self.draft(key, fork, cseq, &branch, &ask)?;
        let owner = Owner::Leg(key, ask.purpose);
        let begun = match name {
            // Over TCP it would go to where the dialog went before, not to where the name leads.
            Some(_) => self.table.begin(now, flow, (&branch, ask.method), bytes, owner, &mut self.out),
            None => self.begin(now, flow, (&branch, ask.method), bytes, owner),
        };
        self.counters.full_transactions += u64::from(begun.is_none() && name.is_some());
        let client = begun?;
        let leg = self.legs.get_mut(key)?;
        leg.open += 1;
        let trunk = leg.trunk;
        if let Some(name) = name {
            self.hold(&name, Some(client), trunk);
        }
        Some(Sent { client, authorization })
    }

    /// Writes a request within a dialog, signed with what the peer asked for before. An ACK has the authorization of
    /// its INVITE.
    pub(super) fn draft(
        &mut self,
        key: LegKey,
        fork: usize,
        cseq: u32,
        branch: &str,
        ask: &Ask<'_>,
    ) -> Option<Written> {
        let addressed = self.legs.get(key)?.dialogs.get(fork)?.address();
        let trunk_id = self.legs.get(key)?.trunk;
        let (flow, name) = match self.seeks(key, addressed.target.clone()) {
            Some(target) => match self.toward(key, &target)? {
                Onward::Known(flow) => (flow, None),
                Onward::Asked(flow) => (flow, Some(target)),
            },
            None => (self.onward(key, addressed.place)?, None),
        };
        // Nothing is signed for whoever a name may turn out to lead to.
        let is_source = name.is_none() && self.is_source(trunk_id, flow.remote.ip());
        let leg = self.legs.get_mut(key)?;
        let sent_by = self.listeners.iter().find(|l| l.realm == flow.realm)?.sent_by(flow.transport);
        let dialog: &Dialog = leg.dialogs.get(fork)?;
        let authorization = match &leg.credentials {
            Some(credentials) if ask.method != Method::Ack && is_source => {
                let request = super::digest::Request {
                    method: ask.method.as_str(),
                    uri: &addressed.uri,
                    body: ask.body.unwrap_or_default(),
                };
                leg.keys.authorise(credentials, request, &self.random.token(16))
            }
            None if ask.method != Method::Ack && is_source => {
                leg.line.as_mut().map(|line| std::mem::take(&mut line.pass)).unwrap_or_default()
            }
            _ => Vec::new(),
        };
        let refreshes =
            matches!(ask.method, Method::Invite | Method::Update | Method::Refer | Method::Notify);
        let names = leg.names.value();
        let mut headers = vec![(session_id::NAME, &*names)];
        headers.extend(ask.headers.iter().copied());
        let draft = Draft {
            method: ask.method,
            uri: &addressed.uri,
            transport: flow.transport,
            sent_by,
            branch,
            routes: &addressed.routes,
            from: &leg.local,
            to: &dialog.remote,
            call_id: &leg.call_id,
            cseq,
            hops: 70,
            contact: refreshes.then_some(&*leg.contact),
            authorization: &authorization,
            headers: &headers,
            user_agent: &self.config.user_agent,
            content: ask.content,
            body: ask.body,
        };
        let bytes = draft.write();
        if bytes.is_none() {
            self.counters.refused_writes += 1;
        }
        Some(Written { flow, bytes: bytes?, authorization, name })
    }

    /// Answers a request that has a transaction.
    pub(super) fn respond(
        &mut self,
        now: Now,
        server: ServerId,
        code: u16,
        headers: Headers<'_>,
        body: Option<&[u8]>,
    ) {
        let leg = match self.table.owner(server) {
            Some((Some(Owner::Leg(key, _)), _)) => self.legs.get(key),
            _ => None,
        };
        let names = leg.filter(|_| code > 100).map(|leg| leg.names.value());
        let names = names.iter().map(|names| (session_id::NAME, &**names));
        let headers: Vec<_> = names.chain(headers.iter().copied()).collect();
        let headers = &*headers;
        let Some((flow, request, tag)) = self.table.served(server) else { return };
        let Ok(request) = Message::parse(request) else { return };
        let answer = Answer { code, tag, headers, server: &self.config.user_agent, body };
        let written = answer.write(&request, flow.remote).or_else(|| {
            // Never leave a request unanswered: without what could not be written it is a plain failure.
            let code = if code < 300 { 500 } else { code };
            Answer { code, tag, headers: &[], server: "", body: None }.write(&request, flow.remote)
        });
        if let Some(bytes) = written {
            let code = Message::parse(&bytes).ok().and_then(|m| m.code()).unwrap_or(code);
            self.table.respond(now, server, code, bytes, &mut self.out);
        }
    }

    pub(super) fn on_gone(&mut self, now: Now, gone: Gone<Owner>) {
        match gone.owner {
            Owner::Leg(key, purpose) => {
                if gone.failed {
                    self.counters.timeouts += 1;
                    self.on_silence(now, key, purpose);
                }
                self.settle(key);
            }
            Owner::Registration(key) => self.on_register_silence(now, key),
            Owner::Phone(key) => self.on_asking_silence(now, key),
            Owner::Errand(key) => self.on_errand_silence(now, key),
            Owner::Probe(number) => self.out.push_back(Output::Probed { number, code: None }),
        }
    }

    /// Nobody is where a request went (RFC 3261 section 18.4). What begins something fails at once, so that another way
    /// can be tried; a dialog's requests go on being repeated, since a server that starts again is soon back.
    fn on_refused(&mut self, now: Now, quoted: &[u8]) {
        let Some((method, branch)) = home::quoted(quoted) else { return };
        let Some(id) = self.table.find_client(branch, method) else { return };
        if !matches!(
            self.table.owner_of(id),
            Some(
                Owner::Leg(_, Purpose::Invite)
                    | Owner::Registration(_)
                    | Owner::Phone(_)
                    | Owner::Errand(_)
                    | Owner::Probe(_)
            )
        ) {
            return;
        }
        if let Some(gone) = self.table.handle_refused(now, id, &mut self.out) {
            self.counters.refused_by_icmp += 1;
            if let Owner::Leg(key, _) = gone.owner
                && let Some(phone) = self.legs.get(key).and_then(Leg::phone)
            {
                self.lose(now, phone);
            }
            self.on_gone(now, gone);
        }
    }

    fn on_message(&mut self, now: Now, flow: Flow, data: &[u8]) {
        self.links.note(&flow);
        match Message::parse(data) {
            // A keep-alive (RFC 5626 section 3.5.1) is not a message.
            _ if data.iter().all(|byte| matches!(byte, b'\r' | b'\n' | 0)) => {}
            Ok(message) if message.method().is_some() => self.on_request(now, flow, &message, data),
            Ok(message) => self.on_response(now, flow, &message),
            // What was converted is UTF-8: this goes no deeper.
            Err(Error::NotUtf8) if let Some(data) = sip_codec::from_latin1(data) => {
                self.counters.latin1 += 1;
                self.on_message(now, flow, &data);
            }
            Err(_) => {
                self.counters.malformed += 1;
                self.strike(now, &flow);
            }
        }
    }

    fn on_response(&mut self, now: Now, flow: Flow, message: &Message<'_>) {
        let sound = message.check().is_ok() && message.values(sip_codec::Name::Via).take(2).count() == 1;
        let (Some(code), Ok(cseq), Ok(via), Ok(to)) =
            (message.code(), message.cseq(), message.via(), message.to())
        else {
            self.counters.malformed += 1;
            return;
        };
        if !sound {
            self.counters.malformed += 1;
            return;
        }
        let Some(id) = self.table.find_client(via.branch().unwrap_or(""), cseq.method) else {
            self.counters.stray_responses += 1;
            return;
        };
        let ack = |invite: &[u8]| super::write::companion(invite, Method::Ack, Some(message), &[]);
        let tag = to.tag().unwrap_or("");
        let reply = self.table.handle_response(now, id, (code, tag), ack, &mut self.out);
        let Some(reply) = reply else { return };
        match reply.owner {
            Owner::Leg(key, purpose) => {
                self.learn_session(key, message);
                self.on_leg_response(now, flow, (key, purpose, id), message, code);
                if reply.last {
                    self.settle(key);
                }
            }
            Owner::Registration(key) => self.on_register_response(now, flow, key, message, code),
            Owner::Phone(key) => self.on_asking_response(now, flow, key, (message, code)),
            Owner::Errand(key) => self.on_errand_response(now, flow, key, message, code),
            Owner::Probe(number) if code >= 200 => {
                self.out.push_back(Output::Probed { number, code: Some(code) });
            }
            Owner::Probe(_) => {}
        }
    }

    fn on_leg_response(
        &mut self,
        now: Now,
        flow: Flow,
        (key, purpose, id): (LegKey, Purpose, ClientId),
        message: &Message<'_>,
        code: u16,
    ) {
        match purpose {
            Purpose::Invite => self.on_invite_response(now, flow, (key, id), message, code),
            Purpose::Abandoned => self.on_abandoned_response(now, (key, id), message, code),
            Purpose::Reinvite => self.on_reinvite_response(now, flow, (key, id), message, code),
            Purpose::Update => self.on_update_response(now, flow, (key, id), message, code),
            Purpose::Prack(fork) => self.on_prack_response(now, flow, (key, fork), message, code),
            Purpose::Bye(fork) => self.on_bye_response(now, flow, (key, fork), message, code),
            Purpose::Inform => self.on_inform_response(now, flow, (key, id), message, code),
            Purpose::Refer => self.on_refer_response(now, flow, key, message, code),
            Purpose::Notify(last) => self.on_notify_response(now, flow, (key, last), Some(message), code),
            Purpose::Aside => {}
        }
    }

    /// Takes in the challenges of a 401 or 407. True where the request is worth trying again: from the trunk's own
    /// address, for the realm that we have credentials for.
    pub(super) fn learn(&mut self, key: LegKey, flow: Flow, message: &Message<'_>, tries: u8) -> bool {
        let Some(trunk_id) = self.legs.get(key).map(|leg| leg.trunk) else { return false };
        let is_source = self.is_source(trunk_id, flow.remote.ip());
        let Some(leg) = self.legs.get_mut(key) else { return false };
        let Some(trunk) = self.config.trunks.get(usize::from(trunk_id.0)) else { return false };
        self.counters.challenges += 1;
        leg.credentials.is_some()
            && is_source
            && leg.keys.learn(super::digest::challenges(message), trunk.digest_realm.as_deref(), tries)
    }

    fn on_command(&mut self, now: Now, command: Command) {
        if let Command::Dial(dial) = command {
            return self.on_dial(now, &dial);
        }
        let Some(&key) = self.by_id.get(&command.leg()) else { return };
        match command {
            Command::Dial(_) | Command::Quality { .. } => {}
            Command::Progress { code, answer, .. } => self.on_progress(now, key, code, answer),
            Command::Answer { session, .. } => self.on_answer(now, key, session),
            Command::Offer { offer, .. } => self.on_offer(now, key, &offer),
            Command::AcceptEarly { fork, answer, .. } => {
                self.on_accept_early(now, key, fork, answer.as_deref());
            }
            Command::Gate { open, .. } => self.on_gate(key, open),
            Command::Accept { answer, .. } => self.on_accept(now, key, &answer),
            Command::Refuse { reason, .. } => self.on_refuse(now, key, reason),
            // Nobody on this side asks for one.
            Command::Hold { .. } | Command::Told { .. } => {}
            Command::Named { session, .. } => self.on_named(key, session),
            Command::Inform { notice, .. } => self.on_inform(now, key, &notice),
            Command::Redirect { code, to, .. } => self.on_redirect(now, key, code, &to),
            Command::Transfer { stage, .. } => self.on_transfer(now, key, stage),
            Command::Refer { transfer, .. } => self.on_refer_command(now, key, *transfer),
            Command::End { reason, .. } => self.on_end(now, key, reason),
        }
    }

    fn on_tick(&mut self, now: Now, key: LegKey, tick: Tick) {
        if let Some(leg) = self.legs.get_mut(key) {
            leg.timers[tick as usize] = None;
        }
        match tick {
            Tick::Deadline
                if self.legs.get(key).is_some_and(|leg| !matches!(leg.state, State::Calling(_))) =>
            {
                self.on_no_retry(key);
            }
            Tick::Deadline | Tick::Ring => self.on_patience(now, key, tick),
            Tick::Resend => self.on_resend(now, key),
            Tick::Ack => self.on_no_ack(now, key),
            Tick::Session => self.on_session_due(now, key),
            Tick::Glare => self.on_backoff_over(now, key),
            Tick::Minute => self.on_minute(now, key),
            Tick::Refer => self.on_refer_silence(key),
        }
    }
}

impl Machine for Stack {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input<'_>) {
        self.names.tick(now);
        match input {
            // Behind one NAT a phone is not to be held to what its neighbours do.
            Input::Message { flow, .. } | Input::Broken { flow, .. }
                if !self.is_phone(&flow) && self.is_banned(now, flow.remote.ip()) => {}
            Input::Message { flow, data } => self.on_message(now, flow, data),
            Input::Strikes { source, count } => self.on_strikes(now, source, count),
            Input::Banned { source } => self.bans.ban(now, source, &self.config.banning),
            Input::Broken { flow, head, error } => self.on_broken(now, flow, head, error),
            Input::Spare { flow } => self.links.add_spare(flow),
            Input::Connected { flow } => self.links.rise(&flow),
            Input::Failed { flow } => self.on_failed(now, &flow),
            Input::Refused { quoted } => self.on_refused(now, quoted),
            Input::Command(command) => self.on_command(now, command),
            Input::Register(registration) => self.on_register(now, registration),
            Input::Unregister(account) => self.on_unregister(now, &account),
            Input::Page { page, identity, trunk, receipt } => {
                self.on_page(now, page, identity.as_deref(), trunk, receipt);
            }
            Input::Taken { receipt, taken } => self.on_taken(now, receipt, taken),
            Input::Watch { watch, identity, trunk, number } => {
                self.on_watch(now, watch, identity.as_deref(), trunk, number);
            }
            Input::Unwatch(number) => self.on_unwatch(now, number),
            Input::Servers { trunk, servers } => self.on_servers(now, trunk, servers),
            Input::Located { target, hops } => self.on_located(now, &target, &hops),
            Input::Probe { trunk, hop, number } => self.on_probe(now, trunk, &hop, number),
        }
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.names.tick(now);
        while let Some(gone) = self.table.expire(now, &mut self.out) {
            self.on_gone(now, gone);
        }
        while let Some((key, tick)) = self.wheel.expire(now.instant) {
            self.on_tick(now, key, tick);
        }
        while let Some(key) = self.registrations.expire(now) {
            self.on_register_due(now, key);
        }
        while let Some(key) = self.phones.expire(now) {
            self.on_phone_due(now, key);
        }
        while let Some(id) = self.errands.expire(now) {
            self.on_errand_due(now, id);
        }
        if cfg!(debug_assertions) {
            self.check_invariants();
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.next_output()
    }

    fn poll_timeout(&mut self) -> Option<Deadline> {
        let deadline = |at: Option<_>, why| at.map(|at| Deadline { at, why });
        let legs = deadline(self.wheel.next(), "sip_leg");
        let registrations = deadline(self.registrations.next(), "sip_registration");
        let errands = deadline(self.errands.next(), "sip_errand");
        let registrations = Deadline::sooner(registrations, errands);
        let transactions = deadline(self.table.next(), "sip_transaction");
        let phones = deadline(self.phones.next(), "sip_phone");
        let registrations = Deadline::sooner(phones, registrations);
        Deadline::sooner(transactions, Deadline::sooner(legs, registrations))
    }

    fn check_invariants(&self) {
        // Whole tables are looked at only while they are small: this runs after every step.
        let (clients, servers) = self.table.count();
        if self.legs.len() + clients + servers > 128 {
            return;
        }
        self.table.check_invariants();
        assert_eq!(self.by_tag.len(), self.legs.len());
        for (key, leg) in self.legs.iter() {
            assert_eq!(self.by_tag.get(&leg.local_tag), Some(&key));
            assert_eq!(self.by_id.contains_key(&leg.id), leg.known);
            assert!(!matches!(leg.state, State::Over) || (!leg.known && leg.open > 0));
            assert!(leg.main < leg.dialogs.len() || !matches!(leg.state, State::Up(_)));
        }
        assert!(self.by_id.len() <= self.legs.len());
        self.registrations.check_invariants();
        self.errands.check_invariants();
        self.links.check_invariants();
        self.phones.check_invariants();
    }
}
