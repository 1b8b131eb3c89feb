//! Dialogs and extensions with SIPp at both ends: reliable provisional responses, UPDATE, session timers, delayed offers,
//! holds, forks and crossings. Media is judged by the tone that is heard.

use super::browser::Browser;
use super::gateway::{Gateway, Plan};
use super::phone::Phone;
use super::scene::{Scene, free_port, until};
use super::sipp::{self, Sipp};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// What the caller plays, and two phones of the called side.
const NEAR: f32 = 500.0;
const FAR: f32 = 1_200.0;
const OTHER: f32 = 1_700.0;

/// A gateway between two trunks.
struct Between {
    gateway: Gateway,
    carrier: u16,
    exchange: u16,
}

impl Between {
    /// `says` are lines of the exchange's table.
    fn start(scene: &Scene, says: &str) -> Between {
        let (carrier, exchange) = (free_port(), free_port());
        let plan = Plan::new(scene).trunk("carrier", carrier, "").trunk("exchange", exchange, "").lines(says);
        Between { gateway: plan.route("carrier", "+49", "exchange").start(), carrier, exchange }
    }

    fn callee<'a>(&self, scene: &'a Scene, scenario: &'a str) -> sipp::Plan<'a> {
        sipp::Plan::new(scene, "callee", scenario).port(self.exchange)
    }

    fn caller<'a>(&self, scene: &'a Scene, scenario: &'a str) -> sipp::Plan<'a> {
        sipp::Plan::new(scene, "caller", scenario).port(self.carrier)
    }

    fn call(&self, plan: sipp::Plan<'_>) -> Sipp {
        plan.call(self.gateway.sip, "+441234", "+491234")
    }

    /// A call between these two, both of which go through their scenarios.
    fn succeeds(&mut self, scene: &Scene, caller: (&str, u32), callee: (&str, u32)) -> (Sipp, Sipp) {
        let mut called = self.callee(scene, callee.0).rtp(free_port()).pause_ms(callee.1).listen();
        let mut calling = self.call(self.caller(scene, caller.0).rtp(free_port()).pause_ms(caller.1));
        calling.assert_success();
        called.assert_success();
        self.gateway.assert_alive();
        (calling, called)
    }
}

#[test]
fn a_callees_reliable_early_media_is_acknowledged_and_heard() {
    let scene = Scene::new("dialogs_prack_callee");
    let between = Between::start(&scene, "");
    let (near, far) = (Phone::new(NEAR), Phone::new(FAR));
    let plan = between.callee(&scene, "uas-prack").rtp(far.port).pause_ms(4_000);
    let mut callee = plan.listen();
    let mut caller = between.call(between.caller(&scene, "uac").rtp(near.port).pause_ms(2_000));
    far.call(callee.far_media("INVITE"));
    near.call(caller.far_media("SIP/2.0 183"));
    near.assert_hears("the caller, before the answer", FAR);
    assert!(caller.received_now("SIP/2.0 200").is_none(), "not answered yet");
    far.assert_hears("the callee", NEAR);
    caller.assert_success();
    callee.assert_success();
}

#[test]
fn a_caller_acknowledges_early_media_and_changes_by_update() {
    let scene = Scene::new("dialogs_prack_caller");
    let mut between = Between::start(&scene, "");
    let (near, moved, far) = (Phone::new(NEAR), Phone::new(OTHER), Phone::new(FAR));
    let mut callee = between.callee(&scene, "uas-early").rtp(far.port).pause_ms(3_000).listen();
    let plan = between.caller(&scene, "uac-prack").rtp(near.port).pause_ms(3_000);
    let mut caller = between.call(plan.key("second_port", &moved.port.to_string()));
    far.call(callee.far_media("INVITE"));
    moved.call(caller.far_media("SIP/2.0 183"));
    moved.assert_hears("the caller at its second port", FAR);
    far.assert_hears("the callee", OTHER);
    caller.assert_success();
    callee.assert_success();
    between.gateway.assert_alive();
}

#[test]
fn sessions_are_refreshed_by_either_side_and_end_where_nobody_does() {
    let scene = Scene::new("dialogs_timers");
    let (first, second) = (Between::start(&scene, ""), Scene::new("dialogs_timers_lapse"));
    let lapse = Between::start(&second, "");
    // Both legs have timers of their own: each is refreshed by us, one by re-INVITE, the other by UPDATE.
    let mut callee = first.callee(&scene, "uas-refreshed").rtp(free_port()).listen();
    let mut caller = first.call(first.caller(&scene, "uac-refreshed").rtp(free_port()));
    // The callee of another call was to refresh, and doesn't.
    let mut silent = lapse.callee(&second, "uas-unrefreshed").rtp(free_port()).listen();
    let mut waits = lapse.call(lapse.caller(&second, "uac-waits").rtp(free_port()));
    caller.assert_success_within(Duration::from_secs(70));
    callee.assert_success();
    // The refresh says what was said before, byte by byte.
    let description = |message: &str| message.split("\n\n").nth(1).unwrap_or_default().trim().to_owned();
    let (answer, refresh) = (&caller.all("SIP/2.0 200")[0], caller.received("INVITE"));
    assert_eq!(description(answer), description(&refresh));
    silent.assert_success_within(Duration::from_secs(40));
    waits.assert_success();
}

