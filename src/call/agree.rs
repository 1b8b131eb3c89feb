//! What two descriptions of a half agree on: codecs, directions, addresses, and the browser's transport.

use super::half::Half;
use crate::media::{Agreed, Kind};
use crate::sdp::negotiate::shared;
use crate::sdp::{Direction, Kind as Carries, Media, Payload, Protocol, Session, Setup};
use crate::webrtc;
use std::net::SocketAddr;

/// Packet duration where nothing is said (RFC 3551 section 4.2).
const PTIME_MS: u16 = 20;

/// Whether a stream of this protocol may be had on this kind of media side.
fn fits(kind: Kind, media: &Media) -> bool {
    match (kind, &media.protocol) {
        // Old browsers say RTP/SAVPF and mean DTLS all the same (RFC 8829 section 5.1.2).
        (Kind::Web, Protocol::UdpTlsRtpSavpf | Protocol::UdpTlsRtpSavp | Protocol::RtpSavpf) => {
            media.rtcp_mux
        }
        (Kind::Rtp(_) | Kind::Shared(_), Protocol::RtpAvp | Protocol::RtpAvpf) => true,
        _ => false,
    }
}

/// The audio stream of a description that a half may have: the first that is not refused and of a protocol that it
/// speaks (some phones offer SRTP and RTP side by side). A browser's must name its transport.
pub(super) fn stream(kind: Kind, session: &Session) -> Option<usize> {
    session.media.iter().position(|media| {
        let named = kind != Kind::Web || transport(session, media, None).is_some();
        media.kind == Carries::Audio && !media.rejected() && fits(kind, media) && named
    })
}

/// What a browser's description says of its transport. `role` is ours, where it is settled.
pub(super) fn transport(session: &Session, media: &Media, role: Option<Setup>) -> Option<webrtc::Remote> {
    let ice = session.ice(media);
    let fingerprints = session.fingerprints(media);
    if fingerprints.is_empty() {
        return None;
    }
    Some(webrtc::Remote {
        ufrag: ice.ufrag.clone()?,
        pwd: ice.pwd.clone()?,
        fingerprints: fingerprints.iter().map(|f| (f.hash.clone(), f.digest.clone())).collect(),
        dtls_client: role.unwrap_or_else(|| our_role(session, media)) == Setup::Passive,
        ice_lite: session.ice_lite,
        candidates: media.candidates.clone(),
    })
}

/// Our role in DTLS, by what the other side says of its own: the server, unless it insists (RFC 5763 section 5).
pub(super) fn our_role(session: &Session, media: &Media) -> Setup {
    match session.setup(media) {
        Some(Setup::Passive) => Setup::Active,
        _ => Setup::Passive,
    }
}

/// Whether the ICE credentials differ: an ICE restart (RFC 8839 section 4.4.3.1.1).
pub(super) fn restarts(before: Option<&webrtc::Remote>, now: &webrtc::Remote) -> bool {
    before.is_some_and(|before| before.ufrag != now.ufrag || before.pwd != now.pwd)
}

/// Which way the party's media goes, as it says itself. Without ICE the address 0.0.0.0 is a way to hold.
pub(super) fn direction(kind: Kind, session: &Session, media: &Media) -> Direction {
    if kind == Kind::Web { session.direction(media) } else { session.held_direction(media) }
}

impl Half {
    /// Makes an offer and its answer stand. Gives `false`, and changes nothing, where the answer accepts no codec.
    pub(super) fn settle(&mut self, local: Box<Session>, remote: Box<Session>, place: usize) -> bool {
        let Some((ours, theirs)) = local.media.get(place).zip(remote.media.get(place)) else { return false };
        if theirs.rejected() || !fits(self.kind, theirs) {
            return false;
        }
        let (our_types, their_types) = (ours.payload_types(), theirs.answered_types(ours));
        let formats = shared(&their_types, &our_types, false);
        if formats.iter().all(|format| format.codec.is_auxiliary()) {
            return false;
        }
        self.learn(&our_types);
        self.learn(&their_types);
        self.formats = formats;
        self.fax = false;
        self.stream = place;
        self.local = Some(local);
        self.remote = Some(remote);
        true
    }

    /// The party's payload types, where its description stands.
    pub(super) fn party_types(&self) -> Vec<Payload> {
        let media = self.remote.as_ref().and_then(|remote| remote.media.get(self.stream));
        media.map(Media::payload_types).unwrap_or_default()
    }

    /// Which way the party's media goes, as its standing description says.
    pub(super) fn party_direction(&self) -> Direction {
        let standing = self.remote.as_ref().and_then(|remote| Some((remote, remote.media.get(self.stream)?)));
        standing.map_or(Direction::SendRecv, |(remote, media)| direction(self.kind, remote, media))
    }

    /// Which way our media goes, as our standing description says.
    pub(super) fn our_direction(&self) -> Direction {
        let media = self.local.as_ref().and_then(|local| local.media.get(self.stream));
        media.and_then(|media| media.direction).unwrap_or_default()
    }

    /// What the media plane needs of the standing descriptions.
    pub(super) fn agreed(&self) -> Option<Agreed> {
        let (local, remote) = (self.local.as_ref()?, self.remote.as_ref()?);
        let (ours, theirs) = (local.media.get(self.stream)?, remote.media.get(self.stream)?);
        let (we, they) = (self.our_direction(), self.party_direction());
        let open = !self.held && !self.told;
        let rtcp_mux = ours.rtcp_mux && theirs.rtcp_mux;
        let address = if self.is_web() { None } else { rtp_address(remote, theirs) };
        Some(Agreed {
            remote: address,
            remote_rtcp: address.filter(|_| !rtcp_mux).and_then(|rtp| rtcp_address(rtp, theirs)),
            rtcp_mux,
            send: open && we.sends() && they.receives(),
            receive: open && !self.gated && we.receives() && they.sends(),
            raw: self.fax,
            formats: self.media_formats(),
            ptime_ms: theirs.ptime_ms.unwrap_or(PTIME_MS),
        })
    }
}

/// Where a party hears RTP. Host names are not resolved, and 0.0.0.0 is nowhere.
fn rtp_address(session: &Session, media: &Media) -> Option<SocketAddr> {
    let ip = session.connection(media)?.address.ip()?;
    let usable = media.port != 0 && !ip.is_unspecified() && !ip.is_multicast();
    usable.then(|| SocketAddr::new(ip, media.port))
}

/// Where a party hears RTCP: where it says (RFC 3605), else on the next port (RFC 3550 section 11).
fn rtcp_address(rtp: SocketAddr, media: &Media) -> Option<SocketAddr> {
    let Some(rtcp) = &media.rtcp else {
        return rtp.port().checked_add(1).map(|port| SocketAddr::new(rtp.ip(), port));
    };
    let ip = match &rtcp.address {
        Some(address) => address.ip().filter(|ip| !ip.is_unspecified() && !ip.is_multicast())?,
        None => rtp.ip(),
    };
    (rtcp.port != 0).then(|| SocketAddr::new(ip, rtcp.port))
}
