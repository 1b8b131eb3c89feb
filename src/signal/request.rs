//! Requests: reading, signing in, and who carries out what.

use super::Output;
use super::config::Password;
use super::exchange::To;
use super::hub::Hub;
use super::jwt::{self, Bearer, Flaw};
use super::message::{self, Carried, OnlyId, Refusal, Reply, Request};
use super::session::SIGNED_OUT;
use crate::base::{FlowId, Key, Now, SessionId, ShardId};
use crate::leg::Account;
use std::net::IpAddr;
use std::sync::LazyLock;

/// Compared where there is no such user, so that the time taken doesn't tell.
static NOBODY: LazyLock<Password> = LazyLock::new(|| Password::new(""));

impl Hub {
    /// A message on a connection that has not signed in.
    pub(super) fn on_first(&mut self, now: Now, flow: FlowId, text: &str) {
        let source = self.unknown.get(&flow).and_then(|unknown| unknown.source);
        let (id, step) = match self.read(text) {
            Err((id, refusal)) => (id, Step::Out(refusal)),
            Ok(request) if request.kind == "connect" => {
                (Some(request.id), self.sign_in(now, To::Flow(flow), source, &request))
            }
            Ok(request) => (Some(request.id), Step::Out(Refusal::NOT_CONNECTED)),
        };
        let refusal = match (id, step) {
            (Some(id), Step::In(session)) => return self.welcome(To::Flow(flow), id, session),
            (_, Step::Out(refusal)) => refusal,
            // A connection is moved once: it can't wander from shard to shard, guessing.
            (_, Step::Home(_)) if flow.shard() != self.shard => Refusal::OTHER_HOME,
            (_, Step::Home(home)) => return self.move_home(flow, home, text),
            (None, Step::In(_)) => return,
        };
        self.counters.refusals += 1;
        let text = message::text(&Reply::refused(id, refusal));
        self.send_at(self.outbox.len(), To::Flow(flow), text);
        self.on_failure(now, flow, refusal);
    }

    /// A message of a session. The answer goes out before what the request caused.
    pub(super) fn on_request(&mut self, now: Now, to: To, session: SessionId, text: &str) {
        let mark = self.outbox.len();
        let (id, result) = match self.pace(now, session, text).and_then(|()| self.read(text)) {
            Err((id, refusal)) => (id, Err(refusal)),
            Ok(request) => (Some(request.id), self.carry_out(now, session, &request)),
        };
        let reply = match (id, result) {
            (Some(id), Ok(Done::Now)) => Reply::Ok { id, carried: Carried::default() },
            (Some(id), Ok(Done::Before)) => return self.answer_again(to, session, id),
            (Some(id), Ok(Done::Later)) => {
                if let To::Exchange(exchange) = to {
                    self.wait_for(session, id, exchange);
                }
                return;
            }
            (None, Ok(_)) => return,
            (id, Err(refusal)) => {
                self.counters.refusals += 1;
                Reply::refused(id, refusal)
            }
        };
        let text = message::text(&reply);
        // What was refused for its pace may be sent again later.
        let final_word = !matches!(reply, Reply::Error { error, .. } if error == Refusal::FLOODING.error);
        if let (Some(id), Some(session), true) = (id, self.sessions.get_mut(session), final_word) {
            session.kept.answered(id, &text);
        }
        self.send_at(mark, to, text);
    }

    fn answer_again(&mut self, to: To, session: SessionId, id: u64) {
        let answer = self.sessions.get(session).and_then(|session| session.kept.answer(id));
        match (answer.map(str::to_owned), to) {
            (Some(text), to) => self.send_at(self.outbox.len(), to, text),
            (None, To::Exchange(exchange)) => self.wait_for(session, id, exchange),
            // The answer will come by this connection.
            (None, To::Flow(_)) => {}
        }
    }

    /// Refuses, nearly unread, what a session sends faster than it may.
    fn pace(&mut self, now: Now, session: SessionId, text: &str) -> Result<(), (Option<u64>, Refusal)> {
        let (interval, burst) = (self.config.message_interval, self.config.message_burst);
        let Some(session) = self.sessions.get_mut(session) else { return Ok(()) };
        // A virtual queue that drains one message an interval: when it will be empty.
        let until = session.paced.max(now.instant);
        if until - now.instant >= interval * burst {
            self.counters.flooding += 1;
            let id = if text.len() > self.config.max_message { None } else { id_of(text) };
            return Err((id, Refusal::FLOODING));
        }
        session.paced = until + interval;
        Ok(())
    }

