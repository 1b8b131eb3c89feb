//! Requests that nobody should send, and what they get.

use super::*;

fn request(method: &str, branch: &str, extra: &str) -> String {
    format!(
        "{method} sip:bob@{A} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch={branch};rport\r\nFrom: <sip:q@x>;tag=q\r\n\
         To: <sip:bob@x>\r\nCall-ID: c-{branch}\r\nCSeq: 1 {method}\r\nContact: <sip:q@{B}>\r\n{extra}\
         Content-Length: 0\r\n\r\n"
    )
}

fn answers(net: &mut Net, text: &str) -> Vec<String> {
    net.inject(B, 0, text);
    net.run(Duration::from_millis(100));
    net.take("SIP/2.0").into_iter().filter(|text| !text.starts_with("SIP/2.0 100")).collect()
}

#[test]
fn odd_requests_get_the_status_that_says_why() {
    let sdp = "Content-Type: text/plain\r\n";
    for (text, code, also) in [
        (request("OPTIONS", "z9hG4bK1", ""), 200, "Accept: application/sdp"),
        (request("OPTIONS", "z9hG4bK1", "Max-Forwards: 0\r\n"), 200, "Allow: INVITE"),
        (request("INVITE", "z9hG4bK2", "Max-Forwards: 0\r\n"), 483, ""),
        (
            request("INVITE", "z9hG4bK3", "Require: 100rel, precondition\r\n"),
            420,
            "Unsupported: precondition\r\n",
        ),
        (request("SUBSCRIBE", "z9hG4bK4", ""), 405, "Allow: INVITE"),
        (request("MESSAGE", "z9hG4bK4", ""), 404, ""),
        (request("REGISTER", "z9hG4bK4", ""), 405, "Allow: INVITE"),
        (request("FROB", "z9hG4bK5", ""), 501, "Allow: INVITE"),
        (request("BYE", "z9hG4bK6", ""), 481, ""),
        (request("CANCEL", "z9hG4bK7", ""), 481, ""),
        (request("INVITE", "z9hG4bK8", "CSeq: 2 INVITE\r\n"), 400, ""),
        (request("INVITE", "z9hG4bK9", "").replace("Contact", "X-Contact"), 400, ""),
        (
            request("INVITE", "z9hG4bKa", "Session-Expires: 5;refresher=uac\r\nSupported: timer\r\n"),
            422,
            "Min-SE: 90",
        ),
        (
            request("INVITE", "z9hG4bKb", sdp).replace("Length: 0\r\n\r\n", "Length: 2\r\n\r\nhi"),
            415,
            "Accept: app",
        ),
        (
            request("INVITE", "z9hG4bKc", "Content-Type: application/sdp\r\n")
                .replace("Length: 0\r\n\r\n", "Length: 2\r\n\r\nhi"),
            400,
            "",
        ),
        (request("INVITE", "z9hG4bKf", "").replace("INVITE sip:", "INVITE h323:"), 416, ""),
        (request("INVITE", "z9hG4bKd", "").replace("SIP/2.0\r\nVia", "SIP/3.0\r\nVia"), 505, ""),
        (request("INVITE", "z9hG4bKe", "").replace("To: <sip:bob@x>", "To: <sip:bob@x>;tag=00dead"), 481, ""),
    ] {
        let mut net = Net::scripted(|_| {});
        let answers = answers(&mut net, &text);
        assert_eq!(answers.len(), 1, "{text}");
        assert!(answers[0].starts_with(&format!("SIP/2.0 {code}")), "{text}{}", answers[0]);
        assert!(answers[0].contains(also), "{}", answers[0]);
        assert!(answers[0].contains("To: <sip:bob@x>;tag="), "{}", answers[0]);
        assert!(net.nodes[0].events.is_empty());
        net.run(seconds(40));
        net.assert_empty();
    }
}

#[test]
fn strangers_get_403_or_nothing_and_no_state() {
    for (policy, expected) in [(Strangers::Refuse, 1), (Strangers::Ignore, 0)] {
        let mut net = Net::scripted(|config| config.strangers = policy);
        for method in ["INVITE", "OPTIONS", "REGISTER", "BYE"] {
            let stranger = request(method, "z9hG4bK1", "").replace(B, "203.0.113.5:5060");
            net.inject("203.0.113.5:5060", 0, &stranger);
            net.run(Duration::from_millis(50));
            assert_eq!(net.take("SIP/2.0 403").len(), expected, "{method}");
        }
        net.inject("203.0.113.5:5060", 0, &request("ACK", "z9hG4bK1", ""));
        net.run(Duration::from_millis(50));
        assert!(net.inbox.is_empty() && net.nodes[0].events.is_empty());
        assert_eq!(net.stack(0).counters().strangers, 4);
        net.assert_empty();
    }
}

#[test]
fn a_stranger_that_asks_often_is_not_answered_and_others_are() {
    let mut net = Net::scripted(|_| {});
    let flood = |net: &mut Net, source: &str| {
        for n in 0..50 {
            let text = request("INVITE", &format!("z9hG4bK{n}"), "").replace(B, source);
            net.inject(source, 0, &text);
        }
        net.run(Duration::from_millis(50));
        net.take("SIP/2.0 403").len()
    };
    assert_eq!(flood(&mut net, "203.0.113.5:5060"), 10);
    assert_eq!(flood(&mut net, "203.0.113.5:5070"), 0);
    assert_eq!(flood(&mut net, "203.0.113.6:5060"), 10);
    assert_eq!(net.stack(0).counters().unanswered, 130);
    net.run(seconds(1));
    assert_eq!(flood(&mut net, "203.0.113.5:5060"), 10);
    // A trunk is never held to it.
    for n in 0..50 {
        net.inject(B, 0, &request("OPTIONS", &format!("z9hG4bK{n}"), ""));
    }
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 200").len(), 50);
}

