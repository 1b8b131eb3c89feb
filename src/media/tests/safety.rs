//! What an attacker sends, and what must never happen under any of it.

use super::super::srtp::{Receive, Send};
use super::*;
use crate::base::Set;

/// Follows what one receiver gets: every packet must be true under the receiver's own guess of the index, and no
/// index may come twice under one key and SSRC (pitfall 31a).
struct Ear {
    receive: Receive,
    used: Set<(u32, u64)>,
    top: Option<u64>,
}

impl Ear {
    fn new(keys: &Keys) -> Ear {
        Ear { receive: Receive::new(keys.profile, &keys.send, 16), used: Set::default(), top: None }
    }

    fn hear(&mut self, packet: &mut Packet) {
        let header = Header::parse(packet.bytes()).unwrap();
        let index = match self.top {
            None => u64::from(header.sequence),
            Some(top) => {
                top.saturating_add_signed(i64::from(header.sequence.wrapping_sub(top as u16) as i16))
            }
        };
        self.top = Some(self.top.unwrap_or(0).max(index));
        assert!(self.used.insert((header.ssrc, index)), "index {index} is used twice");
        self.receive.unprotect(packet).unwrap();
    }
}

/// A phone whose packets come doubled, in any order, from changing sources, with leaps; holds, joins and new keys.
fn storm(profile: Profile, packets: usize, seed: u64) -> usize {
    let mut bed = Bed::small();
    let (browser, phone) = bed.pair(Some(profile), None);
    let other = bed.party(None);
    let mut random = Random::from_number(seed);
    let mut ear = Ear::new(browser.keys.as_ref().unwrap());
    let (mut ssrc, mut sequence, mut timestamp) = (7, 65_000_u16, 0_u32);
    let (mut heard, mut speaker) = (0, phone.clone());
    let mut packet = Packet::default();
    for n in 0..packets {
        sequence = sequence.wrapping_add(1);
        timestamp = timestamp.wrapping_add(160);
        if n % 64 == 0 {
            bed.now = bed.now.after(Duration::from_millis(random.below(1000)));
        }
        match random.below(20_000) {
            0 => ssrc = random.below(3) as u32,
            1 => sequence = random.u32() as u16,
            2 => timestamp = random.u32(),
            3 => {
                bed.agree(&browser, Agreed { send: random.chance(0.5), ..agreed(None) });
            }
            4 => {
                speaker = if random.chance(0.5) { phone.clone() } else { other.clone() };
                bed.command(Command::Join { a: speaker.leg, b: browser.leg });
                bed.agree(&browser, agreed(None));
            }
            5 => {
                let keys = keys(profile, random.u64());
                bed.command(Command::Keys { leg: browser.leg, keys: Box::new(keys.clone()) });
                ear = Ear::new(&keys);
            }
            6 => bed.command(Command::Keys { leg: browser.leg, keys: Box::new(keys(profile, 1)) }),
            _ => {}
        }
        // One in eight comes again or late, near the wraps too.
        let back = if random.below(8) == 0 { random.below(200) as u16 } else { 0 };
        let sequence = sequence.wrapping_sub(back);
        let timestamp = timestamp.wrapping_sub(160 * u32::from(back));
        packet.fill(&rtp(ssrc, sequence, timestamp, PCMU, &[n as u8; 20]));
        let verdict = bed.plane.handle_rtp(bed.now, speaker.socket.unwrap(), speaker.address, &mut packet);
        if let Verdict::Send { to, .. } = verdict {
            assert_eq!(to, browser.address);
            ear.hear(&mut packet);
            heard += 1;
        }
    }
    bed.settle();
    heard
}

#[test]
fn a_million_packets_in_any_order_never_use_an_index_twice() {
    for (n, profile) in PROFILES.into_iter().enumerate() {
        let heard = storm(profile, 340_000, n as u64);
        assert!(heard > 100_000, "{heard}");
    }
}

#[test]
fn a_hundred_bad_packets_do_not_disturb_the_call() {
    let mut bed = Bed::small();
    let (web, phone) = bed.pair(Some(PROFILES[0]), None);
    assert!(bed.say(&web, &phone, 1, &rtp(7, 1, 0, PCMU, b"x")).is_some());
    let counted = bed.counted(|bed| {
        for n in 0..100_u16 {
            bed.raw(&web, web.address, &rtp(7, 2 + n, 0, PCMU, &[n as u8; 100]));
        }
    });
    assert_eq!(counted, [("dropped_forged", 100)]);
    let protected = |index: u64| {
        let keys = web.keys.as_ref().unwrap();
        reference::protect(keys.profile, &keys.receive, index, &rtp(7, index as u16, 160, PCMU, b"x"))
    };
    assert!(matches!(bed.raw(&web, web.address, &protected(2)).0, Verdict::Send { .. }));
    let counted = bed.counted(|bed| assert_eq!(bed.raw(&web, web.address, &protected(2)).0, Verdict::Drop));
    assert_eq!(counted, [("dropped_repeated", 1)]);
    // From elsewhere, even with a true tag.
    let elsewhere = "203.0.113.4:4000".parse().unwrap();
    let counted = bed.counted(|bed| assert_eq!(bed.raw(&web, elsewhere, &protected(3)).0, Verdict::Drop));
    assert_eq!(counted, [("dropped_unverified", 1)]);
}

