//! Who is heard on an RTP leg, socket to socket: the signalled address alone, a port of it that is learned and kept, and
//! a new one after the descriptions changed or the party fell silent.

#![allow(clippy::disallowed_methods)] // What is tested here is a matter of real time.

use crate::rig::{Rig, agreed, config, rtp};
use bridgehead::base::{LegId, Packet, RealmId, Side};
use bridgehead::media::{Command, Kind};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

fn open(ip: &str) -> UdpSocket {
    let socket = UdpSocket::bind((ip, 0)).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// A call between a party that moves and one that stays.
struct Call {
    rig: Rig,
    leg: LegId,
    /// Where the moving one sends to, and the other.
    ports: [SocketAddr; 2],
    stays: UdpSocket,
    sent: u64,
}

impl Call {
    fn new(signalled: SocketAddr) -> Call {
        let mut rig = Rig::new(config());
        let stays = open("127.0.0.1");
        let legs = [signalled, stays.local_addr().unwrap()].map(|party| {
            let leg = rig.leg(Side::Sip);
            let port = rig.open(leg, Kind::Rtp(RealmId(0))).unwrap();
            rig.media(Command::Agree { leg, agreed: Box::new(agreed(Some(party))) });
            (leg, port)
        });
        rig.media(Command::Join { a: legs[0].0, b: legs[1].0 });
        Call { rig, leg: legs[0].0, ports: legs.map(|(_, port)| port), stays, sent: 0 }
    }

    fn count(&self, name: &str) -> u64 {
        let counters = self.rig.shard.snapshot().counters;
        counters.iter().find(|(room, n, _)| (*room, *n) == ("media", name)).map_or(0, |(_, _, value)| *value)
    }

    /// Passes until `done`.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Call) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < Duration::from_secs(10), "{what}");
            self.rig.pass();
        }
    }

    /// Whether the other party hears this packet of `from`.
    fn is_heard(&mut self, from: &UdpSocket) -> bool {
        let mut packet = Packet::default();
        self.sent += 1;
        rtp(&mut packet, 7, self.sent);
        from.send_to(packet.bytes(), self.ports[0]).unwrap();
        let (heard, dropped) = (self.count("forwarded"), self.count("dropped_source"));
        self.until("the packet was neither forwarded nor dropped", |call| {
            call.count("forwarded") > heard || call.count("dropped_source") > dropped
        });
        let mut buffer = [0; 2048];
        let mut got = None;
        if self.count("forwarded") > heard {
            self.until("the packet got lost", |call| {
                got = call.stays.recv(&mut buffer).ok();
                got.is_some()
            });
        }
        assert!(got.is_none_or(|length| buffer[12..length] == [0x55; 160]));
        got.is_some()
    }

    /// Whether a packet of the other party goes to `to`.
    fn is_sent_to(&mut self, to: &UdpSocket) -> bool {
        let mut packet = Packet::default();
        self.sent += 1;
        rtp(&mut packet, 9, self.sent);
        self.stays.send_to(packet.bytes(), self.ports[1]).unwrap();
        let heard = self.count("forwarded");
        self.until("the packet was not forwarded", |call| call.count("forwarded") > heard);
        let mut buffer = [0; 2048];
        let patience = Instant::now();
        loop {
            match to.recv(&mut buffer) {
                // RTCP shares no port here.
                Ok(_) => return true,
                Err(_) if patience.elapsed() > Duration::from_millis(200) => return false,
                Err(_) => self.rig.pass(),
            }
        }
    }
}

#[test]
fn an_attacker_elsewhere_is_dropped_and_counted_before_and_after_the_party_is_known() {
    let (party, attacker) = (open("127.0.0.1"), open("127.0.0.2"));
    let mut call = Call::new(party.local_addr().unwrap());
    // The race: the attacker is first.
    assert!(!call.is_heard(&attacker));
    assert!(call.is_sent_to(&party) && !call.is_sent_to(&attacker));
    for _ in 0..5 {
        assert!(call.is_heard(&party));
        assert!(!call.is_heard(&attacker));
    }
    assert!(call.is_sent_to(&party) && !call.is_sent_to(&attacker));
    assert_eq!((call.count("dropped_source"), call.count("latched")), (6, 0));
}

#[test]
fn a_port_behind_nat_is_learned_from_the_first_packets_then_frozen() {
    let (signalled, party, neighbour) = (open("127.0.0.1"), open("127.0.0.1"), open("127.0.0.1"));
    let mut call = Call::new(signalled.local_addr().unwrap());
    for _ in 0..5 {
        assert!(call.is_heard(&party));
    }
    assert!(call.is_sent_to(&party));
    assert_eq!(call.count("latched"), 1);
    // Another port of the same address, as fast as the call itself: too late.
    for _ in 0..5 {
        assert!(!call.is_heard(&neighbour));
        assert!(call.is_heard(&party));
    }
    assert!(call.is_sent_to(&party) && !call.is_sent_to(&neighbour));
    assert_eq!((call.count("dropped_source"), call.count("latched")), (5, 1));
}

#[test]
fn a_reinvite_that_names_another_address_is_followed_and_the_old_one_is_a_stranger_s() {
    let (old, new, attacker) = (open("127.0.0.1"), open("127.0.0.3"), open("127.0.0.2"));
    let mut call = Call::new(old.local_addr().unwrap());
    for _ in 0..6 {
        assert!(call.is_heard(&old));
    }
    let moved = Command::Agree { leg: call.leg, agreed: Box::new(agreed(Some(new.local_addr().unwrap()))) };
    call.rig.media(moved);
    assert!(call.is_sent_to(&new) && !call.is_sent_to(&old));
    assert!(!call.is_heard(&old) && !call.is_heard(&attacker));
    // Behind its new address the port may differ again.
    let elsewhere = open("127.0.0.3");
    assert!(call.is_heard(&elsewhere));
    assert!(call.is_sent_to(&elsewhere));
    assert_eq!(call.count("dropped_source"), 2);
}

#[test]
fn a_nat_that_gives_another_port_mid_call_is_followed_after_a_second_of_silence() {
    let (party, rebound, attacker) = (open("127.0.0.1"), open("127.0.0.1"), open("127.0.0.2"));
    let mut call = Call::new(party.local_addr().unwrap());
    for _ in 0..6 {
        assert!(call.is_heard(&party));
    }
    let silent = Instant::now();
    let mut refused = 0;
    call.until("the new port is never heard", |call| {
        assert!(!call.is_heard(&attacker), "however long the silence");
        refused += 1;
        call.is_heard(&rebound)
    });
    assert!(silent.elapsed() > Duration::from_millis(950), "{:?}", silent.elapsed());
    assert!(silent.elapsed() < Duration::from_millis(2_500), "{:?}", silent.elapsed());
    assert!(call.is_sent_to(&rebound) && !call.is_sent_to(&attacker));
    assert!(refused > 1);
}
