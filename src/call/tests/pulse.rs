//! Who is still there: graces, silence, timeouts, and how a call sounds.

use super::*;
use crate::leg::{Level, Sound};

const SECOND: Duration = Duration::from_secs(1);

/// A browser and a phone that talk.
fn talking() -> (Bench, LegId, LegId) {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.answered(dial.leg, 0, Some(&sip_sdp("0", "")));
    bench.takes_answer(leg);
    bench.legs.clear();
    bench.media.clear();
    (bench, leg, dial.leg)
}

impl Bench {
    /// A second passes in which these legs are heard (and say so), by media or (`checks`) by STUN.
    fn second(&mut self, heard: &[LegId], checks: bool) {
        for _ in 0..4 {
            self.wait(SECOND / 4);
        }
        if checks {
            self.checked = Some(self.now.instant);
        }
        for leg in heard {
            let stats = self.stats.entry(*leg).or_default();
            stats.codec = Some(media::Codec { name: "pcmu".into(), clock: 8_000, channels: 1 });
            stats.packets_received += 50;
            stats.packets_sent += 50;
            stats.last_heard = Some(self.now.instant);
        }
    }

    /// Seconds until the call is over, of `most`.
    fn lasts(&mut self, most: u32, heard: &[LegId], checks: bool) -> Option<u32> {
        (1..=most).find(|_| {
            self.second(heard, checks);
            self.calls.is_empty()
        })
    }
}

#[test]
fn media_keeps_a_call_for_a_minute_after_its_signalling_is_lost() {
    let (mut bench, leg, phone) = talking();
    bench.lasts(5, &[leg, phone], true);
    bench.event(Event::Lost { leg });
    let lasted = bench.lasts(100, &[leg, phone], false).expect("not for ever");
    assert!((60..=61).contains(&lasted), "{lasted}");
    assert_eq!(bench.records[0].cause, Cause::MediaLost);
    assert_eq!(bench.takes_end(phone).cause, Cause::MediaLost);
}

#[test]
fn stun_alone_and_srtp_alone_are_signs_of_life() {
    for checks in [true, false] {
        let (mut bench, leg, phone) = talking();
        let heard: &[LegId] = if checks { &[phone] } else { &[leg, phone] };
        bench.lasts(3, &[leg, phone], true);
        assert_eq!(bench.lasts(120, heard, checks), None, "checks: {checks}");
        assert_eq!(bench.calls.counters().suspects, 0);
    }
}

#[test]
fn a_browser_of_which_all_is_lost_is_given_twenty_seconds() {
    let (mut bench, leg, phone) = talking();
    bench.lasts(5, &[leg, phone], true);
    bench.event(Event::Lost { leg });
    let lasted = bench.lasts(100, &[phone], false).expect("not for ever");
    assert!((20..=21).contains(&lasted), "{lasted}");
    assert_eq!(bench.calls.counters().browsers_gone, 1);
    bench.legs.clear();
    bench.empty(1);
}

#[test]
fn a_browser_that_is_back_in_its_grace_goes_on() {
    let (mut bench, leg, phone) = talking();
    bench.lasts(5, &[leg, phone], true);
    bench.event(Event::Lost { leg });
    assert_eq!(bench.lasts(15, &[phone], false), None);
    assert_eq!(bench.calls.counters().suspects, 1);
    bench.event(Event::Found { leg });
    assert_eq!(bench.lasts(10, &[phone], false), None);
    assert_eq!(bench.lasts(100, &[leg, phone], true), None);
}

#[test]
fn a_browser_with_signalling_alone_is_gone_after_thirty_seconds() {
    let (mut bench, leg, phone) = talking();
    bench.lasts(5, &[leg, phone], true);
    let lasted = bench.lasts(100, &[phone], false).expect("not for ever");
    assert!((28..=32).contains(&lasted), "{lasted}");
    assert_eq!(bench.takes_end(phone).cause, Cause::MediaLost);
    assert_eq!(bench.takes_end(leg).cause, Cause::MediaLost);
}

