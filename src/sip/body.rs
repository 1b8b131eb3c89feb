//! Session descriptions in message bodies, alone or inside `multipart/mixed` (RFC 5621).

use crate::sdp::Session;
use sip_codec::{MediaType, Message, Name};

/// What a message's body holds.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Body {
    /// No session description.
    None,
    /// One that can be read.
    Session(Box<Session>),
    /// One that can't: 400.
    Broken,
    /// Of a type that we don't read and must: 415.
    Foreign,
}

impl Body {
    pub fn read(message: &Message<'_>) -> Body {
        let bytes = message.body();
        if bytes.is_empty() {
            return Body::None;
        }
        let optional = message
            .header(Name::ContentDisposition)
            .and_then(|value| value.split_once(';'))
            .is_some_and(|(_, params)| params.to_ascii_lowercase().contains("handling=optional"));
        let foreign = if optional { Body::None } else { Body::Foreign };
        let plain = message.values(Name::ContentEncoding).all(|name| name.eq_ignore_ascii_case("identity"));
        let Some(Ok(kind)) = message.header(Name::ContentType).map(MediaType::parse) else { return foreign };
        if !plain {
            return foreign;
        }
        if kind.is("application", "sdp") {
            return read(bytes);
        }
        if kind.kind.eq_ignore_ascii_case("multipart") {
            let boundary = kind.params.find("boundary").map(|param| param.text().into_owned());
            return boundary.and_then(|b| part(bytes, &b)).map_or(foreign, read);
        }
        foreign
    }

    /// The session, where there is one.
    pub fn session(self) -> Option<Box<Session>> {
        match self {
            Body::Session(session) => Some(session),
            _ => None,
        }
    }
}

fn read(bytes: &[u8]) -> Body {
    Session::parse(bytes).map_or(Body::Broken, |session| Body::Session(Box::new(session)))
}

/// A description's bytes.
pub(super) fn write(session: &Session) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(512);
    session.write(&mut bytes);
    bytes
}

/// More parts than this are not looked at.
const PARTS: usize = 8;

/// The first `application/sdp` part between boundaries (RFC 2046 section 5.1).
fn part<'a>(bytes: &'a [u8], boundary: &str) -> Option<&'a [u8]> {
    if boundary.is_empty() || boundary.len() > 70 {
        return None;
    }
    let delimiter = format!("--{boundary}").into_bytes();
    let mut rest = bytes.get(find(bytes, &delimiter)? + delimiter.len()..)?;
    for _ in 0..PARTS {
        let end = find(rest, &delimiter)?;
        let (inside, after) = rest.split_at_checked(end)?;
        let head_end = find(inside, b"\r\n\r\n")?;
        let head = std::str::from_utf8(inside.get(..head_end)?).ok()?;
        let is_sdp = head.split("\r\n").any(|line| {
            let Some((name, value)) = line.split_once(':') else { return false };
            Name::parse(name.trim()) == Name::ContentType
                && MediaType::parse(value).is_ok_and(|kind| kind.is("application", "sdp"))
        });
        if is_sdp {
            let content = inside.get(head_end + 4..)?;
            return Some(content.strip_suffix(b"\r\n").unwrap_or(content));
        }
        rest = after.get(delimiter.len()..)?;
    }
    None
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
                       m=audio 4000 RTP/AVP 0\r\n";

    fn read(headers: &str, body: &str) -> Body {
        let text = format!(
            "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Body::read(&Message::parse(text.as_bytes()).unwrap())
    }

    #[test]
    fn tells_none_broken_and_foreign_apart() {
        assert_eq!(read("", ""), Body::None);
        assert!(matches!(read("c: Application/SDP\r\n", SDP), Body::Session(_)));
        assert_eq!(read("c: application/sdp\r\n", "v=9\r\n"), Body::Broken);
        assert_eq!(read("c: text/plain\r\n", "hello"), Body::Foreign);
        assert_eq!(read("c: application/sdp\r\ne: gzip\r\n", SDP), Body::Foreign);
        let optional = "c: text/plain\r\nContent-Disposition: render;handling=optional\r\n";
        assert_eq!(read(optional, "hello"), Body::None);
    }

    #[test]
    fn finds_the_description_among_several_parts() {
        let body = format!(
            "--x1\r\nContent-Type: application/isup\r\n\r\nzz\r\n--x1\r\nContent-Type: application/sdp\r\n\r\n\
             {SDP}\r\n--x1--\r\n"
        );
        let header = "Content-Type: multipart/mixed;boundary=\"x1\"\r\n";
        assert!(matches!(read(header, &body), Body::Session(_)));
        assert_eq!(read(header, "--x1\r\nbroken"), Body::Foreign);
        assert_eq!(read("Content-Type: multipart/mixed\r\n", &body), Body::Foreign);
    }
}
