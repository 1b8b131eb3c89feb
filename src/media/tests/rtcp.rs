//! Reports of our own, and what becomes of theirs.

use super::*;
use crate::rtp::rtcp::{self, Block, Packet as Rtcp, Sending};

/// Reports that reached a party, in the clear.
fn reports(bed: &mut Bed, party: &Party) -> Vec<Vec<u8>> {
    let (mine, rest) = std::mem::take(&mut bed.sent).into_iter().partition::<Vec<_>, _>(|sent| {
        sent.1.ip() == party.address.ip() && sent.1.port() & !1 == party.address.port() & !1
    });
    bed.sent = rest;
    let clear = |data: Vec<u8>| match &party.keys {
        Some(keys) => reference::unprotect_rtcp(keys.profile, &keys.send, &data).unwrap(),
        None => data,
    };
    mine.into_iter().map(|(_, _, data)| clear(data)).collect()
}

/// RTCP from a party, protected where it must be.
fn tell(bed: &mut Bed, party: &Party, bytes: &[u8]) -> Verdict {
    let mut packet = Packet::default();
    packet.fill(bytes);
    let Some(keys) = &party.keys else {
        let socket = party.socket.unwrap();
        let rtcp = SocketId::new(ShardId(0), 0, socket.slot() + 1);
        let from = SocketAddr::new(party.address.ip(), party.address.port() + 1);
        return bed.plane.handle_rtp(bed.now, rtcp, from, &mut packet);
    };
    super::super::srtp::Send::new(keys.profile, &keys.receive, 1).protect_rtcp(&mut packet).unwrap();
    bed.plane.handle_web(bed.now, party.address, &mut packet)
}

fn talk(bed: &mut Bed, from: &Party, to: &Party, ssrc: u32, range: std::ops::Range<u16>) {
    for n in range {
        bed.ms(20);
        bed.say(from, to, u64::from(n), &rtp(ssrc, n, 160 * u32::from(n), PCMU, &[0; 160]));
    }
}

#[test]
fn both_sides_get_honest_reports_in_their_own_manner() {
    for profile in PROFILES {
        let mut bed = Bed::small();
        let (web, phone) = bed.pair(Some(profile), None);
        talk(&mut bed, &web, &phone, 7, 1..301);
        let told = reports(&mut bed, &phone);
        let [Rtcp::Report { ssrc, sending: Some(sending), .. }, Rtcp::Description { cname, .. }] =
            &rtcp::parse(told.last().unwrap()).unwrap().collect::<Vec<_>>()[..]
        else {
            panic!()
        };
        assert_eq!((*ssrc, cname.len()), (phone.ssrc, 16));
        assert!(sending.packets > 50 && sending.octets == sending.packets * 160);
        let told = reports(&mut bed, &web);
        let Some(Rtcp::Report { ssrc, sending: None, mut blocks }) = rtcp::parse(&told[0]).unwrap().next()
        else {
            panic!("nothing was sent to the browser")
        };
        let block = blocks.next().unwrap();
        assert_eq!((ssrc, block.ssrc, block.lost, block.fraction, block.jitter), (web.ssrc, 7, 0, 0, 0));
    }
}

#[test]
fn losses_and_jitter_are_counted() {
    let mut bed = Bed::small();
    let (phone, web) = bed.pair(None, Some(PROFILES[0]));
    for n in 0..400_u16 {
        bed.ms(if n % 2 == 0 { 10 } else { 30 });
        if n % 4 != 3 {
            bed.say(&phone, &web, 0, &rtp(7, 65_400_u16.wrapping_add(n), 160 * u32::from(n), PCMU, b"x"));
        }
    }
    let told = reports(&mut bed, &phone);
    let Some(Rtcp::Report { mut blocks, .. }) = rtcp::parse(told.last().unwrap()).unwrap().next() else {
        panic!()
    };
    let block = blocks.next().unwrap();
    assert!((60..=66).contains(&block.fraction), "a quarter: {}", block.fraction);
    assert!(block.highest >> 16 == 1 && block.lost > 40, "{block:?}");
    assert!((45..=62).contains(&block.jitter), "two of three steps differ by 80: {}", block.jitter);
    let stats = bed.plane.stats(phone.leg).unwrap();
    assert!(stats.lost >= 99 && stats.jitter > Duration::from_millis(5));
}

