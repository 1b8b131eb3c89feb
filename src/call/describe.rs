//! Our own descriptions: to a browser and to a SIP party, as offers and as answers.

use super::half::Half;
use crate::sdp::negotiate::number;
use crate::sdp::{
    Address, Codec, Connection, Direction, Fingerprint, Group, Ice, Kind as Carries, Media, Origin, Payload,
    Protocol, Rtcp, Session, Setup, Ssrc,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Events 0 to 9, *, #, A to D (RFC 4733 section 3.2).
const DTMF: &str = "0-15";
/// What we say of Opus: a decoder takes everything anyway (RFC 7587 section 6.1).
const OPUS: &str = "minptime=10;useinbandfec=1";

/// The payload types of an offer of ours, with numbers that browsers, or phones, are used to.
pub(super) fn wishes(codecs: &[Codec], web: bool) -> Vec<Payload> {
    let payload = |codec: &Codec| {
        let number = match (codec.name.as_str(), codec.clock, web) {
            ("opus", _, true) => 111,
            ("opus", _, false) => 96,
            ("telephone-event", 8000, true) => 126,
            ("telephone-event", 8000, false) => 101,
            ("telephone-event", _, true) => 110,
            ("telephone-event", _, false) => 102,
            ("red", _, true) => 63,
            _ => codec.static_number().unwrap_or(97),
        };
        Payload { number, codec: codec.clone(), fmtp: fmtp(codec, "") }
    };
    let events = |codec: &&Codec| codec.is_telephone_event();
    let extras = codecs.iter().filter(|codec| codec.is_extra());
    let proper = codecs.iter().filter(|codec| !events(codec) && !codec.is_extra());
    // 8000 Hz first: many phones look no further.
    let mut along: Vec<&Codec> = codecs.iter().filter(events).collect();
    if !web {
        along.sort_by_key(|codec| codec.clock);
    }
    proper.chain(along).chain(extras).map(payload).collect()
}

/// The parameters of a codec in our description; `theirs` are those of the party on the other half, where it has some.
pub(super) fn fmtp(codec: &Codec, theirs: &str) -> String {
    match codec.name.as_str() {
        "telephone-event" => DTMF.into(),
        "opus" => OPUS.into(),
        _ => theirs.into(),
    }
}

/// Payload types of an answer, with the parameters that the party on the other half has for the same codecs.
pub(super) fn with_parameters(mut payloads: Vec<Payload>, other: &[Payload]) -> Vec<Payload> {
    for payload in &mut payloads {
        let theirs =
            other.iter().find(|theirs| theirs.codec == payload.codec).map(|theirs| theirs.fmtp.as_str());
        payload.fmtp = fmtp(&payload.codec, theirs.unwrap_or(&payload.fmtp));
    }
    payloads
}

/// Redundant audio names the payload type inside by the number that it has in the same description (RFC 2198 section 5);
/// without one it means nothing.
fn bound(mut payloads: Vec<Payload>) -> Vec<Payload> {
    let opus = payloads.iter().find(|payload| payload.codec.name == "opus").map(|payload| payload.number);
    payloads.retain(|payload| payload.codec.name != "red" || opus.is_some());
    if let (Some(red), Some(opus)) = (payloads.iter_mut().find(|p| p.codec.name == "red"), opus) {
        red.fmtp = format!("{opus}/{opus}");
    }
    payloads
}

impl Half {
    /// An answer of ours that accepts one stream of an offer and refuses all others.
    pub(super) fn answer(
        &self,
        offer: &Session,
        place: usize,
        payloads: &[Payload],
        direction: Direction,
    ) -> Session {
        let mut answer = Session::refusing(offer, self.origin());
        self.head(&mut answer);
        let Some((media, offered)) = answer.media.get_mut(place).zip(offer.media.get(place)) else {
            return answer;
        };
        media.set_payload_types(&bound(payloads.to_vec()));
        media.direction = Some(direction);
        self.fill(media, self.role.unwrap_or(Setup::Passive));
        media.rtcp_mux = offered.rtcp_mux;
        media.rtcp_rsize = self.is_web() && offered.rtcp_rsize;
        if self.is_web() {
            answer.answer_bundle(offer);
        }
        self.number_version(answer)
    }

    /// An offer of ours: what stood before in its place, and one audio stream of these payload types.
    pub(super) fn offer(&self, wishes: Vec<Payload>, direction: Direction) -> Session {
        let mut offer = Session { origin: self.origin(), name: "-".into(), ..Session::default() };
        self.head(&mut offer);
        // A later offer keeps the places of all streams (RFC 3264 section 8).
        offer.media = self.local.as_ref().map(|local| local.media.clone()).unwrap_or_default();
        if offer.media.is_empty() {
            offer.media.push(Media { mid: self.is_web().then(|| "0".into()), ..Media::default() });
        }
        let protocol = if self.is_web() { Protocol::UdpTlsRtpSavpf } else { Protocol::RtpAvp };
        let Some(media) = offer.media.get_mut(self.stream) else { return offer };
        // What both agreed on before stays (RFC 5761 section 5.1.1); a first offer to a phone does without.
        let rtcp_mux = media.rtcp_mux;
        let sound = media.kind == Carries::Audio;
        let protocol = if self.local.is_some() && sound { media.protocol.clone() } else { protocol };
        *media =
            Media { kind: Carries::Audio, protocol, ports: 1, mid: media.mid.take(), ..Media::default() };
        media.set_payload_types(&bound(number(wishes, &self.known)));
        media.direction = Some(direction);
        media.rtcp_mux = rtcp_mux;
        self.fill(media, Setup::Actpass);
        media.rtcp_rsize = self.is_web();
        if let (true, Some(mid)) = (self.is_web(), media.mid.clone()) {
            offer.groups = vec![Group { semantics: "BUNDLE".into(), mids: vec![mid] }];
        }
        self.number_version(offer)
    }

    fn origin(&self) -> Origin {
        let ip = match self.opened.as_ref().and_then(|opened| opened.address) {
            Some(address) if !self.is_web() => address.ip(),
            _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
        };
        Origin {
            user: "-".into(),
            id: self.session_id.to_string(),
            version: "1".into(),
            address: Address::Ip(ip),
        }
    }

    /// The session part.
    fn head(&self, session: &mut Session) {
        session.name.clone_from(&self.session_name);
        session.ice_lite = self.is_web();
        if !self.is_web() {
            session.connection =
                self.opened.as_ref().and_then(|o| o.address).map(|a| Connection::from(a.ip()));
        }
    }

    /// Transport, and what is ours of a stream.
    fn fill(&self, media: &mut Media, setup: Setup) {
        match self.transport() {
            Some(local) if self.is_web() => {
                media.ice =
                    Ice { ufrag: Some(local.ufrag.clone()), pwd: Some(local.pwd.clone()), options: vec![] };
                media.fingerprints =
                    vec![Fingerprint { hash: "sha-256".into(), digest: local.fingerprint.to_vec() }];
                media.setup = Some(setup);
                media.rtcp_mux = true;
                self.fill_candidates(media, &local.candidates);
            }
            _ => {
                media.port = self.opened.as_ref().and_then(|o| o.address).map_or(9, |address| address.port());
                media.ptime_ms = Some(20);
            }
        }
    }

    fn fill_candidates(&self, media: &mut Media, candidates: &[SocketAddr]) {
        // Port 9 and 0.0.0.0 where there is none: the party finds out by ICE (RFC 8840 section 4.1.1).
        let first = candidates.first().copied().unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 9).into());
        media.port = first.port();
        media.connection = Some(Connection::from(first.ip()));
        media.rtcp = Some(Rtcp { port: first.port(), address: Some(Address::Ip(first.ip())) });
        let candidate = |(n, address): (usize, &SocketAddr)| {
            // RFC 8445 section 5.1.2.1: type preference 126 of a host candidate, then ours, then component 1.
            let priority = (126_u32 << 24) | (65_535 - n.min(65_535) as u32) << 8 | 255;
            format!("{} 1 udp {priority} {} {} typ host", n + 1, address.ip(), address.port())
        };
        media.candidates = candidates.iter().enumerate().map(candidate).collect();
        media.end_of_candidates = true;
        if let Some(opened) = &self.opened {
            media.msids = vec!["bridgehead audio".into()];
            media.ssrcs = vec![Ssrc { id: opened.ssrc, attribute: format!("cname:{}", opened.cname) }];
        }
    }

    /// The session's version, after the last one that we sent.
    fn number_version(&self, mut session: Session) -> Session {
        // As it would be read back, so that it may be compared.
        session.timings.push(crate::sdp::Timing::default());
        let sent = self.sent.as_deref().and_then(|text| Session::parse(text.as_bytes()).ok());
        if let Some(sent) = sent {
            session.follow(&sent);
        }
        session
    }
}
