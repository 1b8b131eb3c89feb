//! Who is heard on an RTP leg, and where it is sent to (RFC 7362).

use super::*;

fn from(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

#[test]
fn the_phone_s_port_is_learned_frozen_and_sent_to() {
    let mut bed = Bed::small();
    let (a, b) = bed.pair(None, None);
    let behind_nat = SocketAddr::new(a.address.ip(), 61_000);
    let target = |bed: &mut Bed, n: u16| match bed.raw(&b, b.address, &rtp(8, n, 0, PCMU, b"x")).0 {
        Verdict::Send { to, .. } => to,
        other => panic!("{other:?}"),
    };
    assert_eq!(target(&mut bed, 1), a.address);
    for n in 0..5 {
        let (verdict, _) = bed.raw(&a, behind_nat, &rtp(7, n, 160 * u32::from(n), PCMU, b"x"));
        assert!(matches!(verdict, Verdict::Send { .. }));
    }
    assert_eq!(bed.plane.counters().latched, 1);
    assert_eq!(target(&mut bed, 2), behind_nat);
    let elsewhere = SocketAddr::new(a.address.ip(), 62_000);
    for stranger in [elsewhere, from("192.0.2.1:1"), from("203.0.113.9:61000"), from("[2001:db8::1]:61000")] {
        let counted = bed.counted(|bed| {
            assert_eq!(bed.raw(&a, stranger, &rtp(7, 9, 0, PCMU, b"x")).0, Verdict::Drop);
        });
        assert_eq!(counted, [("dropped_source", 1)]);
    }
    assert_eq!(target(&mut bed, 3), behind_nat);
    // An agreement that says the same teaches nothing new; one that differs does.
    bed.agree(&a, agreed(Some(a.address)));
    assert_eq!(bed.raw(&a, elsewhere, &rtp(7, 10, 0, PCMU, b"x")).0, Verdict::Drop);
    bed.agree(&a, Agreed { ptime_ms: 30, ..agreed(Some(a.address)) });
    assert!(matches!(bed.raw(&a, elsewhere, &rtp(7, 10, 0, PCMU, b"x")).0, Verdict::Send { .. }));
    assert_eq!(target(&mut bed, 4), elsewhere);
    // The signalled port itself ends all doubt.
    assert!(matches!(bed.raw(&a, a.address, &rtp(7, 11, 160, PCMU, b"x")).0, Verdict::Send { .. }));
    assert_eq!(target(&mut bed, 5), a.address);
    assert_eq!(bed.raw(&a, elsewhere, &rtp(7, 12, 320, PCMU, b"x")).0, Verdict::Drop);
}

#[test]
fn before_the_agreement_nobody_is_heard_and_nothing_is_sent() {
    let mut bed = Bed::small();
    let b = bed.party(None);
    let (leg, event) = bed.open(Kind::Rtp(RealmId(0)));
    let Some(Event::Opened { address: Some(ours), .. }) = event else { panic!() };
    let c = Party {
        leg,
        address: from("192.0.2.77:7000"),
        ssrc: 0,
        socket: bed.bound.get(&ours.port()).copied(),
        keys: None,
    };
    bed.command(Command::Join { a: leg, b: b.leg });
    let counted = bed.counted(|bed| {
        bed.raw(&c, c.address, &rtp(7, 1, 0, PCMU, b"x"));
        bed.raw(&b, b.address, &rtp(7, 1, 0, PCMU, b"x"));
    });
    assert_eq!(counted, [("dropped_early", 1), ("dropped_not_sending", 1)]);
    // Held the old way (RFC 2543): no address.
    bed.agree(&c, agreed(Some(from("0.0.0.0:7000"))));
    let counted = bed.counted(|bed| {
        bed.raw(&c, c.address, &rtp(7, 1, 0, PCMU, b"x"));
        bed.raw(&b, b.address, &rtp(7, 1, 0, PCMU, b"x"));
    });
    assert_eq!(counted, [("dropped_early", 1), ("dropped_no_path", 1)]);
}

#[test]
fn without_latching_another_port_is_a_stranger() {
    let realm = Realm { address: IpAddr::V4(Ipv4Addr::LOCALHOST), ports: 20_000..=20_039, shared: false };
    let mut bed = Bed::new(Config {
        realms: vec![realm],
        stock: 2,
        latch: super::super::Latch::Off,
        ..Config::default()
    });
    bed.settle();
    let (a, b) = bed.pair(None, None);
    let other = SocketAddr::new(a.address.ip(), 9);
    assert_eq!(bed.raw(&a, other, &rtp(7, 1, 0, PCMU, b"x")).0, Verdict::Drop);
    assert!(bed.say(&a, &b, 0, &rtp(7, 1, 0, PCMU, b"x")).is_some());
}

#[test]
fn a_socket_that_was_closed_finds_no_leg() {
    let mut bed = Bed::small();
    let (a, _) = bed.pair(None, None);
    bed.command(Command::Close { leg: a.leg });
    let counted = bed.counted(|bed| {
        assert_eq!(bed.raw(&a, a.address, &rtp(7, 1, 0, PCMU, b"x")).0, Verdict::Drop);
        let stranger = Party { socket: Some(SocketId::new(ShardId(0), 0, 1 << 20)), ..a.clone() };
        assert_eq!(bed.raw(&stranger, a.address, &rtp(7, 1, 0, PCMU, b"x")).0, Verdict::Drop);
    });
    assert_eq!(counted, [("dropped_stale", 2)]);
}
