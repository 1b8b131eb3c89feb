//! Signing in, tabs, registration, loss and drain.

use super::*;

fn registered(desk: &mut Desk, user: &str, state: Result<(), Reason>) {
    desk.input(Input::Registered { account: Account::from(user), state });
}

fn register(desk: &mut Desk, flow: FlowId) {
    desk.does(flow, &json!({"type": "register", "id": 2}));
}

#[test]
fn connect_says_who_and_with_what() {
    let mut desk = Desk::new();
    let ok = desk.ask(flow(1), &connect("alice", "wonder"));
    assert_eq!((&ok["type"], &ok["user"]), (&json!("ok"), &json!("alice")));
    assert_eq!(ok["ice_servers"], json!([{"urls": ["stun:192.0.2.1"]}]));
    assert!(!ok["session"].as_str().unwrap().is_empty());
    assert_eq!(desk.fails(flow(1), &connect("alice", "wonder")), "wrong_state");
    desk.does(flow(1), &json!({"type": "ping", "id": 3}));
    assert_eq!(desk.hub.sessions(), 1);
}

#[test]
fn nothing_is_done_before_sign_in() {
    let mut desk = Desk::new();
    let dial = json!({"type": "dial", "id": 2, "call": "c", "to": "echo", "sdp": OFFER});
    for _ in 0..5 {
        assert_eq!(desk.fails(flow(1), &dial), "unauthorized");
        if desk.out.len() == 1 {
            desk.closes(flow(1));
        }
    }
    desk.quiet();
    desk.text(flow(1), &connect("alice", "wonder").to_string());
    desk.quiet();
    assert_eq!((desk.hub.sessions(), desk.hub.counters().strangers_closed), (0, 1));
}

#[test]
fn a_wrong_password_is_refused_and_the_fifth_closes() {
    let mut desk = Desk::new();
    for (user, password) in [("alice", "x"), ("alice", ""), ("nobody", ""), ("", ""), ("alice", "builder")] {
        desk.quiet();
        assert_eq!(desk.fails(flow(1), &connect(user, password)), "unauthorized");
        if user == "alice" && password == "builder" {
            desk.closes(flow(1));
        }
    }
    desk.text(flow(1), &connect("alice", "wonder").to_string());
    desk.quiet();
    // The connection ends, and so does the memory of it.
    desk.input(Input::Closed { flow: flow(1) });
    assert!(desk.hub.unknown.is_empty());
    assert_eq!(desk.hub.counters().wrong_passwords, 5);
    for request in [
        json!({"type": "connect", "id": 1, "version": 1, "user": "alice"}),
        json!({"type": "connect", "id": 1, "version": 1, "password": "wonder"}),
    ] {
        assert_eq!(desk.fails(flow(2), &request), "unauthorized");
    }
    assert_eq!(
        desk.fails(flow(2), &json!({"type": "connect", "id": 1, "user": "alice", "password": "x"})),
        "version"
    );
    let other = json!({"type": "connect", "id": 1, "version": 2, "user": "alice", "password": "wonder"});
    assert_eq!(desk.fails(flow(2), &other), "version");
}

#[test]
fn passwords_are_guessed_slowly_from_one_source() {
    let mut desk = Desk::with(|config| config.max_source_failures = 7);
    let source = Some("2001:db8::1".parse().unwrap());
    let mut refusals = Vec::new();
    for slot in 0..10 {
        desk.input(Input::Opened { flow: flow(slot), source });
        refusals.push(desk.fails(flow(slot), &connect("alice", "guess")));
    }
    assert_eq!(refusals.iter().filter(|r| *r == "unauthorized").count(), 7);
    assert_eq!(
        desk.fails(flow(9), &connect("alice", "wonder")),
        "too_many",
        "not even the right one is tried"
    );
    // Others are not harmed, nor is this one later.
    desk.input(Input::Opened { flow: flow(20), source: Some("2001:db8:1::1".parse().unwrap()) });
    desk.does(flow(20), &connect("alice", "wonder"));
    desk.pass(Duration::from_mins(2));
    desk.out.clear();
    desk.input(Input::Opened { flow: flow(21), source });
    desk.does(flow(21), &connect("alice", "wonder"));
}

#[test]
fn a_connection_that_never_signs_in_is_closed() {
    let mut desk = Desk::with(|config| config.max_unknown = 2);
    desk.input(Input::Opened { flow: flow(1), source: None });
    desk.pass(Duration::from_secs(9));
    desk.quiet();
    desk.input(Input::Opened { flow: flow(2), source: None });
    desk.input(Input::Opened { flow: flow(3), source: None });
    desk.closes(flow(3));
    desk.pass(Duration::from_secs(1));
    desk.closes(flow(1));
    desk.pass(Duration::from_secs(10));
    desk.closes(flow(2));
    desk.pass(Duration::from_secs(10));
    assert!(desk.hub.unknown.is_empty() && desk.hub.poll_timeout().is_none());
}

