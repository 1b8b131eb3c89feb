//! Legs joined: every kind with every kind, in both directions.

use super::*;
use crate::rtp::{Class, TelephoneEvent, classify};

fn kinds() -> Vec<Option<Profile>> {
    [None].into_iter().chain(PROFILES.map(Some)).collect()
}

#[test]
fn each_hears_the_other_whatever_their_kinds_and_profiles() {
    for a in kinds() {
        for b in kinds() {
            let mut bed = Bed::small();
            let (a, b) = bed.pair(a, b);
            for (from, to) in [(&a, &b), (&b, &a)] {
                let mut last: Option<Header> = None;
                for n in 0..50_u16 {
                    bed.ms(20);
                    let payload = [n as u8; 160];
                    let clear = rtp(7, 100 + n, 5000 + 160 * u32::from(n), PCMU, &payload);
                    let heard = bed.say(from, to, 100 + u64::from(n), &clear).unwrap();
                    let header = Header::parse(&heard).unwrap();
                    assert_eq!((header.ssrc, header.payload_type), (to.ssrc, PCMU));
                    assert_eq!(header.marker, n == 0);
                    assert_eq!(heard[12..], payload);
                    if let Some(last) = last {
                        assert_eq!(header.sequence, last.sequence + 1);
                        assert_eq!(header.timestamp, last.timestamp.wrapping_add(160));
                    }
                    last = Some(header);
                }
            }
            let stats = bed.plane.stats(a.leg).unwrap();
            assert_eq!((stats.packets_received, stats.octets_received), (50, 8000));
            assert_eq!((stats.packets_sent, stats.octets_sent), (50, 8000));
            assert_eq!((stats.lost, bed.plane.last_heard(b.leg)), (0, Some(bed.now.instant)));
        }
    }
}

#[test]
fn extensions_sources_and_padding_that_nobody_agreed_on_are_left_out() {
    for profile in kinds() {
        let mut bed = Bed::small();
        let (a, b) = bed.pair(profile, None);
        let mut clear = rtp(7, 100, 5000, PCMU, &[]);
        clear[0] = 0x80 | 0x20 | 0x10 | 2;
        clear.extend([0, 0, 0, 1, 0, 0, 0, 2, 0xbe, 0xde, 0, 1, 0x10, 0x83, 0, 0]);
        clear.extend(*b"sound");
        clear.extend([0, 0, 3]);
        let heard = bed.say(&a, &b, 100, &clear).unwrap();
        assert_eq!((heard[0], &heard[12..]), (0x80, &b"sound"[..]));
        // Padding that claims more than there is.
        clear[2..4].copy_from_slice(&101_u16.to_be_bytes());
        *clear.last_mut().unwrap() = 200;
        let counted = bed.counted(|bed| assert_eq!(bed.say(&a, &b, 101, &clear), None));
        assert_eq!(counted, [("dropped_malformed", 1)]);
    }
}

#[test]
fn payload_types_are_translated_and_unknown_ones_counted() {
    let mut bed = Bed::small();
    let (a, b) = bed.pair(Some(PROFILES[1]), None);
    let mut ours = agreed(None);
    ours.formats = vec![
        Format { codec: codec("opus", 48_000), receive: 111, send: 109 },
        format("pcmu", 8000, PCMU),
        format("pcma", 8000, 8),
    ];
    bed.agree(&a, ours);
    let mut theirs = agreed(Some(b.address));
    theirs.formats =
        vec![Format { codec: codec("opus", 48_000), receive: 97, send: 96 }, format("pcmu", 8000, 0)];
    bed.agree(&b, theirs);
    let number = |heard: Option<Vec<u8>>| heard.map(|heard| heard[1] & 0x7f);
    assert_eq!(number(bed.say(&a, &b, 1, &rtp(7, 1, 0, 111, b"x"))), Some(96));
    assert_eq!(number(bed.say(&b, &a, 1, &rtp(8, 1, 0, 97, b"x"))), Some(109));
    let counted = bed.counted(|bed| assert_eq!(bed.say(&a, &b, 2, &rtp(7, 2, 0, 109, b"x")), None));
    assert_eq!(counted, [("dropped_payload_type", 1)]);
    let counted = bed.counted(|bed| assert_eq!(bed.say(&a, &b, 3, &rtp(7, 3, 0, 8, b"x")), None));
    assert_eq!(counted, [("dropped_codec", 1)]);
    assert_eq!(number(bed.say(&a, &b, 4, &rtp(7, 4, 0, 111, b"x"))), Some(96));
}

