//! Reliable provisional responses, PRACK, and UPDATE before the answer.

use super::script::*;
use super::*;
use crate::leg::{Cause, Fork};
use sip_codec::Name;

const KNOWS: &str = "Supported: 100rel\r\nAllow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE\r\n";

fn progress(net: &mut Net, leg: LegId, code: u16, answer: Option<u64>) {
    net.command(0, Command::Progress { leg, code, answer: answer.map(sdp) });
    net.run(Duration::from_millis(50));
}

#[test]
fn an_invite_says_what_it_knows_and_requires() {
    for (policy, supported, require) in [
        (Reliability::Off, "timer, 199, replaces", ""),
        (Reliability::Supported, "timer, 199, 100rel, replaces", ""),
        (Reliability::Required, "timer, 199, 100rel, replaces", "100rel"),
    ] {
        let mut net = Net::scripted(|config| config.trunks[0].reliable = policy);
        let (_, invite) = dialled(&mut net);
        assert_eq!((header(&invite, "Supported"), header(&invite, "Require")), (supported, require));
    }
}

#[test]
fn each_reliable_response_gets_one_prack_in_order_and_for_each_fork() {
    let mut net = Net::scripted(|_| {});
    let (_, invite) = dialled(&mut net);
    net.answer(&invite, 183, "b1", &reliable("7"), Some(&sdp_text(3)));
    net.answer(&invite, 183, "b2", &reliable("70"), Some(&sdp_text(4)));
    // Again, and one too many ahead.
    net.answer(&invite, 183, "b1", &reliable("7"), Some(&sdp_text(3)));
    net.answer(&invite, 180, "b1", &reliable("9"), None);
    net.answer(&invite, 180, "b1", &reliable("8"), None);
    net.run(Duration::from_millis(100));
    let racks: Vec<String> = net
        .take("PRACK")
        .iter()
        .map(|prack| format!("{} {}", tag_of(prack), header(prack, "RAck")))
        .collect();
    assert_eq!(racks, ["b1 7 1 INVITE", "b2 70 1 INVITE", "b1 8 1 INVITE"]);
    assert_eq!(
        net.names(0),
        ["Progress 183 fork 0 media", "Progress 183 fork 1 media", "Progress 180 fork 0"]
    );
    assert_eq!(net.stack(0).counters().unordered_progress, 2);
    net.answer(&invite, 200, "b1", &contact(), None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.names(0).last().unwrap(), "Answered fork 0 bare");
}

#[test]
fn a_challenged_prack_is_signed_and_one_for_a_lost_dialog_ends_that_fork_alone() {
    let mut net = Net::scripted(|config| {
        let password = Secret("secret".into());
        config.trunks[0].credentials = Some(Credentials { user: "alice".into(), password });
    });
    let (_, invite) = dialled(&mut net);
    net.answer(&invite, 183, "b1", &reliable("7"), Some(&sdp_text(3)));
    net.run(Duration::from_millis(100));
    let prack = net.take("PRACK").remove(0);
    let challenge = "Digest realm=\"r\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256";
    net.answer(&prack, 407, "b1", &[(Name::ProxyAuthenticate, challenge)], None);
    net.run(Duration::from_millis(100));
    let again = net.take("PRACK").remove(0);
    assert!(header(&again, "Proxy-Authorization").contains("username=\"alice\""));
    assert_eq!((header(&again, "RAck"), header(&again, "CSeq")), ("7 1 INVITE", "3 PRACK"));
    net.answer(&again, 481, "b1", &[], None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.names(0), ["Progress 183 fork 0 media", "Progress 199 fork 0"]);
}

#[test]
fn early_media_goes_reliably_to_a_caller_that_knows_how() {
    let mut net = Net::scripted(|_| {});
    let leg = called(&mut net, KNOWS, &sdp_text(1));
    assert!(net.incoming(0).reliable);
    // Without a description it need not be acknowledged.
    progress(&mut net, leg, 180, None);
    assert_eq!(header(&net.take("SIP/2.0 180")[0], "RSeq"), "");
    progress(&mut net, leg, 183, Some(3));
    let early = net.take("SIP/2.0 183").remove(0);
    assert_eq!(header(&early, "Require"), "100rel");
    // What else there is waits, the answer too.
    progress(&mut net, leg, 180, None);
    net.command(0, Command::Answer { leg, session: Some(sdp(3)) });
    net.run(seconds(2));
    assert_eq!(
        (net.sent(A, "SIP/2.0 183"), net.sent(A, "SIP/2.0 200"), net.sent(A, "SIP/2.0 180")),
        (3, 0, 1)
    );
    net.inject(B, 0, &prack(&early, 2, ""));
    net.run(Duration::from_millis(100));
    let ok = net.take("SIP/2.0 200");
    assert_eq!(header(&ok[0], "CSeq"), "2 PRACK");
    // Offer and answer are done: the 200 has no description.
    assert_eq!((header(&ok[1], "CSeq"), header(&ok[1], "Content-Length")), ("1 INVITE", "0"));
    net.inject(B, 0, &from_caller("ACK", 1, &tag_of(&early), "", ""));
    net.run(seconds(60));
    assert!(!net.heard(0, "Ended"));
    assert_eq!(net.sent(A, "SIP/2.0 183"), 3);
}

