//! SIP over TCP and TLS with real peers, judged by the tone heard: Kamailio, baresip, SIPp, openssl.

use super::baresip::Baresip;
use super::gateway::{Gateway, Plan};
use super::kamailio::Kamailio;
use super::phone::Phone;
use super::process::{Process, pem};
use super::scene::{PATIENCE, Scene, free_port, until};
use super::sipp;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;

/// What the caller plays, and the callee.
const CALLER: f32 = 1_200.0;
const CALLEE: f32 = 440.0;

fn local(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A certificate of its own authority for this domain: the files of chain and key.
fn certificate(scene: &Scene, domain: &str) -> (PathBuf, PathBuf) {
    let key = rcgen::KeyPair::generate().unwrap();
    let made = rcgen::CertificateParams::new(vec![domain.to_owned()]).unwrap().self_signed(&key).unwrap();
    let (chain, key) = (pem("CERTIFICATE", made.der()), pem("PRIVATE KEY", &key.serialize_der()));
    (scene.write(&format!("{domain}.pem"), chain), scene.write(&format!("{domain}.key"), key))
}

/// The lines that make a trunk of the last one over this transport.
fn over(transport: &str, ca: &std::path::Path) -> String {
    let ca = if transport == "tls" { format!("ca = \"{}\"\n", ca.display()) } else { String::new() };
    format!("transport = \"{transport}\"\n{ca}")
}

/// SIPp calls by way of the gateway; both ends hear each other. Gives SIPp and its phone.
fn call_by_gateway(scene: &Scene, port: u16, gateway: &Gateway, to: &str) -> (sipp::Sipp, Phone) {
    let phone = Phone::new(CALLER);
    let caller = sipp::Plan::new(scene, "caller", "uac").port(port).rtp(phone.port).pause_ms(6_000);
    let caller = caller.call(gateway.sip, "alice", to);
    phone.call(caller.far_media("SIP/2.0 200"));
    (caller, phone)
}

/// How many SIP connections of a transport there are.
fn connections(gateway: &Gateway, transport: &str) -> u32 {
    let page = gateway.ask_admin("/metrics");
    let name = format!("bridgehead_sip_connections{{transport=\"{transport}\"}} ");
    let value = page.lines().find_map(|line| line.strip_prefix(&name));
    value.and_then(|value| value.parse().ok()).unwrap_or_else(|| panic!("no {name}in\n{page}"))
}

/// Calls to a softphone behind Kamailio, and from there, over one transport.
fn through_kamailio(transport: &str) {
    let scene = Scene::new(&format!("streams_kamailio_{transport}"));
    let (chain, key) = certificate(&scene, "test.local");
    let (caller, outside, tls) = (free_port(), free_port(), free_port());
    let gateway_at = Plan::new(&scene).sip_tls(tls, &chain, &key);
    let inside = if transport == "tls" { tls } else { gateway_at.sip_port() };
    let kamailio = Kamailio::over(
        &scene,
        (outside, &format!("127.0.0.1:{inside};transport={transport}")),
        (&chain, &key),
    );
    let port = if transport == "tls" { kamailio.tls } else { kamailio.port };
    let far = sipp::Plan::new(&scene, "far", "uas-hangs-up");
    let far_phone = Phone::new(700.0);
    let mut far = far.rtp(far_phone.port).pause_ms(6_000).listen();
    let gateway = gateway_at
        .trunk("caller", caller, "")
        .trunk("kamailio", port, "test.local")
        .lines(&over(transport, &chain))
        .lines("username = \"alice\"\npassword = \"alicepw\"\n")
        .trunk("far", far.port, "")
        .route("caller", "", "kamailio")
        .route("kamailio", "9", "far")
        .start();
    let baresip = Baresip::start(&scene, "carol", kamailio.port, CALLEE as u32);
    kamailio.registered("carol");
    let (mut sipp, phone) = call_by_gateway(&scene, caller, &gateway, "carol");
    phone.assert_hears("the caller", CALLEE);
    baresip.assert_hears(CALLER);
    assert!(connections(&gateway, transport) >= 1, "it went over {transport}");
    sipp.assert_success();
    // And in: Kamailio passes on what begins with 9.
    let phone = Phone::new(CALLER);
    let outside = sipp::Plan::new(&scene, "outside", "uac-waits").port(outside).rtp(phone.port);
    let mut outside = outside.call(local(kamailio.port), "dave", "9bob");
    far_phone.call(far.far_media("INVITE"));
    phone.call(outside.far_media("SIP/2.0 200"));
    phone.assert_hears("who calls by Kamailio", 700.0);
    far_phone.assert_hears("who is called behind the gateway", CALLER);
    outside.assert_success();
    far.assert_success();
}

#[test]
fn calls_go_to_kamailio_and_come_from_it_over_tcp() {
    through_kamailio("tcp");
}

#[test]
fn calls_go_to_kamailio_and_come_from_it_over_tls() {
    through_kamailio("tls");
}

#[test]
fn baresip_is_called_over_tcp_and_over_tls() {
    for transport in ["tcp", "tls"] {
        let scene = Scene::new(&format!("streams_baresip_{transport}"));
        let (chain, key) = certificate(&scene, "phone.example");
        let (baresip, port) = Baresip::direct(&scene, "carol", transport, (&chain, &key), CALLEE as u32);
        let caller = free_port();
        let gateway = Plan::new(&scene)
            .trunk("caller", caller, "")
            .trunk("phone", port, "phone.example")
            .lines(&over(transport, &chain))
            .route("caller", "", "phone")
            .start();
        let (mut sipp, phone) = call_by_gateway(&scene, caller, &gateway, "carol");
        phone.assert_hears("the caller", CALLEE);
        baresip.assert_hears(CALLER);
        assert_eq!(connections(&gateway, transport), 1);
        sipp.assert_success();
    }
}

#[test]
fn sipp_calls_in_over_tcp() {
    let scene = Scene::new("streams_sipp_tcp");
    let far_phone = Phone::new(CALLEE);
    let mut far = sipp::Plan::new(&scene, "far", "uas").rtp(far_phone.port).pause_ms(100).listen();
    let caller = free_port();
    let gateway = Plan::new(&scene)
        .trunk("caller", caller, "")
        .lines("transport = \"tcp\"\n")
        .trunk("far", far.port, "")
        .route("caller", "", "far")
        .start();
    let phone = Phone::new(CALLER);
    let sipp = sipp::Plan::new(&scene, "caller", "uac").port(caller).tcp().rtp(phone.port).pause_ms(6_000);
    let mut sipp = sipp.call(gateway.sip, "alice", "bob");
    phone.call(sipp.far_media("SIP/2.0 200"));
    far_phone.call(far.far_media("INVITE"));
    phone.assert_hears("the caller", CALLEE);
    far_phone.assert_hears("the callee", CALLER);
    let ok = sipp.received("SIP/2.0 200");
    assert!(ok.contains(";transport=tcp>"), "{ok}");
    sipp.assert_success();
    far.assert_success();
}

/// What a peer asks; `tell` adds the last line feed.
const OPTIONS: &str = "OPTIONS sip:gw.example SIP/2.0\r\nVia: SIP/2.0/TLS 127.0.0.1:9;branch=z9hG4bKo\r\n\
    Max-Forwards: 70\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:gw.example>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n\
    Content-Length: 0\r\n\r";

#[test]
fn openssl_finds_the_right_certificate_and_gets_an_answer() {
    let scene = Scene::new("streams_openssl_client");
    let (chain, key) = certificate(&scene, "gw.example");
    let tls = free_port();
    let gateway = Plan::new(&scene).sip_tls(tls, &chain, &key).trunk("here", free_port(), "").start();
    let connect = |name: &str, process: &str| {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &local(tls).to_string(), "-CAfile"]).arg(&chain);
        command.args(["-servername", name, "-verify_hostname", name, "-verify_return_error", "-quiet"]);
        Process::start(&scene, process, &mut command)
    };
    let mut right = connect("gw.example", "right");
    right.tell(OPTIONS);
    right.line(|line| line.starts_with("SIP/2.0 200 OK"));
    let mut wrong = connect("evil.example", "wrong");
    assert!(!wrong.end().success(), "openssl itself refuses another name");
    // New files are used without a restart; the connection that stands keeps its own.
    let (new_chain, new_key) = certificate(&scene, "new.example");
    std::fs::rename(new_key, &key).unwrap();
    std::fs::rename(new_chain, &chain).unwrap();
    gateway.line(|line| line.contains("sip certificate: read anew"));
    let mut new = connect("new.example", "new");
    for (n, client) in [&mut new, &mut right].into_iter().enumerate() {
        client.tell(
            &OPTIONS
                .replace("Call-ID: o", &format!("Call-ID: again{n}"))
                .replace("z9hG4bKo", &format!("z9hG4bKo{n}")),
        );
        client.line(|line| line.starts_with("SIP/2.0 200 OK"));
    }
}

