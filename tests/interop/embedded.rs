//! `bridgehead demo`: the first thing that anybody tries, by the softphone page and by the SDK.

use super::browser::Browser;
use super::gateway::Gateway;
use super::harness::Page;
use super::scene::Scene;

#[test]
fn the_page_signs_in_and_calls_echo_and_tone() {
    let scene = Scene::new("embedded_page");
    let mut gateway = Gateway::demo(&scene);
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    browser.open(&gateway.url("/"));
    browser.shows("#users button", "alice");
    browser.click("#signin [type=submit]");
    browser.shows("#presence", "alice, ready");
    for number in ["echo", "tone"] {
        browser.click(&format!("#directory button[aria-label^='Call {number}']"));
        browser.shows("#state", "In call");
        browser.meters_rise();
        browser.click("#hangup");
        browser.shows("#notice", "Call ended");
    }
    browser.fill("#number", "nobody");
    browser.click("#dial [type=submit]");
    browser.shows("#notice", "There is no nobody here.");
    assert_eq!(browser.complaints(), "", "the page and its policy agree");
    gateway.assert_alive();
}

#[test]
fn echo_gives_back_the_microphone_and_tone_is_440_hz() {
    let scene = Scene::new("embedded_tones");
    let gateway = Gateway::demo(&scene);
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    browser.open(&gateway.url("/"));
    browser.register("alice");
    for (number, hz) in [("echo", 1_000.0), ("tone", 440.0)] {
        browser.dial(number);
        browser.await_answer();
        browser.assert_hears(hz);
        browser.hangup();
        assert_eq!(browser.await_end().0, "hangup");
    }
}

#[test]
fn two_tabs_call_each_other_by_name() {
    let scene = Scene::new("embedded_tabs");
    let gateway = Gateway::demo(&scene);
    let mut browsers = [("alice", 700.0), ("bob", 1_200.0)].map(|(user, hz)| {
        let mut browser = Browser::start(&scene, user, hz);
        browser.open(&gateway.url("/"));
        browser.register(user);
        browser
    });
    let [alice, bob] = &mut browsers;
    alice.dial("bob");
    assert_eq!(bob.incoming(), "alice");
    bob.answer();
    alice.assert_hears(1_200.0);
    bob.assert_hears(700.0);
    alice.hangup();
    assert_eq!(bob.await_end().0, "hangup");
}

#[test]
fn the_example_of_the_readme_calls_echo() {
    let scene = Scene::new("embedded_example");
    let gateway = Gateway::demo(&scene);
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    browser.open(&gateway.url("/example.html"));
    browser.click("#call");
    browser.shows("#state", "answered");
    browser.assert_plays("#sound", 1_000.0);
    browser.click("#end");
    browser.shows("#state", "ended");
    assert_eq!(browser.complaints(), "", "the example and its policy agree");
}

/// From an empty file to a call, by the README alone: its example on a server of one's own, with the one change that it
/// tells of.
#[test]
fn ten_lines_of_the_readme_make_a_page_of_ones_own_that_calls() {
    let scene = Scene::new("embedded_own_page");
    let gateway = Gateway::demo(&scene);
    let readme = include_str!("../../README.md");
    let (_, rest) = readme.split_once("```html\n").expect("an example in the README");
    let (example, prose) = rest.split_once("```\n").unwrap();
    let (_, script) = example.split_once("<script type=\"module\">\n").unwrap();
    let lines =
        script.split_once("</script>").unwrap().0.lines().filter(|line| !line.trim().is_empty()).count();
    assert!(lines <= 10 && readme.contains("ten lines"), "{lines} lines, and the README says ten");
    assert!(prose.contains("http://127.0.0.1:8080/sdk/bridgehead.js"), "what to change is said");
    let own =
        example.replacen("'/sdk/bridgehead.js'", &format!("'{}'", gateway.url("/sdk/bridgehead.js")), 1);
    assert_ne!(own, example);
    let page = Page::serve(own);
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    browser.open(&page.url);
    browser.click("#call");
    browser.shows("#state", "answered");
    browser.assert_plays("#sound", 1_000.0);
    browser.click("#end");
    browser.shows("#state", "ended");
    assert_eq!(browser.complaints(), "");
}

/// The target of `targets.md`: 95 of 100 calls are heard within 400 ms of the click, all of it on loopback.
#[test]
fn sound_is_heard_soon_after_dialling() {
    const CALLS: usize = 20;
    let scene = Scene::new("embedded_dial_to_sound");
    let gateway = Gateway::demo(&scene);
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    browser.open(&gateway.url("/"));
    browser.register("alice");
    let mut times: Vec<(f64, f64)> = (0..CALLS)
        .map(|_| {
            let times = browser.dial_to_sound("tone");
            browser.hangup();
            times
        })
        .collect();
    times.sort_by(|one, other| one.1.total_cmp(&other.1));
    let (median, p95) = (times[CALLS / 2].1, times[CALLS * 95 / 100 - 1].1);
    let report = format!("dial to sound: median {median:.0} ms, p95 {p95:.0} ms of {CALLS} calls\n");
    print!("{report}");
    scene.write("report.txt", &report);
    assert!(p95 < 400.0, "{report}");
}

#[test]
fn the_other_numbers_play_ring_and_refuse_as_they_say() {
    let scene = Scene::new("embedded_numbers");
    let gateway = Gateway::demo(&scene);
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    browser.open(&gateway.url("/"));
    browser.register("alice");
    browser.dial("music");
    browser.await_answer();
    // C5 ends the third bar of the melody.
    browser.assert_hears(523.25);
    browser.hangup();
    browser.dial("delay");
    browser.reaches("ringing");
    browser.await_answer();
    browser.assert_hears(1_000.0);
    browser.hangup();
    for (number, reason, code) in [("busy", "busy", 486), ("decline", "declined", 603)] {
        browser.dial(number);
        assert_eq!(browser.await_end(), (reason.into(), code));
    }
}
