//! The same kinds of faults as RFC 4475's, in messages of our own, and what attackers send.

use sip_codec::{
    CSeq, Challenge, Credentials, Error, Frame, Host, Key, MAX_HEADERS, MediaType, Message, Method, Name,
    NameAddr, RAck, Reason, Refresher, Replaces, RetryAfter, SessionExpires, StartLine, Uri, Via, frame,
};

/// A sound OPTIONS, with one line changed, taken away (`""`) or added.
fn changed(from: &str, to: &str) -> Vec<u8> {
    const SOUND: &str = "OPTIONS sip:gate@example.org SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bKq1;rport\r\n\
        Max-Forwards: 70\r\n\
        From: \"Ada, L.\" <sip:ada@example.com>;tag=f1\r\n\
        To: <sip:gate@example.org>\r\n\
        Call-ID: c1@192.0.2.7\r\n\
        CSeq: 7 OPTIONS\r\n\
        Contact: <sip:ada@192.0.2.7:5062>\r\n\
        Content-Type: text/plain\r\n\
        Content-Length: 5\r\n\
        \r\nhello";
    assert!(SOUND.contains(from));
    SOUND.replacen(from, to, 1).into_bytes()
}

fn check(from: &str, to: &str) -> Result<(), Error> {
    Message::parse(&changed(from, to)).and_then(|m| m.check())
}

#[test]
fn finds_nothing_wrong_with_a_sound_request() {
    assert_eq!(check("", ""), Ok(()));
    assert_eq!(check("SIP/2.0\r\nVia", "sip/2.0\r\nVia"), Ok(()));
    assert_eq!(check("Max-Forwards: 70\r\n", ""), Ok(()));
    assert_eq!(check("Content-Length: 5\r\n", ""), Ok(()));
    assert_eq!(check("OPTIONS sip", "\r\n\r\nOPTIONS sip"), Ok(()));
    assert_eq!(check("sip:gate@example.org SIP", "tel:+15551234;ext=5 SIP"), Ok(()));
}

#[test]
fn names_the_mandatory_header_that_is_missing_or_doubled() {
    assert_eq!(
        check("Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bKq1;rport\r\n", ""),
        Err(Error::Missing(Name::Via))
    );
    assert_eq!(check("To: <sip:gate@example.org>\r\n", ""), Err(Error::Missing(Name::To)));
    assert_eq!(check("Call-ID: c1@192.0.2.7\r\n", ""), Err(Error::Missing(Name::CallId)));
    assert_eq!(check("CSeq: 7 OPTIONS\r\n", ""), Err(Error::Missing(Name::CSeq)));
    assert_eq!(check("CSeq: 7", "CSeq: 6 OPTIONS\r\nCSeq: 7"), Err(Error::Repeated(Name::CSeq)));
    assert_eq!(check("To: ", "t: <sip:other@example.org>\r\nTo: "), Err(Error::Repeated(Name::To)));
    assert_eq!(
        check("Content-Length: 5", "l: 4\r\nContent-Length: 5"),
        Err(Error::Repeated(Name::ContentLength))
    );
    assert_eq!(check("Max", "Max-Forwards: 3\r\nMax"), Err(Error::Repeated(Name::MaxForwards)));
}

