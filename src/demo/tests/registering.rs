//! REGISTER and digest: right, wrong, stale, another's, too brief, late.

use super::*;

fn registering(more: &str) -> Ask<'_> {
    Ask { method: "REGISTER", uri: "sip:127.0.0.1:5160", more: more.into(), ..Ask::default() }
}

#[test]
fn registers_with_either_algorithm_and_tells_the_contacts() {
    for algorithm in ["MD5", "SHA-256"] {
        let mut world = World::new();
        let first = world.ask(&registering(""));
        assert_eq!((status(&first[0]), first[0].0), (401, at(ALICE)));
        assert!(
            first[0].1.find("algorithm=SHA-256") < first[0].1.find("algorithm=MD5"),
            "the better one first"
        );
        let answer = world.ask_signed(registering("Expires: 600\r\n"), algorithm);
        assert_eq!(status(&answer[0]), 200);
        assert_eq!(header(&answer[0].1, "Contact"), "<sip:alice@127.0.0.1:6001>;expires=600");
        assert_eq!(world.server.counters().registered, 1);
    }
}

#[test]
fn a_wrong_password_an_unknown_user_and_anothers_name_are_forbidden() {
    let mut world = World::new();
    let challenged = world.ask(&registering(""));
    let wrong = credentials(&challenged[0].1, &registering(""), "MD5", "guess");
    assert_eq!(status(&world.ask(&registering(&wrong))[0]), 403);
    let mallory = credentials(&challenged[0].1, &Ask { from: "mallory", ..registering("") }, "MD5", "");
    assert_eq!(status(&world.ask(&registering(&mallory))[0]), 403);
    // Bob's credentials are right, but the address is alice's.
    let bob = credentials(&challenged[0].1, &Ask { from: "bob", ..registering("") }, "MD5", "secret of bob");
    assert_eq!(status(&world.ask(&registering(&bob))[0]), 403);
    assert_eq!((world.server.counters().forbidden, world.server.counters().registered), (3, 0));
}

#[test]
fn an_old_nonce_is_stale_and_a_forged_one_is_challenged() {
    let mut world = World::new();
    let challenged = world.ask(&registering(""));
    let good = credentials(&challenged[0].1, &registering(""), "SHA-256", "secret of alice");
    world.run(Duration::from_secs(301));
    let again = world.ask(&registering(&good));
    assert_eq!(status(&again[0]), 401);
    assert!(again[0].1.contains("stale=true"));
    let fresh = credentials(&again[0].1, &registering(""), "SHA-256", "secret of alice");
    assert_eq!(status(&world.ask(&registering(&fresh))[0]), 200);
    let forged = fresh.replace("nonce=\"", "nonce=\"0");
    assert_eq!(status(&world.ask(&registering(&forged))[0]), 401);
}

#[test]
fn credentials_are_good_for_their_request_only() {
    let mut world = World::new();
    let challenged = world.ask(&registering(""));
    let other = Ask { uri: "sip:elsewhere@127.0.0.1", ..registering("") };
    let theirs = credentials(&challenged[0].1, &other, "MD5", "secret of alice");
    assert_eq!(status(&world.ask(&registering(&theirs))[0]), 403);
}

#[test]
fn too_brief_is_refused_with_the_least_and_long_is_cut() {
    let mut world = World::new();
    let brief = world.ask_signed(registering("Expires: 5\r\n"), "MD5");
    assert_eq!((status(&brief[0]), header(&brief[0].1, "Min-Expires")), (423, "30"));
    let long = world.ask_signed(Ask { cseq: 5, ..registering("Expires: 86400\r\n") }, "MD5");
    assert!(header(&long[0].1, "Contact").ends_with("expires=3600"));
}