#[test]
fn a_trunk_with_another_domain_s_certificate_is_not_spoken_to() {
    for (shown, comes) in [("evil.example", false), ("pbx.example", true)] {
        let scene = Scene::new(&format!("streams_openssl_server_{comes}"));
        let (chain, key) = certificate(&scene, shown);
        let (port, caller) = (free_port(), free_port());
        let mut command = Command::new("openssl");
        command.args(["s_server", "-accept", &local(port).to_string(), "-quiet", "-cert"]).arg(&chain);
        command.arg("-key").arg(&key);
        let mut server = Process::start(&scene, "server", &mut command);
        until("openssl listens", || TcpStream::connect(local(port)).ok());
        let gateway = Plan::new(&scene)
            .trunk("caller", caller, "")
            .trunk("pbx", port, "pbx.example")
            .lines(&over("tls", &chain))
            .route("caller", "", "pbx")
            .start();
        let phone = Phone::new(CALLER);
        let sipp = sipp::Plan::new(&scene, "caller", "uac").port(caller).rtp(phone.port);
        let sipp = sipp.call(gateway.sip, "alice", "bob");
        if comes {
            server.line(|line| line.starts_with("INVITE sip:bob@pbx.example SIP/2.0"));
        } else {
            sipp.received("SIP/2.0 500");
            let page = gateway.ask_admin("/metrics");
            assert!(page.contains("{part=\"sip\",name=\"unconnected\"} 1"), "{page}");
            let said = std::fs::read_to_string(scene.path("server.out")).unwrap();
            assert!(!said.contains("INVITE"), "not a word: {said}");
        }
    }
}

