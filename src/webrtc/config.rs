//! What the room may be told, and what it counts.

use super::Identity;
use crate::base::counters;
use std::net::SocketAddr;
use std::time::Duration;

/// Which DTLS versions we speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dtls {
    /// 1.3 where the far side offers it, else 1.2.
    #[default]
    Auto,
    /// 1.2 only.
    V12,
    /// 1.3 only.
    V13,
}

/// One of our host candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What the browser is told: differs from `local` behind a one-to-one NAT.
    pub advertised: SocketAddr,
    /// The bound address of the socket that hears it.
    pub local: SocketAddr,
}

/// The room's settings.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our certificate.
    pub identity: Identity,
    /// Our host candidates on this shard; 8 at most are used.
    pub candidates: Vec<Candidate>,
    /// Which DTLS versions.
    pub dtls: Dtls,
    /// Most transports at once.
    pub peers: usize,
    /// Most handshakes in progress at once; a ClientHello beyond is dropped and comes again.
    pub handshakes: usize,
    /// Most handshake datagrams worked on in one pass of the loop, at some 300 µs each.
    pub budget: usize,
    /// Most handshake datagrams kept for later passes.
    pub backlog: usize,
    /// Most verified addresses of one peer at a time; the one silent longest makes room.
    pub paths: usize,
    /// Most addresses of one peer in its whole life.
    pub addresses: usize,
    /// From the far side's description to its first valid check.
    pub check: Duration,
    /// From the first valid check to the end of the DTLS handshake.
    pub handshake: Duration,
    /// A chosen path without a valid check for so long gives way to any other that is checked.
    pub silent: Duration,
}

impl Config {
    /// The defaults.
    pub fn new(identity: Identity, candidates: Vec<Candidate>) -> Config {
        Config {
            identity,
            candidates,
            dtls: Dtls::Auto,
            peers: 10_000,
            handshakes: 500,
            budget: 8,
            backlog: 2_000,
            paths: 16,
            addresses: 1_000,
            check: Duration::from_secs(30),
            handshake: Duration::from_secs(15),
            silent: Duration::from_secs(3),
        }
    }
}

counters! {
    /// What the room counts.
    pub struct Counters {
        /// Transports opened.
        opened,
        /// Transports refused because the table was full.
        full,
        /// Handshakes finished and verified.
        connected,
        /// Transports that failed.
        failed,
        /// Binding requests answered.
        checks,
        /// STUN messages that were malformed or lacked what a check needs.
        stun_malformed,
        /// STUN messages that were no Binding requests.
        stun_not_request,
        /// Binding requests for nobody we know.
        stun_unknown,
        /// Binding requests with a wrong signature, or from another far side than described.
        stun_unauthenticated,
        /// Binding requests to an offer of ours before its answer.
        stun_undescribed,
        /// Binding requests from an address that the far side was moving away from.
        stun_left,
        /// Binding requests that were answered by an error, so that their pair is given up.
        stun_forbidden,
        /// Binding requests of someone who would be controlled, as we are: answered by 487.
        stun_refused,
        /// Binding requests from more addresses than one peer may have.
        paths_full,
        /// DTLS datagrams from addresses that no check has verified.
        dtls_unverified,
        /// DTLS datagrams that make no sense to their association.
        dtls_refused,
        /// Handshakes not begun because too many were in progress.
        handshakes_full,
        /// Handshake datagrams put off to a later pass.
        postponed,
        /// Handshake datagrams dropped because too many were put off.
        shed,
        /// Datagrams to an address that is none of our candidates.
        wrong_local,
        /// Datagrams that are neither STUN nor DTLS.
        not_ours,
        /// Candidates of the far side that mean nothing to us (TCP, mDNS, garbage, beyond 32).
        candidates_ignored,
        /// Peers whose far side said `close_notify`.
        closed_by_peer,
    }
}
