//! What a receiver sees of its one stream, whatever happens behind it.

use super::*;

/// Sequence number, timestamp and marker of what is heard.
fn look(heard: Option<&Vec<u8>>) -> Option<(u16, u32, bool)> {
    Header::parse(heard?).map(|header| (header.sequence, header.timestamp, header.marker))
}

/// A phone that speaks to a browser, and what the browser hears.
struct Speech {
    bed: Bed,
    phone: Party,
    browser: Party,
}

impl Speech {
    fn new() -> Speech {
        let mut bed = Bed::small();
        let (browser, phone) = bed.pair(Some(PROFILES[1]), None);
        Speech { bed, phone, browser }
    }

    fn say(&mut self, ssrc: u32, sequence: u16, timestamp: u32) -> Option<(u16, u32, bool)> {
        let clear = rtp(ssrc, sequence, timestamp, PCMU, b"sound");
        look(self.bed.say(&self.phone, &self.browser, 0, &clear).as_ref())
    }
}

#[test]
fn order_and_losses_are_kept_and_duplicates_are_not() {
    let mut it = Speech::new();
    let (first, begin, marker) = it.say(7, 65_533, 0).unwrap();
    assert!(marker);
    let order = [65_534_u16, 1, 65_535, 0, 3];
    for sequence in order {
        let step = sequence.wrapping_sub(65_533);
        let heard = it.say(7, sequence, 160 * u32::from(step)).unwrap();
        assert_eq!(heard, (first + step, begin.wrapping_add(160 * u32::from(step)), false));
    }
    for sequence in order {
        let counted = it.bed.counted(|bed| {
            let clear = rtp(7, sequence, 0, PCMU, b"sound");
            assert_eq!(bed.say(&it.phone, &it.browser, 0, &clear), None);
        });
        assert_eq!(counted, [("dropped_repeated", 1)]);
    }
    // Late, but still within the window; then too late.
    it.say(7, 120, 160 * 123).unwrap();
    assert_eq!(it.say(7, 2, 160 * 5).unwrap().0, first + 5);
    it.say(7, 200, 160 * 203).unwrap();
    let late = rtp(7, 4, 160 * 7, PCMU, b"sound");
    let counted = it.bed.counted(|bed| assert_eq!(bed.say(&it.phone, &it.browser, 0, &late), None));
    assert_eq!(counted, [("dropped_leap", 1)]);
}

#[test]
fn a_packet_from_before_the_first_one_has_its_place() {
    let mut it = Speech::new();
    let (first, begin, _) = it.say(7, 2, 1000).unwrap();
    assert_eq!(it.say(7, 1, 840), Some((first - 1, begin.wrapping_sub(160), false)));
    assert_eq!(it.say(7, 65_530, 0).unwrap().0, first - 8);
}

#[test]
fn a_new_source_follows_the_old_one_after_the_time_that_passed() {
    let mut it = Speech::new();
    let (first, begin, _) = it.say(7, 100, 0).unwrap();
    it.bed.ms(40);
    assert_eq!(it.say(8, 60_000, 4_000_000_000), Some((first + 1, begin.wrapping_add(320), true)));
    it.bed.ms(20);
    // Late ones of the source before are not believed to be a change back.
    assert_eq!(it.say(7, 101, 160), None);
    assert_eq!(it.say(8, 60_001, 4_000_000_160), Some((first + 2, begin.wrapping_add(480), false)));
    it.bed.ms(600);
    assert_eq!(it.say(7, 130, 5000), Some((first + 3, begin.wrapping_add(480 + 4800), true)));
    assert_eq!(it.bed.plane.counters().splices, 3);
}

#[test]
fn a_timestamp_that_begins_anew_does_not_stall_the_receiver() {
    let mut it = Speech::new();
    let (first, begin, _) = it.say(7, 100, 500_000).unwrap();
    it.bed.ms(20);
    // Hold music with the old sequence numbers and another clock's origin.
    assert_eq!(it.say(7, 101, 0), Some((first + 1, begin.wrapping_add(160), true)));
    it.bed.ms(20);
    assert_eq!(it.say(7, 102, 160), Some((first + 2, begin.wrapping_add(320), false)));
    it.bed.ms(20);
    assert_eq!(it.say(7, 103, 100_000), Some((first + 3, begin.wrapping_add(480), true)));
    // A silence of ten seconds is no new beginning.
    it.bed.ms(10_000);
    assert_eq!(it.say(7, 104, 180_000), Some((first + 4, begin.wrapping_add(80_480), false)));
}

#[test]
fn a_leap_of_sequence_numbers_is_believed_at_its_second_packet() {
    let mut it = Speech::new();
    let (first, _, _) = it.say(7, 100, 0).unwrap();
    assert_eq!(it.say(7, 30_000, 160), None);
    assert_eq!(it.say(7, 101, 320).unwrap().0, first + 1);
    assert_eq!(it.say(7, 30_002, 160), None);
    assert_eq!(it.say(7, 30_003, 160).unwrap().0, first + 2);
    assert_eq!(it.say(7, 30_004, 320).unwrap().0, first + 3);
}

