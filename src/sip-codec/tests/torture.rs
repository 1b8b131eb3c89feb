//! RFC 4475 and RFC 5118: every message, its verdict written from the RFC before the parser saw it.
//!
//! `sip-codec` is asked only what syntax decides. Where the RFC's answer comes from above it (401, 415, 420, 483, …)
//! the verdict is `Valid`, and the column beside it says what the stack answers. Where the RFC leaves a choice
//! between refusing and being lenient, we refuse, except where a lenient reading cannot be misread.

use sip_codec::{Error, Host, Message, Method, Name, Scheme, StartLine};
use std::path::PathBuf;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Verdict {
    /// Nothing wrong.
    Valid,
    /// Not a message to answer: dropped.
    Drop,
    /// A response that is indexed and dropped for this.
    DropFor(Error),
    /// A request refused with this status.
    Refuse(u16, Error),
}
use Verdict::*;

const URI: Error = Error::RequestUri;

/// File, section, verdict, and the stack's word on it.
const RFC4475: [(&str, &str, Verdict, &str); 50] = [
    ("wsinv", "3.1.1.1", Valid, "white space and folds wherever they may be"),
    ("intmeth", "3.1.1.2", Valid, "405 or 501: unknown method"),
    ("esc01", "3.1.1.3", Valid, "escapes, in parameter names too"),
    ("escnull", "3.1.1.4", Valid, "escaped NULs are characters like others"),
    ("esc02", "3.1.1.5", Valid, "405 or 501: percent does not escape in a method or header name"),
    ("lwsdisp", "3.1.1.6", Valid, "no white space between display name and <"),
    ("longreq", "3.1.1.7", Valid, "long values"),
    ("dblreq", "3.1.1.8", Valid, "what follows Content-Length in a datagram is ignored"),
    ("semiuri", "3.1.1.9", Valid, "semicolon in the user part"),
    ("transports", "3.1.1.10", Valid, "unknown transports"),
    ("mpart01", "3.1.1.11", Valid, "binary multipart body"),
    ("unreason", "3.1.1.12", Valid, "UTF-8 reason phrase"),
    ("noreason", "3.1.1.13", Valid, "empty reason phrase"),
    ("badinv01", "3.1.2.1", Refuse(400, Error::Malformed(Name::Via)), "empty parameters"),
    ("clerr", "3.1.2.2", Refuse(400, Error::ShortBody), "a datagram shorter than its Content-Length"),
    ("ncl", "3.1.2.3", Refuse(400, Error::Malformed(Name::ContentLength)), "negative Content-Length"),
    (
        "scalar02",
        "3.1.2.4",
        Refuse(400, Error::Malformed(Name::CSeq)),
        "CSeq beyond 2^31; Max-Forwards beyond 255",
    ),
    ("scalarlg", "3.1.2.5", DropFor(Error::Malformed(Name::CSeq)), "CSeq beyond 2^31 in a response"),
    ("quotbal", "3.1.2.6", Refuse(400, Error::Malformed(Name::To)), "unclosed quote"),
    ("ltgtruri", "3.1.2.7", Refuse(400, URI), "<> around the Request-URI"),
    ("lwsruri", "3.1.2.8", Refuse(400, URI), "white space in the Request-URI"),
    ("lwsstart", "3.1.2.9", Refuse(400, Error::StartLine), "several spaces in the Request-Line"),
    ("trws", "3.1.2.10", Refuse(400, Error::StartLine), "spaces after the version"),
    ("escruri", "3.1.2.11", Refuse(400, URI), "headers in the Request-URI"),
    ("baddate", "3.1.2.12", Valid, "a Date that is not GMT may be ignored"),
    ("regbadct", "3.1.2.13", Refuse(400, Error::Malformed(Name::Contact)), "URI with headers needs <>"),
    ("badaspec", "3.1.2.14", Refuse(400, Error::Malformed(Name::To)), "white space within <>"),
    ("baddn", "3.1.2.15", Refuse(400, Error::Malformed(Name::From)), "a comma needs quotes"),
    ("baddn.sipsorcery-variant", "3.1.2.15", Drop, "no empty line: not the RFC's bytes"),
    ("badvers", "3.1.2.16", Refuse(505, Error::Version), "SIP/7.0"),
    ("mismatch01", "3.1.2.17", Refuse(400, Error::MethodMismatch), "OPTIONS against CSeq INVITE"),
    ("mismatch02", "3.1.2.18", Refuse(400, Error::MethodMismatch), "400 or 501: unknown method, CSeq INVITE"),
    ("bigcode", "3.1.2.19", Drop, "status code beyond 699"),
    ("badbranch", "3.2.1", Valid, "a branch of the cookie alone names no transaction: match as RFC 2543"),
    ("insuf", "3.3.1", Refuse(400, Error::Missing(Name::From)), "no Call-ID, From, To"),
    ("unkscm", "3.3.2", Refuse(416, Error::Scheme), "unknown scheme"),
    ("novelsc", "3.3.3", Refuse(416, Error::Scheme), "known scheme that is not SIP's"),
    ("unksm2", "3.3.4", Valid, "a registrar answers 400: To is no SIP URI"),
    ("bext01", "3.3.5", Valid, "420"),
    ("invut", "3.3.6", Valid, "415"),
    ("regaut01", "3.3.7", Valid, "401"),
    ("multi01", "3.3.8", Refuse(400, Error::Repeated(Name::From)), "two of everything"),
    ("mcl01", "3.3.9", Refuse(400, Error::Repeated(Name::ContentLength)), "two Content-Lengths"),
    ("bcast", "3.3.10", Valid, "dropped above: the topmost Via is not ours"),
    ("zeromf", "3.3.11", Valid, "483, or an answer if OPTIONS is for us"),
    ("cparam01", "3.3.12", Valid, "unknown header parameter"),
    ("cparam02", "3.3.13", Valid, "unknown URI parameter"),
    ("regescrt", "3.3.14", Valid, "header in a Contact URI, within <>"),
    ("sdp01", "3.3.15", Valid, "406"),
    ("inv2543", "3.4.1", Valid, "no Max-Forwards, branch, From tag, Content-Length"),
];

