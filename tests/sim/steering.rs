//! Traffic that lands on another shard than the one where its state lives.

use crate::message::Read;
use crate::net::Net;

/// Notes what it was that went astray.
pub fn note(net: &mut Net, data: &[u8], again: bool) {
    let Some(read) = Read::parse(data) else { return };
    let state = match (read.method.as_str(), read.is_request(), read.to_tag.is_empty()) {
        (_, false, _) => "wrong_shard_response",
        ("CANCEL", ..) => "wrong_shard_cancel",
        ("INVITE", _, true) if read.cseq > 1 => "wrong_shard_invite_after_refusal",
        ("INVITE", _, true) => {
            if again {
                net.states.reach("wrong_shard_invite_again");
            }
            "wrong_shard_invite"
        }
        (_, _, false) => "wrong_shard_in_dialog",
        _ => return,
    };
    if state == "wrong_shard_response" && read.method == "INVITE" && read.cseq > 1 {
        net.states.reach("wrong_shard_response_after_challenge");
    }
    net.states.reach(state);
}

#[cfg(test)]
mod tests {
    use crate::browser;
    use crate::gateway::Astray;
    use crate::message::Read;
    use crate::net::{Fate, ms};
    use crate::phone::State;
    use crate::scenario::Step;
    use crate::script::{Script, Then};
    use crate::world::{CARRIER, PBX, Plan, World};
    use bridgehead::leg::Account;
    use std::time::Duration;

    fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A world in which what `astray` says lands on a wrong shard, and everything else at home.
    fn world(shards: u8, astray: impl FnMut(&Read) -> bool + Send + 'static) -> World {
        let mut world = World::new(&Plan::clean(u64::from(shards), shards));
        let astray: Astray = Box::new(astray);
        world.gateway.astray = Some(astray);
        world
    }

    /// A phone calls a phone.
    fn dial(world: &mut World, caller: Script, callee: Script) {
        world.phones[CARRIER].scripts.insert("x1".into(), callee);
        world.step(Step::PhoneDials { phone: PBX, script: caller, to: "x1".into() });
    }

    /// All state of the one call is on one shard.
    fn assert_one_home(world: &World) {
        let cores = || (0..world.gateway.shards()).map(|shard| world.gateway.core(shard));
        let calls: Vec<usize> = cores().map(bridgehead::shard::Core::calls).collect();
        let dialogs: Vec<usize> = cores().map(|core| core.stack().dialogs()).collect();
        let media: Vec<usize> = cores().map(|core| core.plane().len()).collect();
        assert_eq!(calls.iter().sum::<usize>(), 1, "{calls:?}");
        for shard in 0..calls.len() {
            let expected = 2 * calls[shard];
            assert_eq!((dialogs[shard], media[shard]), (expected, expected), "shard {shard}");
        }
    }

    fn assert_talking(world: &World) {
        let (caller, callee) = (&world.phones[PBX].legs[0], &world.phones[CARRIER].legs[0]);
        assert_eq!((caller.state, callee.state), (State::Up, State::Up));
        assert!(caller.media.heard > 20 && callee.media.heard > 20);
        assert_eq!((world.phones[PBX].legs.len(), world.phones[CARRIER].legs.len()), (1, 1));
        assert_one_home(world);
    }

    fn steered(world: &World) -> u64 {
        world.gateway.counter("shard", "steered_sip")
    }

    #[test]
    fn an_invite_that_comes_again_on_another_shard_meets_its_first() {
        for (shards, first_astray) in [(2, false), (3, false), (2, true), (3, true)] {
            let mut seen = 0;
            let mut world = world(shards, move |read| {
                seen += u32::from(read.is_request() && read.method == "INVITE");
                read.is_request() && read.method == "INVITE" && (seen == 1) == first_astray
            });
            world.net.filter = Some(Box::new(|datagram| {
                let ours = datagram.data.starts_with(b"INVITE") && datagram.to == crate::net::gateway_sip();
                if ours { Fate::Twice } else { Fate::AsTheLinkSays }
            }));
            dial(&mut world, Script::new(1), Script::new(1));
            world.run(seconds(4));
            assert_talking(&world);
            assert_eq!(steered(&world), 1);
            world.finish();
            assert_eq!(world.gateway.records.len(), 1);
        }
    }

    #[test]
    fn cancel_on_another_shard_ends_its_invite() {
        for shards in [2, 3] {
            let mut world = world(shards, |read| read.is_request() && read.method == "CANCEL");
            let caller = Script { cancel: Some(seconds(1)), ..Script::new(1) };
            dial(&mut world, caller, Script { then: Then::RingOn, ..Script::new(1) });
            world.run(ms(900));
            assert_one_home(&world);
            world.run(seconds(2));
            let (caller, callee) = (&world.phones[PBX].legs[0], &world.phones[CARRIER].legs[0]);
            assert_eq!((caller.code, caller.state), (487, State::Over));
            assert!(callee.is_over() && callee.cancelling);
            assert_eq!(steered(&world), 1);
            world.finish();
        }
    }

