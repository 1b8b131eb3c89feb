//! Before the answer: several early dialogs of one dialled leg, of which one is heard.
//!
//! The newest that has a description is heard, unless P-Early-Media says which may be (RFC 5009, RFC 3960). The caller has
//! one call with one answer, whatever happens beyond.

use super::agree;
use super::change::send_offer;
use super::core::Core;
use super::describe::with_parameters;
use super::half::{Pending, Why};
use super::state::{Call, End, State};
use crate::base::Now;
use crate::leg::{Cause, Command, Fork};
use crate::sdp::negotiate::accept;
use crate::sdp::{Direction, Session};

/// Early dialogs that are kept for each call.
const MOST_FORKS: usize = 8;

/// An early dialog with a description.
#[derive(Debug)]
struct Early {
    fork: Fork,
    ours: Box<Session>,
    theirs: Box<Session>,
    /// It offered, by UPDATE or in place of an answer: what a 2xx may say again is not the answer to our first offer.
    offered: bool,
}

/// The early dialogs of a dialled leg.
#[derive(Debug, Default)]
pub(super) struct Forks {
    /// Oldest first.
    early: Vec<Early>,
    /// What was said of each one's early media.
    gates: Vec<(Fork, bool)>,
    heard: Option<Fork>,
}

impl Forks {
    /// Whether any has a description.
    pub(super) fn is_heard(&self) -> bool {
        !self.early.is_empty()
    }

    fn gate(&self, fork: Fork) -> Option<bool> {
        self.gates.iter().find(|(other, _)| *other == fork).map(|(_, open)| *open)
    }

    /// The one that is to be heard: of those that may be, else of those of which nothing is said, the newest.
    fn chosen(&self) -> Option<&Early> {
        let rank = |early: &Early| match self.gate(early.fork) {
            Some(true) => 2,
            None => 1,
            Some(false) => 0,
        };
        self.early
            .iter()
            .enumerate()
            .max_by_key(|(place, early)| (rank(early), *place))
            .map(|(_, early)| early)
    }

    /// Takes a description in; it is the newest now, unless it was known. True where an older one had to go.
    fn take(&mut self, early: Early) -> bool {
        if self.early.iter().any(|other| other.fork == early.fork && other.theirs == early.theirs) {
            return false;
        }
        self.early.retain(|other| other.fork != early.fork);
        let full = self.early.len() >= MOST_FORKS;
        if full {
            self.early.remove(0);
        }
        self.early.push(early);
        full
    }

    fn forget(&mut self, fork: Fork) {
        self.early.retain(|early| early.fork != fork);
        self.gates.retain(|(other, _)| *other != fork);
    }
}

impl Call {
    /// The called party makes progress.
    pub(super) fn on_progress(
        &mut self,
        core: &mut Core,
        now: Now,
        fork: Fork,
        (code, answer): (u16, Option<Box<Session>>),
    ) {
        let State::Ringing(ringing) = &mut self.state else {
            core.counters.stray += 1;
            return;
        };
        if let Some(timer) = ringing.first_reply.take() {
            core.wheel.cancel(timer);
        }
        if code == 199 {
            // A fork is gone, the call is not (RFC 6228).
            ringing.forks.forget(fork);
            self.listen(core);
            return;
        }
        let mut early = None;
        if let Some(theirs) = answer {
            if ringing.late {
                if !self.meet_early(core, fork, theirs) {
                    self.finish(core, now, Cause::NotAcceptable.into(), None);
                    return;
                }
            } else {
                let ours = ringing.dialled.clone();
                let full = ringing.forks.take(Early { fork, ours, theirs, offered: false });
                core.counters.forks_forgotten += u64::from(full);
            }
            early = self.listen(core);
        }
        // 100 goes from hop to hop.
        if code > 100 {
            self.heard = true;
            core.leg(Command::Progress { leg: self.incoming.leg, code, answer: early });
        }
    }

