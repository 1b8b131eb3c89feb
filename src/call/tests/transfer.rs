//! Transfers: a third party takes the place of one of the two.

use super::change::web_talks;
use super::*;
use crate::leg::{Dialog, Notice, Replaces, Stage, Transfer};

fn policy(transfer: Option<Transfers>) -> Bench {
    let mut config = config();
    config.trunks.iter_mut().for_each(|trunk| trunk.transfer = transfer);
    Bench::with(config, 1)
}

fn to(user: &str, replaces: Option<Replaces>) -> Box<Transfer> {
    let to = Party { user: user.into(), ..Party::default() };
    Box::new(Transfer { to, replaces, by: None })
}

impl Bench {
    fn transfer(&mut self, leg: LegId, transfer: Box<Transfer>) {
        self.event(Event::Transfer { leg, transfer });
    }

    fn takes_stage(&mut self, leg: LegId) -> Stage {
        match self.next_leg() {
            Command::Transfer { leg: to, stage } if to == leg => stage,
            other => panic!("{other:?} instead of a transfer's stage to {leg:?}"),
        }
    }

    fn takes_party(&mut self, leg: LegId) -> String {
        match self.next_leg() {
            Command::Inform { leg: to, notice } if to == leg => match *notice {
                Notice::Party(party) => party.user,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?} instead of a new party to {leg:?}"),
        }
    }

    /// Who hears whom now.
    fn joined(&self) -> Option<(LegId, LegId)> {
        self.media.iter().rev().find_map(|command| match command {
            media::Command::Join { a, b } => Some((*a, *b)),
            _ => None,
        })
    }

    /// The first trunk talks with a browser: both legs.
    fn phone_talks(&mut self) -> (LegId, LegId) {
        let (phone, dial) = self.browser_is_called(Some(&sip_sdp("0 101", "")));
        self.answered(dial.leg, 0, Some(&web_sdp("0 126", "active", "abcd", "")));
        assert!(self.takes_answer(phone).is_some());
        self.quiet();
        (phone, dial.leg)
    }

    fn third(&mut self, asks: LegId) -> Dial {
        let dial = match (self.next_leg(), self.next_leg()) {
            (Command::Transfer { stage: Stage::Trying(100), leg }, Command::Dial(dial)) if leg == asks => {
                *dial
            }
            (Command::Dial(dial), Command::Transfer { stage: Stage::Trying(100), leg }) if leg == asks => {
                *dial
            }
            other => panic!("{other:?}"),
        };
        self.quiet();
        dial
    }
}

#[test]
fn a_phone_transfers_a_browser_which_goes_on_with_the_third_party() {
    let mut bench = policy(Some(Transfers::Local));
    let (phone, browser) = bench.phone_talks();
    bench.transfer(phone, to("carol", None));
    let dial = bench.third(phone);
    assert_eq!((dial.callee.user.as_str(), &dial.target), ("carol", &Target::Trunk(TrunkId(0))));
    assert_eq!(dial.hops, 68, "one less than the call's own");
    let referral = dial.referral.unwrap();
    assert_eq!((referral.by.unwrap().user.as_str(), referral.replaces), ("caller", None));
    assert_eq!(listed(&dial.offer)[0], "0 pcmu/8000", "what the browser speaks already");
    bench.progress(dial.leg, 0, 180, None);
    assert_eq!(bench.takes_stage(phone), Stage::Trying(180));
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 101", "")));
    assert_eq!(bench.takes_stage(phone), Stage::Done);
    assert_eq!(bench.takes_end(phone).cause, Cause::Transferred);
    assert_eq!(bench.takes_party(browser), "carol");
    bench.quiet();
    assert_eq!(bench.joined(), Some((dial.leg, browser)));
    bench.ended(browser, Cause::Hangup.into());
    assert_eq!(bench.takes_end(dial.leg).cause, Cause::Hangup);
    bench.empty(1);
}

