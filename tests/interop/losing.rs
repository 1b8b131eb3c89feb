//! Browsers and phones that are lost and found: reloads, silence, losses; judged by what is heard.

use super::browser::Browser;
use super::gateway::{Gateway, Plan};
use super::phone::Phone;
use super::scene::{Scene, until_within};
use super::sipp::{self, Sipp};
use std::time::{Duration, Instant};

/// What the browser's microphone hears.
const WEB: f32 = 1_000.0;
/// What the SIP side plays.
const SIP: f32 = 600.0;

/// A browser and a phone that hear each other.
struct Talk {
    callee: Sipp,
    gateway: Gateway,
    browser: Browser,
    phone: Phone,
}

impl Talk {
    fn begin(scene: &Scene, media_timeout_s: u64) -> Talk {
        let phone = Phone::new(SIP);
        let callee = sipp::Plan::new(scene, "sipp", "uas").rtp(phone.port).listen();
        let plan = Plan::new(scene).patience(10, media_timeout_s).trunk("sipp", callee.port, "");
        let gateway = plan.user("alice").route("users", "", "sipp").start();
        let mut browser = Browser::start(scene, "browser", WEB);
        browser.open(&gateway.url("/"));
        browser.sign_in_to_stay("alice");
        browser.dial("bob");
        phone.call(callee.far_media("INVITE"));
        browser.assert_hears(SIP);
        phone.assert_hears("the SIP phone", WEB);
        Talk { callee, gateway, browser, phone }
    }
}

#[test]
fn a_reloaded_page_takes_its_call_over_in_less_than_four_seconds() {
    let scene = Scene::new("losing_reload");
    let Talk { mut callee, mut gateway, mut browser, phone } = Talk::begin(&scene, 60);
    phone.longest_gap();
    let start = Instant::now();
    browser.reload();
    browser.sign_in_to_stay("alice");
    browser.takeover();
    // Both ways, by tone, on one source towards the phone.
    browser.assert_hears(SIP);
    phone.await_packets(phone.packets() + 50);
    phone.assert_hears("the SIP phone", WEB);
    let gap = phone.longest_gap();
    let report = format!("reload: gap {} ms, heard again after {:?}\n", gap.as_millis(), start.elapsed());
    print!("{report}");
    scene.write("report.txt", &report);
    assert!(gap < Duration::from_secs(4), "{report}");
    assert!(gap > Duration::from_millis(100), "the page was really gone: {report}");
    assert_eq!(phone.losses_and_sources().1, 1, "one timeline towards SIP");
    browser.hangup();
    callee.assert_success();
    gateway.assert_alive();
}

#[test]
fn a_phone_that_falls_silent_ends_its_call_at_the_timeout() {
    let scene = Scene::new("losing_silence");
    let Talk { mut callee, gateway: _gateway, mut browser, phone } = Talk::begin(&scene, 4);
    phone.fall_silent();
    let start = Instant::now();
    assert_eq!(browser.await_end(), ("media_lost".into(), 0));
    assert!(start.elapsed() > Duration::from_millis(3_500) && start.elapsed() < Duration::from_secs(9));
    until_within(Duration::from_secs(5), "BYE to the silent phone", || callee.received_now("BYE"));
    callee.assert_success();
}

#[test]
fn the_gateway_and_the_browser_agree_on_what_was_sent() {
    let scene = Scene::new("losing_stats");
    let Talk { mut callee, gateway: _gateway, mut browser, phone } = Talk::begin(&scene, 60);
    browser.reaches("quality");
    phone.assert_hears("the SIP phone", WEB);
    let stats = browser.stats();
    let view = &stats["gateway"];
    let number = |name: &str| view[name].as_f64().unwrap_or_else(|| panic!("{name} in {stats}"));
    assert_eq!(view["codec"], "pcmu", "{stats}");
    let sent = stats["packetsSent"].as_f64().unwrap();
    assert!((number("packets_received") - sent).abs() < 50.0, "{stats}");
    assert!(number("packets_sent") > 200.0 && number("lost") < 5.0, "{stats}");
    assert!(number("mos_received") > 4.0 && number("mos_sent") > 4.0, "{stats}");
    assert!(number("jitter_ms") < 50.0 && number("round_trip_ms") < 100.0, "{stats}");
    browser.hangup();
    callee.assert_success();
}
