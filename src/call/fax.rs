//! Fax by T.38 between two SIP parties (ITU-T T.38 annex D, RFC 3362): a change from sound to `m=image` is passed on with
//! what it says of itself, and its UDPTL goes through the gateway as it comes. A browser has no fax.

use super::core::Core;
use super::half::{Half, Pending, Why};
use super::setup::common_stream;
use super::state::{Call, End, State};
use crate::leg::{Cause, Command};
use crate::sdp::{Direction, Kind as Carries, Media, Protocol, Session};

/// Attributes of T.38 that are passed on, at most.
const MOST_ATTRIBUTES: usize = 16;

/// The fax stream of a description without sound.
pub(super) fn stream(session: &Session) -> Option<usize> {
    let live = |media: &&Media| !media.rejected();
    let sound = session.media.iter().filter(live).any(|media| media.kind == Carries::Audio);
    let place = session.media.iter().position(is_fax)?;
    (!sound).then_some(place)
}

fn is_fax(media: &Media) -> bool {
    media.kind == Carries::Image && media.protocol == Protocol::Udptl && !media.rejected()
}

impl Half {
    /// Our description of a fax stream that the other party describes so.
    fn fax(&self, theirs: &Media) -> Media {
        let known = |attribute: &&crate::sdp::Attribute| attribute.name.starts_with("T38");
        Media {
            kind: Carries::Image,
            protocol: Protocol::Udptl,
            ports: 1,
            port: self.opened.as_ref().and_then(|opened| opened.address).map_or(9, |address| address.port()),
            formats: theirs.formats.iter().take(1).cloned().collect(),
            other: theirs.other.iter().filter(known).take(MOST_ATTRIBUTES).cloned().collect(),
            ..Media::default()
        }
    }

    /// Our offer of it, in the place where there was sound.
    fn offer_fax(&mut self, theirs: &Media) -> Box<Session> {
        let mut offer = self.offer(Vec::new(), Direction::SendRecv);
        let fax = self.fax(theirs);
        if let Some(place) = offer.media.get_mut(self.stream) {
            *place = fax;
        }
        self.send(offer)
    }

    /// Our answer to it.
    fn answer_fax(&mut self, offer: &Session, place: usize, theirs: &Media) -> Box<Session> {
        let mut answer = self.answer(offer, place, &[], Direction::SendRecv);
        let fax = self.fax(theirs);
        if let Some(media) = answer.media.get_mut(place) {
            *media = fax;
        }
        self.send(answer)
    }

    /// Makes two descriptions of a fax stream stand. `false`, and nothing changes, where it was refused.
    fn settle_fax(&mut self, local: Box<Session>, remote: Box<Session>, place: usize) -> bool {
        if !remote.media.get(place).is_some_and(is_fax) {
            return false;
        }
        self.formats.clear();
        (self.fax, self.stream) = (true, place);
        (self.local, self.remote) = (Some(local), Some(remote));
        true
    }
}

impl Call {
    /// A party wants to fax: the other one is asked.
    pub(super) fn relay_fax(&mut self, core: &mut Core, end: End, offer: Box<Session>, place: usize) {
        let talking = matches!(self.state, State::Talking(_));
        let (half, other) = self.halves(end);
        let able = talking && half.is_sip() && other.is_sip() && other.local.is_some();
        let Some(theirs) = offer.media.get(place).filter(|_| able && !half.is_web() && !other.is_web())
        else {
            return self.refuse_change(core, end);
        };
        if other.pending != Pending::None {
            return self.refuse_glare(core, end);
        }
        let ours = other.offer_fax(theirs);
        half.pending = Pending::Theirs(offer);
        other.pending = Pending::Ours(ours.clone(), Why::Fax);
        core.counters.relayed += 1;
        core.leg(Command::Offer { leg: other.leg, offer: ours });
    }

    /// The other party's word on it: the one that asked is answered with that.
    pub(super) fn on_fax_accepted(
        &mut self,
        core: &mut Core,
        end: End,
        offer: Box<Session>,
        answer: Box<Session>,
    ) {
        let half = self.half(end);
        let place = half.stream;
        let theirs = answer.media.get(place).cloned();
        if !half.settle_fax(offer, answer, place) {
            core.counters.bad_answers += 1;
            self.refuse_relayed(core, end.other(), Cause::NotAcceptable.into());
            return self.speak_again(core, end);
        }
        core.agree(half);
        let half = self.half(end.other());
        let Pending::Theirs(offer) = std::mem::replace(&mut half.pending, Pending::None) else {
            // It was taken back meanwhile.
            return self.speak_again(core, end);
        };
        let (Some(place), Some(theirs)) = (stream(&offer), theirs) else { return };
        let answer = half.answer_fax(&offer, place, &theirs);
        if half.settle_fax(answer.clone(), offer, place) {
            core.agree(half);
            core.leg(Command::Accept { leg: half.leg, answer });
        }
    }

    /// A party that has no sound any more, and no fax either, is offered what the other one speaks.
    fn speak_again(&mut self, core: &mut Core, end: End) {
        let (half, other) = self.halves(end);
        let payloads = common_stream(half, other);
        if half.pending == Pending::None && !payloads.is_empty() {
            super::change::send_offer(core, half, payloads, Direction::SendRecv, Why::Settle);
        }
    }
}
