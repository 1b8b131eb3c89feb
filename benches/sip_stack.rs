//! What a call costs the signalling of a shard: a B2BUA call from INVITE to BYE, seven messages on each leg, through
//! everything that production runs (steering, stack, call machine, ladders) but sockets.
//!
//! Prints the time and the allocations of a call and, where valgrind is installed, its instructions: of all that the
//! shard does from a message in to its answers out, libc's memory included, the far ends left out. The figure is the
//! same on every run of one build, whatever else the machine does, and must stay under [`MOST`] and
//! [`MOST_TRACED`]:
//!
//!     cargo bench --bench sip_stack
#![allow(unsafe_code, reason = "the counting allocator")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]
#![allow(missing_docs, reason = "a program, not a library")]

#[path = "peers/src/common.rs"]
#[allow(dead_code, reason = "shared with other benches")]
mod common;

use bridgehead::base::{Key as _, Now, Random, RealmId, ShardId, SocketId};
use bridgehead::leg::TrunkId;
use bridgehead::shard::{Caps, Config, Core, Http, Output, Places, Realm, SipPlace, WebMedia, clock};
use bridgehead::{call, sip, webrtc};
use common::counted;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[global_allocator]
static ALLOCATOR: common::Counting = common::Counting;

/// Instructions that a call may cost that is not traced, and one that is. What is aimed at for the first is 120,000.
const MOST: u64 = 800_000;
const MOST_TRACED: u64 = 1_250_000;
const GATEWAY: &str = "192.0.2.1:5060";
const CALLER: &str = "192.0.2.10:5060";
const CALLEE: &str = "192.0.2.20:5060";

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn config(ladders: bool) -> Config {
    let identity = webrtc::Identity::create(clock()).unwrap();
    let stack = sip::Config {
        trunks: vec![sip::Trunk::new("caller", at(CALLER)), sip::Trunk::new("callee", at(CALLEE))],
        ..sip::Config::default()
    };
    let trunk = |name: &str| call::Trunk {
        name: name.to_owned(),
        codecs: call::codecs(&["pcma", "pcmu"]),
        ..call::Trunk::default()
    };
    let calls = call::Config {
        trunks: vec![trunk("caller"), trunk("callee")],
        routes: vec![call::Route {
            from: call::RouteFrom::Trunk(TrunkId(0)),
            to: call::RouteTo::Trunk(TrunkId(1)),
            ..call::Route::default()
        }],
        ..call::Config::default()
    };
    Config {
        realms: vec![Realm::new("bench", at(GATEWAY))],
        web_media: WebMedia { listen: Vec::new(), advertised: None, port: 0, buffer: 0 },
        http: Http { listen: None, ..Http::default() },
        sip_tls: bridgehead::shard::SipTls::default(),
        io_uring: false,
        caps: Caps::default(),
        trace: bridgehead::shard::TraceCaps { on: ladders, ..bridgehead::shard::TraceCaps::default() },
        connection: Arc::default(),
        sip: Arc::new(stack),
        signal: Arc::default(),
        call: Arc::new(calls),
        webrtc: Arc::new(webrtc::Config::new(identity, Vec::new())),
        media: Arc::default(),
    }
}

fn sdp(number: u64, host: &str) -> String {
    format!(
        "v=0\r\no=- {number} 1 IN IP4 {host}\r\ns=-\r\nc=IN IP4 {host}\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0 101\r\n\
         a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n\
         a=ptime:20\r\na=sendrecv\r\n"
    )
}

/// What the far ends sent and heard; nothing of it is counted.
struct Bench {
    core: Core,
    now: Now,
    sip: SocketId,
    slots: u32,
    /// Messages that went out, with whom they went to.
    heard: Vec<(SocketAddr, String)>,
    messages: u64,
}

/// The shard's part: a message in, and all that follows from it. Counted by callgrind, so never inlined.
#[inline(never)]
fn gateway(
    core: &mut Core,
    now: Now,
    socket: SocketId,
    from: SocketAddr,
    text: &[u8],
    out: &mut Vec<Output>,
) {
    core.message(now, socket, from, text);
    while let Some(output) = core.poll_output() {
        out.push(output);
    }
}

