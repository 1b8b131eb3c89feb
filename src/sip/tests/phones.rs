//! Phones that register and call through the gateway at A, whose SIP server is the script at B.

use super::*;
use crate::leg::{Callee, Phone, Source};
use sip_codec::Name;
use std::fmt::Write as _;

/// Where the NAT of a phone shows it, and where the phone thinks it is.
const PHONE: &str = "203.0.113.9:40000";
const INSIDE: &str = "10.0.0.5:5062";
const CHALLENGE: &str = "Digest realm=\"test.org\", nonce=\"n1\", qop=\"auth,auth-int\", algorithm=MD5";
const STRUCK: &str = "Digest realm=\"test.org\",nonce=\"n1\",qop=\"auth\",algorithm=MD5";
const GIVEN: &str =
    "Digest username=\"al\", realm=\"test.org\", nonce=\"n1\", uri=\"sip:test.org\", response=\"00\"";

fn phones(config: &mut Config) {
    config.trunks[0].domain = "test.org".into();
    config.phones = Some(Phones::new(TrunkId(0), vec!["test.org".into()]));
}

fn net() -> Net {
    Net::scripted(phones)
}

/// What a phone sends; `rest` are headers and the body.
fn request(
    method: &str,
    uri: &str,
    (from, to): (&str, &str),
    (call, cseq): (&str, u32),
    rest: &str,
) -> String {
    let mut text = format!(
        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {INSIDE};branch=z9hG4bK{call}{cseq}{method}\r\n\
         Max-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call}\r\nCSeq: {cseq} {method}\r\n"
    );
    if rest.contains("\r\n\r\n") {
        text += rest;
    } else {
        let _ = write!(text, "{rest}Content-Length: 0\r\n\r\n");
    }
    text
}

fn register(cseq: u32, expires: u32, more: &str) -> String {
    let rest = format!("Contact: <sip:al@{INSIDE}>;expires={expires};+sip.instance=\"<urn:x>\"\r\n{more}");
    request(
        "REGISTER",
        "sip:test.org",
        ("<sip:al@test.org>;tag=p", "<sip:al@test.org>"),
        ("reg", cseq),
        &rest,
    )
}

