//! Mutated messages: nothing panics, what is cut and indexed agrees, and what is written again means the same.

use sip_codec::{
    Challenge, Credentials, Frame, Key, Message, Method, Name, NameAddr, RAck, Reason, Replaces, RetryAfter,
    StartLine, Uri, Via, Writer, frame, split_list, unescape, unquote,
};

const SEEDS: [&[u8]; 4] = [
    b"INVITE sip:bob;x=1@[2001:db8::1]:5060;transport=tcp SIP/2.0\r\n\
      Via : SIP / 2.0 / UDP pc33.atlanta.com:5070;branch=z9hG4bK776;rport, SIP/2.0/TCP [::1];branch=z9hG4bK2\r\n\
      v: SIP/2.0/TLS h;received=192.0.2.1\r\nMax-Forwards: 70\r\n\
      To: Bob <sip:bob%40@biloxi.com;lr>;tag=x\r\n\
      f: \"Al\\\"ice, \\\x07\" <sips:alice:pw@atlanta.com>;tag=1928301774\r\n\
      i: a84b4c76e66710@pc33.atlanta.com\r\nCSeq: 314159\r\n INVITE\r\n\
      m: <sip:a@b?a=b&c=>;q=0.5;expires=60, \"x,y\" <tel:+1-555;ext=2>\r\nRoute: <sip:p;lr>,<sip:q;lr>\r\n\
      Subject:\r\n  folded\r\n\tsubject\r\nContent-Type: application/sdp\r\nl: 4\r\n\r\nv=0\n",
    b"SIP/2.0 401 Unauthorized \xd0\xb0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1;rport=5060;received=192.0.2.9\r\n\
      From: <sip:a@b>;tag=1\r\nTo: sip:a@b;tag=2\r\nCall-ID: 1@x\r\nCSeq: 1 REGISTER\r\n\
      WWW-Authenticate: Digest realm=\"a, \\\"b\\\"\", nonce=\"n\", qop=\"auth,auth-int\", stale=true\r\n\
      Retry-After: 5 (soon;) ;duration=3\r\nContent-Length: 0\r\n\r\n",
    b"PRACK sip:a@b SIP/2.0\r\nVia: SIP/2.0/WSS h.invalid;branch=z9hG4bK9\r\nMax-Forwards: 1\r\nFrom: <sip:a@b>;tag=1\r\n\
      To: <sip:a@b>;tag=2\r\nCall-ID: 1@x\r\nCSeq: 2 PRACK\r\nRAck: 1 1 INVITE\r\n\
      Authorization: Digest username=\"a\", uri=\"sip:a;b,c\", nc=00000001\r\nReplaces: 1@y;to-tag=a;from-tag=b;early-only\r\n\
      Reason: Q.850;cause=16;text=\"ok; done\", SIP;cause=200\r\nSession-Expires: 1800;refresher=uas\r\n\
      Content-Length: 0\r\n\r\n",
    b"\r\n\r\nACK sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\n\
      CSeq: 2 ACK\r\n\r\nrest",
];

/// What mutations put in: what has a meaning somewhere, and what has none.
const BITS: [&[u8]; 40] = [
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
    b"%",
    b"%00",
    b"%4",
    b"?",
    b"&",
    b"*",
    b"(",
    b")",
    b"\x7f",
    b"\xff",
    b"\xc3",
    b"\xc3\xa4",
    b"SIP/2.0",
    b"Via:",
    b"Content-Length: 18446744073709551616\r\n",
    b"l: 99999\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"-1",
    b"4294967296",
    b"z9hG4bK",
    b":::1.2.3.4",
    b"/",
];

/// xorshift64*: small, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % sides.max(1)
    }
}

fn mutate(dice: &mut Dice, seed: &[u8], data: &mut Vec<u8>) {
    data.clear();
    data.extend_from_slice(seed);
    for _ in 0..=dice.roll(3) {
        if data.is_empty() {
            return;
        }
        let at = dice.roll(data.len());
        let len = dice.roll(12).min(data.len() - at);
        match dice.roll(16) {
            0..4 => data[at] = dice.roll(256) as u8,
            4..7 => drop(data.splice(at..at, BITS[dice.roll(BITS.len())].iter().copied())),
            7..10 => drop(data.splice(at..at + len, BITS[dice.roll(BITS.len())].iter().copied())),
            10..12 => drop(data.drain(at..at + len)),
            12..15 => {
                let piece = data[at..at + len].to_vec();
                let to = dice.roll(data.len());
                drop(data.splice(to..to, piece));
            }
            _ => data.truncate(at.max(1)),
        }
    }
}

/// Asks everything of a message.
fn read_all(data: &[u8], message: &Message<'_>) {
    for header in message.iter() {
        for text in [header.value].into_iter().chain(split_list(header.value)) {
            let _ = (unquote(text), unescape(text), Uri::parse(text).map(|uri| uri.is_equivalent(&uri)));
            let _ = NameAddr::parse(text).map(|a| (a.display_name(), a.uri(), a.tag(), a.expires(), a.q()));
            let _ = Via::parse(text).map(|v| (v.received(), v.rport(), v.maddr(), v.ttl(), v.has_cookie()));
            let _ = Challenge::parse(text).map(|c| (c.offers_qop("auth"), c.is_stale(), c.realm()));
            let _ = Credentials::parse(text).map(|c| c.value("uri"));
            let _ = (RAck::parse(text), Replaces::parse(text), RetryAfter::parse(text));
            let _ = Reason::parse(text).map(|r| r.text().map(|t| t.len()));
        }
    }
    assert!(message.size() <= data.len());
    let (read, scanned) = (Key::read(message), Key::scan(data));
    assert_eq!(read.ok(), scanned.ok(), "two readers of one key");
}