#[test]
fn events_are_carried_from_one_clock_to_another() {
    let mut bed = Bed::small();
    let (a, b) = bed.pair(Some(PROFILES[0]), None);
    let opus = format("opus", 48_000, 111);
    let mut ours = agreed(None);
    ours.formats = vec![opus.clone(), format("telephone-event", 48_000, 110)];
    bed.agree(&a, ours);
    let mut theirs = agreed(Some(b.address));
    theirs.formats = vec![opus, format("telephone-event", 8000, EVENT)];
    bed.agree(&b, theirs);
    let first = bed.say(&a, &b, 1, &rtp(7, 1, 0, 111, b"sound")).unwrap();
    bed.ms(20);
    // One key press: three reports, the last of them the end, all with one timestamp.
    let mut stamps = Vec::new();
    for (n, (flags, duration)) in [(10, 960_u16), (10, 1920), (0x8a, 2880)].into_iter().enumerate() {
        let [high, low] = duration.to_be_bytes();
        let index = 2 + n as u64;
        let heard = bed.say(&a, &b, index, &rtp(7, index as u16, 960, 110, &[5, flags, high, low])).unwrap();
        assert_eq!(heard[1] & 0x7f, EVENT);
        assert_eq!(u16::from_be_bytes([heard[14], heard[15]]), duration / 6);
        assert_eq!(heard[12..14], [5, flags]);
        stamps.push(Header::parse(&heard).unwrap().timestamp);
        bed.ms(20);
    }
    let begin = Header::parse(&first).unwrap().timestamp;
    assert_eq!(stamps, [begin.wrapping_add(960); 3]);
    // The call's sound goes on where it was.
    let heard = bed.say(&a, &b, 5, &rtp(7, 5, 4 * 960, 111, b"sound")).unwrap();
    assert_eq!(Header::parse(&heard).unwrap().timestamp, begin.wrapping_add(4 * 960));
    // And the other way; longer than the other clock can say.
    let heard = bed.say(&b, &a, 1, &rtp(8, 1, 0, EVENT, &[5, 10, 0xff, 0])).unwrap();
    assert_eq!((heard[1] & 0x7f, &heard[14..16]), (110, &[0xff, 0xff][..]));
}

#[test]
fn what_comes_too_early_is_counted_by_what_is_missing() {
    let mut bed = Bed::small();
    let (web, _) = bed.open(Kind::Web);
    let phone = bed.party(None);
    let address: SocketAddr = "198.51.100.7:5000".parse().unwrap();
    let keys = keys(PROFILES[1], 50);
    let mut browser = Party { leg: web, address, ssrc: 0, socket: None, keys: Some(keys.clone()) };
    let mut index = 0;
    let mut try_both = |bed: &mut Bed, browser: &Party| {
        index += 1;
        let clear = rtp(7, index, 160 * u32::from(index), PCMU, b"x");
        bed.counted(|bed| {
            bed.say(browser, &phone, u64::from(index), &clear);
            bed.say(&phone, browser, u64::from(index), &clear);
        })
        .into_iter()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("dropped") || *name == "forwarded")
        .collect::<Vec<_>>()
    };
    assert_eq!(try_both(&mut bed, &browser), ["dropped_unverified", "dropped_unjoined"]);
    bed.command(Command::Join { a: web, b: phone.leg });
    // The browser's description is not known yet: it may not be sent to.
    assert_eq!(try_both(&mut bed, &browser), ["dropped_unverified", "dropped_not_sending"]);
    bed.command(Command::Agree { leg: web, agreed: Box::new(agreed(None)) });
    assert_eq!(try_both(&mut bed, &browser), ["dropped_unverified", "dropped_no_keys"]);
    bed.command(Command::Path { leg: web, address });
    let found = try_both(&mut bed, &browser);
    assert_eq!(found, ["dropped_no_keys"]);
    bed.command(Command::Keys { leg: web, keys: Box::new(keys) });
    assert_eq!(try_both(&mut bed, &browser), ["forwarded"]);
    // Its network changes: both addresses are heard, the new one is sent to.
    let old = browser.clone();
    browser.address = "198.51.100.8:6000".parse().unwrap();
    bed.command(Command::Path { leg: web, address: browser.address });
    assert_eq!(try_both(&mut bed, &browser), ["forwarded"]);
    assert!(bed.say(&old, &phone, 50, &rtp(7, 50, 0, PCMU, b"x")).is_some());
}

