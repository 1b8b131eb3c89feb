//! The plane as its neighbours see it: commands in, packets through, RTCP out.

mod calls;
mod latching;
mod music;
mod ports;
mod rtcp;
mod safety;
mod shared;
mod timelines;

use super::srtp::reference;
use super::{Agreed, Codec, Command, Config, Event, Format, Kind, Output, Plane, Realm, Verdict};
use crate::base::{Key, LegId, Map, Mint, Now, Packet, Random, RealmId, ShardId, Side, SocketId};
use crate::rtp::{Header, Keys, Profile};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const PROFILES: [Profile; 3] =
    [Profile::AesCm128Sha1_80, Profile::AeadAes128Gcm, Profile::AeadAes256Gcm];
pub(super) const PCMU: u8 = 0;
pub(super) const EVENT: u8 = 101;

#[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
fn start() -> Now {
    Now { instant: Instant::now(), unix: Duration::from_hours(500_000) }
}

pub(super) fn codec(name: &str, clock: u32) -> Codec {
    Codec { name: name.into(), clock, channels: if name == "opus" { 2 } else { 1 } }
}

pub(super) fn format(name: &str, clock: u32, number: u8) -> Format {
    Format { codec: codec(name, clock), receive: number, send: number }
}

pub(super) fn agreed(remote: Option<SocketAddr>) -> Agreed {
    Agreed {
        remote,
        remote_rtcp: None,
        rtcp_mux: false,
        send: true,
        receive: true,
        raw: false,
        formats: vec![format("pcmu", 8000, PCMU), format("telephone-event", 8000, EVENT)],
        ptime_ms: 20,
    }
}

pub(super) fn keys(profile: Profile, seed: u64) -> Keys {
    let mut random = Random::from_number(seed);
    let mut keys = Keys { profile, receive: [0; 46], send: [0; 46] };
    random.fill(&mut keys.receive);
    random.fill(&mut keys.send);
    keys
}

pub(super) fn rtp(ssrc: u32, sequence: u16, timestamp: u32, number: u8, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        marker: false,
        padding: false,
        payload_type: number,
        sequence,
        timestamp,
        ssrc,
        csrcs: 0,
        extended: false,
        length: 12,
    };
    [&header.write()[..], payload].concat()
}

/// A plane, the shard around it, and the clock.
pub(super) struct Bed {
    pub(super) plane: Plane,
    pub(super) now: Now,
    pub(super) events: Vec<Event>,
    pub(super) sent: Vec<(SocketId, SocketAddr, Vec<u8>)>,
    /// Ports that the system refuses.
    pub(super) taken: Vec<u16>,
    /// Bound sockets by port.
    pub(super) bound: Map<u16, SocketId>,
    pub(super) unbound: Vec<u16>,
    next_socket: u32,
    mint: Mint,
    next_party: u16,
}

/// A party of a call, beyond the plane.
#[derive(Clone)]
pub(super) struct Party {
    pub(super) leg: LegId,
    pub(super) address: SocketAddr,
    pub(super) ssrc: u32,
    /// Where an RTP party sends to.
    pub(super) socket: Option<SocketId>,
    pub(super) keys: Option<Keys>,
}

pub(super) const WEB: u32 = 900;

impl Bed {
    pub(super) fn new(config: Config) -> Bed {
        let plane = Plane::new(ShardId(0), Arc::new(config), Random::from_number(1));
        let mut bed = Bed {
            plane,
            now: start(),
            events: Vec::new(),
            sent: Vec::new(),
            taken: Vec::new(),
            bound: Map::default(),
            unbound: Vec::new(),
            next_socket: 0,
            mint: Mint::new(ShardId(0), true),
            next_party: 0,
        };
        let socket = |slot| Some(SocketId::new(ShardId(0), 0, slot));
        bed.plane.set_web_socket(socket(WEB), socket(WEB + 1));
        bed
    }

    pub(super) fn small() -> Bed {
        let realm = Realm { address: IpAddr::V4(Ipv4Addr::LOCALHOST), ports: 20_000..=20_199, shared: false };
        let mut bed = Bed::new(Config { realms: vec![realm], stock: 2, ..Config::default() });
        bed.settle();
        bed
    }

    /// Plays the shard until the plane is quiet.
    pub(super) fn settle(&mut self) {
        while let Some(output) = self.plane.poll_output() {
            match output {
                Output::Event(event) => self.events.push(event),
                Output::Send { socket, to, data } => self.sent.push((socket, to, data)),
                Output::Bind { realm, port, .. } if self.taken.contains(&port) => {
                    self.plane.bind_failed(self.now, realm, port);
                }
                Output::Bind { realm, port, .. } => {
                    let socket = SocketId::new(ShardId(0), 0, self.next_socket);
                    self.next_socket += 1;
                    assert!(self.bound.insert(port, socket).is_none(), "{port} was bound twice");
                    self.plane.bound(self.now, realm, port, socket);
                }
                Output::Unbind { socket } => {
                    let port = *self.bound.iter().find(|(_, bound)| **bound == socket).unwrap().0;
                    self.bound.remove(&port);
                    self.unbound.push(port);
                }
            }
        }
        self.plane.check_invariants();
    }

