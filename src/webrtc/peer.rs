//! One transport: answers checks as an ICE-lite agent, drives its DTLS association, and holds credentials, paths and
//! deadlines.

use super::dtls::Association;
use super::identity::Fingerprints;
use super::path::Paths;
use super::stun::{self, Check};
use super::{Config, Counters, Event, Local, Output, Remote};
use crate::base::{LegId, Map, Now, PeerId, Random, TimerId};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

/// Why a peer failed, for the log.
pub type Why = &'static str;

/// Our candidates that are used.
pub const CANDIDATES: usize = 8;
/// Candidates of the far side that are looked at (design, section 8).
const REMOTE_CANDIDATES: usize = 32;
/// After a restart of the far side's: for so long only checks from other addresses than it had are answered.
pub const MOVE: Duration = Duration::from_millis(500);
/// A connected DTLS association that has nothing to do asks to be woken at this distance or more.
const AT_LEISURE: Duration = Duration::from_secs(5);

/// What a peer may touch of its room while it handles something.
pub struct Context<'a> {
    pub id: PeerId,
    pub now: Now,
    pub config: &'a Config,
    pub counters: &'a mut Counters,
    pub outbox: &'a mut VecDeque<Output>,
    pub names: &'a mut Map<String, PeerId>,
    pub owners: &'a mut Map<SocketAddr, PeerId>,
    pub random: &'a mut Random,
}

impl Context<'_> {
    fn send(&mut self, local: usize, to: SocketAddr, data: Vec<u8>) {
        if let Some(candidate) = self.config.candidates.get(local) {
            self.outbox.push_back(Output::Send { from_local: candidate.local, to, data });
        }
    }

    fn answer(&mut self, local: usize, to: SocketAddr, answer: Option<Vec<u8>>) {
        if let Some(answer) = answer {
            self.send(local, to, answer);
        }
    }

    /// Tells whoever knew this password to give the pair up.
    fn forbid(&mut self, local: usize, to: SocketAddr, check: &[u8], pwd: &str) {
        self.counters.stun_forbidden += 1;
        self.answer(local, to, stun::write_error(check, stun::FORBIDDEN, pwd));
    }

    /// New credentials under a name that nobody else has (RFC 8445 section 5.3: 24 and 128 bits at least).
    fn mint(&mut self) -> Credentials {
        loop {
            let ufrag = self.random.token(8);
            if !self.names.contains_key(&ufrag) {
                self.names.insert(ufrag.clone(), self.id);
                return Credentials { ufrag, pwd: self.random.token(24), remote: None };
            }
        }
    }
}

/// One generation of ICE credentials.
struct Credentials {
    ufrag: String,
    pwd: String,
    /// The far side's user name fragment, once its description came.
    remote: Option<String>,
}

/// How far it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing is known of the far side.
    New,
    /// Described; the first check is awaited.
    Checking { until: Instant },
    /// A path stands; DTLS is under way or about to begin.
    Shaking { until: Instant },
    /// Keys were handed out.
    Connected,
}

/// One WebRTC transport.
pub struct Peer {
    pub leg: LegId,
    pub timer: Option<(Instant, TimerId)>,
    stage: Stage,
    /// Once begun.
    dtls: Option<Box<Association>>,
    current: Credentials,
    /// Offered by a restart and not yet used by the far side.
    pending: Option<Credentials>,
    /// Those before a restart, since when the far side has used the new ones.
    previous: Option<Credentials>,
    /// The pending ones were made for a restart of the far side's, before we were asked for them.
    unasked: bool,
    fingerprints: Option<Fingerprints>,
    /// The far side will be the DTLS client.
    far_client: bool,
    certificate: Option<Vec<u8>>,
    paths: Paths,
    /// The address that the far side moves away from by its restart, and until when it may not come back; for good
    /// once another one stands.
    left: Option<(IpAddr, Option<Instant>)>,
    /// Whither DTLS goes: whence its last datagram came.
    reply: Option<SocketAddr>,
}