#[test]
fn a_transfer_that_fails_leaves_the_call_as_it_was() {
    let mut bench = policy(Some(Transfers::Local));
    let (phone, browser) = bench.phone_talks();
    for reason in [Reason::from_code(486), Cause::Declined.into()] {
        bench.transfer(phone, to("carol", None));
        let dial = bench.third(phone);
        bench.ended(dial.leg, reason);
        assert_eq!(bench.takes_stage(phone), Stage::Failed(reason));
        bench.quiet();
    }
    // An answer that accepts nothing.
    bench.transfer(phone, to("carol", None));
    let dial = bench.third(phone);
    bench.answered(dial.leg, 0, Some(&sip_sdp("18", "")));
    bench.takes_end(dial.leg);
    assert!(matches!(bench.takes_stage(phone), Stage::Failed(reason) if reason.code == 488));
    // Nobody answers.
    bench.transfer(phone, to("carol", None));
    let dial = bench.third(phone);
    bench.wait(Duration::from_mins(3));
    let said: Vec<_> = std::mem::take(&mut bench.legs).into();
    assert!(said.iter().any(|it| matches!(it, Command::End { leg, .. } if *leg == dial.leg)), "{said:?}");
    // Rings too long and media of the phone is silent too long are two things; the first came first here.
    bench.ended(phone, Cause::Hangup.into());
    bench.ended(browser, Cause::Hangup.into());
    bench.legs.clear();
    bench.empty(1);
}

#[test]
fn the_one_who_transfers_may_hang_up_before_it_is_done() {
    let mut bench = policy(Some(Transfers::Local));
    let (phone, browser) = bench.phone_talks();
    bench.transfer(phone, to("carol", None));
    let dial = bench.third(phone);
    bench.ended(phone, Cause::Hangup.into());
    bench.quiet();
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 101", "")));
    assert_eq!(bench.takes_party(browser), "carol");
    bench.quiet();
    bench.ended(dial.leg, Cause::Hangup.into());
    bench.takes_end(browser);
    bench.empty(1);
    // And where the third party does not come, nobody is left to go back to.
    let (phone, browser) = bench.phone_talks();
    bench.transfer(phone, to("carol", None));
    let dial = bench.third(phone);
    bench.ended(phone, Cause::Hangup.into());
    bench.ended(dial.leg, Reason::from_code(486));
    bench.takes_stage(phone);
    assert_eq!(bench.takes_end(browser).cause, Cause::Busy);
    bench.empty(2);
}

#[test]
fn the_one_who_is_transferred_may_hang_up_and_takes_the_third_party_along() {
    let mut bench = policy(Some(Transfers::Local));
    let (phone, browser) = bench.phone_talks();
    bench.transfer(phone, to("carol", None));
    let dial = bench.third(phone);
    bench.ended(browser, Cause::Hangup.into());
    assert_eq!(bench.takes_end(dial.leg).cause, Cause::Cancelled);
    assert!(matches!(bench.takes_stage(phone), Stage::Failed(_)));
    bench.takes_end(phone);
    bench.empty(1);
}

#[test]
fn a_trunk_that_is_not_trusted_with_transfers_has_nobody_called() {
    for transfer in [None, Some(Transfers::Refuse)] {
        let mut bench = policy(transfer);
        let (phone, _) = bench.phone_talks();
        bench.transfer(phone, to("09001234", None));
        assert_eq!(bench.takes_stage(phone), Stage::Failed(Cause::Declined.into()));
        bench.quiet();
    }
    // Nor may one that is trusted have called what a route forbids.
    let mut bench = policy(Some(Transfers::Local));
    let (phone, _) = bench.phone_talks();
    bench.transfer(phone, to("09001234", None));
    assert_eq!(bench.takes_stage(phone), Stage::Failed(Cause::Forbidden.into()));
    bench.quiet();
}

#[test]
fn a_browser_transfers_a_held_phone_which_is_resumed_with_the_third_party() {
    let mut bench = policy(None);
    let (browser, phone) = web_talks(&mut bench);
    bench.event(Event::Hold { leg: browser, on: true });
    bench.takes_offer(phone);
    bench.accepted(phone, &sip_sdp("0 101", "a=recvonly\r\n"));
    bench.next_leg();
    bench.transfer(browser, to("carol", None));
    let dial = bench.third(browser);
    assert_eq!(dial.account, Some("alice".into()), "whose credentials pay for it");
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 101", "")));
    assert_eq!(bench.takes_stage(browser), Stage::Done);
    assert_eq!(bench.takes_end(browser).cause, Cause::Transferred);
    assert_eq!(way(&bench.takes_offer(phone)), Direction::SendRecv);
    bench.accepted(phone, &sip_sdp("0 101", ""));
    bench.quiet();
    assert!(bench.agreed[&phone].send && bench.agreed[&phone].receive);
    bench.ended(phone, Cause::Hangup.into());
    bench.takes_end(dial.leg);
    bench.empty(1);
}

