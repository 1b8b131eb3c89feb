//! One half of a call: a leg with its signalling side, its media side, its transport, and both its descriptions.

use super::pulse::Pulse;
use crate::base::{LegId, PeerId, Side};
use crate::media::{Format, Kind};
use crate::sdp::negotiate::Shared;
use crate::sdp::{Codec, Direction, Payload, Session, Setup};
use crate::webrtc;
use std::net::SocketAddr;

/// Payload types of a stream that are remembered.
const MOST_KNOWN: usize = 256;

/// The WebRTC transport of a half.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    /// None: an RTP half, or not yet, or not any more.
    None,
    /// Asked for.
    Opening,
    /// Open.
    Open { peer: PeerId, local: Box<webrtc::Local> },
    /// Open; asked for new ICE credentials.
    Restarting { peer: PeerId, local: Box<webrtc::Local> },
}

/// The media side of a half, once it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opened {
    pub(super) address: Option<SocketAddr>,
    pub(super) ssrc: u32,
    pub(super) cname: String,
}

/// Why we offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The other half speaks another codec, or goes another way.
    Settle,
    /// The other half's party offered, and this one must know.
    Relay,
    /// The party asked for an offer of ours, by an INVITE without one.
    Asked,
    /// The other half's party wants to fax.
    Fax,
}

/// An offer that has no answer yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pending {
    /// None.
    None,
    /// Ours.
    Ours(Box<Session>, Why),
    /// Theirs.
    Theirs(Box<Session>),
}

/// One half of a call.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) leg: LegId,
    pub(super) kind: Kind,
    /// The SIP server that it leads to.
    pub(super) trunk: Option<crate::leg::TrunkId>,
    /// Codecs that policy allows here, events among them, best first.
    pub(super) allowed: Vec<Codec>,
    /// Their order is the operator's wish.
    pub(super) ordered: bool,
    /// What `o=` of our descriptions says.
    pub(super) session_id: u64,
    /// What `s=` of our descriptions says.
    pub(super) session_name: String,
    /// Whether the signalling room knows the leg: it must be told of the end.
    pub(super) signalled: bool,
    /// The media side, once it stands.
    pub(super) opened: Option<Opened>,
    pub(super) transport: Transport,
    /// The far side's transport as we last told it.
    pub(super) described: Option<webrtc::Remote>,
    /// Our role in DTLS, once it is settled. It never changes on one transport (RFC 8842 section 5.5).
    pub(super) role: Option<Setup>,
    /// Our description that stands.
    pub(super) local: Option<Box<Session>>,
    /// The last description that we sent, as it is written: the version of the next one follows it. Text, because it
    /// is needed again only where something changes, and takes a third of the room.
    pub(super) sent: Option<Box<str>>,
    /// Their description that stands.
    pub(super) remote: Option<Box<Session>>,
    /// The offer that has no answer yet.
    pub(super) pending: Pending,
    /// Which media description is the audio stream.
    pub(super) stream: usize,
    /// What both descriptions share now, in the order that we prefer for sending: theirs.
    pub(super) formats: Vec<Shared>,
    /// The stream is a fax: nothing of it is read.
    pub(super) fax: bool,
    /// Whether its party is still there.
    pub(super) pulse: Pulse,
    /// Every payload type that the stream has had: numbers keep their meaning.
    pub(super) known: Vec<Payload>,
    /// Of a party whose other half is a browser: the browser holds it.
    pub(super) held: bool,
    /// The same, as this party knows it.
    pub(super) told: bool,
    /// What the offer of ours that is under way says of it.
    pub(super) telling: bool,
    /// Of a party whose other half is a browser: which way the browser's media goes, as it says itself.
    pub(super) far: Direction,
    /// The same, as this party knows it.
    pub(super) far_told: Direction,
    /// What the offer of ours that is under way says of it.
    pub(super) far_telling: Direction,
    /// Before the answer: what the party sends must not be heard yet (RFC 5009).
    pub(super) gated: bool,
    /// This party holds the browser.
    pub(super) holds: bool,
    /// The same, as the browser knows it.
    pub(super) shown: bool,
    /// Of a browser: what it asked for (hold or resume) and has no answer to.
    pub(super) asking: Option<bool>,
}