#[test]
fn required_means_every_provisional_response() {
    let mut net = Net::scripted(|config| config.trunks[0].reliable = Reliability::Off);
    let leg = called(&mut net, "Require: 100rel\r\n", &sdp_text(1));
    progress(&mut net, leg, 180, None);
    let ringing = net.take("SIP/2.0 180").remove(0);
    assert_eq!(header(&ringing, "Require"), "100rel");
    // An answer need not wait for a PRACK that is about nothing; the PRACK that comes late is met.
    net.command(0, Command::Answer { leg, session: Some(sdp(3)) });
    net.run(Duration::from_millis(50));
    assert!(net.take("SIP/2.0 200")[0].contains("o=- 3 "));
    net.inject(B, 0, &prack(&ringing, 2, ""));
    net.inject(B, 0, &from_caller("ACK", 1, &tag_of(&ringing), "", ""));
    net.run(Duration::from_millis(50));
    assert_eq!(header(&net.take("SIP/2.0 200")[0], "CSeq"), "2 PRACK");
    assert_eq!(net.sent(A, "SIP/2.0 180"), 1);
}

#[test]
fn who_does_not_know_what_the_operator_requires_hears_421() {
    let mut net = Net::scripted(|config| config.trunks[0].reliable = Reliability::Required);
    net.inject(B, 0, &from_caller("INVITE", 1, "", "", &sdp_text(1)));
    net.run(Duration::from_millis(50));
    assert_eq!(header(&net.take("SIP/2.0 421")[0], "Require"), "100rel");
    assert!(!net.heard(0, "Incoming"));
}

#[test]
fn a_response_that_is_never_acknowledged_ends_the_call_after_64_t1() {
    let mut net = Net::scripted(|_| {});
    let leg = called(&mut net, KNOWS, &sdp_text(1));
    progress(&mut net, leg, 183, Some(3));
    net.run(seconds(40));
    // At 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s: the interval grows without bound.
    assert_eq!(net.sent(A, "SIP/2.0 183"), 7);
    assert!(!net.take("SIP/2.0 504").is_empty());
    assert_eq!(net.names(0).last().unwrap(), "Ended unreachable 504");
    assert_eq!(net.stack(0).counters().lost_pracks, 1);
}

#[test]
fn pracks_that_match_nothing_hear_481() {
    let mut net = Net::scripted(|_| {});
    let leg = called(&mut net, KNOWS, &sdp_text(1));
    progress(&mut net, leg, 183, Some(3));
    let early = net.take("SIP/2.0 183").remove(0);
    let (tag, rseq) = (tag_of(&early), header(&early, "RSeq").parse::<u32>().unwrap());
    for (cseq, rack, code) in [
        (2, format!("{} 1 INVITE", rseq + 1), 481),
        (3, format!("{rseq} 2 INVITE"), 481),
        (4, format!("{rseq} 1 OPTIONS"), 481),
        (5, "x".to_owned(), 400),
        (6, format!("{rseq} 1 INVITE"), 200),
        (7, format!("{rseq} 1 INVITE"), 481),
    ] {
        net.inject(B, 0, &from_caller("PRACK", cseq, &tag, &format!("RAck: {rack}\r\n"), ""));
        net.run(Duration::from_millis(50));
        assert_eq!(net.take(&format!("SIP/2.0 {code}")).len(), 1, "{rack}");
    }
}

#[test]
fn a_refusal_does_not_wait_for_prack() {
    let mut net = Net::scripted(|_| {});
    let leg = called(&mut net, KNOWS, &sdp_text(1));
    progress(&mut net, leg, 183, Some(3));
    net.command(0, Command::End { leg, reason: Cause::Busy.into() });
    net.run(seconds(1));
    let busy = net.take("SIP/2.0 486");
    net.inject(B, 0, &from_caller("ACK", 1, &tag_of(&busy[0]), "", ""));
    net.run(seconds(60));
    assert_eq!(net.sent(A, "SIP/2.0 183"), 1);
    net.assert_empty();
}

