//! A leg's media side: what comes from its party, and what goes to it.

use super::digits::Digits;
use super::formats::{self, Formats, Payload};
use super::latch::{Latch, RTCP_SILENCE, SILENCE};
use super::music::Playing;
use super::plane::Use;
use super::ports::Pair;
use super::presses::Presses;
use super::reception::Reception;
use super::segments::Conversion;
use super::timeline::Timeline;
use super::{Agreed, Codec, Event, Format, Kind, srtp};
use crate::base::{LegId, Random, SocketId, TimerId};
use crate::rtp::Keys;
use smallvec::SmallVec;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Keys that a leg had before are remembered (as hashes), so that they are never used from their first index again.
/// A party that changes its keys more often is given no more.
const RETIRED: usize = 1024;

/// The numbers of a leg, for call records and consoles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// The codec of the packets that came last, else of those that were sent last.
    pub codec: Option<Codec>,
    /// Packets from the party that were valid and agreed on.
    pub packets_received: u64,
    /// Their payload bytes.
    pub octets_received: u64,
    /// Packets of theirs that never came (negative: duplicates).
    pub lost: i64,
    /// Jitter of what comes.
    pub jitter: Duration,
    /// Packets sent to the party.
    pub packets_sent: u64,
    /// Their payload bytes.
    pub octets_sent: u64,
    /// What the party last said that it lost of them.
    pub remote_lost: i32,
    /// The jitter that it last reported.
    pub remote_jitter: Duration,
    /// Time to the party and back, from its last report.
    pub round_trip: Option<Duration>,
    /// When an authenticated packet (a web leg) or one from the right address last came.
    pub last_heard: Option<Instant>,
}

/// From the party. What every packet needs stands first, in as few cache lines as it takes ([`Inbound::HOT`]).
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Inbound {
    pub(super) srtp: Option<Box<srtp::Receive>>,
    /// The slot of the leg that it is joined to.
    pub(super) partner: Option<usize>,
    pub(super) last_heard: Option<Instant>,
    pub(super) packets: u64,
    pub(super) octets: u64,
    /// The payload type of the call's codec, as it came last.
    pub(super) number: Option<u8>,
    /// The party may send.
    pub(super) open: bool,
    /// Both descriptions are known.
    pub(super) agreed: bool,
    /// What the payload type that came last means, out of `formats`.
    pub(super) recent: Option<(u8, Payload)>,
    pub(super) reception: Option<Reception>,
    pub(super) latch: Latch,
    pub(super) rtcp_latch: Latch,
    pub(super) formats: Formats,
    pub(super) digits: Digits,
    /// Looks whether the end of a key was lost.
    pub(super) key_timer: Option<TimerId>,
    /// Losses of sources that came before the present one.
    pub(super) lost: i64,
}

impl Inbound {
    /// Bytes from its beginning that a packet of a steady stream touches.
    pub(super) const HOT: usize = std::mem::offset_of!(Inbound, latch) + Latch::HOT;

    /// What a payload type means.
    #[inline]
    pub(super) fn payload(&mut self, number: u8) -> Option<Payload> {
        match self.recent {
            Some((recent, payload)) if recent == number => Some(payload),
            _ => {
                let payload = self.formats.payload(number)?;
                self.recent = Some((number, payload));
                Some(payload)
            }
        }
    }
}

/// To the party, ordered as [`Inbound`] is.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Outbound {
    pub(super) srtp: Option<Box<srtp::Send>>,
    /// Nothing leaves without SRTP.
    pub(super) secure: bool,
    /// The party may be sent to.
    pub(super) open: bool,
    pub(super) to: Option<(SocketId, SocketAddr)>,
    pub(super) ssrc: u32,
    /// The payload type of the call's codec, as it went last.
    pub(super) number: Option<u8>,
    /// The payload's clock, for what the party says of jitter.
    pub(super) clock: u32,
    pub(super) packets: u64,
    pub(super) octets: u64,
    /// The outgoing index at which SRTP's first rollover begins.
    pub(super) base: u64,
    pub(super) timeline: Timeline,
    /// `packets` at the last report.
    pub(super) reported: u64,
    /// The event whose durations are put into another clock's units.
    pub(super) conversion: Option<Conversion>,
}

