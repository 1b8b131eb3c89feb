//! A shard without its sockets: the machines, and who hears what.

use super::config::Config;
use super::connections::Connections;
use super::locating::OWNER;
use super::mail::Mail;
use super::shed::Kept;
use super::tally::Tally;
use super::trace::Traces;
use crate::base::{Deadline, FlowId, Machine, Now, Random, RealmId, ShardId, SocketId, counters};
use crate::call::{self, Calls};
use crate::dns;
use crate::leg::TrunkId;
use crate::media::{self, Plane};
use crate::signal::{self, Hub};
use crate::sip::{self, Scout, Stack};
use crate::webrtc::{self, Peers};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

counters! {
    /// What a shard did with what it heard.
    pub struct Counters {
        /// Datagrams that belong to nobody: an unknown first byte, or an unknown socket.
        stray,
        /// Keep-alives by STUN on SIP's sockets that were answered.
        stun,
        /// SIP messages that belonged to another shard.
        steered_sip,
        /// Browser messages that belonged to another shard.
        steered_texts,
        /// Passes that ended with the machines not yet quiet; they go on in the next.
        unsettled,
        /// SIP messages for a transport that this shard doesn't have.
        unroutable,
        /// Sign-ins of users without a SIP identity.
        unregistrable,
        /// SIP messages that found no room on their way to another shard.
        shed_sip,
        /// Browser messages that found none; their connections were cut.
        shed_texts,
        /// Words on servers that found none: asked again, or told again.
        shed_locating,
        /// Ends of connections that found none for so long that they were forgotten.
        shed_ends,
    }
}

/// What a shard wants of the outside, apart from the slots that [`Core::receive`] turned round.
#[derive(Debug)]
pub enum Output {
    /// Send a datagram of our own.
    Send {
        /// From which socket.
        socket: SocketId,
        /// To whom.
        to: SocketAddr,
        /// What.
        data: Vec<u8>,
    },
    /// Open a UDP socket on this port of the realm's media address; answer with [`Core::bound`].
    Bind {
        /// The realm.
        realm: RealmId,
        /// The port.
        port: u16,
        /// Many calls will share it.
        shared: bool,
    },
    /// Close a UDP socket.
    Unbind {
        /// Which.
        socket: SocketId,
    },
    /// A connection has bytes to be written: take them from [`Core::unsent`], now and whenever it is writable.
    Write {
        /// Which.
        flow: FlowId,
    },
    /// Make a connection to `flow.remote`; answer with [`Core::connected`] once it is up, and its certificate found to be
    /// that of `name` (the address where absent), else with [`Core::closed`].
    Connect {
        /// Which.
        flow: sip::Flow,
        /// Whose certificate it must be.
        name: Option<Arc<str>>,
        /// Whose certificate authorities are believed.
        trunk: Option<TrunkId>,
    },
    /// Close a connection: all is written. The core has forgotten it, and no [`Core::closed`] is due.
    Close {
        /// Which.
        flow: FlowId,
    },
    /// Carry out what the resolver asks for; answer with [`Core::resolve`].
    Dns(dns::Output),
    /// Tell the operator.
    Note(sip::Note),
    /// A call is over; this is its record.
    Record(Box<call::Record>),
    /// Tell another shard.
    Mail {
        /// Which.
        to: ShardId,
        /// What.
        mail: Mail,
    },
}

/// A socket that browsers' media comes by.
#[derive(Clone, Copy, Debug)]
pub struct WebPlace {
    /// The socket.
    pub socket: SocketId,
    /// Where it is bound.
    pub local: SocketAddr,
    /// What browsers use to reach it.
    pub advertised: SocketAddr,
}

/// A socket that a realm's SIP comes by.
#[derive(Clone, Copy, Debug)]
pub struct SipPlace {
    /// The socket.
    pub socket: SocketId,
    /// The realm.
    pub realm: RealmId,
    /// What others use to reach it, over TCP too.
    pub advertised: SocketAddr,
    /// What others use to reach the realm's TLS, where it has any.
    pub secure: Option<SocketAddr>,
}

/// The sockets that a shard is born with.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// For browsers' media; the first leads in descriptions.
    pub web: Vec<WebPlace>,
    /// For SIP, at most one for each realm.
    pub sip: Vec<SipPlace>,
}

