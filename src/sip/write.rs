//! Our messages, written through the codec's one writer: it refuses control bytes, wherever they came from.

use super::{Flow, Transport};
use sip_codec::{Host, Message, Method, Name, ViaOut, Writer};
use std::net::SocketAddr;

/// What we let a peer send.
pub(super) const ALLOW: &str =
    "INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, NOTIFY, REFER, MESSAGE";
/// How many ways a request may still be forked to (RFC 5393 section 5).
pub(super) const MAX_BREADTH: Name<'static> = Name::Other("Max-Breadth");
/// The one type of body that we read.
pub(super) const SDP: &str = "application/sdp";

/// Extra headers of a message.
pub(super) type Headers<'a> = &'a [(Name<'a>, &'a str)];

/// Headers that were made up, as they are written.
pub(super) fn borrowed<'a>(headers: &'a [(Name<'static>, String)]) -> Vec<(Name<'a>, &'a str)> {
    headers.iter().map(|(name, value)| (*name as Name<'a>, value.as_str())).collect()
}

/// A request of ours.
#[derive(Clone, Copy)]
pub(super) struct Draft<'a> {
    pub method: Method<'static>,
    pub uri: &'a str,
    pub transport: Transport,
    pub sent_by: SocketAddr,
    pub branch: &'a str,
    /// Route values, as they go.
    pub routes: &'a [String],
    pub from: &'a str,
    pub to: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    pub hops: u8,
    /// Our Contact value, with parameters.
    pub contact: Option<&'a str>,
    pub authorization: &'a [(&'static str, String)],
    pub headers: Headers<'a>,
    pub user_agent: &'a str,
    /// The body's type.
    pub content: &'a str,
    pub body: Option<&'a [u8]>,
}

impl Draft<'_> {
    /// The bytes; `None` where a part holds what must not reach the wire.
    pub fn write(&self) -> Option<Vec<u8>> {
        let mut buffer = Vec::with_capacity(1024);
        let mut writer = Writer::request(&mut buffer, self.method, self.uri);
        let via = ViaOut {
            transport: self.transport.name(),
            host: Host::Ip(self.sent_by.ip()),
            port: Some(self.sent_by.port()),
            branch: self.branch,
            rport: true,
        };
        if self.transport.is_stream() {
            // RFC 5923 section 5.1: requests may come back by this connection.
            writer.header(Name::Via, format_args!("{via};alias"));
        } else {
            writer.header(Name::Via, via);
        }
        for route in self.routes {
            writer.text(Name::Route, route);
        }
        writer.header(Name::MaxForwards, self.hops);
        writer.text(Name::From, self.from).text(Name::To, self.to).text(Name::CallId, self.call_id);
        writer.header(Name::CSeq, format_args!("{} {}", self.cseq, self.method));
        if let Some(contact) = self.contact {
            writer.text(Name::Contact, contact);
        }
        for (name, value) in self.authorization {
            writer.text(Name::parse(name), value);
        }
        for (name, value) in self.headers {
            writer.text(*name, value);
        }
        if !self.user_agent.is_empty() {
            writer.text(Name::UserAgent, self.user_agent);
        }
        end(writer, self.content, self.body).then_some(buffer)
    }
}

fn end(writer: Writer<'_>, content: &str, body: Option<&[u8]>) -> bool {
    match body {
        Some(body) => writer.body(content, body).is_ok(),
        None => writer.finish().is_ok(),
    }
}

/// A request of ours that was written for UDP, as it goes over TCP: another word in the topmost Via, which is ours and
/// comes first.
pub(super) fn over_tcp(request: &[u8]) -> Option<Vec<u8>> {
    const UDP: &[u8] = b"\r\nVia: SIP/2.0/UDP ";
    const TCP: &[u8] = b"\r\nVia: SIP/2.0/TCP ";
    let line = request.windows(2).position(|two| two == b"\r\n")?;
    let rest = request.get(line..)?.strip_prefix(UDP)?;
    let end = rest.windows(2).position(|two| two == b"\r\n")?;
    let (via, rest) = rest.split_at_checked(end)?;
    Some([request.get(..line)?, TCP, via, b";alias", rest].concat())
}

/// The answer to a request.
#[derive(Clone, Copy)]
pub(super) struct Answer<'a> {
    pub code: u16,
    /// Our To tag, for requests that have none.
    pub tag: &'a str,
    pub headers: Headers<'a>,
    pub server: &'a str,
    /// A session description.
    pub body: Option<&'a [u8]>,
}

impl Answer<'_> {
    /// The bytes. Via gets `received` and `rport` (RFC 3581 section 4), Record-Route goes back where it makes a
    /// dialog (RFC 3261 section 12.1.1).
    pub fn write(&self, request: &Message<'_>, source: SocketAddr) -> Option<Vec<u8>> {
        let mut buffer = Vec::with_capacity(1024);
        let mut writer = Writer::response(&mut buffer, self.code, phrase(self.code));
        let tag = (self.code > 100).then_some(self.tag);
        writer.reply_to(request, source, tag);
        if self.code == 100 {
            // Section 8.2.6.1.
            writer.copy(request, Name::Timestamp);
        }
        if (101..300).contains(&self.code) && request.method() == Some(Method::Invite) {
            writer.copy(request, Name::RecordRoute);
        }
        for (name, value) in self.headers {
            writer.text(*name, value);
        }
        if !self.server.is_empty() {
            writer.text(Name::Server, self.server);
        }
        end(writer, SDP, self.body).then_some(buffer)
    }
}

