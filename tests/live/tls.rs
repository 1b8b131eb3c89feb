//! HTTPS over real sockets, with a client of another make than the server's own bytes: rustls as browsers would use it.

use crate::rig::config;
use base64::Engine as _;
use bridgehead::base::Random;
use bridgehead::net::{Certificate, Tickets};
use bridgehead::shard::{Config, Control, Loop, Order, open};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ProtocolVersion, RootCertStore, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// A certificate in PEM, and what a client needs to trust it.
pub struct Pair {
    pub chain: String,
    pub key: String,
    pub der: CertificateDer<'static>,
}

impl Pair {
    pub fn new() -> Pair {
        let pem = |label: &str, der: &[u8]| {
            let text = base64::engine::general_purpose::STANDARD.encode(der);
            let lines: Vec<&str> =
                text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
            format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
        };
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Pair { chain: pem("CERTIFICATE", &der), key: pem("PRIVATE KEY", &key.serialize_der()), der }
    }

    fn load(&self, tickets: &Tickets) -> Certificate {
        Certificate::from_pem(self.chain.as_bytes(), self.key.as_bytes(), tickets).unwrap()
    }
}

/// A client that trusts these, and keeps tickets between its connections.
pub fn client(
    trusted: &[&Pair],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for pair in trusted {
        roots.add(pair.der.clone()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(8);
    Arc::new(config)
}

type Secure = StreamOwned<ClientConnection, TcpStream>;

pub fn connect(config: &Arc<ClientConfig>, address: SocketAddr) -> Secure {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    StreamOwned::new(ClientConnection::new(Arc::clone(config), name).unwrap(), socket)
}

/// One request on a connection that stays; the answer's body.
pub fn get(stream: &mut Secure, target: &str) -> Vec<u8> {
    ask(stream, target);
    hear(stream)
}

fn ask(stream: &mut Secure, target: &str) {
    write!(stream, "GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
}

fn page_length() -> usize {
    bridgehead::web::asset("/sdk/bridgehead.js").unwrap().bytes.len()
}

fn hear(stream: &mut Secure) -> Vec<u8> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    let length = head.to_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.parse().unwrap()];
    stream.read_exact(&mut body).unwrap();
    body
}

struct Site {
    address: SocketAddr,
    controls: Vec<Control>,
    threads: Vec<JoinHandle<()>>,
}

impl Site {
    fn start(config: Config, shards: u8) -> Site {
        let opened = open(&Arc::new(config), shards).unwrap();
        let mut random = Random::from_number(3);
        let run = |seat| {
            let random = random.fork();
            std::thread::spawn(move || Loop::new(seat, random).unwrap().run().unwrap())
        };
        let threads = opened.seats.into_iter().map(run).collect();
        Site { address: opened.bound.http.unwrap(), controls: opened.controls, threads }
    }

    fn count(&self, name: &str) -> u64 {
        let of = |control: &Control| {
            let counters = control.snapshot(PATIENCE).unwrap().counters;
            counters.iter().find(|(room, n, _)| (*room, *n) == ("loop", name)).map_or(0, |counter| counter.2)
        };
        self.controls.iter().map(of).sum()
    }

    fn stop(self) {
        self.controls.iter().for_each(|control| assert!(control.send(Order::Stop)));
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn secure(pair: &Pair, tickets: &Tickets) -> Config {
    let mut config = config();
    config.http.certificate = Some(pair.load(tickets));
    config
}

#[test]
fn pages_are_served_whole_over_both_versions_and_connections_are_kept() {
    let (pair, tickets) = (Pair::new(), Tickets::new().unwrap());
    let site = Site::start(secure(&pair, &tickets), 2);
    for (version, wanted) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        let client = client(&[&pair], &[version]);
        let mut stream = connect(&client, site.address);
        for _ in 0..3 {
            let page = get(&mut stream, "/sdk/bridgehead.js");
            assert_eq!(page, bridgehead::web::asset("/sdk/bridgehead.js").unwrap().bytes);
        }
        assert_eq!(stream.conn.protocol_version(), Some(wanted));
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        // A slow reader: the kernel takes a part at a time, and nothing is lost or doubled.
        for _ in 0..60 {
            ask(&mut stream, "/sdk/bridgehead.js");
        }
        std::thread::sleep(Duration::from_millis(200));
        for _ in 0..60 {
            assert_eq!(hear(&mut stream).len(), page_length());
        }
    }
    site.stop();
}

#[test]
fn a_changed_certificate_meets_new_connections_and_old_ones_go_on() {
    let (old, new, tickets) = (Pair::new(), Pair::new(), Tickets::new().unwrap());
    let site = Site::start(secure(&old, &tickets), 2);
    let client_of = |pair| client(&[pair], &[&rustls::version::TLS13]);
    let mut standing = connect(&client_of(&old), site.address);
    get(&mut standing, "/healthz");
    for control in &site.controls {
        control.send(Order::Certificate(new.load(&tickets)));
        control.snapshot(PATIENCE).unwrap();
    }
    for _ in 0..8 {
        get(&mut connect(&client_of(&new), site.address), "/healthz");
    }
    get(&mut standing, "/healthz");
    site.stop();
}

#[test]
fn tickets_resume_on_every_shard_and_after_a_change_of_the_certificate() {
    let (pair, tickets) = (Pair::new(), Tickets::new().unwrap());
    let site = Site::start(secure(&pair, &tickets), 2);
    let client = client(&[&pair], &[&rustls::version::TLS13]);
    let mut kinds = Vec::new();
    for n in 0..12 {
        if n == 6 {
            for control in &site.controls {
                control.send(Order::Certificate(pair.load(&tickets)));
            }
        }
        let mut stream = connect(&client, site.address);
        get(&mut stream, "/healthz");
        kinds.push(stream.conn.handshake_kind());
    }
    assert_eq!(kinds[0], Some(HandshakeKind::Full));
    assert!(kinds[1..].iter().all(|kind| *kind == Some(HandshakeKind::Resumed)), "{kinds:?}");
    assert_eq!(site.count("handshakes"), 12);
    site.stop();
}

#[test]
fn what_is_no_tls_is_told_or_cut_and_a_handshake_that_stands_still_is_ended() {
    let (pair, tickets) = (Pair::new(), Tickets::new().unwrap());
    let mut config = secure(&pair, &tickets);
    config.caps.handshakes = 3;
    config.caps.handshake_time = Duration::from_millis(400);
    let site = Site::start(config, 1);
    let say = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(site.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        // The end may come as a reset: there is nothing more to be read either way.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    assert!(say(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").contains("https://"));
    assert!(!say(&[0x80, 1, 2, 3]).contains("HTTP"));
    // A ClientHello that is none: the handshake's type, then nonsense.
    assert!(!say(&[22, 3, 1, 0, 5, 1, 0, 0, 1, 0xff]).contains("HTTP"));

    // Three that say nothing fill the table; a fourth is closed at once; the three end when their time is over.
    let silent: Vec<TcpStream> = (0..4).map(|_| TcpStream::connect(site.address).unwrap()).collect();
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert!(
            !matches!(stream.read(&mut [0; 64]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
        );
    }
    assert_eq!((site.count("handshakes_late"), site.count("handshakes_full")), (3, 1));
    get(&mut connect(&client(&[&pair], &[&rustls::version::TLS13]), site.address), "/healthz");
    site.stop();
}

#[test]
fn certificates_that_cannot_serve_say_why() {
    let (one, other, tickets) = (Pair::new(), Pair::new(), Tickets::new().unwrap());
    let wrong = |chain: &str, key: &str| {
        Certificate::from_pem(chain.as_bytes(), key.as_bytes(), &tickets).unwrap_err().to_string()
    };
    assert!(wrong("", &one.key).contains("no certificate"));
    assert!(wrong(&one.chain, &one.chain).contains("no private key"));
    assert!(wrong(&one.chain, &other.key).contains("not the certificate's"));
    assert!(
        wrong("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", &one.key).contains("key")
    );
}
