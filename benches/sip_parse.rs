//! Parse and write an INVITE with 20 headers and SDP, in nanoseconds and allocations, beside the floors.
//!
//! Run: `cargo bench --bench sip_parse`. Each line is the best of several rounds, taken in turn so that a noisy
//! neighbour harms all alike. `benches/peers` holds the same against crates of the registry, and runs this one too
//! without building the gateway: `cd benches/peers && cargo run --release --bin sip_parse`.
//!
//! 2026-11-22, two shared cores with a load of 8, no allocation in any line of ours:
//!
//! | | ns | |
//! |---|---|---|
//! | byte scan for CR | 21 | |
//! | httparse (AVX2, `unsafe`), header section alone | 353 | |
//! | `Message::parse` | 746 | 2.1 × httparse |
//! | and `check` | 2,702 | |
//! | parse, and every value a B2BUA reads | 2,032 | |
//! | `Key::scan` | 652 | |
//! | `frame` | 689 | |
//! | `write!` of the same lines, unchecked | 612 | |
//! | `Writer`: INVITE from typed parts, 20 headers, SDP | 1,097 | 1.8 × `write!` |
//! | `Writer`: 180 from the request | 795 | |
//!
//! Beside crates of the registry, on the same message in one run of `peers` (allocations in brackets):
//!
//! | | sip-codec | rsip 0.4 | ezk-sip-types 0.6 | sipx-sip 1.0 |
//! |---|---|---|---|---|
//! | parse | 730 (0) | 4,002 (52) = 5.5 × | 2,442 (11) = 3.3 × | 3,358 (12) = 4.6 × |
//! | parse and read | 1,985 (0) | 7,041 (125) = 3.5 × | – | – |
//! | write | 423 (0) | 1,782 (58) = 4.2 × | – | 104 (0): it copies kept bytes |
#![allow(unsafe_code)] // The counting allocator.
#![allow(clippy::disallowed_methods)] // A bench reads the clock.

#[path = "peers/src/common.rs"]
mod common;

use common::{INVITE, Line, counted, time_all};
use sip_codec::{Address, Host, Key, Message, Method, Name, SipUri, StartLine, ViaOut, Writer, frame};
use std::fmt::Write as _;
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: common::Counting = common::Counting;

fn header_section() -> &'static [u8] {
    let start = INVITE.windows(2).position(|w| w == b"\r\n").unwrap_or(0) + 2;
    INVITE.get(start..).unwrap_or(&[])
}

fn scan() {
    black_box(black_box(INVITE).iter().fold(0_u8, |n, b| n.wrapping_add(u8::from(*b == b'\r'))));
}

fn httparse_headers() {
    let mut headers = [httparse::EMPTY_HEADER; 96];
    black_box(httparse::parse_headers(black_box(header_section()), &mut headers)).ok();
}

fn parse() {
    black_box(Message::parse(black_box(INVITE))).ok();
}

fn parse_and_check() {
    let message = Message::parse(black_box(INVITE)).unwrap();
    assert!(black_box(&message).check().is_ok());
}

/// What a B2BUA reads of an INVITE.
fn parse_and_read() {
    common::codec_reads(&Message::parse(black_box(INVITE)).unwrap());
}

fn scan_key() {
    black_box(Key::scan(black_box(INVITE))).ok();
}

fn cut_frame() {
    black_box(frame(black_box(INVITE)));
}

/// The same bytes, copied whole.
fn copy(buffer: &mut Vec<u8>) {
    buffer.clear();
    buffer.extend_from_slice(black_box(INVITE));
}

/// The same message by `write!`, with nothing checked.
fn write_std(message: &Message<'_>, buffer: &mut String) {
    buffer.clear();
    if let StartLine::Request { method, uri } = message.start() {
        let _ = write!(buffer, "{method} {uri} SIP/2.0\r\n");
    }
    for line in message.iter() {
        let _ = write!(buffer, "{}: {}\r\n", line.name, line.value);
    }
    let _ = write!(buffer, "\r\n{}", std::str::from_utf8(message.body()).unwrap_or(""));
    black_box(&buffer);
}

