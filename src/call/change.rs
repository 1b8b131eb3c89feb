//! Changes of a call that stands: holds, new codecs, new addresses, ICE restarts, and re-offers of our own.

use super::agree;
use super::core::{Core, Timer};
use super::describe::{fmtp, wishes, with_parameters};
use super::half::{Half, Pending, Transport, Why};
use super::state::{Call, End, State, Talking};
use crate::base::Now;
use crate::leg::{Cause, Command, Reason};
use crate::sdp::negotiate::accept;
use crate::sdp::{Codec, Direction, Media, Payload, Session};
use crate::webrtc;
use std::time::Duration;

/// How often a re-offer of ours is tried again that met one of theirs.
const MOST_RETRIES: u8 = 5;

/// What an offer asks for, read once.
pub(super) struct Asked {
    pub(super) place: usize,
    pub(super) types: Vec<Payload>,
    pub(super) direction: Direction,
}

impl Half {
    /// Whether an offer comes from another peer connection than the one that is described: with another certificate.
    fn is_taken_over(&self, offer: &Session) -> bool {
        let remote = || agree::transport(offer, offer.media.get(agree::stream(self.kind, offer)?)?, None);
        let described = self.described.as_ref().filter(|_| self.is_web());
        described.zip(remote()).is_some_and(|(old, new)| old.fingerprints != new.fingerprints)
    }

    pub(super) fn asked(&self, offer: &Session) -> Option<Asked> {
        let place = agree::stream(self.kind, offer)?;
        let media = offer.media.get(place)?;
        let types = accept(&media.payload_types(), &self.allowed);
        let direction = agree::direction(self.kind, offer, media);
        (!types.is_empty()).then_some(Asked { place, types, direction })
    }

    /// The codecs that this half's party may be heard in by `other`'s.
    pub(super) fn limit(&self, other: &Half, talking: bool) -> Vec<Codec> {
        // A browser's codecs are never narrowed before the answer.
        if other.local.is_none() || (self.is_browser() && !talking) {
            return self.own();
        }
        if !other.is_browser() {
            let mut codecs = other.all_codecs();
            if self.is_web() {
                // A browser keeps its events of both clock rates, whatever the phone has.
                codecs.extend(self.allowed.iter().filter(|codec| codec.is_telephone_event()).cloned());
            }
            return codecs;
        }
        // A browser takes whatever it has offered once: a re-offer of ours follows.
        other.usable().into_iter().map(|payload| payload.codec).collect()
    }
}

impl Call {
    /// A party wants a change.
    pub(super) fn on_offered(&mut self, core: &mut Core, end: End, offer: Option<Box<Session>>) {
        let talking = matches!(self.state, State::Talking(_));
        if talking && offer.as_ref().is_some_and(|offer| self.half(end).is_taken_over(offer)) {
            self.clear_for_takeover(core, end);
        }
        let (half, other) = self.halves(end);
        let free = half.pending == Pending::None
            && half.local.is_some()
            && !matches!(half.transport, Transport::Restarting { .. });
        // Before the answer only the caller may change what it said: its side is settled already.
        if !free || !(talking || end == End::In) {
            self.refuse_glare(core, end);
            return;
        }
        let Some(offer) = offer else {
            self.offer_back(core, end);
            return;
        };
        let Some(asked) = half.asked(&offer) else {
            match super::fax::stream(&offer) {
                Some(place) => self.relay_fax(core, end, offer, place),
                None => self.refuse_change(core, end),
            }
            return;
        };
        let fax = half.fax;
        let common = !accept(&asked.types, &half.limit(other, talking)).is_empty();
        // The other party must know of another direction, or of codecs that it has not; a browser of neither.
        let same = asked.direction == half.party_direction();
        let alone = half.is_browser() || other.is_browser() || (common && !fax && (same || !talking));
        match (half.is_web(), alone) {
            (true, true) if common => self.on_web_offered(core, end, offer, asked.place),
            (true, true) => self.refuse_change(core, end),
            (true, false) => self.on_web_change(core, end, offer, &asked),
            (false, true) => self.answer_change(core, end, offer),
            (false, false) => self.relay(core, end, offer, &asked),
        }
    }

