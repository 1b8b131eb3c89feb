//! SIP over connections: steering, answers, ends.

use super::*;
use crate::base::Machine;
use crate::leg;
use crate::sip::{self, Transport, Trunk};

const FAR: &str = "203.0.113.5:40000";

/// A configuration with a trunk at `FAR`'s address, spoken to over TCP.
fn trunked() -> Config {
    let mut config = config();
    let hop = sip::Hop { transport: Transport::Tcp, ..sip::Hop::udp(address("203.0.113.5:5060")) };
    let trunks =
        vec![Trunk { entries: vec![sip::Entry::of(&hop)], ..Trunk::new("far", address("203.0.113.5:5060")) }];
    config.sip = Arc::new(sip::Config { trunks, ..sip::Config::default() });
    config
}

fn options(call: &str) -> Vec<u8> {
    format!(
        "OPTIONS sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 203.0.113.5;branch=z9hG4bK{call}\r\nMax-Forwards: 70\r\n\
         From: <sip:a@203.0.113.5>;tag=1\r\nTo: <sip:192.0.2.1>\r\nCall-ID: {call}\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// A Call-ID whose home is this shard of two.
fn call_of(shard: u8) -> String {
    let mut names = (0..).map(|n| format!("c{n}"));
    names.find(|name| leg::home_of(name.as_bytes(), 2) == ShardId(shard)).unwrap()
}

fn open(core: &mut Core, now: Now, from: &str) -> Option<FlowId> {
    core.sip_opened(now, RealmId(0), Transport::Tcp, address(from))
}

fn count(core: &Core, room: &str, name: &str) -> u64 {
    let mut counters = Vec::new();
    core.all_counters(&mut counters);
    counters.iter().find(|c| (c.0, c.1) == (room, name)).unwrap().2
}

#[test]
fn a_request_is_answered_on_the_connection_that_brought_it_by_whichever_shard_is_its_home() {
    let (config, now) = (Arc::new(trunked()), clock());
    for home in [0, 1] {
        let mut shards = [core(&config, now, 0, 2), core(&config, now, 1, 2)];
        let flow = open(&mut shards[0], now, FAR).unwrap();
        for piece in options(&call_of(home)).chunks(50) {
            shards[0].bytes(now, flow, piece);
        }
        let mut heard = hear(&mut shards[0], now);
        if home == 1 {
            let (to, mail) = heard.mail.pop().unwrap();
            assert_eq!(to, ShardId(1));
            shards[1].mail(now, ShardId(0), mail);
            let (to, mail) = hear(&mut shards[1], now).mail.pop().unwrap();
            assert_eq!(to, ShardId(0));
            shards[0].mail(now, ShardId(1), mail);
            heard = hear(&mut shards[0], now);
        }
        assert_eq!(heard.written.len(), 1);
        assert!(heard.written[0].1.starts_with(b"SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP 203.0.113.5"));
        shards[0].ended(now, flow);
        let heard = hear(&mut shards[0], now);
        assert_eq!(heard.closed, [flow]);
        assert_eq!(shards[0].connections(), 0);
        // Who was given something hears of the end.
        assert_eq!(heard.mail.len(), usize::from(home));
        for (to, mail) in heard.mail {
            assert!(matches!(&mail, Mail::Failed { flow: gone } if gone.id == flow), "{mail:?}");
            let core = &mut shards[usize::from(to.0)];
            assert_eq!(core.stack().connections(), 1);
            core.mail(now, ShardId(0), mail);
            assert_eq!(core.stack().connections(), 0);
        }
    }
}

#[test]
fn an_answer_to_a_connection_that_is_gone_finds_out_at_its_owner() {
    let (config, now) = (Arc::new(trunked()), clock());
    let mut shards = [core(&config, now, 0, 2), core(&config, now, 1, 2)];
    let flow = open(&mut shards[0], now, FAR).unwrap();
    shards[0].bytes(now, flow, &options(&call_of(1)));
    let (_, mail) = hear(&mut shards[0], now).mail.pop().unwrap();
    shards[1].mail(now, ShardId(0), mail);
    shards[0].closed(now, flow);
    let (_, failed) = hear(&mut shards[0], now).mail.pop().unwrap();
    // The answer crosses the news.
    let (_, answer) = hear(&mut shards[1], now).mail.pop().unwrap();
    shards[1].mail(now, ShardId(0), failed);
    shards[0].mail(now, ShardId(1), answer);
    let (to, mail) = hear(&mut shards[0], now).mail.pop().unwrap();
    assert!(to == ShardId(1) && matches!(mail, Mail::Failed { .. }));
    shards[1].mail(now, ShardId(0), mail);
    assert_eq!(count(&shards[0], "sip_connections", "stale"), 1);
}

#[test]
fn a_message_of_a_stream_that_finds_no_room_cuts_it() {
    let (config, now) = (Arc::new(trunked()), clock());
    let mut core = core(&config, now, 0, 2);
    let flow = open(&mut core, now, FAR).unwrap();
    core.bytes(now, flow, &options(&call_of(1)));
    let (to, mail) = hear(&mut core, now).mail.pop().unwrap();
    core.shed(now, to, mail);
    assert_eq!(hear(&mut core, now).closed, [flow]);
    assert_eq!(core.counters().shed_sip, 1);
}

#[test]
fn connections_are_bounded_in_all_and_by_source_but_a_trunk_s_only_in_all() {
    let now = clock();
    let mut config = trunked();
    (config.caps.sip_connections, config.caps.sip_per_source) = (20, 2);
    let mut core = core(&Arc::new(config), now, 0, 1);
    let stranger = "198.51.100.9:1";
    let first = open(&mut core, now, stranger).unwrap();
    assert!(open(&mut core, now, stranger).is_some() && open(&mut core, now, stranger).is_none());
    core.closed(now, first);
    assert!(open(&mut core, now, stranger).is_some());
    let trunk = (0..40).filter(|_| open(&mut core, now, FAR).is_some()).count();
    assert_eq!(trunk, 18);
    assert_eq!(count(&core, "sip_connections", "full_source"), 1);
    assert_eq!(count(&core, "sip_connections", "full"), 22);
    let live = core.gauges();
    assert!(live.contains(&("sip_tcp", 20)), "{live:?}");
}

#[test]
fn a_request_whose_length_is_a_lie_is_refused_and_its_connection_ends() {
    let (config, mut now) = (Arc::new(trunked()), clock());
    let mut core = core(&config, now, 0, 1);
    let flow = open(&mut core, now, FAR).unwrap();
    let lie = String::from_utf8(options("x")).unwrap().replace("Length: 0", "Length: 18446744073709551617");
    core.bytes(now, flow, lie.as_bytes());
    let heard = hear(&mut core, now);
    assert!(heard.written[0].1.starts_with(b"SIP/2.0 400 "), "{:?}", heard.written);
    assert!(heard.closed.is_empty());
    now = now.after(std::time::Duration::from_secs(2));
    core.handle_timeout(now);
    assert_eq!(hear(&mut core, now).closed, [flow]);
    assert_eq!(count(&core, "sip_streams", "broken"), 1);
}

#[test]
fn a_phone_over_websocket_is_heard_and_answered_one_message_a_frame() {
    let (config, now) = (Arc::new(trunked()), clock());
    let mut core = core(&config, now, 0, 1);
    let flow = core.opened(now, address(FAR)).unwrap();
    let upgrade = String::from_utf8(UPGRADE.to_vec()).unwrap();
    let upgrade = upgrade.replace("/v1/ws", "/sip").replace("bridgehead.v1", "sip");
    core.bytes(now, flow, upgrade.as_bytes());
    let heard = hear(&mut core, now);
    assert!(heard.written[0].1.starts_with(b"HTTP/1.1 101 "), "{:?}", heard.written);
    // Its ping (RFC 7118 section 6), as text.
    core.bytes(now, flow, &frame("\r\n\r\n"));
    assert_eq!(hear(&mut core, now).written[0].1, [&[0x81, 2][..], b"\r\n"].concat());
    for opcode in [0x81, 0x82] {
        let text = String::from_utf8(options(&format!("ws{opcode}"))).unwrap().replace("/TCP ", "/WS ");
        let length = (text.len() as u16).to_be_bytes();
        core.bytes(now, flow, &[&[opcode, 0xfe, length[0], length[1], 0, 0, 0, 0], text.as_bytes()].concat());
        let written = hear(&mut core, now).written.remove(0).1;
        assert!(
            written[0] == 0x81
                && written[4..].starts_with(b"SIP/2.0 403 Forbidden\r\nVia: SIP/2.0/WS 203.0.113.5"),
            "a page is no trunk, wherever it comes from"
        );
    }
    assert!(core.gauges().contains(&("sip_ws", 1)));
    core.ended(now, flow);
    assert_eq!(hear(&mut core, now).closed, [flow]);
    assert!(core.gauges().contains(&("sip_ws", 0)));
    assert_eq!(core.stack().connections(), 0);
}

#[test]
fn what_is_sent_before_a_connection_is_up_goes_out_when_it_is() {
    let (config, now) = (Arc::new(trunked()), clock());
    let mut core = core(&config, now, 0, 1);
    let registration = sip::Registration {
        account: "alice".into(),
        trunk: leg::TrunkId(0),
        user: "alice".into(),
        auth_user: "alice".into(),
        password: sip::Secret("a".into()),
    };
    core.stack.handle_input(now, sip::Input::Register(registration));
    core.settle(now);
    let heard = hear(&mut core, now);
    let flow = heard.connects[0];
    assert_eq!(flow.remote, address("203.0.113.5:5060"));
    assert!(heard.written.is_empty() && core.unsent(flow.id).is_empty());
    core.connected(now, flow.id);
    let written = hear(&mut core, now).written.remove(0).1;
    assert!(
        written.starts_with(b"REGISTER sip:203.0.113.5:5060 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.1:5060;")
    );
    core.closed(now, flow.id);
    assert_eq!(core.stack().connections(), 0);
    assert_eq!(core.connections(), 0);
}
