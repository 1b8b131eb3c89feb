//! INFO, NOTIFY and attached headers, between two stacks and against a script.

use super::*;
use crate::leg::{Attach, Control, Digit, Notice};

fn digit(digit: char) -> Notice {
    Notice::Digit(Digit { digit, duration: Duration::from_millis(100), sounds: false, spelled: false })
}

fn inform(leg: LegId, notice: Notice) -> Command {
    Command::Inform { leg, notice: Box::new(notice) }
}

fn notices(net: &Net, node: usize) -> Vec<Notice> {
    let events = net.nodes[node].events.iter();
    events
        .filter_map(
            |event| if let Event::Inform { notice, .. } = event { Some((**notice).clone()) } else { None },
        )
        .collect()
}

#[test]
fn keys_arrive_once_and_in_order_whatever_is_lost() {
    for seed in 0..30 {
        let mut net = Net::pair(seed);
        let (out, leg) = net.call();
        (net.loss, net.twice, net.jitter) = (0.2, 0.1, 300);
        let keys = "1234567890*#ABCD";
        for key in keys.chars() {
            net.command(0, inform(out, digit(key)));
            net.command(1, inform(leg, digit(key)));
        }
        net.run(seconds(120));
        for node in 0..2 {
            let told: String = notices(&net, node)
                .iter()
                .map(|notice| match notice {
                    Notice::Digit(digit) => digit.digit,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(told, keys, "seed {seed}");
        }
    }
}

#[test]
fn bodies_arrive_as_they_were_and_the_queue_is_bounded() {
    let mut net = Net::pair(1);
    let (out, leg) = net.call();
    let body = Notice::Body {
        kind: "application/json".into(),
        text: "{\"a\":\r\n\"\u{e9}\"}".into(),
        receipt: None,
    };
    net.command(0, inform(out, body.clone()));
    net.command(1, inform(leg, body.clone()));
    net.run(seconds(1));
    assert_eq!((notices(&net, 0), notices(&net, 1)), (vec![body.clone()], vec![body]));
    net.lose = Some(Box::new(|text| text.starts_with("INFO")));
    (0..100).for_each(|_| net.command(0, inform(out, digit('1'))));
    assert_eq!(net.stack(0).counters().informs_dropped, 36);
    net.command(0, end(out));
    net.run(seconds(300));
    net.assert_empty();
}

#[test]
fn nobody_is_told_before_the_answer_or_after_the_end() {
    let mut net = Net::pair(2);
    let out = net.dial(0);
    net.run(seconds(1));
    net.command(0, inform(out, digit('1')));
    let leg = net.incoming(1).leg;
    net.command(1, inform(leg, digit('1')));
    net.run(seconds(1));
    assert_eq!((net.sent(A, "INFO"), net.sent(B, "INFO")), (0, 0));
    net.command(0, end(out));
    net.run(seconds(60));
    net.command(0, inform(out, digit('1')));
    net.assert_empty();
}

/// A call from node 0 that the script at B has answered; a request of B's within it.
fn scripted() -> (Net, impl Fn(&mut Net, u32, &str, &str, &str)) {
    let mut net = Net::scripted(|_| {});
    net.dial(0);
    net.run(seconds(1));
    let invite = net.take("INVITE").remove(0);
    let headers = [(sip_codec::Name::Contact, "<sip:bob@192.0.2.2>")];
    net.answer(&invite, 200, "b", &headers, Some(&sdp(2).to_string()));
    net.run(seconds(1));
    net.inbox.clear();
    let (ours, call) = (header(&invite, "From").to_owned(), header(&invite, "Call-ID").to_owned());
    let ask = move |net: &mut Net, cseq: u32, method: &str, headers: &str, body: &str| {
        let text = format!(
            "{method} sip:alice@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKx{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:bob@{B}>;tag=b\r\nTo: {ours}\r\nCall-ID: {call}\r\n\
             CSeq: {cseq} {method}\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        net.inject(B, 0, &text);
        net.run(Duration::from_millis(100));
    };
    (net, ask)
}

#[test]
fn info_is_answered_by_what_it_carries() {
    let (mut net, ask) = scripted();
    for (cseq, headers, body, code) in [
        (1, "", "", 200),
        (2, "Content-Type: application/dtmf-relay\r\n", "Signal=5\r\nDuration=100\r\n", 200),
        (3, "Content-Type: application/dtmf-relay\r\n", "Signal=55\r\n", 400),
        (4, "Content-Type: application/x-www-form-urlencoded\r\n", "a=1&b=%20", 200),
        (5, "Content-Type: image/png\r\n", "x", 415),
        (6, "Info-Package: foo\r\nContent-Type: text/plain\r\n", "x", 469),
        (7, "Content-Type: text/plain\r\n", &"x".repeat(8_193), 413),
    ] {
        ask(&mut net, cseq, "INFO", headers, body);
        assert!(net.last(A, "SIP/2.0").starts_with(&format!("SIP/2.0 {code}")), "{headers}{body}");
    }
    let form = Notice::Body {
        kind: "application/x-www-form-urlencoded".into(),
        text: "a=1&b=%20".into(),
        receipt: None,
    };
    assert_eq!(notices(&net, 0), [digit('5'), form]);
    assert!(header(&net.last(A, "SIP/2.0 415"), "Accept").contains("application/dtmf-relay"));
}

#[test]
fn a_refused_body_is_told_and_the_next_one_goes() {
    let (mut net, _) = scripted();
    let leg = net.nodes[0]
        .events
        .iter()
        .find_map(|e| matches!(e, Event::Answered { .. }).then(|| e.leg()))
        .unwrap();
    let body = |receipt| Notice::Body { kind: "text/plain".into(), text: "x".into(), receipt };
    for receipt in [Some(1), None, Some(2), Some(3)] {
        net.command(0, inform(leg, body(receipt)));
    }
    for code in [415, 415, 200] {
        net.run(Duration::from_millis(100));
        let info = net.take("INFO").remove(0);
        net.answer(&info, code, "b", &[], None);
    }
    // Nobody answers the last one.
    net.run(seconds(40));
    let told: Vec<_> = net.nodes[0]
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Told { receipt, outcome, .. } => Some((*receipt, outcome.map_err(|reason| reason.code))),
            _ => None,
        })
        .collect();
    assert_eq!(told, [(1, Err(415)), (2, Ok(())), (3, Err(408))]);
}

#[test]
fn notify_talk_and_hold_are_control_and_other_events_are_489() {
    let (mut net, ask) = scripted();
    let state = "Subscription-State: active\r\n";
    ask(&mut net, 1, "NOTIFY", &format!("Event: talk\r\n{state}"), "");
    ask(&mut net, 2, "NOTIFY", &format!("o: HOLD;x=y\r\n{state}"), "");
    assert_eq!(net.sent(A, "SIP/2.0 200"), 2);
    assert_eq!(notices(&net, 0), [Notice::Control(Control::Talk), Notice::Control(Control::Hold)]);
    for (cseq, event) in [(3, "Event: conference\r\n"), (4, ""), (5, "Event: talkative\r\n")] {
        ask(&mut net, cseq, "NOTIFY", event, "");
        assert_eq!(header(&net.last(A, "SIP/2.0 489"), "Allow-Events"), super::super::inform::EVENTS);
    }
    assert_eq!(net.sent(A, "SIP/2.0 489"), 3);
    assert_eq!(notices(&net, 0).len(), 2);
}

#[test]
fn a_challenged_info_is_signed_and_one_that_knows_no_dialog_ends_the_call() {
    let (mut net, _) = scripted();
    let Event::Answered { leg, .. } = *net.nodes[0].events.last().unwrap() else { panic!() };
    net.command(0, inform(leg, digit('1')));
    net.command(0, inform(leg, digit('2')));
    net.run(Duration::from_millis(50));
    let info = net.take("INFO").remove(0);
    assert!(
        info.ends_with("Signal=1\r\nDuration=100\r\n")
            && header(&info, "Content-Type") == "application/dtmf-relay"
    );
    // One at a time; a refusal lets the next go.
    net.answer(&info, 415, "b", &[], None);
    net.run(Duration::from_millis(50));
    let second = net.take("INFO").pop().unwrap();
    assert!(second.contains("Signal=2"));
    net.answer(&second, 481, "b", &[], None);
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0).last().unwrap(), "Ended expired 481");
}

