//! Calls from begin to end.

use super::*;
use crate::leg::{Callee, Fork, Source};

#[test]
fn a_browser_dials_and_hears_media_once_then_ringing_and_the_answer() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let dial =
        json!({"type": "dial", "id": 2, "call": "c-1", "to": "+49 30 123", "sdp": OFFER, "new": {"in": [2]}});
    assert_eq!(desk.ask(alice, &dial)["type"], "ok", "unknown fields are ignored");
    let Event::Incoming(incoming) = desk.event() else { panic!() };
    let leg = incoming.leg;
    assert_eq!(
        (leg.side(), leg.shard(), incoming.hops, incoming.key.as_str()),
        (Side::Web, ShardId(0), 70, "c-1")
    );
    assert_eq!(incoming.source, Source::Account(Account::from("alice")));
    assert_eq!((incoming.caller.user.as_str(), incoming.caller.display.as_str()), ("alice", "Alice L."));
    assert_eq!(incoming.callee, Callee::Dialled(Party { user: "+4930123".into(), ..Party::default() }));
    assert_eq!(incoming.offer, Some(sdp("1")));

    desk.command(Command::Progress { leg, code: 0, answer: Some(sdp("2")) });
    let (to, media) = desk.sent();
    assert_eq!(
        (to, &media["type"], &media["call"], &media["seq"]),
        (alice, &json!("media"), &json!("c-1"), &json!(1))
    );
    assert_eq!(sdp::Session::parse(media["sdp"].as_str().unwrap().as_bytes()).unwrap(), *sdp("2"));
    // The same answer again, and another: a browser takes only one.
    desk.command(Command::Progress { leg, code: 183, answer: Some(sdp("2")) });
    assert_eq!(desk.tells(alice, &json!({"type": "ringing", "call": "c-1", "code": 183})), 2);
    desk.command(Command::Progress { leg, code: 0, answer: None });
    desk.quiet();
    desk.command(Command::Answer { leg, session: Some(sdp("4")) });
    assert_eq!(desk.tells(alice, &json!({"type": "answered", "call": "c-1"})), 3);
    desk.command(Command::Answer { leg, session: None });
    desk.quiet();
    assert_eq!(desk.hub.counters().second_answers, 2);

    desk.does(alice, &json!({"type": "hangup", "id": 3, "call": "c-1"}));
    desk.tells(alice, &json!({"type": "ended", "call": "c-1", "reason": "hangup", "code": 0}));
    assert_eq!(desk.ended(), (leg, Cause::Hangup.into()));
    desk.command(Command::End { leg, reason: Cause::Hangup.into() });
    desk.quiet();
    assert_eq!((desk.hub.calls(), desk.hub.counters().stale_commands), (0, 1));
}

#[test]
fn an_answer_without_progress_brings_its_media() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let leg = desk.dial(alice, "x");
    desk.command(Command::Progress { leg, code: 180, answer: None });
    desk.tells(alice, &json!({"type": "ringing", "call": "x", "code": 180}));
    desk.command(Command::Answer { leg, session: Some(sdp("2")) });
    assert_eq!(desk.sent().1["type"], "media");
    desk.tells(alice, &json!({"type": "answered", "call": "x"}));
}

#[test]
fn a_call_rings_at_the_browser_and_is_answered() {
    let mut desk = Desk::new();
    let bob = desk.sign_in(1, "bob");
    let leg = desk.offer("bob");
    let (to, event) = desk.sent();
    assert_eq!((to, &event["type"], &event["to"]), (bob, &json!("incoming"), &json!("bob")));
    assert_eq!(event["from"], json!({"user": "+4930123", "host": "example.com", "display": "Some One"}));
    let call = event["call"].as_str().unwrap().to_owned();
    desk.does(bob, &json!({"type": "ringing", "id": 2, "call": call}));
    let progress = desk.event();
    assert!(
        matches!(progress, Event::Progress { leg: l, fork: Fork(0), code: 180, answer: None } if l == leg)
    );
    desk.does(bob, &json!({"type": "ringing", "id": 3, "call": call}));
    desk.quiet();
    desk.does(bob, &json!({"type": "answer", "id": 4, "call": call, "sdp": OFFER}));
    let Event::Answered { leg: answered, answer, .. } = desk.event() else { panic!() };
    assert_eq!((answered, answer), (leg, Some(sdp("1"))));
    for late in ["ringing", "answer", "reject"] {
        assert_eq!(
            desk.fails(bob, &json!({"type": late, "id": 5, "call": call, "sdp": OFFER})),
            "wrong_state"
        );
    }
    desk.command(Command::End { leg, reason: Reason::new(Cause::Hangup, 0) });
    desk.tells(bob, &json!({"type": "ended", "call": call, "reason": "hangup", "code": 0}));
}

