//! Calls that come about: browser to SIP, SIP to browser, SIP to SIP.

use super::*;

#[test]
fn a_browsers_call_is_answered_at_once_and_offered_in_its_order() {
    let mut bench = Bench::new();
    let leg = bench.incoming(Side::Web, Source::Account("alice".into()), dialled("bob"), Some(&web_offer()));
    let Command::Progress { leg: to, code: 0, answer: Some(answer) } = bench.next_leg() else { panic!() };
    assert_eq!(to, leg);
    assert_eq!(
        listed(&answer),
        [
            "111 opus/48000",
            "9 g722/8000",
            "0 pcmu/8000",
            "8 pcma/8000",
            "110 telephone-event/48000",
            "126 telephone-event/8000"
        ]
    );
    let text = answer.to_string();
    for line in [
        "a=ice-lite\r\n",
        "a=setup:passive\r\n",
        "a=rtcp-mux\r\n",
        "a=rtcp-rsize\r\n",
        "a=mid:0\r\n",
        "a=group:BUNDLE 0\r\n",
        "a=candidate:1 1 udp 2130706431 203.0.113.5 10000 typ host\r\n",
        "a=end-of-candidates\r\n",
        "a=fingerprint:sha-256 07:07:",
        "a=msid:bridgehead audio\r\n",
        "a=sendrecv\r\n",
        "m=audio 10000 UDP/TLS/RTP/SAVPF 111 9 0 8 110 126\r\n",
        "cname:bridge\r\n",
    ] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert!(!text.contains("rtcp-fb") && !text.contains("extmap"), "{text}");
    let dial = bench.dialled();
    assert_eq!(dial.target, Target::Trunk(TrunkId(0)));
    assert_eq!((dial.hops, dial.callee.user.as_str()), (69, "bob"));
    assert_eq!(dial.account, Some("alice".into()));
    assert_eq!(
        listed(&dial.offer),
        [
            "96 opus/48000",
            "9 g722/8000",
            "0 pcmu/8000",
            "8 pcma/8000",
            "101 telephone-event/8000",
            "102 telephone-event/48000",
            "97 red/48000",
            "13 cn/8000"
        ]
    );
    let text = dial.offer.to_string();
    assert!(
        text.contains("RTP/AVP 96 9 0 8 101 102 97 13\r\n") && text.contains("c=IN IP4 198.51.100.1\r\n"),
        "{text}"
    );
    assert!(!text.contains("rtcp-mux") && !text.contains("ice") && text.contains("a=ptime:20\r\n"), "{text}");
    let Some(webrtc::Command::Open { remote: Some(remote), .. }) = bench.web.front() else { panic!() };
    assert_eq!((remote.ufrag.as_str(), remote.dtls_client, remote.fingerprints.len()), ("wxyz", true, 1));
    assert_eq!(bench.formats(leg).len(), 6);
}

#[test]
fn the_browser_hears_of_ringing_and_of_the_answer_and_both_are_joined() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.progress(dial.leg, 0, 100, None);
    bench.quiet();
    bench.progress(dial.leg, 0, 180, None);
    assert!(matches!(bench.next_leg(), Command::Progress { code: 180, answer: None, .. }));
    bench.answered(dial.leg, 0, Some(&sip_sdp("96 101", "")));
    assert_eq!(bench.takes_answer(leg), None);
    bench.quiet();
    assert!(
        bench.media.iter().any(|c| matches!(c, media::Command::Join { a, b } if (*a, *b) == (leg, dial.leg)))
    );
    let agreed = &bench.agreed[&dial.leg];
    assert_eq!(agreed.remote, Some("192.0.2.9:4000".parse().unwrap()));
    assert_eq!(agreed.remote_rtcp, Some("192.0.2.9:4001".parse().unwrap()));
    assert!(agreed.send && agreed.receive && !agreed.rtcp_mux);
    assert_eq!(bench.formats(dial.leg), ["opus/48000", "telephone-event/8000"]);
    bench.ended(leg, Cause::Hangup.into());
    assert_eq!(bench.takes_end(dial.leg), Cause::Hangup.into());
    bench.empty(1);
    let record = &bench.records[0];
    assert_eq!(
        (record.cause, record.answered, record.outgoing),
        (Cause::Hangup, Some(bench.now.unix), Some(dial.leg))
    );
}

