//! Before the answer: forks, gates, late offers, changes of early dialogs.

use super::*;

fn fork(types: &str, port: u16) -> String {
    sip_sdp(types, "").replace("4000", &port.to_string())
}

fn port(bench: &Bench, leg: LegId) -> u16 {
    bench.agreed[&leg].remote.unwrap().port()
}

impl Bench {
    /// A trunk whose provisional responses are acknowledged calls another one.
    fn trunk_dials_reliably(&mut self, offer: Option<&str>) -> (LegId, Dial) {
        let leg = self.leg(Side::Sip);
        self.event(Event::Incoming(Box::new(Incoming {
            replaces: None,
            leg,
            source: Source::Trunk(TrunkId(0)),
            identity: None,
            caller: Party::default(),
            callee: dialled("+49"),
            offer: offer.map(parsed),
            hops: 70,
            key: "key".into(),
            data: Vec::new(),
            carried: Box::default(),
            reliable: true,
        })));
        (leg, self.dialled())
    }

    fn gate(&mut self, leg: LegId, fork: u16, open: bool) {
        self.event(Event::Gate { leg, fork: Fork(fork), open });
    }

    fn takes_progress(&mut self, leg: LegId, code: u16) -> Option<Box<Session>> {
        match self.next_leg() {
            Command::Progress { leg: to, code: said, answer } if (to, said) == (leg, code) => answer,
            other => panic!("{other:?} instead of {code} to {leg:?}"),
        }
    }

    fn takes_early_answer(&mut self, leg: LegId, fork: u16) -> Option<Box<Session>> {
        match self.next_leg() {
            Command::AcceptEarly { leg: to, fork: said, answer } if (to, said) == (leg, Fork(fork)) => answer,
            other => panic!("{other:?} instead of an early answer to {leg:?}"),
        }
    }
}

fn late() -> Config {
    let mut config = config();
    config.trunks[1].late_offer = true;
    config
}

#[test]
fn a_fork_that_is_gone_leaves_the_next_newest_to_be_heard() {
    let mut bench = Bench::new();
    let (_, dial) = bench.browser_dials(&web_offer());
    bench.progress(dial.leg, 0, 183, Some(&fork("96", 5000)));
    bench.progress(dial.leg, 1, 183, Some(&fork("96", 6000)));
    // The older one again: it is no newer for that.
    bench.progress(dial.leg, 0, 183, Some(&fork("96", 5000)));
    assert_eq!(port(&bench, dial.leg), 6000);
    bench.legs.clear();
    bench.progress(dial.leg, 1, 199, None);
    assert_eq!(port(&bench, dial.leg), 5000);
    bench.quiet();
}

#[test]
fn early_media_is_heard_only_where_the_called_side_says_so() {
    let mut bench = Bench::new();
    let (_, dial) = bench.browser_dials(&web_offer());
    bench.gate(dial.leg, 0, false);
    bench.progress(dial.leg, 0, 183, Some(&fork("96", 5000)));
    assert!(!bench.agreed[&dial.leg].receive && bench.agreed[&dial.leg].send);
    // Another may be heard, and stays whatever comes after it.
    bench.gate(dial.leg, 1, true);
    bench.progress(dial.leg, 1, 183, Some(&fork("96", 6000)));
    bench.progress(dial.leg, 2, 183, Some(&fork("96", 7000)));
    assert_eq!((port(&bench, dial.leg), bench.agreed[&dial.leg].receive), (6000, true));
    // Now the first one may.
    bench.gate(dial.leg, 1, false);
    bench.gate(dial.leg, 0, true);
    assert_eq!((port(&bench, dial.leg), bench.agreed[&dial.leg].receive), (5000, true));
    bench.gate(dial.leg, 0, false);
    bench.gate(dial.leg, 2, false);
    assert!(!bench.agreed[&dial.leg].receive);
    // Who answers is heard.
    bench.answered(dial.leg, 0, None);
    assert!(bench.agreed[&dial.leg].receive);
}

#[test]
fn a_sip_caller_hears_what_is_said_of_early_media() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.trunk_dials(Some(&sip_sdp("0 101", "")));
    bench.gate(dial.leg, 0, false);
    bench.progress(dial.leg, 0, 183, Some(&fork("0 101", 5000)));
    assert!(matches!(bench.next_leg(), Command::Gate { leg: to, open: false } if to == leg));
    assert!(bench.takes_progress(leg, 183).is_some());
    bench.gate(dial.leg, 0, true);
    assert!(matches!(bench.next_leg(), Command::Gate { open: true, .. }));
}

