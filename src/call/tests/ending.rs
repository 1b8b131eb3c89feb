//! Calls that end: refusals, races, reasons, caps, draining.

use super::*;
use crate::call::finish::to_caller;

#[test]
fn each_failure_of_the_called_side_reaches_a_caller_as_what_it_is() {
    for (code, cause, said) in [
        (486, Cause::Busy, 486),
        (600, Cause::Busy, 600),
        (603, Cause::Declined, 603),
        (480, Cause::NoAnswer, 480),
        (408, Cause::NoAnswer, 480),
        (487, Cause::NoAnswer, 480),
        (404, Cause::NotFound, 404),
        (484, Cause::NotFound, 484),
        (502, Cause::Unreachable, 502),
        (503, Cause::Unreachable, 500),
        (401, Cause::Forbidden, 403),
        (407, Cause::Forbidden, 403),
        (403, Cause::Forbidden, 403),
        (488, Cause::NotAcceptable, 488),
        (491, Cause::Pending, 500),
        (482, Cause::Loop, 482),
        (302, Cause::Rejected, 480),
        (400, Cause::Rejected, 400),
        (481, Cause::Expired, 480),
        (500, Cause::Failed, 500),
    ] {
        let mut bench = Bench::new();
        let (leg, dial) = bench.trunk_dials(Some(&sip_sdp("0", "")));
        bench.ended(dial.leg, Reason::from_code(code));
        assert_eq!(bench.takes_end(leg), Reason::new(cause, said), "{code}");
        bench.empty(1);
        assert_eq!(bench.records[0].code, code);
    }
}

#[test]
fn a_browser_hears_the_code_that_the_sip_side_said() {
    for (code, name) in
        [(486, "busy"), (404, "not_found"), (480, "no_answer"), (603, "declined"), (503, "unreachable")]
    {
        let mut bench = Bench::new();
        let (leg, dial) = bench.browser_dials(&web_offer());
        bench.ended(dial.leg, Reason::from_code(code));
        let said = bench.takes_end(leg);
        assert_eq!((said.code, said.cause.name()), (code, name));
    }
}

#[test]
fn every_cause_gives_an_unanswered_caller_a_final_code() {
    use Cause::*;
    for cause in [
        Hangup,
        Cancelled,
        AnsweredElsewhere,
        Busy,
        Declined,
        NoAnswer,
        NotFound,
        Unreachable,
        Forbidden,
        NotAcceptable,
        Pending,
        Overloaded,
        Loop,
        MediaLost,
        Expired,
        Rejected,
        Failed,
    ] {
        for code in [0, cause.code(), 302, 487] {
            let said = to_caller(Reason::new(cause, code));
            assert!((400..700).contains(&said.code) && said.code != 487, "{cause:?} {code}: {said:?}");
        }
    }
}

#[test]
fn a_cancelled_call_cancels_the_called_leg_and_a_late_answer_finds_nothing() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.progress(dial.leg, 0, 180, None);
    bench.legs.clear();
    bench.ended(leg, Cause::Cancelled.into());
    assert_eq!(bench.takes_end(dial.leg), Cause::Cancelled.into());
    bench.answered(dial.leg, 0, Some(&sip_sdp("0", "")));
    bench.ended(dial.leg, Cause::Cancelled.into());
    bench.empty(1);
    assert_eq!(bench.records[0].cause, Cause::Cancelled);
    assert_eq!(bench.calls.counters().stray, 2);
}

#[test]
fn an_answer_that_comes_after_the_deadline_finds_nothing() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_is_called(Some(&sip_sdp("0", "")));
    bench.wait(Duration::from_secs(181));
    bench.answered(dial.leg, 0, Some(&web_sdp("0", "active", "abcd", "")));
    assert_eq!(bench.takes_end(dial.leg).cause, Cause::NoAnswer);
    assert_eq!(bench.takes_end(leg).code, 480);
    bench.empty(1);
}

#[test]
fn a_call_ends_in_the_middle_of_a_change() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.answered(dial.leg, 0, Some(&sip_sdp("96", "")));
    bench.takes_answer(leg);
    bench.prompt = false;
    bench.offered(leg, Some(&web_sdp("111", "actpass", "newu", "")));
    bench.ended(dial.leg, Cause::Hangup.into());
    assert_eq!(bench.takes_end(leg), Cause::Hangup.into());
    bench.release();
    bench.empty(1);
    bench.prompt = true;
    let (a, b) = bench.trunk_dials_after_progress();
    bench.offered(a, Some(&sip_sdp("0", "a=inactive\r\n")));
    bench.takes_offer(b);
    bench.ended(a, Reason::from_code(481));
    assert_eq!(bench.takes_end(b), Reason::from_code(481));
    bench.accepted(b, &sip_sdp("0", "a=inactive\r\n"));
    bench.empty(2);
}