/// The same for a deadline that has passed.
#[inline(never)]
fn gateway_timers(core: &mut Core, now: Now, out: &mut Vec<Output>) {
    core.handle_timeout(now);
    while let Some(output) = core.poll_output() {
        out.push(output);
    }
}

impl Bench {
    fn new(ladders: bool) -> Bench {
        let now = clock();
        let sip = SocketId::new(ShardId(0), 0, 0);
        let place = SipPlace { socket: sip, realm: RealmId(0), advertised: at(GATEWAY), secure: None };
        let places = Places { web: Vec::new(), sip: vec![place] };
        let random = Random::from_number(7);
        let mut core = Core::new(now, ShardId(0), 1, Arc::new(config(ladders)), places, random);
        let mut out = Vec::new();
        while let Some(output) = core.poll_output() {
            out.push(output);
        }
        let mut bench = Bench { core, now, sip, slots: 1, heard: Vec::new(), messages: 0 };
        bench.take(out);
        bench
    }

    fn take(&mut self, out: Vec<Output>) {
        let mut queue = out;
        while let Some(output) = queue.pop() {
            match output {
                Output::Send { to, data, .. } => {
                    self.messages += 1;
                    self.heard.push((to, String::from_utf8(data).unwrap()));
                }
                Output::Bind { realm, port, .. } => {
                    let socket = SocketId::new(ShardId(0), 0, self.slots);
                    self.slots += 1;
                    self.core.bound(self.now, realm, port, Some(socket));
                    while let Some(output) = self.core.poll_output() {
                        queue.push(output);
                    }
                }
                _ => {}
            }
        }
    }

    fn say(&mut self, from: &str, text: &str) {
        self.messages += 1;
        let mut out = Vec::new();
        gateway(&mut self.core, self.now, self.sip, at(from), text.as_bytes(), &mut out);
        self.take(out);
    }

    /// Lets time pass, and all timers of ended calls with it.
    fn rest(&mut self, time: Duration) {
        self.now = self.now.after(time);
        while self.core.poll_timeout().is_some_and(|deadline| deadline.at <= self.now.instant) {
            let mut out = Vec::new();
            gateway_timers(&mut self.core, self.now, &mut out);
            self.take(out);
        }
    }

    /// The message that went to `to` and begins so.
    fn heard(&mut self, to: &str, start: &str) -> String {
        let place = self.heard.iter().position(|(at_, text)| *at_ == at(to) && text.starts_with(start));
        let Some(place) = place else { panic!("no {start} to {to}: {:#?}", self.heard) };
        self.heard.remove(place).1
    }

    /// One call: seven messages on each leg.
    fn call(&mut self, number: u64) {
        let before = self.messages;
        let branch = |n: u32| format!("z9hG4bK-{number}-{n}");
        let head = |method: &str, n: u32, to_tag: &str, cseq: u32| {
            format!(
                "{method} sip:+4930{number}@{GATEWAY} SIP/2.0\r\nVia: SIP/2.0/UDP {CALLER};branch={};rport\r\n\
                 Max-Forwards: 70\r\nFrom: \"Alice\" <sip:+49301@{CALLER}>;tag=a{number}\r\n\
                 To: <sip:+4930{number}@{GATEWAY}>{to_tag}\r\nCall-ID: c{number}@{CALLER}\r\nCSeq: {cseq} {method}\r\n\
                 Contact: <sip:+49301@{CALLER}>\r\n",
                branch(n)
            )
        };
        let offer = sdp(number, "192.0.2.10");
        let body = |sdp: &str| {
            format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())
        };
        self.say(CALLER, &format!("{}{}", head("INVITE", 1, "", 1), body(&offer)));
        self.heard(CALLER, "SIP/2.0 100");
        let invite = self.heard(CALLEE, "INVITE");
        self.say(CALLEE, &reply(&invite, "100 Trying", "", ""));
        self.say(CALLEE, &reply(&invite, "180 Ringing", &format!(";tag=b{number}"), ""));
        self.heard(CALLER, "SIP/2.0 180");
        let answer = sdp(number, "192.0.2.20");
        self.say(CALLEE, &reply(&invite, "200 OK", &format!(";tag=b{number}"), &answer));
        self.heard(CALLEE, "ACK");
        let ok = self.heard(CALLER, "SIP/2.0 200");
        let tag = ok.lines().find_map(|line| line.strip_prefix("To: ")?.split_once('>').map(|(_, tag)| tag));
        let tag = tag.unwrap().to_owned();
        self.say(CALLER, &format!("{}Content-Length: 0\r\n\r\n", head("ACK", 2, &tag, 1)));
        self.say(CALLER, &format!("{}Content-Length: 0\r\n\r\n", head("BYE", 3, &tag, 2)));
        self.heard(CALLER, "SIP/2.0 200");
        let bye = self.heard(CALLEE, "BYE");
        self.say(CALLEE, &reply(&bye, "200 OK", "", ""));
        assert!(self.heard.is_empty(), "{:#?}", self.heard);
        assert_eq!(self.messages - before, 14);
    }
}

