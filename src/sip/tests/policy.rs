//! What a trunk is believed and told, what it may send, and what one side never learns of the other.

use super::*;
use crate::leg::{Cause, Privacy};
use crate::sip::{Act, Asserting, Policy, Reasons, Rule, Trust, Way};

const C: &str = "198.51.100.3:5080";

fn changed(change: impl Fn(&mut Policy)) -> Net {
    Net::scripted(|config| change(&mut config.trunks[0].policy))
}

fn request(method: &str, branch: &str, headers: &str, body: &str) -> String {
    let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} sip:bob@{A} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch={branch};rport\r\n\
         Via: SIP/2.0/UDP core.inside:5099;branch=z9hG4bKinside\r\nRecord-Route: <sip:{B};lr>, <sip:edge.inside;lr>\r\n\
         From: \"Quincy\" <sip:quincy@corp.inside>;tag=insidetag\r\nTo: <sip:bob@x>\r\nCall-ID: inside-call-id\r\n\
         CSeq: 1 {method}\r\nContact: <sip:quincy@10.9.8.7:5061>\r\nMax-Forwards: 70\r\n{headers}{content}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn came(headers: &str, change: impl Fn(&mut Policy)) -> Net {
    let mut net = changed(change);
    net.inject(B, 0, &request("INVITE", "z9hG4bK1", headers, ""));
    net.run(Duration::from_millis(50));
    net
}

#[test]
fn what_a_trunk_says_of_its_callers_counts_where_it_is_trusted() {
    let headers = "P-Asserted-Identity: <sip:q@corp.inside>\r\nPrivacy: id\r\nDiversion: <sip:desk@x>\r\n";
    let net = came(headers, |policy| policy.trust = Trust { from: true, to: false });
    let carried = &net.incoming(0).carried;
    assert_eq!((carried.asserted[0].user.as_str(), carried.past.len(), carried.privacy.id), ("q", 1, true));
    let net = came(headers, |_| {});
    let carried = &net.incoming(0).carried;
    assert_eq!((carried.asserted.len(), carried.past.len(), carried.privacy.id), (0, 0, true));
    let mut net = came("Privacy: critical;teleport\r\n", |_| {});
    assert_eq!((net.take("SIP/2.0 500").len(), net.names(0).len()), (1, 0));
}

#[test]
fn methods_and_bodies_are_held_to_what_the_trunk_may() {
    let mut net = changed(|policy| {
        policy.methods = vec!["INVITE".into()];
        policy.max_body = 1_000;
    });
    net.inject(B, 0, &request("OPTIONS", "z9hG4bK1", "", ""));
    net.inject(B, 0, &request("INVITE", "z9hG4bK2", "", &"a".repeat(1_001)));
    net.run(Duration::from_millis(50));
    assert_eq!(header(&net.take("SIP/2.0 405")[0], "Allow"), "INVITE, ACK, CANCEL, BYE, PRACK, UPDATE");
    assert_eq!(net.take("SIP/2.0 413").len(), 1);
    let counters = net.stack(0).counters();
    assert_eq!((counters.barred_methods, counters.long_bodies), (1, 1));
    net.inject(B, 0, &request("INVITE", "z9hG4bK3", "X-A: 1\r\n", &sdp_text(1)));
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0), ["Incoming"]);
}

#[test]
fn reasons_are_read_by_the_operators_table_and_passed_on() {
    let reasons =
        || Reasons { codes: vec![(503, Cause::Busy)], said: vec![(Cause::Busy, 600)], ..Reasons::default() };
    let mut net = changed(|policy| policy.reasons = reasons());
    net.dial(0);
    net.run(Duration::from_millis(50));
    let invite = net.take("INVITE").remove(0);
    net.answer(&invite, 503, "b", &[(sip_codec::Name::Reason, "Q.850;cause=34")], None);
    net.run(Duration::from_millis(50));
    let reason = Reason::new(Cause::Busy, 503).with_q850(34);
    assert!(matches!(net.nodes[0].events[..], [Event::Ended { reason: said, .. }] if said == reason));
    let mut net = came("", |policy| policy.reasons = reasons());
    let leg = net.incoming(0).leg;
    net.command(0, Command::End { leg, reason });
    net.run(Duration::from_millis(50));
    assert_eq!(header(&net.take("SIP/2.0 600")[0], "Reason"), "Q.850;cause=34");
}

