//! What scripts of the far side say: requests in dialogs, and calls.

use super::*;
use sip_codec::Name;

pub fn contact() -> Vec<(Name<'static>, &'static str)> {
    vec![(Name::Contact, "<sip:bob@192.0.2.2:5060>")]
}

/// Headers of a reliable provisional response.
pub fn reliable(rseq: &'static str) -> Vec<(Name<'static>, &'static str)> {
    let mut headers = contact();
    headers.extend([
        (Name::Require, "100rel"),
        (Name::RSeq, rseq),
        (Name::Allow, "INVITE, ACK, UPDATE, PRACK"),
    ]);
    headers
}

pub fn dialled(net: &mut Net) -> (LegId, String) {
    let leg = net.dial(0);
    net.run(seconds(1));
    (leg, net.take("INVITE").remove(0))
}

/// A request of the script in the dialog that its answer to `invite` made.
pub fn in_dialog(invite: &str, method: &str, cseq: u32, extra: &str, body: &str) -> String {
    in_fork(invite, "b1", method, cseq, extra, body)
}

/// The same in the dialog of this tag.
pub fn in_fork(invite: &str, tag: &str, method: &str, cseq: u32, extra: &str, body: &str) -> String {
    let from = header(invite, "To");
    let (to, call_id) = (header(invite, "From"), header(invite, "Call-ID"));
    let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} sip:x@{A} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKs{cseq}{method}{tag};rport\r\nFrom: {from};tag={tag}\r\n\
         To: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
         Contact: <sip:bob@192.0.2.2:5060>\r\n{extra}{content}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A call to the script, answered with tag `b1` and these headers.
pub fn answered_with(net: &mut Net, extra: &[(Name<'static>, &'static str)]) -> (LegId, String) {
    let (leg, invite) = dialled(net);
    let mut headers = contact();
    headers.extend(extra);
    net.answer(&invite, 200, "b1", &headers, Some(&sdp_text(2)));
    net.run(Duration::from_millis(100));
    assert!(net.heard(0, "Answered"));
    (leg, invite)
}

/// A call to the script, answered with tag `b1`.
pub fn answered(net: &mut Net) -> (LegId, String) {
    answered_with(net, &[])
}

/// A request of a script that calls: its INVITE, and what belongs to it.
pub fn from_caller(method: &str, cseq: u32, to_tag: &str, extra: &str, body: &str) -> String {
    let content = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    let tag = if to_tag.is_empty() { String::new() } else { format!(";tag={to_tag}") };
    format!(
        "{method} sip:bob@{A} SIP/2.0\r\nVia: SIP/2.0/UDP {B};branch=z9hG4bKc{cseq}{method};rport\r\nFrom: <sip:q@x>;tag=q\r\n\
         To: <sip:bob@x>{tag}\r\nCall-ID: c\r\nCSeq: {cseq} {method}\r\nMax-Forwards: 70\r\n\
         Contact: <sip:q@{B}>\r\n{extra}{content}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A call of the script that came in, and its leg.
pub fn called(net: &mut Net, extra: &str, body: &str) -> LegId {
    net.inject(B, 0, &from_caller("INVITE", 1, "", extra, body));
    net.run(Duration::from_millis(50));
    net.incoming(0).leg
}

/// Our tag, as a response says it.
pub fn tag_of(response: &str) -> String {
    header(response, "To").split("tag=").nth(1).unwrap_or_default().to_owned()
}

/// The PRACK of a response.
pub fn prack(response: &str, cseq: u32, body: &str) -> String {
    let rack = format!("RAck: {} 1 INVITE\r\n", header(response, "RSeq"));
    from_caller("PRACK", cseq, &tag_of(response), &rack, body)
}
