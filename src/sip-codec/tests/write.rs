//! What is written: no argument of any writer ends its own part, and answers take from requests what they must.

use sip_codec::{
    Address, Error, Escaped, Header, Host, MAX_SIZE, Message, Method, Name, NameAddr, Quoted, SipUri, Uri,
    Via, ViaOut, Writer,
};

const INVITE: &[u8] = b"INVITE sip:bob@biloxi.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776;rport;x=\"a;b\", SIP/2.0/TCP [2001:db8::1]:5070;branch=z9hG4bK2\r\n\
    v: SIP/2.0/TLS far.example.com;branch=z9hG4bK3\r\n\
    Max-Forwards: 70\r\n\
    Record-Route: <sip:p1.example.com;lr>,\r\n <sip:p2.example.com;lr>\r\n\
    To: Bob <sip:bob@biloxi.com>\r\n\
    f: \"Al\\\"ice, \\\x07\" <sip:alice@atlanta.com>;tag=1928301774\r\n\
    Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n\
    CSeq: 314159 INVITE\r\n\
    Subject: folded\r\n \t subject\r\n\
    Content-Length: 4\r\n\r\nv=0\n";

fn text(buffer: &[u8]) -> &str {
    std::str::from_utf8(buffer).unwrap()
}

#[test]
fn writes_a_request() {
    let mut buffer = b"before".to_vec();
    let uri = SipUri {
        secure: false,
        user: "b@b",
        host: Host::Name("biloxi.com"),
        port: Some(5070),
        params: ";lr",
    };
    let via = ViaOut {
        transport: "UDP",
        host: Host::Ip("2001:db8::7".parse().unwrap()),
        port: Some(5060),
        branch: "z9hG4bKx",
        rport: true,
    };
    let mut writer = Writer::request(&mut buffer, Method::Invite, uri);
    writer
        .header(Name::Via, via)
        .header(Name::MaxForwards, 70)
        .header(Name::From, Address { display: "Ann \"A\"", uri: "sip:ann@a.example", tag: Some("f1") })
        .header(Name::To, Address { display: "", uri: "sip:b%40b@biloxi.com", tag: None })
        .text(Name::CallId, "c1")
        .header(Name::CSeq, format_args!("{} {}", 1, Method::Invite))
        .text(Name::Other("X-Ours"), "");
    writer.body("application/sdp", b"v=0\r\n\0\xff").unwrap();
    let expected = b"beforeINVITE sip:b%40b@biloxi.com:5070;lr SIP/2.0\r\n\
        Via: SIP/2.0/UDP [2001:db8::7]:5060;branch=z9hG4bKx;rport\r\n\
        Max-Forwards: 70\r\n\
        From: \"Ann \\\"A\\\"\" <sip:ann@a.example>;tag=f1\r\n\
        To: <sip:b%40b@biloxi.com>\r\n\
        Call-ID: c1\r\n\
        CSeq: 1 INVITE\r\n\
        X-Ours: \r\n\
        Content-Type: application/sdp\r\n\
        Content-Length: 7\r\n\r\nv=0\r\n\0\xff";
    assert_eq!(buffer, expected);
    assert_eq!(Message::parse(&buffer[6..]).unwrap().check(), Ok(()));
}

#[test]
fn answers_with_what_the_request_brought() {
    let request = Message::parse(INVITE).unwrap();
    assert_eq!(request.check(), Ok(()));
    let mut buffer = Vec::new();
    let mut writer = Writer::response(&mut buffer, 180, "Ringing");
    writer.reply_to(&request, "192.0.2.1:5070".parse().unwrap(), Some("abc"));
    writer.copy(&request, Name::RecordRoute).copy(&request, Name::Subject);
    writer.finish().unwrap();
    let expected = "SIP/2.0 180 Ringing\r\n\
        Via: SIP/2.0/UDP pc33.atlanta.com;branch=z9hG4bK776;x=\"a;b\";rport=5070;received=192.0.2.1, \
        SIP/2.0/TCP [2001:db8::1]:5070;branch=z9hG4bK2\r\n\
        Via: SIP/2.0/TLS far.example.com;branch=z9hG4bK3\r\n\
        From: \"Al\\\"ice, \\?\" <sip:alice@atlanta.com>;tag=1928301774\r\n\
        To: Bob <sip:bob@biloxi.com>;tag=abc\r\n\
        Call-ID: a84b4c76e66710@pc33.atlanta.com\r\n\
        CSeq: 314159 INVITE\r\n\
        Record-Route: <sip:p1.example.com;lr>, <sip:p2.example.com;lr>\r\n\
        Subject: folded subject\r\n\
        Content-Length: 0\r\n\r\n";
    assert_eq!(text(&buffer), expected);
    assert_eq!(Message::parse(&buffer).unwrap().check(), Ok(()));
}

