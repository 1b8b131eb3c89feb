//! Signing in by JSON Web Token.

use super::*;
use crate::leg::{Identity, Secret, TrunkId};
use crate::signal::{Jwt, JwtKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn token(claims: &Value, secret: &[u8]) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(&json!({"alg": "HS256", "typ": "JWT"})), part(claims));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
}

fn jwt() -> Jwt {
    let keys = vec![JwtKey::Secret(SECRET.to_vec())];
    let trunks = [("pbx".to_owned(), TrunkId(3))].into_iter().collect();
    let secrets = [("pool".to_owned(), (TrunkId(3), Secret("hush".into())))].into_iter().collect();
    Jwt { keys, audience: Some("phone".into()), issuer: None, trunks, secrets }
}

fn desk() -> Desk {
    Desk::with(|config| config.jwt = Some(jwt()))
}

fn connect(token: &str) -> Value {
    json!({"type": "connect", "id": 1, "version": 1, "token": token})
}

#[test]
fn a_token_signs_in_who_has_no_password_here() {
    let mut desk = desk();
    let claims = json!({"sub": "carol", "name": "Carol C.", "aud": "phone", "exp": 300});
    let ok = desk.does(flow(1), &connect(&token(&claims, SECRET)));
    assert_eq!(ok["user"], "carol");
    desk.does(flow(1), &json!({"type": "dial", "id": 2, "call": "a", "to": "echo", "sdp": OFFER}));
    let Event::Incoming(incoming) = desk.event() else { panic!() };
    assert_eq!((incoming.caller.user.as_str(), incoming.caller.display.as_str()), ("carol", "Carol C."));
}

#[test]
fn a_refused_token_says_why() {
    let mut desk = desk();
    desk.now = Now { unix: Duration::from_secs(1000), ..desk.now };
    let good = json!({"sub": "carol", "aud": "phone", "exp": 2000});
    let expired = json!({"sub": "carol", "aud": "phone", "exp": 900});
    let elsewhere = json!({"sub": "carol", "aud": "other", "exp": 2000});
    for (token, reason) in [
        (token(&expired, SECRET), "expired"),
        (token(&elsewhere, SECRET), "audience"),
        (token(&good, b"forged"), "signature"),
        ("x".to_owned(), "malformed"),
    ] {
        let error = desk.ask(flow(1), &connect(&token));
        assert_eq!((&error["error"], &error["reason"]), (&json!("unauthorized"), &json!(reason)));
    }
    assert_eq!(desk.hub.counters().bad_tokens, 4);
    let mut plain = Desk::new();
    let error = plain.ask(flow(1), &connect(&token(&good, SECRET)));
    assert_eq!(error["reason"], "not_configured");
}

#[test]
fn a_token_is_checked_at_home() {
    let mut landing = Desk::on(ShardId(0), 4, |config| {
        config.jwt = Some(jwt());
    });
    let away = (0..50).map(|n| format!("user{n}"));
    let away = away.into_iter().find(|name| Account::from(name.as_str()).home(4) != ShardId(0)).unwrap();
    let claims = json!({"sub": away, "exp": 300});
    landing.text(flow(1), &connect(&token(&claims, b"not even right")).to_string());
    assert!(matches!(landing.next(), Output::Move { .. }));
}

/// A desk at which carol has signed in with these claims beside the usual ones; the answer.
fn carol(desk: &mut Desk, slot: u32, more: &Value) -> Value {
    let mut claims = json!({"sub": "carol", "aud": "phone", "exp": 300});
    for (key, value) in more.as_object().unwrap() {
        claims[key] = value.clone();
    }
    desk.quiet();
    desk.text(flow(slot), &connect(&token(&claims, SECRET)).to_string());
    desk.sent().1
}

fn registers(desk: &mut Desk) -> Arc<Identity> {
    match desk.next() {
        Output::Register(account, Some(identity)) if account.name() == "carol" => identity,
        other => panic!("{other:?}"),
    }
}

fn identity(user: &str, auth_user: &str, secret: &str) -> Identity {
    let (user, auth_user) = (user.to_owned(), auth_user.to_owned());
    Identity { trunk: TrunkId(3), user, auth_user, secret: Some(Secret(secret.into())) }
}

#[test]
fn a_token_gives_its_bearer_a_sip_identity_and_refers_to_the_secret() {
    let mut desk = desk();
    let claims = json!({"trunk": "pbx", "sip_user": "4711", "sip_username": "c4711", "sip_secret": "pool"});
    assert_eq!(carol(&mut desk, 1, &claims)["type"], "ok");
    desk.does(flow(1), &json!({"type": "register", "id": 2}));
    assert_eq!(*registers(&mut desk), identity("4711", "c4711", "hush"));
    // Her calls go there as well, with the same.
    desk.does(flow(1), &json!({"type": "dial", "id": 3, "call": "a", "to": "echo", "sdp": OFFER}));
    let Event::Incoming(incoming) = desk.event() else { panic!() };
    assert_eq!(incoming.identity.as_deref(), Some(&identity("4711", "c4711", "hush")));
    assert!(!format!("{incoming:?}").contains("hush"), "a secret is never shown");
}

