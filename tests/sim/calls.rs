//! Calls one by one, over a network without faults: what must simply work.

use crate::phone::State;
use crate::scenario::Step;
use crate::script::Script;
use crate::world::{CARRIER, PBX, Plan, World};
use std::time::Duration;

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[test]
fn a_phone_calls_a_phone_and_both_are_heard() {
    for shards in 1..=3 {
        let mut world = World::new(&Plan::clean(1, shards));
        world.phones[CARRIER].scripts.insert("x1".into(), Script::new(1));
        world.step(Step::PhoneDials { phone: PBX, script: Script::new(1), to: "x1".into() });
        world.run(seconds(5));
        let (caller, callee) = (&world.phones[PBX].legs[0], &world.phones[CARRIER].legs[0]);
        assert_eq!((caller.state, callee.state), (State::Up, State::Up));
        assert!(caller.media.heard > 50 && callee.media.heard > 50);
        world.finish();
        assert_eq!(world.gateway.records.len(), 1);
    }
}

#[test]
fn a_page_calls_a_phone_and_both_are_heard() {
    for shards in 1..=3 {
        let mut world = World::new(&Plan::clean(2, shards));
        world.phones[PBX].scripts.insert("p1".into(), Script { challenge: true, ..Script::new(1) });
        let page = world.page("alice");
        world.run(seconds(1));
        assert!(world.pages[page].registered);
        world.step(Step::PageDials { page, script: Script::new(1), to: "p1".into() });
        world.run(seconds(5));
        let heard = world.pages[page].calls[0].peer.as_ref().map_or(0, |peer| peer.media.heard);
        assert!(heard > 40, "the page heard {heard}");
        assert!(world.phones[PBX].legs[0].media.heard > 40);
        world.finish();
        assert_eq!(world.pages[page].calls[0].reason, "hangup");
    }
}

#[test]
fn a_phone_calls_a_page_and_both_are_heard() {
    for shards in 1..=3 {
        let mut world = World::new(&Plan::clean(3, shards));
        let page = world.page("alice");
        world.pages[page].scripts.insert("c1".into(), Script::new(1));
        world.run(seconds(1));
        world.step(Step::PhoneDialsUser { script: Script::new(1), user: "alice".into() });
        world.run(seconds(5));
        let heard = world.pages[page].calls[0].peer.as_ref().map_or(0, |peer| peer.media.heard);
        assert!(heard > 40, "the page heard {heard}");
        assert!(world.phones[PBX].legs[0].media.heard > 40);
        world.finish();
    }
}

#[test]
fn a_page_calls_another_page_by_way_of_the_server() {
    for shards in 1..=3 {
        let mut world = World::new(&Plan::clean(4, shards));
        let (alice, bob) = (world.page("alice"), world.page("bob"));
        world.phones[PBX].forwards.insert("p1".into(), "bob".into());
        world.pages[bob].scripts.insert("alice".into(), Script::new(1));
        world.run(seconds(1));
        world.step(Step::PageDials { page: alice, script: Script::new(1), to: "p1".into() });
        world.run(seconds(5));
        for page in [alice, bob] {
            let heard = world.pages[page].calls[0].peer.as_ref().map_or(0, |peer| peer.media.heard);
            assert!(heard > 30, "page {page} heard {heard}");
        }
        world.finish();
        assert_eq!(world.gateway.records.len(), 2);
    }
}
