//! A call and its states.

use super::admit::Places;
use super::core::Core;
use super::early::Forks;
use super::half::{Half, Pending, Transport};
use super::redirect::Elsewhere;
use super::transfer::Third;
use crate::base::{CallId, LegId, Now, PeerId, TimerId};
use crate::leg::{
    Account, Carried, Command, Data, Event, Identity, Party, SessionId, Source, Target, TrunkId,
};
use crate::sdp::Session;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What is known of a call from its beginning on, and goes into its record.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) key: String,
    pub(super) source: Source,
    /// The calling browser user's, where the configuration has none.
    pub(super) identity: Option<Arc<Identity>>,
    pub(super) caller: Party,
    /// Whom the record names.
    pub(super) callee: Party,
    /// Whom the leg that goes out asks for.
    pub(super) dialled: Party,
    pub(super) target: Target,
    /// By which route.
    pub(super) route: Option<usize>,
    /// No limit holds it.
    pub(super) urgent: bool,
    /// Max-Forwards to send.
    pub(super) hops: u8,
    pub(super) started: Duration,
    pub(super) answered: Option<Duration>,
    /// Headers that whoever calls attached.
    pub(super) data: Data,
    /// What else came with the call.
    pub(super) carried: Box<Carried>,
    /// The caller acknowledges what is said before the answer.
    pub(super) reliable: bool,
    /// Both parties' halves of `Session-ID`: the caller's first.
    pub(super) sessions: [Option<SessionId>; 2],
    /// The browser users whose calls it counts among: the caller and the called one, as long as they are in it.
    pub(super) counted: [Option<Account>; 2],
}

impl Facts {
    /// The browser users whose calls it counts among.
    pub(super) fn accounts(&self) -> impl Iterator<Item = &Account> {
        self.counted.iter().flatten()
    }

    /// The browser users of a call that begins.
    pub(super) fn count(source: &Source, target: &Target) -> [Option<Account>; 2] {
        let caller = match source {
            Source::Account(account) => Some(account.clone()),
            Source::Trunk(_) | Source::Phone(_) => None,
        };
        let callee = match target {
            Target::Account(account) => Some(account.clone()),
            Target::Trunk(_) | Target::Phone(_) => None,
        };
        [caller, callee]
    }
}

/// Media sides and transports are being opened; nobody was called yet.
#[derive(Debug)]
pub(super) struct Preparing {
    /// What the caller offers, if it does.
    pub(super) offer: Option<Box<Session>>,
    pub(super) ring: TimerId,
}

/// The other party was called and has not answered.
#[derive(Debug)]
pub(super) struct Ringing {
    /// What the caller offers, until it has an answer.
    pub(super) offer: Option<Box<Session>>,
    /// What we offered, or would have.
    pub(super) dialled: Box<Session>,
    /// We offered nothing: the called party does.
    pub(super) late: bool,
    pub(super) forks: Forks,
    pub(super) ring: TimerId,
    pub(super) first_reply: Option<TimerId>,
}

/// Both parties talk.
#[derive(Debug)]
pub(super) struct Talking {
    /// A refused re-offer is due again then.
    pub(super) retry: Option<TimerId>,
    /// How often it was refused.
    pub(super) retries: u8,
    /// The route allows no more than until then.
    pub(super) longest: Option<TimerId>,
}

/// Where a call stands.
#[derive(Debug)]
pub(super) enum State {
    Preparing(Preparing),
    Ringing(Ringing),
    Talking(Talking),
    Over,
}

/// Which half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The leg that came in.
    In,
    /// The leg that goes out.
    Out,
}

impl End {
    pub(super) fn other(self) -> End {
        match self {
            End::In => End::Out,
            End::Out => End::In,
        }
    }
}

/// Two legs joined.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) facts: Facts,
    pub(super) incoming: Half,
    pub(super) outgoing: Half,
    /// Trunks to be tried where the one that was dialled can't be reached.
    pub(super) rest: VecDeque<TrunkId>,
    /// What it holds of limits.
    pub(super) places: Places,
    /// The caller has heard of progress.
    pub(super) heard: bool,
    /// The media plane was told to let them hear each other.
    pub(super) joined: bool,
    /// The next look at who is still there.
    pub(super) beat: Option<TimerId>,
    /// When its sound was last judged.
    pub(super) judged: Option<Instant>,
    /// Media went one way only.
    pub(super) one_way: bool,
    /// Who shall take the place of one half's party.
    pub(super) third: Option<Box<Third>>,
    /// Whose wish it is that the other party goes elsewhere by itself.
    pub(super) referring: Option<End>,
    /// Where it was sent by redirections.
    pub(super) elsewhere: Elsewhere,
    /// Who has taken the place of the caller and of the called party.
    pub(super) others: [Option<Party>; 2],
    pub(super) state: State,
}

impl Call {
    pub(super) fn half(&mut self, end: End) -> &mut Half {
        match end {
            End::In => &mut self.incoming,
            End::Out => &mut self.outgoing,
        }
    }

    /// This half, and the other one.
    pub(super) fn halves(&mut self, end: End) -> (&mut Half, &mut Half) {
        match end {
            End::In => (&mut self.incoming, &mut self.outgoing),
            End::Out => (&mut self.outgoing, &mut self.incoming),
        }
    }