#[test]
fn marks_the_source_where_it_is_not_what_via_says() {
    let via = |line: &str, source: &str| {
        let data = format!("OPTIONS sip:a SIP/2.0\r\nVia: {line}\r\n\r\n");
        let mut buffer = Vec::new();
        let mut writer = Writer::response(&mut buffer, 400, "No");
        writer.reply_to(&Message::parse(data.as_bytes()).unwrap(), source.parse().unwrap(), None);
        writer.finish().unwrap();
        text(&buffer).lines().nth(1).unwrap().to_owned()
    };
    assert_eq!(via("SIP/2.0/UDP 192.0.2.1;branch=x", "192.0.2.1:9"), "Via: SIP/2.0/UDP 192.0.2.1;branch=x");
    assert_eq!(via("SIP/2.0/UDP 192.0.2.1", "192.0.2.2:9"), "Via: SIP/2.0/UDP 192.0.2.1;received=192.0.2.2");
    assert_eq!(via("SIP/2.0/UDP h", "[2001:db8::5]:9"), "Via: SIP/2.0/UDP h;received=2001:db8::5");
    // A forged `received` does not stand.
    let forged = via("SIP/2.0/UDP 192.0.2.1;received=198.51.100.1;rport=1", "192.0.2.1:9");
    assert_eq!(forged, "Via: SIP/2.0/UDP 192.0.2.1;rport=9;received=192.0.2.1");
    // A malformed one is given back as it came.
    assert_eq!(via("SIP/7.0/UDP h;;", "192.0.2.1:9"), "Via: SIP/7.0/UDP h;;");
}

#[test]
fn keeps_the_tag_that_to_has() {
    let data = text(INVITE).replace("<sip:bob@biloxi.com>", "<sip:bob@biloxi.com>;tag=old");
    let request = Message::parse(data.as_bytes()).unwrap();
    let mut buffer = Vec::new();
    let mut writer = Writer::response(&mut buffer, 200, "OK");
    writer.reply_to(&request, "192.0.2.1:5070".parse().unwrap(), Some("new"));
    writer.finish().unwrap();
    assert_eq!(Message::parse(&buffer).unwrap().to().unwrap().tag(), Some("old"));
}

/// Every writer that takes text, given the same text. Each begins a whole message.
fn writers(evil: &str) -> Vec<(&'static str, Result<Vec<u8>, Error>)> {
    let mut all = Vec::new();
    let mut add = |what, write: &dyn Fn(Writer<'_>) -> Result<(), Error>| {
        let mut buffer = b"kept".to_vec();
        let found = write(Writer::request(&mut buffer, Method::Invite, "sip:a@b"));
        all.push((what, found.map(|()| buffer.split_off(4))));
        assert_eq!(buffer, b"kept", "{what} took back what was not its own, or left something");
    };
    let header = |mut w: Writer<'_>, name: Name<'_>, value: &dyn std::fmt::Display| {
        w.header(name, value);
        w.finish()
    };
    add("header", &|w| header(w, Name::Subject, &evil));
    add("header name", &|w| header(w, Name::Other(evil), &"x"));
    add("display name", &|w| header(w, Name::From, &Address { display: evil, uri: "sip:a@b", tag: None }));
    add("uri", &|w| header(w, Name::From, &Address { display: "", uri: evil, tag: None }));
    add("tag", &|w| header(w, Name::From, &Address { display: "", uri: "sip:a@b", tag: Some(evil) }));
    add("quoted", &|w| header(w, Name::Reason, &format_args!("SIP;text={}", Quoted(evil))));
    let via = ViaOut { transport: "UDP", host: Host::Name("h"), port: None, branch: "x", rport: true };
    add("branch", &|w| header(w, Name::Via, &ViaOut { branch: evil, ..via }));
    add("transport", &|w| header(w, Name::Via, &ViaOut { transport: evil, ..via }));
    add("via host", &|w| header(w, Name::Via, &ViaOut { host: Host::Name(evil), ..via }));
    let uri = SipUri { secure: true, user: "u", host: Host::Name("h"), port: None, params: "" };
    add("uri host", &|w| {
        header(w, Name::To, &format_args!("<{}>", SipUri { host: Host::Name(evil), ..uri }))
    });
    add("uri params", &|w| header(w, Name::To, &format_args!("<{}>", SipUri { params: evil, ..uri })));
    add("text", &|mut w| {
        w.text(Name::Subject, evil);
        w.finish()
    });
    add("text name", &|mut w| {
        w.text(Name::Other(evil), "x");
        w.finish()
    });
    add("line name", &|mut w| {
        w.line(Header { name: Name::Other(evil), value: "x" });
        w.finish()
    });
    add("content type", &|w| w.body(evil, b"x"));
    for (what, method, uri) in [("method", evil, "sip:a@b"), ("request uri", "INVITE", evil)] {
        let mut buffer = Vec::new();
        let found = Writer::request(&mut buffer, Method::parse(method), uri).finish();
        all.push((what, found.map(|()| buffer)));
    }
    let mut buffer = Vec::new();
    let found = Writer::response(&mut buffer, 200, evil).finish();
    all.push(("reason phrase", found.map(|()| buffer)));
    all
}

