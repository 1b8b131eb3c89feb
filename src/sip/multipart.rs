//! Bodies of several parts (RFC 2046 section 5.1, RFC 5621): read by borrowing, and written.

use super::rules;
use super::write::SDP;
use crate::leg::Part;
use sip_codec::{MediaType, Name};

/// More parts than this are not looked at.
const PARTS: usize = 16;

/// A part as it stands in a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Piece<'a> {
    /// Content-Type value; empty where it has none.
    pub kind: &'a str,
    /// Content-Disposition value.
    pub disposition: &'a str,
    /// Content-ID value.
    pub id: &'a str,
    /// Content-Transfer-Encoding or Content-Encoding value.
    pub encoding: &'a str,
    pub bytes: &'a [u8],
}

impl Piece<'_> {
    /// Whether its bytes are what they mean.
    pub fn is_plain(&self) -> bool {
        ["", "binary", "8bit", "7bit", "identity"]
            .iter()
            .any(|plain| self.encoding.eq_ignore_ascii_case(plain))
    }

    /// The type without parameters, in lower case.
    pub fn essence(&self) -> String {
        self.kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
    }

    /// What it is for: `session` where nothing is said of a session description.
    pub fn purpose(&self) -> String {
        let said = self.disposition.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if said.is_empty() { "session".to_owned() } else { said }
    }

    /// Its sender says that the message means nothing without it. Silence says that, too (RFC 3261 section 20.11), but
    /// too many parts come without a word for what anybody may leave out.
    pub fn is_required(&self) -> bool {
        self.says("required")
    }

    pub fn is_optional(&self) -> bool {
        self.says("optional")
    }

    fn says(&self, handling: &str) -> bool {
        let mut params = self.disposition.split(';').skip(1).filter_map(|param| param.split_once('='));
        params.any(|(name, value)| {
            name.trim().eq_ignore_ascii_case("handling")
                && value.trim().trim_matches('"').eq_ignore_ascii_case(handling)
        })
    }

    /// A part of its own, on single lines.
    pub fn to_part(self) -> Part {
        Part {
            kind: rules::unfolded(self.kind),
            disposition: rules::unfolded(self.disposition),
            id: rules::unfolded(self.id),
            bytes: self.bytes.to_vec(),
        }
    }
}

/// The parts of a `multipart` body of this type. `None` where it is none.
pub(super) fn split<'a>(kind: &MediaType<'_>, bytes: &'a [u8]) -> Option<Vec<Piece<'a>>> {
    let boundary = kind.params.find("boundary")?.text().into_owned();
    if boundary.is_empty() || boundary.len() > 70 {
        return None;
    }
    let (mut pieces, mut begin) = (Vec::new(), None);
    let mut at = 0;
    while let Some(line) = delimiter(bytes, at, boundary.as_bytes()) {
        if let Some(begin) = begin {
            pieces.push(piece(bytes.get(begin..line.before)?)?);
        }
        if line.last || pieces.len() >= PARTS {
            return Some(pieces);
        }
        begin = Some(line.after);
        at = line.after;
    }
    // What is cut off may lack what matters.
    None
}

/// A line that parts parts: where the part before it ends, and the next begins.
struct Line {
    before: usize,
    after: usize,
    last: bool,
}

fn delimiter(bytes: &[u8], from: usize, boundary: &[u8]) -> Option<Line> {
    let mut at = from;
    loop {
        let found = at + find(bytes.get(at..)?, b"--")?;
        let rest = bytes.get(found + 2..)?;
        at = found + 2;
        let begins = found == 0 || bytes.get(found - 1) == Some(&b'\n');
        if !begins || !rest.starts_with(boundary) {
            continue;
        }
        let rest = rest.get(boundary.len()..)?;
        let last = rest.starts_with(b"--");
        let tail = if last { rest.get(2..)? } else { rest };
        let end = tail.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(tail.len());
        let next = match tail.get(end..)? {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ if last => 0,
            // A longer boundary that begins like ours.
            _ => continue,
        };
        // The line's end before it belongs to it.
        let before = match bytes.get(..found)? {
            [.., b'\r', b'\n'] => found - 2,
            [.., b'\n'] => found - 1,
            _ => found,
        };
        let after = bytes.len() - tail.len() + end + next;
        return Some(Line { before: before.max(from), after, last });
    }
}

