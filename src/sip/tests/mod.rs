//! Stacks against stacks, and against scripted peers, on a virtual network that loses, delays and repeats.

mod calls;
mod carried;
mod carriers;
mod changes;
mod errands;
mod failover;
mod hostile;
mod inform;
mod links;
mod lossy;
mod names;
mod phones;
mod policy;
mod refers;
mod registers;
mod reliable;
mod scout;
mod script;
mod scripted;
mod shards;
mod table;
mod timers;

use super::write::{Answer, Headers};
use super::*;
use crate::base::{Deadline, Key, LegId, Machine, Mint, Now, Random, ShardId, Side};
use crate::leg::{Command, Dial, Event, Incoming, Party, Reason, Target, TrunkId};
use crate::sdp::Session;
use sip_codec::Message;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const A: &str = "192.0.2.1:5060";
pub const B: &str = "192.0.2.2:5060";

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

/// A description that can be told from others by its number.
pub fn sdp(number: u64) -> Box<Session> {
    Box::new(Session::parse(sdp_text(number).as_bytes()).unwrap())
}

pub fn sdp_text(number: u64) -> String {
    format!(
        "v=0\r\no=- {number} 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"
    )
}

/// A gateway: its shards behind one address.
pub struct Node {
    pub at: SocketAddr,
    pub shards: Vec<Stack>,
    pub events: Vec<Event>,
    pub errands: Vec<Output>,
    pub registered: Vec<(words::Account, Result<(), Reason>)>,
    pub named: Vec<(LegId, String)>,
    /// Connections that were asked for, and the names that certificates must have.
    pub connects: Vec<(Flow, Option<Arc<str>>)>,
    /// Servers that failed a request, and for how long they want to be left alone.
    pub suspects: Vec<(SocketAddr, Option<Duration>)>,
    /// Names that were asked for.
    pub sought: Vec<crate::sip::Target>,
    /// Probes' numbers and outcomes.
    pub probed: Vec<(u32, Option<u16>)>,
    mint: Mint,
}

struct Wire {
    due: Instant,
    from: SocketAddr,
    to: SocketAddr,
    data: Vec<u8>,
}

type Filter = Box<dyn FnMut(&str) -> bool>;

/// The network and all on it.
pub struct Net {
    pub now: Now,
    pub random: Random,
    pub nodes: Vec<Node>,
    /// What arrived at addresses without a node: for the test to answer.
    pub inbox: Vec<(SocketAddr, SocketAddr, String)>,
    /// All that was sent: sender, text.
    pub log: Vec<(SocketAddr, String)>,
    pub loss: f64,
    pub twice: f64,
    pub jitter: u64,
    /// Drops a message where it says true.
    pub lose: Option<Filter>,
    wires: Vec<Wire>,
    late: bool,
    /// What goes with the calls that are dialled.
    pub carried: words::Carried,
}

impl Net {
    pub fn new(seed: u64) -> Net {
        #[expect(clippy::disallowed_methods, reason = "virtual time begins somewhere")]
        let now = Now { instant: Instant::now(), unix: Duration::from_secs(1_700_000_000) };
        Net {
            now,
            random: Random::from_number(seed),
            nodes: Vec::new(),
            inbox: Vec::new(),
            log: Vec::new(),
            loss: 0.0,
            twice: 0.0,
            jitter: 0,
            lose: None,
            wires: Vec::new(),
            late: false,
            carried: words::Carried::default(),
        }
    }

    /// Two gateways, each the other's trunk.
    pub fn pair(seed: u64) -> Net {
        let mut net = Net::new(seed);
        net.join(A, B, 1, |_| {});
        net.join(B, A, 1, |_| {});
        net
    }

    /// One gateway whose trunk is a script at B.
    pub fn scripted(change: impl FnOnce(&mut Config)) -> Net {
        let mut net = Net::new(1);
        net.join(A, B, 1, change);
        net
    }