#[test]
fn names_the_header_that_is_malformed() {
    let bad = |name| Err(Error::Malformed(name));
    for via in ["SIP/2.0 UDP", "SIP/3.0/UDP", "HTTP/2.0/UDP", "SIP/2.0/", "SIP/2.0/UDP,"] {
        assert_eq!(check("SIP/2.0/UDP", via), bad(Name::Via), "{via}");
    }
    for place in
        ["192.0.2.7:99999", "192.0.2.7:", "[::1", "::1", "", "host name", "h;", "h;;a", "h;=x", "h;a=\"x"]
    {
        assert!(check("192.0.2.7:5062;branch", &format!("{place};branch")).is_err(), "{place}");
    }
    for from in [
        "Ada, L. <sip:a@b>",
        "\"Ada <sip:a@b>",
        "<sip:a@b",
        "<>",
        "",
        "sip:a@b,sip:c@d",
        "<sip:a@b>x",
        "<sip:a@b>;",
    ] {
        let found = check("\"Ada, L.\" <sip:ada@example.com>;tag=f1", from);
        assert_eq!(found, bad(Name::From), "{from}");
    }
    for to in [
        "<sip:>",
        "<sip:a@>",
        "<sip:@b>",
        "<sip:a b@c>",
        "<sip:a@b:>",
        "<sip:a%4@b>",
        "< sip:a@b>",
        "<sip:a@b;;c>",
        "a@b",
    ] {
        assert_eq!(check("<sip:gate@example.org>", to), bad(Name::To), "{to}");
    }
    for cseq in ["7", "OPTIONS 7", "-7 OPTIONS", "2147483648 OPTIONS", "7OPTIONS", "7 OPT IONS", "+7 OPTIONS"]
    {
        assert_eq!(check("7 OPTIONS", cseq), bad(Name::CSeq), "{cseq}");
    }
    for id in ["a@b@c", "@b", "a@", "a b", "a,b"] {
        assert_eq!(check("c1@192.0.2.7", id), bad(Name::CallId), "{id}");
    }
    for hops in ["256", "-1", "x", "", "7 0"] {
        assert_eq!(check(": 70", &format!(": {hops}")), bad(Name::MaxForwards), "{hops}");
    }
    for kind in ["text", "text/", "/plain", "text/plain;", "text/pl ain"] {
        assert_eq!(check("text/plain", kind), bad(Name::ContentType), "{kind}");
    }
    for contact in ["*", "<sip:a@b>, *", "sip:a@b?x=y", "<sip:a@b>;;"] {
        assert_eq!(check("<sip:ada@192.0.2.7:5062>", contact), bad(Name::Contact), "{contact}");
    }
    assert_eq!(check("Contact", "Route: gate\r\nContact"), bad(Name::Route));
    assert_eq!(check("Contact", "Expires: soon\r\nContact"), bad(Name::Expires));
}

#[test]
fn refuses_a_bad_request_line_with_the_right_status() {
    let status = |to: &str| check("sip:gate@example.org SIP/2.0", to).map_err(Error::status);
    assert_eq!(status("sip:gate@example.org SIP/3.0"), Err(505));
    assert_eq!(status("sip:gate@example.org SIP/2.00"), Err(505));
    assert_eq!(status("mailto:gate@example.org SIP/2.0"), Err(416));
    assert_eq!(status("http://example.org/ SIP/2.0"), Err(416));
    for line in [
        " sip:gate@example.org SIP/2.0",
        "sip:gate@example.org  SIP/2.0",
        "<sip:gate@example.org> SIP/2.0",
        "gate SIP/2.0",
        "sip:a b@c SIP/2.0",
        "sip:a@b?c=d SIP/2.0",
        " SIP/2.0",
        "sip:gate@example.org\tSIP/2.0 ",
    ] {
        assert_eq!(status(line), Err(400), "{line}");
    }
    assert_eq!(check("7 OPTIONS", "7 INVITE"), Err(Error::MethodMismatch));
    assert_eq!(check("7 OPTIONS", "7 options"), Err(Error::MethodMismatch));
}

#[test]
fn drops_what_is_no_sip_message() {
    for data in [
        "",
        "\r\n",
        "\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "hello",
        "SIP/2.0\r\n\r\n",
        "SIP/2.0 99 x\r\n\r\n",
        "SIP/2.0 700 x\r\n\r\n",
        "SIP/2.0 20 x\r\n\r\n",
        "SIP/2.0 0200 x\r\n\r\n",
        "SIP/2.0 +20 x\r\n\r\n",
        " OPTIONS sip:a SIP/2.0\r\n\r\n",
        "OPTIONS\r\n\r\n",
        "OP(TIONS sip:a SIP/2.0\r\n\r\n",
        "OPTIONS sip:a SIP/2.0\r\nVia: x\r\n",
    ] {
        assert!(Message::parse(data.as_bytes()).is_err(), "{data:?}");
    }
}

