//! Offer and answer (RFC 3264): which codecs two descriptions share, under which numbers, and which way media goes.

use super::codec::{Codec, Payload};
use super::media::{Direction, Fmtp, Media, Rtpmap};
use super::session::{Group, Origin, Session};

/// A codec that both descriptions of a stream name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// What it is.
    pub codec: Codec,
    /// The number on what comes: what our description says.
    pub receive: u8,
    /// The number on what goes: what theirs says. Differing numbers are legal (RFC 3264 section 5.1).
    pub send: u8,
}

/// What of an offer an answer may accept: the offer's numbers in the offer's order, of the codecs that are `allowed`.
///
/// What goes along with a codec proper needs one to go along with: comfort noise of its clock rate, and
/// telephone-event of its clock rate or of 8000 Hz, which some browsers offer beside Opus as the only one. Nothing is
/// accepted where no codec proper is.
pub fn accept(offered: &[Payload], allowed: &[Codec]) -> Vec<Payload> {
    let clocks: Vec<u32> = offered
        .iter()
        .filter(|payload| !payload.codec.is_auxiliary() && allowed.contains(&payload.codec))
        .map(|payload| payload.codec.clock)
        .collect();
    let wanted = |payload: &&Payload| {
        let codec = &payload.codec;
        let along = clocks.contains(&codec.clock) || (codec.is_telephone_event() && codec.clock == 8000);
        allowed.contains(codec) && (!codec.is_auxiliary() || along)
    };
    if clocks.is_empty() {
        return Vec::new();
    }
    let mut accepted: Vec<Payload> = Vec::new();
    for payload in offered.iter().filter(wanted) {
        // The same codec under two numbers (two profiles, or a fault): the first is the preferred one.
        if !accepted.iter().any(|a| a.codec == payload.codec) {
            accepted.push(payload.clone());
        }
    }
    accepted
}

/// What our description and theirs share, in the order of the one that is `first`.
pub fn shared(first: &[Payload], second: &[Payload], first_is_ours: bool) -> Vec<Shared> {
    let pair = |a: &Payload| {
        let b = second.iter().find(|b| compatible(a, b))?;
        let (ours, theirs) = if first_is_ours { (a, b) } else { (b, a) };
        Some(Shared { codec: a.codec.clone(), receive: ours.number, send: theirs.number })
    };
    first.iter().filter_map(pair).collect()
}

/// Whether two payload types are one codec. Parameters count only where a decoder of the one can't read the other.
pub fn compatible(a: &Payload, b: &Payload) -> bool {
    let same = |name: &str, default: &str| {
        let value = |p: &Payload| parameter(&p.fmtp, name).unwrap_or(default).to_ascii_lowercase();
        value(a) == value(b)
    };
    a.codec == b.codec
        && match a.codec.name.as_str() {
            // RFC 4867 section 8.3.1: both sides must agree.
            "amr" | "amr-wb" => same("octet-align", "0") && same("interleaving", ""),
            // RFC 6184 section 8.2.2: these two are a configuration of their own.
            "h264" => same("packetization-mode", "0") && h264_profile(&a.fmtp) == h264_profile(&b.fmtp),
            "vp9" => same("profile-id", "0"),
            _ => true,
        }
}

/// A parameter of an `a=fmtp` value.
pub fn parameter<'a>(fmtp: &'a str, name: &str) -> Option<&'a str> {
    fmtp.split(';').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        key.trim().eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Profile and constraints, without the level, which is negotiable.
fn h264_profile(fmtp: &str) -> String {
    let id = parameter(fmtp, "profile-level-id").unwrap_or("42000a");
    id.get(..4).unwrap_or(id).to_ascii_lowercase()
}