    /// What a fork says of its early media.
    pub(super) fn on_gate(&mut self, core: &mut Core, fork: Fork, open: bool) {
        let State::Ringing(ringing) = &mut self.state else { return };
        let gates = &mut ringing.forks.gates;
        if let Some(gate) = gates.iter_mut().find(|(other, _)| *other == fork) {
            gate.1 = open;
        } else if gates.len() < MOST_FORKS {
            gates.push((fork, open));
        } else {
            core.counters.forks_forgotten += 1;
        }
        self.listen(core);
    }

    /// An early dialog wants to change. It is answered whether it is heard or not.
    pub(super) fn on_offered_early(&mut self, core: &mut Core, fork: Fork, offer: Box<Session>) {
        let known = matches!(&self.state, State::Ringing(ringing)
            if ringing.forks.early.iter().any(|early| early.fork == fork));
        if !known || !self.meet_early(core, fork, offer) {
            core.counters.changes_refused += 1;
            let leg = self.outgoing.leg;
            return core.leg(Command::AcceptEarly { leg, fork, answer: None });
        }
        self.listen(core);
    }

    /// Answers an offer of an early dialog. False, and nothing is said, where nothing in it may be accepted.
    fn meet_early(&mut self, core: &mut Core, fork: Fork, theirs: Box<Session>) -> bool {
        let Some(ours) = self.meet(&theirs) else { return false };
        core.leg(Command::AcceptEarly { leg: self.outgoing.leg, fork, answer: Some(ours.clone()) });
        if let State::Ringing(ringing) = &mut self.state {
            // It keeps its place: a change makes no fork the newest.
            let early = Early { fork, ours, theirs, offered: true };
            match ringing.forks.early.iter_mut().find(|other| other.fork == fork) {
                Some(place) => *place = early,
                None => core.counters.forks_forgotten += u64::from(ringing.forks.take(early)),
            }
        }
        true
    }

    /// Our answer to an offer of the called party, before it has answered.
    fn meet(&mut self, offer: &Session) -> Option<Box<Session>> {
        let theirs = match &self.state {
            State::Ringing(ringing) => self.wished(ringing.offer.as_deref()).0,
            _ => return None,
        };
        let (half, other) = (&mut self.outgoing, &self.incoming);
        let asked = half.asked(offer)?;
        let limit = match other.local {
            Some(_) => half.limit(other, false),
            // What the caller has, as far as that is known.
            None => theirs.into_iter().map(|payload| payload.codec).collect(),
        };
        let payloads = accept(&asked.types, &limit);
        if payloads.iter().all(|payload| payload.codec.is_auxiliary()) {
            return None;
        }
        let payloads = with_parameters(payloads, &other.party_types());
        let want = if other.is_browser() { Direction::SendRecv } else { other.party_direction() };
        let answer = half.answer(offer, asked.place, &payloads, asked.direction.answer(want));
        Some(half.send(answer))
    }

    /// Hears the early dialog that is to be heard now. Gives what the caller is told of it, where it was told nothing yet.
    fn listen(&mut self, core: &mut Core) -> Option<Box<Session>> {
        let State::Ringing(ringing) = &mut self.state else { return None };
        let Some(early) = ringing.forks.chosen() else {
            ringing.forks.heard = None;
            return None;
        };
        let (fork, ours, theirs) = (early.fork, early.ours.clone(), early.theirs.clone());
        let gate = ringing.forks.gate(fork);
        let same = ringing.forks.heard == Some(fork)
            && self.outgoing.remote.as_ref() == Some(&theirs)
            && self.outgoing.gated == (gate == Some(false));
        ringing.forks.heard = Some(fork);
        self.outgoing.gated = gate == Some(false);
        if !same && !self.hear(core, ours, theirs) {
            return None;
        }
        if let (Some(open), true) = (gate, self.incoming.is_sip()) {
            core.leg(Command::Gate { leg: self.incoming.leg, open });
        }
        let answer = self.answer_early(core);
        self.join(core);
        if answer.is_none() {
            self.settle_early(core);
        }
        answer
    }

    /// A SIP caller that was told of another fork's codec hears of this one's, where it can be told before the answer;
    /// else it will hear of it then.
    fn settle_early(&mut self, core: &mut Core) {
        let half = &mut self.incoming;
        if !self.facts.reliable || half.local.is_none() || half.pending != Pending::None {
            return;
        }
        if let Some(payloads) = half.unsettled(&self.outgoing) {
            core.counters.settled += 1;
            let direction = half.our_direction();
            send_offer(core, half, payloads, direction, Why::Settle);
        }
    }

