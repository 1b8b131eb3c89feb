//! The loop: waits, receives, forwards, runs the machines, sends. The one place where a shard meets time and sockets.

use super::config::Config;
use super::control::{Order, Snapshot};
use super::core::{Core, Output, Places, SipPlace, WebPlace};
use super::mailbox::Mailboxes;
use super::open::Seat;
use super::pace::{Pace, Part};
use super::ready::Ready;
use crate::base::{FlowId, Key, Now, Random, RealmId, ShardId, SocketId, counters};
use crate::call::Record;
use crate::net::{self, BATCH, Batch, Listener, Poll, Received, Sockets, Stream, Udp, UdpOptions};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Datagrams handled in one pass: about 3 ms of work, so that nothing else waits long.
const DATAGRAMS: usize = 512;
/// Datagrams taken from an RTP socket in its turn: one call's, and a look at whether there is another.
const NARROW: usize = 2;
/// SIP messages handled in one pass.
const MESSAGES: usize = 64;
/// Messages from other shards handled in one pass.
const MAIL: usize = 256;
/// Connections accepted in one pass.
const ACCEPTS: usize = 64;
/// Connections read and written in one pass.
const STREAMS: usize = 128;
/// Reads and writes of one connection in its turn.
const STREAM_TURNS: usize = 4;
/// Sockets opened in one pass, at some 15 µs each.
const BINDS: usize = 32;
/// How long a listener rests when connections can't be accepted (no file descriptors, mostly).
const REST: Duration = Duration::from_millis(100);
/// From the last word to the loop's end: for the answers to BYE and REGISTER, and for mail to browsers elsewhere.
const LINGER: Duration = Duration::from_millis(500);

counters! {
    /// What the loop met.
    pub struct Counters {
        /// Connections accepted.
        accepted,
        /// Connections that could not be accepted.
        accept_failed,
        /// RTP sockets that could not be opened.
        bind_failed,
        /// Connections that failed.
        streams_failed,
        /// Call records that nobody took.
        records_shed,
    }
}

/// One shard's thread.
#[derive(Debug)]
pub struct Loop {
    shard: ShardId,
    config: Arc<Config>,
    core: Core,
    poll: Poll,
    sockets: Sockets,
    /// Sockets that carry many calls, for which a batch of their own is worth while.
    wide: Vec<SocketId>,
    sip: Vec<SocketId>,
    listener: Option<Listener>,
    accept_at: Option<Instant>,
    streams: Vec<Option<(FlowId, Stream)>>,
    batch: Batch,
    own: Batch,
    buffer: Box<[u8]>,
    ready_sockets: Ready<SocketId>,
    ready_sip: Ready<SocketId>,
    ready_streams: Ready<FlowId>,
    binds: VecDeque<(RealmId, u16)>,
    records: Option<SyncSender<Box<Record>>>,
    mailboxes: Mailboxes,
    orders: Receiver<Order>,
    pace: Pace,
    draining: bool,
    drained_at: Option<Instant>,
    stopped: bool,
    checked: bool,
    counters: Counters,
}

/// This moment, on both clocks.
#[expect(clippy::disallowed_methods, reason = "the loop is where time comes from")]
pub fn clock() -> Now {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Now { instant: Instant::now(), unix }
}

#[expect(clippy::disallowed_methods, reason = "the loop is where time comes from")]
fn instant() -> Instant {
    Instant::now()
}

fn seat_socket(poll: &Poll, sockets: &mut Sockets, socket: Udp) -> io::Result<SocketId> {
    let id = sockets.insert(socket).map_err(|_| io::ErrorKind::OutOfMemory)?;
    match sockets.get(id).map(|socket| poll.add_socket(id, socket)) {
        Some(Err(error)) => {
            sockets.remove(id);
            Err(error)
        }
        _ => Ok(id),
    }
}

fn seat_sockets(
    config: &Config,
    poll: &Poll,
    sockets: &mut Sockets,
    web: Vec<Udp>,
    sip: Vec<Udp>,
) -> io::Result<Places> {
    let mut places = Places::default();
    for (n, socket) in web.into_iter().enumerate() {
        let local = socket.address();
        let mut advertised = local;
        if let (0, Some(ip)) = (n, config.web_media.advertised) {
            advertised.set_ip(ip);
        }
        let socket = seat_socket(poll, sockets, socket)?;
        places.web.push(WebPlace { socket, local, advertised });
    }
    for (n, socket) in sip.into_iter().enumerate() {
        let told = config.realms.get(n).and_then(|realm| realm.sip_advertised);
        let advertised = told.unwrap_or(socket.address());
        let socket = seat_socket(poll, sockets, socket)?;
        places.sip.push(SipPlace { socket, realm: RealmId(n as u8), advertised });
    }
    Ok(places)
}

