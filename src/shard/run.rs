//! The loop: waits, receives, forwards, runs the machines, sends. The one place where a shard meets time and sockets.

use super::carry::seat_sockets;
use super::clock::{Clock, clock, instant};
use super::config::{Config, SipTls};
use super::control::{Order, Snapshot};
use super::core::Core;
use super::mailbox::Mailboxes;
use super::open::{Door, Seat};
use super::pace::{Pace, Part};
use super::queries::Queries;
use super::ready::Ready;
use crate::base::{FlowId, Now, Random, RealmId, Set, ShardId, SocketId, counters};
use crate::call::Record;
use crate::net::{self, BATCH, Batch, Certificate, Poll, Received, Sockets, Stream};
use crate::sip::Note;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

/// Turns of media sockets in one pass. A turn of an RTP socket is one datagram, of a web socket up to a batch.
const DATAGRAMS: usize = 512;
/// After so long in one pass the rest of them wait for the next: a flooded web socket always has another batch, and a
/// check or a handshake takes longer than media.
const DATAGRAM_TIME: Duration = Duration::from_millis(3);
/// SIP messages handled in one pass.
const MESSAGES: usize = 64;
/// Messages from other shards handled in one pass.
const MAIL: usize = 256;
/// From the last word to the loop's end: for the answers to BYE and REGISTER, and for mail to browsers elsewhere.
const LINGER: Duration = Duration::from_millis(500);

counters! {
    /// What the loop met.
    pub struct Counters {
        /// Connections accepted.
        accepted,
        /// Connections that could not be accepted.
        accept_failed,
        /// Connections of ours that could not be begun.
        connect_failed,
        /// RTP sockets that could not be opened.
        bind_failed,
        /// Connections that failed.
        streams_failed,
        /// TLS handshakes that were completed.
        handshakes,
        /// Connections closed because TLS took too long to come up.
        handshakes_late,
        /// Connections closed because too many others' TLS was not up yet.
        handshakes_full,
        /// Call records that nobody took.
        records_shed,
    }
}

/// One shard's thread.
#[derive(Debug)]
pub struct Loop {
    pub(super) shard: ShardId,
    pub(super) config: Arc<Config>,
    pub(super) core: Core,
    pub(super) poll: Poll,
    pub(super) sockets: Sockets,
    /// Sockets that carry many calls, for which a batch of their own is worth while.
    pub(super) wide: Vec<SocketId>,
    pub(super) sip: Vec<SocketId>,
    /// By the number that the poll knows them by.
    pub(super) doors: Vec<Door>,
    pub(super) streams: Vec<Option<(FlowId, Stream)>>,
    /// HTTP is under TLS, with this.
    pub(super) certificate: Option<Certificate>,
    /// TLS under SIP.
    pub(super) sip_tls: SipTls,
    /// Connections whose TLS may not be up yet, oldest first, and how many of them there are.
    pub(super) handshakes: VecDeque<(Instant, FlowId)>,
    pub(super) shaking: Set<FlowId>,
    pub(super) batch: Batch,
    pub(super) own: Batch,
    pub(super) buffer: Box<[u8]>,
    pub(super) ready_sockets: Ready<SocketId>,
    pub(super) ready_sip: Ready<SocketId>,
    /// SIP sockets that have errors to be read.
    pub(super) failing: Ready<SocketId>,
    pub(super) ready_streams: Ready<FlowId>,
    pub(super) ready_queries: Vec<u32>,
    pub(super) queries: Queries,
    /// Sockets of single calls that have something, at most a batch of them.
    pub(super) level: Vec<SocketId>,
    pub(super) binds: VecDeque<(RealmId, u16, bool)>,
    pub(super) records: Option<SyncSender<Box<Record>>>,
    pub(super) notes: Option<SyncSender<Note>>,
    pub(super) mailboxes: Mailboxes,
    pub(super) orders: Receiver<Order>,
    pub(super) clock: Clock,
    pub(super) pace: Pace,
    /// Another thread has put something into a ring.
    pub(super) woken: bool,
    /// Something but media was handled since `next` was asked for.
    pub(super) stale: bool,
    /// When the machines want to be called again, the media plane left out.
    pub(super) next: Option<Instant>,
    pub(super) draining: bool,
    pub(super) drained_at: Option<Instant>,
    pub(super) stopped: bool,
    pub(super) checked: bool,
    pub(super) counters: Counters,
}