#[test]
fn the_way_there_and_back_is_measured_on_both_sides() {
    for profile in [None, Some(PROFILES[1]), Some(PROFILES[0])] {
        let mut bed = Bed::small();
        let (party, other) = bed.pair(profile, None);
        talk(&mut bed, &other, &party, 8, 1..400);
        talk(&mut bed, &party, &other, 7, 1..3);
        bed.sent.clear();
        while bed.sent.iter().all(|sent| sent.1.port() & !1 != party.address.port() & !1) {
            talk(&mut bed, &other, &party, 8, 400..402);
            bed.ms(100);
        }
        let told = reports(&mut bed, &party);
        let Some(Rtcp::Report { sending: Some(sending), .. }) = rtcp::parse(&told[0]).unwrap().next() else {
            panic!()
        };
        // The party reports 250 ms after it heard, on a way of 60 ms there and back.
        let late = bed.now.after(Duration::from_millis(310));
        let heard = ((sending.ntp >> 16) as u32).wrapping_add(((bed.now.ntp() - sending.ntp) >> 16) as u32);
        let block = Block {
            ssrc: party.ssrc,
            lost: 3,
            jitter: 16,
            last_sr: (sending.ntp >> 16) as u32,
            delay: heard.wrapping_sub((sending.ntp >> 16) as u32) + (250 << 16) / 1000,
            ..Block::default()
        };
        bed.now = late;
        let mut out = Vec::new();
        let theirs = Sending { ntp: 0x1234_5678_9abc_def0, ..Sending::default() };
        rtcp::write_report(&mut out, 7, Some(&theirs), &[block]);
        assert_eq!(tell(&mut bed, &party, &out), Verdict::Taken);
        let stats = bed.plane.stats(party.leg).unwrap();
        let trip = stats.round_trip.unwrap().as_millis();
        assert!((59..=61).contains(&trip), "{trip}");
        assert_eq!((stats.remote_lost, stats.remote_jitter), (3, Duration::from_millis(2)));
        // Our next report names theirs.
        bed.pass(Duration::from_secs(10));
        let told = reports(&mut bed, &party);
        let Some(Rtcp::Report { mut blocks, .. }) = rtcp::parse(&told[0]).unwrap().next() else { panic!() };
        let block = blocks.next().unwrap();
        assert_eq!(block.last_sr, 0x5678_9abc);
        assert!(block.delay > 1 << 16);
    }
}

#[test]
fn feedback_and_byes_are_counted_and_never_passed_on() {
    let mut bed = Bed::small();
    let (web, _) = bed.pair(Some(PROFILES[0]), None);
    let mut out = Vec::new();
    rtcp::write_report(&mut out, 7, None, &[]);
    out.extend([0x81, 206, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8]);
    out.extend([0x84, 206, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8]);
    out.extend([0x81, 205, 0, 2, 0, 0, 0, 7, 0, 0, 0, 8]);
    rtcp::write_bye(&mut out, 7);
    let counted = bed.counted(|bed| assert_eq!(tell(bed, &web, &out), Verdict::Taken));
    assert_eq!(counted, [("rtcp_received", 1), ("pli", 1), ("fir", 1), ("feedback", 1), ("bye", 1)]);
    assert!(bed.sent.is_empty());
}

#[test]
fn replayed_forged_and_broken_rtcp_is_counted() {
    let mut bed = Bed::small();
    let (web, phone) = bed.pair(Some(PROFILES[2]), None);
    let mut out = Vec::new();
    rtcp::write_report(&mut out, 7, None, &[]);
    assert_eq!(tell(&mut bed, &web, &out), Verdict::Taken);
    let counted = bed.counted(|bed| assert_eq!(tell(bed, &web, &out), Verdict::Drop));
    assert_eq!(counted, [("dropped_repeated", 1)]);
    let forged = Party { keys: Some(keys(PROFILES[2], 77)), ..web.clone() };
    out[7] = 9;
    let counted = bed.counted(|bed| assert_eq!(tell(bed, &forged, &out), Verdict::Drop));
    assert_eq!(counted, [("dropped_forged", 1)]);
    out.push(0);
    let counted = bed.counted(|bed| assert_eq!(tell(bed, &phone, &out), Verdict::Drop));
    assert_eq!(counted, [("dropped_malformed", 1)]);
    let stranger = Party { address: "203.0.113.1:1000".parse().unwrap(), ..phone };
    let counted = bed.counted(|bed| assert_eq!(tell(bed, &stranger, &out), Verdict::Drop));
    assert_eq!(counted, [("dropped_source", 1)]);
}

