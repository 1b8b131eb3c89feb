//! What a scripted callee or caller does: forks, challenges, delayed offers, odd orders.

use super::script::*;
use super::*;
use sip_codec::Name;

fn with_credentials(config: &mut Config) {
    let password = Secret("secret".into());
    config.trunks[0].credentials = Some(Credentials { user: "alice".into(), password });
}

const CHALLENGE: &str = "Digest realm=\"r\", nonce=\"n1\", qop=\"auth\", algorithm=SHA-256";

#[test]
fn forks_are_numbered_and_only_the_first_answer_wins() {
    let mut net = Net::scripted(|_| {});
    let (_, invite) = dialled(&mut net);
    net.answer(&invite, 180, "b1", &contact(), None);
    net.answer(&invite, 183, "b2", &contact(), Some(&sdp_text(3)));
    net.answer(&invite, 200, "b2", &contact(), Some(&sdp_text(3)));
    net.run(seconds(1));
    assert_eq!(net.names(0), ["Progress 180 fork 0", "Progress 183 fork 1 media", "Answered fork 1"]);
    net.answer(&invite, 200, "b1", &contact(), Some(&sdp_text(4)));
    net.answer(&invite, 200, "b3", &contact(), Some(&sdp_text(5)));
    net.run(Duration::from_millis(50));
    let (acks, byes) = (net.take("ACK"), net.take("BYE"));
    let tags = |texts: &[String]| {
        texts
            .iter()
            .map(|text| header(text, "To").split("tag=").nth(1).unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        (tags(&acks), tags(&byes)),
        (vec!["b2".into(), "b1".into(), "b3".into()], vec!["b1".into(), "b3".into()])
    );
    // Each answer that comes again gets its own ACK again.
    net.answer(&invite, 200, "b1", &contact(), Some(&sdp_text(4)));
    net.run(Duration::from_millis(50));
    assert_eq!(tags(&net.take("ACK")), ["b1"]);
    assert_eq!(net.names(0).len(), 3);
}

#[test]
fn cancel_waits_for_a_provisional_response() {
    let mut net = Net::scripted(|_| {});
    let (leg, invite) = dialled(&mut net);
    net.command(0, end(leg));
    net.run(seconds(2));
    assert_eq!(net.sent(A, "CANCEL"), 0);
    net.answer(&invite, 180, "b1", &contact(), None);
    net.run(Duration::from_millis(100));
    let cancel = net.take("CANCEL").remove(0);
    for name in ["Via", "From", "To", "Call-ID", "Max-Forwards"] {
        let expected = if name == "Max-Forwards" { "70" } else { header(&invite, name) };
        assert_eq!(header(&cancel, name), expected);
    }
    assert_eq!(header(&cancel, "CSeq"), "1 CANCEL");
    net.answer(&cancel, 200, "b1", &[], None);
    net.answer(&invite, 487, "b1", &[], None);
    net.run(seconds(60));
    assert_eq!(net.sent(A, "ACK"), 1);
    assert_eq!(net.names(0).len(), 0);
    net.assert_empty();
}

#[test]
fn after_giving_up_a_late_ring_is_cancelled_and_a_late_answer_ended() {
    let mut net = Net::scripted(|_| {});
    let (_, invite) = dialled(&mut net);
    net.run(seconds(5));
    assert_eq!(net.names(0), ["Ended unreachable 503"]);
    net.answer(&invite, 180, "b1", &contact(), None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.take("CANCEL").len(), 1);
    net.answer(&invite, 200, "b1", &contact(), Some(&sdp_text(2)));
    net.run(seconds(1));
    assert_eq!((net.take("ACK").len(), net.take("BYE").is_empty()), (1, false));
    assert_eq!(net.names(0).len(), 1);
    net.run(seconds(100));
    net.assert_empty();
}

#[test]
fn a_cancelled_invite_without_final_response_is_given_up_after_64_t1() {
    let mut net = Net::scripted(|_| {});
    let (leg, invite) = dialled(&mut net);
    net.answer(&invite, 180, "b1", &contact(), None);
    net.run(seconds(1));
    net.command(0, end(leg));
    net.run(seconds(70));
    net.assert_empty();
}

#[test]
fn challenges_are_met_on_invite_reinvite_and_bye() {
    let mut net = Net::scripted(with_credentials);
    let (leg, invite) = dialled(&mut net);
    net.answer(&invite, 407, "c1", &[(Name::ProxyAuthenticate, CHALLENGE)], None);
    net.run(seconds(1));
    assert_eq!(net.take("ACK").len(), 1);
    let second = net.take("INVITE").remove(0);
    assert_eq!(header(&second, "CSeq"), "2 INVITE");
    assert_eq!(
        (header(&second, "Call-ID"), header(&second, "From")),
        (header(&invite, "Call-ID"), header(&invite, "From"))
    );
    let authorization = header(&second, "Proxy-Authorization");
    assert!(
        authorization.contains("algorithm=SHA-256") && authorization.contains("nc=00000001"),
        "{authorization}"
    );
    net.answer(&second, 200, "b1", &contact(), Some(&sdp_text(2)));
    net.run(seconds(1));
    // The ACK of a 2xx has its INVITE's credentials (section 22.1).
    assert_eq!(header(&net.take("ACK")[0], "Proxy-Authorization"), authorization);
    net.command(0, Command::Offer { leg, offer: sdp(7) });
    net.run(Duration::from_millis(100));
    let reinvite = net.take("INVITE").remove(0);
    assert!(header(&reinvite, "Proxy-Authorization").contains("nc=00000002"));
    let stale = CHALLENGE.replace("n1", "n2") + ", stale=true";
    net.answer(&reinvite, 407, "b1", &[(Name::ProxyAuthenticate, &stale)], None);
    net.run(Duration::from_millis(100));
    let again = net.take("INVITE").remove(0);
    assert!(header(&again, "Proxy-Authorization").contains("nonce=\"n2\""));
    net.answer(&again, 200, "b1", &contact(), Some(&sdp_text(8)));
    net.run(Duration::from_millis(100));
    assert_eq!(net.names(0).last().unwrap(), "Accepted");
    net.command(0, end(leg));
    net.run(Duration::from_millis(100));
    let bye = net.take("BYE").remove(0);
    net.answer(&bye, 401, "b1", &[(Name::WwwAuthenticate, CHALLENGE)], None);
    net.run(Duration::from_millis(100));
    let again = net.take("BYE").remove(0);
    assert!(header(&again, "Authorization").starts_with("Digest username=\"alice\""));
    assert_eq!(header(&again, "CSeq"), "6 BYE");
    net.answer(&again, 200, "b1", &[], None);
    net.run(seconds(100));
    net.assert_empty();
}

#[test]
fn refused_credentials_end_the_call_and_never_loop() {
    let mut net = Net::scripted(with_credentials);
    let (_, mut invite) = dialled(&mut net);
    for n in 0..2 {
        let challenge = CHALLENGE.replace("n1", &format!("n{n}"));
        net.answer(&invite, 401, "c", &[(Name::WwwAuthenticate, &challenge)], None);
        net.run(Duration::from_millis(100));
        invite = net.take("INVITE").pop().unwrap_or_default();
    }
    assert_eq!(net.names(0), ["Ended forbidden 401"]);
    assert!(invite.is_empty());
}

#[test]
fn only_the_trunk_and_its_realm_get_an_answer_to_a_challenge() {
    let mut net = Net::scripted(|config| {
        with_credentials(config);
        config.trunks[0].digest_realm = Some("pbx".into());
    });
    let (_, invite) = dialled(&mut net);
    net.answer(&invite, 401, "c", &[(Name::WwwAuthenticate, CHALLENGE)], None);
    net.run(seconds(1));
    assert_eq!(net.names(0), ["Ended forbidden 401"]);
    assert!(net.log.iter().all(|(_, text)| !text.contains("Digest username")));
}

#[test]
fn in_dialog_challenges_from_elsewhere_get_nothing() {
    let mut net = Net::scripted(with_credentials);
    let (leg, invite) = dialled(&mut net);
    let far = [(Name::Contact, "<sip:bob@198.51.100.9:5060>")];
    net.answer(&invite, 200, "b1", &far, Some(&sdp_text(2)));
    net.run(seconds(1));
    net.command(0, end(leg));
    net.run(Duration::from_millis(100));
    let bye = net.take("BYE").remove(0);
    let message = Message::parse(bye.as_bytes()).unwrap();
    let headers = [(Name::WwwAuthenticate, CHALLENGE)];
    let answer = Answer { code: 401, tag: "b1", headers: &headers, server: "", body: None };
    let data = String::from_utf8(answer.write(&message, at(A)).unwrap()).unwrap();
    net.inject("198.51.100.9:5060", 0, &data);
    net.run(seconds(1));
    assert_eq!(net.sent(A, "BYE"), 1);
}

#[test]
fn routes_and_target_are_those_of_the_answer() {
    let mut net = Net::scripted(|_| {});
    let (leg, invite) = dialled(&mut net);
    let headers = [
        (Name::Contact, "<sip:bob@10.0.0.9:5099>"),
        (Name::RecordRoute, "<sip:p@192.0.2.2;lr>, <sip:far.example;lr>"),
    ];
    net.answer(&invite, 200, "b1", &headers, Some(&sdp_text(2)));
    net.run(Duration::from_millis(100));
    // Nobody knows that name: the dialog goes on where it began.
    let target = crate::sip::Target::parse("far.example", Some(Transport::Udp)).unwrap();
    net.input(0, 0, Input::Located { target, hops: Vec::new() });
    net.run(Duration::from_millis(100));
    let ack = net.take("ACK").remove(0);
    // Reversed: the far proxy is the last of the caller's.
    assert!(ack.starts_with("ACK sip:bob@10.0.0.9:5099 SIP/2.0"));
    assert_eq!(header(&ack, "Route"), "<sip:far.example;lr>");
    net.command(0, end(leg));
    net.run(Duration::from_millis(100));
    assert!(net.take("BYE")[0].contains("Route: <sip:far.example;lr>\r\nRoute: <sip:p@192.0.2.2;lr>\r\n"));
}

#[test]
fn a_call_without_offer_gets_ours_in_the_200_and_theirs_in_the_ack() {
    for body in [sdp_text(9), String::new()] {
        let mut net = Net::scripted(|_| {});
        let invite = format!(
            "INVITE sip:u.Anna%20B@{A} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKd1\r\nFrom: <sip:q@x>;tag=q\r\n\
             To: <sip:anna@x>\r\nCall-ID: late\r\nCSeq: 1 INVITE\r\nContact: <sip:q@{B}>\r\nContent-Length: 0\r\n\r\n"
        );
        net.inject(B, 0, &invite);
        net.run(Duration::from_millis(50));
        let incoming = net.incoming(0);
        assert!(incoming.offer.is_none());
        assert_eq!(incoming.callee, words::Callee::Account("Anna B".into()));
        let leg = incoming.leg;
        net.command(0, Command::Answer { leg, session: Some(sdp(3)) });
        net.run(Duration::from_millis(50));
        let ok = net.take("SIP/2.0 200").remove(0);
        assert!(ok.contains("o=- 3 "));
        let ack = format!(
            "ACK sip:x@{A} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKd2\r\nFrom: <sip:q@x>;tag=q\r\nTo: {}\r\n\
             Call-ID: late\r\nCSeq: 1 ACK\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
            header(&ok, "To"),
            body.len()
        );
        net.inject(B, 0, &ack);
        net.run(Duration::from_millis(50));
        let expected = if body.is_empty() { "Ended not_acceptable 488" } else { "Accepted" };
        assert_eq!(net.names(0).last().unwrap(), expected);
        assert_eq!(net.take("BYE").len(), usize::from(body.is_empty()));
    }
}

#[test]
fn update_without_body_refreshes_and_with_body_offers() {
    let mut net = Net::scripted(|_| {});
    let (leg, invite) = answered(&mut net);
    net.inject(B, 0, &in_dialog(&invite, "UPDATE", 5, "", ""));
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 200").len(), 1);
    net.inject(B, 0, &in_dialog(&invite, "UPDATE", 6, "", &sdp_text(4)));
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0).last().unwrap(), "Offered");
    // A second one while the first waits.
    net.inject(B, 0, &in_dialog(&invite, "UPDATE", 7, "", &sdp_text(4)));
    net.run(Duration::from_millis(50));
    assert!(!header(&net.take("SIP/2.0 500")[0], "Retry-After").is_empty());
    net.command(0, Command::Accept { leg, answer: sdp(5) });
    net.run(seconds(40));
    let ok = net.take("SIP/2.0 200");
    assert!(
        ok.len() == 1 && ok[0].contains("o=- 5 "),
        "no ACK follows an UPDATE, nothing is sent again: {ok:?}"
    );
    assert!(!net.heard(0, "Ended"));
}