#[test]
fn lets_no_control_byte_smuggle_a_header() {
    // CVE-2020-28361 and its kin: a byte before the colon hides a header from one reader and not from another.
    for byte in ["\0", "\x0b", "\x0c", "\x01", "\x7f", "\r", "\n", "\u{a0}", "\u{200b}", "é", "(", "/", "\""]
    {
        assert_eq!(
            check("Via:", &format!("Via{byte}:")),
            Err(Error::HeaderLine),
            "{byte:?} before the colon"
        );
        assert_eq!(check("Via:", &format!("{byte}Via:")), Err(Error::HeaderLine), "{byte:?} before the name");
    }
    for byte in ["\0", "\x0b", "\x0c", "\x1b", "\x7f", "\r", "\n", "\n\n", "\r\r\n", "\n\r"] {
        let found = check("Max-Forwards: 70", &format!("Subject: a{byte}X-Evil: b"));
        assert_eq!(found, Err(Error::HeaderLine), "{byte:?} in a value");
        let found = check("gate@example.org SIP", &format!("gate@example.org{byte} SIP"));
        assert_eq!(found, Err(Error::HeaderLine), "{byte:?} in the start line");
    }
    assert_eq!(check("Max", "no colon\r\nMax"), Err(Error::HeaderLine));
    assert_eq!(check("Max", ": no name\r\nMax"), Err(Error::HeaderLine));
    assert_eq!(
        check("SIP/2.0\r\nVia", "SIP/2.0\r\n Via"),
        Err(Error::HeaderLine),
        "a fold of the start line"
    );
    // White space there is legal, and is the same header.
    let data = changed("Via:", "VIA \t :\r\n ");
    assert_eq!(Message::parse(&data).unwrap().via().unwrap().branch(), Some("z9hG4bKq1"));
}

#[test]
fn lets_control_bytes_stand_in_quoted_pairs_only() {
    assert_eq!(check("Ada, L.", "bell \\\x07 nul \\\0"), Ok(()));
    assert_eq!(check("Ada, L.", "bell \x07"), Err(Error::HeaderLine));
    assert_eq!(check("Ada, L.", "bell \\\\\x07"), Err(Error::HeaderLine), "the backslash itself is escaped");
    assert_eq!(check("Ada, L.", "bell \\\rX: y"), Err(Error::HeaderLine));
    assert_eq!(check("Ada, L.", "bell \\\nX: y"), Err(Error::HeaderLine));
}

#[test]
fn takes_utf_8_and_no_other_eight_bit_text() {
    assert_eq!(check("Ada, L.", "Ада"), Ok(()));
    assert_eq!(check("\"Ada, L.\"", "Ада"), Ok(()), "unquoted, as some phones send it");
    let mut data = changed("Ada, L.", "Ad?");
    let at = data.iter().position(|b| *b == b'?').unwrap();
    data[at] = 0xe4;
    assert_eq!(Message::parse(&data).err(), Some(Error::NotUtf8));
}

#[test]
fn believes_content_length_only_as_far_as_the_bytes_go() {
    let length = |value: &str| check("Length: 5", &format!("Length: {value}"));
    assert_eq!(length("6"), Err(Error::ShortBody));
    assert_eq!(length("4294967295"), Err(Error::ShortBody));
    for bad in [
        "4294967296",
        "18446744073709551616",
        "99999999999999999999999999",
        "-1",
        "+5",
        "5 5",
        "0x5",
        "5,5",
        "",
    ] {
        assert_eq!(length(bad), Err(Error::Malformed(Name::ContentLength)), "{bad}");
    }
    let data = changed("Length: 5", "Length: 0003");
    let message = Message::parse(&data).unwrap();
    assert_eq!((message.body(), message.size()), (&b"hel"[..], data.len() - 2));
    let data = changed("Content-Length: 5\r\n", "");
    assert_eq!(Message::parse(&data).unwrap().body(), b"hello");
}

