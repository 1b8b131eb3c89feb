//! The plane: legs, their ports and paths, and the commands that shape them.

use super::config::{Config, Counters};
use super::formats::Formats;
use super::leg::{Leg, Stats};
use super::ports::{Outcome, Ports};
use super::{Agreed, Command, Event, Kind, Output};
use crate::base::{
    Deadline, Endpoint, Key, LegId, Map, Now, Packet, Random, RealmId, ShardId, SocketId, Wheel,
};
use crate::rtp::Keys;
use smallvec::SmallVec;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Nothing that is the plane's business.
    None,
    /// In the stock.
    Stock,
    /// RTP of the leg in this slot.
    Rtp(usize),
    /// Whatever it is, of the leg in this slot.
    Raw(usize),
    /// RTCP of the leg in this slot.
    Rtcp(usize),
    /// RTP or RTCP of the leg whose party has the address that it comes from.
    Shared,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Timer {
    Report(LegId),
    Rest(usize, u16),
    /// The next report of a key that we press.
    Press(LegId),
    /// The next packet of music.
    Play(LegId),
    /// A key of the party whose end may have been lost.
    Key(LegId),
}

/// How `parties` knows a socket and who sends to it.
fn party((socket, from): (SocketId, SocketAddr)) -> (SocketId, Endpoint) {
    (socket, Endpoint(from))
}

/// The media plane of one shard.
#[derive(Debug)]
pub struct Plane {
    pub(super) config: Arc<Config>,
    pub(super) random: Random,
    pub(super) legs: Vec<Option<Box<Leg>>>,
    free: VecDeque<usize>,
    pub(super) slots: Map<LegId, usize>,
    pub(super) paths: Map<Endpoint, usize>,
    // Parties of legs on shared sockets.
    pub(super) parties: Map<(SocketId, Endpoint), Use>,
    // Changes whenever `legs`, `paths`, `parties` or `sockets` may have.
    pub(super) edition: u64,
    // By `SocketId::slot`.
    pub(super) sockets: Vec<(Option<SocketId>, Use)>,
    pub(super) web: [Option<SocketId>; 2],
    ports: Vec<Ports>,
    // Legs without ports yet, by realm, oldest first.
    waiting: Vec<VecDeque<LegId>>,
    pub(super) outputs: VecDeque<Output>,
    pub(super) timers: Wheel<Timer>,
    pub(super) counters: Counters,
    // From which arrival times are counted; and a moment, with how long after that it is.
    epoch: Option<Instant>,
    arrival: (Option<Instant>, Duration),
    // Where our own RTCP is made.
    pub(super) scratch: Packet,
    // And our own telephone-events.
    pub(super) spare: Packet,
    pub(super) text: Vec<u8>,
}

impl Plane {
    /// A plane without legs, which asks for its stock of ports at once. `shard` is for symmetry with other rooms: the
    /// plane mints no ids.
    pub fn new(shard: ShardId, config: Arc<Config>, mut random: Random) -> Plane {
        let _ = shard;
        let ports: Vec<_> =
            config.realms.iter().map(|realm| Ports::new(realm.clone(), random.u64())).collect();
        let mut plane = Plane {
            waiting: ports.iter().map(|_| VecDeque::new()).collect(),
            random,
            legs: Vec::new(),
            free: VecDeque::new(),
            slots: Map::default(),
            paths: Map::default(),
            parties: Map::default(),
            edition: 0,
            sockets: Vec::new(),
            web: [None; 2],
            ports,
            outputs: VecDeque::new(),
            timers: Wheel::default(),
            counters: Counters::default(),
            epoch: None,
            arrival: (None, Duration::ZERO),
            scratch: Packet::default(),
            spare: Packet::default(),
            text: Vec::new(),
            config,
        };
        for realm in 0..plane.ports.len() {
            plane.refill(realm);
        }
        plane
    }

    /// The shard's web sockets, one an address family. A leg whose family has none can't be sent to.
    pub fn set_web_socket(&mut self, v4: Option<SocketId>, v6: Option<SocketId>) {
        self.web = [v4, v6];
        for leg in self.legs.iter_mut().flatten() {
            leg.aim(self.web);
        }
    }

