//! SIP over connections, TCP, TLS and WebSocket alike: who hears what they bring, who sends by them, who is told of
//! their end.
//!
//! A connection stays on the shard that accepted or made it. What it brings goes to each message's home; whichever
//! shard was given something may send by it, and hears of its end. A message of it that found no room between two
//! shards cuts it: a stream promises that none is missing.

use super::connections::{Line, Web};
use super::core::{Core, Output};
use super::mail::Mail;
use super::trace::Way;
use crate::base::{FlowId, Key as _, Machine, Map, Now, RealmId, ShardId, TimerId, counters};
use crate::leg::TrunkId;
use crate::sip::{self, Arrival, Began, Transport};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// Places kept ready for connections of the stack's own.
pub(super) const SPARES: usize = 8;
/// What keeps a flow alive (RFC 5626 section 4.4.1), and what answers it.
const PING: &[u8] = b"\r\n\r\n";
const PONG: &str = "\r\n";

counters! {
    /// What happened to connections of SIP.
    pub struct Counters {
        /// Connections taken.
        accepted,
        /// Connections asked for.
        begun,
        /// Connections asked for that came up.
        risen,
        /// Connections refused since there were too many.
        full,
        /// Connections refused since their source has too many.
        full_source,
        /// Connections that are over.
        closed,
        /// Messages for connections that were gone.
        stale,
        /// Messages and pings over WebSocket.
        websocket_in,
        /// Messages that were sent over WebSocket.
        websocket_out,
    }
}

/// The SIP side of a connection.
#[derive(Debug)]
pub(super) struct Use {
    pub(super) flow: sip::Flow,
    /// Other shards that were given messages of it, or sent by it.
    shards: Vec<ShardId>,
    /// Its end was told.
    over: bool,
}

/// A connection of TCP or TLS.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) connection: sip::Connection,
    pub(super) using: Use,
    pub(super) timer: Option<(Instant, TimerId)>,
    /// A `Write` is on its way to the owner.
    told: bool,
    /// Counted for its source.
    source: Option<IpAddr>,
}

/// What is counted over all of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) counters: Counters,
    pub(super) traffic: sip::Traffic,
    /// Connections by transport.
    pub(super) live: [usize; 5],
    sources: Map<IpAddr, usize>,
    spares: usize,
}

impl Use {
    pub(super) fn new(flow: sip::Flow) -> Use {
        Use { flow, shards: Vec::new(), over: false }
    }

    fn add(&mut self, shard: ShardId) {
        if shard != self.flow.id.shard() && !self.shards.contains(&shard) {
            self.shards.push(shard);
        }
    }
}

impl Tally {
    pub(super) fn rise(&mut self, transport: Transport) {
        self.live[transport as usize] += 1;
    }

    /// Connections of TCP and TLS.
    pub(super) fn wires(&self) -> usize {
        self.live[Transport::Tcp as usize] + self.live[Transport::Tls as usize]
    }

    pub(super) fn spares(&self) -> usize {
        self.spares
    }

    /// A connection is gone.
    pub(super) fn forget(&mut self, wire: &Wire) {
        self.counters.closed += 1;
        self.traffic.add(&wire.connection.traffic());
        self.fall(wire.using.flow.transport);
        if let Some(source) = wire.source
            && let Some(count) = self.sources.get_mut(&source)
        {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&source);
            }
        }
    }

    pub(super) fn fall(&mut self, transport: Transport) {
        let live = &mut self.live[transport as usize];
        *live = live.saturating_sub(1);
    }
}

impl Core {
    /// A SIP connection was accepted. `None`: no room, close it.
    pub fn sip_opened(
        &mut self,
        now: Now,
        realm: RealmId,
        transport: Transport,
        remote: SocketAddr,
    ) -> Option<FlowId> {
        let source = remote.ip().to_canonical();
        // Many phones behind one address are many; one's trunk is trusted with its own number.
        let known = self.stack.is_trunk(Some(realm), source);
        let tally = &mut self.connections.sip;
        let count = tally.sources.get(&source).copied().unwrap_or(0);
        if !known && count >= self.config.caps.sip_per_source {
            tally.counters.full_source += 1;
            return None;
        }
        if tally.wires() >= self.config.caps.sip_connections {
            tally.counters.full += 1;
            return None;
        }
        let id = self.connections.table.insert(Line::Spare);
        let Ok(id) = id else {
            self.connections.sip.counters.full += 1;
            return None;
        };
        let flow = sip::Flow { id, transport, remote, realm };
        self.seat(now, flow, Began::Far, (!known).then_some(source));
        self.connections.sip.counters.accepted += 1;
        self.arm_wire(id);
        Some(id)
    }

