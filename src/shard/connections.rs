//! The table of connections. HTTP and WebSocket: their machines, their timers, and where their sessions live; what
//! speaks SIP is dealt with in `flows`.

use super::config::Config;
use super::core::{Core, Output};
use super::exchanges::Asking;
use super::flows::{SPARES, Tally, Use, Wire};
use super::mail::Mail;
use super::site::{Answer, Door, SIP, SUBPROTOCOL, Site};
use crate::base::{Deadline, FlowId, Machine, Now, ShardId, Slab, TimerId, Wheel, counters};
use crate::http::{self, Connection, Event};
use crate::{signal, sip};
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
    /// With its port.
    pub(super) address: SocketAddr,
    /// It is a SIP phone's.
    pub(super) sip: Option<Box<Use>>,
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

/// A place in the table.
#[derive(Debug)]
pub(super) enum Line {
    /// A UDP listener, for the sake of its id.
    Listener,
    /// Kept for a connection that the SIP stack will ask for.
    Spare,
    /// HTTP, and WebSocket.
    Web(Box<Web>),
    /// SIP over TCP or TLS.
    Sip(Box<Wire>),
}

/// The table.
#[derive(Debug)]
pub(super) struct Connections {
    pub(super) table: Slab<FlowId, Line>,
    pub(super) sip: Tally,
    wheel: Wheel<FlowId>,
    site: Site,
    config: Arc<http::Config>,
    http: http::Counters,
    counters: Counters,
    listeners: usize,
    /// HTTP and WebSocket connections that there may be.
    cap: usize,
}

impl Connections {
    pub(super) fn new(shard: ShardId, config: &Config) -> Connections {
        Connections {
            table: Slab::new(
                shard,
                config.caps.connections + config.caps.sip_connections + config.realms.len() + SPARES,
            ),
            sip: Tally::default(),
            wheel: Wheel::default(),
            site: Site::new(&config.http),
            config: Arc::clone(&config.connection),
            http: http::Counters::default(),
            counters: Counters::default(),
            listeners: 0,
            cap: config.caps.connections,
        }
    }

    /// A place for a UDP listener. Taken before any connection.
    pub(super) fn reserve(&mut self) -> FlowId {
        self.listeners += 1;
        match self.table.insert(Line::Listener) {
            Ok(flow) => flow,
            Err(_) => unreachable!("the table has room for a listener of each realm"),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len() - self.listeners - self.sip.spares()
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
        for (_, line) in self.table.iter() {
            if let Line::Web(web) = line {
                sum.add(&web.connection.counters());
            }
        }
        sum
    }

    /// The same of SIP over TCP and TLS.
    pub(super) fn sip_traffic(&self) -> sip::Traffic {
        let mut sum = self.sip.traffic;
        for (_, line) in self.table.iter() {
            if let Line::Sip(wire) = line {
                sum.add(&wire.connection.traffic());
            }
        }
        sum
    }

    pub(super) fn check_invariants(&self) {
        assert!(self.wheel.len() <= self.table.len(), "a timer outlived its connection");
    }

    pub(super) fn web(&mut self, flow: FlowId) -> Option<&mut Web> {
        match self.table.get_mut(flow)? {
            Line::Web(web) => Some(web),
            _ => None,
        }
    }

    fn arm(&mut self, flow: FlowId) {
        let Some(Line::Web(web)) = self.table.get_mut(flow) else { return };
        let wanted = web.connection.poll_timeout().map(|deadline| deadline.at);
        rearm(&mut self.wheel, flow, &mut web.timer, wanted);
    }

    pub(super) fn arm_wire(&mut self, flow: FlowId) {
        let Some(Line::Sip(wire)) = self.table.get_mut(flow) else { return };
        let wanted = wire.connection.poll_timeout().map(|deadline| deadline.at);
        rearm(&mut self.wheel, flow, &mut wire.timer, wanted);
    }

    pub(super) fn remove_wire(&mut self, flow: FlowId) {
        if !matches!(self.table.get(flow), Some(Line::Sip(_))) {
            return;
        }
        let Some(Line::Sip(wire)) = self.table.remove(flow) else { return };
        if let Some((_, timer)) = wire.timer {
            self.wheel.cancel(timer);
        }
        self.sip.forget(&wire);
    }

    fn remove(&mut self, flow: FlowId) -> Option<Box<Web>> {
        if !matches!(self.table.get(flow), Some(Line::Web(_))) {
            return None;
        }
        let Line::Web(web) = self.table.remove(flow)? else { return None };
        if let Some(using) = &web.sip {
            self.sip.fall(using.flow.transport);
        }
        if let Some((_, timer)) = web.timer {
            self.wheel.cancel(timer);
        }
        self.http.add(&web.connection.counters());
        self.counters.closed += 1;
        Some(web)
    }
}

/// Arms a connection's timer.
fn rearm(
    wheel: &mut Wheel<FlowId>,
    flow: FlowId,
    timer: &mut Option<(Instant, TimerId)>,
    wanted: Option<Instant>,
) {
    match (wanted, &timer) {
        // One that is armed too early wakes once for nothing; bytes every 20 ms need no new timer each time.
        (Some(at), Some((armed, _))) if *armed <= at => return,
        (None, _) => return,
        _ => {}
    }
    if let Some((_, timer)) = timer.take() {
        wheel.cancel(timer);
    }
    *timer = wanted.map(|at| (at, wheel.insert(at, flow)));
}

impl Core {
    /// A browser connected. `None`: no room, close the connection.
    pub fn opened(&mut self, now: Now, remote: SocketAddr) -> Option<FlowId> {
        let connections = &mut self.connections;
        let connection = Connection::new(now, Arc::clone(&connections.config));
        let web = Web {
            connection,
            remote: remote.ip(),
            address: remote,
            sip: None,
            known: false,
            home: None,
            cut: false,
            timer: None,
            number: 0,
            asking: None,
            told: false,
        };
        let room = connections.len() - connections.sip.wires() < connections.cap;
        let place = room.then(|| connections.table.insert(Line::Web(Box::new(web))).ok()).flatten();
        let Some(flow) = place else {
            connections.counters.full += 1;
            return None;
        };
        connections.counters.opened += 1;
        connections.arm(flow);
        Some(flow)
    }