#[test]
fn a_fork_with_another_codec_is_told_to_a_caller_that_acknowledged_the_first() {
    for reliable in [true, false] {
        let mut bench = Bench::new();
        let offer = sip_sdp("8 0 101", "");
        let (leg, dial) =
            if reliable { bench.trunk_dials_reliably(Some(&offer)) } else { bench.trunk_dials(Some(&offer)) };
        bench.progress(dial.leg, 0, 183, Some(&fork("8 101", 5000)));
        let early = bench.takes_progress(leg, 183).unwrap();
        assert_eq!(listed(&early)[0], "8 pcma/8000");
        bench.progress(dial.leg, 1, 183, Some(&fork("0 101", 6000)));
        if reliable {
            assert_eq!(listed(&bench.takes_offer(leg))[0], "0 pcmu/8000");
            bench.accepted(leg, &sip_sdp("0 101", ""));
            assert_eq!(bench.formats(leg)[0], "pcmu/8000");
        }
        assert!(bench.takes_progress(leg, 183).is_none());
        bench.answered(dial.leg, 1, None);
        bench.takes_answer(leg);
        if !reliable {
            assert_eq!(listed(&bench.takes_offer(leg))[0], "0 pcmu/8000");
        }
        bench.quiet();
    }
}

#[test]
fn our_offer_goes_out_with_early_media_to_a_caller_that_acknowledges_it() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.trunk_dials_reliably(None);
    bench.progress(dial.leg, 0, 183, Some(&fork("0 101", 5000)));
    let offer = bench.takes_progress(leg, 183).unwrap();
    assert_eq!(listed(&offer)[0], "0 pcmu/8000");
    // The answer may overtake theirs.
    bench.answered(dial.leg, 0, None);
    assert_eq!(bench.takes_answer(leg), None);
    bench.accepted(leg, &sip_sdp("0 101", ""));
    assert!(bench.media.iter().any(|command| matches!(command, media::Command::Join { .. })));
    bench.quiet();
    // Without acknowledgement it waits for the answer.
    let mut bench = Bench::new();
    let (leg, dial) = bench.trunk_dials(None);
    bench.progress(dial.leg, 0, 183, Some(&fork("0 101", 5000)));
    assert!(bench.takes_progress(leg, 183).is_none());
    bench.answered(dial.leg, 0, None);
    assert!(bench.takes_answer(leg).is_some());
}

#[test]
fn a_caller_that_acknowledged_may_change_before_the_answer() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.trunk_dials_reliably(Some(&sip_sdp("8 0 101", "")));
    bench.progress(dial.leg, 0, 183, Some(&fork("8 101", 5000)));
    bench.takes_progress(leg, 183);
    bench.offered(leg, Some(&sip_sdp("8 101", "a=sendonly\r\n").replace("4000", "4500")));
    assert_eq!(way(&bench.takes_acceptance(leg)), Direction::RecvOnly);
    assert_eq!(port(&bench, leg), 4500);
    // What the called party can't read is refused: before the answer nobody asks it.
    bench.offered(leg, Some(&sip_sdp("0 101", "")));
    assert_eq!(bench.takes_refusal(leg).code, 488);
    // The called party hears of the hold once it has answered.
    bench.answered(dial.leg, 0, None);
    bench.takes_answer(leg);
    assert_eq!(way(&bench.takes_offer(dial.leg)), Direction::SendOnly);
    bench.quiet();
}

#[test]
fn an_early_dialog_may_change_whether_it_is_heard_or_not() {
    let mut bench = Bench::new();
    let (_, dial) = bench.browser_dials(&web_offer());
    bench.progress(dial.leg, 0, 183, Some(&fork("96 101", 5000)));
    bench.progress(dial.leg, 1, 183, Some(&fork("96 101", 6000)));
    bench.legs.clear();
    let change = |bench: &mut Bench, fork: u16, offer: String| {
        bench.event(Event::OfferedEarly { leg: dial.leg, fork: Fork(fork), offer: parsed(&offer) });
        bench.takes_early_answer(dial.leg, fork)
    };
    // Not heard: answered all the same.
    let answer = change(&mut bench, 0, fork("8 101", 5002)).unwrap();
    assert_eq!((listed(&answer)[0].as_str(), port(&bench, dial.leg)), ("8 pcma/8000", 6000));
    let answer = change(&mut bench, 1, fork("0 101", 6002)).unwrap();
    assert_eq!((listed(&answer)[0].as_str(), port(&bench, dial.leg)), ("0 pcmu/8000", 6002));
    assert!(change(&mut bench, 1, fork("18", 6004)).is_none(), "nothing in common");
    assert!(change(&mut bench, 5, fork("0", 6004)).is_none(), "nobody knows it");
    // The answer is by what stood last, whatever the 2xx says again.
    bench.answered(dial.leg, 0, Some(&fork("96 101", 5000)));
    assert_eq!((port(&bench, dial.leg), bench.formats(dial.leg)[0].as_str()), (5002, "pcma/8000"));
}

