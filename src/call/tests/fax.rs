//! Fax by T.38: passed on between SIP parties, refused to browsers.

use super::*;

/// A description of a fax stream at this port.
fn fax(port: u16, version: u8) -> String {
    format!(
        "v=0\r\no=- 1 2 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=image {port} udptl t38\r\n\
         a=T38FaxVersion:{version}\r\na=T38MaxBitRate:14400\r\na=T38FaxUdpEC:t38UDPRedundancy\r\na=x-own:1\r\n"
    )
}

fn talks() -> (Bench, LegId, Dial) {
    let mut bench = Bench::new();
    let (leg, dial) = bench.trunk_dials(Some(&sip_sdp("0 101", "")));
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 101", "")));
    bench.takes_answer(leg);
    (bench, leg, dial)
}

#[test]
fn a_fax_goes_across_and_sound_comes_back() {
    let (mut bench, leg, dial) = talks();
    // The called party is a fax: it begins.
    bench.offered(dial.leg, Some(&fax(4100, 0)));
    let offer = bench.takes_offer(leg).to_string();
    let address = bench.media_port(leg);
    assert!(offer.contains(&format!("m=image {address} udptl t38\r\n")), "{offer}");
    assert!(offer.contains("a=T38FaxVersion:0\r\na=T38MaxBitRate:14400\r\na=T38FaxUdpEC:"), "{offer}");
    assert!(!offer.contains("x-own") && !offer.contains("m=audio"), "{offer}");
    bench.accepted(leg, &fax(4200, 3));
    let answer = bench.takes_acceptance(dial.leg).to_string();
    assert!(answer.contains("m=image ") && answer.contains("a=T38FaxVersion:3\r\n"), "{answer}");
    for (leg, port) in [(leg, 4200), (dial.leg, 4100)] {
        let agreed = &bench.agreed[&leg];
        assert!(agreed.raw && agreed.send && agreed.receive);
        assert_eq!(agreed.remote.unwrap().port(), port);
    }
    bench.quiet();
    // Back to sound, by the other one.
    bench.offered(leg, Some(&sip_sdp("0 101", "")));
    let offer = bench.takes_offer(dial.leg);
    assert_eq!(listed(&offer)[0], "0 pcmu/8000");
    assert!(offer.to_string().contains(" RTP/AVP 0"), "{offer}");
    bench.accepted(dial.leg, &sip_sdp("0 101", ""));
    bench.takes_acceptance(leg);
    assert!([leg, dial.leg].iter().all(|leg| !bench.agreed[leg].raw));
    assert_eq!(bench.formats(leg)[0], "pcmu/8000");
    bench.quiet();
}

#[test]
fn a_fax_that_the_other_party_refuses_leaves_the_sound() {
    let (mut bench, leg, dial) = talks();
    bench.offered(dial.leg, Some(&fax(4100, 0)));
    bench.takes_offer(leg);
    bench.refused(leg, Cause::NotAcceptable);
    assert_eq!(bench.takes_refusal(dial.leg).code, 488);
    assert!(!bench.agreed[&leg].raw && !bench.agreed[&dial.leg].raw);
    // One that is refused in an answer has ended the sound: it is asked for again.
    bench.offered(dial.leg, Some(&fax(4100, 0)));
    bench.takes_offer(leg);
    bench.accepted(leg, &fax(0, 0));
    assert_eq!(bench.takes_refusal(dial.leg).code, 488);
    assert_eq!(listed(&bench.takes_offer(leg))[0], "0 pcmu/8000");
    bench.accepted(leg, &sip_sdp("0 101", ""));
    bench.quiet();
}

#[test]
fn a_browser_has_no_fax() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.answered(dial.leg, 0, Some(&sip_sdp("96 101", "")));
    bench.takes_answer(leg);
    bench.offered(dial.leg, Some(&fax(4100, 0)));
    assert_eq!(bench.takes_refusal(dial.leg).code, 488);
    bench.quiet();
}

#[test]
fn a_fax_that_meets_another_change_is_refused_as_pending() {
    let (mut bench, leg, dial) = talks();
    bench.offered(dial.leg, Some(&fax(4100, 0)));
    bench.takes_offer(leg);
    bench.offered(leg, Some(&fax(4200, 0)));
    assert_eq!(bench.takes_refusal(leg).code, 491);
}