    /// A SIP phone with WebRTC media offers what the other party must know, too. New ICE credentials come first: what
    /// they come with is answered here, and the other party hears of it afterwards.
    fn on_web_change(&mut self, core: &mut Core, end: End, offer: Box<Session>, asked: &Asked) {
        let half = self.half(end);
        let role = half.our_role(&offer);
        let remote = offer.media.get(asked.place).and_then(|media| agree::transport(&offer, media, role));
        let Some(remote) = remote else { return self.refuse_change(core, end) };
        if agree::restarts(half.described.as_ref(), &remote) {
            return self.on_web_offered(core, end, offer, asked.place);
        }
        core.describe(half, remote);
        self.relay(core, end, offer, asked);
    }

    /// A page was reloaded: whatever its predecessor was about to change is void, and numbers may mean something else.
    /// The transport makes a new association of it, whose keys take the place of the old ones once its handshake is
    /// done; towards the other party it is one timeline.
    fn clear_for_takeover(&mut self, core: &mut Core, end: End) {
        core.counters.takeovers += 1;
        let half = self.half(end);
        half.known.clear();
        half.role = None;
        if let Transport::Restarting { peer, local } = half.transport.clone() {
            half.transport = Transport::Open { peer, local };
        }
        if let Pending::Ours(_, Why::Relay) = std::mem::replace(&mut half.pending, Pending::None) {
            self.refuse_relayed(core, end.other(), Cause::Pending.into());
        }
    }

    pub(super) fn refuse_glare(&mut self, core: &mut Core, end: End) {
        core.counters.glare += 1;
        core.refuse(self.half(end).leg, Cause::Pending.into());
    }

    pub(super) fn refuse_change(&mut self, core: &mut Core, end: End) {
        core.counters.changes_refused += 1;
        core.refuse(self.half(end).leg, Cause::NotAcceptable.into());
    }

    /// A browser's offer: an ICE restart takes new credentials of ours first.
    fn on_web_offered(&mut self, core: &mut Core, end: End, offer: Box<Session>, place: usize) {
        let half = self.half(end);
        let role = half.our_role(&offer);
        let remote = offer.media.get(place).and_then(|media| agree::transport(&offer, media, role));
        let (Some(remote), Transport::Open { peer, local }) = (remote, &half.transport) else {
            self.refuse_change(core, end);
            return;
        };
        let (peer, local) = (*peer, local.clone());
        if !agree::restarts(half.described.as_ref(), &remote) {
            core.describe(half, remote);
            self.answer_change(core, end, offer);
            return;
        }
        core.describe(half, remote);
        half.transport = Transport::Restarting { peer, local };
        half.pending = Pending::Theirs(offer);
        core.web(webrtc::Command::Restart { peer });
    }

    /// New ICE credentials stand: the browser's offer is answered with them.
    pub(super) fn on_restarted(&mut self, core: &mut Core, end: End) {
        match std::mem::replace(&mut self.half(end).pending, Pending::None) {
            Pending::Theirs(offer) => {
                self.answer_change(core, end, offer);
                self.tell_direction(core, end);
            }
            other => self.half(end).pending = other,
        }
    }

    /// A party took back its change, which was passed on: what comes of that is undone when it comes.
    pub(super) fn on_withdrawn(&mut self, core: &mut Core, end: End) {
        let half = self.half(end);
        match half.pending {
            Pending::Theirs(_) if half.is_sip() => half.pending = Pending::None,
            _ => core.counters.stray += 1,
        }
    }

    /// Answers a change without the other party's knowing.
    fn answer_change(&mut self, core: &mut Core, end: End, offer: Box<Session>) {
        let talking = matches!(self.state, State::Talking(_));
        let (half, other) = self.halves(end);
        let want = match (half.is_browser(), other.is_browser()) {
            (true, _) => Direction::SendRecv,
            (false, true) => half.want(),
            (false, false) => other.party_direction(),
        };
        let mut limit = half.limit(other, talking);
        let standing = other.all_codecs();
        if other.is_browser()
            && half.asked(&offer).is_some_and(|asked| !accept(&asked.types, &standing).is_empty())
        {
            // What the browser speaks now will do: no need to trouble it.
            limit = standing;
        }
        if !accept_change(core, half, other, offer, &limit, want) {
            self.refuse_change(core, end);
            return;
        }
        if half.is_browser() && !other.is_browser() {
            other.far = half.party_direction();
        }
        if half.is_sip() {
            // What met this change of theirs need not wait for it any more.
            self.end_backoff(core);
        }
        self.join(core);
        self.settle_codecs(core);
    }