/// A trunk of our own driver over TCP.
struct Trunk {
    listener: TcpListener,
}

/// The next message of a connection.
fn hear(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("\r\n\r\n") || text == "\r\n\r\n" {
        if text == "\r\n\r\n" {
            text.clear();
        }
        stream.read_exact(&mut byte).unwrap();
        text.push(byte[0] as char);
    }
    let length =
        text.lines().find_map(|line| line.strip_prefix("Content-Length: ")).unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    text + &String::from_utf8(body).unwrap()
}

impl Trunk {
    fn answer(&self, stream: &mut TcpStream, request: &str, status: &str, rtp: u16) {
        let names = ["Via:", "From:", "Call-ID:", "CSeq:"];
        let copied: Vec<&str> =
            request.lines().filter(|line| names.iter().any(|name| line.starts_with(name))).collect();
        let copied = copied.join("\r\n");
        let to = request.lines().find(|line| line.starts_with("To:")).unwrap();
        let tag = if to.contains(";tag=") { "" } else { ";tag=t" };
        let port = self.listener.local_addr().unwrap().port();
        let body = format!(
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio {rtp} RTP/AVP 0\r\n"
        );
        let body = if request.starts_with("INVITE") { body } else { String::new() };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!(
            "SIP/2.0 {status}\r\n{copied}\r\n{to}{tag}\r\nContact: <sip:t@127.0.0.1:{port};transport=tcp>\r\n{kind}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(text.as_bytes()).unwrap();
    }
}

#[test]
fn a_trunk_that_closes_its_connection_in_a_call_loses_neither_sound_nor_the_bye() {
    let scene = Scene::new("streams_closes");
    let trunk = Trunk { listener: TcpListener::bind(local(0)).unwrap() };
    let caller = free_port();
    let gateway = Plan::new(&scene)
        .trunk("caller", caller, "")
        .trunk("tcp", trunk.listener.local_addr().unwrap().port(), "")
        .lines("transport = \"tcp\"\n")
        .route("caller", "", "tcp")
        .start();
    let (phone, far) = (Phone::new(CALLER), Phone::new(CALLEE));
    let sipp = sipp::Plan::new(&scene, "caller", "uac").port(caller).rtp(phone.port).pause_ms(6_000);
    let mut sipp = sipp.call(gateway.sip, "alice", "bob");
    let mut stream = trunk.listener.accept().unwrap().0;
    let invite = hear(&mut stream);
    assert!(invite.contains("Via: SIP/2.0/TCP 127.0.0.1:"), "{invite}");
    trunk.answer(&mut stream, &invite, "200 OK", far.port);
    assert!(hear(&mut stream).starts_with("ACK "));
    drop(stream);
    until("the gateway sees the end", || (connections(&gateway, "tcp") == 0).then_some(()));
    let media = |text: &str| {
        let port = text.lines().find_map(|line| line.strip_prefix("m=audio ")).unwrap();
        local(port.split(' ').next().unwrap().parse().unwrap())
    };
    far.call(media(&invite));
    phone.call(sipp.far_media("SIP/2.0 200"));
    phone.assert_hears("the caller", CALLEE);
    far.assert_hears("the callee", CALLER);
    let mut stream = trunk.listener.accept().unwrap().0;
    let bye = hear(&mut stream);
    assert!(bye.starts_with("BYE "), "{bye}");
    trunk.answer(&mut stream, &bye, "200 OK", 0);
    sipp.assert_success();
}