#[test]
fn where_the_far_side_chose_another_codec_one_local_offer_settles_it() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.answered(dial.leg, 0, Some(&sip_sdp("8 101", "")));
    assert_eq!(bench.takes_answer(leg), None);
    let offer = bench.takes_offer(leg);
    assert_eq!(listed(&offer), ["8 pcma/8000", "126 telephone-event/8000"]);
    let text = offer.to_string();
    assert!(text.contains("a=setup:actpass\r\n") && text.contains("a=mid:0\r\n"), "{text}");
    assert_eq!(offer.origin.version, "2");
    // Until it is settled, what comes from the phone flows.
    assert!(bench.formats(leg).contains(&"pcma/8000".to_string()));
    bench.accepted(leg, &web_sdp("8 110 126", "active", "wxyz", ""));
    bench.quiet();
    assert_eq!(bench.formats(leg)[0], "pcma/8000");
    assert_eq!(bench.calls.counters().settled, 1);
}

#[test]
fn comfort_noise_and_redundancy_go_to_the_browser_where_the_phone_has_them_too() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    assert!(dial.offer.to_string().contains("a=fmtp:97 96/96\r\n"), "in our own numbers");
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 13 101", "")));
    bench.takes_answer(leg);
    let offer = bench.takes_offer(leg);
    assert_eq!(listed(&offer), ["0 pcmu/8000", "126 telephone-event/8000", "13 cn/8000"]);
    bench.accepted(leg, &web_sdp("0 126 13", "active", "wxyz", ""));
    bench.quiet();
    assert!(bench.formats(leg).contains(&"cn/8000".to_string()));
    // The phone does without from now on: so must the browser.
    bench.offered(dial.leg, Some(&sip_sdp("0 101", "")));
    bench.takes_acceptance(dial.leg);
    assert_eq!(listed(&bench.takes_offer(leg)), ["0 pcmu/8000", "126 telephone-event/8000"]);
    bench.accepted(leg, &web_sdp("0 126", "active", "wxyz", ""));
    bench.quiet();

    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    let red = "a=rtpmap:98 red/48000/2\r\na=fmtp:98 97/97\r\n";
    bench.answered(dial.leg, 0, Some(&sip_sdp("97 98 101", red)));
    bench.takes_answer(leg);
    let offer = bench.takes_offer(leg);
    let text = offer.to_string();
    assert!(listed(&offer).contains(&"63 red/48000".to_string()), "{text}");
    assert!(text.contains("a=fmtp:63 111/111\r\n"), "{text}");
    // A browser that takes none of it is not asked again.
    bench.accepted(leg, &web_sdp("111 126", "active", "wxyz", ""));
    bench.quiet();
}

#[test]
fn a_browser_is_not_led_to_what_its_phone_can_not_read() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_sdp("0 8 9 13 63 111 126", "actpass", "wxyz", ""));
    let none = |formats: Vec<String>| !formats.iter().any(|f| f.starts_with("cn") || f.starts_with("red"));
    assert!(none(bench.formats(leg)), "nobody knows yet whether the phone has them");
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 101", "")));
    bench.takes_answer(leg);
    bench.quiet();
    assert!(none(bench.formats(leg)));
}

#[test]
fn a_refused_settling_offer_is_tried_again_where_it_met_another() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.answered(dial.leg, 0, Some(&sip_sdp("0", "")));
    bench.takes_answer(leg);
    bench.takes_offer(leg);
    bench.refused(leg, Cause::Pending);
    bench.quiet();
    bench.wait(Duration::from_secs(2));
    bench.quiet();
    bench.wait(Duration::from_secs(2));
    bench.takes_offer(leg);
    bench.refused(leg, Cause::NotAcceptable);
    bench.wait(Duration::from_secs(10));
    bench.quiet();
}