#[test]
fn a_reinvite_without_offer_gets_ours() {
    let mut net = Net::scripted(|_| {});
    let (leg, invite) = answered(&mut net);
    net.inject(B, 0, &in_dialog(&invite, "INVITE", 5, "", ""));
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0).last().unwrap(), "Offered none");
    net.command(0, Command::Accept { leg, answer: sdp(5) });
    net.inject(B, 0, &in_dialog(&invite, "ACK", 5, "", &sdp_text(6)));
    net.run(Duration::from_millis(50));
    assert!(
        matches!(net.nodes[0].events.last(), Some(Event::Accepted { answer, .. }) if **answer == *sdp(6))
    );
}

#[test]
fn too_short_a_session_is_refused_with_422() {
    let mut net = Net::scripted(|_| {});
    let (_, invite) = answered(&mut net);
    net.inject(B, 0, &in_dialog(&invite, "UPDATE", 5, "Supported: timer\r\nSession-Expires: 30\r\n", ""));
    net.run(seconds(1));
    assert_eq!(header(&net.take("SIP/2.0 422")[0], "Min-SE"), "90");
}

#[test]
fn requests_in_a_dialog_are_answered_as_they_deserve() {
    let mut net = Net::scripted(|_| {});
    let (_, invite) = answered(&mut net);
    for (cseq, method, extra, body, code) in [
        (10, "OPTIONS", "", "", 200),
        (9, "OPTIONS", "", "", 500),
        (11, "INFO", "", "", 200),
        (12, "INFO", "", "x", 415),
        (13, "INFO", "Info-Package: foo\r\n", "x", 469),
        (14, "REFER", "", "", 400),
        (15, "FROB", "", "", 501),
        (16, "PRACK", "RAck: 1 1 INVITE\r\n", "", 481),
        (17, "INVITE", "Require: frob\r\n", "", 420),
        (18, "INVITE", "", "v=9\r\n", 400),
    ] {
        net.inject(B, 0, &in_dialog(&invite, method, cseq, extra, body));
        net.run(Duration::from_millis(50));
        let start = format!("SIP/2.0 {code}");
        assert_eq!(net.take(&start).len(), 1, "{method}: {:?}", net.inbox.last());
    }
    assert!(!net.heard(0, "Offered"));
}

