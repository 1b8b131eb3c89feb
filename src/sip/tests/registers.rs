//! Accounts registered with a scripted registrar.

use super::*;
use crate::leg::{Account, Cause, Identity};
use sip_codec::Name;

fn registration(password: &str) -> Registration {
    Registration {
        account: Account::from("anna@x"),
        trunk: TrunkId(0),
        user: "100".into(),
        auth_user: "100a".into(),
        password: Secret(password.into()),
    }
}

fn asked(net: &mut Net) -> String {
    net.run(Duration::from_millis(100));
    net.take("REGISTER").pop().expect("a REGISTER")
}

fn bound(expires: u32) -> String {
    format!("<sip:u.anna%40x@{A}>;expires={expires}, <sip:other@192.0.2.9>;expires=7000")
}

const CHALLENGE: &str = "Digest realm=\"r\", nonce=\"n\", qop=\"auth\"";

fn registered() -> Net {
    let mut net = Net::scripted(|_| {});
    net.input(0, 0, Input::Register(registration("secret")));
    let first = asked(&mut net);
    net.answer(&first, 401, "t", &[(Name::WwwAuthenticate, CHALLENGE)], None);
    let second = asked(&mut net);
    assert!(header(&second, "Authorization").contains("username=\"100a\""));
    net.answer(&second, 200, "t", &[(Name::Contact, &bound(600))], None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.nodes[0].registered, [(Account::from("anna@x"), Ok(()))]);
    net
}

#[test]
fn registers_with_a_challenge_and_refreshes_in_time() {
    let mut net = registered();
    net.run(seconds(479));
    assert_eq!(net.take("REGISTER").len(), 0);
    for _ in 0..61 {
        net.run(seconds(1));
        if !net.inbox.is_empty() {
            break;
        }
    }
    let refresh = net.take("REGISTER").remove(0);
    assert!(header(&refresh, "Authorization").contains("nc=00000002"));
    assert!(header(&refresh, "Contact").starts_with(&format!("<sip:u.anna%40x@{A}>")), "{refresh}");
    assert_eq!(header(&refresh, "CSeq"), "3 REGISTER");
    assert_eq!(header(&refresh, "To"), "<sip:100@192.0.2.2:5060>");
    net.answer(&refresh, 200, "t", &[(Name::Contact, &bound(600))], None);
    net.run(seconds(1));
    assert_eq!(net.nodes[0].registered.len(), 1);
}

#[test]
fn asks_for_longer_where_the_registrar_says_so() {
    let mut net = Net::scripted(|config| config.registration.expires = seconds(60));
    net.input(0, 0, Input::Register(registration("secret")));
    let first = asked(&mut net);
    net.answer(&first, 423, "t", &[(Name::MinExpires, "1800")], None);
    let second = asked(&mut net);
    assert_eq!(header(&second, "Expires"), "1800");
    net.answer(&second, 423, "t", &[(Name::MinExpires, "1800")], None);
    net.run(seconds(1));
    assert_eq!(net.take("REGISTER").len(), 0, "no loop where the registrar contradicts itself");
    assert!(net.nodes[0].registered[0].1.is_err());
}

#[test]
fn refused_credentials_are_told_and_not_tried_again_for_ten_minutes() {
    let mut net = Net::scripted(|_| {});
    net.input(0, 0, Input::Register(registration("wrong")));
    for _ in 0..2 {
        let request = asked(&mut net);
        net.answer(&request, 401, "t", &[(Name::WwwAuthenticate, CHALLENGE)], None);
    }
    net.run(seconds(599));
    assert_eq!(net.nodes[0].registered, [(Account::from("anna@x"), Err(Reason::new(Cause::Forbidden, 401)))]);
    assert_eq!(net.take("REGISTER").len(), 0);
    net.run(seconds(125));
    assert!(!net.take("REGISTER").is_empty());
}

#[test]
fn a_silent_registrar_is_asked_again_and_again() {
    let mut net = Net::scripted(|_| {});
    net.input(0, 0, Input::Register(registration("secret")));
    net.run(seconds(33));
    assert_eq!(net.nodes[0].registered[0].1, Err(Cause::Unreachable.into()));
    net.take("REGISTER");
    net.run(seconds(37));
    let again = net.take("REGISTER").remove(0);
    net.answer(&again, 200, "t", &[(Name::Contact, &bound(600))], None);
    net.run(seconds(1));
    assert_eq!(net.nodes[0].registered.last().unwrap().1, Ok(()));
}

#[test]
fn a_vanished_binding_is_made_again() {
    let mut net = registered();
    net.run(seconds(541));
    let refresh = net.take("REGISTER").remove(0);
    net.answer(&refresh, 200, "t", &[(Name::Contact, "<sip:other@192.0.2.9>;expires=7000")], None);
    net.run(seconds(37));
    assert!(net.nodes[0].registered.last().unwrap().1.is_err());
    let again = net.take("REGISTER").remove(0);
    net.answer(&again, 200, "t", &[(Name::Contact, &bound(600))], None);
    net.run(seconds(1));
    assert_eq!(net.nodes[0].registered.last().unwrap().1, Ok(()));
}

#[test]
fn unregisters_with_expiry_zero_and_forgets() {
    let mut net = registered();
    net.input(0, 0, Input::Unregister("anna@x".into()));
    let leave = asked(&mut net);
    assert_eq!(header(&leave, "Expires"), "0");
    net.answer(&leave, 401, "t", &[(Name::WwwAuthenticate, CHALLENGE)], None);
    let _ = net.take("REGISTER");
    net.run(seconds(1));
    net.answer(&leave, 200, "t", &[], None);
    net.run(seconds(60));
    assert_eq!(net.stack(0).registered(), 0);
    net.assert_empty();
}