    pub(super) fn command(&mut self, command: Command) {
        self.plane.handle_command(self.now, command);
        self.settle();
    }

    /// Lets time pass, and the timers in it act.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now.after(time);
        while let Some(deadline) = self.plane.poll_timeout().filter(|deadline| deadline.at <= end.instant) {
            let step = deadline.at.saturating_duration_since(self.now.instant);
            self.now = self.now.after(step);
            self.plane.handle_timeout(self.now);
            self.settle();
        }
        let rest = end.instant - self.now.instant;
        self.now = self.now.after(rest);
    }

    pub(super) fn ms(&mut self, time: u64) {
        self.pass(Duration::from_millis(time));
    }

    pub(super) fn open(&mut self, kind: Kind) -> (LegId, Option<Event>) {
        let leg = self.mint.leg(if kind == Kind::Web { Side::Web } else { Side::Sip });
        self.command(Command::Open { leg, kind });
        (leg, self.events.pop())
    }

    /// A leg with everything that media needs. `profile` makes it a web leg.
    pub(super) fn party(&mut self, profile: Option<Profile>) -> Party {
        self.next_party += 1;
        let kind = if profile.is_some() { Kind::Web } else { Kind::Rtp(RealmId(0)) };
        let (leg, event) = self.open(kind);
        let Some(Event::Opened { ssrc, address: ours, .. }) = event else { panic!("{event:?}") };
        let address = SocketAddr::from(([192, 0, 2, 1], 40_000 + 2 * self.next_party));
        let mut party = Party { leg, address, ssrc, socket: None, keys: None };
        if let Some(profile) = profile {
            let keys = keys(profile, u64::from(self.next_party));
            self.command(Command::Path { leg, address });
            self.command(Command::Keys { leg, keys: Box::new(keys.clone()) });
            self.agree(&party, agreed(None));
            party.keys = Some(keys);
        } else {
            party.socket = self.bound.get(&ours.unwrap().port()).copied();
            self.agree(&party, agreed(Some(address)));
        }
        party
    }

    pub(super) fn pair(&mut self, a: Option<Profile>, b: Option<Profile>) -> (Party, Party) {
        let (a, b) = (self.party(a), self.party(b));
        self.command(Command::Join { a: a.leg, b: b.leg });
        (a, b)
    }

    pub(super) fn agree(&mut self, party: &Party, agreed: Agreed) {
        self.command(Command::Agree { leg: party.leg, agreed: Box::new(agreed) });
    }

    /// A datagram as it comes from the network.
    pub(super) fn raw(&mut self, party: &Party, from: SocketAddr, bytes: &[u8]) -> (Verdict, Packet) {
        let mut packet = Packet::default();
        packet.fill(bytes);
        let verdict = match party.socket {
            Some(socket) => self.plane.handle_rtp(self.now, socket, from, &mut packet),
            None => self.plane.handle_web(self.now, from, &mut packet),
        };
        self.plane.check_invariants();
        (verdict, packet)
    }

    /// A party sends RTP (protected with its index where it is a web party); what the other one hears, in the clear.
    pub(super) fn say(&mut self, from: &Party, to: &Party, index: u64, clear: &[u8]) -> Option<Vec<u8>> {
        let bytes = match &from.keys {
            Some(keys) => reference::protect(keys.profile, &keys.receive, index, clear),
            None => clear.to_vec(),
        };
        let (verdict, packet) = self.raw(from, from.address, &bytes);
        let Verdict::Send { to: address, .. } = verdict else { return None };
        assert_eq!(address, to.address);
        Some(to.open(0, packet.bytes()))
    }

    /// The name of the counter that a step raised, and by how much all of them rose.
    pub(super) fn counted(&mut self, step: impl FnOnce(&mut Bed)) -> Vec<(&'static str, u64)> {
        let before = *self.plane.counters();
        step(self);
        let after = *self.plane.counters();
        let pairs = before.iter().zip(after.iter());
        pairs.filter(|(a, b)| a.1 != b.1).map(|(a, b)| (b.0, b.1 - a.1)).collect()
    }
}

impl Party {
    /// What it hears in a packet that reaches it.
    pub(super) fn open(&self, roc: u32, bytes: &[u8]) -> Vec<u8> {
        match &self.keys {
            Some(keys) => reference::unprotect(keys.profile, &keys.send, roc, bytes).expect("a true tag"),
            None => bytes.to_vec(),
        }
    }
}
