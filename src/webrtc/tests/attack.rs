//! What strangers send (pitfalls 19, 20, 23, 27): dropped, counted, and nothing changed.

use super::*;

fn stranger() -> SocketAddr {
    "198.51.100.66:6666".parse().unwrap()
}

/// The two datagrams in which a browser really sent its ClientHello.
fn client_hello(name: &str) -> Vec<Vec<u8>> {
    let text = match name {
        "chromium" => include_str!("hello/chromium-156.hex"),
        _ => include_str!("hello/firefox-153.hex"),
    };
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    text.lines().map(|line| line.trim().as_bytes().chunks(2).map(byte).collect()).collect()
}

/// A browser's signed check, as it would arrive: taken out of the browser's mouth.
fn first_check(world: &mut World) -> Sent {
    world.fate = Box::new(|_| Vec::new());
    world.browser.handle_timeout(world.now.instant);
    for _ in 0..20 {
        world.now = world.now.after(Duration::from_millis(20));
        world.browser.handle_timeout(world.now.instant);
        if let Some(sent) = world.browser.poll_send() {
            return sent;
        }
    }
    panic!("the browser never checks");
}

#[test]
fn a_client_hello_before_any_check_is_dropped() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.open();
    for hello in client_hello("chromium") {
        world.inject(stranger(), &hello);
        world.inject(home(0), &hello);
    }
    assert_eq!(world.peers.counters().dtls_unverified, 4);
    assert!(world.gateway_sent.is_empty());
    world.expect_connected();
}

#[test]
fn a_client_hello_in_two_datagrams_is_answered_in_either_order() {
    for name in ["chromium", "firefox"] {
        for swapped in [false, true] {
            let mut world = World::new(config(), Dtls::Auto, true);
            world.open();
            let check = first_check(&mut world);
            world.inject(check.from, &check.data);
            assert_eq!(world.gateway_sent.len(), 1, "the answer to the check");
            let mut hello = client_hello(name);
            assert_eq!(hello.len(), 2);
            if swapped {
                hello.swap(0, 1);
            }
            world.inject(check.from, &hello[0]);
            assert_eq!(world.gateway_sent.len(), 1, "half a hello has no answer");
            world.inject(check.from, &hello[1]);
            let answer = world.gateway_sent.get(1).expect("an answer to the whole");
            assert_eq!((answer.data[0], answer.to), (22, check.from));
            assert_eq!(world.peers.counters().dtls_refused, 0);
        }
    }
}

#[test]
fn a_check_with_a_wrong_signature_changes_nothing() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.open();
    let mut check = first_check(&mut world);
    // USERNAME comes first; the last 8 bytes are FINGERPRINT, before them the digest.
    let digest = check.data.len() - 9;
    check.data[digest] ^= 1;
    world.inject(stranger(), &check.data);
    assert_eq!(world.peers.counters().stun_unauthenticated, 1);
    assert!(world.gateway_sent.is_empty() && world.verified.is_empty());
    assert_eq!(world.peers.owner(stranger()), None);
}

#[test]
fn a_check_for_nobody_or_from_another_far_side_is_dropped() {
    let mut world = World::new(config(), Dtls::Auto, true);
    let mut other = World::new(config(), Dtls::Auto, true);
    world.open();
    other.peers = Peers::new(ShardId(2), Arc::new(config()), Random::from_number(77));
    other.open();
    let foreign = first_check(&mut other);
    world.inject(stranger(), &foreign.data);
    assert_eq!(world.peers.counters().stun_unknown, 1);
    // Knows our password (it saw our description), but is not whom we were told of.
    let mut third =
        Browser::new(world.now.instant, &mut Random::from_number(9), Dtls::Auto, true, &[home(7)]);
    let local = world.local.clone().unwrap();
    third.describe(world.now.instant, &local);
    let mut check = None;
    for _ in 0..20 {
        world.now = world.now.after(Duration::from_millis(20));
        third.handle_timeout(world.now.instant);
        check = check.or_else(|| third.poll_send());
    }
    world.inject(home(7), &check.unwrap().data);
    assert_eq!(world.peers.counters().stun_unauthenticated, 1);
    assert!(world.gateway_sent.is_empty() && world.verified.is_empty());
}

#[test]
fn a_far_side_that_would_be_controlled_is_told_of_the_conflict() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.open();
    let check = first_check(&mut world);
    let controlling = check.data.windows(4).position(|four| four == [0x80, 0x2a, 0, 8]).expect("it controls");
    let pwd = world.local.clone().unwrap().pwd;
    // Digest and fingerprint are anew.
    let mut data = check.data[..check.data.len() - 32].to_vec();
    data[controlling + 1] = 0x29;
    world.inject(check.from, &stun::finish(data, &pwd));
    assert_eq!((world.peers.counters().stun_refused, world.peers.counters().checks), (1, 0));
    let answer = world.gateway_sent.pop().expect("an answer");
    assert_eq!((&answer.data[..2], &answer.data[26..28]), (&[1, 0x11][..], &[4, 87][..]));
    assert!(world.verified.is_empty());
    world.inject(check.from, &check.data);
    assert_eq!(world.peers.counters().checks, 1, "who controls is answered");
}