/// All machines of one shard, and the switchboard between them.
///
/// The owner pushes in what arrives, and after each push pulls [`Core::poll_output`] until `None`. It reads its clock
/// once a pass: budgets are for all pushes with the same [`Now`].
#[derive(Debug)]
pub struct Core {
    pub(super) shard: ShardId,
    pub(super) shards: u8,
    pub(super) config: Arc<Config>,
    pub(super) places: Places,
    pub(super) sip_flows: Vec<FlowId>,
    pub(super) connections: Connections,
    pub(super) stack: Stack,
    /// The owner alone has it.
    pub(super) scout: Option<Scout>,
    pub(super) hub: Hub,
    pub(super) calls: Calls,
    pub(super) peers: Peers,
    pub(super) plane: Plane,
    pub(super) paths: crate::base::Map<SocketAddr, SocketId>,
    /// The edition of the plane in which datagrams were located last.
    pub(super) located: u64,
    pub(super) traces: Traces,
    pub(super) tally: Tally,
    pub(super) outputs: VecDeque<Output>,
    pub(super) unsettled: Option<Instant>,
    pub(super) pass: Instant,
    pub(super) turns: usize,
    pub(super) draining: bool,
    pub(super) kept: Kept,
    pub(super) counters: Counters,
}

impl Core {
    /// A shard, number `shard` of `shards`, with the sockets that it has from the start.
    pub fn new(
        now: Now,
        shard: ShardId,
        shards: u8,
        config: Arc<Config>,
        places: Places,
        mut random: Random,
    ) -> Core {
        let mut web = webrtc::Config::clone(&config.webrtc);
        web.candidates = places
            .web
            .iter()
            .map(|place| webrtc::Candidate { advertised: place.advertised, local: place.local })
            .collect();
        let mut connections = Connections::new(shard, &config);
        let mut stack = Stack::new(shard, shards, Arc::clone(&config.sip), random.fork());
        let mut sip_flows = Vec::new();
        for place in &places.sip {
            let flow = connections.reserve();
            stack.listen(place.realm, flow, place.advertised);
            if let Some(secure) = place.secure {
                stack.listen_secure(place.realm, secure);
            }
            sip_flows.push(flow);
        }
        let media = config.media_of(shard, shards);
        let mut plane = Plane::new(shard, Arc::new(media), random.fork());
        let first =
            |v6| places.web.iter().find(|place| place.local.is_ipv6() == v6).map(|place| place.socket);
        plane.set_web_socket(first(false), first(true));
        let mut core = Core {
            hub: Hub::new(shard, shards, Arc::clone(&config.signal), random.fork()),
            calls: Calls::new(shard, Arc::clone(&config.call), random.fork()),
            peers: Peers::new(shard, Arc::new(web), random.fork()),
            paths: crate::base::Map::default(),
            located: 0,
            traces: Traces::new(config.trace),
            tally: Tally::new(config.call.trunks.len()),
            outputs: VecDeque::new(),
            unsettled: None,
            pass: now.instant,
            turns: config.caps.turns,
            draining: false,
            kept: Kept::default(),
            counters: Counters::default(),
            shard,
            shards,
            config,
            places,
            sip_flows,
            connections,
            stack,
            scout: None,
            plane,
        };
        core.restock(now);
        if shard == OWNER {
            core.scout = Some(Scout::new(now, Arc::clone(&core.config.sip), random.fork()));
        }
        core.settle(now);
        core
    }

    /// Answers [`Output::Bind`]: the socket, or `None` where the port can't be had.
    pub fn bound(&mut self, now: Now, realm: RealmId, port: u16, socket: Option<SocketId>) {
        match socket {
            Some(socket) => self.plane.bound(now, realm, port, socket),
            None => self.plane.bind_failed(now, realm, port),
        }
        self.settle(now);
    }

    /// Begins to drain: new calls are refused, those that run end at the deadline of `call::Config`.
    pub fn drain(&mut self, now: Now) {
        self.draining = true;
        self.hub.handle_input(now, signal::Input::Drain);
        self.calls.handle_input(now, call::Input::Drain);
        self.settle(now);
    }

    /// The core has no time left for more calls, or has again.
    pub fn overload(&mut self, now: Now, overloaded: bool) {
        self.calls.handle_input(now, call::Input::Overload(overloaded));
        self.settle(now);
    }

    /// The end: sessions are told, connections closed, users unregistered. Outputs still go out.
    pub fn stop(&mut self, now: Now) {
        self.draining = true;
        self.hub.handle_input(now, signal::Input::Stop);
        self.settle(now);
    }

    /// Lets every deadline that has passed act, and goes on with work that a budget put off.
    pub fn handle_timeout(&mut self, now: Now) {
        self.unsettled = None;
        self.allow(now);
        self.plane.handle_timeout(now);
        self.peers.handle_timeout(now);
        self.stack.handle_timeout(now);
        if let Some(scout) = &mut self.scout {
            scout.handle_timeout(now);
        }
        self.hub.handle_timeout(now);
        self.calls.handle_timeout(now);
        self.expire_connections(now);
        self.post_kept(now);
        self.settle(now);
    }

    /// When [`Core::handle_timeout`] is wanted next, and why.
    pub fn poll_timeout(&mut self) -> Option<Deadline> {
        Deadline::sooner(self.media_timeout(), self.other_timeout())
    }

    /// The media plane's part of [`Core::poll_timeout`].
    #[inline]
    pub(super) fn media_timeout(&mut self) -> Option<Deadline> {
        self.plane.poll_timeout()
    }

