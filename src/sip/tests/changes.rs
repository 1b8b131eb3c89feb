//! Changes of established calls, between two stacks.

use super::*;
use crate::leg::Cause;

#[test]
fn an_offer_on_an_established_leg_is_accepted() {
    for (offering, other) in [(0, 1), (1, 0)] {
        let mut net = Net::pair(1);
        let legs = <[LegId; 2]>::from(net.call());
        net.command(offering, Command::Offer { leg: legs[offering], offer: sdp(7) });
        net.run(seconds(1));
        assert!(matches!(net.nodes[other].events.last(),
            Some(Event::Offered { offer: Some(offer), .. }) if **offer == *sdp(7)));
        net.command(other, Command::Accept { leg: legs[other], answer: sdp(8) });
        net.run(seconds(1));
        assert!(matches!(net.nodes[offering].events.last(),
            Some(Event::Accepted { answer, .. }) if **answer == *sdp(8)));
        assert_eq!(net.stack(other).counters().lost_acks, 0);
        net.run(seconds(60));
        assert!(!net.heard(0, "Ended"));
    }
}

#[test]
fn a_refused_offer_leaves_the_call_as_it_was() {
    let mut net = Net::pair(2);
    let (out, leg) = net.call();
    net.command(0, Command::Offer { leg: out, offer: sdp(7) });
    net.run(seconds(1));
    net.command(1, Command::Refuse { leg, reason: Cause::NotAcceptable.into() });
    net.run(seconds(60));
    assert_eq!(net.names(0).last().unwrap(), "Refused not_acceptable");
    net.command(0, end(out));
    net.run(seconds(1));
    assert_eq!(net.names(1).last().unwrap(), "Ended hangup 0");
}

#[test]
fn offers_that_cross_both_get_491_and_try_again_at_different_times() {
    let mut net = Net::pair(3);
    let (out, leg) = net.call();
    net.command(0, Command::Offer { leg: out, offer: sdp(7) });
    net.command(1, Command::Offer { leg, offer: sdp(8) });
    net.run(Duration::from_millis(100));
    assert_eq!((net.sent(A, "SIP/2.0 491"), net.sent(B, "SIP/2.0 491")), (1, 1));
    // The callee waits less than 2 s, the caller, who owns the Call-ID, more.
    net.run(seconds(2));
    assert_eq!(net.names(0).last().unwrap(), "Offered");
    assert!(net.heard(0, "Refused pending"));
    net.command(0, Command::Accept { leg: out, answer: sdp(9) });
    net.run(seconds(4));
    assert_eq!(net.names(1).last().unwrap(), "Accepted");
    net.command(0, Command::Offer { leg: out, offer: sdp(10) });
    net.run(seconds(1));
    assert_eq!(net.names(1).last().unwrap(), "Offered");
}

#[test]
fn bye_that_crosses_a_reinvite_ends_the_call() {
    for ender in 0..2 {
        let mut net = Net::pair(4);
        let legs = <[LegId; 2]>::from(net.call());
        net.command(1 - ender, Command::Offer { leg: legs[1 - ender], offer: sdp(7) });
        net.command(ender, end(legs[ender]));
        net.run(seconds(2));
        assert_eq!(net.names(1 - ender).last().unwrap(), "Ended hangup 0");
        net.run(seconds(100));
        net.assert_empty();
    }
}

#[test]
fn hanging_up_answers_an_offer_that_waits() {
    let mut net = Net::pair(5);
    let (out, leg) = net.call();
    net.command(0, Command::Offer { leg: out, offer: sdp(7) });
    net.run(seconds(1));
    net.command(1, end(leg));
    net.run(seconds(1));
    assert_eq!(net.sent(B, "SIP/2.0 487"), 1);
    assert_eq!(net.names(0).last().unwrap(), "Ended hangup 0");
    net.run(seconds(100));
    net.assert_empty();
}

#[test]
fn an_offer_made_before_the_ack_waits_for_it() {
    let mut net = Net::pair(6);
    let mut left = 1;
    net.lose = Some(Box::new(move |text| {
        let hit = text.starts_with("ACK") && left > 0;
        left -= i32::from(hit);
        hit
    }));
    net.dial(0);
    net.run(seconds(1));
    let leg = net.incoming(1).leg;
    net.command(1, Command::Answer { leg, session: Some(sdp(2)) });
    net.command(1, Command::Offer { leg, offer: sdp(3) });
    net.run(Duration::from_millis(400));
    assert_eq!(net.sent(B, "INVITE"), 0);
    net.run(seconds(2));
    assert_eq!(net.names(0).last().unwrap(), "Offered");
}

#[test]
fn a_second_offer_while_one_is_out_is_refused_as_pending() {
    let mut net = Net::pair(7);
    let (out, _) = net.call();
    net.command(0, Command::Offer { leg: out, offer: sdp(7) });
    net.command(0, Command::Offer { leg: out, offer: sdp(8) });
    assert_eq!(net.names(0).last().unwrap(), "Refused pending");
}

#[test]
fn a_reinvite_that_nobody_answers_is_cancelled() {
    let mut net = Net::pair(8);
    let (out, leg) = net.call();
    net.command(0, Command::Offer { leg: out, offer: sdp(7) });
    net.run(seconds(70));
    assert_eq!((net.sent(A, "CANCEL"), net.sent(B, "SIP/2.0 487")), (1, 1));
    assert_eq!(net.names(0).last().unwrap(), "Refused cancelled");
    assert_eq!(net.names(1).last().unwrap(), "Withdrawn");
    // An answer that comes too late for it goes nowhere, and the next change is free.
    let sent = net.log.len();
    net.command(1, Command::Accept { leg, answer: sdp(8) });
    assert_eq!(net.log.len(), sent);
    net.command(1, Command::Offer { leg, offer: sdp(9) });
    net.run(seconds(1));
    assert_eq!(net.names(0).last().unwrap(), "Offered");
}

#[test]
fn a_far_side_that_falls_silent_ends_the_call() {
    let mut net = Net::pair(9);
    let (out, _) = net.call();
    net.lose = Some(Box::new(|_| true));
    net.command(0, Command::Offer { leg: out, offer: sdp(7) });
    net.run(seconds(100));
    assert_eq!(net.names(0).last().unwrap(), "Ended unreachable 408");
}