/// What a message means: its lines, any white space being as good as any other.
fn meaning<'a>(message: &Message<'a>) -> (StartLine<'a>, Vec<(Name<'a>, String)>, &'a [u8]) {
    let lines = message.iter().filter(|h| h.name != Name::ContentLength && h.name != Name::ContentType);
    let one_line = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    (message.start(), lines.map(|h| (h.name, one_line(h.value))).collect(), message.body())
}

fn write_again(message: &Message<'_>, buffer: &mut Vec<u8>) -> Option<()> {
    buffer.clear();
    let mut writer = match message.start() {
        StartLine::Request { method, uri } => Writer::request(buffer, method, uri),
        StartLine::Response { code, reason } => Writer::response(buffer, code, reason),
    };
    for header in message.iter().filter(|h| h.name != Name::ContentType) {
        writer.line(header);
    }
    writer.body("a/b", message.body()).ok()
}

/// One round: `true` if the message was sound.
fn try_one(data: &[u8], buffer: &mut Vec<u8>) -> bool {
    let framed = frame(data);
    let Ok(message) = Message::parse(data) else {
        assert!(!matches!(framed, Frame::Complete(n) if Message::parse(&data[..n]).is_ok()));
        return false;
    };
    read_all(data, &message);
    let sound = message.check().is_ok();
    if let (Frame::Complete(len), true) = (framed, sound) {
        assert_eq!(len, message.size(), "stream and datagram cut differently");
    }
    // Quoted-pairs of control bytes are written as question marks, and so do not compare.
    let plain = !data.windows(2).any(|w| w[0] == b'\\' && w[1].is_ascii_control());
    if sound && plain && write_again(&message, buffer).is_some() {
        let again = Message::parse(buffer).unwrap();
        assert_eq!(again.check(), Ok(()), "{}", String::from_utf8_lossy(buffer));
        assert_eq!(meaning(&again), meaning(&message));
        assert_eq!(frame(buffer), Frame::Complete(buffer.len()));
    }
    sound
}

#[test]
fn survives_two_hundred_thousand_mutated_messages() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut data, mut buffer, mut sound) = (Vec::new(), Vec::new(), 0);
    for round in 0..200_000 {
        mutate(&mut dice, SEEDS[round % SEEDS.len()], &mut data);
        sound += usize::from(try_one(&data, &mut buffer));
    }
    // Mutations that leave nothing whole would show nothing.
    assert!(sound > 20_000, "only {sound} sound messages");
}

#[test]
fn writes_every_sound_seed_again_with_its_meaning() {
    let mut buffer = Vec::new();
    for seed in &SEEDS[1..] {
        assert!(try_one(seed, &mut buffer), "{}", String::from_utf8_lossy(seed));
        assert!(!buffer.is_empty());
    }
}

#[test]
fn answers_every_mutated_request_with_one_sound_head() {
    let mut dice = Dice(7);
    let (mut data, mut buffer) = (Vec::new(), Vec::new());
    for round in 0..50_000 {
        mutate(&mut dice, SEEDS[round % SEEDS.len()], &mut data);
        let Ok(message) = Message::parse(&data) else { continue };
        let Some(Method::Invite | Method::Prack) = message.method() else { continue };
        buffer.clear();
        let fault = message.check().err();
        let mut writer = Writer::response(&mut buffer, fault.map_or(200, sip_codec::Error::status), "x");
        writer.reply_to(&message, "192.0.2.1:9".parse().unwrap(), Some("t"));
        if writer.finish().is_err() {
            continue;
        }
        let answer = Message::parse(&buffer).unwrap();
        let lines = |m: &Message<'_>| {
            [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq].map(|n| m.lines(n).count())
        };
        assert_eq!(lines(&answer), lines(&message), "a header came or went on the way");
        assert_eq!(answer.iter().count(), lines(&message).iter().sum::<usize>() + 1);
        if fault.is_none() {
            assert_eq!(answer.check(), Ok(()), "{}", String::from_utf8_lossy(&buffer));
            assert_eq!(
                Key::read(&answer).map(|k| (k.branch, k.call_id, k.from_tag)),
                Key::read(&message).map(|k| (k.branch, k.call_id, k.from_tag))
            );
        }
    }
}

#[test]
fn latin_1_becomes_utf_8_and_all_else_stays() {
    let text = b"\r\nMESSAGE sip:a@b SIP/2.0\r\nFrom: \"M\xfc \xc3\xbc\" <sip:a@b>\r\n\r\n\xff\r\n\r\n\xfc";
    assert_eq!(Message::parse(text).err(), Some(sip_codec::Error::NotUtf8));
    let found = sip_codec::from_latin1(text).unwrap();
    assert_eq!(Message::parse(&found).unwrap().from().unwrap().display_name(), "Mü ü");
    assert_eq!(Message::parse(&found).unwrap().body(), b"\xff\r\n\r\n\xfc");
    assert_eq!(sip_codec::from_latin1(&found), None);
    for data in [&b""[..], b"\r\n\r\n", b"\xff\xfe", b"\r\n\r\n\r\n\r\n"] {
        assert_eq!(sip_codec::from_latin1(data), None);
    }
}