#[test]
fn a_cancel_that_says_answered_elsewhere_is_believed() {
    let mut net = came("", |_| {});
    let reason = "Reason: SIP;cause=200;text=\"Call completed elsewhere\"\r\n";
    net.inject(B, 0, &request("CANCEL", "z9hG4bK1", reason, ""));
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 487").len(), 1);
    let ended = net.nodes[0].events.iter().any(
        |event| matches!(event, Event::Ended { reason, .. } if reason.cause == Cause::AnsweredElsewhere),
    );
    assert!(ended, "{:?}", net.names(0));
}

#[test]
fn a_bye_tells_and_hears_why() {
    let mut net = Net::pair(1);
    let (near, far) = net.call();
    net.command(0, Command::End { leg: near, reason: Reason::from(Cause::MediaLost) });
    net.run(Duration::from_millis(50));
    assert_eq!(header(&net.last(A, "BYE"), "Reason"), "Q.850;cause=31;text=\"media_lost\"");
    let told = net.nodes[1].events.iter().any(|event| {
        matches!(event, Event::Ended { leg, reason } if *leg == far && reason.q850 == 31 && reason.cause == Cause::Hangup)
    });
    assert!(told, "{:?}", net.names(1));
}

#[test]
fn a_browser_user_is_asserted_by_account_and_an_anonymous_caller_by_nobody() {
    let dialled = |trust: Trust, asserting: Asserting, privacy: Privacy| {
        let mut net = changed(|policy| (policy.trust, policy.asserting) = (trust, asserting));
        let leg = net.nodes[0].mint.leg(Side::Sip);
        let mut dial = Net::dial_of(leg, Some("alice"));
        dial.carried.privacy = privacy;
        dial.carried.asserted = vec![Party { user: "forged".into(), ..Party::default() }];
        net.command(0, Command::Dial(Box::new(dial)));
        net.run(Duration::from_millis(50));
        net.take("INVITE").remove(0)
    };
    let (to, none) = (Trust { from: false, to: true }, Trust::default());
    let id = Privacy { id: true, ..Privacy::default() };
    let invite = dialled(to, Asserting::Asserted, Privacy::default());
    assert_eq!(header(&invite, "P-Asserted-Identity"), "\"Al \\\"x\\\"\" <sip:alice@192.0.2.2:5060>");
    assert!(!invite.contains("forged") && !invite.contains("Privacy"), "{invite}");
    let invite = dialled(to, Asserting::Preferred, id);
    assert!(invite.contains("P-Preferred-Identity: ") && invite.contains("Privacy: id\r\n"), "{invite}");
    let invite = dialled(none, Asserting::Asserted, id);
    assert!(header(&invite, "From").starts_with("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag="));
    assert!(!invite.contains("Identity") && !header(&invite, "From").contains("alice"), "{invite}");
}

/// All optional headers that could betray a place.
fn optional() -> String {
    format!(
        "P-Asserted-Identity: <sip:q@corp.inside>\r\nRemote-Party-ID: <sip:q@corp.inside>;party=calling\r\n\
         P-Preferred-Identity: <sip:q@corp.inside>\r\nDiversion: <sip:desk@corp.inside>;reason=unconditional\r\n\
         History-Info: <sip:desk@corp.inside>;index=1\r\nReply-To: <sip:q@corp.inside>\r\n\
         Alert-Info: <http://10.9.8.7/ring.wav>\r\nCall-Info: <http://core.inside/q.png>;purpose=icon\r\n\
         Error-Info: <sip:busy@core.inside>\r\nWarning: 399 core.inside \"Hello\"\r\nUser-Agent: InsidePhone/1.0\r\n\
         Server: InsidePhone/1.0\r\nOrganization: corp.inside\r\nSubject: about core.inside\r\n\
         Path: <sip:edge.inside;lr>\r\nIn-Reply-To: inside-call-id\r\nX-Case: core.inside:5099 has it\r\n\
         X-Plain: 7\r\nGeolocation: <https://10.9.8.7/here>\r\nSession-ID: 00000000000000000000000000000000\r\n\
         P-Charging-Vector: icid-value=1;icid-generated-at={B};orig-ioi=corp.inside\r\n"
    )
}

