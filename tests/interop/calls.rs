//! What a person does in a call: hold, swap, keys; and what SIP servers tell beside it.

use super::baresip::Baresip;
use super::browser::Browser;
use super::gateway::{Gateway, Plan};
use super::kamailio::Kamailio;
use super::phone::Phone;
use super::scene::{Scene, free_port, until};
use super::sipp;
use serde_json::json;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// What the browser's microphone hears.
const WEB: f32 = 1_000.0;
/// What the SIP side plays.
const SIP: f32 = 600.0;
/// Every key, and some twice.
const KEYS: &str = "1234567890*#ABCD1122";

fn signed_in(scene: &Scene, peer: u16) -> (Gateway, Browser) {
    let gateway = Plan::new(scene)
        .attach(&["X-Genesys-*", "User-to-User"])
        .trunk("sipp", peer, "")
        .user("alice")
        .route("users", "", "sipp")
        .start();
    let mut browser = Browser::start(scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.sign_in("alice");
    (gateway, browser)
}

/// Waits until an event of this name came so many times.
fn await_event(browser: &mut Browser, name: &str, count: usize) {
    until(&format!("{count} {name}"), || (browser.details(name).len() >= count).then_some(()));
}

#[test]
fn chromium_holds_sipp_and_resumes() {
    let scene = Scene::new("calls_web_holds");
    let phone = Phone::new(SIP);
    let mut callee = sipp::Plan::new(&scene, "sipp", "uas-held").rtp(phone.port).listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    phone.assert_hears("the SIP phone", WEB);
    browser.assert_hears(SIP);
    browser.hold();
    phone.await_silence();
    browser.assert_silent();
    browser.resume();
    phone.assert_hears("the SIP phone", WEB);
    browser.assert_hears(SIP);
    assert_eq!(phone.losses_and_sources().1, 1, "one source through a hold");
    browser.hangup();
    callee.assert_success();
}

#[test]
fn sipp_holds_chromium_and_resumes() {
    let scene = Scene::new("calls_sip_holds");
    let phone = Phone::new(SIP);
    let mut callee = sipp::Plan::new(&scene, "sipp", "uas-holds").rtp(phone.port).pause_ms(4_000).listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    phone.assert_hears("the SIP phone", WEB);
    await_event(&mut browser, "held", 1);
    phone.await_silence();
    // What it plays to who waits is heard.
    browser.assert_hears(SIP);
    await_event(&mut browser, "resumed", 1);
    phone.assert_hears("the SIP phone", WEB);
    browser.assert_hears(SIP);
    browser.hangup();
    callee.assert_success();
}

#[test]
fn chromium_holds_baresip_and_resumes() {
    let scene = Scene::new("calls_baresip");
    let kamailio = Kamailio::start(&scene, free_port());
    let baresip = Baresip::start(&scene, "carol", kamailio.port, 440);
    kamailio.registered("carol");
    let gateway = Plan::new(&scene)
        .trunk("kamailio", kamailio.port, "test.local")
        .registered("alice", "kamailio")
        .start();
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.register("alice");
    browser.dial("carol");
    browser.await_answer();
    browser.assert_hears(440.0);
    baresip.assert_hears(WEB);
    browser.hold();
    browser.assert_silent();
    browser.resume();
    browser.assert_hears(440.0);
    baresip.assert_hears(WEB);
    browser.hangup();
}

#[test]
fn every_key_arrives_once_and_in_order_both_ways_with_losses() {
    let scene = Scene::new("calls_keys");
    let phone = Phone::new(SIP);
    let mut callee = sipp::Plan::new(&scene, "sipp", "uas").rtp(phone.port).listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    phone.assert_hears("the SIP phone", WEB);
    phone.lose(5);
    browser.dtmf(KEYS, &json!({}));
    phone.assert_keys(KEYS);
    phone.press(KEYS);
    browser.assert_keys(KEYS);
    // The call goes on, and its sound.
    phone.assert_hears("the SIP phone", WEB);
    browser.assert_hears(SIP);
    browser.hangup();
    callee.assert_success();
}

#[test]
fn keys_of_a_call_in_opus_are_put_into_the_phones_clock_and_back() {
    let scene = Scene::new("calls_keys_opus");
    let phone = Phone::new(SIP);
    let plan = sipp::Plan::new(&scene, "sipp", "uas-codec").key("number", "96").key("map", "opus/48000/2");
    let mut callee = plan.rtp(phone.port).listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    let invite = callee.received("INVITE");
    assert!(invite.contains("telephone-event/48000") && invite.contains("telephone-event/8000"), "{invite}");
    phone.call(callee.far_media("INVITE"));
    browser.await_answer();
    // Chromium's events have its codec's clock, 48 kHz; the phone's have 8 kHz.
    browser.dtmf(KEYS, &json!({ "duration": 200 }));
    phone.assert_keys(KEYS);
    assert!(phone.key_ms().iter().all(|ms| (180..=260).contains(ms)), "{:?}", phone.key_ms());
    phone.press(KEYS);
    browser.assert_keys(KEYS);
    browser.hangup();
    callee.assert_success();
}

#[test]
fn bodies_attached_data_keys_and_control_pass_by_info_and_notify() {
    let scene = Scene::new("calls_informs");
    let phone = Phone::new(SIP);
    let mut callee = sipp::Plan::new(&scene, "sipp", "uas-informs").rtp(phone.port).listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial_with("bob", &json!({"X-Genesys-Case": "case-17", "User-to-User": "56a3;encoding=hex"}));
    phone.call(callee.far_media("INVITE"));
    phone.assert_hears("the SIP phone", WEB);
    browser.info("application/json", "{\"answer\":42}");
    let refusal = browser.try_info("text/plain", "hello").unwrap_err();
    assert_eq!((refusal.name.as_str(), refusal.code), ("not_acceptable", 415));
    // The far side has no telephone-event: the browser's own becomes INFO.
    browser.dtmf("5", &json!({"duration": 300}));
    await_event(&mut browser, "info", 1);
    let info = &browser.details("info")[0];
    assert_eq!(info["contentType"], "application/x-www-form-urlencoded");
    assert!(info["body"].as_str().is_some_and(|body| body.starts_with("name=Ann%20Lee&line=2")), "{info}");
    await_event(&mut browser, "dtmf", 1);
    assert_eq!(browser.details("dtmf")[0], json!({"digit": "7", "duration": 120}));
    await_event(&mut browser, "control", 2);
    assert_eq!(browser.details("control"), ["hold", "talk"]);
    await_event(&mut browser, "hold", 2);
    phone.assert_hears("the SIP phone", WEB);
    browser.hangup();
    callee.assert_success();
}

#[test]
fn an_incoming_call_brings_the_headers_that_are_let_through() {
    let scene = Scene::new("calls_data");
    let peer = free_port();
    let kamailio = Kamailio::start(&scene, peer);
    let gateway = Plan::new(&scene)
        .attach(&["X-Genesys-*", "User-to-User"])
        .trunk("kamailio", kamailio.port, "test.local")
        .registered("alice", "kamailio")
        .start();
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.register("alice");
    kamailio.registered("alice");
    let server = SocketAddr::from((Ipv4Addr::LOCALHOST, kamailio.port));
    let plan = sipp::Plan::new(&scene, "sipp", "uac-attaches").port(peer).rtp(free_port());
    let mut caller = plan.call(server, "ann", "alice");
    let expected = json!({"X-Genesys-Case": "case-18", "User-to-User": "04beef;encoding=hex"});
    assert_eq!(browser.incoming_data(), expected);
    browser.answer();
    browser.hangup();
    caller.assert_success();
}

#[test]
fn two_calls_of_one_page_are_swapped() {
    let scene = Scene::new("calls_swap");
    let phones = [Phone::new(SIP), Phone::new(1_600.0)];
    let mut callees = ["one", "two"].map(|name| {
        let phone = if name == "one" { &phones[0] } else { &phones[1] };
        let scenario = if name == "one" { "uas-held" } else { "uas" };
        sipp::Plan::new(&scene, name, scenario).rtp(phone.port).listen()
    });
    let gateway = Plan::new(&scene)
        .trunk("one", callees[0].port, "")
        .trunk("two", callees[1].port, "")
        .user("alice")
        .route("users", "1", "one")
        .route("users", "2", "two")
        .start();
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.sign_in("alice");
    browser.dial("1");
    phones[0].call(callees[0].far_media("INVITE"));
    phones[0].assert_hears("the first phone", WEB);
    // The second call puts the first one on hold.
    browser.hold();
    phones[0].await_silence();
    browser.dial("2");
    phones[1].call(callees[1].far_media("INVITE"));
    phones[1].assert_hears("the second phone", WEB);
    browser.assert_hears(1_600.0);
    browser.hangup();
    phones[1].await_silence();
    browser.swap();
    phones[0].assert_hears("the first phone", WEB);
    browser.assert_hears(SIP);
    browser.hangup();
    callees.iter_mut().for_each(sipp::Sipp::assert_success);
}

#[test]
fn sipp_goes_every_way_and_each_hears_what_the_direction_says() {
    let scene = Scene::new("calls_directions");
    let phone = Phone::new(SIP);
    let mut callee = sipp::Plan::new(&scene, "sipp", "uas-directions").rtp(phone.port).listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    phone.assert_hears("the SIP phone", WEB);
    browser.assert_hears(SIP);
    // It only sends: music on hold.
    browser.info("text/plain", "next");
    await_event(&mut browser, "held", 1);
    phone.await_silence();
    browser.assert_hears(SIP);
    // Nothing either way, though the phone plays on.
    browser.info("text/plain", "next");
    browser.assert_silent();
    phone.await_silence();
    // It only hears: that is no hold.
    browser.info("text/plain", "next");
    await_event(&mut browser, "resumed", 1);
    phone.assert_hears("the SIP phone", WEB);
    browser.assert_silent();
    browser.info("text/plain", "next");
    browser.assert_hears(SIP);
    phone.assert_hears("the SIP phone", WEB);
    assert_eq!(phone.losses_and_sources().1, 1, "one source all along");
    assert_eq!((browser.details("held").len(), browser.details("resumed").len()), (1, 1));
    browser.hangup();
    callee.assert_success();
}

#[test]
fn holds_that_cross_are_both_refused_and_both_applied_in_the_end() {
    let scene = Scene::new("calls_glare");
    let phone = Phone::new(SIP);
    let mut callee = sipp::Plan::new(&scene, "sipp", "uas-glares").rtp(phone.port).listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    phone.assert_hears("the SIP phone", WEB);
    browser.hold();
    await_event(&mut browser, "held", 1);
    phone.await_silence();
    browser.assert_silent();
    // Refused alone, a change comes again after 2.1 to 4 s (RFC 3261 section 14.1: the Call-ID is ours).
    let start = Instant::now();
    browser.resume();
    let waited = start.elapsed().as_secs_f32();
    assert!((2.0..5.0).contains(&waited), "{waited} s");
    // It holds still: its music is heard, nothing goes to it.
    browser.assert_hears(SIP);
    phone.await_silence();
    browser.hangup();
    callee.assert_success();
}

#[test]
fn keys_told_by_info_sound_at_a_phone_each_once_and_as_long() {
    let scene = Scene::new("calls_info_keys");
    let (carrier, exchange) = (free_port(), free_port());
    let gateway = Plan::new(&scene)
        .trunk("carrier", carrier, "")
        .trunk("exchange", exchange, "")
        .route("carrier", "", "exchange")
        .start();
    let (near, far) = (Phone::new(500.0), Phone::new(1_200.0));
    let mut callee = sipp::Plan::new(&scene, "callee", "uas").port(exchange).rtp(far.port).listen();
    let plan = sipp::Plan::new(&scene, "caller", "uac-keys").port(carrier).rtp(near.port).pause_ms(3_000);
    let mut caller = plan.call(gateway.sip, "ann", "bob");
    far.call(callee.far_media("INVITE"));
    near.call(caller.far_media("SIP/2.0 200"));
    far.assert_hears("the callee", 500.0);
    far.assert_keys("5*#A");
    assert_eq!(far.key_ms(), [250, 100, 160, 160]);
    far.assert_hears("the callee, as before", 500.0);
    assert_eq!(far.losses_and_sources().1, 1);
    caller.assert_success();
    callee.assert_success();
}

#[test]
fn keys_that_sound_are_told_by_info_to_a_phone_without_events() {
    let scene = Scene::new("calls_keys_info");
    let phone = Phone::new(SIP);
    let mut callee = sipp::Plan::new(&scene, "sipp", "uas-keys").rtp(phone.port).listen();
    let (_gateway, mut browser) = signed_in(&scene, callee.port);
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    phone.assert_hears("the SIP phone", WEB);
    browser.dtmf("1*1D", &json!({}));
    until("the last key", || callee.messages().contains("Signal=D").then_some(()));
    browser.hangup();
    callee.assert_success();
}

#[test]
fn baresip_holds_chromium_and_resumes() {
    let scene = Scene::new("calls_baresip_holds");
    let kamailio = Kamailio::start(&scene, free_port());
    let baresip = Baresip::start(&scene, "carol", kamailio.port, 440);
    kamailio.registered("carol");
    let gateway = Plan::new(&scene)
        .trunk("kamailio", kamailio.port, "test.local")
        .registered("alice", "kamailio")
        .start();
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.register("alice");
    browser.dial("carol");
    browser.await_answer();
    browser.assert_hears(440.0);
    baresip.assert_hears(WEB);
    for round in 1..=2 {
        baresip.command("hold");
        await_event(&mut browser, "held", round);
        until("no more sound at baresip", || {
            let before = baresip.decoded();
            std::thread::sleep(Duration::from_millis(300));
            (baresip.decoded() == before).then_some(())
        });
        baresip.command("resume");
        await_event(&mut browser, "resumed", round);
        browser.assert_hears(440.0);
        baresip.assert_hears(WEB);
    }
    // The browser holds who may hold it.
    browser.hold();
    browser.assert_silent();
    browser.resume();
    browser.assert_hears(440.0);
    browser.hangup();
}
