//! Two readings of one message: `sip-codec`'s and an independent parser's (ezk-sip-types), over RFC 4475 and RFC 5118 and
//! over mutations of a request of our own. Wherever they differ, the difference is judged here: who is right, and why. One
//! that is not judged fails the test.
//!
//!     cargo test --manifest-path benches/peers/Cargo.toml
#![allow(clippy::pedantic, missing_docs)]

use bytes::Bytes;
use ezk_sip_types::header::HeaderParse;
use ezk_sip_types::header::typed::{CSeq, CallID, FromTo, MaxForwards, Via};
use ezk_sip_types::msg::{Line, MessageLine, PullParser};
use ezk_sip_types::parse::Parse;
use ezk_sip_types::{Headers, Name};
use std::collections::BTreeMap;
use std::path::PathBuf;

const FIELDS: [&str; 8] = ["start", "call-id", "cseq", "from tag", "to tag", "via", "branch", "max-forwards"];
type Reading = [Option<String>; 8];

fn ours(data: &[u8]) -> Reading {
    let Ok(m) = sip_codec::Message::parse(data) else { return Reading::default() };
    let start = match m.start() {
        sip_codec::StartLine::Request { method, .. } => m.uri().ok().map(|_| method.as_str().to_owned()),
        sip_codec::StartLine::Response { code, .. } => Some(code.to_string()),
    };
    let via = m.via().ok();
    let place = via.map(|v| format!("{} {} {:?}", v.transport, v.host, v.port));
    let tag = |a: Result<sip_codec::NameAddr<'_>, _>| {
        a.ok().filter(|a| a.uri().is_ok()).map(|a| a.tag().unwrap_or("-").to_owned())
    };
    [
        start,
        m.call_id().ok().map(str::to_owned),
        m.cseq().ok().map(|c| c.to_string()),
        tag(m.from()),
        tag(m.to()),
        place,
        via.map(|v| v.branch().unwrap_or("-").to_owned()),
        m.max_forwards().ok().flatten().map(|n| n.to_string()),
    ]
}

fn theirs(data: &[u8]) -> Reading {
    let start_at = data.iter().position(|b| !matches!(b, b'\r' | b'\n')).unwrap_or(0);
    let src = Bytes::copy_from_slice(&data[start_at..]);
    let mut lines = PullParser::new(&src, 0);
    let mut reading = Reading::default();
    let Some(Ok(first)) = lines.next() else { return reading };
    let Ok(first) = std::str::from_utf8(first) else { return reading };
    let start =
        MessageLine::parse(&src)(first).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, line)| line);
    reading[0] = start.map(|line| match line {
        MessageLine::Request(line) => line.method.to_string(),
        MessageLine::Response(line) => line.code.into_u16().to_string(),
    });
    let mut headers = Headers::new();
    for line in lines {
        let Ok(line) = line else { return Reading::default() };
        let Ok(line) = std::str::from_utf8(line) else { return Reading::default() };
        let Ok((_, line)) = Line::parse(&src, line) else { return Reading::default() };
        headers.insert(line.name, line.value);
    }
    let tag =
        |name| headers.get::<FromTo>(name).ok().map(|a| a.tag.map_or("-".to_owned(), |t| t.to_string()));
    reading[1] = headers.get_named::<CallID>().ok().map(|c| c.0.to_string());
    reading[2] = headers.get_named::<CSeq>().ok().map(|c| format!("{} {}", c.cseq, c.method));
    reading[3] = tag(Name::FROM);
    reading[4] = tag(Name::TO);
    let via = headers.get_named::<Vec<Via>>().ok().and_then(|all| all.into_iter().next());
    reading[5] = via.as_ref().map(|v| {
        let host = match &v.sent_by.host {
            ezk_sip_types::host::Host::IP6(ip) => format!("[{ip}]"),
            ezk_sip_types::host::Host::IP4(ip) => ip.to_string(),
            ezk_sip_types::host::Host::Name(name) => name.to_string(),
        };
        format!("{} {host} {:?}", v.transport, v.sent_by.port)
    });
    reading[6] = via.map(|v| v.params.get_val("branch").map_or("-".to_owned(), |b| b.to_string()));
    reading[7] = headers.get_named::<MaxForwards>().ok().map(|n| n.0.to_string());
    reading
}

