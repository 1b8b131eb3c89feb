//! RFC 4475 and RFC 5118 through a live port: every message, with the answer or the event that the RFC asks of a user
//! agent that is no registrar and dials what it is asked for. The parser's own verdicts are `sip-codec`'s tests.

use crate::node::{Node, PATIENCE};
use crate::rig::{config, localhost};
use bridgehead::call::{self, Route, RouteFrom, RouteTo};
use bridgehead::leg::TrunkId;
use bridgehead::shard::Config;
use bridgehead::sip;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a message leads to.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It is answered with one of these at once, and goes nowhere.
    Answer(&'static [u16]),
    /// A call: its INVITE goes out to the other trunk, whose refusal comes back.
    Call,
    /// Not a word.
    Silence,
}
use Fate::*;

const BAD: Fate = Answer(&[400]);
/// The registrar's part is not ours: 405 (section 21.4.6), before anything in the request is looked at more closely.
const NO_REGISTRAR: Fate = Answer(&[405]);

/// File, section, what must come of it, why.
const RFC4475: [(&str, &str, Fate, &str); 50] = [
    ("wsinv", "3.1.1.1", Answer(&[481]), "well-formed; its To tag names no dialog"),
    ("intmeth", "3.1.1.2", Answer(&[405, 501]), "well-formed, of a method that nobody knows"),
    ("esc01", "3.1.1.3", Call, "an escaped @ in the user part"),
    ("escnull", "3.1.1.4", NO_REGISTRAR, "escaped NULs are characters like others"),
    ("esc02", "3.1.1.5", Answer(&[405, 501]), "RE%47IST%45R is not REGISTER"),
    ("lwsdisp", "3.1.1.6", Answer(&[200]), "no white space between display name and <"),
    ("longreq", "3.1.1.7", Call, "long values"),
    ("dblreq", "3.1.1.8", NO_REGISTRAR, "what follows in the datagram is no second request"),
    ("semiuri", "3.1.1.9", Answer(&[200]), "a semicolon in the user part"),
    ("transports", "3.1.1.10", Answer(&[200]), "unknown transports"),
    ("mpart01", "3.1.1.11", Answer(&[404]), "a signed MESSAGE, whose addressee has no account here"),
    ("unreason", "3.1.1.13", Silence, "a response to nothing"),
    ("noreason", "3.1.1.13", Silence, "a response to nothing"),
    ("badinv01", "3.1.2.1", BAD, "empty parameters"),
    ("clerr", "3.1.2.2", BAD, "the datagram ends before the body does"),
    ("ncl", "3.1.2.3", BAD, "a Content-Length below nothing"),
    ("scalar02", "3.1.2.4", BAD, "numbers that are too great"),
    ("scalarlg", "3.1.2.5", Silence, "a response is dropped"),
    ("quotbal", "3.1.2.6", BAD, "an unclosed quote"),
    ("ltgtruri", "3.1.2.7", BAD, "<> around the Request-URI"),
    ("lwsruri", "3.1.2.8", BAD, "white space in the Request-URI"),
    ("lwsstart", "3.1.2.9", BAD, "several spaces in the Request-Line"),
    ("trws", "3.1.2.10", BAD, "spaces behind the version"),
    ("escruri", "3.1.2.11", BAD, "headers in the Request-URI"),
    ("baddate", "3.1.2.12", Call, "a Date that nobody needs may be of any zone"),
    ("regbadct", "3.1.2.13", BAD, "a URI with headers needs <>"),
    ("badaspec", "3.1.2.14", BAD, "white space within <>"),
    ("baddn", "3.1.2.15", BAD, "a comma needs quotes"),
    ("baddn.sipsorcery-variant", "3.1.2.15", Silence, "no empty line: no message"),
    ("badvers", "3.1.2.16", Answer(&[505]), "SIP/7.0"),
    ("mismatch01", "3.1.2.17", BAD, "OPTIONS against INVITE in CSeq"),
    ("mismatch02", "3.1.2.18", Answer(&[400, 501]), "an unknown method against INVITE in CSeq"),
    ("bigcode", "3.1.2.19", Silence, "a status code beyond 699"),
    ("badbranch", "3.2.1", Answer(&[200]), "a branch of nothing but the cookie"),
    ("insuf", "3.3.1", BAD, "no Call-ID, From, To"),
    ("unkscm", "3.3.2", Answer(&[416]), "an unknown scheme"),
    ("novelsc", "3.3.3", Answer(&[416]), "a known scheme that is not SIP's"),
    ("unksm2", "3.3.4", Answer(&[400, 405]), "an unknown scheme in To"),
    ("bext01", "3.3.5", Answer(&[420]), "an extension that nobody knows is required"),
    ("invut", "3.3.6", Answer(&[415]), "an unknown type of body"),
    ("regaut01", "3.3.7", Answer(&[401, 405]), "an unknown scheme of authorization"),
    ("multi01", "3.3.8", BAD, "two of what there is one of"),
    ("mcl01", "3.3.9", BAD, "two Content-Lengths"),
    ("bcast", "3.3.10", Silence, "a response with the Via of others"),
    ("zeromf", "3.3.11", Answer(&[200, 483]), "Max-Forwards of nothing: who is asked may answer"),
    ("cparam01", "3.3.12", NO_REGISTRAR, "an unknown parameter of Contact"),
    ("cparam02", "3.3.13", NO_REGISTRAR, "an unknown parameter of its URI"),
    ("regescrt", "3.3.14", NO_REGISTRAR, "a header in its URI"),
    ("sdp01", "3.3.15", Answer(&[406]), "it takes no type of body that we could answer with"),
    ("inv2543", "3.4.1", Call, "as RFC 2543 had it: no branch, no tag, no Max-Forwards"),
];