#[test]
fn a_caller_refreshes_its_session_and_can_not_make_it_too_short() {
    let scene = Scene::new("dialogs_refreshes");
    let mut between = Between::start(&scene, "");
    between.succeeds(&scene, ("uac-refreshes", 500), ("uas", 0));
}

#[test]
fn too_short_sessions_are_made_longer_on_both_sides() {
    let scene = Scene::new("dialogs_422");
    let mut between = Between::start(&scene, "session_expires_s = 120\n");
    between.succeeds(&scene, ("uac-422", 500), ("uas-422", 0));
}

#[test]
fn a_caller_that_makes_no_offer_hears_and_is_heard() {
    let scene = Scene::new("dialogs_delayed_caller");
    let between = Between::start(&scene, "");
    let (near, far) = (Phone::new(NEAR), Phone::new(FAR));
    let mut callee = between.callee(&scene, "uas").rtp(far.port).listen();
    let mut caller = between.call(between.caller(&scene, "uac-delayed").rtp(near.port).pause_ms(2_500));
    far.call(callee.far_media("INVITE"));
    near.call(caller.far_media("SIP/2.0 200"));
    near.assert_hears("the caller", FAR);
    far.assert_hears("the callee", NEAR);
    caller.assert_success();
    callee.assert_success();
    assert_eq!(near.losses_and_sources().1, 1, "one source all along");
}

#[test]
fn a_callee_that_makes_the_offer_hears_and_is_heard() {
    let scene = Scene::new("dialogs_delayed_callee");
    let between = Between::start(&scene, "delayed_offer = true\n");
    let (near, far) = (Phone::new(NEAR), Phone::new(FAR));
    let mut callee = between.callee(&scene, "uas-delayed").rtp(far.port).listen();
    let mut caller = between.call(between.caller(&scene, "uac").rtp(near.port).pause_ms(3_000));
    near.call(caller.far_media("SIP/2.0 200"));
    far.call(callee.far_media("ACK"));
    near.assert_hears("the caller", FAR);
    far.assert_hears("the callee", NEAR);
    caller.assert_success();
    callee.assert_success();
}

#[test]
fn every_way_to_hold_goes_across() {
    let scene = Scene::new("dialogs_holds");
    let mut between = Between::start(&scene, "");
    // Both scenarios look at each direction.
    between.succeeds(&scene, ("uac-holds-four", 300), ("uas-held-four", 0));
}

/// A caller that hears one phone of the called side after the other, as `hears` says.
fn hears_in_turn(test: &str, scenario: &str, pause_ms: u32, hears: &[f32]) {
    let scene = Scene::new(test);
    let between = Between::start(&scene, "");
    let (near, far, other) = (Phone::new(NEAR), Phone::new(FAR), Phone::new(OTHER));
    let plan = between.callee(&scene, scenario).rtp(far.port).pause_ms(pause_ms);
    let mut callee = plan.key("second_port", &other.port.to_string()).listen();
    let mut caller = between.call(between.caller(&scene, "uac").rtp(near.port).pause_ms(3_000));
    let gateway = callee.far_media("INVITE");
    far.call(gateway);
    other.call(gateway);
    near.call(caller.far_media("SIP/2.0 183"));
    for hz in hears {
        near.assert_hears("the caller", *hz);
    }
    assert!(caller.received_now("SIP/2.0 200").is_some(), "the last one is who answered");
    assert_eq!(near.losses_and_sources().1, 1, "one source all along");
    caller.assert_success();
    callee.assert_success();
}

#[test]
fn the_newest_fork_is_heard_and_then_the_one_that_answers() {
    hears_in_turn("dialogs_forks", "uas-forks", 5_000, &[FAR, OTHER, FAR]);
}

