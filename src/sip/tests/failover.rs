//! Several servers of one trunk: silent, refusing, dead, and back.

use super::*;
use crate::leg::{Account, Cause};
use sip_codec::Name;

const C: &str = "192.0.2.3:5060";
const D: &str = "192.0.2.4:5060";

/// A gateway whose trunk has servers at B, then C, then D.
fn net(change: impl FnOnce(&mut Config)) -> Net {
    Net::scripted(|config| {
        config.trunks[0].domain = "trunk.example".into();
        change(config);
        let config = &mut config.trunks[0];
        config.entries = [B, C, D].map(|address| Entry::of(&Hop::udp(at(address)))).to_vec();
        config.entries[1].standby = true;
        config.entries[2].standby = true;
    })
}

/// The servers as the scout would tell them: in this order, and whether each is up.
fn tell(net: &mut Net, servers: &[(&str, bool)]) {
    let server = |(n, (address, up)): (usize, &(&str, bool))| {
        let server = Server::new(Hop::udp(at(address)));
        Server { rank: n as u32, group: n as u16, up: *up, ..server }
    };
    let servers = servers.iter().enumerate().map(server).collect();
    net.input(0, 0, Input::Servers { trunk: TrunkId(0), servers });
}

fn ordered(change: impl FnOnce(&mut Config)) -> Net {
    let mut net = net(change);
    tell(&mut net, &[(B, true), (C, true), (D, true)]);
    net
}

