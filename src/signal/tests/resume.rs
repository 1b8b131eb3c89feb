//! Coming back: tokens, replay, acknowledgements, requests sent again, signing out.

use super::*;

fn resume(token: &str, cursor: u64) -> Value {
    json!({"type": "connect", "id": 1, "version": 1, "resume": token, "cursor": cursor})
}

/// Signs in, with the token to come back by.
fn sign_in(desk: &mut Desk, slot: u32) -> (FlowId, String) {
    let ok = desk.does(flow(slot), &connect("alice", "wonder"));
    (flow(slot), ok["resume"].as_str().unwrap().to_owned())
}

fn come_back(desk: &mut Desk, slot: u32, token: &str, cursor: u64) -> (FlowId, String) {
    let request = resume(token, cursor);
    schema::check_request(&request);
    desk.text(flow(slot), &request.to_string());
    while !matches!(desk.out.front(), Some(Output::Send { flow: to, .. }) if *to == flow(slot)) {
        desk.next(); // to the connection that is replaced
    }
    let (to, ok) = desk.sent();
    assert_eq!((to, &ok["type"]), (flow(slot), &json!("ok")), "{ok}");
    (to, ok["resume"].as_str().unwrap().to_owned())
}

#[test]
fn what_happened_meanwhile_is_said_again_in_order() {
    let mut desk = Desk::new();
    let (old, token) = sign_in(&mut desk, 1);
    let leg = desk.dial(old, "a");
    desk.command(Command::Progress { leg, code: 180, answer: Some(sdp("2")) });
    assert_eq!(desk.sent().1["seq"], 1);
    assert_eq!(desk.sent().1["seq"], 2);
    desk.input(Input::Closed { flow: old });
    desk.pass(Duration::from_secs(15));
    desk.command(Command::Answer { leg, session: None });
    desk.quiet();
    // The second event was on its way when the connection broke.
    let (new, _) = come_back(&mut desk, 2, &token, 1);
    let said: Vec<Value> = (0..2).map(|_| desk.sent().1).collect();
    assert_eq!((&said[0]["type"], &said[0]["seq"]), (&json!("ringing"), &json!(2)));
    assert_eq!((&said[1]["type"], &said[1]["seq"]), (&json!("answered"), &json!(3)));
    desk.quiet();
    desk.pass(Duration::from_mins(5));
    desk.quiet();
    desk.does(new, &json!({"type": "hangup", "id": 3, "call": "a"}));
    assert_eq!(desk.tells(new, &json!({"type": "ended", "call": "a", "reason": "hangup", "code": 0})), 4);
    assert_eq!(desk.hub.counters().resumed, 1);
}

#[test]
fn acknowledged_events_are_not_said_again() {
    let mut desk = Desk::new();
    let (old, token) = sign_in(&mut desk, 1);
    let leg = desk.dial(old, "a");
    desk.command(Command::Progress { leg, code: 180, answer: Some(sdp("2")) });
    desk.out.clear();
    desk.does(old, &json!({"type": "ping", "id": 2, "ack": 2}));
    desk.input(Input::Closed { flow: old });
    come_back(&mut desk, 2, &token, 0);
    desk.quiet();
}

