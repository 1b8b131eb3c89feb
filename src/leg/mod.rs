//! The words in which the signalling rooms (`sip`, `signal`) and the call machine speak.
//!
//! A signalling room turns its protocol into [`Event`]s and carries out [`Command`]s. Both name a leg by its `LegId`;
//! `LegId::side` says which room speaks for it. Offers and answers are `sdp::Session` values, never text.
//!
//! **Who forgets when.** A leg ends exactly once, and the first to say so wins: after [`Event::Ended`] the signalling
//! room knows the leg no more, after [`Command::End`] the call machine knows it no more (the room still finishes its
//! protocol: CANCEL, BYE, a challenged BYE). An event or command for a leg that its reader has forgotten is ignored.

mod attach;
mod carried;
mod errand;
mod identity;
mod notice;
mod quality;
mod reason;
mod session_id;
mod transfer;

pub use crate::base::{LegId, ShardId, Side};
use crate::sdp::Session;
pub use attach::{Attach, Data};
pub use carried::{Carried, MOST_PART_BYTES, MOST_PARTS, Part, Past, Privacy, Told};
pub use errand::{News, Package, Page, Watch};
pub use identity::{Identity, Secret};
pub use notice::{Control, Digit, MOST_BODY, Notice, is_binary, passes};
pub use quality::{Level, Quality, Sound};
pub use reason::{Cause, Reason};
pub use session_id::{NoSessionId, SessionId};
use std::sync::Arc;
pub use transfer::{Dialog, Referral, Replaces, Stage, Transfer};

/// A browser user's SIP identity: the name it signs in with. Unique in the gateway.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Account(pub Arc<str>);

impl Account {
    /// The name.
    pub fn name(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Account {
    fn from(name: &str) -> Self {
        Account(name.into())
    }
}

/// A SIP server or carrier: its place in the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct TrunkId(pub u16);

/// A party as the other one sees it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Party {
    /// User part or number, unescaped; empty where anonymous.
    pub user: String,
    /// Host part; empty where there is none (a bare name or number).
    pub host: String,
    /// Display name; empty where there is none.
    pub display: String,
}

/// A SIP phone that is registered through us. Only the SIP room knows more of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Phone {
    /// Its registration, as the SIP room numbers it. It may be gone when it is called.
    pub id: u64,
    /// The SIP server at which it is registered.
    pub trunk: TrunkId,
    /// It speaks from a browser (SIP over WebSocket): its media is WebRTC unless its offer says otherwise.
    pub web: bool,
}

/// Where a leg came from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A SIP server or carrier of the configuration.
    Trunk(TrunkId),
    /// A signed-in browser user.
    Account(Account),
    /// A SIP phone that is registered through us.
    Phone(Phone),
}

/// Whom a leg asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Callee {
    /// A browser user of this gateway (an inbound INVITE to a contact that we registered).
    Account(Account),
    /// A SIP phone of this gateway (an inbound INVITE to the contact under which it is registered).
    Phone {
        /// Which.
        phone: Phone,
        /// Its address of record.
        party: Party,
    },
    /// A user name or number, to be routed; `host` is set only where the caller wrote one.
    Dialled(Party),
}

/// Which answer of a forked call: the SIP room numbers early dialogs from 0 in order of appearance.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Fork(pub u16);

/// A leg that came in.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Its id, minted by the signalling room.
    pub leg: LegId,
    /// Who brought it.
    pub source: Source,
    /// A browser user's SIP identity, where the configuration has none: where its calls go, and as whom.
    pub identity: Option<Arc<Identity>>,
    /// Who calls.
    pub caller: Party,
    /// Who is called.
    pub callee: Callee,
    /// What the caller offers. `None`: a delayed offer (SIP only); our offer goes into the 200, their answer comes
    /// as [`Event::Accepted`].
    pub offer: Option<Box<Session>>,
    /// Max-Forwards left, to be carried across (RFC 3261 section 8.1.1.6). 70 for a browser's call.
    pub hops: u8,
    /// Call-ID, or the browser's own id of the call: for logs and records.
    pub key: String,
    /// Headers that were attached, of those that may be.
    pub data: Data,
    /// What else comes with it.
    pub carried: Box<Carried>,
    /// What is said of it before the answer is acknowledged: with a delayed offer, ours may go out then, and its answer
    /// comes as [`Event::Accepted`] (SIP only).
    pub reliable: bool,
    /// The leg of ours whose place it takes (SIP only).
    pub replaces: Option<LegId>,
}

