//! What happens in an answered call beside changes of descriptions: hold by a browser, hold by a SIP party, keys,
//! bodies and third-party control.
//!
//! A browser's hold is a wish about the SIP party on the other half. It is kept there, and told by a re-INVITE as soon as
//! nothing else is under way: [`Half::held`] is the wish, [`Half::told`] what the party knows. No media crosses while
//! either says so.

use super::core::Core;
use super::half::{Half, Pending, Why};
use super::state::{Call, End, State};
use crate::leg::{Cause, Command, Digit, Notice, Reason};
use crate::media;
use crate::sdp::{Direction, Payload};
use std::time::Duration;

impl Half {
    /// Which way media shall go, in an answer to this SIP party whose other half is a browser.
    pub(super) fn want(&self) -> Direction {
        Direction::new(self.far.sends(), self.far.receives() && !self.held)
    }

    /// The same in an offer of ours (RFC 3264 section 8.4).
    pub(super) fn wish(&self) -> Direction {
        if self.held && self.holds { Direction::Inactive } else { self.want() }
    }

    /// Whether the party may be sent keys as media now.
    fn hears_keys(&self) -> bool {
        self.formats.iter().any(|shared| shared.codec.is_telephone_event())
            && self.agreed().is_some_and(|agreed| agreed.send)
    }

    /// What stands agreed, in the numbers that it has.
    pub(super) fn standing(&self) -> Vec<Payload> {
        let usable = self.usable();
        let find = |codec| usable.iter().find(|payload| payload.codec == codec).cloned();
        self.all_codecs().into_iter().filter_map(find).collect()
    }
}

impl Call {
    /// A browser holds the other party, or resumes.
    pub(super) fn on_hold(&mut self, core: &mut Core, end: End, on: bool) {
        let talking = matches!(self.state, State::Talking(_));
        let (half, other) = self.halves(end);
        if !talking || !half.is_browser() {
            let outcome = Err(Cause::Rejected.into());
            core.leg(Command::Hold { leg: half.leg, on, outcome });
            return;
        }
        half.asking = Some(on);
        other.held = on;
        if other.is_browser() {
            // Nobody to be told: media alone is stopped.
            other.told = on;
        }
        core.agree(other);
        self.settle_codecs(core);
    }

    /// Tells browsers what has become true: their own hold, and that of the other party.
    pub(super) fn tell_holds(&mut self, core: &mut Core) {
        for end in [End::In, End::Out] {
            let (half, other) = self.halves(end);
            if !half.is_browser() {
                continue;
            }
            let so = |on: &mut bool| other.pending == Pending::None && *on == other.told && *on == other.held;
            if let Some(on) = half.asking.take_if(so) {
                core.leg(Command::Hold { leg: half.leg, on, outcome: Ok(()) });
            }
            if other.holds != other.shown {
                other.shown = other.holds;
                let notice = Box::new(Notice::Held(other.holds));
                core.leg(Command::Inform { leg: half.leg, notice });
            }
        }
    }

    /// Offers a party what it doesn't know of the browser's hold and direction. True where an offer went out.
    pub(super) fn offer_hold(&mut self, core: &mut Core) -> bool {
        for end in [End::In, End::Out] {
            let half = self.half(end);
            let known = half.held == half.told && half.far == half.far_told;
            let payloads = if known { Vec::new() } else { half.standing() };
            if !payloads.is_empty() {
                let direction = half.wish();
                super::change::send_offer(core, half, payloads, direction, Why::Settle);
                return true;
            }
        }
        false
    }

    /// The party refused for good to know of a hold, which is as it was, or of a direction, which it is not told again.
    pub(super) fn undo_hold(&mut self, core: &mut Core, end: End, reason: Reason) {
        let (half, other) = self.halves(end);
        half.far_told = half.far;
        if half.held == half.told {
            return;
        }
        half.held = half.told;
        core.agree(half);
        if let Some(on) = other.asking.take() {
            core.leg(Command::Hold { leg: other.leg, on, outcome: Err(reason) });
        }
    }

    /// A party tells something.
    pub(super) fn on_inform(&mut self, core: &mut Core, end: End, notice: Box<Notice>) {
        let talking = matches!(self.state, State::Talking(_));
        let (half, other) = self.halves(end);
        // What is told before the answer is for the one that rings, and no key: those go as media.
        let early = matches!(*notice, Notice::Control(_) | Notice::Body { .. } | Notice::Page { .. });
        let may = match *notice {
            Notice::Control(_) => half.is_sip() && other.is_browser(),
            Notice::Held(_) | Notice::Party(_) => false,
            Notice::Digit(_) | Notice::Body { .. } | Notice::Page { .. } => true,
        };
        if !may || !other.signalled || !(talking || early) {
            core.counters.informs_dropped += 1;
            if let Some(receipt) = notice.receipt() {
                let outcome = Err(Cause::Rejected.into());
                core.leg(Command::Told { leg: half.leg, receipt, outcome });
            }
            return;
        }
        core.counters.informed += 1;
        let mut notice = notice;
        if let Some(receipt) = notice.receipt()
            && other.is_browser()
        {
            // A browser refuses nothing.
            core.leg(Command::Told { leg: half.leg, receipt, outcome: Ok(()) });
        }
        if let Notice::Digit(digit) = &mut *notice
            && !digit.sounds
            && !digit.spelled
            && other.hears_keys()
        {
            digit.sounds = true;
            let (digit, duration) = (digit.digit, digit.duration);
            core.media(media::Command::Press { leg: other.leg, digit, duration });
            if !other.is_browser() {
                return;
            }
        }
        core.leg(Command::Inform { leg: other.leg, notice });
    }

    /// A party pressed a key, in media. A browser is told for its page to know; a SIP party that is not sent the key as
    /// media gets it as INFO.
    pub(super) fn on_digit(
        &mut self,
        core: &mut Core,
        end: End,
        (digit, duration): (char, Duration),
        forwarded: bool,
    ) {
        let web = self.half(end.other()).is_browser();
        if matches!(self.state, State::Talking(_)) && (web || !forwarded) {
            let digit = Digit { digit, duration, sounds: forwarded, spelled: false };
            self.on_inform(core, end, Box::new(Notice::Digit(digit)));
        }
    }
}
