//! Messages written into the caller's buffer.

use crate::{Error, Header, Message, Method, Name, Via, text};
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
        self.refused |= has_control(text);
        self.raw(text);
    }

    /// Text from a parsed message, made one line.
    fn copied(&mut self, text: &str) {
        if !has_control(text) {
            return self.raw(text);
        }
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\r' | '\n' => {
                    while chars.next_if(|c| matches!(c, '\r' | '\n' | ' ' | '\t')).is_some() {}
                    self.raw(" ");
                }
                '\\' => {
                    self.raw("\\");
                    let escaped = chars.next().unwrap_or(' ');
                    self.character(if escaped.is_ascii_control() { '?' } else { escaped });
                }
                c => self.character(c),
            }
        }
    }

    fn character(&mut self, c: char) {
        self.text(c.encode_utf8(&mut [0; 4]));
    }

    fn token(&mut self, text: &str) {
        self.refused |= !text::all(text, text::TOKEN);
        self.raw(text);
    }
}

/// True if a byte is a control byte other than a tab. Without early exit, so that it compiles to vector code.
fn has_control(text: &str) -> bool {
    text.bytes().fold(false, |found, b| found | text::is_control(b))
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

    /// A header with any value that can be displayed. Content-Length is refused: [`Self::finish`] and
    /// [`Self::body`] write it, and two lengths would let two readers cut the message differently.
    pub fn header(&mut self, name: Name<'_>, value: impl Display) -> &mut Self {
        self.out.refused |= name == Name::ContentLength;
        self.name(name);
        self.display(value);
        self.out.raw("\r\n");
        self
    }

    /// A header with text, without the formatter's cost.
    pub fn text(&mut self, name: Name<'_>, value: &str) -> &mut Self {
        self.out.refused |= name == Name::ContentLength;
        self.name(name);
        self.out.text(value);
        self.out.raw("\r\n");
        self
    }

    /// One header line of a parsed message. Folds become one space; a control byte in a quoted-pair becomes a
    /// question mark. Content-Length is left out: the writer has its own.
    pub fn line(&mut self, header: Header<'_>) -> &mut Self {
        if header.name == Name::ContentLength {
            return self;
        }
        self.name(header.name);
        self.out.copied(header.value);
        self.out.raw("\r\n");
        self
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
            self.out.copied(line.value);
            let tagged = request.to().is_ok_and(|to| to.tag().is_some());
            if let (false, Some(tag)) = (tagged, to_tag) {
                self.out.raw(";tag=");
                self.out.token(tag);
            }
            self.out.raw("\r\n");
        }
        self.copy(request, Name::CallId).copy(request, Name::CSeq)
    }

    /// A request's topmost Via line as its response bears it.
    fn stamped_via(&mut self, line: Header<'_>, source: SocketAddr) -> &mut Self {
        let mut elements = text::split_list(line.value);
        let Ok(via) = Via::parse(elements.next().unwrap_or("")) else { return self.line(line) };
        self.name(Name::Via);
        self.out.raw("SIP/2.0/");
        self.out.token(via.transport);
        self.out.raw(" ");
        self.display(via.host);
        if let Some(port) = via.port {
            self.out.raw(":");
            self.display(port);
        }
        let ours = |name: &str| name.eq_ignore_ascii_case("received") || name.eq_ignore_ascii_case("rport");
        for param in via.params.into_iter().filter(|param| !ours(param.name)) {
            self.out.raw(";");
            self.out.copied(param.name);
            if let Some(value) = param.value {
                self.out.raw("=");
                self.out.copied(value);
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
        for other in elements {
            self.out.raw(", ");
            self.out.copied(other);
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
        self.text(Name::ContentType, content_type);
        self.out.raw("Content-Length: ");
        self.display(body.len());
        self.out.raw("\r\n\r\n");
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