#[test]
fn attached_headers_pass_by_the_allow_list_of_each_side() {
    let mut net = Net::new(1);
    net.join(A, B, 1, |config| {
        config.attach = Attach::new(["X-Case-*", "User-to-User", "X-Only-Here"]).unwrap();
    });
    net.join(B, A, 1, |config| config.attach = Attach::new(["X-Case-*", "User-to-User"]).unwrap());
    let leg = net.nodes[0].mint.leg(Side::Sip);
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let dial = Dial {
        leg,
        target: Target::Trunk(TrunkId(0)),
        caller: Party::default(),
        callee: Party { user: "bob".into(), ..Party::default() },
        account: None,
        identity: None,
        offer: sdp(1),
        hops: 70,
        with: None,
        data: vec![
            pair("X-Case-Id", "17; a=\"b\""),
            pair("User-to-User", "56a3;encoding=hex"),
            pair("X-Only-Here", "1"),
            pair("X-Other", "1"),
            pair("Route", "<sip:evil>"),
            pair("X-Case-Evil", "a\r\nVia: x"),
        ],
        carried: Box::default(),
        late: false,
        referral: None,
    };
    net.command(0, Command::Dial(Box::new(dial)));
    net.run(seconds(1));
    let invite = net.last(A, "INVITE");
    assert_eq!((header(&invite, "X-Only-Here"), header(&invite, "X-Other")), ("1", ""));
    assert!(!invite.contains("evil") && !invite.contains("Evil"));
    let expected = [pair("X-Case-Id", "17; a=\"b\""), pair("User-to-User", "56a3;encoding=hex")];
    assert_eq!(net.incoming(1).data, expected);
}