    /// Passes a change on; its answer comes back by [`Call::on_accepted`].
    fn relay(&mut self, core: &mut Core, end: End, offer: Box<Session>, asked: &Asked) {
        if !matches!(self.state, State::Talking(_)) {
            self.refuse_change(core, end);
            return;
        }
        let (half, other) = self.halves(end);
        if other.pending != Pending::None {
            self.refuse_glare(core, end);
            return;
        }
        let common = accept(&asked.types, &other.allowed);
        if common.is_empty() {
            self.refuse_change(core, end);
            return;
        }
        half.pending = Pending::Theirs(offer);
        core.counters.relayed += 1;
        send_offer(core, other, common, asked.direction, Why::Relay);
    }

    /// A party asks for an offer of ours.
    fn offer_back(&mut self, core: &mut Core, end: End) {
        let (half, other) = self.halves(end);
        let limit = half.limit(other, true);
        let usable: Vec<Payload> = half.usable().into_iter().filter(|p| limit.contains(&p.codec)).collect();
        let want = if other.is_browser() { half.wish() } else { other.party_direction() };
        let offer = half.offer(usable, want);
        let offer = half.send(offer);
        half.pending = Pending::Ours(offer.clone(), Why::Asked);
        core.leg(Command::Accept { leg: half.leg, answer: offer });
    }

    /// An offer of ours was answered.
    pub(super) fn on_accepted(&mut self, core: &mut Core, now: Now, end: End, answer: Box<Session>) {
        let (half, other) = self.halves(end);
        let (offer, why) = match std::mem::replace(&mut half.pending, Pending::None) {
            Pending::Ours(offer, why) => (offer, why),
            other => {
                half.pending = other;
                core.counters.stray += 1;
                return;
            }
        };
        if why == Why::Fax {
            self.on_fax_accepted(core, end, offer, answer);
            return;
        }
        if !adopt(core, half, other, offer, answer) {
            core.counters.bad_answers += 1;
            self.on_bad_answer(core, now, end, why);
            return;
        }
        match why {
            Why::Settle => self.calm(),
            Why::Relay => self.answer_relayed(core, end.other()),
            Why::Asked if matches!(self.state, State::Talking(_)) => self.tell_direction(core, end),
            Why::Asked | Why::Fax => {}
        }
        self.join(core);
        self.settle_codecs(core);
    }

    /// A session was refreshed: the party's description may have changed, though ours has not.
    pub(super) fn on_refreshed(&mut self, core: &mut Core, end: End, answer: Box<Session>) {
        let (half, other) = self.halves(end);
        if half.fax || half.pending != Pending::None || half.remote.as_ref() == Some(&answer) {
            return;
        }
        let Some(local) = half.local.clone() else { return };
        if !adopt(core, half, other, local, answer) {
            core.counters.bad_answers += 1;
            return;
        }
        self.tell_direction(core, end);
        self.settle_codecs(core);
    }

    /// An answer that accepts nothing: the leg goes on as it was, if it was.
    fn on_bad_answer(&mut self, core: &mut Core, now: Now, end: End, why: Why) {
        if self.half(end).local.is_none() {
            self.finish(core, now, Cause::NotAcceptable.into(), None);
        } else if why == Why::Relay {
            self.refuse_relayed(core, end.other(), Cause::NotAcceptable.into());
        } else {
            self.undo_hold(core, end, Cause::NotAcceptable.into());
        }
    }

    /// An offer of ours was refused.
    pub(super) fn on_refused(&mut self, core: &mut Core, now: Now, end: End, reason: Reason) {
        let half = self.half(end);
        let why = match &half.pending {
            Pending::Ours(_, why) if *why != Why::Asked => *why,
            _ => {
                core.counters.stray += 1;
                return;
            }
        };
        half.pending = Pending::None;
        if matches!(why, Why::Relay | Why::Fax) {
            self.refuse_relayed(core, end.other(), reason);
            self.settle_codecs(core);
            return;
        }
        let State::Talking(talking) = &mut self.state else { return };
        if reason.cause == Cause::Pending && talking.retry.is_none() && talking.retries < MOST_RETRIES {
            talking.retries += 1;
            // RFC 3261 section 14.1, for the one that began the call.
            let after = Duration::from_millis(2_100 + core.random.below(190) * 10);
            talking.retry = Some(core.arm(now, after, self.id, Timer::Retry));
            return;
        }
        self.undo_hold(core, end, reason);
    }

