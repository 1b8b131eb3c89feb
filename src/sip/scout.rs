//! The scout: finds the servers of every trunk, asks how they are, and tells all shards. One shard of a node has it.
//!
//! A server is *up* until probes (OPTIONS) say otherwise, and is left alone for a while after it was silent to a call or
//! asked for that (503 with Retry-After). Names are looked up again when their answers end; what was known stays in use
//! until there is something new.

use super::locate::{Located, Target, Way, locate};
use super::servers::Server;
use super::{Config, Hop, Probe};
use crate::base::{Deadline, Machine, Map, Now, Random, ShardId, TimerId, Wheel, counters};
use crate::dns::{self, Missing, Resolver};
use crate::leg::TrunkId;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Names of dialogs that are looked up at once.
const SOUGHT: usize = 256;
/// Ways that one name of a dialog gives.
const HOPS: usize = 4;
/// The longest that a server may ask to be left alone.
const LONGEST: Duration = Duration::from_mins(5);
/// How soon all shards are told again where one had no room.
const UNTOLD: Duration = Duration::from_millis(50);
/// Names are not looked up more often.
const SOONEST: Duration = Duration::from_secs(1);

counters! {
    /// What the scout met.
    pub struct ScoutCounters {
        /// Times that a trunk's servers changed.
        changes,
        /// Names that could not be found.
        lost,
        /// Probes sent.
        probes,
        /// Probes that nobody answered, or with a code that means death.
        probes_failed,
        /// Servers that went down.
        downs,
        /// Servers that came back.
        ups,
        /// Servers of which a call or a registration heard nothing, or 503.
        suspects,
        /// Names of dialogs not looked up since there were too many.
        full,
    }
}

/// What is pushed in.
#[derive(Debug)]
pub enum ScoutInput<'a> {
    /// For the resolver.
    Dns(dns::Input<'a>),
    /// A probe's outcome.
    Probed {
        /// The probe's number.
        number: u32,
        /// The response's code; `None` where it could not be sent.
        code: Option<u16>,
    },
    /// A server was silent to a call or a registration, refused it by ICMP, or said 503.
    Suspect {
        /// Of this trunk.
        trunk: TrunkId,
        /// Which.
        hop: Hop,
        /// It said for how long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// Not every shard could be told of a trunk's servers.
    Untold {
        /// The trunk.
        trunk: TrunkId,
    },
    /// A dialog goes on at a name.
    Locate {
        /// Where.
        target: Target,
        /// Who asks.
        from: ShardId,
    },
}

/// What comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScoutOutput {
    /// Of the resolver.
    Dns(dns::Output),
    /// Ask a server by OPTIONS how it is; answer with [`ScoutInput::Probed`].
    Probe {
        /// The trunk.
        trunk: TrunkId,
        /// The server.
        hop: Hop,
        /// The probe's number.
        number: u32,
    },
    /// These are a trunk's servers from now on: for every shard.
    Servers {
        /// The trunk.
        trunk: TrunkId,
        /// Its servers.
        servers: Vec<Server>,
    },
    /// Meets [`ScoutInput::Locate`]; empty where nothing was found.
    Located {
        /// Who asked.
        to: ShardId,
        /// For what.
        target: Target,
        /// The ways to it, best first.
        hops: Vec<Hop>,
    },
    /// For the operator's log.
    Note(Note),
}

/// What an operator should know of a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A server went down, or came back, by the word of probes.
    Server {
        /// The trunk.
        trunk: TrunkId,
        /// The server.
        hop: Hop,
        /// It is back.
        up: bool,
    },
    /// A server failed a call or a registration, and is left alone for a while.
    Left {
        /// The trunk.
        trunk: TrunkId,
        /// The server.
        hop: Hop,
        /// For how long.
        by: Duration,
    },
    /// A name could not be found (`Some`), or can be again.
    Name {
        /// The trunk.
        trunk: TrunkId,
        /// The name.
        target: Target,
        /// Why not.
        why: Option<Missing>,
    },
}