const CONTACT: &[(Name<'static>, &str)] = &[(Name::Contact, "<sip:bob@192.0.2.3:5060>")];

#[test]
fn a_silent_server_s_call_goes_on_to_the_next_as_the_same_request_with_another_branch() {
    let mut net = ordered(|_| {});
    net.dial(0);
    net.run(seconds(3));
    let (first, second) = (net.take_at(B, "INVITE").remove(0), net.take_at(C, "INVITE").remove(0));
    for name in ["From", "To", "Call-ID", "CSeq", "Contact", "Max-Forwards"] {
        assert_eq!(header(&first, name), header(&second, name), "{name}");
    }
    assert_eq!(first.lines().next(), second.lines().next());
    assert_ne!(header(&first, "Via"), header(&second, "Via"));
    assert_eq!(net.nodes[0].suspects, [(at(B), None)]);
    net.answer_from(C, &second, 200, "c1", CONTACT, Some(&sdp_text(2)));
    net.run(Duration::from_millis(100));
    assert_eq!(net.names(0), ["Answered fork 0"]);
    assert_eq!((net.take_at(C, "ACK").len(), net.take_at(B, "ACK").len()), (1, 0));
    assert_eq!(net.stack(0).counters().failovers, 1);
    net.run(seconds(20));
    assert_eq!(net.take_at(B, "INVITE").len(), 0, "it rings nobody when it comes back");
}

#[test]
fn what_the_silent_server_says_too_late_is_cancelled_or_ended() {
    let mut net = ordered(|_| {});
    let leg = net.dial(0);
    net.run(seconds(3));
    let (first, second) = (net.take_at(B, "INVITE").remove(0), net.take_at(C, "INVITE").remove(0));
    let contact = [(Name::Contact, "<sip:late@192.0.2.2:5060>")];
    for _ in 0..2 {
        net.answer_from(B, &first, 180, "b1", &contact, None);
        net.run(Duration::from_millis(100));
    }
    let cancels = net.take_at(B, "CANCEL");
    assert_eq!(header(&cancels[0], "Via"), header(&first, "Via"));
    assert!(cancels.iter().all(|cancel| header(cancel, "CSeq") == "1 CANCEL"));
    assert_eq!(net.names(0).len(), 0, "the caller hears nothing of it");
    net.answer_from(C, &second, 200, "c1", CONTACT, Some(&sdp_text(2)));
    net.answer_from(B, &first, 200, "b1", &contact, Some(&sdp_text(3)));
    net.run(Duration::from_millis(100));
    assert_eq!((net.take_at(B, "ACK").len(), net.take_at(C, "ACK").len()), (1, 1));
    let bye = net.take_at(B, "BYE").remove(0);
    net.answer_from(B, &bye, 200, "b1", &[], None);
    assert_eq!(net.names(0), ["Answered fork 0"]);
    net.command(0, end(leg));
    net.run(Duration::from_millis(100));
    let bye = net.take_at(C, "BYE").remove(0);
    net.answer_from(C, &bye, 200, "c1", &[], None);
    net.run(seconds(100));
    net.assert_empty();
}

#[test]
fn a_late_refusal_of_the_silent_server_changes_nothing() {
    let mut net = ordered(|_| {});
    net.dial(0);
    net.run(seconds(3));
    let (first, second) = (net.take_at(B, "INVITE").remove(0), net.take_at(C, "INVITE").remove(0));
    net.answer_from(B, &first, 486, "b1", &[], None);
    net.answer_from(C, &second, 180, "c1", CONTACT, None);
    net.run(seconds(1));
    assert_eq!((net.take_at(B, "ACK").len(), net.names(0)), (1, vec!["Progress 180 fork 0".to_owned()]));
}

#[test]
fn every_way_to_find_nobody_goes_on_to_the_next_server_and_the_last_ends_the_call() {
    let mut net = ordered(|_| {});
    net.dial(0);
    net.run(Duration::from_millis(50));
    // Refused by ICMP: at once.
    let first = net.take_at(B, "INVITE").remove(0);
    net.input(0, 0, Input::Refused { quoted: first.as_bytes() });
    net.run(Duration::from_millis(50));
    // 503 with a wish to be left alone.
    let second = net.take_at(C, "INVITE").remove(0);
    net.answer_from(C, &second, 503, "c", &[(Name::RetryAfter, "7")], None);
    net.run(Duration::from_millis(50));
    assert_eq!(net.take_at(C, "ACK").len(), 1);
    assert_eq!(net.nodes[0].suspects, [(at(B), None), (at(C), Some(seconds(7)))]);
    // And no route to the last.
    assert_eq!(net.take_at(D, "INVITE").len(), 1);
    let flow =
        Flow { id: Key::new(ShardId(0), 0, 0), transport: Transport::Udp, remote: at(D), realm: RealmId(0) };
    net.input(0, 0, Input::Failed { flow });
    assert_eq!(net.names(0), ["Ended unreachable 503"]);
    assert_eq!(net.nodes[0].suspects.len(), 3);
}

#[test]
fn a_503_without_a_wish_is_no_reason_to_avoid_the_server_for_other_calls() {
    let mut net = ordered(|_| {});
    for _ in 0..2 {
        net.dial(0);
        net.run(Duration::from_millis(50));
        let invite = net.take_at(B, "INVITE").remove(0);
        net.answer_from(B, &invite, 503, "b", &[], None);
        net.run(Duration::from_millis(50));
        assert_eq!(net.take_at(C, "INVITE").len(), 1);
    }
    assert_eq!(net.nodes[0].suspects, []);
}

#[test]
fn the_last_server_s_503_is_the_call_s_own() {
    let mut net = ordered(|_| {});
    tell(&mut net, &[(B, true)]);
    net.dial(0);
    net.run(Duration::from_millis(50));
    let invite = net.take_at(B, "INVITE").remove(0);
    net.answer_from(B, &invite, 503, "b", &[], None);
    net.run(Duration::from_millis(50));
    assert_eq!(net.names(0), ["Ended unreachable 503"]);
}

#[test]
fn refusals_of_users_and_of_calls_that_ring_stay_where_they_are() {
    for (ring, code) in
        [(None, 486), (None, 404), (None, 500), (None, 603), (Some(180), 503), (Some(183), 503)]
    {
        let mut net = ordered(|_| {});
        net.dial(0);
        net.run(Duration::from_millis(50));
        let invite = net.take_at(B, "INVITE").remove(0);
        if let Some(ring) = ring {
            net.answer_from(B, &invite, ring, "b", CONTACT, None);
            net.run(Duration::from_millis(50));
        }
        net.answer_from(B, &invite, code, "b", &[], None);
        net.run(seconds(3));
        assert_eq!(net.take_at(C, "INVITE").len(), 0, "{code}");
        assert!(net.heard(0, "Ended"), "{code}");
    }
}

#[test]
fn a_server_that_says_100_has_the_call_and_its_503_after_that_still_moves_it() {
    let mut net = ordered(|_| {});
    net.dial(0);
    net.run(Duration::from_millis(50));
    let invite = net.take_at(B, "INVITE").remove(0);
    net.answer_from(B, &invite, 100, "", &[], None);
    net.run(seconds(10));
    assert_eq!(net.take_at(C, "INVITE").len(), 0, "it is at work");
    net.answer_from(B, &invite, 503, "b", &[], None);
    net.run(Duration::from_millis(50));
    assert_eq!(net.take_at(C, "INVITE").len(), 1);
    assert_eq!(net.nodes[0].suspects, []);
}

#[test]
fn who_hangs_up_meanwhile_is_not_called_by_another_server() {
    let mut net = ordered(|_| {});
    let leg = net.dial(0);
    net.run(seconds(1));
    net.command(0, end(leg));
    net.run(seconds(5));
    assert_eq!(net.take_at(C, "INVITE").len(), 0);
    net.run(seconds(60));
    net.assert_empty();
}

#[test]
fn each_server_may_challenge_anew() {
    let challenge = |nonce: &str| format!("Digest realm=\"r\", nonce=\"{nonce}\", qop=\"auth\"");
    let mut net = ordered(|config| {
        let password = Secret("secret".into());
        config.trunks[0].credentials = Some(Credentials { user: "alice".into(), password });
    });
    net.dial(0);
    net.run(Duration::from_millis(50));
    let invite = net.take_at(B, "INVITE").remove(0);
    net.answer_from(B, &invite, 401, "b", &[(Name::WwwAuthenticate, &challenge("one"))], None);
    net.run(seconds(3));
    let second = net.take_at(C, "INVITE").remove(0);
    assert_eq!(header(&second, "CSeq"), "2 INVITE");
    net.answer_from(C, &second, 401, "c", &[(Name::WwwAuthenticate, &challenge("two"))], None);
    net.run(Duration::from_millis(50));
    let third = net.take_at(C, "INVITE").remove(0);
    assert!(header(&third, "Authorization").contains("nonce=\"two\""));
    assert_eq!(header(&third, "CSeq"), "3 INVITE");
}

#[test]
fn dead_servers_are_passed_over_and_where_all_are_dead_a_call_fails_soon() {
    let mut net = ordered(|config| config.trunks[0].probe = Some(Probe::default()));
    tell(&mut net, &[(B, false), (C, true), (D, false)]);
    net.dial(0);
    net.run(Duration::from_millis(50));
    assert_eq!((net.take_at(B, "INVITE").len(), net.take_at(C, "INVITE").len()), (0, 1));
    tell(&mut net, &[(B, false)]);
    net.dial(0);
    net.run(Duration::from_millis(1900));
    assert_eq!(net.take_at(B, "INVITE").len(), 3, "it may be back");
    net.run(Duration::from_millis(300));
    assert!(net.heard(0, "Ended unreachable 503"), "{:?}", net.names(0));
}

#[test]
fn a_trunk_without_servers_fails_at_once_and_one_that_gets_some_works() {
    let mut net = ordered(|_| {});
    tell(&mut net, &[]);
    net.dial(0);
    assert_eq!(net.names(0), ["Ended unreachable 503"]);
    tell(&mut net, &[(D, true)]);
    net.dial(0);
    net.run(Duration::from_millis(50));
    assert_eq!(net.take_at(D, "INVITE").len(), 1);
}

#[test]
fn every_server_of_a_trunk_may_call_and_nobody_else() {
    let mut net = ordered(|_| {});
    let invite = |from: &str, call: &str| {
        format!(
            "INVITE sip:x@{A} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{call}\r\nFrom: <sip:q@x>;tag=q\r\n\
             To: <sip:anna@x>\r\nCall-ID: {call}\r\nCSeq: 1 INVITE\r\nContact: <sip:q@{from}>\r\nContent-Length: 0\r\n\r\n"
        )
    };
    for (n, from) in [B, C, D, "192.0.2.9:5060"].into_iter().enumerate() {
        net.inject(from, 0, &invite(from, &format!("c{n}")));
        net.run(Duration::from_millis(50));
    }
    assert_eq!(net.names(0), ["Incoming"; 3]);
    // What we ask of such a call goes back to the server that brought it.
    let leg = net.incoming(0).leg;
    net.command(0, Command::Answer { leg, session: Some(sdp(3)) });
    net.run(Duration::from_millis(50));
    assert_eq!(net.take_at(D, "SIP/2.0 200").len(), 1);
    tell(&mut net, &[(B, true)]);
    net.inject(C, 0, &invite(C, "gone"));
    net.run(Duration::from_millis(50));
    assert_eq!(net.take_at(C, "SIP/2.0 403").len(), 1, "a server that its name no longer leads to");
}

fn registration() -> Registration {
    Registration {
        account: Account::from("anna@x"),
        trunk: TrunkId(0),
        user: "100".into(),
        auth_user: "100".into(),
        password: Secret("secret".into()),
    }
}

fn bound(net: &mut Net, server: &str, wait: Duration) {
    net.run(wait);
    let register = net.take_at(server, "REGISTER").pop().expect("a REGISTER");
    let contact = format!("<sip:u.anna%40x@{A}>;expires=600");
    net.answer_from(server, &register, 200, "t", &[(Name::Contact, &contact)], None);
    net.run(Duration::from_millis(100));
}

#[test]
fn a_registration_goes_to_the_server_that_answers_and_stays_there() {
    let mut net = ordered(|_| {});
    net.input(0, 0, Input::Register(registration()));
    bound(&mut net, C, seconds(3));
    assert_eq!(net.nodes[0].registered, [(Account::from("anna@x"), Ok(()))]);
    assert_eq!(net.nodes[0].suspects, [(at(B), None)]);
    net.take("REGISTER");
    // B is avoided for half a minute only; but what is bound stays where it is, unless C stands by.
    while net.inbox.is_empty() {
        net.run(seconds(1));
    }
    bound(&mut net, C, Duration::ZERO);
    assert_eq!(net.take_at(B, "REGISTER").len(), 0);
}

#[test]
fn registrations_move_away_from_a_dead_server_and_back_from_a_standby_one() {
    let mut net = net(|_| {});
    let both = |up: bool| {
        let active = Server { up, ..Server::new(Hop::udp(at(B))) };
        let standby = Server { standby: true, entry: 1, ..Server::new(Hop::udp(at(C))) };
        vec![active, standby]
    };
    net.input(0, 0, Input::Servers { trunk: TrunkId(0), servers: both(true) });
    net.input(0, 0, Input::Register(registration()));
    bound(&mut net, B, seconds(1));
    net.input(0, 0, Input::Servers { trunk: TrunkId(0), servers: both(false) });
    bound(&mut net, C, seconds(2));
    net.input(0, 0, Input::Servers { trunk: TrunkId(0), servers: both(true) });
    bound(&mut net, B, seconds(2));
    assert_eq!(net.nodes[0].registered.len(), 1, "the user hears nothing of it");
}

#[test]
fn a_registration_that_found_nobody_is_tried_again_as_soon_as_a_server_is_back() {
    let mut net = ordered(|_| {});
    tell(&mut net, &[(B, false)]);
    net.input(0, 0, Input::Register(registration()));
    net.run(seconds(33));
    assert_eq!(net.nodes[0].registered.last().unwrap().1, Err(Reason::from(Cause::Unreachable)));
    net.take("REGISTER");
    tell(&mut net, &[(B, true)]);
    bound(&mut net, B, seconds(2));
    assert_eq!(net.nodes[0].registered.last().unwrap().1, Ok(()));
}

#[test]
fn a_registrar_that_says_503_is_passed_over() {
    let mut net = ordered(|_| {});
    net.input(0, 0, Input::Register(registration()));
    net.run(Duration::from_millis(50));
    let register = net.take_at(B, "REGISTER").remove(0);
    net.answer_from(B, &register, 503, "t", &[(Name::RetryAfter, "60")], None);
    bound(&mut net, C, Duration::from_millis(50));
    assert_eq!(net.nodes[0].registered, [(Account::from("anna@x"), Ok(()))]);
}

#[test]
fn probes_are_options_whose_outcome_is_told() {
    let mut net = ordered(|_| {});
    let probe = |net: &mut Net, hop: &str, number| {
        net.input(0, 0, Input::Probe { trunk: TrunkId(0), hop: Hop::udp(at(hop)), number });
        net.run(Duration::from_millis(50));
    };
    probe(&mut net, C, 7);
    let options = net.take_at(C, "OPTIONS sip:trunk.example SIP/2.0").remove(0);
    assert!(Message::parse(options.as_bytes()).unwrap().check().is_ok(), "{options}");
    net.answer_from(C, &options, 100, "", &[], None);
    net.answer_from(C, &options, 404, "x", &[], None);
    net.run(Duration::from_millis(50));
    probe(&mut net, D, 8);
    let options = net.take_at(D, "OPTIONS").remove(0);
    net.input(0, 0, Input::Refused { quoted: options.as_bytes() });
    probe(&mut net, "[2001:db8::1]:5060", 9);
    assert_eq!(net.nodes[0].probed, [(7, Some(404)), (8, None), (9, None)]);
    net.run(seconds(60));
    net.assert_empty();
}

#[test]
fn a_long_request_whose_connection_does_not_come_up_goes_as_a_datagram_before_another_server_is_tried() {
    let mut net = ordered(|config| config.user_agent = "x".repeat(1_200));
    net.input(0, 0, Input::Spare { flow: Key::new(ShardId(0), 0, 100) });
    net.input(0, 0, Input::Spare { flow: Key::new(ShardId(0), 0, 101) });
    net.dial(0);
    net.run(Duration::from_millis(1_900));
    let sent = net.take_at(B, "INVITE");
    assert!(sent.len() == 1 && header(&sent[0], "Via").starts_with("SIP/2.0/TCP "), "{sent:?}");
    net.run(seconds(1));
    let sent = net.take_at(B, "INVITE");
    assert!(header(&sent[0], "Via").starts_with("SIP/2.0/UDP "), "{sent:?}");
    assert_eq!((net.take_at(C, "INVITE").len(), net.nodes[0].suspects.len()), (0, 0));
    net.run(Duration::from_millis(1_200));
    assert_eq!((net.take_at(C, "INVITE").len(), &*net.nodes[0].suspects), (1, &[(at(B), None)][..]));
    // The first server's connection fails at last: what was given up is not sent there again.
    let (flow, _) = net.nodes[0].connects[0].clone();
    net.take_at(B, "INVITE");
    net.input(0, 0, Input::Failed { flow });
    net.run(Duration::from_millis(500));
    assert!(net.take_at(B, "INVITE").is_empty());
}