#[test]
fn a_ringing_call_is_refused_as_busy_or_declined() {
    let mut desk = Desk::new();
    let bob = desk.sign_in(1, "bob");
    for (request, reason, code) in [
        (json!({"type": "reject", "id": 2, "reason": "busy"}), "busy", 486),
        (json!({"type": "reject", "id": 2, "reason": "declined"}), "declined", 603),
        (json!({"type": "reject", "id": 2}), "declined", 603),
        (json!({"type": "hangup", "id": 2}), "declined", 603),
    ] {
        let (leg, call) = desk.ring("bob", bob);
        let mut request = request.clone();
        request["call"] = json!(call);
        desk.does(bob, &request);
        desk.tells(bob, &json!({"type": "ended", "call": call, "reason": reason, "code": code}));
        let (ended, why) = desk.ended();
        assert_eq!((ended, why.cause.name(), why.code), (leg, reason, code));
    }
    let (_, call) = desk.ring("bob", bob);
    let lazy = json!({"type": "reject", "id": 2, "call": call, "reason": "lazy"});
    assert_eq!(desk.fails(bob, &lazy), "bad_request");
}

#[test]
fn a_caller_that_gives_up_and_a_call_that_fails() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let leg = desk.dial(alice, "x");
    desk.does(alice, &json!({"type": "hangup", "id": 2, "call": "x"}));
    desk.tells(alice, &json!({"type": "ended", "call": "x", "reason": "cancelled", "code": 487}));
    assert_eq!(desk.ended(), (leg, Cause::Cancelled.into()));
    // The id may be used again.
    let leg = desk.dial(alice, "x");
    desk.command(Command::End { leg, reason: Reason::from_code(404) });
    desk.tells(alice, &json!({"type": "ended", "call": "x", "reason": "not_found", "code": 404}));
    assert_eq!(desk.fails(alice, &json!({"type": "hangup", "id": 2, "call": "x"})), "unknown_call");
}

#[test]
fn both_sides_may_change_an_answered_call() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let leg = desk.talk(alice, "x");
    let update = json!({"type": "update", "id": 7, "call": "x", "sdp": OFFER});
    schema::check_request(&update);
    desk.text(alice, &update.to_string());
    assert!(matches!(desk.event(), Event::Offered { offer: Some(_), .. }));
    assert_eq!(
        desk.fails(alice, &json!({"type": "update", "id": 8, "call": "x", "sdp": OFFER})),
        "wrong_state"
    );
    desk.command(Command::Accept { leg, answer: sdp("5") });
    let (_, ok) = desk.sent();
    assert_eq!((&ok["type"], &ok["id"]), (&json!("ok"), &json!(7)));
    assert!(ok["sdp"].as_str().unwrap().starts_with("v=0\r\no=- 5"));

    desk.text(alice, &update.to_string());
    desk.event();
    desk.command(Command::Refuse { leg, reason: Reason::from_code(488) });
    let (_, error) = desk.sent();
    assert_eq!(
        (&error["error"], &error["code"], &error["id"]),
        (&json!("not_acceptable"), &json!(488), &json!(7))
    );

    desk.command(Command::Offer { leg, offer: sdp("6") });
    assert_eq!(desk.sent().1["type"], "update");
    assert_eq!(desk.fails(alice, &update), "wrong_state", "ours goes first");
    desk.does(alice, &json!({"type": "accept", "id": 9, "call": "x", "sdp": OFFER}));
    assert!(matches!(desk.event(), Event::Accepted { leg: l, .. } if l == leg));
    assert_eq!(
        desk.fails(alice, &json!({"type": "accept", "id": 9, "call": "x", "sdp": OFFER})),
        "wrong_state"
    );
}

