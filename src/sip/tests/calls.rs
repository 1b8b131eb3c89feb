//! Whole calls between two stacks.

use super::*;
use crate::leg::{Callee, Cause, Source};

#[test]
fn a_call_rings_is_answered_and_hung_up_by_the_caller() {
    let mut net = Net::pair(1);
    let out = net.dial(0);
    net.run(seconds(1));
    let incoming = net.incoming(1);
    assert_eq!(incoming.source, Source::Trunk(TrunkId(0)));
    assert_eq!((incoming.caller.user.as_str(), incoming.caller.display.as_str()), ("alice", "Al \"x\""));
    assert!(
        matches!(&incoming.callee, Callee::Dialled(party) if party.user == "bob" && party.host == "192.0.2.2")
    );
    assert_eq!((incoming.hops, incoming.offer.as_deref()), (69, Some(&*sdp(1))));
    let leg = incoming.leg;
    net.command(1, Command::Progress { leg, code: 180, answer: None });
    net.run(seconds(1));
    net.command(1, Command::Answer { leg, session: Some(sdp(2)) });
    net.run(seconds(1));
    assert_eq!(net.names(0), ["Progress 100 fork 0", "Progress 180 fork 0", "Answered fork 0"]);
    assert!(
        matches!(net.nodes[0].events.last(), Some(Event::Answered { answer: Some(a), .. }) if **a == *sdp(2))
    );
    net.command(0, end(out));
    net.run(seconds(1));
    assert_eq!(net.names(1), ["Incoming", "Ended hangup 0"]);
    assert_eq!(net.sent(A, "ACK"), 1);
    net.run(seconds(40));
    net.assert_empty();
}

#[test]
fn the_callee_hangs_up_too() {
    let mut net = Net::pair(2);
    let (_, leg) = net.call();
    net.command(1, end(leg));
    net.run(seconds(1));
    assert_eq!(net.names(0).last().unwrap(), "Ended hangup 0");
    net.run(seconds(40));
    net.assert_empty();
}

#[test]
fn early_media_goes_into_the_183_and_again_into_the_200() {
    // Once it is acknowledged it is not said again.
    for (reliable, answered) in
        [(Reliability::Off, "Answered fork 0"), (Reliability::Supported, "Answered fork 0 bare")]
    {
        let mut net = Net::new(3);
        net.join(A, B, 1, |config| config.trunks[0].reliable = reliable);
        net.join(B, A, 1, |_| {});
        net.dial(0);
        net.run(seconds(1));
        let leg = net.incoming(1).leg;
        net.command(1, Command::Progress { leg, code: 183, answer: Some(sdp(5)) });
        net.run(seconds(1));
        net.command(1, Command::Answer { leg, session: None });
        net.run(seconds(1));
        assert_eq!(net.names(0), ["Progress 100 fork 0", "Progress 183 fork 0 media", answered]);
    }
}

#[test]
fn a_provisional_response_is_repeated_every_minute() {
    let mut net = Net::pair(3);
    net.dial(0);
    net.run(seconds(1));
    let leg = net.incoming(1).leg;
    net.command(1, Command::Progress { leg, code: 180, answer: None });
    net.run(seconds(130));
    assert_eq!(net.sent(B, "SIP/2.0 180"), 3);
}

#[test]
fn refusals_reach_the_caller_with_cause_and_code() {
    for (cause, code) in [
        (Cause::Busy, 486),
        (Cause::Declined, 603),
        (Cause::NotFound, 404),
        (Cause::NotAcceptable, 488),
        (Cause::NoAnswer, 480),
        (Cause::Overloaded, 503),
        (Cause::Hangup, 480),
    ] {
        let mut net = Net::pair(4);
        net.dial(0);
        net.run(seconds(1));
        let leg = net.incoming(1).leg;
        net.command(1, Command::End { leg, reason: cause.into() });
        net.run(seconds(1));
        let expected = Reason::from_code(code);
        assert!(
            matches!(net.nodes[0].events.last(), Some(Event::Ended { reason, .. }) if *reason == expected),
            "{cause:?}: {:?}",
            net.names(0)
        );
        net.run(seconds(40));
        net.assert_empty();
    }
}