/// Differences over the RFCs' messages: file, field, ours, theirs, and who is right.
type Judged = (&'static str, &'static str, Option<&'static str>, Option<&'static str>, &'static str);
const JUDGED: [Judged; 22] = [
    ("baddn", "from tag", None, Some("43"), "ours: a comma in a display name needs quotes (3.1.2.15)"),
    ("baddn", "to tag", None, Some("-"), "ours: the same"),
    (
        "badinv01",
        "via",
        None,
        Some("UDP 192.0.2.15 None"),
        "ours: empty parameters (3.1.2.1); they stop reading there",
    ),
    ("badinv01", "branch", None, Some("-"), "ours: the same"),
    (
        "badvers",
        "start",
        Some("OPTIONS"),
        None,
        "ours: it is to be answered by 505 (3.1.2.16), so must be read",
    ),
    (
        "bigcode",
        "call-id",
        None,
        Some("bigcode.asdof3uj203asdnf3429uasdhfas3ehjasdfas9i"),
        "ours: no status line, no message (3.1.2.19)",
    ),
    ("bigcode", "cseq", None, Some("353494 INVITE"), "ours: the same"),
    ("bigcode", "from tag", None, Some("39ansfi3"), "ours: the same"),
    ("bigcode", "to tag", None, Some("902jndnke3"), "ours: the same"),
    ("bigcode", "via", None, Some("UDP 192.0.2.105 None"), "ours: the same"),
    ("bigcode", "branch", None, Some("z9hG4bK2398ndaoe"), "ours: the same"),
    (
        "intmeth",
        "branch",
        Some("z9hG4bK-.!%66*_+`'~"),
        Some("z9hG4bK-.!f*_+`'~"),
        "ours: % escapes nothing in a token",
    ),
    ("lwsruri", "start", None, Some("INVITE"), "ours: white space in the Request-URI (3.1.2.8)"),
    ("novelsc", "start", Some("OPTIONS"), None, "ours: it is to be answered by 416 (3.3.3)"),
    ("quotbal", "to tag", None, Some("-"), "ours: an unclosed quote (3.1.2.6)"),
    ("trws", "start", Some("OPTIONS"), None, "ours: it is to be answered by 400 (3.1.2.10)"),
    ("unkscm", "start", Some("OPTIONS"), None, "ours: it is to be answered by 416 (3.3.2)"),
    ("unksm2", "from tag", Some("3234233"), None, "ours: any scheme may stand in From (3.3.4)"),
    ("unksm2", "to tag", Some("-"), None, "ours: the same"),
    ("wsinv", "from tag", Some("98asjd8"), None, "ours: a display name may hold an escaped quote (3.1.1.1)"),
    (
        "ipv6-bug-abnf-3-colons",
        "start",
        Some("OPTIONS"),
        None,
        "ours: to be tolerated (RFC 5118 section 4.10)",
    ),
    ("ipv6-bug-abnf-3-colons", "to tag", Some("-"), None, "ours: the same"),
];

fn corpus(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BRIDGEHEAD_CORPORA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/corpora")),
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

#[test]
fn every_difference_over_the_torture_messages_is_judged() {
    let mut found = Vec::new();
    for folder in ["rfc4475", "rfc5118"] {
        let Some(folder) = corpus(folder) else { return };
        for file in std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
            let data = std::fs::read(&file).unwrap();
            let name = file.file_stem().unwrap().to_string_lossy().into_owned();
            let (a, b) = (ours(&data), theirs(&data));
            for field in (0..FIELDS.len()).filter(|n| a[*n] != b[*n]) {
                found.push((name.clone(), FIELDS[field], a[field].clone(), b[field].clone()));
            }
        }
    }
    let same = |(file, field, a, b): &(String, &str, Option<String>, Option<String>), judged: &Judged| {
        (file.as_str(), *field, a.as_deref(), b.as_deref()) == (judged.0, judged.1, judged.2, judged.3)
    };
    let new: Vec<_> = found.iter().filter(|it| !JUDGED.iter().any(|judged| same(it, judged))).collect();
    assert!(new.is_empty(), "not judged: {new:#?}");
    let gone: Vec<_> = JUDGED.iter().filter(|judged| !found.iter().any(|it| same(it, judged))).collect();
    assert!(gone.is_empty(), "judged, but no difference any more: {gone:#?}");
}

/// The value of the first header of this name, as they cut it.
fn first(data: &[u8], wanted: &Name) -> Option<(Bytes, String)> {
    let src = Bytes::copy_from_slice(data);
    let mut lines = PullParser::new(&src, 0);
    lines.next()?.ok()?;
    for line in lines {
        let (_, line) = Line::parse(&src, std::str::from_utf8(line.ok()?).ok()?).ok()?;
        if line.name == *wanted {
            return Some((src.clone(), line.value.to_string()));
        }
    }
    None
}

/// Whether they stop within the first value of this header and take what stood before.
fn leaves_a_rest<H: HeaderParse>(data: &[u8], name: Name) -> bool {
    let Some((_, value)) = first(data, &name) else { return false };
    let src = Bytes::copy_from_slice(value.as_bytes());
    let text = std::str::from_utf8(&src).unwrap();
    H::parse(&src, text).is_ok_and(|(rest, _)| !rest.trim().is_empty()) || H::parse(&src, text).is_err()
}

/// Why they differ over a field of a mutated message; `None`: nobody has looked at such a difference.
fn judge(field: usize, a: Option<&str>, b: Option<&str>, data: &[u8]) -> Option<&'static str> {
    if let Err(error) = sip_codec::Message::parse(data) {
        return Some(match error {
            sip_codec::Error::HeaderLine => {
                "ours: a control byte, or a line that is no header: smuggling, so all is dropped"
            }
            sip_codec::Error::StartLine => "ours: without a start line there is no message",
            sip_codec::Error::NotUtf8 => {
                "ours: bytes that are no UTF-8 are read again as Latin-1, or dropped"
            }
            sip_codec::Error::Incomplete => "ours: the header section has no end",
            _ => return None,
        });
    }
    let value = |name| first(data, &name).map(|(_, value)| value).unwrap_or_default();
    match (field, a, b) {
        (0, Some(_), None) => Some("ours: another scheme or version is read, and answered by 416 or 505"),
        (0, None, Some(_)) => Some("ours: a URI that has not the form of one; they stop reading it early"),
        (1, None, Some(id)) => {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~()<>:\\\"/[]?{}@".contains(&b);
            let sound = id.bytes().all(plain)
                && id.matches('@').count() <= 1
                && !id.starts_with('@')
                && !id.ends_with('@');
            (!sound).then_some("ours: not a word, or not word@word")
        }
        (2, None, Some(_)) => {
            let text = value(Name::CSEQ);
            let (number, method) = text.trim().split_once([' ', '\t', '\r']).unwrap_or((&text, ""));
            let token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
            let sound = number.parse::<u32>().is_ok_and(|n| n < 1 << 31)
                && number.bytes().all(|b| b.is_ascii_digit());
            let method = method.trim();
            (!sound || method.is_empty() || !method.bytes().all(token))
                .then_some("ours: not a number below 2^31, white space and a token")
        }
        (3 | 4, None, Some(_)) => {
            let name = if field == 3 { Name::FROM } else { Name::TO };
            let text = value(name.clone());
            if leaves_a_rest::<FromTo>(data, name) {
                return Some("ours: the value does not end where it should; they ignore the rest");
            }
            let display = text.split('<').next().unwrap_or("");
            let odd = |c: char| !(c.is_ascii_alphanumeric() || "-.!%*_+`'~ \t\r\n".contains(c));
            if !display.starts_with('"') && display.chars().any(odd) {
                return Some("ours: an unquoted display name is made of tokens");
            }
            Some("ours: a URI or parameter that has not the form of one")
        }
        (3 | 4, Some(ours), None) => {
            let text = value(if field == 3 { Name::FROM } else { Name::TO });
            let scheme = text
                .split('<')
                .nth(1)
                .unwrap_or(&text)
                .split(':')
                .next()
                .unwrap_or("")
                .trim()
                .to_ascii_lowercase();
            (!["sip", "sips", "tel"].contains(&scheme.as_str()))
                .then_some("ours: any scheme may stand there")
                .or_else(|| {
                    (ours == "-" || !ours.is_empty())
                        .then_some("ours: they refuse a form that RFC 3261 allows")
                })
        }
        (5 | 6, None, Some(_)) => Some(if leaves_a_rest::<Via>(data, Name::VIA) {
            "ours: the topmost Via is broken; they ignore its rest, or take the next"
        } else {
            "ours: a host, port or parameter that has not the form of one"
        }),
        (5 | 6, Some(_), Some(_)) if leaves_a_rest::<Via>(data, Name::VIA) => {
            Some("either: a host name that begins or ends oddly, which we let through")
        }
        (7, None, Some(_)) => (!value(Name::MAX_FORWARDS)
            .trim()
            .parse::<u8>()
            .is_ok_and(|_| value(Name::MAX_FORWARDS).bytes().all(|b| b.is_ascii_digit())))
        .then_some("ours: not a number from 0 to 255"),
        (3 | 4 | 6, Some(a), Some(_)) if a.contains('%') => Some("ours: % escapes nothing in a token"),
        (0 | 2, Some(_), Some(_)) => {
            Some("ours: a method is a token of whatever characters, and its case counts")
        }
        _ => None,
    }
}

