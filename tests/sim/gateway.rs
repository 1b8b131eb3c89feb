//! The gateway on the virtual network: whole shards, their sockets, their connections and the mail between them.

use crate::message::Read;
use crate::net::{Datagram, Event, GATEWAY, Net, Stream, gateway_sip, ms};
use crate::wiretap::Wiretap;
use bridgehead::base::{FlowId, Key, Random, RealmId, ShardId, SocketId};
use bridgehead::call::Record;
use bridgehead::net::Batch;
use bridgehead::shard::{Config, Core, Mail, Output, Places, SipPlace, WebPlace};
use bridgehead::sip;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Web media of shard 0; each further shard has the next port.
pub const WEB: u16 = 10_000;
/// Outputs of one touch beyond which a shard talks to itself.
const ENDLESS: usize = 10_000;

/// A connection between a browser and the gateway.
#[derive(Debug)]
pub struct Connection {
    pub browser: usize,
    pub shard: usize,
    pub flow: Option<FlowId>,
    /// The browser's end is open.
    pub open: bool,
    /// Nothing gets through any more, and nobody knows.
    pub dead: bool,
    up_at: Option<Instant>,
    down_at: Option<Instant>,
}

struct Shard {
    core: Core,
    sockets: BTreeMap<SocketId, SocketAddr>,
    slots: u32,
    armed: Option<Instant>,
}

/// See [`Gateway::astray`].
pub type Astray = Box<dyn FnMut(&Read) -> bool + Send>;

/// All shards of a node.
pub struct Gateway {
    shards: Vec<Shard>,
    places: BTreeMap<SocketAddr, (usize, SocketId)>,
    pub connections: Vec<Connection>,
    rings: BTreeMap<(usize, usize), VecDeque<Mail>>,
    /// Messages that a ring between two shards holds.
    pub ring_size: usize,
    /// The longest that mail takes, in milliseconds.
    pub mail_ms: u64,
    pub records: Vec<Record>,
    pub wiretap: Wiretap,
    /// Which SIP lands on another shard than its home, for tests that steer by hand; all else then lands at home.
    pub astray: Option<Astray>,
    /// Where the next connections land, for such tests.
    pub landings: VecDeque<usize>,
    /// SIP that came in.
    seen: BTreeSet<Vec<u8>>,
    batch: Batch,
    draining: bool,
}

impl Gateway {
    pub fn new(net: &mut Net, config: &Arc<Config>, shards: u8) -> Gateway {
        let mut gateway = Gateway {
            shards: Vec::new(),
            places: BTreeMap::new(),
            connections: Vec::new(),
            rings: BTreeMap::new(),
            ring_size: config.caps.mailbox,
            mail_ms: 0,
            records: Vec::new(),
            wiretap: Wiretap::default(),
            astray: None,
            landings: VecDeque::new(),
            seen: BTreeSet::new(),
            batch: Batch::default(),
            draining: false,
        };
        for n in 0..shards {
            let socket = |slot| SocketId::new(ShardId(n), 0, slot);
            let web = SocketAddr::new(GATEWAY, WEB + u16::from(n));
            let places = Places {
                web: vec![WebPlace { socket: socket(0), local: web, advertised: web }],
                sip: vec![SipPlace {
                    socket: socket(1),
                    realm: RealmId(0),
                    advertised: gateway_sip(),
                    secure: None,
                }],
            };
            let seed = net.random.u64();
            let core =
                Core::new(net.now, ShardId(n), shards, Arc::clone(config), places, Random::from_number(seed));
            let sockets = BTreeMap::from([(socket(0), web), (socket(1), gateway_sip())]);
            gateway.places.insert(web, (usize::from(n), socket(0)));
            gateway.shards.push(Shard { core, sockets, slots: 2, armed: None });
            gateway.settle(net, usize::from(n));
        }
        gateway
    }

    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    pub fn core(&self, shard: usize) -> &Core {
        &self.shards[shard].core
    }

    pub fn counter(&self, room: &str, name: &str) -> u64 {
        let mut all = Vec::new();
        self.shards.iter().for_each(|shard| shard.core.all_counters(&mut all));
        all.iter().filter(|(r, n, _)| *r == room && *n == name).map(|(_, _, value)| value).sum()
    }

    pub fn drain(&mut self, net: &mut Net) {
        self.draining = true;
        for n in 0..self.shards.len() {
            self.shards[n].core.drain(net.now);
            self.settle(net, n);
        }
    }

    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// A datagram arrives.
    pub fn receive(&mut self, net: &mut Net, datagram: &Datagram) {
        if datagram.to == gateway_sip() {
            return self.on_sip(net, datagram);
        }
        // To a closed port: the system drops it.
        let Some(&(shard, socket)) = self.places.get(&datagram.to) else { return };
        let core = &mut self.shards[shard].core;
        self.batch.clear();
        self.batch.push(socket, datagram.from, &datagram.data, false);
        core.receive(net.now, &mut self.batch);
        let sends: Vec<_> =
            self.batch.sends().map(|slot| (slot.socket, slot.remote, slot.packet.bytes().to_vec())).collect();
        for (socket, to, data) in sends {
            self.send(net, shard, socket, to, data);
        }
        self.settle(net, shard);
    }