    /// A connection brought bytes.
    pub fn bytes(&mut self, now: Now, flow: FlowId, bytes: &[u8]) {
        if self.is_wire(flow) {
            self.touch_wire(now, flow, |connection| connection.handle_bytes(now, bytes));
        } else {
            self.touch(now, flow, |connection| connection.handle_bytes(now, bytes));
        }
        self.settle(now);
    }

    /// The far side will send no more on a connection, but may still read.
    pub fn ended(&mut self, now: Now, flow: FlowId) {
        if self.is_wire(flow) {
            self.touch_wire(now, flow, sip::Connection::handle_eof);
        } else {
            self.end_poll(now, flow);
            self.touch(now, flow, |connection| connection.handle_eof(now));
        }
        self.settle(now);
    }

    /// What a connection has to write next; empty where nothing waits.
    pub fn unsent(&self, flow: FlowId) -> &[u8] {
        match self.connections.table.get(flow) {
            Some(Line::Web(web)) => web.connection.output(),
            Some(Line::Sip(wire)) => wire.connection.output(),
            _ => &[],
        }
    }

    /// Says that so many bytes of [`Core::unsent`] were taken.
    pub fn sent(&mut self, now: Now, flow: FlowId, count: usize) {
        if self.is_wire(flow) {
            self.touch_wire(now, flow, |connection| connection.consume_output(now, count));
        } else {
            self.touch(now, flow, |connection| connection.consume_output(now, count));
        }
        self.settle(now);
    }

    /// A connection is gone: it failed.
    pub fn closed(&mut self, now: Now, flow: FlowId) {
        if self.is_wire(flow) {
            self.remove_wire(now, flow);
        } else {
            self.on_end(now, flow);
            self.connections.remove(flow);
        }
        self.settle(now);
    }

    fn is_wire(&self, flow: FlowId) -> bool {
        matches!(self.connections.table.get(flow), Some(Line::Sip(_)))
    }

    pub(super) fn expire_connections(&mut self, now: Now) {
        while let Some(flow) = self.connections.wheel.expire(now.instant) {
            if let Some(Line::Sip(wire)) = self.connections.table.get_mut(flow) {
                wire.timer = None;
                self.touch_wire(now, flow, |connection| connection.handle_timeout(now));
                continue;
            }
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
        if self.is_wire(flow) {
            return self.touch_wire(now, flow, sip::Connection::close);
        }
        self.touch(now, flow, |connection| connection.close(now, NORMAL));
    }

    /// Closes a connection of which a message was lost.
    pub(super) fn cut_connection(&mut self, now: Now, flow: FlowId, code: u16) {
        if self.is_wire(flow) {
            return self.touch_wire(now, flow, sip::Connection::close);
        }
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
                Event::Text(text) if web.is_phone() => self.on_phone_message(now, flow, text.into_bytes()),
                Event::Binary(data) => self.on_phone_message(now, flow, data),
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
            Answer::Upgrade(Door::Phone) => {
                if web.connection.upgrade(now, Some(SIP)).is_ok() {
                    web.connection.allow_binary();
                    self.begin_phone(flow);
                }
            }
            Answer::Upgrade(Door::Browser) => {
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
            None => {
                self.hub.handle_input(now, signal::Input::Message { flow, text: &text });
                // At once: what came with it in one read goes the same way.
                if let Some((to, source, text)) = self.hub.take_move(flow) {
                    self.move_text(flow, to, source, text);
                }
            }
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
        self.on_flow_end(now, flow);
        let Some(web) = self.connections.web(flow).filter(|web| web.known) else { return };
        web.known = false;
        match web.home.take() {
            Some(to) => self.outputs.push_back(Output::Mail { to, mail: Mail::Closed { flow } }),
            None => self.hub.handle_input(now, signal::Input::Closed { flow }),
        }
    }
}
