//! Limits, failover, rewriting and emergencies, as calls meet them.

use super::*;
use crate::call::{Member, NumberPlan, Quota, Rewrite};
use crate::leg::{Privacy, SessionId};

/// Two trunks and a route from the first to either of both, by priority.
fn grouped() -> Config {
    let member = |n: u16| Member { trunk: TrunkId(n), priority: n, weight: 1 };
    let mut config = config();
    config.routes[0].to = RouteTo::Group(vec![member(1), member(2)]);
    config.trunks.push(Trunk { name: "second".into(), ..Trunk::default() });
    config
}

fn unreachable() -> Reason {
    Reason::from_code(503)
}

#[test]
fn a_trunk_that_cant_be_reached_gives_way_to_the_next() {
    let mut bench = Bench::with(grouped(), 1);
    let (leg, first) = bench.trunk_dials(Some(&sip_sdp("8 0", "")));
    assert_eq!(first.target, Target::Trunk(TrunkId(1)));
    bench.progress(first.leg, 0, 100, None);
    bench.ended(first.leg, unreachable());
    let second = bench.dialled();
    assert_eq!((second.target.clone(), second.leg == first.leg), (Target::Trunk(TrunkId(2)), false));
    // The caller's offer as before, by the second one's policy.
    assert_eq!(listed(&second.offer), ["8 pcma/8000", "0 pcmu/8000"]);
    bench.ended(second.leg, unreachable());
    assert_eq!(bench.takes_end(leg).cause, Cause::Unreachable);
    assert_eq!(bench.calls.counters().rerouted, 1);
    bench.empty(1);
    assert_eq!(bench.records[0].target, Some(Target::Trunk(TrunkId(2))));
}

#[test]
fn a_browsers_call_goes_on_to_the_next_trunk_without_a_second_answer() {
    let mut config = grouped();
    config.routes[0].from = RouteFrom::Any;
    config.routes[0].called = Pattern::default();
    let mut bench = Bench::with(config, 1);
    let (leg, first) = bench.browser_dials(&web_offer());
    bench.ended(first.leg, unreachable());
    let second = bench.dialled();
    assert_eq!(second.target, Target::Trunk(TrunkId(2)));
    assert!(listed(&second.offer).contains(&"0 pcmu/8000".to_owned()));
    bench.ended(second.leg, Reason::from_code(486));
    assert_eq!(bench.takes_end(leg), Reason::new(Cause::Busy, 486));
    bench.empty(1);
}

#[test]
fn a_callee_that_was_reached_or_heard_is_not_left_for_another() {
    for (code, progress) in [(486, None), (603, None), (503, Some(180)), (503, Some(183))] {
        let mut bench = Bench::with(grouped(), 1);
        let (leg, first) = bench.trunk_dials(Some(&sip_sdp("0", "")));
        if let Some(progress) = progress {
            bench.progress(first.leg, 0, progress, None);
            bench.next_leg();
        }
        bench.ended(first.leg, Reason::from_code(code));
        bench.takes_end(leg);
        assert_eq!(bench.calls.counters().rerouted, 0, "{code} {progress:?}");
        bench.empty(1);
    }
}

#[test]
fn a_silent_trunk_is_left_and_told() {
    let mut bench = Bench::with(grouped(), 1);
    let (_, first) = bench.trunk_dials(Some(&sip_sdp("0", "")));
    bench.wait(Duration::from_secs(6));
    assert!(matches!(bench.next_leg(), Command::End { leg, .. } if leg == first.leg));
    assert_eq!(bench.dialled().target, Target::Trunk(TrunkId(2)));
    // What the first one says now is nobody's.
    let before = bench.calls.counters().stray;
    bench.progress(first.leg, 0, 180, None);
    assert_eq!((bench.calls.counters().stray, bench.legs.len()), (before + 1, 0));
}