    pub(super) fn read(&mut self, text: &str) -> Result<Request, (Option<u64>, Refusal)> {
        if text.len() > self.config.max_message {
            self.counters.bad_messages += 1;
            return Err((None, Refusal::TOO_LONG));
        }
        serde_json::from_str(text).map_err(|_| {
            self.counters.bad_messages += 1;
            (id_of(text), Refusal::NOT_JSON)
        })
    }

    fn carry_out(&mut self, now: Now, session: SessionId, request: &Request) -> Result<Done, Refusal> {
        let kept = self.sessions.get_mut(session).map(|session| &mut session.kept);
        if let (Some(kept), Some(cursor)) = (kept, request.ack) {
            kept.acknowledge(cursor);
        }
        if request.again == Some(true) && self.knows(session, request.id) {
            self.counters.requests_repeated += 1;
            return Ok(Done::Before);
        }
        match request.kind.as_str() {
            "ping" => {}
            "register" => self.register(session, request)?,
            "unregister" => self.unregister(session),
            "dial" => self.dial(session, request)?,
            "ringing" => self.ringing(session, request)?,
            "answer" => self.answer(session, request)?,
            "reject" => self.reject(session, request)?,
            "hangup" => self.hangup(session, request)?,
            "update" => {
                self.update(session, request)?;
                return Ok(Done::Later);
            }
            "stats" => {
                self.stats(session, request)?;
                return Ok(Done::Later);
            }
            "hold" | "resume" => {
                self.hold(session, request, request.kind == "hold")?;
                return Ok(Done::Later);
            }
            "message" => {
                self.message(session, request)?;
                return Ok(Done::Later);
            }
            "subscribe" => self.subscribe(session, request)?,
            "unsubscribe" => self.unsubscribe(session, request)?,
            "transfer" => {
                self.transfer(session, request)?;
                return Ok(Done::Later);
            }
            "dtmf" => self.dtmf(session, request)?,
            "info" => {
                self.info(session, request)?;
                return Ok(Done::Later);
            }
            "accept" => self.accept(session, request)?,
            "disconnect" => self.end_session(now, session, SIGNED_OUT),
            "connect" => return Err(Refusal::WRONG_STATE),
            _ => return Err(Refusal::UNKNOWN_TYPE),
        }
        Ok(Done::Now)
    }

    /// Signs in, or back in.
    pub(super) fn sign_in(&mut self, now: Now, to: To, source: Option<IpAddr>, request: &Request) -> Step {
        if request.version != Some(message::VERSION) {
            return Step::Out(Refusal::VERSION);
        }
        if let Some(token) = &request.resume {
            return self.resume(now, to, &token.0, request.cursor.unwrap_or(0));
        }
        if self.draining {
            self.counters.sessions_refused += 1;
            return Step::Out(Refusal::OVERLOADED);
        }
        if let Some(token) = &request.token {
            return self.sign_in_by_token(now, to, source, &token.0);
        }
        let (Some(user), Some(password)) = (&request.user, &request.password) else {
            return Step::Out(Refusal::NO_PASSWORD);
        };
        let account = Account::from(user.as_str());
        let home = account.home(self.shards);
        if home != self.shard {
            return Step::Home(home);
        }
        let admitted =
            self.verify(now, source, &account, &password.0).and_then(|()| self.admit(now, to, &account));
        admitted.map_or_else(Step::Out, Step::In)
    }

    /// Signs in who bears a JSON Web Token. Its word is taken for the shard where it is checked, and for nothing more.
    fn sign_in_by_token(&mut self, now: Now, to: To, source: Option<IpAddr>, token: &str) -> Step {
        let Some(jwt) = self.config.jwt.clone() else { return Step::Out(Refusal::token("not_configured")) };
        let home = jwt::peek(token).map_or(self.shard, |account| account.home(self.shards));
        if home != self.shard {
            return Step::Home(home);
        }
        if let Err(refusal) = self.throttle(now, source) {
            return Step::Out(refusal);
        }
        match jwt.check(now.unix, token) {
            Ok(bearer) => self.admit_bearer(now, to, bearer).map_or_else(Step::Out, Step::In),
            Err(flaw) => {
                self.counters.bad_tokens += 1;
                // One that has run out is an honest one's; a forged one is a guess.
                if let (Some(source), Flaw::Signature) = (source, flaw) {
                    self.throttle.on_failure(now, source);
                }
                Step::Out(Refusal::token(flaw.name()))
            }
        }
    }

