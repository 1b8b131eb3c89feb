//! Many shards behind one address: every message finds the shard of its first.

use super::*;
use crate::leg::Cause;
use sip_codec::Name;

#[test]
fn whole_calls_stay_on_their_shards() {
    for shards in 2..=8 {
        let mut net = Net::new(u64::from(shards));
        net.join(A, B, shards, |_| {});
        net.join(B, A, shards, |_| {});
        // Every message arrives on the shard that `home` names; a stray request or response would be counted.
        net.lose = Some(Box::new({
            let mut n = 0;
            move |_| {
                n += 1;
                n % 5 == 0
            }
        }));
        for round in 0..20 {
            let shard = ShardId(round % shards);
            net.nodes[0].mint = Mint::new(shard, true);
            // Distinct numbers: each mint starts anew.
            for _ in 0..round {
                net.nodes[0].mint.leg(Side::Sip);
            }
            let out = net.dial(0);
            assert_eq!(out.shard(), shard);
            net.run(seconds(3));
            let leg = net.incoming(1).leg;
            match round % 3 {
                0 => net.command(0, end(out)),
                1 => net.command(1, Command::End { leg, reason: Cause::Busy.into() }),
                _ => {
                    net.command(1, Command::Answer { leg, session: Some(sdp(2)) });
                    net.run(seconds(5));
                    let (node, leg) = if round % 2 == 0 { (0, out) } else { (1, leg) };
                    net.command(node, end(leg));
                }
            }
            net.run(seconds(20));
        }
        net.run(seconds(100));
        for node in 0..2 {
            for stack in &net.nodes[node].shards {
                assert_eq!(stack.counters().stray_requests, 0, "{shards} shards");
                assert_eq!(stack.counters().stray_responses, 0, "{shards} shards");
            }
        }
        net.assert_empty();
    }
}

#[test]
fn invite_cancel_ack_and_the_retry_after_a_challenge_share_a_shard() {
    let text = |method: &str, uri: &str, branch: &str, cseq: u32, call: &str, to: &str| {
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch={branch}\r\nFrom: <sip:q@x>;tag=q\r\nTo: <sip:b@x>{to}\r\n\
             Call-ID: {call}\r\nCSeq: {cseq} {method}\r\n\r\n"
        )
    };
    for shards in 2..=8 {
        for (n, uri) in ["sip:bob@gw", "sip:u.anna@gw", "sip:U.%61nna@gw", "tel:+491"].into_iter().enumerate()
        {
            let call = format!("call{n}@x");
            let home = |method, branch, cseq, to| {
                home(text(method, uri, branch, cseq, &call, to).as_bytes(), shards, None)
            };
            let first = home("INVITE", "z9hG4bK1", 1, "");
            assert_eq!(home("CANCEL", "z9hG4bK1", 1, ""), first);
            assert_eq!(home("INVITE", "z9hG4bK2", 2, ""), first);
            assert!(first.0 < shards);
            if uri.contains("nna") {
                assert_eq!(first, words::Account::from("anna").home(shards));
            }
            let tagged = format!(";tag={}", super::super::home::tag(first, &mut Random::from_number(1)));
            for method in ["ACK", "BYE", "INVITE"] {
                assert_eq!(home(method, "z9hG4bK3", 3, &tagged), first);
            }
        }
    }
}

#[test]
fn replaces_and_responses_go_by_our_marks() {
    let mut random = Random::from_number(3);
    for shard in (0..5).map(ShardId) {
        let tag = super::super::home::tag(shard, &mut random);
        let invite = format!(
            "INVITE sip:b@gw SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:q@x>;tag=q\r\nTo: <sip:b@x>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nReplaces: old@x;to-tag={tag};from-tag=y\r\n\r\n"
        );
        assert_eq!(home(invite.as_bytes(), 5, None), shard);
        let branch = super::super::home::branch(shard, &mut random);
        let response = format!(
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h;branch={branch}\r\nFrom: <sip:q@x>;tag=q\r\nTo: <sip:b@x>;tag=r\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\n\r\n"
        );
        assert_eq!(home(response.as_bytes(), 5, None), shard);
        // Fewer shards than before: any shard will do, as long as it is one that is there.
        assert!(home(response.as_bytes(), 1, None).0 < 1);
    }
}

#[test]
fn a_shard_that_is_no_more_means_481() {
    let mut net = Net::scripted(|_| {});
    let bye = format!(
        "BYE sip:b@{A} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bK1\r\nFrom: <sip:q@x>;tag=q\r\nTo: <sip:b@x>;tag=07abc\r\n\
         Call-ID: c\r\nCSeq: 1 BYE\r\n\r\n"
    );
    net.inject(B, 0, &bye);
    net.run(seconds(1));
    assert_eq!(net.take("SIP/2.0 481").len(), 1);
}

#[test]
fn an_account_is_called_on_its_home_and_its_challenged_call_stays_there() {
    let account = words::Account::from("anna");
    let shard = account.home(4);
    let mut net = Net::new(9);
    net.join(A, B, 4, |_| {});
    let registration = Registration {
        account,
        trunk: TrunkId(0),
        user: "anna".into(),
        auth_user: "anna".into(),
        password: Secret("s".into()),
    };
    net.input(0, usize::from(shard.0), Input::Register(registration));
    net.run(Duration::from_millis(100));
    let register = net.take("REGISTER").remove(0);
    let contact = header(&register, "Contact").to_owned();
    net.answer(&register, 200, "t", &[(Name::Contact, &contact)], None);
    net.run(Duration::from_millis(100));
    assert_eq!(net.nodes[0].registered.len(), 1);
    let uri = contact.split(['<', '>']).nth(1).unwrap();
    let invite = format!(
        "INVITE {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bK1\r\nFrom: <sip:q@x>;tag=q\r\nTo: <sip:anna@x>\r\n\
         Call-ID: c\r\nCSeq: 1 INVITE\r\nContact: <sip:q@{B}>\r\n\r\n"
    );
    net.inject(B, 0, &invite);
    net.run(Duration::from_millis(100));
    assert_eq!(net.incoming(0).leg.shard(), shard);
}
