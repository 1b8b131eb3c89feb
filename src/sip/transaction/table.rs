//! The transactions that run, by branch and key, with their timers.
//!
//! An ended transaction that only waits for retransmissions keeps the bytes that it would send again, nothing else.

use super::{Client, Event, InviteClient, InviteServer, Pace, Send, Server, Step, Timer};
use crate::base::{Key, Map, Now, ShardId, Slab, TimerId, Wheel};
use crate::sip::config::Timers;
use crate::sip::{Flow, Output};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(in crate::sip) struct $name { shard: u8, generation: u32, slot: u32 }

        impl Key for $name {
            fn new(shard: ShardId, generation: u32, slot: u32) -> Self {
                $name { shard: shard.0, generation, slot }
            }
            fn shard(self) -> ShardId {
                ShardId(self.shard)
            }
            fn generation(self) -> u32 {
                self.generation
            }
            fn slot(self) -> u32 {
                self.slot
            }
        }
    )*};
}
pub(in crate::sip) use keys;

keys! {
    /// A client transaction.
    ClientId;
    /// A server transaction.
    ServerId;
}

/// What goes out of the stack.
pub(in crate::sip) type Outbox = VecDeque<Output>;

#[derive(Clone, PartialEq, Eq, Debug)]
enum ClientMachine {
    Invite(InviteClient),
    Other(Client),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum ServerMachine {
    Invite(InviteServer),
    Other(Server),
}

#[derive(Default, Debug)]
struct Armed {
    again: Option<TimerId>,
    bound: Option<TimerId>,
}

#[derive(Clone, Copy, Debug)]
enum Alarm {
    Client(ClientId, Event),
    Server(ServerId, Event),
}

#[derive(Debug)]
struct Asked<O> {
    machine: ClientMachine,
    pace: Pace,
    flow: Flow,
    key: Box<str>,
    method: sip_codec::Method<'static>,
    /// The request while it may go out again; afterwards, of a refused INVITE, the ACK.
    bytes: Vec<u8>,
    /// Where it goes, and as what, if its flow fails before anything came back.
    instead: Option<Box<(Flow, Vec<u8>)>>,
    /// The ACK of each 2xx, by its To tag.
    acks: Vec<(Box<str>, Flow, Vec<u8>)>,
    owner: O,
    /// Nothing that comes now is its user's business any more.
    settled: bool,
    armed: Armed,
}

#[derive(Debug)]
struct Served<O> {
    machine: ServerMachine,
    flow: Flow,
    /// Shared with the index, as what follows.
    key: Arc<[u8]>,
    /// Call-ID, From tag and CSeq, by which a merged request is known.
    merge: Arc<[u8]>,
    /// Our To tag.
    tag: Box<str>,
    /// The request, until the final response.
    request: Vec<u8>,
    /// The last response.
    response: Vec<u8>,
    owner: Option<O>,
    armed: Armed,
}

/// A response that is its user's business.
#[derive(Clone, Copy, Debug)]
pub(in crate::sip) struct Reply<O> {
    /// The transaction's user.
    pub owner: O,
    /// Nothing more will come from this transaction.
    pub last: bool,
}

/// A client transaction that ended by itself before it was settled.
#[derive(Clone, Copy, Debug)]
pub(in crate::sip) struct Gone<O> {
    /// Its user.
    pub owner: O,
    /// Without a final response.
    pub failed: bool,
}

/// What a request is to the server transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::sip) enum Seen {
    /// One that came before; it has been dealt with.
    Before,
    /// The same request over another way (RFC 3261 section 8.2.2.2).
    Merged,
    /// A new one.
    New,
}

/// A request that begins a server transaction.
pub(in crate::sip) struct Begin<'a> {
    pub flow: Flow,
    pub key: &'a [u8],
    pub merge: &'a [u8],
    pub invite: bool,
    pub tag: &'a str,
    pub request: &'a [u8],
}

/// All transactions of a shard. `O` is the user of a client transaction.
#[derive(Debug)]
pub(in crate::sip) struct Table<O> {
    timers: Timers,
    clients: Slab<ClientId, Asked<O>>,
    by_branch: Map<Box<str>, ClientId>,
    servers: Slab<ServerId, Served<O>>,
    by_key: Map<Arc<[u8]>, ServerId>,
    by_merge: Map<Arc<[u8]>, ServerId>,
    wheel: Wheel<Alarm>,
}

/// CANCEL has the branch of its INVITE (section 9.1) but is a transaction of its own.
fn client_key(branch: &str, method: sip_codec::Method<'_>) -> Box<str> {
    if method == sip_codec::Method::Cancel { format!("{branch} CANCEL").into() } else { branch.into() }
}