#[test]
fn refuses_control_bytes_from_every_argument() {
    for control in ["\r", "\n", "\0", "\r\n", "\x0b", "\x7f", "\x1b"] {
        for evil in [
            control.to_owned(),
            format!("a{control}Evil: b"),
            format!("a\\{control}"),
            format!("{control} x"),
        ] {
            for (what, found) in writers(&evil) {
                assert_eq!(found, Err(Error::Refused), "{what} let {evil:?} through");
            }
        }
    }
}

#[test]
fn lets_no_argument_end_its_own_part() {
    for evil in [
        "a>;tag=evil",
        "a\" <sip:evil@x>;tag=evil",
        "a;tag=evil",
        "a\\",
        "a b",
        "é\"",
        "a,b",
        "<",
        ">",
        "%",
        "",
    ] {
        for (what, found) in writers(evil) {
            let Ok(data) = found else { continue };
            let message = Message::parse(&data).unwrap_or_else(|e| panic!("{what} with {evil:?}: {e}"));
            let lines = message.iter().count();
            assert!(lines <= 2, "{what} with {evil:?} made {lines} lines");
            if what == "display name" || what == "uri" || what == "tag" {
                let from = NameAddr::parse(message.header(Name::From).unwrap()).ok();
                let tag = from.and_then(|from| from.tag());
                assert!(tag.is_none_or(|tag| what == "tag" && tag != "evil"), "{what} with {evil:?}");
            }
            if what == "display name" {
                assert_eq!(&*message.from().unwrap().display_name(), evil);
            }
            if what == "branch" && !evil.is_empty() {
                let via = Via::parse(message.header(Name::Via).unwrap()).unwrap();
                assert_eq!((via.params.into_iter().count(), via.rport()), (2, Some(None)), "{evil:?}");
            }
        }
    }
}

#[test]
fn keeps_any_user_part_whole() {
    for user in ["bob", "b@b", "a b", "50%", "*72#", "a;b?c:d/e", "Ада", "\0\r\n", "\"<>\""] {
        let uri = SipUri { secure: false, user, host: Host::Name("h"), port: None, params: "" }.to_string();
        let parsed = Uri::parse(&uri).unwrap();
        assert_eq!(
            (parsed.user_text().as_deref(), parsed.host),
            (Some(user), Some(Host::Name("h"))),
            "{uri}"
        );
    }
    assert_eq!(Escaped("a\u{7}").to_string(), "a%07");
}

#[test]
fn refuses_what_would_not_be_one_message() {
    let mut buffer = Vec::new();
    assert_eq!(Writer::response(&mut buffer, 99, "x").finish(), Err(Error::Refused));
    assert_eq!(Writer::response(&mut buffer, 700, "x").finish(), Err(Error::Refused));
    assert_eq!(Writer::request(&mut buffer, Method::Other(""), "sip:a").finish(), Err(Error::Refused));
    assert_eq!(Writer::request(&mut buffer, Method::Bye, "").finish(), Err(Error::Refused));
    let mut writer = Writer::response(&mut buffer, 200, "OK");
    writer.header(Name::ContentLength, 5);
    assert_eq!(writer.finish(), Err(Error::Refused), "a second Content-Length");
    let mut writer = Writer::response(&mut buffer, 200, "OK");
    writer.text(Name::Other("l"), "5");
    assert_eq!(writer.finish(), Err(Error::Refused), "a second Content-Length by its short name");
    assert_eq!(Writer::response(&mut buffer, 200, "OK").body("a/b", &vec![0; MAX_SIZE]), Err(Error::Refused));
    assert!(buffer.is_empty());
    drop(Writer::response(&mut buffer, 200, "OK"));
    assert!(buffer.is_empty(), "a message that was not finished");
}