#[test]
fn an_offer_of_ours_that_is_not_accepted_is_refused() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let leg = desk.talk(alice, "x");
    let refused = |desk: &mut Desk| match desk.event() {
        Event::Refused { leg: l, reason } if l == leg => reason.code,
        other => panic!("{other:?}"),
    };
    desk.command(Command::Offer { leg, offer: sdp("6") });
    desk.sent();
    assert_eq!(
        desk.fails(alice, &json!({"type": "accept", "id": 9, "call": "x", "sdp": "v=1"})),
        "bad_request"
    );
    assert_eq!(refused(&mut desk), 488);
    desk.command(Command::Offer { leg, offer: sdp("6") });
    desk.sent();
    desk.pass(Duration::from_secs(10));
    assert_eq!(refused(&mut desk), 408);
    // A second one replaces the first; one that waits from the browser makes way.
    desk.command(Command::Offer { leg, offer: sdp("6") });
    desk.sent();
    desk.command(Command::Offer { leg, offer: sdp("7") });
    assert_eq!(refused(&mut desk), 491);
    desk.sent();
    desk.does(alice, &json!({"type": "accept", "id": 9, "call": "x", "sdp": OFFER}));
    desk.event();
    desk.text(alice, &json!({"type": "update", "id": 7, "call": "x", "sdp": OFFER}).to_string());
    desk.event();
    desk.command(Command::Offer { leg, offer: sdp("6") });
    let (_, error) = desk.sent();
    assert_eq!((&error["id"], &error["code"]), (&json!(7), &json!(491)));
    assert_eq!(desk.sent().1["type"], "update");
    desk.command(Command::Accept { leg, answer: sdp("8") });
    desk.quiet();
}

#[test]
fn an_offer_before_the_answer_replaces_the_one_that_rings() {
    let mut desk = Desk::new();
    let bob = desk.sign_in(1, "bob");
    let (leg, call) = desk.ring("bob", bob);
    desk.command(Command::Offer { leg, offer: sdp("6") });
    assert_eq!(desk.sent().1["type"], "update");
    desk.does(bob, &json!({"type": "answer", "id": 4, "call": call, "sdp": OFFER}));
    assert!(matches!(desk.event(), Event::Answered { .. }));
    desk.pass(Duration::from_mins(1));
    desk.quiet();
    // A browser whose own offer was not answered yet can't take one.
    let leg = desk.dial(bob, "x");
    desk.command(Command::Offer { leg, offer: sdp("6") });
    assert!(matches!(desk.event(), Event::Refused { .. }));
}

#[test]
fn an_update_that_waits_is_answered_when_the_call_ends() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    let leg = desk.talk(alice, "x");
    desk.text(alice, &json!({"type": "update", "id": 7, "call": "x", "sdp": OFFER}).to_string());
    desk.event();
    desk.command(Command::End { leg, reason: Cause::Hangup.into() });
    let (_, error) = desk.sent();
    assert_eq!((&error["id"], &error["error"]), (&json!(7), &json!("unknown_call")));
    assert_eq!(desk.sent().1["type"], "ended");
}

#[test]
fn limits_and_states_are_held() {
    let mut desk = Desk::with(|config| config.max_calls_per_session = 2);
    let alice = desk.sign_in(1, "alice");
    let dial = |call: &str| json!({"type": "dial", "id": 2, "call": call, "to": "echo", "sdp": OFFER});
    let leg = desk.dial(alice, "a");
    assert_eq!(desk.fails(alice, &dial("a")), "bad_request", "the id is in use");
    assert_eq!(
        desk.fails(alice, &json!({"type": "update", "id": 7, "call": "a", "sdp": OFFER})),
        "wrong_state"
    );
    assert_eq!(
        desk.fails(alice, &json!({"type": "answer", "id": 7, "call": "a", "sdp": OFFER})),
        "wrong_state"
    );
    assert_eq!(desk.fails(alice, &json!({"type": "ringing", "id": 7, "call": "b"})), "unknown_call");
    desk.dial(alice, "b");
    assert_eq!(desk.fails(alice, &dial("c")), "too_many");
    let full = desk.offer("alice");
    assert_eq!(desk.ended(), (full, Cause::NoAnswer.into()));
    // Another user's call is not there.
    let bob = desk.sign_in(2, "bob");
    assert_eq!(desk.fails(bob, &json!({"type": "hangup", "id": 7, "call": "a"})), "unknown_call");
    // A trunk is not reached by a browser.
    let other = desk.mint.leg(Side::Web);
    let (caller, callee) = (Party::default(), Party::default());
    let target = Target::Trunk(crate::leg::TrunkId(0));
    let dial = Dial {
        leg: other,
        target,
        caller,
        callee,
        account: None,
        identity: None,
        offer: sdp("1"),
        hops: 1,
        with: None,
        data: Vec::new(),
        carried: Box::default(),
        late: false,
        referral: None,
    };
    desk.command(Command::Dial(Box::new(dial)));
    assert_eq!(desk.ended(), (other, Cause::Failed.into()));
    desk.command(Command::End { leg, reason: Cause::Busy.into() });
    desk.tells(alice, &json!({"type": "ended", "call": "a", "reason": "busy", "code": 486}));
}
