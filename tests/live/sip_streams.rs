//! SIP over TCP, TLS and WebSocket on a running node, by a driver of our own.

use crate::node::{Node, PATIENCE};
use crate::rig::{config, localhost};
use bridgehead::net::{Certificate, Tickets, Trust};
use bridgehead::shard::{Config, Order, SipTls};
use bridgehead::sip::{self, Entry, Transport, Trunk};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tungstenite::Message;
use tungstenite::client::IntoClientRequest;

/// One end of a TCP connection that speaks SIP.
struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    fn new(stream: TcpStream) -> Line {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Line { stream, buffer: Vec::new() }
    }

    fn to(address: SocketAddr) -> Line {
        Line::new(TcpStream::connect(address).unwrap())
    }

    fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap();
    }

    /// The next message, or keep-alive; empty where the far side ended.
    fn hear(&mut self) -> String {
        loop {
            match sip_codec::frame(&self.buffer) {
                sip_codec::Frame::Complete(count) | sip_codec::Frame::KeepAlive(count) => {
                    return String::from_utf8(self.buffer.drain(..count).collect()).unwrap();
                }
                sip_codec::Frame::Partial(_) => {}
                bad @ sip_codec::Frame::Bad { .. } => panic!("{bad:?}"),
            }
            let mut bytes = [0; 4096];
            match self.stream.read(&mut bytes) {
                Ok(0) => return String::new(),
                Ok(count) => self.buffer.extend_from_slice(&bytes[..count]),
                // Closed with bytes of ours unread.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return String::new(),
                Err(error) => panic!("nothing comes: {error}"),
            }
        }
    }

    fn own(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }
}

fn options(via: &str, call: &str, pad: usize) -> String {
    format!(
        "OPTIONS sip:gw SIP/2.0\r\nVia: SIP/2.0/{via};branch=z9hG4bK{call};rport\r\nMax-Forwards: 70\r\n\
         From: <sip:a@b>;tag=1\r\nTo: <sip:gw>\r\nCall-ID: {call}\r\nCSeq: 1 OPTIONS\r\nX-Pad: {pad}\r\n\
         Content-Length: 0\r\n\r\n",
        pad = "x".repeat(pad)
    )
}

