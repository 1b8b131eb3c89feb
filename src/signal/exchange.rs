//! HTTP: the same requests and events without a WebSocket. A session is opened by one exchange, carries out a request
//! with each of many, and says its events in answer to a poll that waits for them.

use super::hub::{Hub, Timer};
use super::message::{self, Refusal, Reply};
use super::request::Step;
use super::resume::Ticket;
use super::{Ask, Asked, Exchange, Output};
use crate::base::{FlowId, Key, Now, SessionId, ShardId, TimerId};
use std::time::Duration;

/// Who waits for an answer.
#[derive(Clone, Copy, Debug)]
pub(super) enum To {
    /// A WebSocket.
    Flow(FlowId),
    /// An HTTP exchange.
    Exchange(Exchange),
}

/// A poll that waits for events.
#[derive(Debug)]
pub(super) struct Parked {
    exchange: Exchange,
    timer: TimerId,
}

impl Hub {
    /// An HTTP request. Its session may live elsewhere.
    pub(super) fn on_asked(&mut self, now: Now, ask: Ask) {
        self.counters.exchanges += 1;
        let exchange = ask.exchange;
        match ask.what {
            Asked::Connect { .. } => self.on_asked_to_connect(now, ask),
            Asked::Request { ref token, .. } | Asked::Events { ref token, .. } => {
                let Some(ticket) = Ticket::parse(token) else {
                    return self.respond_error(exchange, None, Refusal::UNKNOWN_SESSION);
                };
                match ticket.session.shard() {
                    home if home == self.shard => self.on_asked_of_session(now, ask.what, &ticket, exchange),
                    home if home.0 >= self.shards => {
                        self.respond_error(exchange, None, Refusal::UNKNOWN_SESSION);
                    }
                    home => self.forward(ask, home),
                }
            }
        }
    }

    fn on_asked_to_connect(&mut self, now: Now, ask: Ask) {
        let Asked::Connect { body } = &ask.what else { return };
        let exchange = ask.exchange;
        let (id, step) = match self.read(body) {
            Err((id, refusal)) => (id, Step::Out(refusal)),
            Ok(request) if request.kind != "connect" => (Some(request.id), Step::Out(Refusal::NOT_CONNECTED)),
            Ok(request) => {
                let step = self.sign_in(now, To::Exchange(exchange), ask.source, &request);
                (Some(request.id), step)
            }
        };
        match (id, step) {
            (Some(id), Step::In(session)) => self.welcome(To::Exchange(exchange), id, session),
            (_, Step::Home(home)) => self.forward(ask, home),
            (id, Step::Out(refusal)) => self.respond_error(exchange, id, refusal),
            (None, Step::In(_)) => {}
        }
    }

    fn on_asked_of_session(&mut self, now: Now, what: Asked, ticket: &Ticket, exchange: Exchange) {
        let id = ticket.session;
        if !self.admits(ticket) {
            return self.respond_error(exchange, None, Refusal::UNKNOWN_SESSION);
        }
        self.on_sign_of_life(now, id);
        match what {
            Asked::Connect { .. } => {}
            Asked::Request { body, .. } => self.on_request(now, To::Exchange(exchange), id, &body),
            Asked::Events { cursor, wait, .. } => self.on_poll(now, id, exchange, cursor, wait),
        }
    }

    fn forward(&mut self, ask: Ask, to: ShardId) {
        if ask.exchange.flow.shard() != self.shard {
            // It was forwarded before: the two shards disagree on who is home.
            return self.respond_error(ask.exchange, None, Refusal::UNKNOWN_SESSION);
        }
        self.counters.moved += 1;
        self.outbox.push_back(Output::Forward { to, ask });
    }