impl Peer {
    /// A new transport.
    pub fn open(ctx: &mut Context<'_>, leg: LegId) -> Peer {
        let peer = Peer {
            leg,
            timer: None,
            stage: Stage::New,
            dtls: None,
            current: ctx.mint(),
            pending: None,
            previous: None,
            unasked: false,
            fingerprints: None,
            far_client: true,
            certificate: None,
            paths: Paths::default(),
            left: None,
            reply: None,
        };
        peer.tell_opened(ctx);
        peer
    }

    /// Whether a handshake is in progress.
    pub fn is_shaking(&self) -> bool {
        self.dtls.is_some() && self.stage != Stage::Connected
    }

    /// Whether keys were handed out.
    pub fn is_connected(&self) -> bool {
        self.stage == Stage::Connected
    }

    /// The user name fragments by which it is known.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let all = [Some(&self.current), self.pending.as_ref(), self.previous.as_ref()];
        all.into_iter().flatten().map(|c| c.ufrag.as_str())
    }

    /// Its verified addresses.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.paths.addresses()
    }

    fn tell_opened(&self, ctx: &mut Context<'_>) {
        let newest = self.pending.as_ref().unwrap_or(&self.current);
        let candidates = ctx.config.candidates.iter().take(CANDIDATES);
        let local = Local {
            ufrag: newest.ufrag.clone(),
            pwd: newest.pwd.clone(),
            fingerprint: ctx.config.identity.fingerprint(),
            candidates: candidates.map(|candidate| candidate.advertised).collect(),
        };
        let event = Event::Opened { leg: self.leg, peer: ctx.id, local: Box::new(local) };
        ctx.outbox.push_back(Output::Event(event));
    }

    /// New local credentials. Those of a restart that the far side began are given once more instead.
    pub fn restart(&mut self, ctx: &mut Context<'_>) {
        if self.pending.is_none() || !std::mem::take(&mut self.unasked) {
            self.set_pending(ctx, None, false);
        }
        self.tell_opened(ctx);
    }

    fn set_pending(&mut self, ctx: &mut Context<'_>, remote: Option<String>, unasked: bool) {
        if let Some(unused) = self.pending.take() {
            ctx.names.remove(&unused.ufrag);
        }
        self.pending = Some(Credentials { remote, ..ctx.mint() });
        self.unasked = unasked;
    }

    /// The far side's description: the first, the same again, or an ICE restart where its user name fragment differs.
    pub fn describe(&mut self, ctx: &mut Context<'_>, remote: &Remote) -> Result<(), Why> {
        let fingerprints = examine(ctx, remote)?;
        let restarted = self.meet(ctx, &remote.ufrag);
        let changed = match &self.certificate {
            Some(certificate) => !fingerprints.know(certificate),
            None => self.fingerprints.as_ref() != Some(&fingerprints),
        };
        if changed && self.dtls.is_some() && self.fingerprints.is_some() {
            if !restarted {
                return Err("the fingerprint changed without an ICE restart");
            }
            self.renew(ctx);
        }
        self.fingerprints = Some(fingerprints);
        self.far_client = remote.dtls_client;
        if self.stage == Stage::New {
            self.stage = Stage::Checking { until: ctx.now.instant + ctx.config.check };
        }
        self.begin_as_client(ctx);
        self.settle(ctx)
    }

    /// Files the far side's user name fragment; true where it means an ICE restart.
    fn meet(&mut self, ctx: &mut Context<'_>, ufrag: &str) -> bool {
        let is = |known: &Option<String>| known.as_deref() == Some(ufrag);
        if is(&self.current.remote) || self.pending.as_ref().is_some_and(|pending| is(&pending.remote)) {
            return false;
        }
        match &mut self.pending {
            Some(pending) if pending.remote.is_none() => {
                pending.remote = Some(ufrag.to_owned());
                true
            }
            None if self.current.remote.is_none() => {
                self.current.remote = Some(ufrag.to_owned());
                // Their answer to our restart may come after their first check under it.
                self.fingerprints.is_some()
            }
            _ => {
                self.set_pending(ctx, Some(ufrag.to_owned()), true);
                let until = ctx.now.instant + MOVE;
                self.left = self.paths.chosen().map(|path| (path.address.ip(), Some(until)));
                self.tell_opened(ctx);
                true
            }
        }
    }

    /// Another certificate will come: a new association, on the same ICE credentials and paths. The keys that were
    /// handed out stand until it is done.
    fn renew(&mut self, ctx: &Context<'_>) {
        (self.dtls, self.certificate, self.reply) = (None, None, None);
        self.stage = Stage::Checking { until: ctx.now.instant + ctx.config.check };
    }

    /// A Binding request under one of our names.
    pub fn handle_check(
        &mut self,
        ctx: &mut Context<'_>,
        check: &Check<'_>,
        from: SocketAddr,
        local: usize,
        data: &[u8],
    ) -> Result<(), Why> {
        if let Some(previous) = self.previous.as_ref().filter(|previous| previous.ufrag == check.local) {
            // They came by the new ones already. Left to itself, Chromium would stay on the pair that it had.
            if check.knows(&previous.pwd) {
                ctx.forbid(local, from, data, &previous.pwd);
            } else {
                ctx.counters.stun_unauthenticated += 1;
            }
            return Ok(());
        }
        let fresh = self.pending.as_ref().is_some_and(|pending| pending.ufrag == check.local);
        let Some(used) = (if fresh { self.pending.as_ref() } else { Some(&self.current) }) else {
            return Ok(());
        };
        if used.remote.is_none() && self.fingerprints.is_none() {
            // An offer may ring at several tabs: until the answer says whose it is, nobody is heard. The far side
            // checks again.
            ctx.counters.stun_undescribed += 1;
            return Ok(());
        }
        let expected = used.remote.as_deref().is_none_or(|remote| remote == check.remote);
        if used.ufrag != check.local || !expected || !check.knows(&used.pwd) {
            ctx.counters.stun_unauthenticated += 1;
            return Ok(());
        }
        let pwd = self.left.map(|_| used.pwd.clone());
        if (fresh || self.pending.is_none()) && self.has_left(ctx.now.instant, from.ip()) {
            ctx.counters.stun_left += 1;
            // While another address may still come, what comes from this one waits.
            let moved = self.left.is_some_and(|(_, until)| until.is_none());
            if let Some(pwd) = pwd.filter(|_| moved) {
                ctx.forbid(local, from, data, &pwd);
            }
            return Ok(());
        }
        if self.paths.find(from).is_none() && self.paths.seen() >= ctx.config.addresses {
            ctx.counters.paths_full += 1;
            return Ok(());
        }
        if fresh && let Some(pending) = self.pending.take() {
            // The old ones are of no use any more; the paths stay until the new ones have proven themselves.
            let old = std::mem::replace(&mut self.current, pending);
            if let Some(older) = self.previous.replace(old) {
                ctx.names.remove(&older.ufrag);
            }
            self.unasked = false;
            self.paths.restart();
        }
        if check.controlled {
            // Who has only lite agents opposite must control (RFC 8445 section 6.1.1).
            ctx.counters.stun_refused += 1;
            ctx.answer(local, from, stun::write_error(data, stun::ROLE_CONFLICT, &self.current.pwd));
            return Ok(());
        }
        ctx.answer(local, from, stun::write_success(data, from, &self.current.pwd));
        ctx.counters.checks += 1;
        self.on_verified(ctx, from, local, check.nominated);
        self.settle(ctx)
    }

    /// Whether the far side, under the credentials of its restart, should rather come from another address. A browser
    /// that restarts because it joined a network would stay on the one that it is about to lose for as long as that
    /// answers (Chromium: 2.5 s into its silence), whereas the one it comes by now stays. What is in use goes on being
    /// answered, so that nothing is lost by waiting.
    fn has_left(&mut self, now: Instant, ip: IpAddr) -> bool {
        let Some((left, until)) = self.left else { return false };
        if ip != left {
            // Another network carries.
            self.left = Some((left, None));
            return false;
        }
        if until.is_some_and(|until| now >= until) {
            self.left = None;
        }
        self.left.is_some()
    }

    fn on_verified(&mut self, ctx: &mut Context<'_>, from: SocketAddr, local: usize, nominated: bool) {
        let limits = (ctx.config.paths, ctx.config.silent);
        let change = self.paths.on_check(ctx.now.instant, from, local, nominated, limits);
        if let Some(evicted) = change.evicted
            && ctx.owners.get(&evicted) == Some(&ctx.id)
        {
            ctx.owners.remove(&evicted);
        }
        let owner = ctx.owners.insert(from, ctx.id);
        let chosen = self.paths.chosen().is_some_and(|path| path.address == from);
        if change.chosen || (chosen && owner != Some(ctx.id)) {
            let event = Event::Verified { leg: self.leg, peer: ctx.id, address: from };
            ctx.outbox.push_back(Output::Event(event));
            self.reply = Some(from);
        }
        if matches!(self.stage, Stage::New | Stage::Checking { .. }) {
            self.stage = Stage::Shaking { until: ctx.now.instant + ctx.config.handshake };
        }
        self.begin_as_client(ctx);
    }

    /// Where the far side insists on being asked, we begin, as soon as a path stands.
    fn begin_as_client(&mut self, ctx: &Context<'_>) {
        let shaking = matches!(self.stage, Stage::Shaking { .. });
        if !self.far_client && self.dtls.is_none() && shaking && self.fingerprints.is_some() {
            self.begin(ctx, true);
        }
    }

    fn begin(&mut self, ctx: &Context<'_>, client: bool) {
        let (certificate, version) = (ctx.config.identity.certificate(), ctx.config.dtls);
        self.dtls = Some(Box::new(Association::begin(certificate, ctx.now.instant, version, client)));
    }

    /// Whether it will take this DTLS datagram, which comes from one of its verified addresses.
    pub fn wants_dtls(&self) -> bool {
        self.dtls.is_some() || self.far_client
    }

    /// A DTLS datagram from a verified address.
    pub fn handle_dtls(&mut self, ctx: &mut Context<'_>, from: SocketAddr, data: &[u8]) -> Result<(), Why> {
        if self.paths.find(from).is_none() {
            return Ok(());
        }
        if self.dtls.is_none() {
            self.begin(ctx, false);
        }
        self.reply = Some(from);
        if let Some(dtls) = &mut self.dtls
            && !dtls.handle_packet(ctx.now.instant, data)
        {
            ctx.counters.dtls_refused += 1;
        }
        self.settle(ctx)
    }

    /// Takes what DTLS has to say.
    fn settle(&mut self, ctx: &mut Context<'_>) -> Result<(), Why> {
        let path = self.reply.and_then(|reply| self.paths.find(reply)).or_else(|| self.paths.chosen());
        let Some(dtls) = &mut self.dtls else { return Ok(()) };
        dtls.poll(|packet| {
            if let Some(path) = path {
                ctx.send(path.local, path.address, packet.to_vec());
            }
        });
        if let Some(certificate) = dtls.certificate.take() {
            self.certificate = Some(certificate);
        }
        if std::mem::take(&mut dtls.closed) {
            // A page that is reloaded says this too: its call lives on for the grace of the call machine.
            ctx.counters.closed_by_peer += 1;
        }
        if let (Some(certificate), Some(prints)) = (&self.certificate, &self.fingerprints)
            && !prints.know(certificate)
        {
            return Err("the certificate is not the one whose fingerprint was announced");
        }
        if self.stage == Stage::Connected {
            return Ok(());
        }
        if dtls.failed {
            return Err("the DTLS handshake failed");
        }
        if !dtls.finished || self.fingerprints.is_none() {
            return Ok(());
        }
        if self.certificate.is_none() {
            return Err("the far side showed no certificate");
        }
        let keys = dtls.keys.take().ok_or("the handshake agreed on no SRTP profile")?;
        self.stage = Stage::Connected;
        ctx.counters.connected += 1;
        let event = Event::Connected { leg: self.leg, peer: ctx.id, keys: Box::new(keys) };
        ctx.outbox.push_back(Output::Event(event));
        Ok(())
    }

    /// When it wants to be woken.
    pub fn deadline(&self, now: Now) -> Option<Instant> {
        let dtls = self.dtls.as_ref().and_then(|dtls| dtls.timeout);
        let stage = match self.stage {
            Stage::New | Stage::Connected => None,
            Stage::Checking { until } | Stage::Shaking { until } => Some(until),
        };
        let dtls = dtls.filter(|&at| self.is_shaking() || at < now.instant + AT_LEISURE);
        [dtls, stage].into_iter().flatten().min()
    }

    /// Its deadline has come.
    pub fn handle_timeout(&mut self, ctx: &mut Context<'_>) -> Result<(), Why> {
        let now = ctx.now.instant;
        match self.stage {
            Stage::Checking { until } if now >= until => return Err("no connectivity check came"),
            Stage::Shaking { until } if now >= until => return Err("the DTLS handshake took too long"),
            _ => {}
        }
        match &mut self.dtls {
            Some(dtls) if dtls.timeout.is_some_and(|at| at <= now) => dtls.handle_timeout(now),
            _ => return Ok(()),
        }
        self.settle(ctx)
    }

    /// Tells when it was last heard.
    pub fn tell_heard(&self, ctx: &mut Context<'_>) {
        let event = Event::Heard { leg: self.leg, peer: ctx.id, at: self.paths.heard() };
        ctx.outbox.push_back(Output::Event(event));
    }

    /// Says `close_notify`, where there is anyone to hear it.
    pub fn close(&mut self, ctx: &mut Context<'_>) {
        if self.stage == Stage::Connected && self.dtls.as_mut().is_some_and(|dtls| dtls.close()) {
            // Whatever goes wrong now, it is over.
            let _ = self.settle(ctx);
        }
    }
}

