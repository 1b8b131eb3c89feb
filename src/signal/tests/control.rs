//! Hold, keys, bodies, third-party control and attached headers.

use super::*;
use crate::leg::{Attach, Control, Digit, Notice};

fn informed(desk: &mut Desk) -> (LegId, Notice) {
    match desk.event() {
        Event::Inform { leg, notice } => (leg, *notice),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_hold_is_answered_when_the_other_party_knows() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let leg = desk.talk(alice, "c");
    for (kind, on) in [("hold", true), ("resume", false)] {
        desk.text(alice, &json!({"type": kind, "id": 30, "call": "c"}).to_string());
        assert!(matches!(desk.event(), Event::Hold { leg: of, on: asked } if of == leg && asked == on));
        // One at a time.
        assert_eq!(desk.fails(alice, &json!({"type": "hold", "id": 31, "call": "c"})), "wrong_state");
        desk.command(Command::Hold { leg, on, outcome: Ok(()) });
        let (_, answer) = desk.sent();
        assert_eq!(answer, json!({"type": "ok", "id": 30}));
    }
    desk.text(alice, &json!({"type": "hold", "id": 32, "call": "c"}).to_string());
    desk.event();
    desk.command(Command::Hold { leg, on: true, outcome: Err(Cause::NotAcceptable.into()) });
    let (_, answer) = desk.sent();
    assert_eq!((answer["error"].as_str(), answer["code"].as_u64()), (Some("not_acceptable"), Some(488)));
    // A hold that the call's end overtakes is answered, too.
    desk.text(alice, &json!({"type": "hold", "id": 33, "call": "c"}).to_string());
    desk.event();
    desk.command(Command::End { leg, reason: Cause::Hangup.into() });
    assert_eq!(desk.sent().1["error"], "unknown_call");
}

#[test]
fn what_is_no_answered_call_is_not_held_and_has_no_keys() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    desk.dial(alice, "c");
    for kind in ["hold", "resume", "dtmf", "info"] {
        assert_eq!(desk.fails(alice, &json!({"type": kind, "id": 2, "call": "c"})), "wrong_state");
        assert_eq!(desk.fails(alice, &json!({"type": kind, "id": 3, "call": "d"})), "unknown_call");
    }
}

#[test]
fn keys_go_one_by_one_in_order() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let leg = desk.talk(alice, "c");
    desk.does(alice, &json!({"type": "dtmf", "id": 2, "call": "c", "digits": "1a#", "duration": 120}));
    for expected in ['1', 'A', '#'] {
        let digit =
            Digit { digit: expected, duration: Duration::from_millis(120), sounds: false, spelled: false };
        assert_eq!(informed(&mut desk), (leg, Notice::Digit(digit)));
    }
    for digits in ["", "x", "1 2", "1\r\n2", &"1".repeat(33)] {
        let request = json!({"type": "dtmf", "id": 3, "call": "c", "digits": digits});
        assert_eq!(desk.fails(alice, &request), "bad_request");
    }
    for duration in [0, 39, 6_001] {
        let request = json!({"type": "dtmf", "id": 3, "call": "c", "digits": "1", "duration": duration});
        assert_eq!(desk.fails(alice, &request), "bad_request");
    }
}

#[test]
fn bodies_pass_by_type_and_size() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let leg = desk.talk(alice, "c");
    let info = |kind: &str, body: &str| json!({"type": "info", "id": 2, "call": "c", "content_type": kind, "body": body});
    let form = "application/x-www-form-urlencoded";
    desk.text(alice, &info(form, "a=1&b=2").to_string());
    let body = Notice::Body { kind: form.into(), text: "a=1&b=2".into(), receipt: Some(2) };
    assert_eq!(informed(&mut desk), (leg, body));
    let long = "a".repeat(8_193);
    for (kind, body) in [
        ("application/sdp", "v=0"),
        ("text/plain\r\nVia: x", "a"),
        ("text/plain\0", "a"),
        ("text/plain", ""),
        ("text/plain", "a\0b"),
        ("text/plain", &long),
    ] {
        assert_eq!(desk.fails(alice, &info(kind, body)), "bad_request", "{kind:?}");
    }
}

