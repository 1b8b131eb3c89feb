//! Calls from browsers through the gateway to the generator's own SIP agent, and their media on the [`crate::engine`].

mod agent;
mod call;
mod client;
mod dtls;
mod link;
mod media;
mod profile;
mod sdp;
mod stun;
mod tally;
mod tls;
mod turn;

pub use call::Role;
pub use dtls::Version;
pub use tally::Tally;
pub use tls::client as tls_client;

use crate::engine::{Engine, PortId, Profile, Settings, now};
use agent::Agent;
use bridgehead::base::Random;
use call::{Call, Ice, Seat, Stage};
use client::Client;
use mio::{Events, Token};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How the sides of calls are told apart at the generator. What the gateway does is the same; what differs is how many
/// sockets the generator has, and how large the batches that it sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Seating {
    /// One socket, and an address of its own for each side (127.x.y.z): the cheapest, on loopback only.
    Addresses,
    /// A socket and port for each side.
    Ports,
    /// One address and port for all: for SIP parties, as behind a carrier's media gateway.
    One,
}

/// What is to be played, and against whom.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The gateway's HTTP address.
    pub http: SocketAddr,
    /// Browsers speak TLS, by this.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Where the agent listens for SIP: the gateway's trunk.
    pub agent: SocketAddrV4,
    /// The generator's own address.
    pub local: Ipv4Addr,
    /// Users sign in as `load0`, `load1`, … up to this many, with their names as passwords.
    pub users: usize,
    /// DTLS version of the browsers.
    pub version: Version,
    /// SRTP profile of the browsers.
    pub profile: Profile,
    /// How browsers are told apart.
    pub web: Seating,
    /// How SIP parties are told apart.
    pub rtp: Seating,
    /// How long a call may take to be set up.
    pub patience: Duration,
    /// How streams look.
    pub streams: Settings,
}

/// First address of browsers, and of SIP parties.
const WEB_BASE: Ipv4Addr = Ipv4Addr::new(127, 16, 0, 1);
const RTP_BASE: Ipv4Addr = Ipv4Addr::new(127, 80, 0, 1);
/// Between two looks at what nothing wakes.
const HOUSEKEEPING: u64 = 50_000_000;
/// How long what is under way may take to arrive before a call hangs up.
const DRAIN: u64 = 200_000_000;

/// Everything that plays.
pub struct Calls {
    engine: Engine,
    plan: Plan,
    identity: dtls::Identity,
    fingerprint: String,
    poll: mio::Poll,
    events: Events,
    clients: Vec<Client>,
    idle: VecDeque<usize>,
    /// Sessions whose sockets are to be looked at.
    ready: VecDeque<usize>,
    table: Vec<Option<Box<Call>>>,
    free: VecDeque<usize>,
    by_number: HashMap<u64, usize>,
    by_call_id: HashMap<String, usize>,
    by_port: HashMap<PortId, usize>,
    wakes: BinaryHeap<Reverse<(u64, usize)>>,
    agent: Agent,
    agent_port: PortId,
    web_port: Option<PortId>,
    rtp_port: Option<PortId>,
    tally: Tally,
    random: Random,
    buffer: Box<[u8; 16 * 1024]>,
    next: u64,
    talking: usize,
    cleaned: u64,
    last_sign_in: u64,
    start: (Instant, u64),
}