    pub fn join(&mut self, own: &str, trunk: &str, shards: u8, change: impl FnOnce(&mut Config)) {
        let mut config = Config { trunks: vec![Trunk::new("trunk", at(trunk))], ..Config::default() };
        config.user_agent = "Test".into();
        change(&mut config);
        let config = Arc::new(config);
        let number = self.nodes.len() as u32;
        let shards = (0..shards)
            .map(|n| {
                let mut stack = Stack::new(ShardId(n), shards, config.clone(), self.random.fork());
                stack.listen(RealmId(0), Key::new(ShardId(n), 0, number), at(own));
                stack
            })
            .collect();
        self.nodes.push(Node {
            at: at(own),
            shards,
            events: Vec::new(),
            errands: Vec::new(),
            registered: Vec::new(),
            named: Vec::new(),
            connects: Vec::new(),
            suspects: Vec::new(),
            sought: Vec::new(),
            probed: Vec::new(),
            mint: Mint::new(ShardId(0), true),
        });
    }

    pub fn stack(&mut self, node: usize) -> &mut Stack {
        &mut self.nodes[node].shards[0]
    }

    pub fn input(&mut self, node: usize, shard: usize, input: Input<'_>) {
        self.nodes[node].shards[shard].handle_input(self.now, input);
        self.drain(node);
    }

    pub fn command(&mut self, node: usize, command: Command) {
        let shard = usize::from(command.leg().shard().0);
        self.input(node, shard, Input::Command(command));
    }

    /// A message from an address that no node has.
    pub fn inject(&mut self, from: &str, to: usize, text: &str) {
        let to = self.nodes[to].at;
        self.send(at(from), to, text.as_bytes().to_vec());
    }

    /// The same of any bytes.
    pub fn inject_bytes(&mut self, from: &str, to: usize, data: Vec<u8>) {
        let to = self.nodes[to].at;
        self.send(at(from), to, data);
    }

    fn drain(&mut self, node: usize) {
        for shard in 0..self.nodes[node].shards.len() {
            while let Some(output) = self.nodes[node].shards[shard].poll_output() {
                match output {
                    Output::Send { flow, data } => {
                        let from = self.nodes[node].at;
                        self.send(from, flow.remote, data);
                    }
                    Output::Suspect { hop, wait, .. } => {
                        self.nodes[node].suspects.push((hop.address, wait));
                    }
                    Output::Locate(target) => self.nodes[node].sought.push(target),
                    Output::Probed { number, code } => self.nodes[node].probed.push((number, code)),
                    Output::Connect { flow, name, .. } => self.nodes[node].connects.push((flow, name)),
                    // Heard by tests of their own.
                    Output::Event(Event::Named { leg, session }) => {
                        self.nodes[node].named.push((leg, session.to_string()));
                    }
                    output @ (Output::Paged { .. }
                    | Output::Page { .. }
                    | Output::Watched { .. }
                    | Output::Waiting { .. }) => self.nodes[node].errands.push(output),
                    Output::Event(event) => self.nodes[node].events.push(event),
                    Output::Strikes { .. } | Output::Ban { .. } => {}
                    Output::Registered { account, state, .. } => {
                        self.nodes[node].registered.push((account, state));
                    }
                }
            }
        }
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, data: Vec<u8>) {
        let text = String::from_utf8_lossy(&data).into_owned();
        self.log.push((from, text.clone()));
        if self.lose.as_mut().is_some_and(|lose| lose(&text)) || self.random.chance(self.loss) {
            return;
        }
        let copies = if self.random.chance(self.twice) { 2 } else { 1 };
        for _ in 0..copies {
            let delay = Duration::from_millis(10 + self.random.below(self.jitter + 1));
            self.wires.push(Wire { due: self.now.instant + delay, from, to, data: data.clone() });
        }
        drop(data);
    }

