//! Connections: made, shared, lost, and gone around.

use super::*;

/// What a stack may connect by.
fn spare(n: u32) -> crate::base::FlowId {
    Key::new(ShardId(0), 0, 100 + n)
}

/// A gateway whose trunk at B is spoken to over this transport, with places for so many connections.
fn net(transport: Transport, spares: u32) -> Net {
    let mut net = Net::scripted(|config| {
        let name = transport.is_secure().then(|| "trunk.example".into());
        config.trunks[0].entries = vec![crate::sip::Entry::of(&Hop { transport, address: at(B), name })];
    });
    net.stack(0).listen_secure(RealmId(0), at("192.0.2.1:5061"));
    for n in 0..spares {
        net.input(0, 0, Input::Spare { flow: spare(n) });
    }
    net
}

fn incoming(transport: Transport, slot: u32) -> Flow {
    Flow { id: Key::new(ShardId(0), 0, slot), transport, remote: at("192.0.2.2:40001"), realm: RealmId(0) }
}

/// A request from the trunk to a contact of ours.
fn request(method: &str, contact: &str, to: &str, via: &str) -> String {
    let contact = contact.trim_matches(['<', '>']);
    format!(
        "{method} {contact} SIP/2.0\r\nVia: SIP/2.0/{via};branch=z9hG4bKr{method}\r\nFrom: <sip:q@x>;tag=q\r\nTo: {to}\r\n\
         Call-ID: t\r\nCSeq: 1 {method}\r\nContact: <sip:q@{B};transport=tcp>\r\nContent-Length: 0\r\n\r\n"
    )
}

/// The trunk answers what it got last, by that flow.
fn reply(net: &mut Net, flow: Flow, to: &str, code: u16, contact: &str) {
    let message = Message::parse(to.as_bytes()).unwrap();
    let (headers, body) = ([(sip_codec::Name::Contact, contact)], sdp_text(2));
    let body = (code == 200 && to.starts_with("INVITE")).then_some(body.as_bytes());
    let answer = Answer { code, tag: "b", headers: &headers, server: "", body };
    let data = answer.write(&message, at(A)).unwrap();
    net.input(0, 0, Input::Message { flow, data: &data });
}

#[test]
fn calls_to_one_trunk_share_one_connection_that_is_used_before_it_is_up() {
    let mut net = net(Transport::Tcp, 4);
    net.dial(0);
    net.dial(0);
    assert_eq!(net.nodes[0].connects.len(), 1);
    let (flow, _) = net.nodes[0].connects[0].clone();
    assert_eq!((flow.id, flow.remote, flow.transport), (spare(3), at(B), Transport::Tcp));
    net.run(seconds(3));
    let invites = net.take("INVITE");
    assert_eq!(invites.len(), 2, "a stream carries by itself: nothing is sent again");
    for invite in invites {
        let via = header(&invite, "Via");
        assert!(via.starts_with(&format!("SIP/2.0/TCP {A};branch=")) && via.ends_with(";alias"), "{via}");
        assert!(header(&invite, "Contact").ends_with(&format!("@{A};transport=tcp>")), "{invite}");
    }
}

#[test]
fn a_connection_that_can_t_be_made_ends_the_calls_that_wait_for_it_and_the_next_tries_anew() {
    let mut net = net(Transport::Tcp, 2);
    net.dial(0);
    net.dial(0);
    let (flow, _) = net.nodes[0].connects[0].clone();
    net.input(0, 0, Input::Failed { flow });
    assert_eq!(net.names(0), ["Ended unreachable 503", "Ended unreachable 503"]);
    assert_eq!(net.stack(0).counters().unconnected, 1);
    net.dial(0);
    assert_eq!(net.nodes[0].connects.len(), 2);
    net.stack(0).check_invariants();
}

#[test]
fn without_a_place_for_a_connection_the_call_fails_at_once() {
    let mut net = net(Transport::Tcp, 0);
    net.dial(0);
    assert_eq!(net.names(0), ["Ended unreachable 503"]);
    assert_eq!(net.stack(0).counters().full_connections, 1);
}

#[test]
fn over_tls_the_trunk_s_domain_is_what_the_certificate_must_name() {
    let mut net = net(Transport::Tls, 1);
    net.dial(0);
    net.run(seconds(1));
    let (flow, name) = net.nodes[0].connects[0].clone();
    assert_eq!((flow.transport, name.as_deref()), (Transport::Tls, Some("trunk.example")));
    let invite = &net.take("INVITE")[0];
    assert!(header(invite, "Via").starts_with("SIP/2.0/TLS 192.0.2.1:5061;branch="), "{invite}");
    assert!(header(invite, "Contact").ends_with("@192.0.2.1:5061;transport=tls>"), "{invite}");
}

