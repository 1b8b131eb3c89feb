//! One call's messages, read and written.

use crate::*;

const INVITE: &[u8] = b"INVITE sip:bob@biloxi.com SIP/2.0\r\n\
Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds;rport\r\n\
Max-Forwards: 70\r\n\
To: Bob <sip:bob@biloxi.com>\r\n\
f: \"Al\\\"ice, x\" <sip:alice@atlanta.com;lr>;tag=1928301774\r\n\
Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n\
CSeq: 314159 INVITE\r\n\
Contact: <sip:alice@pc33.atlanta.com>\r\n\
Subject: folded\r\n  subject\r\n\
Content-Type: application/sdp\r\n\
Content-Length: 4\r\n\r\nv=0\n";

#[test]
fn reads_an_invite_and_writes_its_answer() {
    let message = Message::parse(INVITE).unwrap();
    assert_eq!(message.check(), Ok(()));
    assert_eq!(message.from().unwrap().tag(), Some("1928301774"));
    assert_eq!(message.from().unwrap().display_name(), "Al\"ice, x");
    assert_eq!(message.from().unwrap().uri().unwrap().host, Some(Host::Name("atlanta.com")));
    assert_eq!(message.body(), b"v=0\n");
    assert_eq!(frame(INVITE), Frame::Complete(INVITE.len()));
    let key = Key::read(&message).unwrap();
    assert_eq!((key.branch, key.to_tag), ("z9hG4bK776asdhds", None));
    let mut buffer = Vec::new();
    let mut writer = Writer::response(&mut buffer, 200, "OK");
    writer.reply_to(&message, "192.0.2.1:5070".parse().unwrap(), Some("abc"));
    writer.copy(&message, Name::Subject);
    writer.finish().unwrap();
    let text = String::from_utf8(buffer).unwrap();
    assert!(
        text.contains(
            "Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776asdhds;rport=5070;received=192.0.2.1\r\n"
        ),
        "{text}"
    );
    assert!(text.contains("To: Bob <sip:bob@biloxi.com>;tag=abc\r\n"), "{text}");
    assert!(text.contains("Subject: folded subject\r\n"), "{text}");
    assert_eq!(Message::parse(text.as_bytes()).unwrap().check(), Ok(()));
}