    /// Lets everything happen that happens within this time.
    pub fn run(&mut self, time: Duration) {
        let end = self.now.after(time);
        loop {
            let wire =
                self.wires.iter().enumerate().min_by_key(|(n, wire)| (wire.due, *n)).map(|(n, w)| (w.due, n));
            let mut soonest: Option<Deadline> = None;
            for stack in self.nodes.iter_mut().flat_map(|node| &mut node.shards) {
                soonest = Deadline::sooner(soonest, stack.poll_timeout());
            }
            let timer = soonest.map(|deadline| deadline.at);
            let next =
                wire.map(|(due, _)| due).into_iter().chain(timer).min().filter(|at| *at <= end.instant);
            let Some(next) = next else { break };
            self.now = self.now.after(next.saturating_duration_since(self.now.instant));
            match wire {
                Some((due, n)) if due <= next => self.deliver(n),
                _ => {
                    for node in 0..self.nodes.len() {
                        let now = self.now;
                        self.nodes[node].shards.iter_mut().for_each(|stack| stack.handle_timeout(now));
                        self.drain(node);
                    }
                }
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, n: usize) {
        let wire = self.wires.remove(n);
        let Some(node) = self.nodes.iter().position(|node| node.at == wire.to) else {
            let text = String::from_utf8(wire.data).unwrap();
            return self.inbox.push((wire.to, wire.from, text));
        };
        let shards = self.nodes[node].shards.len() as u8;
        let flow = |shard: u8| Flow {
            id: Key::new(ShardId(shard), 0, node as u32),
            transport: Transport::Udp,
            remote: wire.from,
            realm: RealmId(0),
        };
        let guest = Some(flow(0)).filter(|flow| self.nodes[node].shards[0].is_guest(flow));
        let shard = usize::from(home(&wire.data, shards, guest.as_ref()).0);
        let flow = flow(shard as u8);
        self.input(node, shard, Input::Message { flow, data: &wire.data });
    }

    /// A call to the trunk by `leg`, as alice.
    pub fn dial_of(leg: LegId, account: Option<&str>) -> Dial {
        let party = |user: &str| Party { user: user.into(), ..Party::default() };
        Dial {
            referral: None,
            leg,
            target: Target::Trunk(TrunkId(0)),
            caller: Party { display: "Al \"x\"".into(), ..party("alice") },
            callee: party("bob"),
            account: account.map(words::Account::from),
            identity: None,
            offer: sdp(1),
            hops: 69,
            with: None,
            data: Vec::new(),
            carried: Box::default(),
            late: false,
        }
    }

    /// Dials from a node to its trunk.
    pub fn dial(&mut self, node: usize) -> LegId {
        self.dial_as(node, None)
    }

    pub fn dial_as(&mut self, node: usize, account: Option<&str>) -> LegId {
        self.dial_with(node, account, None)
    }

    /// Dials without an offer.
    pub fn dial_late(&mut self, node: usize) -> LegId {
        self.late = true;
        let leg = self.dial(node);
        self.late = false;
        leg
    }

    pub fn dial_with(
        &mut self,
        node: usize,
        account: Option<&str>,
        identity: Option<words::Identity>,
    ) -> LegId {
        let leg = self.nodes[node].mint.leg(Side::Sip);
        let carried = Box::new(self.carried.clone());
        let identity = identity.map(Arc::new);
        let dial = Dial { identity, late: self.late, carried, ..Self::dial_of(leg, account) };
        self.command(node, Command::Dial(Box::new(dial)));
        leg
    }

    /// The incoming leg that a node heard of last.
    pub fn incoming(&self, node: usize) -> &Incoming {
        let mut events = self.nodes[node].events.iter().rev();
        events.find_map(|event| if let Event::Incoming(i) = event { Some(&**i) } else { None }).unwrap()
    }

    /// A call from node 0 to node 1, answered: the legs of each.
    pub fn call(&mut self) -> (LegId, LegId) {
        let out = self.dial(0);
        self.run(seconds(1));
        let leg = self.incoming(1).leg;
        self.command(1, Command::Answer { leg, session: Some(sdp(2)) });
        self.run(seconds(1));
        assert!(self.heard(0, "Answered"), "{:?}", self.names(0));
        (out, leg)
    }

    /// Names of a node's events, with codes and causes.
    pub fn names(&self, node: usize) -> Vec<String> {
        self.nodes[node].events.iter().map(name).collect()
    }

    pub fn heard(&self, node: usize, what: &str) -> bool {
        self.names(node).iter().any(|name| name.starts_with(what))
    }

    /// How many messages began so.
    pub fn sent(&self, from: &str, start: &str) -> usize {
        self.log.iter().filter(|(sender, text)| *sender == at(from) && text.starts_with(start)).count()
    }

    /// The last message of a node that began so.
    pub fn last(&self, from: &str, start: &str) -> String {
        let mut log = self.log.iter().rev();
        log.find(|(sender, text)| *sender == at(from) && text.starts_with(start)).expect(start).1.clone()
    }

    /// What the script at `address` got and has not looked at, taken out; only those that begin so.
    pub fn take(&mut self, start: &str) -> Vec<String> {
        let (taken, left) =
            std::mem::take(&mut self.inbox).into_iter().partition(|entry| entry.2.starts_with(start));
        self.inbox = left;
        let taken: Vec<(_, _, String)> = taken;
        taken.into_iter().map(|entry| entry.2).collect()
    }

    /// The script at B answers a request of node 0.
    pub fn answer(&mut self, request: &str, code: u16, tag: &str, headers: Headers<'_>, body: Option<&str>) {
        self.answer_from(B, request, code, tag, headers, body);
    }

    /// A script elsewhere does.
    pub fn answer_from(
        &mut self,
        from: &str,
        request: &str,
        code: u16,
        tag: &str,
        headers: Headers<'_>,
        body: Option<&str>,
    ) {
        let message = Message::parse(request.as_bytes()).unwrap();
        let body = body.map(str::as_bytes);
        let answer = Answer { code, tag, headers, server: "", body };
        let data = answer.write(&message, at(A)).unwrap();
        self.send(at(from), at(A), data);
    }

    /// What came to the script at this address, taken out; only what begins so.
    pub fn take_at(&mut self, place: &str, start: &str) -> Vec<String> {
        let mine =
            |entry: &(SocketAddr, SocketAddr, String)| entry.0 == at(place) && entry.2.starts_with(start);
        let taken = self.inbox.extract_if(.., |entry| mine(entry));
        taken.map(|entry| entry.2).collect()
    }

    /// Everything has been cleaned up.
    pub fn assert_empty(&mut self) {
        for node in &self.nodes {
            for stack in &node.shards {
                stack.check_invariants();
                let names: Vec<_> = node.events.iter().map(name).collect();
                let left: Vec<_> = stack.legs.iter().map(|(_, leg)| &leg.state).collect();
                assert_eq!((left.len(), stack.transactions()), (0, (0, 0)), "{} {names:?} {left:?}", node.at);
            }
        }
    }
}

fn name(event: &Event) -> String {
    match event {
        Event::Incoming(_) => "Incoming".into(),
        Event::Progress { code, fork, answer, .. } => {
            format!("Progress {code} fork {}{}", fork.0, if answer.is_some() { " media" } else { "" })
        }
        Event::Answered { fork, answer, .. } => {
            format!("Answered fork {}{}", fork.0, if answer.is_some() { "" } else { " bare" })
        }
        Event::Offered { offer, .. } => if offer.is_some() { "Offered" } else { "Offered none" }.into(),
        Event::Accepted { .. } => "Accepted".into(),
        Event::Gate { fork, open, .. } => format!("Gate {open} fork {}", fork.0),
        Event::OfferedEarly { fork, .. } => format!("OfferedEarly fork {}", fork.0),
        Event::Refreshed { .. } => "Refreshed".into(),
        Event::Withdrawn { .. } => "Withdrawn".into(),
        Event::Refused { reason, .. } => format!("Refused {}", reason.cause.name()),
        // A browser's alone.
        Event::Lost { .. } | Event::Found { .. } | Event::Asked { .. } => "a browser's word".into(),
        Event::Hold { on, .. } => format!("Hold {on}"),
        Event::Named { .. } => "Named".into(),
        Event::Told { receipt, outcome, .. } => format!("Told {receipt} {}", outcome.is_ok()),
        Event::Inform { notice, .. } => format!("Inform {notice:?}"),
        Event::Redirected { code, to, .. } => format!("Redirected {code} {}", to.len()),
        Event::Transfer { transfer, .. } => format!("Transfer {}", transfer.to.user),
        Event::Referred { stage, .. } => format!("Referred {stage:?}"),
        Event::Ended { reason, .. } => format!("Ended {} {}", reason.cause.name(), reason.code),
    }
}

pub fn end(leg: LegId) -> Command {
    Command::End { leg, reason: words::Cause::Hangup.into() }
}

/// The value of a header in a message's text.
pub fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let mut lines = text.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default()
}
