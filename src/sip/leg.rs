//! A leg: one INVITE and the dialogs that it makes, each by a struct for its state.

use super::config::Credentials;
use super::dialog::Dialog;
use super::digest;
use super::inform::Words;
use super::phones::Line;
use super::refer::Refer;
use super::reliable::Reliable;
use super::session_id::Names;
use super::session_timer::{Asked, Clock};
use super::transaction::{ClientId, ServerId, keys};
use super::{Flow, Hop};
use crate::base::{Key, LegId, ShardId, TimerId};
use crate::leg::{Data, Referral, TrunkId};
use sip_codec::{Message, Name};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

keys! {
    /// A leg in this room: it outlives the call machine's knowledge of it until every transaction has ended.
    LegKey;
}

/// Why a client transaction of a leg runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// The INVITE that begins it.
    Invite,
    /// Such an INVITE whose server was silent: another got it since.
    Abandoned,
    /// Our offer on an established leg, or a refresh of its session.
    Reinvite,
    /// The same by UPDATE.
    Update,
    /// PRACK in one of its dialogs.
    Prack(u16),
    /// The end of one of its dialogs.
    Bye(u16),
    /// INFO.
    Inform,
    /// REFER.
    Refer,
    /// What came of theirs; the last of it.
    Notify(bool),
    /// CANCEL: whatever comes back changes nothing.
    Aside,
}

/// What a leg waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tick {
    /// The first response to our INVITE; a challenged phone's coming back.
    Deadline,
    /// The answer to our INVITE, or to our re-INVITE.
    Ring,
    /// The next retransmission of our 2xx, or of a reliable provisional response.
    Resend,
    /// The ACK of our 2xx, or the PRACK, at all.
    Ack,
    /// The refresh of the session, or its end where nobody refreshes it (RFC 4028).
    Session,
    /// The end of a back-off after 491.
    Glare,
    /// The minute after which a provisional response is repeated, lest proxies give up (RFC 3261 section 13.3.1.1).
    Minute,
    /// The end of a transfer that we asked for.
    Refer,
}

/// How many kinds of [`Tick`] there are.
pub(super) const TICKS: usize = 8;

/// One party, as SIP sees it.
#[derive(Debug)]
pub(super) struct Leg {
    pub id: LegId,
    /// The call machine knows it: neither `Ended` nor `End` was said.
    pub known: bool,
    /// We sent its INVITE.
    pub outbound: bool,
    pub trunk: TrunkId,
    pub credentials: Option<Arc<Credentials>>,
    pub keys: digest::Keys,
    /// Where our requests go when neither route nor target names an address.
    pub flow: Flow,
    pub call_id: String,
    /// Our From (or To) value, tag included.
    pub local: String,
    pub local_tag: Box<str>,
    /// Both halves of its `Session-ID`.
    pub names: Names,
    /// The `Reason` that its end tells the far side.
    pub why: Option<String>,
    /// Our Contact value.
    pub contact: String,
    /// By `leg::Fork`. An incoming leg has one.
    pub dialogs: Vec<Dialog>,
    /// Which of them became the call.
    pub main: usize,
    pub state: State,
    /// What happens to the session, once a first offer is answered.
    pub change: Change,
    /// What the far side has said that it can do.
    pub able: Able,
    /// The session timer.
    pub clock: Clock,
    /// What is told by INFO.
    pub words: Words,
    /// Transfers.
    pub refer: Refer,
    /// Client transactions that run.
    pub open: u32,
    pub timers: [Option<TimerId>; TICKS],
    /// What it has to do with phones.
    pub line: Option<Box<Line>>,
}

/// What the far side can do, as its last message that says so says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Able {
    /// UPDATE stands in its Allow (RFC 3311 section 4).
    pub update: bool,
    /// It knows session timers.
    pub timer: bool,
    /// It knows reliable provisional responses.
    pub reliable: bool,
}

impl Able {
    pub fn learn(&mut self, message: &Message<'_>) {
        if message.header(Name::Allow).is_some() {
            self.update = message.has_token(Name::Allow, "UPDATE");
        }
        let knows =
            |option| message.has_token(Name::Supported, option) || message.has_token(Name::Require, option);
        if message.header(Name::Supported).is_some() || message.header(Name::Require).is_some() {
            self.timer = knows("timer") || self.timer;
            self.reliable = knows("100rel") || self.reliable;
        }
    }
}

/// The states of a leg.
#[derive(Debug)]
pub(super) enum State {
    /// Our INVITE is out.
    Calling(Calling),
    /// Their INVITE waits for our final response.
    Ringing(Ringing),
    /// Answered.
    Up(Up),
    /// Ended; what still comes is cleaned up.
    Over,
}

/// The servers of an INVITE.
#[derive(Debug)]
pub(super) struct Way {
    /// The one that has it, and those that are tried if nobody is there.
    pub hop: Hop,
    pub rest: VecDeque<Hop>,
    /// No server of the trunk is known to live: each gets little time.
    pub brief: bool,
    /// This server said something; and it, or another, something that the caller may have heard.
    pub answered: bool,
    pub heard: bool,
    /// User part of our Contact, escaped.
    pub user: String,
}

