//! SIP phones that are registered through the gateway: SIP signalling, with RTP or with WebRTC media.

use super::*;
use crate::base::RealmId;
use crate::leg::Phone;

const PLAIN: Phone = Phone { id: 1, trunk: TrunkId(0), web: false };
const IN_PAGE: Phone = Phone { id: 2, trunk: TrunkId(0), web: true };

/// A phone in a page calls bob, who answers with Opus alone.
fn talking(bench: &mut Bench) -> (LegId, LegId) {
    let leg = bench.incoming(Side::Sip, Source::Phone(IN_PAGE), dialled("bob"), Some(&web_offer()));
    let dial = bench.dialled();
    bench.answered(dial.leg, 0, Some(&sip_sdp("96 101", "")));
    bench.takes_answer(leg).expect("an answer");
    bench.quiet();
    (leg, dial.leg)
}

#[test]
fn a_phone_in_a_page_gets_one_answer_with_ice_and_dtls_once_the_other_party_has_answered() {
    let mut bench = Bench::new();
    let leg = bench.incoming(Side::Sip, Source::Phone(IN_PAGE), dialled("bob"), Some(&web_offer()));
    assert_eq!(bench.media_sides[&leg], media::Kind::Web);
    let dial = bench.dialled();
    assert_eq!((dial.target, dial.with, dial.account), (Target::Trunk(TrunkId(0)), Some(leg), None));
    let offer = dial.offer.to_string();
    assert!(offer.contains("RTP/AVP") && !offer.contains("ice-ufrag"), "{offer}");
    bench.progress(dial.leg, 0, 180, None);
    assert!(matches!(bench.next_leg(), Command::Progress { code: 180, answer: None, .. }));
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 101", "")));
    let answer = bench.takes_answer(leg).expect("an answer");
    assert_eq!(listed(&answer), ["0 pcmu/8000", "126 telephone-event/8000"]);
    let text = answer.to_string();
    for line in ["a=ice-lite\r\n", "a=setup:passive\r\n", "a=rtcp-mux\r\n", "a=group:BUNDLE 0\r\n"] {
        assert!(text.contains(line), "{line} is missing in\n{text}");
    }
    assert_eq!(bench.media.iter().filter(|c| matches!(c, media::Command::Join { .. })).count(), 1);
    bench.ended(leg, Cause::Hangup.into());
    bench.takes_end(dial.leg);
    bench.empty(1);
}

#[test]
fn early_media_and_the_200_bring_a_phone_in_a_page_the_same_answer() {
    let mut bench = Bench::new();
    let leg = bench.incoming(Side::Sip, Source::Phone(IN_PAGE), dialled("bob"), Some(&web_offer()));
    let dial = bench.dialled();
    bench.progress(dial.leg, 0, 183, Some(&sip_sdp("0 101", "")));
    let Command::Progress { code: 183, answer: Some(early), .. } = bench.next_leg() else { panic!() };
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 101", "")));
    assert_eq!(bench.takes_answer(leg).expect("the answer"), early);
    bench.quiet();
}

#[test]
fn a_hold_by_a_phone_in_a_page_reaches_the_other_party_and_its_transport_stays() {
    let mut bench = Bench::new();
    let (leg, far) = talking(&mut bench);
    let opened = bench.web.len();
    bench.offered(leg, Some(&web_sdp("111 126", "actpass", "wxyz", "a=sendonly\r\n")));
    assert_eq!(way(&bench.takes_offer(far)), Direction::SendOnly);
    bench.accepted(far, &sip_sdp("96 101", "a=recvonly\r\n"));
    let answer = bench.takes_acceptance(leg);
    assert_eq!(way(&answer), Direction::RecvOnly);
    assert!(answer.to_string().contains("a=setup:passive"));
    assert!(!bench.agreed[&leg].send && bench.agreed[&leg].receive);
    assert_eq!(bench.web.len(), opened, "neither described anew nor restarted");
    // And the other party holds, as any SIP party may.
    bench.offered(leg, Some(&web_sdp("111 126", "actpass", "wxyz", "")));
    assert_eq!(way(&bench.takes_offer(far)), Direction::SendRecv);
    bench.accepted(far, &sip_sdp("96 101", ""));
    bench.takes_acceptance(leg);
    bench.offered(far, Some(&sip_sdp("96 101", "a=inactive\r\n")));
    assert_eq!(way(&bench.takes_offer(leg)), Direction::Inactive);
    bench.accepted(leg, &web_sdp("111 126", "active", "wxyz", "a=inactive\r\n"));
    assert_eq!(way(&bench.takes_acceptance(far)), Direction::Inactive);
    bench.quiet();
}

