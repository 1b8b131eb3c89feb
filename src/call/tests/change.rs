//! Calls that change: holds, restarts, new codecs, glare.

use super::*;

/// A browser talks to a phone, in PCMU.
pub(super) fn web_talks(bench: &mut Bench) -> (LegId, LegId) {
    let (leg, dial) = bench.browser_dials(&web_sdp("0 8 9 126", "actpass", "wxyz", ""));
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 101", "")));
    bench.takes_answer(leg);
    bench.quiet();
    (leg, dial.leg)
}

/// A trunk talks to another, in PCMU.
fn sip_talks(bench: &mut Bench) -> (LegId, LegId) {
    let (leg, dial) = bench.trunk_dials(Some(&sip_sdp("0 8 101", "")));
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 8 101", "")));
    bench.takes_answer(leg);
    bench.quiet();
    (leg, dial.leg)
}

#[test]
fn a_hold_towards_a_browser_is_answered_without_a_change_of_its_description() {
    let mut bench = Bench::new();
    let (_, phone) = web_talks(&mut bench);
    for (attribute, answer, send, receive) in [
        ("a=sendonly\r\n", Direction::RecvOnly, false, true),
        ("a=inactive\r\n", Direction::Inactive, false, false),
        ("a=recvonly\r\n", Direction::SendOnly, true, false),
        ("a=sendrecv\r\n", Direction::SendRecv, true, true),
        ("c=IN IP4 0.0.0.0\r\n", Direction::RecvOnly, false, true),
    ] {
        bench.offered(phone, Some(&sip_sdp("0 101", attribute)));
        let accepted = bench.takes_acceptance(phone);
        assert_eq!(way(&accepted), answer, "{attribute}");
        let agreed = &bench.agreed[&phone];
        assert_eq!((agreed.send, agreed.receive), (send, receive), "{attribute}");
        bench.ignore_notices();
        bench.quiet();
    }
    assert_eq!(bench.agreed[&phone].remote, None);
}

#[test]
fn a_refresh_without_change_keeps_the_version_and_each_change_raises_it_by_one() {
    let mut bench = Bench::new();
    let (_, phone) = web_talks(&mut bench);
    let mut version = |offer: &str| {
        bench.offered(phone, Some(offer));
        bench.ignore_notices();
        bench.takes_acceptance(phone).origin.version.parse::<u64>().unwrap()
    };
    // The first answer on this side follows our offer of version 1, which named more codecs.
    let first = version(&sip_sdp("0 101", ""));
    assert_eq!(first, 2);
    assert_eq!(version(&sip_sdp("0 101", "")), first);
    assert_eq!(version(&sip_sdp("0 101", "a=sendonly\r\n")), first + 1);
    assert_eq!(version(&sip_sdp("0 101", "a=sendonly\r\n")), first + 1);
    assert_eq!(version(&sip_sdp("0 101", "")), first + 2);
}

#[test]
fn a_phones_new_codec_is_settled_with_the_browser() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    bench.offered(phone, Some(&sip_sdp("9 101", "")));
    assert_eq!(listed(&bench.takes_acceptance(phone)), ["9 g722/8000", "101 telephone-event/8000"]);
    assert_eq!(listed(&bench.takes_offer(leg)), ["9 g722/8000", "126 telephone-event/8000"]);
    bench.accepted(leg, &web_sdp("9 126", "active", "wxyz", ""));
    bench.quiet();
    // And back, though the browser's last description did not name it.
    bench.offered(phone, Some(&sip_sdp("8", "")));
    bench.takes_acceptance(phone);
    assert_eq!(listed(&bench.takes_offer(leg))[0], "8 pcma/8000");
}

#[test]
fn what_a_phone_offers_beyond_all_policy_is_refused_and_the_call_goes_on() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    bench.offered(phone, Some(&sip_sdp("18", "")));
    assert_eq!(bench.takes_refusal(phone), Cause::NotAcceptable.into());
    let fax =
        "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=image 4000 udptl t38\r\n";
    bench.offered(phone, Some(fax));
    assert_eq!(bench.takes_refusal(phone).code, 488);
    bench.offered(phone, Some(&sip_sdp("0", "").replace("RTP/AVP", "RTP/SAVP")));
    assert_eq!(bench.takes_refusal(phone).code, 488);
    bench.ended(leg, Cause::Hangup.into());
    bench.takes_end(phone);
    bench.empty(1);
}