#[test]
fn a_browser_connects_the_parties_of_two_calls() {
    let mut bench = policy(None);
    let (first, bob) = web_talks(&mut bench);
    let (second, carol) = web_talks(&mut bench);
    // The one whose call is joined to the other is held meanwhile.
    bench.event(Event::Hold { leg: second, on: true });
    bench.takes_offer(carol);
    bench.accepted(carol, &sip_sdp("0 101", "a=recvonly\r\n"));
    bench.next_leg();
    bench.transfer(first, to("", Some(Replaces::Leg(second))));
    assert_eq!(bench.takes_end(second).cause, Cause::Transferred);
    assert_eq!(bench.takes_stage(first), Stage::Done);
    assert_eq!(bench.takes_end(first).cause, Cause::Transferred);
    assert_eq!(way(&bench.takes_offer(carol)), Direction::SendRecv);
    bench.accepted(carol, &sip_sdp("0 101", ""));
    bench.quiet();
    assert_eq!(bench.joined(), Some((first, bob)).map(|(_, bob)| (carol, bob)));
    assert_eq!(bench.records.len(), 1, "the second call is over");
    bench.ended(carol, Cause::Hangup.into());
    bench.takes_end(bob);
    bench.empty(2);
}

#[test]
fn a_call_that_is_not_there_or_not_answered_is_joined_to_none() {
    let mut bench = policy(None);
    let (first, _) = web_talks(&mut bench);
    let gone = bench.leg(Side::Web);
    bench.transfer(first, to("", Some(Replaces::Leg(gone))));
    assert!(matches!(bench.takes_stage(first), Stage::Failed(reason) if reason.code == 481));
    bench.transfer(first, to("", Some(Replaces::Leg(first))));
    assert!(matches!(bench.takes_stage(first), Stage::Failed(_)), "with itself");
    let (second, _) = bench.browser_dials(&web_offer());
    bench.transfer(first, to("", Some(Replaces::Leg(second))));
    assert!(matches!(bench.takes_stage(first), Stage::Failed(_)), "it rings still");
    bench.quiet();
}

#[test]
fn a_transfer_is_passed_on_to_a_phone_and_ends_the_call_when_it_is_there() {
    let mut bench = policy(Some(Transfers::Pass));
    let (browser, phone) = web_talks(&mut bench);
    bench.transfer(browser, to("carol", None));
    match bench.next_leg() {
        Command::Refer { leg, transfer } => assert_eq!((leg, transfer.to.user.as_str()), (phone, "carol")),
        other => panic!("{other:?}"),
    }
    for code in [100, 180] {
        bench.event(Event::Referred { leg: phone, stage: Stage::Trying(code) });
        assert_eq!(bench.takes_stage(browser), Stage::Trying(code));
    }
    // While it is under way no other begins.
    bench.transfer(browser, to("dave", None));
    assert_eq!(bench.takes_stage(browser), Stage::Failed(Cause::Pending.into()));
    let busy = Stage::Failed(Reason::from_code(486));
    bench.event(Event::Referred { leg: phone, stage: busy });
    assert_eq!(bench.takes_stage(browser), busy);
    bench.quiet();
    bench.transfer(browser, to("carol", None));
    bench.next_leg();
    bench.event(Event::Referred { leg: phone, stage: Stage::Done });
    assert_eq!(bench.takes_stage(browser), Stage::Done);
    assert_eq!(bench.takes_end(phone).cause, Cause::Transferred);
    assert_eq!(bench.takes_end(browser).cause, Cause::Transferred);
    bench.empty(1);
}

#[test]
fn an_attended_transfer_that_is_passed_on_names_the_leg_behind() {
    let mut bench = policy(Some(Transfers::Pass));
    let (first, bob) = web_talks(&mut bench);
    let (second, carol) = web_talks(&mut bench);
    bench.transfer(first, to("", Some(Replaces::Leg(second))));
    match bench.next_leg() {
        Command::Refer { leg, transfer } => {
            assert_eq!((leg, transfer.replaces), (bob, Some(Replaces::Leg(carol))));
        }
        other => panic!("{other:?}"),
    }
    bench.quiet();
}

#[test]
fn a_dialog_of_others_is_passed_to_the_third_party() {
    let mut bench = policy(Some(Transfers::Local));
    let (phone, _) = bench.phone_talks();
    let dialog = Dialog { call_id: "x".into(), to_tag: "1".into(), from_tag: "2".into(), early_only: false };
    bench.transfer(phone, to("carol", Some(Replaces::Dialog(dialog.clone()))));
    assert_eq!(bench.third(phone).referral.unwrap().replaces, Some(dialog));
}

