//! `bridgehead demo`: the first thing that anybody tries, by the softphone page and by the SDK.

use super::browser::Browser;
use super::gateway::Gateway;
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