/// How one server is.
#[derive(Debug)]
struct Health {
    hop: Hop,
    up: bool,
    /// Probes in a row that went well, and that did not.
    good: u32,
    bad: u32,
    avoid: Option<Instant>,
    /// It asked for that itself: a probe that it answers changes nothing.
    asked: bool,
    /// The probe that is out.
    probe: Option<u32>,
    timer: Option<TimerId>,
}

/// One entry of a trunk's servers.
#[derive(Debug, Default)]
struct Found {
    ways: Vec<Way>,
    lost: Option<Missing>,
}

#[derive(Debug, Default)]
struct Watched {
    entries: Vec<Found>,
    health: Vec<Health>,
    /// What all shards were told.
    told: Vec<Server>,
    /// Some shard was not.
    untold: bool,
    /// Some entry waits for the resolver.
    waits: bool,
    timer: Option<TimerId>,
}

#[derive(Clone, Debug)]
enum Alarm {
    Locate(TrunkId),
    Probe(TrunkId, Hop),
    Silent(u32),
    Tell(TrunkId),
}

/// The machine.
#[derive(Debug)]
pub struct Scout {
    config: Arc<Config>,
    random: Random,
    resolver: Resolver,
    trunks: Vec<Watched>,
    sought: Map<Target, Vec<ShardId>>,
    probes: Map<u32, (TrunkId, Hop)>,
    number: u32,
    wheel: Wheel<Alarm>,
    out: VecDeque<ScoutOutput>,
    counters: ScoutCounters,
}

impl Scout {
    /// One that begins to look at once.
    pub fn new(now: Now, config: Arc<Config>, mut random: Random) -> Scout {
        let resolver = Resolver::new(config.dns.clone(), random.fork());
        let trunks = config.trunks.iter().map(|trunk| Watched {
            entries: trunk.entries.iter().map(|_| Found::default()).collect(),
            // Each shard knows as much by itself.
            told: trunk.servers(),
            ..Watched::default()
        });
        let mut scout = Scout {
            trunks: trunks.collect(),
            resolver,
            random,
            sought: Map::default(),
            probes: Map::default(),
            number: 0,
            wheel: Wheel::default(),
            out: VecDeque::new(),
            counters: ScoutCounters::default(),
            config,
        };
        for trunk in 0..scout.trunks.len() {
            scout.look(now, TrunkId(trunk as u16));
        }
        scout.resolved(now);
        scout
    }

    /// What was counted so far.
    pub fn counters(&self) -> ScoutCounters {
        self.counters
    }

    /// What its resolver counted so far.
    pub fn dns_counters(&self) -> dns::Counters {
        self.resolver.counters()
    }

    /// Whether every name has its answer, be it that there is none.
    pub fn is_settled(&self) -> bool {
        self.trunks.iter().all(|watched| !watched.waits)
    }

    /// Every server of every trunk, and whether it gets requests.
    pub fn states(&self, now: Now) -> Vec<(TrunkId, Hop, bool)> {
        let of = |(trunk, watched): (usize, &Watched)| {
            let states = watched.told.iter().map(|server| (server.hop.clone(), server.is_usable(now)));
            states.map(|(hop, up)| (TrunkId(trunk as u16), hop, up)).collect::<Vec<_>>()
        };
        self.trunks.iter().enumerate().flat_map(of).collect()
    }

    fn probe_of(&self, trunk: TrunkId) -> Option<Probe> {
        self.config.trunks.get(usize::from(trunk.0))?.probe.clone()
    }