/// A B2BUA's own INVITE from typed parts: as many headers and the same body.
fn write_invite(message: &Message<'_>, buffer: &mut Vec<u8>) {
    buffer.clear();
    let host = Host::Ip(std::net::Ipv4Addr::new(198, 51, 100, 20).into());
    let via = ViaOut { transport: "UDP", host, port: Some(5060), branch: "z9hG4bK-0001-8f2c9a", rport: true };
    let uri = SipUri { secure: false, user: "+15551234567", host, port: Some(5060), params: ";user=phone" };
    let mut writer = Writer::request(buffer, Method::Invite, uri);
    writer
        .header(Name::Via, via)
        .text(Name::MaxForwards, "69")
        .header(
            Name::From,
            Address { display: "Alice", uri: "sip:alice@198.51.100.20", tag: Some("0001-77aa") },
        )
        .header(Name::To, Address { display: "", uri: "sip:+15551234567@example.com", tag: None })
        .text(Name::CallId, "0001-1f6e2b7c@198.51.100.20")
        .text(Name::CSeq, "1 INVITE")
        .header(Name::Contact, format_args!("<{}>", SipUri { user: "gw", params: "", ..uri }));
    let own = [Name::Via, Name::MaxForwards, Name::From, Name::To, Name::CallId, Name::CSeq, Name::Contact];
    for line in message.iter().filter(|line| line.name != Name::ContentType && !own.contains(&line.name)) {
        writer.line(line);
    }
    writer.body("application/sdp", message.body()).unwrap();
    black_box(&buffer);
}

fn write_answer(message: &Message<'_>, buffer: &mut Vec<u8>) {
    buffer.clear();
    let mut writer = Writer::response(buffer, 180, "Ringing");
    writer.reply_to(message, ([192, 0, 2, 10], 5060).into(), Some("0001-99"));
    writer.copy(message, Name::RecordRoute);
    writer.finish().unwrap();
    black_box(&buffer);
}

fn main() {
    let message = Message::parse(INVITE).unwrap();
    assert_eq!((message.iter().count(), message.check()), (20, Ok(())));
    println!("INVITE of {} bytes, 20 headers, {} bytes of SDP", INVITE.len(), message.body().len());
    let (mut a, mut b, mut c, mut d) = (
        Vec::with_capacity(4096),
        String::with_capacity(4096),
        Vec::with_capacity(4096),
        Vec::with_capacity(4096),
    );
    let mut lines = [
        Line::new("floor: byte scan for CR", scan),
        Line::new("floor: httparse, header section alone", httparse_headers),
        Line::new("Message::parse", parse),
        Line::new("Message::parse and check", parse_and_check),
        Line::new("Message::parse and every value a B2BUA reads", parse_and_read),
        Line::new("Key::scan", scan_key),
        Line::new("frame", cut_frame),
        Line::new("floor: copy of the same bytes", || copy(&mut a)),
        Line::new("floor: write! of the same lines, unchecked", || write_std(&message, &mut b)),
        Line::new("Writer: INVITE, 20 headers, SDP", || write_invite(&message, &mut c)),
        Line::new("Writer: 180 from the request", || write_answer(&message, &mut d)),
    ];
    time_all(&mut lines);
    for line in &mut lines {
        let allocations = counted(|| line.run(1000));
        line.print(allocations);
        assert_eq!(allocations, 0, "{} allocates", line.name);
    }
    let ns =
        |name: &str| lines.iter().find(|line| line.name.starts_with(name)).map_or(f64::NAN, |line| line.ns);
    println!("parse / httparse {:.2}", ns("Message::parse") / ns("floor: httparse"));
    println!("Writer INVITE / write! {:.2}", ns("Writer: INVITE") / ns("floor: write!"));
}