impl Loop {
    /// Sits down: call it on the thread that will run it.
    pub fn new(seat: Seat, random: Random) -> io::Result<Loop> {
        let Seat { shard, shards, config, poll, web, sip, http, mailboxes, orders } = seat;
        let now = clock();
        let mut sockets = Sockets::new(shard, config.caps.sockets);
        let places = seat_sockets(&config, &poll, &mut sockets, web, sip)?;
        if let Some(listener) = &http {
            poll.add_listener(0, listener)?;
        }
        Ok(Loop {
            wide: places.web.iter().map(|place| place.socket).collect(),
            sip: places.sip.iter().map(|place| place.socket).collect(),
            core: Core::new(now, shard, shards, Arc::clone(&config), places, random),
            sockets,
            listener: http,
            accept_at: None,
            streams: Vec::new(),
            batch: Batch::default(),
            own: Batch::default(),
            buffer: vec![0; 1 << 16].into_boxed_slice(),
            ready_sockets: Ready::new(),
            ready_sip: Ready::new(),
            ready_streams: Ready::new(),
            binds: VecDeque::new(),
            records: None,
            pace: Pace::new(now.instant),
            draining: false,
            drained_at: None,
            stopped: false,
            checked: cfg!(debug_assertions),
            counters: Counters::default(),
            shard,
            config,
            poll,
            mailboxes,
            orders,
        })
    }

    /// Leaves the invariants unchecked, as release builds do: for measurements.
    pub fn unchecked(mut self) -> Loop {
        self.checked = false;
        self
    }

    /// Sends the records of calls there. A full ring sheds them, counted.
    pub fn with_records(mut self, records: SyncSender<Box<Record>>) -> Loop {
        self.records = Some(records);
        self
    }

    /// The shard without its sockets, to be looked at and for tests that set up media by hand.
    pub fn core_mut(&mut self) -> &mut Core {
        &mut self.core
    }

    /// Runs until told to stop, or until drained.
    pub fn run(mut self) -> io::Result<()> {
        while !self.stopped {
            self.pass(None)?;
        }
        Ok(())
    }

    /// One pass. Waits for something to do, at most so long.
    pub fn pass(&mut self, patience: Option<Duration>) -> io::Result<()> {
        let timeout = self.timeout(patience);
        self.poll.wait(timeout)?;
        let now = clock();
        self.pace.begin(now.instant);
        self.note_ready(now);
        self.datagrams(now);
        self.messages(now);
        self.pace.lap(instant(), Part::Datagrams);
        self.orders(now);
        self.mail(now);
        self.pace.lap(instant(), Part::Mail);
        self.accept(now);
        self.streams(now);
        self.pace.lap(instant(), Part::Streams);
        self.timers(now);
        self.pace.lap(instant(), Part::Timers);
        self.outputs(now);
        self.pace.lap(instant(), Part::Outputs);
        self.pace.end();
        if self.checked {
            self.core.check_invariants();
        }
        Ok(())
    }