#[test]
fn what_a_token_leaves_out_is_the_subject() {
    let mut desk = desk();
    assert_eq!(carol(&mut desk, 1, &json!({"trunk": "pbx", "sip_secret": "pool"}))["type"], "ok");
    desk.does(flow(1), &json!({"type": "register", "id": 2}));
    assert_eq!(*registers(&mut desk), identity("carol", "carol", "hush"));
}

#[test]
fn a_password_that_no_token_refers_to_is_told_with_register_and_shared_by_the_tabs() {
    let mut desk = desk();
    let claims = json!({"trunk": "pbx", "sip_user": "4711"});
    carol(&mut desk, 1, &claims);
    carol(&mut desk, 2, &claims);
    let register = |password: &Value| json!({"type": "register", "id": 2, "password": password});
    assert_eq!(desk.fails(flow(1), &json!({"type": "register", "id": 2})), "bad_request");
    for wrong in [json!(""), json!("a\r\nb"), json!("x".repeat(257))] {
        assert_eq!(desk.fails(flow(1), &register(&wrong)), "bad_request", "{wrong}");
    }
    desk.does(flow(1), &register(&json!("hush")));
    assert_eq!(*registers(&mut desk), identity("4711", "4711", "hush"));
    // Another tab has it now, and so has one that signs in later.
    desk.does(flow(2), &json!({"type": "register", "id": 3}));
    desk.quiet();
    carol(&mut desk, 3, &claims);
    desk.does(flow(3), &json!({"type": "dial", "id": 3, "call": "a", "to": "echo", "sdp": OFFER}));
    let Event::Incoming(incoming) = desk.event() else { panic!() };
    assert_eq!(incoming.identity.as_deref(), Some(&identity("4711", "4711", "hush")));
    // A wrong one is mended by telling another.
    desk.does(flow(2), &register(&json!("hush2")));
    assert_eq!(*registers(&mut desk), identity("4711", "4711", "hush2"));
}

#[test]
fn an_identity_is_refused_by_name_and_opens_no_session() {
    let mut desk = desk();
    for (claims, reason) in [
        (json!({"trunk": "carrier"}), "trunk"),
        (json!({"trunk": ""}), "trunk"),
        (json!({"sip_user": "4711"}), "trunk"),
        (json!({"sip_secret": "pool"}), "trunk"),
        (json!({"trunk": "pbx", "sip_user": "a b"}), "sip_user"),
        (json!({"trunk": "pbx", "sip_user": ""}), "sip_user"),
        (json!({"trunk": "pbx", "sip_username": "a\"b"}), "sip_user"),
        (json!({"trunk": "pbx", "sip_secret": "another"}), "secret"),
    ] {
        let error = carol(&mut desk, 1, &claims);
        assert_eq!((&error["error"], &error["reason"]), (&json!("unauthorized"), &json!(reason)), "{claims}");
        desk.input(Input::Closed { flow: flow(1) });
        desk.out.clear();
    }
    assert_eq!((desk.hub.sessions(), desk.hub.counters().bad_tokens), (0, 8));
}

#[test]
fn one_user_has_one_identity_at_a_time() {
    let mut desk = desk();
    let one = json!({"trunk": "pbx", "sip_user": "4711", "sip_secret": "pool"});
    assert_eq!(carol(&mut desk, 1, &one)["type"], "ok");
    for other in [json!({"trunk": "pbx", "sip_user": "4712"}), json!({"trunk": "pbx"}), json!({})] {
        assert_eq!(carol(&mut desk, 2, &other)["reason"], "identity", "{other}");
        desk.input(Input::Closed { flow: flow(2) });
    }
    desk.does(flow(1), &json!({"type": "disconnect", "id": 2}));
    desk.out.clear();
    assert_eq!(carol(&mut desk, 3, &json!({"trunk": "pbx", "sip_user": "4712"}))["type"], "ok");
}

#[test]
fn a_user_of_the_configuration_is_what_it_says_whatever_the_token_does() {
    let mut desk = desk();
    let told = [(1, json!({"trunk": "pbx", "sip_user": "boss"})), (2, json!({"trunk": "carrier"}))];
    for (slot, mut claims) in told {
        let flow = flow(slot);
        (claims["sub"], claims["aud"], claims["exp"]) = (json!("alice"), json!("phone"), json!(300));
        desk.does(flow, &connect(&token(&claims, SECRET)));
        let told = json!({"type": "register", "id": 2, "password": "x"});
        assert_eq!(desk.fails(flow, &told), "bad_request");
        desk.does(flow, &json!({"type": "register", "id": 3}));
        assert!(matches!(desk.next(), Output::Register(account, None) if account.name() == "alice"));
        desk.does(flow, &json!({"type": "disconnect", "id": 4}));
        desk.out.clear();
    }
}