    /// A re-offer is due again.
    pub(super) fn on_retry(&mut self, core: &mut Core) {
        if let State::Talking(talking) = &mut self.state {
            talking.retry = None;
            self.settle_codecs(core);
        }
    }

    fn end_backoff(&mut self, core: &mut Core) {
        if let State::Talking(talking) = &mut self.state
            && let Some(timer) = talking.retry.take()
        {
            core.wheel.cancel(timer);
        }
    }

    fn calm(&mut self) {
        if let State::Talking(talking) = &mut self.state {
            talking.retries = 0;
        }
    }

    /// The other party took a change that was passed on: so does this one.
    fn answer_relayed(&mut self, core: &mut Core, end: End) {
        let (half, other) = self.halves(end);
        let Pending::Theirs(offer) = std::mem::replace(&mut half.pending, Pending::None) else {
            // It was taken back meanwhile: the other party hears how things really are.
            return self.tell_direction(core, end);
        };
        let (limit, want) = (half.limit(other, true), other.party_direction());
        if !accept_change(core, half, other, offer, &limit, want) {
            self.refuse_change(core, end);
        }
    }

    pub(super) fn refuse_relayed(&mut self, core: &mut Core, end: End, reason: Reason) {
        let half = self.half(end);
        if let Pending::Theirs(_) = half.pending {
            half.pending = Pending::None;
            // Others would tell of the other party's dialog, or our credentials, and may end this one (RFC 5057).
            let code = if matches!(reason.code, 415 | 488 | 491 | 500 | 606) { reason.code } else { 488 };
            core.refuse(half.leg, Reason::new(reason.cause, code));
        }
    }

    /// A SIP party learns of another direction of the other one: after an offer that we were asked for, or one that was
    /// passed on and taken back.
    pub(super) fn tell_direction(&mut self, core: &mut Core, end: End) {
        let (half, other) = self.halves(end);
        let direction = half.party_direction();
        if half.is_browser()
            || other.is_browser()
            || other.pending != Pending::None
            || other.our_direction() == direction
        {
            return;
        }
        let codecs = half.all_codecs();
        let usable: Vec<Payload> = other.usable().into_iter().filter(|p| codecs.contains(&p.codec)).collect();
        if usable.iter().any(|payload| !payload.codec.is_auxiliary()) {
            core.counters.relayed += 1;
            send_offer(core, other, usable, direction, Why::Settle);
        }
    }

    /// Where a party sends a codec that the other one has not, offers it what both have (design, section 6).
    pub(super) fn settle_codecs(&mut self, core: &mut Core) {
        if !matches!(self.state, State::Talking(_)) {
            return;
        }
        self.tell_holds(core);
        let State::Talking(Talking { retry: None, .. }) = &self.state else { return };
        let busy = |half: &Half| {
            half.pending != Pending::None || matches!(half.transport, Transport::Restarting { .. })
        };
        // One at a time: two at once could pass each other for ever.
        if busy(&self.incoming) || busy(&self.outgoing) {
            return;
        }
        if self.offer_hold(core) {
            return;
        }
        // A browser first: with it a change costs least.
        let first = if self.outgoing.is_browser() { End::Out } else { End::In };
        for end in [first, first.other()] {
            let (half, other) = self.halves(end);
            if let Some(payloads) = half.unsettled(other) {
                core.counters.settled += 1;
                let direction = half.our_direction();
                send_offer(core, half, payloads, direction, Why::Settle);
                return;
            }
        }
    }
}

impl Half {
    /// What both parties may use beside their codec (comfort noise, redundancy).
    fn extras<'a>(&'a self, other: &'a Half) -> impl Iterator<Item = &'a Codec> {
        let theirs = other.formats.iter().map(|shared| &shared.codec).filter(|codec| codec.is_extra());
        theirs.filter(|codec| {
            self.allowed.contains(codec) && self.known.iter().any(|known| known.codec == **codec)
        })
    }

    /// Whether this party uses what the other one can't read, or was not asked for what both have.
    fn is_uneven(&self, other: &Half) -> bool {
        let media = self.local.as_ref().and_then(|local| local.media.get(self.stream));
        let ours = media.map(Media::payload_types).unwrap_or_default();
        let asked = |codec: &Codec| ours.iter().any(|payload| payload.codec == *codec);
        let goes = |codec: &Codec| self.codecs().any(|proper| proper.clock == codec.clock);
        let unread = |codec: &&Codec| codec.is_extra() && !other.formats.iter().any(|s| s.codec == **codec);
        self.extras(other).any(|codec| goes(codec) && !asked(codec))
            || self.formats.iter().map(|shared| &shared.codec).any(|codec| unread(&codec))
    }

