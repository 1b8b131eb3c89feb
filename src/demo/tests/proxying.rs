//! Calls between two users, forwarded without memory.

use super::*;

const BOB_URI: &str = "sip:bob@127.0.0.1:5160";

/// Alice's INVITE as it reaches bob.
fn ring(world: &mut World) -> String {
    world.register("bob");
    let ask = Ask { uri: BOB_URI, body: sdp("sendrecv", "0"), ..Ask::default() };
    let mut sent = world.ask_signed(ask, "SHA-256");
    let (to, text) = sent.pop().unwrap();
    assert_eq!((to, sent.len()), (at(BOB), 0));
    text
}

fn vias(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("Via: ")).collect()
}

/// Bob's response to a request that reached him.
fn respond(request: &str, status: &str) -> String {
    let keep =
        |line: &&str| ["Via: ", "From: ", "Call-ID: ", "CSeq: "].iter().any(|name| line.starts_with(name));
    let lines: Vec<&str> = request.lines().filter(keep).collect();
    format!(
        "SIP/2.0 {status}\r\n{}\r\nTo: {};tag=bobs\r\nContact: <sip:bob@127.0.0.1:6002>\r\nContent-Length: 0\r\n\r\n",
        lines.join("\r\n"),
        header(request, "To")
    )
}

#[test]
fn an_invite_reaches_the_contact_and_the_answer_comes_back() {
    let mut world = World::new();
    let invite = ring(&mut world);
    assert!(invite.starts_with("INVITE sip:bob@127.0.0.1:6002 SIP/2.0\r\n"));
    assert_eq!(header(&invite, "Max-Forwards"), "69");
    assert!(!invite.contains("Proxy-Authorization"), "credentials end here");
    assert!(invite.ends_with(&sdp("sendrecv", "0")));
    let hops = vias(&invite);
    assert_eq!(hops.len(), 2);
    assert!(hops[0].starts_with("SIP/2.0/UDP 127.0.0.1:5160;branch=z9hG4bKbh"));
    assert!(hops[1].contains("branch=z9hG4bKtwo") && hops[1].contains("received=127.0.0.1;rport=6001"));
    for status_line in ["180 Ringing", "200 OK"] {
        let sent = world.send(BOB, &respond(&invite, status_line));
        assert_eq!((sent.len(), sent[0].0), (1, at(ALICE)));
        assert_eq!(vias(&sent[0].1).len(), 1);
        assert!(sent[0].1.starts_with(&format!("SIP/2.0 {status_line}")));
        assert_eq!(header(&sent[0].1, "Contact"), "<sip:bob@127.0.0.1:6002>", "what follows goes direct");
        assert!(!sent[0].1.contains("Record-Route"));
    }
}

#[test]
fn retransmission_cancel_and_ack_follow_the_invite_under_the_same_branch() {
    let mut world = World::new();
    let invite = ring(&mut world);
    let first = vias(&invite)[0].to_owned();
    let cancel = Ask { method: "CANCEL", uri: BOB_URI, cseq: 2, branch: "two", ..Ask::default() };
    let sent = world.ask(&cancel);
    assert_eq!((sent.len(), sent[0].0), (1, at(BOB)));
    assert!(sent[0].1.starts_with("CANCEL sip:bob@127.0.0.1:6002 "));
    assert_eq!(vias(&sent[0].1)[0], first);
    // Bob refuses; the ACK of alice goes on to him.
    let refused = world.send(BOB, &respond(&invite, "487 Request Terminated"));
    assert_eq!(refused[0].0, at(ALICE));
    let ack = Ask { method: "ACK", uri: BOB_URI, cseq: 2, branch: "two", to_tag: "bobs", ..Ask::default() };
    let sent = world.ask(&ack);
    assert_eq!((sent[0].0, vias(&sent[0].1)[0]), (at(BOB), first.as_str()));
    // Another transaction has another branch.
    let other = Ask { method: "CANCEL", uri: BOB_URI, cseq: 2, branch: "four", ..Ask::default() };
    assert_ne!(vias(&world.ask(&other)[0].1)[0], first);
}

#[test]
fn the_unknown_the_unregistered_and_the_spent_are_refused() {
    let mut world = World::new();
    let nobody = Ask { uri: "sip:nobody@127.0.0.1:5160", ..Ask::default() };
    assert_eq!(status(&world.ask_signed(nobody, "MD5")[0]), 404);
    assert_eq!(status(&world.ask_signed(Ask { uri: BOB_URI, ..Ask::default() }, "MD5")[0]), 480);
    world.register("bob");
    let ask = Ask { uri: BOB_URI, ..Ask::default() };
    let challenged = world.ask(&ask);
    let more = credentials(&challenged[0].1, &ask, "MD5", "secret of alice");
    let text = Ask { more, ..ask }.text();
    let spent = world.send(ALICE, &text.replace("Max-Forwards: 70", "Max-Forwards: 0"));
    assert_eq!(status(&spent[0]), 483);
    let routed = text.replace("Max-Forwards", "Route: <sip:127.0.0.1:5160;lr>\r\nMax-Forwards");
    let sent = world.send(ALICE, &routed);
    assert!(sent[0].0 == at(BOB) && !sent[0].1.contains("Route"), "a route to us is taken off");
    let abroad = text.replace("Max-Forwards", "Route: <sip:198.51.100.1;lr>\r\nMax-Forwards");
    assert_eq!(status(&world.send(ALICE, &abroad)[0]), 403);
    let strange = text.replace("Max-Forwards", "Proxy-Require: magic\r\nMax-Forwards");
    let refused = world.send(ALICE, &strange);
    assert_eq!((status(&refused[0]), header(&refused[0].1, "Unsupported")), (420, "magic"));
}

#[test]
fn the_caller_must_be_who_signs() {
    let mut world = World::new();
    world.register("bob");
    let ask = Ask { uri: BOB_URI, ..Ask::default() };
    let challenged = world.ask(&ask);
    let signed = Ask { from: "bob", uri: BOB_URI, ..Ask::default() };
    let more = credentials(&challenged[0].1, &signed, "MD5", "secret of bob");
    assert_eq!(status(&world.ask(&Ask { more, ..ask })[0]), 403);
}

#[test]
fn responses_to_what_never_went_through_are_strays() {
    let mut world = World::new();
    let invite = ring(&mut world);
    let answer = respond(&invite, "200 OK");
    let elsewhere = answer.replace("127.0.0.1:6001;", "198.51.100.9:7;");
    assert!(world.send(BOB, &elsewhere).is_empty(), "nobody is made to hear what they never asked");
    let forged = answer.replace("z9hG4bKbh", "z9hG4bKbh0");
    assert!(world.send(BOB, &forged).is_empty());
    assert_eq!(world.server.counters().stray, 2);
}

#[test]
fn the_newest_contact_is_called() {
    let mut world = World::new();
    world.register("bob");
    let ask = Ask { from: "bob", method: "REGISTER", uri: "sip:127.0.0.1:5160", cseq: 7, ..Ask::default() };
    let challenged = world.ask(&ask);
    let more = credentials(&challenged[0].1, &ask, "MD5", "secret of bob");
    let text = Ask { more, cseq: 8, ..ask }
        .text()
        .replace("Contact: <sip:bob@127.0.0.1:6002>", "Contact: <sip:bob@127.0.0.1:6009>");
    let answer = world.send(BOB, &text);
    assert_eq!(answer[0].1.matches("Contact: ").count(), 2);
    let sent = world.ask_signed(Ask { uri: BOB_URI, ..Ask::default() }, "MD5");
    assert_eq!(sent[0].0, at("127.0.0.1:6009"));
}
