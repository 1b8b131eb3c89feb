//! A user's several tabs ring together.

use super::*;

struct Tabs {
    desk: Desk,
    flows: Vec<FlowId>,
    leg: LegId,
    call: String,
}

/// So many tabs of a user, at all of which a call rings.
fn ringing(count: u32) -> Tabs {
    let mut desk = Desk::new();
    let tabs: Vec<FlowId> = (1..=count).map(|slot| desk.sign_in(slot, "bob")).collect();
    let leg = desk.offer("bob");
    let mut rung = Vec::new();
    let mut call = String::new();
    for _ in 0..count {
        let (to, event) = desk.sent();
        assert_eq!(event["type"], "incoming");
        assert!(event["sdp"].as_str().unwrap().contains("o=- 3"), "the same offer to all");
        event["call"].as_str().unwrap().clone_into(&mut call);
        rung.push(to);
    }
    rung.sort();
    assert_eq!(rung, tabs);
    desk.quiet();
    Tabs { desk, flows: tabs, leg, call }
}

fn ended(call: &str, reason: &str, code: u16) -> Value {
    json!({"type": "ended", "call": call, "reason": reason, "code": code})
}

#[test]
fn the_first_answer_wins_and_the_others_hear_it() {
    let Tabs { mut desk, flows: tabs, leg, call } = ringing(3);
    // All alert their user; the caller hears it once.
    let alerts = json!({"type": "ringing", "id": 2, "call": call});
    desk.does(tabs[0], &alerts);
    assert!(matches!(desk.event(), Event::Progress { code: 180, .. }));
    desk.does(tabs[1], &alerts);
    desk.does(tabs[2], &alerts);
    desk.does(tabs[1], &json!({"type": "answer", "id": 3, "call": call, "sdp": OFFER}));
    desk.tells(tabs[2], &ended(&call, "answered_elsewhere", 0));
    desk.tells(tabs[0], &ended(&call, "answered_elsewhere", 0));
    assert!(matches!(desk.event(), Event::Answered { leg: answered, .. } if answered == leg));
    desk.quiet();
    // A race: another one's answer was on its way.
    let late = json!({"type": "answer", "id": 3, "call": call, "sdp": OFFER});
    assert_eq!(desk.fails(tabs[0], &late), "unknown_call");
    assert_eq!(desk.fails(tabs[2], &json!({"type": "hangup", "id": 4, "call": call})), "unknown_call");
    desk.quiet();
    // The others' ends don't touch the call; the winner's hang-up does.
    desk.does(tabs[2], &json!({"type": "disconnect", "id": 9}));
    desk.out.clear();
    desk.does(tabs[1], &json!({"type": "hangup", "id": 5, "call": call}));
    desk.tells(tabs[1], &ended(&call, "hangup", 0));
    assert_eq!(desk.ended().0, leg);
}

#[test]
fn a_caller_that_gives_up_is_heard_by_all() {
    let Tabs { mut desk, flows: tabs, leg, call } = ringing(2);
    desk.command(Command::End { leg, reason: Cause::Cancelled.into() });
    desk.tells(tabs[1], &ended(&call, "cancelled", 487));
    desk.tells(tabs[0], &ended(&call, "cancelled", 487));
    desk.quiet();
    assert_eq!(desk.hub.calls(), 0);
}

#[test]
fn one_that_is_busy_lets_the_others_ring_and_the_last_ends_it() {
    let Tabs { mut desk, flows: tabs, leg, call } = ringing(3);
    let busy = json!({"type": "reject", "id": 2, "call": call, "reason": "busy"});
    for place in [2, 0] {
        desk.does(tabs[place], &busy);
        desk.tells(tabs[place], &ended(&call, "busy", 486));
        desk.quiet();
    }
    desk.does(tabs[1], &busy);
    desk.tells(tabs[1], &ended(&call, "busy", 486));
    assert_eq!(desk.ended(), (leg, Cause::Busy.into()));
}

#[test]
fn one_that_declines_declines_for_all() {
    let Tabs { mut desk, flows: tabs, leg, call } = ringing(2);
    desk.does(tabs[0], &json!({"type": "reject", "id": 2, "call": call}));
    desk.tells(tabs[1], &ended(&call, "declined", 603));
    desk.tells(tabs[0], &ended(&call, "declined", 603));
    assert_eq!(desk.ended(), (leg, Cause::Declined.into()));
}

