//! Kamailio as registrar and proxy with digest: browsers call each other, and a real softphone, through it.

use super::baresip::Baresip;
use super::browser::Browser;
use super::gateway::{Gateway, Plan};
use super::kamailio::Kamailio;
use super::phone::Phone;
use super::scene::{Scene, free_port};
use super::sipp;

struct Site {
    scene: Scene,
    kamailio: Kamailio,
    gateway: Gateway,
    /// Where Kamailio sends numbers that begin with 9.
    peer: u16,
}

impl Site {
    fn new(test: &str) -> Site {
        let scene = Scene::new(test);
        let peer = free_port();
        let kamailio = Kamailio::start(&scene, peer);
        let gateway = Plan::new(&scene)
            .trunk("kamailio", kamailio.port, "test.local")
            .registered("alice", "kamailio")
            .registered("bob", "kamailio")
            .start();
        Site { scene, kamailio, gateway, peer }
    }

    fn browser(&self, user: &str, hz: f32) -> Browser {
        let mut browser = Browser::start(&self.scene, user, hz);
        browser.open(&self.gateway.url("/"));
        browser.register(user);
        self.kamailio.registered(user);
        browser
    }
}

#[test]
fn chromium_calls_chromium_through_a_registrar_with_digest() {
    let mut site = Site::new("registrar_web_to_web");
    let mut alice = site.browser("alice", 700.0);
    let mut bob = site.browser("bob", 1_200.0);
    alice.dial("bob");
    assert_eq!(bob.incoming(), "alice");
    alice.reaches("ringing");
    bob.answer();
    alice.await_answer();
    alice.assert_hears(1_200.0);
    bob.assert_hears(700.0);
    bob.hangup();
    assert_eq!(alice.await_end(), ("hangup".into(), 0));
    // And back, ended by the caller; the registrations and the sessions are still good.
    bob.dial("alice");
    alice.incoming();
    alice.answer();
    bob.assert_hears(700.0);
    alice.assert_hears(1_200.0);
    bob.hangup();
    assert_eq!(alice.await_end(), ("hangup".into(), 0));
    // Nobody there.
    alice.dial("nobody");
    assert_eq!(alice.await_end(), ("not_found".into(), 404));
    site.gateway.assert_alive();
}

#[test]
fn chromium_and_baresip_hear_each_other() {
    let mut site = Site::new("registrar_baresip");
    let baresip = Baresip::start(&site.scene, "carol", site.kamailio.port, 440);
    site.kamailio.registered("carol");
    let mut alice = site.browser("alice", 1_200.0);
    alice.dial("carol");
    alice.await_answer();
    alice.assert_hears(440.0);
    baresip.assert_hears(1_200.0);
    alice.hangup();
    site.gateway.assert_alive();
}

#[test]
fn sipp_and_chromium_hear_each_other_through_a_proxy() {
    let site = Site::new("registrar_sipp");
    let mut alice = site.browser("alice", 1_000.0);
    let phone = Phone::new(600.0);
    let mut callee = sipp::Plan::new(&site.scene, "callee", "uas").port(site.peer).rtp(phone.port).listen();
    alice.dial("9100");
    phone.call(callee.far_media("INVITE"));
    alice.assert_hears(600.0);
    phone.assert_hears("the SIP phone", 1_000.0);
    alice.hangup();
    callee.assert_success();

    let mut caller = sipp::Plan::new(&site.scene, "caller", "uac-waits")
        .port(site.peer)
        .rtp(phone.port)
        .call(([127, 0, 0, 1], site.kamailio.port).into(), "9100", "alice");
    assert_eq!(alice.incoming(), "9100");
    alice.answer();
    phone.call(caller.far_media("SIP/2.0 200"));
    alice.assert_hears(600.0);
    phone.assert_hears("the SIP phone", 1_000.0);
    alice.hangup();
    caller.assert_success();
}

#[test]
fn signing_out_ends_the_registration() {
    let site = Site::new("registrar_sign_out");
    let mut alice = site.browser("alice", 1_000.0);
    alice.sign_out();
    site.kamailio.logs("registered alice expires 0");
}

#[test]
fn a_wrong_sip_password_is_told_and_not_tried_again_and_again() {
    let scene = Scene::new("registrar_forbidden");
    let kamailio = Kamailio::start(&scene, free_port());
    // Her SIP password is that of her browser, which Kamailio does not know.
    let gateway =
        Plan::new(&scene).trunk("kamailio", kamailio.port, "test.local").wrong("alice", "kamailio").start();
    let mut alice = Browser::start(&scene, "alice", 1_000.0);
    alice.open(&gateway.url("/"));
    let failure = alice.try_register("alice").unwrap_err();
    assert_eq!(failure.name, "forbidden", "{failure:?}");
}
