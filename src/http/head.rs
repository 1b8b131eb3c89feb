//! Request heads: parsed strictly, so that no proxy before us can have read another request out of the same bytes.

use super::body::Framing;
use super::config::MAX_HEADERS;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Request methods (RFC 9110 section 9, RFC 5789).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Method {
    /// GET.
    Get,
    /// HEAD: answered like GET; the body is left out by the connection.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// Any other token.
    Other,
}

/// A request, with its whole body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The origin-form of its target (RFC 9112 section 3.2.1), or `*`.
    pub target: String,
    /// Whether it came as HTTP/1.1 rather than 1.0.
    pub version_11: bool,
    /// Names in lower case, in order of arrival.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; empty where there is none.
    pub body: Vec<u8>,
}

impl Request {
    /// The target's path.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&*self.target, |(path, _)| path)
    }

    /// The target's query, without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// The first header of a name (given in lower case), if its value is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// All headers of a name (given in lower case) whose value is text.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(n, _)| n == name).filter_map(|(_, v)| std::str::from_utf8(v).ok())
    }

    /// The members of a comma-separated header (RFC 9110 section 5.6.1), over all its lines.
    pub fn members(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values(name).flat_map(|v| v.split(',')).map(str::trim).filter(|v| !v.is_empty())
    }

    fn has_member(&self, name: &str, member: &str) -> bool {
        self.members(name).any(|m| m.eq_ignore_ascii_case(member))
    }

    /// Whether it asks for a WebSocket: to be met by `Connection::upgrade`, or any response.
    pub fn is_websocket(&self) -> bool {
        self.has_member("upgrade", "websocket")
    }

    /// The WebSocket subprotocols that the client offers, in its order of preference.
    pub fn protocols(&self) -> impl Iterator<Item = &str> {
        self.members("sec-websocket-protocol")
    }

    /// Whether the client wants the connection closed after the answer. HTTP/1.0 always does: nobody needs it kept.
    pub(super) fn wants_close(&self) -> bool {
        !self.version_11 || self.has_member("connection", "close")
    }

    /// Whether the client waits for `100 Continue` before it sends the body (RFC 9110 section 10.1.1).
    pub(super) fn expects_continue(&self) -> bool {
        self.version_11 && self.has_member("expect", "100-continue")
    }

    /// The key of a well-formed upgrade to WebSocket (RFC 6455 section 4.2.1), or the status to refuse it with.
    pub(super) fn websocket_key(&self) -> Result<String, u16> {
        if self.header("sec-websocket-version") != Some("13") {
            return Err(426);
        }
        let mut keys = self.values("sec-websocket-key");
        let (Some(key), None) = (keys.next(), keys.next()) else { return Err(400) };
        let well = self.method == Method::Get
            && self.version_11
            && self.has_member("connection", "upgrade")
            && STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16);
        if well { Ok(key.to_owned()) } else { Err(400) }
    }
}

/// Looks for the end of a head: how many bytes it has, `None` where it isn't there yet, or the status for a CR or LF
/// alone. `seen` bytes were looked at before.
pub(super) fn find_end(input: &[u8], seen: &mut usize) -> Result<Option<usize>, u16> {
    let mut at = *seen;
    while let Some(found) =
        input.get(at..).and_then(|rest| rest.iter().position(|&b| b == b'\r' || b == b'\n'))
    {
        at += found;
        match input.get(at..).unwrap_or_default() {
            [b'\r', b'\n', b'\r', b'\n', ..] => return Ok(Some(at + 4)),
            [b'\r'] | [b'\r', b'\n'] | [b'\r', b'\n', b'\r'] => {
                *seen = at;
                return Ok(None);
            }
            [b'\r', b'\n', ..] => at += 2,
            _ => return Err(400),
        }
    }
    *seen = input.len();
    Ok(None)
}

/// Reads a whole head. An error is the status to refuse it with.
pub(super) fn parse(head: &[u8]) -> Result<(Request, Framing), u16> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(400),
        Err(httparse::Error::TooManyHeaders) => return Err(431),
        Err(httparse::Error::Version) => return Err(505),
        Err(_) => return Err(400),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(400);
    };
    let request = Request {
        method: method_of(method),
        target: origin_form(method, target).ok_or(400_u16)?,
        version_11: version == 1,
        headers: parsed
            .headers
            .iter()
            .map(|h| (h.name.to_ascii_lowercase(), h.value.trim_ascii().to_vec()))
            .collect(),
        body: Vec::new(),
    };
    // RFC 9112 section 3.2: exactly one Host.
    let hosts = request.headers.iter().filter(|(name, _)| name == "host").count();
    if hosts > 1 || (hosts == 0 && request.version_11) {
        return Err(400);
    }
    let framing = framing(&request)?;
    Ok((request, framing))
}

fn method_of(token: &str) -> Method {
    match token {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "PATCH" => Method::Patch,
        "DELETE" => Method::Delete,
        "OPTIONS" => Method::Options,
        _ => Method::Other,
    }
}