#[test]
fn unregisters_one_contact_or_all_and_lets_them_expire() {
    let mut world = World::new();
    let gone = |world: &mut World| {
        let query = Ask { cseq: 90, ..registering("") };
        let text = |more: &str| Ask { more: more.into(), ..Ask { cseq: 91, ..registering("") } }.text();
        let challenged = world.ask(&query);
        let more = credentials(&challenged[0].1, &query, "MD5", "secret of alice");
        let bare = text(&more).replace("Contact: <sip:alice@127.0.0.1:6001>\r\n", "");
        !world.send(ALICE, &bare)[0].1.contains("Contact")
    };
    for more in ["Expires: 0\r\n", "star"] {
        world.register("alice");
        assert!(!gone(&mut world));
        let ask = Ask { cseq: 20, ..registering(if more == "star" { "Expires: 0\r\n" } else { more }) };
        let challenged = world.ask(&ask);
        let signed = credentials(&challenged[0].1, &ask, "MD5", "secret of alice");
        let mut text = Ask { more: ask.more.clone() + &signed, ..ask }.text();
        if more == "star" {
            text = text.replace("<sip:alice@127.0.0.1:6001>", "*");
        }
        assert_eq!(status(&world.send(ALICE, &text)[0]), 200);
        assert!(gone(&mut world));
    }
    world.register("alice");
    world.run(Duration::from_secs(3_601));
    assert!(gone(&mut world));
}

#[test]
fn an_older_register_of_the_same_device_is_late() {
    let mut world = World::new();
    world.ask_signed(Ask { cseq: 10, ..registering("") }, "MD5");
    assert_eq!(status(&world.ask_signed(Ask { cseq: 4, ..registering("") }, "MD5")[0]), 500);
}

#[test]
fn malformed_messages_are_answered_or_counted() {
    let mut world = World::new();
    for junk in ["hello", "INVITE\r\n\r\n", "SIP/2.0 200 OK\r\n\r\n", "\0\u{1}\u{2}"] {
        assert!(world.send(ALICE, junk).is_empty());
    }
    assert_eq!(world.server.counters().malformed, 4);
    assert!(world.send(ALICE, "\r\n\r\n").is_empty());
    assert_eq!(world.server.counters().malformed, 4, "a keep-alive is no fault");
    let no_cseq = Ask::default().text().replace("CSeq: 1 INVITE", "CSeq: x");
    assert_eq!(status(&world.send(ALICE, &no_cseq)[0]), 400);
    let ack = Ask { method: "ACK", ..Ask::default() }.text().replace("CSeq: 1 ACK", "CSeq: x");
    assert!(world.send(ALICE, &ack).is_empty(), "an ACK is never answered");
    let sips = Ask { uri: "gopher:x", method: "OPTIONS", ..Ask::default() };
    assert_eq!(status(&world.ask(&sips)[0]), 416);
}

#[test]
fn mutated_messages_never_panic() {
    let mut world = World::new();
    world.register("bob");
    let mut random = Random::from_number(4);
    let seeds = [
        Ask::default().text(),
        Ask { method: "CANCEL", uri: "sip:bob@x", ..Ask::default() }.text(),
        registering("").text(),
    ];
    for n in 0..30_000 {
        let mut bytes = seeds[n % 3].clone().into_bytes();
        for _ in 0..=random.below(4) {
            let at = random.below(bytes.len() as u64) as usize;
            bytes[at] = random.u32() as u8;
        }
        world.server.handle_input(world.now, Input::Sip { from: at(ALICE), data: &bytes });
        while world.server.poll_output().is_some() {}
    }
    world.server.check_invariants();
}

#[test]
fn options_tells_what_it_can() {
    let mut world = World::new();
    let answer = world.ask(&Ask { method: "OPTIONS", uri: "sip:127.0.0.1:5160", ..Ask::default() });
    assert_eq!(status(&answer[0]), 200);
    assert!(header(&answer[0].1, "Allow").contains("REGISTER"));
    assert_eq!(status(&world.ask(&Ask { method: "SUBSCRIBE", ..Ask::default() })[0]), 405);
}
