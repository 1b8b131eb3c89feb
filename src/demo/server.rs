//! The server: what each message means and who deals with it.

use super::auth::{Gate, Verdict};
use super::call::Call;
use super::location::{Locations, Refusal};
use super::numbers::Number;
use super::phone::{Context, Phone};
use super::{Config, Counters, Input, Output, proxy, reply};
use crate::base::{Deadline, Machine, Now, Random};
use sip_codec::{Message, Method, Name};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// The embedded SIP server.
pub struct Server {
    config: Config,
    random: Random,
    gate: Gate,
    locations: Locations,
    phone: Phone,
    outbox: VecDeque<Output>,
    counters: Counters,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Server({}, {} calls)", self.config.address, self.phone.len())
    }
}

impl Server {
    /// A server without registrations and calls.
    pub fn new(config: Config, mut random: Random) -> Server {
        Server {
            gate: Gate::new(&mut random),
            locations: Locations::default(),
            phone: Phone::new(config.calls),
            outbox: VecDeque::new(),
            counters: Counters::default(),
            random,
            config,
        }
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many calls to its own numbers are up.
    pub fn calls(&self) -> usize {
        self.phone.len()
    }

    fn phone(&mut self, now: Now) -> (&mut Phone, Context<'_>) {
        let ctx = Context {
            now,
            config: &self.config,
            counters: &mut self.counters,
            outbox: &mut self.outbox,
            random: &mut self.random,
        };
        (&mut self.phone, ctx)
    }

    fn on_sip(&mut self, now: Now, from: SocketAddr, data: &[u8]) {
        // Keep-alives (RFC 5626 section 4.4.1, and what devices send beside) are no messages.
        if data.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return;
        }
        self.counters.received += 1;
        let Ok(message) = Message::parse(data) else {
            self.counters.malformed += 1;
            return;
        };
        let fault = message.check().err();
        match (message.method(), fault) {
            (None, None) => self.on_response(now, &message),
            // An ACK is never answered (RFC 3261 section 17.1.1.3).
            (None | Some(Method::Ack), Some(_)) => self.counters.malformed += 1,
            (Some(_), Some(fault)) => {
                self.counters.refused += 1;
                self.reply(&message, from, (fault.status(), fault.reason()), &[]);
            }
            (Some(method), None) => self.on_request(now, method, &message, from, data),
        }
    }

    fn on_request(
        &mut self,
        now: Now,
        method: Method<'_>,
        request: &Message<'_>,
        from: SocketAddr,
        data: &[u8],
    ) {
        let within = request.to().is_ok_and(|to| to.tag().is_some());
        match method {
            Method::Ack => self.on_ack(now, request, from),
            Method::Cancel => self.on_cancel(now, request, from),
            _ if within => self.on_within(now, method, request, from),
            Method::Invite => self.on_invite(now, request, from, data),
            Method::Register => self.on_register(now, request, from),
            Method::Options => self.reply(request, from, (200, "OK"), &capabilities()),
            Method::Bye => self.reply(request, from, (481, "Call/Transaction Does Not Exist"), &[]),
            _ => self.refuse_method(request, from),
        }
    }

    /// The To tag of our stateless responses: the same for the same request (RFC 3261 section 8.2.7).
    fn tag(&self, request: &Message<'_>) -> String {
        let from = request.from().ok().and_then(|from| from.tag()).unwrap_or_default();
        self.gate.sign(&["tag", request.call_id().unwrap_or_default(), from])
    }

