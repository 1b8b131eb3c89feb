//! Legs on one port: each party is told by its address.

use super::*;

const SHARED: Kind = Kind::Shared(RealmId(0));

fn bed() -> Bed {
    let realm = Realm { address: IpAddr::V4(Ipv4Addr::LOCALHOST), ports: 20_000..=20_199, shared: true };
    let mut bed = Bed::new(Config { realms: vec![realm], stock: 2, ..Config::default() });
    bed.settle();
    bed
}

/// A party that the shared port is open to; nothing is agreed on.
fn stranger(bed: &mut Bed, port: u16) -> Party {
    let (leg, event) = bed.open(SHARED);
    let Some(Event::Opened { address: Some(ours), ssrc, .. }) = event else { panic!("{event:?}") };
    let address = SocketAddr::from(([192, 0, 2, 1], port));
    Party { leg, address, ssrc, socket: bed.bound.get(&ours.port()).copied(), keys: None }
}

fn party(bed: &mut Bed, port: u16) -> Party {
    let party = stranger(bed, port);
    bed.agree(&party, agreed(Some(party.address)));
    party
}

/// Two calls: parties of the shared port, each joined to one with a port of its own.
fn calls(bed: &mut Bed) -> [(Party, Party); 2] {
    [5_000, 5_002].map(|port| {
        let (a, b) = (party(bed, port), bed.party(None));
        bed.command(Command::Join { a: a.leg, b: b.leg });
        (a, b)
    })
}

#[test]
fn parties_of_one_port_are_told_by_their_addresses() {
    let mut bed = bed();
    let [(a, b), (c, d)] = calls(&mut bed);
    assert_eq!(a.socket, c.socket);
    for (n, (from, to)) in [(&a, &b), (&c, &d), (&b, &a), (&d, &c)].into_iter().enumerate() {
        assert!(bed.say(from, to, 0, &rtp(n as u32, 1, 0, PCMU, b"x")).is_some());
    }
    let counted = bed.counted(|bed| {
        let elsewhere = SocketAddr::from(([192, 0, 2, 1], 5_004));
        assert_eq!(bed.raw(&a, elsewhere, &rtp(7, 2, 0, PCMU, b"x")).0, Verdict::Drop);
    });
    assert_eq!(counted, [("dropped_source", 1)], "nothing is learned on a shared port");
}

#[test]
fn rtcp_finds_its_leg_too() {
    let mut bed = bed();
    let [(a, _), (c, _)] = calls(&mut bed);
    let port = bed.bound.iter().find(|(_, socket)| Some(**socket) == a.socket).map(|(port, _)| *port);
    let rtcp = bed.bound[&(port.unwrap() + 1)];
    // A receiver report about nothing (RFC 3550 section 6.4.2).
    let report = [0x80, 201, 0, 1, 0, 0, 0, 9];
    for (party, offset, verdict) in [(&a, 1, Verdict::Taken), (&c, 1, Verdict::Taken), (&c, 3, Verdict::Drop)]
    {
        let from = SocketAddr::new(party.address.ip(), party.address.port() + offset);
        let there = Party { socket: Some(rtcp), ..party.clone() };
        assert_eq!(bed.raw(&there, from, &report).0, verdict);
    }
    let muxed = Agreed { rtcp_mux: true, ..agreed(Some(a.address)) };
    bed.agree(&a, muxed);
    assert_eq!(bed.raw(&a, a.address, &report).0, Verdict::Taken);
    let there = Party { socket: Some(rtcp), ..a.clone() };
    assert_eq!(bed.raw(&there, SocketAddr::new(a.address.ip(), 5_001), &report).0, Verdict::Drop);
}

#[test]
fn an_address_that_moves_takes_its_leg_along() {
    let mut bed = bed();
    let [(mut a, b), _] = calls(&mut bed);
    let before = a.address;
    a.address.set_port(6_000);
    bed.agree(&a, agreed(Some(a.address)));
    assert!(bed.say(&a, &b, 0, &rtp(7, 1, 0, PCMU, b"x")).is_some());
    assert_eq!(bed.raw(&a, before, &rtp(7, 2, 160, PCMU, b"x")).0, Verdict::Drop);
    // Held without an address, and back.
    bed.agree(&a, agreed(None));
    assert_eq!(bed.raw(&a, a.address, &rtp(7, 3, 320, PCMU, b"x")).0, Verdict::Drop);
    bed.agree(&a, agreed(Some(a.address)));
    assert!(bed.say(&a, &b, 0, &rtp(7, 4, 480, PCMU, b"x")).is_some());
}

#[test]
fn a_second_call_with_the_same_address_is_refused_and_the_first_unharmed() {
    let mut bed = bed();
    let [(a, b), _] = calls(&mut bed);
    let twin = stranger(&mut bed, a.address.port());
    let counted = bed.counted(|bed| bed.agree(&twin, agreed(Some(twin.address))));
    assert_eq!(counted, [("shared_taken", 1)]);
    assert_eq!(bed.events.pop(), Some(Event::Full { leg: twin.leg }));
    assert!(bed.say(&a, &b, 0, &rtp(7, 1, 0, PCMU, b"x")).is_some());
    // When the first is over, its address is free.
    bed.command(Command::Close { leg: a.leg });
    let (next, partner) = (party(&mut bed, a.address.port()), bed.party(None));
    bed.command(Command::Join { a: next.leg, b: partner.leg });
    assert!(bed.say(&next, &partner, 0, &rtp(7, 1, 0, PCMU, b"x")).is_some());
}

#[test]
fn the_shared_port_outlives_its_legs_and_costs_no_other() {
    let mut bed = bed();
    let bound = bed.bound.len();
    for n in 0..200 {
        let party = party(&mut bed, 5_000 + 2 * n);
        if n % 2 == 0 {
            bed.command(Command::Close { leg: party.leg });
        }
    }
    assert_eq!((bed.bound.len(), bed.unbound.len()), (bound, 0));
    assert_eq!(bed.plane.len(), 100);
}

#[test]
fn without_a_shared_port_a_leg_has_its_own() {
    let mut bed = Bed::small();
    let (first, second) = (party(&mut bed, 5_000), party(&mut bed, 5_000));
    assert_ne!(first.socket, second.socket);
    let before = bed.unbound.len();
    bed.command(Command::Close { leg: first.leg });
    assert_eq!(bed.unbound.len(), before + 2);
}
