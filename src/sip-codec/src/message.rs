//! A whole message, borrowed from the receive buffer.

use crate::index::{self, Entry, Index, MAX_SIZE};
use crate::text::{self, split_list};
use crate::value::delta_seconds;
use crate::{CSeq, Error, Method, Name, NameAddr, Uri, Via, name};
use std::fmt;

/// The first line of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartLine<'a> {
    /// A request.
    Request {
        /// The method.
        method: Method<'a>,
        /// The Request-URI as written.
        uri: &'a str,
    },
    /// A response.
    Response {
        /// 100 to 699.
        code: u16,
        /// The reason phrase, perhaps empty.
        reason: &'a str,
    },
}

/// One header line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header<'a> {
    /// Its name.
    pub name: Name<'a>,
    /// Its value as written, without white space around it. Folds (CRLF and white space) are still inside;
    /// [`crate::Writer::line`] takes them out.
    pub value: &'a str,
}

/// A message: its start line, an index of its headers, its body.
#[derive(Clone)]
pub struct Message<'a> {
    head: &'a str,
    start: StartLine<'a>,
    index: Index,
    body: &'a [u8],
    len: usize,
    fault: Option<Error>,
}

impl<'a> Message<'a> {
    /// Indexes a message: a datagram, a WebSocket message, or what [`crate::frame()`] cut from a stream. Empty lines
    /// before it are skipped (RFC 3261 section 7.5). The body is cut to Content-Length; without one it is the rest.
    ///
    /// An `Err` means that no answer can be built and the bytes are to be dropped. Lesser faults, a wrong version or
    /// a short body among them, are told by [`Self::check`].
    pub fn parse(data: &'a [u8]) -> Result<Self, Error> {
        if data.len() > MAX_SIZE {
            return Err(Error::TooLarge);
        }
        let start = crate::frame::skip_empty_lines(data);
        let end = index::line_end(data, start)?;
        // Filled in place: the index is most of a kilobyte.
        let mut message = Self {
            head: "",
            start: StartLine::Response { code: 0, reason: "" },
            index: Index::new(),
            body: &[],
            len: data.len(),
            fault: None,
        };
        let head_end = message.index.read(data, end + 2)?;
        message.head =
            std::str::from_utf8(data.get(..head_end).unwrap_or(&[])).map_err(|_| Error::NotUtf8)?;
        (message.start, message.fault) = read_start(message.head.get(start..end).unwrap_or(""))?;
        message.body = data.get(head_end..).unwrap_or(&[]);
        message.cut_body(head_end);
        Ok(message)
    }

    fn cut_body(&mut self, head_end: usize) {
        let Some(value) = self.header(Name::ContentLength) else { return };
        let fault = match content_length(value) {
            Some(len) => match self.body.get(..len) {
                Some(body) => {
                    self.body = body;
                    self.len = head_end + len;
                    None
                }
                None => Some(Error::ShortBody),
            },
            None => Some(Error::Malformed(Name::ContentLength)),
        };
        self.fault = self.fault.or(fault);
    }

    /// The fault found while indexing, if it left the message answerable.
    pub(crate) fn fault(&self) -> Option<Error> {
        self.fault
    }

    /// The known names that occur at all, and those that occur again, by number.
    pub(crate) fn seen(&self) -> (u128, u128) {
        self.index.entries().iter().filter(|e| e.number() < 128).fold((0, 0), |(once, twice), entry| {
            let bit = 1 << entry.number();
            (once | bit, twice | (once & bit))
        })
    }