#[test]
fn an_ice_restart_stays_between_the_browser_and_us() {
    let mut bench = Bench::new();
    let (leg, _) = web_talks(&mut bench);
    bench.web.clear();
    bench.prompt = false;
    bench.offered(leg, Some(&web_sdp("0 126", "actpass", "newu", "")));
    assert!(
        matches!(bench.web.pop_front(), Some(webrtc::Command::Describe { remote, .. }) if remote.ufrag == "newu")
    );
    assert!(matches!(bench.web.pop_front(), Some(webrtc::Command::Restart { .. })));
    bench.quiet();
    // Another offer meanwhile is glare.
    bench.offered(leg, Some(&web_sdp("0 126", "actpass", "newv", "")));
    assert_eq!(bench.takes_refusal(leg).code, 491);
    assert!(bench.release());
    let answer = bench.takes_acceptance(leg);
    let local = &audio(&answer).ice;
    assert!(local.ufrag.as_deref().unwrap().starts_with("uf"));
    assert_ne!(local.ufrag, Some("uf0002".into()));
    assert!(answer.to_string().contains("a=setup:passive\r\n"));
    bench.quiet();
}

#[test]
fn a_browser_mutes_and_restarts_while_it_rings() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.offered(leg, Some(&web_sdp("111 9 0 8 110 126", "actpass", "newu", "a=recvonly\r\n")));
    let answer = bench.takes_acceptance(leg);
    assert_eq!(way(&answer), Direction::SendOnly);
    assert_eq!(listed(&answer).len(), 6, "never narrowed before the answer");
    bench.answered(dial.leg, 0, Some(&sip_sdp("96", "")));
    assert_eq!(bench.takes_answer(leg), None);
    assert_eq!(way(&bench.takes_offer(dial.leg)), Direction::RecvOnly, "the phone has not heard of it");
    bench.accepted(dial.leg, &sip_sdp("96", "a=sendonly\r\n"));
    bench.quiet();
}

#[test]
fn a_browsers_full_offer_in_a_call_is_answered_by_what_the_phone_has() {
    let mut bench = Bench::new();
    let (leg, _) = web_talks(&mut bench);
    bench.offered(leg, Some(&web_offer()));
    let answer = bench.takes_acceptance(leg);
    assert_eq!(listed(&answer), ["0 pcmu/8000", "126 telephone-event/8000"]);
    bench.quiet();
}

#[test]
fn trunk_to_trunk_a_hold_is_passed_on_and_its_answer_comes_back() {
    let mut bench = Bench::new();
    let (a, b) = sip_talks(&mut bench);
    bench.offered(a, Some(&sip_sdp("0 8 101", "a=sendonly\r\n")));
    let offer = bench.takes_offer(b);
    assert_eq!(way(&offer), Direction::SendOnly);
    assert_eq!(offer.origin.version, "2");
    bench.quiet();
    bench.accepted(b, &sip_sdp("0 101", "a=recvonly\r\n"));
    let answer = bench.takes_acceptance(a);
    assert_eq!(way(&answer), Direction::RecvOnly);
    assert_eq!(listed(&answer), ["0 pcmu/8000", "101 telephone-event/8000"]);
    assert_eq!((bench.agreed[&a].send, bench.agreed[&a].receive), (false, true));
    assert_eq!((bench.agreed[&b].send, bench.agreed[&b].receive), (true, false));
    bench.quiet();
    // Resumed from the same side.
    bench.offered(a, Some(&sip_sdp("0 8 101", "")));
    assert_eq!(way(&bench.takes_offer(b)), Direction::SendRecv);
    bench.accepted(b, &sip_sdp("0 101", ""));
    assert_eq!(way(&bench.takes_acceptance(a)), Direction::SendRecv);
}

#[test]
fn trunk_to_trunk_a_new_address_stays_on_its_own_side() {
    let mut bench = Bench::new();
    let (a, _) = sip_talks(&mut bench);
    bench.offered(a, Some(&sip_sdp("0 8 101", "").replace("192.0.2.9", "192.0.2.10")));
    bench.takes_acceptance(a);
    bench.quiet();
    assert_eq!(bench.agreed[&a].remote, Some("192.0.2.10:4000".parse().unwrap()));
}

#[test]
fn a_change_that_the_other_trunk_refuses_is_refused_to_the_first() {
    let mut bench = Bench::new();
    let (a, b) = sip_talks(&mut bench);
    bench.offered(a, Some(&sip_sdp("0", "a=inactive\r\n")));
    bench.takes_offer(b);
    bench.refused(b, Cause::NotAcceptable);
    assert_eq!(bench.takes_refusal(a).code, 488);
    bench.offered(a, Some(&sip_sdp("0", "a=inactive\r\n")));
    bench.takes_offer(b);
    bench.accepted(b, &sip_sdp("18", ""));
    assert_eq!(bench.takes_refusal(a).code, 488);
    bench.ended(b, Cause::Hangup.into());
    bench.takes_end(a);
    bench.empty(1);
}

