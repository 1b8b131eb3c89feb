//! The server against scripted phones, on virtual time and without sockets.

mod calls;
mod gateway;
mod numbers;
mod proxying;
mod registering;

use super::*;
use crate::base::{Machine, Now, Random};
use aws_lc_rs::digest;
use md5::{Digest, Md5};
use std::time::Duration;

const ALICE: &str = "127.0.0.1:6001";
const BOB: &str = "127.0.0.1:6002";
const SERVER: &str = "127.0.0.1:5160";
const RTP: &str = "127.0.0.1:20000";
const PHONE_RTP: &str = "127.0.0.1:30000";

/// The power that a sine of this frequency has in samples at 8000 Hz (Goertzel's recursion).
pub(crate) fn power(samples: &[f64], hz: f64) -> f64 {
    let turn = std::f64::consts::TAU * hz / 8_000.0;
    let factor = 2.0 * turn.cos();
    let (last, before) =
        samples.iter().fold((0.0, 0.0), |(last, before), sample| (sample + factor * last - before, last));
    let count = samples.len().max(1) as f64;
    2.0 * (last * last + before * before - factor * last * before) / (count * count)
}

fn at(address: &str) -> SocketAddr {
    address.parse().unwrap()
}

fn start() -> Now {
    #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
    let instant = std::time::Instant::now();
    Now { instant, unix: Duration::from_secs(1_790_000_000) }
}

/// The server, and what it sent.
struct World {
    now: Now,
    server: Server,
    sip: Vec<(SocketAddr, String)>,
    rtp: Vec<Vec<u8>>,
    opened: Vec<CallId>,
    closed: usize,
}

/// A request of alice or bob.
struct Ask<'a> {
    from: &'a str,
    method: &'a str,
    uri: &'a str,
    cseq: u32,
    to_tag: &'a str,
    branch: &'a str,
    more: String,
    body: String,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Ask {
            from: "alice",
            method: "INVITE",
            uri: "sip:echo@127.0.0.1:5160",
            cseq: 1,
            to_tag: "",
            branch: "one",
            more: String::new(),
            body: String::new(),
        }
    }
}

impl Ask<'_> {
    fn text(&self) -> String {
        let Ask { from, method, uri, cseq, branch, body, .. } = self;
        let port = if *from == "alice" { 6001 } else { 6002 };
        let to = if *method == "REGISTER" { format!("sip:{from}@127.0.0.1:5160") } else { (*uri).to_owned() };
        let tag = if self.to_tag.is_empty() { String::new() } else { format!(";tag={}", self.to_tag) };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{branch};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:{from}@127.0.0.1>;tag=f{from}\r\nTo: <{to}>{tag}\r\n\
             Call-ID: call-{from}\r\nCSeq: {cseq} {method}\r\nContact: <sip:{from}@127.0.0.1:{port}>\r\n\
             {}{kind}Content-Length: {}\r\n\r\n{body}",
            self.more,
            body.len()
        )
    }
}

fn sdp(direction: &str, payloads: &str) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 30000 RTP/AVP {payloads}\r\n\
         a=rtpmap:111 opus/48000/2\r\na=rtpmap:96 telephone-event/8000\r\na={direction}\r\n"
    )
}

impl World {
    fn new() -> World {
        let user = |name: &str| User { name: name.into(), password: format!("secret of {name}") };
        let config = Config::new(at(SERVER), vec![user("alice"), user("bob")]);
        World::with(config)
    }

    fn with(config: Config) -> World {
        let server = Server::new(config, Random::from_number(1));
        let (sip, rtp, opened) = (Vec::new(), Vec::new(), Vec::new());
        World { now: start(), server, sip, rtp, opened, closed: 0 }
    }