/// The answer to a request of the gateway's.
fn reply(request: &str, status: &str, tag: &str, sdp: &str) -> String {
    let mut lines = vec![format!("SIP/2.0 {status}")];
    for line in request.lines().take_while(|line| !line.is_empty()) {
        if ["Via: ", "From: ", "Call-ID: ", "CSeq: "].iter().any(|name| line.starts_with(name)) {
            lines.push(line.to_owned());
        } else if line.starts_with("To: ") {
            lines.push(format!("{line}{tag}"));
        }
    }
    lines.push(format!("Contact: <sip:b@{CALLEE}>"));
    if !sdp.is_empty() {
        lines.push("Content-Type: application/sdp".to_owned());
    }
    lines.push(format!("Content-Length: {}\r\n\r\n{sdp}", sdp.len()));
    lines.join("\r\n")
}

/// Calls as they would come: at 50 a second, each over before the next begins.
fn calls(bench: &mut Bench, count: u64, first: u64) {
    for number in first..first + count {
        bench.call(number);
        bench.rest(Duration::from_millis(20));
    }
}

/// Instructions of so many calls, in a process of its own under callgrind.
fn instructions(count: u64, ladders: bool) -> Option<u64> {
    let out = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*sip_stack*gateway*"])
        .arg(std::env::current_exe().ok()?)
        .args(["--calls", &count.to_string(), if ladders { "--ladders" } else { "" }])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let line = text.lines().find(|line| line.contains("Collected :"));
    let Some(line) = line.filter(|_| out.status.success()) else { panic!("callgrind failed:\n{text}") };
    line.rsplit(':').next()?.trim().parse().ok()
}

fn main() {
    let words: Vec<String> = std::env::args().collect();
    let quick = std::env::var_os("BRIDGEHEAD_BENCH").is_some_and(|mode| mode == "quick");
    if let Some(place) = words.iter().position(|word| word == "--calls") {
        let count = words.get(place + 1).and_then(|word| word.parse().ok()).unwrap_or(100);
        let ladders = words.iter().any(|word| word == "--ladders");
        return calls(&mut Bench::new(ladders), count, 1);
    }
    let mut bench = Bench::new(true);
    let (warm, count) = if quick { (200, 1_000) } else { (2_000, 20_000) };
    calls(&mut bench, warm, 1);
    let mut best = Duration::MAX;
    for round in 0..5 {
        let start = Instant::now();
        calls(&mut bench, count / 5, warm + 1 + round * (count / 5));
        best = best.min(start.elapsed() / (count / 5) as u32);
    }
    let allocations = counted(|| calls(&mut bench, 100, warm + count + 1)) / 100;
    println!("a call of 14 messages, far ends included: {best:?}, {allocations} allocations");
    bench.rest(Duration::from_secs(64));
    assert_eq!((bench.core.calls(), bench.core.stack().dialogs()), (0, 0), "calls are left behind");
    assert_eq!(bench.core.stack().transactions(), (0, 0), "transactions are left behind");
    for (ladders, what, most) in
        [(true, "as in production", MOST_TRACED), (false, "without its ladder", MOST)]
    {
        // What the first calls do once (tables that grow) is not a call's.
        let (Some(few), Some(many)) = (instructions(50, ladders), instructions(250, ladders)) else {
            return println!("no valgrind: instructions are not counted");
        };
        let each = (many - few) / 200;
        println!("a call of 14 messages, the shard alone, {what}: {each} instructions (at most {most})");
        assert!(each <= most, "a call costs more than {most} instructions");
    }
}
