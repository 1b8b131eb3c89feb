//! Forwarding a packet allocates nothing: every kind of leg, every SRTP profile, both directions.
//!
//! In a binary of its own, for the counting allocator.
#![allow(unsafe_code)] // The counting allocator.
#![allow(clippy::disallowed_methods)] // A test needs some instant.

#[allow(dead_code, reason = "the benches use the rest")]
#[path = "../benches/media/mod.rs"]
mod media;

use bridgehead::base::{Key, LegId, Mint, Now, Packet, Random, RealmId, ShardId, Side, SocketId};
use bridgehead::media::srtp::Send;
use bridgehead::media::{Agreed, Codec, Command, Config, Event, Format, Kind, Output, Plane, Verdict};
use bridgehead::rtp::Profile;
use media::{PROFILES, allocations, keys, rtp};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

struct Party {
    leg: LegId,
    address: SocketAddr,
    socket: Option<SocketId>,
    srtp: Option<Send>,
}

fn agreed(remote: SocketAddr) -> Agreed {
    let format = |name: &str, number| {
        let codec = Codec { name: name.into(), clock: 8000, channels: 1 };
        Format { codec, receive: number, send: number }
    };
    Agreed {
        remote: Some(remote),
        remote_rtcp: None,
        rtcp_mux: false,
        send: true,
        receive: true,
        raw: false,
        formats: vec![format("pcmu", 0), format("cn", 13), format("red", 97)],
        ptime_ms: 20,
    }
}

fn party(plane: &mut Plane, now: Now, mint: &mut Mint, profile: Option<Profile>, port: u16) -> Party {
    let (side, kind) = match profile {
        Some(_) => (Side::Web, Kind::Web),
        None => (Side::Sip, Kind::Rtp(RealmId(0))),
    };
    let (leg, address) = (mint.leg(side), SocketAddr::from(([127, 0, 0, 1], port)));
    plane.handle_command(now, Command::Open { leg, kind });
    let mut socket = None;
    while let Some(output) = plane.poll_output() {
        let of = |port: u16| SocketId::new(ShardId(0), 0, u32::from(port));
        match output {
            Output::Bind { realm, port, .. } => plane.bound(now, realm, port, of(port)),
            Output::Event(Event::Opened { address, .. }) => {
                socket = address.map(|address| of(address.port()));
            }
            _ => {}
        }
    }
    plane.handle_command(now, Command::Agree { leg, agreed: Box::new(agreed(address)) });
    let srtp = profile.map(|profile| {
        let keys = keys(profile, u64::from(port));
        let srtp = Send::new(profile, &keys.receive, 1);
        plane.handle_command(now, Command::Path { leg, address });
        plane.handle_command(now, Command::Keys { leg, keys: Box::new(keys) });
        srtp
    });
    Party { leg, address, socket, srtp }
}

/// Sends packets from a party over a sequence wrap; says how many allocations the plane made.
fn run(plane: &mut Plane, now: Now, from: &mut Party) -> u64 {
    let mut packet = Packet::default();
    let (mut count, mut now) = (0, now);
    for index in 65_000..67_000_u64 {
        let mut clear = rtp(7, index as u16);
        // Sound, noise and redundancy in turn; the last is of one block.
        clear[1] = [0, 13, 97][index as usize % 3];
        clear[12] = 0;
        packet.fill(&clear);
        if let Some(srtp) = &mut from.srtp {
            srtp.protect(index, &mut packet).unwrap();
        }
        now = now.after(Duration::from_millis(20));
        let before = allocations();
        let verdict = match from.socket {
            Some(socket) => plane.handle_rtp(now, socket, from.address, &mut packet),
            None => plane.handle_web(now, from.address, &mut packet),
        };
        count += allocations() - before;
        assert!(matches!(verdict, Verdict::Send { .. }), "{:?}", plane.counters());
    }
    count
}

#[test]
fn forwarding_allocates_nothing_whatever_the_legs() {
    let kinds: Vec<_> = [None].into_iter().chain(PROFILES.map(Some)).collect();
    for a in &kinds {
        for b in &kinds {
            let mut plane = Plane::new(ShardId(0), Arc::new(Config::default()), Random::from_number(1));
            plane.set_web_socket(Some(SocketId::new(ShardId(0), 0, 40_000)), None);
            let now = Now { instant: Instant::now(), unix: Duration::from_secs(1) };
            let mut mint = Mint::new(ShardId(0), true);
            let mut first = party(&mut plane, now, &mut mint, *a, 4000);
            let mut second = party(&mut plane, now, &mut mint, *b, 5000);
            plane.handle_command(now, Command::Join { a: first.leg, b: second.leg });
            for from in [&mut first, &mut second] {
                assert_eq!(run(&mut plane, now, from), 0, "{a:?} to {b:?}");
            }
        }
    }
}
