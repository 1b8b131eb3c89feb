//! What all calls of a shard share: whom a leg belongs to, timers, outputs and counts.

use super::half::{Half, Transport};
use super::{Config, Output};
use crate::base::{CallId, LegId, Map, Mint, Now, PeerId, Random, Set, TimerId, Wheel, counters};
use crate::leg::{Account, Command, Reason};
use crate::{media, webrtc};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

counters! {
    /// What the call machine has seen.
    pub struct Counters {
        /// Legs that came in.
        incoming,
        /// Calls that were answered.
        answered,
        /// Calls that are over, refused ones too.
        ended,
        /// Refused: too many calls.
        refused_cap,
        /// Refused: too many calls of one browser user.
        refused_account_cap,
        /// Refused: the core has no time left.
        refused_load,
        /// Refused: draining.
        refused_draining,
        /// Refused, or sent elsewhere: a trunk or route carries as many calls as it may.
        refused_limit,
        /// Refused, or sent elsewhere: as many calls as a trunk or route may begin in a second.
        refused_rate,
        /// Refused: no route.
        refused_route,
        /// Refused: no hops left (Max-Forwards).
        refused_hops,
        /// Refused: no stream or codec that may be accepted.
        refused_offer,
        /// Failed: no port or slot for media was free.
        media_full,
        /// Failed: no WebRTC transport was free.
        web_full,
        /// Failed: nobody answered in time.
        ring_timeouts,
        /// Calls that went on to another trunk because the one before could not be reached.
        rerouted,
        /// Ended: as long as the route allows.
        too_long,
        /// Failed: the SIP server did not reply in time.
        silent_timeouts,
        /// Ended: a WebRTC transport failed.
        media_lost,
        /// Ended: a browser gave no sign of life for its grace.
        browsers_gone,
        /// Ended: a SIP party that should send was silent for too long.
        media_timeouts,
        /// Browsers whose signalling connection was lost in a call.
        signalling_lost,
        /// Browsers that gave no sign of life for a while in a call.
        suspects,
        /// Calls in which one party was heard and the other one, that should be, was not.
        one_way,
        /// Calls that a browser took over with another peer connection (a page reloaded).
        takeovers,
        /// Ended at the drain's deadline.
        drained,
        /// Re-offers of our own, because the far side chose another codec than is sent.
        settled,
        /// Changes passed on to the other leg.
        relayed,
        /// Changes refused because another was under way.
        glare,
        /// Changes refused because nothing in them may be accepted.
        changes_refused,
        /// Keys, bodies and control passed on to the other party.
        informed,
        /// The same, where the other party could not be told.
        informs_dropped,
        /// Redirections followed.
        redirects_followed,
        /// Redirections passed on to the caller.
        redirects_passed,
        /// Redirections refused: by policy, or since they went in circles or too far.
        redirects_refused,
        /// Third parties called, as a party asked for.
        transfers,
        /// Transfers passed on to the other party.
        transfers_passed,
        /// Transfers refused, by policy or since another was under way.
        transfers_refused,
        /// Transfers that failed: the call went on as it was.
        transfers_failed,
        /// Parties whose place another one took.
        transferred,
        /// Calls that came to take the place of a party (INVITE with Replaces).
        replaced,
        /// Answers that accept nothing of what was offered.
        bad_answers,
        /// Candidates beyond those that are read of a description.
        candidates_ignored,
        /// Early answers beyond those that are kept for each call.
        forks_forgotten,
        /// Events of legs, peers or forks that are not known (any more).
        stray,
    }
}

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// Nobody answered.
    Ring,
    /// The SIP server said nothing.
    FirstReply,
    /// A refused re-offer is due again.
    Retry,
    /// The third party of a transfer did not answer.
    Transfer,
    /// Who is still there?
    Pulse,
    /// The call was as long as its route allows.
    Longest,
}

