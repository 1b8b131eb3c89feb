//! The peers without the gateway: what fails here is a fault of the harness.

use super::phone::Phone;
use super::scene::{Scene, free_port};
use super::sipp::Plan;
use std::net::{Ipv4Addr, SocketAddr};

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[test]
fn sipp_echoes_a_tone_to_a_phone() {
    let scene = Scene::new("harness_echo");
    let mut callee = Plan::new(&scene, "callee", "uas").echo(free_port()).listen();
    let phone = Phone::new(700.0);
    let mut caller =
        Plan::new(&scene, "caller", "uac").rtp(phone.port).pause_ms(1_500).call(local(callee.port), "alice", "echo");
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
    let mut caller = Plan::new(&scene, "caller", "uac-waits").rtp(near.port).call(local(callee.port), "alice", "bob");
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