#[test]
fn both_ends_hang_up_at_once() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.answered(dial.leg, 0, Some(&sip_sdp("96", "")));
    bench.takes_answer(leg);
    bench.ended(leg, Cause::Hangup.into());
    bench.ended(dial.leg, Cause::Hangup.into());
    assert_eq!(bench.takes_end(dial.leg), Cause::Hangup.into());
    bench.empty(1);
}

#[test]
fn a_call_that_ends_while_it_is_prepared_gives_everything_back() {
    for released in 0..4 {
        let mut bench = Bench::new();
        bench.prompt = false;
        let leg =
            bench.incoming(Side::Web, Source::Account("alice".into()), dialled("bob"), Some(&web_offer()));
        for _ in 0..released {
            bench.release();
        }
        bench.legs.clear();
        let dialled = released >= 3;
        bench.ended(leg, Cause::Cancelled.into());
        // Whatever stands only now is closed.
        while bench.release() {}
        if dialled {
            bench.legs.clear();
        }
        bench.empty(1);
    }
}

#[test]
fn no_media_and_no_transport_is_503() {
    for full_media in [true, false] {
        let mut bench = Bench::new();
        bench.prompt = false;
        let leg =
            bench.incoming(Side::Web, Source::Account("alice".into()), dialled("bob"), Some(&web_offer()));
        if full_media {
            bench.held.retain(
                |input| !matches!(input, Input::Media(media::Event::Opened { leg: l, .. }) if *l == leg),
            );
            bench.media_sides.remove(&leg);
            bench.push(Input::Media(media::Event::Full { leg }));
            bench.push(Input::Media(media::Event::Full { leg }));
        } else {
            bench.held.retain(|input| !matches!(input, Input::Web(_)));
            bench.peers.clear();
            bench.push(Input::Web(webrtc::Event::Full { leg }));
        }
        assert_eq!(bench.takes_end(leg), Reason::new(Cause::Overloaded, 503));
        while bench.release() {}
        bench.empty(1);
        let counters = bench.calls.counters();
        assert_eq!((counters.media_full, counters.web_full), (u64::from(full_media), u64::from(!full_media)));
    }
}

#[test]
fn an_rtp_side_without_a_port_is_503() {
    let mut bench = Bench::new();
    bench.prompt = false;
    let offer = sip_sdp("0", "");
    let leg = bench.incoming(Side::Sip, Source::Trunk(TrunkId(0)), dialled("+49"), Some(&offer));
    bench.push(Input::Media(media::Event::Opened { leg, address: None, ssrc: 1, cname: "c".into() }));
    assert_eq!(bench.takes_end(leg).code, 503);
    bench.held.clear();
    bench.empty(1);
}

#[test]
fn a_failed_transport_ends_both_legs() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    let peer = bench.peer_of(leg);
    // It is closed already: nobody closes it again.
    bench.peers.remove(&peer);
    bench.push(Input::Web(webrtc::Event::Failed { leg, peer, why: "fingerprint" }));
    assert_eq!(bench.takes_end(dial.leg).cause, Cause::MediaLost);
    assert_eq!(bench.takes_end(leg), Cause::MediaLost.into());
    bench.empty(1);
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.answered(dial.leg, 0, Some(&sip_sdp("96", "")));
    bench.takes_answer(leg);
    let peer = bench.peer_of(leg);
    bench.peers.remove(&peer);
    bench.push(Input::Web(webrtc::Event::Failed { leg, peer, why: "alert" }));
    assert_eq!(bench.takes_end(dial.leg), Cause::MediaLost.into());
    assert_eq!(bench.takes_end(leg), Cause::MediaLost.into());
    bench.empty(2);
}

#[test]
fn a_caller_whose_browsers_transport_fails_hears_480() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_is_called(Some(&sip_sdp("0", "")));
    let peer = bench.peer_of(dial.leg);
    bench.peers.remove(&peer);
    bench.push(Input::Web(webrtc::Event::Failed { leg: dial.leg, peer, why: "no check came" }));
    assert_eq!(bench.takes_end(dial.leg).cause, Cause::MediaLost);
    assert_eq!(bench.takes_end(leg), Reason::new(Cause::MediaLost, 480));
    bench.empty(1);
}

#[test]
fn a_record_is_one_line_that_hides_who_called_whom() {
    let mut bench = Bench::new();
    let callee = dialled("+4930123456\n78");
    let leg = bench.incoming(Side::Web, Source::Account("alice".into()), callee, Some(&web_offer()));
    bench.ended(leg, Cause::Cancelled.into());
    let line = bench.records[0].to_string();
    assert!(line.contains(" cause=cancelled code=487") && line.contains(" to=+…78 "), "{line}");
    assert!(!line.contains("alice") && !line.contains("123456") && !line.contains('\n'), "{line}");
}