#[test]
fn our_offer_goes_into_a_reliable_response_and_theirs_answers_in_prack() {
    for body in [sdp_text(9), String::new()] {
        let mut net = Net::scripted(|_| {});
        let leg = called(&mut net, KNOWS, "");
        progress(&mut net, leg, 183, Some(3));
        let early = net.take("SIP/2.0 183").remove(0);
        assert!(early.contains("o=- 3 "));
        net.command(0, Command::Answer { leg, session: None });
        net.inject(B, 0, &prack(&early, 2, &body));
        net.run(Duration::from_millis(50));
        if body.is_empty() {
            assert_eq!(net.names(0).last().unwrap(), "Ended not_acceptable 488");
            assert_eq!(net.take("SIP/2.0 488").len(), 1);
            continue;
        }
        assert!(matches!(net.nodes[0].events.last(),
            Some(Event::Accepted { answer, .. }) if **answer == *sdp(9)));
        let ok = net.take("SIP/2.0 200").pop().unwrap();
        assert_eq!((header(&ok, "CSeq"), header(&ok, "Content-Length")), ("1 INVITE", "0"));
    }
}

#[test]
fn without_reliable_responses_our_offer_waits_for_the_answer() {
    let mut net = Net::scripted(|_| {});
    let leg = called(&mut net, "", "");
    assert!(!net.incoming(0).reliable);
    progress(&mut net, leg, 183, Some(3));
    assert_eq!(header(&net.take("SIP/2.0 183")[0], "Content-Length"), "0");
}

/// A call that came in, with early media that was acknowledged: its leg, and our tag.
fn settled(net: &mut Net) -> (LegId, String) {
    let leg = called(net, KNOWS, &sdp_text(1));
    progress(net, leg, 183, Some(3));
    let early = net.take("SIP/2.0 183").remove(0);
    net.inject(B, 0, &prack(&early, 2, ""));
    net.run(Duration::from_millis(50));
    net.take("SIP/2.0 200");
    (leg, tag_of(&early))
}

#[test]
fn a_caller_may_change_by_update_and_by_prack_before_the_answer() {
    let mut net = Net::scripted(|_| {});
    let leg = called(&mut net, KNOWS, &sdp_text(1));
    progress(&mut net, leg, 183, Some(3));
    let early = net.take("SIP/2.0 183").remove(0);
    net.inject(B, 0, &prack(&early, 2, &sdp_text(4)));
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0).last().unwrap(), "Offered");
    net.command(0, Command::Accept { leg, answer: sdp(5) });
    net.run(Duration::from_millis(50));
    let ok = net.take("SIP/2.0 200").remove(0);
    assert!(header(&ok, "CSeq") == "2 PRACK" && ok.contains("o=- 5 "), "{ok}");
    net.inject(B, 0, &from_caller("UPDATE", 3, &tag_of(&early), "", &sdp_text(6)));
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0).last().unwrap(), "Offered");
    // One at a time.
    net.inject(B, 0, &from_caller("UPDATE", 4, &tag_of(&early), "", &sdp_text(6)));
    net.run(Duration::from_millis(50));
    assert!(!header(&net.take("SIP/2.0 500")[0], "Retry-After").is_empty());
    net.command(0, Command::Refuse { leg, reason: Cause::NotAcceptable.into() });
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 488").len(), 1);
    net.command(0, Command::Answer { leg, session: Some(sdp(3)) });
    net.run(Duration::from_millis(50));
    assert_eq!(header(&net.take("SIP/2.0 200")[0], "Content-Length"), "0");
}

#[test]
fn an_update_before_offer_and_answer_are_done_has_to_wait() {
    let mut net = Net::scripted(|_| {});
    // Of a caller whose offer has no answer, and of one that has ours.
    for (call, body, code) in [("c", sdp_text(1), 500), ("d", String::new(), 491)] {
        let own =
            |text: String| text.replace("Call-ID: c", &format!("Call-ID: {call}")).replace("z9hG4bKc", call);
        let own = |text: String| own(text).replace("branch=", "branch=z9hG4bK");
        net.inject(B, 0, &own(from_caller("INVITE", 1, "", KNOWS, &body)));
        net.run(Duration::from_millis(50));
        let leg = net.incoming(0).leg;
        progress(&mut net, leg, 183, Some(3));
        let early = net.take("SIP/2.0 183").remove(0);
        net.inject(B, 0, &own(from_caller("UPDATE", 2, &tag_of(&early), "", &sdp_text(6))));
        // One without offer may come at any time.
        net.inject(B, 0, &own(from_caller("UPDATE", 3, &tag_of(&early), "", "")));
        net.run(Duration::from_millis(50));
        let refusal = net.take(&format!("SIP/2.0 {code}"));
        assert_eq!(refusal.len(), 1, "{call}");
        assert_eq!(header(&refusal[0], "Retry-After").is_empty(), code == 491);
        assert_eq!(net.take("SIP/2.0 200").len(), 1);
    }
}

