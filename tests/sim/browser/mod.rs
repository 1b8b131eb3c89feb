//! A page in a browser: WebSocket, the JSON schema, and a peer connection for each call.

mod call;
mod request;

pub use call::{Call, State};

use crate::gateway::Gateway;
use crate::net::{Datagram, Event, Net, Stream, ms};
use crate::script::Script;
use crate::socket::{Heard, Socket};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A deadline of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Signs in, again where the connection was lost.
    Open,
    Ring(usize),
    Act(usize),
    Cancel(usize),
    Hangup(usize),
    Hold(usize),
    Resume(usize),
    Roam(usize),
    Restart(usize),
    /// The browser dies, with everything in it.
    Die,
    Rtp(usize),
    Peer(usize),
}

/// A request that waits for its answer.
#[derive(Debug)]
struct Asked {
    kind: &'static str,
    call: Option<usize>,
}

/// One page.
pub struct Page {
    pub number: usize,
    pub user: String,
    pub password: String,
    pub ip: IpAddr,
    pub connection: Option<usize>,
    socket: Option<Socket>,
    pub signed_in: bool,
    pub registered: bool,
    /// It wants to be called.
    pub wants_register: bool,
    /// Nothing runs in it any more.
    pub dead: bool,
    /// It was closed, or told that its session is over: it doesn't come back.
    pub gone: bool,
    pub calls: Vec<Call>,
    /// What to do with calls from these users.
    pub scripts: BTreeMap<String, Script>,
    /// Calls that wait for the sign-in.
    waiting: Vec<(Script, String)>,
    asked: BTreeMap<u64, Asked>,
    next_id: u64,
    seq: u64,
    next_port: u16,
}

impl Page {
    pub fn new(number: usize, user: &str, password: &str) -> Page {
        Page {
            number,
            user: user.into(),
            password: password.into(),
            ip: IpAddr::from([10, 0, 2, number as u8 + 1]),
            connection: None,
            socket: None,
            signed_in: false,
            registered: false,
            wants_register: true,
            dead: false,
            gone: false,
            calls: Vec::new(),
            scripts: BTreeMap::new(),
            waiting: Vec::new(),
            asked: BTreeMap::new(),
            next_id: 0,
            seq: 0,
            next_port: 40_000,
        }
    }

    fn due(&self, net: &mut Net, after: Duration, due: Due) {
        net.after(after, Event::Browser(self.number, due));
    }