#[test]
fn a_full_trunk_is_passed_over_and_full_routes_refuse() {
    let mut config = grouped();
    config.calls = 9;
    config.trunks[1].quota = Arc::new(Quota::new(Some(1), None));
    config.routes[0].quota = Arc::new(Quota::new(Some(2), None));
    let (trunk, route) = (config.trunks[1].quota.clone(), config.routes[0].quota.clone());
    let mut bench = Bench::with(config, 1);
    let (first, one) = bench.trunk_dials(Some(&sip_sdp("0", "")));
    let (second, two) = bench.trunk_dials(Some(&sip_sdp("0", "")));
    assert_eq!((one.target, two.target), (Target::Trunk(TrunkId(1)), Target::Trunk(TrunkId(2))));
    let third = bench.incoming(Side::Sip, Source::Trunk(TrunkId(0)), dialled("+49"), Some(&sip_sdp("0", "")));
    assert_eq!(bench.takes_end(third), Cause::Overloaded.into());
    assert_eq!((trunk.held(), route.held(), bench.calls.counters().refused_limit), (1, 2, 2));
    for leg in [first, second] {
        bench.ended(leg, Cause::Cancelled.into());
    }
    assert_eq!((trunk.held(), route.held()), (0, 0));
}

#[test]
fn a_trunk_that_was_left_has_its_place_back() {
    let mut config = grouped();
    config.trunks[1].quota = Arc::new(Quota::new(Some(1), None));
    let quota = config.trunks[1].quota.clone();
    let mut bench = Bench::with(config, 1);
    let (_, first) = bench.trunk_dials(Some(&sip_sdp("0", "")));
    assert_eq!(quota.held(), 1);
    bench.ended(first.leg, unreachable());
    assert_eq!((quota.held(), bench.dialled().target), (0, Target::Trunk(TrunkId(2))));
}

#[test]
fn emergency_calls_go_over_every_limit_but_the_drain() {
    let mut config = config();
    (config.calls, config.emergency_calls, config.calls_per_account) = (1, 1, 1);
    let none = || Arc::new(Quota::new(Some(0), Some(1)));
    config.trunks[0].quota = none();
    config.routes.insert(
        0,
        Route {
            called: Pattern::prefix("112"),
            to: RouteTo::Trunk(TrunkId(0)),
            emergency: true,
            quota: none(),
            ..Route::default()
        },
    );
    let mut bench = Bench::with(config, 1);
    let calls = |bench: &mut Bench, number: &str| {
        bench.incoming(Side::Web, Source::Account("alice".into()), dialled(number), Some(&web_offer()))
    };
    bench.push(Input::Overload(true));
    let other = calls(&mut bench, "bob");
    assert_eq!(bench.takes_end(other), Cause::Overloaded.into());
    for n in 0..2 {
        calls(&mut bench, "112");
        bench.next_leg();
        assert_eq!(bench.dialled().callee.user, "112", "{n}");
    }
    // Memory is no matter of policy.
    let third = calls(&mut bench, "112");
    assert_eq!(bench.takes_end(third), Cause::Overloaded.into());
}

#[test]
fn numbers_are_normalised_matched_and_rewritten() {
    let mut config = config();
    let plan = NumberPlan { country: "49".into(), national: "0".into(), international: "00".into() };
    config.trunks[0].dialled = Some(plan);
    config.routes[0].called = Pattern::prefix("+4930");
    config.routes[0].rewrite_called = Some(Rewrite { strip: 1, ..Rewrite::default() });
    config.routes[0].rewrite_calling = Some(Rewrite { prepend: "9".into(), ..Rewrite::default() });
    let mut bench = Bench::with(config, 1);
    let offer = sip_sdp("0", "");
    let leg = bench.incoming(Side::Sip, Source::Trunk(TrunkId(0)), dialled("030 1234567"), Some(&offer));
    let dial = bench.dialled();
    assert_eq!((dial.callee.user.as_str(), dial.caller.user.as_str()), ("49301234567", "9caller"));
    assert_eq!(dial.carried.presented.as_deref(), Some("9caller"));
    bench.ended(leg, Cause::Cancelled.into());
    assert_eq!(bench.records[0].callee.user, "+49301234567");
}