    #[test]
    fn an_invite_after_a_refusal_goes_where_the_first_went() {
        for shards in [2, 3] {
            let mut world =
                world(shards, |read| read.is_request() && read.method == "INVITE" && read.cseq > 1);
            let refused = Script { then: Then::Refuse(ms(100), 486), ..Script::new(1) };
            dial(&mut world, Script { again: true, ..Script::new(1) }, refused);
            world.run(seconds(4));
            assert_eq!(steered(&world), 1);
            let homes: Vec<_> = world.gateway.records.iter().map(|record| record.incoming.shard()).collect();
            assert_eq!(homes.len(), 2);
            assert_eq!(homes[0], homes[1]);
            world.finish();
        }
    }

    #[test]
    fn a_challenge_on_another_shard_is_met_by_who_asked() {
        for shards in [2, 3] {
            // The challenge, and every response to the signed INVITE.
            let mut world = world(shards, |read| !read.is_request() && read.method == "INVITE");
            dial(&mut world, Script::new(1), Script { challenge: true, ..Script::new(1) });
            world.run(seconds(4));
            assert_talking(&world);
            assert!(steered(&world) >= 4, "{}", steered(&world));
            assert_eq!(world.net.states.count("invite_challenged"), 1);
            world.finish();
        }
    }

    #[test]
    fn requests_in_a_dialog_find_it_from_any_shard() {
        for shards in [2, 3] {
            for hangs_up in [PBX, CARRIER] {
                let mut world = world(shards, |read| read.is_request() && !read.to_tag.is_empty());
                let caller = Script { hold: Some(seconds(1)), ..Script::new(1) };
                dial(&mut world, caller, Script::new(1));
                world.run(seconds(4));
                assert_one_home(&world);
                assert_eq!(world.net.states.count("hold"), 1, "the re-INVITE was answered");
                assert_eq!(world.phones[PBX].legs[0].oks, 1, "the ACK was heard");
                world.run(seconds(3));
                assert_talking(&world);
                let World { net, phones, .. } = &mut world;
                phones[hangs_up].hang_up(net, 0);
                world.run(seconds(1));
                assert!(world.phones.iter().all(|phone| phone.legs[0].is_over()));
                // ACK, re-INVITE, its ACK, the resuming one, its ACK, BYE.
                assert_eq!(steered(&world), 6);
                world.finish();
            }
        }
    }

    #[test]
    fn responses_find_who_asked_from_any_shard() {
        for shards in [2, 3] {
            let mut world = world(shards, |read| !read.is_request());
            dial(&mut world, Script { hangup: Some(seconds(3)), ..Script::new(1) }, Script::new(1));
            let page = world.page("alice");
            world.run(seconds(3));
            assert!(world.pages[page].registered);
            assert_talking(&world);
            world.run(seconds(2));
            assert!(world.phones.iter().all(|phone| phone.legs[0].is_over()));
            // 401 and 200 to REGISTER; 100, 180 and 200 to INVITE; 200 to BYE.
            assert_eq!(steered(&world), 6);
            world.finish();
        }
    }

    #[test]
    fn a_second_tab_on_another_shard_is_the_same_user_s() {
        for shards in [2, 3] {
            for first in 0..usize::from(shards) {
                let mut world = world(shards, |_| true);
                let home = usize::from(Account::from("alice").home(shards).0);
                world.gateway.landings = [first, (first + 1) % usize::from(shards)].into();
                let tabs = [world.page("alice"), world.page("alice")];
                for &tab in &tabs {
                    world.pages[tab].scripts.insert("c1".into(), Script::new(1));
                }
                world.run(seconds(1));
                for shard in 0..world.gateway.shards() {
                    let sessions = world.gateway.core(shard).hub().sessions();
                    assert_eq!(sessions, if shard == home { 2 } else { 0 });
                    let registered = world.gateway.core(shard).stack().registered();
                    assert_eq!(registered, usize::from(shard == home), "one registration a user");
                }
                assert!(tabs.iter().all(|&tab| world.pages[tab].registered));
                world.step(Step::PhoneDialsUser { script: Script::new(1), user: "alice".into() });
                world.run(seconds(4));
                assert_eq!(world.gateway.core(home).calls(), 1);
                let calls = || tabs.iter().flat_map(|&tab| &world.pages[tab].calls);
                let up: Vec<_> = calls().filter(|call| call.state == browser::State::Up).collect();
                assert_eq!(up.len(), 1);
                assert!(up[0].peer.as_ref().is_some_and(|peer| peer.media.heard > 20));
                world.finish();
            }
        }
    }

    #[test]
    fn a_call_of_which_everything_lands_on_wrong_shards_is_a_call_like_any_other() {
        for shards in [2, 3] {
            let mut world = world(shards, |_| true);
            let home = usize::from(Account::from("alice").home(shards).0);
            world.gateway.landings = [(home + 1) % usize::from(shards)].into();
            let page = world.page("alice");
            world.phones[PBX].scripts.insert("p1".into(), Script { challenge: true, ..Script::new(1) });
            world.run(seconds(1));
            world.step(Step::PageDials { page, script: Script::new(1), to: "p1".into() });
            world.run(seconds(4));
            let heard = world.pages[page].calls[0].peer.as_ref().map_or(0, |peer| peer.media.heard);
            assert!(heard > 20 && world.phones[PBX].legs[0].media.heard > 20);
            assert_eq!(world.gateway.core(home).calls(), 1);
            world.finish();
            assert_eq!(world.pages[page].calls[0].reason, "hangup");
        }
    }
}
