//! Session descriptions in message bodies, alone or inside `multipart/mixed` (RFC 5621).

use super::multipart::{self, Piece};
use crate::leg::{MOST_PART_BYTES, MOST_PARTS, Part};
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

/// How deep parts may hold parts.
const DEPTH: u8 = 3;

impl Body {
    /// The session of a message whose other parts are nobody's business.
    pub fn read(message: &Message<'_>) -> Body {
        Body::open(message, |_| false).0
    }

    /// The session of a message, and the other parts whose type, in lower case, may pass.
    pub fn open(message: &Message<'_>, passes: impl Fn(&str) -> bool) -> (Body, Vec<Part>) {
        let header = |name| message.header(name).unwrap_or_default();
        let plain = message.values(Name::ContentEncoding).all(|name| name.eq_ignore_ascii_case("identity"));
        let whole = Piece {
            kind: header(Name::ContentType),
            disposition: header(Name::ContentDisposition),
            id: header(Name::Other("Content-ID")),
            encoding: if plain { "" } else { header(Name::ContentEncoding) },
            bytes: message.body(),
        };
        if whole.bytes.is_empty() {
            return (Body::None, Vec::new());
        }
        let mut found = Found { passes: &passes, session: None, parts: Vec::new(), foreign: false };
        // All of a body must be understood unless its sender says otherwise; of several parts, what says so.
        let known = found.look(whole, DEPTH);
        let must = !known && !whole.is_optional();
        // A response can't be refused for what it brings beside a session.
        let foreign = must || (found.foreign && message.method().is_some());
        let body = match found.session {
            _ if foreign => Body::Foreign,
            Some(bytes) => read(bytes),
            None => Body::None,
        };
        (body, found.parts)
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

/// What was found in a body so far.
struct Found<'a, 'p> {
    passes: &'p dyn Fn(&str) -> bool,
    session: Option<&'a [u8]>,
    parts: Vec<Part>,
    /// Something in it must be understood, and is not.
    foreign: bool,
}

impl<'a> Found<'a, '_> {
    /// Takes a part in. False where it means nothing to us.
    fn look(&mut self, piece: Piece<'a>, depth: u8) -> bool {
        let Ok(kind) = MediaType::parse(piece.kind) else { return false };
        if !piece.is_plain() || depth == 0 {
            return false;
        }
        if kind.kind.eq_ignore_ascii_case("multipart") {
            return multipart::split(&kind, piece.bytes)
                .is_some_and(|pieces| self.look_into(&kind, pieces, depth));
        }
        // Other sessions than the call's (RFC 3959) are not ours.
        if kind.is("application", "sdp") && piece.purpose() == "session" {
            self.session.get_or_insert(piece.bytes);
            return true;
        }
        let bytes: usize = self.parts.iter().map(|part| part.bytes.len()).sum();
        let room = self.parts.len() < MOST_PARTS && bytes + piece.bytes.len() <= MOST_PART_BYTES;
        let passes = room && (self.passes)(&piece.essence());
        if passes {
            self.parts.push(piece.to_part());
        }
        passes
    }

    fn look_into(&mut self, kind: &MediaType<'_>, mut pieces: Vec<Piece<'a>>, depth: u8) -> bool {
        let choice = kind.subtype.eq_ignore_ascii_case("alternative");
        if choice {
            // The last is the best (RFC 2046 section 5.1.4).
            pieces.reverse();
        }
        let mut any = false;
        for piece in pieces {
            let known = self.look(piece, depth - 1);
            any |= known;
            if choice && known {
                return true;
            }
            self.foreign |= !known && !choice && piece.is_required();
        }
        // Parts that nobody must understand are no reason to refuse.
        any || self.session.is_some()
    }
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

    /// A body of these parts (headers, content).
    fn parts(kind: &str, parts: &[(&str, &str)]) -> String {
        let part = |(head, body): &(&str, &str)| format!("--x1\r\n{head}\r\n\r\n{body}\r\n");
        let body = parts.iter().map(part).collect::<String>() + "--x1--\r\n";
        format!(
            "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n\
             Content-Type: multipart/{kind};boundary=x1\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    }

    fn opened(text: &str) -> (Body, Vec<String>) {
        let message = Message::parse(text.as_bytes()).unwrap();
        let (body, parts) = Body::open(&message, |kind| kind == "application/pidf+xml");
        (body, parts.into_iter().map(|part| part.kind).collect())
    }

    const DESCRIPTION: (&str, &str) = ("Content-Type: application/sdp", SDP);

    #[test]
    fn parts_pass_where_they_may_and_are_refused_where_they_must_be_understood() {
        let place = ("Content-Type: application/PIDF+xml\r\nContent-ID: <a@b>", "<x/>");
        let isup = |handling: &str| {
            format!("Content-Type: application/isup\r\nContent-Disposition: signal; handling={handling}")
        };
        let (optional, required) = (isup("optional"), isup("\"Required\""));
        let (body, kinds) = opened(&parts("mixed", &[place, (&optional, "zz"), DESCRIPTION]));
        assert!(matches!(body, Body::Session(_)));
        assert_eq!(kinds, ["application/PIDF+xml"]);
        assert_eq!(opened(&parts("mixed", &[DESCRIPTION, (&required, "zz")])).0, Body::Foreign);
        // In a response there is nobody to refuse.
        let text = parts("mixed", &[DESCRIPTION, (&required, "zz")]);
        let text = text.replace("INVITE sip:a@b SIP/2.0", "SIP/2.0 200 OK");
        assert!(matches!(opened(&text).0, Body::Session(_)));
        let place = "Content-Type: application/pidf+xml\r\nContent-Disposition: render;handling=required";
        assert!(matches!(opened(&parts("mixed", &[(place, "<x/>"), DESCRIPTION])).0, Body::Session(_)));
    }

    #[test]
    fn the_session_is_found_among_alternatives_and_within_parts_of_parts() {
        let other = ("Content-Type: text/plain", "hello");
        assert!(matches!(opened(&parts("alternative", &[other, DESCRIPTION, other])).0, Body::Session(_)));
        let inner = format!("--y\r\nContent-Type: application/sdp\r\n\r\n{SDP}\r\n--y--\r\n");
        let nested = ("Content-Type: multipart/related;boundary=y", &*inner);
        assert!(matches!(opened(&parts("mixed", &[other, nested])).0, Body::Session(_)));
        // Early media of another kind is no session (RFC 3959).
        let early = "Content-Type: application/sdp\r\nContent-Disposition: early-session";
        assert_eq!(opened(&parts("mixed", &[(early, SDP)])).0, Body::Foreign);
        let encoded = "Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64";
        assert_eq!(opened(&parts("mixed", &[(encoded, "dj0w")])).0, Body::Foreign);
    }
}