impl Bench {
    /// Somebody comes from the first trunk to take the place of `leg`'s party.
    fn replaces(&mut self, leg: LegId, offer: Option<&str>) -> LegId {
        let own = self.leg(Side::Sip);
        self.event(Event::Incoming(Box::new(Incoming {
            leg: own,
            source: Source::Trunk(TrunkId(0)),
            identity: None,
            caller: Party { user: "dave".into(), ..Party::default() },
            callee: dialled("anybody"),
            offer: offer.map(parsed),
            hops: 70,
            key: "other".into(),
            data: Vec::new(),
            carried: Box::default(),
            reliable: false,
            replaces: Some(leg),
        })));
        own
    }
}

#[test]
fn who_comes_with_replaces_takes_the_place_of_the_phone() {
    let mut bench = policy(None);
    let (browser, phone) = web_talks(&mut bench);
    let dave = bench.replaces(phone, Some(&sip_sdp("0 101", "")));
    let answer = bench.takes_answer(dave).unwrap();
    assert_eq!(listed(&answer)[0], "0 pcmu/8000");
    assert_eq!(bench.takes_stage(phone), Stage::Done);
    bench.takes_end(phone);
    assert_eq!(bench.takes_party(browser), "dave");
    bench.quiet();
    assert_eq!(bench.joined(), Some((browser, dave)));
    // With a late offer.
    let erin = bench.replaces(dave, None);
    let offer = bench.takes_answer(erin).unwrap();
    assert!(!listed(&offer).is_empty());
    bench.takes_stage(dave);
    bench.takes_end(dave);
    bench.takes_party(browser);
    bench.accepted(erin, &sip_sdp("0 101", ""));
    assert_eq!(bench.joined(), Some((browser, erin)));
    bench.ended(erin, Cause::Hangup.into());
    bench.takes_end(browser);
    bench.empty(1);
}

#[test]
fn who_comes_for_a_phone_that_rings_is_its_answer() {
    let mut bench = policy(None);
    let (browser, dial) = bench.browser_dials(&web_offer());
    bench.progress(dial.leg, 0, 180, None);
    bench.next_leg();
    let dave = bench.replaces(dial.leg, Some(&sip_sdp("0 101", "")));
    bench.takes_answer(dave).unwrap();
    bench.takes_stage(dial.leg);
    assert_eq!(bench.takes_end(dial.leg).cause, Cause::Cancelled);
    assert_eq!(bench.takes_party(browser), "dave");
    assert_eq!(bench.takes_answer(browser), None);
    bench.legs.clear();
    assert_eq!(bench.joined(), Some((browser, dave)));
    bench.ended(browser, Cause::Hangup.into());
    bench.takes_end(dave);
    bench.empty(1);
}

#[test]
fn who_comes_for_nobody_or_with_nothing_in_common_is_turned_away() {
    let mut bench = policy(None);
    let (_, phone) = web_talks(&mut bench);
    let gone = bench.leg(Side::Sip);
    let dave = bench.replaces(gone, Some(&sip_sdp("0", "")));
    assert_eq!(bench.takes_end(dave).code, 481);
    let dave = bench.replaces(phone, Some(&sip_sdp("18", "")));
    assert_eq!(bench.takes_end(dave).code, 488);
    bench.quiet();
    bench.ended(phone, Cause::Hangup.into());
    bench.legs.clear();
}

#[test]
fn two_phones_talk_after_the_third_has_transferred_one() {
    let mut bench = policy(Some(Transfers::Local));
    let (caller, dial) = bench.trunk_dials(Some(&sip_sdp("0 101", "")));
    bench.answered(dial.leg, 0, Some(&sip_sdp("0 101", "")));
    bench.takes_answer(caller);
    // It holds before it transfers, as phones do.
    bench.offered(caller, Some(&sip_sdp("0 101", "a=sendonly\r\n")));
    bench.takes_offer(dial.leg);
    bench.accepted(dial.leg, &sip_sdp("0 101", "a=recvonly\r\n"));
    bench.takes_acceptance(caller);
    bench.transfer(caller, to("+carol", None));
    let third = bench.third(caller);
    assert_eq!(third.target, Target::Trunk(TrunkId(1)), "by the routes");
    bench.answered(third.leg, 0, Some(&sip_sdp("0 101", "")));
    bench.takes_stage(caller);
    bench.takes_end(caller);
    assert_eq!(way(&bench.takes_offer(dial.leg)), Direction::SendRecv, "it is held no more");
    bench.accepted(dial.leg, &sip_sdp("0 101", ""));
    bench.quiet();
    assert_eq!(bench.joined(), Some((third.leg, dial.leg)));
    bench.ended(dial.leg, Cause::Hangup.into());
    bench.takes_end(third.leg);
    bench.empty(1);
}