#[test]
fn a_change_that_is_taken_back_is_undone_at_the_other_trunk() {
    let mut bench = Bench::new();
    let (a, b) = sip_talks(&mut bench);
    let before = bench.agreed[&a].clone();
    bench.offered(a, Some(&sip_sdp("0 8 101", "a=sendonly\r\n")));
    assert_eq!(way(&bench.takes_offer(b)), Direction::SendOnly);
    bench.withdrawn(a);
    bench.quiet();
    bench.accepted(b, &sip_sdp("0 8 101", "a=recvonly\r\n"));
    assert_eq!(bench.agreed[&a], before);
    assert_eq!(way(&bench.takes_offer(b)), Direction::SendRecv);
    bench.accepted(b, &sip_sdp("0 8 101", ""));
    bench.quiet();
    assert!(bench.agreed[&b].send && bench.agreed[&b].receive);
    // One that the other trunk refuses needs no undoing.
    bench.offered(a, Some(&sip_sdp("0 8 101", "a=inactive\r\n")));
    bench.takes_offer(b);
    bench.withdrawn(a);
    bench.refused(b, Cause::NotAcceptable);
    bench.quiet();
    // And the next change is as free as ever.
    bench.offered(a, Some(&sip_sdp("0 8 101", "a=sendonly\r\n")));
    bench.takes_offer(b);
    assert_eq!(bench.calls.counters().stray, 0);
}

#[test]
fn a_refusal_that_tells_of_the_other_dialog_is_not_passed_on() {
    for (cause, code) in [
        (Cause::Pending, 491),
        (Cause::Forbidden, 488),
        (Cause::NoAnswer, 488),
        (Cause::NotFound, 488),
        (Cause::Failed, 500),
    ] {
        let mut bench = Bench::new();
        let (a, b) = sip_talks(&mut bench);
        bench.offered(a, Some(&sip_sdp("0 8 101", "a=sendonly\r\n")));
        bench.takes_offer(b);
        bench.refused(b, cause);
        assert_eq!(bench.takes_refusal(a).code, code);
    }
}

#[test]
fn changes_that_cross_are_both_refused_with_491() {
    let mut bench = Bench::new();
    let (a, b) = sip_talks(&mut bench);
    bench.offered(a, Some(&sip_sdp("0", "a=sendonly\r\n")));
    bench.takes_offer(b);
    bench.offered(b, Some(&sip_sdp("0", "a=sendonly\r\n")));
    assert_eq!(bench.takes_refusal(b).code, 491);
    bench.refused(b, Cause::Pending);
    assert_eq!(bench.takes_refusal(a).code, 491);
    assert_eq!(bench.calls.counters().glare, 1);
}

#[test]
fn a_change_before_the_answer_waits_for_it() {
    let mut bench = Bench::new();
    let (a, dial) = bench.trunk_dials(Some(&sip_sdp("0", "")));
    bench.offered(a, Some(&sip_sdp("0", "a=sendonly\r\n")));
    assert_eq!(bench.takes_refusal(a).code, 491);
    bench.offered(dial.leg, None);
    assert_eq!(bench.takes_refusal(dial.leg).code, 491);
}

#[test]
fn a_reinvite_without_an_offer_is_met_with_ours() {
    let mut bench = Bench::new();
    let (a, b) = sip_talks(&mut bench);
    bench.offered(a, None);
    let offer = bench.takes_acceptance(a);
    assert_eq!(listed(&offer), ["0 pcmu/8000", "8 pcma/8000", "101 telephone-event/8000"]);
    bench.accepted(a, &sip_sdp("0 101", "a=recvonly\r\n"));
    // The other trunk learns of the new direction.
    assert_eq!(way(&bench.takes_offer(b)), Direction::RecvOnly);
    bench.accepted(b, &sip_sdp("0 101", "a=sendonly\r\n"));
    bench.quiet();
    let (_, phone) = web_talks(&mut bench);
    bench.offered(phone, None);
    let offer = bench.takes_acceptance(phone);
    assert_eq!(listed(&offer)[0], "0 pcmu/8000");
    bench.accepted(phone, &sip_sdp("0 101", "a=sendonly\r\n"));
    bench.ignore_notices();
    bench.quiet();
    assert!(!bench.agreed[&phone].send);
}

