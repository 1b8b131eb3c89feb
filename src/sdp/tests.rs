//! The corpus, the verdicts, and bytes that no writer meant.

use super::*;
use crate::base::Random;
use std::path::{Path, PathBuf};

fn corpora() -> Option<PathBuf> {
    let set = std::env::var_os("BRIDGEHEAD_CORPORA").map(PathBuf::from);
    let folder =
        set.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpora")).join("sdp");
    if folder.is_dir() {
        return Some(folder);
    }
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "no corpora at {}", folder.display());
    eprintln!("skipped: no corpora at {}", folder.display());
    None
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .flat_map(|group| std::fs::read_dir(group.unwrap().path()).unwrap())
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sdp"))
        .collect();
    found.sort();
    let name = |path: &Path| path.strip_prefix(folder).unwrap().to_str().unwrap().to_string();
    found.iter().map(|path| (name(path), std::fs::read(path).unwrap())).collect()
}

fn round_trip(name: &str, session: &Session) {
    let mut text = Vec::new();
    session.write(&mut text);
    let again = Session::parse(&text).unwrap_or_else(|error| panic!("{name}: {error:?} in\n{session}"));
    let mut expected = session.clone();
    expected.media.iter_mut().for_each(|media| media.candidates_ignored = 0);
    assert_eq!(again, expected, "{name}");
}

/// What is refused, and why. All others parse.
const REFUSED: &[(&str, Error)] = &[
    // `f=` is no line of RFC 8866; before it, `a=rtcp` names no address family.
    ("sdp-transform/invalid.sdp", Error::Address),
    // Comment lines before `v=`.
    ("webrtc-sdp/03.sdp", Error::Line),
    ("webrtc-sdp/08.sdp", Error::Line),
    ("webrtc-sdp/11.sdp", Error::Line),
];

#[test]
fn the_corpus_survives_a_round_trip_and_the_invalid_are_refused() {
    let Some(folder) = corpora() else { return };
    let files = files(&folder);
    assert!(files.len() > 70, "{}", files.len());
    for (name, data) in &files {
        let refused = REFUSED.iter().find(|(refused, _)| refused == name).map(|&(_, error)| error);
        match Session::parse(data) {
            Ok(session) => {
                assert_eq!(refused, None, "{name}");
                round_trip(name, &session);
            }
            Err(error) => assert_eq!(Some(error), refused, "{name}"),
        }
    }
}

#[test]
fn no_mutation_of_the_corpus_panics_and_what_parses_survives_a_round_trip() {
    let Some(folder) = corpora() else { return };
    let mut random = Random::from_number(1);
    for (name, data) in files(&folder) {
        for _ in 0..60 {
            let mut data = data.clone();
            for _ in 0..=random.below(4) {
                mutate(&mut data, &mut random);
            }
            if let Ok(session) = Session::parse(&data) {
                round_trip(&name, &session);
            }
        }
    }
}