/// Looks at what a description says before anything is done with it.
fn examine(ctx: &mut Context<'_>, remote: &Remote) -> Result<Fingerprints, Why> {
    // RFC 8839 section 5.4.
    if !(4..=256).contains(&remote.ufrag.len()) || !(22..=256).contains(&remote.pwd.len()) {
        return Err("the ICE credentials are too short or too long");
    }
    if remote.ice_lite {
        return Err("both sides are ICE lite: nobody would check");
    }
    let useless = remote.candidates.iter().take(REMOTE_CANDIDATES).filter(|text| !is_usable(text)).count();
    let beyond = remote.candidates.len().saturating_sub(REMOTE_CANDIDATES);
    ctx.counters.candidates_ignored += (useless + beyond) as u64;
    Fingerprints::new(&remote.fingerprints).ok_or("no usable certificate fingerprint")
}

/// Whether a candidate (RFC 8839 section 5.1) is one that could send to us: UDP, with an address.
fn is_usable(candidate: &str) -> bool {
    let mut words = candidate.split_ascii_whitespace().skip(2);
    let udp = words.next().is_some_and(|transport| transport.eq_ignore_ascii_case("udp"));
    let mut words = words.skip(1);
    udp && words.next().is_some_and(|address| address.parse::<IpAddr>().is_ok())
        && words.next().is_some_and(|port| port.parse::<u16>().is_ok())
}