    /// Looks a trunk's names up, as far as the resolver can say.
    fn look(&mut self, now: Now, trunk: TrunkId) {
        let config = Arc::clone(&self.config);
        let place = usize::from(trunk.0);
        let (Some(told), Some(watched)) = (config.trunks.get(place), self.trunks.get_mut(place)) else {
            return;
        };
        let mut again: Option<Instant> = None;
        watched.waits = false;
        for (entry, found) in told.entries.iter().zip(&mut watched.entries) {
            let (lost, expires) = match locate(now, &entry.target, &mut self.resolver) {
                Located::Asked => {
                    watched.waits = true;
                    continue;
                }
                Located::Found(ways, expires) => {
                    found.ways = ways;
                    (None, expires)
                }
                // What was known before may still be true.
                Located::Lost(why, expires) => (Some(why), expires),
            };
            again = Some(again.map_or(expires, |other| other.min(expires)));
            if found.lost != lost {
                found.lost = lost;
                self.counters.lost += u64::from(lost.is_some());
                let target = entry.target.clone();
                self.out.push_back(ScoutOutput::Note(Note::Name { trunk, target, why: lost }));
            }
        }
        if let Some(timer) = watched.timer.take() {
            self.wheel.cancel(timer);
        }
        let named = told.entries.iter().any(|entry| entry.target.hop().is_none());
        watched.timer = again
            .filter(|_| named)
            .map(|at| self.wheel.insert(at.max(now.instant + SOONEST), Alarm::Locate(trunk)));
        self.meet(now, trunk);
        self.publish(now, trunk);
    }

    /// Begins to watch servers that are new, and ends with those that are gone.
    fn meet(&mut self, now: Now, trunk: TrunkId) {
        let probed = self.probe_of(trunk).is_some();
        let Some(watched) = self.trunks.get_mut(usize::from(trunk.0)) else { return };
        let hops: Vec<Hop> =
            watched.entries.iter().flat_map(|found| &found.ways).map(|way| way.hop.clone()).collect();
        for health in watched.health.extract_if(.., |health| !hops.contains(&health.hop)) {
            if let Some(timer) = health.timer {
                self.wheel.cancel(timer);
            }
        }
        for hop in hops {
            if watched.health.iter().any(|health| health.hop == hop) {
                continue;
            }
            // Not all at once.
            let wait = Duration::from_millis(self.random.below(500));
            let alarm = Alarm::Probe(trunk, hop.clone());
            let timer = probed.then(|| self.wheel.insert(now.instant + wait, alarm));
            let (up, good, bad) = (true, 0, 0);
            watched.health.push(Health { hop, up, good, bad, avoid: None, asked: false, probe: None, timer });
        }
    }

    /// Tells all shards, where something changed.
    fn publish(&mut self, now: Now, trunk: TrunkId) {
        let place = usize::from(trunk.0);
        let (Some(told), Some(watched)) = (self.config.trunks.get(place), self.trunks.get_mut(place)) else {
            return;
        };
        let mut servers = Vec::new();
        for (n, (entry, found)) in told.entries.iter().zip(&watched.entries).enumerate() {
            for way in &found.ways {
                let health = watched.health.iter().find(|health| health.hop == way.hop);
                servers.push(Server {
                    hop: way.hop.clone(),
                    standby: entry.standby,
                    entry: n as u16,
                    share: entry.share,
                    rank: way.rank,
                    group: way.group,
                    weight: way.weight,
                    up: health.is_none_or(|health| health.up),
                    avoid: health.and_then(|health| health.avoid).filter(|until| *until > now.instant),
                });
            }
        }
        if servers != watched.told {
            self.counters.changes += 1;
            watched.told.clone_from(&servers);
            self.out.push_back(ScoutOutput::Servers { trunk, servers });
        }
    }

    fn health(&mut self, trunk: TrunkId, hop: &Hop) -> Option<&mut Health> {
        let watched = self.trunks.get_mut(usize::from(trunk.0))?;
        watched.health.iter_mut().find(|health| health.hop == *hop)
    }

    fn on_probe_due(&mut self, now: Now, trunk: TrunkId, hop: Hop) {
        let Some(probe) = self.probe_of(trunk) else { return };
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        let Some(health) = self.health(trunk, &hop) else { return };
        health.timer = None;
        health.probe = Some(number);
        self.probes.insert(number, (trunk, hop.clone()));
        self.wheel.insert(now.instant + probe.timeout, Alarm::Silent(number));
        self.counters.probes += 1;
        self.out.push_back(ScoutOutput::Probe { trunk, hop, number });
    }

