//! The SIP codec beside SIP parsers of the registry, on the same INVITE with the same clock.
//!
//! Each is asked for what it offers: the message parsed, then the values a B2BUA reads, then the message written.
#![allow(clippy::disallowed_methods)]

mod common;

use bytes::Bytes;
use common::{INVITE, Line, counted, time_all};
use ezk_sip_types::msg::{Line as EzkLine, MessageLine, PullParser};
use ezk_sip_types::parse::Parse;
use rsip::headers::ToTypedHeader;
use rsip::message::HeadersExt;
use sip_codec::{Message, StartLine, Writer};
use std::hint::black_box;

#[global_allocator]
static ALLOCATOR: common::Counting = common::Counting;

fn codec_write(message: &Message<'_>, buffer: &mut Vec<u8>) {
    buffer.clear();
    let StartLine::Request { method, uri } = message.start() else { return };
    let mut writer = Writer::request(buffer, method, uri);
    for line in message.iter().filter(|line| line.name != sip_codec::Name::ContentType) {
        writer.line(line);
    }
    writer.body("application/sdp", message.body()).unwrap();
    black_box(&buffer);
}

fn rsip_parse() -> rsip::SipMessage {
    rsip::SipMessage::try_from(black_box(INVITE)).unwrap()
}

fn rsip_read() {
    let message = rsip_parse();
    let via = message.via_header().unwrap().typed().unwrap();
    black_box(via.branch().is_some());
    black_box(message.from_header().unwrap().typed().unwrap());
    black_box(message.to_header().unwrap().typed().unwrap());
    black_box(message.contact_header().unwrap().typed().unwrap());
    black_box(message.cseq_header().unwrap().typed().unwrap());
    black_box(message.call_id_header().unwrap());
    black_box(message.max_forwards_header().unwrap().num().ok());
}

fn ezk_parse(src: &Bytes) {
    let mut parser = PullParser::new(black_box(src), 0);
    let line = std::str::from_utf8(parser.next().unwrap().unwrap()).unwrap();
    black_box(MessageLine::parse(src)(line).is_ok());
    for line in parser {
        let line = std::str::from_utf8(line.unwrap()).unwrap();
        black_box(EzkLine::parse(src, line).is_ok());
    }
}

fn main() {
    let message = Message::parse(INVITE).unwrap();
    let bytes = Bytes::from_static(INVITE);
    let limits = sipx_sip::parser::Limits::datagram();
    let rsip_message = rsip_parse();
    let sipx_message = sipx_sip::parser::parse_datagram(bytes.clone(), &limits).unwrap();
    let (mut a, mut b) = (Vec::with_capacity(4096), Vec::with_capacity(4096));
    let mut lines = [
        Line::new("sip-codec: parse", || drop(black_box(Message::parse(black_box(INVITE))))),
        Line::new("rsip: parse", || drop(black_box(rsip_parse()))),
        Line::new("ezk-sip-types: parse", || ezk_parse(&bytes)),
        Line::new("sipx-sip: parse", || {
            drop(black_box(sipx_sip::parser::parse_datagram(black_box(bytes.clone()), &limits)));
        }),
        Line::new("sip-codec: parse and read", || {
            common::codec_reads(&Message::parse(black_box(INVITE)).unwrap())
        }),
        Line::new("rsip: parse and read", rsip_read),
        Line::new("sip-codec: write", || codec_write(&message, &mut a)),
        Line::new("rsip: write", || drop(black_box(rsip_message.to_string()))),
        Line::new("sipx-sip: write", || {
            b.clear();
            sipx_message.write_to(&mut b);
            black_box(&b);
        }),
    ];
    time_all(&mut lines);
    for line in &mut lines {
        let allocations = counted(|| line.run(1000));
        line.print(allocations);
    }
}