const SEED: &[u8] = b"INVITE sip:bob;x=1@[2001:db8::1]:5060;transport=tcp SIP/2.0\r\n\
    Via: SIP/2.0/UDP pc33.atlanta.com:5070;branch=z9hG4bK776;rport\r\nVia: SIP/2.0/TLS h;received=192.0.2.1\r\n\
    Max-Forwards: 70\r\nTo: Bob <sip:bob%40@biloxi.com;lr>;tag=x\r\nFrom: \"Alice\" <sips:alice@atlanta.com>;tag=1928301774\r\n\
    Call-ID: a84b4c76e66710@pc33.atlanta.com\r\nCSeq: 314159 INVITE\r\nContact: <sip:a@b>;q=0.5\r\nContent-Length: 4\r\n\r\nv=0\n";

const BITS: [&[u8]; 24] = [
    b"\r\n",
    b"\r",
    b"\n",
    b"\0",
    b" ",
    b"\t",
    b":",
    b";",
    b",",
    b"<",
    b">",
    b"\"",
    b"\\",
    b"@",
    b"[",
    b"]",
    b"=",
    b"%41",
    b"%",
    b"?",
    b"(",
    b"/",
    b"\xc3\xa4",
    b"\r\n ",
];

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides.max(1)
    }
}

