//! Hold from both sides, keys, bodies and control.

use super::change::web_talks;
use super::*;
use crate::leg::{Control, Digit, Notice};

impl Bench {
    fn hold(&mut self, leg: LegId, on: bool) {
        self.event(Event::Hold { leg, on });
    }

    fn inform(&mut self, leg: LegId, notice: Notice) {
        self.event(Event::Inform { leg, notice: Box::new(notice) });
    }

    fn takes_notice(&mut self, leg: LegId) -> Notice {
        match self.next_leg() {
            Command::Inform { leg: to, notice } if to == leg => *notice,
            other => panic!("{other:?} instead of a notice to {leg:?}"),
        }
    }

    fn takes_hold(&mut self, leg: LegId) -> (bool, Result<(), Reason>) {
        match self.next_leg() {
            Command::Hold { leg: to, on, outcome } if to == leg => (on, outcome),
            other => panic!("{other:?} instead of a hold's outcome to {leg:?}"),
        }
    }

    /// Keys that media was told to press since the last look.
    fn pressed(&mut self) -> Vec<(LegId, char)> {
        let press = |command| match command {
            media::Command::Press { leg, digit, .. } => Some((leg, digit)),
            _ => None,
        };
        self.media.drain(..).filter_map(press).collect()
    }

    fn open(&self, leg: LegId) -> (bool, bool) {
        (self.agreed[&leg].send, self.agreed[&leg].receive)
    }
}

fn way(session: &Session) -> Direction {
    session.direction(&session.media[0])
}

fn key(digit: char, sounds: bool) -> Notice {
    Notice::Digit(Digit { digit, duration: Digit::USUAL, sounds, spelled: false })
}

#[test]
fn a_browsers_hold_stops_media_at_once_and_is_told_by_a_reinvite() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    bench.hold(leg, true);
    assert_eq!(bench.open(phone), (false, false), "before the phone knows");
    let offer = bench.takes_offer(phone);
    assert_eq!(way(&offer), Direction::SendOnly);
    bench.quiet();
    bench.accepted(phone, &sip_sdp("0 101", "a=recvonly\r\n"));
    assert_eq!(bench.takes_hold(leg), (true, Ok(())));
    assert_eq!(bench.open(phone), (false, false));
    bench.quiet();
    // Asked again, it is so.
    bench.hold(leg, true);
    assert_eq!(bench.takes_hold(leg), (true, Ok(())));
    bench.hold(leg, false);
    assert_eq!(way(&bench.takes_offer(phone)), Direction::SendRecv);
    assert_eq!(bench.open(phone), (false, false), "until the phone knows");
    bench.accepted(phone, &sip_sdp("0 101", ""));
    assert_eq!(bench.takes_hold(leg), (false, Ok(())));
    assert_eq!(bench.open(phone), (true, true));
    bench.quiet();
}

#[test]
fn a_phones_hold_is_answered_here_and_told_to_the_browser() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    for hold in ["a=sendonly\r\n", "a=inactive\r\n", "c=IN IP4 0.0.0.0\r\n"] {
        bench.offered(phone, Some(&sip_sdp("0 101", hold)));
        bench.takes_acceptance(phone);
        assert_eq!(bench.takes_notice(leg), Notice::Held(true), "{hold}");
        bench.quiet();
        bench.offered(phone, Some(&sip_sdp("0 101", "a=recvonly\r\n")));
        bench.takes_acceptance(phone);
        assert_eq!(bench.takes_notice(leg), Notice::Held(false), "it hears");
        bench.quiet();
    }
}

