//! A whole connection, played from both ends.

use super::*;
use crate::base::{Now, Random};
use std::sync::Arc;
use std::time::{Duration, Instant};

fn start() -> Now {
    #[expect(clippy::disallowed_methods, reason = "a test needs some instant")]
    let instant = Instant::now();
    Now { instant, unix: Duration::ZERO }
}

struct Side {
    now: Now,
    connection: Connection,
}

impl Side {
    fn new() -> Side {
        Side::with(Config::default())
    }

    fn with(config: Config) -> Side {
        let now = start();
        Side { now, connection: Connection::new(now, Arc::new(config)) }
    }

    fn feed(&mut self, bytes: impl AsRef<[u8]>) -> &mut Side {
        self.connection.handle_bytes(self.now, bytes.as_ref());
        self
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.after(time);
        self.connection.handle_timeout(self.now);
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.connection.poll_event()).collect()
    }

    fn request(&mut self) -> Request {
        match self.connection.poll_event() {
            Some(Event::Request(request)) => *request,
            other => panic!("{other:?}"),
        }
    }

    fn texts(&mut self) -> Vec<String> {
        let text = |event| if let Event::Text(text) = event { Some(text) } else { None };
        self.events().into_iter().filter_map(text).collect()
    }

    fn sent(&mut self) -> Vec<u8> {
        let mut sent = Vec::new();
        while !self.connection.output().is_empty() {
            let part = self.connection.output().to_vec();
            self.connection.consume_output(self.now, part.len());
            sent.extend(part);
        }
        sent
    }

    fn sent_text(&mut self) -> String {
        String::from_utf8(self.sent()).unwrap()
    }

    /// What the connection answers by itself, by status code; then it must close.
    fn refusal(&mut self, bytes: impl AsRef<[u8]>) -> u16 {
        self.feed(bytes);
        let sent = self.sent_text();
        assert!(sent.contains("Connection: close\r\n"), "{sent}");
        assert!(!self.connection.wants_close(), "it lingers");
        self.pass(Duration::from_secs(1));
        assert!(self.connection.wants_close());
        assert!(matches!(self.events()[..], [Event::Closed(Closed::Broken)]));
        sent[9..12].parse().unwrap()
    }

    fn open() -> Side {
        Side::open_with(Config::default())
    }

    fn open_with(config: Config) -> Side {
        let mut side = Side::with(config);
        side.feed(UPGRADE);
        assert!(side.request().is_websocket());
        side.connection.upgrade(side.now, Some("bridgehead.v1")).unwrap();
        side.sent();
        side
    }
}

const UPGRADE: &str = "GET /v1/ws HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Protocol: other, bridgehead.v1\r\n\r\n";

/// A masked frame as a browser sends it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..65536 => {
            frame.push(0xfe);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0xff);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(p, m)| p ^ m));
    frame
}

const GET: &str = "GET /a?b=c HTTP/1.1\r\nHost: a\r\n\r\n";
const POST: &str = "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn answers_a_request_fed_byte_by_byte() {
    let mut side = Side::new();
    for byte in POST.bytes() {
        assert!(side.connection.poll_event().is_none());
        side.feed([byte]);
    }
    let request = side.request();
    assert_eq!((request.method, request.path(), &request.body[..]), (Method::Post, "/p", &b"hello"[..]));
    side.connection.respond(side.now, Response::json(200, "{}")).unwrap();
    assert_eq!(
        side.sent_text(),
        "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nContent-Type: application/json\r\n\
         Content-Length: 2\r\n\r\n{}"
    );
    assert_eq!(side.connection.respond(side.now, Response::new(200)), Err(Error::NoRequest));
}

#[test]
fn answers_pipelined_requests_in_order() {
    let mut side = Side::new();
    side.feed(format!("{GET}{POST}\r\n{GET}"));
    for expected in ["/a", "/p", "/a"] {
        let request = side.request();
        assert_eq!(request.path(), expected);
        assert!(side.events().is_empty(), "the next one waits");
        side.connection.respond(side.now, Response::new(200).text(expected)).unwrap();
    }
    let sent = side.sent_text();
    assert_eq!(sent.matches("HTTP/1.1 200").count(), 3);
    assert!(sent.find("/p").unwrap() < sent.rfind("/a").unwrap());
}

