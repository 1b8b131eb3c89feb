//! Sessions of browsers: without WebSocket, across a line that is cut, in several tabs, and by token; judged by what is
//! heard.

use super::browser::Browser;
use super::gateway::{Gateway, Plan};
use super::kamailio::Kamailio;
use super::phone::Phone;
use super::scene::{Scene, free_port, until_within};
use super::sipp::{self, Sipp};
use super::token::{Issuer, from_now, unsigned};
use super::tunnel::Tunnel;
use serde_json::{Value, json};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

/// What browsers' microphones hear.
const WEB: f32 = 1_000.0;
const OTHER_WEB: f32 = 1_400.0;
/// What the SIP side plays.
const SIP: f32 = 600.0;
/// How long a connection is cut.
const CUT: Duration = Duration::from_secs(20);
/// Until the SDK tries a WebSocket again, twice.
const CLIMB: Duration = Duration::from_secs(130);
/// The shared secret of tokens.
const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A gateway whose users are registered at Kamailio, which sends numbers that begin with 9 to `peer`.
struct Site {
    gateway: Gateway,
    kamailio: Kamailio,
    scene: Scene,
    peer: u16,
}

impl Site {
    fn new(test: &str) -> Site {
        let scene = Scene::new(test);
        let peer = free_port();
        let kamailio = Kamailio::start(&scene, peer);
        let plan = Plan::new(&scene).trunk("kamailio", kamailio.port, "test.local");
        let gateway = plan.registered("alice", "kamailio").start();
        Site { gateway, kamailio, scene, peer }
    }

    /// A tab of alice's.
    fn tab(&self, name: &str, hz: f32) -> Browser {
        let mut tab = Browser::start(&self.scene, name, hz);
        tab.open(&self.gateway.url("/"));
        tab.register("alice");
        tab
    }

    /// Somebody at this phone calls alice through Kamailio.
    fn calls_alice(&self, name: &str, phone: &Phone) -> Sipp {
        let plan = sipp::Plan::new(&self.scene, name, "uac-waits").port(self.peer).rtp(phone.port);
        plan.call(SocketAddr::from((Ipv4Addr::LOCALHOST, self.kamailio.port)), "9100", "alice")
    }
}

#[test]
fn everything_goes_by_long_poll_alone_and_a_call_climbs_back_to_websocket() {
    let mut site = Site::new("session_poll");
    let tunnel = Tunnel::to(site.gateway.http);
    tunnel.let_websocket_through(false);
    let mut alice = Browser::start(&site.scene, "alice", WEB);
    alice.open(&tunnel.url("/"));
    alice.register("alice");
    site.kamailio.registered("alice");
    assert_eq!(alice.line(), ("poll".into(), "connected".into()));

    // Out, with keys.
    let phone = Phone::new(SIP);
    let mut callee = sipp::Plan::new(&site.scene, "callee", "uas").port(site.peer).rtp(phone.port).listen();
    alice.dial("9100");
    phone.call(callee.far_media("INVITE"));
    alice.reaches("ringing");
    alice.await_answer();
    alice.assert_hears(SIP);
    phone.assert_hears("the called phone", WEB);
    alice.dtmf("1470#", &json!({}));
    phone.assert_keys("1470#");
    alice.hangup();
    callee.assert_success();

    // In.
    let phone = Phone::new(SIP);
    let mut caller = site.calls_alice("caller", &phone);
    assert_eq!(alice.incoming(), "9100");
    alice.answer();
    phone.call(caller.far_media("SIP/2.0 200"));
    alice.assert_hears(SIP);
    phone.assert_hears("the calling phone", WEB);
    let (passed, refused) = tunnel.websockets();
    assert!(passed == 0 && refused > 0, "{passed} WebSockets passed, {refused} were refused");

    // A WebSocket gets through: the SDK finds out by itself, and the call does not notice.
    assert_eq!(alice.line().0, "poll");
    tunnel.let_websocket_through(true);
    until_within(CLIMB, "a WebSocket", || (alice.line().0 == "websocket").then_some(()));
    assert_eq!(tunnel.websockets().0, 1);
    alice.assert_hears(SIP);
    phone.assert_hears("the calling phone", WEB);
    alice.hangup();
    caller.assert_success();
    site.gateway.assert_alive();
}