#[test]
fn a_body_is_answered_when_the_other_party_took_or_refused_it() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let leg = desk.talk(alice, "c");
    let info = |id: u64| {
        json!({"type": "info", "id": id, "call": "c", "content_type": "text/plain", "body": "a"}).to_string()
    };
    for id in 10..26 {
        desk.text(alice, &info(id));
        informed(&mut desk);
    }
    let more: Value = serde_json::from_str(&info(26)).unwrap();
    assert_eq!(desk.fails(alice, &more), "too_many");
    desk.command(Command::Told { leg, receipt: 11, outcome: Err(Reason::from_code(415)) });
    let (_, answer) = desk.sent();
    assert_eq!((answer["id"].as_u64(), answer["code"].as_u64()), (Some(11), Some(415)));
    assert_eq!(answer["error"], "not_acceptable");
    desk.command(Command::Told { leg, receipt: 10, outcome: Ok(()) });
    assert_eq!(desk.sent().1, json!({"type": "ok", "id": 10}));
    // A second word, or one on nothing, is ignored.
    desk.command(Command::Told { leg, receipt: 10, outcome: Ok(()) });
    // The call's end answers the rest.
    desk.command(Command::End { leg, reason: Cause::Hangup.into() });
    for id in 12..26 {
        let (_, answer) = desk.sent();
        assert_eq!((answer["id"].as_u64(), answer["error"].as_str()), (Some(id), Some("unknown_call")));
    }
}

#[test]
fn what_the_other_party_tells_is_told_in_order() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let leg = desk.talk(alice, "c");
    let digit = Digit { digit: '5', duration: Duration::from_millis(160), sounds: true, spelled: false };
    for (notice, event) in [
        (Notice::Held(true), json!({"type": "held", "call": "c"})),
        (Notice::Held(false), json!({"type": "resumed", "call": "c"})),
        (Notice::Digit(digit), json!({"type": "dtmf", "call": "c", "digit": "5", "duration": 160})),
        (Notice::Control(Control::Talk), json!({"type": "control", "call": "c", "action": "talk"})),
        (Notice::Control(Control::Hold), json!({"type": "control", "call": "c", "action": "hold"})),
        (
            Notice::Body { kind: "application/json".into(), text: "{}".into(), receipt: None },
            json!({"type": "info", "call": "c", "content_type": "application/json", "body": "{}"}),
        ),
    ] {
        desk.command(Command::Inform { leg, notice: Box::new(notice) });
        desk.tells(alice, &event);
    }
}

#[test]
fn headers_are_attached_from_the_allow_list_alone() {
    let mut desk = Desk::with(|config| {
        config.attach = Attach::new(["X-Case-*", "User-to-User"]).unwrap();
    });
    let alice = desk.sign_in(1, "alice");
    let dial = |attach: Value| json!({"type": "dial", "id": 9, "call": "c", "to": "echo", "sdp": OFFER, "attach": attach});
    for attach in [
        json!({"Via": "x"}),
        json!({"X-Other": "1"}),
        json!({"X-Case-Id": "1\r\nVia: x"}),
        json!({"X-Case-Id": "1\u{0}"}),
        json!({"X-Case-Id\r\nVia": "1"}),
        json!({"X-Case-Id": "1".repeat(1_025)}),
    ] {
        assert_eq!(desk.fails(alice, &dial(attach.clone())), "bad_request", "{attach}");
    }
    desk.does(alice, &dial(json!({"X-Case-Id": "17", "User-to-User": "56a3;encoding=hex"})));
    let Event::Incoming(incoming) = desk.event() else { panic!() };
    let expected = [("User-to-User", "56a3;encoding=hex"), ("X-Case-Id", "17")];
    assert_eq!(incoming.data, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[test]
fn an_incoming_call_brings_its_data() {
    let mut desk = Desk::new();
    desk.sign_in(1, "alice");
    desk.offer("alice");
    assert_eq!(desk.sent().1["data"], json!({"X-Case": "7"}));
}