#[test]
fn an_address_belongs_to_the_leg_that_verified_it_last() {
    let mut bed = Bed::small();
    let (a, b) = bed.pair(Some(PROFILES[0]), Some(PROFILES[0]));
    let third = bed.party(Some(PROFILES[0]));
    bed.command(Command::Path { leg: third.leg, address: a.address });
    let counted = bed.counted(|bed| assert_eq!(bed.say(&a, &b, 1, &rtp(7, 1, 0, PCMU, b"x")), None));
    assert_eq!(counted, [("dropped_forged", 1)]);
    let counted = bed.counted(|bed| assert_eq!(bed.say(&b, &a, 1, &rtp(7, 1, 0, PCMU, b"x")), None));
    assert_eq!(counted, [("dropped_no_path", 1)]);
    bed.command(Command::Close { leg: third.leg });
    let counted = bed.counted(|bed| assert_eq!(bed.say(&a, &b, 1, &rtp(7, 1, 0, PCMU, b"x")), None));
    assert_eq!(counted, [("dropped_unverified", 1)]);
}

#[test]
fn joining_a_leg_anew_parts_it_from_whom_it_heard_before() {
    let mut bed = Bed::small();
    let (a, b) = bed.pair(Some(PROFILES[1]), None);
    let c = bed.party(None);
    bed.say(&b, &a, 1, &rtp(8, 1, 0, PCMU, b"b")).unwrap();
    bed.command(Command::Join { a: c.leg, b: a.leg });
    let counted = bed.counted(|bed| assert_eq!(bed.say(&b, &a, 1, &rtp(8, 2, 0, PCMU, b"b")), None));
    assert_eq!(counted, [("dropped_unjoined", 1)]);
    assert!(bed.say(&c, &a, 1, &rtp(9, 900, 77, PCMU, b"c")).is_some());
    assert!(bed.say(&a, &c, 1, &rtp(7, 1, 0, PCMU, b"a")).is_some());
    bed.command(Command::Close { leg: c.leg });
    let counted = bed.counted(|bed| assert_eq!(bed.say(&a, &c, 2, &rtp(7, 2, 0, PCMU, b"a")), None));
    assert_eq!(counted, [("dropped_unjoined", 1)]);
    let counted = bed.counted(|bed| {
        bed.command(Command::Join { a: a.leg, b: a.leg });
        bed.command(Command::Join { a: a.leg, b: c.leg });
        bed.command(Command::Close { leg: c.leg });
        bed.command(Command::Path { leg: b.leg, address: b.address });
        bed.command(Command::Open { leg: b.leg, kind: Kind::Web });
        bed.command(Command::Keys { leg: b.leg, keys: Box::new(keys(PROFILES[1], 3)) });
    });
    assert_eq!(counted, [("commands_refused", 6)]);
}