#[test]
fn coming_back_while_leaving_registers_again() {
    let mut net = registered();
    net.input(0, 0, Input::Unregister("anna@x".into()));
    net.input(0, 0, Input::Register(registration("secret")));
    let leave = asked(&mut net);
    net.answer(&leave, 200, "t", &[], None);
    let back = asked(&mut net);
    assert_eq!(header(&back, "Expires"), "3600");
}

#[test]
fn a_further_session_hears_how_it_stands() {
    let mut net = registered();
    net.input(0, 0, Input::Register(registration("secret")));
    assert_eq!(net.nodes[0].registered.len(), 2);
    net.run(seconds(1));
    assert_eq!(net.take("REGISTER").len(), 0);
}

#[test]
fn calls_of_an_account_are_signed_with_its_secret_and_name_its_contact() {
    let mut net = registered();
    net.dial_as(0, Some("anna@x"));
    net.run(seconds(1));
    let invite = net.take("INVITE").remove(0);
    assert_eq!(header(&invite, "Contact"), format!("<sip:u.anna%40x@{A}>"));
    net.answer(&invite, 407, "t", &[(Name::ProxyAuthenticate, CHALLENGE)], None);
    net.run(Duration::from_millis(100));
    assert!(header(&net.take("INVITE")[0], "Proxy-Authorization").contains("username=\"100a\""));
}

#[test]
fn an_account_that_is_known_calls_under_its_own_name_without_being_registered() {
    let mut net = Net::scripted(|config| {
        config.accounts.insert(Account::from("anna@x"), registration("secret"));
    });
    net.dial_as(0, Some("anna@x"));
    net.run(seconds(1));
    assert_eq!(net.take("REGISTER").len(), 0);
    let invite = net.take("INVITE").remove(0);
    assert!(header(&invite, "From").contains("<sip:100@"), "{invite}");
    net.answer(&invite, 407, "t", &[(Name::ProxyAuthenticate, CHALLENGE)], None);
    net.run(Duration::from_millis(100));
    assert!(header(&net.take("INVITE")[0], "Proxy-Authorization").contains("username=\"100a\""));
}

#[test]
fn an_identity_that_came_with_the_sign_in_calls_and_registers_as_itself() {
    let mut net = Net::scripted(|_| {});
    let secret = Some(Secret("secret".into()));
    let told =
        |secret| Identity { trunk: TrunkId(0), user: "4711".into(), auth_user: "c4711".into(), secret };
    net.dial_with(0, Some("carol"), Some(told(secret.clone())));
    net.run(seconds(1));
    let invite = net.take("INVITE").remove(0);
    assert!(header(&invite, "From").contains("<sip:4711@"), "{invite}");
    net.answer(&invite, 407, "t", &[(Name::ProxyAuthenticate, CHALLENGE)], None);
    net.run(Duration::from_millis(100));
    assert!(header(&net.take("INVITE")[0], "Proxy-Authorization").contains("username=\"c4711\""));
    let registration = Registration::of(Account::from("carol"), &told(secret));
    net.input(0, 0, Input::Register(registration));
    let first = asked(&mut net);
    assert!(header(&first, "To").contains("<sip:4711@"), "{first}");
    assert!(header(&first, "Contact").starts_with("<sip:u.carol@"), "{first}");
}

#[test]
fn an_identity_of_another_trunk_is_nobody_here() {
    let mut net = Net::scripted(|_| {});
    let (user, auth_user) = ("4711".to_owned(), "c4711".to_owned());
    let told = Identity { trunk: TrunkId(1), user, auth_user, secret: Some(Secret("secret".into())) };
    net.dial_with(0, Some("carol"), Some(told));
    net.run(seconds(1));
    let invite = net.take("INVITE").remove(0);
    assert!(header(&invite, "From").contains("<sip:alice@"), "{invite}");
    net.answer(&invite, 407, "t", &[(Name::ProxyAuthenticate, CHALLENGE)], None);
    net.run(Duration::from_millis(100));
    assert!(net.take("INVITE").is_empty(), "its secret is not used at this one");
}

#[test]
fn registrations_beyond_the_bound_are_refused() {
    let mut net = Net::scripted(|config| config.caps.registrations = 0);
    net.input(0, 0, Input::Register(registration("secret")));
    assert_eq!(net.nodes[0].registered[0].1, Err(Cause::Overloaded.into()));
    assert_eq!(net.stack(0).counters().full_registrations, 1);
}

#[test]
fn a_registrar_that_is_busy_says_when_to_come_back() {
    let mut net = Net::scripted(|_| {});
    net.input(0, 0, Input::Register(registration("secret")));
    let first = asked(&mut net);
    net.answer(&first, 503, "t", &[(Name::RetryAfter, "200 (busy)")], None);
    net.run(seconds(199));
    assert_eq!(net.take("REGISTER").len(), 0);
    net.run(seconds(2));
    assert!(!net.take("REGISTER").is_empty());
}

#[test]
fn a_new_password_is_tried_at_once_and_the_old_answer_ignored() {
    let mut net = Net::scripted(|_| {});
    net.input(0, 0, Input::Register(registration("old")));
    let old = asked(&mut net);
    net.input(0, 0, Input::Register(registration("new")));
    let new = asked(&mut net);
    assert_eq!(header(&new, "CSeq"), "2 REGISTER");
    net.answer(&old, 403, "t", &[], None);
    net.answer(&new, 200, "t", &[(Name::Contact, &bound(600))], None);
    net.run(seconds(1));
    assert_eq!(net.nodes[0].registered, [(Account::from("anna@x"), Ok(()))]);
}