const RFC5118: [(&str, &str, Fate, &str); 13] = [
    ("ipv6-good", "4.1", NO_REGISTRAR, ""),
    ("ipv6-bad", "4.2", BAD, "IPv6 without brackets"),
    ("port-ambiguous", "4.3", NO_REGISTRAR, "the last group belongs to the address"),
    ("port-unambiguous", "4.4", NO_REGISTRAR, ""),
    ("via-received-param-with-delim", "4.5", Answer(&[481]), "a BYE of no dialog"),
    ("via-received-param-no-delim", "4.5", Answer(&[200]), ""),
    ("ipv6-in-sdp", "4.6", BAD, "this copy's body is shorter than its Content-Length"),
    // There is no IPv6 in this realm (RFC 3264 section 6: 488).
    ("ipv6-in-sdp.ersip-variant-cl241", "4.6", Answer(&[488]), "media over IPv6 alone"),
    ("mult-ip-in-header", "4.7", Answer(&[481]), "a BYE of no dialog"),
    ("mult-ip-in-sdp", "4.8", Call, "a description with both families"),
    ("ipv4-mapped-ipv6", "4.9", Answer(&[488]), "G726 and H.263 alone, which nobody here speaks"),
    ("ipv6-bug-abnf-3-colons", "4.10", Answer(&[200]), "must be tolerated"),
    ("ipv6-correct-abnf-2-colons", "4.10", Answer(&[200]), ""),
];

/// Where the messages come from: an address of our own, on which all ports are free that their Vias name.
const SENDER: Ipv4Addr = Ipv4Addr::new(127, 75, 44, 1);
/// The ports in the corpora's topmost Vias; answers go there (RFC 3261 section 18.2.2).
const PORTS: [u16; 5] = [5060, 5050, 5070, 6050, 19823];

fn corpus(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BRIDGEHEAD_CORPORA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/corpora")),
        PathBuf::from,
    );
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "no corpus at {}", folder.display());
    println!("skipped: no corpus at {}", folder.display());
    None
}

/// A gateway with two trunks: the corpora's, and one that refuses every call as busy.
fn trunks(callee: SocketAddr) -> Config {
    let mut config = config();
    let stack = sip::Config {
        trunks: vec![
            sip::Trunk::new("sender", SocketAddr::from((SENDER, 5060))),
            sip::Trunk::new("callee", callee),
        ],
        ..sip::Config::default()
    };
    let trunk = |name: &str| call::Trunk {
        name: name.to_owned(),
        codecs: call::codecs(&["pcmu", "pcma"]),
        ..call::Trunk::default()
    };
    let calls = call::Config {
        trunks: vec![trunk("sender"), trunk("callee")],
        routes: vec![Route {
            from: RouteFrom::Trunk(TrunkId(0)),
            to: RouteTo::Trunk(TrunkId(1)),
            ..Route::default()
        }],
        ..call::Config::default()
    };
    (config.sip, config.call) = (Arc::new(stack), Arc::new(calls));
    config
}

fn open(address: impl std::net::ToSocketAddrs) -> UdpSocket {
    let socket = UdpSocket::bind(address).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket
}