#[test]
fn caps_headers_and_size() {
    let lines = |n: usize| changed("Max", &("X: y\r\n".repeat(n) + "Max"));
    assert!(Message::parse(&lines(MAX_HEADERS - 9)).is_ok());
    assert_eq!(Message::parse(&lines(MAX_HEADERS - 8)).err(), Some(Error::TooManyHeaders));
    assert_eq!(Error::TooManyHeaders.status(), 513);
    let long = |n: usize| changed("hello", &"x".repeat(n));
    assert!(Message::parse(&long(60_000)).is_ok());
    assert_eq!(Message::parse(&long(66_000)).err(), Some(Error::TooLarge));
    let value = changed("Max", &format!("X: {}\r\nMax", "y".repeat(60_000)));
    assert_eq!(Message::parse(&value).unwrap().header(Name::Other("x")).map(str::len), Some(60_000));
}

#[test]
fn frames_a_stream_byte_by_byte() {
    let one = changed("", "");
    let mut two = one.clone();
    two.extend_from_slice(b"\r\n\r\n");
    two.extend_from_slice(&one);
    for end in 0..one.len() {
        assert!(matches!(frame(&two[..end]), Frame::Partial(need) if need > end), "{end}");
    }
    assert_eq!(frame(&two), Frame::Complete(one.len()));
    assert_eq!(frame(&two[one.len()..]), Frame::KeepAlive(4));
    assert_eq!(frame(b"\r\nOPTIONS"), Frame::KeepAlive(2));
    assert_eq!(frame(b"\r\n"), Frame::KeepAlive(2));
    assert_eq!(frame(b"\r\n\r"), Frame::Partial(4));
    assert_eq!(frame(&two[one.len() + 4..]), Frame::Complete(one.len()));
}

#[test]
fn ends_a_stream_that_cannot_be_cut() {
    let bad = |from: &str, to: &str| match frame(&changed(from, to)) {
        Frame::Bad { head, error } => (head > 0, error),
        other => panic!("{other:?}"),
    };
    assert_eq!(bad("Content-Length: 5\r\n", ""), (true, Error::Missing(Name::ContentLength)));
    assert_eq!(bad("Length: 5", "Length: -5"), (true, Error::Malformed(Name::ContentLength)));
    assert_eq!(
        bad("Length: 5", "Length: 18446744073709551615"),
        (true, Error::Malformed(Name::ContentLength))
    );
    assert_eq!(bad("Length: 5", "Length: 4294967295"), (true, Error::TooLarge));
    assert_eq!(bad("Length: 5", "Length: 65500"), (true, Error::TooLarge));
    assert_eq!(bad("Length: 5", "Length: 5\r\nl: 6"), (true, Error::Repeated(Name::ContentLength)));
    assert_eq!(bad("Via:", "Via\0:"), (false, Error::HeaderLine));
    assert_eq!(bad("Max", &("X: y\r\n".repeat(MAX_HEADERS) + "Max")), (false, Error::TooManyHeaders));
    assert_eq!(frame(&vec![b'x'; 65_535]), Frame::Bad { head: 0, error: Error::TooLarge });
    assert_eq!(frame(&vec![b'x'; 65_534]), Frame::Partial(65_535));
    // A repeated length that agrees is cut as it says; `check` then refuses it.
    assert!(matches!(frame(&changed("Length: 5", "Length: 5\r\nl: 5")), Frame::Complete(_)));
}

#[test]
fn answers_what_a_bad_stream_left_of_a_request() {
    let data = changed("Length: 5", "Length: 65500");
    let Frame::Bad { head, .. } = frame(&data) else { panic!() };
    let message = Message::parse(&data[..head]).unwrap();
    assert_eq!(message.call_id(), Ok("c1@192.0.2.7"));
}

#[test]
fn splits_lists_around_quotes_and_brackets() {
    let data = changed("Contact: <", "m: \"a, \\\" b\" <sip:x@y;p=1,2>;q=0.5, , <sip:z@y>\r\nContact: <");
    let message = Message::parse(&data).unwrap();
    let uris: Vec<_> = message.addresses(Name::Contact).map(|a| a.unwrap().uri).collect();
    assert_eq!(uris, ["sip:x@y;p=1,2", "sip:z@y", "sip:ada@192.0.2.7:5062"]);
    assert_eq!(message.headers(Name::Contact).count(), 2);
    let data = changed("Contact", "Supported: 100rel , Timer\r\nk: replaces\r\nContact");
    let message = Message::parse(&data).unwrap();
    assert!(message.has_token(Name::Supported, "timer") && message.has_token(Name::Supported, "replaces"));
    assert!(!message.has_token(Name::Supported, "100"));
}