    fn on_sip(&mut self, net: &mut Net, datagram: &Datagram) {
        // `SO_REUSEPORT`: any of them.
        let shards = self.shards.len();
        let home = usize::from(sip::home(&datagram.data, shards as u8, None).0);
        let read = Read::parse(&datagram.data);
        let strays = self.astray.as_mut().map(|astray| read.is_some_and(|read| astray(&read)));
        let shard = match strays {
            None => net.random.below(shards as u64) as usize,
            Some(true) => (home + 1 + net.random.below(shards as u64 - 1) as usize) % shards,
            Some(false) => home,
        };
        let again = !self.seen.insert(datagram.data.clone());
        if home != shard {
            crate::steering::note(net, &datagram.data, again);
        }
        net.note(|| format!("  on shard {shard}, home {home}"));
        self.wiretap.hear(net, &datagram.data);
        let socket = SocketId::new(ShardId(shard as u8), 0, 1);
        self.shards[shard].core.message(net.now, socket, datagram.from, &datagram.data);
        self.settle(net, shard);
    }

    fn send(&mut self, net: &mut Net, shard: usize, socket: SocketId, to: SocketAddr, data: Vec<u8>) {
        let Some(&from) = self.shards[shard].sockets.get(&socket) else {
            net.fault(&format!("shard {shard} sends by {socket:?}, which is closed"));
        };
        self.wiretap.see(net, from, to, &data);
        net.send(from, to, data);
    }

    /// A shard's deadline.
    pub fn wake(&mut self, net: &mut Net, shard: usize) {
        let entry = &mut self.shards[shard];
        entry.armed = None;
        if entry.core.poll_timeout().is_some_and(|deadline| deadline.at <= net.now.instant) {
            entry.core.handle_timeout(net.now);
        }
        self.settle(net, shard);
    }

    /// Does what a shard wants, until it wants nothing more.
    fn settle(&mut self, net: &mut Net, shard: usize) {
        let mut count = 0;
        while let Some(output) = self.shards[shard].core.poll_output() {
            count += 1;
            net.check(count < ENDLESS, || format!("shard {shard} never falls silent: {output:?}"));
            self.carry_out(net, shard, output);
        }
        let entry = &mut self.shards[shard];
        entry.core.check_invariants();
        let wanted = entry.core.poll_timeout().map(|deadline| deadline.at.max(net.now.instant));
        if let Some(at) = wanted
            && entry.armed.is_none_or(|armed| at < armed)
        {
            entry.armed = Some(at);
            net.at(at, Event::Shard(shard));
        }
    }

    fn carry_out(&mut self, net: &mut Net, shard: usize, output: Output) {
        match output {
            Output::Send { socket, to, data } => self.send(net, shard, socket, to, data),
            Output::Bind { realm, port, .. } => self.bind(net, shard, realm, port),
            Output::Unbind { socket } => {
                let address = self.shards[shard].sockets.remove(&socket);
                net.check(address.is_some(), || format!("{socket:?} is closed twice"));
                self.places.retain(|_, (_, place)| *place != socket);
            }
            Output::Write { flow } => {
                if let Some(connection) = self.connection(shard, flow) {
                    self.write(net, connection);
                }
            }
            Output::Connect { flow, .. } => {
                // Nobody on this network hears TCP.
                self.shards[shard].core.closed(net.now, flow.id);
            }
            Output::Close { flow } => {
                if let Some(connection) = self.connection(shard, flow) {
                    self.connections[connection].flow = None;
                    self.down(net, connection, Stream::End);
                }
            }
            Output::Record(record) => self.records.push(*record),
            Output::Dns(_) | Output::Note(_) => {}
            Output::Mail { to, mail } => self.post(net, shard, usize::from(to.0), mail),
        }
    }

    fn bind(&mut self, net: &mut Net, shard: usize, realm: RealmId, port: u16) {
        let address = SocketAddr::new(GATEWAY, port);
        // Now and then a port is another program's.
        let taken = net.faulty && net.random.chance(0.02);
        net.check(!self.places.contains_key(&address), || format!("port {port} is bound twice"));
        let entry = &mut self.shards[shard];
        let socket = SocketId::new(ShardId(shard as u8), 0, entry.slots);
        if !taken {
            entry.slots += 1;
            entry.sockets.insert(socket, address);
            self.places.insert(address, (shard, socket));
        }
        entry.core.bound(net.now, realm, port, (!taken).then_some(socket));
    }

    /// How many sockets are open that a shard was not born with.
    pub fn sockets(&self) -> usize {
        self.shards.iter().map(|shard| shard.sockets.len() - 2).sum()
    }