#[test]
fn a_key_is_told_once_whatever_becomes_of_its_packets() {
    let mut bed = Bed::small();
    let (a, b) = bed.pair(None, None);
    let digits = |bed: &mut Bed| {
        bed.settle();
        bed.events
            .drain(..)
            .filter_map(|event| match event {
                Event::Digit { leg, digit, duration, forwarded } => {
                    Some((leg, digit, duration.as_millis(), forwarded))
                }
                _ => None,
            })
            .collect::<Vec<_>>()
    };
    digits(&mut bed);
    for (n, end) in [(0_u16, 0), (1, 0), (2, 0x80), (3, 0x80), (4, 0x80)] {
        bed.say(&a, &b, u64::from(n), &rtp(7, n, 1_000, EVENT, &[5, end | 0x0a, 3, 32]));
    }
    assert_eq!(digits(&mut bed), [(a.leg, '5', 100, true)]);
    // The other leg has no events: the key is told all the same.
    let mut plain = agreed(Some(b.address));
    plain.formats.truncate(1);
    bed.agree(&b, plain);
    bed.say(&a, &b, 9, &rtp(7, 9, 4_000, EVENT, &[11, 10, 0, 160]));
    assert_eq!(digits(&mut bed), [], "it is pressed");
    bed.ms(250);
    assert_eq!(digits(&mut bed), [(a.leg, '#', 40, false)], "its end was lost");
    // Held, nothing is heard, and no key is told.
    let closed = Agreed { receive: false, ..agreed(Some(a.address)) };
    bed.agree(&a, closed);
    bed.say(&a, &b, 10, &rtp(7, 10, 9_000, EVENT, &[1, 10, 0, 160]));
    assert_eq!(digits(&mut bed), []);
}

/// Reports that went to a party: sequence number, timestamp, marker, and what they say.
fn reports(bed: &mut Bed, to: &Party) -> Vec<(u16, u32, bool, TelephoneEvent)> {
    let sent = std::mem::take(&mut bed.sent);
    let rtp = sent.into_iter().filter(|(_, address, _)| *address == to.address).map(|(_, _, bytes)| bytes);
    rtp.filter(|bytes| classify(bytes) == Class::Rtp)
        .map(|bytes| {
            let clear = to.open(0, &bytes);
            let header = Header::parse(&clear).unwrap();
            let report = TelephoneEvent::parse(&clear[12..]).unwrap();
            (header.sequence, header.timestamp, header.marker, report)
        })
        .collect()
}

fn press(bed: &mut Bed, to: &Party, digit: char, ms: u64) {
    let duration = Duration::from_millis(ms);
    bed.command(Command::Press { leg: to.leg, digit, duration });
}

#[test]
fn keys_told_in_words_are_sent_between_the_sound_each_once_and_in_order() {
    for profile in kinds() {
        let mut bed = Bed::small();
        let (a, b) = bed.pair(None, profile);
        let (mut heard, mut told) = (Vec::new(), Vec::new());
        for (digit, ms) in [('1', 100), ('#', 165), ('1', 40)] {
            press(&mut bed, &b, digit, ms);
        }
        for n in 0..50_u16 {
            let clear = rtp(7, n, 160 * u32::from(n), PCMU, b"sound");
            heard.push(Header::parse(&bed.say(&a, &b, 0, &clear).unwrap()).unwrap());
            told.extend(reports(&mut bed, &b));
            bed.ms(20);
        }
        let keys: Vec<_> = told.iter().filter(|report| report.2).map(|report| report.3.event).collect();
        assert_eq!(keys, [1, 11, 1]);
        let ends: Vec<_> = told.iter().filter(|t| t.3.end).map(|t| (t.3.event, t.3.duration)).collect();
        assert_eq!(ends, [vec![(1, 800); 3], vec![(11, 1_320); 3], vec![(1, 320); 3]].concat());
        // One timeline, each number once, the sound's steps as ever.
        let mut numbers: Vec<u16> =
            heard.iter().map(|h| h.sequence).chain(told.iter().map(|t| t.0)).collect();
        let count = numbers.len();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!((numbers.len(), usize::from(numbers[count - 1] - numbers[0]) + 1), (count, count));
        assert!(heard.windows(2).all(|two| two[1].timestamp.wrapping_sub(two[0].timestamp) == 160));
        let stamps: Vec<u32> = told.iter().map(|report| report.1).collect();
        assert_eq!(
            stamps.iter().collect::<std::collections::BTreeSet<_>>().len(),
            3,
            "one a key: {stamps:?}"
        );
    }
}

