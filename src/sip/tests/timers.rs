//! Session timers (RFC 4028), in both roles.

use super::script::*;
use super::*;
use sip_codec::Name;

const ALLOW: (Name<'static>, &str) = (Name::Allow, "INVITE, ACK, BYE, UPDATE");

/// A call to the script whose 200 says this of the timer.
fn up(net: &mut Net, expires: &'static str, update: bool) -> (LegId, String) {
    let mut extra = vec![(Name::SessionExpires, expires), (Name::Require, "timer")];
    extra.push(if update { ALLOW } else { (Name::Allow, "INVITE, ACK, BYE") });
    answered_with(net, &extra)
}

#[test]
fn an_invite_asks_for_what_the_operator_wants() {
    let ask = |change: &dyn Fn(&mut SessionPolicy)| {
        let mut net = Net::scripted(|config| change(&mut config.trunks[0].session));
        let (_, invite) = dialled(&mut net);
        (header(&invite, "Session-Expires").to_owned(), header(&invite, "Min-SE").to_owned())
    };
    assert_eq!(ask(&|_| {}), ("1800".into(), String::new()));
    assert_eq!(ask(&|policy| policy.expires = Duration::ZERO), (String::new(), String::new()));
    let long = |policy: &mut SessionPolicy| {
        (policy.min, policy.refresher) = (seconds(300), Refreshes::Us);
    };
    assert_eq!(ask(&long), ("1800;refresher=uac".into(), "300".into()));
    assert_eq!(
        ask(&|policy| policy.refresher = Refreshes::Them),
        ("1800;refresher=uas".into(), String::new())
    );
}

#[test]
fn a_422_is_met_with_the_same_call_and_a_longer_session() {
    let mut net = Net::scripted(|config| config.trunks[0].session.expires = seconds(120));
    let (_, invite) = dialled(&mut net);
    assert_eq!(header(&invite, "Session-Expires"), "120");
    net.answer(&invite, 422, "b1", &[(Name::MinSe, "600")], None);
    net.run(Duration::from_millis(100));
    let again = net.take("INVITE").remove(0);
    assert_eq!((header(&again, "Session-Expires"), header(&again, "Min-SE")), ("600", "600"));
    assert_eq!(header(&again, "Call-ID"), header(&invite, "Call-ID"));
    assert_eq!(header(&again, "CSeq"), "2 INVITE");
    // One that names nothing new is final.
    net.answer(&again, 422, "b1", &[(Name::MinSe, "600")], None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.names(0), ["Ended rejected 422"]);
}

#[test]
fn we_refresh_by_update_at_half_time_again_and_again() {
    let mut net = Net::scripted(|_| {});
    up(&mut net, "120;refresher=uac", true);
    for _ in 0..3 {
        net.run(seconds(61));
        let update = net.take("UPDATE").remove(0);
        assert_eq!(header(&update, "Session-Expires"), "120;refresher=uac");
        assert_eq!(header(&update, "Content-Length"), "0");
        let headers = [(Name::SessionExpires, "120;refresher=uac"), (Name::Require, "timer")];
        net.answer(&update, 200, "b1", &headers, None);
        net.run(Duration::from_millis(100));
    }
    assert!(!net.heard(0, "Ended"));
    assert_eq!(net.stack(0).counters().refreshes, 3);
}

#[test]
fn without_update_we_repeat_our_description_unchanged() {
    for (update, refused) in [(false, false), (true, true)] {
        let mut net = Net::scripted(|_| {});
        let (_, invite) = up(&mut net, "120;refresher=uac", update);
        net.run(seconds(60));
        if refused {
            // It says that it can and can't.
            let update = net.take("UPDATE").remove(0);
            net.answer(&update, 501, "b1", &[], None);
            net.run(Duration::from_millis(100));
        }
        let reinvite = net.take("INVITE").remove(0);
        let body = |text: &str| text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned();
        assert_eq!(body(&reinvite), body(&invite));
        net.answer(&reinvite, 200, "b1", &[(Name::SessionExpires, "120;refresher=uac")], Some(&sdp_text(2)));
        net.run(Duration::from_millis(100));
        assert_eq!(net.names(0).last().unwrap(), "Refreshed");
        assert_eq!(net.take("ACK").len(), 2);
    }
}

#[test]
fn what_does_not_come_through_is_tried_again_until_the_end() {
    let mut net = Net::scripted(|_| {});
    up(&mut net, "120;refresher=uac", true);
    net.run(seconds(60));
    for _ in 0..4 {
        let update = net.take("UPDATE").remove(0);
        net.answer(&update, 503, "b1", &[], None);
        net.run(seconds(5));
    }
    assert!(!net.heard(0, "Ended"));
    // 32 s before the interval is over.
    for _ in 0..6 {
        for update in net.take("UPDATE") {
            net.answer(&update, 503, "b1", &[], None);
        }
        net.run(seconds(2));
    }
    assert_eq!(net.names(0).last().unwrap(), "Ended expired 408");
    assert!(!net.take("BYE").is_empty());
}

#[test]
fn a_refresh_that_nobody_knows_or_hears_ends_the_call() {
    for answered in [true, false] {
        let mut net = Net::scripted(|_| {});
        up(&mut net, "1800;refresher=uac", true);
        net.run(seconds(900));
        let update = net.take("UPDATE").remove(0);
        if answered {
            net.answer(&update, 481, "b1", &[], None);
        }
        net.run(seconds(35));
        let expected = if answered { "Ended expired 481" } else { "Ended unreachable 408" };
        assert_eq!(net.names(0).last().unwrap(), expected);
        assert!(!net.take("BYE").is_empty());
    }
}

#[test]
fn a_refresh_takes_a_422_to_heart() {
    let mut net = Net::scripted(|_| {});
    up(&mut net, "120;refresher=uac", true);
    net.run(seconds(60));
    let update = net.take("UPDATE").remove(0);
    net.answer(&update, 422, "b1", &[(Name::MinSe, "300")], None);
    net.run(Duration::from_millis(100));
    assert_eq!(header(&net.take("UPDATE")[0], "Session-Expires"), "300;refresher=uac");
}

#[test]
fn who_should_refresh_and_does_not_hears_bye() {
    let mut net = Net::scripted(|_| {});
    let (_, invite) = up(&mut net, "120;refresher=uas", true);
    net.run(seconds(60));
    let timer = "Supported: timer\r\nSession-Expires: 120;refresher=uac\r\n";
    net.inject(B, 0, &in_dialog(&invite, "UPDATE", 5, timer, ""));
    net.run(Duration::from_millis(100));
    let ok = net.take("SIP/2.0 200").remove(0);
    assert_eq!((header(&ok, "Session-Expires"), header(&ok, "Require")), ("120;refresher=uac", "timer"));
    net.run(seconds(87));
    assert!(!net.heard(0, "Ended"));
    net.run(seconds(2));
    assert_eq!(net.names(0).last().unwrap(), "Ended expired 408");
    assert_eq!((net.sent(A, "UPDATE"), net.take("BYE").is_empty()), (0, false));
}

#[test]
fn the_far_side_without_timers_is_left_alone_unless_the_operator_says_otherwise() {
    for refresher in [Refreshes::Auto, Refreshes::Us] {
        let mut net = Net::scripted(|config| config.trunks[0].session.refresher = refresher);
        answered(&mut net);
        net.run(seconds(905));
        // It allows no UPDATE, either.
        assert_eq!(net.take("INVITE").len().min(1), usize::from(refresher == Refreshes::Us));
    }
}

/// What our 200 says of the timer to a call with these headers.
fn told(extra: &str, change: impl FnOnce(&mut SessionPolicy)) -> (String, String) {
    let mut net = Net::scripted(|config| change(&mut config.trunks[0].session));
    let leg = called(&mut net, extra, &sdp_text(1));
    net.command(0, Command::Answer { leg, session: Some(sdp(2)) });
    net.run(Duration::from_millis(50));
    let ok = net.take("SIP/2.0 200").remove(0);
    (header(&ok, "Session-Expires").to_owned(), header(&ok, "Require").to_owned())
}

#[test]
fn a_caller_hears_what_was_agreed() {
    let both = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    let timer = "Supported: timer\r\n";
    let with = |value: &str| format!("{timer}Session-Expires: {value}\r\n");
    assert_eq!(told(&with("600"), |_| {}), both("600;refresher=uac", "timer"));
    assert_eq!(told(&with("600;refresher=uas"), |_| {}), both("600;refresher=uas", ""));
    assert_eq!(told(&with("3600"), |_| {}), both("1800;refresher=uac", "timer"));
    assert_eq!(told(timer, |_| {}), both("1800;refresher=uas", ""));
    assert_eq!(told(timer, |policy| policy.expires = Duration::ZERO), both("", ""));
    // Put in by a proxy: it is ours to do.
    assert_eq!(told("Session-Expires: 600\r\n", |_| {}), both("600;refresher=uas", ""));
    assert_eq!(told("", |_| {}), both("", ""));
    assert_eq!(told("", |policy| policy.refresher = Refreshes::Us), both("1800;refresher=uas", ""));
}

#[test]
fn a_caller_that_wants_too_short_a_session_hears_422() {
    for (least, asked, refused) in [(90, "60", true), (600, "500", true), (600, "600", false)] {
        let mut net = Net::scripted(|config| config.trunks[0].session.min = seconds(least));
        let extra = format!("Supported: timer\r\nSession-Expires: {asked}\r\n");
        net.inject(B, 0, &from_caller("INVITE", 1, "", &extra, &sdp_text(1)));
        net.run(Duration::from_millis(50));
        assert_eq!(net.heard(0, "Incoming"), !refused);
        if refused {
            assert_eq!(header(&net.take("SIP/2.0 422")[0], "Min-SE"), least.to_string());
        }
    }
}

#[test]
fn we_refresh_for_a_caller_too_and_each_leg_by_itself() {
    let mut net = Net::scripted(|_| {});
    let leg = called(
        &mut net,
        "Supported: timer\r\nAllow: UPDATE\r\nSession-Expires: 120;refresher=uas\r\n",
        &sdp_text(1),
    );
    net.command(0, Command::Answer { leg, session: Some(sdp(2)) });
    net.run(Duration::from_millis(50));
    let tag = tag_of(&net.take("SIP/2.0 200")[0]);
    net.inject(B, 0, &from_caller("ACK", 1, &tag, "", ""));
    net.run(seconds(60));
    let update = net.take("UPDATE").remove(0);
    // We send the request: we are its UAC.
    assert_eq!(header(&update, "Session-Expires"), "120;refresher=uac");
    assert_eq!(net.names(0), ["Incoming"]);
}

#[test]
fn our_offers_refresh_the_session_and_wait_for_a_refresh_that_is_out() {
    let mut net = Net::scripted(|_| {});
    let (leg, _) = up(&mut net, "120;refresher=uac", false);
    net.run(seconds(60));
    let refresh = net.take("INVITE").remove(0);
    net.command(0, Command::Offer { leg, offer: sdp(7) });
    net.run(Duration::from_millis(50));
    assert!(net.take("INVITE").is_empty());
    let headers = [(Name::SessionExpires, "120;refresher=uac")];
    net.answer(&refresh, 200, "b1", &headers, Some(&sdp_text(2)));
    net.run(Duration::from_millis(50));
    let offer = net.take("INVITE").remove(0);
    assert!(offer.contains("o=- 7 ") && header(&offer, "Session-Expires") == "120;refresher=uac");
    net.answer(&offer, 100, "b1", &[], None);
    net.run(seconds(30));
    net.answer(&offer, 200, "b1", &headers, Some(&sdp_text(8)));
    net.run(seconds(59));
    assert!(net.take("INVITE").is_empty(), "its own 2xx began the interval anew");
    net.run(seconds(2));
    // What stands now is repeated.
    assert!(net.take("INVITE")[0].contains("o=- 7 "));
}

#[test]
fn a_change_that_says_nothing_of_the_timer_leaves_it_to_us() {
    for refresher in ["120;refresher=uac", "120;refresher=uas"] {
        let mut net = Net::scripted(|_| {});
        let (leg, invite) = up(&mut net, refresher, true);
        net.inject(B, 0, &in_dialog(&invite, "INVITE", 5, "", &sdp_text(4)));
        net.run(Duration::from_millis(50));
        net.command(0, Command::Accept { leg, answer: sdp(5) });
        net.run(Duration::from_millis(50));
        assert_eq!(header(&net.take("SIP/2.0 200")[0], "Session-Expires"), "120;refresher=uas");
        net.inject(B, 0, &in_dialog(&invite, "ACK", 5, "", ""));
        net.run(seconds(61));
        assert_eq!(header(&net.take("UPDATE")[0], "Session-Expires"), "120;refresher=uac");
    }
}