/// More 2xx than this to one INVITE are not remembered by their ACK.
const ACKS: usize = 16;

impl<O: Copy> Table<O> {
    pub fn new(shard: ShardId, cap: usize, timers: Timers) -> Self {
        Table {
            timers,
            clients: Slab::new(shard, cap),
            by_branch: Map::default(),
            servers: Slab::new(shard, cap),
            by_key: Map::default(),
            by_merge: Map::default(),
            wheel: Wheel::default(),
        }
    }

    fn pace(&self, flow: &Flow) -> Pace {
        Pace::new(&self.timers, flow.transport.is_stream())
    }

    /// Sends a request and begins its transaction; `None` where there are too many.
    pub fn begin(
        &mut self,
        now: Now,
        flow: Flow,
        (branch, method): (&str, sip_codec::Method<'static>),
        request: Vec<u8>,
        owner: O,
        out: &mut Outbox,
    ) -> Option<ClientId> {
        let pace = self.pace(&flow);
        let (machine, step) = ClientMachine::begin(method, pace);
        let key = client_key(branch, method);
        out.push_back(Output::Send { flow, data: request.clone() });
        let asked = Asked {
            machine,
            pace,
            flow,
            key: key.clone(),
            method,
            bytes: request,
            instead: None,
            acks: Vec::new(),
            owner,
            settled: false,
            armed: Armed::default(),
        };
        let Ok(id) = self.clients.insert(asked) else {
            out.pop_back();
            return None;
        };
        self.by_branch.insert(key, id);
        self.arm_client(now, id, step);
        Some(id)
    }

    /// Gives a request another way: it goes there, as these bytes, if its flow fails before anything came back.
    pub fn or_else(&mut self, id: ClientId, flow: Flow, bytes: Vec<u8>) {
        if let Some(asked) = self.clients.get_mut(id) {
            asked.instead = Some(Box::new((flow, bytes)));
        }
    }

    /// Sends a request the other way that it has, from the start; false where it has none.
    pub fn go_instead(&mut self, now: Now, id: ClientId, out: &mut Outbox) -> bool {
        let Some(asked) = self.clients.get_mut(id) else { return false };
        let Some(instead) = asked.instead.take() else { return false };
        (asked.flow, asked.bytes) = *instead;
        asked.pace = Pace::new(&self.timers, asked.flow.transport.is_stream());
        let (machine, step) = ClientMachine::begin(asked.method, asked.pace);
        asked.machine = machine;
        out.push_back(Output::Send { flow: asked.flow, data: asked.bytes.clone() });
        self.arm_client(now, id, step);
        true
    }

    /// The transaction that a response with this branch and CSeq method answers.
    pub fn find_client(&self, branch: &str, method: sip_codec::Method<'_>) -> Option<ClientId> {
        let id = *if method == sip_codec::Method::Cancel {
            self.by_branch.get(&client_key(branch, method))?
        } else {
            self.by_branch.get(branch)?
        };
        (self.clients.get(id)?.method == method).then_some(id)
    }

    /// A response came. `ack` writes the ACK of a refused INVITE from its request. `None`: nobody's business.
    pub fn handle_response(
        &mut self,
        now: Now,
        id: ClientId,
        (status, tag): (u16, &str),
        ack: impl FnOnce(&[u8]) -> Option<Vec<u8>>,
        out: &mut Outbox,
    ) -> Option<Reply<O>> {
        let asked = self.clients.get_mut(id)?;
        let event = match status {
            100..=199 => Event::Provisional,
            200..=299 => Event::Success,
            300..=699 => Event::Failure,
            _ => return None,
        };
        let pending = asked.is_pending();
        asked.instead = None;
        if event == Event::Success
            && let Some((_, flow, ack)) = asked.acks.iter().find(|(known, ..)| **known == *tag)
        {
            out.push_back(Output::Send { flow: *flow, data: ack.clone() });
            return None;
        }
        let step = asked.handle(event);
        if step.send == Some(Send::Ack) && pending {
            asked.bytes = ack(&asked.bytes).unwrap_or_default();
        } else if pending && event != Event::Provisional {
            asked.bytes = Vec::new();
        }
        let owner = asked.owner;
        // After a 2xx to INVITE those of other forks may come.
        let last = step.up && !asked.is_pending() && !(asked.is_invite() && event == Event::Success);
        asked.settled |= last;
        self.take_client(now, id, step, out);
        step.up.then_some(Reply { owner, last })
    }

    /// Remembers the ACK of a 2xx, to be sent again with each retransmission of it, and sends it.
    pub fn acknowledge(&mut self, id: ClientId, tag: &str, flow: Flow, ack: Vec<u8>, out: &mut Outbox) {
        if let Some(asked) = self.clients.get_mut(id)
            && asked.acks.len() < ACKS
        {
            // Cloned: without the room to grow that it was written with.
            asked.acks.push((tag.into(), flow, ack.clone()));
        }
        out.push_back(Output::Send { flow, data: ack });
    }

    /// The request of a transaction that has no final response.
    pub fn asked(&self, id: ClientId) -> Option<(Flow, &[u8])> {
        let asked = self.clients.get(id)?;
        asked.is_pending().then_some((asked.flow, &*asked.bytes))
    }

    /// Whether a provisional response and no final one came: when CANCEL may go out.
    pub fn is_proceeding(&self, id: ClientId) -> bool {
        matches!(self.clients.get(id), Some(Asked { machine: ClientMachine::Invite(machine), .. })
            if machine.is_proceeding())
    }

    /// After CANCEL: without a final response by 64*T1 the INVITE is given up (section 9.1).
    pub fn bound(&mut self, now: Now, id: ClientId) {
        if let Some(asked) = self.clients.get(id).filter(|asked| asked.is_pending()) {
            let step = Step { bound: Timer::In(asked.pace.long()), ..Step::default() };
            self.arm_client(now, id, step);
        }
    }

    /// The server transaction with this key.
    pub fn find_server(&self, key: &[u8]) -> Option<ServerId> {
        self.by_key.get(key).copied()
    }

    /// Whether a request that is not an ACK was seen before; if so it is answered as it was.
    pub fn handle_request(&mut self, now: Now, key: &[u8], merge: &[u8], out: &mut Outbox) -> Seen {
        if let Some(id) = self.find_server(key) {
            self.drive_server(now, id, Event::Repeat, out);
            return Seen::Before;
        }
        if self.by_merge.contains_key(merge) { Seen::Merged } else { Seen::New }
    }

    /// An ACK with the key of its INVITE. True where it was for a refusal: nobody else's business.
    pub fn handle_ack(&mut self, now: Now, key: &[u8], out: &mut Outbox) -> bool {
        let Some(id) = self.find_server(key) else { return false };
        let up = self.drive_server(now, id, Event::Ack, out);
        !up
    }

    /// Begins a server transaction; `None` where there are too many.
    pub fn serve(&mut self, begin: &Begin<'_>) -> Option<ServerId> {
        let machine = if begin.invite {
            ServerMachine::Invite(InviteServer::begin())
        } else {
            ServerMachine::Other(Server::begin())
        };
        let (key, merge): (Arc<[u8]>, Arc<[u8]>) = (begin.key.into(), begin.merge.into());
        let served = Served {
            machine,
            flow: begin.flow,
            key: Arc::clone(&key),
            merge: Arc::clone(&merge),
            tag: begin.tag.into(),
            request: begin.request.into(),
            response: Vec::new(),
            owner: None,
            armed: Armed::default(),
        };
        let id = self.servers.insert(served).ok()?;
        self.by_key.insert(key, id);
        if !merge.is_empty() {
            self.by_merge.insert(merge, id);
        }
        Some(id)
    }

    /// Says whose business a server transaction is: for CANCEL.
    pub fn own(&mut self, id: ServerId, owner: O) {
        if let Some(served) = self.servers.get_mut(id) {
            served.owner = Some(owner);
        }
    }

    /// Whose business it is, and our To tag.
    pub fn owner(&self, id: ServerId) -> Option<(Option<O>, &str)> {
        self.servers.get(id).map(|served| (served.owner, &*served.tag))
    }

    /// A request that waits for its final response: whence it came, itself, our tag.
    pub fn served(&self, id: ServerId) -> Option<(Flow, &[u8], &str)> {
        let served = self.servers.get(id)?;
        served.is_pending().then_some((served.flow, &*served.request, &*served.tag))
    }

    /// Sends a response.
    pub fn respond(&mut self, now: Now, id: ServerId, status: u16, response: Vec<u8>, out: &mut Outbox) {
        let Some(served) = self.servers.get_mut(id).filter(|served| served.is_pending()) else { return };
        served.response = response;
        let event = match status {
            100..=199 => Event::Provisional,
            200..=299 => Event::Success,
            _ => Event::Failure,
        };
        if event != Event::Provisional {
            served.request = Vec::new();
            served.response.shrink_to_fit();
        }
        self.drive_server(now, id, event, out);
    }

    /// The ACK of our 2xx came: its bytes are not needed any more, only that the INVITE was seen.
    pub fn acknowledged(&mut self, id: ServerId) {
        if let Some(served) = self.servers.get_mut(id).filter(|served| !served.is_pending()) {
            served.response = Vec::new();
        }
    }

    /// Sends the last response again: our user's 2xx until the ACK, or a provisional every minute.
    pub fn repeat(&mut self, id: ServerId, out: &mut Outbox) {
        if let Some(served) = self.servers.get(id).filter(|served| !served.response.is_empty()) {
            out.push_back(Output::Send { flow: served.flow, data: served.response.clone() });
        }
    }

    /// The next client transaction that ended by itself; acts on all deadlines on the way.
    pub fn expire(&mut self, now: Now, out: &mut Outbox) -> Option<Gone<O>> {
        while let Some(alarm) = self.wheel.expire(now.instant) {
            match alarm {
                Alarm::Client(id, event) => {
                    let gone = self.drive_client(now, id, event, out);
                    if gone.is_some() {
                        return gone;
                    }
                }
                Alarm::Server(id, event) => {
                    self.drive_server(now, id, event, out);
                }
            }
        }
        None
    }

    /// A flow can't be sent on: every request that waits on it has failed. One that came by a connection and that somebody
    /// works on is not lost with it: its answer comes by another (RFC 3261 section 18.2.2).
    pub fn handle_unsent(&mut self, now: Now, flow: &Flow, out: &mut Outbox) -> Vec<Gone<O>> {
        // Every shard's UDP listener of a realm is the same way out.
        let same = |asked: &Asked<O>| {
            let alike = asked.flow.transport == flow.transport && asked.flow.realm == flow.realm;
            let way = if flow.transport.is_stream() {
                asked.flow.id == flow.id && asked.is_new()
            } else {
                asked.flow.remote == flow.remote
            };
            alike && way
        };
        let ids: Vec<_> = self
            .clients
            .iter()
            .filter(|(_, asked)| same(asked) && asked.is_pending())
            .map(|(id, _)| id)
            .collect();
        let mut gone = Vec::new();
        for id in ids {
            if !self.go_instead(now, id, out) {
                gone.extend(self.drive_client(now, id, Event::Unsent, out));
            }
        }
        gone
    }

    /// A client transaction is somebody else's business from now on, who only cleans up behind it: its request is not
    /// sent again.
    pub fn abandon(&mut self, id: ClientId, owner: O) {
        let Some(asked) = self.clients.get_mut(id) else { return };
        (asked.owner, asked.instead) = (owner, None);
        if let Some(again) = asked.armed.again.take() {
            self.wheel.cancel(again);
        }
    }

    /// Whatever a client transaction sends from now on goes there.
    pub fn redirect(&mut self, id: ClientId, from: &Flow, to: Flow) {
        let Some(asked) = self.clients.get_mut(id) else { return };
        if asked.flow == *from {
            asked.flow = to;
        }
        for (_, flow, _) in asked.acks.iter_mut().filter(|(_, flow, _)| flow == from) {
            *flow = to;
        }
    }

    /// Whose business a client transaction is.
    pub fn owner_of(&self, id: ClientId) -> Option<O> {
        self.clients.get(id).map(|asked| asked.owner)
    }

    /// The request came back: it has failed, unless somebody answered it before.
    pub fn handle_refused(&mut self, now: Now, id: ClientId, out: &mut Outbox) -> Option<Gone<O>> {
        self.clients.get(id).filter(|asked| asked.is_pending())?;
        if self.is_proceeding(id) {
            return None;
        }
        self.drive_client(now, id, Event::Unsent, out)
    }

    pub fn next(&self) -> Option<Instant> {
        self.wheel.next()
    }

    /// How many client and server transactions there are.
    pub fn count(&self) -> (usize, usize) {
        (self.clients.len(), self.servers.len())
    }

    pub fn check_invariants(&self) {
        assert_eq!(self.clients.len(), self.by_branch.len());
        assert_eq!(self.servers.len(), self.by_key.len());
        assert!(self.by_merge.len() <= self.servers.len());
        for (id, asked) in self.clients.iter() {
            assert_eq!(self.by_branch.get(&asked.key), Some(&id));
        }
        for (id, served) in self.servers.iter() {
            assert_eq!(self.by_key.get(&served.key), Some(&id));
            assert!(served.is_pending() || served.request.is_empty());
        }
    }

    fn drive_client(&mut self, now: Now, id: ClientId, event: Event, out: &mut Outbox) -> Option<Gone<O>> {
        let asked = self.clients.get_mut(id)?;
        match event {
            Event::Again => asked.armed.again = None,
            Event::Expire => asked.armed.bound = None,
            _ => {}
        }
        let (step, owner, settled) = (asked.handle(event), asked.owner, asked.settled);
        self.take_client(now, id, step, out);
        (step.over && !settled).then_some(Gone { owner, failed: step.up })
    }

    fn take_client(&mut self, now: Now, id: ClientId, step: Step, out: &mut Outbox) {
        let Some(asked) = self.clients.get(id) else { return };
        if step.send.is_some() && !asked.bytes.is_empty() {
            out.push_back(Output::Send { flow: asked.flow, data: asked.bytes.clone() });
        }
        self.arm_client(now, id, step);
        if step.over
            && let Some(asked) = self.clients.remove(id)
        {
            self.disarm(&asked.armed);
            self.by_branch.remove(&asked.key);
        }
    }

    fn arm_client(&mut self, now: Now, id: ClientId, step: Step) {
        if let Some(asked) = self.clients.get_mut(id) {
            let alarm = |event| Alarm::Client(id, event);
            arm(&mut self.wheel, now, &mut asked.armed.again, step.again, alarm(Event::Again));
            arm(&mut self.wheel, now, &mut asked.armed.bound, step.bound, alarm(Event::Expire));
        }
    }

    /// True where the event is the user's business.
    fn drive_server(&mut self, now: Now, id: ServerId, event: Event, out: &mut Outbox) -> bool {
        let Some(served) = self.servers.get_mut(id) else { return false };
        match event {
            Event::Again => served.armed.again = None,
            Event::Expire => served.armed.bound = None,
            _ => {}
        }
        let step = served.handle(Pace::new(&self.timers, served.flow.transport.is_stream()), event);
        if step.send.is_some() && !served.response.is_empty() {
            out.push_back(Output::Send { flow: served.flow, data: served.response.clone() });
        }
        let alarm = |event| Alarm::Server(id, event);
        arm(&mut self.wheel, now, &mut served.armed.again, step.again, alarm(Event::Again));
        arm(&mut self.wheel, now, &mut served.armed.bound, step.bound, alarm(Event::Expire));
        if step.over
            && let Some(served) = self.servers.remove(id)
        {
            self.disarm(&served.armed);
            self.by_key.remove(&served.key);
            if self.by_merge.get(&served.merge) == Some(&id) {
                self.by_merge.remove(&served.merge);
            }
        }
        step.up
    }

    fn disarm(&mut self, armed: &Armed) {
        for timer in [armed.again, armed.bound].into_iter().flatten() {
            self.wheel.cancel(timer);
        }
    }
}

fn arm(wheel: &mut Wheel<Alarm>, now: Now, slot: &mut Option<TimerId>, timer: Timer, alarm: Alarm) {
    if timer == Timer::Keep {
        return;
    }
    if let Some(armed) = slot.take() {
        wheel.cancel(armed);
    }
    if let Timer::In(by) = timer {
        *slot = Some(wheel.insert(now.instant + by, alarm));
    }
}

impl ClientMachine {
    fn begin(method: sip_codec::Method<'_>, pace: Pace) -> (ClientMachine, Step) {
        if method == sip_codec::Method::Invite {
            let (machine, step) = InviteClient::begin(pace);
            (ClientMachine::Invite(machine), step)
        } else {
            let (machine, step) = Client::begin(pace);
            (ClientMachine::Other(machine), step)
        }
    }
}

impl<O> Asked<O> {
    fn is_invite(&self) -> bool {
        matches!(self.machine, ClientMachine::Invite(_))
    }

    fn handle(&mut self, event: Event) -> Step {
        match &mut self.machine {
            ClientMachine::Invite(machine) => machine.handle(self.pace, event),
            ClientMachine::Other(machine) => machine.handle(self.pace, event),
        }
    }

    fn is_new(&self) -> bool {
        match &self.machine {
            ClientMachine::Invite(machine) => machine.is_new(),
            ClientMachine::Other(machine) => machine.is_new(),
        }
    }

    fn is_pending(&self) -> bool {
        match &self.machine {
            ClientMachine::Invite(machine) => machine.is_pending(),
            ClientMachine::Other(machine) => machine.is_pending(),
        }
    }
}

impl<O> Served<O> {
    fn handle(&mut self, pace: Pace, event: Event) -> Step {
        match &mut self.machine {
            ServerMachine::Invite(machine) => machine.handle(pace, event),
            ServerMachine::Other(machine) => machine.handle(pace, event),
        }
    }

    fn is_pending(&self) -> bool {
        match &self.machine {
            ServerMachine::Invite(machine) => machine.is_pending(),
            ServerMachine::Other(machine) => machine.is_pending(),
        }
    }
}