    fn on_probed(&mut self, now: Now, number: u32, code: Option<u16>) {
        let Some((trunk, hop)) = self.probes.remove(&number) else { return };
        let Some(probe) = self.probe_of(trunk) else { return };
        let alive = code.is_some_and(|code| probe.is_alive(code));
        self.counters.probes_failed += u64::from(!alive);
        let Some(health) = self.health(trunk, &hop).filter(|health| health.probe == Some(number)) else {
            return;
        };
        health.probe = None;
        self.judge(now, trunk, &hop, alive, &probe);
        self.schedule(now, trunk, &hop, &probe);
    }

    /// One more sign of a server's life, or of its death.
    fn judge(&mut self, now: Now, trunk: TrunkId, hop: &Hop, alive: bool, probe: &Probe) {
        let Some(health) = self.health(trunk, hop) else { return };
        (health.good, health.bad) = if alive { (health.good + 1, 0) } else { (0, health.bad + 1) };
        if alive && !health.asked {
            health.avoid = None;
        }
        let turned = if health.up { health.bad >= probe.down_after } else { health.good >= probe.up_after };
        if turned {
            health.up = !health.up;
            let up = health.up;
            if up {
                self.counters.ups += 1;
            } else {
                self.counters.downs += 1;
            }
            self.out.push_back(ScoutOutput::Note(Note::Server { trunk, hop: hop.clone(), up }));
        }
        self.publish(now, trunk);
    }

    /// The next probe; sooner where the last one surprised.
    fn schedule(&mut self, now: Now, trunk: TrunkId, hop: &Hop, probe: &Probe) {
        let jitter = 900 + self.random.below(201) as u32;
        let Some(health) = self.health(trunk, hop) else { return };
        let doubt = if health.up { health.bad > 0 } else { health.good > 0 };
        let interval = if doubt { (probe.interval / 4).max(Duration::from_secs(1)) } else { probe.interval };
        let wait = interval.min(probe.interval) * jitter / 1000;
        let timer = health.timer.take();
        let alarm = Alarm::Probe(trunk, hop.clone());
        let next = self.wheel.insert(now.instant + wait, alarm);
        if let Some(health) = self.health(trunk, hop) {
            health.timer = Some(next);
        }
        if let Some(timer) = timer {
            self.wheel.cancel(timer);
        }
    }

    fn on_suspect(&mut self, now: Now, trunk: TrunkId, hop: &Hop, wait: Option<Duration>) {
        self.counters.suspects += 1;
        let Some(by) = self.config.trunks.get(usize::from(trunk.0)).map(|trunk| trunk.avoid) else { return };
        let by = wait.map_or(by, |wait| wait.min(LONGEST));
        let until = now.instant + by;
        let Some(health) = self.health(trunk, hop) else { return };
        // Many calls fail at once where a server dies: one of them is news.
        let known = health.avoid.filter(|until| *until > now.instant);
        if known.is_some_and(|known| known + by / 2 >= until) {
            return;
        }
        health.avoid = Some(until);
        health.asked = wait.is_some();
        let (up, probing) = (health.up, health.probe.is_some());
        if known.is_none() && up {
            self.out.push_back(ScoutOutput::Note(Note::Left { trunk, hop: hop.clone(), by }));
        }
        match self.probe_of(trunk).filter(|_| wait.is_none()) {
            Some(probe) => {
                self.judge(now, trunk, hop, false, &probe);
                if !probing {
                    let timer = self.health(trunk, hop).and_then(|health| health.timer.take());
                    if let Some(timer) = timer {
                        self.wheel.cancel(timer);
                    }
                    self.on_probe_due(now, trunk, hop.clone());
                }
            }
            None => self.publish(now, trunk),
        }
    }

    fn on_locate(&mut self, now: Now, target: Target, from: ShardId) {
        if !self.sought.contains_key(&target) && self.sought.len() >= SOUGHT {
            self.counters.full += 1;
            return self.out.push_back(ScoutOutput::Located { to: from, target, hops: Vec::new() });
        }
        let waiting = self.sought.entry(target.clone()).or_default();
        if !waiting.contains(&from) {
            waiting.push(from);
        }
        self.seek(now, &target);
    }