/// Gives each codec of an offer its number: the one that it had before in this stream (`known`: a number never changes
/// its meaning in a session, RFC 3264 section 8.3.2), else the one it comes with, else its static one, else a free
/// dynamic one.
pub fn number(wishes: Vec<Payload>, known: &[Payload]) -> Vec<Payload> {
    let mut given: Vec<Payload> = Vec::with_capacity(wishes.len());
    for mut wish in wishes {
        let own = wish.codec.static_number();
        let before = known.iter().find(|old| old.codec == wish.codec).map(|old| old.number);
        let wished = Some(wish.number).filter(|&n| (96..=127).contains(&n) || Some(n) == own);
        let free = |n: &u8| {
            !given.iter().any(|other| other.number == *n)
                && !known.iter().any(|old| old.number == *n && old.codec != wish.codec)
        };
        // 35 to 63: dynamic numbers for when those from 96 on are used up (RFC 3551 section 3).
        let mut candidates = before.into_iter().chain(wished).chain(own).chain((96..=127).chain(35..=63));
        let Some(number) = candidates.find(free) else { continue };
        wish.number = number;
        given.push(wish);
    }
    given
}

impl Direction {
    /// What answers this offered direction where the answerer wants `want` (RFC 3264 section 6.1).
    pub fn answer(self, want: Direction) -> Direction {
        Direction::new(want.sends() && self.receives(), want.receives() && self.sends())
    }
}

impl Media {
    /// Names these payload types in this order: numbers, `a=rtpmap` and `a=fmtp`.
    pub fn set_payload_types(&mut self, payloads: &[Payload]) {
        self.payloads = payloads.iter().map(|p| p.number).collect();
        self.rtpmaps = payloads
            .iter()
            .map(|Payload { number, codec, .. }| Rtpmap {
                payload: *number,
                name: codec.spelling().into(),
                clock: codec.clock,
                channels: codec.channels,
            })
            .collect();
        self.fmtps = payloads
            .iter()
            .filter(|p| !p.fmtp.is_empty())
            .map(|p| Fmtp { payload: p.number, value: p.fmtp.clone() })
            .collect();
    }

    /// The answer that refuses this offered stream (RFC 3264 section 6): port 0, and formats because some must stand.
    pub fn refusal(&self) -> Media {
        Media {
            kind: self.kind.clone(),
            protocol: self.protocol.clone(),
            ports: 1,
            payloads: self.payloads.iter().take(1).copied().collect(),
            formats: self.formats.iter().take(1).cloned().collect(),
            mid: self.mid.clone(),
            ..Media::default()
        }
    }

    /// The payload types of an answer to `offer`. A dynamic number that the answer gives no meaning keeps the offer's.
    pub fn answered_types(&self, offer: &Media) -> Vec<Payload> {
        let meaning = |&number: &u8| {
            let (codec, source) = match self.codec(number) {
                Some(codec) => (codec, self),
                None => (offer.codec(number)?, offer),
            };
            Some(Payload { number, codec, fmtp: source.fmtp(number).to_string() })
        };
        self.payloads.iter().filter_map(meaning).collect()
    }
}

impl Session {
    /// The answer that refuses every stream of an offer, to be filled in where one is accepted: as many media
    /// descriptions, in the same order, mids echoed, and no group yet.
    pub fn refusing(offer: &Session, origin: Origin) -> Session {
        let mut answer = Session { origin, name: "-".into(), ..Session::default() };
        answer.media = offer.media.iter().map(Media::refusal).collect();
        answer
    }

    /// Writes the groups of an answer: each BUNDLE group of the offer, of the mids that stand accepted
    /// (RFC 9143 section 7.3).
    pub fn answer_bundle(&mut self, offer: &Session) {
        let accepted: Vec<&str> =
            self.media.iter().filter(|m| !m.rejected()).filter_map(|m| m.mid.as_deref()).collect();
        let group = |group: &Group| {
            let mids: Vec<String> =
                group.mids.iter().filter(|mid| accepted.contains(&mid.as_str())).cloned().collect();
            (group.semantics == "BUNDLE" && !mids.is_empty())
                .then(|| Group { semantics: "BUNDLE".into(), mids })
        };
        self.groups = offer.groups.iter().filter_map(group).collect();
    }