const RFC5118: [(&str, &str, Verdict, &str); 13] = [
    ("ipv6-good", "4.1", Valid, ""),
    ("ipv6-bad", "4.2", Refuse(400, URI), "IPv6 without brackets"),
    ("port-ambiguous", "4.3", Valid, "the last group is part of the address"),
    ("port-unambiguous", "4.4", Valid, "port 5070"),
    ("via-received-param-with-delim", "4.5", Valid, "brackets in received are tolerated"),
    ("via-received-param-no-delim", "4.5", Valid, ""),
    // Valid in the RFC, but in this copy 251 bytes of body follow a Content-Length of 268.
    ("ipv6-in-sdp", "4.6", Refuse(400, Error::ShortBody), "the copy's body is short"),
    (
        "ipv6-in-sdp.ersip-variant-cl241",
        "4.6",
        Valid,
        "the same with Content-Length 241: the rest is cut off",
    ),
    ("mult-ip-in-header", "4.7", Valid, ""),
    ("mult-ip-in-sdp", "4.8", Valid, ""),
    ("ipv4-mapped-ipv6", "4.9", Valid, ""),
    ("ipv6-bug-abnf-3-colons", "4.10", Valid, "must be tolerated"),
    ("ipv6-correct-abnf-2-colons", "4.10", Valid, ""),
];

/// The folder of a corpus. Absent corpora fail only where `CI` is set: there nobody reads the line.
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

fn judge(data: &[u8]) -> Verdict {
    let Ok(message) = Message::parse(data) else { return Drop };
    match (message.check(), message.start()) {
        (Ok(()), _) => Valid,
        (Err(error), StartLine::Request { .. }) => Refuse(error.status(), error),
        (Err(error), StartLine::Response { .. }) => DropFor(error),
    }
}