#[test]
fn a_call_whose_connection_is_lost_hangs_up_by_a_new_one() {
    let mut net = net(Transport::Tcp, 2);
    let leg = net.dial(0);
    net.run(seconds(1));
    let (flow, _) = net.nodes[0].connects[0].clone();
    net.input(0, 0, Input::Connected { flow });
    let invite = net.take("INVITE").remove(0);
    reply(&mut net, flow, &invite, 200, "<sip:b@127.0.0.9;transport=tcp>");
    assert!(net.heard(0, "Answered"));
    // Another address than the trunk's, in the far side's own words: a connection of its own.
    assert_eq!(net.nodes[0].connects[1].0.remote, at("127.0.0.9:5060"));
    let (second, _) = net.nodes[0].connects[1].clone();
    for flow in [flow, second] {
        net.input(0, 0, Input::Failed { flow });
    }
    assert!(!net.heard(0, "Ended"), "the media goes on");
    net.input(0, 0, Input::Spare { flow: spare(7) });
    net.command(0, end(leg));
    net.run(seconds(1));
    assert_eq!(net.nodes[0].connects[2].0.id, spare(7));
    assert_eq!(net.take("BYE").len(), 1);
    assert_eq!(net.stack(0).counters().unconnected, 1, "the second was never up");
}

#[test]
fn requests_go_back_by_the_connection_that_brought_the_call() {
    let mut net = net(Transport::Tcp, 2);
    let flow = incoming(Transport::Tcp, 9);
    let invite = request("INVITE", &format!("sip:bob@{A}"), "<sip:bob@x>", &format!("TCP {B}"));
    net.input(0, 0, Input::Message { flow, data: invite.as_bytes() });
    let leg = net.incoming(0).leg;
    net.command(0, Command::Answer { leg, session: Some(sdp(2)) });
    net.run(Duration::from_millis(100));
    let ok = net.take("SIP/2.0 200").remove(0);
    let ack = request("ACK", header(&ok, "Contact"), header(&ok, "To"), &format!("TCP {B}"));
    net.input(0, 0, Input::Message { flow, data: ack.as_bytes() });
    net.command(0, end(leg));
    net.run(Duration::from_millis(100));
    assert!(net.nodes[0].connects.is_empty());
    assert_eq!(net.take("BYE").len(), 1);
}

#[test]
fn an_answer_whose_connection_is_gone_goes_to_where_via_says() {
    let mut net = net(Transport::Tcp, 2);
    let flow = incoming(Transport::Tcp, 9);
    let invite = request("INVITE", &format!("sip:bob@{A}"), "<sip:bob@x>", "TCP 10.9.9.9:5099");
    net.input(0, 0, Input::Message { flow, data: invite.as_bytes() });
    let leg = net.incoming(0).leg;
    net.input(0, 0, Input::Failed { flow });
    net.command(0, Command::Answer { leg, session: Some(sdp(2)) });
    net.run(Duration::from_millis(100));
    // RFC 3261 section 18.2.2: the address that it came from, the port that it says.
    let (back, _) = net.nodes[0].connects[0].clone();
    assert_eq!((back.remote, back.transport), (at("192.0.2.2:5099"), Transport::Tcp));
    assert_eq!(net.take("SIP/2.0 200").len(), 1);
    // The caller is gone there, too: it is tried until the ACK is overdue, and every try is a connection of its own.
    net.input(0, 0, Input::Failed { flow: back });
    net.run(seconds(1));
    assert_eq!(net.nodes[0].connects.len(), 2);
}

#[test]
fn a_trunk_s_alias_spares_a_connection_and_a_stranger_s_is_not_believed() {
    let mut net = net(Transport::Tcp, 1);
    let options = |via: &str| request("OPTIONS", &format!("sip:{A}"), "<sip:bob@x>", via);
    let stranger = Flow { remote: at("192.0.2.66:40001"), ..incoming(Transport::Tcp, 8) };
    net.input(0, 0, Input::Message { flow: stranger, data: options(&format!("TCP {B};alias")).as_bytes() });
    net.dial(0);
    assert_eq!(net.nodes[0].connects.len(), 1, "the stranger is not at the trunk's address");
    let (own, _) = net.nodes[0].connects[0].clone();
    net.input(0, 0, Input::Failed { flow: own });
    let flow = incoming(Transport::Tcp, 9);
    net.input(0, 0, Input::Message { flow, data: options(&format!("TCP {B};alias;x")).as_bytes() });
    net.dial(0);
    assert_eq!(net.nodes[0].connects.len(), 1, "the trunk's own connection does");
    net.input(0, 0, Input::Failed { flow });
    assert_eq!(net.names(0).len(), 2, "and fails as any other");
    net.stack(0).check_invariants();
}

#[test]
fn a_caller_who_is_named_by_sips_gets_a_sips_contact() {
    for (uri, wanted) in [("sips:bob@x", "<sips:"), ("sip:bob@x", "<sip:")] {
        let mut net = net(Transport::Tls, 1);
        let flow = incoming(Transport::Tls, 9);
        let invite = request("INVITE", uri, "<sip:bob@x>", &format!("TLS {B}"));
        net.input(0, 0, Input::Message { flow, data: invite.as_bytes() });
        let leg = net.incoming(0).leg;
        net.command(0, Command::Progress { leg, code: 180, answer: None });
        net.run(Duration::from_millis(100));
        let ringing = net.take("SIP/2.0 180").remove(0);
        assert!(header(&ringing, "Contact").starts_with(wanted), "{ringing}");
    }
}