#[test]
fn forks_are_acknowledged_each_by_itself_and_one_moves_by_update() {
    // The second fork moves to the port of the first one, and answers there.
    let scene = Scene::new("dialogs_forks_reliable");
    let between = Between::start(&scene, "");
    let (near, far, other) = (Phone::new(NEAR), Phone::new(FAR), Phone::new(OTHER));
    let plan = between.callee(&scene, "uas-forks-reliably").rtp(far.port).pause_ms(4_000);
    let mut callee = plan.key("second_port", &other.port.to_string()).listen();
    let mut caller = between.call(between.caller(&scene, "uac").rtp(near.port).pause_ms(2_000));
    let gateway = callee.far_media("INVITE");
    far.call(gateway);
    other.call(gateway);
    near.call(caller.far_media("SIP/2.0 183"));
    for hz in [FAR, OTHER, FAR] {
        near.assert_hears("the caller", hz);
    }
    caller.assert_success();
    callee.assert_success();
}

#[test]
fn an_answer_with_another_description_moves_the_media() {
    hears_in_turn("dialogs_changes_mind", "uas-changes-mind", 5_000, &[FAR, OTHER]);
}

#[test]
fn a_browser_hears_the_forks_of_its_call_in_turn() {
    let scene = Scene::new("dialogs_forks_browser");
    let (far, other) = (Phone::new(FAR), Phone::new(OTHER));
    let plan = sipp::Plan::new(&scene, "callee", "uas-forks").rtp(far.port).pause_ms(7_000);
    let mut callee = plan.key("second_port", &other.port.to_string()).listen();
    let gateway =
        Plan::new(&scene).trunk("sipp", callee.port, "").user("alice").route("users", "", "sipp").start();
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    browser.open(&gateway.url("/"));
    browser.sign_in("alice");
    browser.dial("bob");
    let media = callee.far_media("INVITE");
    far.call(media);
    other.call(media);
    for hz in [FAR, OTHER, FAR] {
        browser.assert_hears(hz);
    }
    browser.await_answer();
    far.assert_hears("the phone that answered", 1_000.0);
    browser.hangup();
    callee.assert_success();
}

#[test]
fn a_200_is_sent_again_until_its_ack_and_the_call_goes_on() {
    let scene = Scene::new("dialogs_late_ack");
    let mut between = Between::start(&scene, "");
    let (caller, _) = between.succeeds(&scene, ("uac-late-ack", 2_500), ("uas", 0));
    // At once, after 0.5 s and after 1.5 s.
    let answers = caller.all("SIP/2.0 200").into_iter().filter(|ok| ok.contains("1 INVITE")).count();
    assert_eq!(answers, 3);
}

#[test]
fn an_answer_that_crosses_cancel_is_acknowledged_and_ended() {
    let scene = Scene::new("dialogs_race");
    let mut between = Between::start(&scene, "");
    between.succeeds(&scene, ("uac-cancels", 200), ("uas-races", 0));
}

/// Where the far side wants its fax, as the description in this message says.
fn fax_address(message: &str) -> SocketAddr {
    let port =
        message.lines().find_map(|line| line.strip_prefix("m=image ")?.split(' ').next()?.parse().ok());
    SocketAddr::from((Ipv4Addr::LOCALHOST, port.expect("a fax stream")))
}

/// Sends until it arrives, just as it is.
fn assert_arrives(from: &UdpSocket, to: SocketAddr, at: &UdpSocket, packet: &[u8]) {
    let mut buffer = [0; 100];
    until("a fax packet", || {
        from.send_to(packet, to).unwrap();
        let (length, _) = at.recv_from(&mut buffer).ok()?;
        (&buffer[..length] == packet).then_some(())
    });
}

#[test]
fn a_fax_goes_through_as_it_comes_and_sound_comes_back() {
    let scene = Scene::new("dialogs_fax");
    let between = Between::start(&scene, "");
    let fax = || {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        socket
    };
    let (near, far) = (fax(), fax());
    let port = |socket: &UdpSocket| socket.local_addr().unwrap().port();
    let mut callee = between.callee(&scene, "uas-faxes").rtp(port(&far)).pause_ms(4_000).listen();
    let mut caller = between.call(between.caller(&scene, "uac-faxes").rtp(port(&near)));
    let told = |sipp: &Sipp, start: &str| {
        until("a fax is agreed on", || sipp.received_now(start).filter(|message| message.contains("m=image")))
    };
    let (to_near, to_far) = (told(&callee, "SIP/2.0 200"), told(&caller, "INVITE"));
    let (gateway_far, gateway_near) = (fax_address(&to_near), fax_address(&to_far));
    // UDPTL begins with a number that looks like anything (ITU-T T.38 section 9.1).
    assert_arrives(&far, gateway_far, &near, &[0, 0, 1, 6, 0xc0, 1]);
    assert_arrives(&near, gateway_near, &far, &[0x14, 0xfe, 1, 2]);
    assert_arrives(&far, gateway_far, &near, &[0x80, 200, 0, 6, 1, 1, 1, 1]);
    caller.assert_success();
    callee.assert_success();
}