#[test]
fn a_connection_that_is_only_thought_to_live_is_replaced_and_told() {
    let mut desk = Desk::new();
    let (old, token) = sign_in(&mut desk, 1);
    let leg = desk.talk(old, "a");
    let (new, _) = come_back(&mut desk, 2, &token, 2);
    desk.out.clear();
    desk.command(Command::End { leg, reason: Cause::Hangup.into() });
    desk.tells(new, &json!({"type": "ended", "call": "a", "reason": "hangup", "code": 0}));
    // What still comes by the old one is not heard, and its end is nobody's.
    desk.text(old, r#"{"type":"ping","id":1}"#);
    desk.input(Input::Closed { flow: old });
    desk.pass(Duration::from_mins(1));
    desk.quiet();
    assert_eq!(desk.hub.sessions(), 1);
}

#[test]
fn the_replaced_one_hears_it_before_it_is_closed() {
    let mut desk = Desk::new();
    let (old, token) = sign_in(&mut desk, 1);
    desk.text(flow(2), &resume(&token, 0).to_string());
    desk.tells(old, &json!({"type": "closed", "reason": "replaced"}));
    desk.closes(old);
    assert_eq!(desk.sent().1["type"], "ok");
    desk.quiet();
}

#[test]
fn a_token_is_good_until_its_successor_is_used() {
    let mut desk = Desk::new();
    let (_, first) = sign_in(&mut desk, 1);
    desk.input(Input::Closed { flow: flow(1) });
    for slot in 2..5 {
        come_back(&mut desk, slot, &first, 0);
        desk.input(Input::Closed { flow: flow(slot) });
    }
    let (_, last) = come_back(&mut desk, 5, &first, 0);
    desk.input(Input::Closed { flow: flow(5) });
    come_back(&mut desk, 6, &last, 0);
    desk.out.clear();
    assert_eq!(desk.fails(flow(7), &resume(&first, 0)), "unknown_session");
    assert_eq!(desk.hub.sessions(), 1);
}

#[test]
fn tokens_of_others_of_the_past_and_of_nowhere_open_nothing() {
    let mut desk = Desk::new();
    let (_, token) = sign_in(&mut desk, 1);
    let mut forged = token.clone().into_bytes();
    forged[50] = if forged[50] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    // Shard 255 of a process that had more.
    let elsewhere = format!("_w{}", &token[2..]);
    for wrong in ["", "x", &forged, &elsewhere, &token[1..]] {
        assert_eq!(desk.fails(flow(2), &resume(wrong, 0)), "unknown_session", "{wrong}");
        if desk.out.len() == 1 {
            desk.closes(flow(2));
        }
    }
    desk.input(Input::Closed { flow: flow(1) });
    desk.pass(Duration::from_secs(20));
    desk.out.clear();
    assert_eq!(desk.fails(flow(3), &resume(&token, 0)), "unknown_session");
    assert_eq!(desk.hub.counters().resumes_refused, 2, "those that are read at all");
}

#[test]
fn a_session_is_resumed_from_any_shard() {
    let name =
        (0..50).map(|n| format!("user{n}")).find(|name| Account::from(name.as_str()).home(4) == ShardId(2));
    let name = name.unwrap();
    let mut home = Desk::on(ShardId(2), 4, |config| config.add_user(&name, "any", ""));
    let near = FlowId::new(ShardId(2), 0, 1);
    let token = home.does(near, &connect(&name, "any"))["resume"].as_str().unwrap().to_owned();
    home.input(Input::Closed { flow: near });

    let mut landing = Desk::on(ShardId(0), 4, |_| ());
    let request = resume(&token, 0).to_string();
    landing.text(flow(1), &request);
    let Output::Move { flow: moved, to, text, .. } = landing.next() else { panic!() };
    assert_eq!((to, &text), (ShardId(2), &request));
    home.input(Input::Opened { flow: moved, source: None });
    home.text(moved, &text);
    assert_eq!(home.sent().1["type"], "ok");
    // One that was moved is not moved on.
    let third = FlowId::new(ShardId(1), 0, 5);
    assert_eq!(landing.fails(third, &resume(&token, 0)), "unauthorized");
}

#[test]
fn a_request_sent_again_is_not_carried_out_again() {
    let mut desk = Desk::new();
    let (old, token) = sign_in(&mut desk, 1);
    let dial = json!({"type": "dial", "id": 2, "call": "a", "to": "echo", "sdp": OFFER});
    desk.text(old, &dial.to_string());
    desk.out.clear(); // the answer was lost with the connection
    desk.input(Input::Closed { flow: old });
    let (new, _) = come_back(&mut desk, 2, &token, 0);
    let mut again = dial.clone();
    again["again"] = json!(true);
    desk.does(new, &again);
    desk.quiet();
    // One that did not arrive is carried out now; a refusal is remembered as well.
    desk.does(new, &json!({"type": "hangup", "id": 3, "call": "a", "again": true}));
    desk.out.clear();
    let late = json!({"type": "hangup", "id": 4, "call": "a"});
    assert_eq!(desk.fails(new, &late), "unknown_call");
    let again = json!({"type": "hangup", "id": 4, "call": "a", "again": true});
    assert_eq!(desk.fails(new, &again), "unknown_call");
    assert_eq!(desk.hub.counters().requests_repeated, 2);
}

#[test]
fn an_update_across_a_lost_connection_is_answered_once_it_is_decided() {
    let mut desk = Desk::new();
    let (old, token) = sign_in(&mut desk, 1);
    let leg = desk.talk(old, "a");
    let mut update = json!({"type": "update", "id": 5, "call": "a", "sdp": OFFER});
    desk.text(old, &update.to_string());
    assert!(matches!(desk.event(), Event::Offered { .. }));
    desk.input(Input::Closed { flow: old });
    let (new, token) = come_back(&mut desk, 2, &token, 9);
    update["again"] = json!(true);
    desk.text(new, &update.to_string());
    desk.quiet();
    desk.input(Input::Closed { flow: new });
    desk.command(Command::Accept { leg, answer: sdp("7") });
    desk.quiet();
    let (new, _) = come_back(&mut desk, 3, &token, 9);
    assert!(desk.does(new, &update)["sdp"].as_str().unwrap().contains("o=- 7"));
    desk.quiet();
}

#[test]
fn too_much_while_nobody_listens_ends_the_session() {
    let mut desk = Desk::with(|config| config.max_events = 6);
    let (old, token) = sign_in(&mut desk, 1);
    // One that listens and acknowledges nothing loses only its past.
    for n in 0..9 {
        desk.talk(old, &format!("c{n}"));
    }
    assert_eq!(desk.hub.sessions(), 1);
    assert!(desk.hub.counters().events_forgotten > 0);
    desk.input(Input::Closed { flow: old });
    desk.out.clear();
    let asked = desk.hub.sessions.iter().next().map(|(_, session)| session.calls.clone()).unwrap();
    for (_, leg) in asked {
        desk.command(Command::Offer { leg, offer: sdp("5") });
    }
    assert_eq!(desk.hub.sessions(), 0);
    assert_eq!(desk.hub.counters().sessions_overflowed, 1);
    desk.out.clear();
    assert_eq!(desk.fails(flow(2), &resume(&token, 0)), "unknown_session");
}

#[test]
fn a_cursor_before_what_was_forgotten_ends_the_session() {
    let mut desk = Desk::with(|config| config.max_events = 3);
    let (old, token) = sign_in(&mut desk, 1);
    desk.talk(old, "a");
    let leg = desk.talk(old, "b");
    desk.input(Input::Closed { flow: old });
    assert_eq!(desk.hub.counters().events_forgotten, 1);
    desk.text(flow(2), &resume(&token, 0).to_string());
    assert!(
        desk.out
            .iter()
            .any(|output| matches!(output, Output::Event(Event::Ended { leg: ended, .. }) if *ended == leg))
    );
    assert_eq!(desk.hub.sessions(), 0);
}

#[test]
fn draining_lets_browsers_come_back() {
    let mut desk = Desk::new();
    let (old, token) = sign_in(&mut desk, 1);
    desk.talk(old, "a");
    desk.input(Input::Drain);
    desk.input(Input::Closed { flow: old });
    come_back(&mut desk, 2, &token, 9);
}

#[test]
fn signing_out_ends_everything_at_once() {
    let mut desk = Desk::new();
    let (alice, token) = sign_in(&mut desk, 1);
    let talking = desk.talk(alice, "a");
    desk.does(alice, &json!({"type": "register", "id": 2}));
    desk.next();
    desk.does(alice, &json!({"type": "disconnect", "id": 3}));
    desk.tells(alice, &json!({"type": "ended", "call": "a", "reason": "hangup", "code": 0}));
    assert_eq!(desk.ended(), (talking, Cause::Hangup.into()));
    desk.tells(alice, &json!({"type": "closed", "reason": "disconnected"}));
    assert!(matches!(desk.next(), Output::Unregister(_)));
    desk.closes(alice);
    assert_eq!((desk.hub.sessions(), desk.hub.counters().calls_lost), (0, 0));
    assert_eq!(desk.fails(flow(2), &resume(&token, 0)), "unknown_session");
}

#[test]
fn a_page_that_comes_back_hears_again_of_the_call_that_rings() {
    let mut desk = Desk::new();
    let (old, token) = sign_in(&mut desk, 1);
    let leg = desk.offer("alice");
    let seq = desk.sent().1["seq"].as_u64().unwrap();
    desk.command(Command::Offer { leg, offer: sdp("8") });
    desk.out.clear();
    desk.input(Input::Closed { flow: old });
    let ok = desk.does(flow(2), &resume(&token, seq + 1));
    let call = &ok["calls"][0];
    assert_eq!((&call["state"], &call["direction"]), (&json!("ringing"), &json!("incoming")));
    assert_eq!((&call["from"]["user"], &call["to"]), (&json!("+4930123"), &json!("alice")));
    assert_eq!(call["data"]["X-Case"], "7");
    assert!(call["sdp"].as_str().unwrap().contains("o=- 8"));
    desk.quiet();
    let key = call["call"].clone();
    desk.does(flow(2), &json!({"type": "answer", "id": 3, "call": key, "sdp": OFFER}));
    assert!(matches!(desk.event(), Event::Answered { .. }));
    // Once it is answered there is nothing to answer.
    let token = ok["resume"].as_str().unwrap().to_owned();
    desk.input(Input::Closed { flow: flow(2) });
    let ok = desk.does(flow(3), &resume(&token, seq + 1));
    assert_eq!((&ok["calls"][0]["state"], ok["calls"][0].get("sdp")), (&json!("answered"), None));
}

#[test]
fn who_was_away_when_a_call_came_hears_of_it_on_return() {
    let mut desk = Desk::new();
    let (old, token) = sign_in(&mut desk, 1);
    let other = desk.sign_in(2, "alice");
    desk.input(Input::Closed { flow: old });
    let (_, call) = desk.ring("alice", other);
    desk.quiet();
    desk.does(flow(3), &resume(&token, 0));
    let (to, event) = desk.sent();
    assert_eq!((to, &event["type"], &event["call"]), (flow(3), &json!("incoming"), &json!(call)));
    desk.quiet();
}

#[test]
fn a_page_that_comes_back_knows_who_holds_whom() {
    let mut desk = Desk::new();
    let (old, token) = sign_in(&mut desk, 1);
    let leg = desk.talk(old, "a");
    let back = |desk: &mut Desk, slot: u32, token: &str| {
        desk.input(Input::Closed { flow: flow(slot - 1) });
        desk.out.clear();
        let ok = desk.does(flow(slot), &resume(token, 99));
        let call = &ok["calls"][0];
        let holds = [call.get("on_hold").is_some(), call.get("held").is_some()];
        (holds, ok["resume"].as_str().unwrap().to_owned())
    };
    let (holds, token) = back(&mut desk, 2, &token);
    assert_eq!(holds, [false, false]);
    desk.text(flow(2), &json!({"type": "hold", "id": 5, "call": "a"}).to_string());
    desk.command(Command::Hold { leg, on: true, outcome: Ok(()) });
    desk.command(Command::Inform { leg, notice: Box::new(crate::leg::Notice::Held(true)) });
    let (holds, token) = back(&mut desk, 3, &token);
    assert_eq!(holds, [true, true]);
    // A refused resume leaves it as it was.
    desk.text(flow(3), &json!({"type": "resume", "id": 6, "call": "a"}).to_string());
    desk.command(Command::Hold { leg, on: false, outcome: Err(Cause::NotAcceptable.into()) });
    desk.command(Command::Inform { leg, notice: Box::new(crate::leg::Notice::Held(false)) });
    let (holds, _) = back(&mut desk, 4, &token);
    assert_eq!(holds, [true, false]);
}