/// A leg that goes out.
#[derive(Clone, Debug)]
pub struct Dial {
    /// Its id, minted by the call machine.
    pub leg: LegId,
    /// Where to.
    pub target: Target,
    /// Whom the called party sees.
    pub caller: Party,
    /// Whom the leg asks for, as dialled.
    pub callee: Party,
    /// The browser user on whose behalf it is dialled: whose credentials answer a challenge (SIP only).
    pub account: Option<Account>,
    /// That user's SIP identity, where the configuration has none.
    pub identity: Option<Arc<Identity>>,
    /// Our offer: to SIP, in the INVITE; to a browser, with the call that rings.
    pub offer: Box<Session>,
    /// To SIP: the INVITE has no offer after all. Theirs comes in place of an answer, in [`Event::Progress`] to be met by
    /// [`Command::AcceptEarly`], or in [`Event::Answered`] to be met by [`Command::Accept`].
    pub late: bool,
    /// Max-Forwards to send.
    pub hops: u8,
    /// Headers that were attached by whoever calls.
    pub data: Data,
    /// What else goes with it.
    pub carried: Box<Carried>,
    /// The leg that it is dialled for and will be joined to: credentials that a SIP phone sends are passed on to the
    /// server that asked for them.
    pub with: Option<LegId>,
    /// The transfer that it is dialled for.
    pub referral: Option<Box<Referral>>,
}

/// Where an outgoing leg goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    /// Out to a SIP server, as `sip:user@trunk`.
    Trunk(TrunkId),
    /// To all sessions of a browser user; the first answer wins.
    Account(Account),
    /// Down the flow by which a SIP phone is registered.
    Phone(Phone),
}

/// From a signalling room to the call machine.
#[derive(Clone, Debug)]
pub enum Event {
    /// A new leg asks to be connected.
    Incoming(Box<Incoming>),
    /// A leg that we dialled makes progress: a 1xx (`code`), or a browser rings (180).
    Progress {
        /// The leg.
        leg: LegId,
        /// Which early dialog.
        fork: Fork,
        /// 100 to 199.
        code: u16,
        /// Early media: the answer so far.
        answer: Option<Box<Session>>,
    },
    /// What the called side says of a fork's early media (RFC 5009): whether it may be heard. It comes before the progress
    /// that it is about.
    Gate {
        /// The leg.
        leg: LegId,
        /// Which early dialog.
        fork: Fork,
        /// It may be heard.
        open: bool,
    },
    /// An early dialog of a leg that we dialled wants to change (UPDATE). To be met by [`Command::AcceptEarly`].
    OfferedEarly {
        /// The leg.
        leg: LegId,
        /// Which early dialog.
        fork: Fork,
        /// What it offers.
        offer: Box<Session>,
    },
    /// A leg that we dialled answered.
    Answered {
        /// The leg.
        leg: LegId,
        /// Which early dialog became the call.
        fork: Fork,
        /// The answer, unless an earlier reliable one stands.
        answer: Option<Box<Session>>,
    },
    /// The far side of an established leg wants to change it (re-INVITE, UPDATE, a browser's `update`). To be met
    /// by [`Command::Accept`] or [`Command::Refuse`].
    Offered {
        /// The leg.
        leg: LegId,
        /// What it offers. `None`: a re-INVITE without SDP; we accept with our own offer.
        offer: Option<Box<Session>>,
    },
    /// Our offer ([`Command::Offer`], or a late one in a 200) was answered.
    Accepted {
        /// The leg.
        leg: LegId,
        /// The answer.
        answer: Box<Session>,
    },
    /// The session was refreshed: our description stands unchanged, and this is theirs, which mostly does, too.
    Refreshed {
        /// The leg.
        leg: LegId,
        /// Their description.
        answer: Box<Session>,
    },
    /// The far side took its offer back (CANCEL of a re-INVITE) and was answered: no [`Command::Accept`] or
    /// [`Command::Refuse`] is waited for any more.
    Withdrawn {
        /// The leg.
        leg: LegId,
    },
    /// Our [`Command::Offer`] was refused; the leg goes on as it was.
    Refused {
        /// The leg.
        leg: LegId,
        /// Why.
        reason: Reason,
    },
    /// A browser's signalling connection is gone; the leg goes on as long as the call machine lets it.
    Lost {
        /// The leg.
        leg: LegId,
    },
    /// The browser is back.
    Found {
        /// The leg.
        leg: LegId,
    },
    /// A browser asks how its media goes. To be met by [`Command::Quality`].
    Asked {
        /// The leg.
        leg: LegId,
    },
    /// A browser holds the other party, or resumes. To be met by [`Command::Hold`].
    Hold {
        /// The leg.
        leg: LegId,
        /// Holds.
        on: bool,
    },
    /// The party's half of the call's `Session-ID` became known (SIP only).
    Named {
        /// The leg.
        leg: LegId,
        /// The half.
        session: SessionId,
    },
    /// The party took, or refused, a body with a receipt ([`Command::Inform`]).
    Told {
        /// The leg.
        leg: LegId,
        /// Which.
        receipt: u64,
        /// What became of it.
        outcome: Result<(), Reason>,
    },
    /// The party tells something. Only a body with a receipt is answered, by [`Command::Told`].
    Inform {
        /// The leg.
        leg: LegId,
        /// What.
        notice: Box<Notice>,
    },
    /// A leg that we dialled says whom to call instead (a 3xx), and is over.
    Redirected {
        /// The leg.
        leg: LegId,
        /// 300 to 302.
        code: u16,
        /// Whom, best first; `host` is empty where it is the SIP server's own.
        to: Vec<Party>,
    },
    /// The party wants the other one connected elsewhere. To be met by [`Command::Transfer`].
    Transfer {
        /// The leg.
        leg: LegId,
        /// Where.
        transfer: Box<Transfer>,
    },
    /// How far the party is with [`Command::Refer`].
    Referred {
        /// The leg.
        leg: LegId,
        /// How far; `Trying` any number of times, then one of the others.
        stage: Stage,
    },
    /// The leg is over: hung up, cancelled, failed, or refused by the far side.
    Ended {
        /// The leg.
        leg: LegId,
        /// Why.
        reason: Reason,
    },
}