fn mutate(data: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(data.len() as u64 + 1) as usize;
    let to = (at + random.below(40) as usize).min(data.len());
    match random.below(5) {
        0 => drop(data.drain(at..to)),
        1 => data.insert(at, random.u32() as u8),
        2 => data.truncate(at),
        3 => {
            let piece = data[at..to].to_vec();
            let place = random.below(data.len() as u64 + 1) as usize;
            data.splice(place..place, piece);
        }
        _ => {
            if let Some(byte) = data.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
    }
}

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n";

fn parse(rest: &str) -> Result<Session, Error> {
    Session::parse(format!("{HEAD}{rest}").as_bytes())
}

fn listed(media: &Media) -> Vec<String> {
    let text = |p: Payload| format!("{} {}/{}/{}", p.number, p.codec.name, p.codec.clock, p.codec.channels);
    media.payload_types().into_iter().map(text).collect()
}

#[test]
fn a_chromium_offer_gives_its_codecs_ufrag_and_fingerprint() {
    let Some(folder) = corpora() else { return };
    let data = std::fs::read(folder.join("live/chromium-156-offer-debian12.sdp")).unwrap();
    let session = Session::parse(&data).unwrap();
    let audio = &session.media[0];
    assert_eq!(
        listed(audio),
        [
            "111 opus/48000/2",
            "63 red/48000/2",
            "9 g722/8000/1",
            "0 pcmu/8000/1",
            "8 pcma/8000/1",
            "13 cn/8000/1",
            "110 telephone-event/48000/1",
            "126 telephone-event/8000/1",
        ]
    );
    assert_eq!(audio.fmtp(111), "minptime=10;useinbandfec=1");
    let ice = session.ice(audio);
    assert_eq!(ice.ufrag.as_deref(), Some("XcIQ"));
    assert_eq!(ice.pwd.as_deref(), Some("uDFgOKQZH++NWMghhTUhhA+S"));
    assert_eq!(ice.options, ["trickle"]);
    let [fingerprint] = session.fingerprints(audio) else { panic!("one fingerprint") };
    assert_eq!((fingerprint.hash.as_str(), fingerprint.digest.len()), ("sha-256", 32));
    assert_eq!(fingerprint.digest[..3], [0x3e, 0x54, 0xff]);
    assert_eq!(session.setup(audio), Some(Setup::Actpass));
    assert_eq!(session.direction(audio), Direction::SendRecv);
    assert_eq!((audio.candidates.len(), audio.rtcp_mux, audio.rtcp_rsize), (2, true, true));
    assert_eq!(audio.protocol, Protocol::UdpTlsRtpSavpf);
    assert_eq!(session.bundle("0").map(|group| group.mids.len()), Some(1));
    assert_eq!(audio.ssrcs[0], Ssrc { id: 2_120_115_743, attribute: "cname:wqfMVmA92BoDS613".into() });
    assert!(session.extmap_allow_mixed && audio.extmaps.len() == 4);
}

#[test]
fn a_firefox_offer_gives_what_it_says_for_the_whole_session() {
    let Some(folder) = corpora() else { return };
    let data = std::fs::read(folder.join("live/firefox-esr-153-offer-debian12.sdp")).unwrap();
    let session = Session::parse(&data).unwrap();
    let audio = &session.media[0];
    assert_eq!(
        listed(audio),
        ["109 opus/48000/2", "9 g722/8000/1", "0 pcmu/8000/1", "8 pcma/8000/1", "101 telephone-event/8000/1"]
    );
    assert_eq!(session.ice(audio).ufrag.as_deref(), Some("8ad9b943"));
    assert_eq!(session.fingerprints(audio)[0].digest[..2], [0xf6, 0xdb]);
    assert!(audio.fingerprints.is_empty() && audio.end_of_candidates);
    assert_eq!(audio.extmaps[1].direction, Some(Direction::RecvOnly));
    assert_eq!(session.origin.user, "mozilla...THIS_IS_SDPARTA-99.0");
}

#[test]
fn media_say_for_themselves_what_the_session_says_for_all() {
    let session = parse(
        "a=inactive\r\na=ice-ufrag:aaaa\r\na=ice-pwd:aaaaaaaaaaaaaaaaaaaaaa\r\na=setup:active\r\n\
         m=audio 1 RTP/AVP 0\r\nm=audio 2 RTP/AVP 0\r\na=sendonly\r\na=ice-ufrag:bbbb\r\n\
         a=ice-pwd:bbbbbbbbbbbbbbbbbbbbbb\r\na=setup:passive\r\nc=IN IP6 ::1\r\n",
    )
    .unwrap();
    let [first, second] = session.media.as_slice() else { panic!("two media") };
    assert_eq!(session.direction(first), Direction::Inactive);
    assert_eq!(session.direction(second), Direction::SendOnly);
    assert_eq!(session.ice(first).ufrag.as_deref(), Some("aaaa"));
    assert_eq!(session.ice(second).ufrag.as_deref(), Some("bbbb"));
    assert_eq!(session.setup(first), Some(Setup::Active));
    assert_eq!(session.setup(second), Some(Setup::Passive));
    let address = |media| session.connection(media).unwrap().address.to_string();
    assert_eq!((address(first), address(second)), ("IP4 192.0.2.1".into(), "IP6 ::1".into()));
}

#[test]
fn real_faults_are_tolerated() {
    // LF alone, no s=, no t=, blank lines, trailing spaces, `/1`, static types without rtpmap, `IP4` before IPv6.
    let text = "\nv=0 \no=The User 1 18446744073709551616 IN IP4 ::1\n\nc=IN IP6 ::1\nm=audio 4000 RTP/AVP 9 0 18 96  \n\
                a=rtpmap:9 G722/8000\na=rtpmap:0 PCMU/8000/1 \na=rtpmap:96 TELEPHONE-EVENT/8000\na=ptime:20 \n";
    let session = Session::parse(text.as_bytes()).unwrap();
    assert_eq!(session.origin.user, "The_User");
    assert_eq!(session.origin.version, "18446744073709551616");
    let audio = &session.media[0];
    assert_eq!(
        listed(audio),
        ["9 g722/8000/1", "0 pcmu/8000/1", "18 g729/8000/1", "96 telephone-event/8000/1"]
    );
    assert_eq!(audio.ptime_ms, Some(20));
    round_trip("faults", &session);
}

#[test]
fn unread_attributes_keep_their_order_and_form() {
    let session =
        parse("a=tool:x\r\na=flag\r\nm=audio 1 RTP/AVP 0\r\na=x-two:2\r\na=ptime:0.125\r\na=x-one\r\n")
            .unwrap();
    let names: Vec<_> =
        session.media[0].other.iter().map(|a| (a.name.as_str(), a.value.as_deref())).collect();
    assert_eq!(names, [("x-two", Some("2")), ("ptime", Some("0.125")), ("x-one", None)]);
    assert_eq!(session.other.len(), 2);
    assert_eq!(session.media[0].attribute("x-two").unwrap().value.as_deref(), Some("2"));
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let media = "m=audio 1 RTP/AVP 0 96\r\n";
    for (rest, error) in [
        ("f=x", Error::Line),
        ("no equals sign", Error::Line),
        ("a=x\0y", Error::Line),
        ("a=x\ry", Error::Line),
        ("v=0", Error::Version),
        ("s=other", Error::Line),
        ("c=IN IP4 192.0.2.999", Error::Address),
        ("c=IN IP4 3221225985", Error::Address),
        ("c=IN IP4 192.0.2.7 x", Error::Address),
        ("c=IN IP4 192.0.2.7\r\nc=IN IP4 192.0.2.8", Error::Duplicate),
        ("a=rtcp:99999", Error::Address),
        ("a=rtcp:9 IN IP4 1.2.3", Error::Address),
        ("a=rtpmap:96 opus/48000/2\r\na=rtpmap:96 PCMU/8000", Error::Duplicate),
        ("a=sendonly\r\na=recvonly", Error::Duplicate),
        ("a=mid:a\r\na=mid:b", Error::Duplicate),
        ("a=mid:", Error::Group),
        ("a=setup:maybe", Error::Setup),
        ("a=setup:active\r\na=setup:passive", Error::Duplicate),
        ("a=fingerprint:sha-256 AA:BB", Error::Fingerprint),
        ("a=fingerprint:sha-256", Error::Fingerprint),
        (
            "a=fingerprint:sha-1 +1:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14",
            Error::Fingerprint,
        ),
        ("a=ice-ufrag:abc", Error::Ice),
        ("a=ice-ufrag:ab cd", Error::Ice),
        ("a=ice-pwd:short", Error::Ice),
        ("a=ice-ufrag:aaaa\r\na=ice-ufrag:bbbb", Error::Duplicate),
        ("a=crypto:x y z", Error::Crypto),
        ("m=audio 70000 RTP/AVP 0", Error::Media),
        ("m=audio -1 RTP/AVP 0", Error::Media),
        ("m=audio 1 RTP/AVP 128", Error::Media),
        ("m=audio 1 RTP/AVP opus", Error::Media),
        ("m=audio 1", Error::Media),
    ] {
        let expected = if rest.starts_with("v=") { Error::Line } else { error };
        assert_eq!(parse(&format!("{media}{rest}\r\n")).err(), Some(expected), "{rest}");
    }
    assert_eq!(Session::parse(b"").err(), Some(Error::Version));
    assert_eq!(Session::parse(b"v=1\r\n").err(), Some(Error::Version));
    assert_eq!(Session::parse(b"v=0\r\ns=-\r\n").err(), Some(Error::Origin));
    assert_eq!(parse("o=- 2 2 IN IP4 192.0.2.1\r\n").err(), Some(Error::Duplicate));
    assert_eq!(parse("t=1\r\n").err(), Some(Error::Timing));
    assert_eq!(parse("a=group:\r\n").err(), Some(Error::Group));
}

#[test]
fn bombs_are_refused_at_their_caps() {
    let ufrag = format!("m=audio 1 RTP/AVP 0\r\na=ice-ufrag:{}\r\n", "u".repeat(100 * 1024));
    assert_eq!(parse(&ufrag).err(), Some(Error::TooLong));
    assert_eq!(parse(&format!("a=ice-ufrag:{}\r\n", "u".repeat(257))).err(), Some(Error::Ice));
    assert_eq!(parse(&format!("a=x:{}\r\n", "u".repeat(MAX_LINE))).err(), Some(Error::TooLong));
    assert_eq!(parse(&"m=audio 1 RTP/AVP 0\r\n".repeat(16)).map(|s| s.media.len()), Ok(16));
    assert_eq!(parse(&"m=audio 1 RTP/AVP 0\r\n".repeat(17)).err(), Some(Error::TooMany));
    assert_eq!(parse(&format!("m=audio 1 RTP/AVP{}\r\n", " 0".repeat(129))).err(), Some(Error::TooMany));
    assert_eq!(parse(&"a=x\r\n".repeat(MAX_LINES + 1)).err(), Some(Error::TooMany));
    assert_eq!(parse(&"a=x\r\n".repeat(20_000)).err(), Some(Error::TooLong));
    let options = |count: usize| {
        let names: Vec<String> = (0..count).map(|n| n.to_string()).collect();
        parse(&format!("a=ice-options:{}\r\n", names.join(" ")))
    };
    assert_eq!(options(16).map(|session| session.ice.options.len()), Ok(16));
    assert_eq!(options(17).err(), Some(Error::TooMany));
}

#[test]
fn candidates_beyond_the_cap_are_ignored_and_counted() {
    let candidate = "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n";
    let session = parse(&format!("m=audio 1 RTP/AVP 0\r\n{}", candidate.repeat(40))).unwrap();
    assert_eq!((session.media[0].candidates.len(), session.media[0].candidates_ignored), (32, 8));
}

#[test]
fn no_line_is_written_that_a_value_smuggles_in() {
    let mut session = parse("m=audio 1 RTP/AVP 0\r\n").unwrap();
    session.media[0].ssrcs.push(Ssrc { id: 1, attribute: "cname:x\r\na=inactive\n\0".into() });
    session.name = "a\r\nm=audio".into();
    let text = session.to_string();
    assert_eq!(text.matches("\r\nm=audio").count(), 1, "{text}");
    assert!(text.contains("a=ssrc:1 cname:x  a=inactive  \r\n"), "{text}");
}

#[test]
fn secrets_are_not_shown() {
    let session = parse(
        "m=audio 1 RTP/SAVP 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:verysecretverysecretvery\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\na=key-mgmt:mikey c2VjcmV0\r\n",
    )
    .unwrap();
    let shown = format!("{session:?}");
    assert!(!shown.contains("verysecret") && !shown.contains("c2VjcmV0"), "{shown}");
}

#[test]
fn bytes_of_any_kind_never_panic() {
    let mut random = Random::from_number(2);
    for _ in 0..2000 {
        let mut data = vec![0; random.below(200) as usize];
        random.fill(&mut data);
        let _ = Session::parse(&data);
        let mut line = format!("{HEAD}m=audio 1 RTP/AVP 0\r\na=").into_bytes();
        line.extend_from_slice(&data);
        let _ = Session::parse(&line);
    }
}
