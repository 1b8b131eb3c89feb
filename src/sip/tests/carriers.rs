//! What carriers and SIP servers send on their first day.

use super::*;

fn invite(branch: &str, user: &str, extra: &str) -> String {
    format!(
        "INVITE sip:{user}@{A} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch={branch};rport\r\nFrom: <sip:q@x>;tag=q\r\n\
         To: <sip:group@x>\r\nCall-ID: one\r\nCSeq: 1 INVITE\r\nContact: <sip:q@{B}>\r\n{extra}\
         Content-Length: 0\r\n\r\n"
    )
}

#[test]
fn a_server_that_forks_one_call_to_two_of_our_users_rings_both() {
    let mut net = Net::scripted(|_| {});
    net.inject(B, 0, &invite("z9hG4bK1", "u.alice", ""));
    net.inject(B, 0, &invite("z9hG4bK2", "u.bob", ""));
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0), ["Incoming", "Incoming"]);
    // The same user by two ways is the same call (RFC 3261 section 8.2.2.2).
    net.inject(B, 0, &invite("z9hG4bK3", "u.alice", ""));
    net.run(Duration::from_millis(50));
    assert_eq!((net.take("SIP/2.0 482").len(), net.names(0).len()), (1, 2));
}

/// A call that came in with these headers, answered: its leg, and our To value.
fn up(net: &mut Net, extra: &str) -> (LegId, String) {
    net.inject(B, 0, &invite("z9hG4bK1", "bob", extra));
    net.run(Duration::from_millis(50));
    let leg = net.incoming(0).leg;
    net.command(0, Command::Answer { leg, session: None });
    net.run(Duration::from_millis(50));
    let to = header(&net.last(A, "SIP/2.0 200"), "To").to_owned();
    let ack = invite("z9hG4bK2", "bob", "").replace("INVITE", "ACK");
    net.inject(B, 0, &ack.replace("To: <sip:group@x>", &format!("To: {to}")));
    net.run(Duration::from_millis(50));
    (leg, to)
}

#[test]
fn a_folded_route_does_not_keep_us_from_hanging_up() {
    let mut net = Net::scripted(|_| {});
    let (leg, _) = up(&mut net, "Record-Route: <sip:192.0.2.2;lr>;a=1\r\n ;b=\"x\r\n y\"\r\n");
    net.command(0, end(leg));
    net.run(Duration::from_millis(50));
    let byes = net.take("BYE");
    assert_eq!((byes.len(), net.stack(0).counters().refused_writes), (1, 0));
    assert_eq!(header(&byes[0], "Route"), "<sip:192.0.2.2;lr>;a=1;b=\"x y\"");
}

#[test]
fn a_change_once_refused_stays_refused_when_it_is_sent_again() {
    let mut net = Net::scripted(|_| {});
    let (leg, to) = up(&mut net, "");
    net.command(0, Command::Offer { leg, offer: sdp(3) });
    net.run(Duration::from_millis(50));
    let ours = net.take("INVITE").remove(0);
    let theirs = invite("z9hG4bK3", "bob", "")
        .replace("To: <sip:group@x>", &format!("To: {to}"))
        .replace("CSeq: 1", "CSeq: 2");
    net.inject(B, 0, &theirs);
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 491").len(), 1);
    // The way is free now, but the 491 may be under way: two answers to one request would tear the call apart.
    net.answer(&ours, 488, "q", &[], None);
    net.run(Duration::from_millis(50));
    net.inject(B, 0, &theirs);
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 491").len(), 1);
    assert!(!net.heard(0, "Offered"));
    // One with the next number is heard.
    let next = theirs.replace("z9hG4bK3", "z9hG4bK4").replace("CSeq: 2", "CSeq: 3");
    net.inject(B, 0, &next);
    net.run(Duration::from_millis(50));
    assert!(net.heard(0, "Offered"));
}

#[test]
fn the_timestamp_comes_back_with_the_100() {
    let mut net = Net::scripted(|_| {});
    net.inject(B, 0, &invite("z9hG4bK1", "bob", "Timestamp: 54.2\r\n"));
    net.run(Duration::from_millis(50));
    assert_eq!(header(&net.take("SIP/2.0 100")[0], "Timestamp"), "54.2");
}

/// The text with each `ü` as the one byte of Latin-1.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

#[test]
fn names_and_phrases_in_latin_1_are_read() {
    let mut net = Net::scripted(|_| {});
    let text = invite("z9hG4bK1", "bob", "").replace("From: <sip:q@x>", "From: \"Mü\" <sip:q@x>");
    net.inject_bytes(B, 0, latin1(&text));
    net.run(Duration::from_millis(50));
    assert_eq!(net.incoming(0).caller.display, "Mü");
    assert_eq!(net.take("SIP/2.0 100").len(), 1);
    let leg = net.dial(0);
    net.run(Duration::from_millis(50));
    let invite = net.take("INVITE").remove(0);
    let via = header(&invite, "Via");
    let busy = format!(
        "SIP/2.0 486 Zurzeit nicht verfügbar\r\nVia: {via}\r\nFrom: {}\r\nTo: {};tag=b\r\nCall-ID: {}\r\n\
         CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n",
        header(&invite, "From"),
        header(&invite, "To"),
        header(&invite, "Call-ID"),
    );
    net.inject_bytes(B, 0, latin1(&busy));
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0).last().unwrap(), "Ended busy 486");
    assert_eq!(net.stack(0).counters().latin1, 2);
    net.command(0, end(leg));
}

#[test]
fn a_call_in_latin_1_meets_its_cancel_in_ascii() {
    let invite = invite("z9hG4bK1", "bob", "");
    let foreign = latin1(&invite.replace("From: <sip:q@x>", "From: Mü <sip:q@x>"));
    for call in 0..16 {
        let name =
            |text: &[u8]| String::from_utf8_lossy(text).replace("Call-ID: one", &format!("Call-ID: {call}"));
        let cancel = name(invite.as_bytes()).replace("INVITE", "CANCEL");
        let mut foreign = foreign.clone();
        let place = foreign.windows(12).position(|w| w == b"Call-ID: one").unwrap();
        foreign.splice(place..place + 12, format!("Call-ID: {call}").into_bytes());
        assert_eq!(home(&foreign, 8, None), home(cancel.as_bytes(), 8, None));
    }
}
