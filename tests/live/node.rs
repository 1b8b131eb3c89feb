//! Shards on threads of their own, as `node` runs them: steering, mailboxes, orders.

use crate::rig::{config, localhost};
use bridgehead::base::Random;
use bridgehead::call::{self, Route, RouteFrom, RouteTo};
use bridgehead::leg::TrunkId;
use bridgehead::shard::{Bound, Config, Control, Loop, Order, open};
use bridgehead::sip;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Node {
    pub bound: Bound,
    controls: Vec<Control>,
    threads: Vec<JoinHandle<std::io::Result<()>>>,
}

impl Node {
    pub fn start(config: Config, shards: u8) -> Node {
        let opened = open(&Arc::new(config), shards).unwrap();
        let mut random = Random::from_number(5);
        let run = |seat| {
            let random = random.fork();
            std::thread::spawn(move || Loop::new(seat, random)?.run())
        };
        let threads = opened.seats.into_iter().map(run).collect();
        Node { bound: opened.bound, controls: opened.controls, threads }
    }

    /// A counter, added up over all shards.
    pub fn count(&self, room: &str, name: &str) -> u64 {
        let of = |control: &Control| {
            let counters = control.snapshot(PATIENCE).unwrap().counters;
            counters.iter().find(|(r, n, _)| (*r, *n) == (room, name)).map_or(0, |(_, _, value)| *value)
        };
        self.controls.iter().map(of).sum()
    }

    fn calls(&self) -> usize {
        self.controls.iter().map(|control| control.snapshot(PATIENCE).unwrap().calls).sum()
    }

    /// Stops it without a word to anybody.
    pub fn abort(self) {
        // Asked twice, it means it.
        for _ in 0..2 {
            self.controls.iter().for_each(|control| assert!(control.send(Order::Stop)));
        }
        self.threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
    }

    pub fn finish(self, order: fn() -> Order) {
        self.controls.iter().for_each(|control| assert!(control.send(order())));
        self.threads.into_iter().for_each(|thread| thread.join().unwrap().unwrap());
        assert!(!self.controls[0].send(Order::Stop));
    }
}

/// A SIP phone of few words.
struct Phone {
    sip: UdpSocket,
    rtp: UdpSocket,
    gateway: SocketAddr,
}

struct Text(String);

impl Text {
    fn header(&self, name: &str) -> &str {
        let line = self.0.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}:")));
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
    }
    fn starts(&self, with: &str) -> bool {
        self.0.starts_with(with)
    }
    fn media(&self) -> SocketAddr {
        let line = self.0.lines().find_map(|line| line.strip_prefix("m=audio ")).expect("SDP");
        let host = self.0.lines().find_map(|line| line.strip_prefix("c=IN IP4 ")).expect("SDP");
        format!("{}:{}", host.trim(), line.split(' ').next().unwrap()).parse().unwrap()
    }
}

impl Phone {
    fn new(host: &str) -> Phone {
        let open = || {
            let socket = UdpSocket::bind((host, 0)).unwrap();
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
            socket
        };
        Phone { sip: open(), rtp: open(), gateway: localhost(0) }
    }
    fn address(&self) -> SocketAddr {
        self.sip.local_addr().unwrap()
    }
    fn sdp(&self) -> String {
        let address = self.rtp.local_addr().unwrap();
        format!(
            "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\nm=audio {} RTP/AVP 0\r\n\
             a=rtpmap:0 PCMU/8000\r\n",
            address.port(),
            ip = address.ip(),
        )
    }
    fn request(&self, method: &str, uri: &str, call: &str, to: &str, cseq: u32, body: &str) {
        let me = self.address();
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP {me};branch=z9hG4bK{method}{call};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:alice@{me}>;tag=a{call}\r\nTo: {to}\r\nCall-ID: {call}\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:alice@{me}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.sip.send_to(text.as_bytes(), self.gateway).unwrap();
    }
    fn respond(&self, request: &Text, status: &str, body: &str) {
        let copy = |name: &str| format!("{name}: {}\r\n", request.header(name));
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "SIP/2.0 {status}\r\n{}{}To: {};tag=b\r\n{}{}Contact: <sip:bob@{}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
            copy("via"),
            copy("from"),
            request.header("to").split(";tag").next().unwrap(),
            copy("call-id"),
            copy("cseq"),
            self.address(),
            body.len()
        );
        self.sip.send_to(text.as_bytes(), self.gateway).unwrap();
    }
    /// The next message that begins so; others (100, retransmissions) are passed over.
    fn hear(&self, with: &str) -> Text {
        let mut buffer = [0; 4096];
        loop {
            let length = self.sip.recv(&mut buffer).unwrap_or_else(|e| panic!("waiting for {with}: {e}"));
            let text = Text(String::from_utf8(buffer[..length].to_vec()).unwrap());
            if text.starts(with) {
                return text;
            }
            assert!(
                text.starts("SIP/2.0 1") || text.starts("INVITE") || text.starts("ACK"),
                "waiting for {with}:\n{}",
                text.0
            );
        }
    }
}