#[test]
fn head_has_the_length_but_no_body() {
    let mut side = Side::new();
    side.feed("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_eq!(side.request().method, Method::Head);
    side.connection.respond(side.now, Response::new(200).text("hello")).unwrap();
    let sent = side.sent_text();
    assert!(sent.ends_with("Content-Length: 5\r\n\r\n"), "{sent}");
}

#[test]
fn closes_where_the_client_or_the_version_asks_for_it() {
    for head in ["GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"] {
        let mut side = Side::new();
        side.feed(head);
        side.request();
        side.connection.respond(side.now, Response::new(200)).unwrap();
        assert!(!side.connection.wants_close(), "the answer must go out first");
        assert!(side.sent_text().contains("Connection: close\r\n"));
        assert!(side.connection.wants_close());
        assert_eq!(side.events(), [Event::Closed(Closed::Done)]);
    }
}

#[test]
fn takes_chunked_bodies_and_says_continue() {
    let mut side = Side::new();
    side.feed("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n");
    assert_eq!(side.sent_text(), "HTTP/1.1 100 Continue\r\n\r\n");
    side.feed("2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n");
    assert_eq!(side.request().body, b"hello");
}

#[test]
fn refuses_what_is_malformed_or_too_much() {
    let post = |header: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n");
    assert_eq!(Side::new().refusal("\x16\x03\x01\x02\x00\n"), 400);
    assert_eq!(Side::new().refusal("GET / HTTP/1.1\n"), 400);
    assert_eq!(Side::new().refusal(vec![b'a'; 16 * 1024 + 1]), 431);
    assert_eq!(Side::new().refusal(format!("{}{}", post(""), post("")).replace("Host", "Host ")), 400);
    assert_eq!(Side::new().refusal(post(&format!("A: {}", "b".repeat(17_000)))), 431);
    assert_eq!(Side::new().refusal(post("Content-Length: 65537")), 413);
    assert_eq!(Side::new().refusal(post("Content-Length: 1\r\nTransfer-Encoding: chunked")), 400);
    assert_eq!(Side::new().refusal(post("Transfer-Encoding: chunked") + "ffffff\r\n"), 413);
    assert_eq!(Side::new().refusal(UPGRADE.replace("Version: 13", "Version: 8")), 426);
    assert_eq!(Side::new().refusal(UPGRADE.replace("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ=")), 400);
    assert_eq!(Side::new().refusal(UPGRADE.replace("keep-alive, Upgrade", "keep-alive")), 400);
    assert_eq!(Side::new().refusal(UPGRADE.replace("\r\nUpgrade", "\r\nContent-Length: 1\r\nUpgrade")), 400);
}

#[test]
fn slow_headers_and_bodies_meet_their_deadline() {
    for (bytes, wait) in [("GET / HT", 10), (&POST[..POST.len() - 1], 20)] {
        let mut side = Side::new();
        side.feed(bytes);
        for _ in 0..wait - 1 {
            side.pass(Duration::from_secs(1));
            side.feed(if wait == 10 { "X" } else { "" });
        }
        assert!(!side.connection.wants_close());
        assert_eq!(side.connection.poll_timeout().unwrap().at, side.now.instant + Duration::from_secs(1));
        side.pass(Duration::from_secs(1));
        assert!(side.sent_text().starts_with("HTTP/1.1 408"));
        assert!(side.connection.wants_close());
        assert_eq!(side.connection.counters().timeouts, 1);
    }
    let mut crlf = Side::new();
    for _ in 0..10 {
        crlf.feed("\r\n");
        crlf.pass(Duration::from_secs(1));
    }
    assert!(crlf.connection.wants_close(), "empty lines hold nothing open");
    let mut idle = Side::new();
    idle.pass(Duration::from_mins(1));
    assert!(idle.connection.wants_close());
}

#[test]
fn a_far_side_that_reads_nothing_is_cut_off() {
    let mut side = Side::new();
    side.feed(GET);
    side.connection.respond(side.now, Response::new(200).text("x".repeat(100_000))).unwrap();
    side.pass(Duration::from_secs(29));
    side.connection.consume_output(side.now, 1);
    side.pass(Duration::from_secs(29));
    assert!(!side.connection.wants_close());
    side.pass(Duration::from_secs(1));
    assert!(side.connection.wants_close());
    assert_eq!(side.events().pop(), Some(Event::Closed(Closed::Timeout)));
}

#[test]
fn pipelined_requests_wait_while_much_of_their_answers_does() {
    const REQUESTS: usize = 200;
    let mut side = Side::new();
    side.feed(GET.as_bytes().repeat(REQUESTS));
    let mut answered = 0;
    for _ in 0..REQUESTS {
        while let Some(Event::Request(_)) = side.connection.poll_event() {
            side.connection.respond(side.now, Response::new(200).text("x".repeat(1000))).unwrap();
            answered += 1;
        }
        assert!(answered < REQUESTS, "who reads nothing makes us write little");
        side.connection.consume_output(side.now, 1);
    }
    assert!(answered < 40, "{answered}");
    while answered < REQUESTS {
        side.sent();
        side.request();
        side.connection.respond(side.now, Response::new(200).text("x".repeat(1000))).unwrap();
        answered += 1;
    }
}

#[test]
fn empty_lines_before_a_request_are_skipped_in_any_portions() {
    let mut side = Side::new();
    side.feed(b"\r\n".repeat(8192));
    side.feed(b"\r").feed(b"\n\r").feed(b"\n").feed(GET);
    side.request();
    let mut odd = Side::new();
    assert_eq!(odd.refusal(b"\r\n\r\n\rGET / HTTP/1.1\r\n\r\n"), 400);
}

#[test]
fn a_half_closed_client_still_gets_its_answer() {
    let mut side = Side::new();
    side.feed(GET);
    side.request();
    side.connection.handle_eof(side.now);
    side.connection.respond(side.now, Response::new(200)).unwrap();
    assert!(side.sent_text().starts_with("HTTP/1.1 200"));
    assert!(side.connection.wants_close());
}

#[test]
fn input_behind_an_unanswered_request_is_capped() {
    let mut side = Side::new();
    side.feed(GET);
    for _ in 0..100 {
        side.feed([b'x'; 1024]);
    }
    assert!(side.connection.wants_close());
    assert_eq!(side.connection.counters().overfed, 1);
    assert_eq!(side.connection.respond(side.now, Response::new(200)), Err(Error::NoRequest));
}

#[test]
fn shakes_hands_as_in_rfc_6455() {
    let mut side = Side::new();
    side.feed(UPGRADE);
    let request = side.request();
    assert_eq!(request.protocols().collect::<Vec<_>>(), ["other", "bridgehead.v1"]);
    assert_eq!(side.connection.upgrade(side.now, Some("third")), Err(Error::NotOffered));
    side.connection.upgrade(side.now, Some("bridgehead.v1")).unwrap();
    assert_eq!(
        side.sent_text(),
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: bridgehead.v1\r\n\r\n"
    );
    assert!(side.connection.is_websocket());
    assert_eq!(side.connection.upgrade(side.now, None), Err(Error::NoRequest));
}

#[test]
fn an_upgrade_may_be_refused_and_the_connection_goes_on() {
    let mut side = Side::new();
    side.feed(UPGRADE);
    side.connection.respond(side.now, Response::new(403)).unwrap();
    side.events();
    side.feed(GET);
    assert_eq!(side.request().path(), "/a");
    assert_eq!(side.connection.upgrade(side.now, None), Err(Error::NoUpgrade));
    assert_eq!(side.connection.send_text(side.now, "x"), Err(Error::NoWebSocket));
}

#[test]
fn frames_of_rfc_6455_section_5_7_and_fragments_byte_by_byte() {
    let mut side = Side::open();
    // "Hello", masked, as printed in the RFC.
    let mut bytes = vec![0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
    bytes.extend(frame(0x01, b"Hel"));
    bytes.extend(frame(0x89, b"Hello")); // a ping between fragments
    bytes.extend(frame(0x80, b"lo \xe2"));
    bytes.truncate(bytes.len() - 1);
    bytes.pop();
    bytes.pop();
    bytes.pop();
    for byte in &bytes {
        side.feed([*byte]);
    }
    assert_eq!(side.texts(), ["Hello"]);
    assert_eq!(side.sent(), [0x8a, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f], "the pong of the RFC");
    let mut side = Side::open();
    side.feed([frame(0x01, "Grü".as_bytes()), frame(0x00, b""), frame(0x80, "ße".as_bytes())].concat());
    // A character split between fragments.
    side.feed([frame(0x01, b"\xc3"), frame(0x80, b"\xbc")].concat());
    assert_eq!(side.texts(), ["Grüße", "ü"]);
}

#[test]
fn messages_after_the_handshake_in_one_segment_are_heard() {
    let mut side = Side::new();
    side.feed([UPGRADE.as_bytes(), &frame(0x81, b"early")].concat());
    side.request();
    side.connection.upgrade(side.now, None).unwrap();
    assert_eq!(side.texts(), ["early"]);
    side.connection.send_text(side.now, "late").unwrap();
    assert!(side.sent().ends_with(b"\x81\x04late"));
}

#[test]
fn broken_frames_are_answered_with_the_right_code() {
    let huge = [0x81, 0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4];
    let over = frame(0x01, &vec![b'x'; 40_000]);
    let cases: [(&[u8], u16); 11] = [
        (b"\x81\x05Hello", 1002), // unmasked
        (&frame(0x82, b"binary"), 1003),
        (&frame(0x81, b"\xff"), 1007),
        (&frame(0x81, &vec![b'x'; 65_537]), 1009),
        (&huge, 1009), // nothing is allocated for it
        (&[over.clone(), frame(0x80, &vec![b'x'; 40_000])].concat(), 1009),
        (&frame(0x80, b"no beginning"), 1002),
        (&[over, frame(0x81, b"no end")].concat(), 1002),
        (&frame(0xc1, b"reserved bit"), 1002),
        (&frame(0x83, b"reserved opcode"), 1002),
        (&frame(0x89, &[0; 126]), 1002),
    ];
    for (bytes, code) in cases {
        let mut side = Side::open();
        side.feed(bytes);
        let sent = side.sent();
        assert_eq!(sent[..2], [0x88, 0x02]);
        assert_eq!(u16::from_be_bytes([sent[2], sent[3]]), code);
        side.feed(frame(0x81, b"unheard"));
        side.pass(Duration::from_secs(1));
        assert!(side.connection.wants_close());
        assert_eq!(side.events(), [Event::Closed(Closed::Broken)]);
        assert_eq!(side.connection.counters().broken_frames, 1);
    }
}

#[test]
fn closing_shakes_hands_from_either_side() {
    let mut side = Side::open();
    side.feed(frame(0x88, &[3, 232]));
    assert_eq!(side.sent(), [0x88, 2, 3, 232]);
    assert_eq!(side.events(), [Event::Closed(Closed::Peer)]);
    assert!(side.connection.wants_close());

    let mut side = Side::open();
    side.connection.close(side.now, 1001);
    side.connection.close(side.now, 1001);
    assert_eq!(side.sent(), [0x88, 2, 3, 233]);
    assert_eq!(side.connection.send_text(side.now, "x"), Err(Error::NoWebSocket));
    side.feed([frame(0x81, b"unheard"), frame(0x88, &[3, 233])].concat());
    assert_eq!(side.events(), [Event::Closed(Closed::Done)]);
    assert!(side.connection.wants_close());

    let mut side = Side::open();
    side.connection.close(side.now, 1001);
    side.sent();
    side.pass(Duration::from_secs(5));
    assert!(side.connection.wants_close(), "the far side never answered");
}

#[test]
fn pings_and_gives_up_on_a_silent_far_side() {
    let mut side = Side::open();
    for _ in 0..5 {
        side.pass(Duration::from_secs(25));
        assert_eq!(side.sent(), [0x89, 0]);
        side.feed(frame(0x8a, b""));
    }
    side.pass(Duration::from_secs(25));
    side.sent();
    assert_eq!(side.connection.poll_timeout().unwrap().why, "websocket_pong");
    side.pass(Duration::from_secs(15));
    assert_eq!(side.events(), [Event::Closed(Closed::Timeout)]);
    assert!(side.connection.wants_close());
}

#[test]
fn a_slow_consumer_is_closed_and_counted() {
    let mut side = Side::open();
    let text = "x".repeat(50_000);
    let mut sent = 0;
    while side.connection.send_text(side.now, &text).is_ok() {
        sent += 1;
    }
    assert!((5..8).contains(&sent), "{sent}");
    assert!(side.connection.wants_close());
    assert_eq!(side.connection.counters().slow_consumers, 1);
    assert_eq!(side.events(), [Event::Closed(Closed::Slow)]);
    // Pongs fill the queue as well.
    let mut side = Side::open();
    for _ in 0..10_000 {
        side.feed(frame(0x89, &[0; 100]));
    }
    assert!(side.connection.wants_close());
}

#[test]
fn an_idle_websocket_is_small() {
    assert!(size_of::<Connection>() < 512, "{}", size_of::<Connection>());
    let mut side = Side::open();
    side.feed(frame(0x81, &[b'x'; 5_000]));
    side.events();
    assert_eq!((side.connection.output().len(), side.connection.poll_timeout().is_some()), (0, true));
}

#[test]
fn random_bytes_never_harm() {
    let mut random = Random::from_number(1);
    let words: [&[u8]; 22] = [
        GET.as_bytes(),
        POST.as_bytes(),
        UPGRADE.as_bytes(),
        b"\r\n",
        b"\r\n\r\n",
        b"\n",
        b"\r",
        b"GET ",
        b" HTTP/1.1",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: a\r\n",
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"\x81\x85abcdhello",
        b"\x01\x80aaaa",
        b"\x89\x80aaaa",
        b"\x88\x80aaaa",
        b"\x8a\x80aaaa",
        b"\x81\xfe\x01",
        b"POST / HTTP/1.1\r\n",
        b"\x81\xff\0\0\0\0\0\x01\0\0",
    ];
    for _ in 0..3_000 {
        let mut side = Side::new();
        for _ in 0..random.below(30) {
            let mut bytes = words[random.below(words.len() as u64) as usize].to_vec();
            if random.chance(0.1) && !bytes.is_empty() {
                let place = random.below(bytes.len() as u64) as usize;
                bytes[place] = random.u32() as u8;
            }
            let cut = random.below(bytes.len() as u64 + 1) as usize;
            side.feed(&bytes[..cut]).feed(&bytes[cut..]);
            for event in side.events() {
                if let Event::Request(request) = event {
                    let taken = if request.is_websocket() && random.chance(0.8) {
                        side.connection.upgrade(side.now, None)
                    } else {
                        side.connection.respond(side.now, Response::new(200).text("ok"))
                    };
                    // A pipelined one behind an answer is an event of its own, later in this very loop or the next.
                    assert!(taken.is_ok() || side.connection.wants_close() || side.connection.is_websocket());
                }
            }
            if random.chance(0.2) {
                side.pass(Duration::from_millis(random.below(30_000)));
            }
            if random.chance(0.5) {
                side.sent();
            }
            if random.chance(0.02) {
                side.connection.close(side.now, 1000);
            }
            if random.chance(0.02) {
                side.connection.handle_eof(side.now);
            }
        }
        side.connection.handle_eof(side.now);
        side.events();
        if let Some(Event::Request(_)) = side.connection.poll_event() {
            panic!("polled until none");
        }
    }
}
