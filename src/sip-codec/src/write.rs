//! Messages written into the caller's buffer.

use crate::{Error, Header, Message, Method, Name, text};
use std::fmt::{self, Display, Write};
use std::net::SocketAddr;

/// Writes one message at the end of a buffer. No control byte from any argument reaches it: the first one makes the
/// writer refuse, the message is taken back, and [`Self::finish`] or [`Self::body`] say so.
#[derive(Debug)]
#[must_use = "a message is whole only after `finish` or `body`"]
pub struct Writer<'b> {
    out: Sink<'b>,
    start: usize,
    done: bool,
}

#[derive(Debug)]
struct Sink<'b> {
    buffer: &'b mut Vec<u8>,
    refused: bool,
}

impl Sink<'_> {
    /// Text that we wrote ourselves.
    fn raw(&mut self, text: &str) {
        self.buffer.extend_from_slice(text.as_bytes());
    }

    /// Text from elsewhere.
    fn text(&mut self, text: &str) {
        let bytes = text.as_bytes();
        self.refused |= bytes.iter().fold(false, |bad, b| bad | (*b < 0x20 && *b != b'\t') | (*b == 0x7f));
        self.buffer.extend_from_slice(bytes);
    }

    fn token(&mut self, text: &str) {
        self.refused |= !text::all(text, text::TOKEN);
        self.raw(text);
    }
}

impl Write for Sink<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.text(text);
        Ok(())
    }
}

impl<'b> Writer<'b> {
    fn new(buffer: &'b mut Vec<u8>) -> Self {
        let start = buffer.len();
        Self { out: Sink { buffer, refused: false }, start, done: false }
    }

    /// Begins a request.
    pub fn request(buffer: &'b mut Vec<u8>, method: Method<'_>, uri: impl Display) -> Self {
        let mut writer = Self::new(buffer);
        writer.out.token(method.as_str());
        writer.out.raw(" ");
        let from = writer.out.buffer.len();
        writer.display(uri);
        let uri = writer.out.buffer.get(from..).unwrap_or(&[]);
        // A space would end the URI and begin something else.
        writer.out.refused |= uri.is_empty() || uri.iter().any(|b| matches!(b, b' ' | b'\t' | b'<' | b'>'));
        writer.out.raw(" SIP/2.0\r\n");
        writer
    }

    /// Begins a response.
    pub fn response(buffer: &'b mut Vec<u8>, code: u16, reason: &str) -> Self {
        let mut writer = Self::new(buffer);
        writer.out.refused |= !(100..700).contains(&code);
        writer.out.raw("SIP/2.0 ");
        writer.display(code);
        writer.out.raw(" ");
        writer.out.text(reason);
        writer.out.raw("\r\n");
        writer
    }

    fn display(&mut self, value: impl Display) {
        let failed = write!(self.out, "{value}").is_err();
        self.out.refused |= failed;
    }

    fn name(&mut self, name: Name<'_>) {
        match name {
            Name::Other(text) => self.out.token(text),
            known => self.out.raw(known.as_str()),
        }
        self.out.raw(": ");
    }

    /// A header with any value that can be displayed.
    pub fn header(&mut self, name: Name<'_>, value: impl Display) -> &mut Self {
        self.name(name);
        self.display(value);
        self.out.raw("\r\n");
        self
    }

    /// A header with text, without the formatter's cost.
    pub fn text(&mut self, name: Name<'_>, value: &str) -> &mut Self {
        self.name(name);
        self.out.text(value);
        self.out.raw("\r\n");
        self
    }

    /// One header line of a parsed message, with its folds made one space each.
    pub fn line(&mut self, header: Header<'_>) -> &mut Self {
        self.name(header.name);
        self.value(header);
        self.out.raw("\r\n");
        self
    }

    fn value(&mut self, header: Header<'_>) {
        if !header.folded {
            return self.out.text(header.value);
        }
        for (i, part) in header.value.split("\r\n").enumerate() {
            let part = if i == 0 { part } else { text::trim_start(part) };
            self.out.raw(if i == 0 { "" } else { " " });
            self.out.text(part.trim_end_matches([' ', '\t']));
        }
    }

    /// Every header line of that name of a parsed message, in order.
    pub fn copy(&mut self, from: &Message<'_>, name: Name<'_>) -> &mut Self {
        for line in from.lines(name) {
            self.line(line);
        }
        self
    }

    /// What a response takes from its request (RFC 3261 section 8.2.6.2): every Via, the topmost with `received` and
    /// `rport` filled from `source` (section 18.2.1, RFC 3581), From, To with `to_tag` unless it has a tag, Call-ID
    /// and `CSeq`.
    pub fn reply_to(&mut self, request: &Message<'_>, source: SocketAddr, to_tag: Option<&str>) -> &mut Self {
        for (i, line) in request.lines(Name::Via).enumerate() {
            if i == 0 {
                self.stamped_via(line, source)
            } else {
                self.line(line)
            };
        }
        self.copy(request, Name::From);
        for line in request.lines(Name::To) {
            self.name(Name::To);
            self.value(line);
            let tagged = request.to().is_ok_and(|to| to.tag().is_some());
            if let (false, Some(tag)) = (tagged, to_tag) {
                self.out.raw(";tag=");
                self.out.token(tag);
            }
            self.out.raw("\r\n");
        }
        self.copy(request, Name::CallId).copy(request, Name::CSeq)
    }

    fn stamped_via(&mut self, line: Header<'_>, source: SocketAddr) -> &mut Self {
        let top = text::split_list(line.value).next().unwrap_or("");
        let Ok(via) = crate::Via::parse(top) else { return self.line(line) };
        if line.folded {
            self.out.refused |= false;
        }
        self.name(Name::Via);
        self.out.raw("SIP/2.0/");
        self.out.token(via.transport);
        self.out.raw(" ");
        self.display(via.host);
        if let Some(port) = via.port {
            self.out.raw(":");
            self.display(port);
        }
        for param in via.params {
            if param.name.eq_ignore_ascii_case("received") || param.name.eq_ignore_ascii_case("rport") {
                continue;
            }
            self.out.raw(";");
            self.out.text(param.name);
            if let Some(value) = param.value {
                self.out.raw("=");
                self.out.text(value);
            }
        }
        if via.rport().is_some() {
            self.out.raw(";rport=");
            self.display(source.port());
        }
        if via.rport().is_some() || via.host.ip() != Some(source.ip()) {
            self.out.raw(";received=");
            self.display(source.ip());
        }
        let mut rest = text::split_list(line.value);
        for other in rest.by_ref().skip(1) {
            self.out.raw(", ");
            self.value(Header { name: Name::Via, value: other, folded: line.folded });
        }
        self.out.raw("\r\n");
        self
    }

    /// Ends a message without body.
    pub fn finish(mut self) -> Result<(), Error> {
        self.out.raw("Content-Length: 0\r\n\r\n");
        self.close()
    }

    /// Ends a message with a body.
    pub fn body(mut self, content_type: &str, body: &[u8]) -> Result<(), Error> {
        self.text(Name::ContentType, content_type).header(Name::ContentLength, body.len());
        self.out.raw("\r\n");
        self.out.buffer.extend_from_slice(body);
        self.close()
    }

    fn close(mut self) -> Result<(), Error> {
        let size = self.out.buffer.len() - self.start;
        if self.out.refused || size > crate::MAX_SIZE {
            return Err(Error::Refused);
        }
        self.done = true;
        Ok(())
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        if !self.done {
            self.out.buffer.truncate(self.start);
        }
    }
}