    /// All else of [`Core::poll_timeout`]: media that [`Core::receive`] forwards does not change it.
    pub(super) fn other_timeout(&mut self) -> Option<Deadline> {
        let unsettled = self.unsettled.map(|at| Deadline { at, why: "switchboard" });
        [
            self.peers.poll_timeout(),
            self.stack.poll_timeout(),
            self.scout.as_mut().and_then(Machine::poll_timeout),
            self.hub.poll_timeout(),
            self.calls.poll_timeout(),
            self.connections.poll_timeout(),
            self.kept.poll_timeout(),
        ]
        .into_iter()
        .fold(unsettled, Deadline::sooner)
    }

    /// Whether all machines are quiet. Where they are not, a budget put their outputs off: whoever pushes more in lets
    /// them grow.
    pub fn is_settled(&self) -> bool {
        self.unsettled.is_none()
    }

    /// The next output, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether there is one.
    pub(super) fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How many calls there are.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }

    /// Panics where the shard or one of its machines contradicts itself.
    pub fn check_invariants(&self) {
        self.plane.check_invariants();
        self.peers.check_invariants();
        self.stack.check_invariants();
        if let Some(scout) = &self.scout {
            scout.check_invariants();
        }
        self.hub.check_invariants();
        self.calls.check_invariants();
        self.connections.check_invariants();
    }

    /// What the shard itself did so far.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Every counter of the shard and its machines: room, name, value.
    pub fn all_counters(&self, out: &mut Vec<(&'static str, &'static str, u64)>) {
        let mut add = |room, counters: &mut dyn Iterator<Item = (&'static str, u64)>| {
            out.extend(counters.map(|(name, value)| (room, name, value)));
        };
        add("shard", &mut self.counters.iter());
        add("http", &mut self.connections.http_counters().iter());
        add("connections", &mut self.connections.counters().iter());
        add("sip_connections", &mut self.connections.sip.counters.iter());
        add("sip_streams", &mut self.connections.sip_traffic().iter());
        add("sip", &mut self.stack.counters().iter());
        if let Some(scout) = &self.scout {
            add("scout", &mut scout.counters().iter());
            add("dns", &mut scout.dns_counters().iter());
        }
        add("signal", &mut self.hub.counters().iter());
        add("call", &mut self.calls.counters().iter());
        add("webrtc", &mut self.peers.counters().iter());
        add("media", &mut self.plane.counters().iter());
    }

    /// What there is now: name, value.
    pub(super) fn gauges(&self) -> Vec<(&'static str, u64)> {
        let (clients, servers) = self.stack.transactions();
        let (ports, all) = self.plane.ports_used();
        [
            ("sessions", self.hub.sessions()),
            ("registrations", self.stack.registered()),
            ("phones", self.stack.phones()),
            ("errands", self.stack.errands()),
            ("dialogs", self.stack.dialogs()),
            ("transactions", clients + servers),
            ("peers", self.peers.len()),
            ("legs", self.plane.len()),
            ("ports_used", ports),
            ("ports", all),
            ("traces", self.traces.len()),
            ("trace_bytes", self.traces.bytes()),
            ("traces_evicted", self.traces.evicted as usize),
            ("talked_ms", self.tally.talked_ms as usize),
        ]
        .map(|(name, value)| (name, value as u64))
        .into_iter()
        .chain(self.sip_connections())
        .collect()
    }

    /// Every server of every trunk, and whether it gets requests; empty where another shard has the scout.
    pub fn servers(&self, now: Now) -> Vec<(TrunkId, sip::Hop, bool)> {
        self.scout.as_ref().map(|scout| scout.states(now)).unwrap_or_default()
    }

    /// What happened to a call, by its id, a leg's, or its key.
    pub fn trace(&self, name: &str) -> Option<super::Ladder> {
        self.traces.find(name)
    }

    /// Carries out a media command for a leg that the call machine does not know, and gives the plane's answers: for
    /// tests and benches that set up media by hand.
    #[doc(hidden)]
    pub fn media(&mut self, now: Now, command: media::Command) -> Vec<media::Event> {
        self.plane.handle_command(now, command);
        let mut events = Vec::new();
        while let Some(output) = self.plane.poll_output() {
            match output {
                media::Output::Event(event) => events.push(event),
                output => self.on_media(now, output),
            }
        }
        self.settle(now);
        events
    }

    /// The SIP stack, to be looked at.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// The browser sessions, to be looked at.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The WebRTC transports, to be looked at.
    pub fn peers(&self) -> &Peers {
        &self.peers
    }

    /// The media plane, to be looked at.
    pub fn plane(&self) -> &Plane {
        &self.plane
    }

    /// The call machine, to be looked at.
    pub fn calls_machine(&self) -> &Calls {
        &self.calls
    }
}