#[test]
fn an_answer_that_can_not_be_read_is_acknowledged_and_ended() {
    let mut net = Net::scripted(|_| {});
    let (_, invite) = dialled(&mut net);
    net.answer(&invite, 200, "b1", &contact(), Some("v=broken"));
    net.run(Duration::from_millis(100));
    assert_eq!((net.take("ACK").len(), net.take("BYE").len()), (1, 1));
    assert_eq!(net.names(0), ["Ended not_acceptable 488"]);
}

#[test]
fn a_forgotten_dialog_ends_the_call() {
    let mut net = Net::scripted(|_| {});
    let (leg, _) = answered(&mut net);
    net.command(0, Command::Offer { leg, offer: sdp(7) });
    net.run(Duration::from_millis(100));
    let reinvite = net.take("INVITE").remove(0);
    net.answer(&reinvite, 481, "b1", &[], None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.names(0).last().unwrap(), "Ended expired 481");
}

#[test]
fn more_forks_than_the_bound_are_not_told() {
    let mut net = Net::scripted(|config| config.caps.forks = 2);
    let (_, invite) = dialled(&mut net);
    for tag in ["b1", "b2", "b3", "b4"] {
        net.answer(&invite, 180, tag, &contact(), None);
    }
    net.run(Duration::from_millis(100));
    assert_eq!(net.names(0), ["Progress 180 fork 0", "Progress 180 fork 1"]);
    assert_eq!(net.stack(0).counters().full_forks, 2);
    // An answer is another matter: it must be acknowledged.
    net.answer(&invite, 200, "b5", &contact(), Some(&sdp_text(4)));
    net.run(Duration::from_millis(100));
    assert_eq!(net.names(0).last().unwrap(), "Answered fork 2");
    assert_eq!(net.take("ACK").len(), 1);
}