#[test]
fn the_caller_gives_up_while_it_rings() {
    let mut net = Net::pair(5);
    let out = net.dial(0);
    net.run(seconds(1));
    net.command(0, end(out));
    net.run(seconds(1));
    assert_eq!(net.names(1), ["Incoming", "Ended cancelled 487"]);
    assert_eq!(net.names(0), ["Progress 100 fork 0"]);
    assert_eq!((net.sent(A, "CANCEL"), net.sent(B, "SIP/2.0 487")), (1, 1));
    net.run(seconds(40));
    net.assert_empty();
}

#[test]
fn cancel_says_when_another_device_answered() {
    let mut net = Net::pair(5);
    let leg = net.dial(0);
    net.run(seconds(1));
    net.command(0, Command::End { leg, reason: Cause::AnsweredElsewhere.into() });
    assert!(header(&net.last(A, "CANCEL"), "Reason").contains("cause=200"));
}

#[test]
fn cancel_that_crosses_the_200_ends_in_ack_and_bye() {
    let mut net = Net::pair(6);
    let out = net.dial(0);
    net.run(seconds(1));
    let leg = net.incoming(1).leg;
    // Both at one instant: each is on the wire when the other is sent.
    net.command(1, Command::Answer { leg, session: Some(sdp(2)) });
    net.command(0, end(out));
    net.run(seconds(2));
    assert_eq!((net.sent(A, "CANCEL"), net.sent(A, "ACK"), net.sent(A, "BYE")), (1, 1, 1));
    assert_eq!(net.names(1), ["Incoming", "Ended hangup 0"]);
    net.run(seconds(40));
    net.assert_empty();
}

#[test]
fn a_lost_200_is_sent_again_until_the_ack() {
    let mut net = Net::pair(7);
    let mut left = 3;
    net.lose = Some(Box::new(move |text| {
        let hit = text.starts_with("SIP/2.0 200") && left > 0;
        left -= i32::from(hit);
        hit
    }));
    net.dial(0);
    net.run(seconds(1));
    let leg = net.incoming(1).leg;
    net.command(1, Command::Answer { leg, session: Some(sdp(2)) });
    net.run(seconds(10));
    assert_eq!(net.sent(B, "SIP/2.0 200"), 4);
    assert_eq!(net.names(0).iter().filter(|name| name.starts_with("Answered")).count(), 1);
}

#[test]
fn the_ack_is_sent_again_for_each_200_that_comes_again() {
    let mut net = Net::pair(8);
    let mut left = 3;
    net.lose = Some(Box::new(move |text| {
        let hit = text.starts_with("ACK") && left > 0;
        left -= i32::from(hit);
        hit
    }));
    net.call();
    net.run(seconds(10));
    assert_eq!((net.sent(A, "ACK"), net.sent(B, "SIP/2.0 200")), (4, 4));
    assert!(!net.heard(1, "Ended"));
}

#[test]
fn an_answer_that_is_never_acknowledged_ends_in_bye() {
    let mut net = Net::pair(9);
    net.lose = Some(Box::new(|text| text.starts_with("ACK")));
    net.call();
    net.run(seconds(40));
    assert_eq!(net.names(1).last().unwrap(), "Ended unreachable 408");
    assert_eq!(net.names(0).last().unwrap(), "Ended hangup 0");
    assert_eq!(net.stack(1).counters().lost_acks, 1);
    net.run(seconds(60));
    net.assert_empty();
}

#[test]
fn hanging_up_before_the_ack_waits_for_it() {
    let mut net = Net::pair(10);
    let mut left = 2;
    net.lose = Some(Box::new(move |text| {
        let hit = text.starts_with("ACK") && left > 0;
        left -= i32::from(hit);
        hit
    }));
    let (_, leg) = net.call();
    net.command(1, end(leg));
    assert_eq!(net.sent(B, "BYE"), 0);
    net.run(seconds(10));
    assert_eq!(net.sent(B, "BYE"), 1);
    assert_eq!(net.names(0).last().unwrap(), "Ended hangup 0");
}