#[test]
fn a_route_decides_on_codecs_and_their_order() {
    let offer = sip_sdp("0 8 9", "a=rtpmap:9 G722/8000\r\n");
    for (codecs_, denied, wanted) in [
        (vec!["pcma", "pcmu"], vec![], vec!["8 pcma/8000", "0 pcmu/8000"]),
        (vec![], vec!["pcmu"], vec!["8 pcma/8000"]),
        (vec!["g722"], vec![], vec![]),
    ] {
        let mut config = config();
        config.routes[0].codecs = if codecs_.is_empty() { Vec::new() } else { codecs(&codecs_) };
        config.routes[0].denied = denied.iter().filter_map(|name| crate::sdp::Codec::named(name)).collect();
        let mut bench = Bench::with(config, 1);
        let leg = bench.incoming(Side::Sip, Source::Trunk(TrunkId(0)), dialled("+49"), Some(&offer));
        if wanted.is_empty() {
            // The second trunk doesn't have it.
            assert_eq!(bench.takes_end(leg), Cause::NotAcceptable.into());
        } else {
            assert_eq!(listed(&bench.dialled().offer), wanted);
        }
    }
}

#[test]
fn a_call_ends_when_its_route_says_so() {
    let mut config = config();
    config.routes[0].longest = Some(Duration::from_secs(90));
    config.media_timeout = None;
    let mut bench = Bench::with(config, 1);
    let (leg, dial) = bench.trunk_dials(Some(&sip_sdp("0", "")));
    bench.wait(Duration::from_secs(4));
    bench.event(Event::Answered { leg: dial.leg, fork: Fork(0), answer: Some(parsed(&sip_sdp("0", ""))) });
    assert!(matches!(bench.next_leg(), Command::Answer { .. }));
    bench.wait(Duration::from_secs(89));
    assert!(bench.legs.is_empty());
    bench.wait(Duration::from_secs(1));
    assert_eq!(bench.takes_end(dial.leg), Cause::Expired.into());
    assert_eq!(bench.takes_end(leg), Cause::Expired.into());
    assert_eq!(bench.calls.counters().too_long, 1);
}

#[test]
fn a_browser_is_not_told_who_calls_in_private() {
    let mut bench = Bench::new();
    let leg = bench.leg(Side::Sip);
    let mut carried = Box::<crate::leg::Carried>::default();
    carried.privacy = Privacy { id: true, ..Privacy::default() };
    bench.event(Event::Incoming(Box::new(Incoming {
        replaces: None,
        leg,
        source: Source::Trunk(TrunkId(0)),
        identity: None,
        caller: Party { user: "+4930".into(), ..Party::default() },
        callee: Callee::Account("bob".into()),
        offer: Some(parsed(&sip_sdp("0", ""))),
        hops: 70,
        key: "k".into(),
        data: Vec::new(),
        carried,
        reliable: false,
    })));
    assert_eq!(bench.dialled().caller, Party::default());
    bench.ended(leg, Cause::Cancelled.into());
    // The operator's record has it.
    assert_eq!(bench.records[0].caller.user, "+4930");
}

#[test]
fn both_parties_bear_each_others_half_of_the_session_id() {
    let (near, far): (SessionId, SessionId) =
        ("a".repeat(32).parse().unwrap(), "b".repeat(32).parse().unwrap());
    let mut bench = Bench::new();
    let (leg, dial) = bench.trunk_dials(Some(&sip_sdp("0", "")));
    // The caller had none: the called party is told one of ours.
    let made = dial.carried.session.unwrap();
    bench.event(Event::Named { leg: dial.leg, session: far });
    assert!(
        matches!(bench.named.make_contiguous()[..], [Command::Named { leg: to, session }] if to == leg && session == far)
    );
    bench.event(Event::Named { leg, session: near });
    assert!(
        matches!(bench.named[1], Command::Named { leg: to, session } if to == dial.leg && session == near)
    );
    bench.ended(leg, Cause::Cancelled.into());
    assert_eq!(bench.records[0].sessions, [Some(near), Some(far)]);
    assert_ne!(made, near);
    // A browser that is called has one of ours, and its caller hears of it at once.
    let mut bench = Bench::new();
    let (leg, _) = bench.browser_is_called(Some(&sip_sdp("0", "")));
    assert!(matches!(bench.named.make_contiguous()[..], [Command::Named { leg: to, .. }] if to == leg));
}