impl Event {
    /// The leg that it is about.
    pub fn leg(&self) -> LegId {
        match self {
            Event::Incoming(incoming) => incoming.leg,
            Event::Progress { leg, .. }
            | Event::Gate { leg, .. }
            | Event::OfferedEarly { leg, .. }
            | Event::Refreshed { leg, .. }
            | Event::Answered { leg, .. }
            | Event::Offered { leg, .. }
            | Event::Accepted { leg, .. }
            | Event::Withdrawn { leg }
            | Event::Refused { leg, .. }
            | Event::Lost { leg }
            | Event::Found { leg }
            | Event::Asked { leg }
            | Event::Hold { leg, .. }
            | Event::Named { leg, .. }
            | Event::Told { leg, .. }
            | Event::Inform { leg, .. }
            | Event::Redirected { leg, .. }
            | Event::Transfer { leg, .. }
            | Event::Referred { leg, .. }
            | Event::Ended { leg, .. } => *leg,
        }
    }
}

/// From the call machine to a signalling room.
#[derive(Clone, Debug)]
pub enum Command {
    /// Begin a leg.
    Dial(Box<Dial>),
    /// Tell an incoming leg of progress. To SIP a 1xx with the early answer; to a browser `ringing`, or (`code` 0)
    /// only the answer to its offer, so that ICE and DTLS come up meanwhile.
    Progress {
        /// The leg.
        leg: LegId,
        /// 180 to 199, or 0.
        code: u16,
        /// The answer, where media may flow already.
        answer: Option<Box<Session>>,
    },
    /// Whether the called side lets its early media be heard, for an incoming leg's next [`Command::Progress`].
    Gate {
        /// The leg.
        leg: LegId,
        /// It may be heard.
        open: bool,
    },
    /// Answers what an early dialog of a leg that we dialled offers.
    AcceptEarly {
        /// The leg.
        leg: LegId,
        /// Which early dialog.
        fork: Fork,
        /// The answer; `None` refuses.
        answer: Option<Box<Session>>,
    },
    /// Answer an incoming leg.
    Answer {
        /// The leg.
        leg: LegId,
        /// The answer (or our offer, where theirs was delayed); `None` where the answer went out before.
        session: Option<Box<Session>>,
    },
    /// Offer a change on an established leg (re-INVITE; a browser's `update`).
    Offer {
        /// The leg.
        leg: LegId,
        /// The offer.
        offer: Box<Session>,
    },
    /// Accept what the far side offered.
    Accept {
        /// The leg.
        leg: LegId,
        /// The answer.
        answer: Box<Session>,
    },
    /// Refuse what the far side offered (488, 491, 500); the leg goes on as it was.
    Refuse {
        /// The leg.
        leg: LegId,
        /// Why.
        reason: Reason,
    },
    /// How a browser's media goes (never to SIP).
    Quality {
        /// The leg.
        leg: LegId,
        /// The numbers so far.
        quality: Box<Quality>,
        /// How the call sounds, where that changed.
        sound: Option<Sound>,
    },
    /// Meets [`Event::Hold`]: the other party knows, or has refused.
    Hold {
        /// The leg.
        leg: LegId,
        /// What was asked for.
        on: bool,
        /// Whether it is so now.
        outcome: Result<(), Reason>,
    },
    /// The other party's half of the call's `Session-ID` (SIP only).
    Named {
        /// The leg.
        leg: LegId,
        /// The half.
        session: SessionId,
    },
    /// What became of a body with a receipt ([`Event::Inform`]).
    Told {
        /// The leg.
        leg: LegId,
        /// Which.
        receipt: u64,
        /// Whether the other party took it.
        outcome: Result<(), Reason>,
    },
    /// Tell the party something. What it can't be told is left out.
    Inform {
        /// The leg.
        leg: LegId,
        /// What.
        notice: Box<Notice>,
    },
    /// End an incoming leg that was not answered: it shall call somebody else instead (SIP only).
    Redirect {
        /// The leg.
        leg: LegId,
        /// 300 to 302.
        code: u16,
        /// Whom, best first.
        to: Vec<Party>,
    },
    /// How far a transfer is that the party asked for ([`Event::Transfer`]).
    Transfer {
        /// The leg.
        leg: LegId,
        /// How far; `Trying` any number of times, then one of the others.
        stage: Stage,
    },
    /// Ask the party to go elsewhere (SIP only). Met by [`Event::Referred`].
    Refer {
        /// The leg.
        leg: LegId,
        /// Where.
        transfer: Box<Transfer>,
    },
    /// End the leg in whatever way its state asks for: reject, cancel or hang up.
    End {
        /// The leg.
        leg: LegId,
        /// Why.
        reason: Reason,
    },
}