    /// The start line.
    pub fn start(&self) -> StartLine<'a> {
        self.start
    }

    /// The method of a request.
    pub fn method(&self) -> Option<Method<'a>> {
        match self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// The Request-URI of a request, as written.
    pub fn request_uri(&self) -> Option<&'a str> {
        match self.start {
            StartLine::Request { uri, .. } => Some(uri),
            StartLine::Response { .. } => None,
        }
    }

    /// The Request-URI of a request, parsed.
    pub fn uri(&self) -> Result<Uri<'a>, Error> {
        Uri::parse(self.request_uri().unwrap_or("")).map_err(|_| Error::RequestUri)
    }

    /// The code of a response.
    pub fn code(&self) -> Option<u16> {
        match self.start {
            StartLine::Response { code, .. } => Some(code),
            StartLine::Request { .. } => None,
        }
    }

    /// The body.
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The bytes that the message takes of those it was parsed from.
    pub fn size(&self) -> usize {
        self.len
    }

    /// Every header line in order.
    pub fn iter(&self) -> impl Iterator<Item = Header<'a>> {
        let head = self.head;
        self.index.entries().iter().map(move |e| header(*e, head))
    }

    /// Every header line of that name in order.
    pub fn lines(&self, name: Name<'_>) -> impl Iterator<Item = Header<'a>> {
        let (number, head) = (name::number(name), self.head);
        self.index.entries().iter().filter(move |e| e.is(number, name, head)).map(move |e| header(*e, head))
    }

    /// The value of the first header line of that name. Folds are still inside; every typed parser copes with them.
    pub fn header(&self, name: Name<'_>) -> Option<&'a str> {
        self.headers(name).next()
    }

    /// The value of every header line of that name in order.
    pub fn headers(&self, name: Name<'_>) -> impl Iterator<Item = &'a str> {
        self.lines(name).map(|line| line.value)
    }

    /// Every element of every header line of that name: for headers that are comma-separated lists.
    pub fn values(&self, name: Name<'_>) -> impl Iterator<Item = &'a str> {
        self.headers(name).flat_map(split_list)
    }

    /// True if a list header of that name holds this token, without case (`Supported`, `Require`, …).
    pub fn has_token(&self, name: Name<'_>, token: &str) -> bool {
        self.values(name).any(|value| value.eq_ignore_ascii_case(token))
    }

    /// The topmost Via.
    pub fn via(&self) -> Result<Via<'a>, Error> {
        let value = self.values(Name::Via).next().ok_or(Error::Missing(Name::Via))?;
        Via::parse(value).map_err(|_| Error::Malformed(Name::Via))
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr<'a>, Error> {
        self.address(Name::From)
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr<'a>, Error> {
        self.address(Name::To)
    }

    /// The address in a header that holds one: From, To, Refer-To, Reply-To, Referred-By, …
    pub fn address(&self, name: Name<'static>) -> Result<NameAddr<'a>, Error> {
        let value = self.header(name).ok_or(Error::Missing(name))?;
        NameAddr::parse(value).map_err(|_| Error::Malformed(name))
    }

    /// The addresses in a header that holds a list: Contact, Route, Record-Route, Path, P-Asserted-Identity, …
    /// `Contact: *` is an error here; see [`Self::is_contact_star`].
    pub fn addresses(&self, name: Name<'static>) -> impl Iterator<Item = Result<NameAddr<'a>, Error>> {
        self.values(name).map(move |value| NameAddr::parse(value).map_err(|_| Error::Malformed(name)))
    }

    /// True for `Contact: *` (RFC 3261 section 10.2.2).
    pub fn is_contact_star(&self) -> bool {
        self.header(Name::Contact) == Some("*")
    }

    /// Call-ID.
    pub fn call_id(&self) -> Result<&'a str, Error> {
        let value = self.header(Name::CallId).ok_or(Error::Missing(Name::CallId))?;
        crate::value::is_call_id(value).then_some(value).ok_or(Error::Malformed(Name::CallId))
    }

    /// `CSeq`.
    pub fn cseq(&self) -> Result<CSeq<'a>, Error> {
        let value = self.header(Name::CSeq).ok_or(Error::Missing(Name::CSeq))?;
        CSeq::parse(value).map_err(|_| Error::Malformed(Name::CSeq))
    }

    /// Max-Forwards, if there.
    pub fn max_forwards(&self) -> Result<Option<u8>, Error> {
        let Some(value) = self.header(Name::MaxForwards) else { return Ok(None) };
        let hops = text::number(value).and_then(|n| u8::try_from(n).ok());
        hops.map(Some).ok_or(Error::Malformed(Name::MaxForwards))
    }

    /// A header that is a number of seconds or a count: Expires, Min-Expires, `RSeq`, Min-SE, … Values beyond 32
    /// bits count as the greatest.
    pub fn number(&self, name: Name<'static>) -> Result<Option<u32>, Error> {
        let Some(value) = self.header(name) else { return Ok(None) };
        let value = value.split(';').next().unwrap_or("");
        delta_seconds(value).map(Some).ok_or(Error::Malformed(name))
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither values nor the body: they hold credentials and numbers.
        let start = match self.start {
            StartLine::Request { method, .. } => method.as_str(),
            StartLine::Response { .. } => "response",
        };
        write!(f, "Message({start}, {:?}, {} headers)", self.code(), self.index.entries().len())
    }
}

fn header(entry: Entry, head: &str) -> Header<'_> {
    Header { name: entry.name(head), value: entry.value(head) }
}

/// Content-Length; nothing if it is not a number or beyond any message.
pub(crate) fn content_length(value: &str) -> Option<usize> {
    text::number(value).filter(|_| !value.is_empty()).map(|n| n as usize)
}

/// The start line, and a fault that leaves it answerable.
fn read_start(line: &str) -> Result<(StartLine<'_>, Option<Error>), Error> {
    if line.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("SIP/")) {
        return read_status(line);
    }
    let (method, rest) = text::take(line, text::TOKEN);
    let trimmed = text::trim(rest);
    let space = trimmed.rfind([' ', '\t']).ok_or(Error::StartLine)?;
    let (uri, version) = text::cut(trimmed, space);
    let is_sip = version.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("SIP/"));
    if method.is_empty() || !rest.starts_with([' ', '\t']) || !is_sip {
        return Err(Error::StartLine);
    }
    let exact = rest.strip_prefix(' ') == Some(trimmed) && text::trim(uri).len() == uri.len();
    let fault = if !version.eq_ignore_ascii_case("SIP/2.0") {
        Some(Error::Version)
    } else if !exact || uri.is_empty() {
        Some(Error::StartLine)
    } else {
        None
    };
    Ok((StartLine::Request { method: Method::parse(method), uri: text::trim(uri) }, fault))
}

fn read_status(line: &str) -> Result<(StartLine<'_>, Option<Error>), Error> {
    let (version, rest) = text::cut(line, text::find(line, b' ').ok_or(Error::StartLine)?);
    let (code, reason) = match text::find(rest, b' ') {
        Some(at) => text::cut(rest, at),
        // The space before an empty reason phrase is often left out.
        None => (rest, ""),
    };
    let code =
        text::number(code).filter(|n| (100..700).contains(n) && code.len() == 3).ok_or(Error::StartLine)?;
    let fault = (!version.eq_ignore_ascii_case("SIP/2.0")).then_some(Error::Version);
    Ok((StartLine::Response { code: code as u16, reason }, fault))
}