fn phones(config: &mut Config) -> (Phone, Phone) {
    let (alice, bob) = (Phone::new("127.0.0.2"), Phone::new("127.0.0.3"));
    let trunk = |phone: &Phone, name| sip::Trunk::new(name, phone.address());
    config.sip = Arc::new(sip::Config {
        trunks: vec![trunk(&alice, "alice"), trunk(&bob, "bob")],
        ..sip::Config::default()
    });
    let trunk = |name: &str| call::Trunk {
        name: name.to_owned(),
        codecs: call::codecs(&["pcmu"]),
        ..call::Trunk::default()
    };
    config.call = Arc::new(call::Config {
        trunks: vec![trunk("alice"), trunk("bob")],
        routes: vec![Route {
            from: RouteFrom::Trunk(TrunkId(0)),
            to: RouteTo::Trunk(TrunkId(1)),
            ..Route::default()
        }],
        ..call::Config::default()
    });
    (alice, bob)
}

/// A whole call: set up, a packet each way, hung up by the caller.
fn call(alice: &Phone, bob: &Phone, id: &str) {
    let uri = format!("sip:bob@{}", alice.gateway);
    alice.request("INVITE", &uri, id, &format!("<{uri}>"), 1, &alice.sdp());
    let invite = bob.hear("INVITE");
    bob.respond(&invite, "180 Ringing", "");
    alice.hear("SIP/2.0 180");
    bob.respond(&invite, "200 OK", &bob.sdp());
    let ok = alice.hear("SIP/2.0 200");
    let to = ok.header("to").to_owned();
    let contact = ok.header("contact").trim_matches(['<', '>']).to_owned();
    alice.request("ACK", &contact, id, &to, 1, "");
    bob.hear("ACK");

    let mut packet = [0x55; 172];
    packet[..12].copy_from_slice(&[0x80, 0, 0, 1, 0, 0, 0, 160, 9, 9, 9, 9]);
    let mut buffer = [0; 2048];
    for (from, to, there) in [(alice, bob, ok.media()), (bob, alice, invite.media())] {
        from.rtp.send_to(&packet, there).unwrap();
        let length = to.rtp.recv(&mut buffer).unwrap();
        assert_eq!(buffer[12..length], packet[12..]);
    }

    alice.request("BYE", &contact, id, &to, 2, "");
    let bye = bob.hear("BYE");
    bob.respond(&bye, "200 OK", "");
    alice.hear("SIP/2.0 200");
}

#[test]
fn calls_between_trunks_live_on_the_shard_of_their_call_id_wherever_their_messages_land() {
    let mut config = config();
    let (mut alice, mut bob) = phones(&mut config);
    let node = Node::start(config, 2);
    alice.gateway = node.bound.sip[0];
    bob.gateway = node.bound.sip[0];
    // One far address always lands on one shard; Call-IDs spread over both.
    for n in 0..12 {
        call(&alice, &bob, &format!("call{n}"));
    }
    assert!(node.count("shard", "steered_sip") >= 4 * 12 / 4, "half of all messages land on the wrong shard");
    assert_eq!(node.calls(), 0);
    assert_eq!(node.count("media", "forwarded"), 24);
    assert_eq!(node.count("loop", "mail_shed"), 0);
    node.finish(|| Order::Drain);
}

#[test]
#[allow(clippy::disallowed_methods)] // How soon, in real time.
fn a_trunk_whose_port_is_closed_is_found_dead_at_once_wherever_the_error_lands() {
    const CALLS: u64 = 12;
    let mut config = config();
    let (mut alice, bob) = phones(&mut config);
    let node = Node::start(config, 2);
    alice.gateway = node.bound.sip[0];
    drop(bob);
    let uri = format!("sip:bob@{}", alice.gateway);
    let start = Instant::now();
    for n in 0..CALLS {
        let id = format!("dead{n}");
        alice.request("INVITE", &uri, &id, &format!("<{uri}>"), 1, &alice.sdp());
        let refusal = alice.hear("SIP/2.0 500");
        assert_eq!(refusal.header("call-id"), id);
        alice.request("ACK", &uri, &id, refusal.header("to"), 1, "");
    }
    // The first retransmission alone would be due after 500 ms.
    assert!(start.elapsed() < Duration::from_millis(400) * CALLS as u32, "{:?}", start.elapsed());
    assert_eq!(node.count("sip", "refused_by_icmp"), CALLS);
    assert_eq!(node.calls(), 0);
    node.finish(|| Order::Stop);
}