#[test]
fn a_line_that_is_cut_for_twenty_seconds_takes_nothing_from_the_call() {
    let scene = Scene::new("session_cut");
    let phone = Phone::new(SIP);
    let plan = sipp::Plan::new(&scene, "sipp", "uas-tells").rtp(phone.port).pause_ms(9_000);
    let mut callee = plan.listen();
    let plan = Plan::new(&scene).trunk("sipp", callee.port, "").user("alice");
    let mut gateway = plan.route("users", "", "sipp").start();
    let tunnel = Tunnel::to(gateway.http);
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&tunnel.url("/"));
    browser.sign_in("alice");
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    browser.assert_hears(SIP);
    phone.assert_hears("the phone", WEB);
    assert_eq!(callee.received_now("SIP/2.0 200"), None, "it has told nothing yet");

    tunnel.cut();
    let start = Instant::now();
    until_within(CUT, "the loss", || (browser.line().1 == "reconnecting").then_some(()));
    phone.longest_gap();
    browser.assert_hears(SIP);
    phone.assert_hears("the phone", WEB);
    // What the phone tells meanwhile is answered, hold and resume included, and not heard here.
    until_within(CUT, "the phone's hold, and its end", || {
        callee.received_now("SIP/2.0 200").filter(|last| last.contains("CSeq: 4 INVITE"))
    });
    browser.assert_hears(SIP);
    phone.assert_hears("the phone", WEB);
    for event in ["info", "held", "resumed", "ended"] {
        assert_eq!(browser.details(event), Vec::<Value>::new(), "{event} across the cut");
    }
    std::thread::sleep(CUT.saturating_sub(start.elapsed()));
    browser.assert_hears(SIP);

    tunnel.mend();
    until_within(CUT, "the return", || (browser.line().1 == "connected").then_some(()));
    until_within(CUT, "what was missed", || (browser.details("resumed").len() == 1).then_some(()));
    // Whatever would come twice would be here by then.
    browser.assert_hears(SIP);
    phone.assert_hears("the phone", WEB);
    let told: Vec<Value> = browser.details("info").iter().map(|info| info["body"].clone()).collect();
    let told: Vec<&str> = told.iter().filter_map(|body| Some(body.as_str()?.trim())).collect();
    assert_eq!(told, ["first", "second"], "once each, in order");
    assert_eq!((browser.details("held").len(), browser.details("resumed").len()), (1, 1));
    assert_eq!(browser.details("ended"), Vec::<Value>::new());
    assert_eq!(browser.details("closed"), Vec::<Value>::new(), "the session is the same");
    browser.hangup();
    callee.assert_success();
    gateway.assert_alive();
}

#[test]
fn two_tabs_ring_together_and_the_first_answer_wins() {
    let mut site = Site::new("session_tabs");
    let mut tabs = [site.tab("one", WEB), site.tab("two", OTHER_WEB)];
    for (winner, hz) in [(1, OTHER_WEB), (0, WEB)] {
        let phone = Phone::new(SIP);
        let mut caller = site.calls_alice(&format!("caller{winner}"), &phone);
        for tab in &mut tabs {
            assert_eq!(tab.incoming(), "9100");
        }
        tabs[winner].answer();
        assert_eq!(tabs[1 - winner].await_end(), ("answered_elsewhere".into(), 0));
        phone.call(caller.far_media("SIP/2.0 200"));
        tabs[winner].assert_hears(SIP);
        phone.assert_hears("the phone", hz);
        tabs[winner].hangup();
        caller.assert_success();
    }
    site.gateway.assert_alive();
}

#[test]
fn a_tab_that_is_busy_leaves_the_call_to_the_other_and_one_that_declines_does_not() {
    let site = Site::new("session_reject");
    let mut tabs = [site.tab("one", WEB), site.tab("two", OTHER_WEB)];
    let phone = Phone::new(SIP);
    let mut caller = site.calls_alice("caller", &phone);
    for tab in &mut tabs {
        assert_eq!(tab.incoming(), "9100");
    }
    tabs[1].reject("busy");
    tabs[0].answer();
    phone.call(caller.far_media("SIP/2.0 200"));
    tabs[0].assert_hears(SIP);
    phone.assert_hears("the phone", WEB);
    tabs[0].hangup();
    caller.assert_success();

    let caller = site.calls_alice("declined", &phone);
    for tab in &mut tabs {
        assert_eq!(tab.incoming(), "9100");
    }
    tabs[1].reject("declined");
    assert_eq!(tabs[0].await_end(), ("declined".into(), 603));
    caller.received("SIP/2.0 603");
}

#[test]
fn a_tab_that_signs_in_while_it_rings_rings_too_and_can_answer() {
    let site = Site::new("session_late");
    let mut first = site.tab("first", WEB);
    let mut late = Browser::start(&site.scene, "late", OTHER_WEB);
    late.open(&site.gateway.url("/"));
    let phone = Phone::new(SIP);
    let mut caller = site.calls_alice("caller", &phone);
    assert_eq!(first.incoming(), "9100");
    late.register("alice");
    assert_eq!(late.incoming(), "9100");
    late.answer();
    assert_eq!(first.await_end(), ("answered_elsewhere".into(), 0));
    phone.call(caller.far_media("SIP/2.0 200"));
    late.assert_hears(SIP);
    phone.assert_hears("the phone", OTHER_WEB);
    late.hangup();
    caller.assert_success();
}