#[test]
fn we_change_by_update_before_the_answer_where_it_is_allowed() {
    let mut net = Net::scripted(|_| {});
    let (leg, tag) = settled(&mut net);
    net.command(0, Command::Offer { leg, offer: sdp(7) });
    net.run(Duration::from_millis(50));
    let update = net.take("UPDATE").remove(0);
    assert!(update.contains("o=- 7 ") && header(&update, "From").ends_with(&tag));
    // Theirs meets it.
    net.inject(B, 0, &from_caller("UPDATE", 3, &tag, "", &sdp_text(6)));
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 491").len(), 1);
    net.answer(&update, 200, "q", &contact(), Some(&sdp_text(8)));
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0).last().unwrap(), "Accepted");
    // It is free again, and glares are waited out.
    net.command(0, Command::Offer { leg, offer: sdp(9) });
    net.run(Duration::from_millis(50));
    let update = net.take("UPDATE").remove(0);
    net.answer(&update, 491, "q", &[], None);
    net.run(seconds(2));
    let again = net.take("UPDATE").remove(0);
    net.answer(&again, 488, "q", &[], None);
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0).last().unwrap(), "Refused not_acceptable");
    // What can't be said now waits for the answer.
    let mut net = Net::scripted(|_| {});
    let leg = called(&mut net, "Supported: 100rel\r\n", &sdp_text(1));
    net.command(0, Command::Offer { leg, offer: sdp(7) });
    assert_eq!(net.names(0).last().unwrap(), "Refused pending");
}

#[test]
fn a_fork_may_change_by_update_once_its_answer_is_acknowledged() {
    let mut net = Net::scripted(|_| {});
    let (leg, invite) = dialled(&mut net);
    net.answer(&invite, 183, "b1", &reliable("7"), Some(&sdp_text(3)));
    net.answer(&invite, 183, "b2", &contact(), Some(&sdp_text(4)));
    net.run(Duration::from_millis(50));
    net.inject(B, 0, &in_fork(&invite, "b1", "UPDATE", 5, "", &sdp_text(5)));
    // Not of the one whose answer may be lost.
    net.inject(B, 0, &in_fork(&invite, "b2", "UPDATE", 5, "", &sdp_text(6)));
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0).last().unwrap(), "OfferedEarly fork 0");
    assert!(!header(&net.take("SIP/2.0 500")[0], "Retry-After").is_empty());
    net.command(0, Command::AcceptEarly { leg, fork: Fork(0), answer: Some(sdp(8)) });
    net.run(Duration::from_millis(50));
    let ok = net.take("SIP/2.0 200").remove(0);
    assert!(header(&ok, "CSeq") == "5 UPDATE" && ok.contains("o=- 8 "));
    net.inject(B, 0, &in_fork(&invite, "b1", "UPDATE", 6, "", &sdp_text(5)));
    net.run(Duration::from_millis(50));
    net.command(0, Command::AcceptEarly { leg, fork: Fork(0), answer: None });
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 488").len(), 1);
    net.command(0, end(leg));
    net.inject(B, 0, &in_fork(&invite, "b1", "UPDATE", 7, "", &sdp_text(5)));
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 481").len(), 1);
}

/// Dials without an offer.
fn dialled_late(net: &mut Net) -> (LegId, String) {
    let leg = net.dial_late(0);
    net.run(seconds(1));
    let invite = net.take("INVITE").remove(0);
    assert_eq!(header(&invite, "Content-Length"), "0");
    (leg, invite)
}

#[test]
fn their_offer_in_the_200_is_answered_in_the_ack() {
    let mut net = Net::scripted(|_| {});
    let (leg, invite) = dialled_late(&mut net);
    // No offer, since it may be lost.
    net.answer(&invite, 183, "b1", &contact(), Some(&sdp_text(3)));
    net.answer(&invite, 200, "b1", &contact(), Some(&sdp_text(4)));
    net.answer(&invite, 200, "b1", &contact(), Some(&sdp_text(4)));
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0), ["Progress 183 fork 0", "Answered fork 0"]);
    assert_eq!(net.sent(A, "ACK"), 0);
    net.command(0, Command::Accept { leg, answer: sdp(5) });
    net.answer(&invite, 200, "b1", &contact(), Some(&sdp_text(4)));
    net.run(Duration::from_millis(50));
    let acks = net.take("ACK");
    assert!(acks.len() == 2 && acks.iter().all(|ack| ack.contains("o=- 5 ")), "{acks:?}");
    assert_eq!(net.sent(A, "BYE"), 0);
}