#[test]
fn every_difference_over_mutations_is_judged() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut verdicts, mut new, mut agreed) = (BTreeMap::<_, u32>::new(), Vec::new(), 0);
    for _ in 0..20_000 {
        let mut data = SEED.to_vec();
        let at = dice.roll(data.len());
        let len = dice.roll(6).min(data.len() - at);
        match dice.roll(4) {
            0 => data[at] = dice.roll(256) as u8,
            1 => drop(data.splice(at..at, BITS[dice.roll(BITS.len())].iter().copied())),
            2 => drop(data.splice(at..at + len, BITS[dice.roll(BITS.len())].iter().copied())),
            _ => drop(data.drain(at..at + len)),
        }
        let (a, b) = (ours(&data), theirs(&data));
        for field in 0..FIELDS.len() {
            if a[field] == b[field] {
                agreed += 1;
                continue;
            }
            match judge(field, a[field].as_deref(), b[field].as_deref(), &data) {
                Some(why) => *verdicts.entry((FIELDS[field], why)).or_default() += 1,
                None => new.push((
                    FIELDS[field],
                    a[field].clone(),
                    b[field].clone(),
                    String::from_utf8_lossy(&data).into_owned(),
                )),
            }
        }
    }
    verdicts.iter().for_each(|((field, why), count)| println!("{count:>6} {field}: {why}"));
    println!("{agreed} fields read alike");
    assert!(new.is_empty(), "{} not judged, such as {:#?}", new.len(), &new[..new.len().min(6)]);
    assert!(agreed > 100_000, "only {agreed} fields were read alike");
}