impl Loop {
    /// Sits down: call it on the thread that will run it.
    pub fn new(seat: Seat, random: Random) -> io::Result<Loop> {
        let Seat { shard, shards, config, poll, web, sip, doors, secure, mailboxes, orders } = seat;
        let now = clock();
        let mut sockets = Sockets::new(shard, config.caps.sockets);
        if config.io_uring {
            // Where the kernel has none, or may not give it, the plain calls serve.
            let _ = sockets.use_ring();
        }
        let places = seat_sockets(&config, &poll, &mut sockets, web, sip, &secure)?;
        for (n, door) in doors.iter().enumerate() {
            poll.add_listener(n as u32, &door.listener)?;
        }
        Ok(Loop {
            wide: places.web.iter().map(|place| place.socket).collect(),
            sip: places.sip.iter().map(|place| place.socket).collect(),
            core: Core::new(now, shard, shards, Arc::clone(&config), places, random),
            sockets,
            doors,
            streams: Vec::new(),
            certificate: config.http.certificate.clone(),
            sip_tls: config.sip_tls.clone(),
            handshakes: VecDeque::new(),
            shaking: Set::default(),
            batch: Batch::default(),
            own: Batch::default(),
            buffer: vec![0; 1 << 16].into_boxed_slice(),
            ready_sockets: Ready::new(),
            ready_sip: Ready::new(),
            failing: Ready::new(),
            ready_streams: Ready::new(),
            ready_queries: Vec::new(),
            queries: Queries::default(),
            notes: None,
            level: Vec::with_capacity(BATCH),
            binds: VecDeque::new(),
            records: None,
            clock: Clock::new(now),
            pace: Pace::new(now.instant),
            woken: true,
            stale: true,
            next: None,
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

    /// Sends what the operator should know there. A full ring sheds it.
    pub fn with_notes(mut self, notes: SyncSender<Note>) -> Loop {
        self.notes = Some(notes);
        self
    }

    /// The shard without its sockets, to be looked at and for tests that set up media by hand.
    pub fn core_mut(&mut self) -> &mut Core {
        self.stale = true;
        &mut self.core
    }

    /// Runs until told to stop, or until drained.
    pub fn run(mut self) -> io::Result<()> {
        while !self.stopped {
            self.pass(None)?;
        }
        Ok(())
    }

    /// One pass. Waits for something to do, at most so long. What finds nothing to do reads no clock and asks no machine:
    /// most passes are for a handful of media packets, each of which would have to bear its share of that.
    pub fn pass(&mut self, patience: Option<Duration>) -> io::Result<()> {
        let timeout = self.timeout(patience);
        self.poll.wait(timeout)?;
        let now = self.clock.now();
        self.pace.begin(now.instant);
        if let Some(full) = self.pace.weigh(self.config.caps.load) {
            self.stale = true;
            self.core.overload(now, full);
        }
        self.note_ready(now);
        if self.ready_sockets.len() > 0 {
            self.datagrams(now);
            self.pace.lap(instant(), Part::Datagrams);
        }
        let signalled = self.refusals(now) | self.messages(now) | self.read_queries(now);
        self.lap(signalled, Part::Datagrams);
        let told = self.orders(now) | self.mail(now);
        self.lap(told, Part::Mail);
        let streamed = self.accept(now) | self.streams(now);
        self.lap(streamed, Part::Streams);
        let late = self.timers(now);
        self.lap(late, Part::Timers);
        let asked = self.outputs(now);
        self.lap(asked, Part::Outputs);
        self.pace.end();
        if self.checked {
            self.core.check_invariants();
        }
        Ok(())
    }

    /// A part of the pass is over, which did something or found nothing to do.
    fn lap(&mut self, worked: bool, part: Part) {
        if worked {
            self.stale = true;
            self.pace.lap(instant(), part);
        }
    }

    /// How long the next wait may be: not at all while a budget put work off.
    fn timeout(&mut self, patience: Option<Duration>) -> Option<Duration> {
        let waiting =
            self.ready_sockets.len() + self.ready_sip.len() + self.ready_streams.len() + self.failing.len();
        if waiting > 0 || !self.binds.is_empty() || self.mailboxes.backlog() {
            return Some(Duration::ZERO);
        }
        // What the last pass read last is as good as now.
        let wait = self.deadline().map(|at| at.saturating_duration_since(self.pace.last()));
        match (wait, patience) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// When something is to be done though nothing comes.
    fn deadline(&mut self) -> Option<Instant> {
        if std::mem::take(&mut self.stale) {
            let other = self.core.other_timeout().map(|deadline| deadline.at);
            let accepts = self.doors.iter().filter_map(|door| door.accept_at).min();
            let all = [other, accepts, self.drained_at, self.handshake_timeout()];
            self.next = all.into_iter().flatten().min();
        }
        let media = self.core.media_timeout().map(|deadline| deadline.at);
        media.into_iter().chain(self.next).min()
    }

    fn note_ready(&mut self, now: Now) {
        for ready in self.poll.ready() {
            match ready {
                net::Ready::Errors(id) if self.sip.contains(&id) => {
                    self.failing.push(id);
                    self.ready_sip.push(id);
                }
                net::Ready::Socket(id) if self.sip.contains(&id) => self.ready_sip.push(id),
                net::Ready::Socket(id) | net::Ready::Errors(id) => {
                    self.core.expect(id);
                    self.ready_sockets.push(id);
                }
                net::Ready::Stream { flow, .. } => self.ready_streams.push(flow),
                net::Ready::Query(number) => self.ready_queries.push(number),
                net::Ready::Listener(n) => {
                    if let Some(door) = self.doors.get_mut(n as usize) {
                        door.accept_at = Some(now.instant);
                    }
                }
                net::Ready::Woken => self.woken = true,
            }
        }
    }

    fn datagrams(&mut self, now: Now) {
        for _ in 0..DATAGRAMS {
            let Some(id) = self.ready_sockets.pop() else { break };
            if self.wide.contains(&id) {
                if self.batch.room() < BATCH / 2 {
                    self.forward(now);
                }
                let limit = self.batch.room();
                if self.sockets.receive(id, &mut self.batch, limit) == Received::More {
                    self.ready_sockets.push(id);
                    self.forward(now);
                    if instant().saturating_duration_since(now.instant) >= DATAGRAM_TIME {
                        break;
                    }
                }
            } else {
                self.level.push(id);
                if self.level.len() == BATCH {
                    self.read_level(now);
                    self.forward(now);
                }
            }
        }
        self.read_level(now);
        self.forward(now);
    }

    /// Reads the sockets of single calls that have something.
    fn read_level(&mut self, now: Now) {
        if self.level.is_empty() {
            return;
        }
        if self.batch.room() < self.level.len() {
            self.forward(now);
        }
        self.core.locate(&mut self.batch);
        self.level.iter().for_each(|&id| self.core.expect_more(id));
        self.sockets.receive_level(&self.level, &mut self.batch);
        self.level.clear();
    }

    fn forward(&mut self, now: Now) {
        if !self.batch.is_empty() {
            self.stale |= !self.core.receive(now, &mut self.batch);
            self.sockets.send(&mut self.batch);
        }
    }

    /// Requests that came back: nobody is there. False where there are none.
    fn refusals(&mut self, now: Now) -> bool {
        let waiting = self.failing.len() > 0;
        for _ in 0..MESSAGES {
            if !self.core.is_settled() {
                break;
            }
            let Some(id) = self.failing.pop() else { break };
            if let Some((to, data)) = self.sockets.receive_refused(id, &mut self.buffer) {
                self.core.refused(now, id, to, data);
                self.failing.push(id);
            }
        }
        waiting
    }

    /// SIP messages; false where there are none.
    fn messages(&mut self, now: Now) -> bool {
        let waiting = self.ready_sip.len() > 0;
        for _ in 0..MESSAGES {
            if !self.core.is_settled() {
                break;
            }
            let Some(id) = self.ready_sip.pop() else { break };
            match self.sockets.receive_one(id, &mut self.buffer) {
                Ok((remote, data)) => {
                    self.core.message(now, id, remote, data);
                    self.ready_sip.push(id);
                }
                Err(Received::More) => self.ready_sip.push(id),
                Err(Received::Drained) => {}
            }
        }
        waiting
    }

    /// What the node wants; false where it wants nothing. Who puts an order in wakes us.
    fn orders(&mut self, now: Now) -> bool {
        if !self.woken && !self.draining && self.drained_at.is_none() {
            return false;
        }
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Order::Drain => {
                    self.draining = true;
                    self.core.drain(now);
                }
                // Asked twice, it means it.
                Order::Stop if self.drained_at.is_some() => self.stopped = true,
                Order::Stop => self.stop(now),
                Order::Certificate(certificate) => self.certificate = Some(certificate),
                Order::SipTls(tls) => self.sip_tls = *tls,
                // In each of these, whoever asked may have lost patience.
                Order::Calls(most, reply) => drop(reply.try_send(self.core.calls_machine().live(most))),
                Order::Trace(name, reply) => drop(reply.try_send(self.core.trace(&name).map(Box::new))),
                Order::Snapshot(reply) => {
                    let _ = reply.try_send(self.snapshot());
                }
            }
        }
        if self.draining && self.drained_at.is_none() && self.core.calls() == 0 {
            self.stop(now);
        }
        self.stopped |= self.drained_at.is_some_and(|at| at <= now.instant);
        true
    }

    fn stop(&mut self, now: Now) {
        self.core.stop(now);
        self.drained_at = Some(now.instant + LINGER);
    }

    /// What other shards tell; false where they tell nothing. Who puts mail in wakes us.
    fn mail(&mut self, now: Now) -> bool {
        if !std::mem::take(&mut self.woken) && !self.mailboxes.backlog() {
            return false;
        }
        for _ in 0..MAIL {
            if !self.core.is_settled() {
                break;
            }
            let Some((from, mail)) = self.mailboxes.receive() else { return true };
            self.core.mail(now, from, mail);
        }
        self.mailboxes.leave_rest();
        true
    }

    /// Calls the machines that wanted to be; false where it is too soon.
    fn timers(&mut self, now: Now) -> bool {
        if self.deadline().is_none_or(|at| at > now.instant) {
            return false;
        }
        self.expire_handshakes(now);
        if self.core.poll_timeout().is_some_and(|deadline| deadline.at <= now.instant) {
            self.core.handle_timeout(now);
        }
        true
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
        counters.push(("net", "kernel_drops", self.sockets.drops()));
        let mut gauges = self.core.gauges();
        gauges.push(("io_uring", u64::from(self.sockets.has_ring())));
        gauges.push(("load", u64::from(self.pace.load())));
        gauges.push(("handshakes", self.shaking.len() as u64));
        let (sent, received) = self.mailboxes.passed();
        counters.extend([("loop", "mail_sent", sent), ("loop", "mail_received", received)]);
        Snapshot {
            shard: self.shard,
            calls: self.core.calls(),
            connections: self.core.connections(),
            counters,
            passes: self.pace.passes(),
            gauges,
            stages: self.core.calls_machine().stages(),
            ended: self.core.tally.ended.clone(),
            trunks: self.core.tally.trunks.clone(),
            servers: self.core.servers(clock()),
            cpu: net::thread_time(),
        }
    }
}