impl Calls {
    /// Opens what is shared. On the thread that will drive it.
    pub fn new(plan: Plan, seed: u64) -> io::Result<Calls> {
        let mut engine = Engine::new(plan.streams.clone())?;
        let identity = dtls::Identity::create(plan.version, plan.profile)
            .ok_or_else(|| io::Error::other("no DTLS certificate could be made"))?;
        let agent_port = engine.open(plan.agent)?;
        let mut shared = |seating| match seating {
            Seating::Addresses => engine.open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)).map(Some),
            Seating::One => engine.open(SocketAddrV4::new(plan.local, 0)).map(Some),
            Seating::Ports => Ok(None),
        };
        let (web_port, rtp_port) = (shared(plan.web)?, shared(plan.rtp)?);
        #[expect(clippy::disallowed_methods, reason = "the generator is its own clock")]
        let start = (Instant::now(), now());
        Ok(Calls {
            fingerprint: sdp::colons(&identity.fingerprint()),
            identity,
            poll: mio::Poll::new()?,
            events: Events::with_capacity(1024),
            clients: Vec::new(),
            idle: VecDeque::new(),
            ready: VecDeque::new(),
            table: Vec::new(),
            free: VecDeque::new(),
            by_number: HashMap::new(),
            by_call_id: HashMap::new(),
            by_port: HashMap::new(),
            wakes: BinaryHeap::new(),
            agent: Agent::new(plan.agent),
            agent_port,
            web_port,
            rtp_port,
            tally: Tally::default(),
            random: Random::from_number(seed),
            buffer: Box::new([0; 16 * 1024]),
            next: 1,
            talking: 0,
            cleaned: 0,
            last_sign_in: 0,
            start,
            engine,
            plan,
        })
    }

    /// The engine under it.
    pub fn engine(&mut self) -> &mut Engine {
        &mut self.engine
    }

    /// What became of calls since it was last asked.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// What became of calls since it was last taken.
    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Sessions that are signed in.
    pub fn signed_in(&self) -> usize {
        self.clients.iter().filter(|client| client.stage == client::Stage::In).count()
    }

    /// When a session last signed in.
    pub fn last_sign_in(&self) -> u64 {
        self.last_sign_in
    }

    /// Sessions that are signed in and have no call.
    pub fn waiting(&self) -> usize {
        self.idle.len()
    }

    /// Sessions that were ever begun.
    pub fn sessions(&self) -> usize {
        self.clients.len()
    }

    /// Calls that are not over.
    pub fn calls(&self) -> usize {
        self.by_number.len()
    }

    /// Calls whose parties hear each other.
    pub fn talking(&self) -> usize {
        self.talking
    }

    /// Begins a session.
    pub fn connect(&mut self) -> io::Result<()> {
        let place = self.clients.len();
        let name = format!("load{}", place % self.plan.users.max(1));
        let mut client = Client::new(name.clone(), name);
        client.connect(now(), self.plan.http, self.plan.tls.as_ref(), self.poll.registry(), Token(place))?;
        self.clients.push(client);
        Ok(())
    }

    /// Asks that the user of the session at this place be registered; false where it is not signed in.
    pub fn register(&mut self, place: usize) -> bool {
        let client = self.clients.get_mut(place).filter(|client| client.stage == client::Stage::In);
        client.is_some_and(|client| client.request(serde_json::json!({"type": "register"})) > 0)
    }

    /// Breaks every connection at once, without a word.
    pub fn cut_all(&mut self) {
        self.clients.iter_mut().for_each(Client::cut);
        self.idle.clear();
    }

    /// Begins to come back to the session at this place.
    pub fn reconnect(&mut self, place: usize) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(place) else { return Ok(()) };
        client.connect(now(), self.plan.http, self.plan.tls.as_ref(), self.poll.registry(), Token(place))
    }

    /// Dials a call from a session that has none; false where there is no such session.
    pub fn dial(&mut self, role: Role) -> io::Result<bool> {
        let Some(client) = self.idle.pop_front() else { return Ok(false) };
        let place = self.free.pop_front().unwrap_or_else(|| {
            self.table.push(None);
            self.table.len() - 1
        });
        let number = self.next;
        self.next += 1;
        let web = self.seat(self.plan.web, self.web_port, WEB_BASE, place)?;
        let rtp = self.seat(self.plan.rtp, self.rtp_port, RTP_BASE, place)?;
        let ice = Ice::new(&mut self.random);
        let offer = sdp::offer(
            number,
            ssrc(number),
            &ice.ufrag,
            &ice.pwd,
            &self.fingerprint,
            SocketAddr::V4(web.public),
        );
        let dialled = now();
        self.clients[client].request(serde_json::json!({
            "type": "dial", "call": format!("c{number}"), "to": number.to_string(), "sdp": offer
        }));
        self.clients[client].call = Some(place);
        let call = Call {
            number,
            role,
            client,
            stage: Stage::SettingUp,
            web,
            rtp,
            ice,
            dtls: None,
            dtls_began: 0,
            dtls_at: None,
            look: None,
            fingerprint: Vec::new(),
            keys: None,
            dialled,
            invited: None,
            answered: None,
            dialog: None,
            acknowledged: false,
            far: None,
            ends: None,
            deadline: dialled + self.plan.patience.as_nanos() as u64,
            wake: 0,
        };
        self.by_number.insert(number, place);
        if web.own {
            self.by_port.insert(web.port, place);
        }
        self.table[place] = Some(Box::new(call));
        self.tally.attempts += 1;
        self.settle(place);
        Ok(true)
    }

    /// Ends the oldest call that talks: its streams stop, and when what is under way has arrived it hangs up.
    pub fn hang_up(&mut self) -> bool {
        let talking = self.table.iter().flatten().filter(|call| call.stage == Stage::Talking);
        let Some(oldest) = talking.min_by_key(|call| call.number).map(|call| call.number) else {
            return false;
        };
        let place = self.by_number[&oldest];
        let Some(call) = self.table[place].as_mut() else { return false };
        call.stage = Stage::Draining;
        call.deadline = now() + DRAIN;
        self.talking -= 1;
        for end in call.ends.into_iter().flatten() {
            self.engine.pause(end);
        }
        self.settle(place);
        true
    }

    fn seat(
        &mut self,
        seating: Seating,
        shared: Option<PortId>,
        base: Ipv4Addr,
        place: usize,
    ) -> io::Result<Seat> {
        let bound = |engine: &Engine, port| engine.address(port).map_or(0, |address| address.port());
        match (seating, shared) {
            (Seating::Addresses, Some(port)) => {
                let address = Ipv4Addr::from(u32::from(base) + place as u32);
                let public = SocketAddrV4::new(address, bound(&self.engine, port));
                Ok(Seat { port, address, public, own: false })
            }
            (Seating::One, Some(port)) => {
                let public = SocketAddrV4::new(self.plan.local, bound(&self.engine, port));
                Ok(Seat { port, address: Ipv4Addr::UNSPECIFIED, public, own: false })
            }
            _ => {
                let port = self.engine.open(SocketAddrV4::new(self.plan.local, 0))?;
                let public = SocketAddrV4::new(self.plan.local, bound(&self.engine, port));
                Ok(Seat { port, address: Ipv4Addr::UNSPECIFIED, public, own: true })
            }
        }
    }

    /// Says `hangup`; the call is over when the gateway says so.
    pub(super) fn say_hangup(&mut self, place: usize) {
        let Some(call) = self.table[place].as_mut() else { return };
        call.stage = Stage::Ending;
        call.deadline = now() + self.plan.patience.as_nanos() as u64;
        let (client, number) = (call.client, call.number);
        self.clients[client].request(serde_json::json!({"type": "hangup", "call": format!("c{number}")}));
    }

    /// Forgets a call.
    fn release(&mut self, place: usize) {
        let Some(call) = self.table[place].take() else { return };
        self.talking -= usize::from(call.stage == Stage::Talking);
        for end in call.ends.into_iter().flatten() {
            self.engine.remove(end);
        }
        for seat in [call.web, call.rtp].into_iter().filter(|seat| seat.own) {
            self.by_port.remove(&seat.port);
            self.engine.close(seat.port);
        }
        self.by_number.remove(&call.number);
        if let Some(call_id) = &call.dialog {
            self.by_call_id.remove(call_id);
        }
        let client = &mut self.clients[call.client];
        client.call = None;
        if client.stage == client::Stage::In {
            self.idle.push_back(call.client);
        }
        self.free.push_back(place);
    }

    /// The same moment for those who want an `Instant`.
    fn instant(&self, at: u64) -> Instant {
        self.start.0 + Duration::from_nanos(at.saturating_sub(self.start.1))
    }

    fn nanoseconds(&self, at: Instant) -> u64 {
        self.start.1 + at.saturating_duration_since(self.start.0).as_nanos() as u64
    }

    /// Puts a call's next wake in order.
    fn settle(&mut self, place: usize) {
        if let Some(call) = self.table[place].as_mut() {
            let next = call.next();
            if call.wake == 0 || next < call.wake {
                call.wake = next;
                self.wakes.push(Reverse((next, place)));
            }
        }
    }
}

/// The SSRC of a browser's stream.
fn ssrc(number: u64) -> u32 {
    0x1000_0000 | number as u32
}