#[test]
fn early_media_of_the_newest_fork_is_heard_and_the_answering_one_wins() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    let fork = |port: u16| sip_sdp("96", "").replace("4000", &port.to_string());
    bench.progress(dial.leg, 0, 183, Some(&fork(5000)));
    assert!(matches!(bench.next_leg(), Command::Progress { code: 183, answer: None, .. }));
    assert_eq!(bench.agreed[&dial.leg].remote.unwrap().port(), 5000);
    assert!(bench.media.iter().any(|command| matches!(command, media::Command::Join { .. })));
    bench.progress(dial.leg, 1, 183, Some(&fork(6000)));
    assert_eq!(bench.agreed[&dial.leg].remote.unwrap().port(), 6000);
    // The first one answers, by the description it gave before.
    bench.answered(dial.leg, 0, None);
    assert_eq!(bench.agreed[&dial.leg].remote.unwrap().port(), 5000);
    bench.legs.clear();
    bench.ended(dial.leg, Cause::Hangup.into());
    assert_eq!(bench.takes_end(leg), Cause::Hangup.into());
    bench.empty(1);
    let joins = bench.media.iter().filter(|command| matches!(command, media::Command::Join { .. })).count();
    assert_eq!(joins, 1);
}

#[test]
fn a_different_description_in_the_final_answer_reaches_the_media() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.progress(dial.leg, 0, 183, Some(&sip_sdp("96", "")));
    bench.answered(dial.leg, 0, Some(&sip_sdp("9 101", "").replace("192.0.2.9", "192.0.2.77")));
    bench.next_leg();
    assert_eq!(bench.agreed[&dial.leg].remote, Some("192.0.2.77:4000".parse().unwrap()));
    assert_eq!(bench.takes_answer(leg), None);
    assert_eq!(listed(&bench.takes_offer(leg))[0], "9 g722/8000");
}

#[test]
fn asymmetric_numbers_are_what_arrives_and_what_is_sent() {
    let mut bench = Bench::new();
    let (_, dial) = bench.browser_dials(&web_offer());
    bench.answered(dial.leg, 0, Some(&sip_sdp("97", "")));
    let format = &bench.agreed[&dial.leg].formats[0];
    assert_eq!((format.codec.name.as_str(), format.receive, format.send), ("opus", 96, 97));
}

#[test]
fn a_browser_is_offered_what_the_caller_has_in_the_callers_order() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_is_called(Some(&sip_sdp("8 0 18 101", "")));
    assert_eq!(dial.target, Target::Account("bob".into()));
    assert_eq!((dial.account, dial.callee.user.as_str()), (None, "bob"));
    assert_eq!(listed(&dial.offer), ["8 pcma/8000", "0 pcmu/8000", "126 telephone-event/8000"]);
    let text = dial.offer.to_string();
    assert!(text.contains("a=setup:actpass\r\n") && text.contains("a=ice-lite\r\n"), "{text}");
    bench.progress(dial.leg, 0, 180, None);
    assert!(matches!(bench.next_leg(), Command::Progress { code: 180, answer: None, .. }));
    bench.answered(dial.leg, 0, Some(&web_sdp("8 0 126", "active", "abcd", "")));
    let answer = bench.takes_answer(leg).unwrap();
    assert_eq!(listed(&answer), ["8 pcma/8000", "0 pcmu/8000", "101 telephone-event/8000"]);
    let described = bench.web.iter().find_map(|command| match command {
        webrtc::Command::Describe { remote, .. } => Some(remote.clone()),
        _ => None,
    });
    let described = described.unwrap();
    assert_eq!((described.ufrag.as_str(), described.dtls_client), ("abcd", true));
    let event = bench.agreed[&dial.leg].formats.iter().find(|f| f.codec.name == "telephone-event").unwrap();
    assert_eq!((event.receive, event.send), (126, 126));
    bench.quiet();
    bench.ended(dial.leg, Cause::Hangup.into());
    assert_eq!(bench.takes_end(leg), Cause::Hangup.into());
    bench.empty(1);
}

