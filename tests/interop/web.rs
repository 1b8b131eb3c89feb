//! Chromium and SIPp, with nothing but the gateway between them.

use super::browser::Browser;
use super::gateway::{FIRST_REPLY_S, GRACE_S, Gateway, Plan};
use super::phone::Phone;
use super::scene::{Scene, free_port, until_within};
use super::sipp::{self, Sipp};
use std::time::{Duration, Instant};

/// What the browser's microphone hears.
const WEB: f32 = 1_000.0;
/// What the SIP side plays.
const SIP: f32 = 600.0;

/// A gateway that sends the calls of `alice` to a SIPp, and a browser where she is signed in.
fn signed_in(scene: &Scene, peer: u16) -> (Gateway, Browser) {
    let gateway = Plan::new(scene).trunk("sipp", peer, "").user("alice").route("users", "", "sipp").start();
    let mut browser = Browser::start(scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.sign_in("alice");
    (gateway, browser)
}

fn sipp<'a>(scene: &'a Scene, scenario: &'a str) -> sipp::Plan<'a> {
    sipp::Plan::new(scene, "sipp", scenario)
}

#[test]
fn chromium_calls_sipp_and_hears_its_own_echo() {
    let scene = Scene::new("web_echo");
    let mut callee = sipp(&scene, "uas").echo(free_port()).listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("echo");
    browser.reaches("ringing");
    browser.await_answer();
    browser.assert_hears(WEB);
    browser.hangup();
    callee.assert_success();
}

#[test]
fn chromium_and_sipp_hear_each_other() {
    let scene = Scene::new("web_both_ways");
    let phone = Phone::new(SIP);
    let mut callee = sipp(&scene, "uas").rtp(phone.port).listen();
    let (mut gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("+491234");
    assert!(callee.received("INVITE").starts_with("INVITE sip:+491234@"));
    phone.call(callee.far_media("INVITE"));
    browser.await_answer();
    browser.assert_hears(SIP);
    phone.assert_hears("the SIP phone", WEB);
    // Muted, the microphone is silent but the stream goes on; then it is back.
    browser.mute(true);
    phone.await_quiet();
    browser.mute(false);
    phone.assert_hears("the SIP phone", WEB);
    let codec = browser.stats()["codec"].as_str().unwrap_or_default().to_owned();
    assert_eq!(codec, "audio/PCMU", "the far side's codec is forwarded, not transcoded");
    browser.hangup();
    callee.assert_success();
    phone.await_silence();
    assert_eq!(phone.losses_and_sources().1, 1, "one source for the whole call");
    gateway.assert_alive();
}

#[test]
fn an_ice_restart_is_not_heard() {
    let scene = Scene::new("web_restart");
    let phone = Phone::new(SIP);
    let mut callee = sipp(&scene, "uas").rtp(phone.port).listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    browser.assert_hears(SIP);
    phone.assert_hears("the SIP phone", WEB);
    let before = phone.packets();
    browser.restart();
    // A second of packets after the restart, still from one source: keys and streams went on.
    phone.await_packets(before + 50);
    browser.assert_hears(SIP);
    phone.assert_hears("the SIP phone", WEB);
    assert_eq!(phone.losses_and_sources().1, 1);
    browser.hangup();
    callee.assert_success();
}

#[test]
fn sipp_hangs_up_and_chromium_hears_of_it() {
    let scene = Scene::new("web_bye");
    let phone = Phone::new(SIP);
    let mut callee = sipp(&scene, "uas-hangs-up").rtp(phone.port).pause_ms(2_000).listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    browser.assert_hears(SIP);
    assert_eq!(browser.await_end(), ("hangup".into(), 0));
    callee.assert_success();
    phone.await_silence();
}

/// A registrar that agrees to all, and the contact that it was given: `sip:USER@…`.
fn registrar(scene: &Scene) -> (Sipp, u16) {
    let port = free_port();
    (sipp::Plan::new(scene, "registrar", "uas-registrar").port(port).calls(1_000, 1).listen(), port)
}

fn contact_user(registrar: &Sipp) -> String {
    let register = registrar.received("REGISTER");
    let contact = register.lines().find_map(|line| line.strip_prefix("Contact:")).expect("a contact");
    let (_, uri) = contact.split_once("sip:").expect("a SIP URI");
    uri.split('@').next().unwrap_or_default().to_owned()
}

/// A gateway whose `alice` is registered, and a browser where she is signed in; the user part of her contact.
fn registered(scene: &Scene, server: &Sipp, port: u16) -> (Gateway, Browser, String) {
    let gateway = Plan::new(scene).trunk("sipp", port, "").registered("alice", "sipp").start();
    let mut browser = Browser::start(scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.register("alice");
    let contact = contact_user(server);
    (gateway, browser, contact)
}

#[test]
fn sipp_calls_chromium_and_both_hear() {
    let scene = Scene::new("web_incoming");
    let (server, port) = registrar(&scene);
    let (gateway, mut browser, contact) = registered(&scene, &server, port);
    let phone = Phone::new(SIP);
    let mut caller = sipp(&scene, "uac-waits").rtp(phone.port).call(gateway.sip, "bob", &contact);
    assert_eq!(browser.incoming(), "bob");
    caller.received("SIP/2.0 180");
    browser.answer();
    phone.call(caller.far_media("SIP/2.0 200"));
    browser.assert_hears(SIP);
    phone.assert_hears("the SIP phone", WEB);
    browser.hangup();
    caller.assert_success();
}

#[test]
fn chromium_refuses_as_busy_or_declined() {
    let scene = Scene::new("web_refuse");
    let (server, port) = registrar(&scene);
    let (gateway, mut browser, contact) = registered(&scene, &server, port);
    for (reason, status) in [("busy", "SIP/2.0 486"), ("declined", "SIP/2.0 603")] {
        let caller =
            sipp::Plan::new(&scene, reason, "uac").rtp(free_port()).call(gateway.sip, "bob", &contact);
        browser.incoming();
        browser.reject(reason);
        caller.received(status);
    }
}

#[test]
fn a_caller_who_gives_up_stops_the_ringing() {
    let scene = Scene::new("web_missed");
    let (server, port) = registrar(&scene);
    let (gateway, mut browser, contact) = registered(&scene, &server, port);
    let mut caller =
        sipp(&scene, "uac-cancels").rtp(free_port()).pause_ms(200).call(gateway.sip, "bob", &contact);
    browser.incoming();
    assert_eq!(browser.await_end(), ("cancelled".into(), 487));
    caller.assert_success();
}

#[test]
fn a_call_is_cancelled_before_its_answer() {
    let scene = Scene::new("web_cancel");
    let mut callee = sipp(&scene, "uas-cancelled").listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    browser.reaches("ringing");
    browser.hangup();
    assert_eq!(browser.await_end(), ("cancelled".into(), 487));
    callee.assert_success();
}

#[test]
fn busy_declined_and_unknown_reach_the_browser_by_name() {
    let scene = Scene::new("web_refused");
    let peer = free_port();
    let (mut gateway, mut browser) = signed_in(&scene, peer);
    for (scenario, reason, code) in
        [("uas-busy", "busy", 486), ("uas-declines", "declined", 603), ("uas-not-found", "not_found", 404)]
    {
        let mut callee = sipp::Plan::new(&scene, scenario, scenario).port(peer).listen();
        browser.dial("bob");
        assert_eq!(browser.await_end(), (reason.into(), code));
        callee.assert_success();
    }
    gateway.assert_alive();
}

#[test]
fn a_silent_server_is_unreachable_at_the_deadline() {
    let scene = Scene::new("web_silent");
    let callee = sipp(&scene, "uas-silent").pause_ms(10_000).listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    callee.received("INVITE");
    let start = Instant::now();
    assert_eq!(browser.await_end().0, "unreachable");
    assert!(start.elapsed() < Duration::from_secs(FIRST_REPLY_S + 3), "{:?}", start.elapsed());
    assert_eq!(callee.received_now("CANCEL"), None, "RFC 3261 section 9.1: no CANCEL before a provisional");
}

#[test]
fn a_browser_that_dies_is_hung_up_within_its_grace() {
    let scene = Scene::new("web_killed");
    let phone = Phone::new(SIP);
    let mut callee = sipp(&scene, "uas").rtp(phone.port).listen();
    let (mut gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    phone.assert_hears("the SIP phone", WEB);
    browser.kill();
    let start = Instant::now();
    until_within(Duration::from_secs(GRACE_S + 5), "BYE after the browser died", || {
        callee.received_now("BYE")
    });
    assert!(start.elapsed() + Duration::from_millis(500) > Duration::from_secs(GRACE_S), "the grace is kept");
    callee.assert_success();
    phone.await_silence();
    gateway.assert_alive();
}

#[test]
fn without_credentials_there_is_a_clear_error_and_no_call() {
    let scene = Scene::new("web_unauthorized");
    let (gateway, _alice) = signed_in(&scene, free_port());
    let mut stranger = Browser::start(&scene, "stranger", WEB);
    stranger.open(&gateway.url("/"));
    for (user, password) in [("alice", "wrong"), ("nobody", "nobody"), ("alice", "")] {
        let failure = stranger.try_sign_in(user, password).unwrap_err();
        assert_eq!(failure.name, "unauthorized", "{failure:?}");
    }
}

#[test]
fn sigterm_ends_running_calls_with_bye_at_the_deadline() {
    let scene = Scene::new("web_drain");
    let phone = Phone::new(SIP);
    let mut callee = sipp(&scene, "uas").rtp(phone.port).listen();
    let (mut gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    phone.assert_hears("the SIP phone", WEB);
    gateway.terminate();
    callee.received("BYE");
    browser.await_end();
    callee.assert_success();
    assert!(gateway.end().success());
}