    fn input(&mut self, input: Input<'_>) {
        self.server.handle_input(self.now, input);
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Sip { to, data } => self.sip.push((to, String::from_utf8(data).unwrap())),
                Output::Rtp { to, data, .. } => {
                    assert_eq!(to, at(PHONE_RTP));
                    self.rtp.push(data);
                }
                Output::Open { call } => {
                    self.opened.push(call);
                    self.server.handle_input(self.now, Input::Opened { call, address: at(RTP) });
                }
                Output::Close { .. } => self.closed += 1,
            }
        }
        self.server.check_invariants();
    }

    /// Sends text from alice's or bob's port and returns what came of it.
    fn send(&mut self, from: &str, text: &str) -> Vec<(SocketAddr, String)> {
        self.sip.clear();
        self.input(Input::Sip { from: at(from), data: text.as_bytes() });
        std::mem::take(&mut self.sip)
    }

    fn ask(&mut self, ask: &Ask<'_>) -> Vec<(SocketAddr, String)> {
        self.send(if ask.from == "alice" { ALICE } else { BOB }, &ask.text())
    }

    /// Asks, answers the challenge, and asks again.
    #[expect(clippy::needless_pass_by_value, reason = "asks are made where they are asked")]
    fn ask_signed(&mut self, ask: Ask<'_>, algorithm: &str) -> Vec<(SocketAddr, String)> {
        let challenged = self.ask(&ask);
        let more = credentials(&challenged[0].1, &ask, algorithm, &format!("secret of {}", ask.from));
        let again = Ask {
            cseq: ask.cseq + 1,
            branch: "two",
            more: ask.more.clone() + &more,
            body: ask.body.clone(),
            ..ask
        };
        self.ask(&again)
    }

    fn register(&mut self, who: &str) {
        let ask = Ask { from: who, method: "REGISTER", uri: "sip:127.0.0.1:5160", ..Ask::default() };
        assert_eq!(status(&self.ask_signed(ask, "SHA-256")[0]), 200);
    }

    /// A call of alice's to echo or tone, answered and acknowledged. The tag of the far side.
    fn call(&mut self, uri: &str, body: String) -> String {
        let answers = self.ask_signed(Ask { uri, body, ..Ask::default() }, "MD5");
        assert_eq!(answers.iter().map(status).collect::<Vec<_>>(), [100, 200]);
        let tag = tag(&answers[1].1);
        let ack = Ask { method: "ACK", uri, cseq: 2, to_tag: &tag, branch: "three", ..Ask::default() };
        assert!(self.ask(&ack).is_empty());
        tag
    }

    /// Lets time pass, timers firing when they are due.
    fn run(&mut self, time: Duration) {
        let end = self.now.instant + time;
        while let Some(deadline) = self.server.poll_timeout().filter(|deadline| deadline.at <= end) {
            let step = deadline.at.saturating_duration_since(self.now.instant);
            self.now = self.now.after(step);
            self.server.handle_timeout(self.now);
            self.collect();
        }
        self.now = self.now.after(end.saturating_duration_since(self.now.instant));
    }
}

fn status((_, text): &(SocketAddr, String)) -> u16 {
    text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)).map_or(0, |code| code.parse().unwrap())
}

fn header<'a>(text: &'a str, name: &str) -> &'a str {
    let line = text.lines().find(|line| line.starts_with(&format!("{name}: ")));
    &line.unwrap_or_else(|| panic!("no {name} in {text}"))[name.len() + 2..]
}

fn tag(text: &str) -> String {
    header(text, "To").split(";tag=").nth(1).unwrap().to_owned()
}

fn hash(algorithm: &str, text: &str) -> String {
    let bytes = if algorithm == "MD5" {
        Md5::digest(text).to_vec()
    } else {
        digest::digest(&digest::SHA256, text.as_bytes()).as_ref().to_vec()
    };
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// The header that meets a challenge.
fn credentials(challenged: &str, ask: &Ask<'_>, algorithm: &str, password: &str) -> String {
    let proxy = challenged.starts_with("SIP/2.0 407");
    assert!(proxy || challenged.starts_with("SIP/2.0 401"), "{challenged}");
    let nonce = challenged.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    let user = hash(algorithm, &format!("{}:bridgehead:{password}", ask.from));
    let what = hash(algorithm, &format!("{}:{}", ask.method, ask.uri));
    let response = hash(algorithm, &format!("{user}:{nonce}:00000001:xyz:auth:{what}"));
    format!(
        "{}: Digest username=\"{}\", realm=\"bridgehead\", nonce=\"{nonce}\", uri=\"{}\", response=\"{response}\", \
         algorithm={algorithm}, qop=auth, nc=00000001, cnonce=\"xyz\"\r\n",
        if proxy { "Proxy-Authorization" } else { "Authorization" },
        ask.from,
        ask.uri
    )
}
