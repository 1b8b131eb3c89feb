//! HTTP and WebSocket connections: their machines, their timers, and where their sessions live.

use super::config::Config;
use super::core::{Core, Output};
use super::exchanges::Asking;
use super::mail::Mail;
use super::site::{Answer, SUBPROTOCOL, Site};
use crate::base::{Deadline, FlowId, Machine, Now, ShardId, Slab, TimerId, Wheel, counters};
use crate::http::{self, Connection, Event};
use crate::signal;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// RFC 6455 section 7.4.1: the purpose of the connection has been fulfilled.
const NORMAL: u16 = 1000;

counters! {
    /// What happened to connections.
    pub struct Counters {
        /// Connections taken.
        opened,
        /// Connections refused because the table was full.
        full,
        /// Connections that are over.
        closed,
        /// Texts and closings for connections that are gone.
        stale,
    }
}

#[derive(Debug)]
pub(super) struct Web {
    pub(super) connection: Connection,
    pub(super) remote: IpAddr,
    /// The hub hears of it: it is a WebSocket.
    known: bool,
    /// The shard of the session, where it is another.
    home: Option<ShardId>,
    /// A message of it was lost: what comes after is not heard.
    cut: bool,
    timer: Option<(Instant, TimerId)>,
    /// Its HTTP requests about sessions are counted.
    pub(super) number: u32,
    /// The one that waits for its response.
    pub(super) asking: Option<Box<Asking>>,
    /// A `Write` is on its way to the owner.
    told: bool,
}

/// The table. A UDP listener has a place in it for the sake of its id.
#[derive(Debug)]
pub(super) struct Connections {
    table: Slab<FlowId, Option<Box<Web>>>,
    wheel: Wheel<FlowId>,
    site: Site,
    config: Arc<http::Config>,
    http: http::Counters,
    counters: Counters,
    listeners: usize,
}

impl Connections {
    pub(super) fn new(shard: ShardId, config: &Config) -> Connections {
        Connections {
            table: Slab::new(shard, config.caps.connections + config.realms.len()),
            wheel: Wheel::default(),
            site: Site::new(&config.http),
            config: Arc::clone(&config.connection),
            http: http::Counters::default(),
            counters: Counters::default(),
            listeners: 0,
        }
    }

    /// A place for a UDP listener. Taken before any connection.
    pub(super) fn reserve(&mut self) -> FlowId {
        self.listeners += 1;
        match self.table.insert(None) {
            Ok(flow) => flow,
            Err(_) => unreachable!("the table has room for a listener of each realm"),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len() - self.listeners
    }

    pub(super) fn poll_timeout(&self) -> Option<Deadline> {
        self.wheel.next().map(|at| Deadline { at, why: "connection" })
    }

    pub(super) fn counters(&self) -> &Counters {
        &self.counters
    }

    /// The counts of all connections, those that are over included.
    pub(super) fn http_counters(&self) -> http::Counters {
        let mut sum = self.http;
        self.table
            .iter()
            .filter_map(|(_, web)| web.as_ref())
            .for_each(|web| sum.add(&web.connection.counters()));
        sum
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.wheel.len() <= self.table.len(), "a timer outlived its connection");
    }

    pub(super) fn web(&mut self, flow: FlowId) -> Option<&mut Web> {
        self.table.get_mut(flow)?.as_deref_mut()
    }

    fn arm(&mut self, flow: FlowId) {
        let Some(Some(web)) = self.table.get_mut(flow) else { return };
        let wanted = web.connection.poll_timeout().map(|deadline| deadline.at);
        match (wanted, &web.timer) {
            // One that is armed too early wakes once for nothing; bytes every 20 ms need no new timer each time.
            (Some(at), Some((armed, _))) if *armed <= at => return,
            (None, _) => return,
            _ => {}
        }
        if let Some((_, timer)) = web.timer.take() {
            self.wheel.cancel(timer);
        }
        web.timer = wanted.map(|at| (at, self.wheel.insert(at, flow)));
    }

    fn remove(&mut self, flow: FlowId) -> Option<Box<Web>> {
        if !matches!(self.table.get(flow), Some(Some(_))) {
            return None;
        }
        let web = self.table.remove(flow)??;
        if let Some((_, timer)) = web.timer {
            self.wheel.cancel(timer);
        }
        self.http.add(&web.connection.counters());
        self.counters.closed += 1;
        Some(web)
    }
}

impl Core {
    /// A browser connected. `None`: no room, close the connection.
    pub fn opened(&mut self, now: Now, remote: SocketAddr) -> Option<FlowId> {
        let connections = &mut self.connections;
        let connection = Connection::new(now, Arc::clone(&connections.config));
        let remote = remote.ip();
        let web = Web {
            connection,
            remote,
            known: false,
            home: None,
            cut: false,
            timer: None,
            number: 0,
            asking: None,
            told: false,
        };
        let Ok(flow) = connections.table.insert(Some(Box::new(web))) else {
            connections.counters.full += 1;
            return None;
        };
        connections.counters.opened += 1;
        connections.arm(flow);
        Some(flow)
    }

    /// A connection brought bytes.
    pub fn bytes(&mut self, now: Now, flow: FlowId, bytes: &[u8]) {
        self.touch(now, flow, |connection| connection.handle_bytes(now, bytes));
        self.settle(now);
    }

