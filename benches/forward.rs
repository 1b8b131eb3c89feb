//! The way of a packet through the plane, beside the bare ciphers of the same bytes: nanoseconds and allocations.
//!
//! Run: `cargo bench --bench forward`. With one call everything is hot; with 2,000 calls in turn each packet finds its
//! call's state where 1,999 others have left the caches. The floor is the bare cipher with as many keys, used in turn,
//! with the slot filled as a receive would. Allocations are asserted to be none.
//!
//! Measured (two cores of an AMD EPYC, one for the bench, machine busy; trust the ratios), 1 call / 2,000 calls:
//! RTP to RTP 42/58 ns; AES-CM to RTP 311/359 ns (1.32/1.54 x floor), back 299/319 (1.15/1.37); AES-128-GCM to RTP
//! 189/252 (1.64/2.17), back 166/204 (1.48/1.80); AES-256-GCM to RTP 183/240 (1.53/1.98), back 171/224 (1.45/1.89).
//! So everything but the cipher is 40 to 75 ns hot and 60 to 135 ns cold.
#![allow(unsafe_code)] // The counting allocator.
#![allow(clippy::disallowed_methods)] // A bench reads the clock.

#[path = "media/bare.rs"]
mod bare;
#[path = "media/mod.rs"]
mod media;

use bare::Bare;
use bridgehead::base::{Key, LegId, Mint, Now, Packet, Random, RealmId, ShardId, Side, SocketId};
use bridgehead::media::srtp::Send;
use bridgehead::media::{Agreed, Codec, Command, Config, Event, Format, Kind, Output, Plane, Realm, Verdict};
use bridgehead::rtp::Profile;
use media::{Best, PROFILES, keys, line, packet, rtp};
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Packets of each call, all calls in turn.
const PACKETS: usize = 40_000;
const ROUNDS: u16 = 12;

struct Call {
    web: SocketAddr,
    phone: SocketAddr,
    socket: SocketId,
    browser: Option<Send>,
}

struct Bed {
    plane: Plane,
    now: Now,
    calls: Vec<Call>,
}

fn agreed(remote: Option<SocketAddr>) -> Agreed {
    let codec = Codec { name: "pcmu".into(), clock: 8000, channels: 1 };
    Agreed {
        remote,
        remote_rtcp: None,
        rtcp_mux: true,
        send: true,
        receive: true,
        raw: false,
        formats: vec![Format { codec, receive: 0, send: 0 }],
        ptime_ms: 20,
    }
}

impl Bed {
    /// `first` has SRTP where there is a profile; the other side is RTP.
    fn new(profile: Option<Profile>, calls: usize) -> Bed {
        let ports = 16_384..=32_767;
        let realms = vec![Realm { address: Ipv4Addr::LOCALHOST.into(), ports, shared: false }];
        let config = Config { realms, legs: 2 * calls, ..Config::default() };
        let plane = Plane::new(ShardId(0), Arc::new(config), Random::from_number(1));
        let now = Now { instant: Instant::now(), unix: Duration::from_secs(1) };
        let mut bed = Bed { plane, now, calls: Vec::new() };
        let web = |slot| Some(SocketId::new(ShardId(0), 0, slot));
        bed.plane.set_web_socket(web(20_000), web(20_001));
        let mut mint = Mint::new(ShardId(0), true);
        for n in 0..calls {
            let at = |host: u8| SocketAddr::from((Ipv4Addr::new(10, host, (n >> 8) as u8, n as u8), 4000));
            let (first, other) = (mint.leg(Side::Web), mint.leg(Side::Sip));
            let kind = if profile.is_some() { Kind::Web } else { Kind::Rtp(RealmId(0)) };
            let from = bed.open(first, kind);
            let socket = bed.open(other, Kind::Rtp(RealmId(0))).unwrap();
            bed.plane
                .handle_command(now, Command::Agree { leg: other, agreed: Box::new(agreed(Some(at(2)))) });
            bed.plane
                .handle_command(now, Command::Agree { leg: first, agreed: Box::new(agreed(Some(at(1)))) });
            bed.plane.handle_command(now, Command::Join { a: first, b: other });
            let mut browser = None;
            if let Some(profile) = profile {
                let keys = keys(profile, n as u64);
                browser = Some(Send::new(profile, &keys.receive, 1));
                bed.plane.handle_command(now, Command::Path { leg: first, address: at(1) });
                bed.plane.handle_command(now, Command::Keys { leg: first, keys: Box::new(keys) });
            }
            let socket = from.filter(|_| profile.is_none()).unwrap_or(socket);
            let phone = if profile.is_some() { at(2) } else { at(1) };
            bed.calls.push(Call { web: at(1), phone, socket, browser });
        }
        bed
    }

    /// Opens a leg and plays the shard; gives the socket of its RTP port.
    fn open(&mut self, leg: LegId, kind: Kind) -> Option<SocketId> {
        self.plane.handle_command(self.now, Command::Open { leg, kind });
        let mut port = None;
        while let Some(output) = self.plane.poll_output() {
            match output {
                Output::Bind { realm, port, .. } => {
                    let socket = SocketId::new(ShardId(0), 0, u32::from(port) - 16_384);
                    self.plane.bound(self.now, realm, port, socket);
                }
                Output::Event(Event::Opened { address, .. }) => port = address.map(|address| address.port()),
                _ => {}
            }
        }
        Some(SocketId::new(ShardId(0), 0, u32::from(port?) - 16_384))
    }

