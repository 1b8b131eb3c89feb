//! A scripted SIP peer: caller, called party, registrar. It knows nothing of the gateway's SIP stack, and finds fault
//! with everything that RFC 3261 does not allow.

mod callee;
mod caller;
mod dialog;
mod leg;
mod proxy;
mod registrar;
mod reliable;

pub use leg::{Leg, State};
pub use registrar::Registrar;

use crate::media::{self, Media};
use crate::message::{self, Read};
use crate::net::{Event, Net, gateway_sip, ms};
use crate::script::Script;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// RFC 3261 section 17.1.1.1.
pub const T1: Duration = Duration::from_millis(500);
pub const T2: Duration = Duration::from_secs(4);
pub const TIMEOUT: Duration = Duration::from_secs(32);

/// The credentials that phones ask for.
pub const NONCE: &str = "a1b2c3d4e5";

/// A deadline of a phone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// A request goes out again.
    Client(usize),
    /// A final answer to an INVITE goes out again.
    Server(usize),
    /// A 2xx goes out again.
    Ok(usize),
    Ring(usize),
    Act(usize),
    Cancel(usize),
    Hangup(usize),
    Hold(usize),
    Resume(usize),
    /// A change that met another one is tried again.
    Retry(usize),
    /// A reliable response goes out again.
    Progress(usize),
    /// A session is refreshed.
    Refresh(usize),
    Rtp(usize),
}

/// A request of ours.
#[derive(Debug)]
struct Client {
    leg: usize,
    method: &'static str,
    branch: String,
    bytes: Vec<u8>,
    interval: Duration,
    until: Instant,
    proceeding: bool,
    done: bool,
}

/// A request of theirs.
#[derive(Debug)]
struct Server {
    request: Read,
    /// The last response.
    response: Vec<u8>,
    /// A final response to an INVITE, other than a 2xx, waits for its ACK.
    unacked: bool,
    interval: Duration,
    until: Instant,
}

/// One phone, or a server with phones behind it.
pub struct Phone {
    pub number: usize,
    pub name: &'static str,
    pub ip: IpAddr,
    pub legs: Vec<Leg>,
    /// What to do with calls to these numbers.
    pub scripts: BTreeMap<String, Script>,
    pub registrar: Option<Registrar>,
    /// Numbers that belong to users of the registrar.
    pub forwards: BTreeMap<String, String>,
    /// User name and password that INVITEs must be signed with where a script asks for it.
    pub password: (String, String),
    clients: Vec<Client>,
    servers: Vec<Server>,
    by_key: BTreeMap<String, usize>,
    ports: BTreeMap<u16, usize>,
    unique: u64,
}

impl Phone {
    pub fn new(number: usize, name: &'static str) -> Phone {
        Phone {
            number,
            name,
            ip: IpAddr::from([10, 0, 1, number as u8 + 1]),
            legs: Vec::new(),
            scripts: BTreeMap::new(),
            registrar: None,
            forwards: BTreeMap::new(),
            password: ("gateway".into(), "open sesame".into()),
            clients: Vec::new(),
            servers: Vec::new(),
            by_key: BTreeMap::new(),
            ports: BTreeMap::new(),
            unique: 0,
        }
    }

    pub fn sip(&self) -> SocketAddr {
        SocketAddr::new(self.ip, 5060)
    }

    fn due(&self, net: &mut Net, after: Duration, due: Due) {
        net.after(after, Event::Phone(self.number, due));
    }

    /// A name that was never used before.
    fn fresh(&mut self, net: &mut Net, what: &str) -> String {
        self.unique += 1;
        format!("{what}{}{:x}", self.unique, net.random.u32())
    }

    fn port(&mut self, leg: usize) -> SocketAddr {
        let port = 20_000 + 2 * self.ports.len() as u16;
        self.ports.insert(port, leg);
        SocketAddr::new(self.ip, port)
    }

    /// A datagram arrives.
    pub fn receive(&mut self, net: &mut Net, datagram: &crate::net::Datagram) {
        if datagram.to.port() != 5060 {
            return self.on_media(net, datagram);
        }
        net.check(datagram.from == gateway_sip(), || format!("SIP from {}", datagram.from));
        if self.forward(net, datagram) {
            return;
        }
        let Some(read) = Read::parse(&datagram.data) else {
            net.fault(&format!("unreadable: {}", String::from_utf8_lossy(&datagram.data)));
        };
        if read.is_request() { self.on_request(net, &read) } else { self.on_response(net, &read) }
    }