impl Outbound {
    /// Bytes from its beginning that a packet of a steady stream touches.
    pub(super) const HOT: usize = std::mem::offset_of!(Outbound, reported);
}

#[derive(Debug)]
pub(super) struct Leg {
    pub(super) inbound: Inbound,
    pub(super) outbound: Outbound,
    pub(super) id: LegId,
    pub(super) kind: Kind,
    pub(super) agreed: Option<Box<Agreed>>,
    pub(super) presses: Presses,
    /// The music that it hears.
    pub(super) playing: Option<Box<Playing>>,
    pub(super) keys: Option<Box<Keys>>,
    retired: SmallVec<[u64; 2]>,
    /// Verified addresses of a web leg, the newest last.
    pub(super) paths: SmallVec<[SocketAddr; 2]>,
    pub(super) pair: Option<Pair>,
    /// The pair is not its own: where on it the party is heard from.
    pub(super) shared: Option<SmallVec<[(SocketId, SocketAddr); 2]>>,
    pub(super) cname: String,
    pub(super) timer: Option<TimerId>,
    pub(super) round_trip: Option<Duration>,
    pub(super) remote_lost: i32,
    pub(super) remote_jitter: u32,
}

impl Leg {
    pub(super) fn new(id: LegId, kind: Kind, random: &mut Random) -> Leg {
        Leg {
            inbound: Inbound {
                srtp: None,
                partner: None,
                formats: Formats::default(),
                digits: Digits::default(),
                key_timer: None,
                open: false,
                agreed: false,
                recent: None,
                latch: Latch::new(SILENCE),
                rtcp_latch: Latch::new(RTCP_SILENCE),
                reception: None,
                packets: 0,
                octets: 0,
                lost: 0,
                number: None,
                last_heard: None,
            },
            outbound: Outbound {
                srtp: None,
                secure: kind == Kind::Web,
                open: false,
                to: None,
                // 0 is what unset fields look like elsewhere.
                ssrc: random.u32().max(1),
                base: 0,
                timeline: Timeline::new(random.u64()),
                packets: 0,
                octets: 0,
                number: None,
                reported: 0,
                conversion: None,
                clock: 8000,
            },
            id,
            kind,
            agreed: None,
            presses: Presses::default(),
            playing: None,
            keys: None,
            retired: SmallVec::new(),
            paths: SmallVec::new(),
            pair: None,
            shared: None,
            // Short-term persistent, and unlinkable across calls (RFC 7022 section 4.2).
            cname: random.token(16),
            timer: None,
            round_trip: None,
            remote_lost: 0,
            remote_jitter: 0,
        }
    }

    /// What is told of a leg whose media side stands ready.
    pub(super) fn opened(&self, address: Option<SocketAddr>) -> Event {
        Event::Opened { leg: self.id, address, ssrc: self.outbound.ssrc, cname: self.cname.clone() }
    }

    /// Takes what the descriptions agree on. True where the party is another, or elsewhere, than before: another fork.
    pub(super) fn on_agreed(&mut self, agreed: Box<Agreed>) -> bool {
        if self.agreed.as_ref() == Some(&agreed) {
            return false;
        }
        let moved = self.agreed.as_ref().is_some_and(|old| old.remote != agreed.remote);
        if !self.outbound.open || !agreed.send {
            self.outbound.timeline.cut();
        }
        self.inbound.open = agreed.receive;
        self.inbound.agreed = true;
        self.outbound.open = agreed.send;
        self.inbound.latch.signal(agreed.remote);
        let rtcp = agreed.remote_rtcp.or_else(|| {
            let remote = agreed.remote?;
            Some(SocketAddr::new(remote.ip(), remote.port().checked_add(1)?))
        });
        self.inbound.rtcp_latch.signal(rtcp);
        self.agreed = Some(agreed);
        moved
    }