#[test]
fn new_ice_credentials_of_a_phone_in_a_page_are_answered_here() {
    let mut bench = Bench::new();
    let (leg, _) = talking(&mut bench);
    bench.offered(leg, Some(&web_sdp("111 126", "actpass", "abcd", "")));
    let answer = bench.takes_acceptance(leg).to_string();
    assert!(answer.contains("a=ice-ufrag:uf"), "{answer}");
    assert!(bench.web.iter().any(|command| matches!(command, webrtc::Command::Restart { .. })));
    bench.quiet();
}

#[test]
fn a_hold_with_new_ice_credentials_is_answered_and_told() {
    let mut bench = Bench::new();
    let (leg, far) = talking(&mut bench);
    bench.offered(leg, Some(&web_sdp("111 126", "actpass", "abcd", "a=sendonly\r\n")));
    assert_eq!(way(&bench.takes_acceptance(leg)), Direction::RecvOnly);
    assert_eq!(way(&bench.takes_offer(far)), Direction::SendOnly);
    bench.accepted(far, &sip_sdp("96 101", "a=recvonly\r\n"));
    bench.quiet();
}

#[test]
fn a_phone_in_a_page_is_called_with_webrtc_and_a_plain_one_with_rtp() {
    for phone in [IN_PAGE, PLAIN] {
        let mut bench = Bench::new();
        let callee = Callee::Phone { phone, party: Party { user: "carol".into(), ..Party::default() } };
        let source = Source::Trunk(TrunkId(0));
        let leg = bench.incoming(Side::Sip, source, callee, Some(&sip_sdp("0 101", "")));
        let dial = bench.dialled();
        assert_eq!((dial.target.clone(), dial.callee.user.as_str()), (Target::Phone(phone), "carol"));
        let offer = dial.offer.to_string();
        assert_eq!(offer.contains("UDP/TLS/RTP/SAVPF"), phone.web, "{offer}");
        assert_eq!(offer.contains("a=ice-lite") && offer.contains("a=setup:actpass"), phone.web, "{offer}");
        let answer = if phone.web { web_sdp("0 126", "active", "wxyz", "") } else { sip_sdp("0 101", "") };
        bench.answered(dial.leg, 0, Some(&answer));
        assert_eq!(listed(&bench.takes_answer(leg).unwrap())[0], "0 pcmu/8000");
        bench.ended(dial.leg, Cause::Hangup.into());
        bench.takes_end(leg);
        bench.empty(1);
    }
}

#[test]
fn what_a_phone_offers_decides_its_media_and_a_browser_can_not_call_one() {
    let mut bench = Bench::new();
    // From a page, and yet plain RTP.
    let leg = bench.incoming(Side::Sip, Source::Phone(IN_PAGE), dialled("bob"), Some(&sip_sdp("0 101", "")));
    assert_eq!(bench.media_sides[&leg], media::Kind::Rtp(RealmId(0)));
    bench.dialled();
    let callee = Callee::Phone { phone: PLAIN, party: Party::default() };
    let leg = bench.incoming(Side::Web, Source::Account("alice".into()), callee, Some(&web_offer()));
    // It goes out to the SIP server, as every call of a browser.
    assert!(matches!(bench.next_leg(), Command::Progress { code: 0, .. }));
    assert_eq!(bench.dialled().target, Target::Trunk(TrunkId(0)));
    bench.ended(leg, Cause::Hangup.into());
}

#[test]
fn keys_that_a_phone_in_a_page_sends_as_info_reach_the_other_party_as_media() {
    let mut bench = Bench::new();
    let (leg, far) = talking(&mut bench);
    let digit =
        crate::leg::Digit { digit: '5', duration: Duration::from_millis(100), sounds: false, spelled: false };
    bench.event(Event::Inform { leg, notice: Box::new(crate::leg::Notice::Digit(digit)) });
    let pressed =
        |command: &media::Command| matches!(command, media::Command::Press { leg, .. } if *leg == far);
    assert!(bench.media.iter().any(pressed));
    bench.quiet();
}