#[test]
fn a_transport_that_fails_before_it_stands_ends_the_call() {
    let mut bench = Bench::new();
    bench.prompt = false;
    let leg = bench.incoming(Side::Web, Source::Account("alice".into()), dialled("bob"), Some(&web_offer()));
    let peer = bench.peer_of(leg);
    bench.peers.clear();
    bench.held.retain(|input| !matches!(input, Input::Web(_)));
    bench.push(Input::Web(webrtc::Event::Failed { leg, peer, why: "no socket" }));
    assert_eq!(bench.takes_end(leg).cause, Cause::MediaLost);
    while bench.release() {}
    bench.empty(1);
}

#[test]
fn offers_that_nobody_can_take_are_488() {
    let no_mux = web_offer().replace("a=rtcp-mux\r\n", "");
    let no_ice = web_offer().replace("a=ice-ufrag:wxyz\r\n", "");
    let mut no_print = web_offer();
    let at = no_print.find("a=fingerprint").unwrap();
    no_print.replace_range(at..no_print[at..].find("\r\n").unwrap() + at + 2, "");
    let foreign = web_sdp("63 13", "actpass", "wxyz", "");
    for offer in [no_mux, no_ice, no_print, foreign, sip_sdp("0", "")] {
        let mut bench = Bench::new();
        let leg = bench.incoming(Side::Web, Source::Account("alice".into()), dialled("bob"), Some(&offer));
        assert_eq!(bench.takes_end(leg), Cause::NotAcceptable.into(), "{offer}");
        bench.empty(1);
        assert!(bench.media.is_empty() && bench.web.is_empty());
    }
    let mut bench = Bench::new();
    let leg = bench.incoming(Side::Web, Source::Account("alice".into()), dialled("bob"), None);
    assert_eq!(bench.takes_end(leg).code, 488);
    let secure = sip_sdp("0", "").replace("RTP/AVP", "RTP/SAVP");
    for offer in [secure, sip_sdp("96", "")] {
        let leg = bench.incoming(Side::Sip, Source::Trunk(TrunkId(0)), dialled("+49"), Some(&offer));
        assert_eq!(bench.takes_end(leg).code, 488);
    }
    bench.empty(3);
}

#[test]
fn an_answer_that_accepts_nothing_ends_both_legs() {
    for answer in [Some(sip_sdp("18", "")), Some(sip_sdp("0", "").replace("4000", "0")), None] {
        let mut bench = Bench::new();
        let (leg, dial) = bench.browser_dials(&web_offer());
        bench.answered(dial.leg, 0, answer.as_deref());
        assert_eq!(bench.takes_end(dial.leg), Cause::NotAcceptable.into());
        assert_eq!(bench.takes_end(leg), Cause::NotAcceptable.into());
        bench.empty(1);
    }
}

#[test]
fn hops_routes_and_strangers_are_refused_with_their_own_codes() {
    let mut bench = Bench::new();
    let mut refused = |source: Source, callee: Callee, hops: u8| {
        let leg = bench.leg(Side::Sip);
        let (caller, offer) = (Party::default(), Some(parsed(&sip_sdp("0", ""))));
        let incoming = Incoming {
            leg,
            source,
            identity: None,
            caller,
            callee,
            offer,
            hops,
            key: "k".into(),
            data: Vec::new(),
            carried: Box::default(),
            reliable: false,
            replaces: None,
        };
        bench.event(Event::Incoming(Box::new(incoming)));
        bench.takes_end(leg).code
    };
    assert_eq!(refused(Source::Trunk(TrunkId(0)), dialled("+49"), 0), 483);
    assert_eq!(refused(Source::Trunk(TrunkId(0)), dialled("nobody"), 70), 404);
    assert_eq!(refused(Source::Trunk(TrunkId(1)), dialled("0900123"), 70), 403);
    assert_eq!(refused(Source::Trunk(TrunkId(7)), Callee::Account("bob".into()), 70), 403);
    bench.empty(4);
}

#[test]
fn caps_are_503_and_what_ended_makes_room() {
    let mut bench = Bench::new();
    let (first, _) = bench.browser_dials(&web_offer());
    bench.browser_dials(&web_offer());
    let third =
        bench.incoming(Side::Web, Source::Account("alice".into()), dialled("bob"), Some(&web_offer()));
    assert_eq!(bench.takes_end(third).code, 503);
    assert_eq!(bench.calls.counters().refused_account_cap, 1);
    bench.ended(first, Cause::Cancelled.into());
    bench.legs.clear();
    bench.browser_dials(&web_offer());
    bench.trunk_dials(Some(&sip_sdp("0", "")));
    bench.trunk_dials(Some(&sip_sdp("0", "")));
    let fifth = bench.incoming(Side::Sip, Source::Trunk(TrunkId(0)), dialled("+49"), Some(&sip_sdp("0", "")));
    assert_eq!(bench.takes_end(fifth), Reason::new(Cause::Overloaded, 503));
    assert_eq!((bench.calls.len(), bench.calls.counters().refused_cap), (4, 1));
}

