//! SIP phones that register and call through the gateway, at a Kamailio that asks for credentials at INVITE, re-INVITE and
//! BYE: baresip and SIPp behind a NAT, JsSIP and SIP.js in Chromium.

use super::baresip::Baresip;
use super::gateway::{Gateway, Plan};
use super::kamailio::{Kamailio, STRICT};
use super::phone::Phone;
use super::scene::{Scene, free_port, until};
use super::sipp;
use super::softphone::Softphone;

struct Site {
    scene: Scene,
    kamailio: Kamailio,
    gateway: Gateway,
    /// Where Kamailio sends numbers that begin with 9.
    peer: u16,
}

impl Site {
    fn new(test: &str) -> Site {
        Site::with(test, |plan| plan)
    }

    fn with(test: &str, change: impl FnOnce(Plan<'_>) -> Plan<'_>) -> Site {
        let scene = Scene::new(test);
        let peer = free_port();
        let kamailio = Kamailio::strict(&scene, peer);
        let plan = Plan::new(&scene)
            .origins(&["*"])
            .trunk("kamailio", kamailio.port, "test.local")
            .by_way_of(STRICT, kamailio.port)
            .phones("kamailio");
        let gateway = change(plan).start();
        Site { scene, kamailio, gateway, peer }
    }

    /// A SIP peer beside Kamailio that answers, and its mouth and ear.
    fn callee(&self, hz: f32) -> (sipp::Sipp, Phone) {
        let phone = Phone::new(hz);
        let callee = sipp::Plan::new(&self.scene, "callee", "uas").port(self.peer).rtp(phone.port).listen();
        (callee, phone)
    }

    /// How often Kamailio let a request of this method and user in.
    fn let_in(&self, method: &str, user: &str) -> usize {
        self.kamailio.count(&format!("let in {method} of {user} "))
    }

    /// What a counter of the SIP stack says, over all shards.
    fn counter(&self, name: &str) -> u64 {
        let page = self.gateway.ask_admin("/metrics");
        let lines = page.lines().filter(|line| line.contains(&format!("\"{name}\"")));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum()
    }
}

fn baresip_registers_calls_and_is_called(transport: &str) {
    let mut site = Site::new(&format!("phones_baresip_{transport}"));
    let baresip = Baresip::start_by(&site.scene, ("carol", transport), site.gateway.sip.port(), 440);
    site.kamailio.logs("registered carol expires");
    site.kamailio.logs("<sip:p.0");

    // It calls; holds and resumes, so that a change is challenged; and hangs up, challenged again.
    let (mut callee, phone) = site.callee(1_000.0);
    baresip.command_with("dial", "sip:9100@test.local");
    phone.call(callee.far_media("INVITE"));
    phone.assert_hears("the SIP phone", 440.0);
    baresip.assert_hears(1_000.0);
    baresip.command("hangup");
    callee.assert_success();
    assert_eq!((site.let_in("INVITE", "carol"), site.let_in("BYE", "carol")), (1, 1));

    // It is called.
    let phone = Phone::new(600.0);
    let mut caller = sipp::Plan::new(&site.scene, "caller", "uac-waits")
        .port(site.peer)
        .rtp(phone.port)
        .call((STRICT, site.kamailio.port).into(), "9100", "carol");
    phone.call(caller.far_media("SIP/2.0 200"));
    phone.assert_hears("the SIP phone", 440.0);
    baresip.assert_hears(600.0);
    baresip.command("hangup");
    caller.assert_success();
    assert_eq!(site.let_in("BYE", "carol"), 2);
    site.gateway.assert_alive();
}

#[test]
fn baresip_registers_calls_and_is_called_over_udp() {
    baresip_registers_calls_and_is_called("udp");
}

#[test]
fn baresip_registers_calls_and_is_called_over_tcp() {
    baresip_registers_calls_and_is_called("tcp");
}

#[test]
fn a_phone_behind_a_nat_is_heard_and_hears() {
    let site = Site::new("phones_nat");
    let (mut callee, far) = site.callee(1_000.0);
    let near = Phone::new(500.0);
    let mut caller = sipp::Plan::new(&site.scene, "phone", "uac-phone")
        .rtp(near.port)
        .key("inside", "10.20.30.40")
        .pause_ms(4_000)
        .call(site.gateway.sip, "dave", "9100");
    far.call(callee.far_media("INVITE"));
    // The last 200 is that of the call by then.
    callee.received("ACK");
    near.call(caller.far_media("SIP/2.0 200"));
    far.assert_hears("the far phone", 500.0);
    // What it says of its own address leads nowhere: it is heard where its packets come from.
    near.assert_hears("the phone behind the NAT", 1_000.0);
    caller.assert_success();
    callee.assert_success();
    let seen = callee.received("INVITE");
    assert!(!seen.contains("10.20.30.40"), "nothing of the inside goes out: {seen}");
}

#[test]
fn a_phone_that_dies_is_told_of_upstream() {
    let site = Site::new("phones_lost");
    let mut phone = Softphone::start(&site.scene, "alice", 700.0);
    phone.register("jssip", &site.gateway, "alice");
    site.kamailio.registered("alice");
    drop(phone);
    until("the phone is lost", || (site.counter("phones_lost") == 1).then_some(()));
    let caller = sipp::Plan::new(&site.scene, "caller", "uac-waits")
        .port(site.peer)
        .rtp(Phone::new(600.0).port)
        .call((STRICT, site.kamailio.port).into(), "9100", "alice");
    assert!(caller.received("SIP/2.0 4").starts_with("SIP/2.0 430"), "{}", caller.messages());
}

/// A phone in a page calls a SIP peer and is called by it: tone, keys, hold, BYE.
fn a_phone_in_a_page(kind: &str) {
    let mut site = Site::new(&format!("phones_{kind}"));
    let mut alice = Softphone::start(&site.scene, "alice", 700.0);
    alice.register(kind, &site.gateway, "alice");
    site.kamailio.registered("alice");

    let (mut callee, phone) = site.callee(1_000.0);
    alice.dial("9100");
    phone.call(callee.far_media("INVITE"));
    alice.assert_hears(1_000.0);
    phone.assert_hears("the SIP phone", 700.0);
    // As media, and by INFO.
    alice.key("7", false);
    phone.assert_keys("7");
    alice.key("*", true);
    phone.assert_keys("7*");
    alice.hangup();
    callee.assert_success();
    assert_eq!((site.let_in("INVITE", "alice"), site.let_in("BYE", "alice")), (1, 1));

    let phone = Phone::new(600.0);
    let mut caller = sipp::Plan::new(&site.scene, "caller", "uac-waits")
        .port(site.peer)
        .rtp(phone.port)
        .call((STRICT, site.kamailio.port).into(), "9100", "alice");
    assert_eq!(alice.incoming(), "9100");
    alice.answer();
    phone.call(caller.far_media("SIP/2.0 200"));
    alice.assert_hears(600.0);
    phone.assert_hears("the SIP phone", 700.0);
    alice.hangup();
    caller.assert_success();
    assert_eq!(site.let_in("BYE", "alice"), 2);
    site.gateway.assert_alive();
}

#[test]
fn jssip_calls_and_is_called() {
    a_phone_in_a_page("jssip");
}

#[test]
fn sipjs_calls_and_is_called() {
    a_phone_in_a_page("sipjs");
}

#[test]
fn jssip_and_sipjs_call_each_other_hold_and_hang_up() {
    let mut site = Site::new("phones_pages");
    let mut alice = Softphone::start(&site.scene, "alice", 700.0);
    let mut bob = Softphone::start(&site.scene, "bob", 1_200.0);
    alice.register("jssip", &site.gateway, "alice");
    bob.register("sipjs", &site.gateway, "bob");
    for call in ["first", "second"] {
        let (one, other) = if call == "first" { (&mut alice, &mut bob) } else { (&mut bob, &mut alice) };
        let to = other.user.clone();
        one.begin(&to);
        assert_eq!(other.incoming(), one.user);
        other.answer();
        one.await_answer();
        one.assert_hears(other.hz);
        other.assert_hears(one.hz);
        // A hold is a re-INVITE, which is challenged; who holds hears nothing (SIP.js goes on sending, as it may).
        one.hold(true);
        one.assert_silent();
        one.hold(false);
        other.assert_hears(one.hz);
        one.assert_hears(other.hz);
        other.hangup();
        one.await_end();
        assert_eq!(site.let_in("INVITE", &one.user), 3, "{call}");
        assert_eq!(site.let_in("BYE", &other.user), 1, "{call}");
    }
    site.gateway.assert_alive();
}

#[test]
fn a_wrong_password_of_a_phone_is_the_servers_to_refuse() {
    let site = Site::new("phones_wrong");
    let mut alice = Softphone::start(&site.scene, "alice", 700.0);
    let refused = alice.try_register("jssip", &site.gateway, "alice", "wrong");
    assert_ne!(refused, "registered");
    assert_eq!(site.kamailio.count("registered alice"), 0);
}

#[test]
fn a_user_of_the_gateway_registers_its_phone_with_the_password_of_the_gateway() {
    let site = Site::with("phones_held", |plan| plan.registered("alice", "kamailio"));
    let mut alice = Softphone::start(&site.scene, "alice", 700.0);
    assert_ne!(alice.try_register("sipjs", &site.gateway, "alice", "alicepw"), "registered");
    drop(alice);
    let mut alice = Softphone::start(&site.scene, "alice2", 700.0);
    // Its own password; that of the server is known to the gateway alone.
    assert_eq!(alice.try_register("jssip", &site.gateway, "alice", "alice"), "registered");
    site.kamailio.registered("alice");
    let (mut callee, phone) = site.callee(1_000.0);
    alice.dial("9100");
    phone.call(callee.far_media("INVITE"));
    alice.assert_hears(1_000.0);
    alice.hangup();
    callee.assert_success();
    assert_eq!((site.let_in("INVITE", "alice"), site.let_in("BYE", "alice")), (1, 1));
}