#[test]
fn a_browser_that_answers_passive_makes_us_the_dtls_client_for_good() {
    let mut bench = Bench::new();
    let (_, dial) = bench.browser_is_called(Some(&sip_sdp("0", "")));
    bench.answered(dial.leg, 0, Some(&web_sdp("0", "passive", "abcd", "")));
    let Some(webrtc::Command::Describe { remote, .. }) = bench.web.back() else { panic!() };
    assert!(!remote.dtls_client);
    bench.legs.clear();
    bench.offered(dial.leg, Some(&web_sdp("0", "actpass", "abcd", "a=recvonly\r\n")));
    let answer = bench.takes_acceptance(dial.leg);
    assert!(answer.to_string().contains("a=setup:active\r\n"), "{answer}");
    assert_eq!(way(&answer), Direction::SendOnly);
}

#[test]
fn a_delayed_offer_is_met_with_ours_in_the_answer() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_is_called(None);
    assert_eq!(listed(&dial.offer).len(), 6);
    bench.answered(dial.leg, 0, Some(&web_sdp("111 0 8 110 126", "active", "abcd", "")));
    let offer = bench.takes_answer(leg).unwrap();
    assert_eq!(listed(&offer)[..3], ["96 opus/48000", "0 pcmu/8000", "8 pcma/8000"]);
    assert!(!bench.media.iter().any(|command| matches!(command, media::Command::Join { .. })));
    bench.accepted(leg, &sip_sdp("8 101", ""));
    assert!(bench.media.iter().any(|command| matches!(command, media::Command::Join { .. })));
    assert_eq!(bench.formats(leg), ["pcma/8000", "telephone-event/8000"]);
    assert_eq!(listed(&bench.takes_offer(dial.leg))[0], "8 pcma/8000");
}

#[test]
fn a_delayed_offer_whose_answer_accepts_nothing_ends_the_call() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_is_called(None);
    bench.answered(dial.leg, 0, Some(&web_sdp("0", "active", "abcd", "")));
    bench.takes_answer(leg);
    bench.accepted(leg, &sip_sdp("18", ""));
    assert_eq!(bench.takes_end(dial.leg), Cause::NotAcceptable.into());
    assert_eq!(bench.takes_end(leg), Cause::NotAcceptable.into());
    bench.empty(1);
}

#[test]
fn trunk_to_trunk_keeps_numbers_and_parameters_and_both_policies_hold() {
    let mut bench = Bench::new();
    let offer = sip_sdp("96 8 0 101", "a=fmtp:101 0-16\r\na=maxptime:40\r\n");
    let (leg, dial) = bench.trunk_dials(Some(&offer));
    assert_eq!(dial.target, Target::Trunk(TrunkId(1)));
    assert_eq!(listed(&dial.offer), ["8 pcma/8000", "0 pcmu/8000", "101 telephone-event/8000"]);
    bench.progress(dial.leg, 0, 183, Some(&sip_sdp("0 101", "")));
    let Command::Progress { code: 183, answer: Some(early), .. } = bench.next_leg() else { panic!() };
    assert_eq!(listed(&early), ["0 pcmu/8000", "101 telephone-event/8000"]);
    bench.progress(dial.leg, 0, 180, None);
    assert!(matches!(bench.next_leg(), Command::Progress { code: 180, answer: None, .. }));
    bench.answered(dial.leg, 0, None);
    let answer = bench.takes_answer(leg).unwrap();
    assert_eq!(answer, early, "the same again (RFC 6337 section 3.1.1)");
    bench.quiet();
    bench.ended(leg, Cause::Hangup.into());
    bench.takes_end(dial.leg);
    bench.empty(1);
}