impl Half {
    pub(super) fn new(
        leg: LegId,
        kind: Kind,
        allowed: Vec<Codec>,
        session_id: u64,
        session_name: &str,
    ) -> Half {
        Half {
            leg,
            kind,
            trunk: None,
            allowed,
            ordered: false,
            // A positive number of 63 bits: some readers take it for a signed one.
            session_id: session_id >> 1,
            session_name: session_name.into(),
            signalled: false,
            opened: None,
            transport: Transport::None,
            described: None,
            role: None,
            local: None,
            sent: None,
            remote: None,
            pending: Pending::None,
            stream: 0,
            formats: Vec::new(),
            fax: false,
            pulse: Pulse::default(),
            known: Vec::new(),
            held: false,
            told: false,
            telling: false,
            far: Direction::SendRecv,
            far_told: Direction::SendRecv,
            far_telling: Direction::SendRecv,
            gated: false,
            holds: false,
            shown: false,
            asking: None,
        }
    }

    /// Whether its media is WebRTC.
    pub(super) fn is_web(&self) -> bool {
        self.kind == Kind::Web
    }

    /// Whether a page speaks for it, by the JSON API: one that asks for a hold by a word of its own, takes whatever it
    /// has offered once, and is told what its user should see.
    pub(super) fn is_browser(&self) -> bool {
        self.leg.side() == Side::Web
    }

    pub(super) fn is_sip(&self) -> bool {
        self.leg.side() == Side::Sip
    }

    /// The transport's id, where it stands.
    pub(super) fn peer(&self) -> Option<PeerId> {
        match self.transport {
            Transport::Open { peer, .. } | Transport::Restarting { peer, .. } => Some(peer),
            Transport::None | Transport::Opening => None,
        }
    }

    /// What our description says of the transport.
    pub(super) fn transport(&self) -> Option<&webrtc::Local> {
        match &self.transport {
            Transport::Open { local, .. } | Transport::Restarting { local, .. } => Some(local),
            Transport::None | Transport::Opening => None,
        }
    }

    /// Whether all that was asked for stands.
    pub(super) fn is_ready(&self) -> bool {
        self.opened.is_some() && (!self.is_web() || matches!(self.transport, Transport::Open { .. }))
    }

    /// Codecs proper that stand agreed.
    pub(super) fn codecs(&self) -> impl Iterator<Item = &Codec> {
        self.formats.iter().map(|shared| &shared.codec).filter(|codec| !codec.is_auxiliary())
    }

    /// All codecs that stand agreed, events among them.
    pub(super) fn all_codecs(&self) -> Vec<Codec> {
        self.formats.iter().map(|shared| shared.codec.clone()).collect()
    }

    /// The codec that the party sends: the first of our description that it has, too (RFC 3264 section 5.1).
    pub(super) fn party_sends(&self) -> Option<Codec> {
        let media = self.local.as_ref()?.media.get(self.stream)?;
        let mut ours = media.payload_types().into_iter().map(|payload| payload.codec);
        ours.find(|codec| self.codecs().any(|shared| shared == codec))
    }

    /// Takes note of a description that goes out now.
    pub(super) fn send(&mut self, session: Session) -> Box<Session> {
        self.telling = self.held;
        self.far_telling = self.far;
        self.sent = Some(session.to_string().into());
        Box::new(session)
    }

    /// The payload types that the stream has had and policy allows.
    pub(super) fn usable(&self) -> Vec<Payload> {
        self.known.iter().filter(|payload| self.allowed.contains(&payload.codec)).cloned().collect()
    }

    /// Remembers what numbers mean.
    pub(super) fn learn(&mut self, payloads: &[Payload]) {
        for payload in payloads {
            let known =
                self.known.iter().any(|old| old.codec == payload.codec || old.number == payload.number);
            if !known && self.known.len() < MOST_KNOWN {
                self.known.push(payload.clone());
            }
        }
    }

    /// The formats as the media plane wants them.
    pub(super) fn media_formats(&self) -> Vec<Format> {
        let format = |shared: &Shared| Format {
            codec: crate::media::Codec {
                name: shared.codec.name.clone(),
                clock: shared.codec.clock,
                channels: shared.codec.channels,
            },
            receive: shared.receive,
            send: shared.send,
        };
        self.formats.iter().map(format).collect()
    }
}
