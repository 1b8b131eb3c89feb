//! REFER both ways and Replaces, between two stacks and against a script.

use super::*;
use crate::leg::{Cause, Dialog, Replaces, Stage, Transfer};

fn refer(leg: LegId, user: &str, replaces: Option<Replaces>) -> Command {
    let to = Party { user: user.into(), ..Party::default() };
    Command::Refer { leg, transfer: Box::new(Transfer { to, replaces, by: None }) }
}

fn stage(leg: LegId, stage: Stage) -> Command {
    Command::Transfer { leg, stage }
}

fn stages(net: &Net, node: usize) -> Vec<Stage> {
    let stage = |event: &Event| if let Event::Referred { stage, .. } = event { Some(*stage) } else { None };
    net.nodes[node].events.iter().filter_map(stage).collect()
}

fn asked(net: &Net, node: usize) -> Transfer {
    let asked = |event: &Event| match event {
        Event::Transfer { transfer, .. } => Some((**transfer).clone()),
        _ => None,
    };
    net.nodes[node].events.iter().rev().find_map(asked).expect("a transfer")
}

#[test]
fn a_transfer_is_asked_for_told_of_and_ends_with_bye_after_the_last_word() {
    for seed in 0..20 {
        let mut net = Net::pair(seed);
        let (out, leg) = net.call();
        if seed > 0 {
            (net.loss, net.twice) = (0.2, 0.1);
        }
        net.command(0, refer(out, "carol", None));
        net.run(seconds(10));
        let transfer = asked(&net, 1);
        assert_eq!((transfer.to.user.as_str(), transfer.to.host.as_str()), ("carol", "192.0.2.2"));
        assert_eq!(transfer.by.unwrap().user, "alice");
        net.command(1, stage(leg, Stage::Trying(100)));
        net.run(seconds(20));
        net.command(1, stage(leg, Stage::Trying(180)));
        net.run(seconds(20));
        net.command(1, stage(leg, Stage::Done));
        net.command(1, end(leg));
        net.run(seconds(90));
        let told = stages(&net, 0);
        assert_eq!(told.last(), Some(&Stage::Done), "seed {seed}: {told:?}");
        assert!(told.contains(&Stage::Trying(180)), "seed {seed}: {told:?}");
        assert!(net.heard(0, "Ended hangup"), "seed {seed}: {:?}", net.names(0));
        net.run(seconds(60));
        net.assert_empty();
    }
}

#[test]
fn a_refusal_is_a_final_response_and_a_failure_a_last_notify() {
    let mut net = Net::pair(1);
    let (out, leg) = net.call();
    net.command(0, refer(out, "carol", None));
    net.run(seconds(1));
    net.command(1, stage(leg, Stage::Failed(Cause::Declined.into())));
    net.run(seconds(1));
    assert_eq!(stages(&net, 0), [Stage::Failed(Reason::from_code(603))]);
    assert_eq!(net.sent(B, "NOTIFY"), 0);
    net.command(0, refer(out, "carol", None));
    net.run(seconds(1));
    net.command(1, stage(leg, Stage::Trying(100)));
    net.command(1, stage(leg, Stage::Failed(Reason::from_code(486))));
    net.run(seconds(1));
    assert_eq!(stages(&net, 0).last(), Some(&Stage::Failed(Reason::from_code(486))));
    let last = net.last(B, "NOTIFY");
    assert!(header(&last, "Subscription-State").starts_with("terminated"), "{last}");
    assert!(header(&last, "Event").starts_with("refer;id="), "the second is told by its number: {last}");
    assert!(last.ends_with("SIP/2.0 486 Busy Here\r\n"), "{last}");
    // Both talk on.
    net.command(0, end(out));
    net.run(seconds(60));
    net.assert_empty();
}

#[test]
fn who_hangs_up_after_it_took_a_refer_has_gone_there() {
    let mut net = Net::pair(2);
    let (out, leg) = net.call();
    net.command(0, refer(out, "carol", None));
    net.run(seconds(1));
    net.command(1, stage(leg, Stage::Trying(100)));
    net.run(seconds(1));
    net.command(1, end(leg));
    net.run(seconds(1));
    assert_eq!(
        stages(&net, 0),
        [Stage::Trying(100), Stage::Trying(100), Stage::Done].as_slice()[..].to_vec()
    );
    net.run(seconds(60));
    net.assert_empty();
}

#[test]
fn an_attended_transfer_names_the_dialog_as_the_third_party_knows_it() {
    let mut net = Net::pair(3);
    let (first, _) = net.call();
    let (second, carol) = net.call();
    net.command(0, refer(first, "", Some(Replaces::Leg(second))));
    net.run(seconds(1));
    // It is the same stack here: it knows the dialog by its own tag.
    assert_eq!(asked(&net, 1).replaces, Some(Replaces::Leg(carol)));
    let refer_to = header(&net.last(A, "REFER"), "Refer-To").to_owned();
    assert!(refer_to.contains("?Replaces=") && refer_to.contains("%3Bto-tag%3D"), "{refer_to}");
}