#[test]
fn nobody_answers_in_time() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_is_called(Some(&sip_sdp("0", "")));
    bench.wait(Duration::from_secs(179));
    bench.quiet();
    bench.wait(Duration::from_secs(2));
    assert_eq!(bench.takes_end(dial.leg), Cause::NoAnswer.into());
    assert_eq!(bench.takes_end(leg), Cause::NoAnswer.into());
    bench.empty(1);
    assert_eq!(bench.calls.poll_timeout(), None);
}

#[test]
fn a_silent_trunk_is_unreachable_and_one_that_says_100_is_not() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.wait(Duration::from_millis(5_002));
    assert_eq!(bench.takes_end(dial.leg).cause, Cause::Unreachable);
    assert_eq!(bench.takes_end(leg), Reason::new(Cause::Unreachable, 504));
    let (_, dial) = bench.browser_dials(&web_offer());
    bench.progress(dial.leg, 0, 100, None);
    bench.wait(Duration::from_mins(1));
    bench.quiet();
    assert_eq!(bench.calls.len(), 1);
}

#[test]
fn a_core_without_time_refuses_new_calls_and_keeps_those_that_run() {
    let mut bench = Bench::new();
    let (talking, _) = bench.trunk_dials_after_progress();
    bench.push(Input::Overload(true));
    let leg = bench.incoming(Side::Sip, Source::Trunk(TrunkId(0)), dialled("+49"), Some(&sip_sdp("0", "")));
    assert_eq!(bench.takes_end(leg), Reason::new(Cause::Overloaded, 503));
    assert_eq!((bench.calls.len(), bench.calls.counters().refused_load), (1, 1));
    bench.push(Input::Overload(false));
    bench.browser_dials(&web_offer());
    assert_eq!(bench.calls.len(), 2);
    bench.ended(talking, Cause::Hangup.into());
    assert_eq!(bench.calls.len(), 1);
}

#[test]
fn draining_refuses_new_calls_and_ends_all_at_its_deadline() {
    let mut bench = Bench::with(Config { pulse: Duration::from_mins(5), ..config() }, 1);
    let (ringing, out) = bench.browser_dials(&web_offer());
    bench.progress(out.leg, 0, 180, None);
    let (talking, far) = bench.trunk_dials_after_progress();
    bench.push(Input::Drain);
    bench.wait(Duration::from_secs(20));
    bench.push(Input::Drain);
    let leg = bench.incoming(Side::Sip, Source::Trunk(TrunkId(0)), dialled("+49"), Some(&sip_sdp("0", "")));
    assert_eq!(bench.takes_end(leg), Reason::new(Cause::Overloaded, 503));
    assert_eq!(bench.calls.poll_timeout().map(|deadline| deadline.why), Some("drain"));
    bench.wait(Duration::from_secs(10));
    assert_eq!(bench.takes_end(out.leg).cause, Cause::Overloaded);
    assert_eq!(bench.takes_end(ringing).code, 503);
    assert_eq!(bench.takes_end(far), Cause::Hangup.into());
    assert_eq!(bench.takes_end(talking), Cause::Hangup.into());
    bench.empty(3);
    assert_eq!(bench.calls.poll_timeout(), None);
}

impl Bench {
    fn trunk_dials_after_progress(&mut self) -> (LegId, LegId) {
        self.legs.clear();
        let (leg, dial) = self.trunk_dials(Some(&sip_sdp("0", "")));
        self.answered(dial.leg, 0, Some(&sip_sdp("0", "")));
        self.takes_answer(leg);
        (leg, dial.leg)
    }
}

#[test]
fn a_leg_that_comes_in_twice_is_one_call() {
    let mut bench = Bench::new();
    let (leg, _) = bench.trunk_dials(Some(&sip_sdp("0", "")));
    let incoming = Incoming {
        leg,
        source: Source::Trunk(TrunkId(0)),
        identity: None,
        caller: Party::default(),
        callee: dialled("+49"),
        offer: None,
        hops: 70,
        key: String::new(),
        data: Vec::new(),
        carried: Box::default(),
        reliable: false,
        replaces: None,
    };
    bench.event(Event::Incoming(Box::new(incoming)));
    bench.quiet();
    assert_eq!((bench.calls.len(), bench.records.len()), (1, 0));
}
