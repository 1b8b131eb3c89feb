//! All transports of a shard: who a datagram is for, deadlines, and the budget for handshakes.

use super::peer::{CANDIDATES, Context, Peer, Why};
use super::stun::{self, Unfit};
use super::{Command, Config, Counters, Event, Input, Output, Remote};
use crate::base::{Deadline, LegId, Machine, Map, Now, PeerId, Random, ShardId, Slab, Wheel};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The WebRTC transports of one shard.
pub struct Peers {
    config: Arc<Config>,
    random: Random,
    table: Slab<PeerId, Peer>,
    /// By our user name fragments.
    names: Map<String, PeerId>,
    /// By verified far address: the newest to verify it owns it.
    owners: Map<SocketAddr, PeerId>,
    wheel: Wheel<PeerId>,
    outbox: VecDeque<Output>,
    counters: Counters,
    /// How many handshakes are in progress.
    shaking: usize,
    /// Handshake datagrams that may still be worked on in this pass.
    budget: usize,
    pass: Option<Instant>,
    backlog: VecDeque<(PeerId, SocketAddr, Vec<u8>)>,
}

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Peers({} of {})", self.table.len(), self.config.peers)
    }
}

impl Peers {
    /// No transports yet.
    pub fn new(shard: ShardId, config: Arc<Config>, random: Random) -> Peers {
        Peers {
            random,
            table: Slab::new(shard, config.peers),
            names: Map::default(),
            owners: Map::default(),
            wheel: Wheel::default(),
            outbox: VecDeque::new(),
            counters: Counters::default(),
            shaking: 0,
            budget: config.budget,
            pass: None,
            backlog: VecDeque::new(),
            config,
        }
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many transports there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Whose verified address this is.
    pub fn owner(&self, address: SocketAddr) -> Option<(PeerId, LegId)> {
        let id = *self.owners.get(&address)?;
        Some((id, self.table.get(id)?.leg))
    }

    /// Lets one peer act; ends it where it fails, else arms its timer anew.
    fn with(
        &mut self,
        now: Now,
        id: PeerId,
        act: impl FnOnce(&mut Peer, &mut Context<'_>) -> Result<(), Why>,
    ) {
        let Some(peer) = self.table.get_mut(id) else { return };
        let before = peer.is_shaking();
        let mut ctx = Context {
            id,
            now,
            config: &self.config,
            counters: &mut self.counters,
            outbox: &mut self.outbox,
            names: &mut self.names,
            owners: &mut self.owners,
            random: &mut self.random,
        };
        let outcome = act(peer, &mut ctx);
        self.shaking = self.shaking - usize::from(before) + usize::from(peer.is_shaking());
        match outcome {
            Ok(()) => self.arm(now, id),
            Err(why) => {
                let leg = peer.leg;
                self.counters.failed += 1;
                self.outbox.push_back(Output::Event(Event::Failed { leg, peer: id, why }));
                self.forget(id);
            }
        }
    }

    fn arm(&mut self, now: Now, id: PeerId) {
        let Some(peer) = self.table.get_mut(id) else { return };
        let wanted = peer.deadline(now);
        // One that is armed too early wakes once for nothing; a check every few seconds needs no new timer each time.
        match (wanted, peer.timer) {
            (Some(at), Some((armed, _))) if armed <= at && armed > now.instant => return,
            (None, None) => return,
            _ => {}
        }
        if let Some((_, timer)) = peer.timer.take() {
            self.wheel.cancel(timer);
        }
        if let Some(at) = wanted {
            // Never at once again: a machine that always wants the same moment would stop the loop.
            let at = at.max(now.instant + Duration::from_millis(1));
            peer.timer = Some((at, self.wheel.insert(at, id)));
        }
    }

    fn forget(&mut self, id: PeerId) {
        let Some(peer) = self.table.remove(id) else { return };
        self.shaking -= usize::from(peer.is_shaking());
        for name in peer.names() {
            self.names.remove(name);
        }
        for address in peer.addresses() {
            if self.owners.get(&address) == Some(&id) {
                self.owners.remove(&address);
            }
        }
        if let Some((_, timer)) = peer.timer {
            self.wheel.cancel(timer);
        }
    }

    fn on_command(&mut self, now: Now, command: Command) {
        match command {
            Command::Open { leg, remote } => self.open(now, leg, remote.as_deref()),
            Command::Describe { peer, remote } => {
                self.with(now, peer, |peer, ctx| peer.describe(ctx, &remote));
            }
            Command::Restart { peer } => self.with(now, peer, |peer, ctx| {
                peer.restart(ctx);
                Ok(())
            }),
            Command::Ask { peer } => self.with(now, peer, |peer, ctx| {
                peer.tell_heard(ctx);
                Ok(())
            }),
            Command::Close { peer } => {
                self.with(now, peer, |peer, ctx| {
                    peer.close(ctx);
                    Ok(())
                });
                self.forget(peer);
            }
        }
    }

    fn open(&mut self, now: Now, leg: LegId, remote: Option<&Remote>) {
        let peer = self.table.next_key().map(|id| {
            let mut ctx = Context {
                id,
                now,
                config: &self.config,
                counters: &mut self.counters,
                outbox: &mut self.outbox,
                names: &mut self.names,
                owners: &mut self.owners,
                random: &mut self.random,
            };
            Peer::open(&mut ctx, leg)
        });
        let Some(id) = peer.and_then(|peer| self.table.insert(peer).ok()) else {
            self.counters.full += 1;
            self.outbox.push_back(Output::Event(Event::Full { leg }));
            return;
        };
        self.counters.opened += 1;
        if let Some(remote) = remote {
            self.with(now, id, |peer, ctx| peer.describe(ctx, remote));
        }
    }

    fn on_datagram(&mut self, now: Now, from: SocketAddr, local: SocketAddr, data: &[u8]) {
        match data.first() {
            Some(0..=3) => {
                let mut ours = self.config.candidates.iter().take(CANDIDATES);
                match ours.position(|candidate| candidate.local == local) {
                    Some(local) => self.on_stun(now, from, local, data),
                    None => self.counters.wrong_local += 1,
                }
            }
            Some(20..=63) => self.on_dtls(now, from, data),
            _ => self.counters.not_ours += 1,
        }
    }

    fn on_stun(&mut self, now: Now, from: SocketAddr, local: usize, data: &[u8]) {
        let check = match stun::parse(data) {
            Ok(check) => check,
            Err(Unfit::Malformed) => return self.counters.stun_malformed += 1,
            Err(Unfit::NotRequest) => return self.counters.stun_not_request += 1,
        };
        match self.names.get(check.local) {
            Some(&id) => self.with(now, id, |peer, ctx| peer.handle_check(ctx, &check, from, local, data)),
            None => self.counters.stun_unknown += 1,
        }
    }

    fn on_dtls(&mut self, now: Now, from: SocketAddr, data: &[u8]) {
        let owner = self.owners.get(&from).copied();
        let Some((id, peer)) = owner.and_then(|id| Some((id, self.table.get(id)?))) else {
            self.counters.dtls_unverified += 1;
            return;
        };
        if !peer.wants_dtls() {
            self.counters.dtls_refused += 1;
            return;
        }
        if peer.is_connected() {
            return self.with(now, id, |peer, ctx| peer.handle_dtls(ctx, from, data));
        }
        if !peer.is_shaking() && self.shaking >= self.config.handshakes {
            self.counters.handshakes_full += 1;
            return;
        }
        self.refill(now);
        if self.budget > 0 && self.backlog.is_empty() {
            self.budget -= 1;
            self.with(now, id, |peer, ctx| peer.handle_dtls(ctx, from, data));
        } else if self.backlog.len() < self.config.backlog {
            self.counters.postponed += 1;
            self.backlog.push_back((id, from, data.to_vec()));
        } else {
            self.counters.shed += 1;
        }
    }

    /// A pass is a moment: the loop reads its clock once a pass.
    fn refill(&mut self, now: Now) {
        if self.pass != Some(now.instant) {
            self.pass = Some(now.instant);
            self.budget = self.config.budget.max(1);
        }
    }
}

impl Machine for Peers {
    type Input<'a> = Input<'a>;
    type Output = Output;

    fn handle_input(&mut self, now: Now, input: Input<'_>) {
        match input {
            Input::Command(command) => self.on_command(now, command),
            Input::Datagram { from, local, data } => self.on_datagram(now, from, local, data),
        }
    }

    fn handle_timeout(&mut self, now: Now) {
        self.refill(now);
        while self.budget > 0
            && let Some((id, from, data)) = self.backlog.pop_front()
        {
            self.budget -= 1;
            self.with(now, id, |peer, ctx| peer.handle_dtls(ctx, from, &data));
        }
        while let Some(id) = self.wheel.expire(now.instant) {
            if let Some(peer) = self.table.get_mut(id) {
                peer.timer = None;
                self.with(now, id, Peer::handle_timeout);
            }
        }
    }

    fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    fn poll_timeout(&mut self) -> Option<Deadline> {
        let backlog = self.pass.filter(|_| !self.backlog.is_empty());
        let backlog =
            backlog.map(|at| Deadline { at: at + Duration::from_micros(1), why: "handshake_backlog" });
        Deadline::sooner(backlog, self.wheel.next().map(|at| Deadline { at, why: "webrtc_peer" }))
    }

    fn check_invariants(&self) {
        let mut shaking = 0;
        for (id, peer) in self.table.iter() {
            shaking += usize::from(peer.is_shaking());
            for name in peer.names() {
                assert_eq!(self.names.get(name), Some(&id), "{id:?} is not found by its name");
            }
        }
        assert_eq!(shaking, self.shaking, "handshakes in progress");
        assert!(self.names.len() <= 3 * self.table.len());
        assert!(self.wheel.len() <= self.table.len());
        assert!(self.backlog.len() <= self.config.backlog);
        for (address, id) in &self.owners {
            let peer = self.table.get(*id).expect("an address outlived its peer");
            assert!(peer.addresses().any(|own| own == *address), "{id:?} owns a foreign address");
        }
    }
}