    fn on_poll(&mut self, now: Now, id: SessionId, exchange: Exchange, cursor: u64, wait: Duration) {
        self.unpark(now, id);
        let Some(session) = self.sessions.get_mut(id) else { return };
        if !session.kept.reaches(cursor) {
            self.end_session(now, id, "overflow");
            return self.respond_error(exchange, None, Refusal::UNKNOWN_SESSION);
        }
        session.kept.acknowledge(cursor);
        let wait = wait.min(self.config.max_poll);
        if !session.kept.is_empty() || wait.is_zero() {
            let body = session.kept.array();
            return self.respond(exchange, 200, body);
        }
        let timer = self.timers.insert(now.instant + wait, Timer::Poll(id));
        session.poll = Some(Parked { exchange, timer });
        if let Some(grace) = session.grace.take() {
            self.timers.cancel(grace);
        }
        self.exchanges.insert(exchange.flow, id);
    }

    /// Answers a poll that waits with what there is, which may be nothing.
    pub(super) fn unpark(&mut self, now: Now, id: SessionId) {
        let Some(session) = self.sessions.get_mut(id) else { return };
        let Some(Parked { exchange, timer }) = session.poll.take() else { return };
        let body = session.kept.array();
        self.timers.cancel(timer);
        self.exchanges.remove(&exchange.flow);
        self.respond(exchange, 200, body);
        self.begin_grace(now, id);
    }

    /// Nothing happened while a poll waited.
    pub(super) fn on_poll_over(&mut self, now: Now, id: SessionId) {
        self.unpark(now, id);
    }

    /// Answers the polls of the sessions to which something happened.
    pub(super) fn answer_polls(&mut self, now: Now) {
        while let Some(id) = self.told.pop() {
            self.unpark(now, id);
        }
    }

    /// The connection of an exchange is gone.
    pub(super) fn on_abandoned(&mut self, now: Now, exchange: Exchange) {
        let Some(id) = self.exchanges.remove(&exchange.flow) else { return };
        let Some(session) = self.sessions.get_mut(id) else { return };
        session.waiting.retain(|(_, other)| *other != exchange);
        if session.poll.as_ref().is_some_and(|poll| poll.exchange == exchange)
            && let Some(parked) = session.poll.take()
        {
            self.timers.cancel(parked.timer);
            self.begin_grace(now, id);
            let there = self.sessions.get(id).is_some_and(|session| session.flow.is_some());
            self.say_presence(id, there);
        }
    }

    /// An exchange waits for the call machine. One that waited for the same is told that it was replaced.
    pub(super) fn wait_for(&mut self, id: SessionId, request: u64, exchange: Exchange) {
        self.exchanges.insert(exchange.flow, id);
        let Some(session) = self.sessions.get_mut(id) else { return };
        let place = session.waiting.iter().position(|(other, _)| *other == request);
        let old = place.map(|place| session.waiting.remove(place).1);
        session.waiting.push((request, exchange));
        if let Some(old) = old {
            self.exchanges.remove(&old.flow);
            self.respond_error(old, Some(request), Refusal::WRONG_STATE);
        }
    }

    /// The exchange that waits for an answer of the call machine.
    pub(super) fn take_waiting(&mut self, id: SessionId, request: u64) -> Option<Exchange> {
        let session = self.sessions.get_mut(id)?;
        let place = session.waiting.iter().position(|(other, _)| *other == request)?;
        let exchange = session.waiting.remove(place).1;
        self.exchanges.remove(&exchange.flow);
        Some(exchange)
    }

    /// A session was heard of: its grace, if it runs, begins anew.
    fn on_sign_of_life(&mut self, now: Now, id: SessionId) {
        self.say_presence(id, true);
        if let Some(session) = self.sessions.get_mut(id) {
            session.polls = true;
            if let Some(grace) = session.grace.take() {
                self.timers.cancel(grace);
                self.begin_grace(now, id);
            }
        }
    }

    /// The answer to an exchange: an error of the way there, with the HTTP status that says it.
    fn respond_error(&mut self, exchange: Exchange, id: Option<u64>, refusal: Refusal) {
        self.counters.refusals += 1;
        let status = match refusal.error {
            "unauthorized" | "unknown_session" => 401,
            "too_many" => 429,
            "overloaded" => 503,
            "wrong_state" => 409,
            _ => 400,
        };
        self.respond(exchange, status, message::text(&Reply::refused(id, refusal)));
    }

    fn respond(&mut self, exchange: Exchange, status: u16, body: String) {
        self.outbox.push_back(Output::Respond { exchange, status, body });
    }
}
