//! Transfers, redirections, texts and subscriptions: SIPp, baresip and Chromium in each role, judged by the tone heard.

use super::baresip::Baresip;
use super::browser::Browser;
use super::gateway::{Gateway, Plan};
use super::kamailio::Kamailio;
use super::phone::Phone;
use super::scene::{Scene, free_port, until};
use super::sipp::{self, Sipp};
use super::{tone, wav};
use serde_json::json;

/// What the browser's microphone hears.
const WEB: f32 = 1_000.0;
/// What the first phone plays, and the second.
const ONE: f32 = 600.0;
const TWO: f32 = 1_600.0;

/// Two SIP servers: numbers that begin with 1 go to the first, those with 2 to the second, whoever calls them.
fn gateway(scene: &Scene, one: u16, two: u16, policy: &str) -> Gateway {
    Plan::new(scene)
        .trunk("one", one, "")
        .more(policy)
        .trunk("two", two, "")
        .more(policy)
        .user("alice")
        .route("users", "1", "one")
        .route("users", "2", "two")
        .route("one", "2", "two")
        .start()
}

fn browser(scene: &Scene, gateway: &Gateway) -> Browser {
    let mut browser = Browser::start(scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.sign_in("alice");
    browser
}

fn phone_of(callee: &Sipp, hz: f32, phone: &Phone) {
    phone.call(callee.far_media("INVITE"));
    phone.assert_hears("the phone", hz);
}

#[test]
fn chromium_transfers_a_phone_to_another_and_they_hear_each_other() {
    let scene = Scene::new("services_blind");
    let phones = [Phone::new(ONE), Phone::new(TWO)];
    let mut one = sipp::Plan::new(&scene, "one", "uas").rtp(phones[0].port).listen();
    let plan = sipp::Plan::new(&scene, "two", "uas-hangs-up").rtp(phones[1].port).pause_ms(6_000);
    let mut two = plan.listen();
    let gateway = gateway(&scene, one.port, two.port, "");
    let mut browser = browser(&scene, &gateway);
    browser.dial("1");
    phone_of(&one, WEB, &phones[0]);
    browser.assert_hears(ONE);
    let before = phones[0].losses_and_sources().1;
    browser.try_transfer("2").unwrap();
    assert_eq!(browser.await_end(), ("transferred".into(), 0));
    phone_of(&two, ONE, &phones[1]);
    phones[0].assert_hears("the phone that was transferred", TWO);
    assert_eq!((before, phones[0].losses_and_sources().1), (1, 1), "one source through a transfer");
    // The one that was called says by whom; it hangs up, and so does the other.
    assert!(two.received("INVITE").contains("Referred-By: <sip:alice@"));
    two.assert_success();
    one.assert_success();
}

#[test]
fn a_transfer_of_chromiums_that_fails_leaves_the_call_as_it_was() {
    let scene = Scene::new("services_failed");
    let phone = Phone::new(ONE);
    let mut one = sipp::Plan::new(&scene, "one", "uas").rtp(phone.port).listen();
    let mut two = sipp::Plan::new(&scene, "two", "uas-busy").listen();
    let gateway = gateway(&scene, one.port, two.port, "");
    let mut browser = browser(&scene, &gateway);
    browser.dial("1");
    phone_of(&one, WEB, &phone);
    let failure = browser.try_transfer("2").unwrap_err();
    assert_eq!((failure.name.as_str(), failure.code), ("busy", 486));
    two.assert_success();
    browser.assert_hears(ONE);
    phone.assert_hears("the phone", WEB);
    browser.hangup();
    one.assert_success();
}

#[test]
fn chromium_connects_the_parties_of_two_calls() {
    let scene = Scene::new("services_attended");
    let phones = [Phone::new(ONE), Phone::new(TWO)];
    // The first phone is held meanwhile, and resumed by the transfer.
    let mut one = sipp::Plan::new(&scene, "one", "uas-held").rtp(phones[0].port).listen();
    let plan = sipp::Plan::new(&scene, "two", "uas-hangs-up").rtp(phones[1].port).pause_ms(8_000);
    let mut two = plan.listen();
    let gateway = gateway(&scene, one.port, two.port, "");
    let mut browser = browser(&scene, &gateway);
    browser.dial("1");
    phone_of(&one, WEB, &phones[0]);
    browser.hold();
    phones[0].await_silence();
    browser.dial("2");
    phone_of(&two, WEB, &phones[1]);
    browser.transfer_to_the_call_before();
    assert_eq!(browser.await_end(), ("transferred".into(), 0));
    phones[0].assert_hears("the first phone", TWO);
    phones[1].assert_hears("the second phone", ONE);
    two.assert_success();
    one.assert_success();
}

#[test]
fn sipp_transfers_chromium_by_refer_and_it_goes_on_with_the_other_phone() {
    let scene = Scene::new("services_refer");
    let phones = [Phone::new(ONE), Phone::new(TWO)];
    let plan = sipp::Plan::new(&scene, "one", "uas-refers").key("target", "sip:2@pbx.test");
    let mut one = plan.rtp(phones[0].port).pause_ms(2_500).listen();
    let mut two = sipp::Plan::new(&scene, "two", "uas").rtp(phones[1].port).listen();
    let gateway = gateway(&scene, one.port, two.port, "transfer = \"local\"");
    let mut browser = browser(&scene, &gateway);
    browser.dial("1");
    phone_of(&one, WEB, &phones[0]);
    browser.assert_hears(ONE);
    phone_of(&two, WEB, &phones[1]);
    browser.assert_hears(TWO);
    one.assert_success();
    assert_eq!(browser.party(), "2");
    browser.hangup();
    two.assert_success();
}

#[test]
fn a_transfer_by_refer_that_fails_and_one_that_is_not_allowed_leave_the_call() {
    let scene = Scene::new("services_refer_fails");
    let phone = Phone::new(ONE);
    let plan = sipp::Plan::new(&scene, "one", "uas-refers-in-vain").key("target", "sip:2@pbx.test");
    let mut one = plan.rtp(phone.port).pause_ms(500).listen();
    let mut two = sipp::Plan::new(&scene, "two", "uas-busy").listen();
    let gateway = gateway(&scene, one.port, two.port, "transfer = \"local\"");
    let mut browser = browser(&scene, &gateway);
    browser.dial("1");
    phone.call(one.far_media("INVITE"));
    two.assert_success();
    browser.assert_hears(ONE);
    phone.assert_hears("the phone", WEB);
    browser.hangup();
    one.assert_success();
}

#[test]
fn a_transfer_is_passed_on_to_sipp_which_goes_there_by_itself() {
    let scene = Scene::new("services_pass");
    let phone = Phone::new(ONE);
    let mut one = sipp::Plan::new(&scene, "one", "uas-referred").rtp(phone.port).listen();
    let gateway = gateway(&scene, one.port, free_port(), "transfer = \"pass\"");
    let mut browser = browser(&scene, &gateway);
    browser.dial("1");
    phone_of(&one, WEB, &phone);
    browser.try_transfer("carol").unwrap();
    assert_eq!(browser.await_end(), ("transferred".into(), 0));
    assert!(one.received("REFER").contains(&format!("Refer-To: <sip:carol@127.0.0.1:{}>", one.port)));
    let codes: Vec<_> = browser.details("transfer").iter().map(|detail| detail["code"].clone()).collect();
    assert_eq!(codes, [100, 180, 200]);
    one.assert_success();
}

#[test]
fn sipp_takes_the_place_of_a_phone_by_replaces() {
    let scene = Scene::new("services_replaces");
    let phones = [Phone::new(ONE), Phone::new(TWO)];
    let mut one = sipp::Plan::new(&scene, "one", "uas").rtp(phones[0].port).listen();
    let gateway = gateway(&scene, one.port, free_port(), "");
    let mut browser = browser(&scene, &gateway);
    browser.dial("1");
    phone_of(&one, WEB, &phones[0]);
    let ack = one.received("ACK");
    let field = |name: &str| {
        let value = ack.lines().find_map(|line| line.strip_prefix(name)).expect(name).trim().to_owned();
        value.split_once(";tag=").map_or(value.clone(), |(_, tag)| tag.to_owned())
    };
    // As the phone knows its dialog: the far side's tag is to be in To.
    let replaces = format!("{};to-tag={};from-tag={}", field("Call-ID:"), field("From:"), field("To:"));
    let plan = sipp::Plan::new(&scene, "two", "uac-replaces").key("replaces", &replaces);
    let mut two = plan.rtp(phones[1].port).call(gateway.sip, "dave", "anybody");
    phones[1].call(two.far_media("SIP/2.0 200"));
    phones[1].assert_hears("who came", WEB);
    browser.assert_hears(TWO);
    one.assert_success();
    assert_eq!(browser.party(), "dave");
    browser.hangup();
    two.assert_success();
}

#[test]
fn a_redirection_is_followed_to_the_phone_that_it_names() {
    let scene = Scene::new("services_redirect");
    let phone = Phone::new(TWO);
    let mut one = sipp::Plan::new(&scene, "one", "uas-redirects").key("target", "sip:2@pbx.test").listen();
    let mut two = sipp::Plan::new(&scene, "two", "uas").rtp(phone.port).listen();
    let gateway = gateway(&scene, one.port, two.port, "redirects = \"follow\"");
    let mut browser = browser(&scene, &gateway);
    browser.dial("1");
    phone_of(&two, WEB, &phone);
    browser.assert_hears(TWO);
    one.assert_success();
    browser.hangup();
    two.assert_success();
}

#[test]
fn a_redirection_is_a_refusal_until_it_is_allowed() {
    let scene = Scene::new("services_no_redirect");
    let mut one = sipp::Plan::new(&scene, "one", "uas-redirects").key("target", "sip:2@pbx.test").listen();
    let gateway = gateway(&scene, one.port, free_port(), "");
    let mut browser = browser(&scene, &gateway);
    browser.dial("1");
    assert_eq!(browser.await_end(), ("rejected".into(), 302));
    one.assert_success();
}

#[test]
fn texts_go_both_ways() {
    let scene = Scene::new("services_texts");
    let mut one = sipp::Plan::new(&scene, "one", "uas-messaged").listen();
    let gateway = Plan::new(&scene).trunk("one", one.port, "").registered("alice", "one").start();
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.sign_in("alice");
    browser.message("bob", "hello, bob");
    assert!(one.received("MESSAGE").starts_with("MESSAGE sip:bob@"));
    one.assert_success();
    let mut sender = sipp::Plan::new(&scene, "sender", "uac-messages").call(gateway.sip, "bob", "u.alice");
    sender.assert_success();
    let heard = until("a text", || browser.details("message").pop());
    assert_eq!((&heard["body"], &heard["from"]["user"]), (&json!("good morning\r\n"), &json!("bob")));
}

#[test]
fn chromium_is_told_of_waiting_messages() {
    let scene = Scene::new("services_mwi");
    let mut one = sipp::Plan::new(&scene, "one", "uas-subscribed").listen();
    let gateway = Plan::new(&scene).trunk("one", one.port, "").registered("alice", "one").start();
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.sign_in("alice");
    browser.subscribe("message-summary");
    let heard = until("news", || browser.details("notify").pop());
    assert_eq!(heard["mwi"], json!({"waiting": true, "new": 2, "old": 5}));
    browser.unsubscribe();
    one.assert_success();
}

#[test]
fn baresip_transfers_chromium() {
    let scene = Scene::new("services_baresip");
    let phone = Phone::new(TWO);
    let mut third = sipp::Plan::new(&scene, "third", "uas").rtp(phone.port).listen();
    let kamailio = Kamailio::start(&scene, third.port);
    let baresip = Baresip::start(&scene, "carol", kamailio.port, 440);
    kamailio.registered("carol");
    let gateway = Plan::new(&scene)
        .trunk("kamailio", kamailio.port, "test.local")
        .more("transfer = \"local\"")
        .registered("alice", "kamailio")
        .start();
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.register("alice");
    browser.dial("carol");
    browser.await_answer();
    browser.assert_hears(440.0);
    baresip.assert_hears(WEB);
    baresip.command_with("transfer", "sip:900@test.local");
    phone_of(&third, WEB, &phone);
    browser.assert_hears(TWO);
    browser.hangup();
    third.assert_success();
}

#[test]
fn a_phone_that_chromium_holds_hears_music_from_a_file() {
    let scene = Scene::new("services_music");
    let music = scene.write("music.wav", wav::write(&tone::sine(850.0, 3.0, 8_000), 8_000));
    let phone = Phone::new(ONE);
    let mut one = sipp::Plan::new(&scene, "one", "uas-held").rtp(phone.port).listen();
    let gateway = Plan::new(&scene)
        .hold_music(&music.display().to_string())
        .trunk("one", one.port, "")
        .user("alice")
        .route("users", "", "one")
        .start();
    let mut browser = browser(&scene, &gateway);
    browser.dial("1");
    phone_of(&one, WEB, &phone);
    browser.hold();
    phone.assert_hears("the phone that is held", 850.0);
    browser.assert_silent();
    browser.resume();
    phone.assert_hears("the phone that was held", WEB);
    browser.assert_hears(ONE);
    assert_eq!(phone.losses_and_sources().1, 1, "one source through the music");
    browser.hangup();
    one.assert_success();
}