    /// The far side will send no more on a connection, but may still read.
    pub fn ended(&mut self, now: Now, flow: FlowId) {
        self.end_poll(now, flow);
        self.touch(now, flow, |connection| connection.handle_eof(now));
        self.settle(now);
    }

    /// What a connection has to write next; empty where nothing waits.
    pub fn unsent(&self, flow: FlowId) -> &[u8] {
        match self.connections.table.get(flow) {
            Some(Some(web)) => web.connection.output(),
            _ => &[],
        }
    }

    /// Says that so many bytes of [`Core::unsent`] were taken.
    pub fn sent(&mut self, now: Now, flow: FlowId, count: usize) {
        self.touch(now, flow, |connection| connection.consume_output(now, count));
        self.settle(now);
    }

    /// A connection is gone: it failed.
    pub fn closed(&mut self, now: Now, flow: FlowId) {
        self.on_end(now, flow);
        self.connections.remove(flow);
        self.settle(now);
    }

    pub(super) fn expire_connections(&mut self, now: Now) {
        while let Some(flow) = self.connections.wheel.expire(now.instant) {
            if let Some(web) = self.connections.web(flow) {
                web.timer = None;
            }
            self.touch(now, flow, |connection| {
                if connection.poll_timeout().is_some_and(|deadline| deadline.at <= now.instant) {
                    connection.handle_timeout(now);
                }
            });
        }
    }

    /// A session sends a text to a connection of ours.
    pub(super) fn send_text(&mut self, now: Now, flow: FlowId, text: &str) {
        // A connection that is closing hears no more; its end was or will be told.
        self.touch(now, flow, |connection| {
            let _ = connection.send_text(now, text);
        });
    }

    /// A session wants a connection of ours closed.
    pub(super) fn close_connection(&mut self, now: Now, flow: FlowId) {
        self.touch(now, flow, |connection| connection.close(now, NORMAL));
    }

    /// Closes a connection of which a message was lost.
    pub(super) fn cut_connection(&mut self, now: Now, flow: FlowId, code: u16) {
        if let Some(web) = self.connections.web(flow) {
            web.cut = true;
        }
        self.touch(now, flow, |connection| connection.close(now, code));
    }

    /// Lets a connection act, then does all that follows: requests are answered, texts passed on, the owner told of
    /// bytes to write, the connection closed.
    pub(super) fn touch(&mut self, now: Now, flow: FlowId, act: impl FnOnce(&mut Connection)) {
        let Some(web) = self.connections.web(flow) else {
            self.connections.counters.stale += 1;
            return;
        };
        act(&mut web.connection);
        while let Some(web) = self.connections.web(flow)
            && let Some(event) = web.connection.poll_event()
        {
            match event {
                Event::Request(request) => self.answer(now, flow, &request),
                Event::Text(text) => self.on_text(now, flow, text),
                Event::Closed(_) => self.on_end(now, flow),
            }
        }
        self.after(flow);
    }

    fn after(&mut self, flow: FlowId) {
        let Some(web) = self.connections.web(flow) else { return };
        if web.connection.wants_close() {
            self.connections.remove(flow);
            self.outputs.push_back(Output::Close { flow });
            return;
        }
        let waits = !web.connection.output().is_empty();
        if waits && !web.told {
            self.outputs.push_back(Output::Write { flow });
        }
        web.told = waits;
        self.connections.arm(flow);
    }

    fn answer(&mut self, now: Now, flow: FlowId, request: &http::Request) {
        let answer = self.connections.site.answer(request, self.draining);
        let Some(web) = self.connections.web(flow) else { return };
        let source = Some(web.remote);
        match answer {
            Answer::Upgrade => {
                if web.connection.upgrade(now, Some(SUBPROTOCOL)).is_ok() {
                    web.known = true;
                    self.hub.handle_input(now, signal::Input::Opened { flow, source });
                }
            }
            Answer::Ask(what, template) => self.ask(now, flow, what, template),
            // Fails only where the connection closed meanwhile.
            Answer::Respond(response) => {
                let _ = web.connection.respond(now, response);
            }
        }
    }

    fn on_text(&mut self, now: Now, flow: FlowId, text: String) {
        match self.connections.web(flow).and_then(|web| web.home) {
            Some(_) if self.connections.web(flow).is_some_and(|web| web.cut) => {}
            Some(to) => {
                self.counters.steered_texts += 1;
                self.outputs.push_back(Output::Mail { to, mail: Mail::Text { flow, text } });
            }
            None => self.hub.handle_input(now, signal::Input::Message { flow, text: &text }),
        }
    }

    /// The session of a connection of ours lives on another shard: this and all later texts go there.
    pub(super) fn move_text(&mut self, flow: FlowId, to: ShardId, source: Option<IpAddr>, text: String) {
        if let Some(web) = self.connections.web(flow) {
            web.home = Some(to);
            self.counters.steered_texts += 1;
            self.outputs.push_back(Output::Mail { to, mail: Mail::Moved { flow, source, text } });
        }
    }

    /// Tells whoever is home to the session. Once.
    fn on_end(&mut self, now: Now, flow: FlowId) {
        self.abandon(now, flow);
        let Some(web) = self.connections.web(flow).filter(|web| web.known) else { return };
        web.known = false;
        match web.home.take() {
            Some(to) => self.outputs.push_back(Output::Mail { to, mail: Mail::Closed { flow } }),
            None => self.hub.handle_input(now, signal::Input::Closed { flow }),
        }
    }
}
