//! The softphone page by hand: every flow by clicks and by keyboard, in light and dark, on a desk and on a phone.
//!
//! Screenshots lie in the scene's folder; what can be judged without eyes is judged here: nothing complains, nothing is
//! wider than the screen, text stands out, Tab goes from top to bottom.

use super::browser::Browser;
use super::gateway::Gateway;
use super::scene::Scene;

fn sign_in(browser: &mut Browser, gateway: &Gateway, user: &str) {
    browser.open(&gateway.url("/"));
    browser.shows("#users button", user);
    browser.click(&format!("#users button:text-is('{user}')"));
    browser.click("#signin [type=submit]");
    browser.shows("#presence", "ready");
}

fn call(browser: &mut Browser, number: &str) {
    browser.click(&format!("#directory button[aria-label^='Call {number}']"));
}

/// Every state that a person can bring the page to, looked at.
fn looks_right(scheme: &str, size: &str, width: u32, height: u32) {
    let scene = Scene::new(&format!("page_looks_{scheme}_{size}"));
    let gateway = Gateway::demo(&scene);
    let mut bob = Browser::start(&scene, "bob", 700.0);
    sign_in(&mut bob, &gateway, "bob");
    let mut alice = Browser::start(&scene, "alice", 1_000.0);
    alice.look(scheme, width, height);
    alice.open(&gateway.url("/"));
    looks_right_signing_in(&mut alice);
    looks_right_in_a_call(&mut alice, &mut bob);
    looks_right_in_two_calls(&mut alice, &mut bob);
    looks_right_where_calls_fail(&mut alice);
    alice.click("#sound-settings summary");
    alice.shows("#microphone-hint", "is heard");
    if width > 600 {
        alice.click("#shortcuts summary");
    }
    alice.judge_look("17-log-and-devices");
    assert_eq!(alice.complaints(), "");
    gateway.kill();
    alice.shows("#presence", "No connection, trying again");
    alice.judge_look("18-gateway-lost");
    alice.assert_looked_right();
}

fn looks_right_signing_in(alice: &mut Browser) {
    alice.shows("#users button", "alice");
    alice.judge_look("01-sign-in");
    alice.click("#way");
    alice.judge_look("02-token");
    alice.fill("#token", "no.token.really");
    alice.click("#signin [type=submit]");
    alice.shows("#notice", "The token is not accepted.");
    alice.click("#way");
    alice.fill("#password", "wrong");
    alice.click("#signin [type=submit]");
    alice.shows("#notice", "Name or password is wrong.");
    alice.judge_look("03-wrong-password");
    alice.fill("#password", "alice");
    alice.click("#signin [type=submit]");
    alice.shows("#presence", "ready");
    alice.judge_look("04-idle");
    alice.fill("#number", "+49 151 234567");
    alice.judge_look("05-number");
    alice.fill("#number", "");
}

fn looks_right_in_a_call(alice: &mut Browser, bob: &mut Browser) {
    call(alice, "delay");
    alice.shows("#state", "Ringing");
    alice.judge_look("06-ringing");
    alice.click("#hangup");
    call(bob, "alice");
    alice.shows("#caller", "bob calls");
    alice.judge_look("07-incoming");
    alice.click("#answer");
    alice.shows("#state", "In call");
    alice.shows("#quality", "Sound is good");
    alice.judge_look("08-in-call");
    alice.click("#mute");
    alice.judge_look("09-muted");
    alice.click("#mute");
    alice.click("#keys");
    alice.click("#pad-keys button[aria-label='5']");
    alice.judge_look("10-keypad");
    alice.click("#keys");
    alice.click("#hold");
    alice.shows("#state", "On hold");
    alice.judge_look("11-held");
    alice.click("#hold");
    alice.shows("#state", "In call");
    bob.click("#hold");
    alice.shows("#state", "bob has put you on hold");
    alice.judge_look("12-held-by-bob");
    bob.click("#hold");
    alice.shows("#state", "In call");
    bob.click("#hangup");
    alice.shows("#notice", "Call ended after");
}

fn looks_right_in_two_calls(alice: &mut Browser, bob: &mut Browser) {
    call(alice, "music");
    alice.shows("#state", "In call");
    call(bob, "alice");
    alice.shows("#caller", "bob calls");
    alice.judge_look("13-call-waiting");
    alice.click("#answer");
    alice.shows("#peer", "bob");
    alice.shows("#state", "In call");
    alice.shows("#others-list", "On hold");
    alice.judge_look("14-two-calls");
    alice.click("#others-list button[aria-label='Swap to music']");
    alice.shows("#peer", "music");
    alice.shows("#state", "In call");
    alice.click("#others-list button[aria-label='End the call with bob']");
    bob.shows("#notice", "Call ended after");
    alice.click("#hangup");
    alice.shows("#notice", "Call ended after");
}

fn looks_right_where_calls_fail(alice: &mut Browser) {
    for (number, words) in [("decline", "decline declined the call."), ("busy", "busy is busy.")] {
        call(alice, number);
        alice.shows("#notice", words);
    }
    alice.judge_look("15-busy");
    alice.refuse_microphone("NotAllowedError");
    call(alice, "echo");
    alice.shows("#notice", "This page may not use the microphone.");
    alice.judge_look("16-no-microphone");
    alice.reload();
    alice.shows("#presence", "ready");
}

#[test]
fn each_state_looks_right_in_light_on_a_desk() {
    looks_right("light", "desk", 1_280, 800);
}

#[test]
fn each_state_looks_right_in_the_dark_on_a_desk() {
    looks_right("dark", "desk", 1_280, 800);
}

#[test]
fn each_state_looks_right_in_light_on_a_phone() {
    looks_right("light", "phone", 390, 844);
}