#[test]
fn answers_that_nobody_asked_for_change_nothing() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    let before = bench.agreed.clone();
    bench.accepted(phone, &sip_sdp("8", ""));
    bench.refused(phone, Cause::Pending);
    bench.answered(phone, 0, Some(&sip_sdp("8", "")));
    bench.answered(leg, 0, Some(&sip_sdp("8", "")));
    bench.progress(phone, 0, 180, None);
    bench.quiet();
    assert_eq!(bench.agreed, before);
    assert_eq!(bench.calls.counters().stray, 5);
}

#[test]
fn an_ice_restart_that_the_transports_saw_first_is_told_twice_and_answered_once() {
    let mut bench = Bench::new();
    let (leg, _) = web_talks(&mut bench);
    bench.prompt = false;
    bench.offered(leg, Some(&web_sdp("0 126", "actpass", "newu", "")));
    let (Some(Input::Web(webrtc::Event::Opened { leg: of, peer, local })), true) =
        (bench.held.pop_front(), bench.held.is_empty())
    else {
        panic!("one restart")
    };
    for _ in 0..2 {
        bench.push(Input::Web(webrtc::Event::Opened { leg: of, peer, local: local.clone() }));
    }
    bench.takes_acceptance(leg);
    bench.quiet();
    assert_eq!(bench.calls.counters().stray, 0);
}

#[test]
fn rtcp_mux_is_taken_where_a_phone_offers_it_and_kept() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_is_called(Some(&sip_sdp("0 8", "a=rtcp-mux\r\n")));
    bench.answered(dial.leg, 0, Some(&web_sdp("0 8", "active", "abcd", "")));
    assert!(audio(&bench.takes_answer(leg).unwrap()).rtcp_mux);
    assert!(bench.agreed[&leg].rtcp_mux && bench.agreed[&leg].remote_rtcp.is_none());
    bench.offered(leg, None);
    assert!(audio(&bench.takes_acceptance(leg)).rtcp_mux);
}

#[test]
fn rtcp_goes_where_the_party_says() {
    let mut bench = Bench::new();
    let (_, phone) = web_talks(&mut bench);
    for (attribute, rtcp) in [
        ("a=rtcp:5555\r\n", Some("192.0.2.9:5555")),
        ("a=rtcp:6666 IN IP4 192.0.2.200\r\n", Some("192.0.2.200:6666")),
        ("a=rtcp:6666 IN IP4 0.0.0.0\r\n", None),
        ("", Some("192.0.2.9:4001")),
    ] {
        bench.offered(phone, Some(&sip_sdp("0", attribute)));
        bench.takes_acceptance(phone);
        assert_eq!(bench.agreed[&phone].remote_rtcp, rtcp.map(|text| text.parse().unwrap()), "{attribute}");
    }
}

#[test]
fn a_browser_that_adds_video_gets_it_refused_in_place() {
    let mut bench = Bench::new();
    let (leg, _) = web_talks(&mut bench);
    let video = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:1\r\na=rtpmap:96 VP8/90000\r\n";
    bench.offered(leg, Some(&web_sdp("0 126", "actpass", "wxyz", video)));
    let answer = bench.takes_acceptance(leg);
    assert!(!answer.media[0].rejected() && answer.media[1].rejected());
    // A later offer of ours keeps the place.
    let (leg, phone) = web_talks(&mut bench);
    bench.offered(leg, Some(&web_sdp("0 8 9 126", "actpass", "wxyz", video)));
    bench.takes_acceptance(leg);
    bench.offered(phone, Some(&sip_sdp("9", "")));
    bench.takes_acceptance(phone);
    let offer = bench.takes_offer(leg);
    assert_eq!((offer.media.len(), offer.media[1].port), (2, 0));
    assert_eq!(offer.groups[0].mids, ["0"]);
}

#[test]
fn only_one_settling_offer_is_under_way() {
    let mut bench = Bench::new();
    // Two forks with different codecs: what the caller heard first is not what answered.
    let (a, dial) = bench.trunk_dials(Some(&sip_sdp("0 8", "")));
    bench.progress(dial.leg, 0, 183, Some(&sip_sdp("0", "")));
    bench.next_leg();
    bench.answered(dial.leg, 1, Some(&sip_sdp("8", "")));
    assert_eq!(listed(&bench.takes_answer(a).unwrap()), ["0 pcmu/8000"]);
    assert_eq!(listed(&bench.takes_offer(a)), ["8 pcma/8000"]);
    bench.quiet();
    bench.accepted(a, &sip_sdp("8", ""));
    bench.quiet();
    assert_eq!(bench.formats(a), bench.formats(dial.leg));
}