#[test]
fn a_user_of_another_shard_is_moved_there() {
    let mut landing = Desk::on(ShardId(0), 4, |_| ());
    let names: Vec<String> = (0..50).map(|n| format!("user{n}")).collect();
    let away = names.iter().find(|name| Account::from(name.as_str()).home(4) == ShardId(2)).unwrap();
    let other = names.iter().find(|name| Account::from(name.as_str()).home(4) == ShardId(3)).unwrap();
    let source = Some("192.0.2.1".parse().unwrap());
    landing.input(Input::Opened { flow: flow(1), source });
    let request = connect(away, "any").to_string();
    landing.text(flow(1), &request);
    let Output::Move { flow: moved, to, source: from, text } = landing.next() else { panic!() };
    assert_eq!((moved, to, from, text.as_str()), (flow(1), ShardId(2), source, request.as_str()));
    landing.quiet();
    assert_eq!((landing.hub.unknown.len(), landing.hub.counters().moved), (0, 1));

    let mut home = Desk::on(ShardId(2), 4, |config| config.add_user(away, "any", ""));
    home.input(Input::Opened { flow: moved, source: from });
    home.text(moved, &text);
    assert_eq!(home.sent().1["type"], "ok");
    // A moved connection stays: it can't wander from shard to shard, guessing.
    let second = FlowId::new(ShardId(0), 0, 9);
    assert_eq!(home.fails(second, &connect(other, "x")), "unauthorized");
    home.closes(second);
}

#[test]
fn registration_is_shared_by_the_tabs_of_a_user() {
    let mut desk = Desk::new();
    let (first, second) = (desk.sign_in(1, "bob"), desk.sign_in(2, "bob"));
    register(&mut desk, first);
    assert!(matches!(desk.next(), Output::Register(account, None) if account.name() == "bob"));
    register(&mut desk, second);
    desk.quiet();
    registered(&mut desk, "bob", Ok(()));
    desk.tells(first, &json!({"type": "registered"}));
    desk.tells(second, &json!({"type": "registered"}));
    registered(&mut desk, "bob", Ok(()));
    desk.quiet();
    let third = desk.sign_in(3, "bob");
    register(&mut desk, third);
    desk.tells(third, &json!({"type": "registered"}));
    registered(&mut desk, "bob", Err(Reason::from_code(403)));
    for flow in [first, second, third] {
        desk.tells(flow, &json!({"type": "unregistered", "reason": "forbidden", "code": 403}));
    }
    // Asked anew after a failure, it is tried anew.
    register(&mut desk, third);
    assert!(matches!(desk.next(), Output::Register(..)));
    registered(&mut desk, "bob", Ok(()));
    desk.out.clear();
    for (flow, last) in [(first, false), (third, false), (second, true)] {
        desk.does(flow, &json!({"type": "unregister", "id": 4}));
        if last {
            assert!(matches!(desk.next(), Output::Unregister(account) if account.name() == "bob"));
        }
        desk.tells(flow, &json!({"type": "unregistered", "reason": "unregistered", "code": 0}));
    }
    desk.does(first, &json!({"type": "unregister", "id": 5}));
    registered(&mut desk, "bob", Err(Cause::Unreachable.into()));
    registered(&mut desk, "nobody", Ok(()));
    desk.quiet();
}

#[test]
fn dialling_may_ask_for_registration() {
    let mut desk = Desk::with(|config| config.require_registration = true);
    let alice = desk.sign_in(1, "alice");
    let dial = json!({"type": "dial", "id": 2, "call": "c", "to": "echo", "sdp": OFFER});
    assert_eq!(desk.fails(alice, &dial), "not_registered");
    register(&mut desk, alice);
    desk.next();
    assert_eq!(desk.fails(alice, &dial), "not_registered");
    registered(&mut desk, "alice", Ok(()));
    desk.sent();
    desk.dial(alice, "c");
}

#[test]
fn a_killed_browser_ends_its_calls_after_the_grace_and_not_before() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    register(&mut desk, alice);
    desk.next();
    let talking = desk.talk(alice, "a");
    let over = desk.talk(alice, "over");
    let dialling = desk.dial(alice, "b");
    let (ringing, _) = desk.ring("alice", alice);
    desk.input(Input::Closed { flow: alice });
    assert_eq!(desk.presence, [talking, over, dialling, ringing].map(|leg| (leg, false)));
    // The far side hangs up one meanwhile; nobody hears it.
    desk.command(Command::End { leg: over, reason: Cause::Hangup.into() });
    desk.pass(Duration::from_millis(19_999));
    desk.quiet();
    desk.pass(Duration::from_millis(1));
    assert_eq!(desk.ended(), (talking, Cause::MediaLost.into()));
    assert_eq!(desk.ended(), (dialling, Cause::Cancelled.into()));
    assert_eq!(desk.ended(), (ringing, Cause::NoAnswer.into()));
    assert!(matches!(desk.next(), Output::Unregister(_)));
    desk.quiet();
    assert_eq!((desk.hub.sessions(), desk.hub.calls()), (0, 0));
    assert_eq!(desk.hub.counters().sessions_lost, 1);
}