/// Origin-form as it is; absolute-form (RFC 9112 section 3.2.2) without its scheme and authority.
fn origin_form(method: &str, target: &str) -> Option<String> {
    if !target.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Some(target.to_owned());
    }
    let rest = ["http://", "https://"].iter().find_map(|scheme| {
        let head = target.get(..scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then(|| target.get(scheme.len()..))?
    })?;
    Some(match rest.find(['/', '?']) {
        Some(at) if rest.as_bytes().get(at) == Some(&b'/') => rest.get(at..)?.to_owned(),
        Some(at) => format!("/{}", rest.get(at..)?),
        None => "/".to_owned(),
    })
}

/// How the body ends (RFC 9112 section 6.3), refusing everything by which requests are smuggled.
fn framing(request: &Request) -> Result<Framing, u16> {
    let all = |name: &'static str| {
        request.headers.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_slice())
    };
    let (mut lengths, mut codings) = (all("content-length"), all("transfer-encoding"));
    match (lengths.next(), codings.next()) {
        (Some(_), Some(_)) => Err(400),
        (None, None) => Ok(Framing::Length(0)),
        (None, Some(coding)) => {
            if codings.next().is_some() || !request.version_11 {
                Err(400)
            } else if coding.eq_ignore_ascii_case(b"chunked") {
                Ok(Framing::Chunked)
            } else {
                Err(501)
            }
        }
        (Some(length), None) => {
            let digits = std::str::from_utf8(length).ok().filter(|l| l.bytes().all(|b| b.is_ascii_digit()));
            match digits {
                Some(digits) if lengths.next().is_none() && (1..=18).contains(&digits.len()) => {
                    digits.parse().map(Framing::Length).map_err(|_| 400)
                }
                _ => Err(400),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(head: &str) -> u16 {
        parse(head.as_bytes()).map_or_else(|status| status, |_| 200)
    }

    #[test]
    fn refuses_smuggling_and_bad_characters() {
        let with = |headers: &str| status(&format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n"));
        assert_eq!(with("A: b"), 200);
        assert_eq!(with("Content-Length: 4\r\nTransfer-Encoding: chunked"), 400);
        assert_eq!(with("Content-Length: 4\r\nContent-Length: 4"), 400);
        assert_eq!(with("Content-Length: 4, 4"), 400);
        assert_eq!(with("Content-Length: +4"), 400);
        assert_eq!(with("Content-Length: 0x4"), 400);
        assert_eq!(with("Content-Length:"), 400);
        assert_eq!(with("Content-Length: 9999999999999999999"), 400);
        assert_eq!(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400);
        assert_eq!(with("Transfer-Encoding: xchunked"), 501);
        assert_eq!(with("Transfer-Encoding: gzip, chunked"), 501);
        assert_eq!(with("Host: b"), 400);
        assert_eq!(with("A : b"), 400);
        assert_eq!(with("A\0: b"), 400);
        assert_eq!(with("A: b\0c"), 400);
        assert_eq!(with("A: b\r\n folded"), 400);
        assert_eq!(with(" A: b"), 400);
        assert_eq!(with(": b"), 400);
        assert_eq!(with(&"A: b\r\n".repeat(MAX_HEADERS)), 431);
        assert_eq!(status("GET / HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/1.0\r\n\r\n"), 200);
        assert_eq!(status("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), 400);
        assert_eq!(status("GET / HTTP/2.0\r\nHost: a\r\n\r\n"), 505);
        assert_eq!(status("GET  / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(status("G\u{e9}T / HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(status("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
        assert_eq!(status("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n"), 400);
    }

    #[test]
    fn reads_every_form_of_target() {
        let target = |method: &str, target: &str| origin_form(method, target);
        assert_eq!(target("GET", "/a?b").as_deref(), Some("/a?b"));
        assert_eq!(target("GET", "HTTP://h:8/a?b").as_deref(), Some("/a?b"));
        assert_eq!(target("GET", "http://h?b").as_deref(), Some("/?b"));
        assert_eq!(target("GET", "http://h").as_deref(), Some("/"));
        assert_eq!(target("OPTIONS", "*").as_deref(), Some("*"));
        assert_eq!(target("GET", "*"), None);
        assert_eq!(target("GET", "a"), None);
    }

    #[test]
    fn finds_the_end_in_any_portions_and_refuses_a_bare_cr_or_lf() {
        let head = b"GET / HTTP/1.1\r\nA: b\r\n\r\nrest";
        let mut seen = 0;
        for length in 0..head.len() {
            let end = find_end(&head[..length], &mut seen).unwrap();
            assert_eq!(end, (length >= 24).then_some(24), "{length}");
        }
        assert_eq!(find_end(b"GET / HTTP/1.1\nA: b\r\n\r\n", &mut 0), Err(400));
        assert_eq!(find_end(b"GET / HTTP/1.1\rA: b\r\n\r\n", &mut 0), Err(400));
        assert_eq!(find_end(b"GET / HTTP/1.1\r\nA: b\r\n\rX", &mut 0), Err(400));
    }

    #[test]
    fn header_values_of_other_encodings_are_kept_but_not_text() {
        let (request, _) = parse(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: \xff\r\n\r\n").unwrap();
        assert_eq!(request.headers[1].1, b"\xff");
        assert_eq!(request.header("cookie"), None);
    }
}
