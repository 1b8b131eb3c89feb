//! The softphone page that stays: reloaded in a call, closed for good, signed in by token, with another microphone.

use super::browser::Browser;
use super::gateway::{GRACE_S, Gateway, Plan};
use super::phone::Phone;
use super::scene::{Scene, until_within};
use super::sipp::{self, Sipp};
use super::token::Issuer;
use serde_json::json;
use std::time::{Duration, Instant, SystemTime};

/// What the browser's microphone hears.
const WEB: f32 = 1_000.0;
/// What the SIP side plays.
const SIP: f32 = 600.0;

/// The page in a call with a SIP phone.
struct Talk {
    callee: Sipp,
    gateway: Gateway,
    page: Browser,
    phone: Phone,
}

impl Talk {
    fn begin(scene: &Scene, scenario: &str, grace_s: u64) -> Talk {
        let phone = Phone::new(SIP);
        let callee = sipp::Plan::new(scene, "sipp", scenario).rtp(phone.port).listen();
        let plan = Plan::new(scene).patience(grace_s, 60).trunk("sipp", callee.port, "");
        let gateway = plan.user("alice").route("users", "", "sipp").start();
        let mut page = Browser::start(scene, "browser", WEB);
        page.open(&gateway.url("/"));
        page.fill("#user", "alice");
        page.fill("#password", "alice");
        page.click("#signin [type=submit]");
        page.shows("#presence", "alice");
        page.fill("#number", "bob");
        page.press("Enter");
        phone.call(callee.far_media("INVITE"));
        page.shows("#state", "In call");
        page.assert_plays("#sound", SIP);
        phone.assert_hears("the SIP phone", WEB);
        Talk { callee, gateway, page, phone }
    }
}

#[test]
fn a_reload_in_a_call_is_a_short_gap() {
    let scene = Scene::new("staying_reload");
    let Talk { mut callee, mut gateway, mut page, phone } = Talk::begin(&scene, "uas-held", 10);
    phone.longest_gap();
    let start = Instant::now();
    page.reload();
    page.shows("#peer", "bob");
    page.shows("#state", "In call");
    page.assert_plays("#sound", SIP);
    phone.await_packets(phone.packets() + 50);
    phone.assert_hears("the SIP phone", WEB);
    let gap = phone.longest_gap();
    let report =
        format!("page reload: gap {} ms, heard again after {:?}\n", gap.as_millis(), start.elapsed());
    print!("{report}");
    scene.write("report.txt", &report);
    assert!(gap < Duration::from_secs(4), "{report}");
    assert!(gap > Duration::from_millis(100), "the page was really gone: {report}");
    assert_eq!(phone.losses_and_sources().1, 1, "one timeline towards SIP");
    // Who was muted stays so.
    page.click("#mute");
    phone.await_quiet();
    page.reload();
    page.shows("#state", "In call");
    page.shows("#mute[aria-pressed=true]", "Mute");
    page.assert_plays("#sound", SIP);
    phone.await_quiet();
    page.click("#mute");
    phone.assert_hears("the SIP phone", WEB);
    // Who was on hold stays so, and can be taken back.
    page.click("#hold");
    page.shows("#state", "On hold");
    phone.await_silence();
    page.reload();
    page.shows("#state", "On hold");
    page.click("#hold");
    page.shows("#state", "In call");
    phone.assert_hears("the SIP phone", WEB);
    page.assert_plays("#sound", SIP);
    page.click("#hangup");
    page.shows("#notice", "Call ended after");
    callee.assert_success();
    page.reload();
    page.shows("#log li:first-child", "bob");
    assert_eq!(page.complaints(), "");
    gateway.assert_alive();
}

#[test]
fn a_page_that_is_closed_for_good_ends_its_call_after_the_grace() {
    let scene = Scene::new("staying_closed");
    let Talk { mut callee, gateway: _gateway, mut page, phone } = Talk::begin(&scene, "uas", GRACE_S);
    let start = Instant::now();
    page.close_tab();
    until_within(Duration::from_secs(15), "BYE after the grace", || callee.received_now("BYE"));
    assert!(start.elapsed() >= Duration::from_secs(GRACE_S), "after {:?}", start.elapsed());
    phone.await_silence();
    callee.assert_success();
}

