//! Music for held parties, on their own timeline.

use super::super::Music;
use super::*;

fn bed() -> Bed {
    let realm = Realm { address: IpAddr::V4(Ipv4Addr::LOCALHOST), ports: 20_000..=20_199, shared: false };
    let ramp: Vec<u8> = (0..400).map(|n| (n % 251) as u8).collect();
    let music = Some(Arc::new(Music { pcma: ramp.iter().map(|b| b ^ 0x55).collect(), pcmu: ramp }));
    let mut bed = Bed::new(Config { realms: vec![realm], stock: 2, music, ..Config::default() });
    bed.settle();
    bed
}

fn heard(bed: &mut Bed, to: &Party) -> Vec<(Header, Vec<u8>)> {
    let all = std::mem::take(&mut bed.sent);
    let rtp = all.into_iter().filter(|(_, address, _)| *address == to.address);
    rtp.map(|(_, _, data)| (Header::parse(&data).unwrap(), data[12..].to_vec())).collect()
}

#[test]
fn a_held_party_hears_music_on_the_timeline_of_its_call() {
    let mut bed = bed();
    let (a, b) = bed.pair(Some(PROFILES[1]), None);
    let before = bed.say(&a, &b, 0, &rtp(7, 0, 5_000, PCMU, &[1; 160])).unwrap();
    let before = Header::parse(&before).unwrap();
    bed.agree(&b, Agreed { send: false, receive: false, ..agreed(Some(b.address)) });
    bed.ms(100);
    bed.sent.clear();
    bed.command(Command::Play { leg: b.leg, on: true });
    // Whoever holds is not heard meanwhile.
    assert_eq!(bed.say(&a, &b, 1, &rtp(7, 1, 5_160, PCMU, &[1; 160])), None);
    bed.ms(990);
    let music = heard(&mut bed, &b);
    assert_eq!(music.len(), 50, "one each 20 ms");
    for (n, (head, payload)) in music.iter().enumerate() {
        assert_eq!((head.ssrc, head.payload_type), (b.ssrc, PCMU));
        assert_eq!(head.sequence, before.sequence.wrapping_add(1 + n as u16), "one after another");
        let since = 800 + 160 * n as u32;
        assert_eq!(head.timestamp, before.timestamp.wrapping_add(since), "as time passed");
        let expected: Vec<u8> = (0..160).map(|at| ((160 * n + at) % 400 % 251) as u8).collect();
        assert_eq!(payload, &expected, "round and round");
    }
    bed.command(Command::Play { leg: b.leg, on: false });
    bed.ms(1_000);
    assert!(heard(&mut bed, &b).is_empty());
    // Resumed, the call's sound follows without a break of source or count.
    bed.agree(&b, agreed(Some(b.address)));
    let after = bed.say(&a, &b, 90, &rtp(7, 90, 20_000, PCMU, &[1; 160])).unwrap();
    let after = Header::parse(&after).unwrap();
    assert_eq!((after.ssrc, after.sequence), (b.ssrc, before.sequence.wrapping_add(51)));
    let ahead = after.timestamp.wrapping_sub(before.timestamp);
    assert!((16_000..18_000).contains(&ahead), "{ahead}");
}

#[test]
fn music_is_not_played_to_who_speaks_another_codec_and_ends_with_the_leg() {
    let mut bed = bed();
    let (_, b) = bed.pair(None, None);
    bed.agree(&b, Agreed { formats: vec![format("g722", 8000, 9)], ..agreed(Some(b.address)) });
    let counted = bed.counted(|bed| bed.command(Command::Play { leg: b.leg, on: true }));
    assert_eq!(counted, [("music_refused", 1)]);
    bed.agree(&b, Agreed { formats: vec![format("pcma", 8000, 8)], ..agreed(Some(b.address)) });
    bed.command(Command::Play { leg: b.leg, on: true });
    bed.ms(50);
    assert_eq!(heard(&mut bed, &b)[0].1[0], 0x55, "in the other law");
    bed.command(Command::Close { leg: b.leg });
    bed.sent.clear();
    bed.ms(500);
    assert!(bed.sent.is_empty());
}