    /// Carries out a command. One for a leg that is not there is counted.
    pub fn handle_command(&mut self, now: Now, command: Command) {
        self.edition += 1;
        let done = match command {
            Command::Open { leg, kind } => self.open(leg, kind),
            Command::Agree { leg, agreed } => self.agree(now, leg, agreed),
            Command::Path { leg, address } => self.path(leg, address),
            Command::Keys { leg, keys } => self.keys(leg, keys),
            Command::Join { a, b } => self.join(a, b),
            Command::Press { leg, digit, duration } => self.press(now, leg, digit, duration),
            Command::Play { leg, on } => self.play(now, leg, on),
            Command::Ask { leg } => self.on_ask(leg),
            Command::Close { leg } => self.close(now, leg),
        };
        if done.is_none() {
            self.counters.commands_refused += 1;
        }
    }

    /// A socket that [`Output::Bind`] asked for.
    pub fn bound(&mut self, now: Now, realm: RealmId, port: u16, socket: SocketId) {
        self.edition += 1;
        let index = usize::from(realm.0);
        let outcome = self.ports.get_mut(index).map_or(Outcome::Stray, |ports| ports.bound(port, socket));
        if outcome != Outcome::Stray {
            self.assign(socket, Use::Stock);
        }
        match outcome {
            Outcome::Stray => self.outputs.push_back(Output::Unbind { socket }),
            Outcome::Ready => {
                if let Some(pair) = self.ports[index].shared().filter(|pair| pair.port == port & !1) {
                    self.assign(pair.rtp, Use::Shared);
                    self.assign(pair.rtcp, Use::Shared);
                }
                self.serve(index);
            }
            outcome => self.on_failed_pair(now, index, outcome),
        }
    }

    /// A port that could not be bound: another is tried.
    pub fn bind_failed(&mut self, now: Now, realm: RealmId, port: u16) {
        self.edition += 1;
        let index = usize::from(realm.0);
        self.counters.bind_failures += 1;
        let outcome = self.ports.get_mut(index).map_or(Outcome::Stray, |ports| ports.failed(port));
        self.on_failed_pair(now, index, outcome);
    }

    fn on_failed_pair(&mut self, now: Now, realm: usize, outcome: Outcome) {
        let Outcome::Failed(port, sibling) = outcome else { return };
        if let Some(socket) = sibling {
            self.assign(socket, Use::None);
            self.outputs.push_back(Output::Unbind { socket });
        }
        self.timers.insert(now.instant + self.config.rest, Timer::Rest(realm, port));
        self.refill(realm);
        self.shed(realm);
    }