/// What came to one of these sockets, as text.
fn heard(sockets: &[UdpSocket]) -> Option<String> {
    let mut buffer = [0; 8192];
    let read = |socket: &UdpSocket| socket.recv(&mut buffer).ok();
    let length = sockets.iter().find_map(read)?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

/// The next message that is not provisional.
#[allow(clippy::disallowed_methods)] // Real sockets, real time.
fn wait(sockets: &[UdpSocket], what: &str) -> String {
    let start = std::time::Instant::now();
    loop {
        match heard(sockets) {
            Some(text) if !text.starts_with("SIP/2.0 1") => return text,
            Some(_) => {}
            None => std::thread::sleep(Duration::from_millis(1)),
        }
        assert!(start.elapsed() < PATIENCE, "{what}: nothing came");
    }
}

fn code(text: &str) -> u16 {
    let code = text.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
    code.unwrap_or_else(|| panic!("not an answer: {text}"))
}

/// A request that is always answered: what it is sent after has been dealt with once the answer is there.
fn fence(gateway: SocketAddr) -> String {
    format!(
        "OPTIONS sip:{gateway} SIP/2.0\r\nVia: SIP/2.0/UDP {SENDER}:5060;branch=z9hG4bKfence\r\nMax-Forwards: 70\r\n\
         From: <sip:fence@{SENDER}>;tag=f\r\nTo: <sip:{gateway}>\r\nCall-ID: fence\r\nCSeq: 1 OPTIONS\r\n\
         Content-Length: 0\r\n\r\n"
    )
}

/// The busy answer of the other trunk.
fn busy(invite: &str) -> String {
    let keep = ["Via:", "From:", "To:", "Call-ID:", "CSeq:"];
    let lines: String = invite
        .split_inclusive("\r\n")
        .take_while(|line| *line != "\r\n")
        .filter(|line| keep.iter().any(|name| line.starts_with(name)))
        .map(
            |line| if line.starts_with("To:") { line.replace("\r\n", ";tag=b\r\n") } else { line.to_owned() },
        )
        .collect();
    format!("SIP/2.0 486 Busy Here\r\n{lines}Content-Length: 0\r\n\r\n")
}

/// Sends one message and says what came of it, where that is not its fate.
fn try_one(
    file: &str,
    data: &[u8],
    fate: Fate,
    sender: &[UdpSocket],
    callee: &[UdpSocket],
) -> Option<String> {
    let node = Node::start(trunks(callee[0].local_addr().unwrap()), 1);
    let gateway = node.bound.sip[0];
    assert_eq!(gateway.ip(), localhost(0).ip());
    sender[0].send_to(data, gateway).unwrap();
    let wrong = match fate {
        Call => {
            // A message that is no call never gets there: its answer says what it was.
            let both = sender.iter().chain(callee).map(|socket| socket.try_clone().unwrap());
            let first = wait(&both.collect::<Vec<_>>(), &format!("{file}: an answer or a call"));
            if first.starts_with("INVITE ") {
                callee[0].send_to(busy(&first).as_bytes(), gateway).unwrap();
                let ack = wait(callee, "ACK");
                let answer = wait(sender, "the call's answer");
                (code(&answer) != 486 || !ack.starts_with("ACK ")).then(|| format!("{ack}{answer}"))
            } else {
                Some(first)
            }
        }
        Answer(codes) => {
            let answer = wait(sender, &format!("{file}: an answer"));
            (!codes.contains(&code(&answer))).then_some(answer)
        }
        Silence => None,
    };
    // Nothing else came of it: the next thing that comes is the answer to this, and no call began.
    let wrong = wrong.or_else(|| {
        sender[0].send_to(fence(gateway).as_bytes(), gateway).unwrap();
        loop {
            let text = wait(sender, "the fence");
            match text.contains("Call-ID: fence") {
                true => break heard(callee).filter(|_| !matches!(fate, Call)),
                false if matches!(fate, Silence) => break Some(text),
                // Its refusal again, which nobody acknowledged.
                false => {}
            }
        }
    });
    node.abort();
    while heard(sender).or_else(|| heard(callee)).is_some() {}
    wrong
}

fn hold(name: &str, table: &[(&str, &str, Fate, &str)], number: u8) {
    let Some(folder) = corpus(name) else { return };
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, table.len(), "a file without a fate in {name}");
    // Both tests run at once: each has the sender's address for itself in turn.
    let _turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let sender = PORTS.map(|port| open((SENDER, port)));
    let callee = [open((Ipv4Addr::new(127, 75, 44, number), 0))];
    let mut wrong = Vec::new();
    for (file, section, fate, why) in table {
        let data = std::fs::read(folder.join(format!("{file}.dat"))).unwrap();
        if let Some(found) = try_one(file, &data, *fate, &sender, &callee) {
            wrong.push(format!("{file} ({section}, {why}): {fate:?} by the RFC, but:\n{found}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[test]
fn answers_every_message_of_rfc_4475_as_the_rfc_asks() {
    hold("rfc4475", &RFC4475, 2);
}

#[test]
fn answers_every_message_of_rfc_5118_as_the_rfc_asks() {
    hold("rfc5118", &RFC5118, 3);
}