#[test]
fn each_state_looks_right_in_the_dark_on_a_phone() {
    looks_right("dark", "phone", 390, 844);
}

#[test]
fn a_call_is_made_and_ended_by_keyboard_alone() {
    let scene = Scene::new("page_keyboard");
    let gateway = Gateway::demo(&scene);
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    browser.open(&gateway.url("/"));
    browser.shows("#users button", "alice");
    browser.assert_order("#users button, #user, #password, #signin [type=submit], #way");
    browser.focus("#password");
    browser.press("Enter");
    browser.shows("#presence", "ready");
    browser
        .assert_order("#signout, #number, #dial [type=submit], #pad-keys button, #directory button, summary");
    browser.focus("#number");
    browser.keyboard("ivr");
    browser.press("Enter");
    browser.shows("#state", "In call");
    browser.keyboard("12#");
    browser.shows("#notice", "Call ended after");
    browser.focus("#number");
    browser.keyboard("delay");
    browser.press("Enter");
    browser.shows("#state", "Ringing");
    browser.press("Escape");
    browser.shows("#notice", "Call cancelled.");
    browser.focus("#number");
    browser.keyboard("echo");
    browser.press("Enter");
    browser.shows("#state", "In call");
    browser.press("m");
    browser.shows("#mute[aria-pressed=true]", "Mute");
    browser.press("Escape");
    browser.shows("#notice", "Press Esc again to hang up.");
    browser.press("Escape");
    browser.shows("#notice", "Call ended after");
    browser.shows("#log li:first-child", "echo");
    assert_eq!(browser.complaints(), "");
}

#[test]
fn the_pad_dials_and_ivr_hears_its_keys() {
    let scene = Scene::new("page_ivr");
    let gateway = Gateway::demo(&scene);
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    sign_in(&mut browser, &gateway, "alice");
    browser.click("#pad-keys button[aria-label='4']");
    browser.click("#dial [type=submit]");
    browser.shows("#notice", "There is no 4 here.");
    call(&mut browser, "ivr");
    browser.shows("#state", "In call");
    browser.click("#keys");
    // Ten beeps, among which there is time to listen.
    browser.click("#pad-keys button[aria-label='0']");
    browser.shows("#digits", "0");
    browser.assert_plays("#sound", 1_047.0);
    browser.click("#pad-keys button[aria-label='hash']");
    browser.shows("#notice", "Call ended after");
    assert_eq!(browser.complaints(), "");
}

#[test]
fn a_call_comes_in_and_is_answered_or_declined_by_click_and_key() {
    let scene = Scene::new("page_incoming");
    let gateway = Gateway::demo(&scene);
    let [mut alice, mut bob] = ["alice", "bob"].map(|user| {
        let mut browser = Browser::start(&scene, user, 1_000.0);
        sign_in(&mut browser, &gateway, user);
        browser
    });
    for by_key in [false, true] {
        let mut calls = || {
            call(&mut bob, "alice");
            alice.shows("#caller", "bob calls");
        };
        calls();
        if by_key {
            alice.focus("#signout");
            alice.press("Escape");
        } else {
            alice.click("#decline");
        }
        bob.shows("#notice", "alice declined the call.");
        call(&mut bob, "alice");
        alice.shows("#caller", "bob calls");
        if by_key {
            // Wherever the keyboard is.
            alice.focus("#number");
            alice.press("Enter");
        } else {
            alice.click("#answer");
        }
        alice.shows("#state", "In call");
        alice.meters_rise();
        alice.click("#hangup");
        bob.shows("#notice", "Call ended after");
        bob.shows("#log li:first-child", "alice");
    }
    assert_eq!(alice.complaints() + &bob.complaints(), "");
}

#[test]
fn a_call_is_held_and_resumed_and_two_are_swapped() {
    let scene = Scene::new("page_hold");
    let gateway = Gateway::demo(&scene);
    let [mut alice, mut bob] = ["alice", "bob"].map(|user| {
        let mut browser = Browser::start(&scene, user, 1_000.0);
        sign_in(&mut browser, &gateway, user);
        browser
    });
    call(&mut alice, "tone");
    alice.shows("#state", "In call");
    alice.assert_plays("#sound", 440.0);
    alice.click("#hold");
    alice.shows("#state", "On hold");
    alice.shows("#hold", "Resume");
    alice.press("h");
    alice.shows("#state", "In call");
    alice.assert_plays("#sound", 440.0);
    // A second call: the first is held meanwhile.
    call(&mut bob, "alice");
    alice.shows("#caller-hint", "Answering puts tone on hold.");
    alice.click("#answer");
    alice.shows("#peer", "bob");
    alice.shows("#state", "In call");
    alice.shows("#others-list", "tone");
    alice.shows("#others-list", "On hold");
    alice.assert_plays("#sound", 1_000.0);
    alice.click("#others-list button[aria-label='Swap to tone']");
    alice.shows("#peer", "tone");
    bob.shows("#state", "alice has put you on hold");
    alice.assert_plays("#sound", 440.0);
    // The one on the stage ends: the other comes back, still held.
    alice.click("#hangup");
    alice.shows("#peer", "bob");
    alice.shows("#state", "On hold");
    alice.click("#hold");
    alice.shows("#state", "In call");
    bob.shows("#state", "In call");
    // A third by the dial pad beside the call.
    alice.click("#add");
    alice.fill("#number", "echo");
    alice.press("Enter");
    alice.shows("#peer", "echo");
    bob.shows("#state", "alice has put you on hold");
    alice.click("#others-list button[aria-label='End the call with bob']");
    bob.shows("#notice", "Call ended after");
    alice.click("#hangup");
    alice.shows("#log li:first-child", "echo");
    assert_eq!(alice.complaints() + &bob.complaints(), "");
}
