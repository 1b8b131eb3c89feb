//! WebRTC transports: a `Peer` runs ICE and DTLS, hands out SRTP keys and the address that was verified.
//!
//! Only STUN and DTLS datagrams come here; media packets never do. [`Peers`] is the room's machine.
//!
//! **Why not str0m.** An ICE-lite agent without media needs of it an answer to each check, which we have authenticated
//! already, and dimpl, whose packets and keys we take ourselves. Its `Rtc` held 23 kB a call for that (`loadtest`), and
//! remembered each address that ever checked. DTLS stays dimpl's; str0m plays the browsers in tests.
//!
//! **What is heard.** A STUN message must be a Binding request that names one of our user name fragments and is signed
//! with its password; a DTLS datagram must come from an address whose signed request was answered. Everything else is
//! dropped and counted, and changes nothing (pitfalls 19 and 20).
//!
//! **Where we send.** The newest verified address, until the far side nominates one; from then on the nominated one,
//! and another only where the chosen one has gone silent ([`Config::silent`]). Browsers also check paths that they
//! hold in reserve, and media must not follow each of those checks.
//!
//! **Silence.** A connected transport never fails by itself: SRTP, which does not come here, is a sign of life too. The
//! call machine asks ([`Command::Ask`]) and decides.
//!
//! **Profiles.** Where the far side offers several, dimpl picks AEAD-AES-256-GCM, then AEAD-AES-128-GCM, then
//! AES-CM-128-HMAC-SHA1-80. **Randomness.** ICE credentials come from our seed; DTLS randoms and keys from the system.

#[cfg(any(test, feature = "testkit"))]
pub mod browser;
mod config;
mod dtls;
mod identity;
mod path;
mod peer;
mod peers;
mod stun;
#[cfg(test)]
mod tests;

use crate::base::{LegId, PeerId};
use crate::rtp::Keys;
pub use config::{Candidate, Config, Counters, Dtls};
pub use identity::{Identity, NoIdentity};
pub use peers::Peers;
use std::net::SocketAddr;
use std::time::Instant;

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

/// What is pushed in.
#[derive(Debug)]
pub enum Input<'a> {
    /// From the call machine.
    Command(Command),
    /// A datagram from the shard's web socket whose first byte says STUN (0 to 3) or DTLS (20 to 63), RFC 7983.
    Datagram {
        /// The source.
        from: SocketAddr,
        /// The socket's bound address, as [`Candidate::local`] has it.
        local: SocketAddr,
        /// The bytes.
        data: &'a [u8],
    },
}

/// What comes out.
#[derive(Debug)]
pub enum Output {
    /// Send a datagram.
    Send {
        /// From the socket with this bound address.
        from_local: SocketAddr,
        /// To whom.
        to: SocketAddr,
        /// The bytes.
        data: Vec<u8>,
    },
    /// To the call machine.
    Event(Event),
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
    /// When was it last heard? Answered by [`Event::Heard`].
    Ask {
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
    /// When the transport was last heard.
    Heard {
        /// Whose.
        leg: LegId,
        /// The transport.
        peer: PeerId,
        /// When its last authenticated check came; `None` where none has.
        at: Option<Instant>,
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