/// The ACK of a refused INVITE (RFC 3261 section 17.1.1.3), or its CANCEL (section 9.1): the same topmost Via,
/// Request-URI, From, Call-ID, Route and sequence number.
pub(super) fn companion(
    invite: &[u8],
    method: Method<'static>,
    refusal: Option<&Message<'_>>,
    headers: Headers<'_>,
) -> Option<Vec<u8>> {
    let invite = Message::parse(invite).ok()?;
    let mut buffer = Vec::with_capacity(512);
    let mut writer = Writer::request(&mut buffer, method, invite.request_uri()?);
    writer.copy(&invite, Name::Via).copy(&invite, Name::Route);
    writer.header(Name::MaxForwards, 70).copy(&invite, Name::From);
    writer.copy(refusal.unwrap_or(&invite), Name::To).copy(&invite, Name::CallId);
    writer.header(Name::CSeq, format_args!("{} {method}", invite.cseq().ok()?.number));
    for (name, value) in headers {
        writer.text(*name, value);
    }
    writer.finish().ok()?;
    Some(buffer)
}

/// Where the answer to a request goes (RFC 3261 section 18.2.2, RFC 3581 section 4): back on its flow; over UDP without
/// `rport`, to the port that its Via names.
pub(super) fn way_back(flow: Flow, request: &Message<'_>) -> Flow {
    match request.via() {
        Ok(via) if flow.transport == Transport::Udp && via.rport().is_none() => {
            let port = via.port.filter(|port| *port != 0).unwrap_or(5060);
            Flow { remote: SocketAddr::new(flow.remote.ip(), port), ..flow }
        }
        _ => flow,
    }
}

/// The reason phrase of a status code that we send.
pub(super) fn phrase(code: u16) -> &'static str {
    match code {
        100 => "Trying",
        180 => "Ringing",
        181 => "Call Is Being Forwarded",
        182 => "Queued",
        183 => "Session Progress",
        101..=199 => "Progress",
        200 => "OK",
        201..=299 => "Accepted",
        300..=399 => "Redirected",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        410 => "Gone",
        413 => "Request Entity Too Large",
        415 => "Unsupported Media Type",
        416 => "Unsupported URI Scheme",
        420 => "Bad Extension",
        421 => "Extension Required",
        422 => "Session Interval Too Small",
        423 => "Interval Too Brief",
        430 => "Flow Failed",
        440 => "Max-Breadth Exceeded",
        469 => "Bad Info Package",
        480 => "Temporarily Unavailable",
        481 => "Call/Transaction Does Not Exist",
        482 => "Loop Detected",
        483 => "Too Many Hops",
        484 => "Address Incomplete",
        486 => "Busy Here",
        487 => "Request Terminated",
        488 => "Not Acceptable Here",
        489 => "Bad Event",
        491 => "Request Pending",
        600 => "Busy Everywhere",
        603 => "Decline",
        604 => "Does Not Exist Anywhere",
        606 => "Not Acceptable",
        400 => "Bad Request",
        500 => "Server Internal Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Server Time-out",
        505 => "Version Not Supported",
        513 => "Message Too Large",
        580 => "Precondition Failure",
        _ => match code / 100 {
            4 => "Request Failed",
            5 => "Server Failure",
            _ => "Global Failure",
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_break_in_a_part_makes_no_message() {
        let draft = Draft {
            method: Method::Bye,
            uri: "sip:b@192.0.2.1",
            transport: Transport::Udp,
            sent_by: "192.0.2.2:5060".parse().unwrap(),
            branch: "z9hG4bK00x",
            routes: &[],
            from: "<sip:a@192.0.2.2>;tag=00a",
            to: "<sip:b@192.0.2.1>;tag=b",
            call_id: "c",
            cseq: 1,
            hops: 70,
            contact: None,
            authorization: &[],
            headers: &[],
            user_agent: "",
            content: SDP,
            body: None,
        };
        assert!(draft.write().is_some());
        assert!(Draft { call_id: "c\r\nX: y", ..draft }.write().is_none());
        assert!(Draft { user_agent: "a\0b", ..draft }.write().is_none());
    }

    #[test]
    fn without_rport_the_answer_goes_to_the_port_in_via() {
        let text = |via: &str| {
            format!("OPTIONS sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK1\r\n\r\n").into_bytes()
        };
        let flow = Flow {
            id: crate::base::Key::new(crate::base::ShardId(0), 0, 0),
            transport: Transport::Udp,
            remote: "192.0.2.9:40000".parse().unwrap(),
            realm: crate::base::RealmId(0),
        };
        for (via, port) in [("10.0.0.1:5070", 5070), ("10.0.0.1", 5060), ("10.0.0.1:5070;rport", 40000)] {
            let bytes = text(via);
            let back = way_back(flow, &Message::parse(&bytes).unwrap());
            assert_eq!((back.remote.ip(), back.remote.port()), (flow.remote.ip(), port));
        }
    }
}
