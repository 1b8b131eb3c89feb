//! Character classes of RFC 3261 section 25, white space, quoted strings, escapes, lists.

use std::borrow::Cow;

/// `token`.
pub(crate) const TOKEN: u8 = 1;
/// Linear white space. CR and LF are left in a value only as folds, so they count.
pub(crate) const LWS: u8 = 2;
/// `unreserved` and `user-unreserved`, and `#`, which phones send though it should be escaped.
pub(crate) const USER: u8 = 4;
/// `param-unreserved` and `unreserved`.
pub(crate) const PARAM: u8 = 8;
/// `hnv-unreserved` and `unreserved`.
pub(crate) const HEADER: u8 = 16;
/// `word` (Call-ID), and `@`.
pub(crate) const WORD: u8 = 32;
/// Letters and digits of host names, `-`, `.`, and `_`, which occurs in the wild.
pub(crate) const HOST: u8 = 64;
/// Any byte that a URI may hold.
pub(crate) const URI: u8 = 128;

const fn has(set: &[u8], byte: u8) -> bool {
    let mut i = 0;
    while i < set.len() {
        if set[i] == byte {
            return true;
        }
        i += 1;
    }
    false
}

const fn class_of(b: u8) -> u8 {
    let alnum = b.is_ascii_alphanumeric();
    let unreserved = alnum || has(b"-_.!~*'()", b);
    let mut class = 0;
    if alnum || has(b"-.!%*_+`'~", b) {
        class |= TOKEN;
    }
    if has(b" \t\r\n", b) {
        class |= LWS;
    }
    if unreserved || has(b"&=+$,;?/#", b) {
        class |= USER;
    }
    if unreserved || has(b"[]/:&+$", b) {
        class |= PARAM;
    }
    if unreserved || has(b"[]/?:+$", b) {
        class |= HEADER;
    }
    if alnum || has(b"-.!%*_+`'~()<>:\\\"/[]?{}@", b) {
        class |= WORD;
    }
    if alnum || has(b"-._", b) {
        class |= HOST;
    }
    if unreserved || has(b";/?:@&=+$,%[]#", b) {
        class |= URI;
    }
    class
}

const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = class_of(i as u8);
        i += 1;
    }
    table
};

/// A control byte other than a tab.
#[allow(clippy::needless_bitwise_bool)] // Branches would keep it from vector code.
pub(crate) fn is_control(byte: u8) -> bool {
    ((byte < 0x20) & (byte != b'\t')) | (byte == 0x7f)
}

/// The place of a byte. The standard library's search is made for long texts.
#[inline]
pub(crate) fn find(text: &str, byte: u8) -> Option<usize> {
    text.bytes().position(|b| b == byte)
}

#[inline]
pub(crate) fn is(byte: u8, class: u8) -> bool {
    CLASS[byte as usize] & class != 0
}

/// True if `text` is not empty and holds only bytes of the class.
pub(crate) fn all(text: &str, class: u8) -> bool {
    !text.is_empty() && text.bytes().all(|b| is(b, class))
}

/// True if `text` holds only bytes of the class and whole `%HH` escapes.
pub(crate) fn all_escaped(text: &str, class: u8) -> bool {
    let mut rest = text.as_bytes();
    loop {
        rest = match rest {
            [] => return true,
            [b'%', a, b, tail @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => tail,
            [b, tail @ ..] if is(*b, class) => tail,
            _ => return false,
        };
    }
}

pub(crate) fn trim(text: &str) -> &str {
    text.trim_ascii()
}

pub(crate) fn trim_start(text: &str) -> &str {
    text.trim_ascii_start()
}

/// Splits at a byte position, which must be of an ASCII byte: before it and after it.
pub(crate) fn cut(text: &str, at: usize) -> (&str, &str) {
    (text.get(..at).unwrap_or(""), text.get(at + 1..).unwrap_or(""))
}

/// Splits off the leading bytes of a class.
pub(crate) fn take(text: &str, class: u8) -> (&str, &str) {
    let end = text.bytes().position(|b| !is(b, class)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// The place of the quote that closes the quoted string which `text` opens, or nothing.
pub(crate) fn closing_quote(text: &[u8]) -> Option<usize> {
    let mut bytes = text.iter().enumerate().skip(1);
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next()?;
            }
            b'"' => return Some(at),
            _ => {}
        }
    }
    None
}

/// The place of the first `stop` outside quoted strings and, if asked, outside `<>`. An unclosed quote or bracket
/// runs to the end.
pub(crate) fn find_outside(text: &[u8], stop: u8, angles: bool) -> Option<usize> {
    let mut at = 0;
    loop {
        let rest = text.get(at..)?;
        let found = rest.iter().position(|b| *b == stop || *b == b'"' || (angles && *b == b'<'))?;
        let here = rest.get(found..)?;
        at += found;
        at += match here.first()? {
            byte if *byte == stop => return Some(at),
            b'"' => closing_quote(here)?,
            _ => here.iter().position(|b| *b == b'>')?,
        };
        at += 1;
    }
}

/// The elements of a comma-separated value, around quoted strings and `<>`. Empty elements are skipped.
pub fn split_list(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = value;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (item, tail) = match find_outside(rest.as_bytes(), b',', true) {
                Some(at) => cut(rest, at),
                None => (rest, ""),
            };
            rest = tail;
            let item = trim(item);
            if !item.is_empty() {
                return Some(item);
            }
        }
        None
    })
}

/// A quoted string without its quotes and escapes; other text as it is. Allocates only for escapes and folds.
pub fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').map(|t| t.strip_suffix('"').unwrap_or(t)) else {
        return Cow::Borrowed(text);
    };
    if !inner.bytes().any(|b| matches!(b, b'\\' | b'\r')) {
        return Cow::Borrowed(inner);
    }
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => out.extend(chars.next()),
            '\r' | '\n' => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Text without its `%HH` escapes; `None` if what they stand for is not UTF-8. Allocates only for escapes.
pub fn unescape(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    String::from_utf8(decoded(text).collect()).ok().map(Cow::Owned)
}

/// The bytes that an escaped text stands for.
pub(crate) fn decoded(text: &str) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&byte, tail) = rest.split_first()?;
        rest = tail;
        if byte == b'%'
            && let [a, b, tail @ ..] = tail
            && let (Some(a), Some(b)) = ((*a as char).to_digit(16), (*b as char).to_digit(16))
        {
            rest = tail;
            return Some((a * 16 + b) as u8);
        }
        Some(byte)
    })
}

/// A decimal number of digits only; nothing if it is empty or does not fit.
pub(crate) fn number(text: &str) -> Option<u32> {
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}
