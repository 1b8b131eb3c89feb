//! What happens to a transport after, besides and instead of its first handshake.

use super::super::peer::MOVE;
use super::*;

#[test]
fn a_restart_by_the_browser_keeps_the_keys() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.open();
    world.expect_connected();
    let (peer, before) = (world.peer.unwrap(), world.local.clone().unwrap());
    let dtls = |world: &World| world.gateway_sent.iter().filter(|sent| sent.data[0] >= 20).count();
    let shaken = dtls(&world);
    let mut random = world.random.fork();
    world.browser.restart(&mut random);
    let remote = Box::new(world.browser.remote());
    world.command(Command::Describe { peer, remote });
    let after = world.local.clone().unwrap();
    assert_ne!(
        (&after.ufrag, &after.pwd),
        (&before.ufrag, &before.pwd),
        "a restart answers with new credentials"
    );
    // Asked for besides: the same again, not yet others.
    world.command(Command::Restart { peer });
    assert_eq!(world.local.as_ref(), Some(&after));
    world.tell_browser();
    world.verified.clear();
    world.run(Duration::from_secs(10));
    assert_eq!(world.verified, [home(0)], "verified anew, by the new credentials");
    assert!(world.events.is_empty(), "{:?}", world.events);
    assert_eq!(dtls(&world), shaken, "no new handshake");
}

#[test]
fn a_restart_moves_to_the_other_network_where_one_answers_and_waits_for_it_no_longer_than_it_must() {
    for joined in [true, false] {
        let (old, new) = (home(0), "127.0.0.2:41000".parse().unwrap());
        let mut world = World::with_addresses(config(), Dtls::Auto, true, &[old, new]);
        let away = move |sent: &Sent| sent.from == new || sent.to == new;
        world.fate = Box::new(move |sent| if away(sent) { vec![] } else { vec![0] });
        world.open();
        world.expect_connected();
        let (peer, forbidden) = (world.peer.unwrap(), [1, 0x11]);
        world.fate = Box::new(move |sent| if away(sent) && !joined { vec![] } else { vec![0] });
        let mut random = world.random.fork();
        world.browser.restart(&mut random);
        let remote = Box::new(world.browser.remote());
        world.command(Command::Describe { peer, remote });
        world.tell_browser();
        world.verified.clear();
        world.gateway_sent.clear();
        world.run(MOVE * 4 / 5);
        let told: Vec<_> = world.gateway_sent.iter().filter(|sent| sent.data[..2] == forbidden).collect();
        // The old network works as well: it is left all the same, and the browser is told so.
        assert_eq!(world.verified, if joined { vec![new] } else { vec![] });
        assert!(told.iter().all(|sent| joined && sent.to == old), "{told:?}");
        world.run(Duration::from_secs(20));
        assert_eq!(world.verified, [if joined { new } else { old }]);
        assert_eq!(world.peers.counters().stun_forbidden > 0, joined);
        assert!(world.peers.counters().stun_left > 0);
        assert!(world.events.is_empty(), "{:?}", world.events);
    }
}

#[test]
fn a_restart_by_us_honours_the_old_credentials_until_the_new_are_used() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.open();
    world.expect_connected();
    let peer = world.peer.unwrap();
    world.command(Command::Restart { peer });
    let checks = world.peers.counters().checks;
    world.run(Duration::from_secs(10));
    assert!(world.peers.counters().checks > checks, "the old ones still work");
    assert_eq!(world.peers.counters().stun_unauthenticated + world.peers.counters().stun_unknown, 0);
    let mut random = world.random.fork();
    world.browser.restart(&mut random);
    world.tell_browser();
    // Its checks under the new ones may come before its answer.
    world.run(Duration::from_secs(6));
    let remote = Box::new(world.browser.remote());
    world.command(Command::Describe { peer, remote });
    let checks = world.peers.counters().checks;
    world.run(Duration::from_secs(10));
    assert!(world.peers.counters().checks > checks);
    assert_eq!(world.peer, Some(peer));
    assert!(world.events.is_empty(), "{:?}", world.events);
    world.run(Duration::from_secs(40));
    assert!(world.events.is_empty(), "consent goes on: {:?}", world.events);
}