    /// Which half a leg is.
    pub(super) fn end(&self, leg: LegId) -> Option<End> {
        match leg {
            leg if leg == self.incoming.leg => Some(End::In),
            leg if leg == self.outgoing.leg => Some(End::Out),
            _ => None,
        }
    }

    /// Which half a transport belongs to.
    pub(super) fn end_of_peer(&self, leg: LegId, peer: PeerId) -> Option<End> {
        let end = self.end(leg)?;
        let half = if end == End::In { &self.incoming } else { &self.outgoing };
        (half.peer() == Some(peer)).then_some(end)
    }

    /// Which half waits for its transport on this leg.
    pub(super) fn opening(&mut self, leg: LegId) -> Option<End> {
        let end = self.end(leg)?;
        (self.half(end).transport == Transport::Opening).then_some(end)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// A signalling room says something of one of the legs.
    pub(super) fn on_leg(&mut self, core: &mut Core, now: Now, end: End, event: Event) {
        match event {
            Event::Ended { reason, .. } => self.on_ended(core, now, end, reason),
            Event::Progress { fork, code, answer, .. } if end == End::Out => {
                self.on_progress(core, now, fork, (code, answer));
            }
            Event::Gate { fork, open, .. } if end == End::Out => self.on_gate(core, fork, open),
            Event::OfferedEarly { fork, offer, .. } if end == End::Out => {
                self.on_offered_early(core, fork, offer);
            }
            Event::Refreshed { answer, .. } => self.on_refreshed(core, end, answer),
            Event::Answered { fork, answer, .. } if end == End::Out => {
                self.on_answered(core, now, fork, answer);
            }
            Event::Offered { offer, .. } => self.on_offered(core, end, offer),
            Event::Accepted { answer, .. } => self.on_accepted(core, now, end, answer),
            Event::Withdrawn { .. } => self.on_withdrawn(core, end),
            Event::Refused { reason, .. } => self.on_refused(core, now, end, reason),
            Event::Lost { .. } => self.on_signalling(core, now, end, false),
            Event::Found { .. } => self.on_signalling(core, now, end, true),
            Event::Asked { .. } => self.on_asked(core, end),
            Event::Hold { on, .. } => self.on_hold(core, end, on),
            Event::Named { session, .. } => self.on_named(core, end, session),
            Event::Told { receipt, outcome, .. } => {
                let leg = self.half(end.other()).leg;
                core.leg(crate::leg::Command::Told { leg, receipt, outcome });
            }
            Event::Inform { notice, .. } => self.on_inform(core, end, notice),
            Event::Redirected { code, to, .. } if end == End::Out => self.on_redirected(core, now, code, to),
            Event::Transfer { transfer, .. } => self.on_transfer(core, now, end, transfer),
            Event::Referred { stage, .. } => self.on_referred(core, now, end, stage),
            // An incoming leg neither rings nor answers; a known one does not come in again.
            Event::Progress { .. }
            | Event::Gate { .. }
            | Event::OfferedEarly { .. }
            | Event::Answered { .. }
            | Event::Redirected { .. }
            | Event::Incoming(_) => core.counters.stray += 1,
        }
    }

    /// A party's half of `Session-ID` is known: the other one's messages bear it from now on.
    fn on_named(&mut self, core: &mut Core, end: End, session: SessionId) {
        self.facts.sessions[usize::from(end == End::Out)] = Some(session);
        let other = self.half(end.other());
        if other.is_sip() && other.signalled {
            core.leg(Command::Named { leg: other.leg, session });
        }
    }

    /// Panics where the call contradicts itself.
    pub(super) fn check(&self, core: &Core) {
        assert!(!self.is_over(), "{:?} is over and still there", self.id);
        for half in [&self.incoming, &self.outgoing] {
            assert_eq!(core.legs.get(&half.leg), Some(&self.id), "{:?} is not of its call", half.leg);
            assert!(core.media.contains(&half.leg), "{:?} has no media side", half.leg);
            if let Some(peer) = half.peer() {
                assert_eq!(core.peers.get(&peer), Some(&half.leg), "{peer:?} is not of its leg");
                assert!(half.is_web());
            }
            assert_eq!(half.local.is_some(), half.remote.is_some(), "half an agreement on {:?}", half.leg);
        }
        let awaited = self.third.as_ref().map(|third| third.end);
        assert!(self.incoming.signalled || awaited == Some(End::In), "a call without its incoming leg");
        if let Some(third) = &self.third {
            assert_eq!(core.legs.get(&third.half.leg), Some(&self.id), "a third party is not of its call");
            assert!(core.media.contains(&third.half.leg), "a third party has no media side");
        }
        match &self.state {
            State::Preparing(_) => assert!(!self.outgoing.signalled && !self.joined),
            State::Ringing(_) => assert!(self.outgoing.signalled && self.facts.answered.is_none()),
            State::Talking(_) => {
                let there = self.outgoing.signalled || awaited == Some(End::Out);
                assert!(there && self.facts.answered.is_some());
                for half in [&self.incoming, &self.outgoing] {
                    let late = matches!(half.pending, Pending::Ours(..));
                    assert!(half.local.is_some() || late, "talking without an agreement");
                }
            }
            State::Over => {}
        }
    }
}