/// Our INVITE is out.
#[derive(Debug)]
pub(super) struct Calling {
    pub invite: Option<ClientId>,
    pub way: Way,
    /// Request-URI.
    pub uri: String,
    /// To value, without tag.
    pub to: String,
    pub hops: u8,
    /// Attached headers.
    pub data: Data,
    /// The transfer that it is for.
    pub referral: Option<Box<Referral>>,
    pub cseq: u32,
    /// The body, as sent: our offer, maybe with other parts. Empty where theirs is awaited.
    pub offer: Vec<u8>,
    /// Its type.
    pub content: String,
    /// Ours has no offer: theirs comes in a reliable provisional response, or in the 2xx.
    pub late: bool,
    /// The far side requires reliable provisional responses, whatever the operator would rather have.
    pub reliable: bool,
    /// Max-Breadth, where it came with one.
    pub breadth: Option<u8>,
    pub authorization: Vec<(&'static str, String)>,
    /// How often it was challenged.
    pub tries: u8,
    /// Whether we gave up, and how far that is.
    pub cancel: Cancel,
}

/// How far giving up our INVITE is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Cancel {
    /// Not at all.
    No,
    /// CANCEL waits for a provisional response (RFC 3261 section 9.1).
    Wanted,
    /// It went out.
    Sent,
}

/// Their INVITE waits for our final response.
#[derive(Debug)]
pub(super) struct Ringing {
    pub server: ServerId,
    pub cseq: u32,
    /// Theirs has no offer: ours goes into a reliable provisional response, or into the 2xx.
    pub delayed: bool,
    /// The answer that went out with a provisional response: the 2xx repeats it.
    pub answer: Option<Vec<u8>>,
    /// What they ask of the session timer.
    pub session: Asked,
    /// Our provisional responses, where they are to be acknowledged.
    pub reliable: Reliable,
}

/// Answered.
#[derive(Debug)]
pub(super) struct Up {
    /// Our INVITE's sequence number and authorization: those of its ACK.
    pub invite_seq: u32,
    pub authorization: Vec<(&'static str, String)>,
    /// Our 2xx that waits for its ACK.
    pub ack: Option<AwaitAck>,
    /// Their 2xx whose ACK waits for our answer to the offer in it.
    pub late: Option<ClientId>,
    /// Our last reliable provisional response, whose PRACK may still come.
    pub unacknowledged: Option<u32>,
    /// Our next offer, kept until the ACK.
    pub queued: Option<Vec<u8>>,
    /// We hung up before the ACK: BYE follows it (RFC 3261 section 15).
    pub closing: bool,
}

/// Our 2xx waits for its ACK.
#[derive(Debug)]
pub(super) struct AwaitAck {
    pub server: ServerId,
    pub cseq: u32,
    pub interval: Duration,
    /// It carried our offer: the ACK carries the answer.
    pub offered: bool,
}

/// What happens to the session of a leg whose first offer is answered.
#[derive(Debug)]
pub(super) enum Change {
    Idle,
    /// Our offer is out.
    Offering(Offering),
    /// It met theirs; it goes out again after a while.
    Backoff(Backoff),
    /// Theirs waits for the call machine's word.
    Offered(Offered),
}

/// Our offer is out.
#[derive(Debug)]
pub(super) struct Offering {
    pub client: ClientId,
    /// By UPDATE rather than by re-INVITE.
    pub update: bool,
    /// It only refreshes the session, of which the call machine knows nothing.
    pub refresh: bool,
    pub offer: Vec<u8>,
    pub authorization: Vec<(&'static str, String)>,
    pub tries: u8,
    pub glares: u8,
}

/// Our offer met theirs.
#[derive(Debug)]
pub(super) struct Backoff {
    pub offer: Vec<u8>,
    pub glares: u8,
}

/// Their offer waits for the call machine's word.
#[derive(Debug)]
pub(super) struct Offered {
    pub server: ServerId,
    pub cseq: u32,
    /// Whence: no ACK follows to UPDATE and PRACK.
    pub by: By,
    /// A re-INVITE without offer.
    pub delayed: bool,
    pub session: Asked,
}

/// What brought their offer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum By {
    Invite,
    Update,
    Prack,
}

impl Up {
    pub fn new(invite_seq: u32, authorization: Vec<(&'static str, String)>) -> Up {
        Up {
            invite_seq,
            authorization,
            ack: None,
            late: None,
            unacknowledged: None,
            queued: None,
            closing: false,
        }
    }
}

impl Leg {
    /// The dialog with this remote tag.
    pub fn dialog_of(&self, remote_tag: &str) -> Option<usize> {
        self.dialogs.iter().position(|dialog| *dialog.remote_tag == *remote_tag)
    }

    pub fn calling(&mut self) -> Option<&mut Calling> {
        match &mut self.state {
            State::Calling(calling) => Some(calling),
            _ => None,
        }
    }

    pub fn ringing(&mut self) -> Option<&mut Ringing> {
        match &mut self.state {
            State::Ringing(ringing) => Some(ringing),
            _ => None,
        }
    }

    pub fn up(&mut self) -> Option<&mut Up> {
        match &mut self.state {
            State::Up(up) => Some(up),
            _ => None,
        }
    }
}
