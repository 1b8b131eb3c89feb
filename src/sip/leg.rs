//! A leg: one INVITE and the dialogs that it makes, each by a struct for its state.

use super::Flow;
use super::config::Credentials;
use super::dialog::Dialog;
use super::digest;
use super::inform::Words;
use super::transaction::{ClientId, ServerId, keys};
use crate::base::{Key, LegId, ShardId, TimerId};
use crate::leg::{Data, TrunkId};
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
    /// Our offer on an established leg.
    Reinvite,
    /// The end of one of its dialogs.
    Bye(u16),
    /// INFO.
    Inform,
    /// CANCEL or PRACK: whatever comes back changes nothing.
    Aside,
}

/// What a leg waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Tick {
    /// The first response to our INVITE.
    Deadline,
    /// The answer to our INVITE, or to our re-INVITE.
    Ring,
    /// The next retransmission of our 2xx.
    Resend,
    /// The ACK of our 2xx at all.
    Ack,
    /// The end of the session, unless it is refreshed (RFC 4028).
    Session,
    /// The end of a back-off after 491.
    Glare,
    /// The minute after which a provisional response is repeated, lest proxies give up (RFC 3261 section 13.3.1.1).
    Minute,
}

/// How many kinds of [`Tick`] there are.
pub(super) const TICKS: usize = 7;

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
    /// Our Contact value.
    pub contact: String,
    /// By `leg::Fork`. An incoming leg has one.
    pub dialogs: Vec<Dialog>,
    /// Which of them became the call.
    pub main: usize,
    pub state: State,
    /// What is told by INFO.
    pub words: Words,
    /// Client transactions that run.
    pub open: u32,
    pub timers: [Option<TimerId>; TICKS],
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

/// Our INVITE is out.
#[derive(Debug)]
pub(super) struct Calling {
    pub invite: Option<ClientId>,
    /// Request-URI.
    pub uri: String,
    /// To value, without tag.
    pub to: String,
    pub hops: u8,
    /// Attached headers.
    pub data: Data,
    pub cseq: u32,
    /// Our offer, as sent.
    pub offer: Vec<u8>,
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
    Wanted {
        /// Another device of the user answered.
        elsewhere: bool,
    },
    /// It went out.
    Sent,
}

/// Their INVITE waits for our final response.
#[derive(Debug)]
pub(super) struct Ringing {
    pub server: ServerId,
    pub cseq: u32,
    /// Theirs has no offer: ours goes into the 2xx.
    pub delayed: bool,
    /// The answer that went out with a provisional response: the 2xx repeats it.
    pub answer: Option<Vec<u8>>,
    /// What they ask of the session timer.
    pub session: Option<Duration>,
}

/// Answered.
#[derive(Debug)]
pub(super) struct Up {
    /// Our INVITE's sequence number and authorization: those of its ACK.
    pub invite_seq: u32,
    pub authorization: Vec<(&'static str, String)>,
    pub change: Change,
    /// Our 2xx that waits for its ACK.
    pub ack: Option<AwaitAck>,
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

/// What happens to the session of an established leg.
#[derive(Debug)]
pub(super) enum Change {
    Idle,
    /// Our re-INVITE is out.
    Offering(Offering),
    /// It met theirs; it goes out again after a while.
    Backoff(Backoff),
    /// Theirs waits for the call machine's word.
    Offered(Offered),
}

/// Our re-INVITE is out.
#[derive(Debug)]
pub(super) struct Offering {
    pub client: ClientId,
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
    /// UPDATE rather than re-INVITE: no ACK follows.
    pub update: bool,
    /// A re-INVITE without offer.
    pub delayed: bool,
    pub session: Option<Duration>,
}

impl Up {
    pub fn new(invite_seq: u32, authorization: Vec<(&'static str, String)>) -> Up {
        Up { invite_seq, authorization, change: Change::Idle, ack: None, queued: None, closing: false }
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