#[test]
fn a_restart_with_a_new_certificate_shakes_hands_again() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.open();
    let first = world.expect_connected();
    let mut random = world.random.fork();
    let peer = world.peer.unwrap();
    world.browser = Browser::new(world.now.instant, &mut random, Dtls::Auto, true, &[home(1)]);
    let remote = Box::new(world.browser.remote());
    world.command(Command::Describe { peer, remote });
    world.tell_browser();
    let second = world.expect_connected();
    assert_ne!(first.send, second.send);
    assert_eq!(world.verified, [home(0), home(1)]);
    assert_eq!(world.peers.len(), 1);
}

#[test]
fn a_new_fingerprint_without_a_restart_fails() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.open();
    world.expect_connected();
    let mut remote = world.browser.remote();
    remote.fingerprints[0].1[0] ^= 1;
    let peer = world.peer.unwrap();
    world.command(Command::Describe { peer, remote: Box::new(remote) });
    assert!(matches!(world.events.pop_front(), Some(Event::Failed { .. })));
}

#[test]
fn the_same_description_again_changes_nothing() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.open();
    world.expect_connected();
    let (peer, local) = (world.peer.unwrap(), world.local.take());
    let remote = Box::new(world.browser.remote());
    world.command(Command::Describe { peer, remote });
    assert!(world.local.is_none() && local.is_some() && world.events.is_empty());
}

#[test]
fn when_we_offer_nobody_is_heard_before_the_answer_says_who_it_is() {
    // The offer rings at several tabs; one that answers too late must not take the transport.
    let mut world = World::new(config(), Dtls::Auto, true);
    let leg = world.mint.leg(Side::Web);
    world.command(Command::Open { leg, remote: None });
    world.tell_browser();
    assert!(world.event_within(Duration::from_secs(1)).is_none());
    assert!(world.verified.is_empty() && world.peers.counters().stun_undescribed > 0);
    let (peer, remote) = (world.peer.unwrap(), Box::new(world.browser.remote()));
    world.command(Command::Describe { peer, remote });
    world.expect_connected();
    assert_eq!(world.verified, [home(0)]);
}

#[test]
fn a_handshake_with_another_certificate_than_answered_fails() {
    let mut world = World::new(config(), Dtls::Auto, true);
    let leg = world.mint.leg(Side::Web);
    world.command(Command::Open { leg, remote: None });
    world.tell_browser();
    let (peer, mut remote) = (world.peer.unwrap(), Box::new(world.browser.remote()));
    remote.fingerprints[0].1[0] ^= 1;
    world.command(Command::Describe { peer, remote });
    let failed = world.event_within(Duration::from_secs(5));
    assert!(matches!(failed, Some(Event::Failed { why, .. }) if why.contains("fingerprint")));
}

#[test]
fn of_two_addresses_the_newest_wins_and_both_are_heard() {
    let mut world = World::with_addresses(config(), Dtls::Auto, true, &[home(0), home(1)]);
    world.open();
    world.expect_connected();
    world.run(Duration::from_secs(3));
    let peer = world.peer.unwrap();
    for n in 0..2 {
        assert_eq!(world.peers.owner(home(n)).map(|owner| owner.0), Some(peer));
        assert!(world.verified.contains(&home(n)));
    }
    let settled = world.verified.len();
    world.run(Duration::from_secs(30));
    assert_eq!(
        world.verified.len(),
        settled,
        "the reserve's checks don't pull media about: {:?}",
        world.verified
    );
}

#[test]
fn a_new_source_address_of_the_same_browser_takes_over() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.open();
    world.expect_connected();
    // The NAT in between chooses another port: seen from here, everything comes from there.
    world.run(Duration::from_secs(3));
    for _ in 0..2_000 {
        world.now = world.now.after(Duration::from_millis(5));
        world.browser.handle_timeout(world.now.instant);
        while let Some(sent) = world.browser.poll_send() {
            let input = Input::Datagram { from: home(9), local: sent.to, data: &sent.data };
            world.peers.handle_input(world.now, input);
            world.collect();
            for (_, _, answer) in std::mem::take(&mut world.flying) {
                world.browser.handle_datagram(world.now.instant, answer.from, home(0), &answer.data);
            }
        }
    }
    assert_eq!(world.verified, [home(0), home(9)]);
}

