//! Messages cut out of a stream (RFC 3261 section 18.3, keep-alives of RFC 5626).

use crate::index::{Index, MAX_SIZE, line_end};
use crate::{Error, Name, name};

/// What is at the front of a stream's buffer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Frame {
    /// A whole message of that many bytes.
    Complete(usize),
    /// More bytes are needed: at least so many in all, where the header section says how long the body is, else one
    /// more than there are.
    Partial(usize),
    /// That many bytes of empty lines: two CRLF are a ping (answer with one), a single CRLF is a pong
    /// (RFC 5626 section 4.4.1).
    KeepAlive(usize),
    /// The stream cannot be cut any more. If `head` is not 0, that many bytes hold a header section which may be
    /// parsed for an answer; then the connection is to be closed.
    Bad {
        /// Bytes of the header section.
        head: usize,
        /// What is wrong.
        error: Error,
    },
}

/// Looks at the front of a stream's buffer.
pub fn frame(data: &[u8]) -> Frame {
    match data {
        [] | [b'\r'] => return Frame::Partial(data.len() + 1),
        [b'\r', b'\n', b'\r', b'\n', ..] => return Frame::KeepAlive(4),
        [b'\r', b'\n', b'\r'] => return Frame::Partial(4),
        [b'\r', b'\n', ..] => return Frame::KeepAlive(2),
        _ => {}
    }
    let bounded = data.get(..MAX_SIZE).unwrap_or(data);
    let mut index = Index::new();
    let head = match line_end(bounded, 0).and_then(|end| index.read(bounded, end + 2)) {
        Ok(head) => head,
        Err(Error::Incomplete) if data.len() < MAX_SIZE => return Frame::Partial(data.len() + 1),
        Err(Error::Incomplete) => return Frame::Bad { head: 0, error: Error::TooLarge },
        Err(error) => return Frame::Bad { head: 0, error },
    };
    match body_len(&index, data.get(..head).unwrap_or(&[])) {
        // Both are below 2^32, and the sum is capped before it is used.
        Ok(len) if head.saturating_add(len) > MAX_SIZE => Frame::Bad { head, error: Error::TooLarge },
        Ok(len) if head + len > data.len() => Frame::Partial(head + len),
        Ok(len) => Frame::Complete(head + len),
        Err(error) => Frame::Bad { head, error },
    }
}

/// Content-Length, which streams must have; several must agree, else two readers cut differently.
fn body_len(index: &Index, head: &[u8]) -> Result<usize, Error> {
    // Latin-1 elsewhere in the section (see `from_latin1`) must not keep its length from being read.
    let plain: String;
    let head = if let Ok(head) = std::str::from_utf8(head) {
        head
    } else {
        plain = head.iter().map(|b| if b.is_ascii() { char::from(*b) } else { '?' }).collect();
        &plain
    };
    let number = name::number(Name::ContentLength);
    let mut lines = index.entries().iter().filter(|e| e.is(number, Name::ContentLength, head));
    let read = |value| crate::message::content_length(value).ok_or(Error::Malformed(Name::ContentLength));
    let first = read(lines.next().ok_or(Error::Missing(Name::ContentLength))?.value(head))?;
    for line in lines {
        if read(line.value(head))? != first {
            return Err(Error::Repeated(Name::ContentLength));
        }
    }
    Ok(first)
}

/// Where a message begins after empty lines.
pub(crate) fn skip_empty_lines(data: &[u8]) -> usize {
    let mut at = 0;
    while let Some([b'\r', b'\n']) = data.get(at..at + 2) {
        at += 2;
    }
    at
}