#[test]
fn both_may_hold_and_each_resumes_for_itself() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    bench.offered(phone, Some(&sip_sdp("0 101", "a=sendonly\r\n")));
    bench.takes_acceptance(phone);
    bench.takes_notice(leg);
    bench.hold(leg, true);
    // RFC 3264 section 8.4: what only received is now inactive.
    assert_eq!(way(&bench.takes_offer(phone)), Direction::Inactive);
    bench.accepted(phone, &sip_sdp("0 101", "a=inactive\r\n"));
    assert_eq!(bench.takes_hold(leg), (true, Ok(())));
    bench.quiet();
    // The phone resumes: it is held still.
    bench.offered(phone, Some(&sip_sdp("0 101", "")));
    assert_eq!(way(&bench.takes_acceptance(phone)), Direction::SendOnly);
    assert_eq!(bench.takes_notice(leg), Notice::Held(false));
    assert_eq!(bench.open(phone), (false, false));
    // And holds again, and the browser resumes.
    bench.offered(phone, Some(&sip_sdp("0 101", "a=sendonly\r\n")));
    assert_eq!(way(&bench.takes_acceptance(phone)), Direction::Inactive);
    assert_eq!(bench.takes_notice(leg), Notice::Held(true));
    bench.hold(leg, false);
    assert_eq!(way(&bench.takes_offer(phone)), Direction::SendRecv);
    bench.accepted(phone, &sip_sdp("0 101", "a=sendonly\r\n"));
    assert_eq!(bench.takes_hold(leg), (false, Ok(())));
    assert_eq!(bench.open(phone), (false, true), "its music is heard");
    bench.quiet();
}

#[test]
fn a_hold_that_meets_the_phones_change_is_told_by_the_answer() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    bench.hold(leg, true);
    bench.takes_offer(phone);
    // The stack gave up its own, as theirs came first.
    bench.refused(phone, Cause::Pending);
    bench.offered(phone, Some(&sip_sdp("0 101", "")));
    assert_eq!(way(&bench.takes_acceptance(phone)), Direction::SendOnly);
    assert_eq!(bench.takes_hold(leg), (true, Ok(())));
    bench.wait(Duration::from_secs(5));
    bench.quiet();
    assert_eq!(bench.open(phone), (false, false));
}

#[test]
fn a_hold_that_is_pending_is_tried_again_and_one_that_is_refused_undone() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    bench.hold(leg, true);
    bench.takes_offer(phone);
    bench.refused(phone, Cause::Pending);
    bench.quiet();
    bench.wait(Duration::from_secs(5));
    assert_eq!(way(&bench.takes_offer(phone)), Direction::SendOnly);
    bench.refused(phone, Cause::NotAcceptable);
    assert_eq!(bench.takes_hold(leg), (true, Err(Cause::NotAcceptable.into())));
    assert_eq!(bench.open(phone), (true, true), "as it was");
    bench.quiet();
    // Answered by nothing that could be taken.
    bench.hold(leg, true);
    bench.takes_offer(phone);
    bench.accepted(phone, &sip_sdp("18", ""));
    assert_eq!(bench.takes_hold(leg), (true, Err(Cause::NotAcceptable.into())));
    bench.quiet();
}

#[test]
fn a_hold_and_a_resume_at_once_end_as_the_last_one_said() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    bench.hold(leg, true);
    bench.takes_offer(phone);
    bench.hold(leg, false);
    bench.quiet();
    bench.accepted(phone, &sip_sdp("0 101", "a=recvonly\r\n"));
    assert_eq!(way(&bench.takes_offer(phone)), Direction::SendRecv);
    bench.accepted(phone, &sip_sdp("0 101", ""));
    assert_eq!(bench.takes_hold(leg), (false, Ok(())));
    assert_eq!(bench.open(phone), (true, true));
}

#[test]
fn a_browser_that_is_called_holds_too_and_no_ringing_call_is_held() {
    let mut bench = Bench::new();
    let (phone, dial) = bench.browser_is_called(Some(&sip_sdp("0 101", "")));
    bench.hold(dial.leg, true);
    assert!(bench.takes_hold(dial.leg).1.is_err());
    bench.answered(dial.leg, 0, Some(&web_sdp("0 126", "active", "abcd", "")));
    bench.takes_answer(phone);
    bench.hold(dial.leg, true);
    assert_eq!(way(&bench.takes_offer(phone)), Direction::SendOnly);
    bench.accepted(phone, &sip_sdp("0 101", "a=recvonly\r\n"));
    assert_eq!(bench.takes_hold(dial.leg), (true, Ok(())));
    // A re-INVITE without an offer is met with what stands.
    bench.offered(phone, None);
    assert_eq!(way(&bench.takes_acceptance(phone)), Direction::SendOnly);
    bench.accepted(phone, &sip_sdp("0 101", "a=recvonly\r\n"));
    bench.quiet();
    bench.ended(phone, Cause::Hangup.into());
    bench.takes_end(dial.leg);
    bench.empty(1);
}