/// A gateway whose trunk at B is spoken to over UDP, with headers that make every INVITE of ours long.
fn wordy() -> Net {
    let mut net = Net::scripted(|config| config.user_agent = "x".repeat(1_200));
    for n in 0..4 {
        net.input(0, 0, Input::Spare { flow: spare(n) });
    }
    net
}

#[test]
fn a_request_too_long_for_a_datagram_goes_over_tcp_and_over_udp_where_nobody_takes_the_connection() {
    let mut net = wordy();
    let leg = net.dial(0);
    net.run(seconds(1));
    let (flow, _) = net.nodes[0].connects[0].clone();
    assert_eq!((flow.transport, flow.remote), (Transport::Tcp, at(B)));
    let long = net.take("INVITE").remove(0);
    assert!(long.len() > 1_300 && header(&long, "Via").starts_with("SIP/2.0/TCP "), "{long}");
    net.input(0, 0, Input::Failed { flow });
    net.run(Duration::from_millis(700));
    let again = net.take("INVITE");
    assert_eq!(again.len(), 2, "a datagram is sent again");
    let branch = |text: &str| header(text, "Via").split(';').nth(1).unwrap().to_owned();
    assert!(header(&again[0], "Via").starts_with("SIP/2.0/UDP "), "{}", again[0]);
    assert_eq!(branch(&again[0]), branch(&long));
    assert_eq!(net.stack(0).counters().too_large, 1);
    // Its answer is taken, and its ACK is a datagram.
    net.answer(&again[0], 486, "b", &[], None);
    net.run(Duration::from_millis(100));
    assert!(header(&net.take("ACK")[0], "Via").starts_with("SIP/2.0/UDP "));
    assert!(net.heard(0, "Ended busy 486"), "{leg:?} {:?}", net.names(0));
    // The next one knows, for a while.
    net.dial(0);
    net.run(Duration::from_millis(100));
    assert_eq!(net.nodes[0].connects.len(), 1);
    assert!(header(&net.take("INVITE")[0], "Via").starts_with("SIP/2.0/UDP "));
    net.run(Duration::from_mins(11));
    net.dial(0);
    assert_eq!(net.nodes[0].connects.len(), 2);
}

#[test]
fn a_long_request_that_was_answered_over_tcp_stays_there() {
    let mut net = wordy();
    let leg = net.dial(0);
    net.run(seconds(1));
    let (flow, _) = net.nodes[0].connects[0].clone();
    net.input(0, 0, Input::Connected { flow });
    let invite = net.take("INVITE").remove(0);
    reply(&mut net, flow, &invite, 180, "<sip:b@192.0.2.2>");
    net.command(0, end(leg));
    net.run(Duration::from_millis(100));
    assert!(header(&net.take("CANCEL")[0], "Via").starts_with("SIP/2.0/TCP "));
    net.input(0, 0, Input::Failed { flow });
    net.run(seconds(1));
    assert!(net.take("INVITE").is_empty(), "somebody has it already");
}

#[test]
fn a_trunk_that_is_known_for_udp_alone_gets_long_datagrams() {
    let mut net = Net::scripted(|config| {
        config.user_agent = "x".repeat(1_200);
        config.trunks[0].tcp_when_large = false;
    });
    net.input(0, 0, Input::Spare { flow: spare(0) });
    net.dial(0);
    net.run(Duration::from_millis(100));
    assert!(net.nodes[0].connects.is_empty());
    assert_eq!(net.take("INVITE").len(), 1);
}

#[test]
fn a_call_that_rings_outlives_its_connection_and_can_still_be_given_up() {
    for answered in [true, false] {
        let mut net = net(Transport::Tcp, 4);
        let leg = net.dial(0);
        net.run(seconds(1));
        let (flow, _) = net.nodes[0].connects[0].clone();
        net.input(0, 0, Input::Connected { flow });
        let invite = net.take("INVITE").remove(0);
        reply(&mut net, flow, &invite, 180, &format!("<sip:b@{B};transport=tcp>"));
        net.input(0, 0, Input::Failed { flow });
        net.run(seconds(1));
        assert!(!net.heard(0, "Ended"), "{:?}", net.names(0));
        if answered {
            // Section 18.2.2: the answer comes by a connection of theirs.
            reply(&mut net, incoming(Transport::Tcp, 9), &invite, 200, &format!("<sip:b@{B};transport=tcp>"));
            net.run(seconds(1));
            assert!(net.heard(0, "Answered"));
            assert_eq!(net.take("ACK").len(), 1);
        } else {
            net.command(0, end(leg));
            net.run(seconds(1));
            assert_eq!(net.take("CANCEL").len(), 1);
        }
        assert_eq!(net.stack(0).counters().undeliverable, 0);
    }
}