#[test]
fn a_call_that_ends_while_its_page_is_away_is_in_the_log() {
    let scene = Scene::new("staying_missed");
    let gateway = Gateway::demo(&scene);
    let [mut alice, mut bob] = ["alice", "bob"].map(|user| {
        let mut browser = Browser::start(&scene, user, WEB);
        browser.open(&gateway.url("/"));
        browser.shows("#users button", user);
        browser.click(&format!("#users button:text-is('{user}')"));
        browser.click("#signin [type=submit]");
        browser.shows("#presence", "ready");
        browser
    });
    // One that rings goes on ringing.
    alice.fill("#number", "bob");
    alice.press("Enter");
    bob.shows("#caller", "alice calls");
    bob.reload();
    bob.shows("#caller", "alice calls");
    bob.click("#answer");
    alice.shows("#state", "In call");
    bob.shows("#state", "In call");
    bob.click("#hold");
    alice.shows("#state", "bob has put you on hold");
    alice.reload();
    alice.shows("#state", "bob has put you on hold");
    let page = gateway.url("/");
    alice.open(&gateway.url("/icon.svg"));
    bob.click("#hangup");
    bob.shows("#notice", "Call ended after");
    alice.open(&page);
    alice.shows("#presence", "ready");
    alice.shows("#notice", "The call with bob ended while this page was away.");
    alice.shows("#log li:first-child", "Outgoing, 0:");
    // Signed out, nothing of the session is left in the tab, and no password was anywhere.
    let stored = alice.stored();
    assert!(stored["session"]["bridgehead.session"].is_string(), "{stored}");
    alice.click("#signout");
    let stored = alice.stored();
    assert_eq!(stored["session"].get("bridgehead.session"), None, "{stored}");
    assert_eq!(stored["local"], json!({"bridgehead.name": "alice"}));
    alice.reload();
    alice.shows("#signin", "Sign in");
}

#[test]
fn a_token_signs_in_and_stays_in_its_tab() {
    const SECRET: &str = "a secret of forty bytes, not one less...";
    let scene = Scene::new("staying_token");
    let plan = || Plan::new(&scene).auth(&format!("jwt_secret = \"{SECRET}\"\naudience = \"phone\"\n"));
    let gateway = plan().start();
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let claims = |aud: &str, exp: u64| json!({"sub": "carol", "aud": aud, "exp": exp});
    let mut page = Browser::start(&scene, "browser", WEB);
    page.open(&gateway.url("/"));
    page.click("#way");
    let issuer = Issuer::hs256(SECRET);
    let wrong_key = Issuer::hs256(&SECRET.replace('a', "b")).sign(&claims("phone", now + 600));
    let good = issuer.sign(&claims("phone", now + 600));
    for (text, words) in [
        (issuer.sign(&claims("phone", now - 600)), "The token has expired."),
        (issuer.sign(&claims("other", now + 600)), "The token is meant for another service."),
        (wrong_key, "The token is not accepted."),
        (good.clone(), ""),
    ] {
        page.fill("#token", &text);
        page.press("Enter");
        if !words.is_empty() {
            page.shows("#notice", words);
        }
    }
    page.shows("#presence", "carol");
    page.reload();
    page.shows("#presence", "carol");
    let stored = page.stored();
    assert!(!stored["local"].to_string().contains(&good) && stored["session"].to_string().contains(&good));
    page.click("#signout");
    assert!(!page.stored().to_string().contains(&good));
    // The way is remembered, not the token.
    page.reload();
    page.shows("#by-token label", "Token");
}

#[test]
fn microphone_and_speaker_are_changed_in_a_call() {
    let scene = Scene::new("staying_devices");
    let Talk { mut callee, gateway: _gateway, mut page, phone } = Talk::begin(&scene, "uas", 10);
    page.click("#sound-settings summary");
    page.shows("#microphone-hint", "Your microphone is heard.");
    // The other one hears something else.
    page.retune(&scene, 1_500.0);
    phone.longest_gap();
    page.choose("#microphone", "Fake Audio Input 2");
    phone.assert_hears("the SIP phone", 1_500.0);
    let gap = phone.longest_gap();
    assert!(gap < Duration::from_secs(1), "{gap:?}");
    assert_eq!(phone.losses_and_sources().1, 1, "one timeline towards SIP");
    page.choose("#speaker", "Fake Audio Output 1");
    page.assert_plays("#sound", SIP);
    assert_eq!(page.speaker("#sound"), "Fake Audio Output 1");
    // Muted before, muted after.
    page.click("#mute");
    page.choose("#microphone", "Fake Audio Input 1");
    phone.await_quiet();
    page.click("#mute");
    phone.assert_hears("the SIP phone", 1_500.0);
    // Remembered: a reload goes on with both.
    page.reload();
    page.shows("#state", "In call");
    assert_eq!(page.speaker("#sound"), "Fake Audio Output 1");
    page.click("#sound-settings summary");
    page.shows("#microphone-hint", "Your microphone is heard.");
    assert_eq!(page.chosen("#microphone"), "Fake Audio Input 1");
    phone.assert_hears("the SIP phone", 1_500.0);
    page.click("#hangup");
    page.shows("#notice", "Call ended after");
    callee.assert_success();
    assert_eq!(page.complaints(), "");
}