    fn seat(&mut self, now: Now, flow: sip::Flow, began: Began, source: Option<IpAddr>) {
        let connection = sip::Connection::new(now, began, self.config.sip.streams);
        let wire = Wire { connection, using: Use::new(flow), timer: None, told: false, source };
        let tally = &mut self.connections.sip;
        tally.rise(flow.transport);
        if let Some(source) = source {
            *tally.sources.entry(source).or_default() += 1;
        }
        if let Some(line) = self.connections.table.get_mut(flow.id) {
            *line = Line::Sip(Box::new(wire));
        }
    }

    /// The stack wants a connection; the place was kept ready for it.
    pub(super) fn connect(
        &mut self,
        now: Now,
        flow: sip::Flow,
        name: Option<Arc<str>>,
        trunk: Option<TrunkId>,
    ) {
        self.connections.sip.spares -= 1;
        let kept = trunk.is_some_and(|trunk| self.stack.is_server(trunk, &flow));
        self.seat(now, flow, if kept { Began::Kept } else { Began::Own }, None);
        self.connections.sip.counters.begun += 1;
        self.arm_wire(flow.id);
        self.outputs.push_back(Output::Connect { flow, name, trunk });
        self.restock(now);
    }

    /// Sees to it that the stack has places for its connections.
    pub(super) fn restock(&mut self, now: Now) {
        while self.connections.sip.spares < SPARES
            && self.connections.sip.wires() + self.connections.sip.spares < self.config.caps.sip_connections
            && let Ok(flow) = self.connections.table.insert(Line::Spare)
        {
            self.connections.sip.spares += 1;
            self.stack.handle_input(now, sip::Input::Spare { flow });
        }
    }

    /// A connection that was asked for is up.
    pub fn connected(&mut self, now: Now, flow: FlowId) {
        self.touch_wire(now, flow, |connection| connection.handle_connected(now));
        if let Some(Line::Sip(wire)) = self.connections.table.get(flow) {
            let flow = wire.using.flow;
            self.connections.sip.counters.risen += 1;
            self.stack.handle_input(now, sip::Input::Connected { flow });
        }
        self.settle(now);
    }

    /// Lets a connection act, then does all that follows.
    pub(super) fn touch_wire(&mut self, now: Now, flow: FlowId, act: impl FnOnce(&mut sip::Connection)) {
        let Some(Line::Sip(wire)) = self.connections.table.get_mut(flow) else { return };
        act(&mut wire.connection);
        while let Some(Line::Sip(wire)) = self.connections.table.get_mut(flow)
            && let Some(event) = wire.connection.poll_event()
        {
            let whole = wire.using.flow;
            match event {
                Arrival::Message(data) => self.on_flow_message(now, flow, data),
                Arrival::Broken { head, error } => {
                    self.stack.handle_input(now, sip::Input::Broken { flow: whole, head: &head, error });
                }
                Arrival::Closed(_) => self.on_flow_end(now, flow),
            }
        }
        self.after_wire(now, flow);
    }

    fn after_wire(&mut self, now: Now, flow: FlowId) {
        let Some(Line::Sip(wire)) = self.connections.table.get_mut(flow) else { return };
        if wire.connection.wants_close() {
            self.remove_wire(now, flow);
            self.outputs.push_back(Output::Close { flow });
            return;
        }
        let waits = !wire.connection.output().is_empty();
        if waits && !wire.told {
            self.outputs.push_back(Output::Write { flow });
        }
        wire.told = waits;
        self.arm_wire(flow);
    }

    /// Forgets a connection.
    pub(super) fn remove_wire(&mut self, now: Now, flow: FlowId) {
        self.on_flow_end(now, flow);
        self.connections.remove_wire(flow);
        self.restock(now);
    }

    fn arm_wire(&mut self, flow: FlowId) {
        self.connections.arm_wire(flow);
    }

    fn using(&mut self, flow: FlowId) -> Option<&mut Use> {
        match self.connections.table.get_mut(flow)? {
            Line::Sip(wire) => Some(&mut wire.using),
            Line::Web(web) => web.sip.as_deref_mut(),
            Line::Listener | Line::Spare => None,
        }
    }