    /// Takes SRTP keys. The same keys again change nothing: indexes go on. False where those to send with were used
    /// before, since they would begin again.
    pub(super) fn on_keys(&mut self, keys: Box<Keys>, sources: usize, random: &mut Random) -> bool {
        let hash = |keys: &Keys| crate::base::Seeded::default().hash_one((keys.profile, keys.send));
        if let Some(old) = &self.keys {
            if old.profile == keys.profile && old.send == keys.send && old.receive == keys.receive {
                return true;
            }
            let (old, new) = (hash(old), hash(&keys));
            if self.retired.len() >= RETIRED || old == new || self.retired.contains(&new) {
                return false;
            }
            self.retired.push(old);
        }
        self.inbound.srtp = Some(Box::new(srtp::Receive::new(keys.profile, &keys.receive, sources)));
        self.outbound.srtp = Some(Box::new(srtp::Send::new(keys.profile, &keys.send, sources)));
        self.outbound.base = self.outbound.timeline.renew(random.u64());
        self.keys = Some(keys);
        true
    }

    /// What the port is for, of a leg in this slot.
    pub(super) fn reads(&self, slot: usize) -> Use {
        if self.is_raw() { Use::Raw(slot) } else { Use::Rtp(slot) }
    }

    /// What comes and goes is no RTP.
    pub(super) fn is_raw(&self) -> bool {
        self.agreed.as_ref().is_some_and(|agreed| agreed.raw)
    }

    /// RTP and RTCP share a port.
    pub(super) fn muxed(&self) -> bool {
        self.kind == Kind::Web || self.agreed.as_ref().is_some_and(|agreed| agreed.rtcp_mux)
    }

    /// Sets where packets to the party go.
    pub(super) fn aim(&mut self, web: [Option<SocketId>; 2]) {
        self.outbound.to = match self.kind {
            Kind::Web => self.paths.last().and_then(|&path| {
                let socket = web[usize::from(path.is_ipv6())]?;
                Some((socket, path))
            }),
            Kind::Rtp(_) | Kind::Shared(_) => {
                self.pair.and_then(|pair| self.inbound.latch.target().map(|target| (pair.rtp, target)))
            }
        };
    }

    /// From where the party of a leg on a shared pair is heard, on which socket.
    pub(super) fn sources(&self) -> SmallVec<[(SocketId, SocketAddr); 2]> {
        let Some(pair) = self.pair else { return SmallVec::new() };
        let rtp = self.inbound.latch.target().map(|from| (pair.rtp, from));
        let rtcp = self.inbound.rtcp_latch.target().map(|from| (pair.rtcp, from)).filter(|_| !self.muxed());
        rtp.into_iter().chain(rtcp).collect()
    }

    /// Where RTCP to the party goes.
    pub(super) fn rtcp_to(&self) -> Option<(SocketId, SocketAddr)> {
        if self.muxed() {
            return self.outbound.to;
        }
        Some((self.pair?.rtcp, self.inbound.rtcp_latch.target()?))
    }

    /// The codec in use: of what comes, else of what goes.
    fn codec(&self) -> Option<Codec> {
        let agreed = self.agreed.as_deref()?;
        let formats = &agreed.formats;
        // Comfort noise in a pause is not what the call sounds like, and redundant audio is of the call's codec.
        let of = |found: Option<&Format>| match found?.codec.name.as_str() {
            "cn" => None,
            "red" => formats::main(agreed).cloned(),
            _ => found.map(|format| format.codec.clone()),
        };
        of(formats.iter().find(|format| Some(format.receive) == self.inbound.number))
            .or_else(|| of(formats.iter().find(|format| Some(format.send) == self.outbound.number)))
    }

    pub(super) fn stats(&self) -> Stats {
        let reception = self.inbound.reception.as_ref();
        let jitter = u64::from(self.remote_jitter) * 1_000_000_000 / u64::from(self.outbound.clock.max(1));
        Stats {
            codec: self.codec(),
            packets_received: self.inbound.packets,
            octets_received: self.inbound.octets,
            lost: self.inbound.lost + reception.map_or(0, Reception::lost),
            jitter: reception.map_or(Duration::ZERO, Reception::jitter),
            packets_sent: self.outbound.packets,
            octets_sent: self.outbound.octets,
            remote_lost: self.remote_lost,
            remote_jitter: Duration::from_nanos(jitter),
            round_trip: self.round_trip,
            last_heard: self.inbound.last_heard,
        }
    }
}