#[test]
fn a_trunk_that_makes_the_offers_is_answered_in_the_ack() {
    let mut bench = Bench::with(late(), 1);
    let (leg, dial) = bench.trunk_dials(Some(&sip_sdp("8 0 101", "")));
    assert!(dial.late);
    bench.progress(dial.leg, 0, 180, None);
    bench.takes_progress(leg, 180);
    bench.answered(dial.leg, 0, Some(&fork("18 0 101", 5000)));
    let answer = bench.takes_acceptance(dial.leg);
    assert_eq!(listed(&answer), ["0 pcmu/8000", "101 telephone-event/8000"]);
    assert_eq!(listed(&bench.takes_answer(leg).unwrap())[0], "0 pcmu/8000");
    assert_eq!(port(&bench, dial.leg), 5000);
    bench.quiet();
}

#[test]
fn a_late_offer_in_early_media_is_answered_at_once_and_the_2xx_has_none() {
    let mut bench = Bench::with(late(), 1);
    let (leg, dial) = bench.trunk_dials(Some(&sip_sdp("8 0 101", "")));
    bench.progress(dial.leg, 3, 183, Some(&fork("0 101", 5000)));
    assert_eq!(listed(&bench.takes_early_answer(dial.leg, 3).unwrap())[0], "0 pcmu/8000");
    assert!(bench.takes_progress(leg, 183).is_some());
    bench.answered(dial.leg, 3, None);
    assert!(bench.takes_answer(leg).is_some());
    bench.quiet();
    // One that can't be met ends the call.
    let mut bench = Bench::with(late(), 1);
    let (leg, dial) = bench.trunk_dials(Some(&sip_sdp("8 0 101", "")));
    bench.progress(dial.leg, 0, 183, Some(&fork("18", 5000)));
    assert_eq!(bench.takes_end(dial.leg).cause, Cause::NotAcceptable);
    assert_eq!(bench.takes_end(leg).cause, Cause::NotAcceptable);
    bench.empty(1);
}

#[test]
fn a_late_offer_that_can_not_be_met_in_the_2xx_ends_the_call() {
    let mut bench = Bench::with(late(), 1);
    let (leg, dial) = bench.trunk_dials(Some(&sip_sdp("8 0 101", "")));
    bench.answered(dial.leg, 0, Some(&fork("18", 5000)));
    assert_eq!(bench.takes_end(dial.leg).cause, Cause::NotAcceptable);
    assert_eq!(bench.takes_end(leg).cause, Cause::NotAcceptable);
    bench.empty(1);
}

#[test]
fn neither_side_offers_and_both_are_met() {
    let mut bench = Bench::with(late(), 1);
    let (leg, dial) = bench.trunk_dials(None);
    bench.answered(dial.leg, 0, Some(&fork("0 101", 5000)));
    bench.takes_acceptance(dial.leg);
    let offer = bench.takes_answer(leg).unwrap();
    assert_eq!(listed(&offer)[0], "0 pcmu/8000");
    bench.accepted(leg, &sip_sdp("0 101", ""));
    bench.quiet();
    assert!(bench.media.iter().any(|command| matches!(command, media::Command::Join { .. })));
}

#[test]
fn a_refresh_that_says_something_new_is_heeded() {
    let mut bench = Bench::new();
    let (leg, dial) = bench.trunk_dials(Some(&sip_sdp("0 101", "")));
    bench.answered(dial.leg, 0, Some(&fork("0 101", 5000)));
    bench.takes_answer(leg);
    bench.event(Event::Refreshed { leg: dial.leg, answer: parsed(&fork("0 101", 5000)) });
    bench.quiet();
    bench.event(Event::Refreshed { leg: dial.leg, answer: parsed(&fork("0 101", 5002)) });
    assert_eq!(port(&bench, dial.leg), 5002);
    bench.quiet();
    // One that holds is told to the other party.
    let held = fork("0 101", 5002) + "a=inactive\r\n";
    bench.event(Event::Refreshed { leg: dial.leg, answer: parsed(&held) });
    assert_eq!(way(&bench.takes_offer(leg)), Direction::Inactive);
    bench.wait(Duration::from_secs(1));
}

#[test]
fn preconditions_stay_on_their_own_side() {
    let asked = sip_sdp(
        "0 101",
        "a=curr:qos local none\r\na=des:qos mandatory local sendrecv\r\na=conf:qos remote sendrecv\r\n",
    );
    let mut bench = Bench::new();
    let (leg, dial) = bench.trunk_dials(Some(&asked));
    let none =
        |session: &Session| !["curr:", "des:", "conf:"].iter().any(|it| session.to_string().contains(it));
    assert!(none(&dial.offer));
    bench.answered(dial.leg, 0, Some(&asked));
    assert!(none(&bench.takes_answer(leg).unwrap()));
}
