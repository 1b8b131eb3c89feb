//! The stock of ports: even and odd, rested, skipped where taken, refused where there are none.

use super::*;

fn bed(ports: std::ops::RangeInclusive<u16>, stock: usize, taken: &[u16]) -> Bed {
    let realm = Realm { address: IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)), ports, shared: false };
    let mut bed = Bed::new(Config { realms: vec![realm], stock, ..Config::default() });
    bed.taken = taken.to_vec();
    bed.settle();
    bed
}

fn port(event: Option<Event>) -> Option<u16> {
    match event {
        Some(Event::Opened { address: Some(address), .. }) => {
            assert_eq!(address.ip().to_string(), "198.51.100.1");
            Some(address.port())
        }
        Some(Event::Full { .. }) => None,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stock_of_pairs_is_kept_and_filled_again() {
    let mut bed = bed(16_384..=16_483, 16, &[]);
    assert_eq!(bed.bound.len(), 32);
    let first = port(bed.open(Kind::Rtp(RealmId(0))).1).unwrap();
    assert_eq!(first % 2, 0);
    assert!(bed.bound.contains_key(&(first + 1)));
    assert_eq!(bed.bound.len(), 34);
}

#[test]
fn a_closed_port_rests_before_it_is_used_again() {
    let mut bed = bed(16_384..=16_391, 1, &[]);
    let mut ports = Vec::new();
    let mut legs = Vec::new();
    for _ in 0..4 {
        let (leg, event) = bed.open(Kind::Rtp(RealmId(0)));
        ports.push(port(event).unwrap());
        legs.push(leg);
    }
    assert_eq!(port(bed.open(Kind::Rtp(RealmId(0))).1), None);
    bed.command(Command::Close { leg: legs[0] });
    assert_eq!(bed.unbound.len(), 2);
    assert_eq!(port(bed.open(Kind::Rtp(RealmId(0))).1), None, "it rests");
    bed.ms(9_900);
    assert_eq!(port(bed.open(Kind::Rtp(RealmId(0))).1), None, "it still rests");
    bed.ms(200);
    assert_eq!(port(bed.open(Kind::Rtp(RealmId(0))).1), Some(ports[0]));
    assert_eq!(bed.plane.counters().ports_full, 3);
}

#[test]
fn a_taken_port_is_skipped_with_its_sibling() {
    let mut bed = bed(16_384..=16_391, 4, &[16_385, 16_388]);
    let mut open: Vec<u16> = bed.bound.keys().copied().collect();
    open.sort_unstable();
    assert_eq!(open, [16_386, 16_387, 16_390, 16_391]);
    assert_eq!(bed.plane.counters().bind_failures, 2);
    // Free again some time later.
    bed.taken.clear();
    bed.ms(10_100);
    assert_eq!(bed.bound.len(), 8);
}

#[test]
fn a_leg_waits_for_the_system_where_the_stock_is_used_up() {
    let realm = Realm { address: IpAddr::V4(Ipv4Addr::LOCALHOST), ports: 20_000..=20_003, shared: false };
    let mut plane = Plane::new(
        ShardId(0),
        Arc::new(Config { realms: vec![realm], stock: 0, ..Config::default() }),
        Random::from_number(1),
    );
    let (now, mut mint) = (start(), Mint::new(ShardId(0), true));
    let (a, b, c) = (mint.leg(Side::Sip), mint.leg(Side::Sip), mint.leg(Side::Sip));
    for leg in [a, b, c] {
        plane.handle_command(now, Command::Open { leg, kind: Kind::Rtp(RealmId(0)) });
    }
    plane.handle_command(now, Command::Close { leg: a });
    let mut asked = Vec::new();
    let mut events = Vec::new();
    while let Some(output) = plane.poll_output() {
        match output {
            Output::Bind { port, .. } => asked.push(port),
            Output::Event(event) => events.push(event),
            _ => {}
        }
    }
    assert_eq!(events, [Event::Full { leg: c }]);
    assert_eq!(asked.len(), 4);
    for (n, port) in asked.iter().enumerate() {
        plane.bound(now, RealmId(0), *port, SocketId::new(ShardId(0), 0, n as u32));
        plane.check_invariants();
    }
    assert!(matches!(plane.poll_output(), Some(Output::Event(Event::Opened { leg, .. })) if leg == b));
    // An answer that nobody waits for is closed.
    plane.bound(now, RealmId(0), 20_000, SocketId::new(ShardId(0), 0, 9));
    assert!(matches!(plane.poll_output(), Some(Output::Unbind { .. })));
    plane.bind_failed(now, RealmId(9), 1);
    plane.check_invariants();
}

#[test]
fn an_unknown_realm_and_a_full_table_are_refused() {
    let mut bed = bed(16_384..=16_391, 1, &[]);
    assert_eq!(port(bed.open(Kind::Rtp(RealmId(3))).1), None);
    assert!(bed.plane.is_empty());
    let mut bed = Bed::new(Config { legs: 1, ..Config::default() });
    bed.settle();
    bed.open(Kind::Web);
    assert!(matches!(bed.open(Kind::Web).1, Some(Event::Full { .. })));
    assert_eq!((bed.plane.len(), bed.plane.counters().legs_full), (1, 1));
}
