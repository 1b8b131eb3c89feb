//! One call: how far both its sides are, and its browser's ICE.

use super::dtls::Association;
use super::sdp::Described;
use super::stun::{self, Transaction};
use crate::engine::{EndId, Keys, PortId};
use bridgehead::base::Random;
use std::net::{Ipv4Addr, SocketAddrV4};

/// Between two checks that are not answered.
const CHECK: u64 = 100_000_000;
/// Between two checks of consent (RFC 7675 asks for at most 5 s; browsers take half of that).
const CONSENT: u64 = 2_500_000_000;

/// Where one side of a call is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seat {
    pub(super) port: PortId,
    /// Its source address, where the port has none in particular.
    pub(super) address: Ipv4Addr,
    /// What others know it by.
    pub(super) public: SocketAddrV4,
    /// The port is this call's alone, and goes with it.
    pub(super) own: bool,
}

/// What a call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Media flows, until it is hung up.
    Talk,
    /// Hung up as soon as it is answered and the DTLS handshake is done.
    Shake,
    /// Hung up as soon as it is answered; no transport at all.
    Signal,
}

/// How far a call is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Dialled.
    SettingUp,
    /// Packets flow.
    Talking,
    /// Its streams have stopped; it hangs up when the last packets have arrived.
    Draining,
    /// `hangup` was said.
    Ending,
}

pub(super) struct Call {
    pub(super) number: u64,
    pub(super) role: Role,
    pub(super) client: usize,
    pub(super) stage: Stage,
    pub(super) web: Seat,
    pub(super) rtp: Seat,
    pub(super) ice: Ice,
    pub(super) dtls: Option<Association>,
    pub(super) dtls_began: u64,
    pub(super) dtls_at: Option<u64>,
    /// When to look again whether the parties hear each other.
    pub(super) look: Option<u64>,
    pub(super) fingerprint: Vec<u8>,
    pub(super) keys: Option<Keys>,
    pub(super) dialled: u64,
    pub(super) invited: Option<u64>,
    pub(super) answered: Option<u64>,
    pub(super) dialog: Option<String>,
    pub(super) acknowledged: bool,
    /// Where the gateway hears the SIP party.
    pub(super) far: Option<SocketAddrV4>,
    pub(super) ends: Option<[EndId; 2]>,
    /// By when it must be set up, or over.
    pub(super) deadline: u64,
    /// The wake that counts; others are left over.
    pub(super) wake: u64,
}

/// A browser's ICE: one candidate each, so one pair, which the first check nominates.
pub(super) struct Ice {
    pub(super) ufrag: String,
    pub(super) pwd: String,
    tie_breaker: u64,
    remote: Option<(String, String, SocketAddrV4)>,
    transaction: Transaction,
    pub(super) next: Option<u64>,
    /// A check succeeded.
    pub(super) done: bool,
    /// When a check succeeded last.
    pub(super) consented: u64,
}

impl Ice {
    pub(super) fn new(random: &mut Random) -> Ice {
        Ice {
            ufrag: random.token(4),
            pwd: random.token(24),
            tie_breaker: random.u64(),
            remote: None,
            transaction: Transaction::default(),
            next: None,
            done: false,
            consented: 0,
        }
    }

    /// The gateway's description; false where it says too little.
    pub(super) fn describe(&mut self, now: u64, described: &Described) -> bool {
        let Some(candidate) = described.candidate else { return false };
        self.remote = Some((described.ufrag.clone(), described.pwd.clone(), candidate));
        self.next = Some(now);
        !described.ufrag.is_empty() && !described.pwd.is_empty()
    }

    /// No checks are sent any more.
    pub(super) fn rest(&mut self) {
        self.next = None;
    }

    /// Where media goes.
    pub(super) fn remote(&self) -> Option<SocketAddrV4> {
        Some(self.remote.as_ref()?.2)
    }

    /// The next check, if it is time.
    pub(super) fn poll_check(&mut self, now: u64, random: &mut Random) -> Option<(SocketAddrV4, Vec<u8>)> {
        if self.next? > now {
            return None;
        }
        let (ufrag, pwd, to) = self.remote.as_ref()?;
        random.fill(&mut self.transaction);
        self.next = Some(now + if self.done { CONSENT } else { CHECK });
        let username = format!("{ufrag}:{}", self.ufrag);
        Some((*to, stun::request(self.transaction, &username, pwd, self.tie_breaker)))
    }

    /// A response; true where it is that to our latest check and the first that succeeds.
    pub(super) fn on_success(&mut self, now: u64, transaction: Transaction) -> bool {
        if transaction != self.transaction {
            return false;
        }
        self.consented = now;
        self.next = Some(now + CONSENT);
        !std::mem::replace(&mut self.done, true)
    }
}

impl Call {
    /// When it next has something to do.
    pub(super) fn next(&self) -> u64 {
        [self.ice.next, self.dtls_at, self.look].into_iter().flatten().fold(self.deadline, u64::min)
    }

    /// What it still waits for, as a reason of failure.
    pub(super) fn missing(&self) -> &'static str {
        if self.ice.remote.is_none() {
            "no answer to dial"
        } else if self.invited.is_none() {
            "no INVITE"
        } else if !self.ice.done && self.role != Role::Signal {
            "ICE timed out"
        } else if self.keys.is_none() && self.role != Role::Signal {
            "DTLS timed out"
        } else if self.answered.is_none() {
            "not answered"
        } else if !self.acknowledged {
            "no ACK"
        } else {
            "nothing heard"
        }
    }
}