#[test]
fn an_offer_that_is_not_taken_is_acknowledged_and_the_call_ended() {
    for body in [Some(sdp_text(4)), None] {
        let mut net = Net::scripted(|_| {});
        let (leg, invite) = dialled_late(&mut net);
        net.answer(&invite, 200, "b1", &contact(), body.as_deref());
        net.run(Duration::from_millis(50));
        net.command(0, Command::End { leg, reason: Cause::NotAcceptable.into() });
        net.run(Duration::from_millis(50));
        assert_eq!((net.take("ACK").len(), net.take("BYE").len()), (1, 1));
    }
}

#[test]
fn their_offer_in_a_reliable_response_is_answered_in_prack() {
    let mut net = Net::scripted(|_| {});
    let (leg, invite) = dialled_late(&mut net);
    net.answer(&invite, 183, "b1", &reliable("3"), Some(&sdp_text(3)));
    net.answer(&invite, 183, "b1", &reliable("3"), Some(&sdp_text(3)));
    net.run(Duration::from_millis(50));
    assert_eq!((net.names(0), net.sent(A, "PRACK")), (vec!["Progress 183 fork 0 media".to_owned()], 0));
    net.command(0, Command::AcceptEarly { leg, fork: Fork(0), answer: Some(sdp(5)) });
    net.run(Duration::from_millis(50));
    let prack = net.take("PRACK").remove(0);
    assert!(header(&prack, "RAck") == "3 1 INVITE" && prack.contains("o=- 5 "));
    net.answer(&prack, 200, "b1", &[], None);
    net.answer(&invite, 200, "b1", &contact(), None);
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0).last().unwrap(), "Answered fork 0 bare");
    assert_eq!(header(&net.take("ACK")[0], "Content-Length"), "0");
}

#[test]
fn p_early_media_is_heeded_and_said_only_within_the_trust_domain() {
    for trusted in [false, true] {
        let mut net = Net::scripted(|config| config.trunks[0].early_media = trusted);
        let (_, invite) = dialled(&mut net);
        assert_eq!(header(&invite, "P-Early-Media"), if trusted { "supported" } else { "" });
        let mut headers = contact();
        headers.push((Name::PEarlyMedia, "inactive"));
        net.answer(&invite, 183, "b1", &headers, Some(&sdp_text(3)));
        headers.pop();
        headers.push((Name::PEarlyMedia, "sendonly, gated"));
        net.answer(&invite, 180, "b1", &headers, None);
        net.run(Duration::from_millis(50));
        let gates: Vec<String> = net.names(0).into_iter().filter(|name| name.starts_with("Gate")).collect();
        assert_eq!(gates.len(), if trusted { 2 } else { 0 });
        assert!(!trusted || gates == ["Gate false fork 0", "Gate true fork 0"]);
        let leg = called(&mut net, "P-Early-Media: supported\r\n", &sdp_text(1));
        net.command(0, Command::Gate { leg, open: false });
        progress(&mut net, leg, 183, Some(3));
        net.command(0, Command::Gate { leg, open: true });
        progress(&mut net, leg, 183, Some(3));
        let said: Vec<String> =
            net.take("SIP/2.0 183").iter().map(|early| header(early, "P-Early-Media").to_owned()).collect();
        assert_eq!(said, if trusted { ["inactive", "sendrecv"] } else { ["", ""] });
    }
}

#[test]
fn who_requires_reliable_responses_gets_them_whatever_the_operator_says() {
    let mut net = Net::scripted(|config| config.trunks[0].reliable = Reliability::Off);
    let (_, invite) = dialled(&mut net);
    net.answer(&invite, 421, "b1", &[(Name::Require, "100rel")], None);
    net.run(Duration::from_millis(100));
    let again = net.take("INVITE").remove(0);
    assert!(header(&again, "Supported").contains("100rel"), "{again}");
    assert_eq!(header(&again, "CSeq"), "2 INVITE");
    net.answer(&again, 421, "b1", &[(Name::Require, "100rel")], None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.names(0), ["Ended rejected 421"]);
}
