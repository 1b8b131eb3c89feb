//! Transfers, texts and subscriptions.

use super::*;
use crate::leg::{News, Notice, Package, Page, Replaces, Stage};

#[test]
fn a_transfer_is_asked_for_told_of_and_answered() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let leg = desk.talk(alice, "c");
    let other = desk.talk(alice, "d");
    let ask = |desk: &mut Desk, more: Value| {
        let mut request = json!({"type": "transfer", "id": 30, "call": "c"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        desk.text(alice, &request.to_string());
    };
    ask(&mut desk, json!({"to": "sip:bob@x.test"}));
    match desk.event() {
        Event::Transfer { leg: of, transfer } => {
            assert_eq!((of, transfer.to.user.as_str(), transfer.to.host.as_str()), (leg, "bob", "x.test"));
            assert_eq!(transfer.replaces, None);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        desk.fails(alice, &json!({"type": "transfer", "id": 31, "call": "c", "to": "e"})),
        "wrong_state"
    );
    desk.command(Command::Transfer { leg, stage: Stage::Trying(180) });
    desk.tells(alice, &json!({"type": "transferring", "call": "c", "code": 180}));
    desk.command(Command::Transfer { leg, stage: Stage::Failed(Reason::from_code(486)) });
    let (_, answer) = desk.sent();
    assert_eq!((answer["error"].as_str(), answer["code"].as_u64()), (Some("busy"), Some(486)));
    ask(&mut desk, json!({"with": "d"}));
    match desk.event() {
        Event::Transfer { transfer, .. } => assert_eq!(transfer.replaces, Some(Replaces::Leg(other))),
        other => panic!("{other:?}"),
    }
    desk.command(Command::Transfer { leg, stage: Stage::Done });
    assert_eq!(desk.sent().1, json!({"type": "ok", "id": 30}));
    desk.dial(alice, "e");
    for (more, error) in [
        (json!({}), "bad_request"),
        (json!({"to": "bob", "with": "d"}), "bad_request"),
        (json!({"with": "c"}), "bad_request"),
        (json!({"with": "x"}), "unknown_call"),
        (json!({"with": "e"}), "wrong_state"),
        (json!({"to": "a\r\nb"}), "bad_request"),
    ] {
        let mut request = json!({"type": "transfer", "id": 40, "call": "c"});
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        desk.text(alice, &request.to_string());
        assert_eq!(desk.sent().1["error"], error, "{more}");
    }
    let party = crate::leg::Party { user: "erin".into(), ..Default::default() };
    desk.command(Command::Inform { leg, notice: Box::new(Notice::Party(party)) });
    let erin = json!({"user": "erin", "host": "", "display": ""});
    desk.tells(alice, &json!({"type": "party", "call": "c", "party": erin}));
}

#[test]
fn texts_are_bounded_and_each_is_answered_by_its_outcome() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let text = |id: u64| json!({"type": "message", "id": id, "to": "bob", "body": "hi"}).to_string();
    let mut receipts = Vec::new();
    for id in 10..26 {
        desk.text(alice, &text(id));
        match desk.next() {
            Output::Page { page, receipt, .. } => {
                assert_eq!((page.party.user.as_str(), page.kind.as_str()), ("bob", "text/plain"));
                receipts.push(receipt);
            }
            other => panic!("{other:?}"),
        }
    }
    let more: Value = serde_json::from_str(&text(26)).unwrap();
    assert_eq!(desk.fails(alice, &more), "too_many");
    desk.input(Input::Paged { receipt: receipts[1], outcome: Err(Reason::from_code(404)) });
    assert_eq!(desk.sent().1["error"], "not_found");
    desk.input(Input::Paged { receipt: receipts[0], outcome: Ok(()) });
    assert_eq!(desk.sent().1, json!({"type": "ok", "id": 10}));
    for (kind, body) in
        [("image/png", "x"), ("application/octet-stream", "aGk="), ("text/plain", ""), ("text/plain", "a\0b")]
    {
        let request = json!({"type": "message", "id": 3, "to": "bob", "content_type": kind, "body": body});
        desk.text(alice, &request.to_string());
        assert_eq!(desk.sent().1["error"], "bad_request", "{kind}");
    }
    let party = crate::leg::Party { user: "bob".into(), ..Default::default() };
    let page = Page { account: "alice".into(), party, kind: "text/plain".into(), text: "yo".into() };
    desk.input(Input::Page(page));
    let from = json!({"user": "bob", "host": "", "display": ""});
    desk.tells(alice, &json!({"type": "message", "from": from, "content_type": "text/plain", "body": "yo"}));
}

#[test]
fn one_subscription_serves_all_sessions_of_a_user_and_ends_with_the_last() {
    let mut desk = Desk::new();
    let (one, two) = (desk.sign_in(1, "alice"), desk.sign_in(2, "alice"));
    let subscribe =
        |watch: &str| json!({"type": "subscribe", "id": 5, "watch": watch, "event": "message-summary"});
    desk.does(one, &subscribe("a"));
    let Output::Watch { watch, number, .. } = desk.next() else { panic!("no watch") };
    assert_eq!((watch.package, watch.target.as_str()), (Package::MessageSummary, ""));
    assert_eq!(desk.fails(one, &subscribe("a")), "bad_request");
    let kind = "application/simple-message-summary";
    let text = "Messages-Waiting: yes\r\nVoice-Message: 2/1\r\n";
    let news = || News::State { kind: kind.into(), text: text.into() };
    desk.input(Input::Watched { number, news: news() });
    let told = |watch: &str| {
        json!({"type": "notify", "watch": watch, "event": "message-summary", "content_type": kind, "body": text,
               "mwi": {"waiting": true, "new": 2, "old": 1}})
    };
    desk.tells(one, &told("a"));
    // Who comes later hears the latest at once, and nothing is asked upstream.
    desk.does(two, &subscribe("b"));
    desk.tells(two, &told("b"));
    desk.quiet();
    desk.does(one, &json!({"type": "unsubscribe", "id": 6, "watch": "a"}));
    desk.quiet();
    assert_eq!(desk.fails(one, &json!({"type": "unsubscribe", "id": 7, "watch": "a"})), "bad_request");
    desk.does(two, &json!({"type": "unsubscribe", "id": 8, "watch": "b"}));
    assert!(matches!(desk.next(), Output::Unwatch { number: of } if of == number));
    desk.input(Input::Watched { number, news: news() });
    desk.quiet();
    // The end is told.
    desk.does(one, &json!({"type": "subscribe", "id": 9, "watch": "c", "event": "presence", "to": "bob"}));
    let Output::Watch { number, .. } = desk.next() else { panic!("no watch") };
    desk.input(Input::Watched { number, news: News::Over("forbidden") });
    desk.tells(one, &json!({"type": "unsubscribed", "watch": "c", "reason": "forbidden"}));
    let bad = json!({"type": "subscribe", "id": 10, "watch": "d", "event": "conference"});
    desk.text(one, &bad.to_string());
    assert_eq!(desk.sent().1["error"], "bad_request");
}