#[test]
fn an_invite_takes_the_place_of_a_leg() {
    let mut net = Net::pair(4);
    let (out, leg) = net.call();
    let id = net.stack(0).call_id(out).unwrap().to_owned();
    let ok = net.last(B, "SIP/2.0 200");
    let tag = |name: &str| header(&ok, name).split_once(";tag=").unwrap().1.to_owned();
    let dialog = |to: &str, from: &str, early_only| Dialog {
        call_id: id.clone(),
        to_tag: to.into(),
        from_tag: from.into(),
        early_only,
    };
    let right = dialog(&tag("To"), &tag("From"), false);
    let dial = |net: &mut Net, replaces: Dialog| {
        let new = net.nodes[0].mint.leg(Side::Sip);
        let referral = words::Referral {
            by: Some(Party { user: "bob".into(), ..Party::default() }),
            replaces: Some(replaces),
        };
        let dial = Dial {
            leg: new,
            target: Target::Trunk(TrunkId(0)),
            caller: Party { user: "dave".into(), ..Party::default() },
            callee: Party { user: "bob".into(), ..Party::default() },
            account: None,
            identity: None,
            offer: sdp(3),
            hops: 70,
            data: Vec::new(),
            carried: Box::default(),
            late: false,
            with: None,
            referral: Some(Box::new(referral)),
        };
        net.command(0, Command::Dial(Box::new(dial)));
        net.run(seconds(1));
        new
    };
    dial(&mut net, right);
    let invite = net.last(A, "INVITE");
    assert_eq!(header(&invite, "Require"), "replaces");
    assert_eq!(header(&invite, "Referred-By"), "<sip:bob@192.0.2.2:5060>");
    let incoming = net.incoming(1);
    assert_eq!((incoming.replaces, incoming.caller.user.as_str()), (Some(leg), "dave"));
    for (replaces, code) in [
        (dialog(&tag("To"), &tag("From"), true), 486),
        (dialog(&tag("To"), "wrong", false), 481),
        (dialog("00nothing", &tag("From"), false), 481),
    ] {
        dial(&mut net, replaces);
        assert!(net.heard(0, &format!("Ended {} {code}", Reason::from_code(code).cause.name())), "{code}");
    }
}

#[test]
fn strangers_and_those_outside_of_a_call_are_not_transferred() {
    let mut net = Net::scripted(|_| {});
    for (from, code) in [("203.0.113.9:5060", "403"), (B, "403")] {
        let text = format!(
            "REFER sip:u.alice@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bKr{code}{from}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:x@{from}>;tag=x\r\nTo: <sip:u.alice@192.0.2.1>\r\nCall-ID: {from}\r\n\
             CSeq: 1 REFER\r\nRefer-To: <sip:09001@{from}>\r\nContact: <sip:x@{from}>\r\nContent-Length: 0\r\n\r\n"
        );
        net.inject(from, 0, &text.replace("z9hG4bKr4032", "z9hG4bKr"));
        net.run(seconds(1));
        assert!(net.last(A, "SIP/2.0 ").starts_with(&format!("SIP/2.0 {code}")));
    }
    assert!(net.nodes[0].events.is_empty());
    net.assert_empty();
}

#[test]
fn a_challenged_refer_is_sent_again_and_a_quiet_one_is_taken_for_done() {
    let mut net = Net::scripted(|config| {
        config.trunks[0].credentials = Some(Credentials { user: "gw".into(), password: Secret("p".into()) });
    });
    let out = net.dial(0);
    net.run(seconds(1));
    let invite = net.take("INVITE").remove(0);
    let contact = [(sip_codec::Name::Contact, "<sip:bob@192.0.2.2>")];
    net.answer(&invite, 200, "b", &contact, Some(&sdp_text(2)));
    net.run(seconds(1));
    net.command(0, refer(out, "carol", None));
    net.run(seconds(1));
    let first = net.take("REFER").remove(0);
    assert!(header(&first, "Contact").contains("192.0.2.1"), "{first}");
    let challenge = [(sip_codec::Name::WwwAuthenticate, "Digest realm=\"r\", nonce=\"n\", algorithm=MD5")];
    net.answer(&first, 401, "b", &challenge, None);
    net.run(seconds(1));
    let second = net.take("REFER").remove(0);
    assert!(second.contains("\r\nAuthorization: Digest"), "{second}");
    net.answer(&second, 202, "b", &[(sip_codec::Name::ReferSub, "false")], None);
    net.run(seconds(1));
    assert_eq!(stages(&net, 0), [Stage::Done]);
}
