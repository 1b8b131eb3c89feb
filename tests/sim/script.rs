//! What a party of a call does.

use std::time::Duration;

/// How a called party meets a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Then {
    /// Answers after a while.
    Answer(Duration),
    /// Refuses after a while, with this SIP code.
    Refuse(Duration, u16),
    /// Lets it ring.
    RingOn,
    /// Says nothing at all.
    Silent,
}

/// One party's part.
#[derive(Clone, Debug)]
pub struct Script {
    /// The call's number; parties find each other's packets by it.
    pub call: u32,
    pub then: Then,
    /// Rings after so long.
    pub ring: Duration,
    /// Sends a description, and sound, while it rings.
    pub early: bool,
    /// How many phones behind the called one answer at once.
    pub forks: u8,
    /// Asks for credentials first.
    pub challenge: bool,
    /// Answers just as CANCEL comes.
    pub race: bool,
    /// Of a caller: knows reliable provisional responses. Of a called party: uses them where the caller does.
    pub reliable: bool,
    /// Of a caller: has a session timer, and refreshes the session by UPDATE.
    pub timer: bool,
    /// How many ACKs get lost on purpose.
    pub withhold_acks: u8,
    /// Offers in the ACK rather than in the INVITE.
    pub delayed: bool,
    /// Calls again in the same dialog-to-be after a refusal.
    pub again: bool,
    /// Holds the call so long after the answer, and resumes it.
    pub hold: Option<Duration>,
    /// Hangs up so long after the answer.
    pub hangup: Option<Duration>,
    /// Gives up so long after calling.
    pub cancel: Option<Duration>,
    /// A browser changes its network so long after the answer.
    pub roam: Option<Duration>,
    /// A browser restarts ICE so long after the answer.
    pub restart: Option<Duration>,
    /// A browser dies so long after the answer.
    pub die: Option<Duration>,
}

impl Script {
    pub fn new(call: u32) -> Script {
        Script {
            call,
            then: Then::Answer(Duration::from_millis(700)),
            ring: Duration::from_millis(200),
            early: false,
            forks: 1,
            challenge: false,
            race: false,
            reliable: false,
            timer: false,
            withhold_acks: 0,
            delayed: false,
            again: false,
            hold: None,
            hangup: None,
            cancel: None,
            roam: None,
            restart: None,
            die: None,
        }
    }
}