#[test]
fn over_a_stream_nothing_is_sent_again_but_the_2xx() {
    let mut net = Net::scripted(|_| {});
    let flow = Flow {
        id: Key::new(ShardId(0), 0, 9),
        transport: Transport::Tcp,
        remote: at("192.0.2.2:40001"),
        realm: RealmId(0),
    };
    let invite = format!(
        "INVITE sip:bob@{A} SIP/2.0\r\nVia: SIP/2.0/TCP {B};branch=z9hG4bKt1\r\nFrom: <sip:q@x>;tag=q\r\n\
         To: <sip:bob@x>\r\nCall-ID: t\r\nCSeq: 1 INVITE\r\nContact: <sip:q@{B};transport=tcp>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{}",
        sdp_text(1).len(),
        sdp_text(1)
    );
    net.input(0, 0, Input::Message { flow, data: invite.as_bytes() });
    let leg = net.incoming(0).leg;
    net.command(0, Command::Answer { leg, session: Some(sdp(2)) });
    net.run(seconds(1));
    let ok = net.take("SIP/2.0 200");
    // RFC 3261 section 13.3.1.4: whatever the transport, since the next hop may be another.
    assert_eq!(ok.len(), 2);
    assert!(header(&ok[0], "Contact").ends_with(";transport=tcp>"));
    let ack = format!(
        "ACK sip:x@{A} SIP/2.0\r\nVia: SIP/2.0/TCP {B};branch=z9hG4bKt2\r\nFrom: <sip:q@x>;tag=q\r\nTo: {}\r\n\
         Call-ID: t\r\nCSeq: 1 ACK\r\nContent-Length: 0\r\n\r\n",
        header(&ok[0], "To")
    );
    net.input(0, 0, Input::Message { flow, data: ack.as_bytes() });
    net.command(0, end(leg));
    net.run(seconds(5));
    let byes = net.take("BYE");
    assert_eq!(byes.len(), 1);
    assert!(header(&byes[0], "Via").starts_with("SIP/2.0/TCP"));
    // It goes back on its connection, whatever the Contact says.
    assert!(net.log.iter().any(|(_, text)| text.starts_with("BYE")));
    net.input(0, 0, Input::Failed { flow });
    net.run(seconds(40));
    net.assert_empty();
}

