//! One connection, from its first byte to its last.

use super::body::{Body, Framing};
use super::config::{Config, Counters};
use super::head::{self, Method, Request};
use super::output::Output;
use super::response::Response;
use super::websocket::{Ended, WebSocket};
use crate::base::{Deadline, Now};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Pipelined requests wait while so many bytes of answers do: a client that asks without reading gets little memory, and
/// little work at a time.
const PIPELINED: usize = 16 * 1024;
/// The name of the deadline between requests.
const IDLE: &str = "http_idle";

/// What happened on a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// A request, to be met by exactly one [`Connection::respond`] or [`Connection::upgrade`], now or later.
    Request(Box<Request>),
    /// A WebSocket message.
    Text(String),
    /// A binary one, where [`Connection::allow_binary`] was said.
    Binary(Vec<u8>),
    /// Nothing more will come. Said once; output may still have to be sent, see [`Connection::wants_close`].
    Closed(Closed),
}

/// Why a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Closed {
    /// The far side closed it.
    Peer,
    /// We did, as HTTP or the application asked for.
    Done,
    /// The far side broke HTTP or WebSocket, or sent too much.
    Broken,
    /// Something took too long.
    Timeout,
    /// More output waited than is allowed.
    Slow,
}

/// Why an answer was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// No request waits for an answer: it was answered, or the connection closed meanwhile.
    NoRequest,
    /// The request did not ask for a WebSocket.
    NoUpgrade,
    /// The client didn't offer this subprotocol.
    NotOffered,
    /// The connection is no open WebSocket.
    NoWebSocket,
}

/// What must be known of a request until it is answered.
#[derive(Debug)]
struct Pending {
    head_only: bool,
    close: bool,
    key: Option<String>,
    protocols: Vec<String>,
}

#[derive(Debug)]
enum State {
    /// Waiting for a head, or inside one.
    Head,
    Body(Box<(Request, Body)>),
    /// The application owes an answer.
    Answering(Box<Pending>),
    Web(Box<WebSocket>),
    /// Refused; input is swallowed for a while.
    Lingering,
    Closed,
}

/// The server's side of one connection.
///
/// After each `handle_*` or answer: poll [`Connection::poll_event`] until `None`, send [`Connection::output`] and tell
/// how much went by [`Connection::consume_output`], close the socket once [`Connection::wants_close`], and call
/// [`Connection::handle_timeout`] when [`Connection::poll_timeout`] has passed.
#[derive(Debug)]
pub struct Connection {
    config: Arc<Config>,
    state: State,
    input: Vec<u8>,
    /// So many bytes of `input` were searched for the end of a head.
    seen: usize,
    output: Output,
    events: VecDeque<Event>,
    deadline: Option<Deadline>,
    write_by: Option<Instant>,
    /// The far side has sent its last byte.
    eof: bool,
    counters: Counters,
}

impl Connection {
    /// A connection just accepted.
    pub fn new(now: Now, config: Arc<Config>) -> Connection {
        let deadline = Some(Deadline { at: now.instant + config.idle_timeout, why: IDLE });
        Connection {
            config,
            state: State::Head,
            input: Vec::new(),
            seen: 0,
            output: Output::default(),
            events: VecDeque::new(),
            deadline,
            write_by: None,
            eof: false,
            counters: Counters::default(),
        }
    }

    /// Takes bytes from the network.
    pub fn handle_bytes(&mut self, now: Now, bytes: &[u8]) {
        match &mut self.state {
            State::Lingering | State::Closed => {}
            State::Web(_) => self.on_frames(now, bytes),
            State::Head | State::Body(_) | State::Answering(_) => {
                // Empty lines between requests start the clock too, and don't start it anew.
                if self.deadline.is_some_and(|d| d.why == IDLE) {
                    self.arm(now.instant + self.config.head_timeout, "http_head");
                }
                self.input.extend_from_slice(bytes);
                self.advance(now);
                if self.input.len() > self.config.max_head + self.config.max_body {
                    self.counters.overfed += 1;
                    self.abort(Closed::Broken);
                }
            }
        }
        self.watch_output(now);
    }