    /// Answers those who asked for a name, where it is known.
    fn seek(&mut self, now: Now, target: &Target) {
        let mut ways = match locate(now, target, &mut self.resolver) {
            Located::Asked => return,
            Located::Found(ways, _) => ways,
            Located::Lost(..) => Vec::new(),
        };
        ways.sort_by_key(|way| way.rank);
        let hops: Vec<Hop> = ways.into_iter().take(HOPS).map(|way| way.hop).collect();
        for to in self.sought.remove(target).unwrap_or_default() {
            self.out.push_back(ScoutOutput::Located { to, target: target.clone(), hops: hops.clone() });
        }
    }

    /// Passes on what the resolver wants, and goes on with what waited for its answers.
    fn resolved(&mut self, now: Now) {
        while let Some(output) = self.resolver.poll_output() {
            let dns::Output::Answered { .. } = output else {
                self.out.push_back(ScoutOutput::Dns(output));
                continue;
            };
            let waiting = (0..self.trunks.len()).filter(|n| self.trunks[*n].waits).collect::<Vec<_>>();
            for trunk in waiting {
                self.look(now, TrunkId(trunk as u16));
            }
            let sought: Vec<Target> = self.sought.keys().cloned().collect();
            for target in sought {
                self.seek(now, &target);
            }
        }
    }

    fn on_alarm(&mut self, now: Now, alarm: Alarm) {
        match alarm {
            Alarm::Locate(trunk) => {
                if let Some(watched) = self.trunks.get_mut(usize::from(trunk.0)) {
                    watched.timer = None;
                }
                self.look(now, trunk);
            }
            Alarm::Probe(trunk, hop) => self.on_probe_due(now, trunk, hop),
            Alarm::Silent(number) => self.on_probed(now, number, None),
            Alarm::Tell(trunk) => {
                if let Some(watched) = self.trunks.get_mut(usize::from(trunk.0)) {
                    watched.untold = false;
                    let servers = watched.told.clone();
                    self.out.push_back(ScoutOutput::Servers { trunk, servers });
                }
            }
        }
    }
}

impl Machine for Scout {
    type Input<'a> = ScoutInput<'a>;
    type Output = ScoutOutput;

    fn handle_input(&mut self, now: Now, input: ScoutInput<'_>) {
        match input {
            ScoutInput::Dns(input) => self.resolver.handle_input(now, input),
            ScoutInput::Probed { number, code } => self.on_probed(now, number, code),
            ScoutInput::Suspect { trunk, hop, wait } => self.on_suspect(now, trunk, &hop, wait),
            ScoutInput::Untold { trunk } => {
                let watched = self.trunks.get_mut(usize::from(trunk.0)).filter(|watched| !watched.untold);
                if let Some(watched) = watched {
                    watched.untold = true;
                    self.wheel.insert(now.instant + UNTOLD, Alarm::Tell(trunk));
                }
            }
            ScoutInput::Locate { target, from } => self.on_locate(now, target, from),
        }
        self.resolved(now);
    }

    fn handle_timeout(&mut self, now: Now) {
        self.resolver.handle_timeout(now);
        while let Some(alarm) = self.wheel.expire(now.instant) {
            self.on_alarm(now, alarm);
        }
        self.resolved(now);
    }

    fn poll_output(&mut self) -> Option<ScoutOutput> {
        self.out.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Deadline> {
        let own = self.wheel.next().map(|at| Deadline { at, why: "scout" });
        Deadline::sooner(own, self.resolver.poll_timeout())
    }

    fn check_invariants(&self) {
        self.resolver.check_invariants();
        assert!(self.sought.len() <= SOUGHT);
        for (watched, trunk) in self.trunks.iter().zip(&self.config.trunks) {
            assert_eq!(watched.entries.len(), trunk.entries.len());
            for health in &watched.health {
                // Where there are probes, each server waits for the next one or for its outcome.
                assert!(trunk.probe.is_none() || health.timer.is_some() || health.probe.is_some());
            }
        }
    }
}