#[test]
fn a_reload_keeps_the_registration() {
    let mut desk = Desk::new();
    let old = desk.sign_in(1, "alice");
    register(&mut desk, old);
    desk.next();
    registered(&mut desk, "alice", Ok(()));
    desk.sent();
    desk.input(Input::Closed { flow: old });
    let new = desk.sign_in(2, "alice");
    register(&mut desk, new);
    desk.tells(new, &json!({"type": "registered"}));
    desk.pass(Duration::from_secs(20));
    desk.quiet();
    assert_eq!(desk.hub.sessions(), 1);
}

#[test]
fn sessions_are_capped_and_lost_ones_make_room() {
    let mut desk = Desk::with(|config| {
        config.max_sessions_per_user = 2;
        config.max_sessions = 3;
    });
    let first = desk.sign_in(1, "alice");
    desk.sign_in(2, "alice");
    assert_eq!(desk.fails(flow(3), &connect("alice", "wonder")), "too_many");
    desk.input(Input::Closed { flow: first });
    desk.does(flow(3), &connect("alice", "wonder"));
    desk.sign_in(4, "bob");
    assert_eq!(desk.fails(flow(5), &connect("bob", "builder")), "overloaded");
    assert_eq!((desk.hub.sessions(), desk.hub.counters().sessions_refused), (3, 2));
}

#[test]
fn draining_takes_nothing_new_and_tells_at_the_end() {
    let mut desk = Desk::new();
    let alice = desk.sign_in(1, "alice");
    register(&mut desk, alice);
    desk.next();
    let leg = desk.talk(alice, "x");
    desk.input(Input::Drain);
    desk.quiet();
    let dial = json!({"type": "dial", "id": 2, "call": "c", "to": "echo", "sdp": OFFER});
    assert_eq!(desk.fails(alice, &dial), "overloaded");
    assert_eq!(desk.fails(flow(2), &connect("bob", "builder")), "overloaded");
    let refused = desk.offer("alice");
    assert_eq!(desk.ended(), (refused, Cause::Overloaded.into()));
    desk.does(alice, &json!({"type": "ping", "id": 2}));
    desk.input(Input::Stop);
    desk.tells(alice, &json!({"type": "ended", "call": "x", "reason": "media_lost", "code": 0}));
    assert_eq!(desk.ended(), (leg, Cause::MediaLost.into()));
    desk.tells(alice, &json!({"type": "closed", "reason": "draining"}));
    assert!(matches!(desk.next(), Output::Unregister(_)));
    desk.closes(alice);
    desk.closes(flow(2));
    desk.quiet();
    assert_eq!(desk.hub.sessions(), 0);
}

#[test]
fn the_call_machine_hears_of_lost_and_found_browsers_and_answers_for_their_media() {
    let mut desk = Desk::new();
    desk.input(Input::Opened { flow: flow(1), source: None });
    let alice = flow(1);
    let signed_in = desk.ask(alice, &connect("alice", "wonder"));
    let leg = desk.talk(alice, "a");
    desk.text(alice, &json!({"type": "stats", "id": 4, "call": "a"}).to_string());
    assert!(matches!(desk.next(), Output::Event(Event::Asked { leg: asked }) if asked == leg));
    assert_eq!(desk.fails(alice, &json!({"type": "stats", "id": 5, "call": "a"})), "wrong_state");
    let quality = crate::leg::Quality {
        codec: "opus".into(),
        packets_received: 50,
        jitter: Duration::from_micros(1_250),
        mos_received: 431,
        ..Default::default()
    };
    let told = |sound| Command::Quality { leg, quality: Box::new(quality.clone()), sound };
    desk.command(told(None));
    let (_, answer) = desk.sent();
    assert_eq!((answer["id"].as_u64(), answer["stats"]["codec"].as_str()), (Some(4), Some("opus")));
    assert_eq!(
        (answer["stats"]["jitter_ms"].as_f64(), answer["stats"]["mos_received"].as_f64()),
        (Some(1.3), Some(4.31))
    );
    assert!(answer["stats"]["mos_sent"].is_null());
    let sound = crate::leg::Sound { level: crate::leg::Level::Fair, mos: 380, one_way: false };
    desk.command(told(Some(sound)));
    desk.tells(
        alice,
        &json!({"type": "quality", "call": "a", "level": "fair", "mos": 3.8, "one_way": false}),
    );
    desk.input(Input::Closed { flow: alice });
    desk.input(Input::Opened { flow: flow(2), source: None });
    let resume = signed_in["resume"].as_str().unwrap();
    desk.text(
        flow(2),
        &json!({"type": "connect", "id": 1, "version": 1, "resume": resume, "cursor": 9}).to_string(),
    );
    assert_eq!(desk.presence, [(leg, false), (leg, true)]);
    desk.out.clear();
    desk.command(Command::End { leg, reason: Cause::Hangup.into() });
    let (_, ended) = desk.sent();
    assert_eq!(ended["stats"]["packets_received"], 50);
}
