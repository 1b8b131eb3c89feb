//! WebRTC transports: a `Peer` around str0m runs ICE and DTLS, hands out SRTP keys and the address that was verified.
//!
//! Only STUN and DTLS datagrams come here; media packets never do.

use crate::base::{LegId, PeerId};
use crate::rtp::Keys;
use std::net::SocketAddr;

/// What the far side's description says of its transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// ICE user name fragment.
    pub ufrag: String,
    /// ICE password.
    pub pwd: String,
    /// Certificate fingerprints, of which one must match: hash name in lower case (`sha-256`) and digest.
    pub fingerprints: Vec<(String, Vec<u8>)>,
    /// Whether the far side will be the DTLS client (`setup:active`, or `actpass` which we answer with `passive`).
    pub dtls_client: bool,
    /// Whether it is an ICE-lite agent.
    pub ice_lite: bool,
    /// Its candidates, as `a=candidate` values without the `candidate:` prefix. Unusable ones are ignored and counted.
    pub candidates: Vec<String>,
}

/// What our description must say of our transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// ICE user name fragment.
    pub ufrag: String,
    /// ICE password.
    pub pwd: String,
    /// SHA-256 of our certificate.
    pub fingerprint: [u8; 32],
    /// Our host candidates: what the browser sends to.
    pub candidates: Vec<SocketAddr>,
}

/// What the call machine asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// A transport for a leg; `remote` is known where the browser offered. Answered by [`Event::Opened`] or
    /// [`Event::Full`].
    Open {
        /// The leg.
        leg: LegId,
        /// The far side, where it is known already.
        remote: Option<Box<Remote>>,
    },
    /// The far side's description arrived, or changed (an ICE restart where its ufrag did).
    Describe {
        /// The transport.
        peer: PeerId,
        /// The far side.
        remote: Box<Remote>,
    },
    /// New local ICE credentials (an ICE restart that we offer, or answer). Answered by [`Event::Opened`] again.
    Restart {
        /// The transport.
        peer: PeerId,
    },
    /// The transport is not needed any more.
    Close {
        /// The transport.
        peer: PeerId,
    },
}

/// What the transports tell.
#[derive(Clone, Debug)]
pub enum Event {
    /// A transport stands ready; its local side goes into our description.
    Opened {
        /// Whose.
        leg: LegId,
        /// The transport.
        peer: PeerId,
        /// What to say of it.
        local: Box<Local>,
    },
    /// No transport could be made: the table is full.
    Full {
        /// Whose.
        leg: LegId,
    },
    /// An authenticated Binding request came from this address and was answered: media may go there. The newest wins.
    Verified {
        /// Whose.
        leg: LegId,
        /// The transport.
        peer: PeerId,
        /// Its address.
        address: SocketAddr,
    },
    /// The DTLS handshake is done and the fingerprint matched.
    Connected {
        /// Whose.
        leg: LegId,
        /// The transport.
        peer: PeerId,
        /// SRTP keys for both directions.
        keys: Box<Keys>,
    },
    /// The transport failed for good (fingerprint mismatch, handshake alert or time-out), and is closed.
    Failed {
        /// Whose.
        leg: LegId,
        /// The transport.
        peer: PeerId,
        /// What went wrong, for the log.
        why: &'static str,
    },
}