    /// Where its connection seems to come from.
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 50_000)
    }

    pub fn handle(&mut self, net: &mut Net, gateway: &mut Gateway, due: Due) {
        if self.dead {
            return;
        }
        match due {
            Due::Open => self.open(net, gateway),
            Due::Ring(call) => self.ring(net, gateway, call),
            Due::Act(call) => self.act(net, gateway, call),
            Due::Cancel(call) => self.cancel(net, gateway, call),
            Due::Hangup(call) => self.hang_up(net, gateway, call),
            Due::Hold(call) => self.hold(net, gateway, call, true),
            Due::Resume(call) => self.hold(net, gateway, call, false),
            Due::Roam(call) => self.roam(net, call),
            Due::Restart(call) => self.restart(net, gateway, call),
            Due::Die => self.die(net, gateway),
            Due::Rtp(call) => self.talk(net, call),
            Due::Peer(call) => self.wake(net, call),
        }
    }

    /// Connects and signs in.
    fn open(&mut self, net: &mut Net, gateway: &mut Gateway) {
        if self.gone || self.connection.is_some() {
            return;
        }
        let connection = gateway.connect(net, self.number);
        let (socket, first) = Socket::new(&mut net.random);
        self.connection = Some(connection);
        (self.socket, self.signed_in, self.seq) = (Some(socket), false, 0);
        self.asked.clear();
        gateway.up(net, connection, Stream::Bytes(first));
    }

    /// Sends a request; gives its id.
    fn ask(
        &mut self,
        net: &mut Net,
        gateway: &mut Gateway,
        kind: &'static str,
        call: Option<usize>,
        fields: Value,
    ) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        let mut message = json!({"type": kind, "id": id});
        if let (Some(all), Value::Object(fields)) = (message.as_object_mut(), fields) {
            all.extend(fields);
        }
        if let (Some(all), Some(call)) = (message.as_object_mut(), call) {
            all.insert("call".into(), self.calls[call].key.clone().into());
        }
        let Some(connection) = self.connection else { return id };
        self.asked.insert(id, Asked { kind, call });
        net.note(|| format!("  page {} says {}", self.number, brief(&message)));
        let bytes = Socket::write(&mut net.random, 1, message.to_string().as_bytes());
        gateway.up(net, connection, Stream::Bytes(bytes));
        id
    }

    /// Something arrives on its connection.
    pub fn receive(&mut self, net: &mut Net, gateway: &mut Gateway, connection: usize, stream: Stream) {
        if self.dead || self.connection != Some(connection) {
            return;
        }
        let Stream::Bytes(bytes) = stream else { return self.lost(net, gateway) };
        let Some(socket) = &mut self.socket else { return };
        for heard in socket.receive(&bytes) {
            match heard {
                Heard::Open => {
                    let fields = json!({"version": 1, "user": self.user, "password": self.password});
                    self.ask(net, gateway, "connect", None, fields);
                }
                Heard::Text(text) => self.on_text(net, gateway, &text),
                Heard::Ping(payload) => {
                    let pong = Socket::write(&mut net.random, 10, &payload);
                    gateway.up(net, connection, Stream::Bytes(pong));
                }
                Heard::Close => {
                    let close = Socket::write(&mut net.random, 8, &1000_u16.to_be_bytes());
                    gateway.up(net, connection, Stream::Bytes(close));
                }
                Heard::Wrong(what) => net.fault(&format!("WebSocket: {what}")),
            }
        }
    }

    /// Its connection is gone. This version of the schema has no way back into a session: calls go on until the
    /// gateway's grace is over, which the page can't hear of.
    fn lost(&mut self, net: &mut Net, gateway: &mut Gateway) {
        if let Some(connection) = self.connection.take() {
            gateway.up(net, connection, Stream::End);
        }
        (self.socket, self.signed_in, self.registered) = (None, false, false);
        for call in &mut self.calls {
            call.orphan(net);
        }
        if !self.gone {
            self.due(net, ms(1500), Due::Open);
        }
    }

    /// Cuts the connection under it.
    pub fn cut(&mut self, net: &mut Net, gateway: &mut Gateway) {
        let Some(connection) = self.connection else { return };
        net.states.reach("connection_reset");
        gateway.up(net, connection, Stream::Reset);
        self.lost(net, gateway);
    }

    /// Closes it as a user does.
    pub fn close(&mut self, net: &mut Net, gateway: &mut Gateway) {
        self.gone = true;
        if let Some(connection) = self.connection {
            let close = Socket::write(&mut net.random, 8, &1001_u16.to_be_bytes());
            gateway.up(net, connection, Stream::Bytes(close));
        }
    }

    /// Power off: nothing is said any more. Half of the time not even by the system.
    fn die(&mut self, net: &mut Net, gateway: &mut Gateway) {
        net.note(|| format!("  page {} dies", self.number));
        if self.calls.iter().any(|call| call.state == State::Up) {
            net.states.reach("browser_gone_mid_call");
        }
        if let Some(connection) = self.connection.take() {
            if net.random.chance(0.5) {
                gateway.up(net, connection, Stream::Reset);
            }
            gateway.connections[connection].dead = true;
        }
        self.dead = true;
        self.gone = true;
        for call in &mut self.calls {
            call.die();
        }
    }

    fn on_text(&mut self, net: &mut Net, gateway: &mut Gateway, text: &str) {
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            net.fault(&format!("not JSON: {text}"))
        };
        net.note(|| format!("  page {} hears {}", self.number, brief(&message)));
        let kind = message["type"].as_str().unwrap_or("").to_owned();
        if kind == "ok" || kind == "error" {
            let Some(asked) = message["id"].as_u64().and_then(|id| self.asked.remove(&id)) else {
                net.fault(&format!("an answer to nothing: {text}"));
            };
            return self.on_reply(net, gateway, &asked, kind == "ok", &message);
        }
        self.seq += 1;
        net.check(message["seq"].as_u64() == Some(self.seq), || {
            format!("{text} instead of number {}", self.seq)
        });
        self.on_event(net, gateway, &kind, &message);
    }

    /// A datagram arrives.
    pub fn datagram(&mut self, net: &mut Net, datagram: &Datagram) {
        if self.dead {
            return;
        }
        let to = net.inside(datagram.to);
        let Some(number) = self.calls.iter().position(|call| call.owns(to)) else { return };
        if let Some(peer) = &mut self.calls[number].peer {
            peer.receive(net, datagram, to);
        }
        self.settle(net, number);
    }

    fn wake(&mut self, net: &mut Net, number: usize) {
        if let Some(peer) = &mut self.calls[number].peer {
            peer.wake(net);
        }
        self.settle(net, number);
    }

    /// After anything that a call's peer connection did.
    fn settle(&mut self, net: &mut Net, number: usize) {
        let Some(peer) = &mut self.calls[number].peer else { return };
        peer.after(net);
        peer.arm(net, self.number, Due::Peer(number));
        let connected = peer.connected;
        if connected && !std::mem::replace(&mut self.calls[number].talking, true) {
            self.due(net, ms(1), Due::Rtp(number));
        }
    }

    fn talk(&mut self, net: &mut Net, number: usize) {
        let call = &mut self.calls[number];
        let Some(peer) = &mut call.peer else { return };
        if call.state == State::Up || call.state == State::Orphan {
            peer.talk(net);
        }
        self.settle(net, number);
        self.due(net, ms(crate::peer::EVERY_MS), Due::Rtp(number));
    }

    fn addresses(&mut self) -> Vec<SocketAddr> {
        self.next_port += 1;
        vec![SocketAddr::new(self.ip, self.next_port)]
    }
}

fn brief(message: &Value) -> String {
    let mut message = message.clone();
    if let Some(sdp) = message.get_mut("sdp") {
        let text = sdp.as_str().unwrap_or("");
        let line = text.lines().find(|line| line.starts_with("o=")).unwrap_or("");
        *sdp = format!("{line} …").into();
    }
    message.to_string()
}