#[test]
#[allow(clippy::disallowed_methods)] // A core's time is what it is about.
fn a_core_that_is_busy_refuses_new_calls_by_503_and_takes_them_again_when_it_is_not() {
    let mut config = config();
    config.caps.load = 10;
    let (mut alice, bob) = phones(&mut config);
    let node = Node::start(config, 1);
    alice.gateway = node.bound.sip[0];
    // A call that is taken ends by 500 at once.
    drop(bob);
    let uri = format!("sip:bob@{}", alice.gateway);
    let mut calls = 0;
    let mut is_refused = || {
        calls += 1;
        let id = format!("busy{calls}");
        alice.request("INVITE", &uri, &id, &format!("<{uri}>"), 1, &alice.sdp());
        // A refusal of an earlier one may come again.
        let end = std::iter::repeat_with(|| alice.hear("SIP/2.0 50")).find(|end| end.header("call-id") == id);
        let end = end.unwrap();
        alice.request("ACK", &uri, &id, end.header("to"), 1, "");
        end.starts("SIP/2.0 503")
    };
    let start = Instant::now();
    while !is_refused() {
        assert!(start.elapsed() < PATIENCE, "never busy");
    }
    assert!(node.count("call", "refused_load") > 0);
    let start = Instant::now();
    while is_refused() {
        assert!(start.elapsed() < PATIENCE, "busy for good");
        // To ask without a pause is work.
        std::thread::sleep(Duration::from_millis(300));
    }
    node.finish(|| Order::Stop);
}

#[test]
fn a_large_invite_is_heard_whole() {
    let mut config = config();
    let (mut alice, mut bob) = phones(&mut config);
    let node = Node::start(config, 1);
    alice.gateway = node.bound.sip[0];
    bob.gateway = node.bound.sip[0];
    let uri = format!("sip:bob@{}", alice.gateway);
    let extra = "a=x-filler:0123456789012345678901234567890123456789\r\n".repeat(80);
    alice.request("INVITE", &uri, "large", &format!("<{uri}>"), 1, &(alice.sdp() + &extra));
    bob.hear("INVITE");
    node.finish(|| Order::Stop);
}

fn get(address: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn pages_are_served_whole_over_shared_ports() {
    let node = Node::start(config(), 2);
    let address = node.bound.http.unwrap();
    for _ in 0..8 {
        assert!(get(address, "/healthz").ends_with(r#"{"status":"ok"}"#));
        let page = get(address, "/sdk/bridgehead.js");
        let asset = bridgehead::web::asset("/sdk/bridgehead.js").unwrap();
        assert!(page.as_bytes().ends_with(asset.bytes));
    }
    assert_eq!(node.count("loop", "accepted"), 16);
    node.finish(|| Order::Stop);
}

fn sign_in(address: SocketAddr, user: &str) -> (WebSocket<TcpStream>, HashMap<String, serde_json::Value>) {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut request = format!("ws://{address}/v1/ws").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "bridgehead.v1".parse().unwrap());
    let (mut socket, _) = tungstenite::client(request, stream).unwrap();
    let text = format!(r#"{{"type":"connect","id":1,"version":1,"user":"{user}","password":"{user}"}}"#);
    socket.send(Message::text(text)).unwrap();
    let answer = socket.read().unwrap().into_text().unwrap();
    (socket, serde_json::from_str(&answer).unwrap())
}

#[test]
fn a_browser_is_served_by_the_home_of_its_user_wherever_it_landed() {
    let mut config = config();
    let mut signal = bridgehead::signal::Config::default();
    (0..8).for_each(|n| signal.add_user(&format!("user{n}"), &format!("user{n}"), ""));
    config.signal = Arc::new(signal);
    let node = Node::start(config, 2);
    let address = node.bound.http.unwrap();
    let mut sockets = Vec::new();
    // Three tabs each: they land anywhere, and all come home.
    for n in 0..24 {
        let (mut socket, answer) = sign_in(address, &format!("user{}", n % 8));
        assert_eq!(answer["type"], "ok", "{answer:?}");
        // A later message takes the way that the first one found.
        socket.send(Message::text(r#"{"type":"ping","id":2}"#)).unwrap();
        let pong = socket.read().unwrap().into_text().unwrap();
        assert!(pong.contains(r#""id":2"#), "{pong}");
        sockets.push(socket);
    }
    let moved = node.count("signal", "moved");
    assert!(moved > 0 && moved < 24, "{moved}");
    assert_eq!(node.count("signal", "sessions_opened"), 24);
    let (_, refused) = sign_in(address, "nobody");
    assert_eq!(refused["error"], "unauthorized");
    node.finish(|| Order::Stop);
    // At the end every browser is told.
    for mut socket in sockets {
        let text = socket.read().unwrap().into_text().unwrap();
        assert!(text.contains(r#""type":"closed""#), "{text}");
    }
}

#[test]
fn a_port_that_another_process_holds_is_an_error_at_start() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    for shards in [1, 2] {
        let mut config = config();
        config.realms[0].sip = taken.local_addr().unwrap();
        let error = open(&Arc::new(config), shards).unwrap_err();
        assert!(error.to_string().starts_with("SIP over UDP on 127.0.0.1:"), "{error}");
    }
    // A second gateway of the same user would share its port without a word, were it not looked for.
    let first = Node::start(config(), 2);
    let mut config = config();
    config.http.listen = first.bound.http;
    assert!(open(&Arc::new(config), 2).is_err());
    first.finish(|| Order::Stop);
}