#[test]
fn a_call_that_rings_ends_by_name_when_its_browser_is_lost() {
    let mut bench = Bench::with(Config { first_reply: None, ..config() }, 1);
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.event(Event::Lost { leg });
    assert!(bench.lasts(30, &[], false).is_some());
    assert_eq!(bench.takes_end(dial.leg).cause, Cause::Cancelled);
    assert_eq!(bench.takes_end(leg).cause, Cause::NoAnswer);
    let (leg, dial) = bench.browser_is_called(Some(&sip_sdp("0", "")));
    bench.event(Event::Lost { leg: dial.leg });
    assert!(bench.lasts(30, &[], false).is_some());
    assert_eq!(bench.takes_end(dial.leg).cause, Cause::NoAnswer);
    assert_eq!(bench.takes_end(leg).code, 480);
    bench.empty(2);
}

#[test]
fn a_silent_phone_ends_its_call_unless_it_is_held() {
    let (mut bench, leg, phone) = talking();
    let lasted = bench.lasts(100, &[leg], true).expect("not for ever");
    assert!((60..=64).contains(&lasted), "{lasted}");
    assert_eq!(bench.calls.counters().media_timeouts, 1);
    assert_eq!(bench.takes_end(phone).cause, Cause::MediaLost);

    let (mut bench, leg, phone) = talking();
    bench.offered(phone, Some(&sip_sdp("0", "a=inactive\r\n")));
    bench.legs.clear();
    assert_eq!(bench.lasts(200, &[leg], true), None, "held");
    bench.offered(phone, Some(&sip_sdp("0", "a=sendrecv\r\n")));
    bench.legs.clear();
    let lasted = bench.lasts(100, &[leg], true).expect("resumed, and still silent");
    assert!((60..=64).contains(&lasted), "counted from the resumption: {lasted}");
}

#[test]
fn a_timeout_of_none_lets_silence_be() {
    let mut bench = Bench::with(Config { media_timeout: None, ..config() }, 1);
    let (leg, dial) = bench.browser_dials(&web_offer());
    bench.answered(dial.leg, 0, Some(&sip_sdp("0", "")));
    assert_eq!(bench.lasts(200, &[leg], true), None);
}

fn sounds(bench: &mut Bench) -> Vec<Sound> {
    let told = |command: Command| match command {
        Command::Quality { sound, .. } => sound,
        other => panic!("{other:?}"),
    };
    bench.told.drain(..).filter_map(told).collect()
}

#[test]
fn a_browser_hears_of_sound_when_it_changes() {
    let (mut bench, leg, phone) = talking();
    bench.lasts(20, &[leg, phone], true);
    let first = sounds(&mut bench);
    assert_eq!(first.iter().map(|sound| sound.level).collect::<Vec<_>>(), [Level::Good]);
    for _ in 0..10 {
        bench.stats.get_mut(&phone).unwrap().lost += 4;
        bench.second(&[leg, phone], true);
    }
    let worse = sounds(&mut bench);
    assert_eq!(worse.iter().map(|sound| sound.level).collect::<Vec<_>>(), [Level::Fair]);
    for _ in 0..10 {
        bench.stats.get_mut(&leg).unwrap().remote_lost += 25;
        bench.second(&[leg, phone], true);
    }
    assert_eq!(sounds(&mut bench).last().unwrap().level, Level::Poor);
    bench.lasts(20, &[leg, phone], true);
    assert_eq!(sounds(&mut bench).last().unwrap().level, Level::Good);
}

#[test]
fn one_way_media_is_noticed_once() {
    let (mut bench, leg, phone) = talking();
    bench.lasts(20, &[leg, phone], true);
    sounds(&mut bench);
    bench.lasts(30, &[leg], true);
    let told = sounds(&mut bench);
    assert!(told.last().is_some_and(|sound| sound.one_way && sound.level == Level::Poor), "{told:?}");
    assert_eq!(bench.calls.counters().one_way, 1);
}

#[test]
fn a_browser_that_asks_is_given_the_numbers() {
    let (mut bench, leg, phone) = talking();
    bench.second(&[leg, phone], true);
    bench.event(Event::Asked { leg });
    match bench.told.pop_back().expect("an answer") {
        Command::Quality { leg: to, quality, sound: None } => {
            assert_eq!((to, quality.packets_received), (leg, 50));
            assert!(quality.mos_received > 430, "{quality:?}");
        }
        other => panic!("{other:?}"),
    }
}