#[test]
fn after_a_hold_sequence_and_timestamp_go_on() {
    let mut it = Speech::new();
    let (first, begin, _) = it.say(7, 100, 0).unwrap();
    let held = Agreed { send: false, ..agreed(None) };
    it.bed.agree(&it.browser.clone(), held);
    for n in 1..=100_u16 {
        it.bed.ms(20);
        assert_eq!(it.say(7, 100 + n, 160 * u32::from(n)), None);
    }
    it.bed.agree(&it.browser.clone(), agreed(None));
    it.bed.ms(20);
    assert_eq!(it.say(7, 201, 160 * 101), Some((first + 1, begin.wrapping_add(160 * 101), true)));
    // The same agreement again is no splice.
    it.bed.agree(&it.browser.clone(), agreed(None));
    it.bed.ms(20);
    assert_eq!(it.say(7, 202, 160 * 102), Some((first + 2, begin.wrapping_add(160 * 102), false)));
}

#[test]
fn forks_that_take_turns_are_each_heard_at_once() {
    let mut it = Speech::new();
    let home = it.phone.address;
    let (first, begin, _) = it.say(7, 100, 0).unwrap();
    for (n, port) in [(1_u16, 7000), (2, home.port()), (3, 7000)] {
        it.phone.address = SocketAddr::new(home.ip(), port);
        it.bed.agree(&it.phone.clone(), agreed(Some(it.phone.address)));
        it.bed.ms(20);
        let ssrc = if port == 7000 { 8 } else { 7 };
        let heard = it.say(ssrc, 100 * n, 77);
        assert_eq!(heard, Some((first + n, begin.wrapping_add(160 * u32::from(n)), true)));
    }
}

#[test]
fn a_party_that_may_not_send_is_not_heard() {
    let mut it = Speech::new();
    it.say(7, 100, 0).unwrap();
    it.bed.agree(&it.phone.clone(), Agreed { receive: false, ..agreed(Some(it.phone.address)) });
    let clear = rtp(7, 101, 160, PCMU, b"sound");
    let counted = it.bed.counted(|bed| assert_eq!(bed.say(&it.phone, &it.browser, 0, &clear), None));
    assert_eq!(counted, [("dropped_not_receiving", 1)]);
}

#[test]
fn the_receiving_rollover_follows_a_browser_through_a_long_hold() {
    // 35 minutes and more: the browser goes on sending while it is not to be heard.
    let mut bed = Bed::small();
    let (browser, phone) = bed.pair(Some(PROFILES[1]), None);
    let held = Agreed { send: false, ..agreed(Some(phone.address)) };
    let hold = |bed: &mut Bed, index: u64| {
        bed.say(&browser, &phone, index, &rtp(7, index as u16, 160 * index as u32, PCMU, b"x"))
    };
    assert!(hold(&mut bed, 1000).is_some());
    bed.agree(&phone, held);
    for index in (1001..200_000).step_by(2500) {
        assert!(hold(&mut bed, index).is_none());
    }
    bed.agree(&phone, agreed(Some(phone.address)));
    assert!(hold(&mut bed, 200_000).is_some());
    assert_eq!(bed.plane.counters().dropped_forged, 0);
}

#[test]
fn new_keys_begin_at_rollover_zero_and_old_ones_never_return() {
    let mut it = Speech::new();
    let (first, _, _) = it.say(7, 100, 0).unwrap();
    let old = it.browser.keys.clone().unwrap();
    // The same keys again (a re-INVITE): the index goes on.
    it.bed.command(Command::Keys { leg: it.browser.leg, keys: Box::new(old.clone()) });
    assert_eq!(it.say(7, 101, 160).unwrap().0, first + 1);
    let fresh = keys(PROFILES[2], 99);
    it.bed.command(Command::Keys { leg: it.browser.leg, keys: Box::new(fresh.clone()) });
    it.browser.keys = Some(fresh);
    let (sequence, _, marker) = it.say(7, 102, 320).unwrap();
    assert!(marker && sequence < 0x8000, "decrypted at rollover 0");
    let counted = it.bed.counted(|bed| {
        bed.command(Command::Keys { leg: it.browser.leg, keys: Box::new(old) });
    });
    assert_eq!(counted, [("commands_refused", 1)]);
    assert_eq!(it.say(7, 103, 480).unwrap().0, sequence + 1);
}

#[test]
fn the_outgoing_rollover_is_counted_over_every_edge() {
    let mut it = Speech::new();
    let (first, _, _) = it.say(7, 0, 0).unwrap();
    let mut expected = u64::from(first);
    for n in 1..80_u64 {
        let sequence = (n * 2500) as u16;
        let clear = rtp(7, sequence, (n * 160) as u32, PCMU, b"sound");
        let (verdict, packet) = it.bed.raw(&it.phone.clone(), it.phone.address, &clear);
        assert!(matches!(verdict, Verdict::Send { .. }));
        expected += 2500;
        let heard = it.browser.open((expected >> 16) as u32, packet.bytes());
        assert_eq!(Header::parse(&heard).unwrap().sequence, expected as u16);
    }
    assert!(expected >> 16 >= 3);
}
