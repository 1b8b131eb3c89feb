//! The header section: found, checked for control bytes and UTF-8, and indexed without allocation.

use crate::{Error, Name, name, text};

/// The most header lines a message may have.
pub const MAX_HEADERS: usize = 96;
/// The largest message: one UDP datagram's worth, for streams too.
pub const MAX_SIZE: usize = 65_535;

/// One header line. Offsets fit because of [`MAX_SIZE`].
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    number: u8,
    name: u16,
    value: u16,
    end: u16,
}

const NONE: Entry = Entry { number: name::OTHER, name: 0, value: 0, end: 0 };

impl Entry {
    pub(crate) fn name(self, head: &str) -> Name<'_> {
        name::known(self.number).unwrap_or_else(|| {
            let from = head.get(self.name as usize..).unwrap_or("");
            Name::Other(text::take(from, text::TOKEN).0)
        })
    }

    pub(crate) fn value(self, head: &str) -> &str {
        head.get(self.value as usize..self.end as usize).unwrap_or("")
    }

    pub(crate) fn number(self) -> u8 {
        self.number
    }

    /// The value, of a section not yet known to be UTF-8.
    pub(crate) fn value_of(self, data: &[u8]) -> Result<&str, Error> {
        let value = data.get(self.value as usize..self.end as usize).unwrap_or(&[]);
        std::str::from_utf8(value).map_err(|_| Error::NotUtf8)
    }

    /// True if this is the name, given with its number.
    #[inline]
    pub(crate) fn is(self, number: u8, name: Name<'_>, head: &str) -> bool {
        self.number == number
            && (number != name::OTHER || self.name(head).as_str().eq_ignore_ascii_case(name.as_str()))
    }
}

/// The header lines of a message.
#[derive(Clone)]
pub(crate) struct Index {
    entries: [Entry; MAX_HEADERS],
    count: usize,
}

impl Index {
    pub(crate) const fn new() -> Self {
        Self { entries: [NONE; MAX_HEADERS], count: 0 }
    }

    /// Reads header lines from `at` to the empty line; tells where the body begins.
    pub(crate) fn read(&mut self, data: &[u8], mut at: usize) -> Result<usize, Error> {
        loop {
            match data.get(at..) {
                Some([b'\r', b'\n', ..]) => return Ok(at + 2),
                None | Some([] | [b'\r']) => return Err(Error::Incomplete),
                _ => {}
            }
            let (entry, next) = read_line(data, at)?;
            *self.entries.get_mut(self.count).ok_or(Error::TooManyHeaders)? = entry;
            self.count += 1;
            at = next;
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        self.entries.get(..self.count).unwrap_or(&[])
    }
}

/// The message with a header section in UTF-8, where it came in Latin-1, as old equipment still sends names and reason
/// phrases (before RFC 3261 section 7 there was no rule). `None` where it is UTF-8 already, or has no end. What stands
/// in UTF-8 stays, and so does the body. This allocates: ask only after [`Error::NotUtf8`].
pub fn from_latin1(data: &[u8]) -> Option<Vec<u8>> {
    let start = crate::frame::skip_empty_lines(data);
    let end = start + data.get(start..)?.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, rest) = data.split_at_checked(end)?;
    let mut out = Vec::with_capacity(data.len() + 32);
    let mut foreign = false;
    for chunk in head.utf8_chunks() {
        out.extend_from_slice(chunk.valid().as_bytes());
        for byte in chunk.invalid() {
            foreign = true;
            out.extend_from_slice(char::from(*byte).encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    out.extend_from_slice(rest);
    foreign.then_some(out)
}

/// One header line with its folds (RFC 3261 section 7.3.1), and where the next begins.
pub(crate) fn read_line(data: &[u8], start: usize) -> Result<(Entry, usize), Error> {
    let name_end = skip(data, start, |b| text::is(b, text::TOKEN));
    let colon = skip(data, name_end, is_blank);
    if name_end == start || data.get(colon) != Some(&b':') {
        return Err(if colon >= data.len() { Error::Incomplete } else { Error::HeaderLine });
    }
    let value = skip(data, colon + 1, is_blank);
    let mut from = value;
    let (end, next) = loop {
        let end = line_end(data, from)?;
        if data.get(end + 2).copied().is_some_and(is_blank) {
            from = end + 3;
        } else {
            break (end, end + 2);
        }
    };
    let name = data.get(start..name_end).unwrap_or(&[]);
    let (value, end) = trim(data, value, end);
    let entry = Entry { number: name::find(name), name: start as u16, value: value as u16, end: end as u16 };
    Ok((entry, next))
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

fn skip(data: &[u8], from: usize, is: impl Fn(u8) -> bool) -> usize {
    let rest = data.get(from..).unwrap_or(&[]);
    from + rest.iter().position(|b| !is(*b)).unwrap_or(rest.len())
}

fn trim(data: &[u8], mut start: usize, mut end: usize) -> (usize, usize) {
    let is_space = |at: usize| data.get(at).is_some_and(|b| text::is(*b, text::LWS));
    while start < end && is_space(start) {
        start += 1;
    }
    while start < end && is_space(end - 1) {
        end -= 1;
    }
    (start, end)
}

/// The place of the CRLF that ends a line. Any other control byte but a tab is a fault: a bare CR or LF means an
/// end of line to some and not to others, by which headers are smuggled.
pub(crate) fn line_end(data: &[u8], mut from: usize) -> Result<usize, Error> {
    loop {
        let at = find_control(data, from);
        match data.get(at..) {
            Some([b'\r', b'\n', ..]) => return Ok(at),
            None | Some([] | [b'\r']) => return Err(Error::Incomplete),
            Some([byte, ..]) if !matches!(byte, b'\r' | b'\n') && is_escaped(data, at) => from = at + 1,
            Some(_) => return Err(Error::HeaderLine),
        }
    }
}

/// True after an odd number of backslashes: a quoted-pair may hold any byte but CR and LF (RFC 3261 section 25.1).
fn is_escaped(data: &[u8], at: usize) -> bool {
    let before = data.get(..at).unwrap_or(&[]);
    before.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1
}

/// The place of the first control byte other than a tab, or the end. Sixteen at a time, in a form that compiles to vector code.
fn find_control(data: &[u8], from: usize) -> usize {
    let rest = data.get(from..).unwrap_or(&[]);
    let (blocks, _) = rest.as_chunks::<16>();
    let mut at = from;
    for block in blocks {
        if block.iter().fold(false, |found, b| found | text::is_control(*b)) {
            break;
        }
        at += 16;
    }
    skip(data, at, |b| !text::is_control(b))
}