fn hold(name: &str, table: &[(&str, &str, Verdict, &str)]) {
    let Some(folder) = corpus(name) else { return };
    let files = std::fs::read_dir(&folder).unwrap().count();
    assert_eq!(files, table.len(), "a file without a verdict in {name}");
    let mut wrong = Vec::new();
    for (file, section, verdict, why) in table {
        let data = std::fs::read(folder.join(format!("{file}.dat"))).unwrap();
        let found = judge(&data);
        if found != *verdict {
            wrong.push(format!("{file} ({section}, {why}): {verdict:?} by the RFC, {found:?} by us"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn judges_every_message_of_rfc_4475_as_the_rfc_does() {
    hold("rfc4475", &RFC4475);
}

#[test]
fn judges_every_message_of_rfc_5118_as_the_rfc_does() {
    hold("rfc5118", &RFC5118);
}

fn with(name: &str, file: &str, see: impl FnOnce(Message<'_>)) {
    let Some(folder) = corpus(name) else { return };
    let data = std::fs::read(folder.join(format!("{file}.dat"))).unwrap();
    see(Message::parse(&data).unwrap());
}

#[test]
fn reads_the_short_tortuous_invite() {
    with("rfc4475", "wsinv", |m| {
        assert_eq!(m.to().unwrap().tag(), Some("1918181833n"));
        let from = m.from().unwrap();
        assert_eq!((from.tag(), &*from.display_name()), (Some("98asjd8"), r#"J Rosenberg \""#));
        assert_eq!(m.max_forwards(), Ok(Some(68)));
        let cseq = m.cseq().unwrap();
        assert_eq!((cseq.number, cseq.method), (9, Method::Invite));
        assert_eq!(m.header(Name::Subject), Some(""));
        assert_eq!(m.body().len(), 150);
        let vias: Vec<_> = m.values(Name::Via).map(|v| sip_codec::Via::parse(v).unwrap()).collect();
        let seen: Vec<_> = vias.iter().map(|v| (v.transport, v.branch().unwrap(), v.has_cookie())).collect();
        let expected =
            [("UDP", "390skdjuw", false), ("TCP", "z9hG4bK9ikj8", true), ("UDP", "z9hG4bK30239", true)];
        assert_eq!(seen, expected);
        let contact = m.addresses(Name::Contact).next().unwrap().unwrap();
        assert_eq!((&*contact.display_name(), contact.q()), (r#"Quoted string """#, Some(330)));
        assert_eq!(contact.params.value("newparam"), Some("newvalue"));
        assert!(contact.params.has("secondparam"));
        let route = m.addresses(Name::Route).next().unwrap().unwrap().uri().unwrap();
        assert!(route.param("lr").is_some() && route.param("unknown-no-value").is_some());
    });
}

#[test]
fn reads_the_wide_range_of_valid_characters() {
    with("rfc4475", "intmeth", |m| {
        let method = "!interesting-Method0123456789_*+`.%indeed'~";
        assert_eq!(m.method(), Some(Method::Other(method)));
        let uri = m.uri().unwrap();
        assert_eq!(uri.user, Some("1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*"));
        assert_eq!(uri.password, Some("&it+has=1,weird!*pas$wo~d_too.(doesn't-it)"));
        assert_eq!(&*m.to().unwrap().display_name(), "BEL:\u{7} NUL:\0 DEL:\u{7f}");
        assert_eq!(m.from().unwrap().tag(), Some("_token~1'+`*%!-."));
        assert_eq!(m.max_forwards(), Ok(Some(255)));
        assert_eq!(m.call_id(), Ok("intmeth.word%ZK-!.*_+'@word`~)(><:\\/\"][?}{"));
    });
}

#[test]
fn reads_escapes_only_where_they_are_escapes() {
    with("rfc4475", "esc01", |m| {
        assert_eq!(m.uri().unwrap().user_text().as_deref(), Some("sips:user@example.com"));
        assert_eq!(m.to().unwrap().uri().unwrap().user_text().as_deref(), Some("user"));
        assert_eq!(m.from().unwrap().uri().unwrap().user_text().as_deref(), Some("I have spaces"));
        let contact = m.addresses(Name::Contact).next().unwrap().unwrap().uri().unwrap();
        assert!(contact.param("lr").is_some());
        assert_eq!(contact.param("name").unwrap().value, Some("v%61lue%25%34%31"));
    });
    with("rfc4475", "esc02", |m| {
        assert_eq!(m.method(), Some(Method::Other("RE%47IST%45R")));
        assert_eq!(&*m.to().unwrap().display_name(), "%Z%45");
        assert_eq!(m.headers(Name::Contact).count(), 2);
        assert_eq!(m.headers(Name::Other("C%6Fntact")).count(), 1);
    });
    with("rfc4475", "escnull", |m| {
        assert_eq!(m.to().unwrap().uri().unwrap().user_text().as_deref(), Some("null-\0-null"));
        let users: Vec<_> =
            m.addresses(Name::Contact).map(|c| c.unwrap().uri().unwrap().user.unwrap()).collect();
        assert_eq!(users, ["%00", "%00%00"]);
    });
    with("rfc4475", "semiuri", |m| {
        let uri = m.uri().unwrap();
        assert_eq!(uri.user_text().as_deref(), Some("user;par=u@example.net"));
        assert_eq!(m.values(Name::Accept).count(), 6);
    });
}

#[test]
fn cuts_bodies_to_content_length() {
    with("rfc4475", "dblreq", |m| {
        assert_eq!((m.method(), m.body()), (Some(Method::Register), &b""[..]));
        assert_eq!(m.call_id(), Ok("dblreq.0ha0isndaksdj99sdfafnl3lk233412"));
    });
    with("rfc4475", "mpart01", |m| assert_eq!(m.body().len(), 553));
    with("rfc4475", "inv2543", |m| assert!(m.body().starts_with(b"v=0") && m.body().ends_with(b"\r\n")));
}

#[test]
fn reads_reason_phrases_of_any_kind() {
    with("rfc4475", "unreason", |m| {
        assert!(
            matches!(m.start(), StartLine::Response { code: 200, reason } if reason.starts_with("= 2**3"))
        );
    });
    with("rfc4475", "noreason", |m| {
        assert_eq!(m.start(), StartLine::Response { code: 100, reason: "" });
    });
}

#[test]
fn knows_a_branch_of_the_cookie_alone() {
    with("rfc4475", "badbranch", |m| assert!(!m.via().unwrap().has_cookie()));
}

#[test]
fn reads_where_the_port_is_and_where_it_is_not() {
    let whole: Host<'_> = Host::Ip("2001:db8::10:5070".parse().unwrap());
    with("rfc5118", "port-ambiguous", |m| {
        let uri = m.uri().unwrap();
        assert_eq!((uri.scheme, uri.host, uri.port), (Scheme::Sip, Some(whole), None));
    });
    with("rfc5118", "port-unambiguous", |m| assert_eq!(m.uri().unwrap().port, Some(5070)));
    for file in ["via-received-param-with-delim", "via-received-param-no-delim"] {
        with("rfc5118", file, |m| {
            assert_eq!(m.via().unwrap().received(), Some("2001:db8::9:255".parse().unwrap()));
        });
    }
    for file in ["ipv6-bug-abnf-3-colons", "ipv6-correct-abnf-2-colons"] {
        with("rfc5118", file, |m| {
            let ip = m.uri().unwrap().host.unwrap().ip();
            assert_eq!(ip, Some("2001:db8::192.0.2.1".parse().unwrap()));
        });
    }
}