    /// The next output, oldest first.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Whether there is one.
    #[inline]
    pub fn has_output(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// When [`Plane::handle_timeout`] is wanted: for RTCP reports, and ports that have rested.
    pub fn poll_timeout(&mut self) -> Option<Deadline> {
        self.timers.next().map(|at| Deadline { at, why: "media" })
    }

    /// Lets every deadline that has passed act.
    pub fn handle_timeout(&mut self, now: Now) {
        self.edition += 1;
        while let Some(timer) = self.timers.expire(now.instant) {
            match timer {
                Timer::Report(leg) => self.on_report_timer(now, leg),
                Timer::Press(leg) => self.on_press_timer(now, leg),
                Timer::Play(leg) => self.on_play_timer(now, leg),
                Timer::Key(leg) => self.on_key_timer(now, leg),
                Timer::Rest(realm, port) => {
                    self.ports[realm].rested(port);
                    self.refill(realm);
                }
            }
        }
    }

    /// What was counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many legs there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Pairs of ports that legs have, and all pairs that there are.
    pub fn ports_used(&self) -> (usize, usize) {
        self.ports.iter().fold((0, 0), |(used, all), ports| (used + ports.used(), all + ports.all()))
    }

    /// Whether there is no leg.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// When the leg's party was last heard; `None` for a leg that is not, or never was.
    pub fn last_heard(&self, leg: LegId) -> Option<Instant> {
        self.leg(leg)?.inbound.last_heard
    }

    /// The leg's numbers, until it is closed.
    pub fn stats(&self, leg: LegId) -> Option<Stats> {
        self.leg(leg).map(Leg::stats)
    }

    fn leg(&self, leg: LegId) -> Option<&Leg> {
        self.legs.get(*self.slots.get(&leg)?)?.as_deref()
    }

    pub(super) fn leg_mut(&mut self, leg: LegId) -> Option<&mut Leg> {
        self.legs.get_mut(*self.slots.get(&leg)?)?.as_deref_mut()
    }

    /// The time since the plane's first packet: all packets of a pass come at one moment, so it is worked out once.
    #[inline]
    pub(super) fn arrived(&mut self, now: Now) -> Duration {
        if self.arrival.0 != Some(now.instant) {
            let epoch = *self.epoch.get_or_insert(now.instant);
            self.arrival = (Some(now.instant), now.instant.saturating_duration_since(epoch));
        }
        self.arrival.1
    }

    fn assign(&mut self, socket: SocketId, what: Use) {
        let slot = socket.slot() as usize;
        if slot >= self.sockets.len() {
            self.sockets.resize(slot + 1, (None, Use::None));
        }
        self.sockets[slot] = if what == Use::None { (None, what) } else { (Some(socket), what) };
    }

    fn tell(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn open(&mut self, id: LegId, kind: Kind) -> Option<()> {
        if self.slots.contains_key(&id) {
            return None;
        }
        if self.slots.len() >= self.config.legs {
            self.counters.legs_full += 1;
            self.tell(Event::Full { leg: id });
            return Some(());
        }
        let leg = Box::new(Leg::new(id, kind, &mut self.random));
        let opened = leg.opened(None);
        let slot = self.free.pop_front().unwrap_or(self.legs.len());
        if slot == self.legs.len() {
            self.legs.push(Some(leg));
        } else {
            self.legs[slot] = Some(leg);
        }
        self.slots.insert(id, slot);
        match kind {
            Kind::Web => self.tell(opened),
            Kind::Shared(realm) if self.share(slot, realm).is_some() => {}
            Kind::Rtp(realm) | Kind::Shared(realm) => {
                let realm = usize::from(realm.0);
                if realm >= self.ports.len() {
                    self.forget(id);
                    self.counters.ports_full += 1;
                    self.tell(Event::Full { leg: id });
                    return Some(());
                }
                self.waiting[realm].push_back(id);
                self.serve(realm);
                self.shed(realm);
            }
        }
        Some(())
    }

    /// Lets a leg share its realm's pair. `None` where there is none.
    fn share(&mut self, slot: usize, realm: RealmId) -> Option<()> {
        let ports = self.ports.get(usize::from(realm.0))?;
        let (pair, address) = (ports.shared()?, ports.realm.address);
        let leg = self.legs[slot].as_deref_mut()?;
        (leg.pair, leg.shared) = (Some(pair), Some(SmallVec::new()));
        let event = leg.opened(Some(SocketAddr::new(address, pair.port)));
        self.tell(event);
        Some(())
    }

    /// Hears the leg on its shared pair from where its party is now. False where another leg's party is there.
    fn settle_shared(&mut self, slot: usize) -> bool {
        let Some(leg) = self.legs[slot].as_deref_mut() else { return true };
        let (wanted, reads) = (leg.sources(), leg.reads(slot));
        let Some(old) = leg.shared.as_mut() else { return true };
        let stands = old.first().is_none_or(|first| self.parties.get(&party(*first)) == Some(&reads));
        if *old == wanted && stands {
            return true;
        }
        for source in old.drain(..) {
            self.parties.remove(&party(source));
        }
        if wanted.iter().any(|&source| self.parties.contains_key(&party(source))) {
            return false;
        }
        old.clone_from(&wanted);
        let rtp = leg.pair.map(|pair| pair.rtp);
        for source in wanted {
            let what = if Some(source.0) == rtp { reads } else { Use::Rtcp(slot) };
            self.parties.insert(party(source), what);
        }
        true
    }

    /// Gives ports to the legs that wait, and asks for more.
    fn serve(&mut self, realm: usize) {
        while let Some(&id) = self.waiting[realm].front() {
            let Some(&slot) = self.slots.get(&id) else {
                self.waiting[realm].pop_front();
                continue;
            };
            let Some(pair) = self.ports[realm].take() else { break };
            self.waiting[realm].pop_front();
            self.assign(pair.rtp, Use::Rtp(slot));
            self.assign(pair.rtcp, Use::Rtcp(slot));
            let Some(leg) = self.legs[slot].as_deref_mut() else { continue };
            leg.pair = Some(pair);
            leg.aim(self.web);
            let event = leg.opened(Some(SocketAddr::new(self.ports[realm].realm.address, pair.port)));
            self.outputs.push_back(Output::Event(event));
        }
        self.refill(realm);
    }

    fn refill(&mut self, realm: usize) {
        let wanted = self.config.stock + self.waiting[realm].len();
        while let Some((port, shared)) = self.ports[realm].ask(wanted) {
            for port in [port, port + 1] {
                self.outputs.push_back(Output::Bind { realm: RealmId(realm as u8), port, shared });
            }
        }
    }

    /// Refuses the legs for which no port is on its way, the newest first.
    fn shed(&mut self, realm: usize) {
        while self.waiting[realm].len() > self.ports[realm].coming() {
            let Some(id) = self.waiting[realm].pop_back() else { break };
            if self.forget(id).is_some() {
                self.counters.ports_full += 1;
                self.tell(Event::Full { leg: id });
            }
        }
    }

    fn agree(&mut self, now: Now, id: LegId, agreed: Box<Agreed>) -> Option<()> {
        let web = self.web;
        let pause = self.pause(true);
        let deadline = now.instant + pause;
        let slot = *self.slots.get(&id)?;
        let leg = self.legs[slot].as_deref_mut()?;
        let moved = leg.on_agreed(agreed);
        leg.aim(web);
        if leg.timer.is_none() {
            leg.timer = Some(self.timers.insert(deadline, Timer::Report(id)));
        }
        let partner = leg.inbound.partner;
        if !self.settle_shared(slot) {
            self.forget(id);
            self.counters.shared_taken += 1;
            self.tell(Event::Full { leg: id });
            return Some(());
        }
        self.read_as_agreed(slot);
        self.map(slot);
        if let Some(partner) = partner {
            self.map(partner);
            if let Some(partner) = self.legs[partner].as_deref_mut().filter(|_| moved) {
                partner.outbound.timeline.cut();
            }
        }
        Some(())
    }

    /// What comes to the leg's own port is RTP, or passed on unread.
    fn read_as_agreed(&mut self, slot: usize) {
        let Some(leg) = self.legs[slot].as_deref() else { return };
        if let Some(pair) = leg.pair.filter(|_| leg.shared.is_none()) {
            let what = leg.reads(slot);
            self.assign(pair.rtp, what);
        }
    }

    /// Renews what the payload types of this leg's party become.
    fn map(&mut self, slot: usize) {
        let of = |slot: usize| self.legs.get(slot)?.as_deref();
        let Some(leg) = of(slot) else { return };
        let Some(agreed) = leg.agreed.as_deref() else { return };
        let to = leg.inbound.partner.and_then(of).and_then(|partner| partner.agreed.as_deref());
        let formats = Formats::new(agreed, to);
        if let Some(leg) = self.legs[slot].as_deref_mut() {
            (leg.inbound.formats, leg.inbound.recent) = (formats, None);
        }
    }

    fn path(&mut self, id: LegId, address: SocketAddr) -> Option<()> {
        let (web, most) = (self.web, self.config.paths.max(1));
        let slot = *self.slots.get(&id)?;
        if self.legs[slot].as_deref()?.kind != Kind::Web {
            return None;
        }
        // The newest check wins: an address that another leg had is no longer its own.
        if let Some(other) = self.paths.insert(Endpoint(address), slot)
            && other != slot
            && let Some(other) = self.legs[other].as_deref_mut()
        {
            other.paths.retain(|path| *path != address);
            other.aim(web);
        }
        let leg = self.legs[slot].as_deref_mut()?;
        leg.paths.retain(|path| *path != address);
        if leg.paths.len() >= most {
            let oldest = leg.paths.remove(0);
            self.paths.remove(&Endpoint(oldest));
        }
        leg.paths.push(address);
        leg.aim(web);
        Some(())
    }

    fn keys(&mut self, id: LegId, keys: Box<Keys>) -> Option<()> {
        let sources = self.config.sources;
        let slot = *self.slots.get(&id)?;
        // RTP legs have no SRTP yet: keys for one are a mistake, and must not half work.
        let leg = self.legs[slot].as_deref_mut().filter(|leg| leg.kind == Kind::Web)?;
        leg.on_keys(keys, sources, &mut self.random).then_some(())
    }

    fn on_ask(&mut self, leg: LegId) -> Option<()> {
        let stats = Box::new(self.stats(leg)?);
        self.tell(Event::Stats { leg, stats });
        Some(())
    }

    fn join(&mut self, a: LegId, b: LegId) -> Option<()> {
        let (a, b) = (*self.slots.get(&a)?, *self.slots.get(&b)?);
        if a == b {
            return None;
        }
        if self.legs[a].as_deref()?.inbound.partner == Some(b) {
            return Some(());
        }
        self.part(a);
        self.part(b);
        for (slot, partner) in [(a, b), (b, a)] {
            self.legs[slot].as_deref_mut()?.inbound.partner = Some(partner);
            self.map(slot);
        }
        Some(())
    }

    /// Nobody hears the leg any more, nor it anybody.
    fn part(&mut self, slot: usize) {
        let Some(leg) = self.legs[slot].as_deref_mut() else { return };
        leg.outbound.timeline.cut();
        let Some(partner) = leg.inbound.partner.take() else { return };
        if let Some(leg) = self.legs[partner].as_deref_mut() {
            leg.outbound.timeline.cut();
            leg.inbound.partner = None;
        }
        self.map(partner);
        self.map(slot);
    }

    fn close(&mut self, now: Now, id: LegId) -> Option<()> {
        self.leg(id)?;
        self.write_bye(now, id);
        let leg = self.forget(id)?;
        let (Kind::Rtp(realm) | Kind::Shared(realm)) = leg.kind else { return Some(()) };
        let Some(pair) = leg.pair.filter(|_| leg.shared.is_none()) else { return Some(()) };
        for socket in [pair.rtp, pair.rtcp] {
            self.assign(socket, Use::None);
            self.outputs.push_back(Output::Unbind { socket });
        }
        let realm = usize::from(realm.0);
        self.ports[realm].close();
        self.timers.insert(now.instant + self.config.rest, Timer::Rest(realm, pair.port));
        Some(())
    }

    /// Takes a leg out of all tables but those of its ports.
    fn forget(&mut self, id: LegId) -> Option<Box<Leg>> {
        let slot = *self.slots.get(&id)?;
        self.part(slot);
        self.slots.remove(&id);
        let leg = self.legs[slot].take()?;
        for &path in &leg.paths {
            self.paths.remove(&Endpoint(path));
        }
        let music = leg.playing.as_ref().and_then(|playing| playing.timer());
        for timer in [leg.timer, leg.presses.timer(), leg.inbound.key_timer, music].into_iter().flatten() {
            self.timers.cancel(timer);
        }
        for &source in leg.shared.iter().flatten() {
            self.parties.remove(&party(source));
        }
        if let Kind::Rtp(realm) | Kind::Shared(realm) = leg.kind
            && leg.pair.is_none()
            && let Some(waiting) = self.waiting.get_mut(usize::from(realm.0))
        {
            waiting.retain(|waits| *waits != id);
        }
        self.free.push_back(slot);
        Some(leg)
    }

    /// Panics where the plane contradicts itself.
    pub fn check_invariants(&self) {
        let legs = self.legs.iter().flatten().count();
        assert_eq!(legs, self.slots.len());
        assert_eq!(legs + self.free.len(), self.legs.len());
        let of = |slot: usize| self.legs.get(slot).and_then(|leg| leg.as_deref());
        for (slot, leg) in self.legs.iter().enumerate() {
            let Some(leg) = leg else { continue };
            assert_eq!(self.slots.get(&leg.id), Some(&slot));
            if let Some(partner) = leg.inbound.partner {
                assert_eq!(
                    of(partner).and_then(|partner| partner.inbound.partner),
                    Some(slot),
                    "joined one way"
                );
            }
            assert!(leg.paths.iter().all(|&path| self.paths.get(&Endpoint(path)) == Some(&slot)));
            if let Some(pair) = leg.pair.filter(|_| leg.shared.is_none()) {
                for (socket, what) in [(pair.rtp, leg.reads(slot)), (pair.rtcp, Use::Rtcp(slot))] {
                    assert_eq!(self.sockets[socket.slot() as usize], (Some(socket), what));
                }
            }
            assert!(!leg.outbound.secure || leg.keys.is_some() == leg.outbound.srtp.is_some());
        }
        assert_eq!(self.paths.len(), self.legs.iter().flatten().map(|leg| leg.paths.len()).sum::<usize>());
        let used = |what: &Use| matches!(what, Use::Rtp(_) | Use::Raw(_) | Use::Rtcp(_));
        let owns = |leg: &Leg| leg.pair.is_some() && leg.shared.is_none();
        let pairs = self.legs.iter().flatten().filter(|leg| owns(leg)).count();
        let sources = self.legs.iter().flatten().flat_map(|leg| leg.shared.iter().flatten());
        let listed = sources.inspect(|source| assert!(self.parties.contains_key(&party(**source))));
        assert_eq!(listed.count(), self.parties.len());
        assert_eq!(self.sockets.iter().filter(|(_, what)| used(what)).count(), 2 * pairs);
        self.ports.iter().for_each(Ports::check);
    }
}
