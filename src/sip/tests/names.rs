//! Dialogs that go on at a name.

use super::*;
use crate::sip::Target;
use sip_codec::Name;

const FAR: &str = "198.51.100.7:5070";

/// A call to the script, answered with this Contact and Record-Route.
fn answered(net: &mut Net, contact: &str, route: &str) -> LegId {
    let leg = net.dial(0);
    net.run(seconds(1));
    let invite = net.take("INVITE").remove(0);
    let mut headers = vec![(Name::Contact, contact)];
    if !route.is_empty() {
        headers.push((Name::RecordRoute, route));
    }
    net.answer(&invite, 200, "b1", &headers, Some(&sdp_text(2)));
    net.run(Duration::from_millis(100));
    leg
}

fn target(text: &str) -> Target {
    Target::parse(text, Some(Transport::Udp)).unwrap()
}

fn located(net: &mut Net, name: &str, hops: &[&str]) {
    let hops = hops.iter().map(|hop| Hop::udp(at(hop))).collect();
    net.input(0, 0, Input::Located { target: target(name), hops });
    net.run(Duration::from_millis(50));
}

#[test]
fn the_ack_waits_for_the_way_to_the_name_in_contact_and_the_bye_knows_it() {
    let mut net = Net::scripted(|_| {});
    let leg = answered(&mut net, "<sip:bob@far.example:5070>", "");
    assert_eq!(net.nodes[0].sought, [target("far.example:5070")]);
    assert_eq!(net.take("ACK").len(), 0);
    located(&mut net, "far.example:5070", &[FAR]);
    assert!(net.take_at(FAR, "ACK sip:bob@far.example:5070 SIP/2.0").len() == 1);
    net.command(0, end(leg));
    net.run(Duration::from_millis(50));
    let bye = net.take_at(FAR, "BYE").remove(0);
    assert_eq!(net.nodes[0].sought.len(), 1);
    net.answer_from(FAR, &bye, 200, "b1", &[], None);
    net.run(seconds(100));
    net.assert_empty();
}

#[test]
fn the_topmost_route_s_name_comes_before_the_contact() {
    let mut net = Net::scripted(|_| {});
    answered(&mut net, "<sip:bob@10.0.0.9>", "<sip:proxy.example;lr>");
    assert_eq!(net.nodes[0].sought, [target("proxy.example")]);
    located(&mut net, "proxy.example", &["[2001:db8::1]:5060", FAR]);
    assert_eq!(net.take_at(FAR, "ACK").len(), 1, "an address of the other family is out of reach");
}

#[test]
fn a_name_that_leads_nowhere_leaves_the_dialog_where_it_was() {
    let mut net = Net::scripted(|_| {});
    let leg = answered(&mut net, "<sip:bob@gone.example>", "");
    located(&mut net, "gone.example", &[]);
    assert_eq!(net.take_at(B, "ACK").len(), 1);
    net.command(0, end(leg));
    net.run(Duration::from_millis(50));
    assert_eq!(net.take_at(B, "BYE").len(), 1);
    assert_eq!(net.stack(0).counters().lost_names, 1);
}

#[test]
fn while_nobody_says_where_the_name_is_retransmissions_go_where_the_dialog_was() {
    let mut net = Net::scripted(|_| {});
    let leg = answered(&mut net, "<sip:bob@slow.example>", "");
    net.command(0, end(leg));
    net.run(Duration::from_millis(300));
    assert_eq!(net.take("BYE").len(), 0);
    net.run(Duration::from_millis(500));
    assert_eq!(net.take_at(B, "BYE").len(), 1);
    located(&mut net, "slow.example", &[FAR]);
    assert_eq!(net.take_at(FAR, "BYE").len(), 1);
    net.run(seconds(2));
    assert_eq!(net.take_at(FAR, "BYE").len(), 1, "and then they follow");
    assert_eq!(net.take_at(B, "BYE").len(), 0);
}

#[test]
fn the_trunk_s_own_name_asks_nothing() {
    let mut net = Net::scripted(|config| {
        config.trunks[0].entries[0].target = target("pbx.example");
    });
    let servers = vec![Server::new(Hop::udp(at(B)))];
    net.input(0, 0, Input::Servers { trunk: TrunkId(0), servers });
    answered(&mut net, "<sip:bob@pbx.example>", "");
    assert_eq!((net.take_at(B, "ACK").len(), net.nodes[0].sought.len()), (1, 0));
}