fn with_offer(headers: &str) -> String {
    let sdp = sdp_text(5).replace("192.0.2.1", "10.0.0.5");
    format!(
        "Contact: <sip:al@{INSIDE}>\r\n{headers}Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    )
}

fn invite(cseq: u32, headers: &str) -> String {
    let parties = ("<sip:al@test.org>;tag=p", "<sip:bob@test.org>");
    request("INVITE", "sip:bob@test.org;x=1", parties, ("call", cseq), &with_offer(headers))
}

/// What came to an address that begins so, taken out.
fn got(net: &mut Net, to: &str, start: &str) -> String {
    net.run(Duration::from_millis(100));
    let place = net.inbox.iter().position(|(at, _, text)| *at == super::at(to) && text.starts_with(start));
    let place = place.unwrap_or_else(|| panic!("no {start} at {to} in {:#?}", net.inbox));
    net.inbox.remove(place).2
}

fn nothing(net: &mut Net, to: &str, start: &str) {
    net.run(Duration::from_millis(100));
    assert!(!net.inbox.iter().any(|(at, _, text)| *at == super::at(to) && text.starts_with(start)));
}

/// The user part of the contact in a REGISTER of ours.
fn token(register: &str) -> String {
    let contact = header(register, "Contact");
    contact.strip_prefix("<sip:").and_then(|rest| rest.split('@').next()).expect(contact).to_owned()
}

/// A phone registered without a challenge; gives its token.
fn registered(net: &mut Net, granted: u32) -> String {
    net.inject(PHONE, 0, &register(1, 3600, ""));
    let asked = got(net, B, "REGISTER");
    let token = token(&asked);
    let contact = format!("<sip:{token}@{A}>;expires={granted}, <sip:other@192.0.2.99>;expires=9");
    net.answer(&asked, 200, "r", &[(Name::Contact, &contact)], None);
    got(net, PHONE, "SIP/2.0 200");
    token
}

#[test]
fn a_registration_passes_with_a_contact_of_ours_and_its_challenge_as_it_is() {
    let mut net = net();
    net.inject(PHONE, 0, &register(1, 3600, ""));
    let asked = got(&mut net, B, "REGISTER sip:test.org SIP/2.0");
    assert!(header(&asked, "Contact").starts_with("<sip:p.00"), "{asked}");
    assert!(header(&asked, "Contact").ends_with(&format!("@{A}>;+sip.instance=\"<urn:x>\";expires=3600")));
    assert!(header(&asked, "To") == "<sip:al@test.org>" && !asked.contains("10.0.0.5"), "{asked}");
    net.answer(&asked, 401, "r", &[(Name::WwwAuthenticate, CHALLENGE)], None);
    let refused = got(&mut net, PHONE, "SIP/2.0 401");
    assert_eq!(header(&refused, "WWW-Authenticate"), STRUCK);

    net.inject(PHONE, 0, &register(2, 3600, &format!("Authorization: {GIVEN}\r\n")));
    let again = got(&mut net, B, "REGISTER");
    assert_eq!(header(&again, "Authorization"), GIVEN);
    assert_eq!(header(&again, "CSeq"), "2 REGISTER");
    let contact = format!("<sip:{}@{A}>;expires=1800", token(&again));
    net.answer(&again, 200, "r", &[(Name::Contact, &contact)], None);
    let bound = got(&mut net, PHONE, "SIP/2.0 200");
    // Behind UDP it comes back soon; and it knows its own contact again.
    assert_eq!(header(&bound, "Contact"), format!("<sip:al@{INSIDE}>;expires=60"));
    assert!(header(&bound, "Via").contains("received=203.0.113.9"), "{bound}");
    assert_eq!(net.stack(0).phones(), 1);
}

#[test]
fn the_server_is_asked_as_often_as_it_wants_and_the_nat_is_reminded() {
    let mut net = net();
    registered(&mut net, 1000);
    for n in 0..8 {
        net.run(seconds(55));
        net.inject(PHONE, 0, &register(2 + n, 3600, ""));
        assert_eq!(header(&got(&mut net, PHONE, "SIP/2.0 200"), "Expires"), "");
        nothing(&mut net, B, "REGISTER");
    }
    assert!(net.inbox.iter().filter(|(to, _, text)| *to == at(PHONE) && text == "\r\n\r\n").count() >= 16);
    net.run(seconds(60));
    net.inject(PHONE, 0, &register(20, 3600, ""));
    got(&mut net, B, "REGISTER");
    assert_eq!(net.stack(0).counters().phone_refreshes, 8);
}

#[test]
fn what_is_no_phone_of_ours_gets_nothing_passed_on() {
    let mut net = net();
    let other = register(1, 60, "").replace("test.org", "other.org");
    net.inject(PHONE, 0, &other);
    got(&mut net, PHONE, "SIP/2.0 403");
    // Not registered: it may not call.
    net.inject(PHONE, 0, &invite(1, ""));
    got(&mut net, PHONE, "SIP/2.0 403");
    assert!(!net.heard(0, "Incoming"));
    nothing(&mut net, B, "");
    let mut off = Net::scripted(|_| {});
    off.inject(PHONE, 0, &register(1, 60, ""));
    got(&mut off, "203.0.113.9:5062", "SIP/2.0 403");
    nothing(&mut off, B, "");
}

/// A phone's call: its leg, and that to the server, whose INVITE is given.
fn calling(net: &mut Net) -> (LegId, LegId, String) {
    net.inject(PHONE, 0, &invite(1, ""));
    got(net, PHONE, "SIP/2.0 100");
    let incoming = net.incoming(0).clone();
    assert!(matches!(incoming.source, Source::Phone(Phone { trunk: TrunkId(0), web: false, .. })));
    let leg = net.nodes[0].mint.leg(Side::Sip);
    let dial = Dial {
        referral: None,
        leg,
        target: Target::Trunk(TrunkId(0)),
        caller: incoming.caller.clone(),
        callee: match incoming.callee {
            Callee::Dialled(party) => party,
            other => panic!("{other:?}"),
        },
        account: None,
        identity: None,
        offer: sdp(1),
        hops: 69,
        with: Some(incoming.leg),
        late: false,
        data: Vec::new(),
        carried: Box::default(),
    };
    net.command(0, Command::Dial(Box::new(dial)));
    (incoming.leg, leg, got(net, B, "INVITE"))
}

/// The same, challenged, tried again, and answered; gives the legs and our INVITE that went through.
fn talking(net: &mut Net) -> (LegId, LegId, String) {
    let (leg, out, asked) = calling(net);
    assert!(asked.starts_with("INVITE sip:bob@test.org;x=1 SIP/2.0\r\n"), "{asked}");
    net.answer(&asked, 407, "s", &[(Name::ProxyAuthenticate, CHALLENGE)], None);
    let refused = got(net, PHONE, "SIP/2.0 407");
    assert_eq!(header(&refused, "Proxy-Authenticate"), STRUCK);
    let parties = ("<sip:al@test.org>;tag=p", header(&refused, "To"));
    let mut ack = request("ACK", "sip:bob@test.org;x=1", parties, ("call", 1), "");
    ack = ack.replace("z9hG4bKcall1ACK", "z9hG4bKcall1INVITE");
    net.inject(PHONE, 0, &ack);

    net.inject(PHONE, 0, &invite(2, &format!("Proxy-Authorization: {GIVEN}\r\n")));
    let again = got(net, B, "INVITE");
    assert_eq!(header(&again, "Call-ID"), header(&asked, "Call-ID"));
    assert_eq!((header(&again, "CSeq"), header(&again, "Proxy-Authorization")), ("2 INVITE", GIVEN));
    assert_eq!(net.names(0).iter().filter(|name| *name == "Incoming").count(), 1);
    net.inbox.clear();
    let contact = [(Name::Contact, "<sip:bob@192.0.2.2>")];
    net.answer(&again, 200, "s", &contact, Some(&sdp_text(7)));
    net.run(Duration::from_millis(100));
    assert!(net.heard(0, "Answered"), "{:?}", net.names(0));
    assert_eq!(header(&got(net, B, "ACK"), "Proxy-Authorization"), GIVEN);
    net.command(0, Command::Answer { leg, session: Some(sdp(2)) });
    let answered = got(net, PHONE, "SIP/2.0 200");
    let parties = ("<sip:al@test.org>;tag=p", header(&answered, "To"));
    net.inject(PHONE, 0, &request("ACK", "sip:x@192.0.2.1", parties, ("call", 2), ""));
    net.run(Duration::from_millis(100));
    net.inbox.clear();
    (leg, out, answered)
}

fn in_dialog(method: &str, answered: &str, cseq: u32, rest: &str) -> String {
    let parties = ("<sip:al@test.org>;tag=p", header(answered, "To"));
    request(method, "sip:x@192.0.2.1", parties, ("call", cseq), rest)
}

#[test]
fn a_challenged_invite_bye_and_change_go_on_as_the_same_call() {
    let mut net = net();
    registered(&mut net, 3600);
    let (leg, out, answered) = talking(&mut net);
    // Its media is where its signalling comes from.
    let heard = net.incoming(0).offer.as_ref().unwrap().to_string();
    assert!(heard.contains("c=IN IP4 203.0.113.9"), "{heard}");

    net.inject(PHONE, 0, &in_dialog("INVITE", &answered, 3, &with_offer("")));
    net.run(Duration::from_millis(100));
    assert!(net.heard(0, "Offered"));
    net.command(0, Command::Offer { leg: out, offer: sdp(3) });
    let change = got(&mut net, B, "INVITE");
    net.answer(&change, 407, "", &[(Name::ProxyAuthenticate, CHALLENGE)], None);
    let refused = got(&mut net, PHONE, "SIP/2.0 407");
    assert_eq!(header(&refused, "Proxy-Authenticate"), STRUCK);
    let given = format!("Proxy-Authorization: {GIVEN}\r\n");
    net.inject(PHONE, 0, &in_dialog("INVITE", &answered, 4, &with_offer(&given)));
    let change = got(&mut net, B, "INVITE");
    assert_eq!(header(&change, "Proxy-Authorization"), GIVEN);
    net.answer(&change, 200, "", &[(Name::Contact, "<sip:bob@192.0.2.2>")], Some(&sdp_text(8)));
    net.run(Duration::from_millis(100));
    assert!(net.heard(0, "Accepted") && !net.heard(0, "Refused"), "{:?}", net.names(0));
    net.command(0, Command::Accept { leg, answer: sdp(4) });
    got(&mut net, PHONE, "SIP/2.0 200");
    net.inject(PHONE, 0, &in_dialog("ACK", &answered, 4, ""));

    net.inject(PHONE, 0, &in_dialog("BYE", &answered, 5, ""));
    let bye = got(&mut net, B, "BYE");
    nothing(&mut net, PHONE, "SIP/2.0 200");
    net.answer(&bye, 407, "", &[(Name::ProxyAuthenticate, CHALLENGE)], None);
    got(&mut net, PHONE, "SIP/2.0 407");
    net.inject(PHONE, 0, &in_dialog("BYE", &answered, 6, &given));
    let bye = got(&mut net, B, "BYE");
    assert_eq!(header(&bye, "Proxy-Authorization"), GIVEN);
    net.answer(&bye, 200, "", &[], None);
    got(&mut net, PHONE, "SIP/2.0 200");
    assert_eq!(net.names(0).last().unwrap(), "Ended hangup 0");
    net.command(0, end(out));
    net.run(seconds(40));
    nothing(&mut net, B, "BYE");
    net.assert_empty();
    let _ = leg;
}

#[test]
fn a_phone_that_gives_no_credentials_ends_its_call() {
    let mut net = net();
    registered(&mut net, 3600);
    let (_, out, asked) = calling(&mut net);
    net.answer(&asked, 407, "s", &[(Name::ProxyAuthenticate, CHALLENGE)], None);
    got(&mut net, PHONE, "SIP/2.0 407");
    net.run(seconds(33));
    assert_eq!(net.names(0).last().unwrap(), "Ended cancelled 487");
    net.command(0, end(out));
    net.run(seconds(40));
    net.assert_empty();
    assert!(net.stack(0).phones.challenged.is_empty());
}

#[test]
fn a_bye_that_nobody_signs_still_ends_the_call() {
    let mut net = net();
    registered(&mut net, 3600);
    let (leg, _, answered) = talking(&mut net);
    net.inject(PHONE, 0, &in_dialog("BYE", &answered, 5, ""));
    let bye = got(&mut net, B, "BYE");
    net.answer(&bye, 407, "", &[(Name::ProxyAuthenticate, CHALLENGE)], None);
    got(&mut net, PHONE, "SIP/2.0 407");
    net.run(seconds(33));
    assert_eq!(net.names(0).last().unwrap(), "Ended hangup 0");
    let _ = leg;
}

/// The server calls the phone.
fn called(token: &str) -> String {
    let parties = ("<sip:bob@test.org>;tag=b", "<sip:al@test.org>");
    let uri = format!("sip:{token}@{A}");
    let rest = format!(
        "Contact: <sip:bob@{B}>\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{}",
        sdp_text(9).len(),
        sdp_text(9)
    );
    request("INVITE", &uri, parties, ("in", 1), &rest).replace(INSIDE, B)
}

#[test]
fn a_call_to_our_contact_goes_down_the_flow() {
    let mut net = net();
    let token = registered(&mut net, 3600);
    let text = called(&token);
    net.inject(B, 0, &text);
    got(&mut net, B, "SIP/2.0 100");
    let incoming = net.incoming(0).clone();
    let Callee::Phone { phone, party } = incoming.callee else { panic!() };
    assert_eq!((party.user.as_str(), phone.web), ("al", false));
    let leg = net.nodes[0].mint.leg(Side::Sip);
    let dial = Dial {
        referral: None,
        leg,
        target: Target::Phone(phone),
        caller: incoming.caller.clone(),
        callee: party,
        account: None,
        identity: None,
        offer: sdp(1),
        hops: 69,
        with: Some(incoming.leg),
        late: false,
        data: Vec::new(),
        carried: Box::default(),
    };
    net.command(0, Command::Dial(Box::new(dial)));
    let asked = got(&mut net, PHONE, "INVITE");
    assert!(asked.starts_with(&format!("INVITE sip:al@{INSIDE} SIP/2.0")), "{asked}");
    assert!(header(&asked, "From").starts_with("<sip:bob@test.org>;tag=00"), "{asked}");
    assert!(!asked.contains(B), "nothing of the inside: {asked}");
    // What it answers comes from its flow; so goes what we send it, whatever its Contact says.
    let message = Message::parse(asked.as_bytes()).unwrap();
    let sdp = sdp_text(3).replace("192.0.2.1", "192.168.1.4");
    let answer = Answer {
        code: 200,
        tag: "q",
        headers: &[(Name::Contact, "<sip:al@192.168.1.4:5062>")],
        server: "",
        body: Some(sdp.as_bytes()),
    };
    let data = answer.write(&message, at(A)).unwrap();
    net.inject_bytes(PHONE, 0, data);
    got(&mut net, PHONE, "ACK");
    let answered = net.nodes[0].events.iter().find_map(|event| match event {
        Event::Answered { answer, .. } => answer.as_ref(),
        _ => None,
    });
    assert!(answered.unwrap().to_string().contains("c=IN IP4 203.0.113.9"));
    net.command(0, end(leg));
    assert!(got(&mut net, PHONE, "BYE").starts_with("BYE sip:al@192.168.1.4:5062"));
}

#[test]
fn a_phone_that_is_gone_is_told_of_by_430_or_by_register() {
    // With credentials of its own: we can't sign for it.
    let mut net = net();
    net.inject(PHONE, 0, &register(1, 600, &format!("Authorization: {GIVEN}\r\n")));
    let asked = got(&mut net, B, "REGISTER");
    let mine = token(&asked);
    net.answer(&asked, 200, "r", &[(Name::Contact, &format!("<sip:{mine}@{A}>;expires=600"))], None);
    net.run(seconds(100));
    assert_eq!(net.stack(0).counters().phones_lost, 1);
    nothing(&mut net, B, "REGISTER");
    let text = called(&mine);
    net.inject(B, 0, &text);
    got(&mut net, B, "SIP/2.0 430 Flow Failed");
    // It is back before the server forgot it: the same contact again.
    net.inject("203.0.113.9:40001", 0, &register(2, 600, &format!("Authorization: {GIVEN}\r\n")));
    let asked = got(&mut net, B, "REGISTER");
    assert_eq!(token(&asked), mine);
    net.answer(&asked, 200, "r", &[(Name::Contact, &format!("<sip:{mine}@{A}>;expires=600"))], None);
    net.inject(B, 0, &text.replace("z9hG4bKin1", "z9hG4bKin2").replace("Call-ID: in", "Call-ID: in2"));
    got(&mut net, B, "SIP/2.0 100");

    // Without any: the server took our word, and takes it again.
    let mut net = self::net();
    let mine = registered(&mut net, 600);
    net.run(seconds(100));
    let left = got(&mut net, B, "REGISTER");
    assert_eq!((token(&left), header(&left, "Contact").ends_with(";expires=0")), (mine, true));
    net.answer(&left, 200, "r", &[], None);
    net.run(seconds(40));
    assert_eq!(net.stack(0).phones(), 0);
    net.assert_empty();
}

#[test]
fn a_lost_connection_loses_its_phones_at_once_and_pending_calls_hear_430() {
    let mut net = net();
    let flow = Flow {
        id: Key::new(ShardId(0), 3, 77),
        transport: Transport::Ws,
        remote: at(PHONE),
        realm: RealmId(0),
    };
    let text = register(1, 600, &format!("Authorization: {GIVEN}\r\n")).replace("SIP/2.0/UDP", "SIP/2.0/WS");
    net.input(0, 0, Input::Message { flow, data: text.as_bytes() });
    let asked = got(&mut net, B, "REGISTER");
    let mine = token(&asked);
    net.answer(&asked, 200, "r", &[(Name::Contact, &format!("<sip:{mine}@{A}>;expires=600"))], None);
    // A connection needs no short expiry.
    assert!(header(&got(&mut net, PHONE, "SIP/2.0 200"), "Contact").ends_with(";expires=600"));
    let invite = called(&mine);
    net.inject(B, 0, &invite);
    net.run(Duration::from_millis(100));
    let incoming = net.incoming(0).clone();
    let Callee::Phone { phone, party } = incoming.callee else { panic!() };
    assert!(phone.web);
    let leg = net.nodes[0].mint.leg(Side::Sip);
    let dial = Dial {
        referral: None,
        leg,
        target: Target::Phone(phone),
        caller: incoming.caller.clone(),
        callee: party,
        account: None,
        identity: None,
        offer: sdp(1),
        hops: 69,
        with: Some(incoming.leg),
        late: false,
        data: Vec::new(),
        carried: Box::default(),
    };
    net.command(0, Command::Dial(Box::new(dial)));
    assert!(got(&mut net, PHONE, "INVITE").contains("Via: SIP/2.0/WS "));
    net.input(0, 0, Input::Failed { flow });
    assert_eq!(net.names(0).last().unwrap(), "Ended unreachable 430");
    assert_eq!(net.stack(0).counters().phones_lost, 1);
}

/// A gateway that keeps the secret of a user who has another one toward it.
fn holding(config: &mut Config) {
    phones(config);
    let account = words::Account::from("al");
    let held = Registration {
        account: account.clone(),
        trunk: TrunkId(0),
        user: "100".into(),
        auth_user: "100a".into(),
        password: Secret("upstream".into()),
    };
    config.accounts.insert(account.clone(), held);
    config.phones.as_mut().unwrap().users.insert(account, Secret("own".into()));
}

#[test]
fn a_user_whose_secret_is_held_proves_itself_to_us_and_we_to_the_server() {
    let mut net = Net::scripted(holding);
    net.inject(PHONE, 0, &register(1, 600, ""));
    let refused = got(&mut net, PHONE, "SIP/2.0 401");
    nothing(&mut net, B, "");
    let challenges: Vec<_> = refused.lines().filter_map(|l| l.strip_prefix("WWW-Authenticate: ")).collect();
    assert!(challenges[0].contains("SHA-256") && challenges[1].contains("MD5"), "{challenges:?}");
    let sign = |refused: &str, method: &str, uri: &str, password: &str| {
        let message = Message::parse(refused.as_bytes()).unwrap();
        let mut keys = digest::Keys::default();
        assert!(keys.learn(digest::challenges(&message), None, 0));
        let who = Credentials { user: "al".into(), password: Secret(password.into()) };
        let all = keys.authorise(&who, digest::Request { method, uri, body: b"" }, "c");
        format!("{}: {}\r\n", all[0].0, all[0].1)
    };
    net.inject(PHONE, 0, &register(2, 600, &sign(&refused, "REGISTER", "sip:test.org", "guess")));
    got(&mut net, PHONE, "SIP/2.0 401");
    nothing(&mut net, B, "");
    net.inject(PHONE, 0, &register(3, 600, &sign(&refused, "REGISTER", "sip:test.org", "own")));
    let asked = got(&mut net, B, "REGISTER");
    assert_eq!((header(&asked, "To"), header(&asked, "Authorization")), ("<sip:100@test.org>", ""));
    net.answer(&asked, 401, "r", &[(Name::WwwAuthenticate, CHALLENGE)], None);
    let asked = got(&mut net, B, "REGISTER");
    assert!(header(&asked, "Authorization").contains("username=\"100a\""), "{asked}");
    let contact = format!("<sip:{}@{A}>;expires=600", token(&asked));
    net.answer(&asked, 200, "r", &[(Name::Contact, &contact)], None);
    got(&mut net, PHONE, "SIP/2.0 200");

    net.inject(PHONE, 0, &invite(1, ""));
    let refused = got(&mut net, PHONE, "SIP/2.0 407");
    assert!(!net.heard(0, "Incoming"));
    let parties = ("<sip:al@test.org>;tag=p", header(&refused, "To"));
    let ack = request("ACK", "sip:bob@test.org;x=1", parties, ("call", 1), "");
    net.inject(PHONE, 0, &ack.replace("call1ACK", "call1INVITE"));
    let signed = sign(&refused, "INVITE", "sip:bob@test.org;x=1", "own");
    net.inject(PHONE, 0, &invite(2, &signed));
    net.run(Duration::from_millis(100));
    let incoming = net.incoming(0).clone();
    let leg = net.nodes[0].mint.leg(Side::Sip);
    let dial = Dial {
        referral: None,
        leg,
        target: Target::Trunk(TrunkId(0)),
        caller: incoming.caller.clone(),
        callee: Party { user: "bob".into(), ..Party::default() },
        account: None,
        identity: None,
        offer: sdp(1),
        hops: 69,
        with: Some(incoming.leg),
        late: false,
        data: Vec::new(),
        carried: Box::default(),
    };
    net.command(0, Command::Dial(Box::new(dial)));
    let asked = got(&mut net, B, "INVITE sip:bob@test.org SIP/2.0");
    assert!(header(&asked, "From").starts_with("<sip:100@test.org>"), "{asked}");
    assert_eq!(header(&asked, "Proxy-Authorization"), "");
    net.answer(&asked, 407, "s", &[(Name::ProxyAuthenticate, CHALLENGE)], None);
    assert!(header(&got(&mut net, B, "INVITE"), "Proxy-Authorization").contains("100a"));
    nothing(&mut net, PHONE, "SIP/2.0 407");
}

#[test]
fn whichever_shard_hears_a_phone_all_that_is_its_own_meets() {
    for n in 0..20 {
        let mut net = Net::new(n);
        net.join(A, B, 4, phones);
        let phone = format!("203.0.113.9:{}", 40_000 + n);
        net.inject(&phone, 0, &register(1, 3600, ""));
        let asked = got(&mut net, B, "REGISTER");
        let mine = token(&asked);
        net.answer(&asked, 200, "r", &[(Name::Contact, &format!("<sip:{mine}@{A}>;expires=600"))], None);
        got(&mut net, &phone, "SIP/2.0 200");
        net.inject(&phone, 0, &invite(1, ""));
        got(&mut net, &phone, "SIP/2.0 100");
        let home = net.incoming(0).leg.shard();
        let text = called(&mine);
        net.inject(B, 0, &text);
        net.run(Duration::from_millis(100));
        let incoming = net.incoming(0);
        assert!(matches!(incoming.callee, Callee::Phone { .. }) && incoming.leg.shard() == home);
        assert_eq!(usize::from(mine.as_bytes()[3] - b'0'), usize::from(home.0));
    }
}

#[test]
fn too_many_phones_and_too_eager_strangers_are_counted() {
    let mut net = Net::scripted(|config| {
        phones(config);
        let phones = config.phones.as_mut().unwrap();
        (phones.most, phones.pace) = (1, 3);
    });
    registered(&mut net, 3600);
    let other = |n: u32| register(n, 60, "").replace("urn:x", &format!("urn:y{n}")).replace("reg", "reg2");
    net.inject("203.0.113.10:1", 0, &other(1));
    got(&mut net, "203.0.113.10:1", "SIP/2.0 503");
    assert_eq!(net.stack(0).counters().full_phones, 1);
    for n in 2..8 {
        net.inject("203.0.113.10:1", 0, &other(n));
    }
    net.run(Duration::from_millis(100));
    assert_eq!(net.stack(0).counters().phones_throttled, 4);
}

#[test]
fn a_phone_is_heard_though_its_neighbour_behind_the_nat_is_banned() {
    let mut net = net();
    registered(&mut net, 3600);
    net.input(0, 0, Input::Banned { source: at(PHONE).ip() });
    net.inject(PHONE, 0, &register(2, 3600, ""));
    got(&mut net, PHONE, "SIP/2.0 200");
    let neighbour = "203.0.113.9:50000";
    net.inject(neighbour, 0, &register(1, 3600, "").replace("reg", "other"));
    nothing(&mut net, neighbour, "");
    nothing(&mut net, B, "REGISTER");
}
