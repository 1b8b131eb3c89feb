//! SIP messages as the scripted peers read and write them, with the codec but without the gateway's SIP stack.

use md5::{Digest, Md5};
use sip_codec::{Credentials, Message, Method, Name, StartLine, Writer};
use std::net::SocketAddr;

/// A message, read once.
#[derive(Clone, Debug, Default)]
pub struct Read {
    pub raw: Vec<u8>,
    /// 0 for a request.
    pub code: u16,
    /// The request's, or of a response its CSeq's.
    pub method: String,
    pub uri: String,
    pub uri_user: String,
    pub branch: String,
    pub sent_by: String,
    pub call_id: String,
    pub from: String,
    pub from_tag: String,
    pub to: String,
    pub to_tag: String,
    pub cseq: u32,
    pub contact: String,
    pub body: String,
}

impl Read {
    pub fn parse(data: &[u8]) -> Option<Read> {
        let message = Message::parse(data).ok()?;
        let (via, from, to, cseq) =
            (message.via().ok()?, message.from().ok()?, message.to().ok()?, message.cseq().ok()?);
        let (code, method, uri) = match message.start() {
            StartLine::Request { method, uri, .. } => (0, method.as_str(), uri),
            StartLine::Response { code, .. } => (code, cseq.method.as_str(), ""),
        };
        let contact =
            message.address(Name::Contact).map(|contact| contact.uri.to_owned()).unwrap_or_default();
        let user = |uri: Result<sip_codec::Uri<'_>, sip_codec::Error>| {
            uri.ok().and_then(|uri| Some(uri.user_text()?.into_owned())).unwrap_or_default()
        };
        Some(Read {
            raw: data.to_vec(),
            code,
            method: method.to_owned(),
            uri: uri.to_owned(),
            uri_user: user(message.uri()),
            branch: via.branch()?.to_owned(),
            sent_by: format!("{}:{}", via.host, via.port.unwrap_or(5060)),
            call_id: message.call_id().ok()?.to_owned(),
            from: message.header(Name::From)?.to_owned(),
            from_tag: from.tag().unwrap_or("").to_owned(),
            to: message.header(Name::To)?.to_owned(),
            to_tag: to.tag().unwrap_or("").to_owned(),
            cseq: cseq.number,
            contact,
            body: String::from_utf8_lossy(message.body()).into_owned(),
        })
    }

    pub fn is_request(&self) -> bool {
        self.code == 0
    }

    pub fn header(&self, name: Name<'_>) -> Option<String> {
        Message::parse(&self.raw).ok()?.header(name).map(str::to_owned)
    }

    /// What tells its transaction at the server (RFC 3261 section 17.2.3).
    pub fn transaction(&self) -> String {
        let method = if self.method == "ACK" { "INVITE" } else { &self.method };
        format!("{} {} {method}", self.branch, self.sent_by)
    }
}

/// A request to be written.
#[derive(Clone, Debug, Default)]
pub struct Draft<'a> {
    pub method: &'a str,
    pub uri: &'a str,
    pub via: &'a str,
    pub branch: &'a str,
    pub from: &'a str,
    pub to: &'a str,
    pub call_id: &'a str,
    pub cseq: u32,
    pub contact: &'a str,
    pub headers: &'a [(Name<'a>, &'a str)],
    pub body: Option<&'a str>,
}

impl Draft<'_> {
    pub fn write(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::request(&mut bytes, Method::parse(self.method), self.uri);
        writer
            .text(Name::Via, &format!("SIP/2.0/UDP {};branch={};rport", self.via, self.branch))
            .text(Name::MaxForwards, "70")
            .text(Name::From, self.from)
            .text(Name::To, self.to)
            .text(Name::CallId, self.call_id)
            .text(Name::CSeq, &format!("{} {}", self.cseq, self.method));
        if !self.contact.is_empty() {
            writer.text(Name::Contact, &format!("<{}>", self.contact));
        }
        for (name, value) in self.headers {
            writer.text(*name, value);
        }
        let written = match self.body {
            Some(body) => writer.body("application/sdp", body.as_bytes()),
            None => writer.finish(),
        };
        written.expect("a peer's request can be written");
        bytes
    }
}

/// Writes a response.
pub fn respond(
    request: &Read,
    source: SocketAddr,
    code: u16,
    tag: &str,
    headers: &[(Name<'_>, &str)],
    body: Option<&str>,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let message = Message::parse(&request.raw).expect("it was parsed before");
    let mut writer = Writer::response(&mut bytes, code, "Scripted");
    writer.reply_to(&message, source, (code > 100).then_some(tag));
    for (name, value) in headers {
        writer.text(*name, value);
    }
    let written = match body {
        Some(body) => writer.body("application/sdp", body.as_bytes()),
        None => writer.finish(),
    };
    written.expect("a peer's response can be written");
    bytes
}

fn hex(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// Why the credentials of a request are wrong (RFC 2617 with MD5); `None` where they are right.
pub fn wrong_digest(
    request: &Read,
    header: Name<'_>,
    nonce: &str,
    user: &str,
    password: &str,
) -> Option<String> {
    let Some(text) = request.header(header) else { return Some("no credentials".into()) };
    let Ok(credentials) = Credentials::parse(&text) else { return Some(format!("unreadable: {text}")) };
    let value = |name: &str| credentials.value(name).map(std::borrow::Cow::into_owned).unwrap_or_default();
    if value("nonce") != nonce || value("username") != user {
        return Some(format!("nonce or user name: {text}"));
    }
    let ha1 = hex(&format!("{user}:{}:{password}", value("realm")));
    let ha2 = hex(&format!("{}:{}", request.method, value("uri")));
    let expected = match value("qop").as_str() {
        "" => hex(&format!("{ha1}:{nonce}:{ha2}")),
        qop => hex(&format!("{ha1}:{nonce}:{}:{}:{qop}:{ha2}", value("nc"), value("cnonce"))),
    };
    (value("response") != expected).then(|| format!("response: {text}"))
}