    /// The packets of a round, as the browsers send them: call by call, then the next of each.
    fn browsers(&mut self, round: u16) -> Vec<Vec<u8>> {
        let calls = self.calls.len();
        let each = (PACKETS / calls) as u16;
        let sequence = |n: usize| round.wrapping_mul(each).wrapping_add((n / calls) as u16);
        (0..PACKETS)
            .map(|n| {
                let mut packet = packet(&rtp(7, sequence(n)));
                let browser = self.calls[n % calls].browser.as_mut().unwrap();
                let index = u64::from(round) * u64::from(each) + (n / calls) as u64;
                browser.protect(index, &mut packet).unwrap();
                packet.bytes().to_vec()
            })
            .collect()
    }
}

fn web_to_rtp(profile: Profile, calls: usize) -> (Best, Best) {
    let mut bed = Bed::new(Some(profile), calls);
    let bare: Vec<Bare> = (0..calls).map(|n| Bare::new(profile, n as u8)).collect();
    let (mut best, mut floor) = (Best::default(), Best::default());
    let mut slot = Packet::default();
    for round in 0..ROUNDS {
        let packets = bed.browsers(round);
        bed.now = bed.now.after(Duration::from_millis(20) * (PACKETS / calls) as u32);
        let Bed { plane, now, calls } = &mut bed;
        if round == 0 {
            // The first packet of each call makes its windows.
            for (n, bytes) in packets.iter().enumerate() {
                slot.fill(bytes);
                let verdict = plane.handle_web(*now, calls[n % calls.len()].web, &mut slot);
                assert!(matches!(verdict, Verdict::Send { .. }), "{:?}", plane.counters());
            }
            continue;
        }
        best.round(PACKETS, |n| {
            slot.fill(&packets[n]);
            let verdict = plane.handle_web(*now, calls[n % calls.len()].web, &mut slot);
            assert!(matches!(black_box(verdict), Verdict::Send { .. }));
        });
        let mut sealed = packets;
        for (n, bytes) in sealed.iter_mut().enumerate() {
            bare[n % bare.len()].seal(bytes, n);
        }
        floor.round(PACKETS, |n| {
            slot.fill(&sealed[n]);
            assert!(black_box(bare[n % bare.len()].open(slot.bytes_mut(), n)));
        });
    }
    (best, floor)
}

/// From RTP: to SRTP where there is a profile, else to RTP.
fn rtp_to(profile: Option<Profile>, calls: usize) -> (Best, Best) {
    let mut bed = Bed::new(profile, calls);
    let bare: Vec<Bare> =
        profile.map(|profile| (0..calls).map(|n| Bare::new(profile, n as u8)).collect()).unwrap_or_default();
    let (mut best, mut floor) = (Best::default(), Best::default());
    let mut slot = Packet::default();
    let each = (PACKETS / calls) as u16;
    for round in 0..ROUNDS {
        let first = round.wrapping_mul(each);
        let packets: Vec<_> = (0..PACKETS).map(|n| rtp(8, first.wrapping_add((n / calls) as u16))).collect();
        bed.now = bed.now.after(Duration::from_millis(20) * u32::from(each));
        let Bed { plane, now, calls } = &mut bed;
        if round == 0 {
            for (call, bytes) in calls.iter().zip(&packets) {
                slot.fill(bytes);
                let verdict = plane.handle_rtp(*now, call.socket, call.phone, &mut slot);
                assert!(matches!(verdict, Verdict::Send { .. }), "{:?}", plane.counters());
            }
        }
        let skip = if round == 0 { calls.len() } else { 0 };
        let mut timed = |n: usize| {
            slot.fill(&packets[n]);
            let call = &calls[n % calls.len()];
            let verdict = plane.handle_rtp(*now, call.socket, call.phone, &mut slot);
            assert!(matches!(black_box(verdict), Verdict::Send { .. }));
        };
        best.round(PACKETS - skip, |n| timed(n + skip));
        let tag = profile.map_or(0, Profile::tag_length);
        let padded: Vec<_> = packets.iter().map(|bytes| [&bytes[..], &vec![0; tag]].concat()).collect();
        floor.round(PACKETS, |n| {
            slot.fill(&padded[n]);
            if !bare.is_empty() {
                black_box(bare[n % bare.len()].seal(slot.bytes_mut(), n));
            }
        });
    }
    (best, floor)
}

fn show(name: &str, (best, floor): (Best, Best)) {
    line(&format!("  floor of {name}"), floor, None);
    line(&format!("  {name}"), best, Some(floor));
    assert_eq!(best.allocations, 0, "forwarding allocates");
}

fn main() {
    println!("172-byte packets, best of {ROUNDS} rounds of {PACKETS}; filling the slot is in every figure");
    for calls in [1, 2000] {
        println!("\n{calls} calls");
        show("RTP to RTP", rtp_to(None, calls));
        for profile in PROFILES {
            show(&format!("{profile:?} to RTP"), web_to_rtp(profile, calls));
            show(&format!("RTP to {profile:?}"), rtp_to(Some(profile), calls));
        }
    }
}