#[test]
fn a_call_that_rings_rings_again_in_the_reloaded_page_and_one_that_was_dialled_is_cancelled() {
    let site = Site::new("session_reload");
    let mut alice = Browser::start(&site.scene, "alice", WEB);
    alice.open(&site.gateway.url("/"));
    alice.register_to_stay("alice");
    let phone = Phone::new(SIP);
    let mut caller = site.calls_alice("caller", &phone);
    assert_eq!(alice.incoming(), "9100");
    alice.reload();
    alice.sign_in_to_stay("alice");
    assert_eq!(alice.incoming(), "9100");
    alice.answer();
    phone.call(caller.far_media("SIP/2.0 200"));
    alice.assert_hears(SIP);
    phone.assert_hears("the phone", WEB);
    alice.hangup();
    caller.assert_success();

    let mut callee = sipp::Plan::new(&site.scene, "cancelled", "uas-cancelled").port(site.peer).listen();
    alice.dial("9100");
    alice.reaches("ringing");
    alice.reload();
    alice.sign_in_to_stay("alice");
    alice.takes_up();
    assert_eq!(alice.await_end(), ("cancelled".into(), 487));
    callee.assert_success();
}

#[test]
fn a_call_on_hold_is_still_so_in_the_reloaded_page_and_is_resumed_there() {
    let scene = Scene::new("session_hold");
    let phone = Phone::new(SIP);
    let mut callee = sipp::Plan::new(&scene, "sipp", "uas-held").rtp(phone.port).listen();
    let plan = Plan::new(&scene).patience(10, 60).trunk("sipp", callee.port, "").user("alice");
    let gateway = plan.route("users", "", "sipp").start();
    let mut browser = Browser::start(&scene, "browser", WEB);
    browser.open(&gateway.url("/"));
    browser.sign_in_to_stay("alice");
    browser.dial("bob");
    phone.call(callee.far_media("INVITE"));
    browser.assert_hears(SIP);
    browser.hold();
    phone.await_silence();
    browser.reload();
    browser.sign_in_to_stay("alice");
    browser.takeover();
    browser.assert_silent();
    browser.resume();
    browser.assert_hears(SIP);
    phone.assert_hears("the phone", WEB);
    browser.hangup();
    callee.assert_success();
}

/// A gateway that takes tokens, a phone that it calls, and how that went for one who has a token.
fn is_heard_by_token(scene: &Scene, name: &str, auth: &str, issuers: &[&Issuer]) {
    let phone = Phone::new(SIP);
    let mut plan = sipp::Plan::new(scene, name, "uas").rtp(phone.port);
    if issuers.len() > 1 {
        plan = plan.calls(issuers.len() as u32, 10);
    }
    let mut callee = plan.listen();
    let plan = Plan::new(scene).auth(auth).trunk("sipp", callee.port, "").user("alice");
    let mut gateway = plan.route("users", "", "sipp").start();
    let mut browser = Browser::start(scene, &format!("{name}-browser"), WEB);
    for issuer in issuers {
        browser.open(&gateway.url("/"));
        refuses_bad_tokens(&mut browser, issuer);
        browser.try_token(&issuer.sign(&good())).expect("a good token");
        let before = phone.packets();
        browser.dial("bob");
        browser.await_answer();
        phone.call(callee.far_media("INVITE"));
        phone.await_packets(before + 30);
        browser.assert_hears(SIP);
        phone.assert_hears("the phone", WEB);
        browser.hangup();
        phone.await_silence();
    }
    callee.assert_success();
    gateway.assert_alive();
}

fn good() -> Value {
    json!({"sub": "carol", "name": "Carol C.", "aud": ["mail", "phone"], "exp": from_now(300), "nbf": from_now(-5)})
}

fn refuses_bad_tokens(browser: &mut Browser, issuer: &Issuer) {
    let with = |key: &str, value: Value| {
        let mut claims = good();
        claims[key] = value;
        issuer.sign(&claims)
    };
    let token = issuer.sign(&good());
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let other = match issuer {
        Issuer::Hs256(_) => Issuer::hs256("another secret, as long as the right one"),
        Issuer::Es256(_) => Issuer::es256().0,
        Issuer::Rs256(_) => Issuer::rs256().0,
    };
    let mallory = unsigned(issuer.name(), &json!({"sub": "alice", "aud": "phone", "exp": from_now(300)}));
    for (what, token, reason) in [
        ("expired", with("exp", json!(from_now(-120))), "expired"),
        ("without an end", with("exp", Value::Null), "expired"),
        ("not yet valid", with("nbf", json!(from_now(120))), "not_yet"),
        ("for somebody else", with("aud", json!("mail")), "audience"),
        ("of another key", other.sign(&good()), "signature"),
        ("with other claims", format!("{mallory}.{signature}"), "signature"),
        ("with half a signature", format!("{signed}.{}", &signature[..40]), "signature"),
        ("unsigned", format!("{}.", unsigned("none", &good())), "algorithm"),
        ("no token", "nonsense".to_owned(), "malformed"),
    ] {
        let failure = browser.try_token(&token).expect_err(what);
        let said = (failure.name.as_str(), failure.code, failure.reason.as_str());
        assert_eq!(said, ("unauthorized", 401, reason), "{} {what}", issuer.name());
    }
}