#[test]
fn byes_that_cross_are_both_answered() {
    let mut net = Net::pair(11);
    let (out, leg) = net.call();
    net.command(0, end(out));
    net.command(1, end(leg));
    net.run(seconds(1));
    assert_eq!((net.sent(A, "SIP/2.0 200"), net.sent(B, "BYE"), net.sent(A, "BYE")), (1, 1, 1));
    net.run(seconds(60));
    net.assert_empty();
}

#[test]
fn a_silent_trunk_is_unreachable_at_its_deadline_and_the_transaction_goes_on() {
    let mut net = Net::new(12);
    net.join(A, "192.0.2.77:5060", 1, |_| {});
    net.dial(0);
    net.run(Duration::from_millis(4_900));
    assert!(net.names(0).is_empty());
    net.run(Duration::from_millis(200));
    assert_eq!(net.names(0), ["Ended unreachable 503"]);
    net.run(seconds(40));
    assert_eq!(net.sent(A, "INVITE"), 7);
    assert_eq!(net.sent(A, "CANCEL"), 0);
    net.assert_empty();
}

#[test]
fn a_flow_that_fails_ends_the_call_at_once() {
    let mut net = Net::new(13);
    net.join(A, "192.0.2.77:5060", 1, |_| {});
    net.dial(0);
    let flow = Flow {
        id: Key::new(ShardId(0), 0, 0),
        transport: Transport::Udp,
        remote: at("192.0.2.77:5060"),
        realm: RealmId(0),
    };
    net.input(0, 0, Input::Failed { flow });
    assert_eq!(net.names(0), ["Ended unreachable 503"]);
    net.assert_empty();
}

#[test]
fn an_invite_that_comes_back_by_icmp_ends_its_call_at_once_and_only_its_own() {
    let mut net = Net::new(13);
    net.join(A, "192.0.2.77:5060", 1, |_| {});
    net.dial(0);
    let lost = net.last(A, "INVITE");
    net.dial(0);
    let refuse = |net: &mut Net, quoted: &[u8]| net.input(0, 0, Input::Refused { quoted });
    // Forged or cut short: no branch, no effect.
    let branch = header(&lost, "Via").split("branch=").nth(1).unwrap().split(';').next().unwrap();
    let up_to_branch = lost.find(branch).unwrap();
    refuse(&mut net, &lost.as_bytes()[..up_to_branch + branch.len()]);
    refuse(&mut net, lost.replace(branch, "z9hG4bK00aaaaaaaaaaaaaaaaaa").as_bytes());
    refuse(&mut net, lost.replacen("INVITE", "BYE", 1).as_bytes());
    refuse(&mut net, b"");
    assert!(net.names(0).is_empty());
    // What a router quotes ends anywhere.
    refuse(&mut net, &lost.as_bytes()[..=up_to_branch + branch.len()]);
    assert_eq!(net.names(0), ["Ended unreachable 503"]);
    assert_eq!(net.stack(0).counters().refused_by_icmp, 1);
    refuse(&mut net, lost.as_bytes());
    assert_eq!(net.names(0).len(), 1);
}

#[test]
fn what_comes_back_after_an_answer_or_within_a_call_ends_nothing() {
    let mut net = Net::pair(15);
    let (leg, _) = net.call();
    let invite = net.last(A, "INVITE");
    net.input(0, 0, Input::Refused { quoted: invite.as_bytes() });
    net.command(0, Command::Offer { leg, offer: sdp(7) });
    let reinvite = net.last(A, "INVITE");
    assert_ne!(invite, reinvite);
    net.input(0, 0, Input::Refused { quoted: reinvite.as_bytes() });
    net.run(seconds(1));
    assert!(!net.heard(0, "Ended") && net.heard(1, "Offered"), "a server that starts again is soon back");
    assert_eq!(net.stack(0).counters().refused_by_icmp, 0);
}

#[test]
fn nobody_answers_before_the_ring_time_is_over() {
    let mut net = Net::pair(14);
    net.dial(0);
    net.run(seconds(181));
    assert_eq!(net.names(0).last().unwrap(), "Ended no_answer 480");
    net.run(seconds(1));
    assert_eq!(net.names(1).last().unwrap(), "Ended cancelled 487");
    net.run(seconds(40));
    net.assert_empty();
}