    fn throttle(&mut self, now: Now, source: Option<IpAddr>) -> Result<(), Refusal> {
        if let Some(source) = source
            && self.throttle.failures(now, source) >= self.config.max_source_failures
        {
            self.counters.throttled += 1;
            return Err(Refusal::THROTTLED);
        }
        Ok(())
    }

    fn verify(
        &mut self,
        now: Now,
        source: Option<IpAddr>,
        account: &Account,
        password: &str,
    ) -> Result<(), Refusal> {
        self.throttle(now, source)?;
        let user = self.config.users.get(account);
        let right = user.map_or(&*NOBODY, |user| &user.password).is(password);
        if right && user.is_some() {
            return Ok(());
        }
        self.counters.wrong_passwords += 1;
        if let Some(source) = source {
            self.throttle.on_failure(now, source);
        }
        Err(Refusal::UNAUTHORIZED)
    }

    /// A user of the configuration is there at SIP servers what the configuration says, whatever a token does.
    fn admit_bearer(&mut self, now: Now, to: To, bearer: Bearer) -> Result<SessionId, Refusal> {
        let Bearer { account, name, identity } = bearer;
        let identity = if self.config.users.contains_key(&account) { Ok(None) } else { identity };
        let agreed = identity.and_then(|identity| self.agree_identity(&account, identity));
        let identity = agreed.map_err(|flaw| {
            self.counters.bad_tokens += 1;
            Refusal::token(flaw.name())
        })?;
        let id = self.admit(now, to, &account)?;
        if let Some(session) = self.sessions.get_mut(id) {
            (session.name, session.identity) = (name, identity);
        }
        Ok(id)
    }

    fn admit(&mut self, now: Now, to: To, account: &Account) -> Result<SessionId, Refusal> {
        let opened = self.open_session(now, account, to);
        self.counters.sessions_refused += u64::from(opened.is_none());
        let full = self.sessions.len() >= self.sessions.cap();
        opened.ok_or(if full { Refusal::OVERLOADED } else { Refusal::TOO_MANY_SESSIONS })
    }

    pub(super) fn welcome(&mut self, to: To, id: u64, session: SessionId) {
        let Some(account) = self.sessions.get(session).map(|session| session.account.clone()) else { return };
        let (config, token) = (self.config.clone(), self.renew(session));
        let calls = Some(self.standing(session)).filter(|calls| !calls.is_empty());
        let carried = Carried {
            session: Some(format!("{:016x}", session.to_bits())),
            user: Some(account.name()),
            ice_servers: Some(&config.ice_servers),
            resume: token,
            calls,
            ..Carried::default()
        };
        self.send_at(self.outbox.len(), to, message::text(&Reply::Ok { id, carried }));
        if let To::Flow(flow) = to {
            self.replay(session, flow);
        }
        self.ring_late(session);
    }

    /// Whether a request was carried out, or is being.
    fn knows(&self, id: SessionId, request: u64) -> bool {
        let answered = self.sessions.get(id).is_some_and(|session| session.kept.answer(request).is_some());
        answered || self.waits(id, request)
    }

    /// Puts a message at a place in the outbox.
    fn send_at(&mut self, place: usize, to: To, text: String) {
        let output = match to {
            To::Flow(flow) => Output::Send { flow, text },
            To::Exchange(exchange) => Output::Respond { exchange, status: 200, body: text },
        };
        self.outbox.insert(place.min(self.outbox.len()), output);
    }
}

/// What becomes of who wants to sign in.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// The session lives, or will, on another shard.
    Home(ShardId),
    /// Signed in.
    In(SessionId),
    /// Refused.
    Out(Refusal),
}

fn id_of(text: &str) -> Option<u64> {
    serde_json::from_str::<OnlyId>(text).ok().map(|only| only.id)
}

/// How a request is answered.
enum Done {
    /// With a plain `ok`.
    Now,
    /// By the call machine, later.
    Later,
    /// It was carried out before; its answer is said again, if it has one.
    Before,
}