fn piece(bytes: &[u8]) -> Option<Piece<'_>> {
    let (head, bytes) = if bytes.starts_with(b"\r\n") {
        (&bytes[..0], bytes.get(2..)?)
    } else {
        match find(bytes, b"\r\n\r\n") {
            Some(end) => (bytes.get(..end)?, bytes.get(end + 4..)?),
            // Headers alone.
            None => (bytes, &bytes[bytes.len()..]),
        }
    };
    let mut piece = Piece { bytes, ..Piece::default() };
    let mut head = std::str::from_utf8(head).ok()?;
    while !head.is_empty() {
        let (line, rest) = unfolded(head);
        head = rest;
        let Some((name, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match name.trim() {
            name if Name::parse(name) == Name::ContentType => piece.kind = value,
            name if Name::parse(name) == Name::ContentDisposition => piece.disposition = value,
            name if name.eq_ignore_ascii_case("Content-ID") => piece.id = value,
            name if name.eq_ignore_ascii_case("Content-Transfer-Encoding")
                || Name::parse(name) == Name::ContentEncoding =>
            {
                piece.encoding = value;
            }
            _ => {}
        }
    }
    Some(piece)
}

/// The first header with its folds, and the rest.
fn unfolded(head: &str) -> (&str, &str) {
    let mut from = 0;
    while let Some(end) = head.get(from..).and_then(|rest| rest.find("\r\n")) {
        let next = from + end + 2;
        if !head.get(next..).is_some_and(|rest| rest.starts_with([' ', '\t'])) {
            return head.split_at_checked(next).unwrap_or((head, ""));
        }
        from = next;
    }
    (head, "")
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

/// A body and its type: a description alone, or with other parts behind it. `token` makes up boundaries.
pub(super) fn compose(
    description: Vec<u8>,
    parts: &[Part],
    mut token: impl FnMut() -> String,
) -> (String, Vec<u8>) {
    if parts.is_empty() {
        return (SDP.to_owned(), description);
    }
    let inside = |boundary: &str| {
        let whole = parts.iter().map(|part| &*part.bytes).chain([&*description]);
        whole.into_iter().any(|bytes| find(bytes, boundary.as_bytes()).is_some())
    };
    let mut boundary = token();
    while inside(&boundary) {
        boundary = token();
    }
    let mut body = Vec::with_capacity(description.len() + 256);
    let mut add = |kind: &str, disposition: &str, id: &str, bytes: &[u8]| {
        let mut head = format!("--{boundary}\r\nContent-Type: {kind}\r\n");
        for (name, value) in [("Content-Disposition", disposition), ("Content-ID", id)] {
            if !value.is_empty() {
                head.extend([name, ": ", value, "\r\n"]);
            }
        }
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(b"\r\n");
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    };
    if !description.is_empty() {
        add(SDP, "", "", &description);
    }
    // Nothing of theirs may break a line.
    let clean = |text: &str| !text.chars().any(char::is_control);
    for part in parts.iter().filter(|part| [&part.kind, &part.disposition, &part.id].iter().all(|t| clean(t)))
    {
        add(&part.kind, &part.disposition, &part.id, &part.bytes);
    }
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    (format!("multipart/mixed;boundary={boundary}"), body)
}

/// The description in a body that [`compose`] made.
pub(super) fn description<'a>(kind: &str, body: &'a [u8]) -> &'a [u8] {
    if kind == SDP {
        return body;
    }
    let pieces = MediaType::parse(kind).ok().and_then(|kind| split(&kind, body)).unwrap_or_default();
    pieces.first().filter(|piece| piece.kind == SDP).map_or(&[], |piece| piece.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(kind: &str, body: &[u8]) -> Option<Vec<(String, String, Vec<u8>)>> {
        let pieces = split(&MediaType::parse(kind).unwrap(), body)?;
        Some(
            pieces.iter().map(|piece| (piece.essence(), piece.id.to_owned(), piece.bytes.to_vec())).collect(),
        )
    }

    fn part(kind: &str, bytes: &[u8]) -> Part {
        Part {
            kind: kind.into(),
            disposition: "render;handling=optional".into(),
            id: "<a@b>".into(),
            bytes: bytes.into(),
        }
    }

    #[test]
    fn what_is_written_reads_back_byte_by_byte() {
        // ISUP is binary: anything may be in it.
        let isup: Vec<u8> = (0..=255).chain(*b"\r\n--x\r\n--").collect();
        let parts = [part("application/isup;version=itu-t92+", &isup), part("application/pidf+xml", b"")];
        let mut tokens = ["x", "yyy"].into_iter();
        let (kind, body) = compose(b"v=0\r\n".to_vec(), &parts, || tokens.next().unwrap().to_owned());
        // A boundary that is inside is none.
        assert_eq!(kind, "multipart/mixed;boundary=yyy");
        let pieces = read(&kind, &body).unwrap();
        assert_eq!(pieces[0], ("application/sdp".into(), String::new(), b"v=0\r\n".to_vec()));
        assert_eq!(pieces[1], ("application/isup".into(), "<a@b>".into(), isup));
        assert_eq!(pieces[2], ("application/pidf+xml".into(), "<a@b>".into(), Vec::new()));
        assert_eq!(description(&kind, &body), b"v=0\r\n");
        let header = MediaType::parse(&kind).unwrap();
        assert_eq!(split(&header, &body).unwrap()[1].to_part(), parts[0]);
    }

    #[test]
    fn odd_but_lawful_bodies_are_read_and_broken_ones_not() {
        let kind = "multipart/mixed; boundary=\"a b\"";
        let lawful = b"preamble\r\n--a b  \r\nContent-Type: application/x;\r\n p=1\r\n\r\none\r\n--a bc\r\n\r\n--a b\r\n\
                       \r\nbare\r\n--a b--\r\nepilogue\r\n--a b\r\n";
        let pieces = read(kind, lawful).unwrap();
        assert_eq!(pieces[0], ("application/x".into(), String::new(), b"one\r\n--a bc\r\n".to_vec()));
        assert_eq!(pieces[1], (String::new(), String::new(), b"bare".to_vec()));
        assert_eq!(pieces.len(), 2);
        assert!(read(kind, b"--a b\r\nContent-Type: a/b\r\n\r\ncut off").is_none());
        assert!(read("multipart/mixed", b"--a\r\n\r\n--a--").is_none());
        assert!(read("multipart/mixed;boundary=\"\"", b"--\r\n\r\n----").is_none());
    }

    #[test]
    fn a_part_that_would_break_a_line_is_left_out() {
        let evil = Part { kind: "a/b\r\nX: y".into(), ..Part::default() };
        let (_, body) = compose(b"v=0\r\n".to_vec(), &[evil], || "x".into());
        assert!(!String::from_utf8(body).unwrap().contains("X: y"));
    }
}