#[test]
fn the_book_of_strangers_is_bounded() {
    let mut net = Net::scripted(|config| config.caps.strangers = 3);
    for n in 0..9 {
        let source = format!("203.0.113.{n}:5060");
        net.inject(&source, 0, &request("INVITE", "z9hG4bK1", "").replace(B, &source));
    }
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 403").len(), 3);
}

#[test]
fn a_merged_request_gets_482_and_a_retransmission_the_same_answer() {
    let mut net = Net::scripted(|_| {});
    let invite = request("INVITE", "z9hG4bK1", "");
    net.inject(B, 0, &invite);
    net.inject(B, 0, &invite);
    let other_way = invite.replace("branch=z9hG4bK1", "branch=z9hG4bK2");
    assert!(answers(&mut net, &other_way)[0].starts_with("SIP/2.0 482"));
    assert_eq!(net.names(0), ["Incoming"]);
    assert_eq!((net.sent(A, "SIP/2.0 100"), net.stack(0).counters().merged), (2, 1));
}

#[test]
fn a_refusal_is_sent_again_until_its_ack_and_the_ack_is_swallowed() {
    let mut net = Net::scripted(|_| {});
    net.inject(B, 0, &request("INVITE", "z9hG4bK1", ""));
    net.run(Duration::from_millis(50));
    let leg = net.incoming(0).leg;
    net.command(0, Command::End { leg, reason: words::Cause::Busy.into() });
    net.run(seconds(2));
    let refusals = net.take("SIP/2.0 486");
    assert_eq!(refusals.len(), 3);
    let ack = request("ACK", "z9hG4bK1", "")
        .replace("To: <sip:bob@x>", &format!("To: {}", header(&refusals[0], "To")));
    net.inject(B, 0, &ack);
    net.run(seconds(10));
    assert_eq!(net.take("SIP/2.0 486").len(), 0);
    net.assert_empty();
}

#[test]
fn a_peer_of_rfc_2543_is_understood() {
    let mut net = Net::scripted(|_| {});
    let invite = request("INVITE", "1", "").replace(";branch=1", "");
    net.inject(B, 0, &invite);
    net.inject(B, 0, &invite);
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0), ["Incoming"]);
    let leg = net.incoming(0).leg;
    net.inject(B, 0, &invite.replace("INVITE", "CANCEL"));
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0).last().unwrap(), "Ended cancelled 487");
    net.command(0, end(leg));
}

#[test]
fn via_gets_received_and_rport() {
    let mut net = Net::scripted(|_| {});
    let text = request("OPTIONS", "z9hG4bK1", "").replace(B, "10.1.1.1:5088");
    let answer = answers(&mut net, &text).remove(0);
    let via = header(&answer, "Via");
    assert!(via.contains("rport=5060") && via.contains("received=192.0.2.2"), "{via}");
}

#[test]
fn noise_is_dropped_and_counted() {
    let mut net = Net::scripted(|_| {});
    let noise = [
        "\r\n\r\n",
        "",
        "hello",
        "SIP/2.0 200 OK\r\n\r\n",
        "INVITE sip:a@b SIP/2.0\r\n\r\n",
        "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK00x\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n",
    ];
    for text in noise {
        net.inject(B, 0, text);
    }
    net.run(seconds(1));
    assert!(net.inbox.is_empty());
    let counters = net.stack(0).counters();
    assert_eq!((counters.malformed, counters.stray_responses), (3, 1));
}

#[test]
fn a_full_table_answers_503_without_state() {
    let mut net = Net::scripted(|config| config.caps.transactions = 1);
    net.inject(B, 0, &request("INVITE", "z9hG4bK1", ""));
    let answers = answers(&mut net, &request("INVITE", "z9hG4bK2", ""));
    assert!(
        answers.iter().any(|text| text.starts_with("SIP/2.0 503") && text.contains("Retry-After")),
        "{answers:?}"
    );
    assert_eq!(net.stack(0).counters().full_transactions, 1);
}

#[test]
fn anonymous_callers_have_no_name() {
    let mut net = Net::scripted(|_| {});
    let text = request("INVITE", "z9hG4bK1", "")
        .replace("<sip:q@x>", "\"Anonymous\" <sip:anonymous@anonymous.invalid>");
    net.inject(B, 0, &text);
    net.run(Duration::from_millis(50));
    assert_eq!(net.incoming(0).caller.user, "");
}

#[test]
fn mutilated_messages_never_panic() {
    let mut random = Random::from_number(5);
    let whole =
        request("INVITE", "z9hG4bK1", "Record-Route: <sip:p;lr>\r\nSession-Expires: 90\r\n").into_bytes();
    let mut net = Net::pair(1);
    for n in 0..3_000 {
        let mut bytes = whole.clone();
        for _ in 0..=random.below(4) {
            let place = random.below(bytes.len() as u64) as usize;
            match random.below(3) {
                0 => bytes[place] = random.below(256) as u8,
                1 if bytes.len() > 1 => drop(bytes.remove(place)),
                _ => bytes.truncate(place.max(1)),
            }
        }
        let flow = Flow {
            id: Key::new(ShardId(0), 0, 0),
            transport: Transport::Udp,
            remote: at(B),
            realm: RealmId(0),
        };
        let now = net.now;
        home(&bytes, 4, None);
        net.stack(0).handle_input(now, Input::Message { flow, data: &bytes });
        while net.stack(0).poll_output().is_some() {}
        if n % 100 == 0 {
            net.run(seconds(40));
        }
    }
}