#[test]
fn their_cancel_takes_a_reinvite_back_and_the_call_goes_on() {
    let mut net = Net::scripted(|_| {});
    let (leg, invite) = answered(&mut net);
    let reinvite = in_dialog(&invite, "INVITE", 5, "", &sdp_text(4));
    net.inject(B, 0, &reinvite);
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0).last().unwrap(), "Offered");
    let cancel = in_dialog(&invite, "CANCEL", 5, "", "").replace("z9hG4bKs5CANCEL", "z9hG4bKs5INVITE");
    net.inject(B, 0, &cancel);
    net.run(Duration::from_millis(50));
    assert_eq!((net.take("SIP/2.0 487").len(), net.take("SIP/2.0 200").len()), (1, 1));
    // Too late: nothing goes out.
    net.command(0, Command::Accept { leg, answer: sdp(5) });
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 200").len(), 0);
    net.command(0, end(leg));
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("BYE").len(), 1);
}

#[test]
fn an_offer_that_meets_491_again_and_again_is_given_up() {
    let mut net = Net::scripted(|_| {});
    let (leg, _) = answered(&mut net);
    net.command(0, Command::Offer { leg, offer: sdp(7) });
    let mut rounds = 0;
    for _ in 0..400 {
        net.run(Duration::from_millis(100));
        for reinvite in net.take("INVITE") {
            rounds += 1;
            net.answer(&reinvite, 491, "b1", &[], None);
        }
    }
    assert_eq!((rounds, net.names(0).last().unwrap().as_str()), (5, "Refused pending"));
    assert_eq!(net.stack(0).counters().glares, 5);
}