    /// Makes this description follow `before`, which went the same way: the same session id, and the next version
    /// where anything else differs, the same where nothing does (RFC 3264 section 8).
    pub fn follow(&mut self, before: &Session) {
        self.origin = before.origin.clone();
        if self != before {
            let version = before.origin.version.parse::<u64>().unwrap_or(0);
            self.origin.version = version.wrapping_add(1).to_string();
        }
    }

    /// The direction that a stream without ICE offers, with the old way to hold: the address 0.0.0.0 says that
    /// nothing is received (RFC 3264 section 8.4).
    pub fn held_direction(&self, media: &Media) -> Direction {
        let direction = self.direction(media);
        let nowhere =
            self.connection(media).and_then(|c| c.address.ip()).is_some_and(|ip| ip.is_unspecified());
        Direction::new(direction.sends(), direction.receives() && !nowhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(text: &str) -> Session {
        let head = "v=0\r\no=- 1 7 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";
        Session::parse(format!("{head}{text}").as_bytes()).unwrap()
    }

    fn browser() -> Vec<Codec> {
        vec![
            Codec::new("opus", 48000, 2),
            Codec::new("G722", 8000, 1),
            Codec::new("PCMU", 8000, 1),
            Codec::new("PCMA", 8000, 1),
            Codec::telephone_event(8000),
            Codec::telephone_event(48000),
        ]
    }

    fn chromium() -> Session {
        session(
            "m=audio 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\na=rtpmap:111 opus/48000/2\r\n\
             a=rtpmap:63 red/48000/2\r\na=rtpmap:110 telephone-event/48000\r\na=rtpmap:126 telephone-event/8000\r\n",
        )
    }

    fn numbers(payloads: &[Payload]) -> Vec<u8> {
        payloads.iter().map(|p| p.number).collect()
    }

    #[test]
    fn an_answer_keeps_the_offers_numbers_and_both_event_clocks() {
        let offered = chromium().media[0].payload_types();
        assert_eq!(numbers(&accept(&offered, &browser())), [111, 9, 0, 8, 110, 126]);
        let narrow =
            [Codec::new("pcmu", 8000, 1), Codec::telephone_event(8000), Codec::telephone_event(48000)];
        assert_eq!(numbers(&accept(&offered, &narrow)), [0, 126]);
    }

    #[test]
    fn events_and_comfort_noise_alone_are_no_stream() {
        let offered = session("m=audio 9 RTP/AVP 13 101\r\na=rtpmap:101 telephone-event/8000\r\n").media[0]
            .payload_types();
        let allowed = [Codec::new("CN", 8000, 1), Codec::telephone_event(8000), Codec::new("opus", 48000, 2)];
        assert_eq!(accept(&offered, &allowed), []);
    }

    #[test]
    fn comfort_noise_goes_along_with_a_codec_of_its_clock() {
        let mut allowed = browser();
        allowed.push(Codec::new("CN", 8000, 1));
        assert!(numbers(&accept(&chromium().media[0].payload_types(), &allowed)).contains(&13));
        let opus = [Codec::new("opus", 48000, 2), Codec::new("CN", 8000, 1)];
        assert_eq!(numbers(&accept(&chromium().media[0].payload_types(), &opus)), [111]);
    }

    #[test]
    fn opus_is_stereo_however_it_is_written() {
        let mono = session("m=audio 9 RTP/AVP 96\r\na=rtpmap:96 OPUS/48000/1\r\n").media[0].payload_types();
        assert_eq!(mono[0].codec, Codec::new("opus", 48000, 2));
        let mut media = Media::default();
        media.set_payload_types(&mono);
        assert_eq!((media.rtpmaps[0].name.as_str(), media.rtpmaps[0].channels), ("opus", 2));
    }

    #[test]
    fn asymmetric_numbers_pair_by_codec() {
        let ours = session("m=audio 9 RTP/AVP 96 0\r\na=rtpmap:96 opus/48000/2\r\n").media[0].payload_types();
        let theirs =
            session("m=audio 9 RTP/AVP 0 111\r\na=rtpmap:111 opus/48000\r\n").media[0].payload_types();
        let shared = shared(&theirs, &ours, false);
        let pairs: Vec<_> = shared.iter().map(|s| (s.codec.name.as_str(), s.receive, s.send)).collect();
        assert_eq!(pairs, [("pcmu", 0, 0), ("opus", 96, 111)]);
    }

    #[test]
    fn an_answer_without_rtpmap_means_what_the_offer_meant() {
        let offer = session("m=audio 9 RTP/AVP 96\r\na=rtpmap:96 opus/48000/2\r\n");
        let answer = session("m=audio 9 RTP/AVP 96 97\r\n");
        let types = answer.media[0].answered_types(&offer.media[0]);
        assert_eq!((types.len(), types[0].codec.name.as_str()), (1, "opus"));
    }

    #[test]
    fn all_four_directions_are_answered_as_rfc_3264_says() {
        use Direction::*;
        for (offered, answer) in
            [(SendRecv, SendRecv), (SendOnly, RecvOnly), (RecvOnly, SendOnly), (Inactive, Inactive)]
        {
            assert_eq!(offered.answer(SendRecv), answer);
            assert_eq!(offered.answer(Inactive), Inactive);
            assert_eq!(offered.reversed(), answer);
        }
        assert_eq!(SendRecv.answer(RecvOnly), RecvOnly);
        assert_eq!(SendOnly.answer(SendOnly), Inactive);
    }

    #[test]
    fn the_address_0_0_0_0_holds() {
        let held = session("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n");
        assert_eq!(held.held_direction(&held.media[0]), Direction::SendOnly);
        let still = session("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n");
        assert_eq!(still.held_direction(&still.media[0]), Direction::Inactive);
    }

    #[test]
    fn refused_streams_keep_their_place_and_mid_with_port_0() {
        let offer = session(
            "a=group:BUNDLE a v\r\nm=audio 9 RTP/AVP 0\r\na=mid:a\r\nm=video 9 RTP/AVP 96 97\r\na=mid:v\r\n\
             m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n",
        );
        let mut answer = Session::refusing(&offer, Origin::default());
        answer.media[0].port = 9;
        answer.answer_bundle(&offer);
        assert_eq!(answer.groups, [Group { semantics: "BUNDLE".into(), mids: vec!["a".into()] }]);
        let text = answer.to_string();
        assert!(text.contains("m=video 0 RTP/AVP 96\r\na=mid:v\r\n"), "{text}");
        assert!(text.contains("m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\n"), "{text}");
    }

    #[test]
    fn versions_rise_by_one_per_change_and_only_then() {
        let before = session("m=audio 4000 RTP/AVP 0\r\n");
        let mut same = before.clone();
        same.origin.version = "99".into();
        same.follow(&before);
        assert_eq!(same.origin.version, "7");
        same.media[0].direction = Some(Direction::Inactive);
        same.follow(&before);
        assert_eq!(same.origin.version, "8");
    }

    #[test]
    fn numbers_never_change_their_meaning() {
        let known = session("m=audio 9 RTP/AVP 96 0\r\na=rtpmap:96 telephone-event/8000\r\n");
        let wish = |number, codec| Payload { number, codec, fmtp: String::new() };
        let wishes = vec![
            wish(96, Codec::new("opus", 48000, 2)),
            wish(101, Codec::telephone_event(8000)),
            wish(8, Codec::new("PCMA", 8000, 1)),
            wish(0, Codec::new("PCMU", 8000, 1)),
        ];
        assert_eq!(numbers(&number(wishes, &known.media[0].payload_types())), [97, 96, 8, 0]);
    }

    #[test]
    fn h264_matches_by_profile_and_packetization_not_by_level() {
        let with =
            |fmtp: &str| Payload { number: 96, codec: Codec::new("H264", 90000, 1), fmtp: fmtp.into() };
        let a = with("profile-level-id=42e01f; packetization-mode=1");
        assert!(compatible(&a, &with("packetization-mode=1;profile-level-id=42E034")));
        assert!(!compatible(&a, &with("profile-level-id=42e01f")));
        assert!(!compatible(&a, &with("packetization-mode=1;profile-level-id=640c1f")));
    }
}