    /// A connection brought a message: to its home.
    pub(super) fn on_flow_message(&mut self, now: Now, flow: FlowId, data: Vec<u8>) {
        let (own, shards) = (self.shard, self.shards);
        let Some(whole) = self.using(flow).map(|using| using.flow) else { return };
        let guest = Some(&whole).filter(|whole| shards > 1 && self.stack.is_guest(whole));
        let home = if shards > 1 { sip::home(&data, shards, guest) } else { own };
        if home == own {
            self.traces.sip(now, Way::In, whole.remote, &data);
            self.stack.handle_input(now, sip::Input::Message { flow: whole, data: &data });
        } else {
            if let Some(using) = self.using(flow) {
                using.add(home);
            }
            self.counters.steered_sip += 1;
            self.outputs.push_back(Output::Mail { to: home, mail: Mail::Sip { flow: whole, data } });
        }
    }

    /// A WebSocket message of a SIP phone (RFC 7118 section 5): one message, or a keep-alive (section 6).
    pub(super) fn on_phone_message(&mut self, now: Now, flow: FlowId, data: Vec<u8>) {
        self.connections.sip.counters.websocket_in += 1;
        if data == PING {
            self.touch(now, flow, |connection| {
                let _ = connection.send_text(now, PONG);
            });
        } else if data != PONG.as_bytes() {
            self.on_flow_message(now, flow, data);
        }
    }

    /// Tells whoever uses a connection that it is gone. Once.
    pub(super) fn on_flow_end(&mut self, now: Now, flow: FlowId) {
        let Some(using) = self.using(flow).filter(|using| !using.over) else { return };
        using.over = true;
        let (whole, shards) = (using.flow, std::mem::take(&mut using.shards));
        self.stack.handle_input(now, sip::Input::Failed { flow: whole });
        for to in shards {
            self.outputs.push_back(Output::Mail { to, mail: Mail::Failed { flow: whole } });
        }
    }

    /// A shard sends by a connection, of ours or another's.
    pub(super) fn send_by_flow(&mut self, now: Now, from: ShardId, flow: sip::Flow, data: Vec<u8>) {
        let (id, owner) = (flow.id, flow.id.shard());
        if owner != self.shard {
            if from == self.shard {
                self.outputs.push_back(Output::Mail { to: owner, mail: Mail::Send { flow, data } });
            }
            return;
        }
        if let Some(using) = self.using(id).filter(|using| !using.over) {
            using.add(from);
            if flow.transport == Transport::Tcp || flow.transport == Transport::Tls {
                self.touch_wire(now, id, |connection| {
                    connection.send(now, &data);
                });
            } else {
                self.connections.sip.counters.websocket_out += 1;
                self.touch(now, id, |connection| {
                    let _ = match std::str::from_utf8(&data) {
                        Ok(text) => connection.send_text(now, text),
                        Err(_) => connection.send_binary(now, data),
                    };
                });
            }
            return;
        }
        self.connections.sip.counters.stale += 1;
        if from == self.shard {
            self.stack.handle_input(now, sip::Input::Failed { flow });
        } else {
            self.outputs.push_back(Output::Mail { to: from, mail: Mail::Failed { flow } });
        }
    }

    /// A connection of SIP was accepted as a WebSocket (RFC 7118 section 4).
    pub(super) fn begin_phone(&mut self, flow: FlowId) {
        let transport = if self.config.http.certificate.is_some() { Transport::Wss } else { Transport::Ws };
        let Some(web) = self.connections.web(flow) else { return };
        let whole = sip::Flow { id: flow, transport, remote: web.address, realm: RealmId(0) };
        web.sip = Some(Box::new(Use::new(whole)));
        self.connections.sip.rise(transport);
    }

    /// Connections of SIP by transport.
    pub(super) fn sip_connections(&self) -> [(&'static str, u64); 4] {
        let live = |transport: Transport| self.connections.sip.live[transport as usize] as u64;
        [
            ("sip_tcp", live(Transport::Tcp)),
            ("sip_tls", live(Transport::Tls)),
            ("sip_ws", live(Transport::Ws)),
            ("sip_wss", live(Transport::Wss)),
        ]
    }
}

impl Web {
    /// A SIP phone's WebSocket.
    pub(super) fn is_phone(&self) -> bool {
        self.sip.is_some()
    }
}