#[test]
fn control_bytes_of_a_dialled_name_reach_no_message() {
    let mut net = Net::pair(15);
    let leg = net.nodes[0].mint.leg(Side::Sip);
    let party = Party { user: "bob\r\nX: y".into(), display: "a\r\nb\0".into(), host: "h\r\nEvil: 1".into() };
    let dial = Dial {
        leg,
        target: Target::Trunk(TrunkId(0)),
        caller: party.clone(),
        callee: party,
        account: None,
        identity: None,
        offer: sdp(1),
        hops: 70,
        with: None,
        data: vec![("X-Evil".into(), "a\r\nEvil: 1".into()), ("Via".into(), "x".into())],
        carried: Box::default(),
        late: false,
        referral: None,
    };
    net.command(0, Command::Dial(Box::new(dial)));
    net.run(seconds(1));
    assert!(net.log.iter().all(|(_, text)| !text.contains("\r\nX:") && !text.contains("\r\nEvil:")));
    assert!(net.heard(0, "Ended") || net.heard(1, "Incoming"));
}

#[test]
fn calls_beyond_the_bounds_are_refused_and_counted() {
    let mut net = Net::new(16);
    net.join(A, B, 1, |config| config.caps.dialogs = 1);
    net.join(B, A, 1, |config| config.caps.dialogs = 0);
    net.dial(0);
    net.dial(0);
    assert_eq!(net.names(0), ["Ended overloaded 503"]);
    net.run(seconds(1));
    assert_eq!(net.names(0).last().unwrap(), "Ended unreachable 503");
    assert_eq!((net.stack(0).counters().full_dialogs, net.stack(1).counters().full_dialogs), (1, 1));
}

#[test]
fn ended_calls_leave_their_room_to_new_ones() {
    let mut net = Net::new(19);
    net.join(A, B, 1, |config| config.caps.dialogs = 1);
    net.join(B, A, 1, |_| {});
    let (out, _) = net.call();
    net.command(0, end(out));
    net.run(seconds(1));
    assert_eq!(net.stack(0).dialogs(), 1, "the first waits for late answers");
    net.call();
    net.run(seconds(40));
    assert_eq!(net.stack(0).dialogs(), 1);
}

#[test]
fn calls_work_over_ipv6() {
    let (a, b) = ("[2001:db8::1]:5060", "[2001:db8::2]:5070");
    let mut net = Net::new(17);
    net.join(a, b, 1, |_| {});
    net.join(b, a, 1, |_| {});
    let (out, leg) = net.call();
    net.command(1, Command::Offer { leg, offer: sdp(3) });
    net.run(seconds(1));
    net.command(0, Command::Accept { leg: out, answer: sdp(4) });
    net.command(0, end(out));
    net.run(seconds(60));
    assert_eq!(net.names(1).last().unwrap(), "Ended hangup 0");
    net.assert_empty();
}

#[test]
fn a_caller_host_that_is_none_gives_way_to_the_trunks() {
    let mut net = Net::pair(18);
    let leg = net.nodes[0].mint.leg(Side::Sip);
    let caller = Party { user: "a;b@c".into(), host: "x> <y".into(), display: String::new() };
    let callee = Party { user: "+49 30".into(), ..Party::default() };
    let target = Target::Trunk(TrunkId(0));
    let dial = Dial {
        leg,
        target,
        caller,
        callee,
        account: None,
        identity: None,
        offer: sdp(1),
        hops: 70,
        with: None,
        data: Vec::new(),
        carried: Box::default(),
        late: false,
        referral: None,
    };
    net.command(0, Command::Dial(Box::new(dial)));
    net.run(seconds(1));
    let incoming = net.incoming(1);
    assert_eq!((incoming.caller.user.as_str(), incoming.caller.host.as_str()), ("a;b@c", "192.0.2.2"));
    assert!(matches!(&incoming.callee, Callee::Dialled(party) if party.user == "+49 30"));
}