#[test]
fn a_tab_that_goes_takes_the_call_along_only_if_it_is_the_last() {
    let Tabs { mut desk, flows: tabs, leg, call } = ringing(2);
    desk.input(Input::Closed { flow: tabs[1] });
    desk.pass(Duration::from_mins(2));
    desk.quiet();
    desk.does(tabs[0], &json!({"type": "disconnect", "id": 2}));
    desk.tells(tabs[0], &ended(&call, "no_answer", 480));
    assert_eq!(desk.ended(), (leg, Cause::NoAnswer.into()));
}

#[test]
fn a_newer_offer_reaches_all_that_ring() {
    let Tabs { mut desk, flows: tabs, leg, call } = ringing(2);
    desk.command(Command::Offer { leg, offer: sdp("8") });
    for tab in [tabs[1], tabs[0]] {
        let (to, update) = desk.sent();
        assert_eq!((to, &update["type"], &update["call"]), (tab, &json!("update"), &json!(call)));
    }
    desk.quiet();
}

#[test]
fn registered_tabs_ring_rather_than_others_and_nobody_where_none_is_there() {
    let mut desk = Desk::new();
    let nobody = desk.offer("bob");
    assert_eq!(desk.ended(), (nobody, Reason::new(Cause::NoAnswer, 480)));
    let first = desk.sign_in(1, "bob");
    let second = desk.sign_in(2, "bob");
    desk.does(first, &json!({"type": "register", "id": 2}));
    assert!(matches!(desk.next(), Output::Register(..)));
    desk.ring("bob", first);
    desk.quiet();
    desk.input(Input::Closed { flow: first });
    desk.ring("bob", second);
    desk.quiet();
    desk.input(Input::Closed { flow: second });
    let leg = desk.offer("bob");
    assert_eq!(desk.ended(), (leg, Cause::NoAnswer.into()));
    assert_eq!(desk.hub.counters().nobody_home, 2);
}

#[test]
fn a_tab_that_signs_in_while_a_call_rings_rings_too_and_may_win() {
    let Tabs { mut desk, flows: tabs, leg, call } = ringing(1);
    desk.command(Command::Offer { leg, offer: sdp("8") });
    desk.out.clear();
    let late = desk.sign_in(7, "bob");
    let (to, event) = desk.sent();
    assert_eq!((to, &event["type"], &event["call"]), (late, &json!("incoming"), &json!(call)));
    assert_eq!((&event["from"]["display"], &event["data"]["X-Case"]), (&json!("Some One"), &json!("7")));
    assert!(event["sdp"].as_str().unwrap().contains("o=- 8"), "the newest offer: {event}");
    desk.quiet();
    // Other users' tabs don't.
    desk.sign_in(8, "alice");
    desk.quiet();
    desk.does(late, &json!({"type": "answer", "id": 3, "call": call, "sdp": OFFER}));
    desk.tells(tabs[0], &ended(&call, "answered_elsewhere", 0));
    assert!(matches!(desk.event(), Event::Answered { leg: answered, .. } if answered == leg));
    // Nothing rings any more for the next one.
    desk.sign_in(9, "bob");
    desk.quiet();
}

#[test]
fn a_late_tab_rings_once_it_registers_where_registered_tabs_ring() {
    let mut desk = Desk::new();
    let first = desk.sign_in(1, "bob");
    desk.does(first, &json!({"type": "register", "id": 2}));
    assert!(matches!(desk.next(), Output::Register(..)));
    let (leg, call) = desk.ring("bob", first);
    let late = desk.sign_in(2, "bob");
    desk.quiet();
    desk.does(late, &json!({"type": "register", "id": 2}));
    let (to, event) = desk.sent();
    assert_eq!((to, &event["type"], &event["call"]), (late, &json!("incoming"), &json!(call)));
    // Busy is said for good, whatever is asked for later.
    desk.does(late, &json!({"type": "reject", "id": 3, "call": call, "reason": "busy"}));
    desk.tells(late, &ended(&call, "busy", 486));
    desk.does(late, &json!({"type": "register", "id": 4}));
    desk.quiet();
    desk.command(Command::End { leg, reason: Cause::Cancelled.into() });
    desk.tells(first, &ended(&call, "cancelled", 487));
    desk.quiet();
}

#[test]
fn a_late_tab_that_has_no_room_for_a_call_does_not_ring() {
    let mut desk = Desk::with(|config| config.max_calls_per_session = 1);
    let first = desk.sign_in(1, "bob");
    let second = desk.sign_in(2, "bob");
    desk.dial(second, "a");
    let (leg, call) = desk.ring("bob", first);
    desk.does(second, &json!({"type": "register", "id": 3}));
    assert!(matches!(desk.next(), Output::Register(..)));
    desk.quiet();
    desk.command(Command::End { leg, reason: Cause::Cancelled.into() });
    desk.tells(first, &ended(&call, "cancelled", 487));
    desk.quiet();
}