impl Command {
    /// The leg that it is about.
    pub fn leg(&self) -> LegId {
        match self {
            Command::Dial(dial) => dial.leg,
            Command::Progress { leg, .. }
            | Command::Gate { leg, .. }
            | Command::AcceptEarly { leg, .. }
            | Command::Answer { leg, .. }
            | Command::Offer { leg, .. }
            | Command::Accept { leg, .. }
            | Command::Refuse { leg, .. }
            | Command::Quality { leg, .. }
            | Command::Hold { leg, .. }
            | Command::Named { leg, .. }
            | Command::Told { leg, .. }
            | Command::Inform { leg, .. }
            | Command::Redirect { leg, .. }
            | Command::Transfer { leg, .. }
            | Command::Refer { leg, .. }
            | Command::End { leg, .. } => *leg,
        }
    }
}

impl Account {
    /// The shard on which all sessions, the registration and the calls of this user live.
    ///
    /// FNV-1a, so that it is the same in every process and at every start.
    pub fn home(&self, shards: u8) -> ShardId {
        home_of(self.0.as_bytes(), shards)
    }
}

/// The shard, of `shards`, that a key names: an account, else a Call-ID. 0 where `shards` is 0.
pub fn home_of(key: &[u8], shards: u8) -> ShardId {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    // FNV spreads badly into its high bits, which choose the shard: mix once more (Fibonacci hashing).
    let mixed = (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ShardId(((u128::from(mixed) * u128::from(shards)) >> 64) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_spread_over_the_shards() {
        let mut count = [0; 4];
        for n in 0..4000 {
            count[usize::from(Account::from(format!("user{n}").as_str()).home(4).0)] += 1;
        }
        assert!(count.iter().all(|&n| n > 800), "{count:?}");
        assert_eq!(home_of(b"x", 1), ShardId(0));
    }
}