    fn reply(
        &mut self,
        request: &Message<'_>,
        from: SocketAddr,
        status: (u16, &str),
        headers: &[(Name<'_>, String)],
    ) {
        let tag = self.tag(request);
        if let Some((to, data)) = reply::write(request, from, status, Some(&tag), headers) {
            self.outbox.push_back(Output::Sip { to, data });
        }
    }

    fn refuse_method(&mut self, request: &Message<'_>, from: SocketAddr) {
        let allow = [(Name::Allow, reply::ALLOW.to_owned())];
        self.reply(request, from, (405, "Method Not Allowed"), &allow);
    }

    fn challenge(&mut self, now: Now, request: &Message<'_>, from: SocketAddr, proxy: bool, stale: bool) {
        self.counters.challenged += 1;
        let (status, name) = if proxy {
            ((407, "Proxy Authentication Required"), Name::ProxyAuthenticate)
        } else {
            ((401, "Unauthorized"), Name::WwwAuthenticate)
        };
        let challenges = self.gate.challenges(now, &self.config.realm, stale);
        let headers: Vec<_> = challenges.into_iter().map(|challenge| (name, challenge)).collect();
        self.reply(request, from, status, &headers);
    }

    /// The user that a request is authenticated as; otherwise it is answered already. What it says of itself in
    /// `claim` must be that user.
    fn admit(
        &mut self,
        now: Now,
        request: &Message<'_>,
        from: SocketAddr,
        claim: Name<'static>,
    ) -> Option<String> {
        let proxy = claim == Name::From;
        let name = if proxy { Name::ProxyAuthorization } else { Name::Authorization };
        let claimed = request.address(claim).ok().and_then(|address| user_of(address.uri));
        match self.gate.judge(now, &self.config, request, name) {
            Verdict::Known(user) if claimed.as_ref() == Some(&user) => return Some(user),
            Verdict::Challenge { stale } => self.challenge(now, request, from, proxy, stale),
            Verdict::Known(_) | Verdict::Wrong => {
                self.counters.forbidden += 1;
                self.reply(request, from, (403, "Forbidden"), &[]);
            }
        }
        None
    }

    fn on_register(&mut self, now: Now, request: &Message<'_>, from: SocketAddr) {
        let Some(user) = self.admit(now, request, from, Name::To) else { return };
        match self.locations.register(now, &self.config, &user, request, from) {
            Ok(()) => {
                self.counters.registered += 1;
                let contacts = self.locations.find(now, &user).iter().map(|binding| {
                    let left = binding.until.saturating_duration_since(now.instant);
                    (Name::Contact, format!("<{}>;expires={}", binding.uri, left.as_secs()))
                });
                let contacts: Vec<_> = contacts.collect();
                self.reply(request, from, (200, "OK"), &contacts);
            }
            Err(Refusal::Malformed) => self.reply(request, from, (400, "Bad Request"), &[]),
            Err(Refusal::Late) => self.reply(request, from, (500, "Server Internal Error"), &[]),
            Err(Refusal::TooBrief) => {
                let least = self.config.shortest.as_secs().to_string();
                self.reply(request, from, (423, "Interval Too Brief"), &[(Name::MinExpires, least)]);
            }
        }
    }

    fn on_invite(&mut self, now: Now, request: &Message<'_>, from: SocketAddr, data: &[u8]) {
        if let Some(id) = self.phone.find(request) {
            let (phone, mut ctx) = self.phone(now);
            return phone.with(&mut ctx, id, |call| call.on_invite(now, id, request, from));
        }
        if self.admit(now, request, from, Name::From).is_none() {
            return;
        }
        let called = request.request_uri().and_then(user_of).unwrap_or_default();
        let kind = match Number::of(&called) {
            Some(Number::Takes(kind)) => kind,
            Some(Number::Refuses(status)) => {
                self.counters.refused += 1;
                return self.reply(request, from, status, &[]);
            }
            None => return self.forward(now, request, from, &called),
        };
        if let Some(extension) = request.header(Name::Require) {
            let unsupported = [(Name::Unsupported, extension.to_owned())];
            return self.reply(request, from, (420, "Bad Extension"), &unsupported);
        }
        let (phone, mut ctx) = self.phone(now);
        if phone.begin(&mut ctx, kind, request, data, from) {
            // The INVITE is not sent again while the socket is opened.
            let trying = reply::write(request, from, (100, "Trying"), None, &[]);
            self.outbox.extend(trying.map(|(to, data)| Output::Sip { to, data }));
        } else {
            self.counters.full += 1;
            self.reply(request, from, (503, "Service Unavailable"), &[]);
        }
    }

    /// Sends a request on to where the user is.
    fn forward(&mut self, now: Now, request: &Message<'_>, from: SocketAddr, user: &str) {
        let silent = request.method() == Some(Method::Ack);
        let refuse = |server: &mut Server, status, headers: &[(Name<'_>, String)]| {
            if !silent {
                server.counters.refused += 1;
                server.reply(request, from, status, headers);
            }
        };
        if !self.config.users.iter().any(|known| known.name == user) {
            return refuse(self, (404, "Not Found"), &[]);
        }
        if let Some((status, header)) = proxy::obstacle(self.config.address, request) {
            return refuse(self, status, header.as_slice());
        }
        let Some(target) = self.locations.find(now, user).first().cloned() else {
            return refuse(self, (480, "Temporarily Unavailable"), &[]);
        };
        let hops = request.max_forwards().ok().flatten().unwrap_or(71).saturating_sub(1);
        match proxy::forward(&self.gate, self.config.address, request, from, &target, hops) {
            Some(data) => {
                self.counters.forwarded += 1;
                self.outbox.push_back(Output::Sip { to: target.to, data });
            }
            None => refuse(self, (500, "Server Internal Error"), &[]),
        }
    }

    fn on_ack(&mut self, now: Now, request: &Message<'_>, from: SocketAddr) {
        let tag = request.to().ok().and_then(|to| to.tag()).unwrap_or_default();
        if let Some(id) = self.phone.find(request) {
            if self.phone.is_within(id, request) {
                let mut fresh = false;
                let (phone, mut ctx) = self.phone(now);
                phone.with(&mut ctx, id, |call| {
                    fresh = call.on_ack(now, request);
                    Vec::new()
                });
                self.counters.answered += u64::from(fresh);
            }
        } else if tag != self.tag(request) {
            // For a refusal by the user that the INVITE was forwarded to; what we refused ourselves ends here.
            let called = request.request_uri().and_then(user_of).unwrap_or_default();
            self.forward(now, request, from, &called);
        }
    }

    fn on_cancel(&mut self, now: Now, request: &Message<'_>, from: SocketAddr) {
        if let Some(id) = self.phone.find(request) {
            self.reply(request, from, (200, "OK"), &[]);
            let (phone, mut ctx) = self.phone(now);
            return phone.with(&mut ctx, id, Call::on_cancel);
        }
        let called = request.request_uri().and_then(user_of).unwrap_or_default();
        if self.config.users.iter().any(|known| known.name == called) {
            // Stateless: it goes after its INVITE, whose callee answers it (RFC 3261 section 16.10).
            self.forward(now, request, from, &called);
        } else {
            self.reply(request, from, (481, "Call/Transaction Does Not Exist"), &[]);
        }
    }

    /// A request with a To tag: of a call of ours, or of none.
    fn on_within(&mut self, now: Now, method: Method<'_>, request: &Message<'_>, from: SocketAddr) {
        let ours = self.phone.find(request).filter(|id| self.phone.is_within(*id, request));
        let Some(id) = ours else {
            return self.reply(request, from, (481, "Call/Transaction Does Not Exist"), &[]);
        };
        match method {
            Method::Invite => {
                let (phone, mut ctx) = self.phone(now);
                phone.with(&mut ctx, id, |call| call.on_invite(now, id, request, from));
            }
            Method::Bye => {
                self.reply(request, from, (200, "OK"), &[]);
                let (phone, mut ctx) = self.phone(now);
                phone.with(&mut ctx, id, Call::on_bye);
            }
            Method::Options => self.reply(request, from, (200, "OK"), &capabilities()),
            Method::Info => {
                self.reply(request, from, (200, "OK"), &[]);
                let (phone, mut ctx) = self.phone(now);
                phone.with(&mut ctx, id, |call| {
                    call.on_info(request);
                    Vec::new()
                });
            }
            _ => self.refuse_method(request, from),
        }
    }

    fn on_response(&mut self, now: Now, response: &Message<'_>) {
        if let Some((to, data)) = proxy::back(&self.gate, self.config.address, response) {
            self.counters.returned += 1;
            self.outbox.push_back(Output::Sip { to, data });
            return;
        }
        let (phone, mut ctx) = self.phone(now);
        if !phone.on_response(&mut ctx, response) {
            self.counters.stray += 1;
        }
    }
}

fn capabilities() -> [(Name<'static>, String); 2] {
    [(Name::Allow, reply::ALLOW.into()), (Name::Accept, "application/sdp".into())]
}

fn user_of(uri: &str) -> Option<String> {
    Some(sip_codec::Uri::parse(uri).ok()?.user_text()?.into_owned())
}

impl Machine for Server {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Sip { from, data } => self.on_sip(now, from, data),
            Input::Rtp { call, from, data } => {
                let (phone, mut ctx) = self.phone(now);
                phone.on_rtp(&mut ctx, call, from, data);
            }
            Input::Opened { call, address } => {
                let (phone, mut ctx) = self.phone(now);
                let config = ctx.config;
                phone.with(&mut ctx, call, |own| own.on_opened(now, config, call, address));
            }
            Input::Unopened { call } => {
                self.counters.full += 1;
                let (phone, mut ctx) = self.phone(now);
                phone.with(&mut ctx, call, |own| own.refuse((503, "Service Unavailable")));
            }
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        let (phone, mut ctx) = self.phone(now);
        phone.handle_timeout(&mut ctx);
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Deadline> {
        self.phone.next().map(|at| Deadline { at, why: "demo_call" })
    }

    fn check_invariants(&self) {
        self.phone.check();
    }
}