#[test]
fn keys_in_media_are_told_to_a_browser_and_made_info_for_a_phone_without_events() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    let digit = |leg, digit, forwarded| {
        Input::Media(media::Event::Digit { leg, digit, duration: Digit::USUAL, forwarded })
    };
    bench.push(digit(phone, '5', true));
    assert_eq!(bench.takes_notice(leg), key('5', true));
    bench.push(digit(leg, '6', true));
    bench.quiet();
    bench.push(digit(leg, '7', false));
    bench.quiet();
    assert_eq!(bench.pressed(), [(phone, '7')], "media told it to nobody, but could");
    bench.offered(phone, Some(&sip_sdp("0", "")));
    bench.takes_acceptance(phone);
    bench.push(Input::Media(media::Event::Digit {
        leg,
        digit: '8',
        duration: Duration::from_millis(250),
        forwarded: false,
    }));
    let Notice::Digit(told) = bench.takes_notice(phone) else { panic!() };
    assert_eq!((told.digit, told.duration.as_millis(), told.sounds), ('8', 250, false));
    assert_eq!(bench.pressed(), []);
}

#[test]
fn keys_told_in_words_are_pressed_where_the_other_party_has_events() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    // The browser's page is told as well, and that it sounds.
    bench.inform(phone, key('8', false));
    assert_eq!(bench.takes_notice(leg), key('8', true));
    bench.inform(leg, key('9', false));
    bench.quiet();
    assert_eq!(bench.pressed(), [(leg, '8'), (phone, '9')]);
    // Who wants INFO has it.
    let spelled = Digit { digit: '1', duration: Digit::USUAL, sounds: false, spelled: true };
    bench.inform(leg, Notice::Digit(spelled));
    assert_eq!(bench.takes_notice(phone), Notice::Digit(spelled));
    // Towards a party that is held nothing sounds.
    bench.hold(leg, true);
    bench.takes_offer(phone);
    bench.inform(leg, key('2', false));
    assert_eq!(bench.takes_notice(phone), key('2', false));
    assert_eq!(bench.pressed(), []);
}

#[test]
fn what_becomes_of_a_body_is_told_to_who_asks() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    let body = Notice::Body { kind: "text/plain".into(), text: "hello".into(), receipt: Some(7) };
    bench.inform(leg, body.clone());
    assert_eq!(bench.takes_notice(phone), body);
    let refused = Err(Reason::from_code(415));
    bench.event(Event::Told { leg: phone, receipt: 7, outcome: refused });
    let told = bench.next_leg();
    assert!(
        matches!(told, Command::Told { leg: to, receipt: 7, outcome } if to == leg && outcome == refused),
        "{told:?}"
    );
    let (leg, dial) = bench.browser_dials(&web_offer());
    let early = Notice::Held(true);
    bench.inform(leg, early);
    bench.quiet();
    assert_eq!(bench.calls.counters().informs_dropped, 1);
    drop(dial);
}

