//! Any bytes as a SIP message: nothing panics, readers agree with each other, an answer is one sound message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_codec::{
    Challenge, Credentials, Frame, Key, Message, Name, NameAddr, RAck, Reason, Replaces, RetryAfter,
    SessionExpires, Uri, Via, Writer, frame, split_list, unescape, unquote,
};

fn read_values(text: &str) {
    let _ = (unquote(text), unescape(text), Uri::parse(text).map(|uri| uri.is_equivalent(&uri)));
    let _ = NameAddr::parse(text).map(|a| (a.display_name(), a.uri().is_ok(), a.expires(), a.q()));
    let _ = Via::parse(text).map(|v| (v.received(), v.rport(), v.maddr(), v.ttl(), v.has_cookie()));
    let _ = Challenge::parse(text).map(|c| (c.offers_qop("auth"), c.is_stale(), c.realm()));
    let _ = Credentials::parse(text).map(|c| c.value("uri"));
    let _ = (RAck::parse(text), Replaces::parse(text), RetryAfter::parse(text), SessionExpires::parse(text));
    let _ = Reason::parse(text).map(|r| r.text());
}

fuzz_target!(|data: &[u8]| {
    let framed = frame(data);
    let Ok(message) = Message::parse(data) else { return };
    for header in message.iter() {
        std::iter::once(header.value).chain(split_list(header.value)).for_each(read_values);
    }
    assert_eq!(Key::read(&message).ok(), Key::scan(data).ok());
    let fault = message.check().err();
    if let (Frame::Complete(len), None) = (framed, fault) {
        assert_eq!(len, message.size());
    }
    let mut buffer = Vec::new();
    let mut writer = Writer::response(&mut buffer, fault.map_or(200, |fault| fault.status()), "x");
    writer.reply_to(&message, ([192, 0, 2, 1], 9).into(), Some("t")).copy(&message, Name::RecordRoute);
    if writer.finish().is_ok() {
        let answer = Message::parse(&buffer).unwrap();
        assert_eq!(frame(&buffer), Frame::Complete(buffer.len()));
        assert_eq!(answer.lines(Name::Via).count(), message.lines(Name::Via).count());
        assert!(fault.is_some() || answer.check().is_ok());
    }
});