#[test]
fn a_long_key_is_told_in_segments_and_one_to_nowhere_not_at_all() {
    let mut bed = Bed::small();
    let (_, b) = bed.pair(None, Some(PROFILES[0]));
    let wide = vec![format("opus", 48_000, 111), format("telephone-event", 48_000, 110)];
    bed.agree(&b, Agreed { formats: wide, ..agreed(None) });
    press(&mut bed, &b, '5', 3_000);
    bed.ms(3_500);
    let told = reports(&mut bed, &b);
    let full: Vec<u32> = told.iter().filter(|t| t.3.duration == 0xffff).map(|t| t.1 - told[0].1).collect();
    assert_eq!(full, [0, 0xffff]);
    let ends: Vec<_> = told.iter().filter(|t| t.3.end).map(|t| (t.1 - told[0].1, t.3.duration)).collect();
    assert_eq!(ends, [(2 * 0xffff, 144_000_u32.wrapping_sub(2 * 0xffff) as u16); 3]);
    assert_eq!(told.iter().filter(|report| report.2).count(), 1, "a new segment has no marker");
    bed.agree(&b, Agreed { send: false, ..agreed(None) });
    let counted = bed.counted(|bed| (0..3).for_each(|_| press(bed, &b, '1', 100)));
    assert_eq!(counted, [("presses_refused", 3)]);
    // As many as wait, and no more.
    bed.agree(&b, agreed(None));
    let counted = bed.counted(|bed| (0..70).for_each(|_| press(bed, &b, '1', 100)));
    assert_eq!(counted, [("presses", 1), ("presses_refused", 5)]);
    let closed = bed.counted(|bed| bed.command(Command::Close { leg: b.leg }));
    assert!(!closed.iter().any(|(name, _)| *name == "presses"));
    bed.ms(1_000);
}

#[test]
fn comfort_noise_and_redundancy_pass_where_both_agree_on_them() {
    for profile in kinds() {
        let mut bed = Bed::small();
        let (a, b) = bed.pair(profile, None);
        let formats = |noise: bool| {
            let mut formats = vec![format("pcmu", 8000, PCMU), format("red", 8000, 121)];
            formats.extend(noise.then(|| format("cn", 8000, 13)));
            formats
        };
        bed.agree(
            &a,
            Agreed { formats: formats(true), ..agreed(Some(a.address).filter(|_| profile.is_none())) },
        );
        bed.agree(&b, Agreed { formats: formats(true), ..agreed(Some(b.address)) });
        for (n, number) in [(0_u16, PCMU), (1, 13), (2, 121), (3, PCMU)] {
            bed.ms(20);
            // One block, of PCMU: what is no block would not pass as redundancy.
            let payload = b"\0payload";
            let clear = rtp(7, 100 + n, 5000 + 160 * u32::from(n), number, payload);
            let heard = bed.say(&a, &b, 100 + u64::from(n), &clear).expect("agreed on both sides");
            let header = Header::parse(&heard).unwrap();
            assert_eq!((header.payload_type, &heard[12..]), (number, &payload[..]));
        }
        assert_eq!(bed.plane.stats(a.leg).unwrap().codec.unwrap().name, "pcmu");
        // A party without comfort noise is not sent any.
        bed.agree(&b, Agreed { formats: formats(false), ..agreed(Some(b.address)) });
        let clear = rtp(7, 104, 5640, 13, b"noise");
        let counted = bed.counted(|bed| assert_eq!(bed.say(&a, &b, 104, &clear), None));
        assert_eq!(counted, [("dropped_codec", 1)]);
    }
}

