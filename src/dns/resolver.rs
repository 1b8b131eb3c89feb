//! The resolver: questions to name servers by UDP, by TCP where an answer does not fit, and what becomes of answers.

use super::cache::{Cache, Entry};
use super::host::{Hosts, Settings};
use super::wire::{self, Code, Reply};
use super::{Answer, Data, Kind, Missing, Name};
use crate::base::{Deadline, Machine, Map, Now, Random, TimerId, Wheel, counters};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Aliases that are followed for one question.
const ALIASES: u8 = 8;
/// Source ports are chosen from here up: no service's, and none of RTP's by default.
const FIRST_PORT: u16 = 32_768;
/// How long what the hosts file says is taken for granted.
const HOSTS_LAST: Duration = Duration::from_mins(1);
/// Bytes of an answer by TCP, its length included.
const LONGEST: usize = 2 + 65_535;

/// The resolver's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Of the host's `resolv.conf`, or the operator's own.
    pub settings: Settings,
    /// The hosts file.
    pub hosts: Hosts,
    /// Answers that are kept.
    pub entries: usize,
    /// Questions at once.
    pub questions: usize,
    /// Answers hold so long at least, whatever they say.
    pub least: Duration,
    /// And so long at most.
    pub most: Duration,
    /// The absence of a name holds so long at most, and so long where its zone says nothing.
    pub absent: (Duration, Duration),
    /// How long an answer stands in, past its time, while nobody can be asked; and how soon one is asked again.
    pub stale: (Duration, Duration),
}

impl Default for Config {
    fn default() -> Self {
        Config {
            settings: Settings::default(),
            hosts: Hosts::default(),
            entries: 4_096,
            questions: 256,
            least: Duration::from_secs(5),
            most: Duration::from_hours(24),
            absent: (Duration::from_mins(5), Duration::from_secs(30)),
            stale: (Duration::from_hours(24), Duration::from_secs(10)),
        }
    }
}

/// One socket of the resolver: a datagram socket of one question to one server, or a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Socket(pub u32);

/// What is pushed in.
#[derive(Debug)]
pub enum Input<'a> {
    /// A datagram came to one of its sockets.
    Datagram {
        /// Which.
        socket: Socket,
        /// Whence.
        from: SocketAddr,
        /// The bytes.
        data: &'a [u8],
    },
    /// Bytes came by one of its connections.
    Bytes {
        /// Which.
        socket: Socket,
        /// The bytes.
        data: &'a [u8],
    },
    /// A socket could not be had, its datagram came back, or its connection ended.
    Failed {
        /// Which.
        socket: Socket,
    },
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Open a datagram socket and send this.
    Send {
        /// The new socket.
        socket: Socket,
        /// From which port; from any other where it is taken.
        port: u16,
        /// To whom.
        server: SocketAddr,
        /// What.
        data: Vec<u8>,
    },
    /// Connect and send this.
    Connect {
        /// The new socket.
        socket: Socket,
        /// To whom.
        server: SocketAddr,
        /// What.
        data: Vec<u8>,
    },
    /// Close it.
    Close {
        /// Which.
        socket: Socket,
    },
    /// A question that [`Resolver::lookup`] had no answer to has one.
    Answered {
        /// The name.
        name: Name,
        /// The type.
        kind: Kind,
    },
}

/// What [`Resolver::lookup`] gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The answer.
    Known(Answer),
    /// Somebody is being asked: [`Output::Answered`] will tell.
    Asked,
}

counters! {
    /// What the resolver did.
    pub struct Counters {
        /// Datagrams and connections with questions.
        sent,
        /// Questions that got an answer.
        answered,
        /// Questions to which no server had one.
        failed,
        /// Servers that let their time pass.
        timeouts,
        /// Answers that did not fit a datagram.
        truncated,
        /// Bytes that are no answer.
        malformed,
        /// Answers from elsewhere, or with another number or question: somebody may be guessing.
        foreign,
        /// Answers past their time that stood in.
        stale,
        /// Answers that went since there were too many.
        evicted,
        /// Questions not asked since there were too many.
        full,
    }
}

/// A question on its way to one server.
#[derive(Debug)]
struct Attempt {
    socket: Socket,
    id: u16,
    server: SocketAddr,
    /// What came by its connection; `None`: by datagram.
    stream: Option<Vec<u8>>,
}

/// A question that waits for its answer.
#[derive(Debug)]
struct Question {
    /// What is asked for now: an alias maybe.
    name: Name,
    /// What is asked for next, last first: the search list.
    others: Vec<Name>,
    aliases: u8,
    /// The least seconds of the aliases passed.
    ttl: u32,
    /// Seconds for which an absence holds that was met on the way.
    negative: Option<u32>,
    attempts: Vec<Attempt>,
    tried: u32,
    /// Whom to ask first.
    lead: usize,
    extended: bool,
    timer: Option<TimerId>,
}