#[test]
fn reads_what_steers_a_message() {
    let data = changed("<sip:gate@example.org>", "<sip:gate@example.org>;TAG=t1");
    let message = Message::parse(&data).unwrap();
    let key = Key {
        method: Method::Options,
        cseq: 7,
        is_request: true,
        branch: "z9hG4bKq1",
        call_id: "c1@192.0.2.7",
        from_tag: Some("f1"),
        to_tag: Some("t1"),
    };
    assert_eq!(Key::read(&message), Ok(key));
    assert_eq!(Key::scan(&data), Ok(key));
    assert_eq!(format!("{message:?}"), "Message(OPTIONS, None, 9 headers)");
}

#[test]
fn reads_via() {
    let via = Via::parse("SIP / 2.0 / TLS [2001:db8::1] : 5061 ;received=192.0.2.9;rport=7;branch=z9hG4bK;ttl=9;maddr=h.example").unwrap();
    assert_eq!((via.transport, via.port, via.rport()), ("TLS", Some(5061), Some(Some(7))));
    assert_eq!(via.host, Host::Ip("2001:db8::1".parse().unwrap()));
    assert_eq!((via.received(), via.ttl()), (Some("192.0.2.9".parse().unwrap()), Some(9)));
    assert_eq!(via.maddr(), Some(Host::Name("H.example")));
    assert!(!via.has_cookie());
    let via = Via::parse("SIP/2.0/UDP h;rport;branch=Z9HG4BKx").unwrap();
    assert_eq!((via.rport(), via.has_cookie()), (Some(None), true));
}

#[test]
fn reads_addresses() {
    let addr = NameAddr::parse("\"A \\\"B\\\" \\\\\"<sip:a@b;x>;tag=1;expires=60;q=0.25").unwrap();
    assert_eq!(&*addr.display_name(), "A \"B\" \\");
    assert_eq!(
        (addr.uri, addr.tag(), addr.expires(), addr.q()),
        ("sip:a@b;x", Some("1"), Some(60), Some(250))
    );
    let bare = NameAddr::parse("sip:a@b;tag=9").unwrap();
    assert_eq!((bare.uri, bare.tag(), bare.display), ("sip:a@b", Some("9"), ""));
    let plain = NameAddr::parse("Ada Lovelace <tel:+1-555>").unwrap();
    assert_eq!((&*plain.display_name(), plain.uri().unwrap().user), ("Ada Lovelace", Some("+1-555")));
    assert_eq!(NameAddr::parse("<sip:a@b>;q=1.001").unwrap().q(), None);
    assert_eq!(NameAddr::parse("<sip:a@b>;q=1.000").unwrap().q(), Some(1000));
    assert_eq!(NameAddr::parse("<sip:a@b>;expires=99999999999").unwrap().expires(), Some(u32::MAX));
}

#[test]
fn reads_the_other_values() {
    assert_eq!(CSeq::parse(" 1 \r\n INVITE").unwrap(), CSeq { number: 1, method: Method::Invite });
    assert_eq!(RAck::parse("776656 1 INVITE").unwrap().to_string(), "776656 1 INVITE");
    assert!(RAck::parse("776656 INVITE").is_err());
    let timer = SessionExpires::parse("1800 ; refresher=UAS").unwrap();
    assert_eq!((timer.seconds, timer.refresher), (1800, Some(Refresher::Uas)));
    assert!(SessionExpires::parse("soon").is_err());
    let replaces = Replaces::parse("12@h;to-tag=7743;from-tag=6472;early-only").unwrap();
    assert_eq!(replaces, Replaces { call_id: "12@h", to_tag: "7743", from_tag: "6472", early_only: true });
    assert!(Replaces::parse("12@h;to-tag=7743").is_err());
    let target = Replaces::parse("12@h;local-tag=a;remote-tag=b").unwrap();
    assert_eq!((target.to_tag, target.from_tag), ("b", "a"));
    let retry = RetryAfter::parse("120 (in a ; meeting) ;duration=60").unwrap();
    assert_eq!(retry, RetryAfter { seconds: 120, duration: Some(60) });
    assert_eq!(RetryAfter::parse("949302838503028349304023988").unwrap().seconds, u32::MAX);
    let reason = Reason::parse("Q.850 ;cause=16 ;text=\"Terminated; ok\"").unwrap();
    assert_eq!(
        (reason.protocol, reason.cause, reason.text().as_deref()),
        ("Q.850", Some(16), Some("Terminated; ok"))
    );
    assert!(MediaType::parse("application/sdp;charset=utf-8").unwrap().is("Application", "SDP"));
}