    /// The 2xx's fork is heard from now on. False where there is nothing to hear.
    pub(super) fn hear_final(&mut self, core: &mut Core, fork: Fork, answer: Option<Box<Session>>) -> bool {
        let State::Ringing(ringing) = &mut self.state else { return false };
        let place = ringing.forks.early.iter().position(|early| early.fork == fork);
        let known = place.map(|place| ringing.forks.early.swap_remove(place));
        let (late, dialled) = (ringing.late, ringing.dialled.clone());
        self.outgoing.gated = false;
        match (known, answer) {
            // What a 2xx says once more is no answer to what came last (RFC 6337 section 3.1.1).
            (Some(early), answer) if early.offered || answer.is_none() => {
                self.hear(core, early.ours, early.theirs)
            }
            (None, Some(offer)) if late => {
                let Some(ours) = self.meet(&offer) else { return false };
                core.leg(Command::Accept { leg: self.outgoing.leg, answer: ours.clone() });
                self.hear(core, ours, offer)
            }
            (_, Some(answer)) => self.hear(core, dialled, answer),
            (_, None) => false,
        }
    }

    /// Makes the two descriptions of a dialog of the called party stand: from now on it is heard.
    fn hear(&mut self, core: &mut Core, ours: Box<Session>, theirs: Box<Session>) -> bool {
        let half = &mut self.outgoing;
        let place = if half.is_sip() {
            agree::stream(half.kind, &theirs).unwrap_or(half.stream)
        } else {
            half.stream
        };
        let Some(media) = theirs.media.get(place) else {
            core.counters.bad_answers += 1;
            return false;
        };
        let mut remote = None;
        if half.is_web() {
            let role = agree::our_role(&theirs, media);
            remote = agree::transport(&theirs, media, Some(role)).map(|remote| (role, remote));
        }
        if (half.is_web() && remote.is_none()) || !half.settle(ours, theirs, place) {
            core.counters.bad_answers += 1;
            return false;
        }
        if let Some((role, remote)) = remote {
            half.role = Some(role);
            core.describe(half, remote);
        }
        core.agree(half);
        true
    }

    /// What goes to a SIP caller with early media: the answer to its offer, or ours where it made none and acknowledges
    /// what it is told; a browser has had its answer.
    fn answer_early(&mut self, core: &mut Core) -> Option<Box<Session>> {
        let State::Ringing(ringing) = &mut self.state else { return None };
        if let Some(offer) = ringing.offer.take() {
            let codecs = self.incoming.limit(&self.outgoing, true);
            let want = self.outgoing.party_direction();
            return self.answer_caller(core, offer, &codecs, want);
        }
        let bare = self.incoming.local.is_none() && self.incoming.pending == Pending::None;
        (bare && self.facts.reliable && self.half(End::In).is_sip()).then(|| self.offer_caller())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forks(gates: &[(u16, bool)]) -> Forks {
        let mut forks = Forks::default();
        for n in 0..3 {
            let (ours, theirs) = Default::default();
            forks.take(Early { fork: Fork(n), ours, theirs, offered: false });
        }
        forks.gates = gates.iter().map(|(fork, open)| (Fork(*fork), *open)).collect();
        forks
    }

    #[test]
    fn the_newest_fork_is_heard_unless_another_is_said_to_be() {
        for (gates, chosen) in [
            (&[][..], 2),
            (&[(2, false)], 1),
            (&[(0, true)], 0),
            (&[(0, true), (1, true)], 1),
            (&[(0, false), (1, false), (2, false)], 2),
            (&[(0, false), (2, false)], 1),
        ] {
            assert_eq!(forks(gates).chosen().unwrap().fork, Fork(chosen), "{gates:?}");
        }
    }

    #[test]
    fn a_fork_that_is_gone_leaves_the_next_newest() {
        let mut forks = forks(&[(2, true)]);
        forks.forget(Fork(2));
        assert_eq!(forks.chosen().unwrap().fork, Fork(1));
    }
}