#[test]
fn a_browsers_direction_is_told_to_the_phone_and_refusals_are_not_repeated() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    for (way_of_browser, of_phone, sends, receives) in [
        ("sendonly", "recvonly", true, false),
        ("inactive", "inactive", false, false),
        ("recvonly", "sendonly", false, true),
        ("sendrecv", "sendrecv", true, true),
    ] {
        let offer = web_sdp("0 8 9 126", "actpass", "wxyz", &format!("a={way_of_browser}\r\n"));
        bench.offered(leg, Some(&offer));
        bench.takes_acceptance(leg);
        let told = bench.takes_offer(phone);
        assert!(told.to_string().contains(&format!("a={way_of_browser}\r\n")), "{told}");
        bench.accepted(phone, &sip_sdp("0 101", &format!("a={of_phone}\r\n")));
        bench.quiet();
        assert_eq!(bench.open(phone), (sends, receives), "{way_of_browser}");
    }
    let offer = web_sdp("0 8 9 126", "actpass", "wxyz", "a=recvonly\r\n");
    bench.offered(leg, Some(&offer));
    bench.takes_acceptance(leg);
    bench.takes_offer(phone);
    bench.refused(phone, Cause::NotAcceptable);
    bench.quiet();
    // The phone's own change is answered by how things are.
    bench.offered(phone, Some(&sip_sdp("0 101", "")));
    assert_eq!(way(&bench.takes_acceptance(phone)), Direction::RecvOnly);
    bench.quiet();
}

#[test]
fn a_browser_that_only_listens_says_so_from_the_first() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.browser_dials(&web_sdp("0 126", "actpass", "wxyz", "a=recvonly\r\n"));
    assert_eq!(way(&dial.offer), Direction::RecvOnly);
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 101", "a=sendonly\r\n")));
    bench.takes_answer(leg);
    bench.quiet();
    bench.offered(dial.leg, Some(&sip_sdp("0 101", "")));
    assert_eq!(way(&bench.takes_acceptance(dial.leg)), Direction::RecvOnly);
    bench.quiet();
}

#[test]
fn bodies_pass_both_ways_and_control_only_to_browsers() {
    let mut bench = Bench::new();
    let (leg, phone) = web_talks(&mut bench);
    let body = Notice::Body { kind: "text/plain".into(), text: "hello".into(), receipt: None };
    for (from, to) in [(leg, phone), (phone, leg)] {
        bench.inform(from, body.clone());
        assert_eq!(bench.takes_notice(to), body);
    }
    bench.inform(phone, Notice::Control(Control::Hold));
    assert_eq!(bench.takes_notice(leg), Notice::Control(Control::Hold));
    bench.inform(leg, Notice::Control(Control::Talk));
    bench.inform(leg, Notice::Held(true));
    bench.inform(phone, Notice::Held(true));
    bench.quiet();
    assert_eq!(bench.calls.counters().informs_dropped, 3);
}

#[test]
fn a_ringing_browser_is_told_to_talk_and_has_its_data() {
    let mut bench = Bench::new();
    let (phone, dial) = bench.browser_is_called(Some(&sip_sdp("0 101", "")));
    assert_eq!(dial.data, [("X-Case".to_owned(), "7".to_owned())]);
    bench.inform(phone, Notice::Control(Control::Talk));
    assert_eq!(bench.takes_notice(dial.leg), Notice::Control(Control::Talk));
    bench.inform(phone, key('1', false));
    bench.quiet();
}

#[test]
fn a_held_phone_hears_music_where_that_is_wished_until_it_is_resumed() {
    let mut bench = Bench::with(Config { hold_music: true, ..config() }, 1);
    let (leg, phone) = web_talks(&mut bench);
    let played = |bench: &mut Bench| -> Vec<(LegId, bool)> {
        let play = |command| match command {
            media::Command::Play { leg, on } => Some((leg, on)),
            _ => None,
        };
        bench.media.drain(..).filter_map(play).collect()
    };
    assert_eq!(played(&mut bench), []);
    bench.hold(leg, true);
    bench.takes_offer(phone);
    assert_eq!(played(&mut bench), [], "not before it knows");
    bench.accepted(phone, &sip_sdp("0 101", "a=recvonly\r\n"));
    assert!(bench.takes_hold(leg).1.is_ok());
    assert_eq!(played(&mut bench), [(phone, true)]);
    bench.hold(leg, false);
    assert_eq!(played(&mut bench), [(phone, false)]);
    bench.takes_offer(phone);
    bench.accepted(phone, &sip_sdp("0 101", ""));
    assert!(bench.takes_hold(leg).1.is_ok());
    assert_eq!(played(&mut bench), []);
}