type Key = (Name, Kind);

/// The machine.
#[derive(Debug)]
pub struct Resolver {
    config: Config,
    random: Random,
    cache: Cache,
    questions: Map<Key, Question>,
    sockets: Map<Socket, Key>,
    wheel: Wheel<Key>,
    out: VecDeque<Output>,
    next: u32,
    /// The server that answered last.
    lead: usize,
    counters: Counters,
}

impl Resolver {
    /// One that knows nothing yet.
    pub fn new(config: Config, random: Random) -> Resolver {
        Resolver {
            config,
            random,
            cache: Cache::default(),
            questions: Map::default(),
            sockets: Map::default(),
            wheel: Wheel::default(),
            out: VecDeque::new(),
            next: 0,
            lead: 0,
            counters: Counters::default(),
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Answers that are kept.
    pub fn cached(&self) -> usize {
        self.cache.len()
    }

    /// What is known of a name; asks where that is nothing.
    pub fn lookup(&mut self, now: Now, name: &Name, kind: Kind) -> Lookup {
        if let Some(records) = self.config.hosts.find(name, kind) {
            let records = if records.is_empty() { Err(Missing::Absent) } else { Ok(records.into()) };
            return Lookup::Known(Answer { records, expires: now.instant + HOSTS_LAST });
        }
        let known = self.cache.find(name, kind).cloned();
        if let Some(entry) = &known {
            if entry.is_fresh(now) {
                return Lookup::Known(Answer { records: entry.records.clone(), expires: entry.expires });
            }
            if let Some(retry) = entry.retry.filter(|at| now.instant < *at && entry.stands_in(now)) {
                self.counters.stale += 1;
                return Lookup::Known(Answer { records: entry.records.clone(), expires: retry });
            }
        }
        let key = (name.clone(), kind);
        if self.questions.contains_key(&key) {
            return Lookup::Asked;
        }
        if self.questions.len() >= self.config.questions {
            self.counters.full += 1;
            let expires = now.instant + self.config.stale.1;
            let old = known.filter(|entry| entry.stands_in(now));
            let records = old.map_or(Err(Missing::Away), |entry| entry.records);
            return Lookup::Known(Answer { records, expires });
        }
        self.begin(now, &key);
        Lookup::Asked
    }

    fn begin(&mut self, now: Now, key: &Key) {
        let servers = self.config.settings.servers.len().max(1);
        let rotate = self.config.settings.rotate;
        let lead = if rotate { self.random.below(servers as u64) as usize } else { self.lead };
        let mut others = self.candidates(&key.0);
        let name = others.pop().unwrap_or_else(|| key.0.clone());
        let question = Question {
            name,
            others,
            aliases: 0,
            ttl: u32::MAX,
            negative: None,
            attempts: Vec::new(),
            tried: 0,
            lead,
            extended: true,
            timer: None,
        };
        self.questions.insert(key.clone(), question);
        self.send(now, key, None);
    }

    /// The names that one name may mean, the first to be asked for last.
    fn candidates(&self, name: &Name) -> Vec<Name> {
        if name.is_rooted() {
            return vec![name.clone()];
        }
        let settings = &self.config.settings;
        let mut names: Vec<Name> = settings.search.iter().filter_map(|domain| name.below(domain)).collect();
        let first = if name.dots() >= settings.dots { 0 } else { names.len() };
        names.insert(first, name.rooted());
        names.reverse();
        names
    }

    /// Asks the next server; by a connection to `server` where an answer did not fit.
    fn send(&mut self, now: Now, key: &Key, server: Option<SocketAddr>) {
        let settings = &self.config.settings;
        let Some(question) = self.questions.get_mut(key) else { return };
        let stream = server.is_some();
        if !stream && question.tried >= settings.attempts * settings.servers.len() as u32 {
            return self.fail(now, key);
        }
        let turn = (question.lead + question.tried as usize) % settings.servers.len().max(1);
        let Some(server) = server.or_else(|| settings.servers.get(turn).copied()) else {
            return self.fail(now, key);
        };
        question.tried += u32::from(!stream);
        let id = self.random.u32() as u16;
        let span = u64::from(u16::MAX - FIRST_PORT) + 1;
        let port = FIRST_PORT + self.random.below(span) as u16;
        let Some(mut data) = wire::write(id, &question.name, key.1, question.extended) else {
            return self.fail(now, key);
        };
        let socket = Socket(self.next);
        self.next = self.next.wrapping_add(1);
        question.attempts.push(Attempt { socket, id, server, stream: stream.then(Vec::new) });
        self.sockets.insert(socket, key.clone());
        if let Some(timer) = question.timer.take() {
            self.wheel.cancel(timer);
        }
        question.timer = Some(self.wheel.insert(now.instant + settings.timeout, key.clone()));
        self.counters.sent += 1;
        if stream {
            let length = (data.len() as u16).to_be_bytes();
            data.splice(0..0, length);
            self.out.push_back(Output::Connect { socket, server, data });
        } else {
            self.out.push_back(Output::Send { socket, port, server, data });
        }
    }

    /// The question and the attempt that a socket belongs to.
    fn attempt(&mut self, socket: Socket) -> Option<(Key, &mut Attempt)> {
        let key = self.sockets.get(&socket)?.clone();
        let question = self.questions.get_mut(&key)?;
        let attempt = question.attempts.iter_mut().find(|attempt| attempt.socket == socket)?;
        Some((key, attempt))
    }

    fn on_datagram(&mut self, now: Now, socket: Socket, from: SocketAddr, data: &[u8]) {
        let Some((key, attempt)) = self.attempt(socket) else { return };
        if attempt.stream.is_some() || attempt.server != from {
            self.counters.foreign += 1;
            return;
        }
        let (id, server) = (attempt.id, attempt.server);
        self.on_answer(now, &key, socket, (id, server), data);
    }

    fn on_bytes(&mut self, now: Now, socket: Socket, data: &[u8]) {
        let Some((key, attempt)) = self.attempt(socket) else { return };
        let (id, server) = (attempt.id, attempt.server);
        let Some(buffer) = &mut attempt.stream else { return };
        // One question, one answer: what follows is nobody's.
        buffer.extend_from_slice(&data[..data.len().min(LONGEST - buffer.len())]);
        let Some((length, rest)) = buffer.split_first_chunk::<2>() else { return };
        let Some(message) = rest.get(..usize::from(u16::from_be_bytes(*length))) else { return };
        let message = message.to_vec();
        if !self.on_answer(now, &key, socket, (id, server), &message) {
            self.on_failed(now, socket);
        }
    }

    /// A message came from the right place. False where it is no answer to what was asked there.
    fn on_answer(
        &mut self,
        now: Now,
        key: &Key,
        socket: Socket,
        (id, server): (u16, SocketAddr),
        data: &[u8],
    ) -> bool {
        let Some(question) = self.questions.get_mut(key) else { return false };
        let reply = match wire::read(data) {
            Ok(reply) if reply.id == id && reply.question == (question.name.rooted(), key.1) => reply,
            Ok(_) => {
                self.counters.foreign += 1;
                return false;
            }
            Err(_) => {
                self.counters.malformed += 1;
                return false;
            }
        };
        let stream = question.attempts.iter().any(|a| a.socket == socket && a.stream.is_some());
        if reply.truncated && !stream {
            self.counters.truncated += 1;
            self.close(key, socket);
            self.send(now, key, Some(server));
            return true;
        }
        match reply.code {
            Code::Fine | Code::NoName => self.on_reply(now, key, server, &reply),
            Code::Format if question.extended => {
                // A server from before 1999.
                (question.extended, question.tried) = (false, question.tried.saturating_sub(1));
                self.close(key, socket);
                self.send(now, key, None);
            }
            Code::Format | Code::Failed => {
                self.close(key, socket);
                self.send(now, key, None);
            }
        }
        true
    }

    fn on_reply(&mut self, now: Now, key: &Key, server: SocketAddr, reply: &Reply) {
        if let Some(lead) = self.config.settings.servers.iter().position(|known| *known == server) {
            self.lead = lead;
        }
        let Some(question) = self.questions.get_mut(key) else { return };
        // Aliases are followed within the answer, and beyond it.
        let mut name = question.name.rooted();
        loop {
            let of = |record: &&(Name, u32, Data)| record.0.rooted() == name;
            let alias = reply.records.iter().filter(of).find_map(|(_, ttl, data)| match data {
                Data::Alias(alias) => Some((*ttl, alias.rooted())),
                _ => None,
            });
            let Some((ttl, alias)) = alias else { break };
            question.aliases += 1;
            question.ttl = question.ttl.min(ttl);
            name = alias;
            if question.aliases > ALIASES {
                return self.finish(now, key, Err(Missing::Circular));
            }
        }
        let mine = reply.records.iter().filter(|record| record.0.rooted() == name);
        let records: Vec<Data> = mine.clone().map(|(_, _, data)| data.clone()).collect();
        if !records.is_empty() {
            question.ttl = mine.map(|(_, ttl, _)| *ttl).fold(question.ttl, u32::min);
            return self.finish(now, key, Ok(records.into()));
        }
        let followed = name != question.name.rooted();
        if followed && reply.code == Code::Fine && reply.negative.is_none() {
            // The server did not go all the way.
            question.name = name;
            return self.again(now, key);
        }
        let negative = reply.negative.unwrap_or(u32::MAX);
        question.negative = Some(question.negative.map_or(negative, |other| other.min(negative)));
        match question.others.pop() {
            Some(other) => {
                question.name = other;
                self.again(now, key);
            }
            None => self.finish(now, key, Err(Missing::Absent)),
        }
    }

    /// Asks for another name on behalf of the same question.
    fn again(&mut self, now: Now, key: &Key) {
        let Some(question) = self.questions.get_mut(key) else { return };
        (question.tried, question.lead) = (0, self.lead);
        for attempt in std::mem::take(&mut question.attempts) {
            self.sockets.remove(&attempt.socket);
            self.out.push_back(Output::Close { socket: attempt.socket });
        }
        self.send(now, key, None);
    }

    fn close(&mut self, key: &Key, socket: Socket) {
        self.sockets.remove(&socket);
        if let Some(question) = self.questions.get_mut(key) {
            question.attempts.retain(|attempt| attempt.socket != socket);
        }
        self.out.push_back(Output::Close { socket });
    }

    fn on_failed(&mut self, now: Now, socket: Socket) {
        let Some((key, _)) = self.attempt(socket) else { return };
        let last = self
            .questions
            .get(&key)
            .and_then(|question| question.attempts.last())
            .is_some_and(|attempt| attempt.socket == socket);
        self.close(&key, socket);
        // An earlier server's failure changes nothing while a later one is being asked.
        if last {
            self.send(now, &key, None);
        }
    }

    /// Nobody had an answer.
    fn fail(&mut self, now: Now, key: &Key) {
        self.counters.failed += 1;
        let by = self.config.stale.1;
        let evicted = self.cache.put_failure(now, key.clone(), by, self.config.entries);
        self.counters.evicted += u64::from(evicted);
        self.end(key);
    }

    fn finish(&mut self, now: Now, key: &Key, records: Result<Arc<[Data]>, Missing>) {
        let Some(question) = self.questions.get(key) else { return };
        let config = &self.config;
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        let held = match (&records, question.negative) {
            (Ok(_), _) => seconds(question.ttl).clamp(config.least, config.most),
            (Err(_), Some(ttl)) if ttl < u32::MAX => {
                seconds(ttl).clamp(config.least, config.absent.0.max(config.least))
            }
            (Err(_), _) => config.absent.1,
        };
        let expires = now.instant + held;
        let stale = if records.is_ok() { expires + config.stale.0 } else { expires };
        let entry = Entry { records, expires, stale, retry: None };
        let evicted = self.cache.put(now, key.clone(), entry, config.entries);
        self.counters.evicted += u64::from(evicted);
        self.counters.answered += 1;
        self.end(key);
    }

    fn end(&mut self, key: &Key) {
        let Some(question) = self.questions.remove(key) else { return };
        if let Some(timer) = question.timer {
            self.wheel.cancel(timer);
        }
        for attempt in question.attempts {
            self.sockets.remove(&attempt.socket);
            self.out.push_back(Output::Close { socket: attempt.socket });
        }
        self.out.push_back(Output::Answered { name: key.0.clone(), kind: key.1 });
    }
}

impl Machine for Resolver {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Datagram { socket, from, data } => self.on_datagram(now, socket, from, data),
            Input::Bytes { socket, data } => self.on_bytes(now, socket, data),
            Input::Failed { socket } => self.on_failed(now, socket),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        while let Some(key) = self.wheel.expire(now.instant) {
            self.counters.timeouts += 1;
            if let Some(question) = self.questions.get_mut(&key) {
                question.timer = None;
            }
            // Its socket stays: a late answer is one, too.
            self.send(now, &key, None);
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Deadline> {
        self.wheel.next().map(|at| Deadline { at, why: "dns" })
    }

    fn check_invariants(&self) {
        let attempts: usize = self.questions.values().map(|question| question.attempts.len()).sum();
        assert_eq!(self.sockets.len(), attempts);
        assert!(self.questions.len() <= self.config.questions);
        assert!(self.cache.len() <= self.config.entries.max(1));
        for question in self.questions.values() {
            assert!(question.timer.is_some(), "a question that nobody wakes: {question:?}");
        }
    }
}
