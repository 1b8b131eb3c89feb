//! The peers without the gateway: what fails here is a fault of the harness.

use super::baresip::Baresip;
use super::browser::Browser;
use super::kamailio::Kamailio;
use super::phone::Phone;
use super::scene::{Scene, free_port};
use super::sipp::Plan;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[test]
fn sipp_echoes_a_tone_to_a_phone() {
    let scene = Scene::new("harness_echo");
    let mut callee = Plan::new(&scene, "callee", "uas").echo(free_port()).listen();
    let phone = Phone::new(700.0);
    let mut caller = Plan::new(&scene, "caller", "uac").rtp(phone.port).pause_ms(1_500).call(
        local(callee.port),
        "alice",
        "echo",
    );
    phone.call(caller.far_media("SIP/2.0 200"));
    phone.assert_hears("the caller", 700.0);
    caller.assert_success();
    callee.assert_success();
}

#[test]
fn two_phones_hear_each_other_by_sipp() {
    let scene = Scene::new("harness_phones");
    let (near, far) = (Phone::new(500.0), Phone::new(1_200.0));
    let mut callee = Plan::new(&scene, "callee", "uas-hangs-up").rtp(far.port).pause_ms(1_500).listen();
    let mut caller =
        Plan::new(&scene, "caller", "uac-waits").rtp(near.port).call(local(callee.port), "alice", "bob");
    far.call(callee.far_media("INVITE"));
    near.call(caller.far_media("SIP/2.0 200"));
    near.assert_hears("the caller", 1_200.0);
    far.assert_hears("the callee", 500.0);
    caller.assert_success();
    callee.assert_success();
}

#[test]
fn a_call_is_cancelled() {
    let scene = Scene::new("harness_cancel");
    let mut callee = Plan::new(&scene, "callee", "uas-cancelled").listen();
    let mut caller = Plan::new(&scene, "caller", "uac-cancels").rtp(free_port()).pause_ms(100).call(
        local(callee.port),
        "alice",
        "bob",
    );
    caller.assert_success();
    callee.assert_success();
}

#[test]
fn a_refusal_is_sent_as_told() {
    let scene = Scene::new("harness_refusal");
    let mut callee = Plan::new(&scene, "callee", "uas-busy").listen();
    let caller = Plan::new(&scene, "caller", "uac").rtp(free_port()).call(local(callee.port), "alice", "bob");
    assert!(caller.received("SIP/2.0 486").contains("Busy Here"));
    callee.assert_success();
}

#[test]
fn chromium_hears_its_own_microphone() {
    let scene = Scene::new("harness_browser");
    let page = Page::serve("<!doctype html>".into());
    let mut browser = Browser::start(&scene, "browser", 1_000.0);
    browser.open(&page.url);
    browser.assert_hears_itself(1_000.0);
}

/// A page of a secure origin that is not the gateway's: localhost over HTTP.
pub struct Page {
    /// Its address.
    pub url: String,
}

impl Page {
    /// Serves it until the test's process ends.
    pub fn serve(text: String) -> Page {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let _ = stream.read(&mut [0; 4_096]);
                let size = text.len();
                let _ = write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n{text}"
                );
            }
        });
        Page { url }
    }
}

/// SIPp calls baresip through Kamailio: registrar, proxy, phone and both ears, without the gateway.
#[test]
fn baresip_and_a_phone_hear_each_other_by_kamailio() {
    let scene = Scene::new("harness_baresip");
    let peer = free_port();
    let kamailio = Kamailio::start(&scene, peer);
    let baresip = Baresip::start(&scene, "carol", kamailio.port, 440);
    kamailio.registered("carol");
    let phone = Phone::new(1_200.0);
    let mut caller = Plan::new(&scene, "caller", "uac").port(peer).rtp(phone.port).pause_ms(2_500).call(
        local(kamailio.port),
        "alice",
        "carol",
    );
    phone.call(caller.far_media("SIP/2.0 200"));
    phone.assert_hears("the caller", 440.0);
    baresip.assert_hears(1_200.0);
    caller.assert_success();
}