/// A gateway between two trunks that are trusted, and whose headers pass.
fn between() -> Net {
    Net::scripted(|config| {
        let names = ["Reply-To", "Alert-Info", "Call-Info", "Error-Info", "Organization", "Subject"];
        let pass = |name: &str| Rule::new(Way::In, name, Act::Pass).unwrap();
        let policy = &mut config.trunks[0].policy;
        policy.rules = names.into_iter().chain(["X-*", "P-Charging-Vector"]).map(pass).collect();
        policy.trust = Trust { from: true, to: true };
        let mut far = Trunk::new("far", at(C));
        far.policy.trust = Trust { from: true, to: true };
        config.trunks.push(far);
    })
}

#[test]
fn one_side_never_learns_where_the_other_is() {
    let mut net = between();
    net.inject(B, 0, &request("INVITE", "z9hG4bK1", &optional(), ""));
    net.run(Duration::from_millis(50));
    let incoming = net.incoming(0).clone();
    let out = net.nodes[0].mint.leg(Side::Sip);
    let dial = Dial {
        target: Target::Trunk(TrunkId(1)),
        caller: incoming.caller,
        carried: incoming.carried,
        ..Net::dial_of(out, None)
    };
    net.command(0, Command::Dial(Box::new(dial)));
    net.run(Duration::from_millis(50));
    let invite = net.take("INVITE").remove(0);
    assert!(
        invite.contains("X-Plain: 7\r\n")
            && invite.contains("P-Asserted-Identity: <sip:q@198.51.100.3:5080>")
    );
    assert!(invite.contains("Diversion: <sip:desk@198.51.100.3:5080>;reason=unconditional\r\n"), "{invite}");
    // The far side answers with places of its own; then both hear the end.
    let far = [
        (sip_codec::Name::Contact, "<sip:bob@172.20.1.1:5062>"),
        (sip_codec::Name::Server, "FarPhone/2.0"),
        (sip_codec::Name::Warning, "399 far.inside \"Hello\""),
        (sip_codec::Name::AlertInfo, "<http://far.inside/ring.wav>"),
    ];
    net.answer(&invite, 180, "fartag", &far, None);
    net.answer(&invite, 200, "fartag", &far, Some(&sdp_text(2)));
    net.run(Duration::from_millis(50));
    net.command(0, Command::Progress { leg: incoming.leg, code: 180, answer: None });
    net.command(0, Command::Answer { leg: incoming.leg, session: None });
    net.run(Duration::from_millis(50));
    net.command(0, end(incoming.leg));
    net.command(0, end(out));
    net.run(Duration::from_millis(50));
    assert_hidden(&net);
    assert!(net.stack(0).counters().headers_hidden >= 9);
}

fn assert_hidden(net: &Net) {
    let ours: Vec<&String> =
        net.log.iter().filter(|(from, _)| *from == at(A)).map(|(_, text)| text).collect();
    let (mut to_far, mut to_near) = (0, 0);
    for text in ours {
        let near = header(text, "Call-ID") == "inside-call-id";
        let (hidden, count): (&[&str], _) = if near {
            (&["far.inside", "FarPhone", "fartag", "172.20.1.1", "198.51.100.3"], &mut to_near)
        } else {
            (
                &[
                    "corp.inside",
                    "core.inside",
                    "edge.inside",
                    "insidetag",
                    "inside-call-id",
                    "InsidePhone",
                    "10.9.8.7",
                    "z9hG4bKinside",
                    "z9hG4bK1;",
                    "192.0.2.2",
                ],
                &mut to_far,
            )
        };
        *count += 1;
        for word in hidden {
            assert!(!text.contains(word), "{word} in\n{text}");
        }
    }
    assert!(to_far >= 3 && to_near >= 3, "{to_far} {to_near}");
}

#[test]
fn a_session_id_goes_through_and_who_has_none_gets_one() {
    let (near, nil) = ("a".repeat(32), "0".repeat(32));
    let mut net = came(&format!("Session-ID: {near};remote={nil}\r\n"), |_| {});
    let incoming = net.incoming(0);
    let (leg, half) = (incoming.leg, incoming.carried.session.unwrap());
    assert_eq!(half.to_string(), near);
    net.command(0, Command::Progress { leg, code: 180, answer: None });
    net.command(0, Command::Named { leg, session: "b".repeat(32).parse().unwrap() });
    net.command(0, Command::Answer { leg, session: Some(sdp(2)) });
    net.run(Duration::from_millis(50));
    assert_eq!(header(&net.take("SIP/2.0 180")[0], "Session-ID"), format!("{nil};remote={near}"));
    assert_eq!(
        header(&net.take("SIP/2.0 200")[0], "Session-ID"),
        format!("{};remote={near}", "b".repeat(32))
    );
    // A pair: the far gateway's party has none, and gets one when it is called.
    let mut net = Net::pair(1);
    net.call();
    let invite = net.last(A, "INVITE");
    let told = net.nodes[1].shards[0].legs.iter().map(|(_, leg)| leg.names).next().unwrap();
    assert_eq!(header(&invite, "Session-ID"), format!("{};remote={nil}", told.far.unwrap()));
    let ack = header(&net.last(A, "ACK"), "Session-ID").to_owned();
    assert!(ack.starts_with(&told.far.unwrap().to_string()) && !ack.ends_with(&nil), "{ack}");
    assert_eq!(net.nodes[0].named.len(), 1);
}

