//! Signing in by JSON Web Token.

use super::*;
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

fn desk() -> Desk {
    Desk::with(|config| {
        let keys = vec![JwtKey::Secret(SECRET.to_vec())];
        config.jwt = Some(Jwt { keys, audience: Some("phone".into()), issuer: None });
    })
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
        config.jwt = Some(Jwt { keys: vec![JwtKey::Secret(SECRET.to_vec())], audience: None, issuer: None });
    });
    let away = (0..50).map(|n| format!("user{n}"));
    let away = away.into_iter().find(|name| Account::from(name.as_str()).home(4) != ShardId(0)).unwrap();
    let claims = json!({"sub": away, "exp": 300});
    landing.text(flow(1), &connect(&token(&claims, b"not even right")).to_string());
    assert!(matches!(landing.next(), Output::Move { .. }));
}
