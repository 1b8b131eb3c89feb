//! What is left of a call that was refused, until nobody can repeat anything of it any more.

use crate::counting::held;
use bridgehead::base::{Key, Machine, Random, RealmId, ShardId};
use bridgehead::leg::{Cause, Command, Event, LegId};
use bridgehead::shard::clock;
use bridgehead::sip::{Config, Flow, Input, Output, Stack, Transport, Trunk};
use std::net::SocketAddr;
use std::sync::Arc;

/// As many as fill tables that grow by doubling to seven eighths.
const CALLS: u64 = 7_168;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn request(method: &str, number: u64, tag: &str) -> Vec<u8> {
    format!(
        "{method} sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK-{number};rport\r\n\
         Max-Forwards: 70\r\nFrom: <sip:a@192.0.2.2>;tag=a{number}\r\nTo: <sip:b@192.0.2.1>{tag}\r\n\
         Call-ID: {number}@192.0.2.2\r\nCSeq: 1 {method}\r\nContact: <sip:a@192.0.2.2>\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// What the stack said: the leg that came, and the last message.
fn hear(stack: &mut Stack) -> (Option<LegId>, Vec<u8>) {
    let (mut leg, mut last) = (None, Vec::new());
    while let Some(output) = stack.poll_output() {
        match output {
            Output::Event(Event::Incoming(incoming)) => leg = Some(incoming.leg),
            Output::Send { data, .. } => last = data,
            _ => {}
        }
    }
    (leg, last)
}

#[test]
fn an_ended_transaction_costs_under_512_bytes_beside_the_response_that_it_may_repeat() {
    let now = clock();
    let trunks = vec![Trunk::new("trunk", address("192.0.2.2:5060"))];
    let config = Arc::new(Config { trunks, ..Config::default() });
    let mut stack = Stack::new(ShardId(0), 1, config, Random::from_number(3));
    let flow = Flow {
        id: Key::new(ShardId(0), 0, 0),
        transport: Transport::Udp,
        remote: address("192.0.2.2:5060"),
        realm: RealmId(0),
    };
    stack.listen(RealmId(0), flow.id, address("192.0.2.1:5060"));
    let before = held();
    let mut responses = 0;
    for number in 0..CALLS {
        stack.handle_input(now, Input::Message { flow, data: &request("INVITE", number, "") });
        let leg = hear(&mut stack).0.expect("a call");
        stack.handle_input(now, Input::Command(Command::End { leg, reason: Cause::Busy.into() }));
        let refusal = hear(&mut stack).1;
        responses += refusal.len() as i64;
        let text = String::from_utf8(refusal).unwrap();
        let tag =
            text.lines().find_map(|line| line.strip_prefix("To: ")?.split_once('>')).unwrap().1.to_owned();
        stack.handle_input(now, Input::Message { flow, data: &request("ACK", number, &tag) });
        drop(hear(&mut stack));
    }
    assert_eq!((stack.transactions(), stack.dialogs()), ((0, CALLS as usize), 0));
    let each = (held() - before - responses) / CALLS as i64;
    println!("{each} bytes each, beside {} of response", responses / CALLS as i64);
    assert!(each < 512, "{each} bytes each");
}
