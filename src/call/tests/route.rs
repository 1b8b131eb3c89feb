//! Which route a call takes.

use super::*;
use crate::call::route::{Asked, Found, Hours, Member};
use crate::call::{Pattern, RouteTo};
use crate::leg::Data;
use jiff::tz::{Offset, TimeZone};
use regex::Regex;

const DAY: u64 = 86_400;
/// 2024-01-01 00:00 UTC, a Monday.
const MONDAY: u64 = 1_704_067_200;

fn trunk(n: u16) -> RouteTo {
    RouteTo::Trunk(TrunkId(n))
}

fn asked<'a>(source: &'a Source, called: &'a str, headers: &'a Data) -> Asked<'a> {
    let (side, calling) = (Side::Web, "alice");
    Asked { source, side, home: None, called, calling, headers, unix: Duration::from_secs(MONDAY) }
}

fn route(from: RouteFrom, prefix: &str, to: RouteTo) -> Route {
    Route { from, called: Pattern::prefix(prefix), to, ..Route::default() }
}

#[test]
fn the_first_route_that_matches_wins_and_users_have_a_trunk_of_their_own() {
    let mut config = Config {
        routes: vec![
            route(RouteFrom::Accounts, "+49", trunk(1)),
            route(RouteFrom::Trunk(TrunkId(0)), "", trunk(2)),
            route(RouteFrom::Any, "0900", RouteTo::Reject(Cause::Forbidden.into())),
        ],
        ..Config::default()
    };
    config.homes.insert("alice".into(), TrunkId(3));
    let (alice, bob) = (Source::Account("alice".into()), Source::Account("bob".into()));
    let (none, first, second) = (Data::new(), Source::Trunk(TrunkId(0)), Source::Trunk(TrunkId(1)));
    let find = |config: &Config, source: &Source, home: Option<u16>, called: &str| {
        let home = home.map(TrunkId);
        config.route(&Asked { home, ..asked(source, called, &none) }).map(|found| found.to)
    };
    assert_eq!(find(&config, &alice, None, "+4930"), Some(trunk(1)));
    assert_eq!(find(&config, &alice, None, "0900"), Some(RouteTo::Reject(Cause::Forbidden.into())));
    assert_eq!(find(&config, &alice, None, "bob"), Some(trunk(3)));
    assert_eq!(find(&config, &bob, None, "alice"), None);
    assert_eq!(find(&config, &bob, Some(2), "alice"), Some(trunk(2)));
    assert_eq!(find(&config, &bob, Some(2), "+4930"), Some(trunk(1)));
    config.default_trunk = Some(TrunkId(4));
    assert_eq!(find(&config, &bob, None, "alice"), Some(trunk(4)));
    assert_eq!(find(&config, &first, None, "0900"), Some(trunk(2)));
    assert_eq!(find(&config, &second, None, "+49"), None);
}

#[test]
fn every_condition_must_hold() {
    let alice = Source::Account("alice".into());
    let header = |value: &str| vec![("x-tier".to_owned(), value.to_owned())];
    let mut config = Config {
        routes: vec![Route {
            calling: Pattern::prefix("al"),
            header: Some(("X-Tier".into(), Regex::new("^gold|silver$").unwrap())),
            ..route(RouteFrom::Account("alice".into()), "0", trunk(1))
        }],
        ..Config::default()
    };
    let cases = [
        ("alice", "0", "gold", None),
        ("bob", "0", "gold", Some("it comes from elsewhere")),
        ("alice", "1", "gold", Some("the called number is another")),
        ("alice", "0", "lead", Some("the header is missing or says something else")),
    ];
    for (user, called, tier, why) in cases {
        let (source, headers) = (Source::Account(user.into()), header(tier));
        let misses = config.mismatches(&asked(&source, called, &headers));
        assert_eq!(misses.first().map(|(_, why)| *why), why, "{user} {called} {tier}");
    }
    let headers = header("silver");
    let other = Asked { calling: "bob", ..asked(&alice, "0", &headers) };
    assert_eq!(config.mismatches(&other)[0].1, "the calling number is another");
    assert_eq!(config.route(&other), None);
    config.routes.push(Route::default());
    assert_eq!(config.route(&other), Some(Found { route: Some(1), to: RouteTo::default() }));
}

#[test]
fn users_are_told_apart_by_how_they_came() {
    let none = Data::new();
    let mut config = Config {
        routes: vec![
            route(RouteFrom::Tokens, "", trunk(1)),
            route(RouteFrom::Phones, "", trunk(2)),
            route(RouteFrom::Browsers, "", trunk(3)),
        ],
        ..Config::default()
    };
    config.users.insert("alice".into());
    for (user, side, wanted) in
        [("guest", Side::Web, 1), ("guest", Side::Sip, 1), ("alice", Side::Sip, 2), ("alice", Side::Web, 3)]
    {
        let source = Source::Account(user.into());
        let found = config.route(&Asked { side, ..asked(&source, "1", &none) }).unwrap();
        assert_eq!(found.to, trunk(wanted), "{user}");
    }
    let carrier = Source::Trunk(TrunkId(0));
    assert_eq!(config.route(&Asked { side: Side::Sip, ..asked(&carrier, "1", &none) }), None);
}

#[test]
fn routes_are_open_by_the_clocks_of_their_place() {
    let east = TimeZone::fixed(Offset::from_seconds(2 * 3600).unwrap());
    let days = [true, true, true, true, true, false, false];
    let office = Hours { days, from: 8 * 60, until: 18 * 60, zone: east.clone() };
    let night = Hours { days, from: 22 * 60, until: 6 * 60, zone: east };
    for (day, hour, is_office, is_night) in [
        (0, 6, true, false),
        (0, 5, false, false),
        (0, 15, true, false),
        (0, 16, false, false),
        (0, 20, false, true),
        // Tuesday, one o'clock there.
        (0, 23, false, true),
        // Friday's night ends on Saturday.
        (5, 3, false, true),
        (5, 4, false, false),
        (5, 21, false, false),
        // Monday, one o'clock there: Sunday's night is none.
        (6, 23, false, false),
    ] {
        let at = Duration::from_secs(MONDAY + day * DAY + hour * 3600);
        assert_eq!((office.has(at), night.has(at)), (is_office, is_night), "day {day}, {hour} o'clock");
    }
}

#[test]
fn trunks_are_tried_by_priority_and_share_by_weight() {
    let member = |n: u16, priority: u16, weight: u16| Member { trunk: TrunkId(n), priority, weight };
    let group = RouteTo::Group(vec![member(9, 2, 1), member(1, 1, 3), member(2, 1, 1), member(3, 1, 0)]);
    let mut random = Random::from_number(7);
    let mut firsts = [0; 4];
    for _ in 0..4_000 {
        let order = group.order(&mut random);
        assert_eq!((order.len(), order[2], order[3]), (4, TrunkId(3), TrunkId(9)));
        firsts[usize::from(order[0].0)] += 1;
    }
    assert!((2_800..3_200).contains(&firsts[1]) && firsts[1] + firsts[2] == 4_000, "{firsts:?}");
}