#[test]
fn what_is_no_media_is_counted_on_every_socket() {
    let mut bed = Bed::small();
    let (web, phone) = bed.pair(Some(PROFILES[0]), None);
    let stun = [0; 20];
    let dtls = [22; 60];
    for party in [&web, &phone] {
        for bytes in [&stun[..], &dtls, &[], &[0x80], &[0xff; 40]] {
            let counted =
                bed.counted(|bed| assert_eq!(bed.raw(party, party.address, bytes).0, Verdict::Drop));
            assert_eq!(counted, [("dropped_class", 1)]);
        }
    }
    // RTP on the RTCP port.
    let rtcp =
        Party { socket: phone.socket.map(|socket| SocketId::new(ShardId(0), 0, socket.slot() + 1)), ..phone };
    let counted = bed.counted(|bed| {
        assert_eq!(bed.raw(&rtcp, rtcp.address, &rtp(7, 1, 0, PCMU, b"x")).0, Verdict::Drop);
    });
    assert_eq!(counted, [("dropped_class", 1)]);
}

#[test]
fn a_hundred_thousand_random_datagrams_never_panic() {
    let mut bed = Bed::small();
    let (web, phone) = bed.pair(Some(PROFILES[1]), None);
    let mut random = Random::from_number(6);
    let mut bytes = [0; 256];
    let rtcp = SocketId::new(ShardId(0), 0, phone.socket.unwrap().slot() + 1);
    let keys = web.keys.clone().unwrap();
    let mut browser = Send::new(keys.profile, &keys.receive, 16);
    let mut packet = Packet::default();
    for n in 0..100_000_u64 {
        random.fill(&mut bytes);
        if random.chance(0.9) {
            bytes[0] = 0x80 | bytes[0] & 0x3f;
        }
        if random.chance(0.5) {
            bytes[1] = PCMU;
            let ssrc = bytes[8] & 3;
            bytes[8..12].copy_from_slice(&[0, 0, 0, ssrc]);
        }
        packet.fill(&bytes[..random.below(257) as usize]);
        match n % 4 {
            0 => drop(bed.plane.handle_web(bed.now, web.address, &mut packet)),
            1 => drop(bed.plane.handle_rtp(bed.now, phone.socket.unwrap(), phone.address, &mut packet)),
            2 => {
                let from = SocketAddr::new(phone.address.ip(), phone.address.port() + 1);
                let _ = bed.plane.handle_rtp(bed.now, rtcp, from, &mut packet);
            }
            _ => {
                // With a true tag around anything.
                let done = if random.chance(0.5) {
                    let words = random.below(40) as u8;
                    let head = [0x80 | bytes[0] & 0x1f, 200 + bytes[1] % 8, 0, words];
                    bytes[..4].copy_from_slice(&head);
                    packet.fill(&bytes[..4 + 4 * usize::from(words)]);
                    browser.protect_rtcp(&mut packet).is_ok()
                } else {
                    browser.protect(n, &mut packet).is_ok()
                };
                if done {
                    let _ = bed.plane.handle_web(bed.now, web.address, &mut packet);
                }
            }
        }
    }
    bed.settle();
    assert!(bed.plane.counters().forwarded > 1000);
    assert!(bed.plane.counters().rtcp_received > 10);
}

#[test]
fn a_packet_of_the_longest_size_is_forwarded() {
    for profile in PROFILES {
        let mut bed = Bed::small();
        let (phone, web) = bed.pair(None, Some(profile));
        let clear = rtp(7, 1, 0, PCMU, &vec![5; Packet::MAX - 12]);
        assert_eq!(bed.say(&phone, &web, 0, &clear).unwrap()[12..], clear[12..]);
    }
}

#[test]
fn debug_shows_no_secret() {
    let mut bed = Bed::small();
    let party = bed.party(Some(PROFILES[1]));
    let text = format!("{:?}", bed.plane);
    let keys = party.keys.unwrap();
    for secret in [&keys.send[..16], &keys.receive[..16]] {
        assert!(!text.contains(&format!("{secret:?}")[1..40]));
    }
}