#[test]
fn rtcp_shares_the_rtp_port_only_where_both_agreed() {
    let mut bed = Bed::small();
    let (a, b) = bed.pair(None, None);
    talk(&mut bed, &b, &a, 8, 1..3);
    let mut out = Vec::new();
    rtcp::write_report(&mut out, 7, None, &[]);
    let counted = bed.counted(|bed| assert_eq!(bed.raw(&a, a.address, &out).0, Verdict::Drop));
    assert_eq!(counted, [("dropped_class", 1)]);
    bed.pass(Duration::from_secs(9));
    assert!(bed.sent.iter().any(|sent| sent.1.port() == a.address.port() + 1));
    bed.agree(&a, Agreed { rtcp_mux: true, ..agreed(Some(a.address)) });
    assert_eq!(bed.raw(&a, a.address, &out).0, Verdict::Taken);
    let elsewhere = SocketAddr::new(a.address.ip(), 1);
    assert_eq!(bed.raw(&a, elsewhere, &out).0, Verdict::Drop);
    bed.sent.clear();
    bed.pass(Duration::from_secs(9));
    assert!(bed.sent.iter().any(|sent| sent.1 == a.address && Some(sent.0) == a.socket));
    // An address of its own (a=rtcp), with the port learned within it.
    bed.sent.clear();
    let rtcp = "192.0.2.50:9000".parse().unwrap();
    bed.agree(&a, Agreed { remote_rtcp: Some(rtcp), ..agreed(Some(a.address)) });
    talk(&mut bed, &b, &a, 8, 3..5);
    bed.pass(Duration::from_secs(9));
    assert!(bed.sent.iter().any(|sent| sent.1 == rtcp));
}

#[test]
fn silent_legs_report_nothing_and_closed_ones_say_bye() {
    let mut bed = Bed::small();
    let (web, phone) = bed.pair(Some(PROFILES[0]), None);
    bed.pass(Duration::from_mins(1));
    assert!(bed.sent.is_empty());
    talk(&mut bed, &web, &phone, 7, 1..5);
    bed.sent.clear();
    bed.command(Command::Close { leg: phone.leg });
    let told = reports(&mut bed, &phone);
    let packets: Vec<_> = rtcp::parse(&told[0]).unwrap().collect();
    assert_eq!(packets[2], Rtcp::Bye { ssrc: Some(phone.ssrc) });
    bed.command(Command::Close { leg: web.leg });
    assert!(bed.sent.is_empty(), "nothing was ever sent to the browser");
    bed.pass(Duration::from_mins(1));
    assert!(bed.plane.poll_timeout().is_none(), "no timer is left behind");
}

#[test]
fn reports_come_every_five_seconds_or_so_but_never_in_step() {
    let mut bed = Bed::small();
    let (web, phone) = bed.pair(Some(PROFILES[0]), None);
    let mut at = Vec::new();
    for n in 0..6000_u16 {
        talk(&mut bed, &web, &phone, 7, n..n + 1);
        at.extend(reports(&mut bed, &phone).iter().map(|_| bed.now.unix));
        bed.sent.clear();
    }
    let gaps: Vec<_> = at.windows(2).map(|pair| pair[1].abs_diff(pair[0]).as_millis()).collect();
    assert!((20..40).contains(&gaps.len()), "{}", gaps.len());
    assert!(gaps.iter().all(|gap| (2000..6300).contains(gap)), "{gaps:?}");
    assert!(gaps.iter().max().unwrap() - gaps.iter().min().unwrap() > 1000);
}