#[test]
fn a_reinvite_before_our_ack_arrived_has_to_wait() {
    let mut net = Net::scripted(|_| {});
    let invite = format!(
        "INVITE sip:bob@{A} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKe1\r\nFrom: <sip:q@x>;tag=q\r\n\
         To: <sip:bob@x>TAG\r\nCall-ID: e\r\nCSeq: 1 INVITE\r\nContact: <sip:q@{B}>\r\nContent-Length: 0\r\n\r\n"
    );
    net.inject(B, 0, &invite.replace("TAG", ""));
    net.run(Duration::from_millis(50));
    let leg = net.incoming(0).leg;
    // Not before the first INVITE is answered, either.
    let early = |n: u32, tag: &str| {
        invite.replace("e1", &format!("e{n}")).replace("1 INVITE", &format!("{n} INVITE")).replace("TAG", tag)
    };
    let tag = format!(";tag={}", net.last(A, "SIP/2.0 100").len());
    net.inject(B, 0, &early(2, &tag));
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 481").len(), 1);
    net.command(0, Command::Progress { leg, code: 180, answer: None });
    let ringing = net.last(A, "SIP/2.0 180");
    let tag = header(&ringing, "To").strip_prefix("<sip:bob@x>").unwrap().to_owned();
    net.inject(B, 0, &early(3, &tag));
    net.run(Duration::from_millis(50));
    assert!(!header(&net.take("SIP/2.0 500")[0], "Retry-After").is_empty());
    net.command(0, Command::Answer { leg, session: Some(sdp(3)) });
    net.inject(B, 0, &early(4, &tag));
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 491").len(), 1);
    assert!(!net.heard(0, "Offered"));
}

#[test]
fn a_change_that_was_refused_is_refused_the_same_way_again_when_the_call_is_over() {
    let mut net = Net::scripted(|_| {});
    let (leg, invite) = answered(&mut net);
    net.command(0, Command::Offer { leg, offer: sdp(7) });
    let change = in_dialog(&invite, "INVITE", 1, "", &sdp_text(3));
    net.inject(B, 0, &change);
    net.run(Duration::from_millis(100));
    assert_eq!(net.sent(A, "SIP/2.0 491"), 1);
    net.command(0, end(leg));
    net.inject(B, 0, &change);
    net.run(Duration::from_millis(100));
    assert_eq!((net.sent(A, "SIP/2.0 481"), net.last(A, "SIP/2.0")), (0, net.last(A, "SIP/2.0 491")));
}
