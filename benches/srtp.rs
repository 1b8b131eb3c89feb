//! SRTP in place, beside the bare cipher of the same bytes in the same run: nanoseconds and allocations a packet.
//!
//! Run: `cargo bench --bench srtp`. Each figure is the best of several rounds, taken in turn, so that a noisy
//! neighbour harms all alike. The packet is 172 bytes: 20 ms of G.711.
//!
//! Measured (two cores of an AMD EPYC, one for the bench, machine busy; trust the ratios), protect/unprotect:
//! AES-CM-SHA1-80 199/205 ns, 1.01/1.11 x floor; AES-128-GCM 123/124 ns, 1.12/1.09; AES-256-GCM 129/129 ns, 1.13/1.09.
//! Unprotect, rewrite and protect together: 1.08, 1.11 and 1.11 x floor (target: 1.3).
//! Why these primitives: AES-CM-SHA1 is RustCrypto's AES and bare SHA-1 compression from HMAC midstates; through the
//! buffered `Sha1` it took 287/305 ns, through aws-lc-rs's safe API 318. AES-GCM is aws-lc-rs with keys kept; the bare
//! cipher of ring, measured alone in the same minute, was 102/106 ns against 108/113: no reason for a third stack.
//! libsrtp is not here: no crate builds it without a system library or cmake.
#![allow(unsafe_code)] // The counting allocator.
#![allow(clippy::disallowed_methods)] // A bench reads the clock.

#[path = "media/bare.rs"]
mod bare;
#[path = "media/mod.rs"]
mod media;

use aws_lc_rs::cipher::{AES_128, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use bare::Bare;
use bridgehead::base::Packet;
use bridgehead::media::srtp::{Receive, Send};
use bridgehead::rtp::{Header, Profile};
use media::{Best, PROFILES, keys, line, packet, rtp};
use std::hint::black_box;

const PACKETS: usize = 4096;
const ROUNDS: usize = 40;

#[derive(Default)]
struct Figures {
    fill: Best,
    seal: Best,
    protect: Best,
    open: Best,
    unprotect: Best,
    both_bare: Best,
    both: Best,
}

/// Packets as the far side protects them.
fn from_sender(profile: Profile) -> Vec<Vec<u8>> {
    let mut send = Send::new(profile, &keys(profile, 1).receive, 4);
    (0..PACKETS)
        .map(|n| {
            let mut packet = packet(&rtp(7, n as u16));
            send.protect(n as u64, &mut packet).unwrap();
            packet.bytes().to_vec()
        })
        .collect()
}

fn measure(profile: Profile) -> Figures {
    let keys = keys(profile, 1);
    let tag = profile.tag_length();
    let clear = rtp(7, 1);
    let padded = [&clear[..], &vec![0; tag]].concat();
    let protected = from_sender(profile);
    let bare = Bare::new(profile, 3);
    let sealed: Vec<Vec<u8>> = (0..PACKETS)
        .map(|n| {
            let mut bytes = padded.clone();
            bare.seal(&mut bytes, n);
            bytes
        })
        .collect();
    let mut slot = Packet::default();
    let mut index = 0;
    let mut send = Send::new(profile, &keys.send, 4);
    let mut figures = Figures::default();
    // The first packet of an SSRC makes its window.
    send.protect(index, &mut packet(&clear)).unwrap();
    for _ in 0..ROUNDS {
        figures.fill.round(PACKETS, |_| {
            slot.fill(black_box(&padded));
        });
        figures.seal.round(PACKETS, |n| {
            slot.fill(&padded);
            black_box(bare.seal(slot.bytes_mut(), n));
        });
        figures.protect.round(PACKETS, |_| {
            slot.fill(&clear);
            index += 1;
            black_box(send.protect(index, &mut slot)).unwrap();
        });
        figures.open.round(PACKETS, |n| {
            slot.fill(&sealed[n]);
            assert!(black_box(bare.open(slot.bytes_mut(), n)));
        });
        let mut receive = Receive::new(profile, &keys.receive, 4);
        figures.unprotect.round(PACKETS, |n| {
            slot.fill(&protected[n]);
            black_box(receive.unprotect(&mut slot)).unwrap();
        });
        figures.both_bare.round(PACKETS, |n| {
            slot.fill(&sealed[n]);
            assert!(bare.open(slot.bytes_mut(), n));
            black_box(bare.seal(slot.bytes_mut(), n));
        });
        let mut receive = Receive::new(profile, &keys.receive, 4);
        figures.both.round(PACKETS, |n| {
            slot.fill(&protected[n]);
            let header = receive.unprotect(&mut slot).unwrap();
            let header = Header { ssrc: 7, timestamp: header.timestamp + 9, marker: true, ..header };
            slot.bytes_mut()[..12].copy_from_slice(&header.write());
            index += 1;
            black_box(send.protect(index, &mut slot)).unwrap();
        });
    }
    figures
}

/// AES-CM with HMAC-SHA1 through the safe API of aws-lc-rs, to show why it is not what we use.
fn other_stack() -> Best {
    let padded = [&rtp(7, 1)[..], &[0; 10]].concat();
    let mac = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &[3; 20]);
    let key = EncryptingKey::ctr(UnboundCipherKey::new(&AES_128, &[3; 16]).unwrap()).unwrap();
    let mut slot = Packet::default();
    let mut best = Best::default();
    for _ in 0..ROUNDS {
        best.round(PACKETS, |n| {
            slot.fill(&padded);
            let bytes = slot.bytes_mut();
            let iv = ((n as u128) << 16).to_be_bytes();
            let context = EncryptionContext::Iv128((&iv).into());
            key.less_safe_encrypt(&mut bytes[12..172], context).unwrap();
            black_box(hmac::sign(&mac, &bytes[..176]));
        });
    }
    best
}

fn main() {
    println!("172-byte packets, best of {ROUNDS} rounds of {PACKETS}; filling the slot is in every figure\n");
    for profile in PROFILES {
        let figures = measure(profile);
        println!("{profile:?}");
        line("  fill the slot", figures.fill, None);
        line("  floor: bare cipher and tag", figures.seal, None);
        line("  protect", figures.protect, Some(figures.seal));
        line("  floor: bare check and cipher", figures.open, None);
        line("  unprotect", figures.unprotect, Some(figures.open));
        line("  floor: both", figures.both_bare, None);
        line("  unprotect, rewrite, protect", figures.both, Some(figures.both_bare));
        for best in [figures.protect, figures.unprotect, figures.both] {
            assert_eq!(best.allocations, 0, "SRTP allocates");
        }
    }
    println!("beside it");
    line("  AES-CM-SHA1 by aws-lc-rs's safe API", other_stack(), None);
}