#[test]
fn a_wrong_fingerprint_fails_and_gives_no_keys() {
    for version in [Dtls::V12, Dtls::V13] {
        let mut world = World::new(config(), version, true);
        let mut remote = world.browser.remote();
        remote.fingerprints[0].1[5] ^= 1;
        let leg = world.mint.leg(Side::Web);
        world.command(Command::Open { leg, remote: Some(Box::new(remote)) });
        world.tell_browser();
        let event = world.event_within(Duration::from_secs(5));
        assert!(matches!(event, Some(Event::Failed { why, .. }) if why.contains("fingerprint")), "{event:?}");
        assert!(world.peers.is_empty());
    }
}

#[test]
fn one_right_fingerprint_of_several_is_enough() {
    let mut world = World::new(config(), Dtls::Auto, true);
    let mut remote = world.browser.remote();
    remote.fingerprints.insert(0, ("sha-1".into(), vec![1; 20]));
    remote.fingerprints.insert(0, ("sha-256".into(), vec![1; 32]));
    let leg = world.mint.leg(Side::Web);
    world.command(Command::Open { leg, remote: Some(Box::new(remote)) });
    world.tell_browser();
    world.expect_connected();
}

#[test]
fn forged_dtls_from_a_verified_address_does_not_end_the_handshake_or_the_call() {
    let mut world = World::new(config(), Dtls::V12, true);
    world.open();
    // A fatal alert in the clear, as anyone can forge: before, between and after.
    let alert = [21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40];
    for _ in 0..40 {
        world.step();
        world.inject(home(0), &alert);
    }
    world.expect_connected();
    for _ in 0..200 {
        world.inject(home(0), &alert);
    }
    world.run(Duration::from_secs(2));
    assert!(world.events.is_empty() && world.peers.len() == 1);
}

#[test]
fn random_bytes_never_panic_and_never_verify() {
    let mut world = World::new(config(), Dtls::Auto, true);
    world.open();
    world.expect_connected();
    let sent: Vec<Vec<u8>> = client_hello("firefox").into_iter().chain(client_hello("chromium")).collect();
    let mut random = Random::from_number(3);
    for n in 0..20_000_u32 {
        let mut data = if n % 2 == 0 {
            sent[random.below(4) as usize].clone()
        } else {
            let mut junk = vec![0; random.below(300) as usize];
            random.fill(&mut junk);
            junk
        };
        for _ in 0..random.below(5) {
            if let Some(at) = data.len().checked_sub(1) {
                data[random.below(at as u64 + 1) as usize] = random.u32() as u8;
            }
        }
        if let Some(first) = data.first_mut()
            && n % 3 == 0
        {
            *first = [0, 1, 20, 21, 22, 23, 25, 26, 44, 63][random.below(10) as usize];
        }
        let from = if n % 5 == 0 { stranger() } else { home(0) };
        let input = Input::Datagram { from, local: gateway(), data: &data };
        world.peers.handle_input(world.now, input);
    }
    world.collect();
    assert_eq!(world.peers.len(), 1);
    assert_eq!(world.peers.owner(stranger()), None);
    // The call goes on.
    world.run(Duration::from_secs(4));
    assert!(world.events.is_empty(), "{:?}", world.events);
}

#[test]
fn descriptions_beyond_reason_are_refused() {
    let cases: [fn(&mut Remote); 5] = [
        |remote| remote.ufrag = "x".repeat(100_000),
        |remote| remote.ufrag = "abc".into(),
        |remote| remote.pwd = "short".into(),
        |remote| remote.fingerprints.clear(),
        |remote| remote.ice_lite = true,
    ];
    for spoil in cases {
        let mut world = World::new(config(), Dtls::Auto, true);
        let mut remote = world.browser.remote();
        spoil(&mut remote);
        let leg = world.mint.leg(Side::Web);
        world.command(Command::Open { leg, remote: Some(Box::new(remote)) });
        assert!(matches!(world.events.pop_front(), Some(Event::Failed { .. })));
        assert!(world.peers.is_empty());
    }
}

#[test]
fn candidates_that_mean_nothing_are_ignored_and_counted() {
    let mut world = World::new(config(), Dtls::Auto, true);
    let mut remote = world.browser.remote();
    for odd in
        ["1 1 udp 2122 9b3c.local 5000 typ host", "1 1 tcp 15 192.0.2.1 9 typ host tcptype active", "", "x"]
    {
        remote.candidates.push(odd.into());
    }
    remote.candidates.extend((0..5_000).map(|n| format!("{n} 1 udp 5 192.0.2.1 {n} typ host")));
    let leg = world.mint.leg(Side::Web);
    world.command(Command::Open { leg, remote: Some(Box::new(remote)) });
    assert_eq!(world.peers.counters().candidates_ignored, 4 + 5_005 - 32);
    world.tell_browser();
    world.expect_connected();
}

#[test]
fn a_peer_has_only_so_many_addresses() {
    let mut world = World::new(Config { addresses: 3, paths: 2, ..config() }, Dtls::Auto, true);
    world.open();
    let check = first_check(&mut world);
    for n in 0..10 {
        world.inject(home(n), &check.data);
    }
    assert_eq!(world.peers.counters().paths_full, 7);
    assert_eq!(world.verified.len(), 3);
    assert_eq!((world.peers.owner(home(0)), world.peers.owner(home(2)).is_some()), (None, true));
}