/// What all calls share.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) config: Arc<Config>,
    pub(super) random: Random,
    pub(super) mint: Mint,
    pub(super) outbox: VecDeque<Output>,
    pub(super) legs: Map<LegId, CallId>,
    /// Calls of each browser user.
    pub(super) accounts: Map<Account, u32>,
    /// Transports that stand open.
    pub(super) peers: Map<PeerId, LegId>,
    /// Legs whose media side was asked for and not closed.
    pub(super) media: Set<LegId>,
    /// Legs whose party hears music.
    pub(super) playing: Set<LegId>,
    pub(super) wheel: Wheel<(CallId, Timer)>,
    pub(super) counters: Counters,
}

impl Core {
    pub(super) fn leg(&mut self, command: Command) {
        self.outbox.push_back(Output::Leg(command));
    }

    pub(super) fn web(&mut self, command: webrtc::Command) {
        self.outbox.push_back(Output::Web(command));
    }

    pub(super) fn media(&mut self, command: media::Command) {
        self.outbox.push_back(Output::Media(command));
    }

    pub(super) fn refuse(&mut self, leg: LegId, reason: Reason) {
        self.leg(Command::Refuse { leg, reason });
    }

    pub(super) fn arm(&mut self, now: Now, after: Duration, call: CallId, timer: Timer) -> TimerId {
        self.wheel.insert(now.instant + after, (call, timer))
    }

    /// Asks for a half's media side, and for its transport where it is a browser's.
    pub(super) fn open(&mut self, half: &mut Half, remote: Option<webrtc::Remote>) {
        self.media.insert(half.leg);
        self.media(media::Command::Open { leg: half.leg, kind: half.kind });
        if half.kind == media::Kind::Web {
            half.transport = Transport::Opening;
            half.described.clone_from(&remote);
            self.web(webrtc::Command::Open { leg: half.leg, remote: remote.map(Box::new) });
        }
    }

    /// Tells the media plane what a half's descriptions agreed on.
    pub(super) fn agree(&mut self, half: &Half) {
        if let Some(agreed) = half.agreed() {
            self.media(media::Command::Agree { leg: half.leg, agreed: Box::new(agreed) });
            self.play(half);
        }
    }

    /// Lets a party hear music as long as it is held, knows of it, and listens.
    fn play(&mut self, half: &Half) {
        let listens = half.our_direction().sends() && half.party_direction().receives();
        let on = self.config.hold_music && !half.is_web() && half.held && half.told && listens;
        let changed = if on { self.playing.insert(half.leg) } else { self.playing.remove(&half.leg) };
        if changed {
            self.media(media::Command::Play { leg: half.leg, on });
        }
    }

    /// Tells the transports what a browser's newest description says, where that is new.
    pub(super) fn describe(&mut self, half: &mut Half, remote: webrtc::Remote) {
        if half.described.as_ref() == Some(&remote) {
            return;
        }
        if let Some(peer) = half.peer() {
            self.web(webrtc::Command::Describe { peer, remote: Box::new(remote.clone()) });
        }
        half.described = Some(remote);
    }

    /// Gives back what a half has open.
    pub(super) fn close(&mut self, half: &mut Half) {
        self.legs.remove(&half.leg);
        self.playing.remove(&half.leg);
        if self.media.remove(&half.leg) {
            self.media(media::Command::Close { leg: half.leg });
        }
        if let Some(peer) = half.peer() {
            self.peers.remove(&peer);
            self.web(webrtc::Command::Close { peer });
        }
        // A transport that is still opening is closed when it says that it stands.
        half.transport = Transport::None;
    }

    pub(super) fn count_account(&mut self, account: &Account) {
        *self.accounts.entry(account.clone()).or_default() += 1;
    }

    pub(super) fn uncount_account(&mut self, account: &Account) {
        if let Some(count) = self.accounts.get_mut(account) {
            *count -= 1;
            if *count == 0 {
                self.accounts.remove(account);
            }
        }
    }
}