#[test]
fn reads_digest_challenges_and_credentials() {
    let challenge = Challenge::parse("Digest realm=\"a, \\\"b\\\"\", nonce=\"n=1\", qop=\"auth,auth-int\", algorithm=SHA-256,\r\n stale=TRUE, opaque=\"\"").unwrap();
    assert_eq!(challenge.realm().as_deref(), Some("a, \"b\""));
    assert_eq!((challenge.nonce().as_deref(), challenge.opaque().as_deref()), (Some("n=1"), Some("")));
    assert!(challenge.offers_qop("auth") && challenge.offers_qop("auth-int") && !challenge.offers_qop("aut"));
    assert!(challenge.is_stale() && challenge.is_digest());
    assert_eq!(challenge.algorithm().as_deref(), Some("SHA-256"));
    let credentials = Credentials::parse("digest username=\"ada\",uri=\"sip:a;b,c\", nc=00000001").unwrap();
    assert_eq!(credentials.value("URI").as_deref(), Some("sip:a;b,c"));
    assert_eq!(credentials.value("nc").as_deref(), Some("00000001"));
    for bad in
        ["", "Digest realm=\"a", "Digest realm", "Digest =x", "Digest realm=\"a\"b", "Digest realm=a b"]
    {
        assert!(Challenge::parse(bad).is_err(), "{bad}");
    }
    assert!(Credentials::parse("Bearer abc.def==").is_ok());
}

#[test]
fn compares_uris_as_section_19_1_4_does() {
    let same = |a: &str, b: &str| {
        let (a, b) = (Uri::parse(a).unwrap(), Uri::parse(b).unwrap());
        assert_eq!(a.is_equivalent(&b), b.is_equivalent(&a));
        a.is_equivalent(&b)
    };
    assert!(same("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"));
    assert!(same("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"));
    assert!(same("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"));
    assert!(same(
        "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
        "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com"
    ));
    assert!(same(
        "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
        "sip:alice@atlanta.com?priority=urgent&subject=project%20x"
    ));
    assert!(!same("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"));
    assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"));
    assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"));
    assert!(!same("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"));
    assert!(!same("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"));
    assert!(!same("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"));
    assert!(!same("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"));
    assert!(!same("sip:a@b", "sips:a@b"));
    assert!(!same("sip:a:x@b", "sip:a@b"));
    assert!(same("sip:a@[2001:db8::1]", "sip:a@[2001:DB8:0::1]"));
    assert!(same("tel:+1-201-555-0123", "tel:+12015550123"));
    assert!(!same("tel:+12015550123;ext=1", "tel:+12015550123"));
    let many = format!("sip:a@b{}", ";x".repeat(20_000));
    assert!(!same(&many, &many), "more parameters than we compare");
}

#[test]
fn reads_responses() {
    let message = Message::parse(b"SIP/2.0 180 Ringing, sort of\r\n\r\n").unwrap();
    assert_eq!(message.start(), StartLine::Response { code: 180, reason: "Ringing, sort of" });
    assert_eq!(message.check(), Err(Error::Missing(Name::From)));
    let bare = Message::parse(b"SIP/2.0 200\r\n\r\n").unwrap();
    assert_eq!((bare.code(), bare.method()), (Some(200), None));
}