    /// How long the next wait may be: not at all while a budget put work off.
    fn timeout(&mut self, patience: Option<Duration>) -> Option<Duration> {
        let waiting = self.ready_sockets.len() + self.ready_sip.len() + self.ready_streams.len();
        if waiting > 0 || !self.binds.is_empty() || self.mailboxes.backlog() {
            return Some(Duration::ZERO);
        }
        let mut at = self.core.poll_timeout().map(|deadline| deadline.at);
        for other in [self.accept_at, self.drained_at] {
            at = match (at, other) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        }
        let wait = at.map(|at| at.saturating_duration_since(instant()));
        match (wait, patience) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn note_ready(&mut self, now: Now) {
        for ready in self.poll.ready() {
            match ready {
                net::Ready::Socket(id) if self.sip.contains(&id) => self.ready_sip.push(id),
                net::Ready::Socket(id) => self.ready_sockets.push(id),
                net::Ready::Stream { flow, .. } => self.ready_streams.push(flow),
                net::Ready::Listener(_) => self.accept_at = Some(now.instant),
                net::Ready::Woken => {}
            }
        }
    }

    fn datagrams(&mut self, now: Now) {
        let mut budget = DATAGRAMS;
        while budget > 0 {
            let Some(id) = self.ready_sockets.pop() else { break };
            let wide = self.wide.contains(&id);
            if wide && !self.batch.is_empty() {
                self.forward(now);
            }
            let before = self.batch.len();
            let limit = if wide { BATCH } else { NARROW };
            if self.sockets.receive(id, &mut self.batch, limit) == Received::More {
                self.ready_sockets.push(id);
            }
            budget = budget.saturating_sub((self.batch.len() - before).max(1));
            if wide || self.batch.room() < NARROW {
                self.forward(now);
            }
        }
        self.forward(now);
    }

    fn forward(&mut self, now: Now) {
        if !self.batch.is_empty() {
            self.core.receive(now, &mut self.batch);
            self.sockets.send(&mut self.batch);
        }
    }

    fn messages(&mut self, now: Now) {
        for _ in 0..MESSAGES {
            let Some(id) = self.ready_sip.pop() else { return };
            match self.sockets.receive_one(id, &mut self.buffer) {
                Ok((remote, data)) => {
                    self.core.message(now, id, remote, data);
                    self.ready_sip.push(id);
                }
                Err(Received::More) => self.ready_sip.push(id),
                Err(Received::Drained) => {}
            }
        }
    }

    fn orders(&mut self, now: Now) {
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Drain => {
                    self.draining = true;
                    self.core.drain(now);
                }
                // Asked twice, it means it.
                Order::Stop if self.drained_at.is_some() => self.stopped = true,
                Order::Stop => self.stop(now),
                Order::Snapshot(reply) => {
                    // Whoever asked may have lost patience.
                    let _ = reply.try_send(self.snapshot());
                }
            }
        }
        if self.draining && self.drained_at.is_none() && self.core.calls() == 0 {
            self.stop(now);
        }
        self.stopped |= self.drained_at.is_some_and(|at| at <= now.instant);
    }

    fn stop(&mut self, now: Now) {
        self.core.stop(now);
        self.drained_at = Some(now.instant + LINGER);
    }

    fn mail(&mut self, now: Now) {
        for _ in 0..MAIL {
            let Some((from, mail)) = self.mailboxes.receive() else { return };
            self.core.mail(now, from, mail);
        }
        self.mailboxes.leave_rest();
    }

    fn accept(&mut self, now: Now) {
        if self.accept_at.is_none_or(|at| at > now.instant) {
            return;
        }
        for _ in 0..ACCEPTS {
            let Some(listener) = &self.listener else { return };
            match listener.accept() {
                Ok(Some((stream, remote))) => self.open_stream(now, stream, remote),
                Ok(None) => {
                    self.accept_at = None;
                    return;
                }
                Err(_) => {
                    // The connection still waits and raises no new edge: try again, but don't spin.
                    self.counters.accept_failed += 1;
                    self.accept_at = Some(now.instant + REST);
                    return;
                }
            }
        }
    }

    fn open_stream(&mut self, now: Now, stream: Stream, remote: SocketAddr) {
        self.counters.accepted += 1;
        let Some(flow) = self.core.opened(now, remote) else { return };
        if self.poll.add_stream(flow, &stream).is_err() {
            self.counters.streams_failed += 1;
            self.core.closed(now, flow);
            return;
        }
        let slot = flow.slot() as usize;
        if slot >= self.streams.len() {
            self.streams.resize_with(slot + 1, || None);
        }
        self.streams[slot] = Some((flow, stream));
        self.ready_streams.push(flow);
    }

    fn streams(&mut self, now: Now) {
        for _ in 0..STREAMS.min(self.ready_streams.len()) {
            let Some(flow) = self.ready_streams.pop() else { return };
            self.write_stream(now, flow);
            self.read_stream(now, flow);
        }
    }

    fn stream(streams: &mut [Option<(FlowId, Stream)>], flow: FlowId) -> Option<&mut Stream> {
        match streams.get_mut(flow.slot() as usize) {
            Some(Some((id, stream))) if *id == flow => Some(stream),
            _ => None,
        }
    }

    fn read_stream(&mut self, now: Now, flow: FlowId) {
        for _ in 0..STREAM_TURNS {
            let Some(stream) = Self::stream(&mut self.streams, flow) else { return };
            let area = &mut self.buffer[..net::READ_SIZE];
            match stream.read(area) {
                Ok(None) => return,
                Ok(Some(0)) => return self.core.ended(now, flow),
                Ok(Some(count)) => self.core.bytes(now, flow, &area[..count]),
                Err(_) => return self.fail_stream(now, flow),
            }
        }
        self.ready_streams.push(flow);
    }

    fn write_stream(&mut self, now: Now, flow: FlowId) {
        for _ in 0..STREAM_TURNS {
            let Some(stream) = Self::stream(&mut self.streams, flow) else { return };
            let bytes = self.core.unsent(flow);
            if bytes.is_empty() {
                return;
            }
            match stream.write(bytes) {
                Ok(None) => return,
                Ok(Some(count)) => self.core.sent(now, flow, count),
                Err(_) => return self.fail_stream(now, flow),
            }
        }
        self.ready_streams.push(flow);
    }

    fn fail_stream(&mut self, now: Now, flow: FlowId) {
        self.counters.streams_failed += 1;
        self.close_stream(flow);
        self.core.closed(now, flow);
    }

    fn close_stream(&mut self, flow: FlowId) {
        if let Some(stream) = Self::stream(&mut self.streams, flow) {
            stream.shut();
            self.streams[flow.slot() as usize] = None;
        }
    }

    fn timers(&mut self, now: Now) {
        if self.core.poll_timeout().is_some_and(|deadline| deadline.at <= now.instant) {
            self.core.handle_timeout(now);
        }
    }

    fn outputs(&mut self, now: Now) {
        self.carry_out(now);
        for _ in 0..BINDS {
            let Some((realm, port)) = self.binds.pop_front() else { break };
            let socket = self.bind(realm, port);
            self.counters.bind_failed += u64::from(socket.is_none());
            self.core.bound(now, realm, port, socket);
        }
        self.carry_out(now);
        self.sockets.send(&mut self.own);
        self.mailboxes.wake();
    }

    fn carry_out(&mut self, now: Now) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { socket, to, data } => self.send(now, socket, to, &data),
                Output::Bind { realm, port } => self.binds.push_back((realm, port)),
                Output::Unbind { socket } => drop(self.sockets.remove(socket)),
                Output::Write { flow } => self.write_stream(now, flow),
                Output::Close { flow } => self.close_stream(flow),
                Output::Record(record) => self.record(record),
                Output::Mail { to, mail } => self.mailboxes.send(to, mail),
            }
        }
    }

    fn send(&mut self, now: Now, socket: SocketId, to: SocketAddr, data: &[u8]) {
        // SIP is rare, may be longer than a slot, and its stack wants to know of a far side that can't be reached.
        if self.sip.contains(&socket) {
            if !self.sockets.send_one(socket, to, data) {
                self.core.unsendable(now, socket, to);
            }
            return;
        }
        if self.own.room() == 0 {
            self.sockets.send(&mut self.own);
        }
        if !self.own.push(socket, to, data, true) {
            self.sockets.send_one(socket, to, data);
        }
    }

    fn record(&mut self, record: Box<Record>) {
        let taken = self.records.as_ref().is_none_or(|records| records.try_send(record).is_ok());
        self.counters.records_shed += u64::from(!taken);
    }

    fn bind(&mut self, realm: RealmId, port: u16) -> Option<SocketId> {
        let realm = self.config.realms.get(usize::from(realm.0))?;
        let options = UdpOptions {
            device: realm.device.clone(),
            dscp: realm.media_dscp,
            ..UdpOptions::new(SocketAddr::new(realm.media, port))
        };
        let socket = Udp::open(&options).ok()?;
        seat_socket(&self.poll, &mut self.sockets, socket).ok()
    }

    /// How it goes.
    pub fn snapshot(&self) -> Snapshot {
        let mut counters = Vec::new();
        self.core.all_counters(&mut counters);
        let net = self.sockets.counters().iter().map(|(name, value)| ("net", name, value));
        counters.extend(net);
        counters.extend(self.counters.iter().map(|(name, value)| ("loop", name, value)));
        counters.extend(self.pace.slow().iter().map(|(name, value)| ("slow_pass", name, value)));
        counters.push(("loop", "mail_shed", self.mailboxes.shed()));
        let shared = self.wide.iter().chain(&self.sip).filter_map(|&id| self.sockets.get(id));
        counters.push(("net", "kernel_drops", shared.map(|socket| u64::from(socket.drops())).sum()));
        Snapshot {
            shard: self.shard,
            calls: self.core.calls(),
            connections: self.core.connections(),
            counters,
            passes: self.pace.passes(),
            cpu: net::thread_time(),
        }
    }
}