/// Pitfall 29: whatever stands in a value, wherever it came from, nothing of it becomes a line of its own.
#[test]
fn no_string_in_any_field_breaks_a_line() {
    const PIECES: [&str; 14] = [
        "\r\n",
        "\n",
        "\r",
        "\0",
        "Evil: 1",
        "a",
        "<",
        ">",
        "\"",
        "\\",
        ";tag=x",
        "@",
        "%0d%0aEvil: 1",
        "\u{85}\u{2028}",
    ];
    let mut net = changed(|policy| {
        policy.trust = Trust { from: true, to: true };
        policy.rules = vec![Rule::new(Way::Out, "X-Own", Act::Add("fine".into())).unwrap()];
    });
    let mut random = Random::from_number(29);
    let mut text = || (0..random.below(6)).map(|_| PIECES[random.below(14) as usize]).collect::<String>();
    let mut sent = 0;
    for n in 0..400 {
        let mut party = || Party { user: text(), host: text(), display: text() };
        let (caller, callee, asserted) = (party(), party(), vec![party(), party()]);
        let told = if n % 2 == 0 { words::Told::Diversion } else { words::Told::History };
        let place = words::Past { told, user: text(), display: text(), params: Vec::new(), private: false };
        let leg = net.nodes[0].mint.leg(Side::Sip);
        let mut dial = Dial { caller, callee, ..Net::dial_of(leg, (n % 3 == 0).then_some("alice")) };
        dial.data = vec![("X-A".into(), text())];
        dial.carried.asserted = asserted;
        dial.carried.past = vec![place];
        dial.carried.presented = (n % 5 == 0).then(&mut text);
        dial.carried.headers = vec![("X-B".into(), text())];
        net.log.clear();
        net.command(0, Command::Dial(Box::new(dial)));
        for (_, message) in &net.log {
            sent += 1;
            let head = message.split("\r\n\r\n").next().unwrap();
            for line in head.split("\r\n") {
                assert!(!line.contains(['\r', '\n', '\0']) && !line.starts_with("Evil"), "{message:?}");
            }
            Message::parse(message.as_bytes()).unwrap();
        }
        net.command(0, end(leg));
    }
    assert!(sent > 300, "{sent} of 400 were written");
}

#[test]
fn a_location_in_the_body_goes_across_by_a_name_of_our_own() {
    let body = format!(
        "--x\r\nContent-Type: application/sdp\r\n\r\n{}\r\n--x\r\nContent-Type: application/pidf+xml\r\n\
         Content-ID: <here@core.inside>\r\n\r\n<presence/>\r\n--x--\r\n",
        sdp_text(1)
    );
    let text = request("INVITE", "z9hG4bK1", "Geolocation: <cid:here@core.inside>\r\n", &body);
    let mut net = changed(|_| {});
    net.inject(
        B,
        0,
        &text.replace("application/sdp\r\nContent-Length", "multipart/mixed;boundary=x\r\nContent-Length"),
    );
    net.run(Duration::from_millis(50));
    let carried = net.incoming(0).carried.clone();
    let leg = net.nodes[0].mint.leg(Side::Sip);
    net.command(0, Command::Dial(Box::new(Dial { carried, ..Net::dial_of(leg, None) })));
    net.run(Duration::from_millis(50));
    let invite = net.last(A, "INVITE");
    let name = header(&invite, "Geolocation").trim_start_matches("<cid:").trim_end_matches('>').to_owned();
    assert!(name.ends_with("@anonymous.invalid"), "{invite}");
    assert!(
        invite.contains(&format!("Content-ID: <{name}>\r\n")) && invite.contains("<presence/>"),
        "{invite}"
    );
    assert!(!invite.contains("core.inside"), "{invite}");
}