    /// The far side has closed its direction. A request that was complete is still answered.
    pub fn handle_eof(&mut self, _now: Now) {
        self.eof = true;
        if !matches!(self.state, State::Answering(_)) {
            self.finish(Closed::Peer);
        }
    }

    /// Lets every deadline that has passed act.
    pub fn handle_timeout(&mut self, now: Now) {
        if self.write_by.is_some_and(|by| by <= now.instant) {
            self.counters.timeouts += 1;
            self.abort(Closed::Timeout);
            return;
        }
        if let State::Web(web) = &mut self.state {
            if let Err(ended) = web.handle_timeout(now, &self.config, &mut self.output) {
                self.on_websocket_end(ended);
            }
        } else if self.deadline.is_some_and(|d| d.at <= now.instant) {
            self.on_http_deadline(now);
        }
        self.watch_output(now);
    }

    /// When [`Connection::handle_timeout`] is wanted, and why.
    pub fn poll_timeout(&self) -> Option<Deadline> {
        let write = self.write_by.map(|at| Deadline { at, why: "http_write" });
        let state = match &self.state {
            State::Web(web) => web.poll_timeout(),
            _ => self.deadline,
        };
        Deadline::sooner(write, state)
    }

    /// What happened, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front();
        if self.events.is_empty() {
            self.events.shrink_to(0);
        }
        event
    }

    /// The bytes to be sent next; empty where none wait.
    pub fn output(&self) -> &[u8] {
        self.output.front()
    }

    /// Says that so many bytes of [`Connection::output`] were taken by the network.
    pub fn consume_output(&mut self, now: Now, count: usize) {
        self.output.consume(count);
        if count > 0 {
            self.write_by = None;
        }
        // Pipelined requests wait while too much output does.
        if matches!(self.state, State::Head) && !self.input.is_empty() {
            self.advance(now);
        }
        self.watch_output(now);
    }

    /// Whether the socket should be closed now.
    pub fn wants_close(&self) -> bool {
        matches!(self.state, State::Closed) && self.output.len() == 0
    }

    /// Whether it has become a WebSocket that is open.
    pub fn is_websocket(&self) -> bool {
        matches!(self.state, State::Web(_))
    }

    /// What was counted.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Answers the request that waits.
    pub fn respond(&mut self, now: Now, response: Response) -> Result<(), Error> {
        let State::Answering(pending) = &self.state else { return Err(Error::NoRequest) };
        let closing = pending.close || response.close || self.eof;
        let head_only = pending.head_only;
        self.write(now, response, closing, head_only);
        if closing {
            self.finish(if self.eof { Closed::Peer } else { Closed::Done });
        } else {
            self.state = State::Head;
            self.arm(now.instant + self.config.idle_timeout, IDLE);
            if !self.input.is_empty() {
                self.arm(now.instant + self.config.head_timeout, "http_head");
                self.advance(now);
            }
        }
        self.watch_output(now);
        Ok(())
    }

    /// Accepts the upgrade to WebSocket that waits, with one of the subprotocols that the client offered.
    pub fn upgrade(&mut self, now: Now, protocol: Option<&'static str>) -> Result<(), Error> {
        let State::Answering(pending) = &self.state else { return Err(Error::NoRequest) };
        let Some(key) = &pending.key else { return Err(Error::NoUpgrade) };
        if protocol.is_some_and(|p| !pending.protocols.iter().any(|offered| offered == p)) {
            return Err(Error::NotOffered);
        }
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let mut head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n"
        );
        if let Some(protocol) = protocol {
            head.push_str("Sec-WebSocket-Protocol: ");
            head.push_str(protocol);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        self.output.push(Cow::Owned(head.into_bytes()));
        self.counters.upgrades += 1;
        self.deadline = None;
        self.state = State::Web(Box::new(WebSocket::new(now, &self.config)));
        let rest = std::mem::take(&mut self.input);
        self.on_frames(now, &rest);
        if self.eof {
            self.finish(Closed::Peer);
        }
        self.watch_output(now);
        Ok(())
    }

    /// Sends a WebSocket message. A far side that reads too slowly is cut off.
    pub fn send_text(&mut self, now: Now, text: &str) -> Result<(), Error> {
        let State::Web(web) = &mut self.state else { return Err(Error::NoWebSocket) };
        if !web.send_text(text, &mut self.output) {
            return Err(Error::NoWebSocket);
        }
        self.counters.texts_out += 1;
        self.watch_output(now);
        Ok(())
    }

    /// Closes the connection: a WebSocket by the closing handshake with this status code (RFC 6455 section 7.4),
    /// plain HTTP after what was queued.
    pub fn close(&mut self, now: Now, code: u16) {
        if let State::Web(web) = &mut self.state {
            web.close(now, code, &self.config, &mut self.output);
        } else {
            self.finish(Closed::Done);
        }
        self.watch_output(now);
    }

    /// Takes binary messages from now on, too; else they end a WebSocket.
    pub fn allow_binary(&mut self) {
        if let State::Web(web) = &mut self.state {
            web.allow_binary();
        }
    }

    /// Sends a binary WebSocket message.
    pub fn send_binary(&mut self, now: Now, data: Vec<u8>) -> Result<(), Error> {
        let State::Web(web) = &mut self.state else { return Err(Error::NoWebSocket) };
        if !web.send_binary(data, &mut self.output) {
            return Err(Error::NoWebSocket);
        }
        self.counters.texts_out += 1;
        self.watch_output(now);
        Ok(())
    }

    fn arm(&mut self, at: Instant, why: &'static str) {
        self.deadline = Some(Deadline { at, why });
    }

    /// Reads as many requests out of the input as may be worked on: one.
    fn advance(&mut self, now: Now) {
        while self.output.len() <= PIPELINED.min(self.config.max_output) {
            let result = match &self.state {
                State::Head => self.on_head(now),
                State::Body(_) => self.on_body(),
                _ => return,
            };
            match result {
                Ok(true) => {}
                Ok(false) => return,
                Err(status) => return self.refuse(now, Response::new(status)),
            }
        }
    }

    /// Reads a head; whether there is more to do.
    fn on_head(&mut self, now: Now) -> Result<bool, u16> {
        // RFC 9112 section 2.2: empty lines before a request are ignored.
        if self.seen == 0 {
            let empty = self.input.chunks_exact(2).take_while(|line| *line == b"\r\n").count();
            self.input.drain(..2 * empty);
        }
        let end = head::find_end(&self.input, &mut self.seen)?;
        let length = end.unwrap_or(self.input.len());
        if length > self.config.max_head {
            return Err(431);
        }
        let Some(end) = end else { return Ok(false) };
        let (request, framing) = head::parse(self.input.get(..end).unwrap_or_default())?;
        self.input.drain(..end);
        self.seen = 0;
        if request.is_websocket() && framing != Framing::Length(0) {
            return Err(400);
        }
        let body = Body::new(framing, self.config.max_body).map_err(|bad| bad.0)?;
        if request.expects_continue() && framing != Framing::Length(0) && self.input.is_empty() {
            self.output.push(Cow::Borrowed(b"HTTP/1.1 100 Continue\r\n\r\n"));
        }
        self.arm(now.instant + self.config.body_timeout, "http_body");
        self.state = State::Body(Box::new((request, body)));
        Ok(true)
    }

    /// Reads a body; whether there is more to do.
    fn on_body(&mut self) -> Result<bool, u16> {
        let State::Body(both) = &mut self.state else { return Ok(false) };
        let (used, done) = both.1.handle_bytes(&self.input).map_err(|bad| bad.0)?;
        self.input.drain(..used);
        if self.input.is_empty() {
            self.input = Vec::new();
        }
        if !done {
            return Ok(false);
        }
        let State::Body(both) = std::mem::replace(&mut self.state, State::Closed) else { return Ok(false) };
        let (mut request, body) = *both;
        request.body = body.into_bytes();
        let key = if request.is_websocket() { Some(request.websocket_key()?) } else { None };
        let protocols =
            if key.is_some() { request.protocols().map(str::to_owned).collect() } else { Vec::new() };
        let head_only = request.method == Method::Head;
        self.state =
            State::Answering(Box::new(Pending { head_only, close: request.wants_close(), key, protocols }));
        self.deadline = None;
        self.counters.requests += 1;
        self.events.push_back(Event::Request(Box::new(request)));
        Ok(false)
    }

    /// Answers what is no request, and swallows what may still be on its way: closing at once would reset the
    /// connection and destroy the answer.
    fn refuse(&mut self, now: Now, mut response: Response) {
        self.counters.refused += 1;
        if response.status == 426 {
            response = response.header("Upgrade", "websocket").header("Sec-WebSocket-Version", "13");
        }
        self.write(now, response, true, false);
        self.input = Vec::new();
        self.state = State::Lingering;
        self.arm(now.instant + self.config.linger, "http_linger");
    }

    fn write(&mut self, now: Now, response: Response, closing: bool, head_only: bool) {
        self.counters.unsafe_headers += u64::from(response.refused_headers);
        self.output.push(Cow::Owned(response.write_head(now.unix, closing)));
        if response.has_body() && !head_only {
            self.output.push(response.body);
        }
    }

    fn on_http_deadline(&mut self, now: Now) {
        match &self.state {
            State::Lingering => self.finish(Closed::Broken),
            State::Head if self.input.is_empty() => self.finish(Closed::Done),
            State::Head | State::Body(_) => {
                self.counters.timeouts += 1;
                self.write(now, Response::new(408), true, false);
                self.finish(Closed::Timeout);
            }
            State::Answering(_) | State::Web(_) | State::Closed => self.deadline = None,
        }
    }

    fn on_frames(&mut self, now: Now, bytes: &[u8]) {
        let State::Web(web) = &mut self.state else { return };
        let (events, counters) = (&mut self.events, &mut self.counters);
        let result = web.handle_bytes(bytes, &mut self.output, |event| {
            counters.texts_in += 1;
            events.push_back(event);
        });
        if let Err(ended) = result {
            if ended == Ended::Broken {
                // The Close frame that says why should survive; see `refuse`.
                self.counters.broken_frames += 1;
                self.state = State::Lingering;
                self.arm(now.instant + self.config.linger, "http_linger");
            } else {
                self.on_websocket_end(ended);
            }
        }
    }

    fn on_websocket_end(&mut self, ended: Ended) {
        match ended {
            Ended::Peer => self.finish(Closed::Peer),
            Ended::Ours => self.finish(Closed::Done),
            Ended::Broken => self.finish(Closed::Broken),
            Ended::Silent => {
                self.counters.timeouts += 1;
                self.abort(Closed::Timeout);
            }
        }
    }

    /// Judges the queue after whatever may have lengthened it.
    fn watch_output(&mut self, now: Now) {
        if self.output.len() == 0 {
            self.write_by = None;
            return;
        }
        if matches!(self.state, State::Web(_)) && self.output.len() > self.config.max_output {
            self.counters.slow_consumers += 1;
            self.abort(Closed::Slow);
            return;
        }
        if self.write_by.is_none() {
            self.write_by = Some(now.instant + self.config.write_timeout);
        }
    }

    /// Ends it, sending what is queued.
    fn finish(&mut self, why: Closed) {
        if matches!(self.state, State::Closed) {
            return;
        }
        self.state = State::Closed;
        self.input = Vec::new();
        self.deadline = None;
        self.events.push_back(Event::Closed(why));
    }

    /// Ends it at once.
    fn abort(&mut self, why: Closed) {
        self.finish(why);
        self.output.clear();
        self.write_by = None;
    }
}