    /// What this half may speak without asking the other one.
    pub(super) fn own(&self) -> Vec<Codec> {
        self.allowed.iter().filter(|codec| !codec.is_extra()).cloned().collect()
    }

    /// What this party should be offered, where it sends what `other`'s party has not agreed to hear; or the other way
    /// round, where this one is a browser and the other is not.
    pub(super) fn unsettled(&self, other: &Half) -> Option<Vec<Payload>> {
        let (ours, theirs) = (self.party_sends()?, other.party_sends()?);
        let deaf = !other.codecs().any(|codec| *codec == ours);
        let near = self.is_browser() && !other.is_browser();
        let lacking = near && !self.codecs().any(|codec| *codec == theirs);
        let uneven = near && self.is_uneven(other);
        if !(deaf || lacking || uneven) {
            return None;
        }
        let usable = self.usable();
        let proper: Vec<Codec> =
            other.codecs().filter(|codec| usable.iter().any(|p| p.codec == **codec)).cloned().collect();
        if proper.is_empty() {
            return None;
        }
        let along = |codec: &&Codec| {
            codec.is_telephone_event()
                && (codec.clock == 8000 || proper.iter().any(|p| p.clock == codec.clock))
        };
        let events = usable.iter().map(|payload| &payload.codec).filter(along).cloned();
        let extras =
            self.extras(other).filter(|extra| proper.iter().any(|p| p.clock == extra.clock)).cloned();
        let codecs: Vec<Codec> = proper.iter().cloned().chain(events).chain(extras).collect();
        let known = |mut wish: Payload| {
            if let Some(old) = usable.iter().find(|old| old.codec == wish.codec) {
                wish.fmtp = fmtp(&old.codec, &old.fmtp);
            }
            wish
        };
        Some(wishes(&codecs, self.is_web()).into_iter().map(known).collect())
    }
}

pub(super) fn send_offer(
    core: &mut Core,
    half: &mut Half,
    payloads: Vec<Payload>,
    direction: Direction,
    why: Why,
) {
    let offer = half.offer(payloads, direction);
    let offer = half.send(offer);
    half.pending = Pending::Ours(offer.clone(), why);
    core.leg(Command::Offer { leg: half.leg, offer });
}

/// Makes our answer to an offer stand, and sends it. `false`, and nothing is sent, where nothing may be accepted.
fn accept_change(
    core: &mut Core,
    half: &mut Half,
    other: &Half,
    offer: Box<Session>,
    limit: &[Codec],
    want: Direction,
) -> bool {
    let Some(asked) = half.asked(&offer) else { return false };
    let payloads = accept(&asked.types, limit);
    if payloads.is_empty() {
        return false;
    }
    let payloads = with_parameters(payloads, &other.party_types());
    let answer = half.answer(&offer, asked.place, &payloads, asked.direction.answer(want));
    let answer = half.send(answer);
    if !half.settle(answer.clone(), offer, asked.place) {
        return false;
    }
    if half.is_sip() {
        half.told = half.held;
        half.far_told = half.far;
    }
    if half.is_sip() && other.is_browser() {
        half.holds = !asked.direction.receives();
    }
    core.agree(half);
    core.leg(Command::Accept { leg: half.leg, answer });
    true
}

/// Makes an offer of ours and their answer stand.
fn adopt(core: &mut Core, half: &mut Half, other: &Half, offer: Box<Session>, answer: Box<Session>) -> bool {
    let place = half.stream;
    let mut remote = None;
    if half.is_web() {
        let role = half.our_role(&answer);
        remote = answer.media.get(place).and_then(|media| agree::transport(&answer, media, role));
        if remote.is_none() {
            return false;
        }
    }
    if !half.settle(offer, answer, place) {
        return false;
    }
    if let Some(remote) = remote {
        core.describe(half, remote);
    }
    if half.is_sip() {
        half.told = half.telling;
        half.far_told = half.far_telling;
    }
    if half.is_sip() && other.is_browser() && half.our_direction().sends() {
        half.holds = !half.party_direction().receives();
    }
    core.agree(half);
    true
}