#[test]
fn neither_close_notify_nor_silence_ends_a_transport_and_it_tells_when_it_was_heard() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.open();
    world.expect_connected();
    world.browser.close();
    world.run(Duration::from_secs(20));
    assert_eq!(world.peers.counters().closed_by_peer, 1);
    assert!(world.events.is_empty(), "its grace is the call machine's");
    world.fate = Box::new(|_| Vec::new());
    world.run(Duration::from_secs(40));
    let peer = world.peer.unwrap();
    world.command(Command::Ask { peer });
    let Some(Event::Heard { at: Some(at), .. }) = world.events.pop_front() else { panic!("no answer") };
    let silent = world.now.instant - at;
    assert!(silent >= Duration::from_secs(39) && silent < Duration::from_mins(1), "{silent:?}");
}

#[test]
fn closing_tells_the_browser_and_forgets_everything() {
    let mut world = World::new(config(), Dtls::V12, true);
    world.open();
    world.expect_connected();
    let peer = world.peer.unwrap();
    let sent = world.gateway_sent.len();
    world.command(Command::Close { peer });
    assert_eq!(world.gateway_sent.len(), sent + 1, "close_notify");
    assert!(world.peers.is_empty() && world.peers.poll_timeout().is_none());
    assert_eq!(world.peers.owner(home(0)), None);
    // Stale ids find nothing.
    world.command(Command::Restart { peer });
    world.command(Command::Close { peer });
    world.run(Duration::from_secs(1));
    assert!(world.events.is_empty());
}

#[test]
fn silence_fails_at_the_deadline_of_each_stage() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.fate = Box::new(|_| Vec::new());
    world.open();
    assert!(world.event_within(Duration::from_secs(29)).is_none());
    let event = world.event_within(Duration::from_secs(2));
    assert!(matches!(event, Some(Event::Failed { why, .. }) if why.contains("check")), "{event:?}");
    // Checks pass, DTLS does not.
    let mut world = World::new(config(), Dtls::Auto, true);
    world.fate = Box::new(|sent| if sent.data[0] >= 20 { Vec::new() } else { vec![0] });
    world.open();
    assert!(world.event_within(Duration::from_secs(14)).is_none());
    let event = world.event_within(Duration::from_secs(3));
    assert!(matches!(event, Some(Event::Failed { why, .. }) if why.contains("DTLS")), "{event:?}");
    assert!(world.peers.is_empty());
}

#[test]
fn a_full_table_says_so_and_has_room_again_after_a_close() {
    let mut world = World::new(Config { peers: 1, ..config() }, Dtls::Auto, true);
    world.open();
    let leg = world.mint.leg(Side::Web);
    world.command(Command::Open { leg, remote: None });
    assert!(matches!(world.events.pop_front(), Some(Event::Full { leg: full }) if full == leg));
    let peer = world.peer.unwrap();
    world.command(Command::Close { peer });
    world.command(Command::Open { leg, remote: None });
    assert!(world.events.is_empty() && world.peer != Some(peer));
}

#[test]
fn an_idle_peer_rarely_wakes() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.open();
    world.expect_connected();
    world.run(Duration::from_secs(2));
    let mut wakes = 0;
    for _ in 0..60_000 / 5 {
        wakes += u32::from(world.peers.poll_timeout().is_some_and(|next| next.at <= world.now.instant));
        world.step();
    }
    assert!(wakes <= 6, "{wakes} in a minute");
    assert!(world.events.is_empty());
}

#[test]
fn handshakes_beyond_the_budget_wait_and_still_come_to_keys() {
    let mut world = World::new(Config { budget: 1, backlog: 4, ..config() }, Dtls::V12, true);
    let mut sent = 0;
    world.fate = Box::new(move |_| {
        // Only a few copies: to each repeated flight the other end repeats its own.
        sent += 1;
        vec![0; if sent < 10 { 3 } else { 1 }]
    });
    world.open();
    world.expect_connected();
    assert!(world.peers.counters().postponed > 0);
}

#[test]
fn handshakes_beyond_the_cap_are_not_begun() {
    let mut world = World::new(Config { handshakes: 0, ..config() }, Dtls::V12, true);
    world.open();
    assert!(matches!(world.event_within(Duration::from_secs(30)), Some(Event::Failed { .. })));
    assert!(world.peers.counters().handshakes_full > 1);
}

#[test]
fn the_same_seed_gives_the_same_credentials() {
    let mut locals = (0..2).map(|_| {
        let mut world = World::new(config(), Dtls::Auto, true);
        world.open();
        world.local.unwrap()
    });
    assert_eq!(locals.next(), locals.next());
}