    pub fn handle(&mut self, net: &mut Net, due: Due) {
        match due {
            Due::Client(client) => self.on_client(net, client),
            Due::Server(server) => self.on_server(net, server),
            Due::Ok(leg) => self.on_ok_again(net, leg),
            Due::Ring(leg) => self.ring(net, leg),
            Due::Act(leg) => self.act(net, leg),
            Due::Cancel(leg) => self.cancel(net, leg),
            Due::Hangup(leg) => self.hang_up(net, leg),
            Due::Hold(leg) => self.change(net, leg, true),
            Due::Resume(leg) => self.change(net, leg, false),
            Due::Retry(leg) => {
                let hold = self.legs[leg].wants_hold;
                self.change(net, leg, hold);
            }
            Due::Progress(leg) => self.on_progress_again(net, leg),
            Due::Refresh(leg) => self.refresh(net, leg),
            Due::Rtp(leg) => self.talk(net, leg),
        }
    }

    /// Sends a request and begins its transaction.
    fn begin(
        &mut self,
        net: &mut Net,
        leg: usize,
        method: &'static str,
        branch: String,
        bytes: Vec<u8>,
    ) -> usize {
        net.send(self.sip(), gateway_sip(), bytes.clone());
        let until = net.now.instant + TIMEOUT;
        self.clients.push(Client {
            leg,
            method,
            branch,
            bytes,
            interval: T1,
            until,
            proceeding: false,
            done: false,
        });
        let client = self.clients.len() - 1;
        self.due(net, T1, Due::Client(client));
        client
    }

    fn on_client(&mut self, net: &mut Net, number: usize) {
        let from = self.sip();
        let Some(client) = self.clients.get_mut(number) else { return };
        let invite = client.method == "INVITE";
        if client.done || (invite && client.proceeding) {
            return;
        }
        if net.now.instant >= client.until {
            client.done = true;
            let (leg, method) = (client.leg, client.method);
            return self.on_silence(net, leg, method);
        }
        net.send(from, gateway_sip(), client.bytes.clone());
        client.interval = if invite { client.interval * 2 } else { (client.interval * 2).min(T2) };
        let interval = client.interval;
        self.due(net, interval, Due::Client(number));
    }

    fn on_server(&mut self, net: &mut Net, number: usize) {
        let from = self.sip();
        let Some(server) = self.servers.get_mut(number) else { return };
        if !server.unacked || net.now.instant >= server.until {
            return;
        }
        net.send(from, gateway_sip(), server.response.clone());
        server.interval = (server.interval * 2).min(T2);
        let interval = server.interval;
        self.due(net, interval, Due::Server(number));
    }

    fn on_request(&mut self, net: &mut Net, read: &Read) {
        if read.method == "ACK" {
            return self.on_ack(net, read);
        }
        let key = read.transaction();
        if let Some(&number) = self.by_key.get(&key) {
            let server = &self.servers[number];
            net.check(server.request.raw == read.raw, || {
                format!("a retransmission differs: {}", String::from_utf8_lossy(&read.raw))
            });
            if !server.response.is_empty() {
                net.send(self.sip(), gateway_sip(), server.response.clone());
            }
            return;
        }
        let until = net.now.instant + TIMEOUT;
        let request = read.clone();
        self.servers.push(Server { request, response: Vec::new(), unacked: false, interval: T1, until });
        let server = self.servers.len() - 1;
        self.by_key.insert(key, server);
        match (read.method.as_str(), read.to_tag.is_empty()) {
            ("INVITE", true) => self.on_invite(net, server, read),
            ("CANCEL", _) => self.on_cancel(net, server, read),
            ("REGISTER", true) => self.on_register(net, server, read),
            ("OPTIONS", true) => self.answer(net, server, 200, "options", &[], None),
            (_, false) => self.on_in_dialog(net, server, read),
            (method, true) => net.fault(&format!("{method} outside of a dialog")),
        }
    }

