//! Requests: reading, signing in, and who carries out what.

use super::Output;
use super::config::Password;
use super::hub::Hub;
use super::message::{self, Carried, OnlyId, Refusal, Reply, Request};
use super::session::SIGNED_OUT;
use crate::base::{FlowId, Now, SessionId};
use crate::leg::Account;
use std::sync::LazyLock;

/// Compared where there is no such user, so that the time taken doesn't tell.
static NOBODY: LazyLock<Password> = LazyLock::new(|| Password::new(""));

impl Hub {
    /// A message on a connection that has not signed in.
    pub(super) fn on_first(&mut self, now: Now, flow: FlowId, text: &str) {
        let (id, result) = match self.read(text) {
            Err((id, refusal)) => (id, Err(refusal)),
            Ok(request) if request.kind == "connect" => {
                let id = request.id;
                match self.connect(now, flow, text, request) {
                    None => return, // moved
                    Some(Ok(session)) => return self.welcome(flow, id, session),
                    Some(Err(refusal)) => (Some(id), Err::<(), _>(refusal)),
                }
            }
            Ok(request) => (Some(request.id), Err(Refusal::NOT_CONNECTED)),
        };
        if let Err(refusal) = result {
            self.refuse(flow, id, refusal);
            self.on_failure(now, flow, refusal);
        }
    }

    /// A message of a session. The answer goes out before what the request caused.
    pub(super) fn on_request(&mut self, now: Now, flow: FlowId, session: SessionId, text: &str) {
        let mark = self.outbox.len();
        let (id, result) = match self.pace(now, session, text).and_then(|()| self.read(text)) {
            Err((id, refusal)) => (id, Err(refusal)),
            Ok(request) => (Some(request.id), self.carry_out(now, session, &request)),
        };
        let reply = match (id, result) {
            (Some(id), Ok(Done::Now)) => Reply::Ok { id, carried: Carried::default() },
            (Some(id), Ok(Done::Before)) => return self.answer_again(flow, session, id),
            (_, Ok(_)) => return,
            (id, Err(refusal)) => {
                self.counters.refusals += 1;
                Reply::refused(id, refusal)
            }
        };
        let text = message::text(&reply);
        if let (Some(id), Some(session)) = (id, self.sessions.get_mut(session)) {
            session.kept.answered(id, &text);
        }
        self.send_at(mark, flow, text);
    }

    fn answer_again(&mut self, flow: FlowId, session: SessionId, id: u64) {
        let answer = self.sessions.get(session).and_then(|session| session.kept.answer(id));
        if let Some(text) = answer.map(str::to_owned) {
            self.outbox.push_back(Output::Send { flow, text });
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

    fn read(&mut self, text: &str) -> Result<Request, (Option<u64>, Refusal)> {
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
            "register" => self.register(session),
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
            "dtmf" => self.dtmf(session, request)?,
            "info" => self.info(session, request)?,
            "accept" => self.accept(session, request)?,
            "disconnect" => self.end_session(now, session, SIGNED_OUT),
            "connect" => return Err(Refusal::WRONG_STATE),
            _ => return Err(Refusal::UNKNOWN_TYPE),
        }
        Ok(Done::Now)
    }

    /// Signs in. `None`: the connection goes to the user's home.
    fn connect(
        &mut self,
        now: Now,
        flow: FlowId,
        text: &str,
        request: Request,
    ) -> Option<Result<SessionId, Refusal>> {
        if request.version != Some(message::VERSION) {
            return Some(Err(Refusal::VERSION));
        }
        if let Some(token) = &request.resume {
            return self.resume(now, flow, text, &token.0, request.cursor.unwrap_or(0));
        }
        if self.draining {
            self.counters.sessions_refused += 1;
            return Some(Err(Refusal::OVERLOADED));
        }
        let (Some(user), Some(password)) = (request.user, request.password) else {
            return Some(Err(Refusal::NO_PASSWORD));
        };
        let account = Account::from(user.as_str());
        let home = account.home(self.shards);
        if home != self.shard {
            return self.move_home(flow, home, text).map(Err);
        }
        Some(self.verify(now, flow, &account, &password.0).and_then(|()| self.admit(now, flow, &account)))
    }

    fn verify(&mut self, now: Now, flow: FlowId, account: &Account, password: &str) -> Result<(), Refusal> {
        let source = self.unknown.get(&flow).and_then(|unknown| unknown.source);
        if let Some(source) = source
            && self.throttle.failures(now, source) >= self.config.max_source_failures
        {
            self.counters.throttled += 1;
            return Err(Refusal::THROTTLED);
        }
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

    fn admit(&mut self, now: Now, flow: FlowId, account: &Account) -> Result<SessionId, Refusal> {
        let opened = self.open_session(now, account, flow);
        if opened.is_none() {
            self.counters.sessions_refused += 1;
        } else {
            self.forget_unknown(flow);
        }
        let full = self.sessions.len() >= self.sessions.cap();
        opened.ok_or(if full { Refusal::OVERLOADED } else { Refusal::TOO_MANY_SESSIONS })
    }

    fn welcome(&mut self, flow: FlowId, id: u64, session: SessionId) {
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
        let text = message::text(&Reply::Ok { id, carried });
        self.outbox.push_back(Output::Send { flow, text });
        self.replay(session, flow);
    }

    /// Whether a request was carried out, or is being.
    fn knows(&self, id: SessionId, request: u64) -> bool {
        let answered = self.sessions.get(id).is_some_and(|session| session.kept.answer(request).is_some());
        answered || self.waits(id, request)
    }

    /// Puts a message at a place in the outbox.
    fn send_at(&mut self, place: usize, flow: FlowId, text: String) {
        self.outbox.insert(place.min(self.outbox.len()), Output::Send { flow, text });
    }

    /// Answers with an error.
    fn refuse(&mut self, flow: FlowId, id: Option<u64>, refusal: Refusal) {
        self.counters.refusals += 1;
        let text = message::text(&Reply::refused(id, refusal));
        self.outbox.push_back(Output::Send { flow, text });
    }
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
