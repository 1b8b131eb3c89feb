//! Shards without sockets: two of them, whose mail is carried by hand.
#![allow(clippy::large_stack_arrays, reason = "a test's stack has room for two shards")]

mod bans;
mod browser;
mod exchanges;
mod flows;
mod locating;
mod trace;

use super::*;
use crate::base::{FlowId, Key, Now, Random, RealmId, ShardId, SocketId};
use crate::leg::Account;
use crate::net::Batch;
use crate::{signal, webrtc};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn config() -> Config {
    let now = clock();
    let mut signal = signal::Config::default();
    (0..8).for_each(|n| signal.add_user(&format!("user{n}"), "secret", ""));
    let identity = webrtc::Identity::create(now).unwrap();
    Config {
        sip_tls: crate::shard::SipTls::default(),
        io_uring: false,
        realms: vec![Realm::new("test", address("192.0.2.1:5060"))],
        web_media: WebMedia { listen: Vec::new(), advertised: None, port: 0, buffer: 0 },
        http: Http { listen: None, ..Http::default() },
        caps: Caps { connections: 4, ..Caps::default() },
        trace: super::TraceCaps::default(),
        connection: Arc::default(),
        sip: Arc::default(),
        signal: Arc::new(signal),
        call: Arc::default(),
        webrtc: Arc::new(webrtc::Config::new(identity, Vec::new())),
        media: Arc::default(),
    }
}

fn socket(shard: u8, slot: u32) -> SocketId {
    SocketId::new(ShardId(shard), 0, slot)
}

fn core(config: &Arc<Config>, now: Now, shard: u8, shards: u8) -> Core {
    let web = |slot, text| WebPlace {
        socket: socket(shard, slot),
        local: address(text),
        advertised: address(text),
    };
    let places = Places {
        web: vec![web(0, "192.0.2.1:10000"), web(1, "198.51.100.1:10000")],
        sip: vec![SipPlace {
            socket: socket(shard, 2),
            realm: RealmId(0),
            advertised: address("192.0.2.1:5060"),
            secure: Some(address("192.0.2.1:5061")),
        }],
    };
    Core::new(now, ShardId(shard), shards, Arc::clone(config), places, Random::from_number(shard.into()))
}

/// Outputs of one core, with what it writes gathered by connection.
#[derive(Default)]
struct Heard {
    written: Vec<(FlowId, Vec<u8>)>,
    closed: Vec<FlowId>,
    mail: Vec<(ShardId, Mail)>,
    sent: Vec<(SocketId, SocketAddr)>,
    connects: Vec<crate::sip::Flow>,
}

fn hear(core: &mut Core, now: Now) -> Heard {
    let mut heard = Heard::default();
    while let Some(output) = core.poll_output() {
        match output {
            Output::Write { flow } => {
                let mut bytes = Vec::new();
                while !core.unsent(flow).is_empty() {
                    let some = core.unsent(flow).len().min(100);
                    bytes.extend_from_slice(&core.unsent(flow)[..some]);
                    core.sent(now, flow, some);
                }
                heard.written.push((flow, bytes));
            }
            Output::Close { flow } => heard.closed.push(flow),
            Output::Mail { to, mail } => heard.mail.push((to, mail)),
            Output::Send { socket, to, .. } => heard.sent.push((socket, to)),
            Output::Connect { flow, .. } => heard.connects.push(flow),
            Output::Bind { .. }
            | Output::Unbind { .. }
            | Output::Record(_)
            | Output::Dns(_)
            | Output::Note(_) => {}
        }
    }
    core.check_invariants();
    heard
}

const UPGRADE: &[u8] = b"GET /v1/ws HTTP/1.1\r\nHost: gw\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: bridgehead.v1\r\n\r\n";

/// A masked text frame (RFC 6455 section 5.2), with an empty mask.
fn frame(text: &str) -> Vec<u8> {
    assert!(text.len() < 126);
    [&[0x81, 0x80 | text.len() as u8, 0, 0, 0, 0], text.as_bytes()].concat()
}