    fn post(&mut self, net: &mut Net, from: usize, to: usize, mail: Mail) {
        net.check(from != to && to < self.shards.len(), || format!("mail from shard {from} to {to}"));
        net.note(|| format!("  mail {from} > {to} {mail:?}"));
        let ring = self.rings.entry((from, to)).or_default();
        if ring.len() >= self.ring_size {
            net.states.reach("full_mailbox");
            self.wiretap.shed = true;
            return self.shards[from].core.shed(net.now, ShardId(to as u8), mail);
        }
        ring.push_back(mail);
        let delay = ms(net.random.below(self.mail_ms + 1));
        net.after(delay, Event::Mail { from, to });
    }

    pub fn deliver(&mut self, net: &mut Net, from: usize, to: usize) {
        let Some(mail) = self.rings.get_mut(&(from, to)).and_then(VecDeque::pop_front) else { return };
        self.shards[to].core.mail(net.now, ShardId(from as u8), mail);
        self.settle(net, to);
    }

    /// A browser connects: the system picks a shard.
    pub fn connect(&mut self, net: &mut Net, browser: usize) -> usize {
        let random = net.random.below(self.shards.len() as u64) as usize;
        let shard = self.landings.pop_front().unwrap_or(random);
        self.connections.push(Connection {
            browser,
            shard,
            flow: None,
            open: true,
            dead: false,
            up_at: None,
            down_at: None,
        });
        let connection = self.connections.len() - 1;
        let delay = net.stream_delay();
        self.connections[connection].up_at = Some(net.now.instant + delay);
        net.after(delay, Event::Connect { connection });
        connection
    }

    pub fn on_connect(&mut self, net: &mut Net, connection: usize, remote: SocketAddr) {
        let shard = self.connections[connection].shard;
        let flow = self.shards[shard].core.opened(net.now, remote);
        self.connections[connection].flow = flow;
        if flow.is_none() {
            self.down(net, connection, Stream::Reset);
        }
        self.settle(net, shard);
    }

    fn connection(&self, shard: usize, flow: FlowId) -> Option<usize> {
        self.connections.iter().position(|entry| entry.shard == shard && entry.flow == Some(flow))
    }

    /// Writes what a connection has to say, as far as the system takes it.
    pub fn write(&mut self, net: &mut Net, connection: usize) {
        let (shard, Some(flow)) = (self.connections[connection].shard, self.connections[connection].flow)
        else {
            return;
        };
        loop {
            let core = &mut self.shards[shard].core;
            let waiting = core.unsent(flow);
            if waiting.is_empty() {
                break;
            }
            let whole = !net.random.chance(0.2);
            let count =
                if whole { waiting.len() } else { 1 + net.random.below(waiting.len() as u64) as usize };
            let bytes = waiting[..count].to_vec();
            core.sent(net.now, flow, count);
            self.down(net, connection, Stream::Bytes(bytes));
            if !whole {
                net.after(ms(5), Event::Writable { connection });
                break;
            }
        }
        self.settle(net, shard);
    }

    /// Something travels to the browser.
    fn down(&mut self, net: &mut Net, connection: usize, stream: Stream) {
        let at = net.now.instant + net.stream_delay();
        let entry = &mut self.connections[connection];
        if entry.dead {
            return;
        }
        let at = entry.down_at.map_or(at, |last| at.max(last));
        entry.down_at = Some(at);
        net.at(at, Event::Down { connection, stream });
    }

    /// Something leaves a browser.
    pub fn up(&mut self, net: &mut Net, connection: usize, stream: Stream) {
        let at = net.now.instant + net.stream_delay();
        let entry = &mut self.connections[connection];
        if entry.dead {
            return;
        }
        if !matches!(stream, Stream::Bytes(_)) {
            entry.open = false;
        }
        let at = entry.up_at.map_or(at, |last| at.max(last));
        entry.up_at = Some(at);
        net.at(at, Event::Up { connection, stream });
    }

    pub fn on_up(&mut self, net: &mut Net, connection: usize, stream: Stream) {
        let entry = &mut self.connections[connection];
        let (shard, Some(flow)) = (entry.shard, entry.flow) else { return };
        let core = &mut self.shards[shard].core;
        match stream {
            Stream::Bytes(bytes) => {
                let cut = net.random.below(bytes.len() as u64 + 1) as usize;
                for part in [&bytes[..cut], &bytes[cut..]] {
                    if !part.is_empty() {
                        core.bytes(net.now, flow, part);
                    }
                }
            }
            Stream::End => core.ended(net.now, flow),
            Stream::Reset => {
                entry.flow = None;
                core.closed(net.now, flow);
            }
        }
        self.settle(net, shard);
    }

    /// Connections that the gateway still has.
    pub fn live(&self) -> usize {
        self.connections.iter().filter(|connection| connection.flow.is_some()).count()
    }
}
