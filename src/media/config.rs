//! What an operator decides about media, and what the plane counts.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::RangeInclusive;
use std::time::Duration;

/// Caps and addresses of one shard's media plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The realms, by `RealmId`.
    pub realms: Vec<Realm>,
    /// Most legs at a time.
    pub legs: usize,
    /// Most SSRCs that one direction of a transport keeps.
    pub sources: usize,
    /// Most addresses of one web leg that are heard at a time (network changes overlap); the newest is sent to.
    pub paths: usize,
    /// Pairs of bound ports that each realm keeps ready.
    pub stock: usize,
    /// How long a port rests after a leg closed it, so that a dead call's packets never enter a live one.
    pub rest: Duration,
    /// From where RTP legs are heard.
    pub latch: Latch,
    /// Mean time between two RTCP reports of a leg (RFC 3550 section 6.2), before it is randomised.
    pub report: Duration,
    /// What held parties hear; nothing where absent.
    pub music: Option<std::sync::Arc<super::Music>>,
}

/// A realm's media side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm {
    /// The address that descriptions name.
    pub address: IpAddr,
    /// The ports of this shard: RTP on even ones, RTCP on the odd ones after them.
    pub ports: RangeInclusive<u16>,
    /// One pair of them is for all legs of [`Kind::Shared`](super::Kind::Shared).
    pub shared: bool,
}

/// From where an RTP leg is heard (RFC 7362).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Latch {
    /// From the signalled address and port only.
    Off,
    /// From the signalled address, whatever the port (a NAT keeps the address that it signals): the first packets
    /// decide, then the port stays until the agreement changes.
    Address,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            realms: vec![Realm {
                address: IpAddr::V4(Ipv4Addr::LOCALHOST),
                ports: 16_384..=32_767,
                shared: false,
            }],
            legs: 10_000,
            sources: 16,
            paths: 4,
            stock: 16,
            rest: Duration::from_secs(10),
            latch: Latch::Address,
            report: Duration::from_secs(5),
            music: None,
        }
    }
}

crate::base::counters! {
    /// What the plane counted. Each dropped packet counts once.
    pub struct Counters {
        /// Packets forwarded.
        forwarded,
        /// Payload bytes forwarded.
        octets,
        /// Times that an outgoing timeline was joined to another source, or to another place in it.
        splices,
        /// RTCP packets taken.
        rtcp_received,
        /// RTCP packets written.
        rtcp_sent,
        /// Reports, BYEs included, not written since the leg had no keys or no address.
        rtcp_unsent,
        /// Picture loss indications received.
        pli,
        /// Full intra requests received.
        fir,
        /// Other feedback received (NACK, transport-wide, REMB).
        feedback,
        /// BYEs received; the signalling side ends calls.
        bye,
        /// Keys pressed (RFC 4733).
        digits,
        /// Keys pressed faster than anybody can, not told; their packets are forwarded all the same.
        digits_refused,
        /// Keys told in words (SIP INFO) that were sent as telephone-events.
        presses,
        /// Such keys that were not: too many waited, or nothing could be sent.
        presses_refused,
        /// Times that music was played to a held party.
        music,
        /// Times that it was not: the party's codec is another than G.711.
        music_refused,
        /// Port learned by an RTP leg (RFC 7362), not the signalled one.
        latched,
        /// Dropped: from an address that no transport has verified.
        dropped_unverified,
        /// Dropped: neither RTP nor RTCP.
        dropped_class,
        /// Dropped: no valid header, padding or length.
        dropped_malformed,
        /// Dropped: a socket or leg that is gone.
        dropped_stale,
        /// Dropped: before SRTP keys.
        dropped_no_keys,
        /// Dropped: before the leg's descriptions agreed, or while they agree on no address.
        dropped_early,
        /// Dropped: SRTP authentication failed.
        dropped_forged,
        /// Dropped: an SRTP index, or an outgoing sequence number, that was there before.
        dropped_repeated,
        /// Dropped: too old to tell.
        dropped_old,
        /// Dropped: more SSRCs than a transport keeps.
        dropped_sources,
        /// Dropped: SRTP refused it for another reason (indexes used up, no room, unencrypted RTCP).
        dropped_refused,
        /// Dropped: an RTP leg's packet from elsewhere than its party.
        dropped_source,
        /// Dropped: a payload type that the leg did not agree on.
        dropped_payload_type,
        /// Dropped: a codec that the other leg did not agree on.
        dropped_codec,
        /// Dropped: the party may not send now.
        dropped_not_receiving,
        /// Dropped: the other party may not be sent to now.
        dropped_not_sending,
        /// Dropped: nobody is joined to the leg.
        dropped_unjoined,
        /// Dropped: the other leg has no address yet.
        dropped_no_path,
        /// Dropped: the first packet after a leap of sequence numbers, until the next proves it (RFC 3550 A.1).
        dropped_leap,
        /// Refused: all leg slots in use.
        legs_full,
        /// Refused: no port was free.
        ports_full,
        /// Refused: on a shared port another leg's party has the same address.
        shared_taken,
        /// Refused: a command for a leg that is not, or that can't be (joined to itself, keys used before).
        commands_refused,
        /// Ports that could not be bound.
        bind_failures,
    }
}