/// Two shards whose trunk is this machine.
fn node(change: impl FnOnce(&mut Config)) -> Node {
    let mut config = config();
    let trunks = vec![Trunk::new("here", localhost(9))];
    config.sip = Arc::new(sip::Config { trunks, ..sip::Config::default() });
    change(&mut config);
    Node::start(config, 2)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    #[expect(clippy::disallowed_methods, reason = "a test against real sockets")]
    let end = Instant::now() + PATIENCE;
    while !done() {
        #[expect(clippy::disallowed_methods, reason = "a test against real sockets")]
        let now = Instant::now();
        assert!(now < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn fragments_and_many_messages_in_one_segment_are_answered_each_on_their_connection() {
    let node = node(|_| {});
    // Several connections, so that both shards accept some, and calls of both homes on each.
    for round in 0..6 {
        let mut line = Line::to(node.bound.sip[0]);
        let via = format!("TCP {}", line.own());
        let calls: Vec<String> = (0..8).map(|n| format!("c{round}-{n}")).collect();
        let all: String = calls.iter().map(|call| options(&via, call, round * 100)).collect();
        let size = [all.len(), 1000, 100, 7, 3, 1][round];
        for piece in all.as_bytes().chunks(size) {
            line.stream.write_all(piece).unwrap();
        }
        let mut heard: Vec<String> = calls
            .iter()
            .map(|_| {
                let text = line.hear();
                assert!(text.starts_with("SIP/2.0 200 OK\r\n"), "{text}");
                text.lines().find_map(|line| line.strip_prefix("Call-ID: ")).unwrap().to_owned()
            })
            .collect();
        heard.sort();
        assert_eq!(heard, calls);
        line.say("\r\n\r\n");
        assert_eq!(line.hear(), "\r\n");
    }
    assert!(node.count("shard", "steered_sip") > 0, "some belonged to the other shard");
    until("all connections are gone", || node.count("sip_connections", "closed") == 6);
    node.finish(|| Order::Stop);
}

#[test]
fn a_length_that_overflows_or_lies_is_refused_and_floods_of_connections_are_bounded() {
    let node = node(|config| {
        config.caps.sip_connections = 20;
        config.sip = Arc::new(sip::Config {
            streams: sip::Streams { first: Duration::from_millis(300), ..sip::Streams::default() },
            ..sip::Config::clone(&config.sip)
        });
    });
    for (n, length) in
        ["18446744073709551617", "4294967297", "99999", "-1", "0\r\nContent-Length: 1"].iter().enumerate()
    {
        let mut line = Line::to(node.bound.sip[0]);
        let via = format!("TCP {}", line.own());
        line.say(&options(&via, &format!("lie{n}"), 0).replace("Length: 0", &format!("Length: {length}")));
        let answer = line.hear();
        assert!(answer.starts_with("SIP/2.0 400 ") || answer.starts_with("SIP/2.0 513 "), "{answer}");
        assert_eq!(line.hear(), "", "and the connection ends");
    }
    assert_eq!(node.count("sip_streams", "broken") + node.count("sip_streams", "oversize"), 5);
    // A flood of connections that say nothing: some are refused, none stays.
    let flood: Vec<TcpStream> = (0..100).map(|_| TcpStream::connect(node.bound.sip[0]).unwrap()).collect();
    until("the flood is seen", || {
        node.count("sip_connections", "accepted") + node.count("sip_connections", "full") >= 105
    });
    assert!(node.count("sip_connections", "full") >= 60);
    until("the silent are closed", || {
        node.count("sip_connections", "closed") == node.count("sip_connections", "accepted")
    });
    drop(flood);
    let mut line = Line::to(node.bound.sip[0]);
    let via = format!("TCP {}", line.own());
    line.say(&options(&via, "after", 0));
    assert!(line.hear().starts_with("SIP/2.0 200 OK"));
    node.finish(|| Order::Stop);
}

/// The port of a trunk over TCP, which registers and is connected to.
fn registering(transport: Transport, name: Option<&str>, address: SocketAddr, tls: SipTls) -> Node {
    node(|config| {
        let hop = sip::Hop { transport, address, name: name.map(Into::into) };
        let trunks = vec![Trunk { entries: vec![Entry::of(&hop)], ..Trunk::new("there", address) }];
        config.sip = Arc::new(sip::Config { trunks, ..sip::Config::default() });
        config.sip_tls = tls;
        let mut signal = bridgehead::signal::Config::default();
        signal.add_user("alice", "secret", "");
        config.signal = Arc::new(signal);
        let mut sip = sip::Config::clone(&config.sip);
        let registration = sip::Registration {
            account: "alice".into(),
            trunk: bridgehead::leg::TrunkId(0),
            user: "alice".into(),
            auth_user: "alice".into(),
            password: sip::Secret("secret".into()),
        };
        sip.accounts = [("alice".into(), registration)].into_iter().collect();
        sip.registration.retry = Duration::from_millis(50);
        config.sip = Arc::new(sip);
    })
}

/// Signs alice in, who is registered upstream then.
fn sign_in(node: &Node) -> tungstenite::WebSocket<TcpStream> {
    let http = node.bound.http.unwrap();
    let mut request = format!("ws://{http}/v1/ws").into_client_request().unwrap();
    request.headers_mut().insert("Sec-WebSocket-Protocol", "bridgehead.v1".parse().unwrap());
    let (mut socket, _) = tungstenite::client(request, TcpStream::connect(http).unwrap()).unwrap();
    let text = r#"{"type":"connect","id":1,"version":1,"user":"alice","password":"secret"}"#;
    socket.send(Message::text(text)).unwrap();
    socket.send(Message::text(r#"{"type":"register","id":2}"#)).unwrap();
    socket
}

fn accept(listener: &TcpListener) -> Line {
    Line::new(listener.accept().unwrap().0)
}

#[test]
fn a_trunk_is_connected_to_and_a_lost_connection_is_made_anew() {
    let listener = TcpListener::bind(localhost(0)).unwrap();
    let node = registering(Transport::Tcp, None, listener.local_addr().unwrap(), SipTls::default());
    let _session = sign_in(&node);
    for _ in 0..2 {
        let mut line = accept(&listener);
        let register = line.hear();
        assert!(register.starts_with("REGISTER ") && register.contains("Via: SIP/2.0/TCP "), "{register}");
        assert!(register.contains(";transport=tcp>"), "{register}");
        // It dies with the request unanswered: the next attempt is by another.
    }
    let mut line = accept(&listener);
    let register = line.hear();
    let names = ["Via:", "From:", "To:", "Call-ID:", "CSeq:", "Contact:"];
    let copied: Vec<&str> =
        register.split("\r\n").filter(|line| names.iter().any(|name| line.starts_with(name))).collect();
    let copied = copied.join("\r\n");
    line.say(&format!("SIP/2.0 200 OK\r\n{copied}\r\nContent-Length: 0\r\n\r\n"));
    until("it is registered", || node.count("sip_connections", "risen") == 3);
    assert!(node.count("sip", "unconnected") == 0);
    node.finish(|| Order::Stop);
}

/// A certificate for these names, and its PEM.
fn certificate(names: &[&str]) -> (String, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
    (pem("CERTIFICATE", made.der()), pem("PRIVATE KEY", &key.serialize_der()))
}

fn pem(what: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {what}-----\n{text}\n-----END {what}-----\n")
}

fn trust(chain: &str) -> SipTls {
    SipTls { trunks: vec![Some(Trust::from_pem(chain.as_bytes(), None).unwrap())], ..SipTls::default() }
}

/// Two gateways' worth of TLS: a node that listens, and one that registers there.
fn listening(chain: &str, key: &str, clients: Option<&str>) -> Node {
    let tickets = Tickets::new().unwrap();
    let clients = clients.map(str::as_bytes);
    let certificate = Certificate::for_sip(chain.as_bytes(), key.as_bytes(), clients, &tickets).unwrap();
    node(|config| {
        config.realms[0].sip_tls = Some(localhost(0));
        config.sip_tls = SipTls { certificate: Some(certificate), ..SipTls::default() };
    })
}

#[test]
fn tls_comes_up_with_the_right_domain_and_with_no_other() {
    let (chain, key) = certificate(&["pbx.example"]);
    let server = listening(&chain, &key, None);
    let address = server.bound.sip_tls[0].unwrap();
    let good = registering(Transport::Tls, Some("pbx.example"), address, trust(&chain));
    let _session = sign_in(&good);
    until("a message comes over TLS", || server.count("sip_streams", "messages_in") >= 1);
    assert_eq!(good.count("sip_connections", "risen"), 1);
    good.finish(|| Order::Stop);
    let before = server.count("sip_streams", "messages_in");
    let (other, _) = certificate(&["pbx.example"]);
    for (name, tls) in [("evil.example", trust(&chain)), ("pbx.example", trust(&other))] {
        let bad = registering(Transport::Tls, Some(name), address, tls);
        let _session = sign_in(&bad);
        until("it gives up", || bad.count("sip", "unconnected") >= 2);
        assert_eq!(bad.count("sip_connections", "risen"), 0);
        bad.finish(|| Order::Stop);
    }
    assert_eq!(server.count("sip_streams", "messages_in"), before, "not a word to the wrong one");
    server.finish(|| Order::Stop);
}

#[test]
fn with_authorities_for_clients_a_connection_needs_their_certificate() {
    let (chain, key) = certificate(&["pbx.example"]);
    let authority = {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "clients");
        rcgen::CertifiedIssuer::self_signed(params, key).unwrap()
    };
    let client_key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["gw.example".to_owned()]).unwrap();
    let client = params.signed_by(&client_key, &authority).unwrap();
    let server = listening(&chain, &key, Some(&pem("CERTIFICATE", authority.der())));
    let address = server.bound.sip_tls[0].unwrap();
    let (own, own_key) = (pem("CERTIFICATE", client.der()), pem("PRIVATE KEY", &client_key.serialize_der()));
    for (own, comes) in [(None, false), (Some((own.as_bytes(), own_key.as_bytes())), true)] {
        let trust = Trust::from_pem(chain.as_bytes(), own).unwrap();
        let tls = SipTls { trunks: vec![Some(trust)], ..SipTls::default() };
        let node = registering(Transport::Tls, Some("pbx.example"), address, tls);
        let _session = sign_in(&node);
        if comes {
            until("it comes", || server.count("sip_streams", "messages_in") >= 1);
        } else {
            until("it is refused", || node.count("sip_connections", "closed") >= 2);
            assert_eq!(server.count("sip_streams", "messages_in"), 0);
        }
        node.finish(|| Order::Stop);
    }
    server.finish(|| Order::Stop);
}

#[test]
fn a_phone_s_register_over_websocket_is_answered_on_it() {
    let node = node(|_| {});
    let http = node.bound.http.unwrap();
    for n in 0..4 {
        let mut request = format!("ws://{http}/sip").into_client_request().unwrap();
        request.headers_mut().insert("Sec-WebSocket-Protocol", "sip".parse().unwrap());
        let stream = TcpStream::connect(http).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut socket, response) = tungstenite::client(request, stream).unwrap();
        assert_eq!(response.headers()["sec-websocket-protocol"], "sip");
        let register =
            options("WS df7jal23ls0d.invalid", &format!("ws{n}"), 0).replace("OPTIONS", "REGISTER");
        socket.send(Message::text(register)).unwrap();
        let Message::Text(answer) = socket.read().unwrap() else { panic!("no text") };
        assert!(answer.starts_with("SIP/2.0 ") && answer.contains("CSeq: 1 REGISTER"), "{answer}");
        assert!(answer.contains("Via: SIP/2.0/WS df7jal23ls0d.invalid;"), "{answer}");
    }
    node.finish(|| Order::Stop);
}

#[test]
fn over_ipv6_it_is_the_same() {
    if TcpListener::bind("[::1]:0").is_err() {
        return println!("skipped: no IPv6 here");
    }
    let node = node(|config| {
        config.realms = vec![bridgehead::shard::Realm::new("six", "[::1]:0".parse().unwrap())];
        let trunks = vec![Trunk::new("here", "[::1]:9".parse().unwrap())];
        config.sip = Arc::new(sip::Config { trunks, ..sip::Config::default() });
    });
    let mut line = Line::to(node.bound.sip[0]);
    let via = format!("TCP {}", line.own());
    line.say(&options(&via, "six", 0));
    let answer = line.hear();
    assert!(answer.starts_with("SIP/2.0 200 OK") && answer.contains(";received=::1"), "{answer}");
    node.finish(|| Order::Stop);
}