#[test]
fn blocks_of_redundancy_are_renumbered_and_hostile_ones_dropped() {
    let mut bed = Bed::small();
    let (a, b) = bed.pair(Some(PROFILES[0]), None);
    let formats = |opus, red, event| {
        let codecs = [("opus", 48_000, opus), ("red", 48_000, red), ("telephone-event", 48_000, event)];
        codecs.map(|(name, clock, number)| format(name, clock, number)).to_vec()
    };
    bed.agree(&a, Agreed { formats: formats(111, 63, 110), ..agreed(None) });
    bed.agree(&b, Agreed { formats: formats(96, 97, 102), ..agreed(Some(b.address)) });
    let mut say = |index: u64, payload: &[u8]| {
        bed.ms(20);
        let mut heard = None;
        let clear = rtp(7, index as u16, 960 * index as u32, 63, payload);
        let counted = bed.counted(|bed| heard = bed.say(&a, &b, index, &clear));
        (heard.map(|heard| (Header::parse(&heard).unwrap().payload_type, heard[12..].to_vec())), counted)
    };
    let two = |number: u8| vec![0x80 | number, 0x0f, 0, 2, number, 1, 2, 3, 4];
    assert_eq!(say(10, &two(111)).0, Some((97, two(96))));
    for (index, payload, why) in [
        (11, two(110), "dropped_codec"),
        (12, two(63), "dropped_codec"),
        (13, two(8), "dropped_codec"),
        (14, vec![0x80 + 111, 0, 3, 0xff, 111, 0], "dropped_malformed"),
        (15, vec![0x80 + 111; 1_200], "dropped_malformed"),
        (16, vec![0x80], "dropped_codec"),
    ] {
        assert_eq!(say(index, &payload), (None, vec![(why, 1)]), "{index}");
    }
    assert_eq!(say(17, &[111, 5]).0, Some((97, vec![96, 5])), "the call goes on");
    assert_eq!(bed.plane.stats(a.leg).unwrap().codec.unwrap().name, "opus");
}

#[test]
fn what_is_no_rtp_goes_across_as_it_is_where_both_agreed_on_that() {
    let mut bed = Bed::small();
    let (a, b) = (bed.party(None), bed.party(None));
    bed.command(Command::Join { a: a.leg, b: b.leg });
    // UDPTL begins with a number that looks like anything (ITU-T T.38 section 9.1).
    let packets: [&[u8]; 4] = [&[0, 0, 1, 0xaa], &[0x14, 0xfe, 1], &[0x80, 0, 2], &[0x80, 201, 0, 0]];
    let closed = bed.counted(|bed| {
        bed.agree(&a, Agreed { raw: true, formats: Vec::new(), ..agreed(Some(a.address)) });
        assert_eq!(bed.raw(&a, a.address, packets[0]).0, Verdict::Drop);
    });
    assert_eq!(closed, [("dropped_unjoined", 1)], "the other one speaks still");
    bed.agree(&b, Agreed { raw: true, formats: Vec::new(), ..agreed(Some(b.address)) });
    for packet in packets {
        for (from, to) in [(&a, &b), (&b, &a)] {
            let (verdict, sent) = bed.raw(from, from.address, packet);
            let Verdict::Send { to: address, .. } = verdict else { panic!("{verdict:?}") };
            assert_eq!((address, sent.bytes()), (to.address, packet));
        }
    }
    let elsewhere = SocketAddr::from(([198, 51, 100, 77], 4_000));
    assert_eq!(bed.raw(&a, elsewhere, packets[0]).0, Verdict::Drop);
    // Sound again.
    bed.agree(&a, agreed(Some(a.address)));
    bed.agree(&b, agreed(Some(b.address)));
    assert!(bed.say(&a, &b, 0, &rtp(7, 1, 0, PCMU, b"x")).is_some());
    assert_eq!(bed.raw(&a, a.address, packets[0]).0, Verdict::Drop);
}