fn sign_in(user: &str) -> Vec<u8> {
    frame(&format!(r#"{{"type":"connect","id":1,"version":1,"user":"{user}","password":"secret"}}"#))
}

/// A user whose home is this shard of two.
fn user_of(shard: u8) -> String {
    let home = |name: &String| Account::from(name.as_str()).home(2) == ShardId(shard);
    (0..8).map(|n| format!("user{n}")).find(home).unwrap()
}

#[test]
fn what_comes_in_one_read_with_the_sign_in_goes_home_too_and_so_does_an_end() {
    let (config, now) = (Arc::new(config()), clock());
    let close = [0x88, 0x80, 0, 0, 0, 0];
    for (more, is_text) in [(frame(r#"{"type":"ping","id":2}"#), true), (close.to_vec(), false)] {
        let mut here = core(&config, now, 0, 2);
        let flow = here.opened(now, address("203.0.113.5:4000")).unwrap();
        here.bytes(now, flow, UPGRADE);
        hear(&mut here, now);
        here.bytes(now, flow, &[sign_in(&user_of(1)), more].concat());
        let mail = hear(&mut here, now).mail;
        assert!(matches!(mail[0], (ShardId(1), Mail::Moved { .. })));
        match &mail[1] {
            (ShardId(1), Mail::Text { .. }) => assert!(is_text),
            (ShardId(1), Mail::Closed { .. }) => assert!(!is_text),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_text_goes_home_by_mail_and_so_do_answers_later_texts_and_the_end() {
    let (config, now) = (Arc::new(config()), clock());
    let (mut here, mut home) = (core(&config, now, 0, 2), core(&config, now, 1, 2));
    let flow = here.opened(now, address("203.0.113.5:4000")).unwrap();
    here.bytes(now, flow, UPGRADE);
    assert!(hear(&mut here, now).written[0].1.starts_with(b"HTTP/1.1 101"));

    here.bytes(now, flow, &sign_in(&user_of(1)));
    let heard = hear(&mut here, now);
    assert!(heard.written.is_empty());
    let (to, mail) = heard.mail.into_iter().next().unwrap();
    assert_eq!(to, ShardId(1));
    assert!(matches!(&mail, Mail::Moved { source: Some(ip), .. } if *ip == address("203.0.113.5:1").ip()));

    home.mail(now, ShardId(0), mail);
    let (to, mail) = hear(&mut home, now).mail.into_iter().next().unwrap();
    assert_eq!(to, ShardId(0));
    here.mail(now, ShardId(1), mail);
    let text = String::from_utf8_lossy(&hear(&mut here, now).written[0].1).into_owned();
    assert!(text.contains(r#""type":"ok""#), "{text}");

    here.bytes(now, flow, &frame(r#"{"type":"ping","id":2}"#));
    assert!(matches!(&hear(&mut here, now).mail[..], [(ShardId(1), Mail::Text { .. })]));
    here.closed(now, flow);
    assert!(matches!(&hear(&mut here, now).mail[..], [(ShardId(1), Mail::Closed { .. })]));
    assert_eq!(here.connections(), 0);
    here.closed(now, flow);
    assert!(hear(&mut here, now).mail.is_empty(), "an end is told once");
}

#[test]
fn a_browser_message_that_finds_no_room_cuts_its_connection_and_the_end_is_told_until_it_is_heard() {
    let (config, mut now) = (Arc::new(config()), clock());
    let (mut here, mut home) = (core(&config, now, 0, 2), core(&config, now, 1, 2));
    let flow = here.opened(now, address("203.0.113.5:4000")).unwrap();
    here.bytes(now, flow, UPGRADE);
    here.bytes(now, flow, &sign_in(&user_of(1)));
    let (to, mail) = hear(&mut here, now).mail.pop().unwrap();
    home.mail(now, ShardId(0), mail);
    assert_eq!((to, home.hub().sessions()), (ShardId(1), 1));

    // On the way back: the home takes the connection for lost, and says so until there is room.
    let (to, mail) = hear(&mut home, now).mail.pop().unwrap();
    home.shed(now, to, mail);
    for _ in 0..2 {
        assert!(hear(&mut home, now).mail.is_empty());
        now = now.after(Duration::from_millis(10));
        home.handle_timeout(now);
        let (to, mail) = hear(&mut home, now).mail.pop().unwrap();
        assert!(matches!(mail, Mail::Close { flow: closed } if closed == flow));
        home.shed(now, to, mail);
    }
    assert_eq!(home.counters().shed_texts, 1);

    // On the way there: the browser is told to come back, and what it says behind the lost text is not heard.
    here.bytes(now, flow, &frame(r#"{"type":"ping","id":2}"#));
    let (to, mail) = hear(&mut here, now).mail.pop().unwrap();
    here.shed(now, to, mail);
    let heard = hear(&mut here, now);
    assert_eq!(heard.written[0].1, [0x88, 2, 3, 245], "a Close frame with 1013");
    here.bytes(now, flow, &frame(r#"{"type":"ping","id":3}"#));
    here.closed(now, flow);
    let mail = hear(&mut here, now).mail;
    assert!(matches!(&mail[..], [(ShardId(1), Mail::Closed { .. })]), "{mail:?}");
}

#[test]
fn mail_for_a_connection_that_is_gone_is_counted_and_harmless() {
    let (config, now) = (Arc::new(config()), clock());
    let mut here = core(&config, now, 0, 2);
    let flow = here.opened(now, address("203.0.113.5:4000")).unwrap();
    here.closed(now, flow);
    let next = here.opened(now, address("203.0.113.6:4000")).unwrap();
    here.mail(now, ShardId(1), Mail::Write { flow, text: "{}".to_owned() });
    here.mail(now, ShardId(1), Mail::Close { flow });
    assert!(hear(&mut here, now).closed.is_empty());
    assert_eq!(here.connections(), 1);
    here.mail(now, ShardId(1), Mail::Close { flow: next });
    assert_eq!(hear(&mut here, now).closed, [next]);
}

#[test]
fn connections_are_capped_and_idle_ones_make_room() {
    let (config, now) = (Arc::new(config()), clock());
    let mut core = core(&config, now, 0, 1);
    let flows: Vec<FlowId> =
        (0..4).map(|n| core.opened(now, SocketAddr::from(([203, 0, 113, 5], n))).unwrap()).collect();
    assert_eq!(core.opened(now, address("203.0.113.5:9")), None);
    // Slow headers hold a connection for a bounded time only (pitfall 28).
    core.bytes(now, flows[0], b"GET / HTTP/1.1\r\n");
    let idle = config.connection.head_timeout.max(config.connection.idle_timeout) + Duration::from_secs(2);
    let mut closed = Vec::new();
    let mut later = now;
    while let Some(deadline) = core.poll_timeout()
        && deadline.at < now.instant + idle
    {
        later = now.after(deadline.at.saturating_duration_since(now.instant).max(Duration::from_millis(1)));
        core.handle_timeout(later);
        closed.extend(hear(&mut core, later).closed);
    }
    closed.sort();
    assert_eq!(closed, flows);
    assert!(core.opened(later, address("203.0.113.5:9")).is_some());
}

#[test]
fn datagrams_are_told_apart_by_socket_and_first_byte() {
    let (config, now) = (Arc::new(config()), clock());
    let mut core = core(&config, now, 0, 2);
    let far = address("203.0.113.5:4000");
    let mut batch = Batch::default();
    // RFC 7983: nobody listens to ZRTP, TURN channels and what lies between.
    for first in [4, 16, 64, 79, 80, 127, 192, 255] {
        batch.push(socket(0, 0), far, &[first; 40], false);
    }
    batch.push(socket(0, 0), far, &[], false);
    core.receive(now, &mut batch);
    assert_eq!(core.counters().stray, 9);
    batch.clear();
    batch.push(socket(0, 0), far, &[0; 40], false);
    batch.push(socket(0, 1), far, &[22; 40], false);
    batch.push(socket(0, 0), far, &[0x80; 40], false);
    batch.push(socket(0, 9), far, &[0x80; 40], false);
    core.receive(now, &mut batch);
    assert_eq!(batch.sends().count(), 0);
    let mut counters = Vec::new();
    core.all_counters(&mut counters);
    let count = |room, name| counters.iter().find(|c| (c.0, c.1) == (room, name)).unwrap().2;
    assert_eq!(count("webrtc", "stun_malformed"), 1);
    assert_eq!(count("webrtc", "dtls_unverified"), 1);
    assert_eq!(count("media", "dropped_unverified"), 1);
    assert_eq!(count("media", "dropped_stale"), 1);
    assert_eq!(core.counters().stray, 9);
}

#[test]
fn sip_messages_go_to_the_shard_of_their_call_id_and_answers_leave_where_they_are_made() {
    let (mut config, now) = (config(), clock());
    let far = address("203.0.113.5:5060");
    // A stranger is answered a few times only.
    let trunks = vec![crate::sip::Trunk::new("far", far)];
    config.sip = Arc::new(crate::sip::Config { trunks, ..crate::sip::Config::default() });
    let config = Arc::new(config);
    let mut shards = [core(&config, now, 0, 2), core(&config, now, 1, 2)];
    let mut at = [0; 2];
    for n in 0..20 {
        let options = format!(
            "OPTIONS sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.5;branch=z9hG4bKx{n}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:a@203.0.113.5>;tag=1\r\nTo: <sip:192.0.2.1>\r\nCall-ID: c{n}\r\n\
             CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        shards[0].message(now, socket(0, 2), far, options.as_bytes());
        let heard = hear(&mut shards[0], now);
        let home = usize::from(!heard.mail.is_empty());
        at[home] += 1;
        for (to, mail) in heard.mail {
            assert_eq!(to, ShardId(1));
            shards[1].mail(now, ShardId(0), mail);
        }
        // The home answers from its own socket: it has the same address.
        let answers = if home == 0 { heard.sent } else { hear(&mut shards[1], now).sent };
        assert_eq!(answers, [(socket(home as u8, 2), far)]);
    }
    assert!(at[0] > 3 && at[1] > 3, "{at:?}");
    assert_eq!(shards[0].counters().steered_sip, at[1]);
}

#[test]
fn a_switchboard_out_of_turns_goes_on_in_the_next_pass() {
    let now = clock();
    let mut config = config();
    config.caps.turns = 1;
    let mut core = core(&Arc::new(config), now, 0, 1);
    let mut passes = 0;
    while core.poll_timeout().is_some_and(|deadline| deadline.at <= now.instant) {
        core.handle_timeout(now);
        passes += 1;
        assert!(passes < 1000);
    }
    assert!(passes > 1, "the plane asks for a stock of ports at its birth, one a turn");
    assert_eq!(core.counters().unsettled as usize, passes);
}

#[test]
fn what_several_web_sockets_send_leaves_by_the_one_that_the_far_side_uses() {
    let (config, now) = (Arc::new(config()), clock());
    let mut core = core(&config, now, 0, 1);
    let (one, other) = (address("203.0.113.5:1"), address("203.0.113.5:2"));
    core.learn_path(one, socket(0, 1));
    assert_eq!(core.web_socket(socket(0, 0), one), socket(0, 1));
    assert_eq!(core.web_socket(socket(0, 0), other), socket(0, 0));
    assert_eq!(core.web_socket(socket(0, 7), one), socket(0, 7), "an RTP socket stays itself");
}