#[test]
fn streams_that_are_not_audio_are_refused_in_place() {
    let mut bench = Bench::new();
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\na=rtcp-mux\r\n";
    let offer = web_sdp("111", "actpass", "wxyz", video).replace("BUNDLE 0", "BUNDLE 0 1");
    let leg = bench.incoming(Side::Web, Source::Account("alice".into()), dialled("bob"), Some(&offer));
    let Command::Progress { answer: Some(answer), .. } = bench.next_leg() else { panic!() };
    assert_eq!(answer.media.len(), 2);
    assert!(answer.media[1].rejected() && answer.media[1].mid.as_deref() == Some("1"));
    assert_eq!(answer.groups[0].mids, ["0"]);
    let dial = bench.dialled();
    assert_eq!(dial.offer.media.len(), 1);
    bench.answered(dial.leg, 0, Some(&sip_sdp("96", "")));
    assert_eq!(bench.takes_answer(leg), None);
}

#[test]
fn keys_and_paths_go_to_the_media_plane() {
    let mut bench = Bench::new();
    let (leg, _) = bench.browser_dials(&web_offer());
    let peer = bench.peer_of(leg);
    let address = "192.0.2.50:5000".parse().unwrap();
    bench.push(Input::Web(webrtc::Event::Verified { leg, peer, address }));
    bench.push(Input::Web(webrtc::Event::Connected { leg, peer, keys: Box::new(keys()) }));
    assert!(
        bench.media.iter().any(|c| matches!(c, media::Command::Path { address: a, .. } if *a == address))
    );
    assert!(bench.media.iter().any(|c| matches!(c, media::Command::Keys { .. })));
    let stale = PeerId::new(ShardId(0), 9, 9);
    bench.push(Input::Web(webrtc::Event::Connected { leg, peer: stale, keys: Box::new(keys()) }));
    assert_eq!(bench.calls.counters().stray, 1);
}

#[test]
fn of_srtp_and_rtp_side_by_side_rtp_is_taken() {
    let mut bench = Bench::new();
    let offer = sip_sdp("8 101", "m=audio 5000 RTP/AVP 0 8\r\n").replacen("RTP/AVP", "RTP/SAVP", 1);
    let (leg, dial) = bench.trunk_dials(Some(&offer));
    assert_eq!(listed(&dial.offer), ["0 pcmu/8000", "8 pcma/8000"]);
    bench.answered(dial.leg, 0, Some(&sip_sdp("8", "")));
    let answer = bench.takes_answer(leg).unwrap();
    assert!(answer.media[0].rejected() && !answer.media[1].rejected());
    assert_eq!(bench.agreed[&leg].remote.unwrap().port(), 5000);
    bench.offered(leg, None);
    let offer = bench.takes_acceptance(leg);
    assert_eq!((offer.media.len(), offer.media[0].port), (2, 0));
}

#[test]
fn a_browser_user_who_brings_a_sip_identity_calls_at_its_trunk_as_that() {
    let mut bench = Bench::new();
    let (user, auth_user) = ("4711".to_owned(), "c4711".to_owned());
    let identity = Arc::new(crate::leg::Identity { trunk: TrunkId(1), user, auth_user, secret: None });
    let leg = bench.leg(Side::Web);
    bench.event(Event::Incoming(Box::new(Incoming {
        leg,
        source: Source::Account("carol".into()),
        identity: Some(Arc::clone(&identity)),
        caller: Party::default(),
        callee: dialled("bob"),
        offer: Some(parsed(&web_offer())),
        hops: 70,
        key: "key".into(),
        data: Vec::new(),
        carried: Box::default(),
        reliable: false,
        replaces: None,
    })));
    assert!(matches!(bench.next_leg(), Command::Progress { code: 0, .. }));
    let dial = bench.dialled();
    assert_eq!((dial.target, dial.identity), (Target::Trunk(TrunkId(1)), Some(identity)));
    assert_eq!(dial.account, Some("carol".into()));
}
