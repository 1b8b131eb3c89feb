//! SIPp to SIPp: a call from one SIP server to another by a route, RTP relayed in place.

use super::gateway::{Gateway, Plan};
use super::phone::Phone;
use super::scene::{Scene, free_port};
use super::sipp;
use std::time::Duration;

/// A gateway between a carrier and an exchange; their ports.
fn between(scene: &Scene) -> (Gateway, u16, u16) {
    let (carrier, exchange) = (free_port(), free_port());
    let plan = Plan::new(scene).trunk("carrier", carrier, "").trunk("exchange", exchange, "");
    (plan.route("carrier", "+49", "exchange").start(), carrier, exchange)
}

#[test]
fn two_sip_phones_hear_each_other() {
    let scene = Scene::new("relay_tones");
    hear_each_other(&scene, between(&scene));
}

#[test]
fn two_sip_phones_hear_each_other_on_a_shared_port() {
    let scene = Scene::new("relay_shared");
    let (carrier, exchange) = (free_port(), free_port());
    let plan = Plan::new(&scene).trunk("carrier", carrier, "").shared_rtp_ports();
    let plan = plan.trunk("exchange", exchange, "").shared_rtp_ports();
    hear_each_other(&scene, (plan.route("carrier", "+49", "exchange").start(), carrier, exchange));
}

fn hear_each_other(scene: &Scene, (mut gateway, carrier, exchange): (Gateway, u16, u16)) {
    let (near, far) = (Phone::new(500.0), Phone::new(1_200.0));
    let mut callee = sipp::Plan::new(scene, "callee", "uas").port(exchange).rtp(far.port).listen();
    let mut caller = sipp::Plan::new(scene, "caller", "uac")
        .port(carrier)
        .rtp(near.port)
        .pause_ms(2_000)
        .call(gateway.sip, "+441234", "+491234");
    assert!(callee.received("INVITE").starts_with("INVITE sip:+491234@"));
    far.call(callee.far_media("INVITE"));
    near.call(caller.far_media("SIP/2.0 200"));
    near.assert_hears("the caller", 1_200.0);
    far.assert_hears("the callee", 500.0);
    let gateway_media = [near.heard_from(), far.heard_from()].map(|from| from.expect("a source").port());
    assert!(
        gateway_media.iter().all(|port| ![near.port, far.port].contains(port)),
        "RTP goes through the gateway"
    );
    caller.assert_success();
    callee.assert_success();
    gateway.assert_alive();
}

#[test]
fn the_callee_hangs_up() {
    let scene = Scene::new("relay_bye");
    let (gateway, carrier, exchange) = between(&scene);
    let mut callee = sipp::Plan::new(&scene, "callee", "uas-hangs-up")
        .port(exchange)
        .rtp(free_port())
        .pause_ms(200)
        .listen();
    let mut caller = sipp::Plan::new(&scene, "caller", "uac-waits").port(carrier).rtp(free_port()).call(
        gateway.sip,
        "+441234",
        "+491234",
    );
    callee.assert_success();
    caller.assert_success();
}

#[test]
fn cancel_and_busy_go_across() {
    let scene = Scene::new("relay_cancel");
    let (gateway, carrier, exchange) = between(&scene);
    let mut callee = sipp::Plan::new(&scene, "cancelled", "uas-cancelled").port(exchange).listen();
    let mut caller = sipp::Plan::new(&scene, "cancels", "uac-cancels")
        .port(carrier)
        .rtp(free_port())
        .pause_ms(100)
        .call(gateway.sip, "+441234", "+491234");
    caller.assert_success();
    callee.assert_success();
    let mut callee = sipp::Plan::new(&scene, "busy", "uas-busy").port(exchange).listen();
    let caller = sipp::Plan::new(&scene, "caller", "uac").port(carrier).rtp(free_port()).call(
        gateway.sip,
        "+441234",
        "+491234",
    );
    caller.received("SIP/2.0 486");
    callee.assert_success();
}

#[test]
fn a_number_without_a_route_is_not_found() {
    let scene = Scene::new("relay_unrouted");
    let (gateway, carrier, _exchange) = between(&scene);
    let caller = sipp::Plan::new(&scene, "caller", "uac").port(carrier).rtp(free_port()).call(
        gateway.sip,
        "+441234",
        "+331234",
    );
    caller.received("SIP/2.0 404");
}

#[test]
fn the_caller_holds_and_resumes() {
    let scene = Scene::new("relay_holds");
    let (mut gateway, carrier, exchange) = between(&scene);
    let mut callee = sipp::Plan::new(&scene, "callee", "uas-held").port(exchange).rtp(free_port()).listen();
    let mut caller = sipp::Plan::new(&scene, "caller", "uac-holds")
        .port(carrier)
        .rtp(free_port())
        .pause_ms(500)
        .call(gateway.sip, "+441234", "+491234");
    // Both scenarios look at the directions in the SDP that reaches them.
    caller.assert_success();
    callee.assert_success();
    gateway.assert_alive();
}

/// Fifty calls a second for a minute.
#[test]
fn fifty_calls_a_second_without_a_failed_one() {
    let scene = Scene::new("relay_rate");
    let (mut gateway, carrier, exchange) = between(&scene);
    let media = free_port();
    let mut callee = sipp::Plan::new(&scene, "callee", "uas")
        .port(exchange)
        .rtp(media)
        .calls(3_000, 50)
        .quiet()
        .counting()
        .listen();
    let mut caller = sipp::Plan::new(&scene, "caller", "uac")
        .port(carrier)
        .rtp(media)
        .pause_ms(200)
        .calls(3_000, 50)
        .quiet()
        .counting()
        .call(gateway.sip, "+441234", "+491234");
    caller.assert_success_within(Duration::from_secs(100));
    callee.assert_success_within(Duration::from_secs(10));
    for side in [&caller, &callee] {
        assert_eq!(side.counted("FailedCall(C)"), 0);
        // Nobody had to say anything twice, since nothing was left unanswered for half a second.
        assert_eq!(side.counted("Retransmissions(C)"), 0);
        assert_eq!(side.counted("SuccessfulCall(C)"), 3_000);
    }
    gateway.assert_alive();
}
