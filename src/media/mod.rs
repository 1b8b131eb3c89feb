//! The media plane: what arrives on one leg leaves on the other, in the buffer it arrived in.

mod config;
mod digits;
mod ear;
mod formats;
mod forward;
mod latch;
mod leg;
mod music;
mod plane;
mod ports;
mod presses;
mod quality;
mod reception;
mod reports;
mod segments;
pub mod srtp;
#[cfg(test)]
mod tests;
mod timeline;

pub use config::{Config, Counters, Latch, Realm};
pub use ear::{Ear, Step};
pub use leg::Stats;
pub use music::Music;
pub use plane::Plane;
pub use quality::{mos, opinion};

use crate::base::{LegId, RealmId, RouteId, SocketId};
use crate::rtp::Keys;
use std::net::SocketAddr;
use std::time::Duration;

/// How media reaches a leg's party.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Through the shard's web socket, by SRTP keyed by DTLS.
    Web,
    /// Through a port of its own, as RTP.
    Rtp(RealmId),
    /// Through the port that legs of the realm share, as RTP: each is told by its party's address, which no two may
    /// have. Through a port of its own where the realm shares none.
    Shared(RealmId),
}

/// A codec with the payload type numbers of one leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// What it is, independent of numbers: two legs' formats with equal codecs are joined in place.
    pub codec: Codec,
    /// The number on packets that come from this leg's party (what our description gave it).
    pub receive: u8,
    /// The number on packets to this leg's party (what its description gave it).
    pub send: u8,
}

/// A codec's identity for forwarding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Codec {
    /// Encoding name in lower case (`pcmu`, `opus`, `telephone-event`).
    pub name: String,
    /// RTP clock rate in Hz.
    pub clock: u32,
    /// Channels; 1 unless the description says otherwise.
    pub channels: u8,
}

/// What both descriptions of a leg agreed on. Replaces what was said before; the outgoing timeline goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// Where to send (RTP legs; a web leg's address comes by [`Command::Path`]). `None`: nowhere (held, or unknown).
    pub remote: Option<SocketAddr>,
    /// Where to send RTCP, unless it goes where RTP goes.
    pub remote_rtcp: Option<SocketAddr>,
    /// RTP and RTCP share a port (RFC 5761).
    pub rtcp_mux: bool,
    /// We may send to the party.
    pub send: bool,
    /// The party may send to us.
    pub receive: bool,
    /// What comes is no RTP, and passed on as it is (T.38's UDPTL).
    pub raw: bool,
    /// Codecs in order of preference, telephone-event and comfort noise among them.
    pub formats: Vec<Format>,
    /// Packet duration in milliseconds that the party asked for (`a=ptime`), 20 by default.
    pub ptime_ms: u16,
}

/// What the call machine asks for.
#[derive(Clone, Debug)]
pub enum Command {
    /// A media side for a leg. Answered by [`Event::Opened`] or [`Event::Full`].
    Open {
        /// The leg.
        leg: LegId,
        /// How.
        kind: Kind,
    },
    /// What the two descriptions of the leg agreed on.
    Agree {
        /// The leg.
        leg: LegId,
        /// The agreement.
        agreed: Box<Agreed>,
    },
    /// The address that a web leg's transport verified.
    Path {
        /// The leg.
        leg: LegId,
        /// The address.
        address: SocketAddr,
    },
    /// The SRTP keys of a web leg's transport.
    Keys {
        /// The leg.
        leg: LegId,
        /// The keys.
        keys: Box<Keys>,
    },
    /// Let each hear the other, from now on and instead of whom they heard before.
    Join {
        /// One leg.
        a: LegId,
        /// The other.
        b: LegId,
    },
    /// Press a key towards the leg's party, which has agreed on telephone-event.
    Press {
        /// The leg.
        leg: LegId,
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        digit: char,
        /// How long.
        duration: Duration,
    },
    /// Play music to the leg's party, instead of what the other leg sends; or no more. Music there is none is silence.
    Play {
        /// The leg.
        leg: LegId,
        /// Play it.
        on: bool,
    },
    /// How does the leg's media go? Answered by [`Event::Stats`].
    Ask {
        /// The leg.
        leg: LegId,
    },
    /// The leg has no media any more; its ports rest.
    Close {
        /// The leg.
        leg: LegId,
    },
}

/// What the plane tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The media side stands ready; the address goes into our description (unset for a web leg). RTCP is on the next
    /// port, and on the same one where both sides agree on rtcp-mux.
    Opened {
        /// The leg.
        leg: LegId,
        /// Our advertised RTP address.
        address: Option<SocketAddr>,
        /// The SSRC that we send with to this leg, for the description.
        ssrc: u32,
        /// The RTCP CNAME of what we send to this leg.
        cname: String,
    },
    /// No port or no slot was free, or on a shared port another leg's party has the address that was agreed on.
    Full {
        /// The leg.
        leg: LegId,
    },
    /// How the leg's media goes.
    Stats {
        /// The leg.
        leg: LegId,
        /// Its numbers.
        stats: Box<Stats>,
    },
    /// The leg's party pressed a key (RFC 4733): told once, when it is released.
    Digit {
        /// The leg.
        leg: LegId,
        /// `0` to `9`, `*`, `#`, `A` to `D`.
        digit: char,
        /// How long it was pressed.
        duration: Duration,
        /// The other leg has agreed on telephone-event: it is sent the reports.
        forwarded: bool,
    },
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Send it, as it lies in the buffer now.
    Send {
        /// From which socket.
        socket: SocketId,
        /// To whom.
        to: SocketAddr,
    },
    /// The slow path took what it needed of it; nothing to send from this buffer.
    Taken,
    /// Nothing to send; the plane has counted why.
    Drop,
}

/// What the plane wants of the outside, apart from the packets it forwards.
#[derive(Clone, Debug)]
pub enum Output {
    /// Tell the call machine.
    Event(Event),
    /// Open a UDP socket on this port of the realm's media address and say so by `Plane::bound` or
    /// `Plane::bind_failed`. The plane keeps a stock of bound pairs, so that a call never waits for the system.
    Bind {
        /// The realm.
        realm: RealmId,
        /// The port.
        port: u16,
        /// Many legs will share it: datagrams come in batches.
        shared: bool,
    },
    /// Close a socket.
    Unbind {
        /// Which.
        socket: SocketId,
    },
    /// Send a packet of our own (RTCP).
    Send {
        /// From which socket.
        socket: SocketId,
        /// To whom.
        to: SocketAddr,
        /// What.
        data: Vec<u8>,
    },
}

/// Names a route in counters and traces.
pub type Route = RouteId;