    /// Answers a request.
    fn answer(
        &mut self,
        net: &mut Net,
        server: usize,
        code: u16,
        tag: &str,
        headers: &[(sip_codec::Name<'_>, &str)],
        body: Option<&str>,
    ) {
        let from = self.sip();
        let entry = &mut self.servers[server];
        entry.response = message::respond(&entry.request, gateway_sip(), code, tag, headers, body);
        net.send(from, gateway_sip(), entry.response.clone());
        if entry.request.method == "INVITE" && code >= 300 {
            entry.unacked = true;
            entry.interval = T1;
            entry.until = net.now.instant + TIMEOUT;
            self.due(net, T1, Due::Server(server));
        }
    }

    fn on_ack(&mut self, net: &mut Net, read: &Read) {
        if let Some(&server) = self.by_key.get(&read.transaction()) {
            self.servers[server].unacked = false;
            return;
        }
        if let Some(leg) = self.leg_of(read) {
            self.on_ok_acknowledged(net, leg, read);
        }
    }

    /// The leg that a request within a dialog belongs to.
    fn leg_of(&self, read: &Read) -> Option<usize> {
        let (local, remote) =
            if read.is_request() { (&read.to_tag, &read.from_tag) } else { (&read.from_tag, &read.to_tag) };
        self.legs.iter().position(|leg| {
            leg.call_id == read.call_id
                && leg.local_tag == *local
                && (leg.remote_tag.is_empty() || leg.remote_tag == *remote)
        })
    }

    fn on_response(&mut self, net: &mut Net, read: &Read) {
        let found = self
            .clients
            .iter()
            .position(|client| client.branch == read.branch && client.method == read.method);
        let Some(number) = found else {
            net.fault(&format!("a response to nothing: {}", String::from_utf8_lossy(&read.raw)));
        };
        let client = &mut self.clients[number];
        client.proceeding = true;
        let (leg, first) = (client.leg, !client.done);
        client.done |= read.code >= 200;
        match client.method {
            "INVITE" if self.legs[leg].is_reinvite(number) => {
                self.on_change_response(net, number, leg, read, first);
            }
            "INVITE" => self.on_invite_response(net, number, leg, read),
            "PRACK" if first && read.code >= 200 => self.on_prack_response(net, leg, read),
            "UPDATE" if first && read.code >= 200 => self.on_refresh_response(net, leg, read),
            "BYE" if first && read.code >= 200 => self.on_bye_response(net, leg, read),
            _ => {}
        }
    }

    /// Sound for one of our legs.
    fn on_media(&mut self, net: &mut Net, datagram: &crate::net::Datagram) {
        if datagram.to.port() % 2 == 1 || media::is_rtcp(&datagram.data) {
            return;
        }
        let Some(&number) = self.ports.get(&datagram.to.port()) else {
            net.fault(&format!("RTP at {}", datagram.to));
        };
        let Some(arrived) = media::read(&datagram.data) else {
            net.fault(&format!("not RTP, at {}", datagram.to));
        };
        let leg = &mut self.legs[number];
        if leg.is_over() || datagram.to != leg.local_media {
            return;
        }
        net.check(arrived.payload_type == 0, || format!("payload type {}", arrived.payload_type));
        let held = leg.held_since.filter(|since| net.now.instant - *since > ms(1500));
        net.check(held.is_none(), || format!("call {}: sound while it is held", leg.script.call));
        leg.media.hear(net, &arrived);
        if leg.media.crossed {
            net.states.reach("rollover_edge_to_phone");
        }
    }

    /// The next packet of sound.
    fn talk(&mut self, net: &mut Net, number: usize) {
        let leg = &mut self.legs[number];
        if leg.is_over() {
            return;
        }
        if let (Some(remote), true) = (leg.remote_media, leg.may_send) {
            let (sequence, timestamp, payload) = leg.media.next();
            let bytes = media::write(0, sequence as u16, timestamp, leg.media.ssrc, &payload);
            net.send(leg.local_media, remote, bytes);
        }
        self.due(net, ms(media::EVERY_MS), Due::Rtp(number));
    }

    fn start_media(&mut self, net: &mut Net, leg: usize) {
        if !std::mem::replace(&mut self.legs[leg].talking, true) {
            self.due(net, ms(1), Due::Rtp(leg));
        }
    }

    fn new_media(net: &mut Net, script: &Script, party: u8) -> Media {
        Media::new(net, script.call, party, false)
    }
}
