//! What is carried across beside the session: body parts, Max-Breadth.

use super::script::*;
use super::*;
use crate::leg::{Carried, Part};

const ISUP: &str = "--p\r\nContent-Type: application/isup\r\n\r\nIAM\r\n";

fn multipart(other: &str) -> (String, String) {
    let body =
        format!("--p\r\nContent-Type: application/sdp\r\n\r\n{}\r\n{ISUP}{other}--p--\r\n", sdp_text(1));
    ("Content-Type: multipart/mixed;boundary=p\r\n".to_owned(), body)
}

/// An INVITE with this body.
fn invite((kind, body): (String, String), extra: &str) -> String {
    let plain = from_caller("INVITE", 1, "", &format!("{kind}{extra}"), "");
    plain.replace("Content-Length: 0\r\n\r\n", &format!("Content-Length: {}\r\n\r\n{body}", body.len()))
}

fn passing(config: &mut Config) {
    config.trunks[0].bodies = vec!["application/ISUP".into()];
}

#[test]
fn parts_and_breadth_come_in_where_the_operator_lets_them() {
    for lets in [true, false] {
        let mut net = Net::scripted(|config| {
            if lets {
                passing(config);
            }
        });
        net.inject(B, 0, &invite(multipart(""), "Max-Breadth: 7\r\n"));
        net.run(Duration::from_millis(50));
        let incoming = net.incoming(0);
        assert!(incoming.offer.is_some());
        assert_eq!(incoming.carried.breadth, Some(7));
        let part = Part { kind: "application/isup".into(), bytes: b"IAM".to_vec(), ..Part::default() };
        assert_eq!(incoming.carried.parts, if lets { vec![part] } else { Vec::new() });
    }
}

#[test]
fn a_part_that_must_be_understood_and_is_not_is_refused_with_what_would_do() {
    let own = "--p\r\nContent-Type: application/x-own\r\nContent-Disposition: signal;handling=required\r\n\r\nx\r\n";
    let mut net = Net::scripted(passing);
    net.inject(B, 0, &invite(multipart(own), ""));
    net.run(Duration::from_millis(50));
    let refusal = net.take("SIP/2.0 415").remove(0);
    assert_eq!(header(&refusal, "Accept"), "application/sdp, multipart/mixed, application/ISUP");
}

#[test]
fn who_may_not_be_forked_to_any_more_hears_440() {
    let mut net = Net::scripted(|_| {});
    net.inject(B, 0, &from_caller("INVITE", 1, "", "Max-Breadth: 0\r\n", &sdp_text(1)));
    net.run(Duration::from_millis(50));
    assert_eq!(net.take("SIP/2.0 440").len(), 1);
    assert!(!net.heard(0, "Incoming"));
}

#[test]
fn parts_go_out_only_to_who_may_have_them_and_a_refresh_has_none() {
    let part = |kind: &str| Part { kind: kind.into(), bytes: b"x".to_vec(), ..Part::default() };
    let parts = vec![part("application/isup"), part("application/x-own")];
    let mut net = Net::scripted(passing);
    net.carried = Carried { breadth: Some(6), parts, ..Carried::default() };
    net.dial(0);
    net.run(Duration::from_millis(50));
    let invite = net.take("INVITE").remove(0);
    assert_eq!(header(&invite, "Max-Breadth"), "6");
    assert!(header(&invite, "Content-Type").starts_with("multipart/mixed;boundary="));
    assert!(invite.contains("application/isup") && !invite.contains("application/x-own"), "{invite}");
    let message = Message::parse(invite.as_bytes()).unwrap();
    assert!(super::super::body::Body::read(&message).session().is_some_and(|session| session == sdp(1)));
    let mut headers = contact();
    headers
        .extend([(sip_codec::Name::SessionExpires, "120;refresher=uac"), (sip_codec::Name::Allow, "INVITE")]);
    net.answer(&invite, 200, "b1", &headers, Some(&sdp_text(2)));
    net.run(seconds(61));
    let refresh = net.take("INVITE").remove(0);
    assert_eq!(header(&refresh, "Content-Type"), "application/sdp");
    assert!(refresh.ends_with(&sdp(1).to_string()), "{refresh}");
}