#[test]
fn tokens_of_a_secret_and_of_an_elliptic_key_sign_in_and_call_and_bad_ones_are_refused() {
    let scene = Scene::new("session_token");
    let (elliptic, key) = Issuer::es256();
    scene.write("token.pem", key);
    // The key's file is named as it lies: beside the configuration.
    let auth = format!("jwt_secret = \"{SECRET}\"\njwt_public_key = \"token.pem\"\naudience = \"phone\"\n");
    is_heard_by_token(&scene, "sipp", &auth, &[&Issuer::hs256(SECRET), &elliptic]);
}

#[test]
fn tokens_of_an_rsa_key_sign_in_and_call_and_bad_ones_are_refused() {
    let scene = Scene::new("session_rsa");
    let (rsa, key) = Issuer::rs256();
    scene.write("token.pem", key);
    let auth = "jwt_public_key = \"token.pem\"\naudience = \"phone\"\n";
    is_heard_by_token(&scene, "sipp", auth, &[&rsa]);
}

/// Neither is a user of the configuration: who they are at Kamailio comes with their tokens.
#[test]
fn users_whose_tokens_say_who_they_are_register_at_kamailio_and_call_each_other() {
    let scene = Scene::new("session_identity");
    let kamailio = Kamailio::start(&scene, free_port());
    let auth = format!("jwt_secret = \"{SECRET}\"\ntrunks = [\"kamailio\"]\n");
    let plan = Plan::new(&scene).auth(&auth).trunk("other", free_port(), "");
    let plan = plan.trunk("kamailio", kamailio.port, "test.local");
    let mut gateway = plan.secret("pool", "kamailio", "alicepw").start();
    let issuer = Issuer::hs256(SECRET);
    let token = |sub: &str, more: Value| {
        let mut claims = json!({"sub": sub, "exp": from_now(300)});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        issuer.sign(&claims)
    };
    let mut alice = Browser::start(&scene, "alice", 700.0);
    let mut bob = Browser::start(&scene, "bob", 1_200.0);
    alice.open(&gateway.url("/"));
    bob.open(&gateway.url("/"));
    // A trunk that is there, and not open to tokens; and a secret that is nowhere.
    for (claims, reason) in [
        (json!({"trunk": "other"}), "trunk"),
        (json!({"trunk": "kamailio", "sip_secret": "spool"}), "secret"),
    ] {
        let failure = alice.try_token(&token("u-1", claims)).unwrap_err();
        assert_eq!((failure.name.as_str(), failure.reason.as_str()), ("unauthorized", reason));
    }
    // Hers refers to a secret of the configuration.
    let claims =
        json!({"trunk": "kamailio", "sip_user": "alice", "sip_username": "alice", "sip_secret": "pool"});
    alice.register_by_token(&token("u-1", claims), None).expect("registered");
    kamailio.registered("alice");
    // He must know his himself.
    let his = token("u-2", json!({"trunk": "kamailio", "sip_user": "bob"}));
    assert_eq!(bob.register_by_token(&his, None).unwrap_err().name, "bad_request");
    bob.sign_out();
    assert_eq!(bob.register_by_token(&his, Some("wrong")).unwrap_err().name, "forbidden");
    bob.sign_out();
    bob.register_by_token(&his, Some("bobpw")).expect("registered");
    kamailio.registered("bob");

    for turn in 0..2 {
        let (caller, callee, names) = match turn {
            0 => (&mut alice, &mut bob, ("alice", "bob")),
            _ => (&mut bob, &mut alice, ("bob", "alice")),
        };
        caller.dial(names.1);
        assert_eq!(callee.incoming(), names.0, "known by the name there");
        callee.answer();
        caller.await_answer();
        caller.assert_hears(if turn == 0 { 1_200.0 } else { 700.0 });
        callee.assert_hears(if turn == 0 { 700.0 } else { 1_200.0 });
        caller.hangup();
        assert_eq!(callee.await_end(), ("hangup".into(), 0));
    }
    alice.sign_out();
    kamailio.logs("registered alice expires 0");
    gateway.assert_alive();
}