#[test]
fn a_phones_refresh_with_all_its_codecs_again_troubles_nobody() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 101", "")));
    bench.takes_answer(leg);
    bench.takes_offer(leg);
    bench.accepted(leg, &web_sdp("0 126", "active", "wxyz", ""));
    bench.offered(dial.leg, Some(&sip_sdp("96 9 0 8 101", "")));
    assert_eq!(listed(&bench.takes_acceptance(dial.leg)), ["0 pcmu/8000", "101 telephone-event/8000"]);
    bench.quiet();
}

#[test]
fn a_called_browser_is_settled_rather_than_the_phone() {
    let mut bench = Bench::new();
    let (phone, dial) = bench.browser_is_called(Some(&sip_sdp("0 9 101", "")));
    bench.answered(dial.leg, 0, Some(&web_sdp("0 9 126", "active", "abcd", "")));
    bench.takes_answer(phone);
    bench.offered(phone, Some(&sip_sdp("9 101", "")));
    bench.takes_acceptance(phone);
    // The browser sends PCMU as long as it is told nothing else, so it is told.
    assert_eq!(listed(&bench.takes_offer(dial.leg)), ["9 g722/8000", "126 telephone-event/8000"]);
    bench.accepted(dial.leg, &web_sdp("9 126", "active", "abcd", ""));
    bench.quiet();
    assert_eq!(bench.formats(phone), ["g722/8000", "telephone-event/8000"]);
}

#[test]
fn a_restart_with_nothing_to_talk_in_restarts_nothing() {
    let mut bench = Bench::new();
    let (leg, _) = web_talks(&mut bench);
    bench.web.clear();
    // The phone speaks PCMU alone.
    bench.offered(leg, Some(&web_sdp("9 126", "actpass", "newu", "")));
    assert_eq!(bench.takes_refusal(leg), Cause::NotAcceptable.into());
    assert!(bench.web.is_empty());
    let foreign = web_sdp("0 126", "actpass", "newu", "").replace("UDP/TLS/RTP/SAVPF", "RTP/AVP");
    bench.offered(leg, Some(&foreign));
    assert_eq!(bench.takes_refusal(leg).code, 488);
}

#[test]
fn a_phones_change_before_the_answer_meets_491() {
    let mut bench = Bench::new();
    let (_, dial) = bench.browser_dials(&web_offer());
    bench.progress(dial.leg, 0, 183, Some(&sip_sdp("0", "")));
    bench.next_leg();
    bench.offered(dial.leg, Some(&sip_sdp("0", "a=sendonly\r\n")));
    assert_eq!(bench.takes_refusal(dial.leg).code, 491);
    assert!(bench.agreed[&dial.leg].send);
}

#[test]
fn a_reloaded_page_takes_its_call_over_without_the_phone_knowing() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.answered(dial.leg, 0, Some(&sip_sdp("0", "")));
    bench.takes_answer(leg);
    // The settling offer went to the page that is gone now.
    bench.takes_offer(leg);
    bench.web.clear();
    let reloaded = web_sdp("111 9 0 126", "actpass", "next", "").replace("AB", "CD");
    bench.offered(leg, Some(&reloaded));
    let answer = bench.takes_acceptance(leg);
    assert_eq!(audio(&answer).setup, Some(crate::sdp::Setup::Passive));
    assert_eq!(bench.formats(leg)[0], "pcmu/8000", "what the phone speaks");
    assert!(
        matches!(bench.web.pop_front(), Some(webrtc::Command::Describe { remote, .. }) if remote.ufrag == "next")
    );
    assert!(matches!(bench.web.pop_front(), Some(webrtc::Command::Restart { .. })));
    let peer = bench.peer_of(leg);
    bench.media.clear();
    bench.push(Input::Web(webrtc::Event::Connected { leg, peer, keys: Box::new(keys()) }));
    assert!(matches!(bench.media.pop_front(), Some(media::Command::Keys { .. })));
    bench.quiet();
    assert_eq!(bench.calls.counters().takeovers, 1);
    // An ordinary ICE restart is none.
    bench.offered(leg, Some(&web_sdp("111 9 0 126", "actpass", "more", "").replace("AB", "CD")));
    bench.takes_acceptance(leg);
    assert_eq!(bench.calls.counters().takeovers, 1);
}
